//! Who holds what of a door: no connection a place that it does not use while others want one, and no caller so many calls
//! that others are refused.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::SubsystemId;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::identify::Sharing;
use super::waits::{Limit, Waits};
use crate::grpc::body::{Broken, RoadBody};
use crate::room::Room;

/// Calls under way, of all listeners.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<HeldCalls>);

#[derive(Debug, Default)]
struct HeldCalls {
    all: usize,
    by_caller: HashMap<SubsystemId, usize>,
}

/// A call under way, until it is dropped: until its answer was taken, or its caller went away.
#[derive(Debug)]
pub(super) struct OpenCall {
    calls: Arc<Calls>,
    caller: Option<SubsystemId>,
}

impl Calls {
    /// None if the door is full.
    pub(super) fn begin(self: &Arc<Self>, calls_max: usize) -> Option<OpenCall> {
        let mut held = lock(&self.0);
        if held.all >= calls_max {
            return None;
        }
        held.all += 1;
        Some(OpenCall { calls: Arc::clone(self), caller: None })
    }

    pub(super) fn held(&self) -> usize {
        lock(&self.0).all
    }
}

impl OpenCall {
    /// Whose call it is. If several may call here, one may hold more than a quarter of the places only as long as half of
    /// them are free: so none of the others is ever refused because of it.
    ///
    /// # Errors
    /// `node.overloaded`
    pub(super) fn is_of(
        &mut self,
        caller: &SubsystemId,
        calls_max: usize,
        sharing: Sharing,
    ) -> Result<(), Fault> {
        let mut held = lock(&self.calls.0);
        let own = held.by_caller.get(caller).copied().unwrap_or_default();
        let (quarter, half) = (calls_max.div_ceil(4), calls_max / 2);
        if sharing == Sharing::Several && own >= quarter && held.all > half {
            let message = format!(
                "{caller} has {own} of {calls_max} calls under way, and more than a quarter is for others when the door is half full"
            );
            return Err(Fault::new(FaultCode::NodeOverloaded, Place::ConsumerNode, message));
        }
        held.by_caller.insert(caller.clone(), own + 1);
        drop(held);
        self.caller = Some(caller.clone());
        Ok(())
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut held = lock(&self.calls.0);
        held.all -= 1;
        let Some(caller) = &self.caller else { return };
        if let Some(own) = held.by_caller.get_mut(caller) {
            *own -= 1;
            if *own == 0 {
                held.by_caller.remove(caller);
            }
        }
    }
}

/// The connections of one kind of listener.
#[derive(Debug)]
pub(super) struct Connections {
    room: Room,
    open: Mutex<Vec<Weak<Connection>>>,
}

impl Connections {
    pub(super) fn new(connections_max: usize) -> Self {
        Self { room: Room::new(connections_max), open: Mutex::default() }
    }

    pub(super) fn resize(&self, connections_max: usize) {
        self.room.resize(connections_max);
    }

    pub(super) fn held(&self) -> usize {
        self.room.held()
    }

    /// A place for one more, as soon as there is one. If there is none, the connection that has been idle for longest goes.
    pub(super) async fn enter(&self) -> (Option<OwnedSemaphorePermit>, Arc<Connection>) {
        let place = Arc::clone(self.room.permits()).acquire_owned();
        tokio::pin!(place);
        let permit = loop {
            tokio::select! {
                biased;
                permit = &mut place => break permit,
                () = self.ask_to_leave() => {}
            }
        };
        let connection = Arc::new(Connection::default());
        let mut open = lock(&self.open);
        open.retain(|connection| connection.strong_count() > 0);
        open.push(Arc::downgrade(&connection));
        // None only from a closed semaphore, and nobody closes this one.
        (permit.ok(), connection)
    }

    /// Asks the one that has been idle for longest, then waits for it to go.
    async fn ask_to_leave(&self) {
        let open: Vec<_> = lock(&self.open).iter().filter_map(Weak::upgrade).collect();
        let idle = open.iter().filter_map(|connection| Some((connection.idle_since()?, connection)));
        if let Some((_, connection)) = idle.min_by_key(|(since, _)| *since) {
            connection.leave.notify_one();
        }
        drop(open);
        tokio::time::sleep(LEAVE_WAIT).await;
    }
}

/// One connection: what it has open, and since when it has nothing.
#[derive(Debug)]
pub(super) struct Connection {
    used: Mutex<Used>,
    leave: Notify,
}

#[derive(Debug)]
struct Used {
    open: usize,
    begun: u64,
    /// Since when nothing is open.
    idle_since: Instant,
    /// Answers of which the caller took a part and has not asked for the next, and since when.
    untaken: HashMap<u64, Instant>,
}

impl Default for Connection {
    fn default() -> Self {
        let used = Used { open: 0, begun: 0, idle_since: Instant::now(), untaken: HashMap::new() };
        Self { used: Mutex::new(used), leave: Notify::new() }
    }
}

impl Connection {
    /// A call begins.
    pub(super) fn begin(self: &Arc<Self>) -> ConnectionCall {
        let mut used = lock(&self.used);
        used.open += 1;
        used.begun += 1;
        ConnectionCall { number: used.begun, connection: Arc::clone(self) }
    }

