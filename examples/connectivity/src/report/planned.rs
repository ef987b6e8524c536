//! The plan by place: how many sites of a district are connected in which year, in each scenario.

use std::collections::BTreeMap;

use crate::figure::Figure;
use crate::priority::Candidate;
use crate::roadmap::{Roadmap, Scenario};
use crate::site::Kind;

/// Sites by district and year, for all scenarios.
#[derive(Debug)]
pub(super) struct Planned {
    candidates: Figure<BTreeMap<String, u64>>,
    scenarios: Vec<ByPlace>,
}

/// Sites by district and year.
#[derive(Debug)]
pub(super) struct ByPlace(Figure<BTreeMap<String, Years>>);

/// Sites by year; years in which there are none are left out.
pub(super) type Years = BTreeMap<u16, u64>;

impl Planned {
    pub(super) fn of(roadmap: &Roadmap) -> Self {
        let candidates = roadmap.candidates.map(|all| {
            let mut count: BTreeMap<String, u64> = BTreeMap::new();
            all.iter().for_each(|it| *count.entry(district(it)).or_default() += 1);
            count
        });
        let scenario = |scenario: &Scenario| {
            ByPlace(roadmap.candidates.with(&scenario.assigned, |all, assigned| {
                let mut count: BTreeMap<String, Years> = BTreeMap::new();
                for (candidate, year) in all.iter().zip(assigned) {
                    if let Some(year) = year {
                        *count.entry(district(candidate)).or_default().entry(*year).or_default() += 1;
                    }
                }
                count
            }))
        };
        Self { candidates, scenarios: roadmap.scenarios.iter().map(scenario).collect() }
    }

    /// Sites that may be planned in these districts.
    pub(super) fn candidates(&self, districts: &[&str]) -> Figure<u64> {
        self.candidates.map(|all| districts.iter().filter_map(|code| all.get(*code)).sum())
    }

    /// In the order of the settings.
    pub(super) fn scenarios(&self) -> &[ByPlace] {
        &self.scenarios
    }
}

impl ByPlace {
    /// Sites of these districts.
    pub(super) fn years(&self, districts: &[&str]) -> Figure<Years> {
        self.0.map(|all| {
            let mut years = Years::new();
            for (year, sites) in districts.iter().filter_map(|code| all.get(*code)).flatten() {
                *years.entry(*year).or_default() += sites;
            }
            years
        })
    }
}

/// The year of each site that may be planned, in each scenario: none if the money does not reach.
pub(super) fn years_by_site(roadmap: &Roadmap) -> BTreeMap<(Kind, &str), Vec<Option<u16>>> {
    let mut years: BTreeMap<(Kind, &str), Vec<Option<u16>>> = BTreeMap::new();
    for scenario in &roadmap.scenarios {
        for (site, year) in roadmap.candidates.value().iter().zip(scenario.assigned.value()) {
            years.entry((site.kind, &site.code)).or_default().push(*year);
        }
    }
    years
}

fn district(candidate: &Candidate) -> String {
    candidate.district.clone().unwrap_or_default()
}
