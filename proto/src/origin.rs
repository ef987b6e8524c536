//! Origins: the names of ledgers, which are C2SP key names. FROZEN.
//!
//! `<instance-domain>/<base32 of the first 20 bytes of SHA-256(MemberId ‖ 0 ‖ NodeId)>/<epoch>`; the registry's is
//! `<instance-domain>/registry/<epoch>`. base32 is RFC 4648 in lower case without padding; epochs are decimal from 1.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};

use crate::hash::Digest;
use crate::id::{MemberId, NodeId};

/// Why a text is no domain or origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: {reason}")]
pub struct InvalidOrigin {
    what: &'static str,
    text: String,
    reason: &'static str,
}

/// The instance's domain: `py.peabiru.example`. Lower-case DNS labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(Arc<str>);

/// A ledger's life between declared losses, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(NonZeroU32);

/// The name of one ledger.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(Arc<str>);

impl Domain {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<NonZeroU32> for Epoch {
    fn from(number: NonZeroU32) -> Self {
        Self(number)
    }
}

impl Epoch {
    /// The first.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// From 1; 0 is none.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// As a number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl Origin {
    /// Of the ledger of (member, node, epoch).
    #[must_use]
    pub fn of_ledger(domain: &Domain, member: &MemberId, node: &NodeId, epoch: Epoch) -> Self {
        let digest = Digest::of_parts(&[member.as_str().as_bytes(), &[0], node.as_str().as_bytes()]);
        let name = base32().encode(&digest.as_bytes()[..NAME_BYTES]);
        Self(format!("{}/{name}/{}", domain.as_str(), epoch.number()).into())
    }

    /// Of the registry's own ledger.
    #[must_use]
    pub fn of_registry(domain: &Domain, epoch: Epoch) -> Self {
        Self(format!("{}/{REGISTRY}/{}", domain.as_str(), epoch.number()).into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.rsplit('/').next().and_then(parse_epoch).expect("the constructor parsed the epoch")
    }
}

impl FromStr for Domain {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(label) {
            return Ok(Self(text.into()));
        }
        let reason = "it is made of labels of lower-case letters, digits and inner hyphens, joined by dots";
        Err(InvalidOrigin { what: "domain", text: text.chars().take(DOMAIN_BYTES_MAX).collect(), reason })
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let refuse = |reason| {
            Err(InvalidOrigin { what: "origin", text: text.chars().take(DOMAIN_BYTES_MAX).collect(), reason })
        };
        let mut parts = text.split('/');
        let (Some(domain), Some(name), Some(epoch), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return refuse("it has three parts: domain, name, epoch");
        };
        if domain.parse::<Domain>().is_err() {
            return refuse("its first part is no domain");
        }
        let named = base32().decode(name.as_bytes()).is_ok_and(|bytes| bytes.len() == NAME_BYTES);
        if !named && name != REGISTRY {
            return refuse("its second part is neither `registry` nor 32 characters of lower-case base32");
        }
        match parse_epoch(epoch) {
            Some(_) => Ok(Self(text.into())),
            None => refuse("its last part is no epoch: a decimal number from 1 without leading zeros"),
        }
    }
}

fn parse_epoch(text: &str) -> Option<Epoch> {
    let epoch = Epoch::new(text.parse().ok()?)?;
    (epoch.number().to_string() == text).then_some(epoch)
}

/// Made once: each entry names an origin.
fn base32() -> &'static Encoding {
    static LOWER: LazyLock<Encoding> = LazyLock::new(|| {
        let mut lower = Specification::new();
        lower.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        lower.encoding().expect("the specification of RFC 4648 base32 is valid")
    });
    &LOWER
}

macro_rules! text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = InvalidOrigin;

            fn try_from(text: String) -> Result<Self, InvalidOrigin> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(Domain);
text!(Origin);

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({})", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const REGISTRY: &str = "registry";
/// How much of the hash stands in the name: 160 bits.
const NAME_BYTES: usize = 20;
/// Longest domain, as in DNS.
const DOMAIN_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_ledger_is_frozen() {
        let domain: Domain = "py.peabiru.example".parse().unwrap();
        let (member, node) = ("PY/GOV/MEC".parse().unwrap(), "PY/GOV/MEC/node1".parse().unwrap());
        let origin = Origin::of_ledger(&domain, &member, &node, Epoch::FIRST);
        // printf 'PY/GOV/MEC\0PY/GOV/MEC/node1' | sha256sum | head -c 40 | xxd -r -p | base32 | tr A-Z a-z
        assert_eq!(origin.as_str(), "py.peabiru.example/on47g35sa4w7lm6r36g2n4ppoyou4mow/1");
        assert_eq!(origin.as_str().parse(), Ok(origin.clone()));
        assert_eq!(origin.epoch(), Epoch::FIRST);
        assert_eq!(Origin::of_registry(&domain, Epoch::FIRST).as_str(), "py.peabiru.example/registry/1");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "py",
            "py/registry",
            "py/registry/0",
            "py/registry/01",
            "py/registry/+1",
            "Py/registry/1",
            "py/registry/1/",
            "py/REGISTRY/1",
            "py/aaaa/1",
            "-py/registry/1",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
