//! Snapshots of the global configuration: signing, and the one check that makes a snapshot trusted. FROZEN.
//!
//! Roots (k of n, offline) sign a delegation, Ed25519 over `"peabiru/v1/delegation\n"` ‖ its bytes; the delegated
//! snapshot key signs snapshots, over `"peabiru/v1/snapshot\n"` ‖ their bytes. The bytes are verified as they came and
//! never encoded again.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use bytes::Bytes;
use peabiru_certs::key::SecretKey;
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::hash::SnapshotDigest;
use peabiru_proto::limits::{CLOCK_SKEW, MAX_DELEGATION_VALIDITY, MAX_SNAPSHOT_VALIDITY};
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire;
use prost::Message as _;

use crate::checkpoint::VerifyingKey;

/// A snapshot whose roots stand behind it. Only [`verify_snapshot`] makes it.
#[derive(Debug, Clone)]
pub struct VerifiedSnapshot {
    snapshot: wire::Snapshot,
    bytes: Bytes,
    digest: SnapshotDigest,
    delegation: VerifiedDelegation,
}

/// The online keys that enough roots named.
#[derive(Debug, Clone)]
pub struct VerifiedDelegation {
    /// Signs snapshots.
    pub snapshot_key: VerifyingKey,
    /// The registry's ledger.
    pub registry_origin: Origin,
    /// Seals it.
    pub registry_key: VerifyingKey,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Why a snapshot is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not the messages that they should be.
    #[error("the snapshot does not parse: {0}")]
    Malformed(&'static str),
    /// A signature does not hold.
    #[error("the snapshot is forged: {0}")]
    Forged(&'static str),
    /// Fewer root signatures than the anchor demands.
    #[error("{found} of {needed} root keys signed the delegation")]
    TooFewRoots {
        /// Valid ones of distinct roots.
        found: u32,
        /// The threshold.
        needed: u32,
    },
    /// Of another instance or domain.
    #[error("it is of {found}, and the configuration anchor is of {expected}")]
    WrongInstance {
        /// In the anchor.
        expected: String,
        /// In the snapshot.
        found: String,
    },
    /// The delegation's time is over or has not begun.
    #[error("the delegation is valid from {from} to {to}, and it is {at}")]
    DelegationExpired {
        /// Its beginning.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
        /// The time of the check.
        at: Timestamp,
    },
    /// The snapshot's time is over.
    #[error("version {version} expired at {expired_at}, and it is {at}")]
    Expired {
        /// Which.
        version: u64,
        /// When.
        expired_at: Timestamp,
        /// The time of the check.
        at: Timestamp,
    },
    /// Made later than now.
    #[error("version {version} was made at {created_at}, and it is {at}: compare the clocks")]
    FromFuture {
        /// Which.
        version: u64,
        /// When.
        created_at: Timestamp,
        /// The time of the check.
        at: Timestamp,
    },
    /// A version below one that was seen.
    #[error("version {found} is older than version {held}, which this node has seen")]
    Older {
        /// Offered.
        found: u64,
        /// Held.
        held: u64,
    },
    /// Another snapshot of a version that was seen.
    #[error(
        "there are two different snapshots of version {version}, both signed: call the registry's officers"
    )]
    Forked {
        /// Which.
        version: u64,
    },
}

impl SnapshotError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "snapshot.malformed",
            Self::Forged(_) => "snapshot.forged",
            Self::TooFewRoots { .. } => "snapshot.too_few_roots",
            Self::WrongInstance { .. } => "snapshot.wrong_instance",
            Self::DelegationExpired { .. } => "snapshot.delegation_expired",
            Self::Expired { .. } => "snapshot.expired",
            Self::FromFuture { .. } => "snapshot.from_future",
            Self::Older { .. } => "snapshot.older",
            Self::Forked { .. } => "snapshot.forked",
        }
    }
}

impl VerifiedSnapshot {
    /// What it says.
    #[must_use]
    pub fn snapshot(&self) -> &wire::Snapshot {
        &self.snapshot
    }

