//! `peabiru evidence`.

mod audit;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use peabiru_example_connectivity::report::{self, Fallen};
use peabiru_ledger::evidence::{self, Outcome, Report};
use peabiru_proto::entry::{Body, Entry};
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::language::Language;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{ExportEvidenceRequest, ListEntriesRequest};
use serde_json::json;

use crate::CliError;
use crate::args::Connect;
use crate::certificate::read_anchor;
use crate::client::NodeClient;
use crate::output::{self, Format};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Writes the evidence file of an exchange; what the counterparty holds is asked for. A stream that is longer than one file
    /// holds goes into several: EXCHANGE-2.tar and so on. Each is checked by itself, and with those that are checked beside it.
    #[command(
        after_help = "Example:\n  peabiru evidence export\n  peabiru evidence export 00112233445566778899aabbccddeeff --out evidence.tar"
    )]
    Export {
        /// 32 hex digits, as in the header x-peabiru-exchange-id; the newest exchange of the node if none is given.
        exchange: Option<String>,
        /// Where; EXCHANGE.tar if none is given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Checks evidence files, or all of a folder, with nothing but a configuration anchor.
    #[command(after_help = "Example:\n  peabiru evidence verify evidence --trust anchor.toml")]
    Verify {
        /// Files, or folders of .tar files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The configuration anchor: whom to trust.
        #[arg(long, value_name = "FILE")]
        trust: Option<PathBuf>,
        /// A report's roadmap.json: names its figures that rest on an exchange which is not verified here.
        #[arg(long, value_name = "FILE")]
        figures: Option<PathBuf>,
    },
    /// The exchanges that a figure of a report came from: who sealed them, when, and whether their evidence holds.
    #[command(
        after_help = "Example:\n  peabiru evidence figure /gap/country/girls evidence --figures roadmap.json --trust anchor.toml"
    )]
    Figure {
        /// Where it stands in roadmap.json, as a JSON pointer.
        pointer: String,
        /// Files, or folders of .tar files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The report's roadmap.json.
        #[arg(long, value_name = "FILE")]
        figures: PathBuf,
        /// The configuration anchor: whom to trust.
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
    },
    /// Verifier keys of the ledgers that sealed these exchanges, one a line, for tools that check C2SP signed notes and
    /// tlog-proofs. A key is listed if the configuration anchor vouches for it.
    #[command(after_help = "Example:\n  peabiru evidence keys evidence --trust anchor.toml")]
    Keys {
        /// Files, or folders of .tar files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The configuration anchor: whom to trust.
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
    },
}

pub(crate) async fn run(verb: Verb, connect: &Connect) -> Result<(), CliError> {
    let language = connect.language();
    match verb {
        Verb::Export { exchange, out } => {
            let mut node = connect.node().await?;
            let exchange = match exchange {
                Some(exchange) => exchange,
                None => newest(&mut node, language).await?,
            };
            let out = out.unwrap_or_else(|| format!("{exchange}.tar").into());
            let mut from = Some((0, 0));
            let mut number = 1;
            while let Some(chunks) = from {
                let part = export(&mut node, &exchange, chunks).await?;
                let file = if number == 1 { out.clone() } else { numbered(&out, number) };
                // It holds the payloads in clear.
                output::write_private(&file, &part.tar)?;
                output::done(connect, &format!("{} ({} bytes)", file.display(), part.tar.len()));
                (from, number) = (part.next, number + 1);
            }
            Ok(())
        }
        Verb::Verify { files, trust, figures } => {
            let anchor = trust.as_deref().map(read_anchor).transpose()?;
            verify(&expand(&files, language)?, anchor.as_ref(), figures.as_deref(), connect)
        }
        Verb::Figure { pointer, files, figures, trust } => {
            audit::figure(&pointer, &figures, &expand(&files, language)?, &read_anchor(&trust)?, connect)
        }
        Verb::Keys { files, trust } => {
            audit::keys(&expand(&files, language)?, &read_anchor(&trust)?, connect.output)
        }
    }
}

