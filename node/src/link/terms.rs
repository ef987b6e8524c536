//! What both carriers have in common: their names, the codes with which they close, the limits that they keep.

use std::fmt;
use std::time::Duration;

use super::frame::FrameError;

/// What carries frames from node to node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// Over UDP: the first choice.
    Quic,
    /// Over TCP: where a firewall drops UDP.
    Http2,
}

/// Why a connection or one of its streams is closed: the code travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The node stops.
    Closing = 0,
    /// Another connection between the same nodes is used.
    Duplicate = 1,
    /// The peer does not speak this protocol correctly.
    Protocol = 2,
    /// The peer takes too long.
    Stalled = 3,
    /// What a peer knows of our ledger contradicts it.
    OwnLedger = 4,
    /// The certificate is no longer registered.
    Unregistered = 5,
    /// Nobody waits for the answer any more.
    Abandoned = 6,
}

/// Why a stream gives nothing more.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The connection is gone, or the peer gave the stream up.
    #[error("{0}")]
    Lost(String),
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer sends or takes nothing for too long, or too little.
    #[error("it took too long")]
    Stalled,
    /// This node has no memory for what comes.
    #[error("this node has no memory left for it")]
    NoMemory,
}

impl Carrier {
    /// As `node.toml`, metrics and operators spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Http2 => "http2",
        }
    }

    /// What it runs over, as administrators of firewalls call it.
    #[must_use]
    pub fn transport(self) -> &'static str {
        match self {
            Self::Quic => "UDP",
            Self::Http2 => "TCP",
        }
    }

    /// The one that is tried if this one gives no connection.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Quic => Self::Http2,
            Self::Http2 => Self::Quic,
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Code {
    /// The code with this number.
    #[must_use]
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|code| *code as u32 == number)
    }

    const ALL: [Self; 7] = [
        Self::Closing,
        Self::Duplicate,
        Self::Protocol,
        Self::Stalled,
        Self::OwnLedger,
        Self::Unregistered,
        Self::Abandoned,
    ];
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closing => "the node stops",
            Self::Duplicate => "another connection is used",
            Self::Protocol => "the protocol was not kept",
            Self::Stalled => "it took too long",
            Self::OwnLedger => "the other side holds a head of a ledger that cannot be continued",
            Self::Unregistered => "the certificate is not registered",
            Self::Abandoned => "nobody waits for it any more",
        })
    }
}

/// Something that ends a stream, in words.
pub(super) fn lost(error: impl fmt::Display) -> StreamError {
    StreamError::Lost(error.to_string())
}

/// Exchanges that each side may have open at once, also the bound of the tasks that serve them.
pub(super) const STREAMS_MAX: u32 = 512;
/// Large messages that a connection carries at once, each way: others wait for their turn.
pub(super) const LARGE_STREAMS_MAX: usize = 32;
/// Streams that go on over a connection at once, of both sides: if nobody reads any of them, half of the connection's window is
/// left for everything else.
pub(super) const LIVE_STREAMS_MAX: usize = (CONNECTION_WINDOW_BYTES / STREAM_WINDOW_BYTES / 2) as usize;
/// An idle connection is kept open by a packet this often, less than the 30 s after which routers forget it.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After this long without any packet a connection is lost.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(45);
/// Unread bytes of one stream.
pub(super) const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Unread bytes of one connection.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Most bytes that one read takes.
pub(super) const READ_BYTES_MAX: u32 = 64 * 1024;

const _: () = assert!(STREAM_WINDOW_BYTES < CONNECTION_WINDOW_BYTES, "one stream cannot block the others");
const _: () = assert!(KEEP_ALIVE.as_secs() * 2 < IDLE_MAX.as_secs(), "one lost packet costs no connection");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_by_its_number() {
        for code in Code::ALL {
            assert_eq!(Code::of(code as u32), Some(code));
        }
        assert_eq!(Code::of(7), None);
    }
}
