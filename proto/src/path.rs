//! Paths of REST services: as a caller sends them, as a contract describes them, as a grant names them.
//!
//! All are compared segment by segment after decoding, never as raw text: what two readers could read differently
//! is refused before anything is compared. The text that goes on to the service is the one that was judged.

mod pattern;
mod template;

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;

pub use pattern::Pattern;
pub use template::{InvalidTemplate, Template};

use crate::limits::{MAX_PATH_BYTES, MAX_PATH_SEGMENTS};

/// The path of a call below its service, judged: `/schools/12`. Its segments are decoded, its text is as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestPath {
    text: String,
    segments: Vec<String>,
}

/// Why a path is not carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No slash at its beginning.
    #[error("a path begins with a slash")]
    Relative,
    /// Too much of it.
    #[error("a path has at most {MAX_PATH_BYTES} bytes and {MAX_PATH_SEGMENTS} segments")]
    TooLong,
    /// A byte that RFC 3986 has no place for in a path, or a semicolon.
    #[error("a path has a character that must be percent-encoded, or a semicolon")]
    Character,
    /// A percent sign without two hex digits, or bytes that are no UTF-8.
    #[error("a path has a percent sign without two hex digits, or bytes that are no UTF-8")]
    Escape,
    /// Encoded twice, as `%252e` is.
    #[error("a path is percent-encoded twice")]
    EncodedTwice,
    /// A slash, backslash, semicolon or control character behind a percent sign, or a letter that becomes one.
    #[error("a path hides a separator or a control character")]
    Hidden,
    /// `.`, `..` or nothing but dots and spaces.
    #[error("a path has a segment of dots")]
    Dots,
    /// Two slashes in a row.
    #[error("a path has an empty segment")]
    Empty,
}

impl RestPath {
    /// Judges a path without its query. An empty one is the service's root.
    ///
    /// # Errors
    /// `PathError`: two readers could read it differently.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let text = if text.is_empty() { "/" } else { text };
        if text.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
        let inner = text.strip_prefix('/').ok_or(PathError::Relative)?;
        let mut segments = Vec::new();
        let mut rest = inner.split('/').peekable();
        while let Some(segment) = rest.next() {
            if segments.len() == MAX_PATH_SEGMENTS {
                return Err(PathError::TooLong);
            }
            if segment.is_empty() && rest.peek().is_some() {
                return Err(PathError::Empty);
            }
            segments.push(decode_segment(segment)?);
        }
        Ok(Self { text: text.to_owned(), segments })
    }

    /// As it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Decoded; the last one is empty if the path ends with a slash.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }
}

fn decode_segment(raw: &str) -> Result<String, PathError> {
    if !raw.bytes().all(allowed_raw) {
        return Err(PathError::Character);
    }
    let segment = decode(raw).ok_or(PathError::Escape)?;
    if has_escape(&segment) {
        return Err(PathError::EncodedTwice);
    }
    // Full-width and other forms of a separator become one in systems that fold letters.
    if segment.nfkc().any(separates) || segment.chars().any(char::is_control) {
        return Err(PathError::Hidden);
    }
    let only_dots = |text: &str| text.chars().all(|letter| letter == '.' || letter.is_whitespace());
    if !segment.is_empty() && (only_dots(&segment) || only_dots(&segment.nfkc().collect::<String>())) {
        return Err(PathError::Dots);
    }
    Ok(segment)
}

/// RFC 3986's `pchar`, without the semicolon: some servers cut a segment there.
fn allowed_raw(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@%".contains(&byte)
}

fn separates(letter: char) -> bool {
    matches!(letter, '/' | '\\' | ';' | '\u{2044}' | '\u{2215}' | '\u{29f8}' | '\u{2216}')
        || letter.is_control()
}

fn has_escape(text: &str) -> bool {
    let hex = |byte: &u8| byte.is_ascii_hexdigit();
    text.as_bytes().windows(3).any(|it| it[0] == b'%' && hex(&it[1]) && hex(&it[2]))
}

/// Percent-decoding, once.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// Whether a method's name is a verb and a path: it is a REST service's then. A bare name of gRPC has no space.
#[must_use]
pub fn is_rest(method: &str) -> bool {
    method.contains(' ')
}

impl fmt::Display for RestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The verbs that X-Road carries.
pub const VERBS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> RestPath {
        RestPath::parse(text).unwrap()
    }

    #[test]
    fn a_path_is_decoded_once_and_kept_as_it_came() {
        let path = path("/a%C3%B1o/%73chools/12/");
        assert_eq!(path.segments(), ["año", "schools", "12", ""]);
        assert_eq!(path.as_str(), "/a%C3%B1o/%73chools/12/");
        assert_eq!(RestPath::parse("").unwrap().segments(), [""]);
    }

    #[test]
    fn what_two_readers_read_differently_is_refused() {
        for (text, error) in [
            ("/a/../b", PathError::Dots),
            ("/a/%2e%2E/b", PathError::Dots),
            ("/a/.%2e", PathError::Dots),
            ("/...", PathError::Dots),
            ("/%20", PathError::Dots),
            ("/a/%252e%252e/b", PathError::EncodedTwice),
            ("/a%2fb", PathError::Hidden),
            ("/a%5cb", PathError::Hidden),
            ("/a\\b", PathError::Character),
            ("/a;x=1/b", PathError::Character),
            ("/a%3bx", PathError::Hidden),
            ("/a%00", PathError::Hidden),
            ("/a%0d%0ab", PathError::Hidden),
            ("/%c0%ae%c0%ae/", PathError::Escape),
            ("/%e0%80%ae", PathError::Escape),
            ("/%u002e", PathError::Escape),
            ("/a%", PathError::Escape),
            ("/%ef%bc%8e%ef%bc%8e/", PathError::Dots),
            ("/a%ef%bc%8fb", PathError::Hidden),
            ("/a%e2%88%95b", PathError::Hidden),
            ("//a", PathError::Empty),
            ("/a//b", PathError::Empty),
            ("/a b", PathError::Character),
            ("/ñ", PathError::Character),
            ("a", PathError::Relative),
        ] {
            assert_eq!(RestPath::parse(text), Err(error), "{text}");
        }
        assert_eq!(RestPath::parse(&"/a".repeat(MAX_PATH_SEGMENTS + 1)), Err(PathError::TooLong));
        assert_eq!(RestPath::parse(&format!("/{}", "a".repeat(MAX_PATH_BYTES))), Err(PathError::TooLong));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_accepted_has_no_hidden_step(text in "[/.%a-f0-9A-F;\\\\{}* ]{0,40}") {
            let _ = Template::new("GET", &text);
            let _ = format!("* {text}").parse::<Pattern>();
            if let Ok(path) = RestPath::parse(&text) {
                let last = path.segments().len() - 1;
                for (at, segment) in path.segments().iter().enumerate() {
                    prop_assert!(segment != "." && segment != ".." && (at == last || !segment.is_empty()));
                    prop_assert!(!segment.contains(['/', '\\', ';']) && !has_escape(segment));
                }
                let everything: Pattern = "* /**".parse().unwrap();
                prop_assert!(everything.covers("GET", &path));
            }
        }
    }
}
