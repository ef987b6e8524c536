//! The words of data governance that the spine needs: purposes and grants. No evaluation: that is the guard's.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unicode_normalization::is_nfc;

use crate::id::{InvalidId, ServiceId, SubsystemId};
use crate::limits::{MAX_CODE_BYTES, MAX_METHOD_BYTES};
use crate::path::{InvalidTemplate, Pattern, RestPath, is_rest};
use crate::time::Timestamp;
use crate::wire;

/// Why data are asked for: a registered term, for example `connectivity-planning`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Purpose(Arc<str>);

/// A text is no purpose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a purpose is a term of 1 to {MAX_CODE_BYTES} bytes without spaces or control characters, in normal form C"
)]
pub struct InvalidPurpose;

impl Purpose {
    /// The term.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Purpose {
    type Err = InvalidPurpose;

    fn from_str(text: &str) -> Result<Self, InvalidPurpose> {
        let allowed = |character: char| !character.is_control() && !character.is_whitespace();
        let valid =
            !text.is_empty() && text.len() <= MAX_CODE_BYTES && text.chars().all(allowed) && is_nfc(text);
        if valid { Ok(Self(text.into())) } else { Err(InvalidPurpose) }
    }
}

impl TryFrom<String> for Purpose {
    type Error = InvalidPurpose;

    fn try_from(text: String) -> Result<Self, InvalidPurpose> {
        text.parse()
    }
}

impl From<Purpose> for String {
    fn from(purpose: Purpose) -> Self {
        purpose.0.to_string()
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Purpose({})", self.0)
    }
}

/// Whether a revision allows or withdraws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantState {
    /// It allows.
    Active,
    /// It withdraws what an earlier one allowed.
    Revoked,
}

/// One revision of a provider's permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Unique among the provider's.
    pub id: String,
    /// From 1.
    pub revision: u32,
    /// Who may ask.
    pub consumer: SubsystemId,
    /// Whom.
    pub service: ServiceId,
    /// Which methods; none named means all of the contract's. Of a REST service: verbs and path patterns.
    pub methods: BTreeSet<String>,
    /// For what.
    pub purposes: BTreeSet<Purpose>,
    /// From when.
    pub valid_from: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// Whether it allows.
    pub state: GrantState,
    /// Law or agreement.
    pub legal_basis: String,
}

/// Why a message is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrant {
    /// The consumer or the service.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// A purpose.
    #[error(transparent)]
    Purpose(#[from] InvalidPurpose),
    /// A verb and a path pattern.
    #[error("`{text}`: {source}")]
    Pattern {
        /// What stands there.
        text: String,
        /// What is wrong.
        source: InvalidTemplate,
    },
    /// Anything else.
    #[error("{0}")]
    Other(&'static str),
}

impl Grant {
    /// Whether the method is among those that it names, or it names none.
    #[must_use]
    pub fn covers_method(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// Whether a verb and a path are among those that its patterns cover, or it names none.
    #[must_use]
    pub fn covers_path(&self, verb: &str, path: &RestPath) -> bool {
        let covers = |text: &String| text.parse::<Pattern>().is_ok_and(|pattern| pattern.covers(verb, path));
        self.methods.is_empty() || self.methods.iter().any(covers)
    }

    /// The message; its bytes are what is sealed.
    #[must_use]
    pub fn to_proto(&self) -> wire::Grant {
        let state = match self.state {
            GrantState::Active => wire::GrantState::Active,
            GrantState::Revoked => wire::GrantState::Revoked,
        };
        wire::Grant {
            id: self.id.clone(),
            revision: self.revision,
            consumer: self.consumer.to_string(),
            service: self.service.to_string(),
            methods: self.methods.iter().cloned().collect(),
            purposes: self.purposes.iter().map(ToString::to_string).collect(),
            valid_from_ms: self.valid_from.as_ms(),
            expires_at_ms: self.expires_at.as_ms(),
            state: state.into(),
            legal_basis: self.legal_basis.clone(),
        }
    }

    /// Reads the message. An unspecified state counts as active, so that a request need not say it.
    ///
    /// # Errors
    /// `InvalidGrant` says which field is wrong.
    pub fn from_proto(grant: &wire::Grant) -> Result<Self, InvalidGrant> {
        if grant.id.is_empty() || grant.id.len() > MAX_CODE_BYTES || grant.id.chars().any(char::is_control) {
            return Err(InvalidGrant::Other("a grant's id has 1 to 256 bytes without control characters"));
        }
        if grant.methods.iter().any(|method| method.is_empty() || method.len() > MAX_METHOD_BYTES) {
            return Err(InvalidGrant::Other("a method's name is empty or too long"));
        }
        for text in grant.methods.iter().filter(|text| is_rest(text)) {
            if let Err(source) = text.parse::<Pattern>() {
                return Err(InvalidGrant::Pattern { text: text.clone(), source });
            }
        }
        if grant.methods.len() > METHODS_MAX {
            return Err(InvalidGrant::Other("a grant names at most 256 methods"));
        }
        if grant.expires_at_ms <= grant.valid_from_ms {
            return Err(InvalidGrant::Other("a grant needs an end date after its start"));
        }
        let state = match grant.state() {
            wire::GrantState::Unspecified | wire::GrantState::Active => GrantState::Active,
            wire::GrantState::Revoked => GrantState::Revoked,
        };
        Ok(Self {
            id: grant.id.clone(),
            revision: grant.revision,
            consumer: grant.consumer.parse()?,
            service: grant.service.parse()?,
            methods: grant.methods.iter().cloned().collect(),
            purposes: grant.purposes.iter().map(|purpose| purpose.parse()).collect::<Result<_, _>>()?,
            valid_from: Timestamp::from_ms(grant.valid_from_ms),
            expires_at: Timestamp::from_ms(grant.expires_at_ms),
            state,
            legal_basis: grant.legal_basis.clone(),
        })
    }
}

/// Most methods or patterns that one grant names: each call is compared with them.
const METHODS_MAX: usize = 256;
