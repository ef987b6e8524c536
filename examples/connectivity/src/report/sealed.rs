//! Who sealed an exchange, and when: read off its evidence by whoever holds it, and shown beside every figure that rests on it.

use std::collections::BTreeMap;

use peabiru_proto::time::Timestamp;

/// What the evidence of an exchange says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Subsystem that sealed the question.
    pub consumer: String,
    /// When it did.
    pub asked_at: Option<Timestamp>,
    /// Node that sealed the answer.
    pub provider: String,
    /// When it did.
    pub answered_at: Option<Timestamp>,
    /// The grant that allowed it.
    pub grant: Option<String>,
}

/// By exchange: 32 hex digits.
pub type Seals = BTreeMap<String, Sealed>;
