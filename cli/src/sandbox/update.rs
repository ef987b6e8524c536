//! What the last run left: its sealed answers, verified before they are believed, and its report, with which the next one is
//! compared.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::{Buf as _, Bytes};
use peabiru_example_connectivity::changes::{Changes, Run, State};
use peabiru_example_connectivity::earlier::{Answer, Earlier};
use peabiru_example_connectivity::planner::{Findings, Source};
use peabiru_example_connectivity::report;
use peabiru_ledger::evidence::{Evidence, Outcome, verify};
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::language::Language;
use serde::Deserialize;

use super::country::Country;
use super::folder::{KEPT, REPORT};
use crate::CliError;
use crate::certificate::read_anchor;
use crate::output::line;

/// The run before this one.
pub(super) struct LastRun {
    folder: PathBuf,
    roadmap: String,
    pub(super) earlier: Earlier,
}

/// What of `roadmap.json` says which exchanges there were.
#[derive(Deserialize)]
struct Roadmap {
    exchanges: Vec<Exchange>,
}

#[derive(Deserialize)]
struct Exchange {
    exchange: String,
}

impl LastRun {
    /// Reads and verifies it.
    pub(super) fn read(folder: &Path) -> Result<Self, CliError> {
        let file = folder.join(REPORT).join(report::ROADMAP);
        let roadmap = fs::read_to_string(&file).map_err(CliError::file(&file))?;
        let wrong = |error: serde_json::Error| CliError::Scenario(format!("{}: {error}", file.display()));
        let Roadmap { exchanges } = serde_json::from_str(&roadmap).map_err(wrong)?;
        let anchor = read_anchor(&folder.join("PY/anchor.toml"))?;
        let evidence = Country::evidence_folder(folder);
        let answers = exchanges.iter().map(|it| answer(&evidence, &it.exchange, &anchor));
        let answers = answers.collect::<Result<_, _>>()?;
        let earlier = Earlier::new(answers).map_err(|error| CliError::Scenario(error.to_string()))?;
        Ok(Self { folder: folder.to_owned(), roadmap, earlier })
    }

    /// Makes room for the next report; this one stays beside it.
    pub(super) fn set_aside(&self) -> Result<(), CliError> {
        let aside = self.folder.join(KEPT);
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(CliError::file(&aside))?;
        }
        fs::rename(self.folder.join(REPORT), &aside).map_err(CliError::file(&aside))
    }

    /// The evidence of an exchange of the last run, once it is set aside.
    pub(super) fn evidence(&self, source: &Source) -> Result<Vec<u8>, CliError> {
        let file = self.folder.join(KEPT).join("evidence").join(format!("{}.tar", source.exchange));
        fs::read(&file).map_err(CliError::file(&file))
    }

    /// Writes what is different now, and says the most important of it.
    pub(super) fn compare(&self, now: &Findings, language: Language) -> Result<(), CliError> {
        let report = self.folder.join(REPORT);
        let file = report.join(report::ROADMAP);
        let roadmap = fs::read_to_string(&file).map_err(CliError::file(&file))?;
        let then = self.earlier.findings();
        let (before, after) =
            (Run { findings: &then, roadmap: &self.roadmap }, Run { findings: now, roadmap: &roadmap });
        let changes = Changes::between(before, after);
        let changes = changes.map_err(|error| CliError::Scenario(error.to_string()))?;
        let file = report.join(CHANGES);
        fs::write(&file, changes.csv()).map_err(CliError::file(&file))?;
        say(&changes, now, language);
        line(&format!("  {}", file.display()));
        Ok(())
    }
}

/// The answer that an evidence file holds, if all of it holds.
fn answer(folder: &Path, exchange: &str, anchor: &ConfigurationAnchor) -> Result<Answer, CliError> {
    let file = folder.join(format!("{exchange}.tar"));
    let tar = fs::read(&file).map_err(CliError::file(&file))?;
    let wrong = |what: String| CliError::Scenario(format!("{}: {what}", file.display()));
    let report = verify(&tar, Some(anchor));
    if report.outcome != Outcome::Verified || !report.missing.is_empty() {
        let failures = report.failures.iter().map(ToString::to_string).chain(report.missing);
        return Err(wrong(failures.collect::<Vec<_>>().join("; ")));
    }
    let facts = report.facts.filter(|facts| facts.exchange == exchange);
    let facts = facts.ok_or_else(|| wrong("it is of another exchange".to_owned()))?;
    let answered_at = facts.answered_at.ok_or_else(|| wrong("it has no answer".to_owned()))?;
    let evidence = Evidence::from_tar(&tar).map_err(|error| wrong(error.to_string()))?;
    let message = message(&evidence).ok_or_else(|| wrong("its answer is no gRPC message".to_owned()))?;
    let service = facts.service.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Answer { exchange: exchange.to_owned(), service, method: facts.method, answered_at, message })
}

/// The only message of an answer, without its gRPC prefix.
fn message(evidence: &Evidence) -> Option<Bytes> {
    let chunks = (1..).map_while(|chunk| evidence.file(&format!("payloads/answer.{chunk}")));
    let mut body = Bytes::from(chunks.map(AsRef::as_ref).collect::<Vec<&[u8]>>().concat());
    let compressed = body.try_get_u8().ok()?;
    let bytes = usize::try_from(body.try_get_u32().ok()?).ok()?;
    (compressed == 0 && body.len() == bytes).then_some(body)
}

fn say(changes: &Changes, now: &Findings, language: Language) {
    let [changed, new, missing, older] =
        [State::Changed, State::New, State::Missing, State::Older].map(|state| changes.count(state));
    let (rows, rejected) = (changes.rows.len(), &now.accepted.rejected);
    let kept_out = rejected.len();
    line(&language.of_both(
        format!(
            "\nDesde la última corrida sellada: {rows} filas distintas, {kept_out} apartadas; {changed} cifras cambiaron, {new} son \
             nuevas, {missing} faltan, {older} son de una corrida anterior"
        ),
        format!(
            "\nSince the last sealed run: {rows} rows differ, {kept_out} are kept out; {changed} figures changed, {new} are new, \
             {missing} are missing, {older} are of an earlier run"
        ),
    ));
    for missing in &now.missing {
        let since = missing.since.map_or_else(|| "—".to_owned(), |since| since.to_string());
        let (what, older) = (report::unanswered(missing, language), missing.older_rows);
        line(&language.of_both(
            format!("  sin respuesta: {what}; la última, {since}; valen {older} filas de entonces"),
            format!("  no answer: {what}; the last one {since}; {older} rows of then stand in"),
        ));
    }
    for row in rejected.iter().take(LINES_SAID) {
        let exchange = now.exchanges.get(row.exchange).map_or("", |source| source.exchange.as_str());
        line(&format!("  {}", report::kept_out(row, exchange, language)));
    }
    for row in changes.rows.iter().take(LINES_SAID) {
        line(&format!("  {}", report::changed(row, language)));
    }
    let said = changes.figures.iter().filter(|it| it.state != State::Older);
    for it in said.take(LINES_SAID) {
        let value = |value: &Option<serde_json::Value>| {
            value.as_ref().map_or_else(|| "—".to_owned(), ToString::to_string)
        };
        let (before, after) = (value(&it.before), value(&it.after));
        // The reason in words stands in the file, for all readers the same.
        let why = language.of_both(String::new(), format!("; {}", it.why));
        line(&format!("  {}: {before} → {after}{why}; {}", it.figure, it.exchanges.join(" ")));
    }
}

/// Every figure with which something is different.
const CHANGES: &str = "changes.csv";
/// Of each kind; the file has all.
const LINES_SAID: usize = 12;
