//! The plan by place: how many sites of a district are connected in which year, in each scenario.

use std::collections::BTreeMap;

use crate::figure::Figure;
use crate::priority::Candidate;
use crate::roadmap::Roadmap;

/// Sites by district and year, for all scenarios.
#[derive(Debug)]
pub(super) struct Planned {
    candidates: Figure<BTreeMap<String, u64>>,
    scenarios: Vec<Figure<BTreeMap<String, BTreeMap<u16, u64>>>>,
}

impl Planned {
    pub(super) fn of(roadmap: &Roadmap) -> Self {
        let district = |it: &Candidate| it.district.clone().unwrap_or_default();
        let candidates = roadmap.candidates.map(|all| {
            let mut count: BTreeMap<String, u64> = BTreeMap::new();
            all.iter().for_each(|it| *count.entry(district(it)).or_default() += 1);
            count
        });
        let scenario = |scenario: &crate::roadmap::Scenario| {
            roadmap.candidates.with(&scenario.assigned, |all, assigned| {
                let mut count: BTreeMap<String, BTreeMap<u16, u64>> = BTreeMap::new();
                for (candidate, year) in all.iter().zip(assigned) {
                    if let Some(year) = year {
                        *count.entry(district(candidate)).or_default().entry(*year).or_default() += 1;
                    }
                }
                count
            })
        };
        Self { candidates, scenarios: roadmap.scenarios.iter().map(scenario).collect() }
    }

    /// Sites that may be planned in these districts.
    pub(super) fn candidates(&self, districts: &[&str]) -> Figure<u64> {
        self.candidates.map(|all| districts.iter().filter_map(|code| all.get(*code)).sum())
    }

    /// Sites of these districts by year; years in which there are none are left out.
    pub(super) fn years(&self, scenario: usize, districts: &[&str]) -> Figure<BTreeMap<u16, u64>> {
        let Some(all) = self.scenarios.get(scenario) else { return Figure::default() };
        all.map(|all| {
            let mut years: BTreeMap<u16, u64> = BTreeMap::new();
            for (year, sites) in districts.iter().filter_map(|code| all.get(*code)).flatten() {
                *years.entry(*year).or_default() += sites;
            }
            years
        })
    }
}
