//! `peabiru doctor` on nodes with which something is wrong.

use std::time::Duration;

use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Federation, Member, PASSPHRASE, clock_at};
use peabiru_integration_tests::process::{Ended, run};
use peabiru_proto::time::{Clock as _, SystemClock};

const PROGRAM: &str = env!("CARGO_BIN_EXE_peabiru-spawned");

async fn doctor(member: &Member) -> Ended {
    run(PROGRAM, PASSPHRASE, &["doctor", "--admin-socket"], &member.node.admin_socket).await
}

fn says(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}{}", ended.stdout, ended.stderr);
    for part in parts {
        assert!(ended.stdout.contains(part), "no `{part}`: {}", ended.stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_how_peers_are_reached_and_which_are_not() {
    let mut federation = Federation::start().await;
    let mitic = federation.enrol("MITIC").await;
    let mec = federation.enrol("MEC").await.with_carriers("[\"http2\"]");
    let (mitic, mec) = (mitic.start().await, mec.start().await);
    mec.grant("MITIC").await;
    mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap();
    let registry = format!("{} answers", federation.instance.anchor.registries[0].url);
    let reached = ["PY/GOV/MEC/node is reached over http2 on TCP; not over QUIC: ", "→ open UDP", &registry];
    says(&doctor(&mitic).await, 6, &reached);
    // The grant of the tests lasts an hour.
    says(
        &doctor(&mec).await,
        6,
        &["grants: MITIC-testing for PY/GOV/MITIC/app ends in 59 min", "(TCP: http2)"],
    );
    let mec = mec.stop().await;
    federation.stop_registry().await;
    let ended = doctor(&mitic).await;
    says(&ended, 7, &["PY/GOV/MEC/node is not reached: ", "does not answer: ", "good for 3 days more"]);
    assert!(ended.stdout.starts_with("broken"), "{}", ended.stdout);
    drop(mec);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_clock_is_seen_against_the_registry_and_against_peers() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let (clock, environment) = clock_at(SystemClock.now());
    let (mitic, mec) = (mitic.start_in(&environment).await, mec.start().await);
    mec.grant("MITIC").await;
    mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap();
    clock.advance(Duration::from_secs(120));
    mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap_err();
    let url = &federation.instance.anchor.registries[0].url;
    let ended = doctor(&mitic).await;
    says(&ended, 7, &[&format!("clock: {url} is 1"), "behind this node", "→ set this machine's clock"]);
    let ended = doctor(&mec).await;
    says(&ended, 7, &["clock: PY/GOV/MITIC/node is 1", "ahead of this node"]);
    // A certificate's and a snapshot's end come with time.
    clock.advance(Duration::from_secs(3 * 366 * 24 * 60 * 60));
    let ended = doctor(&mitic).await;
    says(
        &ended,
        7,
        &["certificate: authentication: ended at ", "certificate: sealing of PY/GOV/MITIC: ended at "],
    );
    says(&ended, 7, &["this node carries nothing"]);
}
