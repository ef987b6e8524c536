//! The stages of one exchange (design §5): what the parts of a node hand to each other.
//!
//! Doors, link, guard and dispatcher do not know one another; they meet in these types, and only `node.rs` wires
//! them. A stage's type holds what is known at that stage and nothing else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_ledger::checkpoint::SignedCheckpoint;
use peabiru_ledger::large::LargeFile;
use peabiru_ledger::payload::{OpenBody, OpenPayload, Payload, PayloadError, SealedPayload};
use peabiru_ledger::position::LogPosition;
use peabiru_ledger::proof::InclusionProof;
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::contract::Streaming;
use peabiru_proto::entry::{Batch, Body, Close, Entry, ExchangeId, StreamDirection};
use peabiru_proto::fault::Fault;
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::{Digest, LeafHash};
use peabiru_proto::id::{NodeId, ServiceId, SubsystemId};
use peabiru_proto::policy::Purpose;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{self, Context, HeldEntry};

pub use crate::flow::{
    Departures, Found, Leaving, Line, LiveServed, Memory, Outflow, Piece, Pieces, Streamed,
};
use crate::rest::target::Target;

/// A future that a part of the node hands out behind a trait.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// What a door hands in: who asks whom for what. The credential was already mapped to `caller`.
#[derive(Debug)]
pub struct Call {
    /// Subsystem that asks.
    pub caller: SubsystemId,
    /// Service that is asked.
    pub service: ServiceId,
    /// Bare method name, or verb and path template of a REST call.
    pub method: String,
    /// The provider's node that the caller wants to be asked.
    pub addressee: Option<NodeId>,
    /// Why, if the caller or the route said so.
    pub purpose: Option<Purpose>,
    /// Verb, path, metadata: chunk 0 of the payload.
    pub context: Context,
    /// gRPC frames or a REST body as received.
    pub body: CallBody,
    /// How long the caller waits.
    pub deadline: Option<Duration>,
}

/// The body of a call.
#[derive(Debug)]
pub enum CallBody {
    /// At most `MAX_BODY_BYTES`, and how many gRPC messages it is.
    Whole(Bytes, u64),
    /// More, while it comes; its end says how many gRPC messages it was.
    Large(Pieces<u64>),
}

/// What a caller gets.
#[derive(Debug, Clone)]
pub struct Answer {
    /// gRPC status code, 0 to 16; for REST what the HTTP status maps to.
    pub outcome: u32,
    /// Metadata, trailers and status text, or HTTP status.
    pub context: Context,
    /// gRPC frames, or a REST body.
    pub body: OpenBody,
}

/// What a service gave.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one per exchange, moved twice: a box would cost more")]
pub enum Served {
    /// All of it, with a body of at most `MAX_BODY_BYTES`.
    Whole(AnswerEnd, Bytes),
    /// More, while it comes.
    Large(Pieces<AnswerEnd>),
}

/// What is known of a service's answer when its body has ended.
#[derive(Debug)]
pub struct AnswerEnd {
    /// gRPC status code, 0 to 16; for REST what the HTTP status maps to.
    pub outcome: u32,
    /// Metadata, trailers and status text, or HTTP status.
    pub context: Context,
}

/// The end of a call, with the exchange's name if it got one.
#[derive(Debug)]
pub struct Answered {
    /// Names the sealed exchange; absent if the call was refused before one existed.
    pub exchange: Option<ExchangeId>,
    /// The answer, or why there is none.
    pub result: Result<Answer, Fault>,
}

/// The road as a door sees it.
pub trait Exchange: Send + Sync + 'static {
    /// Carries one call to its provider and back.
    fn call(&self, call: Call) -> BoxFuture<Answered>;
    /// Carries a call whose messages go one by one, as its contract says: each reaches the service while others are
    /// still to come.
    fn stream(&self, call: Call, messages: Pieces<AnswerEnd>) -> BoxFuture<Streamed>;
    /// Whether calls can be carried at all.
    ///
    /// # Errors
    /// `node.no_globalconf`, `globalconf.expired`.
    fn ready(&self) -> Result<(), Fault>;
    /// The global configuration in force, to find services by name.
    fn globalconf(&self) -> Option<Arc<GlobalConfiguration>>;
}

/// What the dispatcher gets. Made by the guard's `Authorised` alone.
#[derive(Debug)]
pub struct Invocation {
    /// Names the exchange.
    pub exchange: ExchangeId,
    /// Service of this node to invoke.
    pub service: ServiceId,
    /// Method, one of the contract's.
    pub method: String,
    /// Verb and path of a REST call, judged by the guard: they are what the method's template means.
    pub target: Option<Target>,
    /// Subsystem that asks.
    pub consumer: SubsystemId,
    /// Purpose that the grant allows.
    pub purpose: Purpose,
    /// Verb, path and metadata.
    pub context: Context,
    /// Which kind of gRPC call it is.
    pub streaming: Streaming,
    /// gRPC frames, or a REST body.
    pub body: OpenBody,
    /// How long the service may take to answer, or to begin a large answer.
    pub deadline: Duration,
}

