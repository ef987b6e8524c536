//! What the link counts. Handles are made once: counting costs one atomic addition.

use metrics::{Counter, Gauge};
use peabiru_proto::fault::Fault;

use super::terms::Carrier;

/// Made after the recorder is installed, else they count nothing.
pub(crate) struct Counters {
    pub(crate) dialled: Counter,
    pub(crate) answered: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) streams_opened: Counter,
    pub(crate) streams_accepted: Counter,
    pub(crate) stalled: Counter,
    /// Connections that were given up because nothing came back.
    pub(crate) silent: Counter,
    /// Connections whose peer a snapshot no longer vouched for.
    pub(crate) expelled: Counter,
    pub(crate) malformed: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) checkpoints_received: Counter,
    pub(crate) forks: Counter,
    pub(crate) own_ledger_contradicted: Counter,
    /// Tries of QUIC to a peer that HTTP/2 reached.
    pub(crate) probes: Counter,
    quic: Connections,
    http2: Connections,
}

/// Connections over one carrier.
struct Connections {
    total: Counter,
    up: Gauge,
}

/// A connection that is up; it is counted down when this is dropped.
pub(crate) struct Up(Gauge);

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            dialled: metrics::counter!("peabiru_link_handshakes_total", "side" => "dialled"),
            answered: metrics::counter!("peabiru_link_handshakes_total", "side" => "answered"),
            handshakes_failed: metrics::counter!("peabiru_link_handshakes_failed_total"),
            streams_opened: metrics::counter!("peabiru_link_streams_total", "side" => "opened"),
            streams_accepted: metrics::counter!("peabiru_link_streams_total", "side" => "accepted"),
            stalled: metrics::counter!("peabiru_link_streams_stalled_total"),
            silent: metrics::counter!("peabiru_link_silent_total"),
            expelled: metrics::counter!("peabiru_link_expelled_total"),
            malformed: metrics::counter!("peabiru_link_streams_malformed_total"),
            bytes_sent: metrics::counter!("peabiru_link_bytes_total", "direction" => "sent"),
            bytes_received: metrics::counter!("peabiru_link_bytes_total", "direction" => "received"),
            checkpoints_received: metrics::counter!("peabiru_link_checkpoints_received_total"),
            forks: metrics::counter!("peabiru_link_forks_total"),
            own_ledger_contradicted: metrics::counter!("peabiru_link_own_ledger_contradicted_total"),
            probes: metrics::counter!("peabiru_link_quic_probes_total"),
            quic: Connections::over(Carrier::Quic),
            http2: Connections::over(Carrier::Http2),
        }
    }

    /// A connection after its `Hello`s.
    pub(crate) fn up(&self, carrier: Carrier) -> Up {
        let connections = match carrier {
            Carrier::Quic => &self.quic,
            Carrier::Http2 => &self.http2,
        };
        connections.total.increment(1);
        connections.up.increment(1.0);
        Up(connections.up.clone())
    }

    /// A refusal that goes to a peer without a seal.
    pub(crate) fn refused(fault: &Fault) {
        metrics::counter!("peabiru_link_refusals_total", "code" => fault.code.as_str()).increment(1);
    }
}

impl Connections {
    fn over(carrier: Carrier) -> Self {
        Self {
            total: metrics::counter!("peabiru_link_connections_total", "carrier" => carrier.as_str()),
            up: metrics::gauge!("peabiru_link_connections", "carrier" => carrier.as_str()),
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl std::fmt::Debug for Up {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Up")
    }
}
