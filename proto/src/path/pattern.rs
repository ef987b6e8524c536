//! Patterns of a grant: `GET /schools/*`, `* /schools/**`.

use std::str::FromStr;

use super::template::{Piece, literal, literal_part};
use super::{InvalidTemplate, PathError, RestPath, Template, VERBS};
use crate::limits::{MAX_METHOD_BYTES, MAX_PATH_SEGMENTS};

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

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RestPath {
        RestPath::parse(text).unwrap()
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
}
