//! Sites one by one, with what follows for each: `sites.csv` has all, `sites.geojson` those that have a place on a map.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Plan;
use super::csv::quoted;
use super::geojson::{collection, degrees};
use super::planned::years_by_site;
use super::provenance::Provenance;
use crate::figure::Exchanges;
use crate::settings::Settings;
use crate::site::{Kind, Known, Placed, Zone};

/// A line for each site. Numbers of sets are those of `roadmap.json`.
pub(super) fn csv(plan: &Plan<'_>, provenance: &mut Provenance) -> String {
    let columns: Vec<String> = columns(plan.settings).into_iter().map(|(name, _)| name).collect();
    let mut text = format!("{},row_from,from\n", columns.join(","));
    let lines = Lines::of(plan);
    for placed in plan.analysis.sites.iter() {
        let properties = lines.properties(placed);
        let cells = columns.iter().map(|column| match properties.get(column) {
            Some(Value::String(text)) => quoted(text),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        });
        let row = provenance.number(placed.site.exchanges().all());
        let line = provenance.number(placed.exchanges().and(&lines.planned).all());
        text.push_str(&cells.chain([row, line].map(|set| set.to_string())).collect::<Vec<_>>().join(","));
        text.push('\n');
    }
    text
}

/// A feature for each site with coordinates.
pub(super) fn geojson(plan: &Plan<'_>) -> String {
    let lines = Lines::of(plan);
    let feature = |placed: &Placed| {
        let point = placed.site.value().point?;
        let coordinates = [degrees(point.longitude_e5), degrees(point.latitude_e5)];
        let mut properties = lines.properties(placed);
        IN_GEOMETRY.iter().for_each(|name| {
            properties.remove(*name);
        });
        Some(json!({
            "type": "Feature",
            "geometry": { "type": "Point", "coordinates": coordinates },
            "properties": properties,
        }))
    };
    collection(plan.analysis.sites.iter().filter_map(feature).collect())
}

/// What every column means, with the files that have it.
pub(super) fn dictionary(settings: &Settings) -> Vec<(&'static str, String, String)> {
    let file = |name: &str| if IN_GEOMETRY.contains(&name) { CSV } else { BOTH };
    let shared = columns(settings).into_iter().map(|(name, means)| (file(&name), name, means));
    let own = [
        (
            "row_from",
            "number of the set of exchanges, in `provenance` of roadmap.json, that held the site's own row",
        ),
        (
            "from",
            "number of the set of exchanges that the whole line rests on, distance, remoteness and years too",
        ),
    ];
    shared.chain(own.map(|(name, means)| (CSV, name.to_owned(), means.to_owned()))).collect()
}

/// What the lines of all sites share.
struct Lines<'a> {
    years: BTreeMap<(Kind, &'a str), Vec<Option<u16>>>,
    scenarios: &'a [crate::settings::ScenarioRule],
    /// What the years rest on.
    planned: Exchanges,
}

impl<'a> Lines<'a> {
    fn of(plan: &'a Plan<'_>) -> Self {
        let roadmap = plan.roadmap.as_ref().ok();
        let scenarios = roadmap.map(|it| it.scenarios.as_slice()).unwrap_or_default();
        let planned = scenarios.iter().fold(Exchanges::default(), |all, it| all.and(it.assigned.exchanges()));
        let years = roadmap.map(years_by_site).unwrap_or_default();
        Self { years, scenarios: &plan.settings.scenarios, planned }
    }

    fn properties(&self, placed: &Placed) -> Map<String, Value> {
        let site = placed.site.value();
        let zone = site.zone.map(|zone| if zone == Zone::Rural { "rural" } else { "urban" });
        let values = [
            json!(site.kind.name()),
            json!(site.code),
            json!(site.name),
            json!(site.district),
            json!(zone),
            json!(site.point.map(|it| degrees(it.latitude_e5))),
            json!(site.point.map(|it| degrees(it.longitude_e5))),
            json!(known(*placed.remote.value())),
            json!(*placed.metres.value()),
            json!(site.pupils.map(|pupils| pupils.boys)),
            json!(site.pupils.map(|pupils| pupils.girls)),
            json!(site.standing.name()),
        ];
        let mut properties: Map<String, Value> =
            SITE.iter().zip(values).map(|((name, _), value)| ((*name).to_owned(), value)).collect();
        let years = self.years.get(&(site.kind, site.code.as_str()));
        for (at, rule) in self.scenarios.iter().enumerate() {
            let year = years.and_then(|years| years.get(at).copied().flatten());
            properties.insert(year_column(&rule.name), json!(year));
        }
        properties
    }
}

fn columns(settings: &Settings) -> Vec<(String, String)> {
    let site = SITE.iter().map(|(name, means)| ((*name).to_owned(), (*means).to_owned()));
    let years = settings.scenarios.iter().map(|rule| {
        let means = format!("in which it is connected with the {} budget; empty or null: in none", rule.name);
        (year_column(&rule.name), means)
    });
    site.chain(years).collect()
}

fn year_column(scenario: &str) -> String {
    format!("year_{scenario}")
}

pub(super) fn known(of: Known) -> &'static str {
    match of {
        Known::Yes => "yes",
        Known::No => "no",
        Known::Unknown => "unknown",
    }
}

const BOTH: &str = "sites.csv, sites.geojson";
const CSV: &str = "sites.csv";
/// Columns that a feature has as its geometry.
const IN_GEOMETRY: [&str; 2] = ["latitude", "longitude"];
const SITE: [(&str, &str); 12] = [
    ("kind", "school, hospital or social_security"),
    ("code", "MEC's or MSPBS's"),
    ("name", "by MEC or MSPBS; empty if it has none"),
    ("district_code", "INE's key of 4 digits; empty or null: in no district of today"),
    ("zone", "urban or rural by MEC; empty or null: not classed, or no school"),
    ("latitude", "degrees, WGS 84; empty: not known, and then the site is in no geojson"),
    ("longitude", "degrees, WGS 84; empty: not known, and then the site is in no geojson"),
    ("remote", "by the rule: yes, no, unknown"),
    (
        "metres_to_capital",
        "straight line to the median of the schools in the department's capital, to the nearest metre; empty or null: unknown",
    ),
    ("boys", "of grades 1 to 9, 2023; empty or null: unknown, or no school"),
    ("girls", "of grades 1 to 9, 2023; empty or null: unknown, or no school"),
    (
        "standing",
        "candidate, or the first reason why it is left out of the plan: no_pupils (MEC has none of grades 1 to 9, or no number), \
         unknown_sector (MEC does not say who runs it), other_sector, other_institution",
    ),
];
