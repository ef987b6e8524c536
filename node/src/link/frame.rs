//! Frames between nodes: a length as a varint, then a `LinkFrame`. Pure: bytes in, frames out.
//!
//! A length beyond the limit is refused before anything is allocated for it, and so is a frame with more parts than
//! its kind may have: a peer's bytes never make this node allocate more than a small multiple of their number.

use bytes::{BufMut as _, Bytes, BytesMut};
use peabiru_ledger::payload::SealedPayload;
use peabiru_ledger::position::{LogPosition, TreeSize};
use peabiru_ledger::proof::InclusionProof;
use peabiru_proto::limits::{
    CHUNK_BYTES, MAX_BODY_BYTES, MAX_CLEAR_BYTES, MAX_ENTRY_BYTES, MAX_FETCH_ENTRIES, MAX_FRAME_BYTES,
    MAX_HELLO_CHECKPOINTS,
};
use peabiru_proto::wire::{LinkFrame, link_frame::Frame};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// Puts frames together from the pieces in which they arrive.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    /// Bytes that came and were not read yet; empty while `partial` is there.
    unread: Bytes,
    /// Length of the frame that is being read, once its prefix is complete.
    announced: Option<usize>,
    /// The frame's bytes so far, if they came in several pieces.
    partial: Option<BytesMut>,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length before it exceeds the limit, or has more digits than it needs.
    #[error("the frame's length is beyond {limit} bytes or not minimal")]
    Length {
        /// What is allowed.
        limit: usize,
    },
    /// Not a `LinkFrame` of exactly one known kind, or with more parts than that kind may have.
    #[error("the frame is malformed: {0}")]
    Malformed(String),
    /// The stream ended within a frame.
    #[error("the stream ended within a frame")]
    Truncated,
    /// Another frame than this place of the protocol wants.
    #[error("the frame is not {0}")]
    Unexpected(&'static str),
}

/// A sealed message as it goes out, borrowed from where it lies.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// The entry's bytes.
    pub entry: &'a Bytes,
    /// Its index.
    pub position: LogPosition,
    /// Size of the tree that the proof leads to.
    pub tree_size: TreeSize,
    /// From the entry to that tree's root.
    pub proof: &'a InclusionProof,
    /// Ciphertext, key and salt.
    pub payload: &'a SealedPayload,
}

/// Frames that are a sealed message, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Sealed {
    /// A whole message, or one that opens a stream.
    Message = MESSAGE,
    /// A piece of a stream.
    Batch = BATCH,
    /// The end of one way of a stream.
    Close = CLOSE,
}

impl Decoder {
    /// Takes frames of up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, unread: Bytes::new(), announced: None, partial: None }
    }

    /// Takes the next piece. Call `next` until it gives nothing before the next push.
    pub fn push(&mut self, mut piece: Bytes) {
        match (self.announced, &mut self.partial) {
            (Some(length), None) => {
                let mut partial = BytesMut::with_capacity(length);
                partial.extend_from_slice(&self.unread);
                partial.extend_from_slice(&piece.split_to(piece.len().min(length - partial.len())));
                self.partial = Some(partial);
                self.unread = piece;
            }
            (Some(length), Some(partial)) => {
                partial.extend_from_slice(&piece.split_to(piece.len().min(length - partial.len())));
                self.unread = piece;
            }
            (None, _) if self.unread.is_empty() => self.unread = piece,
            // A prefix cut in two: a few bytes.
            (None, _) => self.unread = [&self.unread[..], &piece[..]].concat().into(),
        }
    }

    /// Length of the frame that comes next, known before its bytes are kept: what to reserve for it.
    ///
    /// # Errors
    /// `Length`; the stream is of no use afterwards.
    pub fn announced(&mut self) -> Result<Option<usize>, FrameError> {
        if self.announced.is_none() {
            self.announced = self.read_length()?;
        }
        Ok(self.announced)
    }

    /// Whether a frame was begun and is not complete.
    #[must_use]
    pub fn is_within_frame(&self) -> bool {
        self.announced.is_some() || !self.unread.is_empty()
    }

    /// The next whole frame, if it is there.
    ///
    /// # Errors
    /// `Length` or `Malformed`; the stream is of no use afterwards.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(length) = self.announced()? else { return Ok(None) };
        let whole = match &mut self.partial {
            Some(partial) if partial.len() == length => partial.split().freeze(),
            None if self.unread.len() >= length => self.unread.split_to(length),
            _ => return Ok(None),
        };
        (self.announced, self.partial) = (None, None);
        decode(whole).map(Some)
    }

    fn read_length(&mut self) -> Result<Option<usize>, FrameError> {
        let refused = FrameError::Length { limit: self.limit };
        let mut length = 0usize;
        for (at, byte) in self.unread.iter().take(PREFIX_BYTES_MAX).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                let minimal = *byte != 0 || at == 0;
                let _ = self.unread.split_to(at + 1);
                return if minimal && length <= self.limit { Ok(Some(length)) } else { Err(refused) };
            }
        }
        if self.unread.len() < PREFIX_BYTES_MAX { Ok(None) } else { Err(refused) }
    }
}

