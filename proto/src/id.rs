//! Identifiers, X-Road's: `INSTANCE/CLASS/MEMBER[/SUBSYSTEM[/SERVICE]]`, percent-encoded part by part.
//!
//! The canonical text is the identity: two are equal exactly when their texts are, byte by byte. RFC 3986 unreserved
//! characters stand bare, every other byte of the UTF-8 (NFC) text as `%XX` in upper case. Refused in any part:
//! control characters, `% : ; / \`, the zero-width space and the byte order mark (as X-Road refuses them at
//! registration).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unicode_normalization::is_nfc;

use crate::limits::{MAX_ID_BYTES, MAX_ID_PART_CHARS};
use crate::path::decode;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: {reason}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("it has {found} parts between slashes, {expected} are needed ({form})")]
    PartCount { found: usize, expected: usize, form: &'static str },
    #[error("part {number} is empty")]
    EmptyPart { number: usize },
    #[error("part {number} is longer than {MAX_ID_PART_CHARS} characters")]
    LongPart { number: usize },
    #[error("it is longer than {MAX_ID_BYTES} bytes")]
    Long,
    #[error("part {number} is not written canonically: write `{canonical}`")]
    NotCanonical { number: usize, canonical: String },
    #[error("part {number} has a percent sign without two hex digits, or is not UTF-8 after decoding")]
    BadEscape { number: usize },
    #[error("part {number} is not in Unicode normal form C")]
    NotNfc { number: usize },
    #[error("part {number} has the character {character:?}, which is not allowed")]
    Forbidden { number: usize, character: char },
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal, $parts:literal, $form:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The canonical text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            #[allow(dead_code, reason = "an instance has one part")]
            fn raw_part(&self, number: usize) -> &str {
                self.0.split('/').nth(number).expect("the constructor counted the parts")
            }

            /// The first `count` parts with the slashes between them.
            #[allow(dead_code, reason = "an instance has no shorter form")]
            fn prefix(&self, count: usize) -> Arc<str> {
                let end = self.0.match_indices('/').nth(count - 1).map_or(self.0.len(), |(at, _)| at);
                Arc::from(&self.0[..end])
            }
        }

        impl $name {
            /// From codes as people write them, one for each part; percent-encodes where needed.
            ///
            /// # Errors
            /// `InvalidId` names the part that is not allowed, or says how many are needed.
            pub fn from_codes<C: AsRef<str>>(codes: &[C]) -> Result<Self, InvalidId> {
                codes.iter().map(|code| encode(code.as_ref())).collect::<Vec<_>>().join("/").parse()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check(text, $parts, $form)
                    .map(|()| Self(Arc::from(text)))
                    .map_err(|reason| InvalidId { what: $what, text: shortened(text), reason })
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

identifier! {
    /// One road under one authority: `PY`.
    InstanceId, "instance identifier", 1, "INSTANCE"
}
identifier! {
    /// A legal entity on the road: `PY/GOV/MEC`.
    MemberId, "member identifier", 3, "INSTANCE/CLASS/MEMBER"
}
identifier! {
    /// An information system of a member: `PY/GOV/MEC/education`.
    SubsystemId, "subsystem identifier", 4, "INSTANCE/CLASS/MEMBER/SUBSYSTEM"
}
identifier! {
    /// A service of a subsystem: `PY/GOV/MEC/education/py.mec.v1.SchoolService`.
    ServiceId, "service identifier", 5, "INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE"
}
identifier! {
    /// A security server: `PY/GOV/MEC/node1`. A type of its own: it never equals a subsystem.
    NodeId, "node identifier", 4, "INSTANCE/CLASS/MEMBER/SERVER"
}

impl MemberId {
    /// From codes as people write them; percent-encodes where needed.
    ///
    /// # Errors
    /// `InvalidId` names the part that is not allowed.
    pub fn new(instance: &InstanceId, class: &str, code: &str) -> Result<Self, InvalidId> {
        format!("{instance}/{}/{}", encode(class), encode(code)).parse()
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        InstanceId(self.prefix(1))
    }

    /// The member class, decoded.
    #[must_use]
    pub fn class(&self) -> String {
        decoded(self.raw_part(1))
    }

    /// The member's code, decoded.
    #[must_use]
    pub fn code(&self) -> String {
        decoded(self.raw_part(2))
    }
}

impl SubsystemId {
    /// The subsystem `code` of `member`.
    ///
    /// # Errors
    /// `InvalidId` if the code is not allowed.
    pub fn new(member: &MemberId, code: &str) -> Result<Self, InvalidId> {
        format!("{member}/{}", encode(code)).parse()
    }

    /// Whose it is.
    #[must_use]
    pub fn member(&self) -> MemberId {
        MemberId(self.prefix(3))
    }

    /// Its code, decoded.
    #[must_use]
    pub fn code(&self) -> String {
        decoded(self.raw_part(3))
    }
}

impl ServiceId {
    /// The service `code` of `subsystem`.
    ///
    /// # Errors
    /// `InvalidId` if the code is not allowed.
    pub fn new(subsystem: &SubsystemId, code: &str) -> Result<Self, InvalidId> {
        format!("{subsystem}/{}", encode(code)).parse()
    }

    /// Which information system offers it.
    #[must_use]
    pub fn subsystem(&self) -> SubsystemId {
        SubsystemId(self.prefix(4))
    }

    /// Whose it is.
    #[must_use]
    pub fn member(&self) -> MemberId {
        MemberId(self.prefix(3))
    }

    /// Its code, decoded: for gRPC the full protobuf name of the service.
    #[must_use]
    pub fn code(&self) -> String {
        decoded(self.raw_part(4))
    }
}

impl NodeId {
    /// The node `code` of `owner`.
    ///
    /// # Errors
    /// `InvalidId` if the code is not allowed.
    pub fn new(owner: &MemberId, code: &str) -> Result<Self, InvalidId> {
        format!("{owner}/{}", encode(code)).parse()
    }

    /// The member that runs it.
    #[must_use]
    pub fn owner(&self) -> MemberId {
        MemberId(self.prefix(3))
    }

    /// Its code, decoded.
    #[must_use]
    pub fn code(&self) -> String {
        decoded(self.raw_part(3))
    }
}

fn check(text: &str, expected: usize, form: &'static str) -> Result<(), Reason> {
    if text.len() > MAX_ID_BYTES {
        return Err(Reason::Long);
    }
    let found = text.split('/').count();
    if found != expected {
        return Err(Reason::PartCount { found, expected, form });
    }
    (1..).zip(text.split('/')).try_for_each(|(number, part)| check_part(number, part))
}

fn check_part(number: usize, part: &str) -> Result<(), Reason> {
    if part.is_empty() {
        return Err(Reason::EmptyPart { number });
    }
    let text = decode(part).ok_or(Reason::BadEscape { number })?;
    if text.chars().count() > MAX_ID_PART_CHARS {
        return Err(Reason::LongPart { number });
    }
    if let Some(character) = text.chars().find(|&character| forbidden(character)) {
        return Err(Reason::Forbidden { number, character });
    }
    if !is_nfc(&text) {
        return Err(Reason::NotNfc { number });
    }
    // `.` and `..` would be taken for steps in a path.
    if text == "." || text == ".." {
        return Err(Reason::Forbidden { number, character: '.' });
    }
    let canonical = encode(&text);
    if canonical == part { Ok(()) } else { Err(Reason::NotCanonical { number, canonical }) }
}

fn forbidden(character: char) -> bool {
    character.is_control() || matches!(character, '%' | ':' | ';' | '/' | '\\' | '\u{200b}' | '\u{feff}')
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if unreserved(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
        out
    })
}

fn decoded(part: &str) -> String {
    decode(part).expect("the constructor decoded every part")
}

/// A hostile text must not fill a log.
fn shortened(text: &str) -> String {
    text.chars().take(MAX_ID_PART_CHARS).collect()
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason<T: FromStr<Err = InvalidId> + fmt::Debug>(text: &str) -> Reason {
        text.parse::<T>().unwrap_err().reason
    }

    #[test]
    fn parts_come_back_decoded() {
        let service: ServiceId = "PY/GOV/MEC/educaci%C3%B3n/py.mec.v1.SchoolService".parse().unwrap();
        assert_eq!(service.code(), "py.mec.v1.SchoolService");
        assert_eq!(service.subsystem().code(), "educación");
        assert_eq!(service.member().as_str(), "PY/GOV/MEC");
        assert_eq!(
            (service.member().class(), service.member().instance().as_str().to_owned()),
            ("GOV".into(), "PY".into())
        );
        assert_eq!(SubsystemId::new(&service.member(), "educación"), Ok(service.subsystem()));
    }

    #[test]
    fn one_identifier_has_one_text() {
        assert!(
            matches!(reason::<MemberId>("PY/GOV/%4DEC"), Reason::NotCanonical { number: 3, canonical } if canonical == "MEC")
        );
        assert!(
            matches!(reason::<MemberId>("PY/GOV/a%c3%b3"), Reason::NotCanonical { .. }),
            "lower-case escape"
        );
        assert!(matches!(reason::<MemberId>("PY/GOV/ó"), Reason::NotCanonical { .. }), "bare non-ASCII");
        assert!(matches!(reason::<MemberId>("PY/GOV/o%CC%81"), Reason::NotNfc { number: 3 }));
    }

    #[test]
    fn what_x_road_refuses_is_refused() {
        for (text, character) in [
            ("a%25", '%'),
            ("a%3A", ':'),
            ("a%2F", '/'),
            ("a%5C", '\\'),
            ("a%00", '\0'),
            ("%E2%80%8B", '\u{200b}'),
        ] {
            let text = format!("PY/GOV/{text}");
            assert_eq!(reason::<MemberId>(&text), Reason::Forbidden { number: 3, character });
        }
        assert_eq!(reason::<MemberId>("PY//MEC"), Reason::EmptyPart { number: 2 });
        assert!(matches!(reason::<MemberId>("PY/GOV"), Reason::PartCount { found: 2, expected: 3, .. }));
        assert_eq!(reason::<MemberId>("PY/GOV/%4"), Reason::BadEscape { number: 3 });
        assert_eq!(reason::<MemberId>("PY/GOV/%FF"), Reason::BadEscape { number: 3 });
        assert_eq!(reason::<MemberId>("PY/GOV/.."), Reason::Forbidden { number: 3, character: '.' });
    }

    #[test]
    fn guarani_letters_keep_their_own_code_points() {
        // g̃ has no composed form: it stays a letter and a combining tilde in NFC.
        let member = MemberId::new(&"PY".parse().unwrap(), "GOV", "Mba'eg\u{303}").unwrap();
        assert_eq!(member.as_str(), "PY/GOV/Mba%27eg%CC%83");
        assert_eq!(member.code(), "Mba'eg\u{303}");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_has_one_text(codes in proptest::collection::vec("\\PC{1,12}", 4)) {
            let text = codes.iter().map(|code| encode(code)).collect::<Vec<_>>().join("/");
            if let Ok(id) = text.parse::<SubsystemId>() {
                prop_assert_eq!(id.as_str(), &text);
                prop_assert_eq!(id.code(), codes[3].clone());
                prop_assert_eq!(SubsystemId::new(&id.member(), &id.code()), Ok(id));
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*") {
            if let Ok(id) = text.parse::<ServiceId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