/// A message of a peer whose checkpoint holds (signature, consistency with every head known before). Nothing else
/// is known yet: the guard goes on.
#[derive(Debug)]
pub struct Arrived {
    /// Who the TLS connection belongs to.
    pub peer: NodeId,
    /// The entry, decoded strictly.
    pub entry: Entry,
    /// Its place in the sender's ledger, as claimed.
    pub position: LogPosition,
    /// Proof of that claim.
    pub proof: InclusionProof,
    /// The verified checkpoint of the tree that the proof leads to.
    pub checkpoint: SignedCheckpoint,
    /// Ciphertext, key and salt.
    pub payload: SealedPayload,
    /// The payload opened, if its body is in a file: read whole off the runtime's threads, after all that is cheaper was
    /// checked.
    pub opened: Option<Result<OpenPayload, PayloadError>>,
    /// When its last byte came.
    pub received_at: Timestamp,
    /// What it takes of the node's memory, if nobody else holds that.
    pub memory: Option<Memory>,
}

/// What goes back to a peer.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one per exchange, moved twice: a box would cost more")]
pub enum Reply {
    /// A RESPONSE or FAULT entry with its payload.
    Sealed {
        /// Entry and seal.
        entry: SealedEntry,
        /// Its payload.
        payload: Arc<Payload>,
    },
    /// A RESPONSE with a large body, or a FAULT if that breaks off.
    Large(Outflow),
    /// The entries of a stream's answer, the opening first: as they are made.
    Live(Departures),
    /// A refusal before a valid seal: not sealed, counted.
    Refusal(Fault),
}

/// How a peer answered.
#[derive(Debug)]
pub enum LinkAnswer {
    /// With a sealed message.
    Arrived(Box<Arrived>),
    /// With an unsealed refusal: the peer says that it did not accept the message.
    Refused(Fault),
}

/// The agencies' services as the provider sees them.
pub trait Services: Send + Sync + 'static {
    /// Whether this node says where a service listens; of a metadata service, whether it does so of any of its subsystem.
    fn offers(&self, service: &ServiceId) -> bool;
    /// Invokes a method. A fault means that the service could not be reached, broke its protocol or took too long;
    /// an error of the service itself is an answer.
    fn invoke(&self, invocation: Invocation) -> BoxFuture<Result<Served, Fault>>;
    /// Invokes a method whose messages go one by one; ready when its answer begins. `life` bounds all of it.
    fn stream(
        &self,
        invocation: Invocation,
        messages: Pieces<AnswerEnd>,
        life: Option<Duration>,
    ) -> BoxFuture<Result<LiveServed, Fault>>;
}

/// What the link calls when a peer asks.
pub trait Inbound: Send + Sync + 'static {
    /// A peer's greeting shows which global configuration it has.
    fn greeted(&self, peer: &NodeId, globalconf_version: u64);

    /// A large message is announced: whether it would be answered, before a byte of it is kept. Not sealed yet.
    ///
    /// # Errors
    /// Why it would not.
    fn admit(&self, peer: &NodeId, preview: &Entry) -> Result<(), Fault>;
    /// A sealed message arrived on a stream of its own.
    fn message(&self, arrived: Arrived) -> BoxFuture<Reply>;
    /// A message that opens a stream arrived; what follows it comes over the line.
    fn stream(&self, opening: Arrived, line: Line) -> BoxFuture<Reply>;
    /// A counterparty asks for what this node holds about an exchange.
    fn fetch(&self, peer: NodeId, wanted: Wanted) -> BoxFuture<Found>;
    /// A peer asks for what everybody may know.
    fn globalconf(&self, wanted: WantedConf) -> BoxFuture<Option<Bytes>>;
}

/// What a peer asks of the global configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedConf {
    /// The newest snapshot, if it is newer than this.
    Snapshot {
        /// What the peer holds.
        known_version: u64,
    },
    /// A part.
    Part(Digest),
}

/// An entry that a node holds, with a seal and what is kept of its payload.
#[derive(Debug, Clone)]
pub struct Held {
    /// Entry and seal.
    pub sealed: SealedEntry,
    /// Absent if it has none, or if it was erased.
    pub payload: Option<SealedPayload>,
}

