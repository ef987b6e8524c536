//! The guard: may this message be answered, and does this answer belong to the request?
//!
//! Pure but for one lock around the replay window. Order (design §5): shape → addressee and identity → freshness →
//! replay look-up → seal → contract → grant and policy → replay insert-if-absent, which decides.

pub mod answer;
pub mod grant;
pub mod refusal;
pub mod replay;
pub mod request;
pub mod stream;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peabiru_proto::id::NodeId;
use peabiru_proto::time::Timestamp;

use replay::ReplayWindow;

/// Who this node is, and what it has seen.
#[derive(Debug)]
pub struct Guard {
    own: NodeId,
    replay: Mutex<ReplayWindow>,
    /// Refusals that were sealed in the minute of the first, by peer: as many as nodes are registered.
    refused: Mutex<HashMap<NodeId, (Timestamp, u32)>>,
}

impl Guard {
    /// A guard of the node `own`, whose window was rebuilt from its ledgers.
    #[must_use]
    pub fn new(own: NodeId, replay: ReplayWindow) -> Self {
        Self { own, replay: Mutex::new(replay), refused: Mutex::default() }
    }

    /// The node.
    #[must_use]
    pub fn own(&self) -> &NodeId {
        &self.own
    }

    /// Whether one more refusal of this peer is sealed: each costs an entry of our ledger, for ever.
    #[must_use]
    pub fn may_seal_refusal(&self, peer: &NodeId, now: Timestamp) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = refused.entry(peer.clone()).or_insert((now, 0));
        if now.since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= SEALED_REFUSALS_MAX
    }

    /// A panic elsewhere leaves the window whole: each of its methods ends in a valid state.
    fn replay(&self) -> MutexGuard<'_, ReplayWindow> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// Refusals of one peer that are sealed in a minute; more are counted and logged.
const SEALED_REFUSALS_MAX: u32 = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_fill_the_ledger_with_its_refusals() {
        let guard = Guard::new("PY/GOV/MEC/n1".parse().unwrap(), ReplayWindow::default());
        let (peer, other) = ("PY/GOV/MITIC/n1".parse().unwrap(), "PY/GOV/INE/n1".parse().unwrap());
        let now = Timestamp::from_ms(1_700_000_000_000);
        assert!((0..SEALED_REFUSALS_MAX).all(|_| guard.may_seal_refusal(&peer, now)));
        assert!(!guard.may_seal_refusal(&peer, now) && guard.may_seal_refusal(&other, now));
        assert!(guard.may_seal_refusal(&peer, now.plus(MINUTE)));
    }
}
