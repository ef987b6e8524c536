//! The tree of RFC 6962 over one ledger, append-only, in bounded memory.
//!
//! Level 0 holds leaf hashes, level n the roots of complete subtrees of 2^n leaves. Of each level the newest
//! `WINDOW` hashes are in memory: enough for every proof about recent entries. Older ones come from a [`HashSource`].

use std::collections::VecDeque;

use peabiru_proto::hash::{Digest, LeafHash};
use peabiru_proto::merkle::node_hash;

use crate::position::{LogPosition, TreeSize};
use crate::proof::{ConsistencyProof, InclusionProof};

/// The hashes of a ledger's entries.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    levels: Vec<Level>,
    size: TreeSize,
}

/// Where hashes lie that left the window.
pub trait HashSource {
    /// Root of the complete subtree number `index` of level `level`, if it is there.
    fn hash(&self, level: usize, index: u64) -> Option<Digest>;
}

/// No older hashes: proofs about old entries are not available.
impl HashSource for () {
    fn hash(&self, _level: usize, _index: u64) -> Option<Digest> {
        None
    }
}

#[derive(Debug, Clone, Default)]
struct Level {
    newest: VecDeque<Digest>,
    /// Index of the first hash in `newest`.
    start: u64,
}

impl Level {
    fn push(&mut self, hash: Digest) {
        if self.newest.len() == WINDOW {
            self.newest.pop_front();
            self.start += 1;
        }
        self.newest.push_back(hash);
    }

    fn get(&self, index: u64) -> Option<Digest> {
        let offset = usize::try_from(index.checked_sub(self.start)?).ok()?;
        self.newest.get(offset).copied()
    }

    fn len(&self) -> u64 {
        self.start + self.newest.len() as u64
    }
}

impl Tree {
    /// Appends a leaf; `completed` is told of each subtree that this completes, the leaf itself (level 0) first.
    pub fn push(&mut self, leaf: LeafHash, completed: &mut dyn FnMut(usize, u64, Digest)) -> LogPosition {
        let position = self.size.next();
        let (mut hash, mut index) = (Digest::from(leaf), position.index());
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Level::default());
            }
            self.levels[level].push(hash);
            completed(level, index, hash);
            if index & 1 == 0 {
                break;
            }
            let left = self.levels[level].get(index - 1).expect("the window holds more than two hashes");
            hash = node_hash(&left, &hash);
            index >>= 1;
        }
        self.size = position.size_with();
        position
    }

    /// How many entries it has.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// The root over all entries.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.range(0, self.size.entries(), &())
            .expect("the newest complete subtrees are always in the window")
    }

    /// The root over the first `size` entries.
    pub fn root_at(&self, size: TreeSize, older: &dyn HashSource) -> Option<Digest> {
        if size > self.size { None } else { self.range(0, size.entries(), older) }
    }

    /// Proof that the entry is in the tree of `size`.
    pub fn inclusion(
        &self,
        position: LogPosition,
        size: TreeSize,
        older: &dyn HashSource,
    ) -> Option<InclusionProof> {
        if position.index() >= size.entries() || size > self.size {
            return None;
        }
        // From the root down: at each split keep the half with the entry, note the root of the other.
        let (mut start, mut end) = (0, size.entries());
        let mut hashes = Vec::with_capacity(PROOF_HASHES_USUAL);
        while end - start > 1 {
            let split = start + split(end - start);
            if position.index() < split {
                hashes.push(self.range(split, end, older)?);
                end = split;
            } else {
                hashes.push(self.range(start, split, older)?);
                start = split;
            }
        }
        hashes.reverse();
        Some(InclusionProof::new(hashes))
    }

    /// Proof that the tree of `new` begins with the tree of `old`.
    pub fn consistency(
        &self,
        old: TreeSize,
        new: TreeSize,
        older: &dyn HashSource,
    ) -> Option<ConsistencyProof> {
        if old > new || new > self.size {
            return None;
        }
        if old == new || old.is_empty() {
            return Some(ConsistencyProof::default());
        }
        let (mut start, mut end) = (0, new.entries());
        let mut hashes = Vec::with_capacity(PROOF_HASHES_USUAL);
        while end != old.entries() {
            let split = start + split(end - start);
            if old.entries() <= split {
                hashes.push(self.range(split, end, older)?);
                end = split;
            } else {
                hashes.push(self.range(start, split, older)?);
                start = split;
            }
        }
        // The verifier knows the root of the old tree itself; any other subtree must be named.
        if start > 0 {
            hashes.push(self.range(start, end, older)?);
        }
        hashes.reverse();
        Some(ConsistencyProof::new(hashes))
    }

    /// Root over the entries `start..end`, where `start` is a multiple of the largest complete subtree in the range:
    /// the only ranges that RFC 6962 ever asks for.
    fn range(&self, start: u64, end: u64, older: &dyn HashSource) -> Option<Digest> {
        let mut root: Option<Digest> = None;
        let mut at = end;
        // Complete subtrees from the right: each lower bit of the length is one.
        let mut length = end - start;
        while length > 0 {
            let level = length.trailing_zeros();
            at -= 1 << level;
            length -= 1 << level;
            let left = self.subtree(level as usize, at >> level, older)?;
            root = Some(root.map_or(left, |right| node_hash(&left, &right)));
        }
        root.or_else(|| Some(Digest::of(&[])))
    }

    fn subtree(&self, level: usize, index: u64, older: &dyn HashSource) -> Option<Digest> {
        let known = self.levels.get(level)?;
        if index >= known.len() {
            return None;
        }
        known.get(index).or_else(|| older.hash(level, index))
    }
}

/// The largest power of two smaller than `length`, which is at least 2.
fn split(length: u64) -> u64 {
    1 << (63 - (length - 1).leading_zeros())
}

