//! Erasing payloads (design §3): a NOTICE names the payload, then its slot is overwritten and synced.
//!
//! What must hold at every start: a slot is empty or damaged only if a durable NOTICE names it. A slot that a NOTICE
//! names and that still holds something is an erasure to finish.

use std::collections::{HashMap, HashSet};

use peabiru_proto::entry::{Body, Entry};
use peabiru_proto::hash::LeafHash;

use crate::LedgerError;
use crate::item::{CommitBody, StoredItem};
use crate::record::Record;
use crate::scan::{End, Scanned, Scanner, corrupt};
use crate::segment::{Location, Segments, at};
use crate::slot::{self, SLOT_BYTES, SlotState};

/// Code of the NOTICE that names an erased payload; its subject is the leaf hash of the payload's entry.
pub const NOTICE_ERASED: &str = "payload.erased";

/// The leaf hash that an entry declares erased.
pub(crate) fn named_by(entry: &Entry) -> Option<LeafHash> {
    match entry.body() {
        Body::Notice(notice) if notice.code == NOTICE_ERASED => notice.subject.parse().ok(),
        _ => None,
    }
}

/// Slots and NOTICEs as a scan comes by them.
#[derive(Default)]
pub(crate) struct Erasures {
    named: HashSet<LeafHash>,
    empty: HashMap<LeafHash, Location>,
    damaged: HashMap<LeafHash, Location>,
}

impl Erasures {
    /// Notes the slots of a durable record.
    pub(crate) fn note_slots(&mut self, location: Location, record: &Record, body: &CommitBody) {
        for (item, slot) in slots(record, body) {
            let noted = match slot::state(slot) {
                SlotState::Live => continue,
                SlotState::Erased => &mut self.empty,
                SlotState::Invalid => &mut self.damaged,
            };
            noted.insert(item.entry.leaf_hash(), location);
        }
    }

    /// Notes an entry that is durable, or will be before anything is done about it.
    pub(crate) fn note_entry(&mut self, entry: &Entry) {
        self.named.extend(named_by(entry));
    }

    /// Whether an entry's payload is erased, or is about to be.
    pub(crate) fn is_named(&self, leaf: &LeafHash) -> bool {
        self.named.contains(leaf)
    }

    /// Slots that lost what nobody erased, in order.
    pub(crate) fn unexplained(&self) -> Vec<LedgerError> {
        let unnamed = |(leaf, _): &(&LeafHash, &Location)| !self.named.contains(leaf);
        let mut found: Vec<(Location, String)> = Vec::new();
        for (leaf, location) in self.empty.iter().filter(unnamed) {
            found.push((*location, format!("the slot of entry {leaf} is empty, and no NOTICE erased it")));
        }
        for (leaf, location) in self.damaged.iter().filter(unnamed) {
            found.push((*location, format!("the slot of entry {leaf} is damaged")));
        }
        found.sort();
        found.into_iter().map(|(location, what)| corrupt(location, what)).collect()
    }

    /// Overwrites what a NOTICE names and is not empty yet. Returns how many.
    pub(crate) fn finish(
        &self,
        segments: &Segments,
        stream: [u8; 16],
        end: &End,
    ) -> Result<u64, LedgerError> {
        let left: HashSet<_> = self.named.iter().filter(|leaf| !self.empty.contains_key(leaf)).collect();
        let mut finished = 0;
        if left.is_empty() {
            return Ok(finished);
        }
        let mut scanner = Scanner::new(segments, stream)?;
        while scanner.end().next_sequence < end.next_sequence {
            let Some(Scanned { location, record, body }) = scanner.next()? else { break };
            for item in body.iter().flat_map(|body| &body.items) {
                let Some(slot) = item.payload.slot() else { continue };
                if left.contains(&item.entry.leaf_hash()) {
                    overwrite(segments, location, &record, slot)?;
                    finished += 1;
                }
            }
        }
        Ok(finished)
    }
}

/// Items whose payload has a slot, with it.
pub(crate) fn slots<'a>(
    record: &'a Record,
    body: &'a CommitBody,
) -> impl Iterator<Item = (&'a StoredItem, &'a [u8; SLOT_BYTES])> {
    body.items.iter().filter_map(|item| {
        let slot = item.payload.slot()?;
        Some((item, record.slots.get(usize::try_from(slot).ok()?)?))
    })
}

/// Overwrites key and salt with zeros, durably. Only after the NOTICE that names them is durable.
pub(crate) fn overwrite(
    segments: &Segments,
    location: Location,
    record: &Record,
    slot: u32,
) -> Result<(), LedgerError> {
    let file = segments.file(location.segment)?;
    let erase = || {
        file.write_all_at(&[0; SLOT_BYTES], location.offset + record.slot_offset(slot))?;
        file.sync()
    };
    erase().map_err(at(&segments.path(location.segment)))
}
