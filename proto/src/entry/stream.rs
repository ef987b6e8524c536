//! BATCH and CLOSE: the pieces and the end of one direction of a stream. FROZEN.
//!
//! A direction is a chain in its sender's ledger: the opening (REQUEST or RESPONSE), batches, one CLOSE. What each link
//! of it is for: the opening's leaf hash and the direction keep it from being moved to another exchange or turned
//! round; the hash of the batch before keeps it in its place; the count of chunks says at once where a gap is; the
//! CLOSE's count says that nothing is missing at the end.
//!
//! Each batch and CLOSE also names the newest entry of the other direction that its author had taken: an answer cannot be
//! told to have come before, or without, what it answers. Where a node broke off in the application's place it says why.

use super::EntryError;
use super::body::{check_outcome, required};
use super::fields::{Fields, Writer, refuse};
use crate::content::chunk_count;
use crate::fault::{Fault, GRPC_DETAILS};
use crate::hash::{ContentRoot, LeafHash};
use crate::limits::{MAX_BATCH_CHUNKS, MAX_CODE_BYTES};
use crate::wire;

/// Which way a piece of a stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamDirection {
    /// From consumer to provider.
    Request,
    /// Back.
    Answer,
}

/// A piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What opened this direction: the REQUEST, or the RESPONSE.
    pub opening: LeafHash,
    /// Which way.
    pub direction: StreamDirection,
    /// The BATCH before; none for the first.
    pub previous: Option<LeafHash>,
    /// Chunks of this direction that came before.
    pub first_chunk: u64,
    /// Chunks in this batch.
    pub chunks: u32,
    /// Of its own payload, whose context is empty.
    pub content_root: ContentRoot,
    /// At least 1.
    pub body_bytes: u64,
    /// How far its author had come with the other direction; none only before the answer began.
    pub peer: Option<Reached>,
}

/// The end of one direction of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// What opened this direction: the REQUEST, or the RESPONSE.
    pub opening: LeafHash,
    /// Which way.
    pub direction: StreamDirection,
    /// The last BATCH; none if there is none.
    pub previous: Option<LeafHash>,
    /// All chunks of this direction.
    pub chunks: u64,
    /// gRPC status code, 0 to 16: of the answer, or why the request was broken off.
    pub outcome: u32,
    /// Of a context without a body.
    pub content_root: ContentRoot,
    /// How far its author had come with the other direction; none only before the answer began.
    pub peer: Option<Reached>,
    /// Why a node broke off; none if the application ended. A later version may know more codes than this one, and what it
    /// sealed must still be read: a code is text here, as in a FAULT.
    pub fault: Option<String>,
}

impl Close {
    /// That what the receiver's application is told is what the head says: `context` is that of its payload.
    ///
    /// # Errors
    /// What is wrong, as a sentence about the CLOSE.
    pub fn check_context(&self, context: &wire::Context) -> Result<(), &'static str> {
        let Some(code) = &self.fault else { return Ok(()) };
        let details = context.trailers.iter().find(|field| field.name == GRPC_DETAILS);
        let told = details.and_then(|details| Fault::code_in_grpc_details(&details.value));
        if told.as_ref() == Some(code) { Ok(()) } else { Err("its status tells another fault than its head") }
    }
}

/// How far a direction was taken: an entry of it, and where that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// What opened it, a BATCH or its CLOSE.
    pub leaf: LeafHash,
    /// Chunks of its body up to the end of that entry.
    pub chunks: u64,
}

pub(super) fn read_batch(fields: &mut Fields<'_>) -> Result<Batch, EntryError> {
    Ok(Batch {
        opening: fields.digest("opening_leaf_hash", 10, LeafHash::from_slice)?,
        direction: read_direction(fields)?,
        previous: fields.optional_digest("previous_leaf_hash", 12, LeafHash::from_slice)?,
        first_chunk: fields.uint(13)?,
        chunks: fields.uint32("chunks", 14)?,
        content_root: fields.digest("content_root", 15, ContentRoot::from_slice)?,
        body_bytes: fields.uint(16)?,
        peer: read_reached(fields, 17)?,
    })
}

pub(super) fn write_batch(out: &mut Writer, batch: &Batch) {
    write_place(out, &batch.opening, batch.direction, batch.previous.as_ref(), batch.first_chunk);
    out.uint(14, u64::from(batch.chunks));
    out.bytes(15, batch.content_root.as_ref());
    out.uint(16, batch.body_bytes);
    write_reached(out, 17, batch.peer.as_ref());
}

