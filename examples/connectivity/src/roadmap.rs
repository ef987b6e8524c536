//! The roadmap: scenarios side by side, year by year, and what moves when a weight changes. Pure.
//!
//! Every figure rests on all candidates: one more site anywhere could have come before.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use crate::assign::{Assignment, Item};
use crate::figure::Figure;
use crate::gap::{GapAnalysis, People};
use crate::money::{NoMoney, UnitCost, yearly_budget};
use crate::priority::{Candidate, candidates};
use crate::receive::Accepted;
use crate::settings::{CRITERIA, CostBasis, Settings, Weights};
use crate::site::{Kind, Known, Zone};

/// The plan in money and years.
#[derive(Debug, Clone, PartialEq)]
pub struct Roadmap {
    /// For one connection.
    pub cost: UnitCost,
    /// All that may be planned, by kind and code.
    pub candidates: Figure<Vec<Candidate>>,
    /// As if all were connected.
    pub need: Figure<Reach>,
    /// In the order of the settings.
    pub scenarios: Vec<Scenario>,
    /// Of the middle scenario.
    pub sensitivity: Vec<Change>,
}

/// What a budget can do.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// As in the settings.
    pub name: String,
    /// For one year, in guaraníes.
    pub budget: Figure<u64>,
    /// In order.
    pub years: Vec<Year>,
    /// Of each candidate the year; none if the money does not reach.
    pub assigned: Figure<Vec<Option<u16>>>,
    /// How far at most the best plan is above this one, per million.
    pub gap_per_million: Figure<u64>,
    /// Sites that all years could pay for if each cost the low or the high unit cost.
    pub sites_if: [(CostBasis, Figure<u64>); 2],
}

/// What is connected in a year.
#[derive(Debug, Clone, PartialEq)]
pub struct Year {
    /// As in 2024.
    pub year: u16,
    /// What was not yet connected when it began.
    pub remaining: Figure<Reach>,
    /// In it.
    pub reach: Figure<Reach>,
    /// What its sites cost at the low and at the high unit cost.
    pub money_if: [(CostBasis, Figure<u64>); 2],
}

/// Sites, beneficiaries by sex, and money in guaraníes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Reach {
    pub schools: u64,
    pub health: u64,
    pub rural_sites: u64,
    pub remote_sites: u64,
    pub boys: u64,
    pub girls: u64,
    pub rural_pupils: u64,
    pub remote_pupils: u64,
    /// At sites of which it is known whether they are rural: what a share of rural pupils is a share of.
    pub zone_known_pupils: u64,
    /// At sites of which it is known whether they are remote.
    pub remoteness_known_pupils: u64,
    /// Residents of districts whose first facility is connected: an upper bound of its users, each counted once.
    pub men: u64,
    pub women: u64,
    pub money: u64,
    pub money_schools: u64,
    pub money_health: u64,
    pub money_rural: u64,
    pub money_remote: u64,
    /// For sites of which it is known whether they are rural.
    pub money_zone_known: u64,
    /// For sites of which it is known whether they are remote.
    pub money_remoteness_known: u64,
    /// A school's cost, by the share of girls among its pupils.
    pub money_girls: u64,
    /// A facility's cost, by the share of women in its district.
    pub money_women: u64,
}

/// What moves when one weight is changed by a quarter.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which weight.
    pub weight: &'static str,
    /// Up or down.
    pub quarter: Quarter,
    /// Districts with another number of sites in the plan, by INE's key.
    pub moves: Figure<Vec<Move>>,
}

/// A quarter less or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Quarter {
    Less,
    More,
}

/// A district with another number of sites.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Move {
    pub district: String,
    pub sites_before: u64,
    pub sites_after: u64,
}

