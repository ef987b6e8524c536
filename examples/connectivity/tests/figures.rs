//! What the report's figures rest on and what they count, on small made rows and on the published ones.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by failing what went wrong")]

mod agencies;

use std::collections::{BTreeMap, BTreeSet};

use agencies::ask;
use peabiru_example_connectivity::data::{self, Published};
use peabiru_example_connectivity::equity::{Equity, Group, Standing};
use peabiru_example_connectivity::figure::Figure;
use peabiru_example_connectivity::gap::GapAnalysis;
use peabiru_example_connectivity::planner::Findings;
use peabiru_example_connectivity::receive::Accepted;
use peabiru_example_connectivity::report::{Fallen, Language, Plan, Seals, cited, fallen, figures, summary};
use peabiru_example_connectivity::settings::Settings;
use peabiru_example_connectivity::wire::ine::{Department, District};
use peabiru_example_connectivity::wire::mec::School;
use peabiru_example_connectivity::wire::mspbs::Facility;
use peabiru_example_connectivity::{FACILITY_SERVICE, SCHOOL_SERVICE};
use serde_json::Value;

#[test]
fn what_nobody_answered_is_a_dash_and_no_zero() {
    let (findings, settings) = (Findings::default(), Settings::shipped());
    let files = files(&findings, &settings);
    let roadmap: Value = serde_json::from_str(&files["roadmap.json"]).unwrap();
    for (name, figure) in roadmap["gap"]["country"].as_object().unwrap() {
        assert_eq!(figure["value"], Value::Null, "{name}");
    }
    let total = files["index.html"].split("<tfoot>").nth(1).unwrap().split("</tfoot>").next().unwrap();
    assert!(total.contains("—") && !total.contains('0'), "{total}");
}

/// Two districts: schools of one on MEC's first page, none of the other on any.
#[test]
fn a_count_rests_on_all_pages_of_its_register_also_where_it_is_nothing() {
    let mut rows = Accepted::default();
    rows.page(vec![Department { code: "01".to_owned(), ..Department::default() }], DEPARTMENTS);
    let district = |code: &str| District {
        code: code.to_owned(),
        department_code: "01".to_owned(),
        ..District::default()
    };
    rows.page(vec![district("0101"), district("0102")], DISTRICTS);
    let school = |code: &str| School {
        establishment_code: code.to_owned(),
        district_code: "0101".to_owned(),
        ..School::default()
    };
    rows.page(vec![school("1"), school("2")], MEC);
    rows.page(vec![school("3")], MEC + 1);
    rows.page::<School>(Vec::new(), MEC + 2);
    rows.page::<Facility>(Vec::new(), MSPBS);
    let analysis = GapAnalysis::of(&rows, &Settings::shipped());
    let mec = [MEC, MEC + 1, MEC + 2];
    let rests = |figure: &Figure<u64>| figure.exchanges().all().iter().collect::<BTreeSet<_>>();
    let held = |figure: &Figure<u64>| figure.exchanges().rows().iter().collect::<Vec<_>>();
    for (place, sites, rows) in [("0101", 3, vec![MEC, MEC + 1]), ("0102", 0, vec![])] {
        let gap = &analysis.districts[place].gap;
        let schools = gap.schools.all.map(|it| it.sites);
        assert_eq!((*schools.value(), held(&schools)), (sites, rows), "{place}");
        assert_eq!(rests(&schools), BTreeSet::from([DISTRICTS, mec[0], mec[1], mec[2]]), "{place}");
        assert!(rests(&gap.schools.remote.map(|it| it.sites)).is_superset(&mec.into()), "{place}");
        assert_eq!(rests(&gap.hospitals), BTreeSet::from([DISTRICTS, MSPBS]), "{place}");
    }
    let total = analysis.total.schools.all.map(|it| it.sites);
    assert_eq!((*total.value(), rests(&total)), (3, BTreeSet::from([DISTRICTS, mec[0], mec[1], mec[2]])));
    assert_eq!(rests(&analysis.total.distance.map(|it| it.unknown)).len(), 5, "MSPBS's page, too");
}