    fn idle_since(&self) -> Option<Instant> {
        let used = lock(&self.used);
        (used.open == 0).then_some(used.idle_since)
    }

    /// Whether it has been idle for too long, or an answer has been waiting for its caller for too long.
    fn unused(&self, waits: &Waits, now: Instant) -> Option<Limit> {
        let used = lock(&self.used);
        if used.untaken.values().any(|since| now - *since >= waits.take) {
            return Some(Limit::Take);
        }
        (used.open == 0 && now - used.idle_since >= waits.idle).then_some(Limit::Idle)
    }

    /// Ends when the connection is to be closed: idle and asked to leave, idle for too long, or with an answer that its
    /// caller does not take. To be polled by the task that serves the connection: no call begins meanwhile.
    pub(super) async fn is_to_end(&self, waits: &Waits) -> Limit {
        loop {
            tokio::select! {
                () = self.leave.notified() => if self.idle_since().is_some() {
                    return Limit::Room;
                },
                () = tokio::time::sleep(waits.look) => if let Some(limit) = self.unused(waits, Instant::now()) {
                    return limit;
                },
            }
        }
    }
}

/// A call of a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionCall {
    number: u64,
    connection: Arc<Connection>,
}

impl ConnectionCall {
    fn asked_for_more(&self) {
        lock(&self.connection.used).untaken.remove(&self.number);
    }

    fn given(&self) {
        lock(&self.connection.used).untaken.insert(self.number, Instant::now());
    }

    /// The answer, which is part of the call until it was taken.
    pub(super) fn answer(self, body: RoadBody) -> AnswerBody {
        self.given();
        AnswerBody { body, call: self }
    }
}

impl Drop for ConnectionCall {
    fn drop(&mut self) {
        let mut used = lock(&self.connection.used);
        used.untaken.remove(&self.number);
        used.open -= 1;
        used.idle_since = Instant::now();
    }
}

/// A body on its way to a caller, who may be slow.
pub(super) struct AnswerBody {
    body: RoadBody,
    call: ConnectionCall,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        // Pending: it is the road or the service that gives nothing.
        if polled.is_pending() {
            self.call.asked_for_more();
        } else {
            self.call.given();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For an idle connection to go; then the next one is asked.
const LEAVE_WAIT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(code: &str) -> SubsystemId {
        format!("PY/GOV/MITIC/{code}").parse().unwrap()
    }

    fn calls(calls: &Arc<Calls>, of: &str, sharing: Sharing) -> Vec<OpenCall> {
        let next = || {
            let mut call = calls.begin(16)?;
            call.is_of(&caller(of), 16, sharing).ok()?;
            Some(call)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn one_caller_leaves_room_for_the_others() {
        let door = Arc::new(Calls::default());
        let first = calls(&door, "first", Sharing::Several);
        assert_eq!(first.len(), 8, "half the door");
        let second = calls(&door, "second", Sharing::Several);
        assert_eq!(second.len(), 4, "its quarter, though another has more");
        assert_eq!(calls(&door, "third", Sharing::Several).len(), 4);
        drop(first);
        assert_eq!(calls(&door, "second", Sharing::Several).len(), 4, "up to half again");
        drop(second);
        assert_eq!(calls(&door, "only", Sharing::Alone).len(), 16);
        assert!(lock(&door.0).by_caller.is_empty() && lock(&door.0).all == 0);
    }

    #[tokio::test]
    async fn the_longest_idle_connection_makes_room() {
        let (connections, waits) = (Connections::new(2), Waits::default());
        let (first_permit, first) = connections.enter().await;
        let (_second_permit, second) = connections.enter().await;
        let busy = first.begin();
        let mut third = std::pin::pin!(connections.enter());
        tokio::select! {
            _ = &mut third => panic!("there is no place"),
            _ = first.is_to_end(&waits) => panic!("it has a call"),
            limit = second.is_to_end(&waits) => assert_eq!(limit, Limit::Room),
        }
        // Idle again, and for less time than the other.
        drop(busy);
        tokio::select! {
            _ = &mut third => panic!("there is no place"),
            limit = second.is_to_end(&waits) => assert_eq!(limit, Limit::Room),
        }
        drop(first_permit);
        third.await;
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_ends_its_connection() {
        let (connection, waits) = (Arc::new(Connection::default()), Waits::default());
        let after = |wait: Duration| connection.unused(&waits, Instant::now() + wait);
        let mut answer = connection.begin().answer(RoadBody::default());
        assert_eq!((after(waits.take), after(waits.take / 2)), (Some(Limit::Take), None));
        // One that the service does not go on with may take its time.
        let (_service, pieces) = tokio::sync::mpsc::channel(1);
        answer.body = RoadBody::live(pieces, |_| None);
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut answer).poll_frame(&mut context).is_pending());
        assert_eq!(after(waits.idle * 2), None);
        drop(answer);
        assert_eq!((after(waits.idle), after(waits.idle / 2)), (Some(Limit::Idle), None));
    }
}
