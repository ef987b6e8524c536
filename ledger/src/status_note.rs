//! Status notes: which snapshot is the newest, and when that was so. FROZEN.
//!
//! The snapshot key signs one each minute, Ed25519 over `"peabiru/v1/status\n"` ‖ its bytes. A snapshot says what is
//! trusted until it expires; a note says that nothing newer was known a moment ago.

use bytes::Bytes;
use peabiru_certs::key::SecretKey;
use peabiru_proto::entry::GlobalconfRef;
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::hash::SnapshotDigest;
use peabiru_proto::id::InstanceId;
use peabiru_proto::limits::CLOCK_SKEW;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire;
use prost::Message as _;

use crate::snapshot::{SnapshotError, prefixed, verify, verify_delegation};

/// What a note says, once its signatures hold. Only [`verify_status`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedStatus {
    newest: GlobalconfRef,
    noted_at: Timestamp,
}

impl VerifiedStatus {
    /// The newest snapshot.
    #[must_use]
    pub fn newest(&self) -> GlobalconfRef {
        self.newest
    }

    /// When that was so, by the registry's clock.
    #[must_use]
    pub fn noted_at(&self) -> Timestamp {
        self.noted_at
    }
}

/// Signs a note with the delegated key.
#[must_use]
pub fn sign_status(
    instance: &InstanceId,
    newest: GlobalconfRef,
    noted_at: Timestamp,
    key: &SecretKey,
    delegation: wire::SignedDelegation,
) -> wire::SignedStatusNote {
    let note = wire::StatusNote {
        instance: instance.to_string(),
        version: newest.version,
        snapshot_digest: Bytes::copy_from_slice(newest.digest.as_bytes()),
        noted_at_ms: noted_at.as_ms(),
    };
    let note = Bytes::from(note.encode_to_vec());
    let signature = key.sign(&prefixed(STATUS_PREFIX, &note)).into();
    wire::SignedStatusNote { note, signature, delegation: Some(delegation) }
}

/// Checks a note from the roots down, at a moment in time.
///
/// # Errors
/// `SnapshotError` says which check failed.
pub fn verify_status(
    signed: &wire::SignedStatusNote,
    anchor: &ConfigurationAnchor,
    at: Timestamp,
) -> Result<VerifiedStatus, SnapshotError> {
    let delegation = signed.delegation.as_ref().ok_or(SnapshotError::Malformed("it has no delegation"))?;
    let delegation = verify_delegation(delegation, anchor, at)?;
    verify(delegation.snapshot_key.as_bytes(), STATUS_PREFIX, &signed.note, &signed.signature)
        .ok_or(SnapshotError::Forged("a status note is not signed by the delegated snapshot key"))?;
    let malformed = SnapshotError::Malformed("not a StatusNote in its one writing");
    let note = wire::StatusNote::decode(signed.note.clone()).map_err(|_| malformed.clone())?;
    // Unknown fields are dropped by the decoder, and repeated or unordered ones change: none is written again alike.
    if note.encode_to_vec() != signed.note {
        return Err(malformed);
    }
    if note.instance != anchor.instance.as_str() {
        return Err(SnapshotError::WrongInstance {
            expected: anchor.instance.to_string(),
            found: note.instance,
        });
    }
    let digest = SnapshotDigest::from_slice(&note.snapshot_digest).map_err(|_| malformed.clone())?;
    let (version, noted_at) = (note.version, Timestamp::from_ms(note.noted_at_ms));
    if version == 0 {
        return Err(malformed);
    }
    if at.plus(CLOCK_SKEW) < noted_at {
        return Err(SnapshotError::FromFuture { version, created_at: noted_at, at });
    }
    Ok(VerifiedStatus { newest: GlobalconfRef { version, digest }, noted_at })
}