/// The exchange that the newest REQUEST in the node's ledger is about.
async fn newest(node: &mut NodeClient, language: Language) -> Result<String, CliError> {
    let size = node.list_entries(ListEntriesRequest { start: u64::MAX, ..Default::default() }).await?;
    let start = size.into_inner().tree_size.saturating_sub(ENTRIES_LOOKED_AT.into());
    let request = ListEntriesRequest { start, limit: ENTRIES_LOOKED_AT, ..Default::default() };
    let entries = node.list_entries(request).await?.into_inner().entries;
    let asked = entries.iter().rev().filter_map(|entry| Entry::decode(entry.entry.clone()).ok());
    let mut requests = asked.filter(|entry| matches!(entry.body(), Body::Request(_)));
    let none = || {
        let said = language.of_both(
            "entre los asientos más nuevos no hay ningún intercambio: nombre uno",
            "no exchange is among the newest entries: name one",
        );
        CliError::Usage(said.to_owned())
    };
    requests.next().map(|entry| entry.exchange().to_string()).ok_or_else(none)
}

/// An evidence file, and from which chunk of request and answer on there is more.
pub(crate) struct Part {
    pub(crate) tar: Vec<u8>,
    pub(crate) next: Option<(u64, u64)>,
}

/// The evidence file of an exchange, from these chunks of request and answer on.
///
/// # Errors
/// What the node says.
pub(crate) async fn export(
    node: &mut NodeClient,
    exchange: &str,
    (first_request_chunk, first_answer_chunk): (u64, u64),
) -> Result<Part, CliError> {
    let (exchange_id, member) = (exchange.to_owned(), String::new());
    let request = ExportEvidenceRequest { exchange_id, member, first_request_chunk, first_answer_chunk };
    let mut pieces = node.export_evidence(request).await?.into_inner();
    let (mut tar, mut next) = (Vec::new(), (0, 0));
    while let Some(piece) = pieces.message().await? {
        tar.extend_from_slice(&piece.content);
        next = (piece.next_request_chunk, piece.next_answer_chunk);
    }
    Ok(Part { tar, next: Some(next).filter(|next| *next != (0, 0)) })
}

/// `NAME-NUMBER.tar` beside `NAME.tar`.
fn numbered(file: &Path, number: u32) -> PathBuf {
    let mut name = file.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}."));
    name.push(file.extension().unwrap_or("tar".as_ref()));
    file.with_file_name(name)
}

fn verify(
    files: &[PathBuf],
    anchor: Option<&ConfigurationAnchor>,
    figures: Option<&Path>,
    connect: &Connect,
) -> Result<(), CliError> {
    let (format, language) = (connect.output, connect.language());
    let mut worst = Ok(());
    let mut holding = BTreeSet::new();
    let mut shown = Vec::new();
    for (file, report) in files.iter().zip(judge(files, anchor, language)?) {
        match report.outcome {
            Outcome::Failed => worst = Err(CliError::NotVerified),
            Outcome::Consistent if worst.is_ok() => worst = Err(CliError::TrustNotEstablished),
            Outcome::Consistent | Outcome::Verified => {}
        }
        if report.outcome != Outcome::Failed && report.missing.is_empty() {
            holding.extend(report.facts.as_ref().map(|facts| facts.exchange.clone()));
        }
        match format {
            Format::Table if files.len() == 1 => print_in_full(file, &report, connect),
            Format::Table => print(file, &report, language),
            Format::Json => shown.push(to_json(file, &report)),
        }
    }
    match format {
        Format::Table if files.len() > 1 => {
            output::line(&format!("{} {}", files.len(), language.of_both("archivos", "files")));
        }
        Format::Table | Format::Json => {}
    }
    let fallen = figures.map(|file| fallen(file, &holding)).transpose()?.unwrap_or_default();
    match (format, figures) {
        (Format::Json, None) => output::document(&json!(shown)),
        (Format::Json, Some(_)) => {
            let fallen: Vec<_> =
                fallen.iter().map(|it| json!({ "figure": it.figure, "exchanges": it.exchanges })).collect();
            output::document(&json!({ "files": shown, "figures_that_fall": fallen }));
        }
        (Format::Table, None) => {}
        (Format::Table, Some(_)) => {
            let [falls, because, fall] =
                language.of_both(["CAE", "por", "cifras caen"], ["FALLS", "for", "figures fall"]);
            for Fallen { figure, exchanges } in &fallen {
                output::line(&format!("{falls}: {figure}, {because} {}", exchanges.join(", ")));
            }
            output::line(&format!("{} {fall}", fallen.len()));
        }
    }
    if fallen.is_empty() { worst } else { Err(CliError::NotVerified) }
}