#[tokio::test]
async fn every_figure_falls_with_any_page_of_its_registers_and_with_no_other() {
    let findings = found().await;
    let files = files(&findings, &Settings::shipped());
    let roadmap = &files["roadmap.json"];
    let of = |service: &str| -> Vec<String> {
        let its = findings.exchanges.iter().filter(|source| source.service == service);
        its.map(|source| source.exchange.clone()).collect()
    };
    let (mec, mspbs) = (of(SCHOOL_SERVICE), of(FACILITY_SERVICE));
    assert_eq!(mec.len(), 37);
    for (place, figure) in figures(roadmap).unwrap() {
        assert!(!figure.exchanges.is_empty(), "{place} rests on nothing");
        let rests_on = |pages: &[String]| pages.iter().filter(|page| figure.exchanges.contains(page)).count();
        assert!([0, mec.len()].contains(&rests_on(&mec)), "{place} rests on some pages of MEC");
    }
    // Alto Paraguay's schools are on the last pages: the first one counts for them, too.
    let all: BTreeSet<String> = findings.exchanges.iter().map(|source| source.exchange.clone()).collect();
    let without = |page: &String| {
        let holding = all.iter().filter(|it| *it != page).cloned().collect();
        let fallen = fallen(roadmap, &holding).unwrap();
        fallen.into_iter().map(|Fallen { figure, .. }| figure).collect::<BTreeSet<_>>()
    };
    let (girls, hospitals) = ("/gap/departments/17/figures/girls", "/gap/departments/17/figures/hospitals");
    let (people, schools) = ("/gap/country/women_2022", "/gap/country/schools");
    for (page, falls, stands) in [
        (&mec[0], [girls, schools], [hospitals, people]),
        (&mspbs[0], [hospitals, hospitals], [girls, people]),
    ] {
        let fallen = without(page);
        assert!(falls.iter().all(|it| fallen.contains(*it)), "{falls:?}");
        assert!(stands.iter().all(|it| !fallen.contains(*it)), "{stands:?}");
    }
    let girls = cited(roadmap, girls).unwrap();
    let held = girls.rows.iter().filter(|page| mec.contains(page)).count();
    assert!((1..5).contains(&held), "the rows themselves are on few pages: {held}");
}

#[tokio::test]
async fn every_linked_figure_of_the_pages_is_a_figure_of_the_roadmap() {
    let findings = found().await;
    let files = files(&findings, &Settings::shipped());
    let roadmap: Value = serde_json::from_str(&files["roadmap.json"]).unwrap();
    let mut shown = BTreeMap::new();
    walk(&roadmap, &mut shown);
    let mut links = 0;
    for (page, text) in files.iter().filter(|(name, _)| name.ends_with(".html")) {
        for link in text.split("<a class=\"f\" href=\"").skip(1) {
            let (set, rest) = link.split_once("#c").unwrap().1.split_once("\">").unwrap();
            let said = rest.split_once("</a>").unwrap().0.split(" (").next().unwrap();
            let is_number = said.chars().all(|it| it.is_ascii_digit() || ".,%\u{a0}—".contains(it));
            let of_set = shown.get(&set.parse::<u64>().unwrap());
            let is_there = of_set.is_some_and(|it| it.contains(if is_number { said } else { ANY }));
            assert!(is_there, "{page}: {said}, from {set}, is no figure of roadmap.json");
            links += 1;
        }
    }
    assert!(links > 10_000, "{links}");
}

/// How each figure can be shown, by the number of its set.
fn walk(value: &Value, shown: &mut BTreeMap<u64, BTreeSet<String>>) {
    match value {
        Value::Object(fields) => match (fields.get("from").and_then(Value::as_u64), fields.get("value")) {
            (Some(from), Some(value)) => shown.entry(from).or_default().extend(shapes(value)),
            _ => fields.values().for_each(|it| walk(it, shown)),
        },
        Value::Array(items) => items.iter().for_each(|it| walk(it, shown)),
        _ => {}
    }
}

