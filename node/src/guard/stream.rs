//! One direction of a stream as it comes from a peer: each entry follows the one before, or the stream is broken.

use std::collections::VecDeque;

use bytes::Bytes;
use peabiru_ledger::payload::{Direction, OpenBody, OpenPayload};
use peabiru_proto::entry::{Batch, Body, Close, Entry, ExchangeId, Reached, StreamDirection};
use peabiru_proto::fault::{Fault, GRPC_DETAILS};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::id::NodeId;
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::Context;

use super::refusal::Refusal;
use super::request::{check_not_future, check_seal, opened, read_context};
use crate::exchange::{AnswerEnd, Arrived};

/// The chain of a direction, up to its newest link.
#[derive(Debug)]
pub struct Chain {
    peer: NodeId,
    origin: Origin,
    exchange: ExchangeId,
    place: Place,
    /// How far its author said, last, to have come with the other direction.
    taken: Option<Reached>,
    closed: bool,
}

/// Where the next link of a direction belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The REQUEST or RESPONSE.
    pub opening: LeafHash,
    /// Which way.
    pub direction: StreamDirection,
    /// The newest BATCH.
    pub previous: Option<LeafHash>,
    /// Chunks up to here.
    pub chunks: u64,
    /// When what stands before it was made: a direction never goes back in time.
    pub made_at: Timestamp,
}

/// What this node has sent of its own direction: what entries of the other may say to have taken.
#[derive(Debug, Default)]
pub struct Sent(VecDeque<Reached>);

/// What a link brought.
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack of its task")]
#[derive(Debug)]
pub enum Link {
    /// The next bytes.
    Batch(Bytes),
    /// Nothing more comes; why, if a node broke off.
    Close(AnswerEnd, Option<String>),
}

impl Sent {
    /// One more.
    pub fn note(&mut self, entry: Reached) {
        if self.0.len() >= SENT_REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// Whether this was sent. What a peer names may be older than all that is remembered, if it waited long for its
    /// reader; that it was sent is then for whoever has the evidence to say.
    fn may_have(&self, named: &Reached) -> bool {
        let is_older = self.0.front().is_some_and(|oldest| named.chunks < oldest.chunks);
        // What a peer names is most often the newest.
        is_older || self.0.iter().rev().any(|sent| sent == named)
    }
}

impl Place {
    /// Right after the opening.
    #[must_use]
    pub fn after(opening: &Entry, direction: StreamDirection) -> Self {
        let made_at = opening.common().created_at;
        Self { opening: opening.leaf_hash(), direction, previous: None, chunks: 0, made_at }
    }

    /// A BATCH was put here.
    pub fn advance(&mut self, batch: &Entry, chunks: u32) {
        self.previous = Some(batch.leaf_hash());
        self.chunks = self.chunks.saturating_add(chunks.into());
        self.made_at = batch.common().created_at;
    }

    /// How far the direction came, if its newest entry is this one.
    #[must_use]
    pub fn reached(&self, newest: &Entry) -> Reached {
        Reached { leaf: newest.leaf_hash(), chunks: self.chunks }
    }

    fn is_of(
        &self,
        opening: LeafHash,
        direction: StreamDirection,
        previous: Option<LeafHash>,
        chunks: u64,
    ) -> Result<(), Refusal> {
        let what = if direction != self.direction {
            "it goes the other way"
        } else if opening != self.opening {
            "it is of another stream"
        } else if chunks != self.chunks {
            "chunks are missing before it, or come twice"
        } else if previous != self.previous {
            "it does not name the one before"
        } else {
            return Ok(());
        };
        Err(Refusal::Stream(what))
    }
}

impl Chain {
    /// That this entry, which was judged, opens.
    #[must_use]
    pub fn of(opening: &Arrived, direction: StreamDirection) -> Self {
        Self {
            peer: opening.peer.clone(),
            origin: opening.entry.origin().clone(),
            exchange: opening.entry.exchange(),
            place: Place::after(&opening.entry, direction),
            taken: None,
            closed: false,
        }
    }

    /// Whether its CLOSE came.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whose it is.
    #[must_use]
    pub fn exchange(&self) -> ExchangeId {
        self.exchange
    }

