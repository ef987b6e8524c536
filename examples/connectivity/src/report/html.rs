//! The pages for people: method and limits first, then where need is, the plan by year, how even it is, and what it rests on.
//! Each page is a file by itself: no scripts, nothing from outside. Every figure leads to the exchanges that it came from.
//!
//! ```text
//! index.html    en.html       gn.html (summary)
//! departamentos/NN.html       departments/NN.html
//! intercambios.html           exchanges.html: who sealed what, and when
//! ```

mod chart;
mod choices;
mod department;
mod equity;
mod exchanges;
mod groups;
mod guarani;
mod index;
mod land;
mod map;
mod method;
mod need;
mod page;
mod programmes;
mod scale;
mod selection;
mod years;

use super::language::{Language, Text, text};
use super::planned::Planned;
use super::provenance::Provenance;
use super::sealed::Seals;
use super::{File, Plan};
use land::Land;

pub(super) use groups::legends;
pub(super) use need::sorts;

/// What all pages are made of.
#[derive(Debug)]
struct Report<'a> {
    plan: &'a Plan<'a>,
    seals: &'a Seals,
    /// The country; none without boundaries.
    land: Option<Land>,
    /// The crowded part of it, larger.
    inset: Option<Land>,
    /// What each district of 2012 holds.
    groups: groups::Groups,
    /// None without money.
    planned: Option<Planned>,
}

/// All pages but those of the exchanges.
pub(super) fn pages(plan: &Plan<'_>, seals: &Seals, provenance: &mut Provenance) -> Vec<File> {
    let rows = &plan.findings.accepted;
    let codes = || plan.analysis.departments.keys().map(String::as_str);
    let report = Report {
        plan,
        seals,
        land: Land::of(rows, codes(), COUNTRY_UNITS),
        inset: Land::of(rows, CROWDED.iter().copied(), INSET_UNITS),
        groups: groups::Groups::of(plan),
        planned: plan.roadmap.as_ref().ok().map(Planned::of),
    };
    let mut files = Vec::new();
    for language in Language::ALL {
        files.push(File::new(INDEX.said(language), index::page(&report, language, provenance)));
    }
    files.push(File::new(GUARANI, guarani::page(&report, provenance)));
    for language in Language::ALL {
        for code in codes() {
            let name = format!("{}/{code}.html", FOLDER.said(language));
            files.push(File::new(&name, department::page(&report, code, language, provenance)));
        }
    }
    files.extend(need::picture(&report).map(|picture| File::new(PICTURE, picture)));
    files
}

/// Who sealed what and when, for every set of exchanges that a figure names.
pub(super) fn exchanges(plan: &Plan<'_>, seals: &Seals, provenance: &mut Provenance) -> Vec<File> {
    let page = |language| exchanges::page(plan, seals, language, provenance);
    let pages = Language::ALL.map(page);
    let names = Language::ALL.map(|language| page::EXCHANGES.said(language));
    names.iter().zip(pages).map(|(name, text)| File::new(name, text)).collect()
}

/// The page in each language.
pub(super) const INDEX: Text = text(super::PAGE, "en.html");
/// The summary in Guaraní.
const GUARANI: &str = "gn.html";
/// The map by itself.
const PICTURE: &str = "map.svg";
/// Pages of departments.
const FOLDER: Text = text("departamentos", "departments");
/// Where a third of the people live, in a hundredth of the land: Asunción and Central.
const CROWDED: [&str; 2] = ["00", "11"];
/// Longer side of the country's map.
const COUNTRY_UNITS: i64 = 1_000;
const INSET_UNITS: i64 = 270;