pub(super) fn read_close(fields: &mut Fields<'_>) -> Result<Close, EntryError> {
    Ok(Close {
        opening: fields.digest("opening_leaf_hash", 10, LeafHash::from_slice)?,
        direction: read_direction(fields)?,
        previous: fields.optional_digest("previous_leaf_hash", 12, LeafHash::from_slice)?,
        chunks: fields.uint(13)?,
        outcome: fields.uint32("outcome", 14)?,
        content_root: fields.digest("content_root", 15, ContentRoot::from_slice)?,
        peer: read_reached(fields, 16)?,
        fault: match fields.text("fault_code", 18, MAX_CODE_BYTES)? {
            "" => None,
            code => Some(code.to_owned()),
        },
    })
}

pub(super) fn write_close(out: &mut Writer, close: &Close) {
    write_place(out, &close.opening, close.direction, close.previous.as_ref(), close.chunks);
    out.uint(14, u64::from(close.outcome));
    out.bytes(15, close.content_root.as_ref());
    write_reached(out, 16, close.peer.as_ref());
    out.bytes(18, close.fault.as_deref().unwrap_or_default().as_bytes());
}

pub(super) fn check_batch(batch: &Batch) -> Result<(), EntryError> {
    if batch.body_bytes == 0 {
        return Err(refuse("body_bytes", "a batch is not empty"));
    }
    if batch.chunks > MAX_BATCH_CHUNKS {
        return Err(refuse("chunks", format_args!("a batch has at most {MAX_BATCH_CHUNKS}")));
    }
    if u64::from(batch.chunks) != chunk_count(batch.body_bytes) - 1 {
        return Err(refuse("chunks", "a body of this size has another number of chunks"));
    }
    if batch.first_chunk.checked_add(batch.chunks.into()).is_none() {
        return Err(refuse("first_chunk", "the chunks after it cannot be counted"));
    }
    check_reached(batch.direction, batch.peer.as_ref())?;
    check_place("first_chunk", batch.previous.as_ref(), batch.first_chunk)
}

pub(super) fn check_close(close: &Close) -> Result<(), EntryError> {
    check_outcome(close.outcome)?;
    if let Some(code) = &close.fault {
        required("fault_code", code)?;
    }
    match (close.direction, close.outcome, &close.fault) {
        (_, 0, Some(_)) => return Err(refuse("fault_code", "nothing was broken off")),
        (StreamDirection::Request, 1.., None) => {
            return Err(refuse("fault_code", "it says why the request was broken off"));
        }
        _ => {}
    }
    check_reached(close.direction, close.peer.as_ref())?;
    check_place("chunks", close.previous.as_ref(), close.chunks)
}

fn check_reached(direction: StreamDirection, peer: Option<&Reached>) -> Result<(), EntryError> {
    match (direction, peer) {
        (StreamDirection::Answer, None) => Err(refuse("peer_leaf_hash", "who answers has taken the REQUEST")),
        _ => Ok(()),
    }
}

fn check_place(field: &'static str, previous: Option<&LeafHash>, before: u64) -> Result<(), EntryError> {
    match (previous, before) {
        (None, 0) | (Some(_), 1..) => Ok(()),
        _ => Err(refuse(field, "it counts chunks if, and only if, there is a batch before")),
    }
}

/// A leaf hash with this number, and a count of chunks with the next.
fn read_reached(fields: &mut Fields<'_>, number: usize) -> Result<Option<Reached>, EntryError> {
    let leaf = fields.optional_digest("peer_leaf_hash", number, LeafHash::from_slice)?;
    match (leaf, fields.uint(number + 1)?) {
        (Some(leaf), chunks) => Ok(Some(Reached { leaf, chunks })),
        (None, 0) => Ok(None),
        (None, _) => Err(refuse("peer_chunks", "it counts to an entry that is not named")),
    }
}

fn write_reached(out: &mut Writer, number: u32, peer: Option<&Reached>) {
    if let Some(Reached { leaf, chunks }) = peer {
        out.bytes(number, leaf.as_ref());
        out.uint(number + 1, *chunks);
    }
}

fn read_direction(fields: &mut Fields<'_>) -> Result<StreamDirection, EntryError> {
    match fields.uint(11)? {
        REQUEST => Ok(StreamDirection::Request),
        ANSWER => Ok(StreamDirection::Answer),
        _ => Err(refuse("direction", "it is neither REQUEST nor ANSWER")),
    }
}

fn write_place(
    out: &mut Writer,
    opening: &LeafHash,
    direction: StreamDirection,
    previous: Option<&LeafHash>,
    before: u64,
) {
    out.bytes(10, opening.as_ref());
    out.uint(
        11,
        match direction {
            StreamDirection::Request => REQUEST,
            StreamDirection::Answer => ANSWER,
        },
    );
    out.bytes(12, previous.map_or(&[], |leaf| leaf.as_ref()));
    out.uint(13, before);
}

const REQUEST: u64 = wire::StreamDirection::Request as u64;
const ANSWER: u64 = wire::StreamDirection::Answer as u64;

#[cfg(test)]
mod tests;
