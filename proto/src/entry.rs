//! Entries: the leaves of a ledger, kept as the bytes that were transmitted, stored and hashed. FROZEN.
//!
//! [`Entry::encode`] writes the one form that [`Entry::decode`] accepts: proto3, fields ascending, minimal varints,
//! defaults absent. The decoder reads the wire form itself, because a protobuf library silently drops what it does
//! not know. Field numbers from 1000 on are kept in the bytes and skipped; unknown ones below are refused.

mod body;
mod fields;
mod stream;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use data_encoding::HEXLOWER;

use crate::hash::{ContentRoot, ContractDigest, Digest, LeafHash, SnapshotDigest};
use crate::id::{NodeId, ServiceId, SubsystemId};
use crate::limits::{MAX_ENTRY_BYTES, MAX_EXPIRY};
use crate::merkle;
use crate::origin::Origin;
use crate::policy::Purpose;
use crate::random::Random;
use crate::time::Timestamp;
pub use crate::wire::EntryKind;
use fields::{Fields, Writer};
pub use stream::{Batch, Close, Reached, StreamDirection};

/// One leaf, with what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    bytes: Bytes,
    leaf: LeafHash,
    origin: Origin,
    common: Common,
    body: Body,
}

/// Names an exchange, or a NOTICE: 16 random bytes made by the node, so that a leaf cannot be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId([u8; 16]);

/// The snapshot in force when an entry was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlobalconfRef {
    /// Its version, from 1.
    pub version: u64,
    /// Of its bytes without signatures.
    pub digest: SnapshotDigest,
}

/// What every entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// All entries of an exchange carry the REQUEST's.
    pub exchange: ExchangeId,
    /// By the node's clock.
    pub created_at: Timestamp,
    /// Own node; absent only in the registry's NOTICEs.
    pub node: Option<NodeId>,
    /// Absent before the first snapshot.
    pub globalconf: Option<GlobalconfRef>,
}

/// What an entry says by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A consumer asks.
    Request(Request),
    /// A message arrived.
    Received(Received),
    /// A provider answers.
    Response(Response),
    /// A node answers in the service's place.
    Fault(FaultHead),
    /// A piece of a stream.
    Batch(Batch),
    /// The end of one direction of a stream.
    Close(Close),
    /// Another key seals from here on.
    KeyChange(KeyChange),
    /// An administrative fact.
    Notice(Notice),
}

/// A consumer asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// At most `MAX_EXPIRY` after `created_at`.
    pub expires_at: Timestamp,
    /// Who asks.
    pub consumer: SubsystemId,
    /// Who is asked.
    pub service: ServiceId,
    /// Bare gRPC method, or path template.
    pub method: String,
    /// The provider's node.
    pub addressee: NodeId,
    /// From 1.
    pub contract_version: u32,
    /// Of the contract's document.
    pub contract_digest: ContractDigest,
    /// As the contract says.
    pub side_effects: SideEffects,
    /// One of the contract's.
    pub purpose: Purpose,
    /// SHA-256 of a consent reference.
    pub consent_commitment: Option<Digest>,
    /// Where the payload's root stands.
    pub content: Content,
    /// The earlier REQUEST that this one repeats.
    pub retry_of: Option<LeafHash>,
}

/// How the payload of a request, or of its answer, is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Its root stands in the head.
    Whole {
        /// Tree hash of the salted chunks.
        root: ContentRoot,
        /// Bytes of the body.
        body_bytes: u64,
    },
    /// BATCH and CLOSE entries carry the roots of the body.
    Stream {
        /// Tree hash of the salted context alone.
        context_root: ContentRoot,
    },
}

/// A message arrived, and what was decided about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The sender's ledger.
    pub peer_origin: Origin,
    /// Index there.
    pub peer_index: u64,
    /// Leaf hash there.
    pub peer_leaf: LeafHash,
    /// SHA-256 of the whole signed note that sealed it.
    pub peer_checkpoint: Digest,
    /// The message's own expiry; an answer has none.
    pub expires_at: Option<Timestamp>,
    /// When its last byte came.
    pub received_at: Timestamp,
    /// What was decided.
    pub verdict: Verdict,
    /// The grant that allowed it.
    pub grant: Option<GrantRef>,
}

