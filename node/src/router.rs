//! Whose node gets the request: by health first, then latency. Pure: what happened comes in as observations.

use std::collections::HashMap;
use std::time::Duration;

use peabiru_proto::id::NodeId;
use peabiru_proto::time::Timestamp;

/// What is known of the nodes that were asked before.
#[derive(Debug, Default)]
pub struct Router {
    seen: HashMap<NodeId, Health>,
}

#[derive(Debug, Clone, Copy)]
struct Health {
    /// Until when the node is asked last.
    avoid_until: Option<Timestamp>,
    failures_in_a_row: u32,
    /// Smoothed time of an exchange.
    latency: Duration,
}

impl Router {
    /// The node to ask: of those that are not avoided the quickest, an unknown one counting as quick; if all are
    /// avoided, the one whose time is over first.
    #[must_use]
    pub fn choose<'a>(
        &self,
        nodes: impl IntoIterator<Item = &'a NodeId>,
        now: Timestamp,
    ) -> Option<&'a NodeId> {
        nodes.into_iter().min_by_key(|node| {
            let health = self.seen.get(*node);
            let avoid_until = health.and_then(|health| health.avoid_until).filter(|until| *until > now);
            (avoid_until, health.map_or(Duration::ZERO, |health| health.latency), *node)
        })
    }

    /// An exchange with the node ended, in whatever way, after `took`.
    pub fn answered(&mut self, node: &NodeId, took: Duration) {
        let health = self.health(node);
        health.failures_in_a_row = 0;
        health.avoid_until = None;
        health.latency = if health.latency.is_zero() { took } else { (health.latency * 7 + took) / 8 };
    }

    /// The node could not be reached: ask it last for a while, longer each time.
    pub fn unreachable(&mut self, node: &NodeId, now: Timestamp) {
        let health = self.health(node);
        let doublings = health.failures_in_a_row.min(AVOID_DOUBLINGS_MAX);
        health.failures_in_a_row = health.failures_in_a_row.saturating_add(1);
        health.avoid_until = Some(now.plus(AVOID_FIRST * 2u32.pow(doublings)));
    }

    fn health(&mut self, node: &NodeId) -> &mut Health {
        const UNKNOWN: Health = Health { avoid_until: None, failures_in_a_row: 0, latency: Duration::ZERO };
        self.seen.entry(node.clone()).or_insert(UNKNOWN)
    }
}

/// How long an unreachable node is asked last, the first time.
const AVOID_FIRST: Duration = Duration::from_secs(1);
/// After this many failures in a row the time no longer doubles: 64 s.
const AVOID_DOUBLINGS_MAX: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_900_000_000_000);

    fn nodes() -> [NodeId; 2] {
        ["PY/GOV/MEC/a".parse().unwrap(), "PY/GOV/MEC/b".parse().unwrap()]
    }

    #[test]
    fn an_unreachable_node_is_asked_last_and_again_later() {
        let [a, b] = nodes();
        let mut router = Router::default();
        assert_eq!(router.choose([&a, &b], NOW), Some(&a));
        router.unreachable(&a, NOW);
        assert_eq!(router.choose([&a, &b], NOW), Some(&b));
        assert_eq!(router.choose([&a, &b], NOW.plus(Duration::from_secs(2))), Some(&a));
    }

    #[test]
    fn the_quicker_node_is_preferred() {
        let [a, b] = nodes();
        let mut router = Router::default();
        router.answered(&a, Duration::from_millis(30));
        router.answered(&b, Duration::from_millis(3));
        assert_eq!(router.choose([&a, &b], NOW), Some(&b));
    }

    #[test]
    fn if_all_are_avoided_the_first_to_come_back_is_asked() {
        let [a, b] = nodes();
        let mut router = Router::default();
        router.unreachable(&b, NOW);
        router.unreachable(&a, NOW.plus(Duration::from_millis(1)));
        assert_eq!(router.choose([&a, &b], NOW), Some(&b));
        assert_eq!(router.choose([], NOW), None);
    }
}
