//! Five lines that a minister would read: the same sentences in the terminal and, with each figure leading to its exchanges, on
//! the pages.

use std::fmt::Display;

use super::Plan;
use super::language::{Language, Text, filled, text};
use crate::figure::{Figure, Share, rounded};
use crate::roadmap::{Reach, Scenario};

/// A sentence and what is put in at its places.
#[derive(Debug)]
pub(super) struct Sentence {
    pub(super) words: Text,
    pub(super) shown: Vec<Shown>,
}

/// What can stand in a sentence.
#[derive(Debug)]
pub(super) enum Shown {
    Number(Figure<u64>),
    /// Empty of nothing.
    Percent(Figure<Share>),
    /// Several beside each other: one for each scenario.
    Side(Vec<Figure<u64>>),
    /// One after the other, each in Spanish and in English: of the settings.
    Names(Vec<[String; 2]>),
    /// No figure of anyone's data: how many rows were kept out.
    Count(u64),
    /// Of the settings, as it is in both languages: a year, a programme.
    Name(String),
}

/// The summary, five lines.
#[must_use]
pub fn summary(plan: &Plan<'_>, language: Language) -> [String; 5] {
    sentences(plan).map(|sentence| sentence.said(language))
}

/// The sentences of the summary; one can be empty.
pub(super) fn sentences(plan: &Plan<'_>) -> [Sentence; 5] {
    let total = &plan.analysis.total;
    let schools = &total.schools;
    let [third, fourth] = money(plan);
    let places = Sentence {
        words: text(
            "{0} locales escolares; {1} son remotos, con {2} niñas y {3} niños; de {4} no se sabe.",
            "{0} school sites; {1} are remote, with {2} girls and {3} boys; of {4} it cannot be known.",
        ),
        shown: vec![
            Shown::Number(schools.all.map(|it| it.sites)),
            Shown::Number(schools.remote.map(|it| it.sites)),
            Shown::Number(schools.remote.map(|it| it.girls)),
            Shown::Number(schools.remote.map(|it| it.boys)),
            Shown::Number(schools.unknown_remoteness.map(|it| it.sites)),
        ],
    };
    let unknown = Sentence {
        words: text(
            "No está publicado qué locales tienen banda ancha; de los demás datos que pide el plan falta el {0}. {1} establecimientos de salud.",
            "Which site has broadband is not published; of the other data that the plan asks for {0} is missing. {1} health facilities.",
        ),
        shown: vec![Shown::Percent(total.unknown.clone()), Shown::Number(super::table::health(total))],
    };
    let kept_out = Sentence {
        words: text(
            "Filas erróneas descartadas: {0}. Consultas sin respuesta: {1}.",
            "Wrong rows kept out: {0}. Questions without answer: {1}.",
        ),
        shown: [plan.findings.accepted.rejected.len(), plan.findings.missing.len()]
            .map(|count| Shown::Count(count as u64))
            .into(),
    };
    [places, unknown, third, fourth, kept_out]
}

fn money(plan: &Plan<'_>) -> [Sentence; 2] {
    let roadmap = match &plan.roadmap {
        Ok(roadmap) => roadmap,
        Err(reason) => {
            return [super::reason::no_plan(reason), nothing()];
        }
    };
    let reached: Vec<_> = roadmap.scenarios.iter().map(Scenario::all_years).collect();
    let million = |budget: &u64| rounded(*budget, 1_000_000);
    let years = plan.settings.years;
    let scenarios = Sentence {
        words: text(
            "{0} a {1}, con {2} millones de guaraníes por año: {3} de {4} locales candidatos.",
            "{0} to {1}, with {2} million guaraníes a year: {3} of {4} candidate sites.",
        ),
        shown: vec![
            Shown::Name(years.first.to_string()),
            Shown::Name(years.last.to_string()),
            Shown::Side(roadmap.scenarios.iter().map(|it| it.budget.map(million)).collect()),
            Shown::Side(reached.iter().map(|it| it.map(Reach::sites)).collect()),
            Shown::Number(roadmap.candidates.map(|all| all.len() as u64)),
        ],
    };
    let Some(middle) = reached.get(reached.len() / 2) else { return [scenarios, nothing()] };
    let people = Sentence {
        words: text(
            "Presupuesto medio: {0} niñas y {1} niños; {2} locales remotos.",
            "Middle budget: {0} girls and {1} boys; {2} remote sites.",
        ),
        shown: vec![
            Shown::Number(middle.map(|reach| reach.girls)),
            Shown::Number(middle.map(|reach| reach.boys)),
            Shown::Number(middle.map(|reach| reach.remote_sites)),
        ],
    };
    [scenarios, people]
}

fn nothing() -> Sentence {
    Sentence { words: text("", ""), shown: Vec::new() }
}

/// What stands in a sentence and may need care: figures, and names that could hold anything.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cited<'a> {
    Number(&'a Figure<u64>),
    Percent(&'a Figure<Share>),
    Name(&'a str),
}

impl Sentence {
    /// Plain.
    pub(super) fn said(&self, language: Language) -> String {
        self.shown_by(self.words.said(language), language, |cited| match cited {
            Cited::Number(figure) => language.number(*figure.value()),
            Cited::Percent(figure) => language.percent(figure.value().per_thousand().unwrap_or_default()),
            Cited::Name(name) => name.to_owned(),
        })
    }

    /// In these words, with each figure as the caller shows it.
    pub(super) fn shown_by(
        &self,
        template: &str,
        language: Language,
        mut show: impl FnMut(Cited<'_>) -> String,
    ) -> String {
        let mut shown: Vec<String> = Vec::new();
        for it in &self.shown {
            let one = match it {
                Shown::Number(figure) => show(Cited::Number(figure)),
                Shown::Percent(figure) => show(Cited::Percent(figure)),
                Shown::Side(figures) => {
                    figures.iter().map(|it| show(Cited::Number(it))).collect::<Vec<_>>().join(" / ")
                }
                Shown::Names(names) => {
                    let said = names
                        .iter()
                        .map(|[es, en]| show(Cited::Name(language.of_both(es.as_str(), en.as_str()))));
                    language.list(&said.collect::<Vec<_>>())
                }
                Shown::Count(count) => language.number(*count),
                Shown::Name(name) => show(Cited::Name(name)),
            };
            shown.push(one);
        }
        let with: Vec<&dyn Display> = shown.iter().map(|it| it as &dyn Display).collect();
        filled(template, &with)
    }
}
