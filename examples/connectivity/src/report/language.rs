//! What pages and summary say: each text in Spanish and in English, side by side. One without the other does not compile.

use std::fmt::Display;

use peabiru_proto::time::Timestamp;

/// In which words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Language {
    Spanish,
    English,
}

/// A text in both languages. `{0}`, `{1}` … stand for what is put in, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) es: &'static str,
    pub(super) en: &'static str,
}

/// Spanish, then English.
pub(super) const fn text(es: &'static str, en: &'static str) -> Text {
    Text { es, en }
}

impl Text {
    /// Its words.
    pub(super) fn said(self, language: Language) -> &'static str {
        language.of_both(self.es, self.en)
    }
}

impl Language {
    /// In the order in which pages are written.
    pub(super) const ALL: [Self; 2] = [Self::Spanish, Self::English];

    /// As `LANG` says: Spanish for `es…`, else English.
    #[must_use]
    pub fn of(lang: &str) -> Self {
        if lang.starts_with("es") { Self::Spanish } else { Self::English }
    }

    /// The one of two that is in this language.
    pub(super) fn of_both<'a>(self, spanish: &'a str, english: &'a str) -> &'a str {
        match self {
            Self::Spanish => spanish,
            Self::English => english,
        }
    }

    /// As pages name it. (BCP 47)
    pub(super) fn code(self) -> &'static str {
        self.of_both("es", "en")
    }

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Spanish => Self::English,
            Self::English => Self::Spanish,
        }
    }

    /// Groups of three digits.
    pub(super) fn number(self, number: u64) -> String {
        let separator = match self {
            Self::Spanish => '.',
            Self::English => ',',
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

    /// A number of tenths, with one decimal.
    pub(super) fn tenths(self, tenths: u64) -> String {
        let point = match self {
            Self::Spanish => ',',
            Self::English => '.',
        };
        format!("{}{point}{}", self.number(tenths / 10), tenths % 10)
    }

    /// A share per thousand, in percent.
    pub(super) fn percent(self, per_thousand: u64) -> String {
        self.with_percent_sign(&self.tenths(per_thousand))
    }

    /// A number that is written already: `81,6 %`, `81.6%`.
    pub(super) fn with_percent_sign(self, number: &str) -> String {
        self.of_both(&unbroken(&format!("{number} %")), &format!("{number}%")).to_owned()
    }

    /// `a`, `a y b`, `a, b y c`.
    pub(super) fn list(self, items: &[String]) -> String {
        let and = self.of_both("y", "and");
        match items {
            [] => String::new(),
            [one] => one.clone(),
            [all @ .., last] => format!("{} {and} {last}", all.join(", ")),
        }
    }
}

/// Until when a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fineness {
    Seconds,
    Milliseconds,
}

/// As people write it: `2026-11-18 11:06:40 UTC`.
pub(super) fn moment(time: Timestamp, fineness: Fineness) -> String {
    let time = time.to_string().replace('T', " ");
    let whole = time.trim_end_matches('Z');
    let kept = match fineness {
        Fineness::Seconds => whole.split('.').next().unwrap_or(whole),
        Fineness::Milliseconds => whole,
    };
    format!("{kept} UTC")
}

/// In Spanish a space stands before the percent sign. It is never a break: the sign stays on the line of its number.
pub(super) fn unbroken(text: &str) -> String {
    text.replace(" %", "\u{a0}%")
}

/// The template with what stands at `{0}`, `{1}` … put there. What is put in is not looked at again.
pub(super) fn filled(template: &str, with: &[&dyn Display]) -> String {
    let mut pieces = template.split('{');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let place =
            piece.split_once('}').and_then(|(at, rest)| Some((with.get(at.parse::<usize>().ok()?)?, rest)));
        match place {
            Some((it, rest)) => out.push_str(&format!("{it}{rest}")),
            None => out.push_str(&format!("{{{piece}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_each_language_does() {
        assert_eq!(Language::Spanish.number(1_234_567), "1.234.567");
        assert_eq!([0, 999, 1_000].map(|number| Language::English.number(number)), ["0", "999", "1,000"]);
        assert_eq!(Language::ALL.map(|it| it.percent(105)), ["10,5\u{a0}%", "10.5%"]);
        assert_eq!(Language::ALL.map(|it| it.with_percent_sign("95")), ["95\u{a0}%", "95%"]);
        assert_eq!(unbroken("de 25 a 49 %"), "de 25 a 49\u{a0}%");
        assert_eq!(Language::English.tenths(12_345), "1,234.5");
        assert_eq!(Language::of("es_PY.UTF-8"), Language::Spanish);
        assert_eq!(Language::Spanish.list(&["a", "b", "c"].map(str::to_owned)), "a, b y c");
    }

    #[test]
    fn times_are_written_for_people() {
        let time = Timestamp::from_ms(1_795_000_000_020);
        assert_eq!(moment(time, Fineness::Seconds), "2026-11-18 11:06:40 UTC");
        assert_eq!(moment(time, Fineness::Milliseconds), "2026-11-18 11:06:40.020 UTC");
    }

    #[test]
    fn what_is_put_in_stands_where_the_template_says_and_is_not_looked_at_again() {
        assert_eq!(filled("{1} de {0}.", &[&5, &"{0}"]), "{0} de 5.");
        assert_eq!(filled("{7} {", &[&5]), "{7} {");
    }
}
