//! Messages in their identity form: what comes compressed with gzip is unpacked at the door, before anything is sealed.
//!
//! A prefix says how long its message is, and stands before it. So a compressed message is unpacked twice: once to know
//! its length, of which nothing is kept, and again piece by piece as it is taken. What a call holds in memory is the
//! message as it came, never what it becomes; and one that becomes too long is refused before a byte of it goes on.

use std::io::Read as _;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use http::HeaderMap;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::limits::CHUNK_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::framing::{Messages, PREFIX_BYTES};
use super::metadata::text;

/// Memory for compressed messages that are no small ones, of all calls of a door or a dispatcher together.
#[derive(Debug, Clone)]
pub struct PackedRoom(Arc<Semaphore>);

impl Default for PackedRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PACKED_BYTES_MAX)))
    }
}

/// Follows the messages of one way of a call, and gives them uncompressed.
#[derive(Debug)]
pub struct Unpacker {
    place: Place,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Nothing is compressed: pieces pass as they come.
    Plain {
        messages: Messages,
        piece: Bytes,
    },
    Gzip(Box<Gzip>),
}

#[derive(Debug)]
struct Gzip {
    room: PackedRoom,
    /// What came and is not read yet.
    input: BytesMut,
    whole: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before a message.
    Prefix,
    /// In one that is not compressed.
    Plain { left_bytes: usize },
    /// In one of this length that is compressed.
    Packed { bytes: usize, permit: Option<OwnedSemaphorePermit> },
    /// One that came whole goes on.
    Unpacking { packed: GzDecoder<bytes::buf::Reader<Bytes>>, _permit: Option<OwnedSemaphorePermit> },
}

impl Unpacker {
    /// As `grpc-encoding` says.
    ///
    /// # Errors
    /// `payload.compressed` if it names anything but `identity` and `gzip`.
    pub fn new(headers: &HeaderMap, place: Place, room: &PackedRoom) -> Result<Self, Fault> {
        let form = match text(headers, ENCODING) {
            None | Some("identity") => Form::Plain { messages: Messages::default(), piece: Bytes::new() },
            Some("gzip") => {
                let (room, input) = (room.clone(), BytesMut::new());
                Form::Gzip(Box::new(Gzip { room, input, whole: 0, state: State::Prefix }))
            }
            Some(_) => {
                let message = "messages are compressed in a way that this node does not know";
                return Err(Fault::new(FaultCode::PayloadCompressed, place, message));
            }
        };
        Ok(Self { place, form })
    }

    /// The next bytes. What they become is to be taken with `take`, to its end, before more is given.
    pub fn push(&mut self, bytes: Bytes) {
        match &mut self.form {
            Form::Plain { piece, .. } => *piece = bytes,
            Form::Gzip(gzip) => gzip.input.extend_from_slice(&bytes),
        }
    }

    /// What can go on, if anything can yet.
    ///
    /// # Errors
    /// `payload.compressed`, `payload.invalid`, `payload.too_large`, `node.overloaded`.
    pub fn take(&mut self) -> Result<Option<Bytes>, Fault> {
        match &mut self.form {
            Form::Plain { messages, piece } => {
                messages.push(piece, self.place)?;
                Ok(Some(std::mem::take(piece)).filter(|piece| !piece.is_empty()))
            }
            Form::Gzip(gzip) => gzip.next().map_err(|(code, what)| Fault::new(code, self.place, what)),
        }
    }

    /// The body has ended: how many messages it was.
    ///
    /// # Errors
    /// `payload.invalid` if the last one is not whole.
    pub fn finish(&self) -> Result<u64, Fault> {
        match &self.form {
            Form::Plain { messages, .. } => messages.finish(self.place),
            Form::Gzip(gzip) if gzip.ends() => Ok(gzip.whole),
            Form::Gzip(_) => {
                Err(Fault::new(FaultCode::PayloadInvalid, self.place, "the last message is not whole"))
            }
        }
    }

    /// A whole body at once, and how many messages it is; nothing if it becomes longer than `bytes_max`.
    ///
    /// # Errors
    /// As `take` and `finish`.
    pub fn whole(mut self, body: Bytes, bytes_max: usize) -> Result<Option<(Bytes, u64)>, Fault> {
        self.push(body);
        let Some(mut first) = self.take()? else { return Ok(Some((Bytes::new(), self.finish()?))) };
        let mut joined = BytesMut::new();
        while let Some(piece) = self.take()? {
            if joined.is_empty() {
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&piece);
            if joined.len() > bytes_max {
                return Ok(None);
            }
        }
        if !joined.is_empty() {
            first = joined.freeze();
        }
        Ok(Some((first, self.finish()?)))
    }
}

