//! What moves with the weights, national indicators, and what was kept out or not answered.

use super::super::language::{Fineness, Text, filled, moment, text};
use super::super::reason;
use super::Report;
use super::method::CRITERION;
use super::page::{EXCHANGES, Html, ListTag, Page, Row, Table};
use crate::figure::Figure;
use crate::roadmap::{Change, Move, Quarter};
use crate::wire::conatel::{Indicator, Precision};

pub(super) fn sensitivity(out: &mut Page<'_>, report: &Report<'_>) {
    let Ok(roadmap) = &report.plan.roadmap else {
        return out.paragraph(NOTHING, &[]);
    };
    out.paragraph(INTRODUCTION, &[]);
    let weights = report.plan.settings.weights.all();
    let mut rows = Vec::new();
    for change in &roadmap.sensitivity {
        let words =
            weights.iter().position(|(name, _)| *name == change.weight).and_then(|at| CRITERION.get(at));
        let quarter = match change.quarter {
            Quarter::Less => LESS,
            Quarter::More => MORE,
        };
        let name = words.map_or(change.weight, |words| out.say(*words));
        let moved = change.moves.map(|moves| moves.len() as u64);
        let sites = change.moves.map(|moves| moves.iter().map(distance).sum::<u64>() / 2);
        let cells = vec![out.number(&moved), out.number(&sites), most_moved(out, report, change)];
        rows.push(Row::new(Html::text(&filled(out.say(quarter), &[&name])), cells));
    }
    let caption = Html::text(out.say(CAPTION));
    let columns = COLUMNS.map(|name| Html::text(out.say(name))).into();
    let table =
        Table { id: "sensitivity".to_owned(), caption, columns, rows, worded: &[2], ..Table::default() };
    out.table(&table);
}

fn distance(it: &Move) -> u64 {
    it.sites_before.abs_diff(it.sites_after)
}

/// The districts that gain or lose most, and how many more there are.
fn most_moved(out: &mut Page<'_>, report: &Report<'_>, change: &Change) -> Html {
    let name = |code: &str| {
        let line = report.plan.analysis.districts.get(code);
        line.map_or_else(|| code.to_owned(), |line| line.district.value().name.clone())
    };
    let said = change.moves.map(|moves| {
        let mut sorted: Vec<&Move> = moves.iter().collect();
        sorted.sort_by_key(|it| (std::cmp::Reverse(distance(it)), it.district.clone()));
        let named = sorted.iter().take(NAMED_MAX);
        named
            .map(|it| format!("{} {} → {}", name(&it.district), it.sites_before, it.sites_after))
            .collect::<Vec<_>>()
    });
    let more = change.moves.value().len().saturating_sub(NAMED_MAX) as u64;
    let language = out.language;
    let rest = if more == 0 { String::new() } else { filled(out.say(AND_MORE), &[&language.number(more)]) };
    out.figure(
        &said,
        |said| if said.is_empty() { "—".to_owned() } else { format!("{}{rest}", said.join("; ")) },
    )
}

pub(super) fn indicators(out: &mut Page<'_>, report: &Report<'_>) {
    out.paragraph(NATIONAL, &[]);
    let mut rows = Vec::new();
    for line in &report.plan.indicators {
        let name = out.language.of_both(&line.rule.nombre, &line.rule.name).to_owned();
        let note = Html::text(out.language.of_both(&line.rule.nota, &line.rule.note));
        let baseline = published(out, line.baseline.as_ref());
        let target = published(out, line.target.as_ref());
        let source = line.baseline.as_ref().map(|it| source(it.value())).unwrap_or_default();
        rows.push(Row::new(Html::text(&name), vec![baseline, target, source, note]));
    }
    let caption = Html::text(out.say(INDICATORS));
    let columns = INDICATOR_COLUMNS.map(|name| Html::text(out.say(name))).into();
    let table = Table {
        id: "indicator-table".to_owned(),
        caption,
        columns,
        rows,
        worded: &[0, 1, 2, 3],
        ..Table::default()
    };
    out.table(&table);
}

fn published(out: &mut Page<'_>, figure: Option<&Figure<Indicator>>) -> Html {
    let language = out.language;
    let Some(figure) = figure else { return Html::text("—") };
    let precision = out.say(precision(figure.value().precision()));
    out.figure(figure, |it| {
        let thousandths = u64::try_from(it.value_thousandths).unwrap_or_default();
        let value = match thousandths % 1_000 {
            0 => language.number(thousandths / 1_000),
            _ => language.tenths((thousandths + 50) / 100),
        };
        let unit = unit(&it.unit).map_or_else(|| it.unit.clone(), |unit| unit.said(language).to_owned());
        format!("{value} {unit}, {}{precision}", it.year)
    })
}

/// CONATEL's units; another one stays as it is.
fn unit(unit: &str) -> Option<Text> {
    Some(match unit {
        "percent" => text("%", "%"),
        "persons" => text("personas", "persons"),
        "institutions" => text("instituciones", "institutions"),
        "points" => text("puntos", "points"),
        "localities" => text("localidades", "localities"),
        "users" => text("usuarios", "users"),
        "connections" => text("conexiones", "connections"),
        _ => return None,
    })
}

fn precision(precision: Precision) -> Text {
    match precision {
        Precision::Exact | Precision::Unspecified => text("", ""),
        Precision::Rounded => text(" (redondeado)", " (rounded)"),
        Precision::Approximate => text(" (aproximado)", " (approximate)"),
        Precision::LowerBound => text(" (al menos)", " (at least)"),
        Precision::Target => text(" (meta)", " (target)"),
        Precision::Model => text(" (modelo)", " (model)"),
    }
}

