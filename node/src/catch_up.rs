//! After a crash: fetches the answers that were delivered, or on their way, when the node stopped (design §4).
//!
//! RECEIVED is queued before an answer is delivered and nobody waits for it, so a crash can lose it. The provider's
//! RESPONSE was durable before it left: it is asked for by the request's leaf hash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use peabiru_proto::entry::{Body, Entry};
use peabiru_proto::fault::{Fault, Place};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::CLOCK_SKEW;
use peabiru_proto::wire::HeldEntry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::core::{Core, internal, ledger_fault, received_append};
use crate::exchange::{FromChunks, Wanted};
use crate::flow::LARGE_WAIT;
use crate::guard::answer::Outstanding;
use crate::link::{Fetched, Link};
use crate::memory::Unanswered;
use crate::spool;

/// Fetches what is missing.
pub(crate) struct CatchUp {
    pub(crate) core: Arc<Core>,
    pub(crate) link: Arc<Link>,
}

enum Found {
    /// Now in our ledger.
    Answer,
    /// The provider holds none and will not make one any more.
    Nothing,
    /// The service may still be at work.
    NotYet,
}

impl CatchUp {
    /// Asks until every request has its answer or will never get one. Who cannot be reached is asked again later.
    pub(crate) async fn run(self: Arc<Self>, mut missing: Vec<Unanswered>, stop: CancellationToken) {
        let mut wait = FIRST_WAIT;
        while !missing.is_empty() {
            missing = tokio::select! {
                left = self.pass(missing) => left,
                () = stop.cancelled() => return,
            };
            if missing.is_empty() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
                () = stop.cancelled() => return,
            }
        }
        tracing::info!("no answer is missing any more");
    }

    /// Peers are asked side by side: one that does not answer delays no other.
    async fn pass(self: &Arc<Self>, missing: Vec<Unanswered>) -> Vec<Unanswered> {
        let mut by_peer: BTreeMap<NodeId, Vec<Unanswered>> = BTreeMap::new();
        for unanswered in missing {
            by_peer.entry(unanswered.addressee.clone()).or_default().push(unanswered);
        }
        let mut passes = JoinSet::new();
        for of_peer in by_peer.into_values() {
            let catch_up = Arc::clone(self);
            passes.spawn(async move { catch_up.pass_of_peer(of_peer).await });
        }
        passes.join_all().await.into_iter().flatten().collect()
    }

    async fn pass_of_peer(&self, missing: Vec<Unanswered>) -> Vec<Unanswered> {
        let mut left = Vec::new();
        for unanswered in missing {
            let exchange = unanswered.exchange;
            match self.fetch(&unanswered).await {
                Ok(Found::Answer) => tracing::info!(%exchange, "a missing answer was fetched"),
                Ok(Found::Nothing) => tracing::info!(%exchange, "the provider never answered this request"),
                Ok(Found::NotYet) => left.push(unanswered),
                Err(fault) => {
                    tracing::debug!(%exchange, %fault, "a missing answer could not be fetched yet");
                    left.push(unanswered);
                }
            }
        }
        left
    }

    async fn fetch(&self, missing: &Unanswered) -> Result<Found, Fault> {
        let fetched = self.held(missing).await?;
        let answers = |entry: &Entry| answers(entry, &missing.request_leaf);
        let found = fetched
            .entries
            .iter()
            .find(|held| Entry::decode(held.entry.clone()).is_ok_and(|entry| answers(&entry)));
        let Some(found) = found else {
            let entries = fetched.entries.iter().filter_map(|held| Entry::decode(held.entry.clone()).ok());
            let over = answer_wait(entries, &missing.request_leaf);
            let over = self.core.clock.now() > missing.expires_at.plus(over);
            return Ok(if over { Found::Nothing } else { Found::NotYet });
        };
        self.keep(missing, found).await?;
        Ok(Found::Answer)
    }

    /// What the provider's node holds of the exchange; nothing of it is checked yet.
    pub(crate) async fn held(&self, missing: &Unanswered) -> Result<Fetched, Fault> {
        self.link.fetch(&missing.addressee, wanted(missing), FETCH_WAIT).await
    }

    /// Checks an answer that was fetched, and seals that it was received.
    pub(crate) async fn keep(&self, missing: &Unanswered, found: &HeldEntry) -> Result<(), Fault> {
        let conf = self.core.conf(Place::ConsumerNode)?;
        let body = match &found.payload {
            Some(payload) if payload.file_bytes > 0 => {
                Some(self.link.fetch_body(&missing.addressee, wanted(missing), found, FETCH_WAIT).await?)
            }
            Some(_) | None => None,
        };
        let mut arrived = self.link.arrived(&missing.addressee, found.clone(), body).await?;
        let outstanding = Outstanding {
            exchange: missing.exchange,
            request_leaf: missing.request_leaf,
            provider: missing.provider.clone(),
            own: self.core.own.clone(),
            asked_at: missing.asked_at,
            delivery: missing.delivery,
        };
        let checked = self.core.check_answer(&mut arrived, &outstanding, &conf).await?;
        spool::keep(&arrived.payload, Place::ConsumerNode).await?;
        let ledger =
            self.core.ledger_by_origin(&missing.origin).ok_or_else(|| internal("a ledger is gone"))?;
        let entry =
            self.core.entry(ledger, missing.exchange, Some(&conf), &Body::Received(checked.received))?;
        ledger
            .append(vec![received_append(entry, &arrived)])
            .await
            .map_err(|error| ledger_fault(&error, Place::ConsumerNode))?;
        Ok(())
    }
}

