//! Large messages of a node that means ill, ready to be sent frame by frame.

use std::sync::Arc;

use bytes::Bytes;
use peabiru_ledger::large::SpoolShare;
use peabiru_ledger::large::body::{LargeSealed, LargeSealer};
use peabiru_ledger::ledger::Append;
use peabiru_ledger::payload::{Direction, Payload};
use peabiru_node::link::frame;
use peabiru_proto::entry::{Body, Common, Content, Entry, ExchangeId};
use peabiru_proto::hash::ContentRoot;
use peabiru_proto::random::SystemRandom;
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::{LargeHead, SealedMessage, link_frame::Frame};

use super::impostor::{Impostor, Sealed};

/// A large message: its head, its chunks, its end.
pub(crate) struct Large {
    pub(crate) frames: Vec<Vec<u8>>,
    /// Whose head is to be shown before the end.
    pub(crate) sealed: Sealed,
}

impl Impostor {
    /// Seals a message with a body of more than one chunk. `body`: what it is, once its content is known.
    pub(crate) async fn seal_large(
        &self,
        exchange: ExchangeId,
        direction: Direction,
        message: &[u8],
        body: impl Fn(Content) -> Body,
    ) -> Large {
        let file = self.files().spool(&SpoolShare::default(), None).unwrap();
        let mut sealer = LargeSealer::new(&SystemRandom::default(), &exchange, direction, file);
        let mut chunks = Vec::new();
        sealer.push(message, &mut |chunk| chunks.push(chunk)).unwrap();
        let LargeSealed { payload, root, body_bytes } =
            sealer.finish(&[], &mut |chunk| chunks.push(chunk)).unwrap();
        let node = Some(self.agency.site.node.clone());
        let common = Common { exchange, created_at: SystemClock.now(), node, globalconf: None };
        let entry = |content| Entry::encode(self.ledger.origin(), &common, &body(content)).unwrap();
        let preview = entry(Content::Whole { root: ContentRoot::from_bytes([0; 32]), body_bytes: 0 });
        let head = frame::encode(Frame::Head(LargeHead { entry: preview.bytes().clone() }));
        let payload = Arc::new(Payload::Sealed(payload));
        let append = Append {
            entry: entry(Content::Whole { root, body_bytes }),
            payload: Some(Arc::clone(&payload)),
            foreign: None,
        };
        let sealed = Sealed { entry: self.ledger.append(vec![append]).await.unwrap().remove(0), payload };
        let chunks = chunks.into_iter().map(|chunk| frame::encode_chunk(chunk).concat());
        let frames = [head.to_vec()].into_iter().chain(chunks).chain([end(&sealed)]).collect();
        Large { frames, sealed }
    }
}

fn end(sealed: &Sealed) -> Vec<u8> {
    let Payload::Sealed(payload) = &*sealed.payload else { panic!("payloads of exchanges are encrypted") };
    let seal = &sealed.entry.seal;
    let message = SealedMessage {
        entry: sealed.entry.entry.bytes().clone(),
        index: seal.position.index(),
        tree_size: seal.checkpoint.size().entries(),
        inclusion: seal.proof.to_bytes().into(),
        payload_key: Bytes::copy_from_slice(payload.secrets().key()),
        payload_salt: Bytes::copy_from_slice(payload.secrets().salt()),
        chunks: payload.chunks().to_vec(),
    };
    frame::encode(Frame::End(message)).to_vec()
}
