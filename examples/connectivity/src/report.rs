//! What the planner found, as files. The same findings and settings always give the same bytes.

mod csv;
mod geojson;
mod html;
mod json;
mod limits;
mod provenance;
mod summary;
mod table;

use crate::gap::GapAnalysis;
use crate::indicators::{IndicatorLine, indicators};
use crate::money::NoMoney;
use crate::planner::Findings;
use crate::roadmap::Roadmap;
use crate::settings::Settings;

pub use provenance::{Cited, Fallen, NotARoadmap, cited, fallen, figures};
pub use summary::{Language, summary};

/// Everything that is computed from what was received.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What was received.
    pub findings: &'a Findings,
    /// What the planner decided by.
    pub settings: &'a Settings,
    /// Where is what.
    pub analysis: GapAnalysis,
    /// When it is connected, or why that cannot be said.
    pub roadmap: Result<Roadmap, NoMoney>,
    /// National figures.
    pub indicators: Vec<IndicatorLine>,
}

/// A file of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in the report's folder.
    pub name: &'static str,
    /// What is in it.
    pub text: String,
}

impl<'a> Plan<'a> {
    /// Computes everything.
    #[must_use]
    pub fn of(findings: &'a Findings, settings: &'a Settings) -> Self {
        let rows = &findings.accepted;
        let analysis = GapAnalysis::of(rows, settings);
        let roadmap = Roadmap::of(rows, &analysis, settings);
        Self { findings, settings, analysis, roadmap, indicators: indicators(rows, settings) }
    }

    /// All files.
    #[must_use]
    pub fn files(&self) -> Vec<File> {
        let file = |name, text| File { name, text };
        vec![
            file(PAGE, html::page(self)),
            file(ROADMAP, json::roadmap(self)),
            file("districts.csv", csv::districts(self)),
            file("departments.csv", csv::departments(self)),
            file("plan.csv", csv::plan(self)),
            file("districts.geojson", geojson::districts(self)),
            file("sites.geojson", geojson::sites(self)),
            file("dictionary.csv", csv::dictionary()),
        ]
    }
}

/// Name of the file that holds every figure with its exchanges.
pub const ROADMAP: &str = "roadmap.json";
/// Name of the page for people.
pub const PAGE: &str = "index.html";
