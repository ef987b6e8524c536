//! The report's pages: each stands by itself, every link leads somewhere, and nothing that an agency sends is markup.
#![allow(clippy::unwrap_used, reason = "a test says by failing what went wrong")]

mod agencies;

use std::collections::{BTreeMap, BTreeSet};

use agencies::ask;
use peabiru_example_connectivity::agency::Service;
use peabiru_example_connectivity::data::{self, Published};
use peabiru_example_connectivity::figure::Figure;
use peabiru_example_connectivity::planner::{Findings, Missing};
use peabiru_example_connectivity::report::{Plan, Sealed, Seals};
use peabiru_example_connectivity::settings::Settings;
use peabiru_example_connectivity::wire::ine::{Department, District};
use peabiru_proto::time::Timestamp;
use tonic::Status;

#[tokio::test]
async fn every_page_stands_by_itself_and_every_link_leads_somewhere() {
    let (findings, seals) = sealed().await;
    let files = files(&findings, &seals);
    let pages: BTreeMap<&str, &str> = files
        .iter()
        .filter(|(name, _)| name.ends_with(".html"))
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    assert_eq!(pages.len(), 3 + 2 * 18 + 2);
    for (name, text) in &pages {
        for outside in ["<script", " src=", "<link", "@import", "url(h", "<iframe", "<object", "onload="] {
            assert!(!text.contains(outside), "{name} has {outside}");
        }
        assert_eq!(text.matches("<h1>").count(), 1, "{name}");
        assert!(text.contains("<html lang=\"") && text.contains("<main id=\"content\""), "{name}");
        let ids = values(text, "id");
        assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "{name} uses an id twice");
        assert!(text.len() < PAGE_BYTES_MAX, "{name} has {} bytes", text.len());
        for link in values(text, "href") {
            leads_somewhere(&files, name, link);
        }
    }
}

fn leads_somewhere(files: &BTreeMap<String, String>, from: &str, link: &str) {
    if link.starts_with("https://") {
        return;
    }
    let (path, id) = link.split_once('#').unwrap_or((link, ""));
    let folder = from.split_once('/').map_or("", |(folder, _)| folder);
    let path = match (path, path.strip_prefix("../")) {
        ("", _) => from.to_owned(),
        (_, Some(top)) => top.to_owned(),
        (path, None) if folder.is_empty() => path.to_owned(),
        (path, None) => format!("{folder}/{path}"),
    };
    // Evidence is exported by whoever has it.
    if path.starts_with("evidence/") {
        return;
    }
    let file = files.get(&path);
    assert!(file.is_some(), "{from} leads to {link}, which is no file");
    let there = id.is_empty() || values(file.unwrap(), "id").contains(&id);
    assert!(there, "{from} leads to {link}, which is not on that page");
}

#[tokio::test]
async fn a_figure_leads_to_the_exchanges_that_the_roadmap_names_with_who_sealed_them() {
    let (findings, seals) = sealed().await;
    let files = files(&findings, &seals);
    let roadmap: serde_json::Value = serde_json::from_str(&files["roadmap.json"]).unwrap();
    let girls = &roadmap["gap"]["departments"]["17"]["figures"]["girls"];
    let (from, value) = (girls["from"].as_u64().unwrap(), girls["value"].as_u64().unwrap());
    assert_eq!(value, 1_679);
    let cell = format!("<a class=\"f\" href=\"intercambios.html#c{from}\">1.679</a>");
    assert!(files["index.html"].contains(&cell) && files["gn.html"].contains(&cell));
    assert!(files["en.html"].contains(&format!("exchanges.html#c{from}\">1,679</a>")));
    assert!(files["departamentos/17.html"].contains(&format!("../intercambios.html#c{from}\">1.679</a>")));
    let page = &files["intercambios.html"];
    let row =
        |id: &str| page.split(&format!("<tr id=\"{id}\">")).nth(1).unwrap().split("</tr>").next().unwrap();
    let numbers: Vec<usize> = values(row(&format!("c{from}")), "href")
        .iter()
        .map(|to| to.strip_prefix("#e").unwrap().parse().unwrap())
        .collect();
    let named: Vec<&str> =
        numbers.iter().map(|number| findings.exchanges[number - 1].exchange.as_str()).collect();
    let cited = roadmap["provenance"][usize::try_from(from).unwrap()].as_array().unwrap();
    assert_eq!(named, cited.iter().map(|id| id.as_str().unwrap()).collect::<Vec<_>>());
    for number in numbers {
        let row = row(&format!("e{number}"));
        for said in [
            "PY/GOV/MITIC/planning<br><time>2026-11-18 11:06:40.000 UTC",
            "PY/GOV/X/node1<br><time>2026-11-18 11:06:40.020 UTC",
        ] {
            assert!(row.contains(said), "{row}");
        }
        assert!(row.contains(&format!("evidence/{}.tar", findings.exchanges[number - 1].exchange)), "{row}");
    }
}

