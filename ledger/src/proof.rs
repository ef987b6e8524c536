//! Inclusion and consistency proofs of RFC 6962 §2.1, verified as RFC 9162 §2.1.3.2 and §2.1.4.2 say.

use peabiru_proto::hash::{Digest, LeafHash};
use peabiru_proto::limits::MAX_PROOF_HASHES;
use peabiru_proto::merkle::node_hash;

use crate::position::{LogPosition, TreeSize};

/// Shows that an entry is in a tree: sibling hashes from the leaf up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InclusionProof(Vec<Digest>);

/// Shows that a tree begins with an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsistencyProof(Vec<Digest>);

/// A proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a list of hashes, or more than a tree can need.
    #[error("a proof is at most {MAX_PROOF_HASHES} hashes of 32 bytes")]
    Malformed,
    /// It has too many or too few hashes for these sizes, or the sizes make no sense.
    #[error("the proof does not fit the tree's size")]
    WrongLength,
    /// It leads to another root.
    #[error("the proof leads to another root")]
    WrongRoot,
}

macro_rules! hashes {
    ($name:ident) => {
        impl $name {
            /// From hashes in the order of RFC 6962.
            #[must_use]
            pub fn new(hashes: Vec<Digest>) -> Self {
                Self(hashes)
            }

            /// The hashes.
            #[must_use]
            pub fn hashes(&self) -> &[Digest] {
                &self.0
            }

            /// The hashes one after another, 32 bytes each.
            #[must_use]
            pub fn to_bytes(&self) -> Vec<u8> {
                self.0.iter().flat_map(Digest::as_bytes).copied().collect()
            }

            /// Reads what `to_bytes` wrote.
            ///
            /// # Errors
            /// `Malformed` for broken or too many hashes.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofError> {
                let (hashes, rest) = bytes.as_chunks::<32>();
                if !rest.is_empty() || hashes.len() > MAX_PROOF_HASHES {
                    return Err(ProofError::Malformed);
                }
                Ok(Self(hashes.iter().copied().map(Digest::from_bytes).collect()))
            }
        }
    };
}

hashes!(InclusionProof);
hashes!(ConsistencyProof);

impl InclusionProof {
    /// Checks that the leaf is at `position` in the tree of `size` with `root`.
    ///
    /// # Errors
    /// `ProofError` says why not.
    pub fn verify(
        &self,
        leaf: &LeafHash,
        position: LogPosition,
        size: TreeSize,
        root: &Digest,
    ) -> Result<(), ProofError> {
        if position.index() >= size.entries() {
            return Err(ProofError::WrongLength);
        }
        let (mut index, mut last) = (position.index(), size.entries() - 1);
        let mut hash = Digest::from(*leaf);
        for sibling in &self.0 {
            if last == 0 {
                return Err(ProofError::WrongLength);
            }
            if index & 1 == 1 || index == last {
                hash = node_hash(sibling, &hash);
                while index & 1 == 0 && index != 0 {
                    index >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node_hash(&hash, sibling);
            }
            index >>= 1;
            last >>= 1;
        }
        match (last, hash == *root) {
            (0, true) => Ok(()),
            (0, false) => Err(ProofError::WrongRoot),
            _ => Err(ProofError::WrongLength),
        }
    }
}

impl ConsistencyProof {
    /// Checks that the tree of `old` with `old_root` is the beginning of the tree of `new` with `new_root`.
    ///
    /// # Errors
    /// `ProofError` says why not. Every tree begins with the empty one.
    pub fn verify(
        &self,
        old: TreeSize,
        old_root: &Digest,
        new: TreeSize,
        new_root: &Digest,
    ) -> Result<(), ProofError> {
        if old > new {
            return Err(ProofError::WrongLength);
        }
        if old == new || old.is_empty() {
            let roots_agree =
                old.is_empty() && (!new.is_empty() || *new_root == Digest::of(&[])) || old_root == new_root;
            return match (self.0.is_empty(), roots_agree) {
                (false, _) => Err(ProofError::WrongLength),
                (true, false) => Err(ProofError::WrongRoot),
                (true, true) => Ok(()),
            };
        }
        let (mut index, mut last) = (old.entries() - 1, new.entries() - 1);
        while index & 1 == 1 {
            index >>= 1;
            last >>= 1;
        }
        let mut hashes = self.0.iter();
        // A complete subtree proves itself: its root is not repeated in the proof.
        let seed = if old.entries().is_power_of_two() {
            old_root
        } else {
            hashes.next().ok_or(ProofError::WrongLength)?
        };
        let (mut from_old, mut from_new) = (*seed, *seed);
        for hash in hashes {
            if last == 0 {
                return Err(ProofError::WrongLength);
            }
            if index & 1 == 1 || index == last {
                from_old = node_hash(hash, &from_old);
                from_new = node_hash(hash, &from_new);
                while index & 1 == 0 && index != 0 {
                    index >>= 1;
                    last >>= 1;
                }
            } else {
                from_new = node_hash(&from_new, hash);
            }
            index >>= 1;
            last >>= 1;
        }
        match (last, from_old == *old_root && from_new == *new_root) {
            (0, true) => Ok(()),
            (0, false) => Err(ProofError::WrongRoot),
            _ => Err(ProofError::WrongLength),
        }
    }
}
