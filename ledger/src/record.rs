//! Commit records: what one commit writes for one ledger. FROZEN.
//!
//! A record starts at a multiple of 4096 and is padded with zeros to the next. Integers are big-endian.
//!
//! ```text
//!  0 magic "PBRU"            40 slot seed, 16 random bytes
//!  4 format version, u16     56 storage key id, 8 bytes (zero: no slots)
//!  6 kind, u16               64 first sequence number of the batch, u64
//!  8 stream id, 16 bytes     72 CRC-32 (IEEE), u32
//! 24 sequence number, u64    76 20 zero bytes
//! 32 body bytes, u32         96 body, slots (96 bytes each), padding
//! 36 slots, u32
//! ```
//!
//! The CRC covers header (its own field as zero), body and padding. It leaves out the slots, because erasing
//! overwrites them; each has a check value of its own. Records of one batch were written and synced together: that
//! one of them is intact says nothing about the others, but a record of a later batch proves that they were durable.

use bytes::{Buf as _, BufMut as _, Bytes};
use peabiru_certs::StorageKey;
use peabiru_proto::hash::Digest;

use crate::slot::{SLOT_BYTES, SLOT_SEED_BYTES};

/// Records start at multiples of this.
pub const PAGE_BYTES: usize = 4096;
/// Length of the header.
pub const HEADER_BYTES: usize = 96;
/// Names the stream of one folder.
pub type StreamId = [u8; 16];

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// Entries of one ledger.
    Commit,
    /// Written by a clean stop; empty.
    Closing,
}

/// The header's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: RecordKind,
    /// Whose stream.
    pub stream: StreamId,
    /// From 0, without gaps.
    pub sequence: u64,
    /// Sequence number of the first record that was synced together with this one.
    pub batch: u64,
    /// Of the slot key.
    pub slot_seed: [u8; SLOT_SEED_BYTES],
    /// Which storage key wraps the slots.
    pub storage_key: StorageKeyId,
}

/// Tells storage keys apart without saying anything of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StorageKeyId(pub [u8; 8]);

/// An intact record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its header.
    pub header: Header,
    /// Encoded items.
    pub body: Bytes,
    /// Raw slots.
    pub slots: Vec<[u8; SLOT_BYTES]>,
}

/// What stands at a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// A record that is intact (its slots are judged apart).
    Record(Record),
    /// Only zeros in the place of a header.
    Empty,
    /// Neither.
    Invalid,
}

impl StorageKeyId {
    /// First 8 bytes of `SHA-256("peabiru/v1/storage-key" ‖ key)`.
    #[must_use]
    pub fn of(key: &StorageKey) -> Self {
        let digest = Digest::of_parts(&[b"peabiru/v1/storage-key", key.as_bytes()]);
        Self(*digest.as_bytes().first_chunk().expect("a digest has more than 8 bytes"))
    }
}

impl Record {
    /// Padded length of a record with this body and so many slots.
    #[must_use]
    pub fn padded_bytes(body_bytes: usize, slots: usize) -> usize {
        (HEADER_BYTES + body_bytes + slots * SLOT_BYTES).next_multiple_of(PAGE_BYTES)
    }

    /// Where slot `number` lies from the record's start.
    #[must_use]
    pub fn slot_offset(&self, number: u32) -> u64 {
        (HEADER_BYTES + self.body.len()) as u64 + u64::from(number) * SLOT_BYTES as u64
    }

    /// Its padded length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        Self::padded_bytes(self.body.len(), self.slots.len()) as u64
    }

    /// Appends the record to a buffer whose length is a multiple of the page.
    pub fn write(header: &Header, body: &[u8], slots: &[[u8; SLOT_BYTES]], out: &mut Vec<u8>) {
        let start = out.len();
        let length = Self::padded_bytes(body.len(), slots.len());
        out.reserve(length);
        header.write(body.len(), slots.len(), 0, out);
        out.put_slice(body);
        for slot in slots {
            out.put_slice(slot);
        }
        out.resize(start + length, 0);
        let record = &mut out[start..];
        let crc = checksum(record, body.len(), slots.len());
        record[CRC_OFFSET..CRC_OFFSET + 4].copy_from_slice(&crc.to_be_bytes());
    }

    /// Reads what stands at the beginning of `bytes`, which may reach beyond the record.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Page {
        let Some(header) = bytes.get(..HEADER_BYTES) else { return Page::Invalid };
        if header.iter().all(|&byte| byte == 0) {
            return Page::Empty;
        }
        let Some((facts, body_bytes, slots, crc)) = Header::read(header) else { return Page::Invalid };
        let slots_bytes = slots.saturating_mul(SLOT_BYTES);
        let length = HEADER_BYTES.saturating_add(body_bytes).saturating_add(slots_bytes);
        let Some(record) = length.checked_next_multiple_of(PAGE_BYTES).and_then(|length| bytes.get(..length))
        else {
            return Page::Invalid;
        };
        if checksum(record, body_bytes, slots) != crc {
            return Page::Invalid;
        }
        let body = Bytes::copy_from_slice(&record[HEADER_BYTES..HEADER_BYTES + body_bytes]);
        let slots = record[HEADER_BYTES + body_bytes..length].as_chunks().0.to_vec();
        Page::Record(Self { header: facts, body, slots })
    }

    /// How many bytes must be at hand to `read` the record whose header this is; none if it is no header.
    #[must_use]
    pub fn length_of(header: &[u8]) -> Option<u64> {
        let (_, body_bytes, slots, _) = Header::read(header.get(..HEADER_BYTES)?)?;
        let length = HEADER_BYTES.checked_add(body_bytes)?.checked_add(slots.checked_mul(SLOT_BYTES)?)?;
        Some(length.checked_next_multiple_of(PAGE_BYTES)? as u64)
    }
}

