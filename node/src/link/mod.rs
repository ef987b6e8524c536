//! The link: how nodes talk to each other. One connection per pair of nodes, over QUIC or, where UDP does not pass, over
//! HTTP/2; one stream per exchange.
//!
//! ```text
//! exchange ─▶ ask ──▶ pool ─▶ dial ─▶ connect: Hello ─▶ peer ◀─ connect: answer, Hello ◀─ whoever dials us
//!              │        one connection per peer         │ control: heads out       heads in ─▶ heads
//!              └──────── stream: message, answer ───────┴─ answer ─▶ Inbound (guard, ledger, dispatcher)
//! ```
//!
//! A peer is who the global configuration says its certificate is. What arrives was sealed by a verified checkpoint
//! that is consistent with every head of its ledger that this node has ever seen; the rest is for the guard.

mod answer;
mod ask;
pub mod budget;
pub mod carrier;
mod choice;
mod conf;
mod connect;
mod control;
mod counters;
mod dial;
mod directory;
mod endpoints;
mod fetch;
pub mod forks;
pub mod frame;
pub mod heads;
pub mod hello;
pub mod http2;
mod keys;
mod large;
mod live;
pub mod message;
pub mod patience;
mod peer;
mod pool;
pub mod preview;
pub mod quic;
mod reset;
pub mod terms;
#[cfg(test)]
mod testing;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use peabiru_certs::CertsError;
use peabiru_certs::peer::{LiveIdentity, TlsIdentity, link_server};
use peabiru_ledger::large::LargeFile;
use peabiru_ledger::ledger::Ledger;
use peabiru_ledger::payload::Payload;
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::CHECKPOINT_WAIT;
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Clock;
use peabiru_proto::wire::HeldEntry;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::exchange::{Arrived, Departures, Inbound, Line, LinkAnswer, Outflow, Wanted, WantedConf};
use crate::flow::LARGE_WAIT;
use crate::spool::Spool;
use budget::{Budget, DEFAULT_MEMORY_BUDGET, RESERVE_WAIT};
use choice::Choices;
use counters::Counters;
use directory::ConfDirectory;
use endpoints::Endpoints;
pub use fetch::Fetched;
use heads::Heads;
use keys::SealingKeys;
use peer::Peer;
pub use peer::{DialledBy, PeerStatus};
use pool::Pool;
pub use terms::Carrier;

/// All connections of this node with others.
pub struct Link(Arc<Inner>);

/// What an operator can set.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Where to listen: one UDP socket, from which this node also dials, and a TCP socket on the same port.
    pub listen: SocketAddr,
    /// With what to listen and to dial; the order means nothing.
    pub carriers: Vec<Carrier>,
    /// `node_memory_budget`: what messages from peers may take, in bytes.
    pub memory_budget: usize,
    /// How long to wait for what.
    pub waits: Waits,
}

/// Every wait of the link that is not bounded by the caller's own deadline.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// For a connection: addresses, handshake and `Hello`s together.
    pub connect: Duration,
    /// For a message to come to its end once its stream was opened.
    pub read: Duration,
    /// For a peer to take an answer.
    pub write: Duration,
    /// For the checkpoint that seals a message.
    pub checkpoint: Duration,
    /// Time of waiting for a peer after which it is looked at how much of a large message came, or went.
    pub pace: Duration,
    /// How often whoever sends a large message says that more is coming, while its application gives nothing.
    pub still_coming: Duration,
    /// For a large message from its head to its end.
    pub large: Duration,
    /// For a large message to get its turn among those on its connection.
    pub turn: Duration,
    /// For what goes on over a connection that another one replaced.
    pub retire: Duration,
    /// For what goes on when the node stops.
    pub drain: Duration,
    /// Until QUIC is tried again to a peer that HTTP/2 alone reached; at first.
    pub probe_first: Duration,
    /// From then on.
    pub probe: Duration,
}

/// What the link carries at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkHeld {
    /// Of `memory_budget`.
    pub memory_bytes: usize,
    /// Of both sides, on connections that are in use.
    pub exchanges: usize,
    /// Of those that peers opened, and streams of both sides, on any connection.
    pub served: usize,
    /// Places of streams that go on for long, on connections that are in use.
    pub streams: usize,
}

