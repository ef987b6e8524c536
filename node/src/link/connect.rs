//! From a connection to a peer: whoever dialled, `Hello`s are exchanged.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock};

use peabiru_certs::peer::{PeerRefused, judge_peer};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::NodeId;
use peabiru_proto::origin::Origin;
use peabiru_proto::wire::{self, link_frame::Frame};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::carrier::{Connection, Receiver, Sender};
use super::conf::CONF_STREAMS_MAX;
use super::control::Announcer;
use super::dial::Dialled;
use super::frame::{self, FrameError};
use super::hello::Hello;
use super::peer::{Continues, DialledBy, Peer, UNKNOWN};
use super::pool::{Admitted, Arbiter, Begin, Loser, Slot};
use super::terms::{Carrier, Code, LARGE_STREAMS_MAX, LIVE_STREAMS_MAX};
use super::{Inner, http2, unreachable};

/// A connection of which we know whose it is.
struct Identified {
    id: NodeId,
    connection: Connection,
    without_quic: Option<String>,
    dialled_by: DialledBy,
}

/// How we greeted a peer.
struct Said {
    serial: u64,
    control_out: Sender,
}

/// A peer that greeted us.
struct Greeted {
    hello: Hello,
    control_in: Receiver,
}

impl Inner {
    /// The connection with a peer: the live one, else one that is dialled now, by the first who wants it.
    pub(crate) async fn connected(self: &Arc<Self>, id: &NodeId, until: Instant) -> Result<Arc<Peer>, Fault> {
        let slot = match self.pool.slot(id) {
            Some(slot) => slot,
            None => self.new_slot(id)?,
        };
        if let Some(peer) = slot.live() {
            return Ok(peer);
        }
        let mut changes = slot.changes();
        loop {
            match slot.begin(Instant::now()) {
                Begin::Use(peer) => return Ok(peer),
                Begin::Failed(fault) => return Err(fault),
                // A task of its own: the others wait for it even if this caller goes away.
                Begin::Dial => drop(self.tasks.spawn(Arc::clone(self).dial(Arc::clone(&slot), id.clone()))),
                Begin::Wait => {}
            }
            let waited = timeout_at(until, changes.next()).await;
            waited.map_err(|_| unreachable(format!("{id} did not answer in time")))?;
        }
    }

    fn new_slot(&self, id: &NodeId) -> Result<Arc<Slot<Peer>>, Fault> {
        let conf = self.conf_or_fault()?;
        if conf.node(id).is_none() || *id == self.own {
            let what = format!("{id} is not another node of the global configuration");
            return Err(Fault::new(FaultCode::NodeUnknown, Place::ConsumerNode, what));
        }
        Ok(self.pool.slot_of_registered(id))
    }

    /// The dialler's half: greet, then be greeted.
    pub(crate) async fn greet(
        self: &Arc<Self>,
        slot: &Slot<Peer>,
        id: &NodeId,
        dialled: Dialled,
    ) -> Result<(), String> {
        let identified = self.identify(dialled, DialledBy::Us)?;
        let connection = identified.connection.clone();
        if identified.id != *id {
            return Err(format!("its certificate is registered for {}", identified.id));
        }
        if !slot.greets() {
            connection.close(Code::Duplicate, "another connection came in");
            return Ok(());
        }
        let (serial, control_out) = self.say_hello(&identified, None).await?;
        let greeted = match self.hear_hello(&identified).await {
            Ok(greeted) => greeted,
            Err(_) if connection.is_duplicate() => {
                // The peer uses a connection that it dialled: it is about to be admitted.
                slot.changes().live().await;
                return Ok(());
            }
            Err(reason) => return Err(reason),
        };
        self.counters.dialled.increment(1);
        self.admit(slot, identified, Said { serial, control_out }, greeted, None);
        Ok(())
    }

