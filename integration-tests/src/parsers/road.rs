//! Of `node`: frames between nodes, and what a local caller sends to the door.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use peabiru_ledger::checkpoint::SignedCheckpoint;
use peabiru_node::door::authority::AuthorityMender;
use peabiru_node::door::http1::Follower;
use peabiru_node::grpc::framing::{decode_status_text, encode_status_text, timeout};
use peabiru_node::grpc::unpack::{PackedRoom, UNPACKED_BYTES_MAX, Unpacker};
use peabiru_node::link::frame::{Decoder, FrameError, encode};
use peabiru_node::link::heads::Update;
use peabiru_node::link::hello::{Hello, VERSION, VERSION_MIN};
use peabiru_node::link::message::Incoming;
use peabiru_node::link::preview::Preview;
use peabiru_node::rest::target::{self, Target};
use peabiru_proto::entry::Entry;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::{CHUNK_BYTES, MAX_FRAME_BYTES, MAX_HELLO_CHECKPOINTS, TAG_BYTES};
use peabiru_proto::path::{Pattern, Template};
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{self, SealedMessage, link_frame::Frame};
use prost::Message as _;

/// The same frames come out in whatever pieces they arrive, and each is read on as the link reads it.
///
/// The input: the length of a piece (1 byte), then the stream.
pub fn frame(bytes: &[u8]) {
    let Some((&piece, stream)) = bytes.split_first() else { return };
    let whole = read(stream, stream.len());
    assert_eq!(read(stream, piece.into()), whole, "pieces of {piece} bytes");
    for frame in whole.frames {
        let written = encode(frame.clone());
        let again = read(&written, written.len());
        assert_eq!((again.frames, again.error), (vec![frame.clone()], None), "a frame reads back");
        match frame {
            Frame::Hello(hello) => read_hello(&hello),
            Frame::Checkpoint(update) => read_update(&update),
            Frame::Message(message) | Frame::End(message) | Frame::Batch(message) | Frame::Close(message) => {
                read_message(message);
            }
            Frame::Refusal(fault) => super::fault(&fault.encode_to_vec()),
            Frame::Fetched(held) => held.entries.into_iter().for_each(read_held),
            Frame::Head(head) => read_head(head),
            // What they hold is checked by who asked: see `snapshot`.
            Frame::GetSnapshot(_) | Frame::Snapshot(_) | Frame::GetPart(_) | Frame::Part(_) => {}
            Frame::Fetch(_) | Frame::Chunk(_) => {}
        }
    }
}

/// A head that is taken announces a body that is too long for a message, or says nothing of its length.
fn read_head(head: wire::LargeHead) {
    if let Ok(preview) = Preview::read(head) {
        assert!(preview.declared_bytes().is_none_or(|bytes| bytes > (CHUNK_BYTES + TAG_BYTES) as u64));
    }
}

/// A `Hello` that is taken names a version of ours and no more heads than fit; ours is taken.
pub fn hello(bytes: &[u8]) {
    if let Ok(hello) = wire::Hello::decode(bytes) {
        read_hello(&hello);
    }
    if let Ok(update) = wire::CheckpointUpdate::decode(bytes) {
        read_update(&update);
    }
}

/// A sealed message that is taken has an entry, and a place in a tree.
pub fn message(bytes: &[u8]) {
    if let Ok(message) = SealedMessage::decode(bytes) {
        read_message(message);
    }
    if let Ok(held) = wire::HeldEntry::decode(bytes) {
        read_held(held);
    }
}