/// What the link works with.
pub struct LinkParts {
    /// This node.
    pub own: NodeId,
    /// Its authentication key and certificate.
    pub identity: TlsIdentity,
    /// The node's clock.
    pub clock: Arc<dyn Clock>,
    /// The global configuration of the moment.
    pub conf: ConfSource,
    /// This node's own ledgers.
    pub ledgers: Vec<Ledger>,
    /// For large bodies.
    pub spool: Spool,
    /// What is known of others'.
    pub heads: Arc<Heads>,
    /// Who answers peers.
    pub inbound: Arc<dyn Inbound>,
}

/// Gives the global configuration of the moment, if there is one.
pub type ConfSource = Arc<dyn Fn() -> Option<Arc<GlobalConfiguration>> + Send + Sync>;

/// Why the link does not start.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A socket.
    #[error("cannot listen on {address} over {} for {carrier}: {source}", .carrier.transport())]
    Listen {
        /// Where.
        address: SocketAddr,
        /// With which of the two.
        carrier: Carrier,
        /// Why.
        source: io::Error,
    },
    /// The authentication key or certificate.
    #[error(transparent)]
    Identity(#[from] CertsError),
}

impl LinkError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "link.listen",
            Self::Identity(error) => error.code(),
        }
    }
}

impl Link {
    /// Listens. Runs on the tokio runtime of the caller; a metrics recorder must be installed before.
    ///
    /// # Errors
    /// `Listen` or `Identity`.
    pub fn start(config: &LinkConfig, parts: LinkParts) -> Result<Self, LinkError> {
        let directory =
            Arc::new(ConfDirectory { conf: Arc::clone(&parts.conf), clock: Arc::clone(&parts.clock) });
        let key = parts.identity.key.clone();
        let identity = Arc::new(LiveIdentity::new(parts.identity)?);
        let server = link_server(Arc::clone(&identity), Arc::clone(&directory) as _)?;
        let tasks = TaskTracker::new();
        let (endpoints, listener) = Endpoints::bind(config, &server, &key, tasks.clone())?;
        let ledgers = parts.ledgers.into_iter().map(|ledger| (ledger.origin().clone(), ledger)).collect();
        let inner = Arc::new(Inner {
            own: parts.own,
            identity,
            directory,
            serial: AtomicU64::new(parts.clock.now().as_ms()),
            clock: parts.clock,
            conf: parts.conf,
            ledgers,
            spool: parts.spool,
            heads: parts.heads,
            keys: SealingKeys::default(),
            inbound: parts.inbound,
            endpoints,
            choices: Choices::default(),
            pool: Pool::default(),
            budget: Budget::new(config.memory_budget),
            counters: Counters::new(),
            waits: config.waits,
            tasks,
            exchanges: TaskTracker::new(),
            draining: AtomicBool::new(false),
            snapshots: watch::Sender::new(()),
        });
        inner.tasks.spawn(Arc::clone(&inner).accept_quic());
        if let Some(listener) = listener {
            inner.tasks.spawn(Arc::clone(&inner).accept_http2(listener));
        }
        Ok(Self(inner))
    }

    /// From now on new connections are made with this identity; those that are live go on with theirs.
    ///
    /// # Errors
    /// `Tls` if certificate and key do not fit.
    pub(crate) fn replace_identity(&self, identity: TlsIdentity) -> Result<(), CertsError> {
        self.0.identity.replace(identity)
    }

    /// With what it listens and dials.
    #[must_use]
    pub fn carriers(&self) -> Vec<Carrier> {
        [Carrier::Quic, Carrier::Http2].into_iter().filter(|carrier| self.0.endpoints.has(*carrier)).collect()
    }

    /// What messages from peers may take from now on, in bytes.
    pub(crate) fn set_memory_budget(&self, bytes: usize) {
        self.0.budget.resize(bytes);
    }