#[tokio::test]
async fn what_agencies_send_is_text_on_every_page() {
    let (mut findings, mut seals) = sealed().await;
    let hostile = |name: &str| format!("{name}<script>alert('&')</script>\"{{0}}");
    let rows = &mut findings.accepted;
    let departments = std::mem::take(&mut rows.departments);
    let named = departments.values().map(Figure::value);
    rows.page(named.map(|it| Department { name: hostile(&it.name), ..it.clone() }).collect(), 0);
    let districts = std::mem::take(&mut rows.districts);
    let named = districts.values().map(Figure::value);
    rows.page(named.map(|it| District { name: hostile(&it.name), ..it.clone() }).collect(), 1);
    for seal in seals.values_mut() {
        seal.grant = Some(hostile("grant"));
    }
    for (name, text) in files(&findings, &seals).iter().filter(|(name, _)| !name.ends_with("json")) {
        if name.ends_with(".html") || name.ends_with(".svg") {
            assert!(!text.contains("<script"), "{name}");
        }
    }
    let files = files(&findings, &seals);
    assert!(files["departamentos/01.html"].contains("&lt;script&gt;alert('&amp;')&lt;/script&gt;&quot;{0}"));
}

#[tokio::test]
async fn the_picture_in_the_documents_is_the_one_that_the_planner_draws() {
    let (findings, seals) = sealed().await;
    let drawn = &files(&findings, &seals)["map.svg"];
    let shown = include_str!("../../../docs/map.svg");
    assert!(drawn == shown, "docs/map.svg is another one: copy map.svg of a report there");
}

#[tokio::test]
async fn a_page_says_why_there_is_no_plan_and_no_map_in_its_own_language() {
    let (mut findings, seals) = sealed().await;
    findings.accepted.programmes = Default::default();
    findings.accepted.boundaries = Default::default();
    let files = files(&findings, &seals);
    let (spanish, english) = (&files["index.html"], &files["en.html"]);
    assert!(spanish.contains("no se recibió el programa P02") && spanish.contains("no hay mapa"));
    assert!(english.contains("programme P02 was not received") && english.contains("there is no map"));
    assert!(!spanish.contains("was not received"));
    assert!(files["departamentos/01.html"].contains("No hay plan de inversión"));
    assert!(!files.contains_key("map.svg"));
}

#[tokio::test]
async fn who_was_silent_is_named_and_what_stands_in_says_since_when() {
    let (mut findings, seals) = sealed().await;
    let before = files(&findings, &seals);
    assert!(!before["index.html"].contains("no todas las instituciones"));
    assert!(!before["intercambios.html"].contains("de una consulta anterior"));
    let since = Timestamp::from_ms(1_790_000_000_000);
    let service = Service::Publications.code();
    for source in findings.exchanges.iter_mut().filter(|source| source.service == service) {
        source.earlier = Some(since);
    }
    let status = Box::new(Status::unavailable("the node is down"));
    let missing =
        Missing { service, method: "list_indicators", rows: 0, status, since: Some(since), older_rows: 92 };
    findings.missing.push(missing);
    let after = files(&findings, &seals);
    let since = "2026-09-21 14:13:20 UTC";
    for (page, silent, older) in [
        (
            "index.html",
            "no todas las instituciones respondieron ahora (CONATEL)",
            "las 92 filas que selló el",
        ),
        ("en.html", "not every agency answered now (CONATEL)", "The 92 rows that it sealed on"),
    ] {
        assert!(after[page].contains(silent), "{page}");
        assert!(after[page].contains(&format!("{older} {since}")), "{page}");
    }
    // Each exchange of then, and each set with one of them.
    assert!(after["intercambios.html"].matches("(de una consulta anterior)").count() > 2);
    assert!(after["exchanges.html"].contains("(of an earlier run)"));
}

#[tokio::test]
async fn every_page_says_that_it_is_a_demonstration_and_the_first_one_when_it_was_sealed() {
    let (findings, seals) = sealed().await;
    let files = files(&findings, &seals);
    let spanish = "Las instituciones que se nombran no participan en ella";
    let english = "The institutions named take no part in it";
    for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".html")) {
        let is_english = text.contains("<html lang=\"en\"");
        assert!(text.contains(if is_english { english } else { spanish }), "{name}");
    }
    let lead =
        |name: &str| files[name].split("class=\"lead\"").nth(1).unwrap().split("</div>").next().unwrap();
    assert!(lead("index.html").contains(spanish) && lead("en.html").contains(english));
    // All was answered within one second.
    assert!(lead("index.html").contains("el 2026-11-18 a las 11:06:40 UTC"), "{}", lead("index.html"));
    assert!(lead("en.html").contains("on 2026-11-18 at 11:06:40 UTC"), "{}", lead("en.html"));
}