/// What the row says, with a link if it is one of the web and nothing else.
fn source(indicator: &Indicator) -> Html {
    let name = Html::text(&format!("{}: {}", indicator.publisher, indicator.source));
    let url = &indicator.source_url;
    let is_web = ["https://", "http://"].iter().any(|start| url.starts_with(start))
        && !url.contains(char::is_whitespace);
    let said = if is_web { Html::link(url, &name) } else { name };
    // As CONATEL sends it.
    Html::markup(format!("<span lang=\"en\">{said}</span>"))
}

pub(super) fn kept_out(out: &mut Page<'_>, report: &Report<'_>) {
    let findings = report.plan.findings;
    let (rejected, missing) = (&findings.accepted.rejected, &findings.missing);
    if rejected.is_empty() && missing.is_empty() {
        return out.paragraph(NONE, &[]);
    }
    let mut items = Vec::new();
    for it in missing {
        let agency = Html::text(&super::exchanges::agency(it.service));
        let given = Html::text(out.say(reason::given(it.method)));
        let why = Html::text(out.say(reason::no_answer(it.status.code())));
        let rows = Html::text(&out.language.number(it.rows as u64));
        // What the road says itself is for technicians, and in English.
        let said = Html::markup(format!("<span lang=\"en\">{}</span>", Html::text(it.status.message())));
        items.push(match it.since.filter(|_| it.older_rows > 0) {
            Some(since) => {
                let since = Html::text(&moment(since, Fineness::Seconds));
                let older = Html::text(&out.language.number(it.older_rows as u64));
                out.fill(OLDER, &[&agency, &given, &why, &older, &since, &said])
            }
            None => out.fill(UNANSWERED, &[&agency, &given, &why, &rows, &said]),
        });
    }
    for it in rejected {
        let (row, why) =
            (Html::text(out.say(reason::row(it.kind))), Html::text(out.say(reason::wrong(it.wrong))));
        let number = Html::text(&(it.exchange + 1).to_string());
        let exchange = Html::link(&format!("{}#e{}", out.say(EXCHANGES), it.exchange + 1), &number);
        items.push(out.fill(REJECTED, &[&row, &Html::text(&it.code), &why, &exchange]));
    }
    out.list(ListTag::Unordered, &items);
}

const NOTHING: Text = text("Sin plan no hay nada que comparar.", "Without a plan there is nothing to move.");
const INTRODUCTION: Text = text(
    "Las ponderaciones son una decisión. Aquí cada una baja y sube un cuarto en el presupuesto medio: se ve en qué distritos cambia el \
     número de locales conectados.",
    "Weights are a choice. Here each is a quarter less and a quarter more in the middle budget: which districts get another number of \
     connected sites.",
);
const CAPTION: Text = text(
    "Sensibilidad: distritos que cambian si una ponderación varía en un cuarto. El resto está en roadmap.json.",
    "Sensitivity: districts that move when a weight changes by a quarter. The others are in roadmap.json.",
);
const COLUMNS: [Text; 4] = [
    text("Ponderación", "Weight"),
    text("Distritos que cambian", "Districts that move"),
    text("Conexiones que pasan a otro distrito", "Sites that move"),
    text("Los que más cambian (antes → después)", "Those that move most (before → after)"),
];
const LESS: Text = text("{0}, un cuarto menos", "{0}, a quarter less");
const MORE: Text = text("{0}, un cuarto más", "{0}, a quarter more");
const AND_MORE: Text = text("; y {0} más", "; and {0} more");
const NATIONAL: Text = text(
    "Cifras publicadas para todo el país; ninguna se reparte entre distritos. Los nombres son los del marco mundial de indicadores de los \
     ODS; la tabla del Plan Nacional TIC 2022-2030 no está en los datos recibidos.",
    "Figures published for the whole country; none is spread over districts. Names are those of the global indicator framework of the SDGs; \
     the table of the National ICT Plan 2022-2030 is not in the data received.",
);
const INDICATORS: Text =
    text("Línea de base, meta y fuente de cada indicador.", "Baseline, target and source of each indicator.");
const INDICATOR_COLUMNS: [Text; 5] = [
    text("Indicador", "Indicator"),
    text("Línea de base", "Baseline"),
    text("Meta", "Target"),
    text("Fuente", "Source"),
    text("Nota", "Note"),
];
const NONE: Text = text("Ninguna.", "None.");
const UNANSWERED: Text = text(
    "{0}: {1}. La institución {2}; antes habían llegado {3} filas. Las cifras que dependen de ella faltan o están incompletas. {4}",
    "{0}: {1}. The agency {2}; {3} rows had come before. Figures that rest on it are missing or incomplete. {4}",
);
const OLDER: Text = text(
    "{0}: {1}. La institución {2}. En su lugar se usan las {3} filas que selló el {4}: las cifras que dependen de ellas son de esa fecha. {5}",
    "{0}: {1}. The agency {2}. The {3} rows that it sealed on {4} stand in: figures that rest on them are of then. {5}",
);
const REJECTED: Text = text(
    "Fila descartada: {0} {1}: {2}. Llegó en el intercambio {3}.",
    "Row kept out: {0} {1}: {2}. It came in exchange {3}.",
);
/// Districts that are named in a line.
const NAMED_MAX: usize = 8;
