//! `peabiru completions`: the words of this command, for a shell that completes them.

use std::io::Write as _;

use clap::{Args as ClapArgs, CommandFactory as _, ValueEnum};
use clap_complete::aot;

use crate::args::Args;

/// What a shell needs to complete this command's words.
///
/// bash reads ~/.local/share/bash-completion/completions/peabiru, zsh a file _peabiru in a folder of fpath, fish
/// ~/.config/fish/completions/peabiru.fish.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  peabiru completions bash")]
pub(crate) struct Completions {
    /// For which shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(completions: &Completions) {
    // A reader that has gone is no error.
    let _ = std::io::stdout().write_all(&script(completions.shell));
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let (mut command, name) = (Args::command(), "peabiru");
    match shell {
        Shell::Bash => aot::generate(aot::Bash, &mut command, name, &mut script),
        Shell::Zsh => aot::generate(aot::Zsh, &mut command, name, &mut script),
        Shell::Fish => aot::generate(aot::Fish, &mut command, name, &mut script),
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_noun() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            for noun in Args::command().get_subcommands() {
                assert!(script.contains(noun.get_name()), "{shell:?} does not know {}", noun.get_name());
            }
        }
    }
}
