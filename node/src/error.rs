//! Why a node does not start, or stopped: one variant per thing that an administrator can act on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use peabiru_certs::CertsError;
use peabiru_ledger::LedgerError;
use peabiru_proto::globalconf::InvalidAnchor;
use peabiru_proto::id::MemberId;
use peabiru_proto::time::Timestamp;

use crate::config::ConfigError;
use crate::door::DoorError;
use crate::globalconf::RefreshError;
use crate::link::LinkError;
use crate::link::forks::ForksError;

/// Why a node does not start, or had to stop by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// `node.toml`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file or folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration anchor.
    #[error("{path}: {reason}")]
    Anchor {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: InvalidAnchor,
    },
    /// Keys and certificates.
    #[error(transparent)]
    Certs(#[from] CertsError),
    /// A sealing key that is none.
    #[error("the sealing key of {member} is no Ed25519 key, or not the one of its certificate")]
    SealingKey {
        /// Whose.
        member: MemberId,
    },
    /// A member of another instance.
    #[error("{member} is not of the instance of the configuration anchor, {instance}")]
    OtherInstance {
        /// Which.
        member: MemberId,
        /// Of the anchor.
        instance: String,
    },
    /// The ledgers.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The kept global configuration.
    #[error(transparent)]
    Globalconf(#[from] RefreshError),
    /// The kept forks.
    #[error(transparent)]
    Forks(#[from] ForksError),
    /// A clock that went back.
    #[error("the clock says {now}, and the ledger's last entry was made at {last}: set the clock")]
    ClockBehind {
        /// Of the machine.
        now: Timestamp,
        /// Of the entry.
        last: Timestamp,
    },
    /// The link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A door.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// Metrics or the admin socket.
    #[error("cannot listen on {address} ({what}): {source}")]
    Listen {
        /// Which key of the configuration.
        what: &'static str,
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The host name of a service's url.
    #[error("{service}: `{host}` is no host name that a certificate can have")]
    ServiceHost {
        /// Which service.
        service: String,
        /// Of its url.
        host: String,
    },
    /// A certificate to change over to that peers do not know.
    #[error(
        "[keys] authentication_certificate: {} is not registered for this node in the global configuration in force: register it \
         first (peabiru node certificate --add), and wait until it is in force",
        path.display()
    )]
    Unregistered {
        /// Its file.
        path: PathBuf,
    },
    /// Sealing certificates of which none is of the key that seals.
    #[error(
        "[[ledgers]] of {member}: neither sealing_certificate nor next_sealing_certificate is of the key that seals its ledger. Keep \
         the key in force as sealing_key, and name the one to go over to as next_sealing_key"
    )]
    SealingKeyOther {
        /// Whose.
        member: MemberId,
    },
    /// A sealing certificate to go over to that peers do not know.
    #[error(
        "[[ledgers]] next_sealing_certificate: {} is not registered for the ledger in the global configuration in force, or does not hold now: \
         register it first (peabiru ledger add-certificate), and wait until it is in force",
        path.display()
    )]
    SealingUnregistered {
        /// Its file.
        path: PathBuf,
    },
    /// Runtime, signals or a task.
    #[error("the node stopped: {0}")]
    Stopped(String),
}

impl NodeError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::File { .. } => "node.file",
            Self::Anchor { .. } => "node.anchor",
            Self::Certs(error) => error.code(),
            Self::SealingKey { .. } => "node.sealing_key",
            Self::OtherInstance { .. } => "node.other_instance",
            Self::Ledger(error) => error.code(),
            Self::Globalconf(error) => error.code(),
            Self::Forks(_) => "node.forks",
            Self::ClockBehind { .. } => "node.clock_behind",
            Self::Link(error) => error.code(),
            Self::Door(_) => "node.door",
            Self::Listen { .. } => "node.listen",
            Self::ServiceHost { .. } => "node.service_host",
            Self::Unregistered { .. } => "node.certificate_unregistered",
            Self::SealingKeyOther { .. } => "node.sealing_key_other",
            Self::SealingUnregistered { .. } => "node.sealing_certificate_unregistered",
            Self::Stopped(_) => "node.stopped",
        }
    }

    pub(crate) fn tcp(what: &'static str, address: SocketAddr) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Listen { what, address: address.to_string(), source }
    }
}
