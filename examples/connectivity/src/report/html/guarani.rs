//! The summary in Guaraní: short and plain. Its figures lead to the Spanish page of the exchanges.

use super::super::language::{Language, filled};
use super::super::limits::DEMONSTRATION;
use super::super::provenance::Provenance;
use super::super::summary::sentences;
use super::super::table;
use super::page::{EXCHANGES, Frame, Guides, Html, ListTag, Page, Place, Row, Table};
use super::{FOLDER, INDEX, Report};
use crate::gap::Gap;

pub(super) fn page(report: &Report<'_>, provenance: &mut Provenance) -> String {
    let mut page = Page::new(Language::Spanish, Place::Top, provenance).guided(GUIDES);
    let out = &mut page;
    out.title(TITLE);
    let from = Html::link(EXCHANGES.es, &Html::text(FROM));
    out.add_markup(&format!("<p class=\"lead\">{}</p>", filled(LEAD, &[&from])));
    out.add_markup(&format!("<p class=\"box\" lang=\"es\">{}</p>", Html::text(DEMONSTRATION.es)));
    heading(out, LIMITS_TITLE);
    out.list(ListTag::Unordered, &LIMITS.map(Html::text));
    heading(out, SUMMARY_TITLE);
    let has_plan = report.plan.roadmap.is_ok();
    let lines = sentences(report.plan).into_iter().zip(LINES).enumerate().filter_map(
        |(at, (line, words))| match at {
            2 if !has_plan => Some(Html::text(NO_PLAN)),
            3 if !has_plan => None,
            _ => Some(out.sentence_in(&line, words)),
        },
    );
    let lines: Vec<Html> = lines.collect();
    out.add_markup("<div class=\"box lead\">");
    out.list(ListTag::Unordered, &lines);
    out.add_markup("</div>");
    heading(out, DEPARTMENTS_TITLE);
    departments(out, report);
    heading(out, MORE_TITLE);
    let more = INDEX_NAMES.map(|(to, lang, name)| {
        Html::markup(format!("<a lang=\"{lang}\" hreflang=\"{lang}\" href=\"{to}\">{name}</a>"))
    });
    out.list(ListTag::Unordered, &more);
    out.add_markup(&format!("<p class=\"note\" lang=\"es\">{REVIEW}</p>"));
    let languages = [
        ("Español", "es", Some(INDEX.es.to_owned())),
        ("English", "en", Some(INDEX.en.to_owned())),
        ("Avañe'ẽ", "gn", None),
    ];
    page.framed(&Frame { lang: "gn", title: TITLE, languages, up: None })
}

fn departments(out: &mut Page<'_>, report: &Report<'_>) {
    let cells = |out: &mut Page<'_>, gap: &Gap| {
        let schools = &gap.schools;
        let numbers = [
            table::sites(gap, &schools.all),
            table::sites(gap, &schools.remote),
            table::sites(gap, &schools.unknown_remoteness),
            table::girls(gap, &schools.all),
            table::boys(gap, &schools.all),
        ];
        numbers.iter().map(|number| out.known(number)).collect()
    };
    let mut rows = Vec::new();
    for (code, line) in &report.plan.analysis.departments {
        let name = Html::text(&line.department.value().name);
        let link = Html::link(&format!("{}/{code}.html", FOLDER.es), &name);
        rows.push(Row::new(link, cells(out, &line.gap)));
    }
    let outside = cells(out, &report.plan.analysis.without_district);
    rows.push(Row::new(Html::text(NO_DISTRICT), outside));
    let foot = vec![Row::new(Html::text(TOTAL), cells(out, &report.plan.analysis.total))];
    let columns = COLUMNS.map(Html::text).into();
    let caption = Html::text(CAPTION);
    out.table(&Table { id: "departments".to_owned(), caption, columns, rows, foot, ..Table::default() });
}

fn heading(out: &mut Page<'_>, words: &str) {
    out.add_markup(&format!("<h2>{}</h2>", Html::text(words)));
}

const GUIDES: Guides =
    Guides { lang: "gn", skip: "Tereho marandúpe", skip_table: "Ehasa umi papapy", languages: "Ñe'ẽ" };
const TITLE: &str = "Ñanduti Paraguáipe: moõpa oñeikotevẽ ha mba'épa ikatu ojejapo ary ha ary";
const LEAD: &str = "INE, MEC, MSPBS, CONATEL ha MITIC ome'ẽ ko'ã marandu. Opaite papapy ohechauka {0}.";
const FROM: &str = "moõguipa ou";
const LIMITS_TITLE: &str = "Emoñe'ẽ mboyve";
const LIMITS: [&str; 4] = [
    "Ndojekuaái mávapa umi mbo'ehao oguereko ñanduti pya'e.",
    "Ko kuatia ohechauka moõpa oñeikotevẽ ha mba'épa ndojekuaái. Ndohechaukái moõpa oĩma ñanduti.",
    "Tasyo guasu ha IPS añoite oĩ ko'ápe.",
    "Mbo'ehao opyta mombyry oĩramo okaháre ha mombyry táva guasúgui, térã sa'i oikohápe tapicha, térã ndaiporihápe tendy ary 2014-pe.",
];
const SUMMARY_TITLE: &str = "Mbykymi";
/// With the places of the summary's sentences.
const LINES: [&str; 5] = [
    "{0} mbo'ehao renda; {1} opyta mombyry, upépe oĩ {2} mitãkuña ha {3} mitãkuimba'e; {4} rehegua ndojekuaái.",
    "Ndojekuaái mávapa oguereko ñanduti pya'e; ambue marandúgui ndaipóri {0}. {1} tasyo guasu ha IPS.",
    "{0} guive {1} peve, {2} millón guarani ary ha ary: {3} tenda, {4} apytégui.",
    "Pirapire mbytepegua reheve: {0} mitãkuña ha {1} mitãkuimba'e; {2} tenda mombyry.",
    "Marandu vai oñemboykéva: {0}. Porandu oñembohovái'ỹva: {1}.",
];
const NO_PLAN: &str = "Ndaipóri pirapire rehegua.";
const DEPARTMENTS_TITLE: &str = "Tetãvore ha tetãvore";
const CAPTION: &str = "Mbo'ehao ha temimbo'e, tetãvore ha tetãvore.";
const COLUMNS: [&str; 6] = ["Tetãvore", "Mbo'ehao", "Mombyry", "Ndojekuaái", "Mitãkuña", "Mitãkuimba'e"];
const NO_DISTRICT: &str = "Tetãvore'ỹ";
const TOTAL: &str = "Opavave";
const MORE_TITLE: &str = "Emoñe'ẽve";
const INDEX_NAMES: [(&str, &str, &str); 2] =
    [("index.html", "es", "Informe completo en español"), ("en.html", "en", "The whole report in English")];
const REVIEW: &str = "Este resumen en guaraní espera la revisión de una persona hablante nativa.";
