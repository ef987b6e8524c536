//! Streams whose messages are sealed and delivered while they go on.

use std::future::Future;
use std::time::Duration;

use peabiru_integration_tests::echo::wire::{FollowRequest, FollowResponse, GatherRequest, TalkRequest};
use peabiru_integration_tests::federation::Federation;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

fn answer(body: &str) -> FollowResponse {
    FollowResponse { body: body.to_owned().into() }
}

/// Within a bound that only a failure reaches.
async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, event).await.unwrap_or_else(|_| panic!("{what} does not happen"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_arrives_before_the_next_is_made() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let feed = mec.agency.echo.feed();
    feed.send(Ok(answer("1"))).await.unwrap();
    let mut caller = mitic.caller("MEC").await;
    let followed = soon("the beginning", caller.follow(FollowRequest::default())).await.unwrap();
    assert_eq!(followed.metadata().get("x-followed").unwrap(), "yes");
    let mut answers = followed.into_inner();
    for number in 1..4 {
        let came = soon("an answer", answers.message()).await.unwrap().unwrap();
        assert_eq!(came, answer(&number.to_string()));
        // Only now is the next one made.
        feed.send(Ok(answer(&(number + 1).to_string()))).await.unwrap();
    }
    assert_eq!(soon("the last", answers.message()).await.unwrap(), Some(answer("4")));
    drop(feed);
    assert_eq!(soon("the end", answers.message()).await.unwrap(), None);
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_heard_before_the_next_is_said() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let (requests, stream) = mpsc::channel(1);
    let mut gathered = mec.agency.echo.gathered();
    let call = tokio::spawn(async move { caller.gather(ReceiverStream::new(stream)).await });
    for number in 1..4 {
        requests.send(GatherRequest { body: number.to_string().into() }).await.unwrap();
        soon("a request", gathered.wait_for(|gathered| gathered.len() == number)).await.unwrap();
    }
    drop(requests);
    assert_eq!(soon("the answer", call).await.unwrap().unwrap().into_inner().count, 3);
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_talk_with_each_other_between_nodes_and_within_one() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    mec.grant("MEC").await;
    for asking in [&mitic, &mec] {
        let mut caller = asking.caller("MEC").await;
        let (requests, stream) = mpsc::channel(1);
        let said = |body: &str| TalkRequest { body: body.to_owned().into() };
        let talk = soon("the beginning", caller.talk(ReceiverStream::new(stream))).await;
        let mut answers = talk.unwrap().into_inner();
        for word in ["mba'éichapa", "iporã", "ha nde"] {
            requests.send(said(word)).await.unwrap();
            assert_eq!(soon("an answer", answers.message()).await.unwrap().unwrap().body, word);
        }
        drop(requests);
        assert_eq!(soon("the end", answers.message()).await.unwrap(), None);
    }
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_batches_pass_and_how_it_ended_is_told_as_the_service_told_it() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let request = FollowRequest { count: 100, bytes: 20_000, fail_with: 10 };
    let mut answers = caller.follow(request).await.unwrap().into_inner();
    let mut came = 0u32;
    let status = loop {
        match soon("an answer", answers.message()).await {
            Ok(Some(answer)) => {
                assert_eq!(answer.body, vec![came.to_le_bytes()[0]; 20_000]);
                came += 1;
            }
            Ok(None) => panic!("it ends with a status"),
            Err(status) => break status,
        }
    };
    assert_eq!((came, status.code(), status.message()), (100, Code::Aborted, "as you wish: ñ"));
    assert_eq!(
        (status.details(), status.metadata().get("x-reason").unwrap().as_bytes()),
        (&b"details"[..], &b"wish"[..])
    );
    // Trailers only: the service has nothing to say but how it ended.
    let request = FollowRequest { fail_with: 5, ..FollowRequest::default() };
    let ended = caller.follow(request).await.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!((ended.code(), ended.details()), (Code::NotFound, &b"details"[..]));
    mitic.stop().await;
    mec.stop().await;
}

/// Of everything that happens at once unless it does not happen.
const LONG: Duration = Duration::from_secs(30);
