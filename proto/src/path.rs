//! Paths of REST services: as a caller sends them, as a contract describes them, as a grant names them.
//!
//! All are compared segment by segment after decoding, never as raw text: what two readers could read differently
//! is refused before anything is compared. The text that goes on to the service is the one that was judged.

use std::fmt;
use std::str::FromStr;

use unicode_normalization::UnicodeNormalization as _;

use crate::limits::{MAX_METHOD_BYTES, MAX_PATH_BYTES, MAX_PATH_SEGMENTS};

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

/// Verb and path template of one operation of a contract: `GET /schools/{id}`. Its text is a method's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Template {
    /// Orders before `verb` and `text`: of two that match, the one that says more is first.
    segments: Vec<Piece>,
    verb: String,
    text: String,
}

/// One segment of a template. The order is that of preference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Literal(String),
    /// `{name}` between two texts, which may be empty.
    Variable {
        prefix: String,
        suffix: String,
    },
}

/// Why a text is no template or no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// Too long for a head.
    #[error("verb and path have more than {MAX_METHOD_BYTES} bytes")]
    TooLong,
    /// Not a verb of HTTP that is carried.
    #[error("it begins with none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE")]
    Verb,
    /// Braces that do not pair, or two variables in one segment.
    #[error("a segment has unpaired braces or more than one variable")]
    Braces,
    /// The text between.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Two stars beside something else.
    #[error("`**` stands alone between slashes, once")]
    Stars,
}

impl Template {
    /// The template of a verb and a path as a contract writes it.
    ///
    /// # Errors
    /// `InvalidTemplate`.
    pub fn new(verb: &str, path: &str) -> Result<Self, InvalidTemplate> {
        if !VERBS.contains(&verb) {
            return Err(InvalidTemplate::Verb);
        }
        let text = format!("{verb} {path}");
        if text.len() > MAX_METHOD_BYTES {
            return Err(InvalidTemplate::TooLong);
        }
        let inner = path.strip_prefix('/').ok_or(PathError::Relative)?;
        let count = inner.split('/').count();
        if count > MAX_PATH_SEGMENTS {
            return Err(PathError::TooLong.into());
        }
        let segments = inner.split('/').enumerate().map(|(at, segment)| match segment {
            "" if at + 1 < count => Err(PathError::Empty.into()),
            segment => Piece::parse(segment),
        });
        Ok(Self { segments: segments.collect::<Result<_, _>>()?, verb: verb.to_owned(), text })
    }

    /// `GET /schools/{id}`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `GET`.
    #[must_use]
    pub fn verb(&self) -> &str {
        &self.verb
    }

    /// `/schools/{id}`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text[self.verb.len() + 1..]
    }

    /// Its path with a star for each variable, as X-Road lists it.
    #[must_use]
    pub fn glob(&self) -> String {
        let mut glob = String::new();
        for piece in self.path().split('{') {
            match piece.split_once('}') {
                Some((_, rest)) => glob.extend(["*", rest]),
                None => glob.push_str(piece),
            }
        }
        glob
    }

    /// How many segments a path has that it matches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Never: a template has a segment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether a call's path is one that it describes.
    #[must_use]
    pub fn matches(&self, path: &RestPath) -> bool {
        self.segments.len() == path.segments.len()
            && self.segments.iter().zip(&path.segments).all(|(piece, segment)| piece.matches(segment))
    }

    /// The same but for the names of its variables: two of these contradict each other.
    #[must_use]
    pub fn same_shape(&self, other: &Self) -> bool {
        self.verb == other.verb && self.segments == other.segments
    }
}

impl Piece {
    fn parse(segment: &str) -> Result<Self, InvalidTemplate> {
        let Some((prefix, rest)) = segment.split_once('{') else {
            return literal(segment).map(Self::Literal);
        };
        let (name, suffix) = rest.split_once('}').ok_or(InvalidTemplate::Braces)?;
        if name.is_empty() || name.contains('{') {
            return Err(InvalidTemplate::Braces);
        }
        Ok(Self::Variable { prefix: literal_part(prefix)?, suffix: literal_part(suffix)? })
    }

    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Literal(text) => text == segment,
            Self::Variable { prefix, suffix } => segment
                .strip_prefix(prefix.as_str())
                .and_then(|rest| rest.strip_suffix(suffix.as_str()))
                .is_some_and(|value| !value.is_empty()),
        }
    }
}

