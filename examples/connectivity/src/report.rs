//! What the planner found, as files. The same findings and settings always give the same bytes.

mod csv;
mod finding;
mod geojson;
mod html;
mod json;
mod language;
mod limits;
mod origin;
mod planned;
mod provenance;
mod reason;
mod sealed;
mod sites;
mod summary;
mod table;

use crate::gap::GapAnalysis;
use crate::indicators::{IndicatorLine, indicators};
use crate::money::NoMoney;
use crate::planner::Findings;
use crate::roadmap::Roadmap;
use crate::settings::Settings;

pub use language::Language;
pub use provenance::{Cited, Fallen, NotARoadmap, cited, fallen, figures};
pub use reason::{changed, kept_out, unanswered};
pub use sealed::{Sealed, Seals};
pub use summary::summary;

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
    /// Its path in the report's folder.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl File {
    fn new(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), text }
    }
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

    /// All files. `seals` say who sealed the exchanges, and when.
    #[must_use]
    pub fn files(&self, seals: &Seals) -> Vec<File> {
        let mut provenance = provenance::Provenance::default();
        let mut files = html::pages(self, seals, &mut provenance);
        files.push(File::new("plan.csv", csv::plan(self, &mut provenance)));
        files.push(File::new("sites.csv", sites::csv(self, &mut provenance)));
        // After all that name a set of exchanges: these two list them.
        files.push(File::new(ROADMAP, json::roadmap(self, &mut provenance)));
        files.extend(html::exchanges(self, seals, &mut provenance));
        files.extend([
            File::new("districts.csv", csv::districts(self)),
            File::new("departments.csv", csv::departments(self)),
            File::new("districts.geojson", geojson::districts(self)),
            File::new("sites.geojson", sites::geojson(self)),
            File::new("dictionary.csv", csv::dictionary(self)),
        ]);
        files
    }
}

/// Name of the file that holds every figure with its exchanges.
pub const ROADMAP: &str = "roadmap.json";
/// Name of the page for people.
pub const PAGE: &str = "index.html";
