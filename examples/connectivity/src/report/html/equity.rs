//! What rural and remote places, girls and women get of each year, beside their share of the need.

use super::super::language::{Text, filled, text};
use super::Report;
use super::page::{Html, ListTag, Page, Row, Table};
use super::years::name;
use crate::equity::{Equity, Group, Standing};
use crate::figure::{Figure, Share};
use crate::roadmap::Scenario;
use crate::settings::ScenarioRule;

pub(super) fn section(out: &mut Page<'_>, report: &Report<'_>) {
    let Ok(roadmap) = &report.plan.roadmap else {
        return out.paragraph(NOTHING, &[]);
    };
    out.paragraph(INTRODUCTION, &[]);
    for (rule, scenario) in report.plan.settings.scenarios.iter().zip(&roadmap.scenarios) {
        let findings = findings(out, report, scenario);
        let title = Html::text(&filled(out.say(FINDINGS), &[&name(out, rule)]));
        out.add_markup(&format!("<h3>{title}</h3>"));
        out.list(ListTag::Unordered, &findings);
        table(out, report, rule, scenario);
    }
}

/// In words: which group is behind in which years.
fn findings(out: &Page<'_>, report: &Report<'_>, scenario: &Scenario) -> Vec<Html> {
    let rule = &report.plan.settings.equity;
    let standing = |year, group: Group| {
        let all = Equity::of(year);
        let own = all.iter().find(|it| it.group == group);
        own.map_or(Standing::NothingToShare, |it| *it.standing(rule).value())
    };
    let said = |group: Group| {
        let all: Vec<_> = scenario.years.iter().map(|year| (year.year, standing(year, group))).collect();
        let years_when = |is: fn(&Standing) -> bool| -> Vec<String> {
            all.iter().filter(|(_, it)| is(it)).map(|(year, _)| year.to_string()).collect()
        };
        let behind = years_when(|it| matches!(it, Standing::Behind { .. }));
        let done = years_when(|it| *it == Standing::NothingLeft);
        let nothing = years_when(|it| *it == Standing::NothingToShare);
        let words = if nothing.len() + done.len() == all.len() {
            NOTHING_FOR
        } else if behind.is_empty() {
            KEEPS_UP
        } else {
            BEHIND
        };
        let mut said = filled(out.say(words), &[&out.say(who(group)), &out.language.list(&behind)]);
        if !done.is_empty() {
            said.push_str(&filled(out.say(DONE), &[&out.language.list(&done)]));
        }
        Html::text(&said)
    };
    Group::ALL.map(said).into()
}

/// For each group its share of the money and of the beneficiaries, by year, above its share of what was left.
fn table(out: &mut Page<'_>, report: &Report<'_>, rule: &ScenarioRule, scenario: &Scenario) {
    let tolerance = report.plan.settings.equity.tolerance_per_thousand;
    let years: Vec<[Equity; 4]> = scenario.years.iter().map(Equity::of).collect();
    let measures: [(Text, OfEquity, OfEquity); 2] = [
        (MONEY, |it| &it.money, |it| &it.money_need),
        (PEOPLE, |it| &it.beneficiaries, |it| &it.beneficiaries_need),
    ];
    let mut rows = Vec::new();
    for (at, group) in Group::ALL.into_iter().enumerate() {
        for (measure, of, need) in measures {
            let mut cells = Vec::new();
            for year in &years {
                let (share, need) = (of(&year[at]), need(&year[at]));
                let (shown, left) = (out.percent(share), out.percent(need));
                let shown =
                    if share.value().is_below(need.value(), tolerance) { marked(out, &shown) } else { shown };
                let left = out.fill(OF_LEFT, &[&left]);
                cells.push(Html::markup(format!("{shown}<small>{left}</small>")));
            }
            rows.push(Row::new(Html::text(&filled(out.say(measure), &[&out.say(short(group))])), cells));
        }
    }
    let columns = std::iter::once(Html::text(out.say(GROUP)));
    let columns =
        columns.chain(scenario.years.iter().map(|year| Html::text(&year.year.to_string()))).collect();
    let caption = Html::text(&filled(out.say(CAPTION), &[&name(out, rule)]));
    out.table(&Table { id: format!("equity-{}", rule.name), caption, columns, rows, ..Table::default() });
}

type OfEquity = fn(&Equity) -> &Figure<Share>;

/// With a sign and, for those who hear the page, in words: not by colour alone.
fn marked(out: &Page<'_>, cell: &Html) -> Html {
    let words = Html::text(out.say(LESS));
    Html::markup(format!("<span class=\"behind\"><span class=\"heard\">{words} </span>{cell}</span>"))
}

fn who(group: Group) -> Text {
    match group {
        Group::Rural => text("Las zonas rurales", "Rural places"),
        Group::Remote => text("Los lugares remotos", "Remote places"),
        Group::Girls => text("Las niñas", "Girls"),
        Group::Women => text("Las mujeres", "Women"),
    }
}

fn short(group: Group) -> Text {
    match group {
        Group::Rural => text("zonas rurales", "rural places"),
        Group::Remote => text("lugares remotos", "remote places"),
        Group::Girls => text("niñas", "girls"),
        Group::Women => text("mujeres", "women"),
    }
}

const NOTHING: Text = text("Sin plan no hay nada que repartir.", "Without a plan there is nothing to share.");
const INTRODUCTION: Text = text(
    "Cada casilla dice qué parte recibe el grupo ese año y, debajo, qué parte tenía en lo que faltaba conectar al empezar el año. Una cifra con ▼ \
     queda por debajo más de lo que se tolera. Un local del que no se sabe si es rural, o si es remoto, no cuenta ni en lo recibido ni en lo que \
     faltaba.",
    "Each cell says which share the group gets that year and, below, which share it had of what was left to connect when the year began. A \
     figure with ▼ is below that by more than is tolerated. A site of which it is not known whether it is rural, or remote, counts on neither \
     side: not in what was received, not in what was left.",
);
const FINDINGS: Text = text("Presupuesto {0}", "The {0} budget");
const KEEPS_UP: Text = text(
    "{0} no quedan por debajo de su parte de lo que faltaba en ningún año.",
    "{0} are below their share of what was left in no year.",
);
const BEHIND: Text = text(
    "{0} quedan por debajo de su parte de lo que faltaba en {1}.",
    "{0} are below their share of what was left in {1}.",
);
const NOTHING_FOR: Text = text(
    "{0}: con este presupuesto no se conecta, en ningún año, nada en lo que pudieran tener parte.",
    "{0}: with this budget nothing that they could have a share of is connected in any year.",
);
const MONEY: Text = text("Dinero para {0}", "Money for {0}");
const PEOPLE: Text = text("Beneficiarios: {0}", "Beneficiaries: {0}");
const GROUP: Text = text("Grupo", "Group");
const OF_LEFT: Text = text("faltaba: {0}", "left: {0}");
/// After the sentence of a group.
const DONE: Text = text(
    " En {0} ya no quedaba nada suyo por conectar: todo se había conectado antes.",
    " In {0} nothing of theirs was left to connect: all had been connected before.",
);
const CAPTION: Text = text(
    "Presupuesto {0}: parte de cada grupo en el dinero y en los beneficiarios de cada año y, debajo, en lo que faltaba. Una raya: ese año no hay nada que repartir.",
    "The {0} budget: each group's share of the money and of the beneficiaries of each year and, below, of what was left. A dash: that year there is nothing to share.",
);
const LESS: Text = text("menos que su parte:", "less than its share:");
