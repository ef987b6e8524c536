//! Older hashes of a tree, in a file that is derived and never synced: rebuilt from the segments at every start.
//!
//! Hash n of level l lies where it is completed when leaves are appended one by one, so the file is only appended to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peabiru_proto::hash::Digest;

use crate::committer::Completed;
use crate::disk::DiskFile;
use crate::tree::HashSource;

/// The file of one ledger.
#[derive(Clone)]
pub(crate) struct HashFile {
    file: Arc<dyn DiskFile>,
    /// How many hashes are there: all but those after a write that failed.
    hashes: Arc<AtomicU64>,
}

impl HashFile {
    /// A file to be filled from the first entry on.
    pub(crate) fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file: file.into(), hashes: Arc::default() }
    }

    /// Writes what a commit completed: consecutive in the file. If that fails, proofs about entries that left the
    /// tree's window are not available until a restart, and nothing else is lost.
    pub(crate) fn write(&self, completed: &[Completed]) {
        let Some((level, index, _)) = completed.first() else { return };
        let first = stored(*level, *index);
        if first != self.hashes.load(Ordering::Acquire) {
            return;
        }
        let bytes: Vec<u8> = completed.iter().flat_map(|(_, _, hash)| *hash.as_bytes()).collect();
        match self.file.write_all_at(&bytes, first * HASH_BYTES) {
            Ok(()) => self.hashes.store(first + completed.len() as u64, Ordering::Release),
            Err(error) => {
                tracing::warn!(%error, "older hashes are not written: no proofs about old entries until a restart");
            }
        }
    }
}

impl HashSource for HashFile {
    fn hash(&self, level: usize, index: u64) -> Option<Digest> {
        let number = stored(level, index);
        if number >= self.hashes.load(Ordering::Acquire) {
            return None;
        }
        let mut hash = [0; 32];
        self.file.read_exact_at(&mut hash, number * HASH_BYTES).ok()?;
        Some(Digest::from_bytes(hash))
    }
}

/// How many hashes are completed before this one.
fn stored(level: usize, index: u64) -> u64 {
    // Hash n of level l is completed together with leaf (n + 1) * 2^l - 1, as the l-th above it.
    let leaf = ((index + 1) << level) - 1;
    // Before leaf k there are k leaves and, for each level, k / 2^level complete subtrees.
    let mut before = 0;
    let mut count = leaf;
    while count > 0 {
        before += count;
        count >>= 1;
    }
    before + level as u64
}

const HASH_BYTES: u64 = 32;

#[cfg(test)]
mod tests {
    use peabiru_proto::merkle::entry_hash;

    use super::*;
    use crate::tree::Tree;

    #[test]
    fn hashes_are_stored_in_the_order_of_their_completion() {
        let mut tree = Tree::default();
        let mut next = 0;
        for leaf in 0u64..300 {
            tree.push(entry_hash(&leaf.to_be_bytes()), &mut |level, index, _| {
                assert_eq!(stored(level, index), next, "level {level}, index {index}");
                next += 1;
            });
        }
    }
}