/// A revision of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRef {
    /// Its id in the provider's ledger.
    pub id: String,
    /// From 1.
    pub revision: u32,
    /// SHA-256 of its sealed bytes.
    pub digest: Digest,
}

/// A provider answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The REQUEST.
    pub request_leaf: LeafHash,
    /// Own RECEIVED.
    pub received_leaf: LeafHash,
    /// The consumer's node.
    pub addressee: NodeId,
    /// gRPC status code, 0 to 16; 0 for a stream, whose CLOSE says it.
    pub outcome: u32,
    /// Where the payload's root stands.
    pub content: Content,
}

/// A node answers in the service's place. The payload's body is a `Fault` message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultHead {
    /// The REQUEST.
    pub request_leaf: LeafHash,
    /// Own RECEIVED.
    pub received_leaf: LeafHash,
    /// The consumer's node.
    pub addressee: NodeId,
    /// Stable fault code.
    pub code: String,
    /// Of the payload.
    pub content_root: ContentRoot,
    /// Bytes of the body.
    pub body_bytes: u64,
}

/// The last entry that the ledger's key seals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The Ed25519 public key that sealed until here.
    pub previous_key: [u8; 32],
    /// The one that seals from here on.
    pub next_key: [u8; 32],
}

/// An administrative fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What kind of fact: `grant.set`, `payload.erased`, …
    pub code: String,
    /// What it is about: an identifier, or a hash in hex.
    pub subject: String,
    /// Of the payload.
    pub content_root: ContentRoot,
    /// Bytes of the body.
    pub body_bytes: u64,
}

/// What a method does beyond answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SideEffects {
    /// A read.
    None,
    /// Invoking it may change something.
    Present,
}

/// What a node decided about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every check passed.
    Accepted,
    /// The seal held, a later check did not; the FAULT says why.
    Refused,
}

/// Why bytes are no entry that this version accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Longer than `MAX_ENTRY_BYTES`.
    #[error("it has {bytes} bytes, {MAX_ENTRY_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The wire form is not the canonical one.
    #[error("byte {offset}: {what}")]
    Wire {
        /// From the start of the message that has it.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A field number below 1000 that this version does not know.
    #[error("unknown field {number}")]
    UnknownField {
        /// Which.
        number: u32,
    },
    /// A format of the future.
    #[error("format {0} is unknown, this version reads format 1")]
    Format(u64),
    /// A kind that no version knows.
    #[error("kind {0} is unknown")]
    Kind(u64),
    /// A kind whose body this version does not read yet.
    #[error("entries of kind {0:?} are not read by this version")]
    KindNotYet(EntryKind),
    /// A field holds something that it must not.
    #[error("{field}: {reason}")]
    Field {
        /// Its name in the schema.
        field: &'static str,
        /// Why.
        reason: String,
    },
}