/// Framing, deadline and status text of gRPC, of a caller or of a service.
pub fn door(bytes: &[u8]) {
    let mut rest = bytes;
    let mut whole = 0;
    while let Some(([0, length @ ..], message)) = rest.split_first_chunk::<5>()
        && let Some((_, later)) = message.split_at_checked(u32::from_be_bytes(*length) as usize)
    {
        (rest, whole) = (later, whole + 1);
    }
    let judged = unpacker("identity").whole(Bytes::copy_from_slice(bytes), bytes.len());
    let judged = judged.ok().flatten().map(|(_, messages)| messages);
    assert_eq!(judged, rest.is_empty().then_some(whole), "messages are counted");
    let text = decode_status_text(bytes);
    assert!(text.len() <= bytes.len() * 3, "a status text grows");
    let encoded = encode_status_text(&text);
    assert!(encoded.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "a header that is none");
    assert_eq!(decode_status_text(encoded.as_bytes()), text);
    let Some(wait) = std::str::from_utf8(bytes).ok().and_then(timeout) else { return };
    assert!(bytes.len() <= 9 && wait.as_secs() < 100_000_000 * 3600);
}

/// What comes compressed is the same uncompressed, in whatever pieces it comes, and says how long it is.
///
/// The input: the length of a piece (1 byte), then the body.
pub fn unpack(bytes: &[u8]) {
    let Some((&piece, body)) = bytes.split_first() else { return };
    let mut unpacking = unpacker("gzip");
    let mut unpacked = Vec::new();
    let mut broken = false;
    'body: for piece in body.chunks(usize::from(piece).max(1)) {
        unpacking.push(Bytes::copy_from_slice(piece));
        loop {
            match unpacking.take() {
                Ok(Some(piece)) => unpacked.extend_from_slice(&piece),
                Ok(None) => break,
                Err(_) => {
                    broken = true;
                    break 'body;
                }
            }
        }
    }
    let in_pieces = if broken { None } else { unpacking.finish().ok() };
    let longest = body.len() * (UNPACKED_BYTES_MAX + 5);
    let whole = unpacker("gzip").whole(Bytes::copy_from_slice(body), longest).ok();
    let whole = whole.map(|whole| whole.expect("it is not longer than it can be"));
    assert_eq!(in_pieces, whole.as_ref().map(|(_, messages)| *messages));
    let Some((identity, messages)) = whole else { return };
    assert_eq!(identity, unpacked);
    let again = unpacker("identity").whole(identity, longest).ok().flatten();
    assert_eq!(again.map(|(_, messages)| messages), Some(messages), "it is uncompressed");
}

fn unpacker(encoding: &'static str) -> Unpacker {
    let headers = HeaderMap::from_iter([(
        HeaderName::from_static("grpc-encoding"),
        HeaderValue::from_static(encoding),
    )]);
    Unpacker::new(&headers, Place::ConsumerNode, &PackedRoom::default()).expect("the encoding is known")
}

/// A REST call's verb and target that are taken mean one service and one path, and say the same when read again.
///
/// The input: the verb, a space, the target.
pub fn r1(bytes: &[u8]) {
    let Some((verb, written)) = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once(' ')) else {
        return;
    };
    let _ = target::client(written);
    let _ = target::security_server(written);
    let _ = Template::new(verb, written);
    let _ = written.parse::<Pattern>();
    let Ok(read) = Target::parse(verb, written) else { return };
    let again = format!("/r1/{}{}", read.service, read.below(""));
    assert_eq!(Target::parse(read.verb, &again), Ok(read.clone()), "one call has one reading");
    let segments = read.path.segments();
    for segment in segments {
        assert!(segment != "." && segment != ".." && !segment.contains(['/', '\\', ';', '\0', '\r', '\n']));
    }
    assert!(segments[..segments.len() - 1].iter().all(|segment| !segment.is_empty()));
    assert!("* /**".parse::<Pattern>().expect("a pattern").covers(read.verb, &read.path));
}

/// An HTTP/1.1 connection is followed alike in whatever pieces it comes.
///
/// The input: the length of a piece (1 byte), then the stream.
pub fn http1(bytes: &[u8]) {
    let Some((&piece, stream)) = bytes.split_first() else { return };
    let follow = |piece: usize| {
        let mut follower = Follower::default();
        stream.chunks(piece.max(1)).try_for_each(|piece| follower.follow(piece))
    };
    let whole = follow(stream.len());
    assert_eq!(follow(piece.into()), whole, "pieces of {piece} bytes");
    let first = stream.split(|byte| *byte == b'\n').next().unwrap_or_default();
    assert!(
        whole.is_err() || first.len() == stream.len() || first.ends_with(b"\r"),
        "a line without its end"
    );
}