impl Held {
    /// The message that travels, and that evidence is made of.
    #[must_use]
    pub fn to_proto(&self) -> HeldEntry {
        let SealedEntry { entry, seal } = &self.sealed;
        let payload = self.payload.as_ref().map(|payload| wire::SealedPayload {
            key: Bytes::copy_from_slice(payload.secrets().key()),
            salt: Bytes::copy_from_slice(payload.secrets().salt()),
            chunks: payload.chunks().to_vec(),
            file_bytes: payload.file().map_or(0, LargeFile::bytes),
        });
        HeldEntry {
            entry: entry.bytes().clone(),
            index: seal.position.index(),
            inclusion: seal.proof.to_bytes().into(),
            checkpoint: Bytes::copy_from_slice(seal.checkpoint.note().as_bytes()),
            payload,
        }
    }
}

/// Names an exchange to a counterparty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Leaf hash of its REQUEST: only a party to the exchange knows it.
    pub request_leaf: LeafHash,
    /// Which part of a stream.
    pub from: FromChunks,
}

/// From which chunk of each direction on the entries of a stream are wanted. Those that are of no direction always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FromChunks {
    /// Of the request.
    pub request: u64,
    /// Of the answer.
    pub answer: u64,
}

impl FromChunks {
    /// From a piece of a stream on, and nothing of the other direction.
    #[must_use]
    pub fn only(entry: &Entry) -> Self {
        match entry.body() {
            Body::Batch(Batch { direction: StreamDirection::Request, first_chunk: request, .. })
            | Body::Close(Close { direction: StreamDirection::Request, chunks: request, .. }) => {
                Self { request: *request, answer: u64::MAX }
            }
            Body::Batch(Batch { first_chunk: answer, .. }) | Body::Close(Close { chunks: answer, .. }) => {
                Self { request: u64::MAX, answer: *answer }
            }
            _ => Self::default(),
        }
    }

    /// Whether an entry is wanted.
    #[must_use]
    pub fn includes(&self, entry: &Entry) -> bool {
        match entry.body() {
            Body::Batch(head) => head.first_chunk >= self.of(head.direction),
            Body::Close(head) => head.chunks >= self.of(head.direction),
            _ => true,
        }
    }

    /// Goes on after an entry. Gives whether it is a piece of a stream.
    pub(crate) fn pass(&mut self, entry: &Entry) -> bool {
        let (direction, next) = match entry.body() {
            Body::Batch(head) => (head.direction, head.first_chunk.saturating_add(head.chunks.into())),
            Body::Close(head) => (head.direction, head.chunks.saturating_add(1)),
            _ => return false,
        };
        match direction {
            StreamDirection::Request => self.request = self.request.max(next),
            StreamDirection::Answer => self.answer = self.answer.max(next),
        }
        true
    }

    fn of(&self, direction: StreamDirection) -> u64 {
        match direction {
            StreamDirection::Request => self.request,
            StreamDirection::Answer => self.answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use peabiru_proto::entry::{Common, Reached};
    use peabiru_proto::hash::ContentRoot;

    use super::*;

    fn entry(body: &Body) -> Entry {
        let (exchange, created_at) = (ExchangeId::from_slice(&[1; 16]).unwrap(), Timestamp::from_ms(1));
        let node = Some("PY/GOV/MEC/n1".parse().unwrap());
        let common = Common { exchange, created_at, node, globalconf: None };
        Entry::encode(&"py.example/registry/1".parse().unwrap(), &common, body).unwrap()
    }

    #[test]
    fn what_was_passed_is_not_wanted_again_and_what_follows_is() {
        let (opening, content_root) = (LeafHash::from_bytes([1; 32]), ContentRoot::from_bytes([2; 32]));
        let (direction, previous) = (StreamDirection::Answer, None);
        let peer = Some(Reached { leaf: opening, chunks: 0 });
        let batch = Batch {
            opening,
            direction,
            previous,
            first_chunk: 0,
            chunks: 1,
            content_root,
            body_bytes: 9,
            peer,
        };
        let first = entry(&Body::Batch(batch.clone()));
        let previous = Some(first.leaf_hash());
        let second = entry(&Body::Batch(Batch { previous, first_chunk: 1, ..batch }));
        let fault = None;
        let previous = Some(second.leaf_hash());
        let close = Close { opening, direction, previous, chunks: 2, outcome: 0, content_root, peer, fault };
        let close = entry(&Body::Close(close));
        let chain = [first, second, close];
        let mut from = FromChunks::default();
        for (number, passed) in chain.iter().enumerate() {
            assert!(chain[number..].iter().all(|entry| from.includes(entry)));
            assert!(from.pass(passed));
            assert!(!chain[..=number].iter().any(|entry| from.includes(entry)));
        }
    }
}
