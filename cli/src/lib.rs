//! The operator's hand: one command for instance, registry, node and evidence.
//!
//! ```text
//! args ─▶ run ─▶ one module per noun ─▶ client ─▶ registry or node
//!                                    └▶ output: a table, or JSON
//! ```

mod approval;
mod args;
mod call;
mod certificate;
pub mod client;
mod completions;
mod contract;
mod doctor;
mod error;
mod evidence;
mod exchange;
mod globalconf;
mod grant;
mod history;
mod instance;
mod ledger;
mod member;
mod node;
pub mod officers;
mod output;
pub mod ports;
mod run;
pub mod sandbox;
pub mod site;

use std::process::ExitCode;

use clap::Parser as _;

pub use error::{CliError, Whom};

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    let connect = args.connect.clone();
    match run::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&connect, &error);
            ExitCode::from(error.exit_code())
        }
    }
}
