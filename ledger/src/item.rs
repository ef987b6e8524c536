//! Items: the entries of a commit record with what is kept beside them. FROZEN.
//!
//! ```text
//! body  = origin, first index (u64), previous checkpoint (note or empty), notes (u32 count, each a note), items (u32 count)
//! item  = entry, payload, foreign
//! payload = 0 | 1 ‖ chunk count (u32) ‖ chunks (ciphertext; its slot is the next one) | 2 ‖ body (in clear)
//!         | 3 ‖ file name (16 bytes) ‖ file bytes (u64) ‖ SHA-256 of the file (32 bytes) ‖ chunk 0 (ciphertext; its slot is
//!           the next one)
//! foreign = 0 | 1 ‖ peer's entry ‖ position (u64) ‖ proof ‖ number of its note in `notes` (u32)
//! ```
//!
//! A file has more bytes than the ciphertext of one chunk, 65,552: a smaller body stands in the record. One key and salt
//! seal exactly one payload.
//!
//! Every text and byte string has its length before it as u32. Integers are big-endian.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes};
use peabiru_proto::entry::Entry;
use peabiru_proto::hash::Digest;
use peabiru_proto::limits::{CHUNK_BYTES, MAX_CONTEXT_BYTES, TAG_BYTES};
use peabiru_proto::origin::Origin;

use crate::checkpoint::SignedCheckpoint;
use crate::large::{FileRef, LargeFile, LargeName, NAME_BYTES};
use crate::payload::{ClearPayload, Payload, PayloadSecrets, SealedPayload};
use crate::position::LogPosition;
use crate::proof::InclusionProof;

/// What is asked to be appended.
#[derive(Debug, Clone)]
pub struct Append {
    /// The entry.
    pub entry: Entry,
    /// Its payload, or for a RECEIVED the payload of what was received.
    pub payload: Option<Arc<Payload>>,
    /// For a RECEIVED: what was received.
    pub foreign: Option<Foreign>,
}

/// A peer's sealed entry, kept beside our RECEIVED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The entry.
    pub entry: Entry,
    /// Where it is in the peer's ledger.
    pub position: LogPosition,
    /// From there to the checkpoint.
    pub proof: InclusionProof,
    /// The peer's checkpoint.
    pub checkpoint: SignedCheckpoint,
}

/// An item ready to be written: encoded by whoever asks, so that the writer only joins bytes.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) entry: Entry,
    bytes: Vec<u8>,
    note: Option<SignedCheckpoint>,
    pub(crate) secrets: Option<PayloadSecrets>,
    /// Of a large body.
    pub(crate) file: Option<LargeFile>,
}

/// The body of a commit record.
#[derive(Debug, Clone)]
pub(crate) struct CommitBody {
    pub(crate) origin: Origin,
    pub(crate) first: LogPosition,
    /// Of this ledger, before this commit.
    pub(crate) previous: Option<SignedCheckpoint>,
    pub(crate) items: Vec<StoredItem>,
}

/// One item as read back.
#[derive(Debug, Clone)]
pub(crate) struct StoredItem {
    pub(crate) entry: Entry,
    pub(crate) payload: StoredContent,
    pub(crate) foreign: Option<Foreign>,
}

/// A payload as read back, without its secrets.
#[derive(Debug, Clone)]
pub(crate) enum StoredContent {
    None,
    /// Ciphertext, and the number of its slot.
    Sealed {
        chunks: Vec<Bytes>,
        slot: u32,
    },
    Clear(ClearPayload),
    /// Ciphertext of the context, the body's file, and the number of the slot.
    Large {
        context: Bytes,
        file: FileRef,
        slot: u32,
    },
}

impl StoredContent {
    /// Number of its slot; none if it is not encrypted.
    pub(crate) fn slot(&self) -> Option<u32> {
        match self {
            Self::Sealed { slot, .. } | Self::Large { slot, .. } => Some(*slot),
            Self::None | Self::Clear(_) => None,
        }
    }
}

/// Bytes whose CRC holds do not parse: written by another version, or by nobody honest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadBody;

