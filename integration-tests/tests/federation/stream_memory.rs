//! What streams that nobody reads take of a node's memory, as the node itself counts it, and what they leave to others.

use peabiru_integration_tests::echo::wire::{
    FollowRequest, FollowResponse, SayRequest, TalkRequest, TalkResponse,
};
use peabiru_integration_tests::federation::{Federation, Member, service};
use peabiru_integration_tests::metrics::{gauge, until_nothing_is_held};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::raw_door::soon;

/// Many answers, of a chunk each.
const ENDLESS: FollowRequest = FollowRequest { count: 10_000, bytes: 60_000, fail_with: 0 };

async fn follow(mitic: &Member) -> Result<Streaming<FollowResponse>, Status> {
    let mut caller = mitic.caller("MEC").await;
    Ok(soon("the beginning of a stream", caller.follow(ENDLESS)).await?.into_inner())
}

async fn held(member: &Member, what: &str) -> u64 {
    gauge(member.node.metrics.unwrap(), what).await
}

/// Until every way is full and the service waits, other exchanges of the same two nodes pass, and neither node takes more
/// than its share for the streams.
async fn passes_beside(mitic: &Member, mec: &[Member], streams: u64) {
    let mut caller = mitic.caller("MEC").await;
    let made = || mec[0].agency.echo.made();
    let mut full = 0;
    while full < 20 || u64::from(made()) < streams {
        let before = made();
        for answer_bytes in [10, 60_000, 300_000] {
            let asked = SayRequest { answer_bytes, ..SayRequest::default() };
            let answer = soon("an answer beside streams", caller.say(asked)).await.unwrap().into_inner();
            assert_eq!(answer.body.len(), answer_bytes as usize);
        }
        full = if made() == before { full + 1 } else { 0 };
        let taken = held(mitic, "peabiru_link_memory_bytes").await;
        assert!(
            taken <= streams * STREAM_BYTES_MAX,
            "{streams} streams take {taken} bytes of the consumer's budget"
        );
        for node in mec {
            let ahead = held(node, "peabiru_stream_batches_ahead").await;
            assert!(ahead <= BATCHES_AHEAD_MAX, "{ahead} batches are ahead of others");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_streams_that_nobody_reads_take_their_share_and_no_more() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut unread = Vec::new();
    for _ in 0..16 {
        unread.push(follow(&mitic).await.unwrap());
    }
    let mec = [mec];
    passes_beside(&mitic, &mec, 16).await;
    assert_eq!(held(&mitic, "peabiru_link_streams").await, 16);
    drop(unread);
    for member in [&mitic, &mec[0]] {
        until_nothing_is_held(member.node.metrics.unwrap()).await;
    }
    mitic.stop().await;
}

/// What is too much between two nodes is asked of another node of the member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_streams_are_spread_over_a_members_nodes() {
    let mut federation = Federation::start().await;
    let mec = federation.enrol("MEC").await;
    let second = federation.second_node(&mec).await;
    let mitic = federation.enrol("MITIC").await;
    let mec = [mec.start().await, second.start().await];
    let mitic = mitic.start().await;
    for node in &mec {
        node.grant("MITIC").await;
    }
    let mut unread = Vec::new();
    for _ in 0..64 {
        unread.push(follow(&mitic).await.unwrap_or_else(|status| panic!("{}: {status:?}", unread.len())));
    }
    for node in &mec {
        assert_eq!(held(node, "peabiru_link_streams").await, 32);
    }
    let refused = follow(&mitic).await.map(drop).unwrap_err();
    let fault = Fault::from_grpc_details(refused.details()).unwrap();
    assert_eq!((fault.code, fault.place), (FaultCode::NodeOverloaded, Place::ConsumerNode));
    passes_beside(&mitic, &mec, 64).await;
    drop(unread);
    for member in [&mitic, &mec[0], &mec[1]] {
        until_nothing_is_held(member.node.metrics.unwrap()).await;
    }
    mitic.stop().await;
}

/// What opened a stream is judged again for as long as that goes on; its payload is not kept for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openings_take_no_memory_while_their_streams_go_on() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let (filler, service) = ("x".repeat(8_000), service("MEC"));
    let headers = [
        ("x-peabiru-token", mitic.agency.token.as_str()),
        ("x-peabiru-purpose", "testing"),
        ("x-road-service", service.as_str()),
        ("x-filler", &filler),
    ];
    let mut open: Vec<(mpsc::Sender<TalkRequest>, Streaming<TalkResponse>)> = Vec::new();
    for _ in 0..STREAMS {
        let (requests, stream) = mpsc::channel(1);
        let mut caller = mitic.caller_with(&headers).await;
        let talk = soon("the beginning", caller.talk(ReceiverStream::new(stream))).await.unwrap();
        open.push((requests, talk.into_inner()));
    }
    for member in [&mitic, &mec] {
        soon("the memory of the openings", async {
            while held(member, "peabiru_link_memory_bytes").await > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(held(member, "peabiru_streams").await, STREAMS);
    }
    // And all of them go on.
    for (requests, answers) in &mut open {
        requests.send(TalkRequest { body: "petei".into() }).await.unwrap();
        assert_eq!(soon("an answer", answers.message()).await.unwrap().unwrap().body, "petei");
    }
    drop(open);
    for member in [&mitic, &mec] {
        until_nothing_is_held(member.node.metrics.unwrap()).await;
    }
    mitic.stop().await;
    mec.stop().await;
}

/// Between two nodes.
const STREAMS: u64 = 32;
/// What one stream may take of the consumer's budget: four batches on their way from the link to the reader, and the frame
/// that comes.
const STREAM_BYTES_MAX: u64 = 5 * 68 * 1024;
/// Of all streams of a node.
const BATCHES_AHEAD_MAX: u64 = 256;
