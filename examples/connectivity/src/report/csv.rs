//! Tables for analysts. An empty cell is unknown. Each number of a place stands in `roadmap.json` too, with its exchanges; a line
//! of the plan names the set that it rests on.

use super::Plan;
use super::provenance::Provenance;
use super::sites::{self, known};
use super::table::COLUMNS;
use crate::gap::Gap;

/// A line for each district, one for sites without district, one for the country.
pub(super) fn districts(plan: &Plan<'_>) -> String {
    let mut out = Table::with(&["district_code", "department_code", "district", "density_per_10_km2"]);
    for (code, line) in &plan.analysis.districts {
        let district = line.district.value();
        let density = line.density_tenths.value().map(|density| density.to_string()).unwrap_or_default();
        out.line(&[code, &district.department_code, &district.name, &density], &line.gap);
    }
    out.line(&["", "", "(no district)", ""], &plan.analysis.without_district);
    out.line(&["", "", "(total)", ""], &plan.analysis.total);
    out.text
}

/// A line for each department.
pub(super) fn departments(plan: &Plan<'_>) -> String {
    let mut out = Table::with(&["department_code", "department"]);
    for (code, line) in &plan.analysis.departments {
        out.line(&[code, &line.department.value().name], &line.gap);
    }
    out.text
}

/// A line for each site that is planned in a scenario. Numbers of sets are those of `roadmap.json`.
pub(super) fn plan(plan: &Plan<'_>, provenance: &mut Provenance) -> String {
    let mut text = format!("{}\n", PLAN.map(|(name, _)| name).join(","));
    let Ok(roadmap) = &plan.roadmap else { return text };
    for scenario in &roadmap.scenarios {
        let lines = roadmap.candidates.with(&scenario.assigned, |_, _| ());
        let from = provenance.number(lines.exchanges().all()).to_string();
        for (site, year) in roadmap.candidates.value().iter().zip(scenario.assigned.value()) {
            let Some(year) = year else { continue };
            let score = site.score(&plan.settings.weights).to_string();
            let (boys, girls) = (site.pupils.boys.to_string(), site.pupils.girls.to_string());
            let cells = [
                &*scenario.name,
                &year.to_string(),
                site.kind.name(),
                &site.code,
                site.district.as_deref().unwrap_or_default(),
                known(site.remote),
                &boys,
                &girls,
                &score,
                &from,
            ];
            text.push_str(&cells.map(quoted).join(","));
            text.push('\n');
        }
    }
    text
}

/// What every column means.
pub(super) fn dictionary(plan: &Plan<'_>) -> String {
    let mut text = String::from("file,column,meaning\n");
    let mut line = |file: &str, name: &str, means: &str| {
        text.push_str(&[file, name, means].map(quoted).join(","));
        text.push('\n');
    };
    for (name, means) in PLAN {
        line("plan.csv", name, means);
    }
    for (name, means) in LEADS {
        line("districts.csv, districts.geojson, departments.csv", name, means);
    }
    for column in &COLUMNS {
        line("districts.csv, districts.geojson, departments.csv", column.name, column.means);
    }
    for (file, name, means) in sites::dictionary(plan.settings) {
        line(file, &name, &means);
    }
    text
}

struct Table {
    text: String,
}

impl Table {
    fn with(leads: &[&str]) -> Self {
        let names = leads.iter().copied().chain(COLUMNS.iter().map(|column| column.name));
        Self { text: format!("{}\n", names.collect::<Vec<_>>().join(",")) }
    }

    fn line(&mut self, leads: &[&str], gap: &Gap) {
        let leads = leads.iter().map(|lead| quoted(lead));
        let cells = COLUMNS.iter().map(|column| match (column.of)(gap).value() {
            Some(number) => number.to_string(),
            None => String::new(),
        });
        self.text.push_str(&leads.chain(cells).collect::<Vec<_>>().join(","));
        self.text.push('\n');
    }
}

/// RFC 4180.
pub(super) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

const LEADS: [(&str, &str); 5] = [
    ("district_code", "INE's key of 4 digits"),
    ("department_code", "INE's key of 2 digits"),
    ("district", "name by INE; (no district): sites in no district of today; (total): the country"),
    ("department", "name by INE"),
    (
        "density_per_10_km2",
        "inhabitants of the district's boundary group of 2012 for each 10 km²; empty: area not known",
    ),
];

const PLAN: [(&str, &str); 10] = [
    ("scenario", "low, middle or high yearly budget"),
    ("year", "in which the site is connected"),
    ("kind", "school, hospital or social_security"),
    ("code", "MEC's or MSPBS's"),
    ("district_code", "INE's key of 4 digits; empty: in no district of today"),
    ("remote", "by the rule: yes, no, unknown"),
    ("boys", "of grades 1 to 9, 2023; 0 at a health facility"),
    ("girls", "of grades 1 to 9, 2023; 0 at a health facility"),
    ("score", "priority: the weighted sum of the site's points"),
    (
        "from",
        "number of the set of exchanges that the line rests on, in `provenance` of roadmap.json: that of all candidates, since one \
         more could have come first",
    ),
];