impl Roadmap {
    /// Plans every scenario of the settings.
    ///
    /// # Errors
    /// Which programme is missing, or says too little: then there is no plan in money.
    pub fn of(rows: &Accepted, analysis: &GapAnalysis, settings: &Settings) -> Result<Self, NoMoney> {
        let cost = UnitCost::of(rows, settings)?;
        let people: BTreeMap<&str, &Figure<People>> =
            analysis.districts.iter().map(|(code, line)| (code.as_str(), &line.gap.people)).collect();
        let all = people
            .values()
            .fold(candidates(analysis, settings), |all, people| all.with(people, |all, _| all.clone()));
        let planning = Planning { all, people, price: cost.at(settings.cost.planned_at), settings };
        let need = planning.reach(&planning.all.map(|all| all.iter().map(|_| Some(0)).collect()), 0);
        let scenarios = settings.scenarios.iter().map(|rule| {
            let budget = yearly_budget(rule, rows, settings)?;
            Ok(planning.scenario(&rule.name, &budget, &cost, &need))
        });
        let scenarios: Vec<_> = scenarios.collect::<Result<_, _>>()?;
        let sensitivity =
            scenarios.get(scenarios.len() / 2).map(|middle| planning.sensitivity(&middle.budget));
        Ok(Self {
            cost,
            need,
            scenarios,
            sensitivity: sensitivity.unwrap_or_default(),
            candidates: planning.all,
        })
    }
}

/// What all scenarios share.
struct Planning<'a> {
    all: Figure<Vec<Candidate>>,
    people: BTreeMap<&'a str, &'a Figure<People>>,
    price: Figure<u64>,
    settings: &'a Settings,
}

impl Planning<'_> {
    fn assign(&self, budget: &Figure<u64>, weights: &Weights) -> Figure<Assignment> {
        let years = self.settings.years.each().count();
        let money = self.price.with(budget, |price, budget| (*price, *budget));
        self.all.with(&money, |all, (cost, budget)| {
            let item = |candidate: &Candidate| Item { score: candidate.score(weights), cost: *cost };
            Assignment::greedy(&all.iter().map(item).collect::<Vec<_>>(), *budget, years)
        })
    }

    fn scenario(&self, name: &str, budget: &Figure<u64>, cost: &UnitCost, need: &Figure<Reach>) -> Scenario {
        let assignment = self.assign(budget, &self.settings.weights);
        let positions = assignment.map(|it| it.years.clone());
        let years: Vec<u16> = self.settings.years.each().collect();
        let count = years.len() as u64;
        let ends = || [(CostBasis::Low, &cost.low), (CostBasis::High, &cost.high)];
        let mut left = need.clone();
        let mut year = |(at, year): (usize, &u16)| {
            let reach = self.reach(&positions, at);
            let money = |of: &Figure<u64>| reach.with(of, |reach, cost| reach.sites() * cost);
            let money_if = ends().map(|(basis, of)| (basis, money(of)));
            let after = left.with(&reach, Reach::without);
            Year { year: *year, money_if, remaining: std::mem::replace(&mut left, after), reach }
        };
        let all = self.all.map(|all| all.len() as u64);
        let sites = |of: &Figure<u64>| {
            let paid =
                budget.with(of, |budget, cost| (budget * count).checked_div(*cost).unwrap_or_default());
            paid.with(&all, |paid, all| *paid.min(all))
        };
        Scenario {
            name: name.to_owned(),
            budget: budget.clone(),
            years: years.iter().enumerate().map(&mut year).collect(),
            assigned: positions.map(|it| it.iter().map(|at| years.get((*at)?).copied()).collect()),
            gap_per_million: assignment.map(|it| u64::try_from(it.gap_per_million()).unwrap_or(u64::MAX)),
            sites_if: ends().map(|(basis, of)| (basis, sites(of))),
        }
    }

    /// What is connected in a year, by its position.
    fn reach(&self, positions: &Figure<Vec<Option<usize>>>, year: usize) -> Figure<Reach> {
        let chosen = self.all.with(positions, |all, positions| {
            let mut served: BTreeSet<&str> = BTreeSet::new();
            let pairs = all.iter().zip(positions);
            // Who lives in a district with a facility that was connected in a year before is counted there.
            let before =
                pairs.clone().filter(|(it, at)| it.kind != Kind::School && at.is_some_and(|at| at < year));
            served.extend(before.filter_map(|(it, _)| it.district.as_deref()));
            let now = pairs.filter(|(_, at)| **at == Some(year)).map(|(it, _)| it);
            now.map(|it| {
                let is_first =
                    it.kind != Kind::School && it.district.as_deref().is_some_and(|code| served.insert(code));
                (it.clone(), if is_first { Residents::Counted } else { Residents::CountedBefore })
            })
            .collect::<Vec<_>>()
        });
        chosen.with(&self.price, |chosen, price| {
            let mut reach = Reach::default();
            for (candidate, residents) in chosen {
                let people = candidate.district.as_deref().and_then(|code| self.people.get(code));
                reach += Reach::of(
                    candidate,
                    *price,
                    people.map(|it| *it.value()).unwrap_or_default(),
                    *residents,
                );
            }
            reach
        })
    }

    fn sensitivity(&self, budget: &Figure<u64>) -> Vec<Change> {
        let sites = |weights: &Weights| {
            let assignment = self.assign(budget, weights);
            self.all.with(&assignment, |all, assignment| {
                let mut sites: BTreeMap<String, u64> = BTreeMap::new();
                for (candidate, year) in all.iter().zip(&assignment.years) {
                    if let (Some(district), Some(_)) = (&candidate.district, year) {
                        *sites.entry(district.clone()).or_default() += 1;
                    }
                }
                sites
            })
        };
        // Whole numbers: all weights times four, the changed one times three or five.
        let before = sites(&self.settings.weights.with_quarters(None));
        let names = self.settings.weights.all().map(|(name, _)| name);
        let changes = names
            .iter()
            .enumerate()
            .flat_map(|(at, name)| [Quarter::Less, Quarter::More].map(|quarter| (at, *name, quarter)));
        let change = |(at, weight, quarter)| {
            let after = sites(&self.settings.weights.with_quarters(Some((at, quarter))));
            Change { weight, quarter, moves: before.with(&after, moves) }
        };
        changes.map(change).collect()
    }
}

