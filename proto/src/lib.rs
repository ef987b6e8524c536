//! What can be said on the road: identifiers, entries, contracts, faults, limits.
//!
//! Nothing here waits, reads a file or opens a socket; only [`time::SystemClock`] and [`random::SystemRandom`] ask the
//! machine.

pub mod content;
pub mod context;
pub mod contract;
pub mod entry;
pub mod fault;

pub mod globalconf;
pub mod hash;
pub mod id;
pub mod language;
pub mod limits;
pub mod merkle;
pub mod origin;
pub mod path;
pub mod policy;
pub mod random;
pub mod time;
pub mod wire;
