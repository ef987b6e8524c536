//! What stands out in the plan, in words: computed from it, and said only where it is so.

use super::Plan;
use super::language::{Text, text};
use super::summary::{Sentence, Shown};
use crate::figure::Figure;
use crate::roadmap::Roadmap;
use crate::settings::{CRITERIA, ScenarioRule};
use crate::site::Kind;

/// A finding, resting on what it was found in.
#[derive(Debug)]
pub(super) struct Finding {
    /// In files.
    pub(super) name: &'static str,
    pub(super) sentence: Figure<Sentence>,
}

/// Budgets that connect no health facility, although some may be planned.
pub(super) fn no_health_facility(plan: &Plan<'_>, roadmap: &Roadmap) -> Option<Finding> {
    let facilities =
        roadmap.candidates.map(|all| all.iter().filter(|it| it.kind != Kind::School).count() as u64);
    let rules = plan.settings.scenarios.iter().zip(&roadmap.scenarios);
    let reached = rules.map(|(rule, scenario)| (rule, scenario.all_years()));
    let none: Vec<_> = reached.filter(|(_, reached)| reached.value().health == 0).collect();
    if none.is_empty() || *facilities.value() == 0 {
        return None;
    }
    let names = none.iter().map(|(rule, _)| name(rule)).collect();
    let rests = none.iter().fold(facilities.clone(), |all, (_, reached)| all.with(reached, |all, _| *all));
    let words = text(
        "Presupuesto {0}: no se conecta ninguno de los {1} establecimientos de salud candidatos.",
        "The {0} budget: none of the {1} candidate health facilities is connected.",
    );
    let shown = || vec![Shown::Names(names), Shown::Number(facilities)];
    Some(Finding { name: "no_health_facility", sentence: rests.map(|_| Sentence { words, shown: shown() }) })
}

/// Weights of which a quarter less or more gives no district another number of sites.
pub(super) fn weights_without_effect(plan: &Plan<'_>, roadmap: &Roadmap) -> Option<Finding> {
    let rule = plan.settings.scenarios.get(plan.settings.scenarios.len() / 2)?;
    let criteria = plan.settings.weights.all().into_iter().zip(CRITERION);
    let still = criteria.filter(|((weight, _), _)| {
        let mut of = roadmap.sensitivity.iter().filter(|change| change.weight == *weight);
        of.all(|change| change.moves.value().is_empty())
    });
    let names: Vec<_> = still.map(|(_, words)| [words.es, words.en].map(str::to_owned)).collect();
    let first = roadmap.sensitivity.first()?.districts();
    if names.is_empty() {
        return None;
    }
    let rests = roadmap.sensitivity.iter().fold(first, |all, change| all.with(&change.moves, |all, _| *all));
    let words = text(
        "Presupuesto {0}: si una de estas ponderaciones baja o sube un cuarto, en ningún distrito cambia el número de locales conectados: {1}.",
        "The {0} budget: if one of these weights is a quarter less or more, no district gets another number of sites: {1}.",
    );
    let shown = || vec![Shown::Names(vec![name(rule)]), Shown::Names(names)];
    Some(Finding {
        name: "weights_without_effect",
        sentence: rests.map(|_| Sentence { words, shown: shown() }),
    })
}

fn name(rule: &ScenarioRule) -> [String; 2] {
    [rule.nombre.clone(), rule.name.clone()]
}

/// In the order of [`crate::settings::Weights::all`].
pub(super) const CRITERION: [Text; CRITERIA] = [
    text("ruralidad", "rural"),
    text("lejanía", "remote"),
    text("alumnado", "pupils"),
    text("niñas y mujeres", "girls and women"),
    text("salud", "health"),
    text("datos que faltan", "missing data"),
];