    /// Where the node listens: with the port that the system chose, if the configuration left it to it.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.endpoints.local_addr()
    }

    /// Sends a sealed message and waits for its answer.
    ///
    /// # Errors
    /// `exchange.outcome_unknown`, `answer.mismatch` and `ledger.forked` are about an exchange that the peer may have
    /// accepted. Every other fault proves that it did not.
    pub async fn exchange(
        &self,
        peer: &NodeId,
        message: SealedEntry,
        payload: Arc<Payload>,
        deadline: Duration,
    ) -> Result<LinkAnswer, Fault> {
        self.0.exchange(peer, &message, &payload, Instant::now() + deadline).await
    }

    /// Sends a message with a large body while it comes, and waits for its answer `wait` long after its end.
    ///
    /// # Errors
    /// As `exchange`.
    pub async fn exchange_large(
        &self,
        peer: &NodeId,
        outflow: Outflow,
        wait: Duration,
    ) -> Result<LinkAnswer, Fault> {
        self.0.exchange_large(peer, outflow, wait).await
    }

    /// Sends what opens a stream; what follows goes out as it is made, and what the peer sends comes over the line.
    ///
    /// # Errors
    /// Every fault proves that the peer did not accept it.
    pub async fn stream(
        &self,
        peer: &NodeId,
        opening: SealedEntry,
        payload: Arc<Payload>,
        departures: Departures,
    ) -> Result<Line, Fault> {
        self.0.open_live(peer, &opening, &payload, departures).await
    }

    /// Asks a counterparty for the evidence that it holds about an exchange. What it gives is not checked yet.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn fetch(&self, peer: &NodeId, wanted: Wanted, deadline: Duration) -> Result<Fetched, Fault> {
        self.0.fetch(peer, wanted, Instant::now() + deadline).await
    }

    /// Asks a peer for a piece of the global configuration; none if it does not have it. What it gives is not checked yet.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn conf(
        &self,
        peer: &NodeId,
        wanted: WantedConf,
        deadline: Duration,
    ) -> Result<Option<Bytes>, Fault> {
        self.0.ask_conf(peer, wanted, Instant::now() + deadline).await
    }

    /// Fetches the large body of an entry that was fetched; goes on where it stopped, as long as more comes. It is not
    /// checked, nor durable yet.
    ///
    /// # Errors
    /// Why it did not come.
    pub async fn fetch_body(
        &self,
        peer: &NodeId,
        wanted: Wanted,
        held: &HeldEntry,
        deadline: Duration,
    ) -> Result<LargeFile, Fault> {
        self.0.fetch_body(peer, wanted, held, deadline).await
    }

    /// Takes an answer that was fetched, with its large body if it has one, as if it had just arrived: once its
    /// checkpoint is known to be on the peer's chain.
    ///
    /// # Errors
    /// `message.malformed`, `seal.unknown_ledger`, `seal.checkpoint_missing`, `ledger.forked`.
    pub async fn arrived(
        &self,
        peer: &NodeId,
        held: HeldEntry,
        body: Option<LargeFile>,
    ) -> Result<Arrived, Fault> {
        let inner = &self.0;
        let incoming = message::Incoming::fetched(held, body, inner.clock.now(), Place::ConsumerNode)?;
        let until = Instant::now() + inner.waits.checkpoint;
        let peer = inner.connected(peer, until).await?;
        inner.arrive(&peer, incoming, until, Place::ConsumerNode).await
    }

    /// Makes sure that there is a connection: for nodes that dial out only, and for `doctor`.
    ///
    /// # Errors
    /// `node.unknown`, `node.unreachable` or `node.no_globalconf`.
    pub async fn connect(&self, peer: &NodeId) -> Result<(), Fault> {
        self.0.connected(peer, Instant::now() + self.0.waits.connect).await.map(drop)
    }

    /// What it carries now.
    #[must_use]
    pub fn held(&self) -> LinkHeld {
        let peers = self.0.pool.live();
        LinkHeld {
            memory_bytes: self.0.budget.held_bytes(),
            exchanges: peers.iter().map(|peer| peer.streams.len()).sum(),
            served: self.0.exchanges.len(),
            streams: peers.iter().map(|peer| peer.held_streams()).sum(),
        }
    }

    /// The live connections.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let newest =
            |peer: &Peer| peer.without_quic.as_ref().and_then(|_| self.0.choices.without_quic(&peer.id));
        let status = |peer: &Arc<Peer>| {
            let status = peer.status();
            PeerStatus { without_quic: newest(peer).or(status.without_quic), ..status }
        };
        self.0.pool.live().iter().map(status).collect()
    }

    /// A new snapshot is in force: each connection whose peer it no longer vouches for is closed.
    pub fn rejudge(&self) {
        self.0.snapshots.send_replace(());
    }

    /// Takes no new exchanges, waits for those that go on, then says goodbye.
    pub async fn close(&self) {
        self.0.draining.store(true, Ordering::Release);
        self.0.exchanges.close();
        if timeout(self.0.waits.drain, self.0.exchanges.wait()).await.is_err() {
            tracing::warn!(left = self.0.exchanges.len(), "stopping while exchanges go on");
        }
        if timeout(GOODBYE_WAIT, self.0.endpoints.close()).await.is_err() {
            tracing::debug!("some peers did not hear the goodbye");
        }
        // They end with their connections, and with them everything that they hold of the node: its ledgers' folder.
        self.0.tasks.close();
        if timeout(GOODBYE_WAIT, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.0.tasks.len(), "tasks of closed connections go on");
        }
    }
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            connect: CONNECT_WAIT,
            read: READ_WAIT,
            write: WRITE_WAIT,
            checkpoint: CHECKPOINT_WAIT,
            pace: PACE_WAIT,
            still_coming: STILL_COMING_WAIT,
            large: LARGE_WAIT,
            turn: TURN_WAIT,
            retire: RETIRE_WAIT,
            drain: DRAIN_WAIT,
            probe_first: PROBE_FIRST_WAIT,
            probe: PROBE_WAIT,
        }
    }
}

