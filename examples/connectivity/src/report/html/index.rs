//! The page of the country.

use super::super::language::{Fineness, Language, Text, moment, text};
use super::super::provenance::Provenance;
use super::super::sealed::Sealed;
use super::super::summary::sentences;
use super::page::{EXCHANGES, Frame, Html, ListTag, Page, Place};
use super::{GUARANI, INDEX, Report, chart, choices, equity, method, need, scale, years};

/// The same report always gives the same page.
pub(super) fn page(report: &Report<'_>, language: Language, provenance: &mut Provenance) -> String {
    let mut page = Page::new(language, Place::Top, provenance);
    let out = &mut page;
    out.add_markup(&format!(
        "<svg class=\"defs\" aria-hidden=\"true\" focusable=\"false\"><defs>\n{}{}{}</defs></svg>",
        scale::PATTERNS,
        chart::PATTERNS,
        report.land.as_ref().map(super::land::Land::shared).unwrap_or_default(),
    ));
    out.title(TITLE.said(language));
    lead(out, report);
    contents(out);
    out.heading("method", METHOD);
    method::section(out, report);
    out.heading("summary", SUMMARY);
    let lines: Vec<Html> = sentences(report.plan)
        .iter()
        .filter(|line| !line.words.es.is_empty())
        .map(|line| out.sentence(line))
        .collect();
    out.add_markup("<div class=\"box lead\">");
    out.list(ListTag::Unordered, &lines);
    out.add_markup("</div>");
    out.heading("need", NEED);
    need::section(out, report);
    out.heading("years", YEARS);
    years::section(out, report);
    out.heading("equity", EQUITY);
    equity::section(out, report);
    out.heading("choices", CHOICES);
    choices::sensitivity(out, report);
    out.heading("indicators", INDICATORS);
    choices::indicators(out, report);
    out.heading("apart", APART);
    choices::kept_out(out, report);
    out.heading("files", FILES);
    files(out);
    out.heading("sources", SOURCES);
    method::sources(out);
    let other = language.other();
    let mut languages = [
        ("Español", "es", Some(INDEX.es.to_owned())),
        ("English", "en", Some(INDEX.en.to_owned())),
        ("Avañe'ẽ", "gn", Some(GUARANI.to_owned())),
    ];
    languages[usize::from(other == Language::Spanish)].2 = None;
    let lang = language.of_both("es", "en");
    page.framed(&Frame { lang, title: TITLE.said(language), languages, up: None })
}

fn lead(out: &mut Page<'_>, report: &Report<'_>) {
    let exchanges = Html::link(EXCHANGES.said(out.language), &Html::text(out.say(SEALED)));
    let times =
        |of: fn(&Sealed) -> Option<peabiru_proto::time::Timestamp>| report.seals.values().filter_map(of);
    let first = times(|it| it.asked_at).min();
    let last = times(|it| it.answered_at).max();
    out.add_markup("<div class=\"lead\">");
    match (first, last) {
        (Some(first), Some(last)) => {
            let [first, last] = [first, last].map(|time| Html::text(&moment(time, Fineness::Seconds)));
            out.paragraph(LEAD, &[&first, &last, &exchanges]);
        }
        _ => out.paragraph(LEAD_UNSEALED, &[]),
    }
    let silent: std::collections::BTreeSet<_> =
        report.plan.findings.missing.iter().map(|it| super::exchanges::agency(it.service)).collect();
    if !silent.is_empty() {
        let silent = Html::text(&out.language.list(&silent.into_iter().collect::<Vec<_>>()));
        out.paragraph(SILENT, &[&silent, &Html::link("#apart", &Html::text(out.say(APART)))]);
    }
    out.add_markup("</div>");
}

fn contents(out: &mut Page<'_>) {
    let parts = [
        ("method", METHOD),
        ("summary", SUMMARY),
        ("need", NEED),
        ("years", YEARS),
        ("equity", EQUITY),
        ("choices", CHOICES),
        ("indicators", INDICATORS),
        ("apart", APART),
        ("files", FILES),
        ("sources", SOURCES),
    ];
    let items =
        parts.map(|(id, name)| format!("<li><a href=\"#{id}\">{}</a></li>", Html::text(out.say(name))));
    let label = Html::text(out.say(CONTENTS));
    out.add_markup(&format!(
        "<nav aria-label=\"{label}\"><ul class=\"contents\">{}</ul></nav>",
        items.concat()
    ));
}

