//! What was said: committer, tree, seals, proofs, storage, evidence.
//!
//! ```text
//! append ─▶ committer ─▶ segment: write ─▶ fdatasync ─▶ Durable ─▶ sign ─▶ Seal (checkpoint + inclusion proof)
//!                            │
//!                            └─ recover: after any crash the same seals hold
//! ```

pub mod certified;
pub mod checkpoint;
mod committer;
#[cfg(test)]
mod crash_tests;
pub mod disk;
pub mod durable;
mod erasure;
mod error;
pub mod evidence;
mod hashes;
mod index;
mod item;
pub mod large;
pub mod ledger;
pub mod payload;
pub mod position;
pub mod proof;
mod queued;
mod read;
pub mod record;
mod recover;
mod scan;
pub mod seal;
mod segment;
pub mod slot;
pub mod snapshot;
pub mod status_note;
mod succession;
pub mod tile;
pub mod tlog_proof;
pub mod tree;
pub mod verify;
mod writer;
mod written;

pub use error::LedgerError;
pub use read::{PayloadState, StoredEntry};
