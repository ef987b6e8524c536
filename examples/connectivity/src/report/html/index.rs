//! The page of the country.

use super::super::language::{Fineness, Language, Text, filled, moment, text};
use super::super::limits::DEMONSTRATION;
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
    out.add_markup(&format!("<p><strong>{}</strong></p>", Html::text(out.say(DEMONSTRATION))));
    match (first, last) {
        (Some(first), Some(last)) => {
            let [first, last] = [first, last].map(|time| moment(time, Fineness::Seconds));
            let when = Html::text(&when(out.language, &first, &last));
            out.paragraph(LEAD, &[&when, &exchanges]);
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

/// Between two moments, or at one where both are the same second.
fn when(language: Language, first: &str, last: &str) -> String {
    match first.split_once(' ') {
        Some((day, time)) if first == last => filled(AT.said(language), &[&day, &time]),
        _ => filled(BETWEEN.said(language), &[&first, &last]),
    }
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
    "Cinco nodos de demostración, con datos publicados del INE, el MEC, el MSPBS, CONATEL y el MITIC, respondieron por la red de \
     intercambio {0}. Cada cifra de los textos y tablas que sale de sus respuestas es un enlace: lleva a los {1} en los que se apoya, \
     con quién los selló y cuándo. Lo que es una decisión, como un peso o un límite, no lleva enlace.",
    "Five demonstration nodes, with published data of INE, MEC, MSPBS, CONATEL and MITIC, answered over the road {0}. Every figure in \
     text and tables that comes from their answers is a link: it leads to the {1} that it rests on, with who sealed them and when. What \
     is a choice, as a weight or a limit, has no link.",
);
const AT: Text = text("el {0} a las {1}", "on {0} at {1}");
const BETWEEN: Text = text("entre el {0} y el {1}", "between {0} and {1}");
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
const FILE_LIST: [(&[&str], Text); 6] = [
    (
        &["roadmap.json"],
        text(
            "todas las cifras con enlace, cada una con sus intercambios, y más",
            "all figures that are links, each with its exchanges, and more",
        ),
    ),
    (
        &["districts.csv", "departments.csv"],
        text(
            "la necesidad por lugar; una casilla vacía es un dato que no se sabe",
            "need by place; an empty cell is unknown",
        ),
    ),
    (
        &["plan.csv"],
        text(
            "cada local planificado con su año y el conjunto de intercambios en que se apoya",
            "each planned site with its year and the set of exchanges that it rests on",
        ),
    ),
    (
        &["sites.csv"],
        text(
            "todos los locales, también los que no tienen coordenadas o no entran en el plan",
            "all sites, also those without coordinates and those left out of the plan",
        ),
    ),
    (&["districts.geojson", "sites.geojson", "map.svg"], text("lo mismo en el mapa", "the same on the map")),
    (&["dictionary.csv"], text("qué significa cada columna", "what each column means")),
];
const VERIFY: Text = text(
    "La evidencia de cada intercambio está en la carpeta evidence. Quien tenga esta carpeta y el ancla de configuración puede comprobar \
     todo sin red: {0} nombra las cifras que caen si algo no se sostiene.",
    "The evidence of each exchange is in the folder evidence. Whoever has this folder and the configuration anchor can check everything \
     offline: {0} names the figures that fall if something does not hold.",
);
