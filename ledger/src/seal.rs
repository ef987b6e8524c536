//! Seals: a checkpoint and the proof that an entry is in its tree. They travel with the message.

use peabiru_proto::entry::Entry;
use peabiru_proto::hash::LeafHash;

use crate::checkpoint::{CheckpointError, SignedCheckpoint, VerifyingKey};
use crate::position::LogPosition;
use crate::proof::{InclusionProof, ProofError};

/// Binds one entry to the ledger whose key signed the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The signed tree head.
    pub checkpoint: SignedCheckpoint,
    /// Where the entry is.
    pub position: LogPosition,
    /// From the entry to the checkpoint's root.
    pub proof: InclusionProof,
}

/// An entry with its seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEntry {
    /// The entry.
    pub entry: Entry,
    /// Its seal.
    pub seal: Seal,
}

/// Why a seal does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The checkpoint's signature.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The inclusion proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl Seal {
    /// Checks signature and proof.
    ///
    /// # Errors
    /// `SealError` says which of them does not hold.
    pub fn verify(&self, leaf: &LeafHash, key: &VerifyingKey) -> Result<(), SealError> {
        self.checkpoint.verify(key)?;
        Ok(self.includes(leaf)?)
    }

    /// Checks the proof alone, where the checkpoint was verified before.
    ///
    /// # Errors
    /// `ProofError` if the proof does not lead to the checkpoint's root.
    pub fn includes(&self, leaf: &LeafHash) -> Result<(), ProofError> {
        self.proof.verify(leaf, self.position, self.checkpoint.size(), self.checkpoint.root())
    }
}
