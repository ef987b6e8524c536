//! The plan: three budgets side by side, then year by year.

use super::super::language::{Text, filled, text};
use super::super::reason::no_plan;
use super::super::summary::all_years;
use super::Report;
use super::chart::{Bar, Panel, panels};
use super::land::key;
use super::page::{Html, Page, Row, Table};
use crate::figure::Share;
use crate::roadmap::{Reach, Roadmap, Scenario};
use crate::settings::{CostBasis, ScenarioRule};

pub(super) fn section(out: &mut Page<'_>, report: &Report<'_>) {
    let roadmap = match &report.plan.roadmap {
        Ok(roadmap) => roadmap,
        Err(reason) => {
            let sentence = no_plan(reason);
            let said = out.sentence(&sentence);
            return out.add_markup(&format!("<p>{said}</p>"));
        }
    };
    costs(out, report, roadmap);
    side_by_side(out, report, roadmap);
    out.subheading(SITES);
    let legend = format!(
        "<ul class=\"legend\"><li>{} {}</li><li>{} {}</li></ul>",
        key("b0"),
        Html::text(out.say(RURAL)),
        key("b1"),
        Html::text(out.say(OTHER)),
    );
    out.add_markup(&legend);
    sites(out, report, roadmap);
    out.subheading(MONEY);
    out.paragraph(LIMIT, &[]);
    money(out, report, roadmap);
    for (rule, scenario) in report.plan.settings.scenarios.iter().zip(&roadmap.scenarios) {
        years(out, rule, scenario);
    }
}

fn costs(out: &mut Page<'_>, report: &Report<'_>, roadmap: &Roadmap) {
    let settings = report.plan.settings;
    let (low, high) = (out.number(&roadmap.cost.low), out.number(&roadmap.cost.high));
    let planned = out.number(&roadmap.cost.at(settings.cost.planned_at));
    let rate = Html::text(&out.language.number(settings.exchange_rate.pyg_per_usd.into()));
    let [from, to] = [&settings.cost.low, &settings.cost.high].map(|id| Html::text(id));
    out.paragraph(COSTS, &[&low, &from, &high, &to, &planned, &rate]);
}

fn side_by_side(out: &mut Page<'_>, report: &Report<'_>, roadmap: &Roadmap) {
    let all = roadmap.candidates.map(|all| all.len() as u64);
    let mut rows = Vec::new();
    let scenarios = report.plan.settings.scenarios.iter().zip(&roadmap.scenarios).zip(all_years(roadmap));
    for ((rule, scenario), reached) in scenarios {
        let sites = reached.map(connected);
        let share = sites.with(&all, |part, whole| Share { part: *part, whole: *whole });
        let mut cells = vec![out.number(&scenario.budget), out.number(&sites), out.percent(&share)];
        let people: [fn(&Reach) -> u64; 5] =
            [|it| it.remote_sites, |it| it.girls, |it| it.boys, |it| it.women, |it| it.men];
        cells.extend(people.map(|of| out.number(&reached.map(of))));
        for basis in [CostBasis::High, CostBasis::Low] {
            let sites = scenario.sites_if.iter().find(|(it, _)| *it == basis);
            cells.extend(sites.map(|(_, sites)| out.number(sites)));
        }
        cells.push(out.number(&scenario.gap_per_million));
        rows.push(Row::new(Html::text(name(out, rule)), cells));
    }
    let years = report.plan.settings.years;
    let (first, last) = (Html::text(&years.first.to_string()), Html::text(&years.last.to_string()));
    let caption = out.fill(SIDE, &[&first, &last]);
    let columns = SIDE_COLUMNS.map(|name| Html::text(out.say(name))).into();
    out.table(&Table { id: "scenarios".to_owned(), caption, columns, rows, ..Table::default() });
    for rule in &report.plan.settings.scenarios {
        let (name, note) =
            (Html::text(name(out, rule)), Html::text(out.language.of_both(&rule.nota, &rule.note)));
        out.add_markup(&format!("<p class=\"note\"><strong>{name}</strong>: {note}.</p>"));
    }
}

fn sites(out: &mut Page<'_>, report: &Report<'_>, roadmap: &Roadmap) {
    let bar = |out: &Page<'_>, year: &crate::roadmap::Year| {
        let reach = year.reach.value();
        let all = connected(reach);
        let parts = vec![reach.rural_sites, all - reach.rural_sites];
        Bar { year: year.year, parts, label: out.language.number(all) }
    };
    draw(
        out,
        report,
        roadmap,
        &ByYear { id: "bars-sites-", looks: &["b0", "b1"], title: SITES_OF, bar: &bar, limit: &|_| None },
    );
}

fn money(out: &mut Page<'_>, report: &Report<'_>, roadmap: &Roadmap) {
    let bar = |out: &Page<'_>, year: &crate::roadmap::Year| {
        let money = year.reach.value().money;
        Bar { year: year.year, parts: vec![money], label: out.language.tenths((money + TENTH / 2) / TENTH) }
    };
    let limit = |scenario: &Scenario| Some(*scenario.budget.value());
    draw(
        out,
        report,
        roadmap,
        &ByYear { id: "bars-money-", looks: &["b2"], title: MONEY_OF, bar: &bar, limit: &limit },
    );
}

/// What is drawn for each year of each scenario.
struct ByYear<'a> {
    id: &'static str,
    looks: &'static [&'static str],
    title: Text,
    bar: &'a dyn Fn(&Page<'_>, &crate::roadmap::Year) -> Bar,
    limit: &'a dyn Fn(&Scenario) -> Option<u64>,
}