fn shapes(value: &Value) -> Vec<String> {
    let number = value.as_u64().or_else(|| value.get("per_thousand").and_then(Value::as_u64));
    let Some(number) = number else {
        let nothing = value.is_null() || value.get("whole").and_then(Value::as_u64) == Some(0);
        return vec![if nothing { "—" } else { ANY }.to_owned()];
    };
    let grouped = |separator: &str, number: u64| {
        let digits = number.to_string();
        let groups = digits.as_bytes().rchunks(3).rev().map(|it| std::str::from_utf8(it).unwrap());
        groups.collect::<Vec<_>>().join(separator)
    };
    let mut shapes = Vec::new();
    for (separator, point, sign) in [(".", ",", "\u{a0}%"), (",", ".", "%")] {
        let tenths = format!("{}{point}{}", grouped(separator, number / 10), number % 10);
        shapes.push(grouped(separator, number));
        shapes.push(grouped(separator, (number + 500_000) / 1_000_000));
        shapes.push(format!("{tenths}{sign}"));
        shapes.push(tenths);
    }
    shapes
}

#[tokio::test]
async fn tables_of_sites_have_all_of_them_with_years_and_what_each_line_rests_on() {
    let findings = found().await;
    let files = files(&findings, &Settings::shipped());
    let roadmap: Value = serde_json::from_str(&files["roadmap.json"]).unwrap();
    let sets = roadmap["provenance"].as_array().unwrap();
    let (sites, plan) = (rows(&files["sites.csv"]), rows(&files["plan.csv"]));
    assert_eq!(sites.len(), 9_223 + 212);
    let map: Value = serde_json::from_str(&files["sites.geojson"]).unwrap();
    let on_the_map = sites.iter().filter(|site| !site["latitude"].is_empty()).count();
    assert_eq!((on_the_map, map["features"].as_array().unwrap().len()), (7_893 + 207, 7_893 + 207));
    let key = |row: &BTreeMap<String, String>| (row["kind"].clone(), row["code"].clone());
    for name in ["low", "middle", "high"] {
        let column = format!("year_{name}");
        let years = sites.iter().filter(|site| !site[&column].is_empty());
        let of_sites: BTreeSet<_> = years.map(|site| (key(site), site[&column].clone())).collect();
        let its = plan.iter().filter(|line| line["scenario"] == name);
        assert_eq!(of_sites, its.map(|line| (key(line), line["year"].clone())).collect());
        let features = map["features"].as_array().unwrap().iter().map(|it| &it["properties"]);
        let drawn = features.filter(|it| it[&column].is_u64()).count();
        let placed = sites.iter().filter(|it| !it[&column].is_empty() && !it["latitude"].is_empty());
        assert_eq!(drawn, placed.count(), "{name}");
    }
    let size = |set: &String| sets[set.parse::<usize>().unwrap()].as_array().unwrap().len();
    assert!(sites.iter().all(|site| size(&site["row_from"]) == 1 && size(&site["from"]) > 37));
    assert!(plan.iter().all(|line| size(&line["from"]) > 37), "any candidate could have come first");
    let files_columns = rows(&files["dictionary.csv"]);
    for file in ["sites.csv", "plan.csv"] {
        for column in files[file].lines().next().unwrap().split(',') {
            let means = files_columns.iter().find(|it| it["column"] == column && it["file"].contains(file));
            assert!(means.is_some(), "{file} {column}");
        }
    }
}

#[tokio::test]
async fn who_is_left_out_of_the_plan_is_counted_by_reason() {
    let findings = found().await;
    let roadmap: Value =
        serde_json::from_str(&files(&findings, &Settings::shipped())["roadmap.json"]).unwrap();
    let value = |place: &str| roadmap.pointer(place).unwrap()["value"].as_u64().unwrap();
    for (register, listed) in [("schools", 9_223), ("health_facilities", 212)] {
        let selection = &roadmap["selection"][register];
        let left_out = selection["left_out"].as_object().unwrap().values();
        let left_out: u64 = left_out.map(|it| it["value"].as_u64().unwrap()).sum();
        assert_eq!(selection["listed"]["value"], listed);
        assert_eq!(left_out + selection["candidates"]["value"].as_u64().unwrap(), listed, "{register}");
    }
    assert_eq!(value("/selection/schools/left_out/no_pupils"), 1_903);
    assert_eq!(value("/gap/country/health_remoteness_unknown"), 212, "nobody asked them for their grid");
}

