//! What ends a stream: its halves end together, for the first reason that comes.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use peabiru_proto::entry::{Reached, SideEffects, Verdict};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::core::{Core, internal, ledger_fault};
use crate::exchange::Arrived;
use crate::guard::refusal::Refusal;
use crate::guard::stream::{Chain, Link, Sent};

/// All streams of a node.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Longest time in which no batch passes either way.
    idle: Duration,
    open: AtomicUsize,
}

/// One stream on one node.
pub(crate) struct Session {
    of: Arc<Sessions>,
    place: Place,
    /// What the caller is told if the peer is lost.
    lost: FaultCode,
    over: CancellationToken,
    why: OnceLock<Fault>,
    /// The service has ended its answer, and hears no more of the request.
    answered: CancellationToken,
    /// When something passed last.
    passed_at: Mutex<Instant>,
    deadline: Option<Instant>,
    /// The direction that this node seals has its CLOSE.
    said_all: AtomicBool,
    /// It had when the session ended.
    had_said_all: AtomicBool,
    ways: Mutex<Ways>,
    /// What both directions put into our ledger.
    kept_bytes: AtomicU64,
    /// What allowed the stream has ended.
    revoked: AtomicBool,
}

/// How far both directions came, as far as a CLOSE tells.
#[derive(Default)]
struct Ways {
    sent: Sent,
    taken: Option<Reached>,
}

impl Sessions {
    /// None; each ends when nothing passed for so long.
    pub(crate) fn new(idle: Duration) -> Arc<Self> {
        Arc::new(Self { idle, open: AtomicUsize::new(0) })
    }

    /// How many go on.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

impl Session {
    /// Of the node that asks. `life`: how long it may last, if anybody says.
    pub(crate) fn of_caller(of: &Arc<Sessions>, life: Option<Duration>, side_effects: SideEffects) -> Self {
        let lost = match side_effects {
            SideEffects::Present => FaultCode::ExchangeOutcomeUnknown,
            SideEffects::None => FaultCode::NodeUnreachable,
        };
        Self::new(of, Place::ConsumerNode, life, lost)
    }

    /// Of the node that answers.
    pub(crate) fn of_service(of: &Arc<Sessions>, life: Option<Duration>) -> Self {
        Self::new(of, Place::ProviderNode, life, FaultCode::NodeUnreachable)
    }

    fn new(of: &Arc<Sessions>, place: Place, life: Option<Duration>, lost: FaultCode) -> Self {
        let now = Instant::now();
        of.open.fetch_add(1, Ordering::AcqRel);
        Self {
            of: Arc::clone(of),
            place,
            lost,
            over: CancellationToken::new(),
            why: OnceLock::new(),
            answered: CancellationToken::new(),
            passed_at: Mutex::new(now),
            deadline: life.and_then(|life| now.checked_add(life)),
            said_all: AtomicBool::new(false),
            had_said_all: AtomicBool::new(false),
            ways: Mutex::default(),
            kept_bytes: AtomicU64::new(0),
            revoked: AtomicBool::new(false),
        }
    }

    /// An entry with so much payload is about to go into our ledger. Streams leave the last of the disk to messages that are
    /// whole: they alone could fill it without an end.
    ///
    /// # Errors
    /// `node.disk_full`.
    pub(crate) async fn keep(&self, core: &Core, payload_bytes: usize) -> Result<(), Fault> {
        let bytes = payload_bytes as u64 + ENTRY_DISK_BYTES;
        let before = self.kept_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before > 0 && before / DISK_LOOK_BYTES == before.saturating_add(bytes) / DISK_LOOK_BYTES {
            return Ok(());
        }
        let files = core.spool.files.clone();
        let looked = tokio::task::spawn_blocking(move || files.check_space(STREAM_FREE_BYTES_MIN)).await;
        let looked = looked.map_err(|_| internal("a look at the disk came to no end"))?;
        looked.map_err(|error| ledger_fault(&error, self.place))
    }

