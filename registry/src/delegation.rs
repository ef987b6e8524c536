//! The delegation: the roots' word that this snapshot key and this ledger are the registry's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use peabiru_certs::SecretKey;
use peabiru_ledger::checkpoint::VerifyingKey;
use peabiru_ledger::snapshot::{cosign_delegation, roots_that_signed, sign_delegation};
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::id::InstanceId;
use peabiru_proto::limits::MAX_DELEGATION_VALIDITY;
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire;
use prost::Message as _;

use crate::RegistryError;

/// As read from its file. Whether enough roots signed it, nodes judge by their configuration anchor.
#[derive(Debug, Clone)]
pub struct Delegation {
    path: PathBuf,
    signed: wire::SignedDelegation,
    inner: wire::Delegation,
}

impl Delegation {
    /// Reads the file that `sign` made.
    ///
    /// # Errors
    /// `File`, `Delegation`.
    pub fn read(path: &Path) -> Result<Self, RegistryError> {
        let bytes =
            std::fs::read(path).map_err(|source| RegistryError::File { path: path.to_owned(), source })?;
        let failed = |error: prost::DecodeError| RegistryError::Delegation {
            path: path.to_owned(),
            reason: format!("it is no signed delegation: {error}"),
        };
        let signed = wire::SignedDelegation::decode(bytes.as_slice()).map_err(failed)?;
        let inner = wire::Delegation::decode(signed.delegation.clone()).map_err(failed)?;
        Ok(Self { path: path.to_owned(), signed, inner })
    }

    /// Lets roots name a registry's keys, for as long as is allowed. Gives the file's bytes.
    ///
    /// # Errors
    /// `Certs` if a key is not Ed25519.
    pub fn sign(
        instance: &InstanceId,
        origin: &Origin,
        snapshot_key: &SecretKey,
        sealing_key: &SecretKey,
        roots: &[SecretKey],
        now: Timestamp,
    ) -> Result<Vec<u8>, RegistryError> {
        let public = |key: &SecretKey| {
            let wrong = peabiru_certs::CertsError::WrongUse("snapshot and sealing keys are Ed25519");
            key.ed25519_public_key().map(|key| Bytes::copy_from_slice(&key)).ok_or(wrong)
        };
        let delegation = wire::Delegation {
            instance: instance.to_string(),
            snapshot_key: public(snapshot_key)?,
            registry_origin: origin.to_string(),
            registry_key: public(sealing_key)?,
            ..valid_from(now)
        };
        Ok(sign_delegation(&delegation, roots).encode_to_vec())
    }

    /// Names the same keys anew, for as long as is allowed. No root has signed it yet. Gives the file's bytes.
    #[must_use]
    pub fn renewed(&self, now: Timestamp) -> Vec<u8> {
        let valid = valid_from(now);
        let (not_before_ms, expires_at_ms) = (valid.not_before_ms, valid.expires_at_ms);
        let delegation = wire::Delegation { not_before_ms, expires_at_ms, ..self.inner.clone() };
        sign_delegation(&delegation, &[]).encode_to_vec()
    }

    /// With one more root's signature. Gives the file's bytes.
    ///
    /// # Errors
    /// `Root` if the anchor knows no such root, `Delegation` if it is of another instance.
    pub fn sign_also(
        &mut self,
        root: &SecretKey,
        anchor: &ConfigurationAnchor,
    ) -> Result<Vec<u8>, RegistryError> {
        if self.inner.instance != anchor.instance.as_str() {
            let reason = format!("it is for instance {}, not {}", self.inner.instance, anchor.instance);
            return Err(RegistryError::Delegation { path: self.path.clone(), reason });
        }
        if !anchor.root_keys.iter().any(|known| known == root.public_key()) {
            return Err(RegistryError::Root);
        }
        cosign_delegation(&mut self.signed, root);
        Ok(self.signed.encode_to_vec())
    }

    /// How many of the anchor's roots signed it.
    #[must_use]
    pub fn signatures(&self, anchor: &ConfigurationAnchor) -> u32 {
        roots_that_signed(&self.signed, anchor)
    }

    /// Whether it names these keys.
    ///
    /// # Errors
    /// `Delegation` says what it names instead.
    pub fn fits(
        &self,
        instance: &InstanceId,
        origin: &Origin,
        snapshot_key: &SecretKey,
        sealing_key: &SecretKey,
    ) -> Result<(), RegistryError> {
        let failed = |reason: String| RegistryError::Delegation { path: self.path.clone(), reason };
        let public = |key: &SecretKey| key.ed25519_public_key().map(|key| key.to_vec()).unwrap_or_default();
        if self.inner.instance != instance.as_str() {
            return Err(failed(format!("it is for instance {}, not {instance}", self.inner.instance)));
        }
        if self.inner.registry_origin != origin.as_str() {
            return Err(failed(format!("it names the ledger {}, not {origin}", self.inner.registry_origin)));
        }
        if self.inner.snapshot_key != public(snapshot_key) {
            return Err(failed("it names another snapshot key than keys.snapshot_key".to_owned()));
        }
        if self.inner.registry_key != public(sealing_key) {
            return Err(failed("it names another sealing key than keys.sealing_key".to_owned()));
        }
        Ok(())
    }

