//! The replay window: which messages were already accepted or refused after a valid seal.
//!
//! Key = (origin, exchange id), kept until the message's expiry plus the allowed clock skew: later copies fail the
//! freshness check anyway. Rebuilt at start from the ledger's RECEIVED entries, so a restart forgets nothing that
//! was durable.

use std::collections::{BTreeMap, HashMap, HashSet};

use peabiru_proto::entry::ExchangeId;
use peabiru_proto::limits::{CLOCK_SKEW, MAX_REPLAY_KEYS};
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;

/// Bounded memory of messages seen.
#[derive(Debug)]
pub struct ReplayWindow {
    origins: HashMap<Origin, u32>,
    seen: HashSet<Key>,
    by_expiry: BTreeMap<Second, Vec<Key>>,
    keys_max: usize,
}

/// What the window says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Not before.
    New,
    /// Already: refuse.
    Before,
    /// The window is full: refuse early, nothing was noted.
    Full,
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::with_limit(MAX_REPLAY_KEYS)
    }
}

impl ReplayWindow {
    /// A window of at most `keys_max` messages.
    #[must_use]
    pub fn with_limit(keys_max: usize) -> Self {
        Self { origins: HashMap::new(), seen: HashSet::new(), by_expiry: BTreeMap::new(), keys_max }
    }

    /// Whether this message is known; notes nothing.
    #[must_use]
    pub fn contains(&self, origin: &Origin, exchange: &ExchangeId) -> bool {
        self.origins
            .get(origin)
            .is_some_and(|&origin| self.seen.contains(&Key { origin, exchange: *exchange }))
    }

    /// Notes a message if it is new. This call decides: of two copies exactly one gets `New`.
    pub fn insert(
        &mut self,
        origin: &Origin,
        exchange: &ExchangeId,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Seen {
        self.forget_expired(now);
        if self.contains(origin, exchange) {
            return Seen::Before;
        }
        if self.seen.len() >= self.keys_max {
            return Seen::Full;
        }
        let key = Key { origin: self.intern(origin), exchange: *exchange };
        self.seen.insert(key);
        self.by_expiry.entry(Second::after(expires_at.plus(CLOCK_SKEW))).or_default().push(key);
        Seen::New
    }

    /// How many messages are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    fn forget_expired(&mut self, now: Timestamp) {
        let now = Second(now.as_ms() / 1000);
        while let Some(oldest) = self.by_expiry.first_entry() {
            if *oldest.key() > now {
                break;
            }
            for key in oldest.remove() {
                self.seen.remove(&key);
            }
        }
    }

    /// Origins are registered ledgers, so they are few: a number in each key instead of the text.
    fn intern(&mut self, origin: &Origin) -> u32 {
        let next = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
        *self.origins.entry(origin.clone()).or_insert(next)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    origin: u32,
    exchange: ExchangeId,
}

/// Expiries are gathered by second, rounded up: forgotten up to a second late, never early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Second(u64);

impl Second {
    fn after(at: Timestamp) -> Self {
        Self(at.as_ms() / 1000 + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use peabiru_proto::random::SeededRandom;

    use super::*;

    fn origin(epoch: u32) -> Origin {
        format!("py.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/{epoch}").parse().unwrap()
    }

    const NOW: Timestamp = Timestamp::from_ms(1_900_000_000_000);

    #[test]
    fn of_two_copies_exactly_one_is_new() {
        let mut window = ReplayWindow::default();
        let exchange = ExchangeId::new(&SeededRandom::new(1));
        let expires = NOW.plus(Duration::from_secs(60));
        assert_eq!(window.insert(&origin(1), &exchange, expires, NOW), Seen::New);
        assert_eq!(window.insert(&origin(1), &exchange, expires, NOW), Seen::Before);
        assert_eq!(
            window.insert(&origin(2), &exchange, expires, NOW),
            Seen::New,
            "another ledger, another message"
        );
    }

    #[test]
    fn a_message_is_remembered_until_it_is_too_old_to_be_accepted() {
        let mut window = ReplayWindow::default();
        let random = SeededRandom::new(2);
        let exchange = ExchangeId::new(&random);
        let expires = NOW.plus(Duration::from_secs(60));
        window.insert(&origin(1), &exchange, expires, NOW);
        let last_acceptable = expires.plus(CLOCK_SKEW);
        window.insert(&origin(1), &ExchangeId::new(&random), expires, last_acceptable);
        assert!(window.contains(&origin(1), &exchange));
        let later = last_acceptable.plus(Duration::from_secs(2));
        window.insert(&origin(1), &ExchangeId::new(&random), later, later);
        assert!(!window.contains(&origin(1), &exchange));
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn a_full_window_refuses_and_notes_nothing() {
        let mut window = ReplayWindow::with_limit(1);
        let random = SeededRandom::new(3);
        let expires = NOW.plus(Duration::from_secs(60));
        assert_eq!(window.insert(&origin(1), &ExchangeId::new(&random), expires, NOW), Seen::New);
        let second = ExchangeId::new(&random);
        assert_eq!(window.insert(&origin(1), &second, expires, NOW), Seen::Full);
        assert!(!window.contains(&origin(1), &second));
    }
}
