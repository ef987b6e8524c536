//! What ends a stream: its halves end together, for the first reason that comes.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use peabiru_proto::entry::{Reached, SideEffects};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::exchange::Arrived;
use crate::guard::refusal::Refusal;
use crate::guard::stream::{Chain, Link, Sent};

/// One stream on one node.
pub(crate) struct Session {
    place: Place,
    /// What the caller is told if the peer is lost.
    lost: FaultCode,
    over: CancellationToken,
    why: OnceLock<Fault>,
    /// When something passed last.
    passed_at: Mutex<Instant>,
    deadline: Option<Instant>,
    /// The direction that this node seals has its CLOSE.
    said_all: AtomicBool,
    /// It had when the session ended.
    had_said_all: AtomicBool,
    ways: Mutex<Ways>,
}

/// How far both directions came, as far as a CLOSE tells.
#[derive(Default)]
struct Ways {
    sent: Sent,
    taken: Option<Reached>,
}

impl Session {
    /// Of the node that asks. `life`: how long it may last, if anybody says.
    pub(crate) fn of_caller(life: Option<Duration>, side_effects: SideEffects) -> Self {
        let lost = match side_effects {
            SideEffects::Present => FaultCode::ExchangeOutcomeUnknown,
            SideEffects::None => FaultCode::NodeUnreachable,
        };
        Self::new(Place::ConsumerNode, life, lost)
    }

    /// Of the node that answers.
    pub(crate) fn of_service(life: Option<Duration>) -> Self {
        Self::new(Place::ProviderNode, life, FaultCode::NodeUnreachable)
    }

    fn new(place: Place, life: Option<Duration>, lost: FaultCode) -> Self {
        let now = Instant::now();
        Self {
            place,
            lost,
            over: CancellationToken::new(),
            why: OnceLock::new(),
            passed_at: Mutex::new(now),
            deadline: life.and_then(|life| now.checked_add(life)),
            said_all: AtomicBool::new(false),
            had_said_all: AtomicBool::new(false),
            ways: Mutex::default(),
        }
    }

    /// An entry of the direction that this node seals was made.
    pub(crate) fn sent(&self, entry: Reached) {
        self.ways().sent.note(entry);
    }

    /// An entry of the peer's direction holds, and its RECEIVED is on its way into our ledger.
    pub(crate) fn took(&self, entry: Reached) {
        self.ways().taken = Some(entry);
    }

    /// The newest entry of the peer's direction that was taken.
    pub(crate) fn taken(&self) -> Option<Reached> {
        self.ways().taken
    }

    /// Judges an entry of the peer's direction: its CLOSE may name what this node sent.
    pub(crate) fn judge(&self, chain: &mut Chain, arrived: &Arrived) -> Result<Link, Refusal> {
        chain.take(arrived, &self.ways().sent)
    }

    /// A panic elsewhere leaves both whole: each change is one step.
    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where this node stands in the exchange.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Ends both halves. The first reason stays.
    pub(crate) fn end(&self, why: Fault) {
        if self.why.set(why).is_ok() {
            self.had_said_all.store(self.said_all.load(Ordering::Acquire), Ordering::Release);
            self.over.cancel();
        }
    }

    /// Waits for the end, and says why.
    pub(crate) async fn ended(&self) -> Fault {
        self.over.cancelled().await;
        self.why.get().cloned().unwrap_or_else(|| self.cancelled("the stream ended"))
    }

    /// Something passed.
    pub(crate) fn touch(&self) {
        *self.passed_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Our CLOSE was made.
    pub(crate) fn set_said_all(&self) {
        self.said_all.store(true, Ordering::Release);
    }

    /// Whether the provider hears of the end only by the end of the link's stream: our CLOSE was made before.
    pub(crate) fn lets_go(&self) -> bool {
        self.place == Place::ConsumerNode && self.had_said_all.load(Ordering::Acquire)
    }

    /// A fault of the link, as the caller is told: after the loss of the peer nobody knows what the service did.
    pub(crate) fn named(&self, fault: Fault) -> Fault {
        if fault.code == FaultCode::NodeUnreachable { Fault { code: self.lost, ..fault } } else { fault }
    }

    /// A fault of whoever gave the stream up.
    pub(crate) fn cancelled(&self, what: &str) -> Fault {
        Fault::new(FaultCode::StreamCancelled, self.place, what)
    }

    /// Ends the stream when its time is over, or if nothing passes either way. Never returns.
    pub(crate) async fn watch(&self) {
        loop {
            let passed_at = *self.passed_at.lock().unwrap_or_else(PoisonError::into_inner);
            let idle_at = passed_at + STREAM_IDLE_MAX;
            let next = self.deadline.map_or(idle_at, |deadline| deadline.min(idle_at));
            sleep_until(next).await;
            let passed_at = *self.passed_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if self.deadline.is_some_and(|deadline| now >= deadline) {
                let what = "the time of the stream is over";
                self.end(Fault::new(FaultCode::ExchangeDeadline, self.place, what));
                return pending().await;
            }
            if now >= passed_at + STREAM_IDLE_MAX {
                let what = format!("nothing passed for {} s", STREAM_IDLE_MAX.as_secs());
                self.end(Fault::new(FaultCode::StreamIdle, self.place, what));
                return pending().await;
            }
        }
    }
}

/// Longest time in which no batch passes either way.
const STREAM_IDLE_MAX: Duration = Duration::from_secs(5 * 60);
/// For the CLOSE of either side once a stream is over.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(5);
