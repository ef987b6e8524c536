//! Where a figure was published, in the reader's words, and the published programmes that costs and budgets rest on.

use std::collections::BTreeSet;

use super::Plan;
use super::language::Language;
use crate::figure::Figure;
use crate::wire::conatel::Programme;

/// What an agency sent about a source, and in which language that is if it is not the page's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Words<'a> {
    pub(super) text: &'a str,
    pub(super) lang: Option<&'static str>,
}

/// The programmes that the settings name, in the order of their names.
pub(super) fn programmes<'a>(plan: &'a Plan<'_>) -> Vec<&'a Figure<Programme>> {
    let cost = [&plan.settings.cost.low, &plan.settings.cost.high];
    let parts = plan.settings.scenarios.iter().flat_map(|rule| &rule.parts).map(|part| &part.programme);
    let named: BTreeSet<&String> = cost.into_iter().chain(parts).collect();
    named.into_iter().filter_map(|id| plan.findings.accepted.programmes.get(id)).collect()
}

/// CONATEL writes in English. Titles stay as they are; the words about them are known here, and others stay as sent.
pub(super) fn words(sent: &str, language: Language) -> Words<'_> {
    if language == Language::English {
        return Words { text: sent, lang: None };
    }
    match SPANISH.iter().find(|(english, _)| *english == sent) {
        Some((_, spanish)) => Words { text: spanish, lang: None },
        None => Words { text: sent, lang: Some(Language::English.code()) },
    }
}

/// Whether it is an address of the web and nothing else.
pub(super) fn is_web(url: &str) -> bool {
    ["https://", "http://"].iter().any(|start| url.starts_with(start)) && !url.contains(char::is_whitespace)
}

/// As sent, and in Spanish: sources, programmes, and what they connect.
const SPANISH: [(&str, &str); 15] = [
    ("ABC Color 2026-01-19, INE EPHC TIC 2015-2024", "ABC Color 2026-01-19, INE EPHC TIC 2015-2024"),
    (
        "DPL News 2021, CONATEL National Telecommunications Plan 2021-2025",
        "DPL News 2021, Plan Nacional de Telecomunicaciones 2021-2025 de CONATEL",
    ),
    ("TEDIC, from CONATEL annual report 2018", "TEDIC, con datos del informe anual 2018 de CONATEL"),
    (
        "Última Hora 2021, statement by the Minister of Education",
        "Última Hora 2021, declaración del ministro de Educación",
    ),
    ("ABC Color 2021-05-10, from MEC", "ABC Color 2021-05-10, con datos del MEC"),
    ("Brecha Cero 2024, from MITIC", "Brecha Cero 2024, con datos del MITIC"),
    (
        "La Nación (Paraguay), investigation unit, from MITIC/MEC information requests; read in a third-party reprint",
        "La Nación (Paraguay), unidad de investigación, con respuestas del MITIC y del MEC a pedidos de información; leído en una \
         reimpresión de terceros",
    ),
    ("ABC Color 2023-07-29 and ABC Color 2023-07-18", "ABC Color 2023-07-29 y ABC Color 2023-07-18"),
    ("5días 2019-07", "5días 2019-07"),
    ("School telecommunications network (FEEI)", "red de telecomunicaciones de las escuelas (FEEI)"),
    (
        "COPACO-MITIC school internet agreement (part of P01)",
        "convenio COPACO-MITIC de Internet para escuelas (parte de P01)",
    ),
    ("Universal service fund, yearly envelope", "fondo de servicios universales, monto anual"),
    ("schools", "escuelas"),
    ("MITIC / MEC", "MITIC / MEC"),
    ("MITIC / COPACO", "MITIC / COPACO"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_stay_and_words_about_them_are_the_readers() {
        let sent = "ABC Color 2021-05-10, from MEC";
        let spanish = Words { text: "ABC Color 2021-05-10, con datos del MEC", lang: None };
        assert_eq!(words(sent, Language::Spanish), spanish);
        assert_eq!(words(sent, Language::English), Words { text: sent, lang: None });
        assert_eq!(words("seen by X", Language::Spanish), Words { text: "seen by X", lang: Some("en") });
    }

    #[test]
    fn only_one_address_is_a_link() {
        assert!(
            is_web("https://a.py/1") && !is_web("https://a.py/1 ; https://a.py/2") && !is_web("javascript:1")
        );
    }
}
