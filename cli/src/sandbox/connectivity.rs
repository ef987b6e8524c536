//! The scenario: MITIC's planner asks five agencies over the road, writes its report, and proves every exchange.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use peabiru_example_connectivity::earlier::Earlier;
use peabiru_example_connectivity::planner::{Findings, Planner};
use peabiru_example_connectivity::report::{self, Plan, Sealed, Seals};
use peabiru_example_connectivity::settings::Settings;
use peabiru_ledger::evidence::{self as proof, Facts, Outcome};
use peabiru_proto::context::TOKEN;
use peabiru_proto::language::Language;
use peabiru_proto::wire::{GetStatusRequest, NodeCounters};
use tonic::transport::Endpoint;

use super::country::Country;
use super::folder::REPORT;
use super::reopen::Meanwhile;
use super::update::LastRun;
use crate::error::Whom;
use crate::output::line;
use crate::{CliError, client, evidence};

/// Everything from an empty folder to the summary; or from the last run to what changed since.
pub(super) async fn run(
    folder: &Path,
    meanwhile: Option<&Meanwhile>,
    language: Language,
) -> Result<(), CliError> {
    let started = Instant::now();
    let last = meanwhile.map(|_| LastRun::read(folder)).transpose()?;
    let country = match meanwhile {
        Some(meanwhile) => Country::reopen(folder, meanwhile, language).await?,
        None => Country::start(folder, language).await?,
    };
    let before = counters(&country).await?;
    line(language.of_both(
        "\nEl planificador del MITIC consulta a INE, MEC, MSPBS, CONATEL y MITIC, solo por el camino",
        "\nMITIC's planner asks INE, MEC, MSPBS, CONATEL and MITIC, over the road only",
    ));
    let asking = Instant::now();
    let earlier = last.as_ref().map(|last| last.earlier.clone()).unwrap_or_default();
    let findings = ask(&country, earlier, language).await?;
    let asked = asking.elapsed();
    let after = counters(&country).await?;
    last.as_ref().map(LastRun::set_aside).transpose()?;
    let settings = Settings::shipped();
    let plan = Plan::of(&findings, &settings);
    line(language.of_both(
        "\nEvidencia de cada intercambio: exportada del nodo del MITIC, verificada solo con el ancla de configuración",
        "\nEvidence of every exchange: exported from MITIC's node, verified with the configuration anchor alone",
    ));
    let seals = export_evidence(folder, &country, &findings, last.as_ref(), language).await?;
    write_report(folder, &plan, &seals)?;
    let exchanges = findings.exchanges.len() as u64;
    let per_exchange = |of: fn(&NodeCounters) -> u64| ratio(of(&after) - of(&before), exchanges, language);
    let took = Took {
        exchanges,
        rows: findings.exchanges.iter().map(|source| source.rows as u64).sum(),
        asked,
        verified: seals.len() as u64,
        entries: per_exchange(|counters| counters.entries),
        syncs: per_exchange(|counters| counters.syncs),
        signatures: per_exchange(|counters| counters.signatures),
        everything: started.elapsed(),
    };
    line(&took.said(language));
    line(&format!("\n  {}", report::summary(&plan, language).join("\n  ")));
    line(&leads(folder, &country.instance.anchor_file, language)?);
    last.map(|last| last.compare(&findings, language)).transpose()?;
    country.stop().await;
    Ok(())
}

/// What a run took.
struct Took {
    exchanges: u64,
    rows: u64,
    asked: Duration,
    verified: u64,
    entries: String,
    syncs: String,
    signatures: String,
    everything: Duration,
}

impl Took {
    fn said(&self, language: Language) -> String {
        let Self { exchanges, verified, entries, syncs, signatures, .. } = self;
        let rows = language.number(self.rows);
        let [asked, everything] = [self.asked, self.everything].map(|time| {
            let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            language.tenths(ms.saturating_add(50) / 100)
        });
        language.of_both(
            format!(
                "
  intercambios          {exchanges} en {asked} s, {rows} filas
  sellados, verificados {verified} de {exchanges}: las dos cabezas, los dos acuses, los dos contenidos
  por intercambio       {entries} asientos, {syncs} sincronizaciones, {signatures} firmas, entre todos los nodos
  todo                  {everything} s"
            ),
            format!(
                "
  exchanges             {exchanges} in {asked} s, {rows} rows
  sealed and verified   {verified} of {exchanges}, both heads, both receipts, both payloads
  per exchange          {entries} entries, {syncs} syncs, {signatures} signatures, over all nodes
  everything            {everything} s"
            ),
        )
    }
}

