//! Who may say it: members, contracts, snapshots.
//!
//! ```text
//! operator ─mTLS─▶ api/admin ─▶ state: command ─▶ events ─▶ own ledger (NOTICE) ─▶ state
//!                                                                │
//! node ◀── api/distribution ◀── publish: parts, snapshot ◀───────┘
//! ```
//!
//! The state is what the events of the registry's own ledger add up to. Each change is sealed in one commit with the
//! snapshot that has it; only then do nodes and operators see it.

mod api;
pub mod config;
pub mod delegation;
mod error;
pub mod file;
pub mod instance;
pub mod publish;
pub mod registry;
pub mod serve;
pub mod state;
mod store;

pub use error::RegistryError;