    /// The dialler's half where a connection that is live is replaced by a better one.
    pub(crate) async fn replace(
        self: &Arc<Self>,
        slot: &Slot<Peer>,
        live: &Arc<Peer>,
        dialled: Dialled,
    ) -> Result<(), String> {
        let identified = self.identify(dialled, DialledBy::Us)?;
        if identified.id != live.id {
            return Err(format!("its certificate is registered for {}", identified.id));
        }
        let greeting = async {
            let (serial, control_out) = self.say_hello(&identified, Some(live)).await?;
            Ok((Said { serial, control_out }, self.hear_hello(&identified).await?))
        };
        let greeted = timeout(self.waits.connect, greeting).await;
        let (said, greeted) = match greeted.unwrap_or_else(|_| Err("it did not greet in time".to_owned())) {
            Ok(both) => both,
            Err(why) => {
                // The peer may have heard our `Hello` and count on this connection: neither of the two is safe.
                slot.lost(live);
                self.retire(live);
                return Err(why);
            }
        };
        // Else the peer lost the other one meanwhile: what it says begins with the heads of our `Hello`.
        let replaced = (greeted.hello.replaces == Some(live.peer_serial)).then_some(live);
        self.counters.dialled.increment(1);
        self.admit(slot, identified, said, greeted, replaced);
        Ok(())
    }

