//! What the link calls when a peer asks: messages go to the provider, fetches to the ledgers.

use std::sync::Arc;

use peabiru_proto::entry::Entry;
use peabiru_proto::fault::Fault;
use peabiru_proto::id::NodeId;
use tokio::sync::mpsc;

use crate::core::Core;
use crate::exchange::{Arrived, BoxFuture, Found, Held, Inbound, Line, Reply, Wanted};
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
