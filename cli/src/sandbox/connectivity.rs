//! The scenario: MITIC's planner asks five agencies over the road, writes its report, and proves every exchange.

use std::fs;
use std::path::Path;
use std::time::Instant;

use peabiru_example_connectivity::earlier::Earlier;
use peabiru_example_connectivity::planner::{Findings, Planner};
use peabiru_example_connectivity::report::{self, Language, Plan, Sealed, Seals};
use peabiru_example_connectivity::settings::Settings;
use peabiru_ledger::evidence::{self as proof, Facts, Outcome};
use peabiru_proto::context::TOKEN;
use peabiru_proto::wire::{GetStatusRequest, NodeCounters};
use tonic::transport::Endpoint;

use super::country::Country;
use super::reopen::Meanwhile;
use super::update::LastRun;
use crate::output::line;
use crate::{CliError, client, evidence};

/// Everything from an empty folder to the summary; or from the last run to what changed since.
pub(super) async fn run(folder: &Path, meanwhile: Option<&Meanwhile>) -> Result<(), CliError> {
    let started = Instant::now();
    let last = meanwhile.map(|_| LastRun::read(folder)).transpose()?;
    let country = match meanwhile {
        Some(meanwhile) => Country::reopen(folder, meanwhile).await?,
        None => Country::start(folder).await?,
    };
    let before = counters(&country).await?;
    line("\nMITIC's planner asks INE, MEC, MSPBS, CONATEL and MITIC, over the road only");
    let asking = Instant::now();
    let earlier = last.as_ref().map(|last| last.earlier.clone()).unwrap_or_default();
    let findings = ask(&country, earlier).await?;
    let asked = asking.elapsed();
    let after = counters(&country).await?;
    last.as_ref().map(LastRun::set_aside).transpose()?;
    let settings = Settings::shipped();
    let plan = Plan::of(&findings, &settings);
    line(
        "\nEvidence of every exchange: exported from MITIC's node, verified with the configuration anchor alone",
    );
    let seals = export_evidence(folder, &country, &findings, last.as_ref()).await?;
    let verified = seals.len();
    write_report(folder, &plan, &seals)?;
    let exchanges = findings.exchanges.len();
    let counted: u64 = exchanges as u64;
    let per_exchange = |of: fn(&NodeCounters) -> u64| ratio(of(&after) - of(&before), counted);
    let program = super::process::own_program()?;
    let program = program.display();
    let files = folder.join("report");
    let evidence = Country::evidence_folder(folder);
    let rows: usize = findings.exchanges.iter().map(|source| source.rows).sum();
    let lang = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(|name| std::env::var(name).ok());
    let language = Language::of(lang.as_deref().unwrap_or_default());
    let summary = report::summary(&plan, language);
    line(&format!(
        "
  exchanges             {exchanges} in {:.2} s, {rows} rows
  sealed and verified   {verified} of {exchanges}, both heads, both receipts, both payloads
  per exchange          {} entries, {} syncs, {} signatures, over all nodes
  everything            {:.1} s

  {}

  the page              {}
  every figure          {}
  tables and maps       {}
  evidence              {}

Try next:
  {program} evidence verify {} --trust {} --figures {}
  {program} sandbox up",
        asked.as_secs_f64(),
        per_exchange(|counters| counters.entries),
        per_exchange(|counters| counters.syncs),
        per_exchange(|counters| counters.signatures),
        started.elapsed().as_secs_f64(),
        summary.join("\n  "),
        files.join(report::PAGE).display(),
        files.join(report::ROADMAP).display(),
        files.display(),
        evidence.display(),
        evidence.display(),
        country.instance.anchor_file.display(),
        files.join(report::ROADMAP).display(),
    ));
    last.map(|last| last.compare(&findings, language)).transpose()?;
    country.stop().await;
    Ok(())
}

async fn ask(country: &Country, earlier: Earlier) -> Result<Findings, CliError> {
    let door = format!("http://{}", country.door);
    let unreachable = |error: tonic::transport::Error| CliError::unreachable(&format!("door {door}"), &error);
    let channel =
        Endpoint::from_shared(door.clone()).map_err(unreachable)?.connect().await.map_err(unreachable)?;
    let token =
        country.token.parse().map_err(|_| CliError::Scenario("the token fits no header".to_owned()))?;
    let planner = Planner::new(channel, vec![(TOKEN, token)]).with_earlier(earlier);
    let mut rows = 0;
    let findings = planner.read(|source| {
        rows += source.rows;
        line(&format!("  exchange {}  {}  {} rows", source.exchange, source.service, source.rows));
    });
    let findings = findings.await;
    for missing in &findings.missing {
        let fault = CliError::from(*missing.status.clone());
        line(&format!("  no answer to {} {}: {fault}", missing.service, missing.method));
    }
    Ok(findings)
}

fn write_report(folder: &Path, plan: &Plan<'_>, seals: &Seals) -> Result<(), CliError> {
    let report = folder.join("report");
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
            line(&format!("  {verified} of {}", findings.exchanges.len()));
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
fn ratio(count: u64, of: u64) -> String {
    let tenths = (count * 10 + of / 2).checked_div(of).unwrap_or_default();
    format!("{}.{}", tenths / 10, tenths % 10)
}

const PROGRESS_EVERY: usize = 10;
