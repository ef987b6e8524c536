//! Peers that give a stream of the link up after any frame of any kind, whichever side asked, on both carriers. The node
//! forgets nothing and keeps nothing: the next exchange on the same connection is served, all that was taken comes back,
//! and the ledger says how it ended.

use peabiru_integration_tests::echo::wire::{SayRequest, SayResponse, TalkRequest};
use peabiru_integration_tests::federation::Member;
use peabiru_ledger::payload::Direction;
use peabiru_node::link::frame::Sealed as As;
use peabiru_node::node::Environment;
use peabiru_proto::entry::{Body, Content, Entry, Response};
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::wire::link_frame::Frame;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::impostor::{Sealed, sealed_payload};
use super::line::Line;
use super::scene::{Kind, LARGE_BYTES, Peer, Scene, framed};
use super::streams::{Draft, bytes, message};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_asks_may_give_up_after_any_frame_of_either_side() {
    let mut scene = Scene::set(&Environment::default()).await;
    for number in 0..2 {
        for kind in [Kind::Whole, Kind::Large, Kind::Stream, Kind::Fetch] {
            let (mec, peer) = (&scene.mec, &mut scene.peers[number]);
            let frames = peer.frames(kind, mec).await;
            let answers = peer.whole(&frames).await.len();
            let (least, what) = match kind {
                Kind::Whole | Kind::Fetch => (1, "one frame each way"),
                Kind::Large => (4, "head, chunks, end, each way"),
                Kind::Stream => (3, "opening, batches, close, each way"),
            };
            assert!(frames.len() >= least && answers >= least, "{what}: {} {answers}", frames.len());
            for cut in 0..=frames.len() {
                let frames = peer.frames(kind, mec).await;
                let mut line = peer.guest.open().await;
                for frame in &frames[..cut] {
                    assert!(line.say(frame).await, "{kind:?}, {cut}");
                }
                line.reset();
            }
            for cut in 1..=answers {
                let frames = peer.frames(kind, mec).await;
                let mut line = peer.said(&frames).await;
                for heard in 0..cut {
                    assert!(
                        line.hear().await.is_some() || kind == Kind::Stream,
                        "{kind:?}: {heard} of {cut}"
                    );
                }
                line.reset();
            }
            // The same connection serves the next of each kind.
            let frames = peer.frames(kind, mec).await;
            assert!(!peer.whole(&frames).await.is_empty(), "{kind:?} over {}", peer.carrier);
            scene.is_clean().await;
        }
    }
    scene.end().await;
}

/// An application of MEC that asks a peer.
pub(super) async fn ask(mec: &Member, provider: &str, kind: Kind) -> Result<(), Status> {
    let mut caller = mec.caller(provider).await;
    let body = vec![7; if kind == Kind::Large { LARGE_BYTES } else { 1 }];
    match kind {
        Kind::Whole | Kind::Large => {
            caller.say(SayRequest { body: body.into(), ..SayRequest::default() }).await.map(drop)
        }
        Kind::Stream => {
            let (requests, stream) = tokio::sync::mpsc::channel(2);
            for body in ["petei", "mokoi"] {
                requests.send(TalkRequest { body: body.into() }).await.unwrap();
            }
            drop(requests);
            let mut answers = caller.talk(ReceiverStream::new(stream)).await?.into_inner();
            while answers.message().await?.is_some() {}
            Ok(())
        }
        Kind::Fetch => unreachable!("applications fetch nothing"),
    }
}

impl Peer {
    /// Hears so many frames of a request, answers with so many, then gives the stream up if it was not all. Gives how many frames
    /// each side had to say.
    async fn play(&mut self, mec: &Member, kind: Kind, heard: usize, said: usize) -> (usize, usize) {
        let (mut line, request, came) = self.hear(heard).await;
        let Some(request) = request.filter(|_| said > 0) else {
            line.reset();
            return (came, 0);
        };
        let frames = self.answer(&request, mec, kind).await;
        for frame in frames.iter().take(said) {
            line.say(frame).await;
        }
        if said > frames.len() {
            line.end();
            // What the node still says is heard to its end.
            while line.hear().await.is_some() {}
        } else {
            line.reset();
        }
        (came, frames.len())
    }

    /// So many frames of the next exchange that the node opens, or all of them: its stream, the request if that was among them, and
    /// how many came.
    pub(super) async fn hear(&self, frames_max: usize) -> (Line, Option<Entry>, usize) {
        let mut line = self.guest.park().await;
        line.is_opened().await;
        let (mut request, mut came) = (None, 0);
        while came < frames_max {
            let Some(frame) = line.hear().await else { break };
            came += 1;
            let entry = match frame {
                Frame::Message(message) | Frame::End(message) => Some(Entry::decode(message.entry).unwrap()),
                _ => None,
            };
            request = request.or(entry);
        }
        (line, request, came)
    }