type Refused = (FaultCode, &'static str);

impl Gzip {
    fn next(&mut self) -> Result<Option<Bytes>, Refused> {
        loop {
            match &mut self.state {
                State::Prefix if self.input.len() < PREFIX_BYTES => return Ok(None),
                State::Prefix => {
                    let mut prefix = self.input.split_to(PREFIX_BYTES);
                    let (flag, bytes) = ((&prefix[..]).get_u8(), (&prefix[1..]).get_u32() as usize);
                    match flag {
                        0 => {
                            self.whole += 1;
                            self.state = State::Plain { left_bytes: bytes };
                            return Ok(Some(prefix.split().freeze()));
                        }
                        1 => self.state = State::Packed { bytes, permit: self.room.reserve(bytes)? },
                        _ => return Err((FaultCode::PayloadInvalid, "this is no gRPC message")),
                    }
                }
                State::Plain { left_bytes: 0 } => self.state = State::Prefix,
                State::Plain { .. } if self.input.is_empty() => return Ok(None),
                State::Plain { left_bytes } => {
                    let piece = self.input.split_to(self.input.len().min(*left_bytes).min(CHUNK_BYTES));
                    *left_bytes -= piece.len();
                    return Ok(Some(piece.freeze()));
                }
                State::Packed { bytes, .. } if self.input.len() < *bytes => return Ok(None),
                State::Packed { bytes, permit } => {
                    let (packed, permit) = (self.input.split_to(*bytes).freeze(), permit.take());
                    let length = unpacked_bytes(&packed)?;
                    self.whole += 1;
                    let packed = GzDecoder::new(packed.reader());
                    self.state = State::Unpacking { packed, _permit: permit };
                    let mut prefix = BytesMut::zeroed(PREFIX_BYTES);
                    prefix[1..].copy_from_slice(&length.to_be_bytes());
                    return Ok(Some(prefix.freeze()));
                }
                State::Unpacking { packed, .. } => {
                    let mut piece = Vec::new();
                    packed.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut piece).map_err(|_| NOT_GZIP)?;
                    if !piece.is_empty() {
                        return Ok(Some(piece.into()));
                    }
                    self.state = State::Prefix;
                }
            }
        }
    }

    fn ends(&self) -> bool {
        let between = matches!(self.state, State::Prefix | State::Plain { left_bytes: 0 });
        between && self.input.is_empty()
    }
}

