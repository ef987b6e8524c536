//! What can go wrong with a registry: one variant per thing that somebody can act on.

use std::io;
use std::path::PathBuf;

use peabiru_certs::CertsError;
use peabiru_ledger::LedgerError;
use peabiru_ledger::payload::PayloadError;
use peabiru_ledger::snapshot::SnapshotError;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::time::Timestamp;

use crate::state::{Kind, Refusal};

/// Why the registry does not start, or does not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The configuration file.
    #[error("{path}: {reason}")]
    Config {
        /// Which file.
        path: PathBuf,
        /// What is wrong, with its line.
        reason: String,
    },
    /// A file or folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An instance is created in a folder of its own.
    #[error("{path} exists and is not empty: an instance is created in a new folder")]
    FolderInUse {
        /// Which.
        path: PathBuf,
    },
    /// Roots and threshold.
    #[error("{threshold} of {roots} roots: give 1 to {max} roots, and a threshold of 1 to that many")]
    Roots {
        /// Threshold.
        threshold: u32,
        /// How many.
        roots: u32,
        /// Most.
        max: u32,
    },
    /// Keys and certificates.
    #[error(transparent)]
    Certs(#[from] CertsError),
    /// The registry's own ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A payload of it.
    #[error("a payload of the registry's ledger: {0}")]
    Payload(#[from] PayloadError),
    /// The delegation by the roots.
    #[error("{path}: {reason}")]
    Delegation {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A key that is none of the instance's roots.
    #[error("this key is none of the roots in the configuration anchor: take a key of this instance's roots")]
    Root,
    /// A snapshot that its own key would not be believed for.
    #[error("the delegation by the roots ended at {expired_at}: have the roots sign a new one")]
    DelegationExpired {
        /// When.
        expired_at: Timestamp,
    },
    /// A snapshot as nodes would judge it.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The rules refuse a command.
    #[error("{code}: {0}", code = .0.code())]
    Refused(#[from] Refusal),
    /// The ledger's events, or the parts made of them, contradict each other.
    #[error("entry {index} of the registry's ledger contradicts those before it: {reason}")]
    Replay {
        /// Which entry.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// Nodes would refuse what is about to be published.
    #[error("this would publish a global configuration that nodes refuse: {0}")]
    Contradiction(String),
    /// A clock that went back.
    #[error("the clock says {now}, and the ledger's last entry was made at {last}: set the clock")]
    ClockBehind {
        /// Of the machine.
        now: Timestamp,
        /// Of the entry.
        last: Timestamp,
    },
    /// A port in use, or an address of another machine.
    #[error("cannot listen on {address} ({what}): {source}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Which key of the configuration.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A server task ended by itself.
    #[error("the registry's server stopped: {0}")]
    Server(String),
}

impl RegistryError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config { .. } => "registry.config",
            Self::File { .. } => "registry.file",
            Self::FolderInUse { .. } => "registry.folder_in_use",
            Self::Roots { .. } => "registry.roots",
            Self::Certs(error) => error.code(),
            Self::Ledger(error) => error.code(),
            Self::Payload(_) => "registry.payload",
            Self::Delegation { .. } => "registry.delegation",
            Self::Root => "registry.root",
            Self::DelegationExpired { .. } => "registry.delegation_expired",
            Self::Snapshot(error) => error.code(),
            Self::Refused(refusal) => refusal.code(),
            Self::Replay { .. } => "registry.replay",
            Self::Contradiction(_) => "registry.contradiction",
            Self::ClockBehind { .. } => "registry.clock_behind",
            Self::Listen { .. } => "registry.listen",
            Self::Server(_) => "registry.server",
        }
    }

    /// What a caller of the API is told.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let code = match self {
            Self::Refused(refusal) if refusal.kind() == Kind::SamePerson => FaultCode::ApprovalSamePerson,
            Self::Refused(refusal) if refusal.kind().is_about_who() => FaultCode::OperatorNotAllowed,
            Self::Refused(_) | Self::Contradiction(_) | Self::DelegationExpired { .. } => {
                FaultCode::RegistryRefused
            }
            Self::Ledger(LedgerError::NoSuchEntry { .. }) => FaultCode::RequestInvalid,
            Self::Ledger(error) => error.fault_code(),
            _ => FaultCode::Internal,
        };
        Fault::new(code, Place::Registry, self.to_string())
    }
}
