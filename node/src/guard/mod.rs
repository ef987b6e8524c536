//! The guard: may this message be answered, and does this answer belong to the request?
//!
//! Pure but for one lock around the replay window. Order (design §5): shape → addressee and identity → freshness →
//! replay look-up → seal → contract → grant and policy → replay insert-if-absent, which decides.

pub mod answer;
pub mod grant;
pub mod refusal;
pub mod replay;
pub mod request;

use std::sync::{Mutex, MutexGuard, PoisonError};

use peabiru_proto::id::NodeId;

use replay::ReplayWindow;

/// Who this node is, and what it has seen.
#[derive(Debug)]
pub struct Guard {
    own: NodeId,
    replay: Mutex<ReplayWindow>,
}

impl Guard {
    /// A guard of the node `own`, whose window was rebuilt from its ledgers.
    #[must_use]
    pub fn new(own: NodeId, replay: ReplayWindow) -> Self {
        Self { own, replay: Mutex::new(replay) }
    }

    /// The node.
    #[must_use]
    pub fn own(&self) -> &NodeId {
        &self.own
    }

    /// A panic elsewhere leaves the window whole: each of its methods ends in a valid state.
    fn replay(&self) -> MutexGuard<'_, ReplayWindow> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