    /// Makes an entry of the direction that this node seals, told what was taken of the other, and hands it to our ledger. Nothing
    /// is taken meanwhile: what the entry does not name has its RECEIVED after it.
    pub(crate) fn say<T>(
        &self,
        make: impl FnOnce(Option<Reached>, &mut Sent) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut ways = self.ways();
        let taken = ways.taken;
        make(taken, &mut ways.sent)
    }

    /// An entry of the peer's direction holds: `note` hands its RECEIVED to our ledger.
    pub(crate) fn take<T>(
        &self,
        entry: Reached,
        note: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut ways = self.ways();
        let noted = note()?;
        ways.taken = Some(entry);
        Ok(noted)
    }

    /// Judges an entry of the peer's direction: it may name what this node sent.
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

    /// Ends both halves for what allowed the stream has ended: nothing that comes from now on is accepted.
    pub(crate) fn revoke(&self, why: Fault) {
        self.revoked.store(true, Ordering::Release);
        self.end(why);
    }

    /// Of what comes now and holds.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.revoked.load(Ordering::Acquire) { Verdict::Refused } else { Verdict::Accepted }
    }

    /// Waits for the end, and says why.
    pub(crate) async fn ended(&self) -> Fault {
        self.over.cancelled().await;
        self.why.get().cloned().unwrap_or_else(|| self.cancelled("the stream ended"))
    }

    /// The service has ended its answer. The stream goes on until the consumer has all of it.
    pub(crate) fn set_answered(&self) {
        self.answered.cancel();
    }

    /// Waits until the service has ended its answer.
    pub(crate) async fn answered(&self) {
        self.answered.cancelled().await;
    }