    /// The frames of what an honest node would answer, their heads shown.
    pub(super) async fn answer(&mut self, request: &Entry, mec: &Member, kind: Kind) -> Vec<Vec<u8>> {
        let Self { impostor, guest, .. } = self;
        let exchange = request.exchange();
        let response = |content| {
            Body::Response(Response {
                request_leaf: request.leaf_hash(),
                received_leaf: LeafHash::from_bytes([1; 32]),
                addressee: mec.agency.site.node.clone(),
                outcome: 0,
                content,
            })
        };
        match kind {
            Kind::Whole => {
                let body = framed(&SayResponse { body: "x".into() });
                let (payload, root) = sealed_payload(&exchange, Direction::Answer, &[], &body);
                let content = Content::Whole { root, body_bytes: body.len() as u64 };
                let sealed = impostor.put(exchange, &response(content), payload).await;
                guest.show(&impostor.ledger, &sealed).await;
                vec![sealed.bytes()]
            }
            Kind::Large => {
                let body = framed(&SayResponse { body: vec![7; LARGE_BYTES].into() });
                let large = impostor.seal_large(exchange, Direction::Answer, &body, response).await;
                guest.show(&impostor.ledger, &large.sealed).await;
                large.frames
            }
            Kind::Stream => {
                let (payload, context_root) = sealed_payload(&exchange, Direction::Answer, &[], &[]);
                let opening =
                    impostor.put(exchange, &response(Content::Stream { context_root }), payload).await;
                let first = Draft::answering(request, &opening, message("petei"));
                let batch = first.batch(impostor).await;
                let second = first.next(&batch, message("mokoi"));
                let other = second.batch(impostor).await;
                let close = second.next(&other, Vec::new()).close(impostor).await;
                guest.show(&impostor.ledger, &close).await;
                let frames: [(As, Sealed); 4] =
                    [(As::Message, opening), (As::Batch, batch), (As::Batch, other), (As::Close, close)];
                frames.iter().map(|(as_frame, sealed)| bytes(*as_frame, &impostor.reseal(sealed))).collect()
            }
            Kind::Fetch => unreachable!("applications fetch nothing"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_asked_may_give_up_after_any_frame_of_either_side() {
    let mut scene = Scene::set(&Environment::default()).await;
    for (number, provider) in [(0, "MITIC"), (1, "INE")] {
        for kind in [Kind::Whole, Kind::Large, Kind::Stream] {
            let (mec, peer) = (&scene.mec, &mut scene.peers[number]);
            // All of both sides, as an honest node would.
            let least = if kind == Kind::Whole { 1 } else { 3 };
            let (asked, (heard, said)) =
                tokio::join!(ask(mec, provider, kind), peer.play(mec, kind, frames_of(kind), usize::MAX));
            asked.unwrap_or_else(|status| panic!("{kind:?} over {}: {status:?}", peer.carrier));
            assert!(heard >= least && said >= least, "{kind:?}: {heard} and {said} frames");
            for (heard, said) in
                (0..heard).map(|heard| (heard, 0)).chain((0..=said).map(|said| (heard, said)))
            {
                let (asked, _) = tokio::join!(ask(mec, provider, kind), peer.play(mec, kind, heard, said));
                let what = format!("{kind:?} over {}, {heard} heard, {said} said", peer.carrier);
                match asked {
                    // All was said, and its end came as a reset.
                    Ok(()) => assert!(said > 0, "{what}"),
                    Err(status) => {
                        let fault = Fault::from_grpc_details(status.details());
                        let code = fault.unwrap_or_else(|| panic!("{what}: {status:?}")).code;
                        assert!(NOT_ANSWERED.contains(&code), "{what}: {code}");
                    }
                }
            }
            // The same connection serves the next.
            let (asked, _) = tokio::join!(ask(mec, provider, kind), peer.play(mec, kind, heard, usize::MAX));
            asked.unwrap_or_else(|status| panic!("the next {kind:?} over {}: {status:?}", peer.carrier));
            scene.is_clean().await;
        }
    }
    ask(&scene.mec, "MEC", Kind::Whole).await.expect("and its own service");
    scene.end().await;
}

/// At most, of a request.
pub(super) fn frames_of(kind: Kind) -> usize {
    match kind {
        Kind::Whole | Kind::Fetch => 1,
        // Head, chunks, end.
        Kind::Large => 1 + (LARGE_BYTES + 20).div_ceil(65_536) + 1,
        // Opening, both words in one batch, or one after the other, close. Not more are waited for.
        Kind::Stream => 3,
    }
}

/// What a caller is told whose answer broke off.
const NOT_ANSWERED: [FaultCode; 3] =
    [FaultCode::ExchangeOutcomeUnknown, FaultCode::NodeUnreachable, FaultCode::StreamCancelled];
