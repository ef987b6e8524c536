//! What the link counts. Handles are made once: counting costs one atomic addition.

use metrics::Counter;
use peabiru_proto::fault::Fault;

/// Made after the recorder is installed, else they count nothing.
pub(crate) struct Counters {
    pub(crate) dialled: Counter,
    pub(crate) answered: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) streams_opened: Counter,
    pub(crate) streams_accepted: Counter,
    pub(crate) stalled: Counter,
    pub(crate) malformed: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) checkpoints_received: Counter,
    pub(crate) forks: Counter,
    pub(crate) own_ledger_contradicted: Counter,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            dialled: metrics::counter!("peabiru_link_handshakes_total", "side" => "dialled"),
            answered: metrics::counter!("peabiru_link_handshakes_total", "side" => "answered"),
            handshakes_failed: metrics::counter!("peabiru_link_handshakes_failed_total"),
            streams_opened: metrics::counter!("peabiru_link_streams_total", "side" => "opened"),
            streams_accepted: metrics::counter!("peabiru_link_streams_total", "side" => "accepted"),
            stalled: metrics::counter!("peabiru_link_streams_stalled_total"),
            malformed: metrics::counter!("peabiru_link_streams_malformed_total"),
            bytes_sent: metrics::counter!("peabiru_link_bytes_total", "direction" => "sent"),
            bytes_received: metrics::counter!("peabiru_link_bytes_total", "direction" => "received"),
            checkpoints_received: metrics::counter!("peabiru_link_checkpoints_received_total"),
            forks: metrics::counter!("peabiru_link_forks_total"),
            own_ledger_contradicted: metrics::counter!("peabiru_link_own_ledger_contradicted_total"),
        }
    }

    /// A refusal that goes to a peer without a seal.
    pub(crate) fn refused(fault: &Fault) {
        metrics::counter!("peabiru_link_refusals_total", "code" => fault.code.as_str()).increment(1);
    }
}
