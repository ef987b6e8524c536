//! What was just written, as the index wants it: kept for a moment, so that the index need not read it back.

use std::collections::{BTreeMap, VecDeque};

use bytes::BufMut as _;
use peabiru_proto::entry::ExchangeId;
use peabiru_proto::hash::Digest;
use peabiru_proto::origin::Origin;

use crate::position::LogPosition;
use crate::segment::Location;

/// One commit record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) sequence: u64,
    pub(crate) location: Location,
    /// Its padded length.
    pub(crate) bytes: u64,
    pub(crate) origin: Origin,
    /// Of its first entry.
    pub(crate) first: LogPosition,
    /// Of each entry.
    pub(crate) exchanges: Vec<ExchangeId>,
}

/// Records that the index has not read: consecutive, and not too many.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    records: VecDeque<Written>,
    entries: usize,
}

impl Written {
    /// The same record, of a batch that was written here.
    pub(crate) fn after(mut self, start: Location) -> Self {
        self.location = Location { segment: start.segment, offset: start.offset + self.location.offset };
        self
    }
}

impl Fresh {
    /// Takes a record. One that finds no room, or follows one that found none, is left to the segments.
    pub(crate) fn push(&mut self, record: Written) {
        let follows = self.records.back().is_none_or(|last| last.sequence + 1 == record.sequence);
        if follows && self.entries + record.exchanges.len() <= FRESH_ENTRIES_MAX {
            self.entries += record.exchanges.len();
            self.records.push_back(record);
        }
    }

    /// Gives what it has.
    pub(crate) fn take(&mut self) -> VecDeque<Written> {
        self.entries = 0;
        std::mem::take(&mut self.records)
    }
}

/// What many records change, in the order of its keys. Entries of one exchange that come together are one key.
#[derive(Default)]
pub(crate) struct Changes {
    /// From first positions to locations.
    pub(crate) records: Vec<([u8; 16], [u8; 16])>,
    /// Positions by the prefix of their exchange, eight bytes each.
    pub(crate) exchanges: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) entries: usize,
}

impl Changes {
    pub(crate) fn add(&mut self, written: &Written) {
        let mut location = [0; 16];
        location[..8].copy_from_slice(&written.location.segment.to_be_bytes());
        location[8..].copy_from_slice(&written.location.offset.to_be_bytes());
        self.records.push((record_key(&written.origin, written.first), location));
        let origin = origin_prefix(&written.origin);
        for (position, exchange) in (written.first.index()..).zip(&written.exchanges) {
            self.exchanges.entry(exchange_prefix(&origin, exchange)).or_default().put_u64(position);
        }
        self.entries += written.exchanges.len();
    }
}

pub(crate) fn origin_prefix(origin: &Origin) -> [u8; 8] {
    *Digest::of(origin.as_str().as_bytes()).as_bytes().first_chunk().expect("a digest has 32 bytes")
}

pub(crate) fn record_key(origin: &Origin, first: LogPosition) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&origin_prefix(origin));
    key[8..].copy_from_slice(&first.index().to_be_bytes());
    key
}

pub(crate) fn exchange_prefix(origin: &[u8; 8], exchange: &ExchangeId) -> Vec<u8> {
    [&origin[..], exchange.as_bytes()].concat()
}

/// About a second's worth: 16 bytes each and their records.
const FRESH_ENTRIES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64, entries: usize) -> Written {
        Written {
            sequence,
            location: Location { segment: 0, offset: 4096 },
            bytes: 4096,
            origin: "py.peabiru.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/1".parse().unwrap(),
            first: LogPosition::new(0),
            exchanges: vec![ExchangeId::from_slice(&[1; 16]).unwrap(); entries],
        }
    }

    fn kept(fresh: &mut Fresh) -> Vec<u64> {
        fresh.take().iter().map(|record| record.sequence).collect()
    }

    #[test]
    fn what_finds_no_room_and_all_that_follows_it_is_left_out() {
        let mut fresh = Fresh::default();
        for (sequence, entries) in [(7, 1), (8, FRESH_ENTRIES_MAX - 1), (9, 1), (10, 0)] {
            fresh.push(record(sequence, entries));
        }
        assert_eq!(kept(&mut fresh), [7, 8]);
        fresh.push(record(11, 1));
        assert_eq!(kept(&mut fresh), [11], "there is room again");
    }

    #[test]
    fn a_record_lies_where_its_batch_was_written() {
        let start = Location { segment: 3, offset: 8192 };
        assert_eq!(record(1, 1).after(start).location, Location { segment: 3, offset: 12_288 });
    }
}