#[tokio::test]
async fn costs_and_budgets_say_what_was_published_where_and_what_is_assumed() {
    let (findings, seals) = sealed().await;
    let files = files(&findings, &seals);
    let of = |name: &str, id: &str| {
        let line = files[name].split(&format!("<li id=\"programme-{id}\">")).nth(1).unwrap();
        line.split("</li>").next().unwrap().to_owned()
    };
    let source = "<a href=\"https://www.5dias.com.py/amp/2019/07/minima-inversion-estatal-para-avanzar-en-conectividad/\">5días 2019-07</a>";
    for (name, rate, midpoint) in [
        (
            "index.html",
            "(a 7.300 guaraníes por dólar, un tipo de cambio supuesto: ",
            "el punto medio entre los dos",
        ),
        ("en.html", "(at an assumed rate of 7,300 guaraníes to the dollar: ", "the midpoint of the two"),
    ] {
        assert!(of(name, "P06").contains(source), "{}", of(name, "P06"));
        assert!(of(name, "P01").contains(rate) && !of(name, "P02").contains(rate), "{}", of(name, "P01"));
        assert_eq!(of(name, "P02").matches("<a href=\"https://").count(), 2, "{}", of(name, "P02"));
        assert!(files[name].contains(midpoint), "{name}");
    }
    let roadmap: serde_json::Value = serde_json::from_str(&files["roadmap.json"]).unwrap();
    let programmes = roadmap["programmes"].as_array().unwrap();
    let ids: Vec<_> = programmes.iter().map(|it| it["programme"].as_str().unwrap()).collect();
    assert_eq!(ids, ["P01", "P02", "P06"]);
    assert_eq!(programmes[0]["amount_pyg"]["value"], 62_145_436_u64 * 7_300);
    assert!(programmes.iter().all(|it| !it["source"].as_str().unwrap().is_empty()));
    assert_eq!(roadmap["roadmap"]["unit_cost_pyg"]["high_programme"], "P01");
}

#[tokio::test]
async fn a_page_in_spanish_has_no_english_of_ours_and_one_in_guarani_its_own_guides() {
    let (findings, seals) = sealed().await;
    let files = files(&findings, &seals);
    let spanish = &files["index.html"];
    let main = spanish.split("<main").nth(1).unwrap();
    assert!(!main.contains("lang=\"en\""), "all that is sent in English is known in Spanish");
    assert!(spanish.contains("con datos del MITIC") && spanish.contains("81,6\u{a0}%"));
    assert!(!spanish.contains(" %<") && !spanish.contains(" %,"), "the sign stays on the line of its number");
    assert!(files["en.html"].contains("81.6%") && files["en.html"].contains("Brecha Cero 2024, from MITIC"));
    let guarani = &files["gn.html"];
    assert!(guarani.contains("<a class=\"skip\" lang=\"gn\" href=\"#content\">"));
    assert!(!guarani.contains("Saltar"), "the ways past something are in the language of the page");
}

/// As over a road: each exchange has an id, and somebody who sealed it.
async fn sealed() -> (Findings, Seals) {
    let mut findings = ask(data::schools(&Published::shipped()).unwrap()).await;
    let mut seals = Seals::new();
    for (at, source) in findings.exchanges.iter_mut().enumerate() {
        source.exchange = format!("{at:032x}");
        let time = |ms: u64| Some(Timestamp::from_ms(1_795_000_000_000 + ms));
        let sealed = Sealed {
            consumer: "PY/GOV/MITIC/planning".to_owned(),
            asked_at: time(0),
            provider: "PY/GOV/X/node1".to_owned(),
            answered_at: time(20),
            grant: Some("planning, revision 1".to_owned()),
        };
        seals.insert(source.exchange.clone(), sealed);
    }
    (findings, seals)
}

fn files(findings: &Findings, seals: &Seals) -> BTreeMap<String, String> {
    let settings = Settings::shipped();
    Plan::of(findings, &settings).files(seals).into_iter().map(|file| (file.name, file.text)).collect()
}

/// Of an attribute, in order.
fn values<'a>(text: &'a str, attribute: &str) -> Vec<&'a str> {
    let start = format!(" {attribute}=\"");
    text.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

const PAGE_BYTES_MAX: usize = 1_000_000;