    /// A validity that does not outlive the delegation.
    ///
    /// # Errors
    /// `DelegationExpired`: nodes would believe no snapshot.
    pub fn cut(&self, validity: Duration, now: Timestamp) -> Result<Duration, RegistryError> {
        let expired_at = self.expires_at();
        let left = expired_at.since(now);
        if left.is_zero() {
            return Err(RegistryError::DelegationExpired { expired_at });
        }
        if left < RENEW_BEFORE {
            tracing::warn!(%expired_at, "the delegation by the roots ends soon: have the roots sign a new one");
        }
        Ok(validity.min(left))
    }

    /// The registry's ledger: its name and its key.
    ///
    /// # Errors
    /// `Delegation` if it names none.
    pub fn ledger(&self) -> Result<(Origin, VerifyingKey), RegistryError> {
        let failed =
            |reason: &str| RegistryError::Delegation { path: self.path.clone(), reason: reason.to_owned() };
        let origin = self.inner.registry_origin.parse().map_err(|_| failed("its ledger has no name"))?;
        let key = <[u8; 32]>::try_from(self.inner.registry_key.as_ref());
        Ok((origin, VerifyingKey::from_bytes(key.map_err(|_| failed("its ledger's key has not 32 bytes"))?)))
    }

    /// Until when nodes believe it.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_ms(self.inner.expires_at_ms)
    }

    /// With the roots' signatures.
    #[must_use]
    pub fn signed(&self) -> &wire::SignedDelegation {
        &self.signed
    }
}

/// Only the times are set.
fn valid_from(now: Timestamp) -> wire::Delegation {
    // Clocks differ a little: valid from a few minutes ago.
    let not_before = now.minus(CLOCKS_DIFFER);
    let expires_at = not_before.plus(MAX_DELEGATION_VALIDITY);
    wire::Delegation {
        not_before_ms: not_before.as_ms(),
        expires_at_ms: expires_at.as_ms(),
        ..wire::Delegation::default()
    }
}

/// How far back a delegation begins.
const CLOCKS_DIFFER: Duration = Duration::from_secs(300);
/// How long before its end the log begins to warn.
const RENEW_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);

#[cfg(test)]
mod tests {
    use peabiru_certs::key::Algorithm;
    use peabiru_ledger::snapshot::verify_delegation;
    use peabiru_proto::origin::Epoch;

    use super::*;

    #[test]
    fn roots_renew_a_delegation_one_by_one_and_none_counts_twice() {
        let keys: Vec<_> = (0..5).map(|_| SecretKey::generate(Algorithm::Ed25519)).collect();
        let [snapshot_key, sealing_key, roots @ ..] = keys.as_slice() else { panic!("five keys") };
        let (instance, domain) = ("PY".parse().unwrap(), "py.peabiru.example".parse().unwrap());
        let anchor = ConfigurationAnchor {
            instance,
            domain,
            threshold: 2,
            root_keys: roots.iter().filter_map(SecretKey::ed25519_public_key).collect(),
            registries: Vec::new(),
        };
        let origin = Origin::of_registry(&anchor.domain, Epoch::FIRST);
        let began = Timestamp::from_ms(1_900_000_000_000);
        let first =
            Delegation::sign(&anchor.instance, &origin, snapshot_key, sealing_key, &roots[..2], began);
        let later = began.plus(MAX_DELEGATION_VALIDITY);

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("delegation");
        std::fs::write(&file, first.unwrap()).unwrap();
        let old = Delegation::read(&file).unwrap();
        assert!(verify_delegation(old.signed(), &anchor, later).is_err(), "its time is over");

        std::fs::write(&file, old.renewed(later)).unwrap();
        let mut new = Delegation::read(&file).unwrap();
        new.fits(&anchor.instance, &origin, snapshot_key, sealing_key).unwrap();
        assert_eq!(new.signatures(&anchor), 0);
        for _ in 0..2 {
            new.sign_also(&roots[0], &anchor).unwrap();
            assert_eq!(new.signatures(&anchor), 1);
        }
        assert!(verify_delegation(new.signed(), &anchor, later).is_err(), "one of two");
        let foreign = new.sign_also(sealing_key, &anchor).unwrap_err();
        assert_eq!((foreign.code(), new.signatures(&anchor)), ("registry.root", 1));
        std::fs::write(&file, new.sign_also(&roots[2], &anchor).unwrap()).unwrap();
        let read = Delegation::read(&file).unwrap();
        let verified = verify_delegation(read.signed(), &anchor, later).unwrap();
        assert_eq!(verified.expires_at, read.expires_at());
    }
}
