//! Evidence that a sync ran: the only thing a sealing key signs.
//!
//! Write → fdatasync → sign → release (design §4). The writer thread and recovery sync, and make these values; nobody
//! else can:
//!
//! ```compile_fail
//! use peabiru_ledger::durable::DurableHead;
//! // error: the fields are private, and there is no public constructor
//! let forged = DurableHead { head: todo!() };
//! ```

use peabiru_proto::hash::Digest;
use peabiru_proto::origin::Origin;

use crate::position::TreeSize;

/// The head of one ledger, all of whose entries a crash can no longer take back.
#[must_use]
#[derive(Debug, Clone)]
pub struct DurableHead {
    head: Head,
}

/// The head of one ledger, durable or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) origin: Origin,
    pub(crate) size: TreeSize,
    pub(crate) root: Digest,
}

/// What one sync made durable. Consumed by [`Durable::heads`].
#[must_use]
#[derive(Debug)]
pub(crate) struct Durable(());

impl Durable {
    /// Called right after a sync of everything written before it came back without an error, and nowhere else.
    pub(crate) fn after_sync() -> Self {
        Self(())
    }

    /// The heads that this sync covers.
    pub(crate) fn heads(self, written: Vec<Head>) -> Vec<DurableHead> {
        written.into_iter().map(|head| DurableHead { head }).collect()
    }
}

impl DurableHead {
    /// Which ledger.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.head.origin
    }

    /// How many entries.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.head.size
    }

    /// Over all of them.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.head.root
    }
}
