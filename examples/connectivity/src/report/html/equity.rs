//! What rural and remote places, girls and women get of each year, beside their share of the need.

use super::super::language::{Text, filled, text};
use super::Report;
use super::page::{Html, ListTag, Page, Row, Table};
use super::years::name;
use crate::equity::{Equity, Group, Standing};
use crate::figure::{Figure, Share};
use crate::roadmap::{Roadmap, Scenario};
use crate::settings::ScenarioRule;

pub(super) fn section(out: &mut Page<'_>, report: &Report<'_>) {
    let Ok(roadmap) = &report.plan.roadmap else {
        return out.paragraph(NOTHING, &[]);
    };
    out.paragraph(INTRODUCTION, &[]);
    for (rule, scenario) in report.plan.settings.scenarios.iter().zip(&roadmap.scenarios) {
        let findings = findings(out, report, roadmap, scenario);
        let title = Html::text(&filled(out.say(FINDINGS), &[&name(out, rule)]));
        out.add_markup(&format!("<h3>{title}</h3>"));
        out.list(ListTag::Unordered, &findings);
        table(out, report, roadmap, (rule, scenario));
    }
}

/// In words: which group is behind in which years.
fn findings(out: &Page<'_>, report: &Report<'_>, roadmap: &Roadmap, scenario: &Scenario) -> Vec<Html> {
    let standing = |year, group: Group| {
        let all = Equity::of(year, &roadmap.need);
        let own = all.iter().find(|it| it.group == group);
        own.map_or(Standing::NothingToShare, |it| *it.standing(&report.plan.settings.equity).value())
    };
    let said = |group: Group| {
        let all: Vec<_> = scenario.years.iter().map(|year| (year.year, standing(year, group))).collect();
        let years_when = |is: fn(&Standing) -> bool| -> Vec<String> {
            all.iter().filter(|(_, it)| is(it)).map(|(year, _)| year.to_string()).collect()
        };
        let behind = years_when(|it| matches!(it, Standing::Behind { .. }));
        let nothing = years_when(|it| *it == Standing::NothingToShare);
        let words = if nothing.len() == all.len() {
            NOTHING_FOR
        } else if behind.is_empty() {
            KEEPS_UP
        } else {
            BEHIND
        };
        Html::text(&filled(out.say(words), &[&out.say(who(group)), &out.language.list(&behind)]))
    };
    Group::ALL.map(said).into()
}

/// For each group its share of the money and of the beneficiaries, by year.
fn table(
    out: &mut Page<'_>,
    report: &Report<'_>,
    roadmap: &Roadmap,
    (rule, scenario): (&ScenarioRule, &Scenario),
) {
    let tolerance = u64::from(report.plan.settings.equity.tolerance_per_thousand);
    let years: Vec<[Equity; 4]> = scenario.years.iter().map(|year| Equity::of(year, &roadmap.need)).collect();
    let measures: [(Text, OfEquity, OfEquity); 2] = [
        (MONEY, |it| &it.money, |it| &it.money_need),
        (PEOPLE, |it| &it.beneficiaries, |it| &it.beneficiaries_need),
    ];
    let mut rows = Vec::new();
    for (at, group) in Group::ALL.into_iter().enumerate() {
        for (measure, of, need) in measures {
            let Some(first) = years.first() else { continue };
            let mut cells = vec![out.percent(need(&first[at]))];
            for year in &years {
                let (share, need) = (of(&year[at]), need(&year[at]));
                let cell = out.percent(share);
                cells.push(if is_behind(share.value(), need.value(), tolerance) {
                    marked(out, &cell)
                } else {
                    cell
                });
            }
            rows.push(Row::new(Html::text(&filled(out.say(measure), &[&out.say(short(group))])), cells));
        }
    }
    let columns = [GROUP, NEED].map(|name| Html::text(out.say(name))).into_iter();
    let columns =
        columns.chain(scenario.years.iter().map(|year| Html::text(&year.year.to_string()))).collect();
    let caption = Html::text(&filled(out.say(CAPTION), &[&name(out, rule)]));
    out.table(&Table { id: format!("equity-{}", rule.name), caption, columns, rows, ..Table::default() });
}

type OfEquity = fn(&Equity) -> &Figure<Share>;

fn is_behind(share: &Share, need: &Share, tolerance: u64) -> bool {
    let behind =
        need.per_thousand().zip(share.per_thousand()).map(|(need, share)| need.saturating_sub(share));
    behind.is_some_and(|behind| behind > tolerance)
}

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
    "La columna «Necesidad» dice qué parte le tocaría a cada grupo si se conectara todo. Una cifra con ▼ queda por debajo de ella más \
     de lo que se tolera.",
    "The column “Need” says which share each group would have if everything were connected. A figure with ▼ is below it by more than is \
     tolerated.",
);
const FINDINGS: Text = text("Presupuesto {0}", "The {0} budget");
const KEEPS_UP: Text = text(
    "{0} no quedan por debajo de su parte de la necesidad en ningún año.",
    "{0} are below their share of the need in no year.",
);
const BEHIND: Text = text(
    "{0} quedan por debajo de su parte de la necesidad en {1}.",
    "{0} are below their share of the need in {1}.",
);
const NOTHING_FOR: Text = text(
    "{0}: con este presupuesto no se conecta, en ningún año, nada en lo que pudieran tener parte.",
    "{0}: with this budget nothing that they could have a share of is connected in any year.",
);
const MONEY: Text = text("Dinero para {0}", "Money for {0}");
const PEOPLE: Text = text("Beneficiarios: {0}", "Beneficiaries: {0}");
const GROUP: Text = text("Grupo", "Group");
const NEED: Text = text("Necesidad", "Need");
const CAPTION: Text = text(
    "Presupuesto {0}: parte de cada grupo en el dinero y en los beneficiarios de cada año. Una raya: ese año no hay nada que repartir.",
    "The {0} budget: each group's share of the money and of the beneficiaries of each year. A dash: that year there is nothing to share.",
);
const LESS: Text = text("menos que su parte:", "less than its share:");