/// What a caller at a Unix socket writes is mended alike in whatever pieces it comes, moves nothing, and once.
///
/// The input: the length of a piece (1 byte), then what follows the preface of HTTP/2.
pub fn authority(bytes: &[u8]) {
    let Some((&piece, frames)) = bytes.split_first() else { return };
    let came = [PREFACE, frames].concat();
    let mended = mend(&came, came.len());
    assert_eq!(mend(&came, piece.into()), mended, "pieces of {piece} bytes");
    assert_eq!(mend(&mended, mended.len()), mended, "mended twice");
    let changed = came.iter().zip(&mended).filter(|(came, mended)| came != mended);
    assert!(changed.into_iter().all(|(came, mended)| b"%/".contains(came) && *mended == b'-'));
    assert_eq!(mended.len(), came.len());
}

fn mend(came: &[u8], piece: usize) -> Vec<u8> {
    let (mut mender, mut mended) = (AuthorityMender::default(), came.to_vec());
    mended.chunks_mut(piece.max(1)).for_each(|piece| mender.mend(piece));
    mended
}

#[derive(Debug, PartialEq)]
struct Read {
    frames: Vec<Frame>,
    error: Option<FrameError>,
    within_frame: bool,
}

fn read(stream: &[u8], piece: usize) -> Read {
    let mut decoder = Decoder::new(MAX_FRAME_BYTES);
    let mut frames = Vec::new();
    for piece in stream.chunks(piece.max(1)) {
        decoder.push(Bytes::copy_from_slice(piece));
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return Read { frames, error: Some(error), within_frame: true },
            }
        }
    }
    Read { frames, error: None, within_frame: decoder.is_within_frame() }
}

fn read_hello(hello: &wire::Hello) {
    let node: NodeId = NODE.parse().expect("a node");
    let Ok(read) = Hello::read(hello, &node) else { return };
    assert!((VERSION_MIN..=VERSION).contains(&read.version));
    assert!(read.known.len() <= MAX_HELLO_CHECKPOINTS);
    let written = wire::Hello {
        replaces: read.replaces.unwrap_or_default(),
        ..Hello::write(&node, read.globalconf_version, read.serial, &read.known)
    };
    assert_eq!(Hello::read(&written, &node), Ok(read));
}

fn read_update(update: &wire::CheckpointUpdate) {
    let Ok(read) = Update::read(update) else { return };
    assert_eq!(read.checkpoint.note().as_bytes(), update.checkpoint);
    assert_eq!(read.proof.to_bytes(), update.consistency);
    assert_eq!(read.from.entries(), update.from_size);
}

fn read_message(message: SealedMessage) {
    let (entry, index, tree_size) = (message.entry.clone(), message.index, message.tree_size);
    match Incoming::read(message, Timestamp::from_ms(1), Place::ProviderNode) {
        Ok(_) => {
            super::entry(&entry);
            assert!(Entry::decode(entry).is_ok() && index < tree_size);
        }
        Err(fault) => assert_malformed(&fault),
    }
}

fn read_held(held: wire::HeldEntry) {
    let (checkpoint, index) = (held.checkpoint.clone(), held.index);
    match Incoming::fetched(held, None, Timestamp::from_ms(1), Place::ConsumerNode) {
        Ok(_) => {
            let checkpoint = SignedCheckpoint::parse(&checkpoint).expect("a message was made of it");
            assert!(index < checkpoint.size().entries());
        }
        Err(fault) => assert_malformed(&fault),
    }
}

fn assert_malformed(fault: &Fault) {
    assert_eq!(fault.code, FaultCode::MessageMalformed);
}

const NODE: &str = "PY/GOV/MEC/node";
/// How every client begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
