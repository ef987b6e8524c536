//! Peers that are slow on purpose, to their end, on both carriers: beginnings of frames, messages, chunks and batches that
//! drip, streams that say nothing. Each is given up by the limit that is for it, and others are served meanwhile.

use std::time::Duration;

use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::Member;
use peabiru_integration_tests::metrics::gauge;
use peabiru_node::link::Waits;
use peabiru_node::node::Environment;
use peabiru_proto::entry::{Body, Close, Entry};
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::wire::link_frame::Frame;
use tokio::sync::Mutex;

use super::line::Line;
use super::resets::{ask, frames_of};
use super::scene::{Kind, Scene};

/// Sends byte by byte until the node ends the stream, or says its last word about it; gives what it said.
async fn drip(mut line: Line, bytes: &[u8]) -> Vec<Frame> {
    let mut said = Vec::new();
    let mut bytes = bytes.chunks(1);
    let mut ticks = tokio::time::interval(DRIP_EVERY);
    let ended = async {
        loop {
            tokio::select! {
                frame = line.hear() => match frame {
                    Some(frame) => {
                        said.push(frame);
                        if let Some(Frame::Close(_)) = said.last() {
                            return;
                        }
                    }
                    None => return,
                },
                _ = ticks.tick() => {
                    if let Some(byte) = bytes.next() {
                        // What the node said before it stopped reading is heard first.
                        line.say(byte).await;
                    }
                }
            }
        }
    };
    tokio::time::timeout(LONG, ended).await.expect("a stream that drips is ended");
    said
}

/// Streams that the node gave up for being slow, over its life.
async fn stalled(mec: &Member) -> u64 {
    gauge(mec.node.metrics.unwrap(), "peabiru_link_streams_stalled_total").await
}