/// Encodes a frame that carries no payload.
#[must_use]
pub fn encode(frame: Frame) -> Bytes {
    LinkFrame { frame: Some(frame) }.encode_length_delimited_to_vec().into()
}

/// Encodes a chunk of a large body, which goes out as it lies. One without bytes says that more is still coming.
#[must_use]
pub fn encode_chunk(chunk: Bytes) -> Vec<Bytes> {
    let mut prefix = BytesMut::with_capacity(4 * PREFIX_BYTES_MAX);
    encode_varint(field_len(CHUNK, chunk.len()) as u64, &mut prefix);
    put_length(&mut prefix, CHUNK, chunk.len());
    if chunk.is_empty() { vec![prefix.freeze()] } else { vec![prefix.freeze(), chunk] }
}

/// Encodes a sealed message: one piece if it is small, else its payload's chunks as they lie, with what stands
/// between them.
#[must_use]
pub fn encode_message(message: &Outgoing<'_>) -> Vec<Bytes> {
    encode_sealed(Sealed::Message, message)
}

/// The same, as one of the frames that carry a sealed message.
#[must_use]
pub fn encode_sealed(as_frame: Sealed, message: &Outgoing<'_>) -> Vec<Bytes> {
    let number = as_frame as u32;
    let inner = message_len(message);
    let frame = key_len(number) + encoded_len_varint(inner as u64) + inner;
    let chunks = message.payload.chunks();
    let copied =
        if frame <= COPIED_BYTES_MAX { frame } else { frame - chunks.iter().map(Bytes::len).sum::<usize>() };
    let mut buffer = BytesMut::with_capacity(copied + PREFIX_BYTES_MAX);
    encode_varint(frame as u64, &mut buffer);
    put_length(&mut buffer, number, inner);
    put_head(&mut buffer, message);
    let mut pieces = Vec::with_capacity(1);
    for chunk in chunks {
        put_length(&mut buffer, 7, chunk.len());
        if frame <= COPIED_BYTES_MAX {
            buffer.put_slice(chunk);
        } else {
            pieces.extend([buffer.split().freeze(), chunk.clone()]);
        }
    }
    if !buffer.is_empty() {
        pieces.push(buffer.freeze());
    }
    pieces
}

fn put_head(buffer: &mut BytesMut, message: &Outgoing<'_>) {
    put_length(buffer, 1, message.entry.len());
    buffer.put_slice(message.entry);
    put_uint(buffer, 2, message.position.index());
    put_uint(buffer, 3, message.tree_size.entries());
    let hashes = message.proof.hashes();
    if !hashes.is_empty() {
        put_length(buffer, 4, hashes.len() * HASH_BYTES);
        hashes.iter().for_each(|hash| buffer.put_slice(hash.as_bytes()));
    }
    let secrets = message.payload.secrets();
    for (number, secret) in [(5, secrets.key()), (6, secrets.salt())] {
        put_length(buffer, number, secret.len());
        buffer.put_slice(secret);
    }
}

fn message_len(message: &Outgoing<'_>) -> usize {
    let secrets = 2 * field_len(5, HASH_BYTES);
    let proof = match message.proof.hashes().len() {
        0 => 0,
        hashes => field_len(4, hashes * HASH_BYTES),
    };
    let chunks: usize = message.payload.chunks().iter().map(|chunk| field_len(7, chunk.len())).sum();
    field_len(1, message.entry.len())
        + uint_len(2, message.position.index())
        + uint_len(3, message.tree_size.entries())
        + proof
        + secrets
        + chunks
}

fn field_len(number: u32, bytes: usize) -> usize {
    key_len(number) + encoded_len_varint(bytes as u64) + bytes
}

fn uint_len(number: u32, value: u64) -> usize {
    if value == 0 { 0 } else { key_len(number) + encoded_len_varint(value) }
}

fn put_length(buffer: &mut BytesMut, number: u32, bytes: usize) {
    encode_key(number, WireType::LengthDelimited, buffer);
    encode_varint(bytes as u64, buffer);
}

