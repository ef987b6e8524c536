//! `peabiru-registry`: keeps an instance's members, nodes and contracts, and publishes its global configuration.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use peabiru_certs::PassphraseSource;
use tracing_subscriber::EnvFilter;

/// Keeps an instance's members, nodes and contracts, and publishes its global configuration.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// The configuration file, registry.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Read the passphrase of the keys from this inherited file descriptor. Otherwise it is taken from
    /// PEABIRU_PASSPHRASE, or asked for.
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be listening on stderr any more.
            let _ = writeln!(std::io::stderr(), "peabiru-registry: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let passphrase = PassphraseSource::choose(arguments.passphrase_fd);
    Ok(runtime.block_on(peabiru_registry::serve::run(&arguments.config, &passphrase, |running| {
        let (admin, distribution) = (running.admin, running.distribution);
        let mut out = std::io::stdout();
        // Whoever started us may not read it.
        let _ = writeln!(out, "peabiru-registry is ready: admin {admin}, distribution {distribution}");
        let _ = out.flush();
    }))?)
}

const EXAMPLES: &str = "Example:\n  PEABIRU_PASSPHRASE=… peabiru-registry --config PY/registry/registry.toml";