/// Each file alone, then those of one exchange together.
fn judge(
    files: &[PathBuf],
    anchor: Option<&ConfigurationAnchor>,
    language: Language,
) -> Result<Vec<Report>, CliError> {
    let mut reports = Vec::new();
    for file in files {
        let tar = fs::read(file).map_err(CliError::file(file))?;
        reports.push(evidence::verify_in(&tar, anchor, language));
    }
    for (number, failure) in evidence::compare(&reports, language) {
        reports[number].outcome = Outcome::Failed;
        reports[number].failures.push(failure);
    }
    Ok(reports)
}

/// Figures of a report that rest on an exchange which is not among these.
fn fallen(file: &Path, holding: &BTreeSet<String>) -> Result<Vec<Fallen>, CliError> {
    let text = fs::read_to_string(file).map_err(CliError::file(file))?;
    report::fallen(&text, holding).map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))
}

fn print(file: &Path, report: &Report, language: Language) {
    let [fails, missing] = language.of_both(["FALLA", "falta"], ["FAILS", "missing"]);
    output::line(&format!("{}: {}", file.display(), outcome(report.outcome, language)));
    report.failures.iter().for_each(|failure| output::line(&format!("  {fails}: {failure}")));
    report.missing.iter().for_each(|what| output::line(&format!("  {missing}: {what}")));
}

/// In one word.
fn outcome(outcome: Outcome, language: Language) -> String {
    let spanish = match outcome {
        Outcome::Verified => "verificado",
        Outcome::Consistent => "coherente, confianza no establecida",
        Outcome::Failed => "no se sostiene",
    };
    language.of_both(spanish.to_owned(), outcome.to_string())
}

fn print_in_full(file: &Path, report: &Report, connect: &Connect) {
    let language = connect.language();
    print(file, report, language);
    if let Some(facts) = &report.facts {
        let at = |time: Option<Timestamp>| time.map_or_else(|| "—".to_owned(), |time| time.to_string());
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "—".to_owned());
        output::fields(
            connect,
            &[
                ("  exchange", "  intercambio", facts.exchange.clone()),
                ("  asked by", "  consultado por", facts.consumer.clone()),
                ("  service", "  servicio", format!("{} {}", facts.service, facts.method)),
                ("  purpose", "  finalidad", facts.purpose.clone()),
                ("  asked at", "  consultado el", at(facts.asked_at)),
                ("  arrived at", "  llegado el", at(facts.arrived_at)),
                ("  grant", "  autorización", or_none(&facts.grant)),
                ("  answered at", "  respondido el", at(facts.answered_at)),
                ("  outcome", "  resultado", or_none(&facts.outcome)),
            ],
        );
    }
    let [holds, time] = language.of_both(["se sostiene", "hora"], ["holds", "time"]);
    report.holds.iter().for_each(|what| output::line(&format!("  {holds}: {what}")));
    let asserted = language.of_both("afirmada, no probada", Report::TIME);
    output::line(&format!("  {time}: {asserted}"));
}

fn to_json(file: &Path, report: &Report) -> serde_json::Value {
    let facts = report.facts.as_ref().map(|facts| {
        json!({
            "exchange": facts.exchange, "consumer": facts.consumer, "service": facts.service, "method": facts.method,
            "purpose": facts.purpose, "asked_at_ms": facts.asked_at.map(Timestamp::as_ms),
            "arrived_at_ms": facts.arrived_at.map(Timestamp::as_ms), "grant": facts.grant,
            "answered_at_ms": facts.answered_at.map(Timestamp::as_ms), "outcome": facts.outcome,
        })
    });
    let failures: Vec<_> =
        report.failures.iter().map(|it| json!({ "file": it.file, "what": it.what })).collect();
    json!({
        "file": file.display().to_string(), "outcome": report.outcome.to_string(), "time": Report::TIME, "facts": facts,
        "holds": report.holds, "failures": failures, "missing": report.missing,
    })
}

/// Files as they are; of a folder its .tar files, sorted.
fn expand(paths: &[PathBuf], language: Language) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let listed = fs::read_dir(path).map_err(CliError::file(path))?;
        let mut found: Vec<_> = listed.filter_map(|entry| Some(entry.ok()?.path())).collect();
        found.retain(|file| file.extension().is_some_and(|extension| extension == "tar"));
        found.sort();
        if found.is_empty() {
            let nothing = language.of_both("no tiene ningún archivo de evidencia", "holds no evidence file");
            return Err(CliError::Usage(format!("{} {nothing} (.tar)", path.display())));
        }
        files.extend(found);
    }
    Ok(files)
}

/// Where the newest exchange is looked for, from the end of the ledger.
const ENTRIES_LOOKED_AT: u32 = 100;
