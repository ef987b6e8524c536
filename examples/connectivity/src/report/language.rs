//! What pages and summary say: each text in Spanish and in English, side by side. One without the other does not compile.

use std::fmt::Display;

pub use peabiru_proto::language::Language;
use peabiru_proto::time::Timestamp;

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
    fn a_percent_sign_stays_with_its_number() {
        assert_eq!(unbroken("de 25 a 49 %"), "de 25 a 49\u{a0}%");
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
