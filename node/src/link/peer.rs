//! A live connection with a peer, and the tasks that serve it.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use peabiru_proto::id::NodeId;
use peabiru_proto::limits::MAX_FRAME_BYTES;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{CheckpointUpdate, link_frame::Frame};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::Inner;
use super::budget::Budget;
use super::carrier::{Connection, Receiver};
use super::control::Announcer;
use super::counters::Up;
use super::frame::FrameError;
use super::heads::{HeadError, Update};
use super::terms::{Carrier, Code, LIVE_STREAMS_MAX, StreamError};

/// One peer over one connection, after both `Hello`s.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) connection: Connection,
    /// What its messages may take.
    pub(crate) budget: Budget,
    /// Large messages that come from it.
    pub(crate) large_in: Semaphore,
    /// And that go to it.
    pub(crate) large_out: Semaphore,
    /// Places of streams that go on for long, whichever side opened them.
    pub(crate) live: Arc<Semaphore>,
    /// Parts of the global configuration that go to it.
    pub(crate) conf_out: Semaphore,
    /// What we told it of our ledgers.
    pub(crate) announcer: Arc<Announcer>,
    /// Wakes messages that wait for a checkpoint of this peer.
    pub(crate) arrived: Arc<Notify>,
    /// Serial of our `Hello`: heads are taken from the newest connection only.
    pub(crate) own_serial: u64,
    /// Serial of its `Hello`.
    pub(crate) peer_serial: u64,
    /// Exchanges of both sides that are under way.
    pub(crate) streams: TaskTracker,
    /// Why the connection was closed, if a snapshot no longer vouches for the peer.
    pub(crate) expelled: OnceLock<String>,
    /// Version of the global configuration that it said it holds.
    pub(crate) globalconf_version: u64,
    pub(crate) dialled_by: DialledBy,
    pub(crate) since: Timestamp,
    /// How far its clock was ahead of ours when its last message came; `UNKNOWN` before the first.
    pub(crate) clock_ahead_ms: AtomicI64,
    /// Whether it goes on where another connection stopped.
    pub(crate) continues: Continues,
    /// Over HTTP/2: why not over QUIC.
    pub(crate) without_quic: Option<String>,
    /// Counts the connection while it is up.
    pub(crate) _up: Up,
}

/// Where the checkpoints on a connection begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Continues {
    /// At the heads that the `Hello`s named.
    Nothing,
    /// Where they stopped on a connection that it replaced while that was live.
    Another,
}

/// Which side made a connection. Both use it alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialledBy {
    /// This node.
    Us,
    /// The peer.
    Them,
}

/// A live connection, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// With whom.
    pub node: NodeId,
    /// Where it is.
    pub address: SocketAddr,
    /// What it runs on.
    pub carrier: Carrier,
    /// Over HTTP/2: why not over QUIC.
    pub without_quic: Option<String>,
    /// Which side made it.
    pub dialled_by: DialledBy,
    /// When the `Hello`s were exchanged.
    pub since: Timestamp,
    /// Smoothed.
    pub round_trip: Duration,
    /// Version of the global configuration that the peer held when it connected.
    pub globalconf_version: u64,
    /// How far its clock was ahead of ours when its last message came, in milliseconds.
    pub clock_ahead_ms: Option<i64>,
}

/// Of a clock that nothing is known of.
pub(crate) const UNKNOWN: i64 = i64::MIN;

impl Peer {
    /// Why a stream gives nothing more. If the connection has ended, its end says more than the stream.
    pub(crate) async fn why(&self, error: &StreamError) -> String {
        let lost = matches!(error, StreamError::Lost(_));
        let ended = if lost { timeout(END_WAIT, self.connection.closed()).await.ok() } else { None };
        self.expelled.get().cloned().or(ended).unwrap_or_else(|| error.to_string())
    }

