//! What is known of other nodes' ledgers: their newest heads, and the verified checkpoints that messages name.
//!
//! All heads held of one ledger lie on one chain: each was proven consistent with the newest before it. A ledger
//! that breaks the chain is refused for ever, and both heads are kept as evidence (design §5, Link; §7).

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use peabiru_ledger::checkpoint::{CheckpointError, SignedCheckpoint, VerifyingKey, VerifyingKeys};
use peabiru_ledger::position::TreeSize;
use peabiru_ledger::proof::{ConsistencyProof, ProofError};
use peabiru_proto::id::NodeId;
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::CheckpointUpdate;

use super::forks::{Fork, ForkStore, ForksError};

/// The heads of all ledgers that this node has seen, shared by all connections.
#[derive(Debug)]
pub struct Heads {
    inner: Mutex<Inner>,
    forks: ForkStore,
}

/// A checkpoint as it comes, with the proof that its tree begins with an earlier one.
#[derive(Debug, Clone)]
pub struct Update {
    /// The head.
    pub checkpoint: SignedCheckpoint,
    /// Size that the proof starts from.
    pub from: TreeSize,
    /// Empty if `from` is.
    pub proof: ConsistencyProof,
}

/// What a message's checkpoint is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Verified under the key asked for.
    Verified(SignedCheckpoint),
    /// It may be on its way.
    NotYet,
    /// It does not come any more: newer ones came, and it is not among those that are kept.
    Forgotten,
    /// The ledger contradicted itself.
    Refused,
}

/// Why a head is not taken.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// No note, or no proof.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The proof is not a list of hashes.
    #[error("consistency proof: {0}")]
    Proof(#[from] ProofError),
    /// It does not start from the newest head that we named in our `Hello` or got since. Proves nothing.
    #[error("{origin} at {size} starts from {from}, the newest head held is {newest}")]
    OutOfOrder {
        /// Which ledger.
        origin: Origin,
        /// Of the new head.
        size: TreeSize,
        /// Where its proof starts.
        from: TreeSize,
        /// What is held.
        newest: TreeSize,
    },
    /// Both heads are signed, and the new one does not contain the other.
    #[error("ledger.forked: {origin} at {size} contradicts its head at {held}")]
    Forked {
        /// Which ledger.
        origin: Origin,
        /// Of the new head.
        size: TreeSize,
        /// Of the head that it contradicts.
        held: TreeSize,
    },
    /// It contradicted itself before.
    #[error("ledger.forked: {0} is refused, see the folder `forks`")]
    Refused(Origin),
    /// A newer connection with the same node took over.
    #[error("a newer connection took over")]
    Superseded,
    /// No key is registered for it at this peer.
    #[error("{0} is not a ledger of this peer")]
    Unregistered(Origin),
    /// More ledgers than this node wants to know.
    #[error("more than {MAX_LEDGERS} ledgers")]
    TooMany,
}

impl Heads {
    /// Opens the folder of forks, and refuses from the start what it names.
    ///
    /// # Errors
    /// `ForksError` if the folder cannot be read, or a file in it is damaged: an operator must look.
    pub fn open(folder: &Path) -> Result<Self, ForksError> {
        let (forks, refused) = ForkStore::open(folder)?;
        let inner = Inner { refused: refused.into_iter().collect(), ..Inner::default() };
        Ok(Self { inner: Mutex::new(inner), forks })
    }

    /// Takes up a head that was verified before a restart, out of a RECEIVED entry of ours.
    pub fn remember(&self, checkpoint: &SignedCheckpoint) {
        let mut inner = self.inner();
        let newer =
            inner.ledgers.get(checkpoint.origin()).is_none_or(|held| held.newest.size() < checkpoint.size());
        if newer && inner.ledgers.len() < MAX_LEDGERS {
            inner.ledgers.insert(checkpoint.origin().clone(), Chain::of(checkpoint.clone(), None));
        }
    }

    /// A connection with `peer` begins: heads of older ones are no longer taken, but for one that it `replaces` while
    /// that is live. These are the newest held of the ledgers that the peer `hosts`.
    pub fn begin(
        &self,
        peer: &NodeId,
        serial: u64,
        replaces: Option<u64>,
        hosts: &dyn Fn(&Origin) -> bool,
    ) -> Vec<SignedCheckpoint> {
        let mut inner = self.inner();
        inner.serials.insert(peer.clone(), Serials { newest: serial, replaced: replaces });
        let hosted = inner.ledgers.iter().filter(|(origin, _)| hosts(origin));
        hosted.map(|(_, chain)| chain.newest.clone()).collect()
    }

