//! What the link calls when a peer asks: messages go to the provider, fetches to the ledgers.

use std::sync::Arc;

use bytes::Bytes;
use peabiru_proto::entry::Entry;
use peabiru_proto::fault::Fault;
use peabiru_proto::id::NodeId;
use prost::Message as _;
use tokio::sync::mpsc;

use crate::core::Core;
use crate::exchange::{Arrived, BoxFuture, Found, Held, Inbound, Line, Reply, Wanted, WantedConf};
use crate::globalconf::Globalconf;
use crate::holdings;
use crate::provider::Provider;

/// Both answers of a node to its peers.
pub(crate) struct Answering {
    pub(crate) core: Arc<Core>,
    pub(crate) provider: Arc<Provider>,
}

impl Inbound for Answering {
    fn admit(&self, peer: &NodeId, preview: &Entry) -> Result<(), Fault> {
        self.provider.admit(peer, preview)
    }

    fn message(&self, arrived: Arrived) -> BoxFuture<Reply> {
        let provider = Arc::clone(&self.provider);
        Box::pin(async move { provider.answer(Box::new(arrived)).await })
    }

    fn stream(&self, opening: Arrived, line: Line) -> BoxFuture<Reply> {
        let provider = Arc::clone(&self.provider);
        Box::pin(async move { provider.stream(Box::new(opening), line).await })
    }

    fn fetch(&self, peer: NodeId, wanted: Wanted) -> BoxFuture<Found> {
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            for ledger in core.ledgers.values() {
                // The RECEIVED of an answer that was just delivered may still be on its way to the disk.
                if let Err(error) = ledger.settle().await {
                    tracing::warn!(%error, "a ledger takes nothing");
                }
            }
            let (sender, found) = mpsc::channel(FOUND_QUEUED);
            tokio::task::spawn_blocking(move || read(&core, &peer, wanted, &sender));
            found
        })
    }

    fn globalconf(&self, wanted: WantedConf) -> BoxFuture<Option<Bytes>> {
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || read_conf(&core.globalconf, wanted)).await;
            read.unwrap_or_default()
        })
    }
}

fn read_conf(globalconf: &Globalconf, wanted: WantedConf) -> Option<Bytes> {
    let read = match wanted {
        WantedConf::Snapshot { known_version } => {
            let version = globalconf.version();
            let newer = if version > known_version { globalconf.snapshot(version) } else { Ok(None) };
            newer.map(|answer| answer.map(|answer| answer.encode_to_vec().into()))
        }
        WantedConf::Part(digest) => globalconf.part(&digest),
    };
    read.unwrap_or_else(|error| {
        tracing::error!(%error, "what is kept of the global configuration cannot be read");
        None
    })
}

/// Ends when nobody takes more.
fn read(core: &Core, peer: &NodeId, wanted: Wanted, sender: &mpsc::Sender<Held>) {
    for ledger in core.ledgers.values() {
        let mut give = |held| sender.blocking_send(held).is_ok();
        if let Err(error) = holdings::for_counterparty(ledger, peer, wanted, &mut give) {
            tracing::error!(%error, exchange = %wanted.exchange, %peer, "what is held of an exchange cannot be read");
        }
    }
}

/// Entries that were read ahead.
const FOUND_QUEUED: usize = 4;
