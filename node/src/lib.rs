//! The road: doors, router, link, guard, dispatcher.
//!
//! ```text
//! app ─▶ door ─▶ router ─▶ ledger ─▶ link ══QUIC, mTLS══▶ link ─▶ guard ─▶ ledger ─▶ dispatcher ─▶ service
//! app ◀─ door ◀─ ledger ◀─ guard ◀── link ◀══════════════ link ◀─ ledger ◀────────── dispatcher ◀─
//! ```
//!
//! Each part hands on the types of [`exchange`]; only `node` knows all the others.

pub mod config;
pub mod consumer;
pub mod core;
pub mod dispatcher;
pub mod door;
pub mod exchange;
pub mod globalconf;
pub mod guard;
pub mod link;
pub mod provider;
pub mod router;
pub mod stage;