fn moves(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<Move> {
    let districts: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let of = |sites: &BTreeMap<String, u64>, district| sites.get(district).copied().unwrap_or_default();
    let moved = districts.into_iter().filter(|district| of(before, *district) != of(after, *district));
    moved
        .map(|district| Move {
            district: district.clone(),
            sites_before: of(before, district),
            sites_after: of(after, district),
        })
        .collect()
}

impl Weights {
    /// Times four; one of them a quarter less or more.
    fn with_quarters(&self, changed: Option<(usize, Quarter)>) -> Self {
        let times = |at: usize| match changed {
            Some((which, Quarter::Less)) if which == at => 3,
            Some((which, Quarter::More)) if which == at => 5,
            _ => 4,
        };
        let all = self.all();
        let [rural, remote, pupils, girls_women, health, unknown_data]: [u32; CRITERIA] =
            std::array::from_fn(|at| all[at].1 * times(at));
        Self { rural, remote, pupils, girls_women, health, unknown_data }
    }
}

/// Whether a facility's district is counted with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Residents {
    Counted,
    CountedBefore,
}

impl Scenario {
    /// What is connected in all its years.
    #[must_use]
    pub fn all_years(&self) -> Figure<Reach> {
        let nothing = self.budget.map(|_| Reach::default());
        self.years.iter().fold(nothing, |all, year| all + year.reach.clone())
    }
}

impl Change {
    /// How many districts get another number of sites.
    #[must_use]
    pub fn districts(&self) -> Figure<u64> {
        self.moves.map(|moves| moves.len() as u64)
    }

    /// How many sites one district gets in another's place.
    #[must_use]
    pub fn sites(&self) -> Figure<u64> {
        self.moves.map(|moves| moves.iter().map(Move::distance).sum::<u64>() / 2)
    }
}

