//! What can be asked, with an example for each verb.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::output::Format;
use crate::{
    approval, call, certificate, completions, contract, doctor, evidence, exchange, globalconf, grant,
    instance, ledger, member, node, sandbox,
};

/// Peabiru: the road over which public agencies exchange data.
#[derive(Debug, Parser)]
#[command(name = "peabiru", version, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

/// Whom to talk to, and how.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connect {
    /// The registry's admin API.
    #[arg(long, global = true, value_name = "URL", env = "PEABIRU_REGISTRY")]
    pub(crate) registry: Option<String>,
    /// SHA-256 of the registry's certificate, or the file that holds it.
    #[arg(long, global = true, value_name = "SHA256|FILE", env = "PEABIRU_REGISTRY_CERTIFICATE")]
    pub(crate) registry_certificate: Option<String>,
    /// Key and certificate of the operator: PREFIX.key and PREFIX.crt.
    #[arg(long, global = true, value_name = "PREFIX", env = "PEABIRU_OPERATOR")]
    pub(crate) operator: Option<PathBuf>,
    /// The node's admin socket: admin.sock in its folder.
    #[arg(long, global = true, value_name = "PATH", env = "PEABIRU_ADMIN_SOCKET")]
    pub(crate) admin_socket: Option<PathBuf>,
    /// A table for people, or JSON for programs.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, env = "PEABIRU_OUTPUT")]
    pub(crate) output: Format,
    /// Read the passphrase of key files from this inherited file descriptor. Otherwise it is taken from
    /// PEABIRU_PASSPHRASE, or asked for.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    /// An instance: one road under one authority.
    #[command(subcommand)]
    Instance(instance::Verb),
    /// A small country on this machine.
    #[command(subcommand)]
    Sandbox(sandbox::Verb),
    /// The registry.
    #[command(subcommand)]
    Registry(RegistryVerb),
    /// Nodes: security servers.
    #[command(subcommand)]
    Node(node::Verb),
    /// Members: the agencies.
    #[command(subcommand)]
    Member(member::MemberVerb),
    /// Subsystems: the agencies' information systems.
    #[command(subcommand)]
    Subsystem(member::SubsystemVerb),
    /// Contracts: what services offer.
    #[command(subcommand)]
    Contract(contract::Verb),
    /// Grants: what a provider allows.
    #[command(subcommand)]
    Grant(grant::Verb),
    /// Certificates and the authorities behind them.
    #[command(subcommand)]
    Certificate(certificate::Verb),
    /// Approvals: the second officer's word on enrolments, keys and authorities.
    #[command(subcommand)]
    Approval(approval::Verb),
    /// The global configuration: what everyone trusts.
    #[command(subcommand)]
    Globalconf(globalconf::Verb),
    /// Calls a method of any registered service, JSON in and out.
    Call(call::Call),
    /// A node's ledgers.
    #[command(subcommand)]
    Ledger(ledger::Verb),
    /// Exchanges: what became of them.
    #[command(subcommand)]
    Exchange(exchange::Verb),
    /// Evidence of exchanges.
    #[command(subcommand)]
    Evidence(evidence::Verb),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryVerb {
    /// The registry's ledger: who proposed, approved, rejected and changed what. For auditors and security officers.
    #[command(
        after_help = "Example:\n  peabiru registry history --start 0 --limit 100\n  peabiru registry history"
    )]
    History {
        /// First index; the newest entries if none is given.
        #[arg(long)]
        start: Option<u64>,
        /// How many.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Runs a registry until SIGTERM or SIGINT.
    #[command(after_help = "Example:\n  peabiru registry run --config PY/registry/registry.toml")]
    Run {
        /// registry.toml
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// The registry's ledger, with its verifier key for tools that check C2SP signed notes, and until when the roots
    /// stand behind it.
    #[command(after_help = "Example:\n  peabiru registry show --config PY/registry/registry.toml")]
    Show {
        /// registry.toml
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  refused or failed; the message says why
  2  wrong arguments
  3  nobody answers
  4  evidence or ledger not verified
  5  evidence is consistent, but nobody said whom to trust
  6  doctor: something needs care soon
  7  doctor: something does not work

Example:
  peabiru sandbox connectivity";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example_that_parses() {
        let mut examples = 0;
        for verb in leaves(Args::command()) {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let (_, lines) =
                help.split_once("Example:\n").unwrap_or_else(|| panic!("{} has no example", verb.get_name()));
            for line in lines.lines() {
                let words = words(line.trim());
                Args::try_parse_from(&words).unwrap_or_else(|error| panic!("{line}: {error}"));
                examples += 1;
            }
        }
        assert!(examples >= 30, "{examples}");
    }

    fn leaves(command: clap::Command) -> Vec<clap::Command> {
        let under: Vec<_> = command.get_subcommands().cloned().collect();
        if under.is_empty() { vec![command] } else { under.into_iter().flat_map(leaves).collect() }
    }

    /// Words of a line; what stands in single quotes is one word.
    fn words(line: &str) -> Vec<String> {
        let parts = line.split('\'').enumerate();
        parts
            .flat_map(|(number, part)| {
                if number % 2 == 1 {
                    vec![part.to_owned()]
                } else {
                    part.split_whitespace().map(str::to_owned).collect()
                }
            })
            .collect()
    }
}