    /// Whether it comes from the consumer.
    #[must_use]
    pub fn is_of_request(&self) -> bool {
        self.place.direction == StreamDirection::Request
    }

    /// How far it came, if its newest entry is this one.
    #[must_use]
    pub fn reached(&self, newest: &Entry) -> Reached {
        self.place.reached(newest)
    }

    /// Judges the next link: same peer and ledger → same exchange → time → its place → seal → payload. `sent` is what it
    /// may name of the other direction.
    ///
    /// # Errors
    /// The first check that fails: nothing of it is delivered, and the chain is of no use any more.
    pub fn take(&mut self, arrived: &Arrived, sent: &Sent) -> Result<Link, Refusal> {
        let entry = &arrived.entry;
        if self.closed {
            return Err(Refusal::Stream("it comes after the end"));
        }
        if arrived.peer != self.peer
            || *entry.origin() != self.origin
            || entry.common().node.as_ref() != Some(&self.peer)
        {
            return Err(Refusal::Stream("it is of another ledger than what opened the stream"));
        }
        if entry.exchange() != self.exchange {
            return Err(Refusal::Stream("it is of another exchange"));
        }
        let created_at = entry.common().created_at;
        if created_at < self.place.made_at {
            return Err(Refusal::Stream("it was made before the one before it"));
        }
        check_not_future(created_at, arrived.received_at)?;
        match entry.body() {
            Body::Batch(batch) => {
                let Batch { opening, direction, previous, first_chunk, chunks, peer, .. } = *batch;
                self.place.is_of(opening, direction, previous, first_chunk)?;
                self.says_taken(peer, sent)?;
                let OpenPayload { context, body } = self.open(arrived)?;
                if !context.is_empty() {
                    return Err(Refusal::Stream("the context of a batch is empty"));
                }
                let OpenBody::Whole(body) = body else { return Err(Refusal::Altered("a batch has no file")) };
                self.place.advance(entry, chunks);
                Ok(Link::Batch(body))
            }
            Body::Close(close) => {
                let Close { opening, direction, previous, chunks, outcome, peer, .. } = *close;
                self.place.is_of(opening, direction, previous, chunks)?;
                self.says_taken(peer, sent)?;
                let context = read_context(self.open(arrived)?.context)?;
                if close.fault.as_ref().is_some_and(|code| !says(&context, code)) {
                    return Err(Refusal::Stream("its status tells another fault than its head"));
                }
                self.closed = true;
                Ok(Link::Close(AnswerEnd { outcome, context }, close.fault.clone()))
            }
            _ => Err(Refusal::Stream("it is neither BATCH nor CLOSE")),
        }
    }

    /// What its author says to have taken was sent, and is not less than before.
    fn says_taken(&mut self, named: Option<Reached>, sent: &Sent) -> Result<(), Refusal> {
        if named.is_some_and(|named| !sent.may_have(&named)) {
            return Err(Refusal::Stream("it says to have taken what was not sent"));
        }
        let chunks = |reached: Option<Reached>| reached.map(|reached| reached.chunks);
        if chunks(named) < chunks(self.taken) {
            return Err(Refusal::Stream("it says to have taken less than before"));
        }
        self.taken = named;
        Ok(())
    }

    fn open(&self, arrived: &Arrived) -> Result<OpenPayload, Refusal> {
        check_seal(arrived)?;
        let (root, body_bytes) = arrived.entry.body().content().ok_or(Refusal::Altered("no payload"))?;
        let direction = match self.place.direction {
            StreamDirection::Request => Direction::Request,
            StreamDirection::Answer => Direction::Answer,
        };
        opened(arrived, direction, &root, body_bytes)
    }
}

/// What the receiver's application is told is what the head says.
fn says(context: &Context, code: &str) -> bool {
    let details = context.trailers.iter().find(|field| field.name == GRPC_DETAILS);
    details.and_then(|details| Fault::code_in_grpc_details(&details.value)).is_some_and(|told| told == code)
}

/// Entries of a direction that are remembered.
const SENT_REMEMBERED: usize = 2048;
