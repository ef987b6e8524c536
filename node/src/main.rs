//! `peabiru-node`: a security server of the road.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use peabiru_certs::PassphraseSource;

/// A security server: carries sealed exchanges between an agency's systems and those of others.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// The configuration file, node.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Read the passphrase of the keys from this inherited file descriptor. Otherwise it is taken from
    /// PEABIRU_PASSPHRASE, or asked for.
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let passphrase = PassphraseSource::choose(arguments.passphrase_fd);
    let run = peabiru_node::serve::run(&arguments.config, &passphrase, |running| {
        let mut out = std::io::stdout();
        // Whoever started us may not read it.
        let _ = writeln!(out, "{}", running.ready_line());
        let _ = out.flush();
    });
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be listening on stderr any more.
            let _ = writeln!(std::io::stderr(), "peabiru-node: {}: {error}", error.code());
            ExitCode::FAILURE
        }
    }
}

const EXAMPLES: &str = "Example:\n  PEABIRU_PASSPHRASE=… peabiru-node --config MEC/node.toml";