impl Entry {
    /// Writes an entry: the canonical bytes and their leaf hash.
    ///
    /// # Errors
    /// `EntryError` if a value breaks a rule of the decoder (too long, expiry too far): what is written can be read.
    pub fn encode(origin: &Origin, common: &Common, body: &Body) -> Result<Self, EntryError> {
        let mut inner = Writer::default();
        body::write(&mut inner, common, body);
        let mut writer = Writer::default();
        writer.uint(1, FORMAT);
        writer.uint(2, body.kind() as u64);
        writer.bytes(3, origin.as_str().as_bytes());
        writer.bytes(4, &inner.into_bytes());
        let bytes = Bytes::from(writer.into_bytes());
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(EntryError::TooLong { bytes: bytes.len() });
        }
        body::check(common, body)?;
        let leaf = merkle::entry_hash(&bytes);
        Ok(Self { bytes, leaf, origin: origin.clone(), common: common.clone(), body: body.clone() })
    }

    /// Reads an entry strictly and keeps its bytes.
    ///
    /// # Errors
    /// `EntryError` for everything but the canonical form of a kind that this version knows.
    pub fn decode(bytes: Bytes) -> Result<Self, EntryError> {
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(EntryError::TooLong { bytes: bytes.len() });
        }
        let mut fields = Fields::scan(&bytes)?;
        match fields.uint(1)? {
            FORMAT => {}
            other => return Err(EntryError::Format(other)),
        }
        let kind = decode_kind(fields.uint(2)?)?;
        let origin = fields.parsed("origin", 3)?;
        let inner = fields.bytes(4)?;
        fields.finish()?;
        let (common, body) = body::read(kind, inner)?;
        let leaf = merkle::entry_hash(&bytes);
        Ok(Self { leaf, origin, common, body, bytes })
    }

    /// The bytes, verbatim.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// RFC 6962 leaf hash of the bytes.
    #[must_use]
    pub fn leaf_hash(&self) -> LeafHash {
        self.leaf
    }

    /// The ledger that it belongs to.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What every entry says.
    #[must_use]
    pub fn common(&self) -> &Common {
        &self.common
    }

    /// What it says by its kind.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> EntryKind {
        self.body.kind()
    }

    /// The exchange that it belongs to.
    #[must_use]
    pub fn exchange(&self) -> ExchangeId {
        self.common.exchange
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} {} of {})", self.kind().as_str_name(), self.exchange(), self.origin)
    }
}

impl Body {
    /// The kind's number.
    #[must_use]
    pub fn kind(&self) -> EntryKind {
        match self {
            Self::Request(_) => EntryKind::Request,
            Self::Received(_) => EntryKind::Received,
            Self::Response(_) => EntryKind::Response,
            Self::Fault(_) => EntryKind::Fault,
            Self::Batch(_) => EntryKind::Batch,
            Self::Close(_) => EntryKind::Close,
            Self::KeyChange(_) => EntryKind::KeyChange,
            Self::Notice(_) => EntryKind::Notice,
        }
    }

    /// Root and size of the payload whose content this entry commits to, if it has one of its own.
    #[must_use]
    pub fn content(&self) -> Option<(ContentRoot, u64)> {
        match self {
            Self::Request(request) => Some(request.content.committed()),
            Self::Response(head) => Some(head.content.committed()),
            Self::Fault(head) => Some((head.content_root, head.body_bytes)),
            Self::Batch(head) => Some((head.content_root, head.body_bytes)),
            Self::Close(head) => Some((head.content_root, 0)),
            Self::Notice(head) => Some((head.content_root, head.body_bytes)),
            Self::Received(_) | Self::KeyChange(_) => None,
        }
    }
}

impl Content {
    /// Root and size of the payload that the head itself commits to: of a stream its context alone.
    #[must_use]
    pub fn committed(&self) -> (ContentRoot, u64) {
        match *self {
            Self::Whole { root, body_bytes } => (root, body_bytes),
            Self::Stream { context_root } => (context_root, 0),
        }
    }

    /// Whether batches follow.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Stream { .. })
    }
}

impl ExchangeId {
    /// A fresh one.
    #[must_use]
    pub fn new(random: &dyn Random) -> Self {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        Self(bytes)
    }

    /// Reads exactly 16 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// 32 lower-case hex digits.
impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExchangeId({self})")
    }
}

impl FromStr for ExchangeId {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        bytes.and_then(|bytes| Self::from_slice(&bytes)).ok_or_else(|| EntryError::Field {
            field: "exchange_id",
            reason: "an exchange id is 32 lower-case hex digits".to_owned(),
        })
    }
}

fn decode_kind(number: u64) -> Result<EntryKind, EntryError> {
    let kind = i32::try_from(number).ok().and_then(|number| EntryKind::try_from(number).ok());
    match kind {
        None | Some(EntryKind::Unspecified) => Err(EntryError::Kind(number)),
        Some(kind @ (EntryKind::Anchor | EntryKind::Epoch)) => Err(EntryError::KindNotYet(kind)),
        Some(kind) => Ok(kind),
    }
}

/// The only format so far.
const FORMAT: u64 = 1;

const _: () = assert!(MAX_EXPIRY.as_secs() == 300, "the schema says: at most 5 minutes");

#[cfg(test)]
mod tests;
