//! Sealing keys by origin, out of the global configuration: each certificate chain is checked once per snapshot.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use peabiru_certs::CertsError;
use peabiru_ledger::certified::{CertifiedKeys, certified_keys};
use peabiru_ledger::checkpoint::VerifyingKeys;
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::SnapshotDigest;
use peabiru_proto::id::NodeId;
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;

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
    keys: HashMap<Origin, KeptBy>,
}

#[derive(Debug, Clone)]
struct KeptBy {
    node: NodeId,
    certified: CertifiedKeys,
}

impl SealingKeys {
    /// The keys of a ledger that `node` keeps.
    pub(crate) fn of(
        &self,
        conf: &GlobalConfiguration,
        origin: &Origin,
        node: &NodeId,
        now: Timestamp,
    ) -> Result<VerifyingKeys, KeyError> {
        // A panic elsewhere leaves the cache whole: each change is one step.
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.snapshot != Some(conf.digest()) {
            *cached = Cached { snapshot: Some(conf.digest()), keys: HashMap::new() };
        }
        let known = cached.keys.get(origin).filter(|known| now < known.certified.expires_at);
        if let Some(known) = known {
            return known.by(node);
        }
        let ledger = conf.ledger(origin).ok_or(KeyError::Unregistered)?;
        let kept = KeptBy { node: ledger.node.clone(), certified: certified_keys(conf, ledger, now)? };
        let keys = kept.by(node);
        cached.keys.insert(origin.clone(), kept);
        keys
    }
}

impl KeptBy {
    fn by(&self, node: &NodeId) -> Result<VerifyingKeys, KeyError> {
        if self.node == *node { Ok(self.certified.keys) } else { Err(KeyError::OtherNode(self.node.clone())) }
    }
}
