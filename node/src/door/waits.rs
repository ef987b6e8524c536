//! How long a caller may keep the door waiting, and which limit ended a connection.

use std::time::Duration;

use crate::grpc::body::LargeWaits;

/// Every wait of a door for a caller.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For the first bytes of a connection.
    pub begin: Duration,
    /// For a head of HTTP/1.1 from its first byte to its last; between calls, for the next to begin.
    pub head: Duration,
    /// For a message to come once its head is there.
    pub message: Duration,
    /// For the rest of one beyond 64 KiB.
    pub large: LargeWaits,
    /// For a caller to ask for the next part of an answer.
    pub take: Duration,
    /// A connection without a call for this long is closed; clients make a new one when they need it.
    pub idle: Duration,
    /// How often a connection is looked at for both.
    pub look: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            handshake: HANDSHAKE_WAIT,
            begin: BEGIN_WAIT,
            head: HEAD_WAIT,
            message: MESSAGE_WAIT,
            large: LargeWaits::default(),
            take: TAKE_MAX,
            idle: IDLE_MAX,
            look: LOOK_EVERY,
        }
    }
}

/// What ended a connection that its caller did not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// `Waits::handshake`
    Handshake,
    /// `Waits::begin`
    Begin,
    /// `Waits::head`
    Head,
    /// It did not answer that it is still there.
    Alive,
    /// `Waits::take`
    Take,
    /// `Waits::idle`
    Idle,
    /// It was idle, and another one wanted its place.
    Room,
}

impl Limit {
    fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Begin => "begin",
            Self::Head => "head",
            Self::Alive => "alive",
            Self::Take => "take",
            Self::Idle => "idle",
            Self::Room => "room",
        }
    }

    /// Says that it ended a connection.
    pub(super) fn note(self) {
        tracing::debug!(limit = self.as_str(), "a connection at the door was ended");
        metrics::counter!(CONNECTIONS_ENDED, "limit" => self.as_str()).increment(1);
    }
}

/// Counter, by `limit`.
const CONNECTIONS_ENDED: &str = "peabiru_door_connections_ended_total";
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
const BEGIN_WAIT: Duration = Duration::from_secs(30);
const HEAD_WAIT: Duration = Duration::from_secs(60);
const MESSAGE_WAIT: Duration = Duration::from_secs(30);
const TAKE_MAX: Duration = Duration::from_secs(120);
const IDLE_MAX: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_secs(30);
