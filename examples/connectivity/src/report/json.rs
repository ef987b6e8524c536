//! `roadmap.json`: every figure with the exchanges that it came from, for programs and for the pages.

use serde_json::{Map, Value, json};

use super::Plan;
use super::finding::{no_health_facility, weights_without_effect};
use super::html;
use super::language::Language;
use super::limits::LIMITS;
use super::origin::programmes;
use super::planned::{ByPlace, Planned, Years};
use super::provenance::Provenance;
use super::table::COLUMNS;
use crate::equity::Equity;
use crate::figure::{Figure, Share};
use crate::gap::{Gap, GapAnalysis};
use crate::indicators::IndicatorLine;
use crate::priority::Selection;
use crate::roadmap::{Change, Quarter, Reach, Roadmap, Scenario, Year};
use crate::settings::{CostBasis, Settings};
use crate::wire::conatel::{Indicator, Programme};

pub(super) fn roadmap(plan: &Plan<'_>, provenance: &mut Provenance) -> String {
    let mut out = Writer { provenance, settings: plan.settings };
    let gap = out.analysis(&plan.analysis);
    let selection = out.selection(&Selection::of(&plan.analysis));
    let (sites, maps) = (out.sites(plan), out.maps(plan));
    let (roadmap, findings) = match &plan.roadmap {
        Ok(roadmap) => (out.roadmap(roadmap, &plan.analysis), out.findings(plan, roadmap)),
        Err(reason) => (json!({ "none": reason.to_string() }), json!([])),
    };
    let indicators: Vec<_> = plan.indicators.iter().map(|line| out.indicator(line)).collect();
    let programmes: Vec<_> = programmes(plan).into_iter().map(|it| out.programme(it)).collect();
    let file = json!({
        "format": 1,
        "settings": plan.settings,
        "programmes": programmes,
        "limits": LIMITS.map(|limit| json!({ "es": limit.es, "en": limit.en })),
        "exchanges": exchanges(plan),
        "missing": missing(plan),
        "rejected": rejected(plan),
        "gap": gap,
        "sites": sites,
        "maps": maps,
        "selection": selection,
        "roadmap": roadmap,
        "findings": findings,
        "indicators": indicators,
        "provenance": out.provenance.index(&plan.findings.exchanges),
    });
    format!("{file:#}\n")
}

/// What the unit cost is that the years are filled with.
fn basis(basis: CostBasis) -> &'static str {
    match basis {
        CostBasis::Low => "low",
        CostBasis::Middle => "midpoint of low and high: a choice, no published cost",
        CostBasis::High => "high",
    }
}

fn exchanges(plan: &Plan<'_>) -> Value {
    let source = |it: &crate::planner::Source| {
        json!({
            "exchange": it.exchange, "service": it.service, "method": it.method, "rows": it.rows,
            "of_earlier_run": it.earlier.map(|at| at.to_string()),
        })
    };
    plan.findings.exchanges.iter().map(source).collect()
}

fn missing(plan: &Plan<'_>) -> Value {
    let missing = |it: &crate::planner::Missing| {
        json!({
            "service": it.service, "method": it.method, "rows_before": it.rows,
            "code": format!("{:?}", it.status.code()), "reason": it.status.message(),
            "since": it.since.map(|at| at.to_string()), "older_rows": it.older_rows,
        })
    };
    plan.findings.missing.iter().map(missing).collect()
}

fn rejected(plan: &Plan<'_>) -> Value {
    let id = |at: usize| plan.findings.exchanges.get(at).map(|source| source.exchange.as_str());
    let rejected = |it: &crate::receive::Rejected| {
        json!({
            "exchange": id(it.exchange), "kind": it.kind, "code": it.code,
            "wrong": it.wrong.code(), "text": it.wrong.to_string(),
        })
    };
    plan.findings.accepted.rejected.iter().map(rejected).collect()
}

type OfReach = fn(&Reach) -> u64;

struct Writer<'a> {
    provenance: &'a mut Provenance,
    settings: &'a Settings,
}