fn literal(text: &str) -> Result<String, InvalidTemplate> {
    if text.contains('}') {
        return Err(InvalidTemplate::Braces);
    }
    // Contracts are written by people: letters stand there that a URL would encode.
    let encoded: String = text.chars().map(encode_plain).collect();
    Ok(decode_segment(&encoded)?)
}

/// A part of a segment may be dots: `{name}.json` has one.
fn literal_part(text: &str) -> Result<String, InvalidTemplate> {
    if text.contains(['{', '}']) {
        return Err(InvalidTemplate::Braces);
    }
    let mut part = literal(&format!("{text}x"))?;
    part.pop();
    Ok(part)
}

fn encode_plain(letter: char) -> String {
    if !letter.is_ascii() || letter == ' ' {
        let mut buffer = [0; 4];
        return letter.encode_utf8(&mut buffer).bytes().map(|byte| format!("%{byte:02X}")).collect();
    }
    letter.to_string()
}

/// Verbs and paths that a grant covers: `GET /schools/*`, `* /schools/**`. As in X-Road, `*` stands for one segment
/// (or a part of one) and `**` for any number of them; a variable in braces stands for one, so that a template of the
/// contract is a pattern too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    verb: Option<String>,
    segments: Vec<Wild>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wild {
    /// Texts between stars: without a star there is one.
    Segment(Vec<String>),
    /// `**`
    Any,
}

impl Pattern {
    /// Whether it covers a call.
    #[must_use]
    pub fn covers(&self, verb: &str, path: &RestPath) -> bool {
        if self.verb.as_deref().is_some_and(|own| own != verb) {
            return false;
        }
        let segments = path.segments();
        let Some(any) = self.segments.iter().position(|wild| *wild == Wild::Any) else {
            return segments.len() == self.segments.len() && matched(&self.segments, segments);
        };
        // `**` stands once: what is before it matches at the beginning, what is after it at the end.
        let (before, after) = (&self.segments[..any], &self.segments[any + 1..]);
        if segments.len() <= before.len() + after.len() {
            return false;
        }
        matched(before, &segments[..before.len()])
            && matched(after, &segments[segments.len() - after.len()..])
    }
}

impl Pattern {
    /// Whether it covers some path that a template means: for lists, not for decisions. A variable is taken for one
    /// value, so a pattern that names values is not found to meet it unless it ends in a star.
    #[must_use]
    pub fn meets(&self, template: &Template) -> bool {
        let values = template.segments.iter().map(|piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Variable { prefix, suffix } => format!("{prefix}x{suffix}"),
        });
        self.covers(template.verb(), &RestPath { text: String::new(), segments: values.collect() })
    }
}

fn matched(wild: &[Wild], segments: &[String]) -> bool {
    wild.iter().zip(segments).all(|(wild, segment)| match wild {
        Wild::Any => true,
        Wild::Segment(texts) => matched_segment(texts, segment),
    })
}

/// The first text at the beginning, the last at the end, the others in order between them.
fn matched_segment(texts: &[String], segment: &str) -> bool {
    let (Some((first, rest)), false) = (texts.split_first(), texts.is_empty()) else { return false };
    let Some((last, between)) = rest.split_last() else { return first == segment };
    let Some(mut left) =
        segment.strip_prefix(first.as_str()).and_then(|left| left.strip_suffix(last.as_str()))
    else {
        return false;
    };
    for text in between {
        let Some(at) = left.find(text.as_str()) else { return false };
        left = &left[at + text.len()..];
    }
    !segment.is_empty()
}

