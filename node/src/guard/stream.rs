//! One direction of a stream as it comes from a peer: each entry follows the one before, or the stream is broken.

use std::collections::VecDeque;

use bytes::Bytes;
use peabiru_ledger::payload::{Direction, OpenBody, OpenPayload};
use peabiru_ledger::position::LogPosition;
use peabiru_proto::entry::{Batch, Body, Close, Entry, ExchangeId, Reached, StreamDirection};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::CLOCK_SKEW;
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;

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
    /// Where its newest link stands in its ledger.
    position: LogPosition,
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
pub struct Sent(VecDeque<(Reached, Timestamp)>);

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
    /// One more, which ends before this chunk.
    pub fn note(&mut self, entry: &Entry, chunks: u64) {
        if self.0.len() >= SENT_REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((Reached { leaf: entry.leaf_hash(), chunks }, entry.common().created_at));
    }

    /// Whether whoever made an entry then can have taken this. What a peer names may be older than all that is remembered, if
    /// it waited long for its reader; that it was sent is then for whoever has the evidence to say.
    fn check(&self, named: &Reached, created_at: Timestamp) -> Result<(), Refusal> {
        if self.0.front().is_some_and(|(oldest, _)| named.chunks < oldest.chunks) {
            return Ok(());
        }
        // What a peer names is most often the newest.
        match self.0.iter().rev().find(|(sent, _)| sent == named) {
            None => Err(Refusal::Stream("it says to have taken what was not sent")),
            // The clocks of two nodes.
            Some((_, made_at)) if created_at.plus(CLOCK_SKEW) < *made_at => {
                Err(Refusal::Stream("it was made before what it says to have taken"))
            }
            Some(_) => Ok(()),
        }
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
            position: opening.position,
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
        if !self.is_of_its_author(arrived) {
            return Err(Refusal::Stream("it is of another ledger than what opened the stream"));
        }
        if entry.exchange() != self.exchange {
            return Err(Refusal::Stream("it is of another exchange"));
        }
        let created_at = entry.common().created_at;
        if created_at < self.place.made_at {
            return Err(Refusal::Stream("it was made before the one before it"));
        }
        if arrived.position <= self.position {
            return Err(Refusal::Stream("it stands in its ledger before the one before it"));
        }
        check_not_future(created_at, arrived.received_at)?;
        match entry.body() {
            Body::Batch(batch) => {
                let Batch { opening, direction, previous, first_chunk, chunks, peer, .. } = *batch;
                self.place.is_of(opening, direction, previous, first_chunk)?;
                self.says_taken(peer, created_at, sent)?;
                let OpenPayload { context, body } = self.open(arrived)?;
                if !context.is_empty() {
                    return Err(Refusal::Stream("the context of a batch is empty"));
                }
                let OpenBody::Whole(body) = body else { return Err(Refusal::Altered("a batch has no file")) };
                self.place.advance(entry, chunks);
                self.position = arrived.position;
                Ok(Link::Batch(body))
            }
            Body::Close(close) => {
                let Close { opening, direction, previous, chunks, outcome, peer, .. } = *close;
                self.place.is_of(opening, direction, previous, chunks)?;
                self.says_taken(peer, created_at, sent)?;
                let context = read_context(self.open(arrived)?.context)?;
                close.check_context(&context).map_err(Refusal::Stream)?;
                self.closed = true;
                Ok(Link::Close(AnswerEnd { outcome, context }, close.fault.clone()))
            }
            _ => Err(Refusal::Stream("it is neither BATCH nor CLOSE")),
        }
    }

    fn is_of_its_author(&self, arrived: &Arrived) -> bool {
        let entry = &arrived.entry;
        arrived.peer == self.peer
            && *entry.origin() == self.origin
            && entry.common().node.as_ref() == Some(&self.peer)
    }

    /// Whether its author sealed it for this exchange, later than all that came: also if it does not follow.
    #[must_use]
    pub fn binds(&self, arrived: &Arrived) -> bool {
        let is_later = arrived.position > self.position && arrived.entry.exchange() == self.exchange;
        is_later && self.is_of_its_author(arrived) && check_seal(arrived).is_ok()
    }

    /// What its author says to have taken was sent, and is not less than before.
    fn says_taken(
        &mut self,
        named: Option<Reached>,
        created_at: Timestamp,
        sent: &Sent,
    ) -> Result<(), Refusal> {
        named.map_or(Ok(()), |named| sent.check(&named, created_at))?;
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

/// Entries of a direction that are remembered.
const SENT_REMEMBERED: usize = 2048;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use peabiru_proto::entry::{Common, Content, Response};
    use peabiru_proto::hash::ContentRoot;

    use super::*;

    fn response(made_at: Timestamp) -> Entry {
        let (exchange, leaf) = (ExchangeId::from_slice(&[1; 16]).unwrap(), LeafHash::from_bytes([1; 32]));
        let node: NodeId = "PY/GOV/MEC/n1".parse().unwrap();
        let common = Common { exchange, created_at: made_at, node: Some(node.clone()), globalconf: None };
        let content = Content::Stream { context_root: ContentRoot::from_bytes([2; 32]) };
        let body = Response { request_leaf: leaf, received_leaf: leaf, addressee: node, outcome: 0, content };
        Entry::encode(&"py.example/registry/1".parse().unwrap(), &common, &Body::Response(body)).unwrap()
    }

    #[test]
    fn nobody_has_taken_what_was_not_sent_or_was_made_later() {
        let made_at = Timestamp::from_ms(1_000_000);
        let (entry, other) = (response(made_at), response(made_at.plus(Duration::from_millis(1))));
        let mut sent = Sent::default();
        sent.note(&entry, 0);
        let named = |entry: &Entry, chunks| Reached { leaf: entry.leaf_hash(), chunks };
        let check = |named, at| sent.check(&named, at).is_ok();
        assert!(check(named(&entry, 0), made_at));
        assert!(!check(named(&other, 0), made_at) && !check(named(&entry, 1), made_at));
        // The clocks of two nodes differ.
        assert!(check(named(&entry, 0), made_at.minus(CLOCK_SKEW)));
        assert!(!check(named(&entry, 0), made_at.minus(CLOCK_SKEW + Duration::from_millis(1))));
    }
}
