//! `peabiru doctor`: what an administrator should mend, and how.
//!
//! The node gathers (`Examine`), `judge.rs` finds, `words.rs` says it in Spanish or English.

mod judge;
mod words;

use clap::Args as ClapArgs;
use peabiru_proto::language::Language;
use peabiru_proto::wire::ExamineRequest;

use crate::CliError;
use crate::args::Connect;
use crate::output::{self, Format, Table};
use judge::{Level, judge};

/// Looks at a running node and at what it depends on, and says for each finding what to do.
///
/// Clock, registry, peers and how they are reached, certificates, global configuration, disk, grants. In Spanish if LC_ALL,
/// LC_MESSAGES or LANG begins with `es`. Ends with 0 if all is well, 6 if something needs care soon, 7 if something does not
/// work.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  peabiru doctor --admin-socket MEC/data/admin.sock")]
pub(crate) struct Doctor {}

pub(crate) async fn run(connect: &Connect) -> Result<(), CliError> {
    // What a finding says is for people, whoever reads the JSON for them.
    let language = Language::of_environment(|name| std::env::var(name).ok());
    let examined = connect.node().await?.examine(ExamineRequest {}).await?.into_inner();
    let findings = judge(&examined);
    let mut table = Table::new(&[
        ("level", "nivel"),
        ("about", "asunto"),
        ("finding", "hallazgo"),
        ("what_to_do", "qué_hacer"),
    ]);
    for finding in &findings {
        let (level, said) = (words::level(finding.level, language), words::say(&finding.fact, language));
        let to_do = if finding.level == Level::Well { String::new() } else { said.to_do };
        if connect.output == Format::Table {
            output::line(&format!("{level:<WIDTH$}{}: {}", said.about, said.finding));
            if !to_do.is_empty() {
                output::line(&format!("{:<WIDTH$}→ {to_do}", ""));
            }
        }
        table.row([level.to_owned(), said.about, said.finding, to_do]);
    }
    if connect.output == Format::Json {
        table.print(connect);
    }
    match findings.iter().map(|finding| finding.level).max() {
        Some(Level::Broken) => Err(CliError::Broken),
        Some(Level::Care) => Err(CliError::NeedsCare),
        Some(Level::Well) | None => Ok(()),
    }
}

/// Of the first column.
const WIDTH: usize = 10;
