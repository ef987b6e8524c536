//! One direction of a stream as it comes from a peer: each entry follows the one before, or the stream is broken.

use bytes::Bytes;
use peabiru_ledger::payload::{Direction, OpenBody};
use peabiru_proto::entry::{Batch, Body, Close, ExchangeId, StreamDirection};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::id::NodeId;
use peabiru_proto::origin::Origin;
use peabiru_proto::wire::Context;

use super::refusal::Refusal;
use super::request::{check_seal, open_payload};
use crate::exchange::{AnswerEnd, Arrived};

/// The chain of a direction, up to its newest link.
#[derive(Debug)]
pub struct Chain {
    peer: NodeId,
    origin: Origin,
    exchange: ExchangeId,
    place: Place,
    closed: bool,
}

/// Where the next link of a direction belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The REQUEST or RESPONSE.
    pub opening: LeafHash,
    /// Which way.
    pub direction: StreamDirection,
    /// The newest BATCH.
    pub previous: Option<LeafHash>,
    /// Chunks up to here.
    pub chunks: u64,
}

/// What a link brought.
#[derive(Debug)]
pub enum Link {
    /// The next bytes.
    Batch(Bytes),
    /// Nothing more comes.
    Close(AnswerEnd),
}

impl Place {
    /// Right after the opening.
    #[must_use]
    pub fn after(opening: LeafHash, direction: StreamDirection) -> Self {
        Self { opening, direction, previous: None, chunks: 0 }
    }

    /// A BATCH was put here.
    pub fn advance(&mut self, batch: LeafHash, chunks: u32) {
        self.previous = Some(batch);
        self.chunks = self.chunks.saturating_add(chunks.into());
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
            place: Place::after(opening.entry.leaf_hash(), direction),
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

    /// Judges the next link: same peer and ledger → same exchange → its place → seal → payload.
    ///
    /// # Errors
    /// The first check that fails: nothing of it is delivered, and the chain is of no use any more.
    pub fn take(&mut self, arrived: &Arrived) -> Result<Link, Refusal> {
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
        match entry.body() {
            Body::Batch(batch) => {
                let Batch { opening, direction, previous, first_chunk, chunks, .. } = *batch;
                self.place.is_of(opening, direction, previous, first_chunk)?;
                let (context, body) = self.open(arrived)?;
                if context != Context::default() {
                    return Err(Refusal::Stream("the context of a batch is empty"));
                }
                self.place.advance(entry.leaf_hash(), chunks);
                Ok(Link::Batch(body))
            }
            Body::Close(close) => {
                let Close { opening, direction, previous, chunks, outcome, .. } = *close;
                self.place.is_of(opening, direction, previous, chunks)?;
                let (context, _) = self.open(arrived)?;
                self.closed = true;
                Ok(Link::Close(AnswerEnd { outcome, context }))
            }
            _ => Err(Refusal::Stream("it is neither BATCH nor CLOSE")),
        }
    }

    fn open(&self, arrived: &Arrived) -> Result<(Context, Bytes), Refusal> {
        check_seal(arrived)?;
        let (root, body_bytes) = arrived.entry.body().content().ok_or(Refusal::Altered("no payload"))?;
        let direction = match self.place.direction {
            StreamDirection::Request => Direction::Request,
            StreamDirection::Answer => Direction::Answer,
        };
        match open_payload(arrived, direction, &root, body_bytes)? {
            (context, OpenBody::Whole(body)) => Ok((context, body)),
            (_, OpenBody::Large(_)) => Err(Refusal::Altered("a batch has no file")),
        }
    }
}
