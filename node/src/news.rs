//! News of a newer global configuration: which peer showed which version in a head that was verified.
//!
//! One entry for each peer, so that none can hide what another one showed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peabiru_proto::id::NodeId;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What peers showed and nobody looked into yet. Only registered nodes come so far, so their number bounds it.
#[derive(Debug, Default)]
pub struct News {
    shown: Mutex<HashMap<NodeId, Shown>>,
    noted: Notify,
}

/// A version that a peer showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub peer: NodeId,
    /// What.
    pub version: u64,
}

#[derive(Debug, Default)]
struct Shown {
    version: Option<u64>,
    /// It showed what it did not have: until then it is not believed.
    disbelieved_until: Option<Instant>,
}

impl News {
    /// A peer showed a version newer than the one held.
    pub fn note(&self, peer: &NodeId, version: u64, now: Instant) {
        let mut shown = self.lock();
        let entry = shown.entry(peer.clone()).or_default();
        if entry.disbelieved_until.is_none_or(|until| now >= until) {
            entry.version = Some(version);
            self.noted.notify_one();
        }
    }

    /// Waits for a claim, and takes it.
    pub async fn next(&self) -> Claim {
        loop {
            let claim = self.lock().iter_mut().find_map(|(peer, shown)| {
                shown.version.take().map(|version| Claim { peer: peer.clone(), version })
            });
            match claim {
                Some(claim) => return claim,
                None => self.noted.notified().await,
            }
        }
    }

    /// The peer does not have what it showed: for a while nothing that it shows is followed.
    pub fn disbelieve(&self, peer: &NodeId, now: Instant) {
        let disbelieved_until = Some(now + DISBELIEF);
        self.lock().insert(peer.clone(), Shown { version: None, disbelieved_until });
    }

    /// A panic elsewhere leaves the map whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For a peer that showed a version that it does not give.
const DISBELIEF: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        format!("PY/GOV/{name}/1").parse().unwrap()
    }

    #[tokio::test]
    async fn the_newest_claim_of_each_peer_is_followed_once_and_a_liar_waits() {
        let (news, now) = (News::default(), Instant::now());
        for version in [8, 9] {
            news.note(&node("MEC"), version, now);
        }
        assert_eq!(news.next().await, Claim { peer: node("MEC"), version: 9 });
        news.disbelieve(&node("MEC"), now);
        news.note(&node("MEC"), u64::MAX, now);
        news.note(&node("INE"), 10, now);
        assert_eq!(news.next().await, Claim { peer: node("INE"), version: 10 });
        tokio::select! {
            biased;
            claim = news.next() => panic!("{claim:?}"),
            () = std::future::ready(()) => {}
        }
        news.note(&node("MEC"), 11, now + DISBELIEF);
        assert_eq!(news.next().await, Claim { peer: node("MEC"), version: 11 });
    }
}
