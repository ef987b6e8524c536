//! Which connection with a peer is used. Pure decisions; the connections themselves are somebody else's.
//!
//! There is one connection per pair of nodes. When both dial at once, or one restarts while the other still believes
//! in the old connection, both must choose the same: the one on which the node with the smaller `NodeId` (the
//! *arbiter*) sent its newest `Hello`. Each `Hello` has a serial that rises over restarts, so both can tell.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use peabiru_proto::fault::Fault;
use peabiru_proto::id::NodeId;
use tokio::sync::watch;
use tokio::time::Instant;

/// One slot for each peer. A slot is made for registered nodes only, so their number bounds the map.
#[derive(Debug)]
pub(crate) struct Pool<C> {
    slots: RwLock<HashMap<NodeId, Arc<Slot<C>>>>,
}

/// The connection with one peer.
#[derive(Debug)]
pub(crate) struct Slot<C> {
    state: watch::Sender<State<C>>,
}

/// Who decides between two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arbiter {
    /// This node.
    Own,
    /// The peer.
    Peer,
}

/// A connection whose `Hello`s were exchanged.
#[derive(Debug)]
pub(crate) struct Admitted<C> {
    pub(crate) connection: Arc<C>,
    /// Serial of the arbiter's `Hello` on it.
    pub(crate) arbiter_serial: u64,
    /// Serial of the peer's.
    pub(crate) peer_serial: u64,
}

/// What to do to get a connection.
#[derive(Debug)]
pub(crate) enum Begin<C> {
    /// Use it.
    Use(Arc<C>),
    /// Dial: this caller was the first.
    Dial,
    /// Somebody dials: wait for a change.
    Wait,
    /// The last attempt failed a moment ago.
    Failed(Fault),
}

/// A connection that is not used, because of the one that is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Loser<C>(pub(crate) Arc<C>);

#[derive(Debug)]
enum State<C> {
    Idle,
    Dialling { phase: Phase, failures: u32 },
    Live(Admitted<C>),
    Failed { fault: Fault, failures: u32, until: Instant },
}

/// How far our own dialling is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    /// Our `Hello` is out: the peer may count on this connection.
    Greeting,
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self { slots: RwLock::default() }
    }
}

impl<C> Pool<C> {
    /// The slot of a peer, if it has one.
    pub(crate) fn slot(&self, peer: &NodeId) -> Option<Arc<Slot<C>>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).get(peer).cloned()
    }

    /// The slot of a registered node.
    pub(crate) fn slot_of_registered(&self, peer: &NodeId) -> Arc<Slot<C>> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(peer.clone()).or_insert_with(|| Arc::new(Slot::default())))
    }

    /// All connections in use.
    pub(crate) fn live(&self) -> Vec<Arc<C>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.values().filter_map(|slot| slot.live()).collect()
    }
}

impl<C> Default for Slot<C> {
    fn default() -> Self {
        Self { state: watch::Sender::new(State::Idle) }
    }
}

impl<C> Slot<C> {
    /// The connection in use.
    pub(crate) fn live(&self) -> Option<Arc<C>> {
        match &*self.state.borrow() {
            State::Live(admitted) => Some(Arc::clone(&admitted.connection)),
            _ => None,
        }
    }

    /// Wakes at each change.
    pub(crate) fn changes(&self) -> Changes<C> {
        Changes(self.state.subscribe())
    }

    /// What a caller who wants a connection does.
    pub(crate) fn begin(&self, now: Instant) -> Begin<C> {
        let mut begin = Begin::Wait;
        self.state.send_if_modified(|state| {
            let failures = match state {
                State::Live(admitted) => {
                    begin = Begin::Use(Arc::clone(&admitted.connection));
                    return false;
                }
                State::Dialling { .. } => return false,
                State::Failed { fault, until, .. } if now < *until => {
                    begin = Begin::Failed(fault.clone());
                    return false;
                }
                State::Failed { failures, .. } => *failures,
                State::Idle => 0,
            };
            *state = State::Dialling { phase: Phase::Connecting, failures };
            begin = Begin::Dial;
            true
        });
        begin
    }

    /// Our dialled connection is up. Whether to greet on it: not if another one came in meanwhile.
    pub(crate) fn greets(&self) -> bool {
        self.state.send_if_modified(|state| match state {
            State::Dialling { phase, .. } if *phase == Phase::Connecting => {
                *phase = Phase::Greeting;
                true
            }
            _ => false,
        })
    }

    /// Whether to answer the `Hello` with this serial on a connection that the peer dialled.
    pub(crate) fn answers(&self, arbiter: Arbiter, peer_serial: u64) -> bool {
        match &*self.state.borrow() {
            State::Idle | State::Failed { .. } | State::Dialling { phase: Phase::Connecting, .. } => true,
            // Both greeted: the arbiter's dialling wins, and here both know it.
            State::Dialling { phase: Phase::Greeting, .. } => arbiter == Arbiter::Peer,
            // A newer `Hello`: the peer lost the connection that we still believe in.
            State::Live(admitted) => peer_serial > admitted.peer_serial,
        }
    }

    /// Takes a connection into use. Gives the one that is used no more: the one before, or this one.
    pub(crate) fn admit(&self, new: Admitted<C>) -> Option<Loser<C>> {
        let mut loser = None;
        self.state.send_modify(|state| match state {
            State::Live(held) if held.arbiter_serial > new.arbiter_serial => {
                loser = Some(Loser(new.connection));
            }
            state => {
                if let State::Live(held) = std::mem::replace(state, State::Live(new)) {
                    loser = Some(Loser(held.connection));
                }
            }
        });
        loser
    }