impl LinkConfig {
    /// The defaults, on this address.
    #[must_use]
    pub fn on(listen: SocketAddr) -> Self {
        let carriers = vec![Carrier::Quic, Carrier::Http2];
        Self { listen, carriers, memory_budget: DEFAULT_MEMORY_BUDGET, waits: Waits::default() }
    }
}

/// What all parts of the link share.
struct Inner {
    own: NodeId,
    identity: Arc<LiveIdentity>,
    directory: Arc<ConfDirectory>,
    clock: Arc<dyn Clock>,
    conf: ConfSource,
    ledgers: HashMap<Origin, Ledger>,
    spool: Spool,
    heads: Arc<Heads>,
    keys: SealingKeys,
    inbound: Arc<dyn Inbound>,
    endpoints: Endpoints,
    choices: Choices,
    pool: Pool<Peer>,
    budget: Budget,
    counters: Counters,
    waits: Waits,
    /// Tasks of connections.
    tasks: TaskTracker,
    /// Tasks of streams that peers opened: what a stop waits for.
    exchanges: TaskTracker,
    draining: AtomicBool,
    /// Tells each connection that it is to be judged anew.
    snapshots: watch::Sender<()>,
    /// Of our newest `Hello`. Starts at the clock's milliseconds, so it rises over restarts.
    serial: AtomicU64,
}

impl Inner {
    fn conf_or_fault(&self) -> Result<Arc<GlobalConfiguration>, Fault> {
        let none = "this node has no global configuration yet";
        (self.conf)().ok_or_else(|| Fault::new(FaultCode::NodeNoGlobalconf, Place::ConsumerNode, none))
    }

    fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

fn unreachable(what: impl Into<String>) -> Fault {
    Fault::new(FaultCode::NodeUnreachable, Place::ConsumerNode, what)
}

/// A broken invariant of ours that must not take the node down.
fn internal(what: &str) -> Fault {
    Fault::new(FaultCode::Internal, Place::ProviderNode, what)
}

const CONNECT_WAIT: Duration = Duration::from_secs(5);
const READ_WAIT: Duration = Duration::from_secs(10);
const WRITE_WAIT: Duration = Duration::from_secs(10);
const PACE_WAIT: Duration = Duration::from_secs(30);
const STILL_COMING_WAIT: Duration = Duration::from_secs(10);
const TURN_WAIT: Duration = Duration::from_secs(20);
const RETIRE_WAIT: Duration = Duration::from_secs(5);
const DRAIN_WAIT: Duration = Duration::from_secs(30);
/// A firewall may have been slow once: it is asked again soon,
const PROBE_FIRST_WAIT: Duration = Duration::from_secs(30);
/// and then as often as costs nothing.
const PROBE_WAIT: Duration = Duration::from_secs(5 * 60);
/// For the last packets to be acknowledged.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);

const _: () =
    assert!(RETIRE_WAIT.as_secs() > CHECKPOINT_WAIT.as_secs(), "an unsealed message is refused before");
const _: () =
    assert!(2 * STILL_COMING_WAIT.as_secs() < PACE_WAIT.as_secs(), "a slow application is told of in time");
const _: () = assert!(
    TURN_WAIT.as_secs() < PACE_WAIT.as_secs() && RESERVE_WAIT.as_secs() < PACE_WAIT.as_secs(),
    "who waits for this node's turn or memory is not taken for slow"
);
