//! What a verification found.

use std::collections::BTreeSet;
use std::fmt;

use super::{Facts, Part};

/// What was found in an evidence file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In one word.
    pub outcome: Outcome,
    /// Who asked whom for what, and what came back, as far as the entries say.
    pub facts: Option<Facts>,
    /// What holds, in the order of checking.
    pub holds: Vec<String>,
    /// What does not.
    pub failures: Vec<Failure>,
    /// What is not in the file, and could be.
    pub missing: Vec<String>,
    /// What other files of the exchange are compared with.
    pub part: Part,
    /// Verifier keys (C2SP signed note) of the ledgers whose checkpoints hold, for tools that others wrote.
    pub vkeys: BTreeSet<String>,
}

/// The result in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that is there holds, up to the roots of the configuration anchor.
    Verified,
    /// Everything that is there fits together; nobody said whom to trust.
    Consistent,
    /// Something does not hold.
    Failed,
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which file of the evidence.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
}

impl Report {
    /// What is known of all times in it: without anchors, nothing more.
    pub const TIME: &str = "asserted, not proven";
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verified => "verified",
            Self::Consistent => "consistent, trust not established",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.what)
    }
}
