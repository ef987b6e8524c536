//! Whose node gets the request: by health first, then latency, then load. Pure: what happened comes in as observations.

use std::collections::HashMap;
use std::time::Duration;

use peabiru_proto::entry::SideEffects;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::NodeId;
use peabiru_proto::time::Timestamp;

/// What is known of the nodes that were asked before.
#[derive(Debug, Default)]
pub struct Router {
    seen: HashMap<NodeId, Health>,
    /// How often a node was chosen.
    choices: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Health {
    /// Until when the node is asked last.
    avoid_until: Option<Timestamp>,
    failures_in_a_row: u32,
    /// Smoothed time of an exchange.
    latency: Duration,
    /// Exchanges that it has not answered yet.
    under_way: u32,
    /// When it was chosen last, counted in choices.
    chosen: u64,
    /// How often another was chosen before it since then.
    passed_over: u32,
}

impl Router {
    /// The node to ask. Of those that are not avoided and not much slower than the quickest, the one with the fewest
    /// exchanges under way, and of these the one that was not asked for longest: so calls are spread. If all are avoided,
    /// the one whose time is over first.
    pub fn choose<'a>(
        &mut self,
        nodes: impl IntoIterator<Item = &'a NodeId>,
        now: Timestamp,
    ) -> Option<&'a NodeId> {
        let known = |node: &'a NodeId| (node, self.seen.get(node).copied().unwrap_or_default());
        let nodes: Vec<_> = nodes.into_iter().map(known).collect();
        let avoided = |health: &Health| health.avoid_until.filter(|until| *until > now);
        let quickest = nodes.iter().filter(|(_, health)| avoided(health).is_none());
        let quickest = quickest.map(|(_, health)| health.latency).filter(|latency| !latency.is_zero()).min();
        let slow_from = quickest.map_or(Duration::MAX, |quickest| quickest * SLOWER_MAX + LATENCY_NOISE);
        let slow = |health: &Health| health.latency > slow_from && health.passed_over < MEASURED_AGAIN_AFTER;
        let order = |(node, health): &(&'a NodeId, Health)| {
            (avoided(health), slow(health), health.under_way, health.chosen, *node)
        };
        let (chosen, _) = nodes.iter().min_by_key(|node| order(node)).copied()?;
        self.choices += 1;
        for (node, _) in nodes {
            let health = self.health(node);
            health.passed_over = health.passed_over.saturating_add(1);
        }
        let choices = self.choices;
        let health = self.health(chosen);
        (health.chosen, health.passed_over) = (choices, 0);
        Some(chosen)
    }

    /// An exchange with the node begins.
    pub fn began(&mut self, node: &NodeId) {
        self.health(node).under_way += 1;
    }

    /// An exchange that began with the node ended, in whatever way.
    pub fn ended(&mut self, node: &NodeId) {
        let health = self.health(node);
        health.under_way = health.under_way.saturating_sub(1);
    }

    /// The node answered as its service did. A refusal or a fault does not count: it may be quick because the node is not
    /// well.
    pub fn answered(&mut self, node: &NodeId) {
        let health = self.health(node);
        health.failures_in_a_row = 0;
        health.avoid_until = None;
    }

    /// So long a whole answer of its service took.
    pub fn measured(&mut self, node: &NodeId, took: Duration) {
        let health = self.health(node);
        health.latency = if health.latency.is_zero() { took } else { (health.latency * 7 + took) / 8 };
    }

    /// The node could not be reached, or takes nothing now: ask it last for a while, longer each time.
    pub fn unreachable(&mut self, node: &NodeId, now: Timestamp) {
        let health = self.health(node);
        let doublings = health.failures_in_a_row.min(AVOID_DOUBLINGS_MAX);
        health.failures_in_a_row = health.failures_in_a_row.saturating_add(1);
        health.avoid_until = Some(now.plus(AVOID_FIRST * 2u32.pow(doublings)));
    }

    fn health(&mut self, node: &NodeId) -> &mut Health {
        self.seen.entry(node.clone()).or_default()
    }
}

/// Whether a fault of this node's own link says something of the node that was asked: not the caller's own deadline, nor
/// its body that broke off, nor what is wrong here.
#[must_use]
pub fn is_of_the_link(fault: &Fault) -> bool {
    matches!(fault.code, FaultCode::NodeUnreachable | FaultCode::ExchangeOutcomeUnknown)
}

