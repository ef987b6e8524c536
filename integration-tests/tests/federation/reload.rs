//! A node that reads its configuration again while it works.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use peabiru_integration_tests::echo::Echo;
use peabiru_integration_tests::echo::wire::{NoteRequest, SayRequest};
use peabiru_integration_tests::federation::{Agency, Caller, Federation, Member, PASSPHRASE};
use peabiru_integration_tests::process::{Spawned, run};
use peabiru_proto::hash::Digest;
use peabiru_proto::wire::ReloadRequest;
use tonic::Code;

const PROGRAM: &str = env!("CARGO_BIN_EXE_peabiru-spawned");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_a_reload_loses_no_call_and_the_next_call_has_the_new_settings() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let load = Load::start(&mitic, 4).await;
    let other = Echo::default();
    let (first, second) = (mec.agency.service, other.start().await);
    for round in 0..6 {
        let (from, to) = if round % 2 == 0 { (first, second) } else { (second, first) };
        edit(&mec.agency, &from.to_string(), &to.to_string());
        edit(
            &mec.agency,
            &format!("spool_mebibytes = {}", 32 + round),
            &format!("spool_mebibytes = {}", 33 + round),
        );
        let changes = mec.node.reload().await.unwrap();
        let keys: Vec<_> = changes.iter().map(|change| change.key.as_str()).collect();
        let service = "[[services]] PY/GOV/MEC/app/road.test.v1.EchoService";
        assert_eq!(keys, [service, "[storage] spool_mebibytes"]);
        let text = format!("round {round}");
        mitic.caller("MEC").await.note(NoteRequest { text: text.clone() }).await.unwrap();
        let (at_first, at_second) = (mec.agency.echo.noted(), other.noted());
        let (there, elsewhere) = if round % 2 == 0 { (at_second, at_first) } else { (at_first, at_second) };
        assert!(there.contains_key(&text) && !elsewhere.contains_key(&text), "{text}");
        let budget = if round % 2 == 0 { 8 } else { 64 };
        set(&mitic.agency, "[link]", "memory_budget_mebibytes", budget);
        set(&mitic.agency, "[door]", "max_calls", 100 + budget);
        let changes = mitic.node.reload().await.unwrap();
        assert_eq!(changes.len(), 2, "{changes:?}");
        load.another_round().await;
    }
    assert!(load.end().await >= 6 * 4, "each caller was answered in each round");
    mec.stop().await;
    mitic.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_removed_is_refused_at_the_next_call_of_a_live_connection() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    caller.say(SayRequest::default()).await.unwrap();
    let (old, new) = (Digest::of(mitic.agency.token.as_bytes()), Digest::of(b"another token"));
    edit(&mitic.agency, &old.to_string(), &new.to_string());
    let changes = mitic.admin().await.reload(ReloadRequest {}).await.unwrap().into_inner().changes;
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(changes.iter().any(|change| change.ends_with(": removed")), "{changes:?}");
    assert!(changes.iter().all(|change| !change.contains(&new.to_string())), "{changes:?}");
    let refused = caller.say(SayRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    let headers = [
        ("x-peabiru-token", "another token"),
        ("x-peabiru-purpose", "testing"),
        ("x-road-service", "PY/GOV/MEC/app/road.test.v1.EchoService"),
    ];
    mitic.caller_with(&headers).await.say(SayRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_at_a_start_only_is_refused_whole_and_named() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let config = fs::read_to_string(mec.agency.site.config()).unwrap();
    // A change that would be taken alone, and one that is not.
    edit(&mec.agency, &mec.agency.service.to_string(), "127.0.0.1:1");
    edit(&mec.agency, "segment_mebibytes = 8", "segment_mebibytes = 16");
    let line = config.lines().position(|line| line.starts_with("segment_mebibytes")).unwrap() + 1;
    let refused = mec.admin().await.reload(ReloadRequest {}).await.unwrap_err();
    let place = format!("node.toml:{line}: [storage] segment_mebibytes: ");
    for part in ["config.needs_restart", &place, "write 8 again"] {
        assert!(refused.message().contains(part), "no `{part}`: {refused:?}");
    }
    let mut caller = mitic.caller("MEC").await;
    caller.say(SayRequest::default()).await.unwrap();

    // The same from a terminal, and for a mistake.
    fs::write(mec.agency.site.config(), config.replace("url = ", "ulr = ")).unwrap();
    let socket = mec.agency.site.admin_socket();
    let reload = async || run(PROGRAM, PASSPHRASE, &["node", "reload", "--admin-socket"], &socket).await;
    let ended = reload().await;
    assert_ne!(ended.code, Some(0));
    let line = config.lines().position(|line| line.starts_with("url")).unwrap() + 1;
    let place = format!("node.toml:{line}: [[services]] ulr: ");
    for part in ["config.mistake", &place, "unknown field `ulr`"] {
        assert!(ended.stderr.contains(part), "no `{part}`: {}", ended.stderr);
    }
    caller.say(SayRequest::default()).await.unwrap();
    fs::remove_file(mec.agency.site.config()).unwrap();
    assert!(reload().await.stderr.contains("config.unreadable"));
    fs::write(mec.agency.site.config(), config).unwrap();
    let ended = reload().await;
    assert!(ended.code == Some(0) && ended.stdout.contains("nothing"), "{}{}", ended.stdout, ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reloads_and_ends_nothing() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let (mitic, mec) = (mitic.start().await, Spawned::start(mec, Path::new(PROGRAM)).await);
    let admin = &mut mec.admin().await;
    peabiru_integration_tests::federation::grant_at(admin, "MEC", "MITIC", &["testing"], &[]).await;
    let mut caller = mitic.caller("MEC").await;
    caller.say(SayRequest::default()).await.unwrap();
    let other = Echo::default();
    let at = other.start().await;
    edit(&mec.agency, &mec.agency.service.to_string(), &at.to_string());
    let process = mec.process_id().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &process]).status().unwrap().success());
    while !other.noted().contains_key("there") {
        caller.note(NoteRequest { text: "there".to_owned() }).await.unwrap();
    }
    assert_eq!(mec.process_id().to_string(), process);
}

