//! `kill -9` of real node processes under load: what a client was told had succeeded stays true.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test says by failing what went wrong"
)]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peabiru_integration_tests::echo::wire::{
    FollowRequest, FollowResponse, GatherRequest, NoteRequest, SayRequest,
};
use peabiru_integration_tests::evidence::{exchange_of, export};
use peabiru_integration_tests::federation::{Caller, Federation, ledger_folder};
use peabiru_integration_tests::process::Spawned;
use peabiru_ledger::disk::{Disk, RealDisk};
use peabiru_ledger::evidence::{Outcome, verify};
use peabiru_ledger::verify::verify_folder;
use peabiru_proto::entry::Entry;
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::random::{Random as _, SystemRandom};
use peabiru_proto::wire::ListEntriesRequest;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;

/// Exchanges that a client was told had succeeded, and whom to wake when there is one more.
#[derive(Default)]
struct Told {
    exchanges: Mutex<Vec<Success>>,
    /// Texts of calls that failed: they were noted once or never.
    failed: Mutex<Vec<String>>,
    one_more: Notify,
    next_text: AtomicU64,
}

struct Success {
    exchange: String,
    noted: Option<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_was_told_had_succeeded_outlasts_twenty_kills_of_either_node() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let mut nodes = spawned(&mut federation).await;

    let told = Arc::new(Told::default());
    let (stop, stopped) = watch::channel(false);
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let kind = if number % 2 == 0 { Kind::Read } else { Kind::Write };
        callers.spawn(call_on(nodes[0].caller("MEC"), kind, Arc::clone(&told), stopped.clone()));
    }
    for round in 0..KILLS {
        let mut byte = [0];
        SystemRandom::default().fill(&mut byte);
        told.wait_for(usize::from(byte[0] % SUCCESSES_BETWEEN_KILLS)).await;
        let node = &mut nodes[round % 2];
        node.kill().await;
        node.relaunch().await;
    }
    told.wait_for(1).await;
    stop.send_replace(true);
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }

    let noted = nodes[1].agency.echo.noted();
    for text in told.failed.lock().unwrap().iter() {
        assert!(noted.get(text).is_none_or(|times| *times == 1), "{text} was noted {} times", noted[text]);
    }
    let successes = std::mem::take(&mut *told.exchanges.lock().unwrap());
    assert!(successes.len() > KILLS, "the callers got through between the kills");
    for text in successes.iter().filter_map(|success| success.noted.as_ref()) {
        assert_eq!(noted.get(text), Some(&1), "{text}");
    }
    let exchanges: Arc<[String]> = successes.into_iter().map(|success| success.exchange).collect();
    let mut checks = JoinSet::new();
    for node in &nodes {
        checks.spawn(all_verify(node.admin().await, Arc::clone(&exchanges), anchor.clone()));
    }
    while let Some(checked) = checks.join_next().await {
        checked.unwrap();
    }
}

/// Bodies of a megabyte, both ways: a kill falls into the middle of some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_that_were_delivered_outlast_kills_of_either_node() {
    let mut federation = Federation::start().await;
    let mut nodes = spawned(&mut federation).await;
    let told = Arc::new(Told::default());
    let (stop, stopped) = watch::channel(false);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call_on(nodes[0].caller("MEC"), Kind::Large, Arc::clone(&told), stopped.clone()));
    }
    for round in 0..LARGE_KILLS {
        told.wait_for(1).await;
        let node = &mut nodes[round % 2];
        node.kill().await;
        node.relaunch().await;
    }
    told.wait_for(1).await;
    stop.send_replace(true);
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    let exchanges = std::mem::take(&mut *told.exchanges.lock().unwrap());
    for node in &nodes {
        let until = Instant::now() + CATCH_UP_WAIT;
        for Success { exchange, .. } in &exchanges {
            // Its own two entries, each with a large body: what a crash took is being fetched meanwhile.
            while entries_of(&mut node.admin().await, exchange).await < 2 {
                assert!(Instant::now() < until, "{exchange} lost an entry");
                tokio::task::yield_now().await;
            }
        }
    }
    for mut node in nodes {
        node.kill().await;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        // Every file that a record names is there, whole.
        verify_folder(&disk, &ledger_folder(&node.agency.site)).unwrap();
    }
}