    /// Takes a head: signature, then consistency with the newest one held. A contradiction is kept on disk.
    ///
    /// # Errors
    /// `HeadError` says why it is not taken.
    pub fn accept(
        &self,
        peer: &NodeId,
        serial: u64,
        update: &Update,
        keys: &VerifyingKeys,
        now: Timestamp,
    ) -> Result<(), HeadError> {
        // Dear, so outside the lock.
        let by = update.checkpoint.signed_by(keys)?;
        let taken = self.inner().take(peer, serial, update, by);
        let Err(Contradiction::Fork(held)) = taken else {
            return taken.map_err(|contradiction| contradiction.into_error(update));
        };
        let fork = Fork { held: held.clone(), new: update.checkpoint.clone() };
        if let Err(error) = self.forks.keep(&fork, now) {
            tracing::error!(%error, held = held.note(), new = update.checkpoint.note(), "cannot keep the heads of a fork");
        }
        Err(Contradiction::Fork(held).into_error(update))
    }

    /// The checkpoint of this size, if it was verified under these keys.
    #[must_use]
    pub fn verified(&self, origin: &Origin, size: TreeSize, keys: &VerifyingKeys) -> Known {
        let mut inner = self.inner();
        if inner.refused.contains(origin) {
            return Known::Refused;
        }
        let Some(chain) = inner.ledgers.get_mut(origin) else { return Known::NotYet };
        match chain.verified(size, keys) {
            Some(head) => Known::Verified(head),
            None if size < chain.newest.size() => Known::Forgotten,
            None => Known::NotYet,
        }
    }

    /// Ledgers that contradicted themselves.
    #[must_use]
    pub fn refused(&self) -> Vec<Origin> {
        self.inner().refused.iter().cloned().collect()
    }

    /// A panic elsewhere leaves the chains whole: each change is one step.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Update {
    /// Reads the message; verifies nothing yet.
    ///
    /// # Errors
    /// `Checkpoint` or `Proof`.
    pub fn read(update: &CheckpointUpdate) -> Result<Self, HeadError> {
        Ok(Self {
            checkpoint: SignedCheckpoint::parse(&update.checkpoint)?,
            from: TreeSize::new(update.from_size),
            proof: ConsistencyProof::from_bytes(&update.consistency)?,
        })
    }
}

#[derive(Debug, Default)]
struct Inner {
    ledgers: HashMap<Origin, Chain>,
    refused: HashSet<Origin>,
    /// The newest connection with each peer, by the serial of our `Hello` on it.
    serials: HashMap<NodeId, Serials>,
}

#[derive(Debug)]
struct Serials {
    newest: u64,
    /// Of the connection that the newest one goes on from: both carry one chain, in any order of arrival.
    replaced: Option<u64>,
}

/// The verified heads of one ledger, ascending, the newest last.
#[derive(Debug)]
struct Chain {
    newest: SignedCheckpoint,
    recent: VecDeque<Held>,
}

#[derive(Debug)]
struct Held {
    checkpoint: SignedCheckpoint,
    /// The key that it was verified under; none if it is of before a restart.
    by: Option<VerifyingKey>,
}

enum Contradiction {
    Fork(SignedCheckpoint),
    OutOfOrder(TreeSize),
    Refused,
    Superseded,
    TooMany,
}

impl Inner {
    fn take(
        &mut self,
        peer: &NodeId,
        serial: u64,
        update: &Update,
        by: VerifyingKey,
    ) -> Result<(), Contradiction> {
        let origin = update.checkpoint.origin();
        let known = self.serials.get(peer);
        if known.is_none_or(|known| known.newest != serial && known.replaced != Some(serial)) {
            return Err(Contradiction::Superseded);
        }
        if self.refused.contains(origin) {
            return Err(Contradiction::Refused);
        }
        let full = self.ledgers.len() >= MAX_LEDGERS;
        let taken = match self.ledgers.get_mut(origin) {
            Some(chain) => chain.extend(update, by),
            None if full => Err(Contradiction::TooMany),
            None => Chain::begin(update, by).map(|chain| {
                self.ledgers.insert(origin.clone(), chain);
            }),
        };
        if let Err(Contradiction::Fork(_)) = &taken {
            self.refused.insert(origin.clone());
        }
        taken
    }
}

impl Chain {
    fn of(newest: SignedCheckpoint, by: Option<VerifyingKey>) -> Self {
        Self { recent: VecDeque::from([Held { checkpoint: newest.clone(), by }]), newest }
    }

    fn begin(update: &Update, by: VerifyingKey) -> Result<Self, Contradiction> {
        if !update.from.is_empty() || !update.proof.hashes().is_empty() {
            return Err(Contradiction::OutOfOrder(TreeSize::EMPTY));
        }
        Ok(Self::of(update.checkpoint.clone(), Some(by)))
    }

