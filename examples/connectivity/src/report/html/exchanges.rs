//! Who sealed what, and when: every exchange, and every set of them that a figure rests on.

use std::collections::BTreeMap;

use peabiru_proto::time::Timestamp;

use super::super::language::{Fineness, Language, Text, moment, text};
use super::super::provenance::Provenance;
use super::super::sealed::Seals;
use super::super::{Plan, reason};
use super::INDEX;
use super::page::{EXCHANGES, Frame, Html, Page, Place, Row, Table};
use crate::figure::Positions;

/// After all other pages: it lists the sets that they name.
pub(super) fn page(
    plan: &Plan<'_>,
    seals: &Seals,
    language: Language,
    provenance: &mut Provenance,
) -> String {
    let sets = provenance.sets().to_vec();
    let mut page = Page::new(language, Place::Top, provenance);
    let out = &mut page;
    out.title(out.say(TITLE));
    out.paragraph(INTRODUCTION, &[]);
    let command = "<code>peabiru evidence verify evidence --trust anchor.toml --figures roadmap.json</code>";
    out.paragraph(CHECK, &[&Html::markup(command.to_owned())]);
    out.heading("exchanges", ALL);
    exchanges(out, plan, seals);
    out.heading("sets", SETS);
    out.paragraph(SETS_ARE, &[]);
    let rows: Vec<Row> =
        sets.iter().enumerate().filter_map(|(at, set)| row(out, plan, seals, at, set)).collect();
    let columns = SET_COLUMNS.map(|name| Html::text(out.say(name))).into();
    let caption = Html::text(out.say(SETS_CAPTION));
    out.table(&Table {
        id: "set-table".to_owned(),
        caption,
        columns,
        rows,
        worded: &[0, 1, 2],
        ..Table::default()
    });
    let mut languages = [
        ("Español", "es", Some(EXCHANGES.es.to_owned())),
        ("English", "en", Some(EXCHANGES.en.to_owned())),
        ("Avañe'ẽ", "gn", Some(super::GUARANI.to_owned())),
    ];
    languages[usize::from(language == Language::English)].2 = None;
    let up = Some((INDEX.said(language).to_owned(), UP.said(language)));
    page.framed(&Frame { lang: language.of_both("es", "en"), title: TITLE.said(language), languages, up })
}

fn exchanges(out: &mut Page<'_>, plan: &Plan<'_>, seals: &Seals) {
    let mut rows = Vec::new();
    for (at, source) in plan.findings.exchanges.iter().enumerate() {
        let seal = seals.get(&source.exchange);
        let what = format!("{}: {}", agency(source.service), out.say(reason::given(source.method)));
        let what = match source.earlier {
            Some(_) => out.fill(EARLIER, &[&Html::text(&what)]),
            None => Html::text(&what),
        };
        let count = out.language.number(source.rows as u64);
        let evidence = match seal {
            Some(_) => {
                let id = Html::markup(format!("<code>{}</code>", Html::text(&source.exchange)));
                Html::link(&format!("evidence/{}.tar", source.exchange), &id)
            }
            None => Html::text(out.say(NO_EVIDENCE)),
        };
        let none = || Html::text("—");
        let grant = seal.and_then(|it| it.grant.as_deref()).map_or_else(none, Html::text);
        let cells = vec![
            what,
            Html::text(&count),
            seal.map_or_else(none, |it| sealed_by(&it.consumer, it.asked_at)),
            seal.map_or_else(none, |it| sealed_by(&it.provider, it.answered_at)),
            grant,
            evidence,
        ];
        let number = at + 1;
        rows.push(Row { id: Some(format!("e{number}")), name: Html::text(&number.to_string()), cells });
    }
    let columns = COLUMNS.map(|name| Html::text(out.say(name))).into();
    let caption = Html::text(out.say(CAPTION));
    out.table(&Table {
        id: "exchange-table".to_owned(),
        caption,
        columns,
        rows,
        worded: &[0, 2, 3, 4, 5],
        ..Table::default()
    });
}

fn sealed_by(who: &str, when: Option<Timestamp>) -> Html {
    let when = when.map(|when| format!("<br><time>{}</time>", moment(when, Fineness::Milliseconds)));
    Html::markup(format!("{}{}", Html::text(who), when.unwrap_or_default()))
}

