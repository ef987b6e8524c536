//! A node that only dials out (`DialOut`) is asked over connections that it made itself: it keeps one to every node that
//! may call it, so that those find it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use peabiru_proto::globalconf::{Address, GlobalConfiguration};
use peabiru_proto::id::NodeId;
use peabiru_proto::policy::GrantState;
use peabiru_proto::time::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::guard::grant::Grants;
use crate::link::Link;

/// Keeps the connections.
pub(crate) struct DialOut {
    pub(crate) core: Arc<Core>,
    pub(crate) link: Arc<Link>,
}

/// A peer that could not be reached.
#[derive(Debug, Clone, Copy)]
struct Failed {
    wait: Duration,
    until: Instant,
}

impl DialOut {
    /// Looks again and again which connections are missing, and makes them.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut failed = HashMap::new();
        loop {
            tokio::select! {
                () = self.pass(&mut failed) => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Peers are dialled side by side. One that is connected already costs nothing.
    async fn pass(&self, failed: &mut HashMap<NodeId, Failed>) {
        let Some(conf) = self.core.globalconf.newest() else { return };
        let callers = callers(&conf, &self.core.own, &self.core.grants.load(), self.core.clock.now());
        failed.retain(|peer, _| callers.contains(peer));
        let now = Instant::now();
        let due =
            callers.into_iter().filter(|peer| failed.get(peer).is_none_or(|failed| failed.until <= now));
        let mut dials = JoinSet::new();
        for peer in due {
            let link = Arc::clone(&self.link);
            dials.spawn(async move {
                let connected = link.connect(&peer).await;
                (peer, connected)
            });
        }
        while let Some(dialled) = dials.join_next().await {
            let Ok((peer, connected)) = dialled else { continue };
            match connected {
                Ok(()) => drop(failed.remove(&peer)),
                Err(fault) => {
                    let wait =
                        failed.get(&peer).map_or(FIRST_WAIT, |before| (before.wait * 2).min(LONGEST_WAIT));
                    tracing::debug!(%peer, %fault, ?wait, "a node that may call this one is not reached");
                    failed.insert(peer, Failed { wait, until: Instant::now() + wait });
                }
            }
        }
    }
}

/// The nodes that may call this one, if it only dials out: those of the members whose subsystems hold a grant now.
fn callers(conf: &GlobalConfiguration, own: &NodeId, grants: &Grants, now: Timestamp) -> BTreeSet<NodeId> {
    let dials_out = conf.node(own).is_some_and(|node| node.addresses.contains(&Address::DialOut));
    if !dials_out {
        return BTreeSet::new();
    }
    let in_force = grants.iter().filter(|grant| grant.state == GrantState::Active && now < grant.expires_at);
    let members: BTreeSet<_> = in_force.map(|grant| grant.consumer.member()).collect();
    let nodes = members.iter().flat_map(|member| conf.nodes_of(member));
    // Two that only dial out never meet.
    let reached = nodes.filter(|node| node.addresses.iter().any(|address| *address != Address::DialOut));
    reached.map(|node| node.id.clone()).filter(|node| node != own).collect()
}

/// How often it is looked whether a connection is missing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After the first failure a peer is left alone for so long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The wait doubles up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