    /// Its bytes, verbatim, without signatures.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of those bytes: what every entry's head cites.
    #[must_use]
    pub fn digest(&self) -> SnapshotDigest {
        self.digest
    }

    /// Who may sign for the registry.
    #[must_use]
    pub fn delegation(&self) -> &VerifiedDelegation {
        &self.delegation
    }
}

/// Code of the registry's NOTICE whose payload is a snapshot's bytes. FROZEN.
pub const NOTICE_SNAPSHOT: &str = "globalconf.snapshot";

/// Signs a snapshot with the delegated key.
#[must_use]
pub fn sign_snapshot(
    snapshot: &wire::Snapshot,
    key: &SecretKey,
    delegation: wire::SignedDelegation,
) -> wire::SignedSnapshot {
    let bytes = Bytes::from(snapshot.encode_to_vec());
    let signature = key.sign(&prefixed(SNAPSHOT_PREFIX, &bytes)).into();
    wire::SignedSnapshot { snapshot: bytes, signature, delegation: Some(delegation) }
}

/// Signs a delegation with some roots.
#[must_use]
pub fn sign_delegation(delegation: &wire::Delegation, roots: &[SecretKey]) -> wire::SignedDelegation {
    let delegation = Bytes::from(delegation.encode_to_vec());
    let mut signed = wire::SignedDelegation { signatures: Vec::new(), delegation };
    roots.iter().for_each(|root| cosign_delegation(&mut signed, root));
    signed
}

/// Adds a root's signature to a delegation; one that it gave before is replaced.
pub fn cosign_delegation(signed: &mut wire::SignedDelegation, root: &SecretKey) {
    signed.signatures.retain(|signature| signature.root_key != root.public_key());
    signed.signatures.push(wire::RootSignature {
        root_key: Bytes::copy_from_slice(root.public_key()),
        signature: root.sign(&prefixed(DELEGATION_PREFIX, &signed.delegation)).into(),
    });
}

/// How many of the anchor's roots signed a delegation.
#[must_use]
pub fn roots_that_signed(signed: &wire::SignedDelegation, anchor: &ConfigurationAnchor) -> u32 {
    let signed_by = |root: &[u8; 32]| {
        let mut of_root = signed.signatures.iter().filter(|signature| signature.root_key == root.as_slice());
        of_root.any(|by| verify(root, DELEGATION_PREFIX, &signed.delegation, &by.signature).is_some())
    };
    // Counted by the anchor's roots, so that one root that signs twice counts once.
    u32::try_from(anchor.root_keys.iter().filter(|root| signed_by(root)).count()).unwrap_or(u32::MAX)
}

/// Checks a snapshot from the roots down, at a moment in time. `held` is the newest version seen before.
///
/// # Errors
/// `SnapshotError` says which check failed.
pub fn verify_snapshot(
    signed: &wire::SignedSnapshot,
    anchor: &ConfigurationAnchor,
    at: Timestamp,
    held: u64,
) -> Result<VerifiedSnapshot, SnapshotError> {
    let delegation = signed.delegation.as_ref().ok_or(SnapshotError::Malformed("it has no delegation"))?;
    let delegation = verify_delegation(delegation, anchor, at)?;
    let key = delegation.snapshot_key.as_bytes();
    verify(key, SNAPSHOT_PREFIX, &signed.snapshot, &signed.signature)
        .ok_or(SnapshotError::Forged("its signature is not by the delegated snapshot key"))?;
    let snapshot = wire::Snapshot::decode(signed.snapshot.clone())
        .map_err(|_| SnapshotError::Malformed("not a Snapshot"))?;
    let found = format!("{} ({})", snapshot.instance, snapshot.domain);
    let expected = format!("{} ({})", anchor.instance, anchor.domain);
    if found != expected {
        return Err(SnapshotError::WrongInstance { expected, found });
    }
    if snapshot.registry_origin != delegation.registry_origin.as_str() {
        return Err(SnapshotError::Forged("it names another registry ledger than the delegation"));
    }
    check_times(&snapshot, at)?;
    if snapshot.version < held || snapshot.version == 0 {
        return Err(SnapshotError::Older { found: snapshot.version, held });
    }
    let bytes = signed.snapshot.clone();
    Ok(VerifiedSnapshot { digest: SnapshotDigest::of(&bytes), snapshot, bytes, delegation })
}