impl Item {
    pub(crate) fn encode(append: Append) -> Self {
        let Append { entry, payload, foreign } = append;
        let payload_bytes = match payload.as_deref() {
            Some(Payload::Sealed(sealed)) => sealed.chunks().iter().map(Bytes::len).sum(),
            Some(Payload::Clear(clear)) => clear.body.len(),
            None => 0,
        };
        let mut bytes = Vec::with_capacity(entry.bytes().len() + payload_bytes + ITEM_BYTES_USUAL);
        put(&mut bytes, entry.bytes());
        let file = match payload.as_deref() {
            Some(Payload::Sealed(sealed)) => sealed.file().cloned(),
            Some(Payload::Clear(_)) | None => None,
        };
        let secrets = match payload.as_deref() {
            None => {
                bytes.put_u8(0);
                None
            }
            Some(Payload::Sealed(sealed)) => {
                put_sealed(&mut bytes, sealed);
                Some(sealed.secrets().clone())
            }
            Some(Payload::Clear(clear)) => {
                bytes.put_u8(2);
                put(&mut bytes, &clear.body);
                None
            }
        };
        let note = match foreign {
            None => {
                bytes.put_u8(0);
                None
            }
            Some(foreign) => {
                bytes.put_u8(1);
                put(&mut bytes, foreign.entry.bytes());
                bytes.put_u64(foreign.position.index());
                put(&mut bytes, &foreign.proof.to_bytes());
                // The note's number follows when the record is put together.
                Some(foreign.checkpoint)
            }
        };
        Self { entry, bytes, note, secrets, file }
    }

    /// Upper bound of what it adds to a record, its slot and note included.
    pub(crate) fn record_bytes(&self) -> usize {
        let note = self.note.as_ref().map_or(0, |note| note.note().len() + 8);
        self.bytes.len() + note + self.secrets.as_ref().map_or(0, |_| crate::slot::SLOT_BYTES)
    }
}

fn put_sealed(out: &mut Vec<u8>, sealed: &SealedPayload) {
    match (sealed.file(), sealed.chunks()) {
        (Some(file), [context]) => {
            let FileRef { name, bytes, digest } = file.content();
            out.put_u8(3);
            out.put_slice(&name.0);
            out.put_u64(bytes);
            out.put_slice(digest.as_bytes());
            put(out, context);
        }
        (_, chunks) => {
            out.put_u8(1);
            put_count(out, chunks.len());
            chunks.iter().for_each(|chunk| put(out, chunk));
        }
    }
}

/// Puts a body together.
pub(crate) fn write_body(
    origin: &Origin,
    first: LogPosition,
    previous: Option<&SignedCheckpoint>,
    items: &[&Item],
    out: &mut Vec<u8>,
) {
    put(out, origin.as_str().as_bytes());
    out.put_u64(first.index());
    put(out, previous.map_or("", SignedCheckpoint::note).as_bytes());
    let notes = distinct_notes(items);
    put_count(out, notes.len());
    notes.iter().for_each(|note| put(out, note.note().as_bytes()));
    put_count(out, items.len());
    for item in items {
        out.put_slice(&item.bytes);
        if let Some(note) = &item.note {
            let number = notes.iter().position(|known| known.note_hash() == note.note_hash());
            put_u32(out, number.expect("all notes of the items were gathered"));
        }
    }
}

/// Reads a body; `number_of_slots` is what the header says.
pub(crate) fn read_body(mut body: Bytes, number_of_slots: usize) -> Result<CommitBody, BadBody> {
    let origin =
        std::str::from_utf8(&take(&mut body)?).ok().and_then(|text| text.parse().ok()).ok_or(BadBody)?;
    let first = LogPosition::new(body.try_get_u64().map_err(|_| BadBody)?);
    let previous = match take(&mut body)? {
        note if note.is_empty() => None,
        note => Some(SignedCheckpoint::parse(&note).map_err(|_| BadBody)?),
    };
    let notes = (0..take_u32(&mut body)?)
        .map(|_| SignedCheckpoint::parse(&take(&mut body)?).map_err(|_| BadBody))
        .collect::<Result<Vec<_>, _>>()?;
    let mut slots = 0..u32::try_from(number_of_slots).map_err(|_| BadBody)?;
    let items = (0..take_u32(&mut body)?)
        .map(|_| read_item(&mut body, &notes, &mut slots))
        .collect::<Result<Vec<_>, _>>()?;
    if body.has_remaining() || !slots.is_empty() || items.is_empty() {
        return Err(BadBody);
    }
    Ok(CommitBody { origin, first, previous, items })
}

