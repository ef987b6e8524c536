//! How long each stage of an exchange takes, and how often and why one is refused: one histogram for each stage, one
//! counter for each code. Handles are looked up once, so that recording costs no lock and no allocation.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use metrics::{Counter, Histogram};
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

/// What this process has carried since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Exchanges that its own callers asked for.
    pub asked: u64,
    /// Messages of peers that it answered with a seal.
    pub answered: u64,
    /// Refusals, sealed and unsealed.
    pub refused: u64,
}

/// Counts an exchange that a caller asked for.
pub fn count_asked() {
    static COUNTER: OnceLock<Counter> = OnceLock::new();
    ASKED.fetch_add(1, Ordering::Relaxed);
    COUNTER.get_or_init(|| metrics::counter!(EXCHANGES, "side" => "consumer")).increment(1);
}

/// Counts a message that was answered with a seal.
pub fn count_answered() {
    static COUNTER: OnceLock<Counter> = OnceLock::new();
    ANSWERED.fetch_add(1, Ordering::Relaxed);
    COUNTER.get_or_init(|| metrics::counter!(EXCHANGES, "side" => "provider")).increment(1);
}

/// The counts until now.
#[must_use]
pub fn counts() -> Counts {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Counts { asked: read(&ASKED), answered: read(&ANSWERED), refused: read(&REFUSED) }
}

/// Counts a refusal by its code and place.
pub fn count_refusal(fault: &Fault) {
    let place = match fault.place {
        Place::ConsumerNode => "consumer_node",
        Place::ProviderNode => "provider_node",
        Place::Service => "service",
        Place::Registry => "registry",
    };
    REFUSED.fetch_add(1, Ordering::Relaxed);
    metrics::counter!(REFUSALS, "code" => fault.code.as_str(), "place" => place).increment(1);
}

/// Histogram of seconds, by `stage`.
pub const STAGE_SECONDS: &str = "peabiru_stage_seconds";
static ASKED: AtomicU64 = AtomicU64::new(0);
static ANSWERED: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// Counter, by `side`.
pub const EXCHANGES: &str = "peabiru_exchanges_total";
/// Counter, by `code` and `place`.
pub const REFUSALS: &str = "peabiru_refusals_total";
