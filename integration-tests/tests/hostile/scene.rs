//! A node, and a peer that means ill on each carrier: it asks the node, and the node asks it, frame by frame.

use std::collections::BTreeSet;

use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Federation, Member};
use peabiru_integration_tests::ledger::{all_hold, entries, left_open};
use peabiru_integration_tests::metrics::until_nothing_is_held;
use peabiru_ledger::payload::Direction;
use peabiru_node::link::Carrier;
use peabiru_node::link::frame::{Sealed as As, encode};
use peabiru_node::node::Environment;
use peabiru_proto::entry::{Body, ExchangeId, Request, SideEffects};
use peabiru_proto::random::SystemRandom;
use peabiru_proto::wire::FetchRequest;
use peabiru_proto::wire::link_frame::Frame;

use super::impostor::Impostor;
use super::line::{Guest, Line};
use super::streams::{Draft, bytes, message};

/// What is sent frame by frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Whole,
    Large,
    Stream,
    Fetch,
}

/// MEC, and a peer that means ill on each carrier: it asks MEC, and MEC asks it.
pub(crate) struct Scene {
    pub(crate) federation: Federation,
    pub(crate) mec: Member,
    pub(crate) peers: [Peer; 2],
}

pub(crate) struct Peer {
    pub(crate) carrier: Carrier,
    pub(crate) impostor: Impostor,
    pub(crate) guest: Guest,
}

impl Scene {
    pub(crate) async fn set(environment: &Environment) -> Self {
        let mut federation = Federation::start().await;
        let (mitic, ine) = (federation.enrol("MITIC").await, federation.enrol("INE").await);
        let mec = federation.enrol("MEC").await.start_in(environment).await;
        for consumer in ["MITIC", "INE", "MEC"] {
            mec.grant(consumer).await;
        }
        let of = async |agency, carrier| {
            let impostor = Impostor::of(agency, &mec);
            let guest = Guest::over(carrier, &impostor, &mec).await;
            Peer { carrier, impostor, guest }
        };
        let peers = [of(mitic, Carrier::Quic).await, of(ine, Carrier::Http2).await];
        Self { federation, mec, peers }
    }

    /// Nothing is left of what was given up: not in memory, and the ledger knows the end of each stream.
    pub(crate) async fn is_clean(&self) {
        until_nothing_is_held(self.mec.node.metrics.unwrap()).await;
        assert_eq!(left_open(&entries(&self.mec).await), BTreeSet::new(), "streams without an end");
    }

    /// What was sealed holds, or says what is missing of it.
    pub(crate) async fn end(self) {
        let Self { federation, mec, peers } = self;
        let mut impostors = Vec::new();
        for Peer { impostor, guest, .. } in peers {
            impostors.push(impostor);
            // Of what they hold they give nothing.
            tokio::spawn(async move {
                loop {
                    let mut line = guest.park().await;
                    line.hear().await;
                    line.reset();
                }
            });
        }
        let (files, incomplete) = all_hold(&mec, &federation.instance.anchor).await;
        assert!(
            incomplete > 0 && incomplete <= files,
            "{incomplete} of {files}: what the peers hold is missing"
        );
        mec.stop().await;
        for impostor in impostors {
            impostor.stop().await;
        }
    }
}

impl Peer {
    /// The frames of a request that MEC has not seen, their heads shown.
    pub(crate) async fn frames(&mut self, kind: Kind, mec: &Member) -> Vec<Vec<u8>> {
        let Self { impostor, guest, .. } = self;
        match kind {
            Kind::Whole => {
                let sealed = impostor.seal(impostor.draft(mec, "whole")).await;
                guest.show(&impostor.ledger, &sealed).await;
                vec![sealed.bytes()]
            }
            Kind::Large => {
                let draft = impostor.draft(mec, "").request;
                let said = SayRequest { body: vec![7; LARGE_BYTES].into(), ..SayRequest::default() };
                let exchange = ExchangeId::new(&SystemRandom::default());
                let body = |content| {
                    let (method, side_effects) = ("Say".to_owned(), SideEffects::None);
                    Body::Request(Request { method, side_effects, content, ..draft.clone() })
                };
                let large = impostor.seal_large(exchange, Direction::Request, &framed(&said), body).await;
                guest.show(&impostor.ledger, &large.sealed).await;
                large.frames
            }
            Kind::Stream => {
                let opening = impostor.open_stream_of(mec, "Talk", SideEffects::None).await;
                let first = Draft::after(&opening, message("petei"));
                let batch = first.batch(impostor).await;
                let second = first.next(&batch, message("mokoi"));
                let other = second.batch(impostor).await;
                let close = second.next(&other, Vec::new()).close(impostor).await;
                guest.show(&impostor.ledger, &close).await;
                let frames =
                    [(As::Message, opening), (As::Batch, batch), (As::Batch, other), (As::Close, close)];
                // Under the head that was shown.
                frames.iter().map(|(as_frame, sealed)| bytes(*as_frame, &impostor.reseal(sealed))).collect()
            }
            Kind::Fetch => {
                let sealed = impostor.seal(impostor.draft(mec, "fetched")).await;
                guest.show(&impostor.ledger, &sealed).await;
                assert_eq!(self.whole(&[sealed.bytes()]).await.len(), 1);
                let entry = &sealed.entry.entry;
                let fetch = FetchRequest {
                    request_leaf_hash: entry.leaf_hash().as_bytes().to_vec().into(),
                    exchange_id: entry.exchange().as_bytes().to_vec().into(),
                    ..FetchRequest::default()
                };
                vec![encode(Frame::Fetch(fetch)).to_vec()]
            }
        }
    }

    /// Says all of it, and gives what comes back.
    pub(crate) async fn whole(&self, frames: &[Vec<u8>]) -> Vec<Frame> {
        let mut line = self.said(frames).await;
        let mut answers = Vec::new();
        while let Some(frame) = line.hear().await {
            answers.push(frame);
        }
        answers
    }

    pub(crate) async fn said(&self, frames: &[Vec<u8>]) -> Line {
        let mut line = self.guest.open().await;
        for frame in frames {
            assert!(line.say(frame).await);
        }
        line.end();
        line
    }
}

/// A gRPC message with its five bytes.
pub(crate) fn framed(message: &impl prost::Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    [&[0], u32::try_from(message.len()).unwrap().to_be_bytes().as_slice(), &message].concat()
}

/// Three chunks.
pub(crate) const LARGE_BYTES: usize = 150_000;