    fn extend(&mut self, update: &Update, by: VerifyingKey) -> Result<(), Contradiction> {
        let new = &update.checkpoint;
        if let Some(at) = self.find(new.size()) {
            let held = &self.recent[at].checkpoint;
            return if held.root() == new.root() { Ok(()) } else { Err(Contradiction::Fork(held.clone())) };
        }
        let newest = &self.newest;
        if new.size() < newest.size() || update.from != newest.size() {
            return Err(Contradiction::OutOfOrder(newest.size()));
        }
        let consistent = update.proof.verify(newest.size(), newest.root(), new.size(), new.root());
        consistent.map_err(|_| Contradiction::Fork(newest.clone()))?;
        self.newest = new.clone();
        if self.recent.len() >= RECENT_HEADS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Held { checkpoint: new.clone(), by: Some(by) });
        Ok(())
    }

    /// The head of this size, if one of these keys signed it: a snapshot may have taken away the key that did.
    fn verified(&mut self, size: TreeSize, keys: &VerifyingKeys) -> Option<SignedCheckpoint> {
        let at = self.find(size)?;
        let held = &mut self.recent[at];
        if held.by.is_none_or(|by| !keys.contain(&by)) {
            held.by = Some(held.checkpoint.signed_by(keys).ok()?);
        }
        Some(held.checkpoint.clone())
    }

    fn find(&self, size: TreeSize) -> Option<usize> {
        // What a message names is most often the newest.
        if self.recent.back().is_some_and(|newest| newest.checkpoint.size() == size) {
            return Some(self.recent.len() - 1);
        }
        self.recent.binary_search_by_key(&size, |held| held.checkpoint.size()).ok()
    }
}

impl Contradiction {
    fn into_error(self, update: &Update) -> HeadError {
        let (origin, size) = (update.checkpoint.origin().clone(), update.checkpoint.size());
        match self {
            Self::Fork(held) => HeadError::Forked { origin, size, held: held.size() },
            Self::OutOfOrder(newest) => HeadError::OutOfOrder { origin, size, from: update.from, newest },
            Self::Refused => HeadError::Refused(origin),
            Self::Superseded => HeadError::Superseded,
            Self::TooMany => HeadError::TooMany,
        }
    }
}