/// A set; the empty one is nobody's.
fn row(out: &Page<'_>, plan: &Plan<'_>, seals: &Seals, number: usize, set: &Positions) -> Option<Row> {
    let mut agencies: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let (mut first, mut last): (Option<Timestamp>, Option<Timestamp>) = (None, None);
    let mut earlier = None;
    for at in set.iter() {
        let source = plan.findings.exchanges.get(at)?;
        agencies.entry(agency(source.service)).or_default().push(at + 1);
        earlier = earlier.or(source.earlier);
        if let Some(answered) = seals.get(&source.exchange).and_then(|it| it.answered_at) {
            first = Some(first.map_or(answered, |it| it.min(answered)));
            last = Some(last.map_or(answered, |it| it.max(answered)));
        }
    }
    if agencies.is_empty() {
        return None;
    }
    let who = agencies.keys().cloned().collect::<Vec<_>>();
    let said = |time| Html::text(&moment(time, Fineness::Milliseconds));
    let when = match (first, last) {
        (Some(first), Some(last)) if first == last => said(first),
        (Some(first), Some(last)) => out.fill(BETWEEN, &[&said(first), &said(last)]),
        _ => Html::text("—"),
    };
    let when = if earlier.is_some() { out.fill(EARLIER, &[&when]) } else { when };
    let links = |numbers: &[usize]| {
        numbers.iter().map(|it| format!("<a href=\"#e{it}\">{it}</a>")).collect::<Vec<_>>().join(" ")
    };
    let lists =
        agencies.iter().map(|(agency, numbers)| format!("{}: {}", Html::text(agency), links(numbers)));
    let cells = vec![
        Html::text(&out.language.list(&who)),
        when,
        Html::markup(lists.collect::<Vec<_>>().join("<br>")),
    ];
    Some(Row { id: Some(format!("c{number}")), name: Html::text(&number.to_string()), cells })
}

/// Whose service it is: the second part of its name.
pub(super) fn agency(service: &str) -> String {
    service.split('.').nth(1).unwrap_or(service).to_uppercase()
}

const EARLIER: Text = text("{0} (de una consulta anterior)", "{0} (of an earlier run)");
const TITLE: Text = text("De dónde sale cada cifra", "Where each figure comes from");
const UP: Text = text("← Al informe", "← To the report");
const INTRODUCTION: Text = text(
    "Cada intercambio es una pregunta y su respuesta. Quien pregunta sella la pregunta y quien responde sella la respuesta, cada uno en \
     su propio libro, antes de que la otra parte la lea. La hora es la del reloj de quien sella.",
    "Each exchange is a question and its answer. Who asks seals the question and who answers seals the answer, each in a ledger of its own, \
     before the other side reads it. The time is that of the sealer's clock.",
);
const CHECK: Text = text(
    "La evidencia se comprueba sin red y sin confiar en este informe: {0}",
    "The evidence is checked offline and without trusting this report: {0}",
);
const ALL: Text = text("Quién selló qué y cuándo", "Who sealed what, and when");
const CAPTION: Text = text("Intercambios en el orden de consulta.", "Exchanges in the order of asking.");
const COLUMNS: [Text; 7] = [
    text("N.º", "No."),
    text("Qué se preguntó", "What was asked"),
    text("Filas", "Rows"),
    text("Selló la pregunta", "Sealed the question"),
    text("Selló la respuesta", "Sealed the answer"),
    text("Autorización", "Grant"),
    text("Evidencia", "Evidence"),
];
const NO_EVIDENCE: Text = text("sin evidencia", "no evidence");
const SETS: Text = text("Conjuntos de intercambios", "Sets of exchanges");
const SETS_ARE: Text = text(
    "Una cifra puede apoyarse en varios intercambios. Su enlace lleva aquí, a su conjunto; los números llevan a los intercambios de arriba. \
     Una cuenta se apoya en todas las páginas del registro en el que cuenta, también si da cero: en cualquiera podría haber una fila más. En \
     roadmap.json el conjunto se llama «from»; «rows» dice cuáles de sus intercambios trajeron las filas contadas.",
    "A figure can rest on several exchanges. Its link leads here, to its set; the numbers lead to the exchanges above. A count rests on all \
     pages of the register that it counts in, also where it is 0: there could be one more row on any of them. In roadmap.json the set is \
     called “from”; “rows” says which of its exchanges held the rows that were counted.",
);
const SETS_CAPTION: Text = text("Conjuntos, por número.", "Sets, by number.");
const SET_COLUMNS: [Text; 4] = [
    text("Conjunto", "Set"),
    text("Selló", "Sealed by"),
    text("Cuándo", "When"),
    text("Intercambios", "Exchanges"),
];
const BETWEEN: Text = text("entre {0} y {1}", "between {0} and {1}");