fn files(out: &mut Page<'_>) {
    let items: Vec<Html> = FILE_LIST
        .iter()
        .map(|(names, words)| {
            let names = names.iter().map(|name| Html::link(name, &Html::text(name)).to_string());
            Html::markup(format!("{}: {}", names.collect::<Vec<_>>().join(", "), Html::text(out.say(*words))))
        })
        .collect();
    out.list(ListTag::Unordered, &items);
    out.paragraph(
        VERIFY,
        &[&Html::markup(
            "<code>peabiru evidence verify evidence --trust anchor.toml --figures roadmap.json</code>"
                .to_owned(),
        )],
    );
}

pub(super) const TITLE: Text = text(
    "Conectividad del Paraguay: dónde hace falta y qué se puede hacer cada año",
    "Connectivity of Paraguay: where it is needed and what can be done each year",
);
const LEAD: Text = text(
    "Cinco instituciones públicas (INE, MEC, MSPBS, CONATEL y MITIC) respondieron por la red de intercambio entre el {0} y el {1}. Cada \
     cifra de este informe es un enlace: lleva a los {2} de los que sale, con quién los selló y cuándo.",
    "Five public agencies (INE, MEC, MSPBS, CONATEL and MITIC) answered over the road between {0} and {1}. Every figure of this report is \
     a link: it leads to the {2} that it came from, with who sealed them and when.",
);
const SEALED: Text = text("intercambios sellados", "sealed exchanges");
const SILENT: Text = text(
    "Atención: no todas las instituciones respondieron ahora ({0}). Qué cifras faltan, y cuáles son anteriores y de cuándo: {1}.",
    "Note: not every agency answered now ({0}). Which figures are missing, and which are older and since when: {1}.",
);
const LEAD_UNSEALED: Text = text(
    "Este informe se hizo sin evidencia: lo que las instituciones respondieron no vino por la red de intercambio.",
    "This report was made without evidence: what the agencies answered did not come over the road.",
);
const CONTENTS: Text = text("En esta página", "On this page");
const METHOD: Text = text("Antes de leer: método y límites", "Before reading: method and limits");
const SUMMARY: Text = text("En cinco líneas", "In five lines");
const NEED: Text = text("Dónde está la necesidad", "Where the need is");
const YEARS: Text = text("El plan por año", "The plan by year");
const EQUITY: Text = text("Cómo se reparte", "How evenly it is shared");
const CHOICES: Text = text("Qué cambia con otras ponderaciones", "What changes if the weights change");
const INDICATORS: Text = text("Indicadores nacionales", "National indicators");
const APART: Text =
    text("Filas descartadas y consultas sin respuesta", "Rows kept out and questions without answer");
const FILES: Text = text("Archivos y verificación", "Files and verification");
const SOURCES: Text = text("Fuentes y licencias", "Sources and licences");
const FILE_LIST: [(&[&str], Text); 5] = [
    (
        &["roadmap.json"],
        text("todas las cifras, cada una con sus intercambios", "all figures, each with its exchanges"),
    ),
    (
        &["districts.csv", "departments.csv"],
        text(
            "la necesidad por lugar; una casilla vacía es un dato que no se sabe",
            "need by place; an empty cell is unknown",
        ),
    ),
    (&["plan.csv"], text("cada local planificado con su año", "each planned site with its year")),
    (&["districts.geojson", "sites.geojson", "map.svg"], text("lo mismo en el mapa", "the same on the map")),
    (&["dictionary.csv"], text("qué significa cada columna", "what each column means")),
];
const VERIFY: Text = text(
    "La evidencia de cada intercambio está en la carpeta evidence. Quien tenga esta carpeta y el ancla de configuración puede comprobar \
     todo sin red: {0} nombra las cifras que caen si algo no se sostiene.",
    "The evidence of each exchange is in the folder evidence. Whoever has this folder and the configuration anchor can check everything \
     offline: {0} names the figures that fall if something does not hold.",
);
