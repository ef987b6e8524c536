//! `peabiru sandbox`: a small country on this machine. Registry and nodes are real processes with keys, folders and
//! ports of their own; the agencies' services run in this one.

mod connectivity;
mod country;
mod process;
mod reopen;
mod update;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::CliError;
use crate::args::Connect;
use crate::output;
use country::Country;
use peabiru_example_connectivity::report::ROADMAP;
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
    /// Everything is made here; a sandbox of before is replaced.
    #[arg(long, default_value = "peabiru-sandbox")]
    folder: PathBuf,
}

pub(crate) async fn run(verb: Verb, _connect: &Connect) -> Result<(), CliError> {
    match verb {
        Verb::Connectivity { place, update, meanwhile } => {
            let folder = if update { again(&place.folder)? } else { prepare(&place.folder)? };
            tokio::select! {
                done = connectivity::run(&folder, update.then_some(&meanwhile)) => done,
                // Dropping the run ends its processes.
                stopped = stop_signal() => Err(match stopped {
                    Ok(()) => CliError::Scenario("it was stopped before its end".to_owned()),
                    Err(error) => error,
                }),
            }
        }
        Verb::Up(place) => up(&prepare(&place.folder)?).await,
    }
}

async fn up(folder: &Path) -> Result<(), CliError> {
    let country = Country::start(folder).await?;
    let env = folder.join(country::ENVIRONMENT);
    output::line(&format!(
        "\nThe road is open. In another terminal:\n\n  . {}\n  peabiru contract list\n  peabiru call py.mec.v1.SchoolService \
         ListSchools --data '{{\"pageSize\": 2}}' --purpose connectivity-planning\n  peabiru ledger list\n\nCtrl-C closes it.",
        env.display()
    ));
    let stopped = stop_signal().await;
    country.stop().await;
    stopped
}

/// Ends with SIGINT or SIGTERM: whoever stops a sandbox stops its processes.
async fn stop_signal() -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::Process {
        what: "waiting for a signal".to_owned(),
        reason: error.to_string(),
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(failed),
        _ = terminate.recv() => Ok(()),
    }
}

/// The folder of an earlier run.
fn again(folder: &Path) -> Result<PathBuf, CliError> {
    if !folder.join("report").join(ROADMAP).exists() {
        return Err(CliError::Usage(format!(
            "{} holds no earlier run: run without --update first",
            folder.display()
        )));
    }
    folder.canonicalize().map_err(CliError::file(folder))
}

/// An empty folder; only what a sandbox made before is removed.
fn prepare(folder: &Path) -> Result<PathBuf, CliError> {
    let marker = folder.join(MARKER);
    if marker.exists() {
        std::fs::remove_dir_all(folder).map_err(CliError::file(folder))?;
    } else if folder.exists() && std::fs::read_dir(folder).map_err(CliError::file(folder))?.next().is_some() {
        return Err(CliError::Usage(format!(
            "{} is there and no sandbox made it: name another folder with --folder",
            folder.display()
        )));
    }
    std::fs::create_dir_all(folder).map_err(CliError::file(folder))?;
    std::fs::write(&marker, "A sandbox of Peabiru: removed by the next one.\n")
        .map_err(CliError::file(&marker))?;
    folder.canonicalize().map_err(CliError::file(folder))
}

const MARKER: &str = ".peabiru-sandbox";