/// The service's node dies in the middle of an answer, then the caller's in the middle of a request: who is left is told, and
/// what both hold says exactly how far the stream came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_which_a_node_dies_ends_at_the_other_and_evidence_says_how_far_it_came() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let [mut mitic, mut mec] = spawned(&mut federation).await;
    let feed = mec.agency.echo.feed();
    feed.send(Ok(FollowResponse { body: "1".into() })).await.unwrap();
    let followed = mitic.caller("MEC").follow(FollowRequest::default()).await.unwrap();
    let exchange = exchange_of(followed.metadata());
    let mut answers = followed.into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().body, "1");
    mec.kill().await;
    let told = timeout(SILENCE_WAIT, answers.message()).await.expect("the caller is told").unwrap_err();
    let fault = Fault::from_grpc_details(told.details()).unwrap();
    assert_eq!(fault.code, FaultCode::NodeUnreachable, "{fault}");
    timeout(SILENCE_WAIT, feed.closed()).await.expect("the service is told");
    mec.relaunch().await;
    let lost = ["stream/answer/: incomplete: no CLOSE after 1 chunks"];
    for node in [&mitic, &mec] {
        stays_incomplete(node, &exchange, &anchor, &lost).await;
    }

    let (requests, stream) = mpsc::channel(1);
    let (mut heard, mut broken_off) = (mec.agency.echo.gathered(), mec.agency.echo.broken_off());
    let mut caller = mitic.caller("MEC");
    let call = tokio::spawn(async move { caller.gather(ReceiverStream::new(stream)).await });
    requests.send(GatherRequest { body: "a".into() }).await.unwrap();
    timeout(ROAD_WAIT, heard.wait_for(|heard| heard.len() == 1)).await.expect("a request").unwrap();
    let gathers = ListEntriesRequest::default();
    let listed = mec.admin().await.list_entries(gathers).await.unwrap().into_inner().entries;
    let newest = Entry::decode(listed.last().unwrap().entry.clone()).unwrap();
    let exchange = newest.exchange().to_string();
    mitic.kill().await;
    call.await.unwrap().expect_err("nobody answers");
    let heard = timeout(SILENCE_WAIT, broken_off.wait_for(|times| *times > 0)).await;
    heard.expect("the service is told").unwrap();
    mitic.relaunch().await;
    let lost = ["stream/request/: incomplete: no CLOSE after 1 chunks"];
    for node in [&mitic, &mec] {
        stays_incomplete(node, &exchange, &anchor, &lost).await;
    }
}

/// What a node exports holds, and lacks this.
async fn stays_incomplete(node: &Spawned, exchange: &str, anchor: &ConfigurationAnchor, lost: &[&str]) {
    let until = Instant::now() + ROAD_WAIT;
    loop {
        let tar = export(&mut node.admin().await, exchange).await;
        let report = tar.as_ref().map(|tar| verify(tar, Some(anchor)));
        let lacks =
            |what: &&str| report.as_ref().is_ok_and(|report| report.missing.iter().any(|it| it == what));
        match &report {
            Ok(report) if report.outcome == Outcome::Verified && lost.iter().all(lacks) => return,
            Ok(report) => assert_eq!(report.failures, [], "{exchange}: {report:?}"),
            Err(_) => {}
        }
        assert!(Instant::now() < until, "{exchange}: {report:?}");
        tokio::task::yield_now().await;
    }
}

/// MITIC's node, which may ask MEC's, and MEC's: each a process that can be killed.
async fn spawned(federation: &mut Federation) -> [Spawned; 2] {
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let program = Path::new(env!("CARGO_BIN_EXE_peabiru-spawned"));
    [Spawned::start(mitic.stop().await, program).await, Spawned::start(mec.stop().await, program).await]
}

