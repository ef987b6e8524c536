//! How fast small batches may come: an honest node makes few, whatever its application sends.

use std::time::Duration;

use tokio::time::Instant;

/// What a peer may still send of small batches.
#[derive(Debug)]
pub(super) struct Pace {
    left: u32,
    since: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { left: SMALL_BATCHES_BURST, since: Instant::now() }
    }

    /// Whether one more small batch is within the pace.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let regained = now.saturating_duration_since(self.since).as_millis() / SMALL_BATCH_EVERY.as_millis();
        let regained = u32::try_from(regained).unwrap_or(u32::MAX);
        if regained > 0 {
            self.left = self.left.saturating_add(regained).min(SMALL_BATCHES_BURST);
            self.since = now;
        }
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }
}

/// Small batches that may come at once: what the windows between two nodes hold of them after a pause.
const SMALL_BATCHES_BURST: u32 = 512;
/// And then one in this time: half of what an honest node takes for each.
const SMALL_BATCH_EVERY: Duration = Duration::from_millis(125);

const _: () = assert!(
    SMALL_BATCH_EVERY.as_millis() * 2 <= super::outgoing::BATCH_WAIT.as_millis(),
    "an honest node keeps the pace"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_pace_holds() {
        let mut pace = Pace::new();
        let start = pace.since;
        assert!((0..SMALL_BATCHES_BURST).all(|_| pace.allows(start)) && !pace.allows(start));
        let later = start + SMALL_BATCH_EVERY * 2;
        assert!(pace.allows(later) && pace.allows(later) && !pace.allows(later));
        let much_later = later + SMALL_BATCH_EVERY * 2 * SMALL_BATCHES_BURST;
        assert!((0..SMALL_BATCHES_BURST).all(|_| pace.allows(much_later)) && !pace.allows(much_later));
    }
}