impl FromStr for Pattern {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        if text.len() > MAX_METHOD_BYTES {
            return Err(InvalidTemplate::TooLong);
        }
        let (verb, path) = text.split_once(' ').ok_or(InvalidTemplate::Verb)?;
        let verb = match verb {
            "*" => None,
            verb if VERBS.contains(&verb) => Some(verb.to_owned()),
            _ => return Err(InvalidTemplate::Verb),
        };
        let inner = path.strip_prefix('/').ok_or(PathError::Relative)?;
        let segments: Vec<_> = inner.split('/').map(wild).collect::<Result<_, _>>()?;
        if segments.iter().filter(|wild| **wild == Wild::Any).count() > 1 {
            return Err(InvalidTemplate::Stars);
        }
        if segments.len() > MAX_PATH_SEGMENTS {
            return Err(PathError::TooLong.into());
        }
        Ok(Self { verb, segments })
    }
}

fn wild(segment: &str) -> Result<Wild, InvalidTemplate> {
    if segment == "**" {
        return Ok(Wild::Any);
    }
    if segment.contains("**") {
        return Err(InvalidTemplate::Stars);
    }
    if segment.contains(['{', '}']) {
        return Ok(match Piece::parse(segment)? {
            Piece::Literal(text) => Wild::Segment(vec![text]),
            Piece::Variable { prefix, suffix } => Wild::Segment(vec![prefix, suffix]),
        });
    }
    if segment.contains('*') {
        return Ok(Wild::Segment(segment.split('*').map(literal_part).collect::<Result<_, _>>()?));
    }
    Ok(Wild::Segment(vec![literal(segment)?]))
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

    #[test]
    fn a_template_matches_segment_by_segment() {
        let template = |text: &str| Template::new("GET", text).unwrap();
        assert!(template("/schools/{id}").matches(&path("/schools/12")));
        assert!(template("/año/{id}.json").matches(&path("/a%C3%B1o/12.json")));
        assert!(!template("/año/{id}.json").matches(&path("/a%C3%B1o/.json")));
        assert!(!template("/schools/{id}").matches(&path("/schools/")));
        assert!(!template("/schools/{id}").matches(&path("/schools/1/2")));
        assert!(template("/").matches(&path("")));
        assert!(template("/a/b") < template("/a/{x}"));
        assert!(template("/a/{x}").same_shape(&template("/a/{y}")));
        for text in ["/a/{x}{y}", "/a/{x", "/a/x}", "/a/../b", "/a//b", "/{}", "a", "/a;b"] {
            assert!(Template::new("GET", text).is_err(), "{text}");
        }
        assert_eq!(Template::new("CONNECT", "/"), Err(InvalidTemplate::Verb));
    }

    #[test]
    fn a_pattern_covers_as_x_roads_does() {
        let covers = |pattern: &str, verb: &str, text: &str| {
            pattern.parse::<Pattern>().unwrap().covers(verb, &path(text))
        };
        assert!(covers("GET /pets/*", "GET", "/pets/1") && covers("* /**", "DELETE", "/"));
        assert!(!covers("GET /pets/*", "POST", "/pets/1") && !covers("GET /pets/*", "GET", "/pets/1/2"));
        assert!(!covers("GET /pets/*", "GET", "/pets/"));
        assert!(covers("GET /pets/**", "GET", "/pets/1/2") && !covers("GET /pets/**", "GET", "/pets"));
        assert!(covers("GET /a/**/z", "GET", "/a/b/c/z") && !covers("GET /a/**/z", "GET", "/a/z"));
        assert!(covers("GET /v*.json", "GET", "/v1.json") && !covers("GET /v*.json", "GET", "/v1.xml"));
        assert!(covers("GET /pets/{id}", "GET", "/pets/1"));
        let meets = |pattern: &str| {
            pattern.parse::<Pattern>().unwrap().meets(&Template::new("GET", "/pets/{id}").unwrap())
        };
        assert!(meets("* /pets/*") && meets("GET /**") && !meets("POST /pets/*") && !meets("GET /pets"));
        assert_eq!(Template::new("GET", "/pets/{id}/a{b}.c").unwrap().glob(), "/pets/*/a*.c");
        for text in ["GET", "GET pets", "get /pets", "GET /a**", "GET /**/**", "GET /../x", "FETCH /x"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
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
