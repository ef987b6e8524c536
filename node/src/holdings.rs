//! What this node holds of an exchange: its own entries, and beside each RECEIVED the entry that was received.

use peabiru_ledger::ledger::{Foreign, Ledger};
use peabiru_ledger::payload::Payload;
use peabiru_ledger::position::LogPosition;
use peabiru_ledger::seal::{Seal, SealedEntry};
use peabiru_ledger::{LedgerError, PayloadState, StoredEntry};
use peabiru_proto::entry::{Body, Entry, ExchangeId};
use peabiru_proto::hash::LeafHash;
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
    // Whoever asks chose the exchange's id, and may have chosen one that others use: only what leads to its own request
    // is given.
    let answer = held.iter().find_map(|held| answers(&held.sealed.entry, &wanted.request_leaf));
    held.retain(|held| {
        let entry = &held.sealed.entry;
        let of_message = |leaf: &LeafHash| {
            entry.leaf_hash() == *leaf
                || matches!(entry.body(), Body::Received(received) if received.peer_leaf == *leaf)
        };
        of_message(&wanted.request_leaf) || answer.as_ref().is_some_and(of_message)
    });
    for held in &mut held {
        // It has the payload of what it sent itself.
        if held.sealed.entry.origin() != ledger.origin() {
            held.payload = None;
        }
    }
    Ok(held)
}

/// Leaf hash of an entry that answers this request.
fn answers(entry: &Entry, request: &LeafHash) -> Option<LeafHash> {
    let answered = match entry.body() {
        Body::Response(head) => head.request_leaf,
        Body::Fault(head) => head.request_leaf,
        Body::Request(_) | Body::Received(_) | Body::Batch(_) | Body::Close(_) | Body::Notice(_) => {
            return None;
        }
    };
    (answered == *request).then(|| entry.leaf_hash())
}