    /// Our dialling failed.
    pub(crate) fn fail(&self, fault: Fault, now: Instant) {
        self.state.send_if_modified(|state| {
            let State::Dialling { failures, .. } = state else { return false };
            let failures = failures.saturating_add(1);
            *state = State::Failed { fault, failures, until: now + back_off(failures) };
            true
        });
    }

    /// A connection ended.
    pub(crate) fn lost(&self, connection: &Arc<C>) {
        self.state.send_if_modified(|state| match state {
            State::Live(held) if Arc::ptr_eq(&held.connection, connection) => {
                *state = State::Idle;
                true
            }
            _ => false,
        });
    }
}

/// Wakes a waiter at each change of a slot, also at one that came between looking and waiting.
#[derive(Debug)]
pub(crate) struct Changes<C>(watch::Receiver<State<C>>);

impl<C> Changes<C> {
    /// Waits for a change since the last one that was waited for.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The slot is gone with its pool: the node stops, and the caller's own deadline ends the wait.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until a connection is in use.
    pub(crate) async fn live(&mut self) {
        while !matches!(*self.0.borrow_and_update(), State::Live(_)) {
            self.next().await;
        }
    }
}

fn back_off(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(BACK_OFF_DOUBLINGS_MAX);
    BACK_OFF_FIRST * 2u32.pow(doublings)
}

/// After a failed attempt callers are told so at once for this long.
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
/// After this many failures in a row the time no longer doubles: 6.4 s.
const BACK_OFF_DOUBLINGS_MAX: u32 = 6;

#[cfg(test)]
mod tests {
    use peabiru_proto::fault::{FaultCode, Place};

    use super::*;

    fn admitted(name: &'static str, arbiter_serial: u64, peer_serial: u64) -> Admitted<&'static str> {
        Admitted { connection: Arc::new(name), arbiter_serial, peer_serial }
    }

    fn fault() -> Fault {
        Fault::new(FaultCode::NodeUnreachable, Place::ConsumerNode, "nobody answers")
    }

    fn used(slot: &Slot<&'static str>) -> Option<&'static str> {
        slot.live().map(|connection| *connection)
    }

    #[tokio::test]
    async fn one_caller_dials_and_the_others_wait() {
        let slot = Slot::default();
        let now = Instant::now();
        let mut changes = slot.changes();
        assert!(matches!(slot.begin(now), Begin::Dial));
        assert!(matches!(slot.begin(now), Begin::Wait));
        assert!(slot.greets() && !slot.greets());
        assert_eq!(slot.admit(admitted("dialled", 1, 1)), None);
        changes.live().await;
        assert!(matches!(slot.begin(now), Begin::Use(connection) if *connection == "dialled"));
    }

    #[test]
    fn a_failure_is_told_at_once_for_a_while_and_longer_each_time() {
        let slot: Slot<&str> = Slot::default();
        let now = Instant::now();
        for (failures, until) in [(1, BACK_OFF_FIRST), (2, 2 * BACK_OFF_FIRST), (3, 4 * BACK_OFF_FIRST)] {
            let later = now + failures * Duration::from_secs(100);
            assert!(matches!(slot.begin(later), Begin::Dial));
            slot.fail(fault(), later);
            let just_before = later + until - Duration::from_millis(1);
            assert!(matches!(slot.begin(just_before), Begin::Failed(told) if told == fault()));
        }
        assert_eq!(back_off(u32::MAX), BACK_OFF_FIRST * 64);
    }

    #[test]
    fn when_both_dial_both_use_the_connection_that_the_arbiter_dialled() {
        let (arbiter, other) = (Slot::default(), Slot::default());
        let now = Instant::now();
        assert!(matches!((arbiter.begin(now), other.begin(now)), (Begin::Dial, Begin::Dial)));
        assert!(arbiter.greets() && other.greets());
        assert!(!arbiter.answers(Arbiter::Own, 20), "the arbiter greeted on its own");
        assert!(other.answers(Arbiter::Peer, 10));
        assert_eq!(other.admit(admitted("by arbiter", 10, 10)), None);
        assert_eq!(arbiter.admit(admitted("by arbiter", 10, 21)), None);
        assert_eq!((used(&arbiter), used(&other)), (Some("by arbiter"), Some("by arbiter")));
    }

    #[test]
    fn whatever_the_order_both_use_the_one_that_the_arbiter_greeted_on_last() {
        // The arbiter answered the other's `Hello` (serial 11), though it had greeted on its own (serial 10).
        let orders = [["own 10", "other 11"], ["other 11", "own 10"]];
        for order in orders {
            let slot = Slot::default();
            for name in order {
                let serial = if name == "own 10" { 10 } else { 11 };
                slot.admit(admitted(name, serial, serial));
            }
            assert_eq!(used(&slot), Some("other 11"), "{order:?}");
        }
    }

    #[test]
    fn a_peer_that_lost_the_connection_gets_a_new_one() {
        for arbiter in [Arbiter::Own, Arbiter::Peer] {
            let slot = Slot::default();
            slot.admit(admitted("old", 5, 5));
            assert!(!slot.answers(arbiter, 4), "an older `Hello` came late");
            assert!(slot.answers(arbiter, 6));
            assert_eq!(slot.admit(admitted("new", 6, 6)), Some(Loser(Arc::new("old"))));
            slot.lost(&Arc::new("old"));
            assert_eq!(used(&slot), Some("new"), "the end of another connection changes nothing");
        }
    }

    #[test]
    fn who_came_in_while_we_dial_is_used_and_our_dialling_ends_quietly() {
        let slot = Slot::default();
        assert!(matches!(slot.begin(Instant::now()), Begin::Dial));
        assert!(slot.answers(Arbiter::Own, 1));
        slot.admit(admitted("came in", 1, 1));
        assert!(!slot.greets());
        slot.fail(fault(), Instant::now());
        assert_eq!(used(&slot), Some("came in"));
    }
}