/// Callers that go on until they are told to end.
struct Load {
    callers: Vec<tokio::task::JoinHandle<u32>>,
    answered: Arc<[AtomicU32]>,
    end: Arc<AtomicBool>,
}

impl Load {
    async fn start(at: &Member, callers: usize) -> Self {
        let answered: Arc<[AtomicU32]> = (0..callers).map(|_| AtomicU32::new(0)).collect();
        let end = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for number in 0..callers {
            let (caller, answered, end) = (at.caller("MEC").await, Arc::clone(&answered), Arc::clone(&end));
            tasks.push(tokio::spawn(call(caller, number, answered, end)));
        }
        Self { callers: tasks, answered, end }
    }

    /// Waits until each caller was answered twice more: one of the calls began after now.
    async fn another_round(&self) {
        let counts = || self.answered.iter().map(|answered| answered.load(Ordering::Relaxed));
        let before: Vec<_> = counts().collect();
        while counts().zip(&before).any(|(now, before)| now < before + 2) {
            assert!(!self.callers.iter().any(tokio::task::JoinHandle::is_finished), "a caller was refused");
            tokio::task::yield_now().await;
        }
    }

    /// How many were answered; none was refused.
    async fn end(self) -> u32 {
        self.end.store(true, Ordering::Relaxed);
        let mut answered = 0;
        for caller in self.callers {
            answered += caller.await.unwrap();
        }
        answered
    }
}

async fn call(mut caller: Caller, number: usize, answered: Arc<[AtomicU32]>, end: Arc<AtomicBool>) -> u32 {
    while !end.load(Ordering::Relaxed) {
        caller.say(SayRequest::default()).await.unwrap();
        answered[number].fetch_add(1, Ordering::Relaxed);
    }
    answered[number].load(Ordering::Relaxed)
}

/// Changes the node's configuration.
fn edit(agency: &Agency, from: &str, to: &str) {
    let text = fs::read_to_string(agency.site.config()).unwrap();
    assert!(text.contains(from), "no `{from}` in {text}");
    fs::write(agency.site.config(), text.replacen(from, to, 1)).unwrap();
}

/// Sets a number, in place of the one that is there.
fn set(agency: &Agency, section: &str, key: &str, value: u32) {
    let text = fs::read_to_string(agency.site.config()).unwrap();
    let kept: Vec<_> = text.lines().filter(|line| !line.starts_with(key)).collect();
    fs::write(agency.site.config(), kept.join("\n") + "\n").unwrap();
    edit(agency, &format!("{section}\n"), &format!("{section}\n{key} = {value}\n"));
}