    /// Something came from the peer. Once the service has ended its answer that alone keeps no stream going.
    pub(crate) fn heard(&self) {
        if !self.answered.is_cancelled() {
            self.touch();
        }
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

    /// A fault, as the caller is told: once a stream goes on, what this node itself cannot do any more says as little as the
    /// loss of the peer of what the service did.
    pub(crate) fn named(&self, fault: Fault) -> Fault {
        let is_own = fault.place == Place::ConsumerNode
            && self.lost == FaultCode::ExchangeOutcomeUnknown
            && matches!(fault.code, FaultCode::NodeDiskFull | FaultCode::NodeDraining);
        if is_own || fault.code == FaultCode::NodeUnreachable {
            return Fault { code: self.lost, ..fault };
        }
        fault
    }

    /// A fault of whoever gave the stream up.
    pub(crate) fn cancelled(&self, what: &str) -> Fault {
        Fault::new(FaultCode::StreamCancelled, self.place, what)
    }

    /// Ends the stream when its time is over, if nothing passes either way, or when the node stops. Never returns.
    pub(crate) async fn watch(&self, stopping: &CancellationToken) {
        let fault = loop {
            match self.look(Instant::now()) {
                Ok(next) => tokio::select! {
                    () = sleep_until(next) => {}
                    () = stopping.cancelled() => {
                        break Fault::new(FaultCode::NodeDraining, self.place, "the node is stopping");
                    }
                },
                Err(fault) => break fault,
            }
        };
        self.end(self.named(fault));
        pending::<()>().await;
    }

    /// When to look again, or why the stream ends.
    fn look(&self, now: Instant) -> Result<Instant, Fault> {
        let passed_at = *self.passed_at.lock().unwrap_or_else(PoisonError::into_inner);
        let idle_at = passed_at + self.of.idle;
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            let what = "the time of the stream is over";
            return Err(Fault::new(FaultCode::ExchangeDeadline, self.place, what));
        }
        if now >= idle_at {
            let what = format!("nothing passed for {} ms", self.of.idle.as_millis());
            return Err(Fault::new(FaultCode::StreamIdle, self.place, what));
        }
        Ok(self.deadline.map_or(idle_at, |deadline| deadline.min(idle_at)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.of.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// `Sessions::idle`, if nobody says otherwise.
pub(crate) const STREAM_IDLE_MAX: Duration = Duration::from_secs(5 * 60);
/// What must stay free of the disk for others, beyond what the ledger itself keeps free.
const STREAM_FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// What an entry of a stream takes of the disk beside its payload: a commit record of its own, if nothing else is committed with
/// it.
const ENTRY_DISK_BYTES: u64 = 4096;
/// A stream looks at the disk whenever it has put so much on it.
const DISK_LOOK_BYTES: u64 = 4 * 1024 * 1024;
/// For the CLOSE of either side once a stream is over.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Arc<Sessions> {
        Sessions::new(STREAM_IDLE_MAX)
    }

    fn code(looked: Result<Instant, Fault>) -> Option<FaultCode> {
        looked.err().map(|fault| fault.code)
    }

    #[test]
    fn silence_ends_a_stream_and_whatever_passes_begins_the_wait_anew() {
        let all = sessions();
        let session = Session::of_caller(&all, None, SideEffects::None);
        assert_eq!(all.open(), 1);
        let begun = *session.passed_at.lock().unwrap();
        let moment = Duration::from_millis(1);
        assert_eq!(session.look(begun + STREAM_IDLE_MAX - moment), Ok(begun + STREAM_IDLE_MAX));
        assert_eq!(code(session.look(begun + STREAM_IDLE_MAX)), Some(FaultCode::StreamIdle));
        let passed = begun + STREAM_IDLE_MAX - moment;
        *session.passed_at.lock().unwrap() = passed;
        assert_eq!(session.look(begun + STREAM_IDLE_MAX), Ok(passed + STREAM_IDLE_MAX));
        drop(session);
        assert_eq!(all.open(), 0);
    }

    #[test]
    fn a_deadline_ends_a_stream_in_which_something_passes() {
        let life = STREAM_IDLE_MAX * 2;
        let session = Session::of_service(&sessions(), Some(life));
        let deadline = session.deadline.unwrap();
        *session.passed_at.lock().unwrap() = deadline;
        assert_eq!(session.look(deadline - Duration::from_millis(1)), Ok(deadline));
        assert_eq!(code(session.look(deadline)), Some(FaultCode::ExchangeDeadline));
    }

    #[test]
    fn a_peer_that_sends_on_after_the_answer_keeps_no_stream_going() {
        let session = Session::of_service(&sessions(), None);
        let past = Instant::now() - Duration::from_millis(1);
        let passed_at = || *session.passed_at.lock().unwrap();
        *session.passed_at.lock().unwrap() = past;
        session.heard();
        assert!(passed_at() > past);
        session.set_answered();
        *session.passed_at.lock().unwrap() = past;
        session.heard();
        assert_eq!(passed_at(), past);
        session.touch();
        assert!(passed_at() > past, "the answer still goes");
    }

    #[test]
    fn what_comes_after_a_right_has_ended_is_refused() {
        let session = Session::of_service(&sessions(), None);
        session.end(session.cancelled("somebody had enough"));
        assert_eq!(session.verdict(), Verdict::Accepted);
        session.revoke(Fault::new(FaultCode::AccessNoGrant, Place::ProviderNode, "no grant"));
        assert_eq!(session.verdict(), Verdict::Refused);
    }

    #[test]
    fn what_a_caller_is_told_of_a_write_never_says_that_nothing_was_done() {
        let full = |place| Fault::new(FaultCode::NodeDiskFull, place, "no space");
        let write = Session::of_caller(&sessions(), None, SideEffects::Present);
        let read = Session::of_caller(&sessions(), None, SideEffects::None);
        assert_eq!(write.named(full(Place::ConsumerNode)).code, FaultCode::ExchangeOutcomeUnknown);
        assert_eq!(read.named(full(Place::ConsumerNode)).code, FaultCode::NodeDiskFull);
        // The provider's own word.
        assert_eq!(write.named(full(Place::ProviderNode)).code, FaultCode::NodeDiskFull);
    }

    #[tokio::test]
    async fn a_stop_is_heard_whoever_reads() {
        let (session, stopping) = (Session::of_service(&sessions(), None), CancellationToken::new());
        stopping.cancel();
        let ended = tokio::select! {
            () = session.watch(&stopping) => None,
            ended = session.ended() => Some(ended.code),
        };
        assert_eq!(ended, Some(FaultCode::NodeDraining));
    }
}