    /// A place for one more stream that goes on for long, if there is one.
    pub(crate) fn place_for_stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.live).try_acquire_owned().ok()
    }

    /// Places that are taken.
    pub(crate) fn held_streams(&self) -> usize {
        LIVE_STREAMS_MAX.saturating_sub(self.live.available_permits())
    }

    pub(crate) fn status(&self) -> PeerStatus {
        PeerStatus {
            node: self.id.clone(),
            address: self.connection.remote_address(),
            carrier: self.connection.carrier(),
            without_quic: self.without_quic.clone(),
            dialled_by: self.dialled_by,
            since: self.since,
            round_trip: self.connection.round_trip(),
            globalconf_version: self.globalconf_version,
            clock_ahead_ms: Some(self.clock_ahead_ms.load(Ordering::Relaxed))
                .filter(|ahead| *ahead != UNKNOWN),
        }
    }

    /// A message that was just made came: what it says of the peer's clock. Its way makes it look late.
    pub(crate) fn note_clock(&self, (made_at, now): (Timestamp, Timestamp)) {
        let ms = |time: Timestamp| i64::try_from(time.as_ms()).unwrap_or(i64::MAX);
        self.clock_ahead_ms.store(ms(made_at).saturating_sub(ms(now)), Ordering::Relaxed);
    }
}

impl Inner {
    /// Serves a connection until it ends: three tasks, none of them per message.
    pub(crate) fn serve(self: &Arc<Self>, peer: Arc<Peer>, control_in: Receiver) {
        let announcing = Arc::clone(&peer);
        self.tasks.spawn(async move {
            tokio::select! {
                error = announcing.announcer.run() => tracing::debug!(%error, "no more checkpoints go out"),
                // With nothing to announce, the sending half alone never notices.
                _ = announcing.connection.closed() => {}
            }
        });
        self.tasks.spawn(Arc::clone(self).read_heads(Arc::clone(&peer), control_in));
        self.tasks.spawn(Arc::clone(self).accept_exchanges(peer));
    }

    async fn accept_exchanges(self: Arc<Self>, peer: Arc<Peer>) {
        let accepting = async {
            while let Ok((sender, receiver)) = peer.connection.accept_exchange(MAX_FRAME_BYTES).await {
                self.counters.streams_accepted.increment(1);
                // The transport's limit of streams bounds these tasks.
                let served = Arc::clone(&self).answer_stream(Arc::clone(&peer), sender, receiver);
                self.exchanges.spawn(peer.streams.track_future(served));
            }
        };
        tokio::select! {
            () = accepting => {}
            () = self.judge_always(&peer) => {}
        }
        let why = peer.connection.closed().await;
        tracing::info!(peer = %peer.id, why, "link lost");
        if let Some(slot) = self.pool.slot(&peer.id) {
            slot.lost(&peer);
        }
        peer.arrived.notify_waiters();
    }