/// Whether another node of the member may be asked for what one node did not answer: if that node proved that it did not
/// accept the message, or if doing it twice does no harm.
#[must_use]
pub fn may_ask_another(fault: &Fault, side_effects: SideEffects) -> bool {
    match (fault.code, fault.place) {
        (FaultCode::NodeUnreachable, _) => true,
        (FaultCode::ExchangeOutcomeUnknown, _) => side_effects == SideEffects::None,
        // Here: too much is under way between this node and that one.
        (FaultCode::NodeOverloaded, Place::ConsumerNode | Place::ProviderNode) => true,
        (
            FaultCode::NodeDraining
            | FaultCode::NodeDiskFull
            | FaultCode::NodeNoGlobalconf
            | FaultCode::GlobalconfExpired
            | FaultCode::GlobalconfStale
            | FaultCode::SealUnknownLedger
            | FaultCode::SealCheckpointMissing,
            place,
        ) => place == Place::ProviderNode,
        _ => false,
    }
}

/// How long an unreachable node is asked last, the first time.
const AVOID_FIRST: Duration = Duration::from_secs(1);
/// After this many failures in a row the time no longer doubles: 64 s.
const AVOID_DOUBLINGS_MAX: u32 = 6;
/// A node is slow that takes longer than the quickest, so many times,
const SLOWER_MAX: u32 = 2;
/// and so much longer: less is chance, or its first handshake.
const LATENCY_NOISE: Duration = Duration::from_millis(10);
/// A slow node is asked again after it was passed over so many times: it may have become quick.
const MEASURED_AGAIN_AFTER: u32 = 10;

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
        assert_eq!([router.choose([&a, &b], NOW), router.choose([&a, &b], NOW)], [Some(&b), Some(&b)]);
        assert_eq!(router.choose([&a, &b], NOW.plus(Duration::from_secs(2))), Some(&a));
    }

    #[test]
    fn a_slow_node_is_left_alone_and_measured_again_later() {
        let [a, b] = nodes();
        let mut router = Router::default();
        router.choose([&a], NOW);
        router.measured(&a, Duration::from_millis(30));
        router.measured(&b, Duration::from_millis(3));
        let other = "PY/GOV/INE/a".parse().unwrap();
        let chosen: Vec<_> = (0..=MEASURED_AGAIN_AFTER)
            .map(|_| {
                // What others are asked makes it no quicker.
                (0..100).for_each(|_| assert_eq!(router.choose([&other], NOW), Some(&other)));
                router.choose([&a, &b], NOW).cloned()
            })
            .collect();
        assert_eq!(chosen.iter().filter(|node| **node == Some(a.clone())).count(), 1);
        assert_eq!(chosen[0], Some(b));
    }

    #[test]
    fn only_the_link_and_answers_say_how_a_node_is() {
        let [a, b] = nodes();
        let fault = |code| Fault::new(code, Place::ConsumerNode, "");
        assert!(is_of_the_link(&fault(FaultCode::NodeUnreachable)));
        assert!(is_of_the_link(&fault(FaultCode::ExchangeOutcomeUnknown)));
        for code in [FaultCode::ExchangeDeadline, FaultCode::PayloadInvalid, FaultCode::Internal] {
            assert!(!is_of_the_link(&fault(code)), "{code:?}");
        }
        let mut router = Router::default();
        router.unreachable(&a, NOW);
        router.measured(&a, Duration::from_millis(1));
        assert_eq!(router.choose([&a, &b], NOW), Some(&b), "a measure alone brings it not back");
        router.answered(&a);
        assert_eq!(router.choose([&a, &b], NOW), Some(&a));
    }

    #[test]
    fn calls_are_spread_and_go_where_fewer_are_under_way() {
        let [a, b] = nodes();
        let mut router = Router::default();
        let chosen: Vec<_> = (0..4).map(|_| router.choose([&a, &b], NOW).cloned().unwrap()).collect();
        assert_eq!(chosen, [a.clone(), b.clone(), a.clone(), b.clone()]);
        router.began(&a);
        assert_eq!([router.choose([&a, &b], NOW), router.choose([&a, &b], NOW)], [Some(&b), Some(&b)]);
        router.ended(&a);
        assert_eq!(router.choose([&a, &b], NOW), Some(&a));
    }

    #[test]
    fn another_node_is_asked_only_for_what_was_not_done_or_does_no_harm_twice() {
        use SideEffects::{None, Present};
        let cases = [
            (FaultCode::NodeUnreachable, Place::ConsumerNode, Present, true),
            (FaultCode::ExchangeOutcomeUnknown, Place::ConsumerNode, Present, false),
            (FaultCode::ExchangeOutcomeUnknown, Place::ConsumerNode, None, true),
            (FaultCode::NodeDraining, Place::ProviderNode, Present, true),
            (FaultCode::NodeDraining, Place::ConsumerNode, None, false),
            (FaultCode::AccessNoGrant, Place::ProviderNode, None, false),
            (FaultCode::AnswerMismatch, Place::ConsumerNode, None, false),
        ];
        for (code, place, side_effects, expected) in cases {
            let fault = Fault::new(code, place, "");
            assert_eq!(may_ask_another(&fault, side_effects), expected, "{fault} {side_effects:?}");
        }
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
