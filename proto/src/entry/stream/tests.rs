use data_encoding::HEXLOWER;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::entry::tests::{bodies, common, digest, encoded, has_one_writing, origin, refused};
use crate::entry::{Body, Content, Entry, Response};
use crate::fault::FaultCode;
use crate::limits::CHUNK_BYTES;

fn leaf(byte: u8) -> LeafHash {
    LeafHash::from_bytes(digest(byte))
}

fn batch() -> Batch {
    Batch {
        opening: leaf(12),
        direction: StreamDirection::Answer,
        previous: Some(leaf(13)),
        first_chunk: 300,
        chunks: 2,
        content_root: ContentRoot::from_bytes(digest(14)),
        body_bytes: CHUNK_BYTES as u64 + 1,
        peer: Some(Reached { leaf: leaf(17), chunks: 5 }),
    }
}

fn first() -> Batch {
    Batch { previous: None, first_chunk: 0, direction: StreamDirection::Request, peer: None, ..batch() }
}

fn close() -> Close {
    Close {
        opening: leaf(12),
        direction: StreamDirection::Request,
        previous: Some(leaf(13)),
        chunks: 302,
        outcome: 1,
        content_root: ContentRoot::from_bytes(digest(15)),
        peer: Some(Reached { leaf: leaf(16), chunks: 7 }),
        fault: Some(FaultCode::StreamCancelled.to_string()),
    }
}

fn opened() -> Body {
    let Body::Response(response) = bodies().remove(2) else { panic!("the third is the RESPONSE") };
    let content = Content::Stream { context_root: ContentRoot::from_bytes(digest(11)) };
    Body::Response(Response { content, outcome: 0, ..response })
}

/// Of an answer without batches, after a request without batches.
fn nothing() -> Close {
    let peer = Some(Reached { leaf: leaf(16), chunks: 0 });
    let direction = StreamDirection::Answer;
    Close { previous: None, chunks: 0, outcome: 0, direction, peer, fault: None, ..close() }
}

fn of_streams() -> Vec<Body> {
    // All was said before anything was answered.
    let early = Close { direction: StreamDirection::Request, peer: None, ..nothing() };
    let batches = [opened(), Body::Batch(batch()), Body::Batch(first())];
    batches.into_iter().chain([close(), nothing(), early].map(Body::Close)).collect()
}

/// FROZEN. The answer that opens a stream, a BATCH, a first BATCH; a CLOSE of a node that broke off, one of a direction
/// without batches, one of a request to which no answer had begun.
const GOLDEN: [&str; 6] = [
    "080110031a1570792e6578616d706c652f72656769737472792f3122c6010a10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e11080d095ffbc311a0d50592f474f562f4d45432f6e3120032a200101010101010101010101010101010101010101010101010101010101010101522009090909090909090909090909090909090909090909090909090909090909095a200a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a620f50592f474f562f4d495449432f6e3172200b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b800102",
    "080110051a1570792e6578616d706c652f72656769737472792f3122e4010a10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e11080d095ffbc311a0d50592f474f562f4d45432f6e3120032a20010101010101010101010101010101010101010101010101010101010101010152200c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c580262200d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d68ac0270027a200e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e80018180048a01201111111111111111111111111111111111111111111111111111111111111111900105",
    "080110051a1570792e6578616d706c652f72656769737472792f312299010a10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e11080d095ffbc311a0d50592f474f562f4d45432f6e3120032a20010101010101010101010101010101010101010101010101010101010101010152200c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c580170027a200e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e8001818004",
    "080110061a1570792e6578616d706c652f72656769737472792f3122f2010a10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e11080d095ffbc311a0d50592f474f562f4d45432f6e3120032a20010101010101010101010101010101010101010101010101010101010101010152200c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c580162200d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d68ae0270017a200f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f820120101010101010101010101010101010101010101010101010101010101010101088010792011073747265616d2e63616e63656c6c6564",
    "080110061a1570792e6578616d706c652f72656769737472792f3122b5010a10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e11080d095ffbc311a0d50592f474f562f4d45432f6e3120032a20010101010101010101010101010101010101010101010101010101010101010152200c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c58027a200f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f8201201010101010101010101010101010101010101010101010101010101010101010",
    "080110061a1570792e6578616d706c652f72656769737472792f312292010a10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e11080d095ffbc311a0d50592f474f562f4d45432f6e3120032a20010101010101010101010101010101010101010101010101010101010101010152200c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c58017a200f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
];

#[test]
fn golden_bytes_of_streams() {
    let written: Vec<_> = of_streams().iter().map(|body| HEXLOWER.encode(encoded(body).bytes())).collect();
    assert_eq!(written, GOLDEN);
}

#[test]
fn what_is_written_is_read_back_and_is_what_the_schema_says() {
    for body in of_streams() {
        let entry = encoded(&body);
        let read = Entry::decode(entry.bytes().clone()).unwrap();
        assert_eq!((read.common(), read.body()), (&common(), &body));
        let outer = wire::Entry::decode(entry.bytes().clone()).unwrap();
        let inner = match &body {
            Body::Batch(_) => wire::BatchBody::decode(outer.body.clone()).unwrap().encode_to_vec(),
            Body::Close(_) => wire::CloseBody::decode(outer.body.clone()).unwrap().encode_to_vec(),
            _ => wire::ResponseBody::decode(outer.body.clone()).unwrap().encode_to_vec(),
        };
        assert_eq!(inner, outer.body, "{:?}", body.kind());
    }
}

