//! What the link calls when a peer asks: messages go to the provider, fetches to the ledgers.

use std::sync::Arc;

use bytes::Bytes;
use peabiru_ledger::LedgerError;
use peabiru_ledger::ledger::Ledger;
use peabiru_proto::entry::Entry;
use peabiru_proto::fault::{Fault, Place};
use peabiru_proto::id::NodeId;
use prost::Message as _;
use tokio::sync::mpsc;

use crate::catch_up::answers;
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
    fn greeted(&self, peer: &NodeId, globalconf_version: u64) {
        self.core.shows(peer, globalconf_version);
    }

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
            let ledgers: Vec<Ledger> = core.ledgers.values().cloned().collect();
            let mut settled = Ok(());
            for ledger in &ledgers {
                // The RECEIVED of an answer that was just delivered may still be on its way to the disk.
                settled = settled.and(ledger.settle().await);
            }
            let (sender, found) = mpsc::channel(FOUND_QUEUED);
            tokio::task::spawn_blocking(move || {
                let read = read(&ledgers, settled, &peer, wanted, &mut |held| {
                    sender.blocking_send(Ok(held)).is_ok()
                });
                if let Err(error) = read {
                    tracing::error!(%error, exchange = %wanted.exchange, %peer, "what is held of an exchange cannot be read");
                    // An error means that nobody takes more.
                    let _ = sender.blocking_send(Err(unread(&error)));
                }
            });
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

/// Ends when nobody takes more. `settled`: whether all that was accepted can be read; what cannot matters only to whom no
/// answer was given.
fn read(
    ledgers: &[Ledger],
    settled: Result<(), LedgerError>,
    peer: &NodeId,
    wanted: Wanted,
    give: &mut dyn FnMut(Held) -> bool,
) -> Result<(), LedgerError> {
    let mut answered = false;
    for ledger in ledgers {
        let mut give = |held: Held| {
            answered |= answers(&held.sealed.entry, &wanted.request_leaf);
            give(held)
        };
        holdings::for_counterparty(ledger, peer, wanted, &mut give)?;
    }
    if answered { Ok(()) } else { settled }
}

/// What the peer is told: paths and the like stay in the log.
fn unread(error: &LedgerError) -> Fault {
    let what = "what this node holds of the exchange cannot be read now; its log says why";
    Fault::new(error.fault_code(), Place::ProviderNode, what)
}

/// Entries that were read ahead.
const FOUND_QUEUED: usize = 4;

#[cfg(test)]
mod tests {
    use peabiru_proto::entry::ExchangeId;
    use peabiru_proto::fault::FaultCode;
    use peabiru_proto::hash::LeafHash;

    use super::*;
    use crate::exchange::FromChunks;

    #[test]
    fn what_cannot_be_read_does_not_look_as_if_nothing_were_there() {
        let wanted = Wanted {
            exchange: ExchangeId::from_slice(&[1; 16]).unwrap(),
            request_leaf: LeafHash::from_bytes([2; 32]),
            from: FromChunks::default(),
        };
        let peer = "PY/GOV/MITIC/n1".parse().unwrap();
        let read = |settled| read(&[], settled, &peer, wanted, &mut |_| true);
        assert!(read(Ok(())).is_ok());
        let unsettled = read(Err(LedgerError::DiskFull { min_free_bytes: 1 })).unwrap_err();
        assert_eq!(unread(&unsettled).code, FaultCode::NodeDiskFull);
    }
}