    /// Judges the peer now, since the snapshot may be newer than its handshake, and with each snapshot from now on. Ends
    /// when it is no longer who it was: the connection is closed then, in use or replaced.
    async fn judge_always(&self, peer: &Arc<Peer>) {
        let mut snapshots = self.snapshots.subscribe();
        loop {
            let why = match self.who(&peer.connection) {
                Ok(id) if id == peer.id => None,
                Ok(id) => Some(format!("its certificate is registered for {id} now")),
                Err(refused) => Some(refused.to_string()),
            };
            if let Some(why) = why {
                tracing::warn!(peer = %peer.id, why, "the peer is turned away: link closed");
                self.counters.expelled.increment(1);
                // Said before the connection ends, so that whoever waits on it can tell; never twice.
                let why = peer.expelled.get_or_init(|| format!("it was turned away: {why}"));
                // The next caller dials anew, and is told the same by the handshake.
                if let Some(slot) = self.pool.slot(&peer.id) {
                    slot.lost(peer);
                }
                return peer.connection.close(Code::Unregistered, why);
            }
            if snapshots.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reads the peer's checkpoints, in order, until the stream ends.
    async fn read_heads(self: Arc<Self>, peer: Arc<Peer>, mut control: Receiver) {
        loop {
            let update = match control.control_frame().await {
                Ok(Some(Frame::Checkpoint(update))) => update,
                Ok(Some(_)) => return self.end_of_control(&peer, &FrameError::Unexpected("a checkpoint")),
                Ok(None) => return self.end_of_control(&peer, &FrameError::Truncated),
                Err(StreamError::Frame(error)) => return self.end_of_control(&peer, &error),
                // The connection is gone; its other task says so. Nothing here waits for a peer or for memory.
                Err(StreamError::Lost(_) | StreamError::Stalled | StreamError::NoMemory) => return,
            };
            match self.take_head_in_turn(&peer, &update).await {
                Ok(()) => self.counters.checkpoints_received.increment(1),
                Err(error @ HeadError::Forked { .. }) => {
                    self.counters.forks.increment(1);
                    tracing::error!(peer = %peer.id, %error, "a ledger forked: both heads are kept");
                }
                // Its messages are refused one by one; the peer's other ledgers are as good as before.
                Err(error @ (HeadError::Refused(_) | HeadError::Unregistered(_) | HeadError::TooMany)) => {
                    tracing::warn!(peer = %peer.id, %error, "checkpoint not taken");
                }
                Err(HeadError::Superseded) => return self.retire(&peer),
                Err(error) => return self.end_of_control(&peer, &error),
            }
            peer.arrived.notify_waiters();
        }
    }

    /// What went out last on a connection that this one replaces may arrive after what went out first on this one.
    async fn take_head_in_turn(&self, peer: &Peer, update: &CheckpointUpdate) -> Result<(), HeadError> {
        let until = Instant::now() + self.waits.checkpoint;
        loop {
            // Made before looking: what comes between looking and waiting is not missed.
            let mut arrived = pin!(peer.arrived.notified());
            arrived.as_mut().enable();
            match self.take_head(peer, update) {
                Err(HeadError::OutOfOrder { origin, size, from, newest })
                    if peer.continues == Continues::Another && newest < from =>
                {
                    if timeout_at(until, arrived).await.is_err() {
                        return Err(HeadError::OutOfOrder { origin, size, from, newest });
                    }
                }
                taken => return taken,
            }
        }
    }

    fn take_head(&self, peer: &Peer, update: &CheckpointUpdate) -> Result<(), HeadError> {
        let update = Update::read(update)?;
        let origin = update.checkpoint.origin();
        let now = self.clock.now();
        let unregistered = || HeadError::Unregistered(origin.clone());
        let conf = (self.conf)().ok_or_else(unregistered)?;
        let keys = self.keys.of(&conf, origin, &peer.id, now).map_err(|_| unregistered())?;
        self.heads.accept(&peer.id, peer.own_serial, &update, &keys, now)
    }

    fn end_of_control(&self, peer: &Peer, error: &dyn std::error::Error) {
        self.counters.malformed.increment(1);
        tracing::warn!(peer = %peer.id, %error, "the control stream is of no use: link closed");
        peer.connection.close(Code::Protocol, &error.to_string());
    }

    /// Closes a connection that is used no more, after what goes on over it had its time. If both sides know that
    /// another one goes on where it stopped, that is until all of it has ended.
    pub(crate) fn retire(&self, peer: &Arc<Peer>) {
        let (peer, wait) = (Arc::clone(peer), self.waits.retire);
        self.tasks.spawn(async move {
            let idle = async {
                if peer.announcer.is_succeeded() {
                    peer.streams.close();
                    // Each exchange has its own end; a stream lives for as long as something passes.
                    peer.streams.wait().await;
                }
                sleep(wait).await;
            };
            tokio::select! {
                _ = peer.connection.closed() => {}
                () = idle => peer.connection.close(Code::Duplicate, "another connection is used"),
            }
        });
    }
}

/// For a connection to end whose stream has broken.
const END_WAIT: Duration = Duration::from_millis(200);