impl PackedRoom {
    /// Before the message comes. A small one needs no more than any small body has.
    fn reserve(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Refused> {
        if bytes <= CHUNK_BYTES {
            return Ok(None);
        }
        if bytes > UNPACKED_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        let permits = u32::try_from(bytes).map_err(|_| TOO_LARGE)?;
        let full = (FaultCode::NodeOverloaded, "too many large compressed messages are under way");
        Arc::clone(&self.0).try_acquire_many_owned(permits).map(Some).map_err(|_| full)
    }
}

/// Unpacks a message to know how long it is: to its end, or to where it is too long.
fn unpacked_bytes(packed: &[u8]) -> Result<u32, Refused> {
    let mut unpacking = GzDecoder::new(packed);
    let mut bytes = 0;
    let mut piece = [0; 8192];
    loop {
        match unpacking.read(&mut piece).map_err(|_| NOT_GZIP)? {
            0 if unpacking.get_ref().is_empty() => return u32::try_from(bytes).map_err(|_| TOO_LARGE),
            0 => return Err(NOT_GZIP),
            read => bytes += read,
        }
        if bytes > UNPACKED_BYTES_MAX {
            return Err(TOO_LARGE);
        }
    }
}

/// What is understood, as `grpc-accept-encoding` says it.
pub const ACCEPTED: &str = "identity,gzip";
const ENCODING: &str = "grpc-encoding";
const NOT_GZIP: Refused = (FaultCode::PayloadInvalid, "the message is not compressed as grpc-encoding says");
const TOO_LARGE: Refused =
    (FaultCode::PayloadTooLarge, "a compressed message has at most 4 MiB: send it uncompressed");
/// Longest message that comes compressed, in bytes, as it came and as it is: what gRPC's own libraries take at most unless
/// they are told otherwise.
pub const UNPACKED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Of all compressed messages beyond 64 KiB that are under way.
const PACKED_BYTES_MAX: usize = 32 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packing = GzEncoder::new(Vec::new(), Compression::default());
        packing.write_all(bytes).unwrap();
        packing.finish().unwrap()
    }

    fn message(flag: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[flag], length.as_slice(), bytes].concat()
    }

    fn unpacker(encoding: &str, room: &PackedRoom) -> Result<Unpacker, Fault> {
        let headers = HeaderMap::from_iter([(ENCODING.parse().unwrap(), encoding.parse().unwrap())]);
        Unpacker::new(&headers, Place::ConsumerNode, room)
    }

    fn unpack(packed: &[u8], piece_bytes: usize) -> Result<(Vec<u8>, u64), FaultCode> {
        let mut unpacker = unpacker("gzip", &PackedRoom::default()).unwrap();
        let mut unpacked = Vec::new();
        for piece in packed.chunks(piece_bytes) {
            unpacker.push(Bytes::copy_from_slice(piece));
            while let Some(piece) = unpacker.take().map_err(|fault| fault.code)? {
                assert!(piece.len() <= CHUNK_BYTES);
                unpacked.extend_from_slice(&piece);
            }
        }
        Ok((unpacked, unpacker.finish().map_err(|fault| fault.code)?))
    }

    #[test]
    fn what_is_no_gzip_and_what_becomes_too_long_is_refused() {
        let bomb = gzip(&vec![0; UNPACKED_BYTES_MAX + 1]);
        assert!(bomb.len() < CHUNK_BYTES, "it is a small message");
        assert_eq!(unpack(&message(1, &bomb), 1000), Err(FaultCode::PayloadTooLarge));
        assert!(unpack(&message(1, &gzip(&vec![0; UNPACKED_BYTES_MAX])), 1000).is_ok());
        let mut trailing = gzip(b"abc");
        trailing.push(0);
        let cut = &gzip(b"abc")[..12];
        for wrong in [b"abc".as_slice(), &trailing, cut, b""] {
            assert_eq!(unpack(&message(1, wrong), 7), Err(FaultCode::PayloadInvalid), "{wrong:?}");
        }
        assert_eq!(unpack(&message(2, b""), 7), Err(FaultCode::PayloadInvalid));
        assert_eq!(unpack(&message(1, &gzip(b"abc"))[..9], 7), Err(FaultCode::PayloadInvalid));
        assert_eq!(unpack(&[1, 0, 0x50, 0, 0], 5), Err(FaultCode::PayloadTooLarge), "its length says so");
        let unknown = unpacker("br", &PackedRoom::default()).unwrap_err();
        assert_eq!(unknown.code, FaultCode::PayloadCompressed);
    }

    #[test]
    fn room_for_large_ones_is_bounded_and_comes_back() {
        let room = PackedRoom::default();
        let longest = u32::try_from(UNPACKED_BYTES_MAX).unwrap().to_be_bytes();
        let announced = Bytes::from([&[1], longest.as_slice()].concat());
        let announce = || {
            let mut unpacker = unpacker("gzip", &room).unwrap();
            unpacker.push(announced.clone());
            unpacker.take().map(|_| unpacker)
        };
        let held: Vec<_> = (0..PACKED_BYTES_MAX / UNPACKED_BYTES_MAX).map(|_| announce().unwrap()).collect();
        assert_eq!(announce().unwrap_err().code, FaultCode::NodeOverloaded);
        drop(held);
        assert!(announce().is_ok());
    }

    proptest! {
        /// However it is cut, and whichever are compressed.
        #[test]
        fn messages_come_out_as_they_were(
            messages in proptest::collection::vec((any::<bool>(), proptest::collection::vec(0..3u8, 0..3000)), 0..5),
            piece_bytes in 1..500usize,
        ) {
            let packed: Vec<_> = messages.iter().map(|(packed, bytes)| {
                if *packed { message(1, &gzip(bytes)) } else { message(0, bytes) }
            }).collect();
            let plain: Vec<_> = messages.iter().map(|(_, bytes)| message(0, bytes)).collect();
            let expected = (plain.concat(), messages.len() as u64);
            prop_assert_eq!(unpack(&packed.concat(), piece_bytes), Ok(expected.clone()));
            let whole = unpacker("gzip", &PackedRoom::default()).unwrap();
            let whole = whole.whole(packed.concat().into(), 20_000).unwrap();
            prop_assert_eq!(whole.map(|(body, count)| (body.to_vec(), count)), Some(expected));
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60), piece_bytes in 1..9usize) {
            let _ = unpack(&bytes, piece_bytes);
            let _ = unpack(&message(1, &[b"\x1f\x8b\x08\0\0\0\0\0\0\x03".as_slice(), &bytes].concat()), piece_bytes);
        }
    }
}