impl Header {
    fn write(&self, body_bytes: usize, slots: usize, crc: u32, out: &mut Vec<u8>) {
        out.put_slice(MAGIC);
        out.put_u16(VERSION);
        out.put_u16(match self.kind {
            RecordKind::Commit => 1,
            RecordKind::Closing => 2,
        });
        out.put_slice(&self.stream);
        out.put_u64(self.sequence);
        out.put_u32(u32::try_from(body_bytes).expect("a batch is bounded far below 4 GiB"));
        out.put_u32(u32::try_from(slots).expect("a batch is bounded"));
        out.put_slice(&self.slot_seed);
        out.put_slice(&self.storage_key.0);
        out.put_u64(self.batch);
        out.put_u32(crc);
        out.put_bytes(0, HEADER_BYTES - CRC_OFFSET - 4);
    }

    fn read(mut header: &[u8]) -> Option<(Self, usize, usize, u32)> {
        let mut magic = [0; 4];
        header.copy_to_slice(&mut magic);
        let version = header.get_u16();
        let kind = match header.get_u16() {
            1 => RecordKind::Commit,
            2 => RecordKind::Closing,
            _ => return None,
        };
        if magic != *MAGIC || version != VERSION {
            return None;
        }
        let mut stream = StreamId::default();
        header.copy_to_slice(&mut stream);
        let sequence = header.get_u64();
        let body_bytes = usize::try_from(header.get_u32()).ok()?;
        let slots = usize::try_from(header.get_u32()).ok()?;
        let mut slot_seed = [0; SLOT_SEED_BYTES];
        header.copy_to_slice(&mut slot_seed);
        let mut storage_key = StorageKeyId::default();
        header.copy_to_slice(&mut storage_key.0);
        let batch = header.get_u64();
        let crc = header.get_u32();
        Some((Self { kind, stream, sequence, batch, slot_seed, storage_key }, body_bytes, slots, crc))
    }
}

/// Over everything but the CRC's own field and the slots.
fn checksum(record: &[u8], body_bytes: usize, slots: usize) -> u32 {
    let slots_start = HEADER_BYTES + body_bytes;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[..CRC_OFFSET]);
    hasher.update(&[0; 4]);
    hasher.update(&record[CRC_OFFSET + 4..slots_start]);
    hasher.update(&record[slots_start + slots * SLOT_BYTES..]);
    hasher.finalize()
}

const MAGIC: &[u8; 4] = b"PBRU";
const VERSION: u16 = 1;
const CRC_OFFSET: usize = 72;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            kind: RecordKind::Commit,
            stream: [1; 16],
            sequence: 7,
            batch: 6,
            slot_seed: [2; 16],
            storage_key: StorageKeyId([3; 8]),
        }
    }

    fn written(body: &[u8], slots: &[[u8; SLOT_BYTES]]) -> Vec<u8> {
        let mut out = Vec::new();
        Record::write(&header(), body, slots, &mut out);
        out
    }

    #[test]
    fn the_layout_is_frozen() {
        let record = written(b"body", &[[9; SLOT_BYTES]]);
        assert_eq!(record.len(), PAGE_BYTES);
        let expected = "504252550001000101010101010101010101010101010101000000000000000700000004000000010202020202020202020202020202020203030303030303030000000000000006CRC0000000000000000000000000000000000000000626f6479";
        let found = data_encoding::HEXLOWER.encode(&record[..HEADER_BYTES + 4]);
        assert_eq!(found, expected.replace("CRC", &found[144..152]));
        assert_eq!(&found[144..152], "faec388d");
        assert!(record[HEADER_BYTES + 4 + SLOT_BYTES..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn zeros_are_empty_and_cut_records_invalid() {
        assert_eq!(Record::read(&[0; PAGE_BYTES]), Page::Empty);
        let record = written(&[5; PAGE_BYTES], &[]);
        assert_eq!(Record::read(&record[..PAGE_BYTES]), Page::Invalid);
        assert_eq!(Record::length_of(&record[..PAGE_BYTES]), Some(record.len() as u64));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(body in proptest::collection::vec(any::<u8>(), 0..9000), slots in 0usize..4) {
            let slots = vec![[4; SLOT_BYTES]; slots];
            let bytes = written(&body, &slots);
            prop_assert_eq!(bytes.len() % PAGE_BYTES, 0);
            let Page::Record(record) = Record::read(&bytes) else { panic!("intact") };
            prop_assert_eq!((&record.header, record.body.as_ref(), &record.slots), (&header(), body.as_slice(), &slots));
            prop_assert_eq!(record.bytes(), bytes.len() as u64);
        }

        #[test]
        fn a_changed_byte_is_noticed_outside_the_slots_and_allowed_inside(body in proptest::collection::vec(any::<u8>(), 0..500), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let slots = [[4; SLOT_BYTES]; 2];
            let mut bytes = written(&body, &slots);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let slots_start = HEADER_BYTES + body.len();
            let in_slots = (slots_start..slots_start + 2 * SLOT_BYTES).contains(&at);
            prop_assert_eq!(matches!(Record::read(&bytes), Page::Record(_)), in_slots);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Record::read(&bytes);
            let _ = Record::length_of(&bytes);
        }
    }
}