/// Checks a delegation alone.
///
/// # Errors
/// As `verify_snapshot`.
pub fn verify_delegation(
    signed: &wire::SignedDelegation,
    anchor: &ConfigurationAnchor,
    at: Timestamp,
) -> Result<VerifiedDelegation, SnapshotError> {
    let found = roots_that_signed(signed, anchor);
    if found < anchor.threshold {
        return Err(SnapshotError::TooFewRoots { found, needed: anchor.threshold });
    }
    let malformed = SnapshotError::Malformed;
    let delegation =
        wire::Delegation::decode(signed.delegation.clone()).map_err(|_| malformed("not a Delegation"))?;
    if delegation.instance != anchor.instance.as_str() {
        return Err(SnapshotError::WrongInstance {
            expected: anchor.instance.to_string(),
            found: delegation.instance,
        });
    }
    let (from, to) =
        (Timestamp::from_ms(delegation.not_before_ms), Timestamp::from_ms(delegation.expires_at_ms));
    if at < from || at >= to || to.since(from) > MAX_DELEGATION_VALIDITY {
        return Err(SnapshotError::DelegationExpired { from, to, at });
    }
    let key = |bytes: &Bytes| {
        bytes.as_ref().try_into().map(VerifyingKey::from_bytes).map_err(|_| malformed("a key's length"))
    };
    Ok(VerifiedDelegation {
        snapshot_key: key(&delegation.snapshot_key)?,
        registry_origin: delegation.registry_origin.parse().map_err(|_| malformed("registry_origin"))?,
        registry_key: key(&delegation.registry_key)?,
        expires_at: to,
    })
}

fn check_times(snapshot: &wire::Snapshot, at: Timestamp) -> Result<(), SnapshotError> {
    let version = snapshot.version;
    let (created_at, expired_at) =
        (Timestamp::from_ms(snapshot.created_at_ms), Timestamp::from_ms(snapshot.expires_at_ms));
    if at.plus(CLOCK_SKEW) < created_at {
        return Err(SnapshotError::FromFuture { version, created_at, at });
    }
    if at >= expired_at {
        return Err(SnapshotError::Expired { version, expired_at, at });
    }
    if expired_at.since(created_at) > MAX_SNAPSHOT_VALIDITY {
        return Err(SnapshotError::Malformed("it claims to be valid for more than 72 hours"));
    }
    Ok(())
}

pub(crate) fn verify(key: &[u8; 32], prefix: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    UnparsedPublicKey::new(&ED25519, key).verify(&prefixed(prefix, message), signature).ok()
}

pub(crate) fn prefixed(prefix: &[u8], message: &[u8]) -> Vec<u8> {
    [prefix, message].concat()
}