impl Move {
    /// By how many sites.
    #[must_use]
    pub fn distance(&self) -> u64 {
        self.sites_before.abs_diff(self.sites_after)
    }
}

impl Reach {
    /// Schools and health facilities.
    #[must_use]
    pub fn sites(&self) -> u64 {
        self.schools + self.health
    }

    /// What is left of it when the other is connected.
    fn without(&self, other: &Self) -> Self {
        self.each(other, u64::saturating_sub)
    }

    /// Field by field.
    fn each(&self, other: &Self, of: fn(u64, u64) -> u64) -> Self {
        Self {
            schools: of(self.schools, other.schools),
            health: of(self.health, other.health),
            rural_sites: of(self.rural_sites, other.rural_sites),
            remote_sites: of(self.remote_sites, other.remote_sites),
            boys: of(self.boys, other.boys),
            girls: of(self.girls, other.girls),
            rural_pupils: of(self.rural_pupils, other.rural_pupils),
            remote_pupils: of(self.remote_pupils, other.remote_pupils),
            zone_known_pupils: of(self.zone_known_pupils, other.zone_known_pupils),
            remoteness_known_pupils: of(self.remoteness_known_pupils, other.remoteness_known_pupils),
            men: of(self.men, other.men),
            women: of(self.women, other.women),
            money: of(self.money, other.money),
            money_schools: of(self.money_schools, other.money_schools),
            money_health: of(self.money_health, other.money_health),
            money_rural: of(self.money_rural, other.money_rural),
            money_remote: of(self.money_remote, other.money_remote),
            money_zone_known: of(self.money_zone_known, other.money_zone_known),
            money_remoteness_known: of(self.money_remoteness_known, other.money_remoteness_known),
            money_girls: of(self.money_girls, other.money_girls),
            money_women: of(self.money_women, other.money_women),
        }
    }

    fn of(candidate: &Candidate, price: u64, people: People, residents: Residents) -> Self {
        let part = |part: u64, whole: u64| {
            let money = (u128::from(price) * u128::from(part)).checked_div(whole.into()).unwrap_or_default();
            u64::try_from(money).unwrap_or(price)
        };
        let if_so = |is: bool, number: u64| if is { number } else { 0 };
        let (boys, girls) = (u64::from(candidate.pupils.boys), u64::from(candidate.pupils.girls));
        let is_school = candidate.kind == Kind::School;
        let is_rural = candidate.zone == Some(Zone::Rural);
        let is_remote = candidate.remote == Known::Yes;
        let (is_zone_known, is_remoteness_known) =
            (candidate.zone.is_some(), candidate.remote != Known::Unknown);
        let is_counted = residents == Residents::Counted;
        Self {
            schools: is_school.into(),
            health: (!is_school).into(),
            rural_sites: is_rural.into(),
            remote_sites: is_remote.into(),
            boys,
            girls,
            rural_pupils: if_so(is_rural, boys + girls),
            remote_pupils: if_so(is_remote, boys + girls),
            zone_known_pupils: if_so(is_zone_known, boys + girls),
            remoteness_known_pupils: if_so(is_remoteness_known, boys + girls),
            men: if_so(is_counted, people.men),
            women: if_so(is_counted, people.women),
            money: price,
            money_schools: if_so(is_school, price),
            money_health: if_so(!is_school, price),
            money_rural: if_so(is_rural, price),
            money_remote: if_so(is_remote, price),
            money_zone_known: if_so(is_zone_known, price),
            money_remoteness_known: if_so(is_remoteness_known, price),
            money_girls: part(girls, boys + girls),
            money_women: if_so(!is_school, part(people.women, people.men + people.women)),
        }
    }
}

impl AddAssign for Reach {
    fn add_assign(&mut self, other: Self) {
        *self = self.each(&other, |own, others| own + others);
    }
}