#[tokio::test]
async fn the_pages_say_what_missing_data_is_and_how_numbers_are_rounded() {
    let findings = found().await;
    let settings = Settings::shipped();
    let files = files(&findings, &settings);
    let said = |file: &str, words: &str| assert!(files[file].contains(words), "{file}: {words}");
    said("index.html", "si la respuesta no se puede leer o si dice que hay electricidad y no de dónde");
    said("en.html", "if the answer cannot be read, or says that there is electricity and not from where");
    said("dictionary.csv", "by an answer that cannot be read");
    said("en.html", "to the nearest, a half up");
    assert!(!files["index.html"].contains("ninguna fila nombra ese lugar"));
    let lines = summary(&Plan::of(&findings, &settings), Language::English);
    assert!(lines[2].contains("25,000 / 35,000 / 99,809 million"), "{}", lines[2]);
}

#[tokio::test]
async fn findings_are_said_where_they_are_so_and_only_there() {
    let findings = found().await;
    let shipped = Settings::shipped();
    let names = |settings: &Settings| -> Vec<(String, String)> {
        let roadmap: Value = serde_json::from_str(&files(&findings, settings)["roadmap.json"]).unwrap();
        let all = roadmap["findings"].as_array().unwrap().iter();
        let text = |it: &Value| it.as_str().unwrap().to_owned();
        all.map(|it| (text(&it["name"]), text(&it["finding"]["value"]["en"]))).collect()
    };
    let (health, weights) = ("no_health_facility".to_owned(), "weights_without_effect".to_owned());
    let expected = [
        (
            health.clone(),
            "The low and middle budget: none of the 212 candidate health facilities is connected.",
        ),
        (
            weights.clone(),
            "The middle budget: if one of these weights is a quarter less or more, no district gets another number of sites: rural and health.",
        ),
    ];
    assert_eq!(names(&shipped), expected.map(|(name, words)| (name, words.to_owned())));
    let mut health_first = shipped.clone();
    health_first.weights.health = 1_000;
    assert!(names(&health_first).iter().all(|(name, _)| *name != health));
    let english = &files(&findings, &shipped)["en.html"];
    assert!(
        english.contains("candidate health facilities is connected")
            && english.contains("if one of these weights")
    );
}

#[tokio::test]
async fn nobody_is_behind_of_whom_nothing_is_left() {
    let findings = found().await;
    let settings = Settings::shipped();
    let plan = Plan::of(&findings, &settings);
    let roadmap = plan.roadmap.as_ref().unwrap();
    let mut done = 0;
    for year in roadmap.scenarios.iter().flat_map(|scenario| &scenario.years) {
        for equity in Equity::of(year) {
            let standing = *equity.standing(&settings.equity).value();
            let nothing_left =
                [&equity.money_need, &equity.beneficiaries_need].map(|it| it.value().part) == [0, 0];
            assert_eq!(standing == Standing::NothingLeft, nothing_left, "{:?} {}", equity.group, year.year);
            done += usize::from(nothing_left && equity.group == Group::Remote);
        }
    }
    assert!(done > 0, "the high budget connects all remote sites before its last year");
    assert_eq!(roadmap.scenarios[0].years[0].remaining, roadmap.need);
}

/// As over a road: each exchange has an id.
async fn found() -> Findings {
    let mut findings = ask(data::schools(&Published::shipped()).unwrap()).await;
    for (at, source) in findings.exchanges.iter_mut().enumerate() {
        source.exchange = format!("{at:032x}");
    }
    findings
}

fn files(findings: &Findings, settings: &Settings) -> BTreeMap<String, String> {
    let files = Plan::of(findings, settings).files(&Seals::new());
    files.into_iter().map(|file| (file.name, file.text)).collect()
}

fn rows(csv: &str) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(csv.as_bytes()).deserialize().map(Result::unwrap).collect()
}

/// Exchanges of made rows.
const DEPARTMENTS: usize = 0;
const DISTRICTS: usize = 1;
const MEC: usize = 2;
const MSPBS: usize = 5;
/// A figure that is no number.
const ANY: &str = "*";
