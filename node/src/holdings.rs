//! What this node holds of an exchange: its own entries, and beside each RECEIVED the entry that was received.

use peabiru_ledger::ledger::{Foreign, Ledger};
use peabiru_ledger::payload::Payload;
use peabiru_ledger::position::LogPosition;
use peabiru_ledger::seal::{Seal, SealedEntry};
use peabiru_ledger::{LedgerError, PayloadState, StoredEntry};
use peabiru_proto::entry::{Body, Entry, ExchangeId};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::id::NodeId;

use crate::exchange::{FromChunks, Held, Wanted};

/// What a ledger holds of an exchange, oldest first, until `give` says no; of a stream from these chunks on. Blocks on the disk.
///
/// # Errors
/// As `Ledger::read`.
pub fn of_exchange(
    ledger: &Ledger,
    exchange: &ExchangeId,
    from: FromChunks,
    give: &mut dyn FnMut(Held) -> bool,
) -> Result<(), LedgerError> {
    for position in ledger.positions_of(exchange)? {
        let held = at(ledger, position)?;
        if held.iter().all(|held| from.includes(&held.sealed.entry)) && !held.into_iter().all(&mut *give) {
            break;
        }
    }
    Ok(())
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

/// What a counterparty may have of an exchange, entry by entry until `give` says no: nothing, unless it was one of its two
/// parties and names the request.
///
/// # Errors
/// As `Ledger::read`.
pub fn for_counterparty(
    ledger: &Ledger,
    peer: &NodeId,
    wanted: Wanted,
    give: &mut dyn FnMut(Held) -> bool,
) -> Result<(), LedgerError> {
    let mut shared = Shared { peer, request: wanted.request_leaf, answer: None, is_party: false };
    for position in ledger.positions_of(&wanted.exchange)? {
        let held = at(ledger, position)?;
        let is_shared = held.iter().any(|held| shared.includes(&held.sealed.entry));
        if !is_shared || !held.iter().all(|held| wanted.from.includes(&held.sealed.entry)) {
            continue;
        }
        for mut held in held {
            // It has the payload of what it sent itself.
            if held.sealed.entry.origin() != ledger.origin() {
                held.payload = None;
            }
            if !give(held) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What two parties share of an exchange. Whoever asks chose the exchange's id, and may have chosen one that others use:
/// only what leads to its own request is given. What is named comes before what names it.
struct Shared<'a> {
    peer: &'a NodeId,
    request: LeafHash,
    answer: Option<LeafHash>,
    is_party: bool,
}

impl Shared<'_> {
    fn includes(&mut self, entry: &Entry) -> bool {
        let leaf = entry.leaf_hash();
        match entry.body() {
            Body::Request(request) if leaf == self.request => {
                let parties = [Some(&request.addressee), entry.common().node.as_ref()];
                self.is_party = parties.contains(&Some(self.peer));
                self.is_party
            }
            Body::Response(head) => self.answers(head.request_leaf, leaf),
            Body::Fault(head) => self.answers(head.request_leaf, leaf),
            Body::Batch(head) => self.is_of(&head.opening),
            Body::Close(head) => self.is_of(&head.opening),
            // Beside the entry that it answers for; without it, it proves nothing.
            Body::Request(_) | Body::Received(_) | Body::KeyChange(_) | Body::Notice(_) => false,
        }
    }

    fn answers(&mut self, request: LeafHash, leaf: LeafHash) -> bool {
        let answers = self.is_party && request == self.request;
        if answers && self.answer.is_none() {
            self.answer = Some(leaf);
        }
        answers && self.answer == Some(leaf)
    }

    fn is_of(&self, opening: &LeafHash) -> bool {
        self.is_party && (*opening == self.request || self.answer.as_ref() == Some(opening))
    }
}
