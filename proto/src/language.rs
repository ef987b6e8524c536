//! The languages in which people are spoken to.

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
}