fn put_uint(buffer: &mut BytesMut, number: u32, value: u64) {
    if value != 0 {
        encode_key(number, WireType::Varint, buffer);
        encode_varint(value, buffer);
    }
}

fn decode(whole: Bytes) -> Result<Frame, FrameError> {
    FRAME.check(&whole)?;
    let bytes = whole.len();
    let frame = LinkFrame::decode(whole).map_err(|error| FrameError::Malformed(error.to_string()))?;
    // What it would not be written with again was not known: a head has nothing of that.
    if matches!(frame.frame, Some(Frame::Head(_))) && (bytes > HEAD_BYTES_MAX || frame.encoded_len() != bytes)
    {
        return Err(malformed("a head is an entry, and nothing else"));
    }
    frame.frame.ok_or_else(|| malformed("its kind is unknown"))
}

/// How many fields a message may have, and what is nested in it. Checked before anything is built of the bytes:
/// a repeated field of two bytes would cost thirty in memory.
struct Shape {
    fields_max: usize,
    nested: &'static [(u32, &'static Shape)],
}

impl Shape {
    const fn flat(fields_max: usize) -> Self {
        Self { fields_max, nested: &[] }
    }

    fn check(&self, mut bytes: &[u8]) -> Result<(), FrameError> {
        let mut fields = 0;
        while !bytes.is_empty() {
            let (number, value) = read_field(&mut bytes).ok_or_else(|| malformed("a field is cut"))?;
            fields += 1;
            if fields > self.fields_max {
                return Err(malformed("it has too many fields"));
            }
            if let Some((_, shape)) = self.nested.iter().find(|(nested, _)| *nested == number) {
                shape.check(value)?;
            }
        }
        Ok(())
    }
}

