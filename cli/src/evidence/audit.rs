//! What an auditor asks of a report and its evidence: where a figure comes from, and with which keys others can check it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use peabiru_example_connectivity::report::{Cited, cited};
use peabiru_ledger::evidence::{self, Outcome, Report};
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::id::{ServiceId, SubsystemId};
use peabiru_proto::language::Language;
use peabiru_proto::time::Timestamp;
use serde_json::json;

use crate::CliError;
use crate::args::Connect;
use crate::output::{self, Format, Table};

/// The exchanges of one figure, and who sealed them.
pub(super) fn figure(
    pointer: &str,
    roadmap: &Path,
    files: &[PathBuf],
    anchor: &ConfigurationAnchor,
    connect: &Connect,
) -> Result<(), CliError> {
    let language = connect.language();
    let text = fs::read_to_string(roadmap).map_err(CliError::file(roadmap))?;
    let wrong = |error| CliError::Usage(format!("{}: {error}", roadmap.display()));
    let Cited { value, exchanges, .. } = cited(&text, pointer).map_err(wrong)?;
    let mut reports = BTreeMap::new();
    for file in files {
        let report = judged(file, anchor)?;
        if let Some(facts) = &report.facts {
            reports.insert(facts.exchange.clone(), report);
        }
    }
    let mut table = Table::new(&[
        ("exchange", "intercambio"),
        ("sealed_by", "sellado_por"),
        ("service", "servicio"),
        ("method", "método"),
        ("asked_at", "consultado_el"),
        ("answered_at", "respondido_el"),
        ("evidence", "evidencia"),
    ]);
    let mut all_hold = true;
    for exchange in exchanges {
        let report = reports.get(&exchange);
        all_hold &= report.is_some_and(holds);
        table.row(row(exchange, report, language));
    }
    match connect.output {
        Format::Table => {
            output::line(&format!("{pointer} {} {value}", language.of_both("es", "is")));
            table.print(connect);
        }
        Format::Json => {
            output::document(&json!({ "figure": pointer, "value": value, "exchanges": table.json() }));
        }
    }
    if all_hold { Ok(()) } else { Err(CliError::NotVerified) }
}

/// Keys that the anchor vouches for, in files that hold.
pub(super) fn keys(files: &[PathBuf], anchor: &ConfigurationAnchor, format: Format) -> Result<(), CliError> {
    let mut vkeys = BTreeSet::new();
    for file in files {
        let report = judged(file, anchor)?;
        if report.outcome != Outcome::Verified {
            return Err(CliError::NotVerified);
        }
        vkeys.extend(report.vkeys);
    }
    match format {
        Format::Table => vkeys.iter().for_each(|vkey| output::line(vkey)),
        Format::Json => output::document(&json!(vkeys)),
    }
    Ok(())
}

fn judged(file: &Path, anchor: &ConfigurationAnchor) -> Result<Report, CliError> {
    let tar = fs::read(file).map_err(CliError::file(file))?;
    Ok(evidence::verify(&tar, Some(anchor)))
}

fn holds(report: &Report) -> bool {
    report.outcome == Outcome::Verified && report.missing.is_empty()
}

fn row(exchange: String, report: Option<&Report>, language: Language) -> [String; 7] {
    let Some((report, facts)) = report.and_then(|report| Some((report, report.facts.as_ref()?))) else {
        let none = String::new;
        return [
            exchange,
            none(),
            none(),
            none(),
            none(),
            none(),
            language.of_both("falta", "missing").to_owned(),
        ];
    };
    let consumer = facts.consumer.parse().map(|it: SubsystemId| it.member().to_string());
    let provider = facts.service.parse().map(|it: ServiceId| it.member().to_string());
    let members = [consumer.unwrap_or_default(), provider.unwrap_or_default()].join(" ");
    let service = facts.service.rsplit('/').next().unwrap_or_default().to_owned();
    let at = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let said = if holds(report) {
        super::outcome(report.outcome, language)
    } else {
        language.of_both("no se sostiene", "does not hold").to_owned()
    };
    [exchange, members, service, facts.method.clone(), at(facts.asked_at), at(facts.answered_at), said]
}