/// How many entries a node has of an exchange.
async fn entries_of(node: &mut peabiru_cli::client::NodeClient, exchange: &str) -> usize {
    let asked = ListEntriesRequest { exchange_id: exchange.to_owned(), ..ListEntriesRequest::default() };
    node.list_entries(asked).await.map_or(0, |listed| listed.into_inner().entries.len())
}

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
    Large,
}

/// Calls again and again. An error is no news here: one of the nodes is down.
async fn call_on(mut caller: Caller, kind: Kind, told: Arc<Told>, stopped: watch::Receiver<bool>) {
    // What an application does that is told to retry later.
    let mut pace = interval(Duration::from_millis(5));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stopped.borrow() {
        pace.tick().await;
        match kind {
            Kind::Read => {
                if let Ok(answer) = caller.say(SayRequest { body: "?".into(), ..SayRequest::default() }).await
                {
                    told.success(Success { exchange: exchange_of(answer.metadata()), noted: None });
                }
            }
            Kind::Large => {
                let said = SayRequest { body: vec![7; 1_000_000].into(), ..SayRequest::default() };
                if let Ok(answer) = caller.say(said.clone()).await {
                    let exchange = exchange_of(answer.metadata());
                    assert!(answer.into_inner().body == said.body);
                    told.success(Success { exchange, noted: None });
                }
            }
            Kind::Write => {
                let text = told.next_text.fetch_add(1, Ordering::Relaxed).to_string();
                match caller.note(NoteRequest { text: text.clone() }).await {
                    Ok(answer) => {
                        let exchange = exchange_of(answer.metadata());
                        assert_eq!(answer.into_inner().times, 1);
                        told.success(Success { exchange, noted: Some(text) });
                    }
                    Err(_) => told.failed.lock().unwrap().push(text),
                }
            }
        }
    }
}

/// Each exports as evidence that holds and lacks nothing; what a crash took is being fetched meanwhile.
async fn all_verify(
    mut node: peabiru_cli::client::NodeClient,
    exchanges: Arc<[String]>,
    anchor: ConfigurationAnchor,
) {
    let until = Instant::now() + CATCH_UP_WAIT;
    for exchange in exchanges.iter() {
        loop {
            let tar = export(&mut node, exchange).await;
            let report = tar.as_ref().map(|tar| verify(tar, Some(&anchor)));
            match &report {
                Ok(report) if report.outcome == Outcome::Verified && report.missing.is_empty() => break,
                // Nothing is ever wrong; it may be incomplete for a while.
                Ok(report) => assert_eq!(report.failures, [], "{exchange}: {report:?}"),
                Err(_) => {}
            }
            assert!(Instant::now() < until, "{exchange} stays incomplete: {report:?}");
            tokio::task::yield_now().await;
        }
    }
}

impl Told {
    fn success(&self, success: Success) {
        self.exchanges.lock().unwrap().push(success);
        self.one_more.notify_one();
    }

    /// Waits for so many more successes, at least one: the road is open again.
    async fn wait_for(&self, more: usize) {
        let until = Instant::now() + ROAD_WAIT;
        let goal = self.exchanges.lock().unwrap().len() + more.max(1);
        while self.exchanges.lock().unwrap().len() < goal {
            timeout_at(until, self.one_more.notified()).await.expect("the road opens again");
        }
    }
}

/// Until a node takes a peer from which nothing comes for gone.
const SILENCE_WAIT: Duration = Duration::from_secs(90);
const KILLS: usize = 20;
const LARGE_KILLS: usize = 8;
const CALLERS: usize = 8;
/// The moment of a kill is random: after 1 to this many successes, with all other callers under way.
const SUCCESSES_BETWEEN_KILLS: u8 = 40;
/// For a killed node's peers to find it again.
const ROAD_WAIT: Duration = Duration::from_secs(30);
/// For all answers that crashes took to be fetched.
const CATCH_UP_WAIT: Duration = Duration::from_secs(120);
