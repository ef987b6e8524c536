//! The road: doors, router, link, guard, dispatcher.
//!
//! ```text
//! app ─▶ door ─▶ router ─▶ ledger ─▶ link ══mutual TLS══▶ link ─▶ guard ─▶ ledger ─▶ dispatcher ─▶ service
//! app ◀─ door ◀─ ledger ◀─ guard ◀── link ◀═════════════ link ◀─ ledger ◀────────── dispatcher ◀─
//! ```
//!
//! Each part hands on the types of [`exchange`]; only `node` knows all the others.

mod admin;
mod asking;
mod catch_up;
pub mod config;
pub mod consumer;
pub mod core;
mod dial_out;
pub mod dispatcher;
pub mod door;
mod error;
pub mod exchange;
pub mod flow;
pub mod globalconf;
pub mod grpc;
pub mod guard;
pub mod holdings;
mod inbound;
mod keys;
pub mod link;
mod live;
mod logging;
mod memory;
mod metadata;
pub mod metrics;
pub mod news;
pub mod node;
pub mod provider;
mod refresh;
mod reload;
pub mod rest;
mod room;
pub mod router;
pub mod serve;
mod settings;
mod shown;
pub mod spool;
pub mod stage;

pub use error::NodeError;
