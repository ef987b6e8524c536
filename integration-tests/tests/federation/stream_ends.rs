//! How streams end other than well, and what stays of them.

use std::future::Future;
use std::time::Duration;

use peabiru_integration_tests::echo::wire::{
    FollowRequest, FollowResponse, GatherRequest, SayRequest, TalkRequest,
};
use peabiru_integration_tests::evidence::{exchange_of, export, without};
use peabiru_integration_tests::federation::{Caller, Federation, Member};
use peabiru_ledger::evidence::{Evidence, Outcome, verify};
use peabiru_proto::fault::{Fault, FaultCode};
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
    let (feed, mut answers) = followed(&mec, &mut caller).await;
    let (id, member) = ("MITIC-testing".to_owned(), "PY/GOV/MEC".to_owned());
    let revoke = peabiru_proto::wire::RevokeGrantRequest { id, member };
    mec.admin().await.revoke_grant(revoke).await.unwrap();
    let status = soon("the end", answers.message()).await.unwrap_err();
    assert_eq!((status.code(), fault_of(&status)), (Code::PermissionDenied, FaultCode::AccessNoGrant));
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
    mitic.stop().await;
    mec.stop().await;
}

/// Of everything that happens at once unless it does not happen.
const LONG: Duration = Duration::from_secs(30);