impl Writer<'_> {
    fn number(&mut self, figure: &Figure<u64>) -> Value {
        self.provenance.write(figure, |number| json!(number))
    }

    fn share(&mut self, figure: &Figure<Share>) -> Value {
        let share =
            |it: &Share| json!({ "part": it.part, "whole": it.whole, "per_thousand": it.per_thousand() });
        self.provenance.write(figure, share)
    }

    fn known(&mut self, figure: &Figure<Option<u64>>) -> Value {
        self.provenance.write(figure, |number| json!(number))
    }

    fn analysis(&mut self, analysis: &GapAnalysis) -> Value {
        let mut districts = Map::new();
        for (code, line) in &analysis.districts {
            let district = line.district.value();
            let density = self.provenance.write(&line.density_tenths, |density| json!(density));
            let written = json!({
                "name": district.name, "department": district.department_code, "boundary_group": district.boundary_group,
                "density_per_10_km2": density, "figures": self.gap(&line.gap),
            });
            districts.insert(code.clone(), written);
        }
        let mut departments = Map::new();
        for (code, line) in &analysis.departments {
            let written = json!({ "name": line.department.value().name, "figures": self.gap(&line.gap) });
            departments.insert(code.clone(), written);
        }
        json!({
            "country": self.gap(&analysis.total),
            "without_district": self.gap(&analysis.without_district),
            "departments": departments,
            "districts": districts,
        })
    }

    fn gap(&mut self, gap: &Gap) -> Value {
        let mut figures = Map::new();
        for column in &COLUMNS {
            figures.insert(column.name.to_owned(), self.known(&(column.of)(gap)));
        }
        figures.into()
    }

    /// What the maps of sites show, and what they cannot.
    fn sites(&mut self, plan: &Plan<'_>) -> Value {
        let mut sites = Map::new();
        for sort in html::sorts(plan) {
            let [listed, shown, lost] = sort.figures.each_ref().map(|figure| self.known(figure));
            let written = json!({ "listed": listed, "on_the_map": shown, "without_coordinates": lost });
            sites.insert(sort.name.to_owned(), written);
        }
        sites.into()
    }

    /// What the legends of the maps of districts say: how many districts of 2012 are in each class.
    fn maps(&mut self, plan: &Plan<'_>) -> Value {
        let mut maps = Map::new();
        for legend in html::legends(plan) {
            let classes =
                legend.classes.iter().map(|(class, count)| ((*class).to_owned(), self.number(count)));
            let classes: Map<String, Value> = classes.collect();
            let map = maps.entry(legend.map).or_insert_with(|| json!({ "departments": {} }));
            match legend.department {
                Some(code) => map["departments"][code] = classes.into(),
                None => map["country"] = classes.into(),
            }
        }
        maps.into()
    }

    fn selection(&mut self, selection: &Selection) -> Value {
        let mut registers = Map::new();
        for (name, register) in [("schools", &selection.schools), ("health_facilities", &selection.health)] {
            let left_out = register.left_out.iter();
            let left_out = left_out.map(|(reason, count)| (reason.name().to_owned(), self.known(count)));
            let left_out: Map<String, Value> = left_out.collect();
            let (listed, candidates) = (self.known(&register.listed), self.known(&register.candidates));
            let written = json!({ "listed": listed, "left_out": left_out, "candidates": candidates });
            registers.insert(name.to_owned(), written);
        }
        registers.into()
    }

    fn findings(&mut self, plan: &Plan<'_>, roadmap: &Roadmap) -> Value {
        let all = [no_health_facility(plan, roadmap), weights_without_effect(plan, roadmap)];
        let finding = |it: super::finding::Finding| {
            let said = |language| move |sentence: &super::summary::Sentence| sentence.said(language);
            let (es, en) = (said(Language::Spanish), said(Language::English));
            let words =
                self.provenance.write(&it.sentence, |words| json!({ "es": es(words), "en": en(words) }));
            json!({ "name": it.name, "finding": words })
        };
        all.into_iter().flatten().map(finding).collect()
    }

    fn roadmap(&mut self, roadmap: &Roadmap, analysis: &GapAnalysis) -> Value {
        let count = roadmap.candidates.map(|all| all.len() as u64);
        let cost = json!({
            "low": self.number(&roadmap.cost.low),
            "low_programme": self.settings.cost.low,
            "high": self.number(&roadmap.cost.high),
            "high_programme": self.settings.cost.high,
            "planned_at_is": basis(self.settings.cost.planned_at),
            "planned_at": self.number(&roadmap.cost.at(self.settings.cost.planned_at)),
        });
        let planned = Planned::of(roadmap);
        let scenarios = roadmap.scenarios.iter().zip(planned.scenarios());
        let scenarios: Vec<_> =
            scenarios.map(|(it, by_place)| self.scenario(it, roadmap, (by_place, analysis))).collect();
        let by_district: Map<String, Value> = analysis
            .districts
            .keys()
            .map(|code| (code.clone(), self.number(&planned.candidates(&[code]))))
            .collect();
        let sensitivity: Vec<_> = roadmap.sensitivity.iter().map(|it| self.change(it)).collect();
        json!({
            "unit_cost_pyg": cost,
            "candidates": self.number(&count),
            "candidates_by_district": by_district,
            "need": self.reach(&roadmap.need),
            "scenarios": scenarios,
            "sensitivity": sensitivity,
        })
    }

    fn scenario(
        &mut self,
        scenario: &Scenario,
        roadmap: &Roadmap,
        (by_place, analysis): (&ByPlace, &GapAnalysis),
    ) -> Value {
        let years: Vec<_> = scenario.years.iter().map(|year| self.year(year)).collect();
        let connected = scenario.all_years();
        let left =
            roadmap.need.with(&connected, |need, connected| need.sites().saturating_sub(connected.sites()));
        let share = roadmap
            .need
            .with(&connected, |need, connected| Share { part: connected.sites(), whole: need.sites() });
        let mut sites_if = Map::new();
        for (basis, sites) in &scenario.sites_if {
            sites_if.insert(format!("{basis:?}").to_lowercase(), self.number(sites));
        }
        json!({
            "name": scenario.name,
            "budget_pyg_per_year": self.number(&scenario.budget),
            "optimality_gap_per_million_at_most": self.number(&scenario.gap_per_million),
            "years": years,
            "all_years": self.reach(&connected),
            "sites": self.number(&connected.map(Reach::sites)),
            "sites_of_the_candidates": self.share(&share),
            "sites_left": self.number(&left),
            "sites_if_unit_cost": sites_if,
            "departments": self.planned_departments(scenario, by_place, analysis),
            "districts": self.planned_districts(by_place, analysis),
        })
    }

    /// Sites of each department by year.
    fn planned_departments(
        &mut self,
        scenario: &Scenario,
        by_place: &ByPlace,
        analysis: &GapAnalysis,
    ) -> Value {
        let mut departments = Map::new();
        for code in analysis.departments.keys() {
            let planned = by_place.years(&analysis.districts_of(code));
            let mut years = Map::new();
            for Year { year, .. } in &scenario.years {
                let sites = planned.map(|years| years.get(year).copied().unwrap_or_default());
                years.insert(year.to_string(), self.number(&sites));
            }
            let sites = self.number(&planned.map(|years| years.values().sum()));
            departments.insert(code.clone(), json!({ "sites": sites, "years": years }));
        }
        departments.into()
    }

    /// Sites of each district, and from which year to which.
    fn planned_districts(&mut self, by_place: &ByPlace, analysis: &GapAnalysis) -> Value {
        let mut districts = Map::new();
        for code in analysis.districts.keys() {
            let years = by_place.years(&[code]);
            let end =
                |of: fn(&Years) -> Option<&u16>| years.map(|years| of(years).map(|year| u64::from(*year)));
            let (first, last) = (end(|it| it.keys().next()), end(|it| it.keys().next_back()));
            let written = json!({
                "sites": self.number(&years.map(|years| years.values().sum())),
                "first_year": self.known(&first), "last_year": self.known(&last),
            });
            districts.insert(code.clone(), written);
        }
        districts.into()
    }

    fn year(&mut self, year: &Year) -> Value {
        let mut money_if = Map::new();
        for (basis, money) in &year.money_if {
            money_if.insert(format!("{basis:?}").to_lowercase(), self.number(money));
        }
        let equity: Vec<_> = Equity::of(year).iter().map(|it| self.equity(it, year.year)).collect();
        json!({
            "year": year.year, "reach": self.reach(&year.reach), "remaining_before": self.reach(&year.remaining),
            "money_pyg_if_unit_cost": money_if, "equity": equity,
        })
    }

    fn equity(&mut self, equity: &Equity, year: u16) -> Value {
        let standing = equity.standing(&self.settings.equity);
        let finding = self.provenance.write(
            &standing,
            |it| json!({ "es": it.en_palabras(equity.group, year), "en": it.in_words(equity.group, year) }),
        );
        json!({
            "group": equity.group.name(),
            "money": self.share(&equity.money),
            "money_need": self.share(&equity.money_need),
            "beneficiaries": self.share(&equity.beneficiaries),
            "beneficiaries_need": self.share(&equity.beneficiaries_need),
            "finding": finding,
        })
    }

    fn reach(&mut self, reach: &Figure<Reach>) -> Value {
        let fields: [(&str, OfReach); 22] = [
            ("sites", Reach::sites),
            ("schools", |it| it.schools),
            ("health_facilities", |it| it.health),
            ("rural_sites", |it| it.rural_sites),
            ("remote_sites", |it| it.remote_sites),
            ("boys", |it| it.boys),
            ("girls", |it| it.girls),
            ("rural_pupils", |it| it.rural_pupils),
            ("remote_pupils", |it| it.remote_pupils),
            ("zone_known_pupils", |it| it.zone_known_pupils),
            ("remoteness_known_pupils", |it| it.remoteness_known_pupils),
            ("men_upper_bound", |it| it.men),
            ("women_upper_bound", |it| it.women),
            ("money_pyg", |it| it.money),
            ("money_rural_pyg", |it| it.money_rural),
            ("money_remote_pyg", |it| it.money_remote),
            ("money_zone_known_pyg", |it| it.money_zone_known),
            ("money_remoteness_known_pyg", |it| it.money_remoteness_known),
            ("money_schools_pyg", |it| it.money_schools),
            ("money_health_pyg", |it| it.money_health),
            ("money_girls_pyg", |it| it.money_girls),
            ("money_women_pyg", |it| it.money_women),
        ];
        let mut written = Map::new();
        for (name, of) in fields {
            written.insert(name.to_owned(), self.number(&reach.map(of)));
        }
        written.into()
    }

    fn change(&mut self, change: &Change) -> Value {
        let moves = self.provenance.write(&change.moves, |moves| {
            let each = |it: &crate::roadmap::Move| {
                json!({ "district": it.district, "sites_before": it.sites_before, "sites_after": it.sites_after })
            };
            moves.iter().map(each).collect()
        });
        let quarter = match change.quarter {
            Quarter::Less => "a quarter less",
            Quarter::More => "a quarter more",
        };
        json!({
            "weight": change.weight, "change": quarter, "districts": self.number(&change.districts()),
            "sites": self.number(&change.sites()), "districts_that_move": moves,
        })
    }

    /// A programme that costs or budgets are made from, with its source.
    fn programme(&mut self, figure: &Figure<Programme>) -> Value {
        let programme = figure.value();
        let money = programme.amount.as_ref();
        let units = figure.map(|_| money.and_then(|it| u64::try_from(it.units).ok()));
        let amount = self.provenance.write(&units, |units| json!(units));
        let places = figure.map(|it| it.beneficiaries);
        json!({
            "programme": programme.programme_id, "name": programme.name, "lead": programme.lead, "year": programme.year,
            "currency": money.map(|it| &it.currency_code), "amount": amount,
            "amount_pyg": crate::money::amount(figure, self.settings).ok().map(|it| self.number(&it)),
            "pyg_per_usd_assumed": self.settings.exchange_rate.pyg_per_usd,
            "places": self.provenance.write(&places, |places| json!(places)), "place": programme.beneficiary_type,
            "source": programme.source, "source_url": programme.source_url,
        })
    }

    fn indicator(&mut self, line: &IndicatorLine) -> Value {
        let mut published = |of: &Option<Figure<Indicator>>| {
            let figure = of.as_ref()?;
            Some(self.provenance.write(figure, |it| {
                json!({
                    "thousandths": it.value_thousandths, "unit": it.unit, "year": it.year, "publisher": it.publisher,
                    "source": it.source, "source_url": it.source_url, "precision": it.precision().as_str_name(),
                })
            }))
        };
        let (baseline, target) = (published(&line.baseline), published(&line.target));
        json!({
            "name": line.rule.name, "nombre": line.rule.nombre, "note": line.rule.note,
            "baseline": baseline, "target": target,
        })
    }
}
