//! How streams end other than well, and what stays of them.

use std::future::Future;
use std::time::Duration;

use peabiru_integration_tests::echo::wire::{FollowRequest, FollowResponse, GatherRequest, SayRequest};
use peabiru_integration_tests::evidence::{exchange_of, export};
use peabiru_integration_tests::federation::{Caller, Federation, Member};
use peabiru_ledger::evidence::{Outcome, verify};
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::wire::WithdrawLedgerRequest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, event).await.unwrap_or_else(|_| panic!("{what} does not happen"))
}

fn fault_of(status: &Status) -> FaultCode {
    Fault::from_grpc_details(status.details()).unwrap_or_else(|| panic!("no fault of ours: {status:?}")).code
}

/// A stream of which one answer came.
async fn followed(
    member: &Member,
    caller: &mut Caller,
) -> (mpsc::Sender<Result<FollowResponse, Status>>, Streaming<FollowResponse>) {
    let feed = member.agency.echo.feed();
    feed.send(Ok(FollowResponse { body: "1".into() })).await.unwrap();
    let mut answers =
        soon("the beginning", caller.follow(FollowRequest::default())).await.unwrap().into_inner();
    assert_eq!(soon("an answer", answers.message()).await.unwrap().unwrap().body, "1");
    (feed, answers)
}

async fn two(federation: &mut Federation, carriers: &str) -> [Member; 2] {
    let mitic = federation.enrol("MITIC").await.with_carriers(carriers);
    let mec = federation.enrol("MEC").await.with_carriers(carriers);
    let members = [mitic.start().await, mec.start().await];
    members[1].grant("MITIC").await;
    members
}