/// Verified heads that are kept of one ledger: a second's worth of commits, for messages that come late.
const RECENT_HEADS_MAX: usize = 1024;
/// Most ledgers of others that are known; all of them are in the global configuration.
const MAX_LEDGERS: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::{ORIGIN, TestLedger};
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_900_000_000_000);

    struct Seen {
        folder: tempfile::TempDir,
        heads: Heads,
        peer: NodeId,
    }

    impl Seen {
        fn nothing() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let heads = Heads::open(folder.path()).unwrap();
            let seen = Self { heads, folder, peer: "PY/GOV/MEC/1".parse().unwrap() };
            assert_eq!(seen.begin(1), []);
            seen
        }

        fn begin(&self, serial: u64) -> Vec<TreeSize> {
            let known = self.heads.begin(&self.peer, serial, None, &|origin| origin.as_str() == ORIGIN);
            known.iter().map(SignedCheckpoint::size).collect()
        }

        fn accept(&self, ledger: &TestLedger, from: u64, to: u64) -> Result<(), HeadError> {
            let update = ledger.update(TreeSize::new(from), TreeSize::new(to));
            self.heads.accept(&self.peer, 1, &update, &ledger.key().into(), NOW)
        }

        fn known(&self, ledger: &TestLedger, size: u64) -> Known {
            self.heads.verified(&ledger.origin(), TreeSize::new(size), &ledger.key().into())
        }

        fn files(&self) -> Vec<String> {
            let files = fs::read_dir(self.folder.path().join("forks")).unwrap();
            files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
        }
    }

    #[test]
    fn heads_that_follow_each_other_are_known() {
        let (seen, ledger) = (Seen::nothing(), TestLedger::of(20, "a"));
        assert_eq!(seen.known(&ledger, 3), Known::NotYet);
        for (from, to) in [(0, 3), (3, 8), (8, 8), (8, 20)] {
            seen.accept(&ledger, from, to).unwrap();
        }
        for size in [3, 8, 20] {
            let head = ledger.checkpoint(TreeSize::new(size));
            assert_eq!(seen.known(&ledger, size), Known::Verified(head));
        }
        assert_eq!(seen.known(&ledger, 7), Known::Forgotten, "heads come in order");
        assert_eq!(seen.known(&ledger, 21), Known::NotYet);
        assert_eq!(seen.begin(2), [TreeSize::new(20)]);
    }

    #[test]
    fn a_fork_is_refused_and_both_heads_are_kept_and_a_restart_changes_nothing() {
        let (seen, ledger) = (Seen::nothing(), TestLedger::of(9, "a"));
        seen.accept(&ledger, 0, 5).unwrap();
        let fork = TestLedger::of(9, "b");
        let refused = seen.accept(&fork, 5, 9).unwrap_err();
        assert_eq!(refused.to_string(), format!("ledger.forked: {ORIGIN} at 9 contradicts its head at 5"));
        let (held, new) = (ledger.checkpoint(TreeSize::new(5)), fork.checkpoint(TreeSize::new(9)));
        assert_eq!(seen.files(), [Fork { held, new }.text()]);
        assert_eq!(seen.known(&ledger, 5), Known::Refused);
        assert!(matches!(seen.accept(&ledger, 5, 9), Err(HeadError::Refused(_))));

        let after = Seen { heads: Heads::open(seen.folder.path()).unwrap(), ..seen };
        after.begin(1);
        assert_eq!(after.heads.refused(), [ledger.origin()]);
        assert_eq!(after.known(&ledger, 5), Known::Refused);
        assert!(matches!(after.accept(&ledger, 0, 9), Err(HeadError::Refused(_))));
    }

    #[test]
    fn two_heads_of_one_size_are_a_fork() {
        let seen = Seen::nothing();
        seen.accept(&TestLedger::of(5, "a"), 0, 5).unwrap();
        assert!(matches!(seen.accept(&TestLedger::of(5, "b"), 0, 5), Err(HeadError::Forked { .. })));
    }

    #[test]
    fn a_proof_from_another_head_than_the_newest_proves_nothing() {
        let (seen, ledger) = (Seen::nothing(), TestLedger::of(20, "a"));
        assert!(matches!(seen.accept(&ledger, 3, 8), Err(HeadError::OutOfOrder { .. })));
        seen.accept(&ledger, 0, 8).unwrap();
        for (from, to) in [(0, 20), (7, 20), (0, 5)] {
            assert!(
                matches!(seen.accept(&ledger, from, to), Err(HeadError::OutOfOrder { .. })),
                "{from} {to}"
            );
        }
        assert!(seen.files().is_empty() && seen.heads.refused().is_empty());
    }

    #[test]
    fn a_head_of_another_key_is_not_taken_and_is_no_fork() {
        let (seen, ledger) = (Seen::nothing(), TestLedger::of(8, "a"));
        let update = ledger.update(TreeSize::EMPTY, TreeSize::new(8));
        let other = VerifyingKeys::from(VerifyingKey::from_bytes([7; 32]));
        let refused = seen.heads.accept(&seen.peer, 1, &update, &other, NOW);
        assert!(matches!(refused, Err(HeadError::Checkpoint(_))));
        assert!(seen.files().is_empty() && seen.heads.refused().is_empty());
    }

    #[test]
    fn an_older_connection_adds_nothing_once_a_newer_one_began() {
        let (seen, ledger) = (Seen::nothing(), TestLedger::of(8, "a"));
        seen.begin(2);
        assert!(matches!(seen.accept(&ledger, 0, 8), Err(HeadError::Superseded)));
    }

    #[test]
    fn a_head_of_before_a_restart_is_where_the_next_proof_starts() {
        let (seen, ledger) = (Seen::nothing(), TestLedger::of(20, "a"));
        seen.heads.remember(&ledger.checkpoint(TreeSize::new(8)));
        seen.heads.remember(&ledger.checkpoint(TreeSize::new(3)));
        assert_eq!(seen.begin(1), [TreeSize::new(8)]);
        assert!(matches!(seen.known(&ledger, 8), Known::Verified(_)));
        seen.accept(&ledger, 8, 20).unwrap();
        assert!(matches!(seen.accept(&TestLedger::of(30, "b"), 20, 30), Err(HeadError::Forked { .. })));
    }

    #[test]
    fn what_was_verified_under_one_key_is_not_under_another() {
        let (seen, ledger) = (Seen::nothing(), TestLedger::of(8, "a"));
        seen.accept(&ledger, 0, 8).unwrap();
        let other = VerifyingKeys::from(VerifyingKey::from_bytes([7; 32]));
        assert_eq!(seen.heads.verified(&ledger.origin(), TreeSize::new(8), &other), Known::NotYet);
        assert!(matches!(seen.known(&ledger, 8), Known::Verified(_)));
    }

    #[test]
    fn a_damaged_file_stops_the_start() {
        let seen = Seen::nothing();
        let path = seen.folder.path().join("forks/1-a.txt");
        fs::write(&path, "not two heads").unwrap();
        let refused = Heads::open(seen.folder.path()).unwrap_err();
        assert_eq!(refused.code(), "forks.damaged");
    }
}