fn read_item(
    body: &mut Bytes,
    notes: &[SignedCheckpoint],
    slots: &mut std::ops::Range<u32>,
) -> Result<StoredItem, BadBody> {
    let entry = Entry::decode(take(body)?).map_err(|_| BadBody)?;
    let payload = match body.try_get_u8() {
        Ok(0) => StoredContent::None,
        Ok(1) => {
            let chunks = (0..take_u32(body)?).map(|_| take(body)).collect::<Result<_, _>>()?;
            StoredContent::Sealed { chunks, slot: slots.next().ok_or(BadBody)? }
        }
        Ok(2) => StoredContent::Clear(ClearPayload::new(take(body)?).map_err(|_| BadBody)?),
        Ok(3) => {
            let mut name = LargeName([0; NAME_BYTES]);
            body.try_copy_to_slice(&mut name.0).map_err(|_| BadBody)?;
            let bytes = body.try_get_u64().map_err(|_| BadBody)?;
            let mut digest = [0; 32];
            body.try_copy_to_slice(&mut digest).map_err(|_| BadBody)?;
            let context = take(body)?;
            if !is_large(bytes, context.len()) {
                return Err(BadBody);
            }
            let file = FileRef { name, bytes, digest: Digest::from_bytes(digest) };
            StoredContent::Large { context, file, slot: slots.next().ok_or(BadBody)? }
        }
        _ => return Err(BadBody),
    };
    let foreign = match body.try_get_u8() {
        Ok(0) => None,
        Ok(1) => {
            let entry = Entry::decode(take(body)?).map_err(|_| BadBody)?;
            let position = LogPosition::new(body.try_get_u64().map_err(|_| BadBody)?);
            let proof = InclusionProof::from_bytes(&take(body)?).map_err(|_| BadBody)?;
            let number = usize::try_from(take_u32(body)?).map_err(|_| BadBody)?;
            Some(Foreign { entry, position, proof, checkpoint: notes.get(number).ok_or(BadBody)?.clone() })
        }
        _ => return Err(BadBody),
    };
    Ok(StoredItem { entry, payload, foreign })
}

/// Whether a file of so many bytes can be chunks 1, 2, … of a body that is too long for a small payload, and so long a
/// ciphertext chunk 0.
fn is_large(bytes: u64, context: usize) -> bool {
    let whole = (CHUNK_BYTES + TAG_BYTES) as u64;
    let last = bytes % whole;
    bytes > whole
        && (last == 0 || last > TAG_BYTES as u64)
        && (TAG_BYTES..=MAX_CONTEXT_BYTES + TAG_BYTES).contains(&context)
}

/// Many messages of one peer's commit share a checkpoint: it is written once.
fn distinct_notes<'a>(items: &[&'a Item]) -> Vec<&'a SignedCheckpoint> {
    let mut notes: Vec<&'a SignedCheckpoint> = Vec::new();
    for note in items.iter().filter_map(|item| item.note.as_ref()) {
        if !notes.iter().any(|known| known.note_hash() == note.note_hash()) {
            notes.push(note);
        }
    }
    notes
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put_u32(out, count);
}

fn put_u32(out: &mut Vec<u8>, number: usize) {
    out.put_u32(u32::try_from(number).expect("entries, payloads and batches are bounded far below 4 GiB"));
}

fn take(body: &mut Bytes) -> Result<Bytes, BadBody> {
    let length = usize::try_from(take_u32(body)?).map_err(|_| BadBody)?;
    if length > body.len() { Err(BadBody) } else { Ok(body.split_to(length)) }
}

fn take_u32(body: &mut Bytes) -> Result<u32, BadBody> {
    body.try_get_u32().map_err(|_| BadBody)
}

/// Room for lengths, markers and a proof.
const ITEM_BYTES_USUAL: usize = 1500;
