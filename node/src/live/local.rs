//! A stream between two members of one node: the same entries and the same guard, no link.

use std::sync::Arc;

use peabiru_ledger::payload::Payload;
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::entry::EntryKind;
use peabiru_proto::fault::{Fault, Place};
use tokio::sync::mpsc;

use crate::core::{Core, internal};
use crate::exchange::{Arrived, Departures, Leaving, Line};
use crate::flow::ARRIVED_QUEUED;

/// What one half seals arrives at the other.
pub(crate) fn connect(core: Arc<Core>, mut departures: Departures, place: Place) -> Line {
    let (arrivals, line) = mpsc::channel(ARRIVED_QUEUED);
    tokio::spawn(async move {
        loop {
            let leaving = tokio::select! {
                leaving = departures.recv() => leaving,
                () = arrivals.closed() => return,
            };
            let Some(leaving) = leaving else { return };
            let arrived = arrive(&core, leaving, place).await;
            let is_last = match &arrived {
                Ok(arrived) => matches!(arrived.entry.kind(), EntryKind::Close | EntryKind::Fault),
                Err(_) => true,
            };
            // The line ends with it, and whoever made it hears that it went.
            if arrivals.send(arrived).await.is_err() || is_last {
                return;
            }
        }
    });
    line
}

async fn arrive(core: &Core, leaving: Leaving, place: Place) -> Result<Arrived, Fault> {
    let (sealed, payload) = leaving.sealed(place).await?;
    arrived(core, sealed, &payload)
}

/// A small message as it would arrive from another node.
pub(crate) fn arrived(core: &Core, sealed: SealedEntry, payload: &Payload) -> Result<Arrived, Fault> {
    let Payload::Sealed(payload) = payload else {
        return Err(internal("an exchange's payload is always encrypted"));
    };
    Ok(Arrived {
        peer: core.own.clone(),
        opened: None,
        memory: None,
        entry: sealed.entry,
        position: sealed.seal.position,
        proof: sealed.seal.proof,
        checkpoint: sealed.seal.checkpoint,
        payload: payload.clone(),
        received_at: core.clock.now(),
    })
}
