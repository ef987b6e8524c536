//! Whole federations over real sockets: registry, nodes, agencies' services, callers. And what must hold of each
//! parser of a peer's bytes.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test says by failing what went wrong")]

pub mod disk;
pub mod echo;
pub mod evidence;
pub mod federation;
pub mod ledger;
pub mod metrics;
pub mod parsers;
pub mod process;
pub mod web;
