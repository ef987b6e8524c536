//! What streams leave behind, and who can check it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use peabiru_integration_tests::echo::wire::{FollowRequest, GatherRequest, TalkRequest};
use peabiru_integration_tests::evidence::{exchange_of, export, export_from, without};
use peabiru_integration_tests::federation::Federation;
use peabiru_ledger::disk::slow::SlowDisk;
use peabiru_ledger::evidence::{Evidence, Outcome, compare, verify};
use peabiru_ledger::tlog_proof;
use peabiru_node::node::Environment;
use peabiru_proto::hash::Digest;
use peabiru_proto::language::Language;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, event).await.unwrap_or_else(|_| panic!("{what} does not happen"))
}

/// The same file with some of its files changed, or left out, and a manifest that fits.
fn changed(tar: &[u8], change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> Vec<u8> {
    let evidence = Evidence::from_tar(tar).unwrap();
    let content = |name: &str| evidence.file(name).unwrap().to_vec();
    let mut files: BTreeMap<_, _> = evidence.names().map(|name| (name.to_owned(), content(name))).collect();
    files.remove("MANIFEST.txt");
    change(&mut files);
    let lines = files.iter().map(|(name, content)| format!("{}  {name}\n", Digest::of(content)));
    let manifest = lines.collect::<String>().into_bytes();
    files.insert("MANIFEST.txt".to_owned(), manifest);
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in &files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    Evidence::from_tar(&builder.into_inner().unwrap()).unwrap().to_tar()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_holds_every_batch_of_both_ways_and_what_is_missing_is_named() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let (requests, stream) = mpsc::channel(1);
    let talk = mitic.caller("MEC").await.talk(ReceiverStream::new(stream)).await.unwrap();
    let exchange = exchange_of(talk.metadata());
    let mut answers = talk.into_inner();
    for word in ["petei", "mokoi", "mbohapy"] {
        requests.send(TalkRequest { body: word.into() }).await.unwrap();
        assert_eq!(soon("an answer", answers.message()).await.unwrap().unwrap().body, word);
    }
    drop(requests);
    assert_eq!(soon("the end", answers.message()).await.unwrap(), None);
    for member in [&mitic, &mec] {
        let tar = export(&mut member.admin().await, &exchange).await.unwrap();
        let report = verify(&tar, Some(&anchor));
        assert_eq!((report.outcome, &report.failures[..]), (Outcome::Verified, &[][..]), "{report:?}");
        assert_eq!(report.missing, Vec::<String>::new());
        let facts = report.facts.unwrap();
        assert_eq!((facts.method.as_str(), facts.outcome.as_deref()), ("Talk", Some("gRPC 0")));
        assert_eq!((facts.request_bytes, facts.answer_bytes), (Some(38), Some(38)));
        for (close, other) in [("answer", "request"), ("request", "answer")] {
            let taken = format!(
                "stream/{close}/close.entry ends, as it says, after 3 chunks of stream/{other}/ were taken"
            );
            assert!(report.holds.contains(&taken), "{taken}: {:?}", report.holds);
        }
    }
    let tar = export(&mut mitic.admin().await, &exchange).await.unwrap();
    let names: Vec<String> = Evidence::from_tar(&tar).unwrap().names().map(str::to_owned).collect();
    let of_stream: Vec<_> = names.iter().filter(|name| name.starts_with("stream/")).collect();
    assert_eq!(of_stream.len(), 1 + 2 * (3 * 7 + 6), "{of_stream:?}");
    let mut changed = tar.clone();
    for name in of_stream {
        let content = Evidence::from_tar(&tar).unwrap().file(name).unwrap().clone();
        if content.len() < 16 {
            continue;
        }
        let at =
            tar.windows(content.len()).position(|window| window == &content[..]).unwrap() + content.len() / 2;
        changed[at] ^= 1;
        assert_eq!(verify(&changed, Some(&anchor)).outcome, Outcome::Failed, "{name}");
        changed[at] ^= 1;
    }
    // Gathered anew without one entry: what is there holds, and what is not is named.
    let report = verify(&without(&tar, "stream/answer/1.entry"), Some(&anchor));
    let gap = "stream/answer/: chunks 1 to 1, before stream/answer/2.entry".to_owned();
    assert!(report.outcome == Outcome::Verified && report.missing.contains(&gap), "{report:?}");
    let report = verify(&without(&tar, "stream/request/close.entry"), Some(&anchor));
    let open = "stream/request/: incomplete: no CLOSE after 3 chunks".to_owned();
    assert!(report.outcome == Outcome::Verified && report.missing.contains(&open), "{report:?}");
    // A part of it, as a stream is exported that is longer than a file: checked alone.
    for member in [&mitic, &mec] {
        let part = export_from(&mut member.admin().await, &exchange, (3, 1)).await.unwrap();
        let report = verify(&part, Some(&anchor));
        assert_eq!((report.outcome, &report.failures[..]), (Outcome::Verified, &[][..]), "{report:?}");
        let before = [
            "stream/request/: chunks 0 to 2, before stream/request/close.entry",
            "stream/answer/: chunks 0 to 0, before stream/answer/1.entry",
            "stream/request/: what 2 entries of stream/answer/ say to have taken",
        ];
        assert_eq!(report.missing, before);
        let both = compare(&[verify(&tar, Some(&anchor)), report], Language::English);
        assert_eq!(both, [], "both are of one stream");
    }
    // Gathered anew without what the other side says to have taken.
    let report = verify(&without(&tar, "stream/request/close.entry"), Some(&anchor));
    let taken = "stream/request/: what 1 entry of stream/answer/ says to have taken".to_owned();
    assert!(report.missing.contains(&taken), "{report:?}");
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_no_check_reads_is_not_evidence_and_neither_is_a_receipt_of_somebody_else() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let (requests, stream) = mpsc::channel(1);
    requests.send(GatherRequest { body: "a".into() }).await.unwrap();
    drop(requests);
    let answer = mitic.caller("MEC").await.gather(ReceiverStream::new(stream)).await.unwrap();
    let tar = export(&mut mitic.admin().await, &exchange_of(answer.metadata())).await.unwrap();
    assert_eq!(verify(&changed(&tar, |_| {}), Some(&anchor)).outcome, Outcome::Verified);
    // Receipt and payload of a batch that is not there.
    let orphaned = changed(&tar, |files| {
        files.retain(|name, _| {
            !["stream/request/0.entry", "stream/request/0.tlog-proof"].contains(&name.as_str())
        });
    });
    let report = verify(&orphaned, Some(&anchor));
    let named: Vec<_> = report.failures.iter().map(|failure| failure.file.as_str()).collect();
    let receipt = ["stream/request/0.received.entry", "stream/request/0.received.tlog-proof"];
    assert!(receipt.iter().all(|file| named.contains(file)), "{report:?}");
    // A chunk beyond the payload's last.
    let more = changed(&tar, |files| {
        files.insert("stream/request/0.7".to_owned(), b"more".to_vec());
    });
    assert_eq!(verify(&more, Some(&anchor)).failures[0].file, "stream/request/0.7");
    // The sender's own entry, where the receiver's is wanted: it is sealed, and binds nobody to have received anything.
    let own = changed(&tar, |files| {
        for suffix in ["entry", "tlog-proof"] {
            let theirs = files[&format!("entries/4-received-by-consumer.{suffix}")].clone();
            files.insert(format!("stream/request/0.received.{suffix}"), theirs);
        }
    });
    let report = verify(&own, Some(&anchor));
    let of_another = |what: &str| what.contains("not by this exchange's PY/GOV/MEC");
    let failed =
        report.failures.iter().any(|failure| failure.file == receipt[0] && of_another(&failure.what));
    assert!(failed, "{report:?}");
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_of_many_answers_to_one_request_lacks_nothing() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    for count in [1, 40] {
        let request = FollowRequest { count, bytes: 60_000, fail_with: 0 };
        let followed = mitic.caller("MEC").await.follow(request).await.unwrap();
        let exchange = exchange_of(followed.metadata());
        let mut answers = followed.into_inner();
        for _ in 0..count {
            assert!(soon("an answer", answers.message()).await.unwrap().is_some());
        }
        assert_eq!(soon("the end", answers.message()).await.unwrap(), None);
        for member in [&mitic, &mec] {
            let tar = export(&mut member.admin().await, &exchange).await.unwrap();
            let report = verify(&tar, Some(&anchor));
            assert_eq!((report.outcome, &report.failures[..]), (Outcome::Verified, &[][..]), "{report:?}");
            assert_eq!(report.missing, Vec::<String>::new(), "{count} answers");
        }
    }
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sealed_and_what_was_received_are_told_apart() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let request = FollowRequest { count: 1, bytes: 10, fail_with: 0 };
    let followed = mitic.caller("MEC").await.follow(request).await.unwrap();
    let exchange = exchange_of(followed.metadata());
    let mut answers = followed.into_inner();
    while soon("an answer", answers.message()).await.unwrap().is_some() {}
    let tar = export(&mut mitic.admin().await, &exchange).await.unwrap();
    let sealed = "stream/answer/: sealed: 1 batch, 17 bytes, and its end";
    let received = "stream/answer/: received, as the receiver sealed: 1 batch, and the end";
    let holds = verify(&tar, Some(&anchor)).holds;
    for said in [sealed, received] {
        assert!(holds.iter().any(|holds| holds == said), "{said}: {holds:?}");
    }
    // An end that nobody says to have received is its author's word alone.
    let report = verify(&without(&tar, "stream/answer/close.received.entry"), Some(&anchor));
    let unreceived = "stream/answer/: received, as the receiver sealed: 1 batch, not the end";
    for said in [sealed, unreceived] {
        assert!(report.holds.iter().any(|holds| holds == said), "{said}: {report:?}");
    }
    assert!(report.missing.iter().any(|missing| missing == "stream/answer/close.received.entry"));
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_of_the_providers_ledger_tells_the_story() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let (requests, stream) = mpsc::channel(1);
    let talk = mitic.caller("MEC").await.talk(ReceiverStream::new(stream)).await.unwrap();
    let exchange = exchange_of(talk.metadata());
    let mut answers = talk.into_inner();
    for word in ["petei", "mokoi"] {
        requests.send(TalkRequest { body: word.into() }).await.unwrap();
        assert_eq!(soon("an answer", answers.message()).await.unwrap().unwrap().body, word);
    }
    drop(requests);
    assert_eq!(soon("the end", answers.message()).await.unwrap(), None);
    let tar = export(&mut mec.admin().await, &exchange).await.unwrap();
    let evidence = Evidence::from_tar(&tar).unwrap();
    let index = |name: &str| {
        let proof = evidence.file(&format!("{name}.tlog-proof")).unwrap_or_else(|| panic!("no {name}"));
        tlog_proof::parse(proof).unwrap().position.index()
    };
    let received = "entries/2-received-by-provider";
    let asked = ["stream/request/0.received", "stream/request/1.received", "stream/request/close.received"];
    let answered = ["entries/3-answer", "stream/answer/0", "stream/answer/1", "stream/answer/close"];
    for story in [&asked[..], &answered] {
        let indexes: Vec<_> = [received].iter().chain(story).map(|name| index(name)).collect();
        assert!(indexes.is_sorted(), "{story:?}: {indexes:?}");
    }
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_with_side_effects_hears_nothing_that_a_crash_could_forget() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let disk = SlowDisk::new();
    let environment = Environment { disk: Arc::new(disk.clone()), ..Environment::default() };
    let (mitic, mec) = (mitic.start().await, mec.start_in(&environment).await);
    mec.grant("MITIC").await;
    let (requests, stream) = mpsc::channel(1);
    let mut heard = mec.agency.echo.gathered();
    let mut caller = mitic.caller("MEC").await;
    let call = tokio::spawn(async move { caller.gather(ReceiverStream::new(stream)).await });
    disk.slow_down(SLOW_SYNC);
    for number in 1..4 {
        let (before, _) = disk.syncs();
        requests.send(GatherRequest { body: number.to_string().into() }).await.unwrap();
        soon("a request", heard.wait_for(|heard| heard.len() == number)).await.unwrap();
        assert!(disk.syncs().0 > before, "request {number} was heard before it was durable that it came");
    }
    drop(requests);
    assert_eq!(soon("the answer", call).await.unwrap().unwrap().into_inner().count, 3);
    mitic.stop().await;
    mec.stop().await;
}

/// Longer than anything on the way of a batch takes.
const SLOW_SYNC: Duration = Duration::from_millis(500);
/// Of everything that happens at once unless it does not happen.
const LONG: Duration = Duration::from_secs(30);