fn field(body: &Body) -> &'static str {
    match Entry::encode(&origin(), &common(), body) {
        Err(EntryError::Field { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_is_not_empty_and_counts_its_own_chunks() {
    let of = |body_bytes, chunks| Body::Batch(Batch { body_bytes, chunks, ..batch() });
    assert_eq!(field(&of(0, 0)), "body_bytes");
    assert_eq!(field(&of(1, 0)), "chunks");
    assert_eq!(field(&of(1, 2)), "chunks");
    let most = u64::from(MAX_BATCH_CHUNKS) * CHUNK_BYTES as u64;
    assert!(Entry::encode(&origin(), &common(), &of(most, MAX_BATCH_CHUNKS)).is_ok());
    assert_eq!(field(&of(most + 1, MAX_BATCH_CHUNKS + 1)), "chunks");
    assert_eq!(field(&Body::Batch(Batch { first_chunk: u64::MAX, ..batch() })), "first_chunk");
}

#[test]
fn chunks_are_counted_if_and_only_if_there_is_a_batch_before() {
    assert_eq!(field(&Body::Batch(Batch { previous: None, ..batch() })), "first_chunk");
    assert_eq!(field(&Body::Batch(Batch { first_chunk: 0, ..batch() })), "first_chunk");
    assert_eq!(field(&Body::Close(Close { previous: None, ..close() })), "chunks");
    assert_eq!(field(&Body::Close(Close { chunks: 0, ..close() })), "chunks");
    assert_eq!(field(&Body::Close(Close { outcome: 17, ..close() })), "outcome");
}

#[test]
fn a_close_names_how_far_its_author_had_come_with_the_other_direction() {
    assert_eq!(field(&Body::Close(Close { peer: None, ..nothing() })), "peer_leaf_hash");
    let mut outer = wire::Entry::decode(encoded(&Body::Close(close())).bytes().clone()).unwrap();
    let mut body = wire::CloseBody::decode(outer.body.clone()).unwrap();
    body.peer_leaf_hash.clear();
    outer.body = body.encode_to_vec().into();
    assert!(matches!(refused(&outer.encode_to_vec()), EntryError::Field { field: "peer_chunks", .. }));
}

#[test]
fn a_node_that_breaks_off_says_why_and_an_application_does_not() {
    let of = |direction, outcome, fault: Option<&str>| {
        Body::Close(Close { direction, outcome, fault: fault.map(str::to_owned), ..close() })
    };
    let (request, answer) = (StreamDirection::Request, StreamDirection::Answer);
    let idle = Some("stream.idle");
    assert_eq!(field(&of(request, 0, idle)), "fault_code");
    assert_eq!(field(&of(answer, 0, idle)), "fault_code");
    assert_eq!(field(&of(request, 1, None)), "fault_code", "an application of a request has no status");
    for body in [of(answer, 5, None), of(answer, 5, idle), of(request, 14, idle), of(request, 0, None)] {
        assert!(Entry::encode(&origin(), &common(), &body).is_ok(), "{body:?}");
    }
    // Of a version to come.
    assert_eq!(*encoded(&of(answer, 5, Some("stream.whim"))).body(), of(answer, 5, Some("stream.whim")));
    assert_eq!(field(&of(answer, 5, Some(""))), "fault_code");
    assert_eq!(field(&of(answer, 5, Some(&"a".repeat(MAX_CODE_BYTES + 1)))), "fault_code");
}

#[test]
fn the_outcome_of_a_stream_stands_in_its_close() {
    let Body::Response(response) = opened() else { panic!("a RESPONSE") };
    assert_eq!(field(&Body::Response(Response { outcome: 5, ..response })), "outcome");
    let changed = |change: &dyn Fn(&mut wire::ResponseBody)| {
        let mut outer = wire::Entry::decode(encoded(&opened()).bytes().clone()).unwrap();
        let mut body = wire::ResponseBody::decode(outer.body.clone()).unwrap();
        change(&mut body);
        outer.body = body.encode_to_vec().into();
        refused(&outer.encode_to_vec())
    };
    let written_out = changed(&|body| body.form = wire::RequestForm::Whole.into());
    assert!(matches!(written_out, EntryError::Field { field: "form", .. }), "a whole answer has one writing");
    assert!(matches!(changed(&|body| body.body_bytes = 1), EntryError::Field { field: "body_bytes", .. }));
}

#[test]
fn a_direction_is_one_of_two() {
    for direction in [0, 3] {
        let mut outer = wire::Entry::decode(encoded(&Body::Batch(batch())).bytes().clone()).unwrap();
        let mut body = wire::BatchBody::decode(outer.body.clone()).unwrap();
        body.direction = direction;
        outer.body = body.encode_to_vec().into();
        assert!(matches!(refused(&outer.encode_to_vec()), EntryError::Field { field: "direction", .. }));
    }
}

proptest! {
    #[test]
    fn an_entry_of_a_stream_has_one_writing(which in 0usize..6, at in any::<prop::sample::Index>(), change in 1u8..) {
        has_one_writing(&encoded(&of_streams()[which]), at, change)?;
    }

    #[test]
    fn batches_of_every_size_round_trip(first_chunk in 1u64..=u64::MAX - 64, body_bytes in 1u64..=64 * 65_536) {
        let chunks = u32::try_from(chunk_count(body_bytes) - 1).unwrap();
        let entry = encoded(&Body::Batch(Batch { first_chunk, chunks, body_bytes, ..batch() }));
        prop_assert_eq!(&Entry::decode(entry.bytes().clone()).unwrap(), &entry);
    }
}
