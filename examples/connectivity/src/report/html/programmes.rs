//! The published programmes that costs and budgets rest on, each with its amount, and where it was published.

use super::super::language::{Language, Text, text};
use super::super::origin::{Words, is_web, programmes, words};
use super::Report;
use super::page::{Html, Page};
use crate::figure::Figure;
use crate::money::amount;
use crate::settings::{ScenarioRule, Settings};
use crate::wire::conatel::Programme;

/// One after the other; budgets and costs lead here.
pub(super) fn list(out: &mut Page<'_>, report: &Report<'_>) {
    out.add_markup(&format!("<p>{}</p>\n<ul>", Html::text(out.say(PROGRAMMES))));
    for programme in programmes(report.plan) {
        let id = Html::text(&programme.value().programme_id);
        let said = line(out, programme, report.plan.settings);
        out.add_markup(&format!("<li id=\"programme-{id}\">{said}</li>"));
    }
    out.add_markup("</ul>");
}

/// A programme's name, which leads to its line.
pub(super) fn link(id: &str) -> Html {
    Html::link(&format!("#programme-{id}"), &Html::text(id))
}

/// The programmes of a budget.
pub(super) fn of_budget(out: &Page<'_>, rule: &ScenarioRule) -> Html {
    let links: Vec<String> = rule.parts.iter().map(|part| link(&part.programme).to_string()).collect();
    out.fill(OF_BUDGET, &[&Html::markup(out.language.list(&links))])
}

fn line(out: &mut Page<'_>, figure: &Figure<Programme>, settings: &Settings) -> Html {
    let programme = figure.value();
    let year = programme.year.map(|year| format!(", {year}")).unwrap_or_default();
    let about = Html::text(&format!("{}{year}", programme.lead));
    let (id, name) = (Html::text(&programme.programme_id), said(words(&programme.name, out.language)));
    let published = match &programme.amount {
        Some(money) => {
            let amount = out.number(&figure.map(|_| u64::try_from(money.units).unwrap_or_default()));
            let converted = converted(out, figure, settings);
            Html::markup(format!("{amount} {}{converted}", currency(out, &money.currency_code)))
        }
        None => Html::text(out.say(NO_AMOUNT)),
    };
    let places = match programme.beneficiaries {
        Some(places) => {
            let places = out.number(&figure.map(|_| u64::from(places)));
            let kind = said(words(&programme.beneficiary_type, out.language));
            out.fill(FOR_PLACES, &[&places, &kind])
        }
        None => Html::default(),
    };
    let source = source(out.language, &programme.source, &programme.source_url);
    out.fill(LINE, &[&id, &name, &about, &published, &places, &source])
}

/// What dollars are in guaraníes, at a rate that nobody published.
fn converted(out: &mut Page<'_>, figure: &Figure<Programme>, settings: &Settings) -> Html {
    let is_in_dollars = figure.value().amount.as_ref().is_some_and(|money| money.currency_code == "USD");
    let (true, Ok(guaranies)) = (is_in_dollars, amount(figure, settings)) else { return Html::default() };
    let guaranies = out.number(&guaranies);
    let rate = Html::text(&out.language.number(settings.exchange_rate.pyg_per_usd.into()));
    out.fill(CONVERTED, &[&guaranies, &rate])
}

fn currency(out: &Page<'_>, code: &str) -> Html {
    match code {
        "PYG" => Html::text(out.say(text("guaraníes", "guaraníes"))),
        "USD" => Html::text(out.say(text("dólares", "dollars"))),
        other => Html::text(other),
    }
}

/// A source in the reader's words, with a link to each address that stands in its row.
pub(super) fn source(language: Language, name: &str, urls: &str) -> Html {
    let name = said(words(name, language));
    let urls: Vec<&str> = urls.split(" ; ").filter(|url| is_web(url)).collect();
    match urls[..] {
        [] => name,
        [url] => Html::link(url, &name),
        _ => {
            let links = urls.iter().enumerate().map(|(at, url)| {
                let name = Html::text(&(at + 1).to_string());
                Html::link(url, &name).to_string()
            });
            Html::markup(format!("{name} ({})", links.collect::<Vec<_>>().join(", ")))
        }
    }
}

fn said(words: Words<'_>) -> Html {
    let text = Html::text(words.text);
    match words.lang {
        Some(lang) => Html::markup(format!("<span lang=\"{lang}\">{text}</span>")),
        None => text,
    }
}

const PROGRAMMES: Text = text(
    "Los programas publicados de los que salen los costos y los presupuestos:",
    "The published programmes that costs and budgets are made from:",
);
const LINE: Text = text("{0}: {1} ({2}). {3}{4}. Fuente: {5}.", "{0}: {1} ({2}). {3}{4}. Source: {5}.");
const NO_AMOUNT: Text = text("Sin monto publicado", "No amount published");
const FOR_PLACES: Text = text(", para {0} {1}", ", for {0} {1}");
const CONVERTED: Text = text(
    " (a {1} guaraníes por dólar, un tipo de cambio supuesto: {0} guaraníes)",
    " (at an assumed rate of {1} guaraníes to the dollar: {0} guaraníes)",
);
const OF_BUDGET: Text = text("Programas: {0}.", "Programmes: {0}.");
