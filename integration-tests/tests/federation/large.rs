//! Bodies of more than one chunk, and calls of many messages: delivered whole, both ways.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use peabiru_integration_tests::echo::wire::{CollectRequest, MirrorRequest, SayRequest, WatchRequest};
use peabiru_integration_tests::federation::{Federation, Member, ledger_folder};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::limits::MAX_BODY_BYTES;
use tonic::{Code, Status};

/// The consumer's RECEIVED is committed a moment after its answer: until then its file is in the spool.
fn held(member: &Member) -> usize {
    files(member, "large") + files(member, "spool")
}

fn files(member: &Member, folder: &str) -> usize {
    count(&ledger_folder(&member.agency.site).join(folder))
}

fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
}

fn fault(status: &Status) -> Fault {
    Fault::from_grpc_details(status.details()).unwrap_or_else(|| panic!("no fault: {status:?}"))
}

fn pattern(bytes: usize) -> Bytes {
    (0..=250u8).cycle().take(bytes).collect::<Vec<_>>().into()
}

/// Until something holds that needs no further call: a file that goes away, for example.
async fn until(holds: impl Fn() -> bool) {
    let looking = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_any_length_pass_both_ways_and_are_kept_by_both_nodes() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let framing = 5 + 4;
    for (bytes, in_files) in [
        (MAX_BODY_BYTES - framing, 0),
        (MAX_BODY_BYTES - framing + 1, 2),
        (2 * MAX_BODY_BYTES - framing, 2),
        (5_000_003, 2),
    ] {
        let before = (held(&mitic), held(&mec));
        let said = SayRequest { body: pattern(bytes), ..SayRequest::default() };
        let answer = caller.say(said.clone()).await.unwrap().into_inner();
        assert!(answer.body == said.body, "{bytes}");
        assert_eq!((held(&mitic), held(&mec)), (before.0 + in_files, before.1 + in_files));
    }
    // Large one way alone.
    let asked = SayRequest { answer_bytes: 1_000_000, ..SayRequest::default() };
    assert_eq!(caller.say(asked).await.unwrap().into_inner().body.len(), 1_000_000);
    let failing = SayRequest { body: pattern(1_000_000), fail_with: 9, ..SayRequest::default() };
    assert_eq!(caller.say(failing).await.unwrap_err().code(), Code::FailedPrecondition);
    until(|| files(&mitic, "spool") + files(&mec, "spool") == 0).await;
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_many_messages_are_delivered_whole() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    for (count, bytes) in [(0, 0), (3, 10), (100, 30_000)] {
        let watch = WatchRequest { count, bytes, fail_with: 0 };
        let mut answers = caller.watch(watch).await.unwrap().into_inner();
        let mut got = 0;
        while let Some(answer) = answers.message().await.unwrap() {
            assert_eq!((answer.body.len(), answer.body.first().copied()), (bytes as usize, Some(got)));
            got += 1;
        }
        assert_eq!(u32::from(got), count);
        let requests = (0..count).map(move |_| CollectRequest { body: pattern(bytes as usize) });
        let collected = caller.collect(tokio_stream::iter(requests)).await.unwrap().into_inner();
        assert_eq!((collected.count, collected.bytes), (count, u64::from(count * bytes)));
        let requests = (0..count).map(move |_| MirrorRequest { body: pattern(bytes as usize) });
        let mut answers = caller.mirror(tokio_stream::iter(requests)).await.unwrap().into_inner();
        let mut mirrored = 0;
        while let Some(answer) = answers.message().await.unwrap() {
            assert!(answer.body == pattern(bytes as usize));
            mirrored += 1;
        }
        assert_eq!(mirrored, count);
    }
    // The messages before an error are delivered, and then the error.
    let watch = WatchRequest { count: 10, bytes: 20_000, fail_with: 10 };
    let mut answers = caller.watch(watch).await.unwrap().into_inner();
    for _ in 0..10 {
        assert!(answers.message().await.unwrap().is_some());
    }
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Aborted);
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_one_node_no_two_entries_share_a_file() {
    let mut federation = Federation::start().await;
    let [mec] = federation.members(["MEC"]).await;
    mec.grant("MEC").await;
    let said = SayRequest { body: pattern(300_000), ..SayRequest::default() };
    let answer = mec.caller("MEC").await.say(said.clone()).await.unwrap().into_inner();
    assert!(answer.body == said.body);
    assert_eq!((files(&mec, "large"), files(&mec, "spool")), (4, 0));
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_grant_allows_is_refused_before_a_byte_of_it_is_kept() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    let mut caller = mitic.caller("MEC").await;
    let said = SayRequest { body: pattern(4_000_000), ..SayRequest::default() };
    let refused = fault(&caller.say(said).await.unwrap_err());
    assert_eq!((refused.code, refused.place), (FaultCode::AccessNoGrant, Place::ProviderNode));
    assert_eq!((files(&mec, "large"), files(&mec, "spool")), (0, 0));
    until(|| files(&mitic, "large") + files(&mitic, "spool") == 0).await;
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_leaves_nothing_behind() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let (requests, stream) = tokio::sync::mpsc::channel(4);
    let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
    let call = tokio::spawn(async move { caller.collect(stream).await });
    for _ in 0..10 {
        requests.send(CollectRequest { body: pattern(100_000) }).await.unwrap();
    }
    until(|| files(&mitic, "spool") == 1 && files(&mec, "spool") == 1).await;
    call.abort();
    until(|| files(&mitic, "spool") + files(&mec, "spool") == 0).await;
    assert_eq!((files(&mitic, "large"), files(&mec, "large")), (0, 0));
    // And the next one passes.
    let said = SayRequest { body: pattern(100_000), ..SayRequest::default() };
    mitic.caller("MEC").await.say(said).await.unwrap();
    mitic.stop().await;
    mec.stop().await;
}
