//! What this node holds of an exchange: its own entries, and beside each RECEIVED the entry that was received.

use peabiru_ledger::ledger::{Foreign, Ledger};
use peabiru_ledger::payload::Payload;
use peabiru_ledger::position::LogPosition;
use peabiru_ledger::seal::{Seal, SealedEntry};
use peabiru_ledger::{LedgerError, PayloadState, StoredEntry};
use peabiru_proto::entry::{Body, ExchangeId};
use peabiru_proto::id::NodeId;

use crate::exchange::{Held, Wanted};

/// Everything that a ledger holds of an exchange, oldest first. Blocks on the disk.
///
/// # Errors
/// As `Ledger::read`.
pub fn of_exchange(ledger: &Ledger, exchange: &ExchangeId) -> Result<Vec<Held>, LedgerError> {
    let mut held = Vec::new();
    for position in ledger.positions_of(exchange)? {
        held.extend(at(ledger, position)?);
    }
    Ok(held)
}

/// The entry at a position; a RECEIVED comes after what was received, which keeps the payload of both.
///
/// # Errors
/// As `Ledger::read`.
pub fn at(ledger: &Ledger, position: LogPosition) -> Result<Vec<Held>, LedgerError> {
    let StoredEntry { entry, seal, payload, foreign } = ledger.read(position)?;
    let payload = match payload {
        PayloadState::Kept(Payload::Sealed(payload)) => Some(payload),
        PayloadState::Kept(Payload::Clear(_)) | PayloadState::None | PayloadState::Erased => None,
    };
    let own = SealedEntry { entry, seal };
    Ok(match foreign {
        None => vec![Held { sealed: own, payload }],
        Some(Foreign { entry, position, proof, checkpoint }) => {
            let theirs = SealedEntry { entry, seal: Seal { checkpoint, position, proof } };
            vec![Held { sealed: theirs, payload }, Held { sealed: own, payload: None }]
        }
    })
}

/// What a counterparty may have of an exchange: nothing, unless it was one of its two parties and names the request.
///
/// # Errors
/// As `Ledger::read`.
pub fn for_counterparty(ledger: &Ledger, peer: &NodeId, wanted: Wanted) -> Result<Vec<Held>, LedgerError> {
    let mut held = of_exchange(ledger, &wanted.exchange)?;
    let is_party = held.iter().any(|held| {
        let entry = &held.sealed.entry;
        let Body::Request(request) = entry.body() else { return false };
        let parties = [Some(&request.addressee), entry.common().node.as_ref()];
        entry.leaf_hash() == wanted.request_leaf && parties.contains(&Some(peer))
    });
    if !is_party {
        return Ok(Vec::new());
    }
    for held in &mut held {
        // It has the payload of what it sent itself.
        if held.sealed.entry.origin() != ledger.origin() {
            held.payload = None;
        }
    }
    Ok(held)
}
