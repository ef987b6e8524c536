//! How long each stage of an exchange takes, and how often and why one is refused: one histogram for each stage, one
//! counter for each code. Handles are looked up once, so that recording costs no lock and no allocation.

use std::sync::OnceLock;
use std::time::Instant;

use metrics::Histogram;
use peabiru_proto::fault::{Fault, Place};

/// The stages of design §5 that take time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From the last byte of a call to the first of its answer.
    Door,
    /// A wait for the ledger: write, sync, signature.
    Commit,
    /// From the sealed request to the peer's answer.
    Link,
    /// All checks of an arrived message.
    Guard,
    /// The agency's own service.
    Service,
}

/// Runs until `end`; dropped before, it records nothing.
#[must_use]
#[derive(Debug)]
pub struct Timer {
    stage: Stage,
    started: Instant,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 5] = [Self::Door, Self::Commit, Self::Link, Self::Guard, Self::Service];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Door => "door",
            Self::Commit => "commit",
            Self::Link => "link",
            Self::Guard => "guard",
            Self::Service => "service",
        }
    }

    /// Begins to measure.
    pub fn start(self) -> Timer {
        Timer { stage: self, started: Instant::now() }
    }
}

impl Timer {
    /// Records the time since `start`.
    pub fn end(self) {
        static HISTOGRAMS: OnceLock<[Histogram; Stage::ALL.len()]> = OnceLock::new();
        let histograms = HISTOGRAMS.get_or_init(|| {
            Stage::ALL.map(|stage| metrics::histogram!(STAGE_SECONDS, "stage" => stage.as_str()))
        });
        histograms[self.stage as usize].record(self.started.elapsed().as_secs_f64());
    }
}

/// Counts a refusal by its code and place.
pub fn count_refusal(fault: &Fault) {
    let place = match fault.place {
        Place::ConsumerNode => "consumer_node",
        Place::ProviderNode => "provider_node",
        Place::Service => "service",
        Place::Registry => "registry",
    };
    metrics::counter!(REFUSALS, "code" => fault.code.as_str(), "place" => place).increment(1);
}

/// Histogram of seconds, by `stage`.
pub const STAGE_SECONDS: &str = "peabiru_stage_seconds";
/// Counter, by `code` and `place`.
pub const REFUSALS: &str = "peabiru_refusals_total";
