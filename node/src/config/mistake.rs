//! Where a mistake stands: from a byte range of the text to line, section and key.

use std::ops::Range;

/// A mistake and where it is.
#[derive(Debug)]
pub(super) struct At {
    pub(super) span: Range<usize>,
    pub(super) reason: String,
}

impl At {
    pub(super) fn new(span: Range<usize>, reason: impl Into<String>) -> Self {
        Self { span, reason: reason.into() }
    }

    /// Of the file as a whole.
    pub(super) fn start(reason: &str) -> Self {
        Self::new(0..0, reason)
    }
}

impl From<toml::de::Error> for At {
    fn from(error: toml::de::Error) -> Self {
        let message = error.message().trim_end();
        let advice = if message.starts_with("missing field") {
            ": add it (docs/node.toml explains every key)"
        } else if message.starts_with("unknown field") {
            ": correct its name or remove it"
        } else {
            ""
        };
        Self::new(error.span().unwrap_or_default(), format!("{message}{advice}"))
    }
}

/// Line (from 1) and `[section] key` of a span. A span over several lines is the table that starts there.
pub(super) fn locate(text: &str, span: Range<usize>) -> (usize, String) {
    let start = span.start.min(text.len());
    let before = text.as_bytes().get(..start).unwrap_or_default();
    let number = before.iter().filter(|&&byte| byte == b'\n').count();
    let lines: Vec<&str> = text.lines().take(number + 1).collect();
    let section = lines.iter().rev().map(|line| line.trim()).find(|line| line.starts_with('['));
    let section = section.and_then(|line| line.find(']').and_then(|end| line.get(..=end)));
    let section =
        section.map(|header| if header.starts_with("[[") { format!("{header}]") } else { header.to_owned() });
    let line = lines.get(number).map_or("", |line| line.trim());
    let key = line.split_once('=').filter(|_| !line.starts_with('[')).map(|(key, _)| key.trim().to_owned());
    let place = [section, key].into_iter().flatten().collect::<Vec<_>>().join(" ");
    (number + 1, if place.is_empty() { "the file".to_owned() } else { place })
}
