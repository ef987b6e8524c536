//! How long a peer may keep this node waiting. Only that time counts: what this node itself needs for memory, for the
//! disk or for its turn does not run against the peer.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Waits;
use super::terms::StreamError;

/// What is left of it, for one stream and one direction.
#[derive(Debug)]
pub struct Patience {
    /// Time of waiting after which it is looked at what came.
    window: Duration,
    /// What must have come or gone in each window.
    window_bytes_min: u64,
    /// The same from the beginning of a frame to its end, if less is enough between frames.
    frame_bytes_min: Option<u64>,
    /// Of this window.
    waited: Duration,
    bytes: u64,
    delay: Delay,
    /// When all of it is over, whoever is slow.
    until: Option<Instant>,
}

/// Whether the peer said in this window that its application is what is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delay {
    Unexplained,
    Explained,
}

impl Patience {
    /// For something that is due at once: after so much waiting it is over.
    #[must_use]
    pub fn once(wait: Duration) -> Self {
        Self::with(wait, u64::MAX, None)
    }

    /// For a large message: a least mean rate, and an end.
    #[must_use]
    pub(super) fn paced(waits: &Waits) -> Self {
        Self::with(waits.pace, bytes_in(waits.pace, LARGE_RATE_MIN), Some(Instant::now() + waits.large))
    }

    /// For a stream, which may pause between its frames: others say when it is over. A frame that has begun goes on: memory waits
    /// for its end.
    #[must_use]
    pub(super) fn endless(window: Duration) -> Self {
        let frame_bytes_min = Some(bytes_in(window, FRAME_RATE_MIN));
        Self { frame_bytes_min, ..Self::with(window, 0, None) }
    }

    fn with(window: Duration, window_bytes_min: u64, until: Option<Instant>) -> Self {
        let (waited, bytes, delay) = (Duration::ZERO, 0, Delay::Unexplained);
        Self { window, window_bytes_min, frame_bytes_min: None, waited, bytes, delay, until }
    }

    /// A frame was announced, and memory is held for it.
    pub(super) fn within_frame(&mut self) {
        if let Some(bytes_min) = self.frame_bytes_min {
            (self.window_bytes_min, self.waited, self.bytes) = (bytes_min, Duration::ZERO, 0);
        }
    }

    /// It came to its end.
    pub(super) fn between_frames(&mut self) {
        if self.frame_bytes_min.is_some() {
            self.window_bytes_min = 0;
        }
    }

    /// Waits for the peer.
    ///
    /// # Errors
    /// `Stalled`, and what the work itself gives.
    pub(super) async fn wait<T>(
        &mut self,
        work: impl Future<Output = Result<T, StreamError>>,
    ) -> Result<T, StreamError> {
        let mut work = pin!(work);
        loop {
            let started = Instant::now();
            let done = timeout_at(started + self.left(started), &mut work).await;
            self.waited += started.elapsed();
            match done {
                Ok(done) => return done,
                Err(_) => self.look(Instant::now())?,
            }
        }
    }

    /// Time of waiting until it is looked at what came.
    fn left(&self, now: Instant) -> Duration {
        let window = self.window.saturating_sub(self.waited);
        self.until.map_or(window, |until| window.min(until.saturating_duration_since(now)))
    }

    /// So many bytes came from the peer, or were taken by it.
    pub(super) fn moved(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The peer says that it waits for its application.
    pub(super) fn explained(&mut self) {
        self.delay = Delay::Explained;
    }

    /// A window has passed, or all of them.
    fn look(&mut self, now: Instant) -> Result<(), StreamError> {
        let is_over = self.until.is_some_and(|until| now >= until);
        if is_over || self.bytes < self.window_bytes_min && self.delay == Delay::Unexplained {
            return Err(StreamError::Stalled);
        }
        (self.waited, self.bytes, self.delay) = (Duration::ZERO, 0, Delay::Unexplained);
        Ok(())
    }
}

fn bytes_in(window: Duration, rate: u64) -> u64 {
    rate.saturating_mul(u64::try_from(window.as_millis()).unwrap_or(u64::MAX)) / 1000
}

/// Least mean rate of a stream's frame, in bytes per second.
const FRAME_RATE_MIN: u64 = LARGE_RATE_MIN;
/// Least mean rate of a large message while this node waits for the peer, in bytes per second.
const LARGE_RATE_MIN: u64 = 1024;
/// What TCP and QUIC carry, in bytes per second, where a packet takes 300 ms and one of twenty is lost: a window of 1.2 / √0.05
/// packets in each round trip (Mathis and others, 1997).
const SLOW_LINK_RATE: u64 = 12 * 1024;
const _: () = assert!(8 * LARGE_RATE_MIN <= SLOW_LINK_RATE, "such a link carries eight at once");

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    const PACE: Duration = Duration::from_secs(30);
    const LARGE: Duration = Duration::from_secs(1000);

    fn paced() -> (Patience, Instant) {
        (Patience::paced(&Waits { pace: PACE, large: LARGE, ..Waits::default() }), Instant::now())
    }

    #[test]
    fn whoever_moves_less_than_the_least_rate_is_given_up() {
        let (mut patience, now) = paced();
        assert_eq!(patience.left(now), PACE);
        patience.waited += Duration::from_secs(29);
        assert_eq!(patience.left(now), Duration::from_secs(1));
        patience.moved(LARGE_RATE_MIN * 30);
        assert!(patience.look(now).is_ok());
        assert_eq!(patience.left(now), PACE, "the next window begins with nothing");
        patience.moved(LARGE_RATE_MIN * 30 - 1);
        assert!(matches!(patience.look(now), Err(StreamError::Stalled)));
    }

    #[test]
    fn whoever_says_that_more_is_coming_has_time_but_not_for_ever() {
        let (mut patience, now) = paced();
        patience.explained();
        assert!(patience.look(now).is_ok());
        assert!(patience.look(now).is_err(), "it says so in each window");
        let (mut patience, now) = paced();
        let end = now + LARGE + Duration::from_millis(1);
        assert!(patience.left(now + LARGE - Duration::from_secs(1)) < Duration::from_secs(2));
        patience.explained();
        patience.moved(u64::MAX);
        assert!(patience.look(end).is_err());
    }

    #[test]
    fn a_stream_may_pause_between_its_frames_and_not_within_one() {
        let mut patience = Patience::endless(PACE);
        let now = Instant::now();
        assert!(patience.look(now).is_ok() && patience.look(now).is_ok(), "nobody says anything");
        patience.within_frame();
        patience.moved(FRAME_RATE_MIN * PACE.as_secs());
        assert!(patience.look(now).is_ok());
        patience.moved(FRAME_RATE_MIN * PACE.as_secs() - 1);
        assert!(matches!(patience.look(now), Err(StreamError::Stalled)));
        patience.between_frames();
        assert!(patience.look(now).is_ok());
    }

    #[tokio::test]
    async fn what_takes_the_peer_no_time_leaves_it_all_of_it() {
        let mut patience = Patience::once(Duration::from_nanos(1));
        // As often as this node has something to do in between.
        for _ in 0..3 {
            assert!(patience.wait(ready(Ok(()))).await.is_ok());
        }
        let never = std::future::pending::<Result<(), _>>();
        assert!(matches!(patience.wait(never).await, Err(StreamError::Stalled)));
    }
}