/// Hashes kept of each level: 128 KiB, for at most 64 levels that fill one after another.
const WINDOW: usize = 4096;
/// Enough for a million entries without growing.
const PROOF_HASHES_USUAL: usize = 20;

const _: () = assert!(WINDOW > 2, "push needs the left neighbour");

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use peabiru_proto::merkle::{entry_hash, tree_root};
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Kept(HashMap<(usize, u64), Digest>);

    impl HashSource for Kept {
        fn hash(&self, level: usize, index: u64) -> Option<Digest> {
            self.0.get(&(level, index)).copied()
        }
    }

    fn leaf(number: u64) -> LeafHash {
        entry_hash(&number.to_be_bytes())
    }

    fn tree(size: u64) -> (Tree, Kept) {
        let (mut tree, mut kept) = (Tree::default(), Kept::default());
        for number in 0..size {
            tree.push(leaf(number), &mut |level, index, hash| {
                kept.0.insert((level, index), hash);
            });
        }
        (tree, kept)
    }

    fn naive_root(size: u64) -> Digest {
        tree_root(&(0..size).map(|number| leaf(number).into()).collect::<Vec<_>>())
    }

    #[test]
    fn certificate_transparency_reference_proofs() {
        // Leaves and proofs of the Certificate Transparency reference implementations' test tree.
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let mut tree = Tree::default();
        for bytes in leaves {
            tree.push(entry_hash(bytes), &mut |_, _, _| {});
        }
        let texts = |hashes: &[Digest]| hashes.iter().map(ToString::to_string).collect::<Vec<_>>();
        let inclusion = |index, size| {
            texts(tree.inclusion(LogPosition::new(index), TreeSize::new(size), &()).unwrap().hashes())
        };
        assert_eq!(inclusion(0, 1), [""; 0]);
        assert_eq!(
            inclusion(0, 8),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            inclusion(5, 8),
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(inclusion(2, 3), ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]);
        let consistency =
            |old, new| texts(tree.consistency(TreeSize::new(old), TreeSize::new(new), &()).unwrap().hashes());
        assert_eq!(consistency(1, 1), [""; 0]);
        assert_eq!(
            consistency(1, 8),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            consistency(6, 8),
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(
            consistency(2, 5),
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ]
        );
    }

    #[test]
    fn every_proof_of_every_small_tree_holds() {
        let (tree, kept) = tree(66);
        for size in 1..=66 {
            let (tree_size, root) = (TreeSize::new(size), naive_root(size));
            assert_eq!(tree.root_at(tree_size, &kept), Some(root));
            for index in 0..size {
                let position = LogPosition::new(index);
                let proof = tree.inclusion(position, tree_size, &kept).unwrap();
                assert_eq!(
                    proof.verify(&leaf(index), position, tree_size, &root),
                    Ok(()),
                    "{index} in {size}"
                );
            }
            for old in 0..=size {
                let proof = tree.consistency(TreeSize::new(old), tree_size, &kept).unwrap();
                assert_eq!(
                    proof.verify(TreeSize::new(old), &naive_root(old), tree_size, &root),
                    Ok(()),
                    "{old} to {size}"
                );
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_old_entries_come_from_the_source() {
        let size = 3 * WINDOW as u64;
        let (tree, kept) = tree(size);
        assert!(tree.levels.iter().all(|level| level.newest.len() <= WINDOW));
        let (first, all) = (LogPosition::new(0), TreeSize::new(size));
        assert_eq!(tree.inclusion(first, all, &()), None, "it left the window");
        let proof = tree.inclusion(first, all, &kept).unwrap();
        assert_eq!(proof.verify(&leaf(0), first, all, &tree.root()), Ok(()));
        let recent = LogPosition::new(size - 1000);
        let proof = tree.inclusion(recent, all, &()).unwrap();
        assert_eq!(proof.verify(&leaf(recent.index()), recent, all, &tree.root()), Ok(()));
    }

    proptest! {
        #[test]
        fn a_changed_proof_proves_nothing(size in 2u64..300, index in any::<u64>(), old in any::<u64>(), byte in any::<prop::sample::Index>(), flip in 1u8..) {
            let (tree, kept) = tree(size);
            let (index, old, size) = (LogPosition::new(index % size), TreeSize::new(1 + old % (size - 1)), TreeSize::new(size));
            let changed = |mut bytes: Vec<u8>| {
                let at = byte.index(bytes.len());
                bytes[at] ^= flip;
                bytes
            };
            let root = tree.root();
            let inclusion = changed(tree.inclusion(index, size, &kept).unwrap().to_bytes());
            prop_assert!(InclusionProof::from_bytes(&inclusion).unwrap().verify(&leaf(index.index()), index, size, &root).is_err());
            let consistency = changed(tree.consistency(old, size, &kept).unwrap().to_bytes());
            let old_root = tree.root_at(old, &kept).unwrap();
            prop_assert!(ConsistencyProof::from_bytes(&consistency).unwrap().verify(old, &old_root, size, &root).is_err());
        }

        #[test]
        fn proofs_of_other_lengths_are_refused(size in 2u64..300, index in any::<u64>()) {
            let (tree, kept) = tree(size);
            let (position, size) = (LogPosition::new(index % size), TreeSize::new(size));
            let mut hashes = tree.inclusion(position, size, &kept).unwrap().hashes().to_vec();
            let leaf = leaf(position.index());
            hashes.push(Digest::of(b"more"));
            prop_assert!(InclusionProof::new(hashes.clone()).verify(&leaf, position, size, &tree.root()).is_err());
            hashes.truncate(hashes.len() - 2);
            prop_assert!(InclusionProof::new(hashes).verify(&leaf, position, size, &tree.root()).is_err());
        }
    }
}