fn wanted(missing: &Unanswered) -> Wanted {
    let (exchange, request_leaf) = (missing.exchange, missing.request_leaf);
    Wanted { exchange, request_leaf, from: FromChunks::default() }
}

/// Whether an entry is the answer to this request.
pub(crate) fn answers(entry: &Entry, request_leaf: &LeafHash) -> bool {
    match entry.body() {
        Body::Response(head) => head.request_leaf == *request_leaf,
        Body::Fault(head) => head.request_leaf == *request_leaf,
        Body::Request(_)
        | Body::Received(_)
        | Body::Batch(_)
        | Body::Close(_)
        | Body::KeyChange(_)
        | Body::Notice(_) => false,
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const FETCH_WAIT: Duration = Duration::from_secs(10);
/// How long after a request's expiry its answer may still be made, by what the provider's node holds of the exchange:
/// what it has received may be answered with a large body, and what it has not may still come as long as its clock allows.
pub(crate) fn answer_wait(entries: impl IntoIterator<Item = Entry>, request_leaf: &LeafHash) -> Duration {
    let received =
        |entry: Entry| matches!(entry.body(), Body::Received(head) if head.peer_leaf == *request_leaf);
    if entries.into_iter().any(received) { RECEIVED_WAIT } else { UNRECEIVED_WAIT }
}

/// Beyond what two clocks may differ by: a message that was judged in time is still read, kept and noted.
const RECEIPT_MARGIN: Duration = Duration::from_secs(30);
/// So long after its expiry a request may still be received: the provider's clock may be as far behind as ours is ahead,
/// and its node allows as much once more.
pub(crate) const UNRECEIVED_WAIT: Duration =
    CLOCK_SKEW.saturating_add(CLOCK_SKEW).saturating_add(RECEIPT_MARGIN);
/// So long after a request's expiry an answer to it may come to its end.
pub(crate) const RECEIVED_WAIT: Duration = UNRECEIVED_WAIT.saturating_add(LARGE_WAIT);

#[cfg(test)]
mod tests {
    use peabiru_proto::entry::{Common, ExchangeId, Received, Verdict};
    use peabiru_proto::hash::Digest;
    use peabiru_proto::time::Timestamp;

    use super::*;

    #[test]
    fn what_the_provider_has_received_may_be_answered_for_as_long_as_a_large_answer_takes() {
        let leaf = LeafHash::from_bytes([1; 32]);
        let received = |peer_leaf| {
            let at = Timestamp::from_ms(1_800_000_000_000);
            let exchange = ExchangeId::from_slice(&[1; 16]).unwrap();
            let node = Some("PY/GOV/MEC/n1".parse().unwrap());
            let common = Common { exchange, created_at: at, node, globalconf: None };
            let body = Body::Received(Received {
                peer_origin: "py.example/registry/1".parse().unwrap(),
                peer_index: 0,
                peer_leaf,
                peer_checkpoint: Digest::of(b""),
                expires_at: Some(at),
                received_at: at,
                verdict: Verdict::Accepted,
                grant: None,
            });
            Entry::encode(&"py.example/registry/2".parse().unwrap(), &common, &body).unwrap()
        };
        assert_eq!(answer_wait([], &leaf), UNRECEIVED_WAIT);
        assert_eq!(answer_wait([received(LeafHash::from_bytes([2; 32]))], &leaf), UNRECEIVED_WAIT);
        assert_eq!(answer_wait([received(leaf)], &leaf), RECEIVED_WAIT);
        assert!(RECEIVED_WAIT > LARGE_WAIT && UNRECEIVED_WAIT > 2 * CLOCK_SKEW);
    }
}
