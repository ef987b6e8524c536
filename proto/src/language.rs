//! The languages in which people are spoken to, and how each writes numbers and lists.

/// Of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Where nothing else is asked for.
    #[default]
    English,
    /// Of Paraguay's administration.
    Spanish,
}

impl Language {
    /// In the order in which pages are written.
    pub const ALL: [Self; 2] = [Self::Spanish, Self::English];

    /// As POSIX chooses it: the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that says something.
    #[must_use]
    pub fn of_environment(read: impl Fn(&str) -> Option<String>) -> Self {
        let locale =
            ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(read).find(|text| !text.is_empty());
        locale.map(|locale| Self::of_tag(&locale)).unwrap_or_default()
    }

    /// As a caller asks for it in `accept-language` (RFC 9110, section 12.5.4): the language that it likes best of those
    /// that there are.
    #[must_use]
    pub fn of_accept_language(header: &str) -> Self {
        let mut best = (0, Self::default());
        for range in header.split(',').take(RANGES_MAX) {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let quality = parameters.trim().strip_prefix("q=").map_or(Some(1_000), thousandths);
            let known = Self::known(tag.trim());
            if let (Some(quality), Some(language)) = (quality, known)
                && quality > best.0
            {
                best = (quality, language);
            }
        }
        best.1
    }

    /// The one of two that is in this language. They stand side by side: one without the other does not compile.
    #[must_use]
    pub fn of_both<T>(self, spanish: T, english: T) -> T {
        match self {
            Self::Spanish => spanish,
            Self::English => english,
        }
    }

    /// As pages name it. (BCP 47)
    #[must_use]
    pub fn code(self) -> &'static str {
        self.of_both("es", "en")
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        self.of_both(Self::English, Self::Spanish)
    }

    /// Groups of three digits.
    #[must_use]
    pub fn number(self, number: u64) -> String {
        let separator = self.of_both('.', ',');
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
    #[must_use]
    pub fn tenths(self, tenths: u64) -> String {
        let point = self.of_both(',', '.');
        format!("{}{point}{}", self.number(tenths / 10), tenths % 10)
    }

    /// A share per thousand, in percent.
    #[must_use]
    pub fn percent(self, per_thousand: u64) -> String {
        self.with_percent_sign(&self.tenths(per_thousand))
    }

    /// A number that is written already: `81,6 %`, `81.6%`.
    #[must_use]
    pub fn with_percent_sign(self, number: &str) -> String {
        // In Spanish the sign is a word of its own, which stays on the line of its number.
        format!("{number}{}", self.of_both("\u{a0}%", "%"))
    }

    /// `a`, `a y b`, `a, b y c`.
    #[must_use]
    pub fn list(self, items: &[String]) -> String {
        let and = self.of_both("y", "and");
        match items {
            [] => String::new(),
            [one] => one.clone(),
            [all @ .., last] => format!("{} {and} {last}", all.join(", ")),
        }
    }

    fn of_tag(tag: &str) -> Self {
        Self::known(tag).unwrap_or_default()
    }

    fn known(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_', '.', '@']).next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("es") {
            Some(Self::Spanish)
        } else if primary.eq_ignore_ascii_case("en") {
            Some(Self::English)
        } else {
            None
        }
    }
}

/// `0` to `1`, with three decimals at most.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = decimals.len() <= 3 && decimals.bytes().all(|digit| digit.is_ascii_digit());
    let value = format!("{whole}{decimals:0<3}").parse().ok().filter(|value| *value <= 1_000);
    value.filter(|_| digits && whole.len() == 1)
}

/// Of one header that are read.
const RANGES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_chooses_the_language() {
        let chosen = |variables: &[(&str, &str)]| {
            Language::of_environment(|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(chosen(&[("LANG", "es_PY.UTF-8")]), Language::Spanish);
        assert_eq!(chosen(&[("LANG", "es_PY.UTF-8"), ("LC_ALL", "C")]), Language::English);
        assert_eq!(chosen(&[("LANG", "en_US"), ("LC_ALL", ""), ("LC_MESSAGES", "es")]), Language::Spanish);
        assert_eq!(chosen(&[("LANG", "est")]), Language::English, "Estonian");
        assert_eq!(chosen(&[]), Language::English);
    }

    #[test]
    fn a_caller_gets_the_language_that_it_likes_best() {
        let cases = [
            ("es", Language::Spanish),
            ("es-PY, es;q=0.9, en;q=0.8", Language::Spanish),
            ("en;q=0.8, ES-419;q=0.9", Language::Spanish),
            ("gn, es;q=0.5, en;q=0.4", Language::Spanish),
            ("es;q=0, en;q=0.1", Language::English),
            ("es;q=1.5", Language::English),
            ("es;q=0.1234", Language::English),
            ("*", Language::English),
            ("", Language::English),
            (";;,q=,es;q", Language::Spanish),
        ];
        for (header, language) in cases {
            assert_eq!(Language::of_accept_language(header), language, "{header}");
        }
    }
    #[test]
    fn numbers_and_lists_are_written_as_each_language_does() {
        assert_eq!(Language::Spanish.number(1_234_567), "1.234.567");
        assert_eq!([0, 999, 1_000].map(|number| Language::English.number(number)), ["0", "999", "1,000"]);
        assert_eq!(Language::ALL.map(|it| it.percent(105)), ["10,5\u{a0}%", "10.5%"]);
        assert_eq!(Language::ALL.map(|it| it.with_percent_sign("95")), ["95\u{a0}%", "95%"]);
        assert_eq!(Language::English.tenths(12_345), "1,234.5");
        assert_eq!(Language::Spanish.list(&["a", "b", "c"].map(str::to_owned)), "a, b y c");
        assert_eq!(Language::ALL.map(Language::other).map(Language::code), ["en", "es"]);
    }
}
