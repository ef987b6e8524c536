//! What was said: committer, tree, seals, proofs, storage, evidence.
//!
//! ```text
//! append ─▶ committer ─▶ segment: write ─▶ fdatasync ─▶ Durable ─▶ sign ─▶ Seal (checkpoint + inclusion proof)
//!                            │
//!                            └─ recover: after any crash the same seals hold
//! ```

pub mod checkpoint;
pub mod durable;
pub mod payload;
pub mod position;
pub mod proof;
pub mod seal;
pub mod slot;
pub mod tree;
