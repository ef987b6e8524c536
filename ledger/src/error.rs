//! What can be wrong with a ledger: one variant per thing that somebody can act on.

use std::io;
use std::path::PathBuf;

use peabiru_proto::fault::FaultCode;
use peabiru_proto::origin::Origin;

use crate::checkpoint::VerifyingKey;
use crate::payload::PayloadError;
use crate::position::{LogPosition, TreeSize};

/// Why a ledger does not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Another process has the folder.
    #[error("{folder} is locked: another node runs on it")]
    Locked {
        /// Which folder.
        folder: PathBuf,
    },
    /// The system refuses an operation while opening or reading.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Damage before intact records: nothing is guessed, nothing is dropped.
    #[error("{segment}, byte {offset}: {what}. Restore the folder from its mirror, or declare a new epoch")]
    Corrupt {
        /// Which segment file.
        segment: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A ledger in the folder has no key.
    #[error("the folder holds entries of {origin}, and no sealing key of it was given")]
    UnknownLedger {
        /// Which.
        origin: Origin,
    },
    /// None of the given keys seals the ledger.
    #[error(
        "{origin} is sealed by another key than the one given{}: give the key that sealed it last",
        named.map_or_else(String::new, |key| format!(", since it went over to {}", key.vkey(origin)))
    )]
    OtherKey {
        /// Which.
        origin: Origin,
        /// The key that its last KEY_CHANGE names, if it has one.
        named: Option<VerifyingKey>,
    },
    /// The ledger's last entry is a KEY_CHANGE, and the key before was not given.
    #[error(
        "{origin} went over to another key with its very last entry: give the key before, {}, as the one that seals, and the other one \
         as the next, until something else was sealed",
        named.vkey(origin)
    )]
    KeyBefore {
        /// Which.
        origin: Origin,
        /// The key before.
        named: VerifyingKey,
    },
    /// An entry that is a KEY_CHANGE without its key, or a key without its entry.
    #[error("a KEY_CHANGE goes alone, with the key that it names")]
    KeyChange,
    /// Slots were wrapped by another storage key.
    #[error("{segment}, byte {offset}: its payloads are wrapped by another storage key")]
    StorageKey {
        /// Which segment file.
        segment: String,
        /// Where in it.
        offset: u64,
    },
    /// Too much waits.
    #[error("the ledger's queue is full: {appends_max} entries wait for the disk")]
    Full {
        /// Its bound.
        appends_max: usize,
    },
    /// No space for another segment.
    #[error("the disk has less than {min_free_bytes} bytes beside a new segment: nothing more is accepted")]
    DiskFull {
        /// What must stay free.
        min_free_bytes: u64,
    },
    /// Too many large bodies are on their way.
    #[error(
        "the bodies on their way would have more than {spool_bytes_max} bytes: try again when some have passed"
    )]
    SpoolFull {
        /// What they may have together.
        spool_bytes_max: u64,
    },
    /// Too many of them belong to one peer or caller.
    #[error(
        "its bodies on their way would have more than {share_bytes_max} bytes, and the rest is for others: try again when some have passed"
    )]
    SpoolShare {
        /// What one has at least.
        share_bytes_max: u64,
    },
    /// A payload that cannot be made or opened.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Larger than a record can be.
    #[error("the entries and payloads have {bytes} bytes, one commit takes {max}")]
    TooLarge {
        /// Their size.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
    /// A write or sync failed. The process must stop: the kernel may have dropped what was written.
    #[error("the ledger stopped: {reason}. The node must be restarted")]
    Failed {
        /// What happened.
        reason: String,
    },
    /// It was closed.
    #[error("the ledger is closed")]
    Closed,
    /// An entry of another ledger.
    #[error("an entry of {origin} was given to another ledger")]
    WrongLedger {
        /// Whose entry.
        origin: Origin,
    },
    /// An encrypted payload, and no storage key to keep its key with.
    #[error("this ledger was opened without a storage key and takes payloads in clear only")]
    NoStorageKey,
    /// Not in the ledger.
    #[error("the ledger has {size} entries, {position} is beyond")]
    NoSuchEntry {
        /// What was asked.
        position: LogPosition,
        /// What is there.
        size: TreeSize,
    },
    /// The index, which can be rebuilt.
    #[error("the index: {0}")]
    Index(String),
    /// A NOTICE that does not say what is erased.
    #[error(
        "erasing the payload of entry {position} needs a NOTICE payload.erased with its leaf hash as subject"
    )]
    WrongNotice {
        /// Which.
        position: LogPosition,
    },
    /// Nothing to erase.
    #[error("entry {position} has no payload that could be erased")]
    NotErasable {
        /// Which.
        position: LogPosition,
    },
}

impl LedgerError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "ledger.locked",
            Self::Disk { .. } => "ledger.disk",
            Self::Corrupt { .. } => "ledger.corrupt",
            Self::UnknownLedger { .. } => "ledger.unknown",
            Self::OtherKey { .. } => "ledger.other_key",
            Self::KeyBefore { .. } => "ledger.key_before",
            Self::KeyChange => "ledger.key_change",
            Self::StorageKey { .. } => "ledger.storage_key",
            Self::Full { .. } => "ledger.full",
            Self::DiskFull { .. } => "ledger.disk_full",
            Self::SpoolFull { .. } => "ledger.spool_full",
            Self::SpoolShare { .. } => "ledger.spool_share",
            Self::Payload(_) => "ledger.payload",
            Self::TooLarge { .. } => "ledger.too_large",
            Self::Failed { .. } => "ledger.failed",
            Self::Closed => "ledger.closed",
            Self::WrongLedger { .. } => "ledger.wrong",
            Self::NoStorageKey => "ledger.no_storage_key",
            Self::NoSuchEntry { .. } => "ledger.no_such_entry",
            Self::Index(_) => "ledger.index",
            Self::WrongNotice { .. } => "ledger.wrong_notice",
            Self::NotErasable { .. } => "ledger.not_erasable",
        }
    }

    /// What a caller of the node is told.
    #[must_use]
    pub fn fault_code(&self) -> FaultCode {
        match self {
            Self::Full { .. } | Self::SpoolFull { .. } | Self::SpoolShare { .. } => FaultCode::NodeOverloaded,
            Self::DiskFull { .. } => FaultCode::NodeDiskFull,
            Self::Closed => FaultCode::NodeDraining,
            Self::TooLarge { .. }
            | Self::Payload(PayloadError::ContextTooLarge { .. } | PayloadError::BodyTooLarge { .. }) => {
                FaultCode::PayloadTooLarge
            }
            _ => FaultCode::Internal,
        }
    }
}
