//! `peabiru sandbox`: a small country on this machine. Registry and nodes are real processes with keys, folders and
//! ports of their own; the agencies' services run in this one.

mod connectivity;
mod country;
mod folder;
mod process;
mod reopen;
mod update;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use peabiru_proto::language::Language;
use tokio::signal::unix::{SignalKind, signal};

use crate::CliError;
use crate::args::Connect;
use crate::output;
use country::Country;
use folder::Folder;
use reopen::Meanwhile;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Starts five agencies, lets MITIC's planner ask them, and writes roadmap, tables, maps and evidence.
    #[command(
        after_help = "Example:\n  peabiru sandbox connectivity --folder /tmp/py\n  peabiru sandbox connectivity --folder /tmp/py --update --stopped CONATEL --revoked MSPBS"
    )]
    Connectivity {
        #[command(flatten)]
        place: Place,
        /// Lets the planner ask again, in the country of the last run, and says what changed: figure by figure, and which
        /// exchange is the reason.
        #[arg(long)]
        update: bool,
        #[command(flatten)]
        meanwhile: Meanwhile,
    },
    /// Starts the same country and keeps it running until it is interrupted, for `peabiru call`.
    #[command(after_help = "Example:\n  peabiru sandbox up")]
    Up(Place),
}

/// Where a sandbox lives.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Everything is made here. A sandbox of before is replaced, once it has ended; its report is kept as report-before.
    #[arg(long, default_value = "peabiru-sandbox")]
    folder: PathBuf,
}

pub(crate) async fn run(verb: Verb, connect: &Connect) -> Result<(), CliError> {
    let language = connect.language();
    match verb {
        Verb::Connectivity { place, update, meanwhile } => {
            let folder = if update {
                Folder::again(&place.folder)?
            } else {
                Folder::renewed(&place.folder, language)?
            };
            tokio::select! {
                done = connectivity::run(&folder.path, update.then_some(&meanwhile), language) => done,
                // Dropping the run ends its processes.
                stopped = stop_signal() => Err(stopped.err().unwrap_or(CliError::Interrupted)),
            }
        }
        Verb::Up(place) => up(&Folder::renewed(&place.folder, language)?, language).await,
    }
}

async fn up(folder: &Folder, language: Language) -> Result<(), CliError> {
    let country = Country::start(&folder.path, language).await?;
    let env = folder.path.join(country::ENVIRONMENT);
    let [open, close] = language.of_both(
        ["El camino está abierto. En otra terminal:", "Ctrl-C lo cierra."],
        ["The road is open. In another terminal:", "Ctrl-C closes it."],
    );
    output::line(&format!(
        "\n{open}\n\n  . {}\n  peabiru contract list\n  peabiru call py.mec.v1.SchoolService ListSchools --data \
         '{{\"pageSize\": 2}}' --purpose connectivity-planning\n  peabiru ledger list\n\n{close}",
        env.display()
    ));
    let stopped = stop_signal().await;
    country.stop().await;
    stopped
}

/// Ends with SIGINT, SIGTERM, or SIGHUP when the terminal is closed: whoever stops a sandbox stops its processes.
async fn stop_signal() -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::Process {
        what: "waiting for a signal".to_owned(),
        reason: error.to_string(),
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(failed),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    }
}
