//! `Hello`, the first frame of a control stream: who speaks, which versions, which heads of ours it holds. Pure.

use peabiru_ledger::checkpoint::{CheckpointError, SignedCheckpoint};
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::MAX_HELLO_CHECKPOINTS;
use peabiru_proto::wire;

/// What a node says first on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version that both speak.
    pub version: u32,
    /// Of the global configuration that the sender holds; 0 if it has none.
    pub globalconf_version: u64,
    /// Rises with each `Hello` of the sender, also over its restarts: the newer of two connections has the higher.
    pub serial: u64,
    /// Serial of the sender's `Hello` on the live connection that this one replaces.
    pub replaces: Option<u64>,
    /// The newest head that the sender holds of each of the receiver's ledgers.
    pub known: Vec<SignedCheckpoint>,
}

/// Why a `Hello` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// It speaks none of our versions.
    #[error("it speaks versions {min} to {max} of the protocol, this node {VERSION_MIN} to {VERSION}")]
    Version {
        /// Its oldest.
        min: u32,
        /// Its newest.
        max: u32,
    },
    /// The name is not the certificate's.
    #[error("it says that it is `{claimed}`, its certificate is registered for {registered}")]
    Identity {
        /// What it says.
        claimed: String,
        /// What the global configuration says of its certificate.
        registered: NodeId,
    },
    /// More than the limit.
    #[error("it names {0} checkpoints, {MAX_HELLO_CHECKPOINTS} are allowed")]
    TooMany(usize),
    /// No checkpoint.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
}

impl Hello {
    /// Reads a peer's `Hello`; `registered` is who its certificate belongs to.
    ///
    /// # Errors
    /// `HelloError` says why the connection is of no use.
    pub fn read(hello: &wire::Hello, registered: &NodeId) -> Result<Self, HelloError> {
        let version = hello.version.min(VERSION);
        if version < hello.version_min.max(VERSION_MIN) {
            return Err(HelloError::Version { min: hello.version_min, max: hello.version });
        }
        if hello.node != registered.as_str() {
            let claimed = hello.node.chars().take(CLAIM_CHARS_MAX).collect();
            return Err(HelloError::Identity { claimed, registered: registered.clone() });
        }
        if hello.known_checkpoints.len() > MAX_HELLO_CHECKPOINTS {
            return Err(HelloError::TooMany(hello.known_checkpoints.len()));
        }
        let known = hello
            .known_checkpoints
            .iter()
            .map(|note| SignedCheckpoint::parse(note))
            .collect::<Result<_, _>>()?;
        let replaces = (hello.replaces != 0).then_some(hello.replaces);
        Ok(Self {
            version,
            globalconf_version: hello.globalconf_version,
            serial: hello.serial,
            replaces,
            known,
        })
    }

    /// Our own `Hello`. Of more heads than fit, the first ones: the peer starts at 0 for the others.
    #[must_use]
    pub fn write(
        own: &NodeId,
        globalconf_version: u64,
        serial: u64,
        known: &[SignedCheckpoint],
    ) -> wire::Hello {
        let notes = known.iter().take(MAX_HELLO_CHECKPOINTS);
        wire::Hello {
            version: VERSION,
            version_min: VERSION_MIN,
            node: own.as_str().to_owned(),
            globalconf_version,
            known_checkpoints: notes.map(|head| head.note().as_bytes().to_vec().into()).collect(),
            serial,
            replaces: 0,
        }
    }
}

/// Newest version of the protocol between nodes that this one speaks.
pub const VERSION: u32 = 1;
/// Oldest one: the version before the newest.
pub const VERSION_MIN: u32 = if VERSION > 1 { VERSION - 1 } else { VERSION };
/// How much of a wrong name is repeated in the error, in characters.
const CLAIM_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> NodeId {
        "PY/GOV/MEC/1".parse().unwrap()
    }

    #[test]
    fn a_hello_reads_back() {
        let read = Hello::read(&Hello::write(&own(), 7, 9, &[]), &own()).unwrap();
        let replacing = wire::Hello { replaces: 8, ..Hello::write(&own(), 7, 9, &[]) };
        assert_eq!(Hello::read(&replacing, &own()).unwrap().replaces, Some(8));
        assert_eq!(
            read,
            Hello { version: VERSION, globalconf_version: 7, serial: 9, replaces: None, known: Vec::new() }
        );
    }

    #[test]
    fn a_newer_peer_that_still_speaks_our_version_is_understood() {
        let newer =
            wire::Hello { version: VERSION + 1, version_min: VERSION, ..Hello::write(&own(), 1, 1, &[]) };
        assert_eq!(Hello::read(&newer, &own()).unwrap().version, VERSION);
        let too_new = wire::Hello { version_min: VERSION + 1, ..newer };
        let refused = HelloError::Version { min: VERSION + 1, max: VERSION + 1 };
        assert_eq!(Hello::read(&too_new, &own()), Err(refused));
        let none = wire::Hello { version: 0, ..too_new };
        assert!(matches!(Hello::read(&none, &own()), Err(HelloError::Version { .. })));
    }

    #[test]
    fn a_peer_is_who_its_certificate_says() {
        let other: NodeId = "PY/GOV/MITIC/1".parse().unwrap();
        let claimed = "PY/GOV/MEC/1".to_owned();
        let refused = HelloError::Identity { claimed, registered: other.clone() };
        assert_eq!(Hello::read(&Hello::write(&own(), 1, 1, &[]), &other), Err(refused));
    }

    #[test]
    fn what_is_no_checkpoint_or_too_many_is_refused() {
        let hello = Hello::write(&own(), 1, 1, &[]);
        let broken = wire::Hello { known_checkpoints: vec![b"note".to_vec().into()], ..hello.clone() };
        assert!(matches!(Hello::read(&broken, &own()), Err(HelloError::Checkpoint(_))));
        let many = vec![Vec::new().into(); MAX_HELLO_CHECKPOINTS + 1];
        let many = wire::Hello { known_checkpoints: many, ..hello };
        assert_eq!(Hello::read(&many, &own()), Err(HelloError::TooMany(MAX_HELLO_CHECKPOINTS + 1)));
    }
}
