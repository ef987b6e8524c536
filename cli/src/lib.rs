//! The operator's hand: one command for instance, registry, node and evidence.

pub mod client;
mod error;
pub mod site;

pub use error::CliError;