/// The last word of the node about a stream.
fn close_of(said: &[Frame]) -> Close {
    match said.last() {
        Some(Frame::Close(message)) => match Entry::decode(message.entry.clone()).unwrap().body() {
            Body::Close(close) => close.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("no CLOSE: {other:?}"),
    }
}

async fn still_serves(scene: &mut Scene, number: usize) {
    let (mec, peer) = (&scene.mec, &mut scene.peers[number]);
    mec.caller("MEC").await.say(SayRequest::default()).await.expect("an application of its own");
    let frames = peer.frames(Kind::Whole, mec).await;
    assert!(matches!(peer.whole(&frames).await[..], [Frame::Message(_)]), "the same connection goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_frames_that_drip_are_given_up() {
    let _turn = TURN.lock().await;
    let link_waits = Waits { read: SHORT, pace: SHORT, ..Waits::default() };
    let mut scene = Scene::set(&Environment { link_waits, ..Environment::default() }).await;
    for number in 0..2 {
        let before = stalled(&scene.mec).await;
        // The beginning of a frame's length, and then nothing; a message; what follows its head and its first chunk.
        let (mec, peer) = (&scene.mec, &mut scene.peers[number]);
        let line = peer.guest.open().await;
        assert!(drip(line, &[0x80]).await.is_empty());
        let message = peer.frames(Kind::Whole, mec).await.concat();
        let line = peer.guest.open().await;
        assert!(drip(line, &message).await.is_empty());
        for whole in [1, 2] {
            let frames = peer.frames(Kind::Large, mec).await;
            let mut line = peer.guest.open().await;
            assert!(line.say(&frames[..whole].concat()).await);
            assert!(drip(line, &frames[whole..].concat()).await.is_empty());
        }
        assert_eq!(stalled(mec).await - before, 4);
        // A batch of a stream: the service heard what came before it, and the peer is told so.
        let frames = peer.frames(Kind::Stream, mec).await;
        let mut line = peer.guest.open().await;
        assert!(line.say(&frames[..2].concat()).await);
        let said = drip(line, &frames[2]).await;
        let close = close_of(&said);
        assert_eq!(close.fault.as_deref(), Some(FaultCode::NodeUnreachable.as_str()), "{close:?}");
        assert_eq!(close.peer.map(|taken| taken.chunks), Some(1), "it says how far it had come");
        assert_eq!(stalled(mec).await - before, 5);
        still_serves(&mut scene, number).await;
        scene.is_clean().await;
    }
    scene.end().await;
}

/// Faster than the least rate, and without an end: what is given time is not given all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_without_an_end_is_given_up() {
    let _turn = TURN.lock().await;
    let link_waits = Waits { pace: SHORT, large: SHORT * 2, ..Waits::default() };
    let mut scene = Scene::set(&Environment { link_waits, ..Environment::default() }).await;
    for number in 0..2 {
        let (mec, peer) = (&scene.mec, &mut scene.peers[number]);
        let frames = peer.frames(Kind::Large, mec).await;
        let mut line = peer.guest.open().await;
        assert!(line.say(&frames[0]).await);
        // Some ten kilobytes in a second.
        let mut pieces = frames[1..].concat();
        let mut ticks = tokio::time::interval(DRIP_EVERY);
        let ended = async {
            while !pieces.is_empty() {
                let rest = pieces.split_off(pieces.len().min(200));
                tokio::select! {
                    heard = line.hear() => return assert!(heard.is_none(), "{heard:?}"),
                    _ = ticks.tick() => drop(line.say(&std::mem::replace(&mut pieces, rest)).await),
                }
            }
            panic!("all of it was taken");
        };
        tokio::time::timeout(LONG, ended).await.expect("it is ended");
        still_serves(&mut scene, number).await;
        scene.is_clean().await;
    }
    scene.end().await;
}

/// Whoever asked is told, and never that nothing was done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_drip_are_given_up() {
    let _turn = TURN.lock().await;
    let link_waits = Waits { pace: SHORT, ..Waits::default() };
    let mut scene = Scene::set(&Environment { link_waits, ..Environment::default() }).await;
    for (number, provider) in [(0, "MITIC"), (1, "INE")] {
        let before = stalled(&scene.mec).await;
        for kind in [Kind::Large, Kind::Stream] {
            let (mec, peer) = (&scene.mec, &mut scene.peers[number]);
            let dripping = async {
                let (mut line, request, _) = peer.hear(frames_of(kind)).await;
                let frames = peer.answer(&request.expect("all of it came"), mec, kind).await;
                assert!(line.say(&frames[0]).await);
                // The node's own way may have ended already: it says nothing, and reads no further.
                let (rest, mut ticks) = (frames[1..].concat(), tokio::time::interval(DRIP_EVERY));
                for byte in rest.chunks(1) {
                    ticks.tick().await;
                    if !line.say(byte).await {
                        return;
                    }
                }
                panic!("all of it was taken");
            };
            let both = async { tokio::join!(ask(mec, provider, kind), dripping) };
            let (asked, ()) =
                tokio::time::timeout(LONG, both).await.expect("an answer that drips is given up");
            let status = asked.expect_err("there is no whole answer");
            let fault = Fault::from_grpc_details(status.details()).unwrap_or_else(|| panic!("{status:?}"));
            let told = match kind {
                Kind::Large => FaultCode::ExchangeOutcomeUnknown,
                // A read, which may be asked again.
                _ => FaultCode::NodeUnreachable,
            };
            assert_eq!(fault.code, told, "{fault}");
        }
        assert_eq!(stalled(&scene.mec).await - before, 2);
        still_serves(&mut scene, number).await;
        scene.is_clean().await;
    }
    scene.end().await;
}

/// A stream may be silent between its frames, and so may the beginning of a frame's length be: no memory is held for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_on_which_nothing_passes_is_ended() {
    let link_waits = Waits { pace: SHORT, ..Waits::default() };
    let environment = Environment { link_waits, stream_idle: SHORT * 2, ..Environment::default() };
    let mut scene = Scene::set(&environment).await;
    for number in 0..2 {
        for last in [&[][..], &[0x80]] {
            let (mec, peer) = (&scene.mec, &mut scene.peers[number]);
            let frames = peer.frames(Kind::Stream, mec).await;
            let mut line = peer.guest.open().await;
            assert!(line.say(&frames[..2].concat()).await);
            let close = close_of(&drip(line, last).await);
            assert_eq!(close.fault.as_deref(), Some(FaultCode::StreamIdle.as_str()), "{close:?}");
        }
        still_serves(&mut scene, number).await;
        scene.is_clean().await;
    }
    scene.end().await;
}

/// What a node gave up is counted for the whole process: whoever counts takes turns.
static TURN: Mutex<()> = Mutex::const_new(());
/// Waits that a test waits out; an honest peer needs a fraction of it, also on a busy machine.
const SHORT: Duration = Duration::from_secs(1);
/// Some fifty bytes in a second: far less than the least rate of a frame.
const DRIP_EVERY: Duration = Duration::from_millis(20);
/// Of everything that happens at once unless it does not happen.
const LONG: Duration = Duration::from_secs(30);