/// Where everything is, and what to do with it.
fn leads(folder: &Path, anchor: &Path, language: Language) -> Result<String, CliError> {
    let program = super::process::own_program()?;
    let files = folder.join(REPORT);
    let (evidence, roadmap) = (Country::evidence_folder(folder), files.join(report::ROADMAP));
    let [page, figures, tables, proof, next] = language.of_both(
        [
            "la página            ",
            "cada cifra           ",
            "tablas y mapas       ",
            "evidencia            ",
            "Para seguir:",
        ],
        [
            "the page             ",
            "every figure         ",
            "tables and maps      ",
            "evidence             ",
            "Try next:",
        ],
    );
    let program = program.display();
    let (files, page_file) = (files.display(), files.join(report::PAGE));
    let (page_file, roadmap, evidence, anchor) =
        (page_file.display(), roadmap.display(), evidence.display(), anchor.display());
    Ok(format!(
        "
  {page} {page_file}
  {figures} {roadmap}
  {tables} {files}
  {proof} {evidence}

{next}
  {program} evidence verify {evidence} --trust {anchor} --figures {roadmap}
  {program} sandbox up"
    ))
}

async fn ask(country: &Country, earlier: Earlier, language: Language) -> Result<Findings, CliError> {
    let door = format!("http://{}", country.door);
    let unreachable =
        |error: tonic::transport::Error| CliError::unreachable(Whom::Door(door.clone()), &error);
    let channel =
        Endpoint::from_shared(door.clone()).map_err(unreachable)?.connect().await.map_err(unreachable)?;
    let token =
        country.token.parse().map_err(|_| CliError::Scenario("the token fits no header".to_owned()))?;
    let planner = Planner::new(channel, vec![(TOKEN, token)]).with_earlier(earlier);
    let [exchanged, rows] = language.of_both(["intercambio", "filas"], ["exchange", "rows"]);
    let findings = planner.read(|source| {
        line(&format!("  {exchanged} {}  {}  {} {rows}", source.exchange, source.service, source.rows));
    });
    let findings = findings.await;
    for missing in &findings.missing {
        let fault = CliError::from(*missing.status.clone()).said(language);
        let no_answer = language.of_both("sin respuesta a", "no answer to");
        line(&format!("  {no_answer} {} {}: {fault}", missing.service, missing.method));
    }
    Ok(findings)
}

fn write_report(folder: &Path, plan: &Plan<'_>, seals: &Seals) -> Result<(), CliError> {
    let report = folder.join(REPORT);
    for file in plan.files(seals) {
        let path = report.join(file.name);
        let inside = path.parent().unwrap_or(&report);
        fs::create_dir_all(inside).map_err(CliError::file(inside))?;
        fs::write(&path, file.text).map_err(CliError::file(&path))?;
    }
    Ok(())
}

/// Gives what each file says of its exchange. All must hold.
async fn export_evidence(
    folder: &Path,
    country: &Country,
    findings: &Findings,
    last: Option<&LastRun>,
    language: Language,
) -> Result<Seals, CliError> {
    let files = Country::evidence_folder(folder);
    fs::create_dir_all(&files).map_err(CliError::file(&files))?;
    let mut node = client::node(&country.mitic()?.site.admin_socket()).await?;
    let mut seals = Seals::new();
    for source in &findings.exchanges {
        let tar = match (last, source.earlier) {
            // Who is silent now gives no half of it either: it was taken then.
            (Some(last), Some(_)) => last.evidence(source)?,
            _ => evidence::export(&mut node, &source.exchange, (0, 0)).await?.tar,
        };
        let path = files.join(format!("{}.tar", source.exchange));
        fs::write(&path, &tar).map_err(CliError::file(&path))?;
        let report = proof::verify(&tar, Some(&country.instance.anchor));
        if report.outcome != Outcome::Verified || !report.missing.is_empty() {
            let wrong = report.failures.iter().map(ToString::to_string).chain(report.missing);
            let wrong = wrong.collect::<Vec<_>>().join("; ");
            return Err(CliError::Scenario(format!("{}: {wrong}", path.display())));
        }
        seals.extend(report.facts.map(|facts| (source.exchange.clone(), sealed(facts))));
        let verified = seals.len();
        if verified.is_multiple_of(PROGRESS_EVERY) || verified == findings.exchanges.len() {
            let of = language.of_both("de", "of");
            line(&format!("  {verified} {of} {}", findings.exchanges.len()));
        }
    }
    Ok(seals)
}

/// For the pages.
fn sealed(facts: Facts) -> Sealed {
    Sealed {
        consumer: facts.consumer,
        asked_at: facts.asked_at,
        provider: facts.addressee,
        answered_at: facts.answered_at,
        grant: facts.grant,
    }
}

/// Of all nodes together.
async fn counters(country: &Country) -> Result<NodeCounters, CliError> {
    let mut sum = NodeCounters::default();
    for agency in &country.agencies {
        let mut node = client::node(&agency.site.admin_socket()).await?;
        let status = node.get_status(GetStatusRequest {}).await?.into_inner();
        let counters = status.counters.unwrap_or_default();
        sum.entries += counters.entries;
        sum.syncs += counters.syncs;
        sum.signatures += counters.signatures;
    }
    Ok(sum)
}

/// With one decimal.
fn ratio(count: u64, of: u64, language: Language) -> String {
    language.tenths((count * 10 + of / 2).checked_div(of).unwrap_or_default())
}

const PROGRESS_EVERY: usize = 10;
