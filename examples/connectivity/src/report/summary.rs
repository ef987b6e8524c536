//! Five lines that a minister would read.

use super::Plan;
use crate::roadmap::{Reach, Scenario};
use crate::site::Kind;

/// In which words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Language {
    Spanish,
    English,
}

impl Language {
    /// As `LANG` says: Spanish for `es…`, else English.
    #[must_use]
    pub fn of(lang: &str) -> Self {
        if lang.starts_with("es") { Self::Spanish } else { Self::English }
    }
}

/// The summary, five lines.
#[must_use]
pub fn summary(plan: &Plan<'_>, language: Language) -> [String; 5] {
    let total = &plan.analysis.total;
    let (remote, unsure) = (total.schools.remote.value(), total.schools.unknown_remoteness.value());
    let schools = total.schools.all.value();
    let unknown = total.unknown.value().per_thousand().unwrap_or_default();
    let health = plan.analysis.sites.iter().filter(|placed| placed.site.value().kind != Kind::School).count();
    let (kept_out, missing) = (plan.findings.accepted.rejected.len(), plan.findings.missing.len());
    let n = |number: u64| number_in(language, number);
    let lines = match language {
        Language::Spanish => [
            format!(
                "{} locales escolares; {} son remotos, con {} niñas y {} niños; de {} no se puede saber.",
                n(schools.sites),
                n(remote.sites),
                n(remote.girls),
                n(remote.boys),
                n(unsure.sites)
            ),
            format!(
                "Qué local tiene banda ancha no está publicado; de los demás datos falta el {}. {} establecimientos de salud.",
                percent(language, unknown),
                n(health as u64)
            ),
        ],
        Language::English => [
            format!(
                "{} school sites; {} are remote, with {} girls and {} boys; of {} it cannot be known.",
                n(schools.sites),
                n(remote.sites),
                n(remote.girls),
                n(remote.boys),
                n(unsure.sites)
            ),
            format!(
                "Which site has broadband is not published; of the other data {} is missing. {} health facilities.",
                percent(language, unknown),
                n(health as u64)
            ),
        ],
    };
    let [first, second] = lines;
    let [third, fourth] = money(plan, language);
    let fifth = match language {
        Language::Spanish => {
            format!("Filas erróneas apartadas: {kept_out}. Consultas sin respuesta: {missing}.")
        }
        Language::English => format!("Wrong rows kept out: {kept_out}. Questions without answer: {missing}."),
    };
    [first, second, third, fourth, fifth]
}

fn money(plan: &Plan<'_>, language: Language) -> [String; 2] {
    let n = |number: u64| number_in(language, number);
    let roadmap = match (&plan.roadmap, language) {
        (Ok(roadmap), _) => roadmap,
        (Err(reason), Language::Spanish) => {
            return [format!("Sin plan de inversión: {reason}."), String::new()];
        }
        (Err(reason), Language::English) => return [format!("No plan in money: {reason}."), String::new()],
    };
    let years = plan.settings.years;
    let (first, last) = (years.first, years.last);
    let reached = |scenario: &Scenario| -> Reach {
        let all: crate::figure::Figure<Reach> = scenario.years.iter().map(|year| year.reach.clone()).sum();
        *all.value()
    };
    let all = n(roadmap.candidates.value().len() as u64);
    let sites: Vec<_> = roadmap.scenarios.iter().map(|it| (it, reached(it))).collect();
    let listed =
        sites.iter().map(|(_, reach)| n(reach.schools + reach.health)).collect::<Vec<_>>().join(" / ");
    let budgets =
        roadmap.scenarios.iter().map(|it| n(it.budget.value() / 1_000_000)).collect::<Vec<_>>().join(" / ");
    let middle = sites.get(sites.len() / 2).map(|(_, reach)| *reach).unwrap_or_default();
    match language {
        Language::Spanish => [
            format!(
                "{first} a {last}, con {budgets} millones de guaraníes por año: {listed} de {all} locales."
            ),
            format!(
                "Presupuesto medio: {} niñas y {} niños; {} locales remotos.",
                n(middle.girls),
                n(middle.boys),
                n(middle.remote_sites)
            ),
        ],
        Language::English => [
            format!("{first} to {last}, with {budgets} million guaraníes a year: {listed} of {all} sites."),
            format!(
                "Middle budget: {} girls and {} boys; {} remote sites.",
                n(middle.girls),
                n(middle.boys),
                n(middle.remote_sites)
            ),
        ],
    }
}

/// Groups of three digits.
pub(super) fn number_in(language: Language, number: u64) -> String {
    let separator = match language {
        Language::Spanish => '.',
        Language::English => ',',
    };
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(separator);
        }
        out.push(digit);
    }
    out
}

fn percent(language: Language, per_thousand: u64) -> String {
    let (whole, tenth) = (per_thousand / 10, per_thousand % 10);
    match language {
        Language::Spanish => format!("{whole},{tenth} %"),
        Language::English => format!("{whole}.{tenth}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_as_each_language_does() {
        assert_eq!(number_in(Language::Spanish, 1_234_567), "1.234.567");
        assert_eq!([0, 999, 1_000].map(|number| number_in(Language::English, number)), ["0", "999", "1,000"]);
        assert_eq!(percent(Language::Spanish, 105), "10,5 %");
        assert_eq!(Language::of("es_PY.UTF-8"), Language::Spanish);
    }
}