/// Number and, if it has one, content of the next field.
fn read_field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let key = read_varint(bytes)?;
    let number = u32::try_from(key >> 3).ok()?;
    let length = match key & 7 {
        0 => {
            read_varint(bytes)?;
            0
        }
        1 => 8,
        2 => usize::try_from(read_varint(bytes)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (value, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some((number, value))
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(bytes).ok()
}

fn malformed(what: &str) -> FrameError {
    FrameError::Malformed(what.to_owned())
}

const MESSAGE: u32 = 3;
const CHUNK: u32 = 17;
const END: u32 = 18;
const BATCH: u32 = 19;
const CLOSE: u32 = 20;
const HASH_BYTES: usize = 32;
/// Bytes of the longest length prefix: 28 bits.
const PREFIX_BYTES_MAX: usize = 4;
/// Up to this length a message is copied into one buffer; beyond it the chunks go out as they lie.
const COPIED_BYTES_MAX: usize = 16 * 1024;
/// Longest head of a large message, its frame included, in bytes.
const HEAD_BYTES_MAX: usize = MAX_ENTRY_BYTES + 16;
/// Longest answer to a fetch, in bytes.
pub const MAX_FETCH_FRAME_BYTES: usize = MAX_FETCH_ENTRIES * MAX_FRAME_BYTES;
/// Longest answer about the global configuration, in bytes: a snapshot with its seal, or a part.
pub const MAX_CONF_FRAME_BYTES: usize = MAX_CLEAR_BYTES + 64 * 1024;
/// Chunks of a small payload: the context and the body.
const MAX_CHUNKS: usize = 1 + MAX_BODY_BYTES.div_ceil(CHUNK_BYTES);
/// Fields of a message without its repeated ones, with room for those of later versions.
const FIELDS: usize = 16;

const FRAME: Shape = Shape {
    fields_max: 1,
    nested: &[
        (1, &Shape::flat(FIELDS + MAX_HELLO_CHECKPOINTS)),
        (2, &Shape::flat(FIELDS)),
        (MESSAGE, &Shape::flat(FIELDS + MAX_CHUNKS)),
        (4, &Shape::flat(FIELDS)),
        (5, &Shape::flat(FIELDS)),
        (6, &FETCHED),
        (16, &Shape::flat(FIELDS)),
        (END, &Shape::flat(FIELDS + MAX_CHUNKS)),
        (BATCH, &Shape::flat(FIELDS + MAX_CHUNKS)),
        (CLOSE, &Shape::flat(FIELDS + MAX_CHUNKS)),
        (25, &Shape::flat(FIELDS)),
        (27, &Shape::flat(FIELDS)),
    ],
};
const FETCHED: Shape = Shape { fields_max: MAX_FETCH_ENTRIES, nested: &[(1, &HELD)] };
const HELD: Shape = Shape { fields_max: FIELDS, nested: &[(5, &Shape::flat(FIELDS + MAX_CHUNKS))] };

const _: () = assert!(MAX_CONF_FRAME_BYTES <= MAX_FETCH_FRAME_BYTES, "the smallest memory budget holds it");
const _: () = assert!(MAX_FETCH_FRAME_BYTES < 1 << (7 * PREFIX_BYTES_MAX), "every length fits its prefix");

#[cfg(test)]
mod tests {
    use peabiru_ledger::payload::{Direction, PayloadSecrets};
    use peabiru_proto::entry::ExchangeId;
    use peabiru_proto::hash::Digest;
    use peabiru_proto::random::SeededRandom;
    use peabiru_proto::wire::{CheckpointUpdate, Hello, LargeHead, SealedMessage};
    use proptest::prelude::*;

    use super::*;

    fn hello(version: u32) -> Frame {
        Frame::Hello(Hello { version, node: "PY/GOV/MEC/1".to_owned(), ..Hello::default() })
    }

    fn payload(body: usize) -> SealedPayload {
        let exchange = ExchangeId::from_slice(&[3; 16]).unwrap();
        let random = SeededRandom::new(1);
        SealedPayload::seal(&random, &exchange, Direction::Request, b"context", &vec![5; body]).unwrap().0
    }

    fn all(decoder: &mut Decoder, bytes: &[u8], piece: usize) -> Result<Vec<Frame>, FrameError> {
        let mut frames = Vec::new();
        for piece in bytes.chunks(piece) {
            decoder.push(Bytes::copy_from_slice(piece));
            while let Some(frame) = decoder.next_frame()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    fn decode_all(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, FrameError> {
        all(&mut Decoder::new(MAX_FRAME_BYTES), bytes, piece)
    }

    #[test]
    fn frames_come_out_however_the_bytes_are_cut() {
        let update = Frame::Checkpoint(CheckpointUpdate { from_size: 300, ..CheckpointUpdate::default() });
        let frames = vec![hello(1), update, hello(2)];
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| encode(frame.clone())).collect();
        for piece in 1..=bytes.len() {
            assert_eq!(decode_all(&bytes, piece).unwrap(), frames, "pieces of {piece}");
        }
    }

    #[test]
    fn a_message_is_what_the_schema_says() {
        for (body, index, hashes) in [(0, 0, 0), (1000, 7, 3), (MAX_BODY_BYTES, u64::MAX - 1, 63)] {
            let payload = payload(body);
            let proof = InclusionProof::new(vec![Digest::of(b"sibling"); hashes]);
            let entry = Bytes::from_static(b"entry");
            let tree_size = LogPosition::new(index).size_with();
            let position = LogPosition::new(index);
            let out = encode_message(&Outgoing {
                entry: &entry,
                position,
                tree_size,
                proof: &proof,
                payload: &payload,
            });
            let schema = SealedMessage {
                entry,
                index,
                tree_size: index + 1,
                inclusion: proof.to_bytes().into(),
                payload_key: payload.secrets().key().to_vec().into(),
                payload_salt: payload.secrets().salt().to_vec().into(),
                chunks: payload.chunks().to_vec(),
            };
            assert_eq!(out.concat(), encode(Frame::Message(schema.clone())));
            let outgoing =
                Outgoing { entry: &schema.entry, position, tree_size, proof: &proof, payload: &payload };
            let [batch, close] =
                [Sealed::Batch, Sealed::Close].map(|frame| encode_sealed(frame, &outgoing).concat());
            assert_eq!(batch, encode(Frame::Batch(schema.clone())));
            assert_eq!(close, encode(Frame::Close(schema)));
            assert_eq!(out.len() == 1, body < COPIED_BYTES_MAX, "small ones are one write");
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
        let mut prefix = Vec::new();
        encode_varint(MAX_FRAME_BYTES as u64 + 1, &mut prefix);
        for prefix in [prefix.as_slice(), &[0xff, 0xff, 0xff, 0xff], &[0x80, 0x00]] {
            let refused = FrameError::Length { limit: MAX_FRAME_BYTES };
            assert_eq!(decode_all(prefix, 1), Err(refused), "{prefix:?}");
        }
    }

    #[test]
    fn a_frame_announces_its_length_before_it_is_kept() {
        let bytes = encode_message(&Outgoing {
            entry: &Bytes::from_static(b"entry"),
            position: LogPosition::new(1),
            tree_size: TreeSize::new(2),
            proof: &InclusionProof::default(),
            payload: &payload(1000),
        })
        .concat();
        let mut decoder = Decoder::new(MAX_FRAME_BYTES);
        assert_eq!(all(&mut decoder, &bytes[..2], 1).unwrap(), []);
        assert_eq!(decoder.announced(), Ok(Some(bytes.len() - 2)));
        assert!(decoder.is_within_frame());
    }

    #[test]
    fn repeated_fields_are_counted_before_they_cost_memory() {
        let secrets = PayloadSecrets::from_slices(&[1; 32], &[2; 32]).unwrap();
        let many = SealedPayload::from_parts(secrets, vec![Bytes::new(); 1000]);
        let message = SealedMessage { chunks: many.chunks().to_vec(), ..SealedMessage::default() };
        let refused = decode_all(&encode(Frame::Message(message)), 100).unwrap_err();
        assert_eq!(refused, malformed("it has too many fields"));
        let known_checkpoints = vec![Bytes::new(); 1000];
        let hello = Frame::Hello(Hello { known_checkpoints, ..Hello::default() });
        assert!(decode_all(&encode(hello), 100).is_err());
    }

    #[test]
    fn a_head_holds_an_entry_and_nothing_else() {
        let head = |bytes: usize| encode(Frame::Head(LargeHead { entry: vec![7; bytes].into() })).to_vec();
        let longest = head(MAX_ENTRY_BYTES);
        assert!(longest.len() - 3 <= HEAD_BYTES_MAX && decode_all(&longest, 1000).is_ok());
        let mut more = head(100);
        // A field 2 of one byte, and the lengths of what it stands in.
        more.extend_from_slice(&[0x12, 1, 0]);
        (more[0], more[3]) = (more[0] + 3, more[3] + 3);
        for bytes in [head(MAX_ENTRY_BYTES + 17), more] {
            let refused = decode_all(&bytes, 1000).unwrap_err();
            assert_eq!(refused, malformed("a head is an entry, and nothing else"));
        }
    }

    #[test]
    fn a_chunk_without_bytes_reads_back() {
        for chunk in [Bytes::new(), Bytes::from_static(&[7; 300])] {
            let frame = encode_chunk(chunk.clone()).concat();
            assert_eq!(decode_all(&frame, 10).unwrap(), [Frame::Chunk(chunk)]);
        }
        assert_eq!(encode_chunk(Bytes::new()).concat(), [3, 0x8a, 1, 0], "frozen");
    }

    #[test]
    fn a_batch_is_frame_19_and_a_close_frame_20() {
        let [entry, inclusion, key, salt, chunk] = [b"e", b"\x03", b"\x01", b"\x02", b"\x07"];
        let [entry, inclusion, payload_key, payload_salt, chunk] =
            [entry, inclusion, key, salt, chunk].map(|bytes| Bytes::from_static(bytes));
        let (index, tree_size, chunks) = (1, 2, vec![chunk]);
        let message = SealedMessage { entry, index, tree_size, inclusion, payload_key, payload_salt, chunks };
        let sealed = [10, 1, b'e', 16, 1, 24, 2, 34, 1, 3, 42, 1, 1, 50, 1, 2, 58, 1, 7];
        for (frame, key) in [(Frame::Batch(message.clone()), 0x9a), (Frame::Close(message), 0xa2)] {
            assert_eq!(encode(frame), [&[22, key, 1, 19], &sealed[..]].concat(), "frozen");
        }
    }

    #[test]
    fn empty_double_and_unknown_frames_are_refused() {
        let double = [encode(hello(1)).slice(1..), encode(hello(2)).slice(1..)].concat();
        let length = u8::try_from(double.len()).unwrap();
        for bytes in [vec![0], [vec![length], double].concat(), vec![2, 0x82, 0x01, 0]] {
            assert!(matches!(decode_all(&bytes, 100), Err(FrameError::Malformed(_))), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1usize..50) {
            let _ = decode_all(&bytes, piece);
        }

        #[test]
        fn a_changed_frame_is_read_or_refused(at in any::<prop::sample::Index>(), flip in 1u8.., piece in 1usize..200) {
            let proof = InclusionProof::new(vec![Digest::of(b"sibling"); 4]);
            let message = Outgoing { entry: &Bytes::from_static(b"entry"), position: LogPosition::new(9), tree_size: TreeSize::new(12), proof: &proof, payload: &payload(100) };
            let mut bytes = encode_message(&message).concat();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let _ = decode_all(&bytes, piece);
        }
    }
}