const STATUS_PREFIX: &[u8] = b"peabiru/v1/status\n";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use data_encoding::HEXLOWER;
    use peabiru_certs::key::Algorithm;
    use zeroize::Zeroizing;

    use super::*;
    use crate::snapshot::sign_delegation;

    const NOW: Timestamp = Timestamp::from_ms(1_900_000_000_000);

    fn newest() -> GlobalconfRef {
        GlobalconfRef { version: 7, digest: SnapshotDigest::from_bytes([3; 32]) }
    }

    /// Anchor and delegation, and the key that is delegated to: always the same.
    fn authority() -> (ConfigurationAnchor, SecretKey, wire::SignedDelegation) {
        let root = SecretKey::generate(Algorithm::Ed25519);
        let prefix = HEXLOWER.decode(b"302e020100300506032b657004220420").unwrap();
        let key = SecretKey::from_pkcs8(Zeroizing::new([prefix, vec![9; 32]].concat())).unwrap();
        let anchor = ConfigurationAnchor {
            instance: "PY".parse().unwrap(),
            domain: "py.example".parse().unwrap(),
            threshold: 1,
            root_keys: vec![root.ed25519_public_key().unwrap()],
            registries: Vec::new(),
        };
        let delegation = wire::Delegation {
            instance: "PY".to_owned(),
            not_before_ms: NOW.as_ms(),
            expires_at_ms: NOW.plus(Duration::from_secs(3600)).as_ms(),
            snapshot_key: Bytes::copy_from_slice(key.public_key()),
            registry_origin: "py.example/registry/1".to_owned(),
            registry_key: vec![1; 32].into(),
        };
        let delegation = sign_delegation(&delegation, &[root]);
        (anchor, key, delegation)
    }

    #[test]
    fn the_bytes_of_a_note_never_change() {
        let (anchor, key, delegation) = authority();
        let signed = sign_status(&anchor.instance, newest(), NOW, &key, delegation);
        assert_eq!(HEXLOWER.encode(&signed.note), NOTE);
        assert_eq!(HEXLOWER.encode(&signed.signature), SIGNATURE);
        let verified = verify_status(&signed, &anchor, NOW).unwrap();
        assert_eq!((verified.newest(), verified.noted_at()), (newest(), NOW));
    }

    #[test]
    fn forged_foreign_and_future_notes_and_those_in_another_writing_are_refused() {
        let (anchor, key, delegation) = authority();
        let sign = |note: Vec<u8>| wire::SignedStatusNote {
            signature: key.sign(&prefixed(STATUS_PREFIX, &note)).into(),
            note: note.into(),
            delegation: Some(delegation.clone()),
        };
        let code = |signed| verify_status(&signed, &anchor, NOW).unwrap_err().code();
        let good = HEXLOWER.decode(NOTE.as_bytes()).unwrap();
        let note = |change: &dyn Fn(&mut wire::StatusNote)| {
            let mut note = wire::StatusNote::decode(good.as_slice()).unwrap();
            change(&mut note);
            sign(note.encode_to_vec())
        };
        assert!(verify_status(&sign(good.clone()), &anchor, NOW).is_ok());
        let forged = wire::SignedStatusNote { signature: vec![0; 64].into(), ..sign(good.clone()) };
        assert_eq!(code(forged), "snapshot.forged");
        assert_eq!(code(note(&|note| note.instance = "UY".to_owned())), "snapshot.wrong_instance");
        assert_eq!(code(note(&|note| note.noted_at_ms += 60_001)), "snapshot.from_future");
        assert_eq!(code(note(&|note| note.version = 0)), "snapshot.malformed");
        assert_eq!(code(note(&|note| note.snapshot_digest = vec![3; 31].into())), "snapshot.malformed");
        // An unknown field, and a version that is written twice.
        for more in [[0x78, 1], [0x10, 7]] {
            assert_eq!(code(sign([&good[..], &more].concat())), "snapshot.malformed");
        }
    }

    const NOTE: &str =
        "0a02505910071a2003030303030303030303030303030303030303030303030303030303030303032080f0cc86a637";
    const SIGNATURE: &str = "5141a6bbd646faded2d7a87da62bd4bc2fbc6c5df880c743a2ea6af9e122a1f522f939a238c5bdf24c250ba180485a901e78ec8692a9dcdc347c3077da5df500";
}
