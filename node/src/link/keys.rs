//! Sealing keys by origin, out of the global configuration: each certificate chain is checked once per snapshot.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use peabiru_certs::{CertsError, chain};
use peabiru_ledger::checkpoint::VerifyingKey;
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::SnapshotDigest;
use peabiru_proto::id::NodeId;
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::KeyPurpose;

/// The keys of the snapshot in force.
#[derive(Debug, Default)]
pub(crate) struct SealingKeys(Mutex<Cached>);

/// Why a ledger has no key that its seals could be checked with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// Not in the global configuration.
    #[error("the ledger is not registered")]
    Unregistered,
    /// Another node's.
    #[error("the ledger belongs to {0}")]
    OtherNode(NodeId),
    /// Its certificate does not hold.
    #[error("sealing certificate: {0}")]
    Certificate(#[from] CertsError),
}

#[derive(Debug, Default)]
struct Cached {
    snapshot: Option<SnapshotDigest>,
    keys: HashMap<Origin, CertifiedKey>,
}

#[derive(Debug, Clone)]
struct CertifiedKey {
    key: VerifyingKey,
    node: NodeId,
    expires_at: Timestamp,
}

impl SealingKeys {
    /// The key of a ledger that `node` keeps.
    pub(crate) fn key(
        &self,
        conf: &GlobalConfiguration,
        origin: &Origin,
        node: &NodeId,
        now: Timestamp,
    ) -> Result<VerifyingKey, KeyError> {
        // A panic elsewhere leaves the cache whole: each change is one step.
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.snapshot != Some(conf.digest()) {
            *cached = Cached { snapshot: Some(conf.digest()), keys: HashMap::new() };
        }
        if let Some(certified) = cached.keys.get(origin).filter(|certified| now < certified.expires_at) {
            return certified.of(node);
        }
        let certified = certify(conf, origin, now)?;
        cached.keys.insert(origin.clone(), certified.clone());
        certified.of(node)
    }
}

impl CertifiedKey {
    fn of(&self, node: &NodeId) -> Result<VerifyingKey, KeyError> {
        if self.node == *node { Ok(self.key) } else { Err(KeyError::OtherNode(self.node.clone())) }
    }
}

fn certify(conf: &GlobalConfiguration, origin: &Origin, now: Timestamp) -> Result<CertifiedKey, KeyError> {
    let ledger = conf.ledger(origin).ok_or(KeyError::Unregistered)?;
    let authorities: Vec<_> = conf.authorities(KeyPurpose::Sealing).collect();
    let verified = chain::verify(&ledger.sealing_certificate, &authorities, KeyPurpose::Sealing, now)?;
    let key = VerifyingKey::from_bytes(verified.sealing_key(origin)?);
    Ok(CertifiedKey { key, node: ledger.node.clone(), expires_at: verified.expires_at() })
}