const SNAPSHOT_PREFIX: &[u8] = b"peabiru/v1/snapshot\n";
const DELEGATION_PREFIX: &[u8] = b"peabiru/v1/delegation\n";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use peabiru_certs::key::Algorithm;

    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_900_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    struct Authority {
        roots: Vec<SecretKey>,
        snapshot_key: SecretKey,
        anchor: ConfigurationAnchor,
    }

    fn authority() -> Authority {
        let roots: Vec<_> = (0..3).map(|_| SecretKey::generate(Algorithm::Ed25519)).collect();
        let anchor = ConfigurationAnchor {
            instance: "PY".parse().unwrap(),
            domain: "py.example".parse().unwrap(),
            threshold: 2,
            root_keys: roots.iter().map(|root| root.ed25519_public_key().unwrap()).collect(),
            registries: Vec::new(),
        };
        Authority { roots, snapshot_key: SecretKey::generate(Algorithm::Ed25519), anchor }
    }

    fn delegation(authority: &Authority) -> wire::Delegation {
        wire::Delegation {
            instance: "PY".to_owned(),
            not_before_ms: NOW.as_ms(),
            expires_at_ms: NOW.plus(90 * 24 * HOUR).as_ms(),
            snapshot_key: Bytes::copy_from_slice(authority.snapshot_key.public_key()),
            registry_origin: "py.example/registry/1".to_owned(),
            registry_key: vec![1; 32].into(),
        }
    }

    fn snapshot() -> wire::Snapshot {
        wire::Snapshot {
            instance: "PY".to_owned(),
            version: 7,
            created_at_ms: NOW.as_ms(),
            expires_at_ms: NOW.plus(72 * HOUR).as_ms(),
            domain: "py.example".to_owned(),
            registry_origin: "py.example/registry/1".to_owned(),
            parts: Vec::new(),
        }
    }

    fn signed(authority: &Authority, snapshot: &wire::Snapshot) -> wire::SignedSnapshot {
        sign_snapshot(
            snapshot,
            &authority.snapshot_key,
            sign_delegation(&delegation(authority), &authority.roots[..2]),
        )
    }

    fn code(result: Result<VerifiedSnapshot, SnapshotError>) -> &'static str {
        result.map(|_| ()).unwrap_err().code()
    }

    #[test]
    fn a_snapshot_of_two_roots_of_three_is_trusted() {
        let authority = authority();
        let verified = verify_snapshot(&signed(&authority, &snapshot()), &authority.anchor, NOW, 7).unwrap();
        assert_eq!(verified.snapshot().version, 7);
        assert_eq!(verified.digest(), SnapshotDigest::of(&snapshot().encode_to_vec()));
    }

    #[test]
    fn one_root_twice_is_one_root() {
        let authority = authority();
        let twice = [authority.roots[0].clone(), authority.roots[0].clone()];
        let by_one = sign_snapshot(
            &snapshot(),
            &authority.snapshot_key,
            sign_delegation(&delegation(&authority), &twice),
        );
        let refused = verify_snapshot(&by_one, &authority.anchor, NOW, 0).map(|_| ());
        assert_eq!(refused, Err(SnapshotError::TooFewRoots { found: 1, needed: 2 }));
    }

    #[test]
    fn older_expired_and_future_snapshots_are_refused() {
        let authority = authority();
        let signed = signed(&authority, &snapshot());
        let verify = |at, held| verify_snapshot(&signed, &authority.anchor, at, held);
        assert_eq!(code(verify(NOW, 8)), "snapshot.older");
        assert_eq!(code(verify(NOW.plus(72 * HOUR), 7)), "snapshot.expired");
        assert_eq!(code(verify(NOW.minus(Duration::from_secs(61)), 7)), "snapshot.delegation_expired");
        assert_eq!(code(verify(NOW.plus(90 * 24 * HOUR), 7)), "snapshot.delegation_expired");
        let future = wire::Snapshot { created_at_ms: NOW.plus(HOUR).as_ms(), ..snapshot() };
        assert_eq!(
            code(verify_snapshot(&self::signed(&authority, &future), &authority.anchor, NOW, 0)),
            "snapshot.from_future"
        );
        let eternal = wire::Snapshot { expires_at_ms: NOW.plus(73 * HOUR).as_ms(), ..snapshot() };
        assert_eq!(
            code(verify_snapshot(&self::signed(&authority, &eternal), &authority.anchor, NOW, 0)),
            "snapshot.malformed"
        );
    }

    #[test]
    fn forged_and_foreign_snapshots_are_refused() {
        let authority = authority();
        let good = signed(&authority, &snapshot());
        let mut altered = good.clone();
        altered.snapshot = wire::Snapshot { version: 8, ..snapshot() }.encode_to_vec().into();
        assert_eq!(code(verify_snapshot(&altered, &authority.anchor, NOW, 0)), "snapshot.forged");
        let stranger = self::authority();
        assert_eq!(code(verify_snapshot(&good, &stranger.anchor, NOW, 0)), "snapshot.too_few_roots");
        let foreign = wire::Snapshot { domain: "uy.example".to_owned(), ..snapshot() };
        assert_eq!(
            code(verify_snapshot(&signed(&authority, &foreign), &authority.anchor, NOW, 0)),
            "snapshot.wrong_instance"
        );
    }
}