fn draw(out: &mut Page<'_>, report: &Report<'_>, roadmap: &Roadmap, by_year: &ByYear<'_>) {
    let rules = report.plan.settings.scenarios.iter().zip(&roadmap.scenarios).enumerate();
    let all: Vec<Panel> = rules
        .map(|(at, (rule, scenario))| {
            let bars: Vec<Bar> = scenario.years.iter().map(|year| (by_year.bar)(out, year)).collect();
            let said: Vec<String> = bars.iter().map(|bar| format!("{}: {}", bar.year, bar.label)).collect();
            Panel {
                id: format!("{}{at}", by_year.id),
                title: Html::text(&filled(out.say(by_year.title), &[&name(out, rule)])),
                describes: Html::text(&said.join("; ")),
                bars,
                limit: (by_year.limit)(scenario),
            }
        })
        .collect();
    panels(out, by_year.looks, &all);
}

fn years(out: &mut Page<'_>, rule: &ScenarioRule, scenario: &Scenario) {
    let of: [fn(&Reach) -> u64; 9] = [
        |it| it.schools,
        |it| it.health,
        |it| it.rural_sites,
        |it| it.remote_sites,
        |it| it.girls,
        |it| it.boys,
        |it| it.women,
        |it| it.men,
        |it| it.money,
    ];
    let mut row = |name: Html, reach: &crate::figure::Figure<Reach>| {
        Row::new(name, of.map(|of| out.number(&reach.map(of))).into())
    };
    let rows: Vec<Row> =
        scenario.years.iter().map(|year| row(Html::text(&year.year.to_string()), &year.reach)).collect();
    let all = scenario.years.iter().map(|year| year.reach.clone()).sum();
    let mut total = row(Html::default(), &all);
    total.name = Html::text(out.say(super::need::TOTAL));
    let caption = Html::text(&filled(out.say(YEARS), &[&name(out, rule)]));
    let columns = YEARS_COLUMNS.map(|name| Html::text(out.say(name))).into();
    out.table(&Table {
        id: format!("years-{}", rule.name),
        caption,
        columns,
        rows,
        foot: vec![total],
        ..Table::default()
    });
}

/// A scenario's name in the page's language.
pub(super) fn name<'a>(out: &Page<'_>, rule: &'a ScenarioRule) -> &'a str {
    out.language.of_both(&rule.nombre, &rule.name)
}

fn connected(reach: &Reach) -> u64 {
    reach.schools + reach.health
}

const COSTS: Text = text(
    "Conectar un local cuesta entre {0} guaraníes (programa {1}) y {2} guaraníes (programa {3}), según lo publicado; el plan calcula con \
     {4}. Se supone un dólar a {5} guaraníes.",
    "To connect a site costs between {0} guaraníes (programme {1}) and {2} guaraníes (programme {3}), as published; the years are filled \
     at {4}. A dollar is assumed to be {5} guaraníes.",
);
const SIDE: Text = text(
    "Los tres presupuestos comparados, de {0} a {1}, todos los años juntos. Mujeres y hombres: a lo sumo, habitantes del distrito. La última \
     columna dice en cuánto podría superarlo, como máximo, el mejor plan posible.",
    "The three budgets side by side, {0} to {1}, all years together. Women and men: at most, residents of the district. The last column says \
     by how much the best plan there is could be above this one.",
);
const SIDE_COLUMNS: [Text; 12] = [
    text("Presupuesto", "Budget"),
    text("Guaraníes por año", "Guaraníes a year"),
    text("Locales conectados", "Sites connected"),
    text("De los candidatos", "Of the candidates"),
    text("Locales remotos", "Remote sites"),
    text("Niñas", "Girls"),
    text("Niños", "Boys"),
    text("Mujeres, a lo sumo", "Women, at most"),
    text("Hombres, a lo sumo", "Men, at most"),
    text("Locales, con el costo más alto", "Sites if each cost the most"),
    text("Locales, con el costo más bajo", "Sites if each cost the least"),
    text("Mejora posible, por millón, a lo sumo", "Possible gain, per million, at most"),
];
const SITES: Text = text("Locales conectados por año", "Sites connected each year");
const SITES_OF: Text = text("Presupuesto {0}: locales por año", "The {0} budget: sites each year");
const RURAL: Text = text("escuelas rurales", "rural schools");
const OTHER: Text =
    text("escuelas urbanas y establecimientos de salud", "urban schools and health facilities");
const MONEY: Text = text("Dinero por año", "Money each year");
const MONEY_OF: Text = text(
    "Presupuesto {0}: miles de millones de guaraníes por año",
    "The {0} budget: thousand million guaraníes each year",
);
const LIMIT: Text = text(
    "Las barras son lo que cuestan los locales de cada año; la línea discontinua, el presupuesto anual. Lo que no alcanza para otro local \
     pasa al año siguiente.",
    "Bars are what the sites of each year cost; the dashed line is the yearly budget. What does not pay for one more site goes to the next \
     year.",
);
const YEARS: Text = text(
    "Presupuesto {0}: lo que se conecta cada año. Mujeres y hombres: a lo sumo, habitantes del distrito en el año de su primer \
     establecimiento.",
    "The {0} budget: what is connected each year. Women and men: at most, residents of the district in the year of its first facility.",
);
const YEARS_COLUMNS: [Text; 10] = [
    text("Año", "Year"),
    text("Escuelas", "Schools"),
    text("Salud", "Health"),
    text("Rurales", "Rural"),
    text("Remotos", "Remote"),
    text("Niñas", "Girls"),
    text("Niños", "Boys"),
    text("Mujeres, a lo sumo", "Women, at most"),
    text("Hombres, a lo sumo", "Men, at most"),
    text("Guaraníes", "Guaraníes"),
];
/// A tenth of a thousand million.
const TENTH: u64 = 100_000_000;