    /// Answers who dials us, a bounded number at a time.
    pub(crate) async fn accept_quic(self: Arc<Self>) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        while let Some(incoming) = self.endpoints.accept_quic().await {
            // Forged addresses must not take the places of those who can be reached.
            if handshakes.available_permits() <= HANDSHAKES_UNVALIDATED && !incoming.is_validated() {
                incoming.retry();
                continue;
            }
            match Arc::clone(&handshakes).try_acquire_owned() {
                Ok(permit) => {
                    let inner = Arc::clone(&self);
                    self.tasks.spawn(async move {
                        let handshake = async { incoming.handshake().await.map(Connection::Quic) };
                        inner.answer_connection(handshake).await;
                        drop(permit);
                    });
                }
                Err(_) => incoming.refuse(),
            }
        }
    }

    /// The same over TCP, where an address is true; whoever comes beyond the places finds the connection closed.
    pub(crate) async fn accept_http2(self: Arc<Self>, listener: http2::Listener) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        while let Some(incoming) = listener.accept().await {
            let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else { continue };
            let inner = Arc::clone(&self);
            self.tasks.spawn(async move {
                let handshake = async { incoming.handshake().await.map(Connection::Http2) };
                inner.answer_connection(handshake).await;
                drop(permit);
            });
        }
    }

    async fn answer_connection(
        self: &Arc<Self>,
        handshake: impl Future<Output = Result<Connection, String>>,
    ) {
        let answered = timeout(self.waits.connect, self.try_answer(handshake)).await;
        if let Err(reason) = answered.unwrap_or_else(|_| Err("it did not greet in time".to_owned())) {
            self.counters.handshakes_failed.increment(1);
            tracing::warn!(reason, "a connection was refused");
        }
    }

    /// The answerer's half: be greeted, and greet only if this connection is to be used.
    async fn try_answer(
        self: &Arc<Self>,
        handshake: impl Future<Output = Result<Connection, String>>,
    ) -> Result<(), String> {
        let connection = handshake.await?;
        let without_quic = match connection.carrier() {
            Carrier::Quic => None,
            Carrier::Http2 => Some("the peer dialled over HTTP/2".to_owned()),
        };
        let identified = self.identify(Dialled { connection, without_quic }, DialledBy::Them)?;
        let slot = self.pool.slot_of_registered(&identified.id);
        let greeted = self.hear_hello(&identified).await?;
        if !slot.answers(self.arbiter(&identified.id), greeted.hello.serial) {
            identified.connection.close(Code::Duplicate, "another connection is used");
            return Ok(());
        }
        let live = slot.live().filter(|live| greeted.hello.replaces == Some(live.peer_serial));
        let (serial, control_out) = self.say_hello(&identified, live.as_deref()).await?;
        self.counters.answered.increment(1);
        self.admit(&slot, identified, Said { serial, control_out }, greeted, live.as_ref());
        Ok(())
    }

    fn identify(&self, dialled: Dialled, dialled_by: DialledBy) -> Result<Identified, String> {
        let Dialled { connection, without_quic } = dialled;
        match self.who(&connection) {
            Ok(id) => Ok(Identified { id, connection, without_quic, dialled_by }),
            Err(refused) => {
                connection.close(Code::Unregistered, &refused.to_string());
                Err(refused.to_string())
            }
        }
    }

    /// Who the other side is, by the snapshot and the clock of the moment.
    pub(crate) fn who(&self, connection: &Connection) -> Result<NodeId, PeerRefused> {
        let certificates = connection.certificates();
        let certificate =
            certificates.first().ok_or_else(|| PeerRefused::Chain(NO_CERTIFICATE.to_owned()))?;
        judge_peer(certificate, &*self.directory)
    }

    async fn say_hello(&self, to: &Identified, replaces: Option<&Peer>) -> Result<(u64, Sender), String> {
        let mut control_out = to.connection.open_control().await.map_err(|error| error.to_string())?;
        let serial = self.next_serial();
        let conf = (self.conf)();
        let keeper =
            |origin: &Origin| conf.as_ref().and_then(|conf| conf.ledger(origin)).map(|ledger| &ledger.node);
        // From here on older connections with this peer add nothing to what is known: the list stays true. Where one is
        // replaced, the peer goes on from what it sent there.
        let replaces = replaces.map(|live| live.own_serial);
        let known = self.heads.begin(&to.id, serial, replaces, &|origin| keeper(origin) == Some(&to.id));
        let version = conf.as_ref().map_or(0, |conf| conf.version());
        let replaces = replaces.unwrap_or_default();
        let hello = wire::Hello { replaces, ..Hello::write(&self.own, version, serial, &known) };
        let sent = control_out.send(&mut [frame::encode(Frame::Hello(hello))]).await;
        sent.map_err(|error| error.to_string())?;
        Ok((serial, control_out))
    }

    async fn hear_hello(&self, from: &Identified) -> Result<Greeted, String> {
        let refuse = |error: &dyn std::fmt::Display| {
            let reason = error.to_string();
            from.connection.close(Code::Protocol, &reason);
            format!("{}: {reason}", from.id)
        };
        let mut control_in = from.connection.accept_control().await.map_err(|error| error.to_string())?;
        let hello = match control_in.control_frame().await.map_err(|error| refuse(&error))? {
            Some(Frame::Hello(hello)) => Hello::read(&hello, &from.id).map_err(|error| refuse(&error))?,
            _ => return Err(refuse(&FrameError::Unexpected("a Hello"))),
        };
        self.inbound.greeted(&from.id, hello.globalconf_version);
        if let Err(contradiction) = self.check_own_ledgers(&hello) {
            self.counters.own_ledger_contradicted.increment(1);
            tracing::error!(peer = %from.id, contradiction, "a peer holds a head of ours that we cannot continue");
            from.connection.close(Code::OwnLedger, &contradiction);
            return Err(contradiction);
        }
        Ok(Greeted { hello, control_in })
    }

    /// What a peer holds of our ledgers must be part of them; else our disk went back in time, and every seal that
    /// we made would be a fork.
    fn check_own_ledgers(&self, hello: &Hello) -> Result<(), String> {
        let Some(conf) = (self.conf)() else { return Ok(()) };
        for head in &hello.known {
            let (origin, size) = (head.origin(), head.size());
            let Some(ledger) = self.ledgers.get(origin) else { continue };
            // Part of what this node has: whether it is signed, by a key of today or of before, matters no more.
            if size <= ledger.size()
                && ledger.root_at(size).map_err(|error| error.to_string())? == *head.root()
            {
                continue;
            }
            let keys = self
                .keys
                .of(&conf, origin, &self.own, self.clock.now())
                .map_err(|error| error.to_string())?;
            // The key in force may be one that was withdrawn, after a disk went back to before a change of keys.
            if head.signed_by(&keys).is_err() && head.verify(&ledger.verifying_key()).is_err() {
                return Err(format!("the peer's head of {origin} at {size} is not signed by this node"));
            }
            // Released heads are never ahead of what is durable, and nobody else has the key: our disk went back.
            let contradiction = if size > ledger.size() {
                format!(
                    "a peer holds {origin} at {size}, this node has {}: was its disk restored?",
                    ledger.size()
                )
            } else {
                format!("a peer holds another {origin} at {size} than this node has: was its disk restored?")
            };
            ledger.abandon(&contradiction);
            return Err(contradiction);
        }
        Ok(())
    }

    fn admit(
        self: &Arc<Self>,
        slot: &Slot<Peer>,
        from: Identified,
        said: Said,
        greeted: Greeted,
        replaced: Option<&Arc<Peer>>,
    ) {
        let Greeted { hello, control_in } = greeted;
        let Said { serial: own_serial, control_out } = said;
        let known: Vec<_> =
            hello.known.into_iter().filter(|head| self.ledgers.contains_key(head.origin())).collect();
        let arbiter_serial = match self.arbiter(&from.id) {
            Arbiter::Own => own_serial,
            Arbiter::Peer => hello.serial,
        };
        let (announcer, arrived, continues) = match replaced {
            Some(live) => (
                Announcer::succeeding(&live.announcer, control_out),
                Arc::clone(&live.arrived),
                Continues::Another,
            ),
            None => (Arc::new(Announcer::new(&known, control_out)), Arc::default(), Continues::Nothing),
        };
        let peer = Arc::new(Peer {
            announcer,
            budget: self.budget.for_peer(),
            large_in: Semaphore::new(LARGE_STREAMS_MAX),
            large_out: Semaphore::new(LARGE_STREAMS_MAX),
            live: Arc::new(Semaphore::new(LIVE_STREAMS_MAX)),
            conf_out: Semaphore::new(CONF_STREAMS_MAX),
            arrived,
            own_serial,
            peer_serial: hello.serial,
            continues,
            streams: TaskTracker::new(),
            expelled: OnceLock::new(),
            globalconf_version: hello.globalconf_version,
            dialled_by: from.dialled_by,
            since: self.clock.now(),
            clock_ahead_ms: AtomicI64::new(UNKNOWN),
            _up: self.counters.up(from.connection.carrier()),
            connection: from.connection,
            without_quic: from.without_quic,
            id: from.id,
        });
        tracing::info!(
            peer = %peer.id,
            carrier = %peer.connection.carrier(),
            dialled_by = ?peer.dialled_by,
            version = hello.version,
            without_quic = peer.without_quic,
            "link up"
        );
        let connection = Arc::clone(&peer);
        let admitted = Admitted { connection, arbiter_serial, peer_serial: hello.serial };
        // Served before it is used by others: an exchange never finds a connection that nobody reads.
        self.serve(Arc::clone(&peer), control_in);
        if let Some(Loser(loser)) = slot.admit(admitted) {
            self.retire(&loser);
        }
        self.probe_quic(peer);
    }

    fn arbiter(&self, peer: &NodeId) -> Arbiter {
        if self.own < *peer { Arbiter::Own } else { Arbiter::Peer }
    }
}

/// TLS demands one, so it is never missing.
const NO_CERTIFICATE: &str = "it showed no certificate";
/// Handshakes that run at once; whoever comes beyond is refused before it costs a signature.
const HANDSHAKES_MAX: usize = 64;
/// With fewer places left, an address must be shown to be true before a handshake begins.
const HANDSHAKES_UNVALIDATED: usize = HANDSHAKES_MAX / 2;