/// Whatever carries it: who gives a stream up, also after having said all, is heard at the service.
async fn given_up(carriers: &str) {
    let mut federation = Federation::start().await;
    let [mitic, mec] = two(&mut federation, carriers).await;
    let mut caller = mitic.caller("MEC").await;
    let (feed, answers) = followed(&mec, &mut caller).await;
    drop(answers);
    soon("that the service hears of it", feed.closed()).await;
    // In the middle of a request: a service must never take it for a whole one.
    let (mut gathered, mut broken_off) = (mec.agency.echo.gathered(), mec.agency.echo.broken_off());
    for times in 1..=8 {
        let mut caller = mitic.caller("MEC").await;
        let (requests, stream) = mpsc::channel(1);
        let call = tokio::spawn(async move { caller.gather(ReceiverStream::new(stream)).await });
        requests.send(GatherRequest { body: "a".into() }).await.unwrap();
        soon("the request", gathered.wait_for(|gathered| gathered.len() == times)).await.unwrap();
        call.abort();
        let heard = broken_off.wait_for(|breaks| *breaks as usize == times);
        soon("that the service hears of the break", heard).await.unwrap();
    }
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_gives_up_over_quic() {
    given_up(r#"["quic"]"#).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_gives_up_over_http2() {
    given_up(r#"["http2"]"#).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_may_have_enough_before_all_was_said() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let (requests, stream) = mpsc::channel(1);
    let call = tokio::spawn(async move { caller.gather(ReceiverStream::new(stream)).await });
    for body in ["a", "enough"] {
        requests.send(GatherRequest { body: body.into() }).await.unwrap();
    }
    let status = soon("the answer", call).await.unwrap().unwrap_err();
    assert_eq!(
        (status.code(), status.message(), status.details()),
        (Code::Aborted, "as you wish: ñ", &b"details"[..])
    );
    soon("that the caller is told to stop", requests.closed()).await;
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_deadline_ends_a_stream_on_both_sides() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let feed = mec.agency.echo.feed();
    feed.send(Ok(FollowResponse { body: "1".into() })).await.unwrap();
    let mut request = Request::new(FollowRequest::default());
    request.set_timeout(Duration::from_secs(2));
    let mut answers = mitic.caller("MEC").await.follow(request).await.unwrap().into_inner();
    assert!(soon("an answer", answers.message()).await.unwrap().is_some());
    let status = soon("the end", answers.message()).await.unwrap_err();
    assert_eq!((status.code(), fault_of(&status)), (Code::DeadlineExceeded, FaultCode::ExchangeDeadline));
    soon("that the service hears of it", feed.closed()).await;
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_dies_and_a_node_that_stops_end_the_stream_with_their_reason() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let (feed, mut answers) = followed(&mec, &mut caller).await;
    feed.send(Ok(FollowResponse { body: "die".into() })).await.unwrap();
    let status = soon("the end", answers.message()).await.unwrap_err();
    assert_eq!((status.code(), fault_of(&status)), (Code::Unavailable, FaultCode::ServiceUnreachable));

    let (_feed, mut answers) = followed(&mec, &mut caller).await;
    let stopping = tokio::spawn(mec.stop());
    let status = soon("the end", answers.message()).await.unwrap_err();
    assert_eq!((status.code(), fault_of(&status)), (Code::Unavailable, FaultCode::NodeDraining));
    soon("the stop", stopping).await.unwrap();
    mitic.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_is_taken_back_ends_its_streams() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let feed = mec.agency.echo.feed();
    feed.send(Ok(FollowResponse { body: "1".into() })).await.unwrap();
    let followed = soon("the beginning", caller.follow(FollowRequest::default())).await.unwrap();
    let exchange = exchange_of(followed.metadata());
    let mut answers = followed.into_inner();
    assert!(soon("an answer", answers.message()).await.unwrap().is_some());
    let (id, member) = ("MITIC-testing".to_owned(), "PY/GOV/MEC".to_owned());
    let revoke = peabiru_proto::wire::RevokeGrantRequest { id, member };
    mec.admin().await.revoke_grant(revoke).await.unwrap();
    let status = soon("the end", answers.message()).await.unwrap_err();
    assert_eq!((status.code(), fault_of(&status)), (Code::PermissionDenied, FaultCode::AccessNoGrant));
    soon("that the service hears of it", feed.closed()).await;
    // An auditor sees that it was the node, and why.
    let tar = export(&mut mitic.admin().await, &exchange).await.unwrap();
    let report = verify(&tar, Some(&federation.instance.anchor));
    assert_eq!(report.outcome, Outcome::Verified, "{report:?}");
    assert_eq!(report.facts.unwrap().outcome.as_deref(), Some("access.no_grant"));
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lets_no_new_call_in_ends_a_stream_that_is_silent() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let (feed, mut answers) = followed(&mec, &mut mitic.caller("MEC").await).await;
    let request = WithdrawLedgerRequest { origin: mitic.agency.site.origin.to_string() };
    let proposed = federation.officers.registration.withdraw_ledger(request).await.unwrap().into_inner();
    federation.officers.approve(proposed.proposal).await.unwrap();
    let status = soon("the end", answers.message()).await.unwrap_err();
    assert_eq!(fault_of(&status), FaultCode::SealUnknownLedger);
    soon("that the service hears of it", feed.closed()).await;
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_slows_the_service_and_nobody_else() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let request = FollowRequest { count: 10_000, bytes: 60_000, fail_with: 0 };
    let mut answers = mitic.caller("MEC").await.follow(request).await.unwrap().into_inner();
    let mut caller = mitic.caller("MEC").await;
    for _ in 0..50 {
        caller.say(SayRequest::default()).await.unwrap();
    }
    // 24 MB of 600: what all windows and queues on the way hold together.
    let made = mec.agency.echo.made();
    assert!(made < 400, "{made} answers were made for a reader that reads none");
    for number in 0u32..1000 {
        let answer = soon("an answer", answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.body[0], number.to_le_bytes()[0]);
    }
    assert!(mec.agency.echo.made() < 1400);
    drop(answers);
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_leave_room_for_everything_else() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let request = FollowRequest { count: 10_000, bytes: 60_000, fail_with: 0 };
    let mut unread = Vec::new();
    let refused = loop {
        assert!(unread.len() <= STREAMS_MAX, "nobody says that it is enough");
        match soon("an answer", mitic.caller("MEC").await.follow(request)).await {
            Ok(answers) => unread.push(answers.into_inner()),
            Err(status) => break status,
        }
    };
    assert_eq!((unread.len(), fault_of(&refused)), (STREAMS_MAX, FaultCode::NodeOverloaded));
    let mut caller = mitic.caller("MEC").await;
    for _ in 0..20 {
        let large = SayRequest { answer_bytes: 60_000, ..SayRequest::default() };
        assert_eq!(soon("an answer", caller.say(large)).await.unwrap().into_inner().body.len(), 60_000);
    }
    unread.pop();
    let again = async { while mitic.caller("MEC").await.follow(request).await.is_err() {} };
    soon("that there is a place again", again).await;
    drop(unread);
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_the_end_of_a_stream_however_long_it_takes() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let request = FollowRequest { count: ANSWERS, bytes: 60_000, fail_with: 10 };
    let mut answers = mitic.caller("MEC").await.follow(request).await.unwrap().into_inner();
    let all_made = async {
        while mec.agency.echo.made() < ANSWERS {
            tokio::task::yield_now().await;
        }
    };
    soon("that the service has said all", all_made).await;
    // Nothing happens for longer than a node waits for the last word of a stream that was broken off.
    let _ = tokio::time::timeout(BEYOND_CLOSE_WAIT, std::future::pending::<()>()).await;
    for _ in 0..ANSWERS {
        assert!(soon("an answer", answers.message()).await.unwrap().is_some());
    }
    assert_eq!(soon("the end", answers.message()).await.unwrap_err().code(), Code::Aborted);
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_lets_more_commits_pass_than_heads_are_kept_gets_all_the_same() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let request = FollowRequest { count: 200, bytes: 60_000, fail_with: 0 };
    let mut answers = mitic.caller("MEC").await.follow(request).await.unwrap().into_inner();
    let mut caller = mitic.caller("MEC").await;
    // One after the other: each answer is sealed by a head of its own.
    for _ in 0..HEADS_KEPT + 100 {
        caller.say(SayRequest::default()).await.unwrap();
    }
    for _ in 0..200 {
        assert!(soon("an answer", answers.message()).await.unwrap().is_some());
    }
    assert_eq!(soon("the end", answers.message()).await.unwrap(), None);
    mitic.stop().await;
    mec.stop().await;
}

/// Of 60 kB: more than the windows of the application hold, and less than all on the way.
const ANSWERS: u32 = 45;
/// Between two nodes.
const STREAMS_MAX: usize = 32;
/// By a node, of one ledger of others.
const HEADS_KEPT: u32 = 1024;
const BEYOND_CLOSE_WAIT: Duration = Duration::from_secs(7);
/// Of everything that happens at once unless it does not happen.
const LONG: Duration = Duration::from_secs(30);
