//! Templates of a contract's operations: `GET /schools/{id}`.

use super::{PathError, RestPath, VERBS, decode_segment};
use crate::limits::{MAX_METHOD_BYTES, MAX_PATH_SEGMENTS};

/// Verb and path template of one operation of a contract: `GET /schools/{id}`. Its text is a method's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Template {
    /// Orders before `verb` and `text`: of two that match, the one that says more is first.
    pub(super) segments: Vec<Piece>,
    verb: String,
    text: String,
}

/// One segment of a template. The order is that of preference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
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
    pub(super) fn parse(segment: &str) -> Result<Self, InvalidTemplate> {
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

pub(super) fn literal(text: &str) -> Result<String, InvalidTemplate> {
    if text.contains('}') {
        return Err(InvalidTemplate::Braces);
    }
    // Contracts are written by people: letters stand there that a URL would encode.
    let encoded: String = text.chars().map(encode_plain).collect();
    Ok(decode_segment(&encoded)?)
}

/// A part of a segment may be dots: `{name}.json` has one.
pub(super) fn literal_part(text: &str) -> Result<String, InvalidTemplate> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RestPath {
        RestPath::parse(text).unwrap()
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
}
