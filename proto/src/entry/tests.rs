use data_encoding::HEXLOWER;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::wire;

pub(super) fn digest(byte: u8) -> [u8; 32] {
    [byte; 32]
}

pub(super) fn common() -> Common {
    Common {
        exchange: ExchangeId([0xe1; 16]),
        created_at: Timestamp::from_ms(1_700_000_000_000),
        node: Some("PY/GOV/MEC/n1".parse().unwrap()),
        globalconf: Some(GlobalconfRef { version: 3, digest: SnapshotDigest::from_bytes(digest(1)) }),
    }
}

fn request() -> Request {
    Request {
        expires_at: Timestamp::from_ms(1_700_000_060_000),
        consumer: "PY/GOV/MITIC/plan".parse().unwrap(),
        service: "PY/GOV/MEC/edu/py.S".parse().unwrap(),
        method: "List".to_owned(),
        addressee: "PY/GOV/MEC/n1".parse().unwrap(),
        contract_version: 2,
        contract_digest: ContractDigest::from_bytes(digest(2)),
        side_effects: SideEffects::None,
        purpose: "planning".parse().unwrap(),
        consent_commitment: Some(Digest::from_bytes(digest(3))),
        content: Content::Whole { root: ContentRoot::from_bytes(digest(4)), body_bytes: 1029 },
        retry_of: Some(LeafHash::from_bytes(digest(5))),
    }
}

fn received() -> Received {
    Received {
        peer_origin: "py.example/registry/1".parse().unwrap(),
        peer_index: 300,
        peer_leaf: LeafHash::from_bytes(digest(6)),
        peer_checkpoint: Digest::from_bytes(digest(7)),
        expires_at: Some(Timestamp::from_ms(1_700_000_060_000)),
        received_at: Timestamp::from_ms(1_700_000_000_100),
        verdict: Verdict::Accepted,
        grant: Some(GrantRef { id: "g1".to_owned(), revision: 1, digest: Digest::from_bytes(digest(8)) }),
    }
}

pub(super) fn bodies() -> Vec<Body> {
    let (request_leaf, received_leaf) = (LeafHash::from_bytes(digest(9)), LeafHash::from_bytes(digest(10)));
    let addressee: NodeId = "PY/GOV/MITIC/n1".parse().unwrap();
    let content_root = ContentRoot::from_bytes(digest(11));
    vec![
        Body::Request(request()),
        Body::Received(received()),
        Body::Response(Response {
            request_leaf,
            received_leaf,
            addressee: addressee.clone(),
            outcome: 5,
            content: Content::Whole { root: content_root, body_bytes: 0 },
        }),
        Body::Fault(FaultHead {
            request_leaf,
            received_leaf,
            addressee,
            code: "access.no_grant".to_owned(),
            content_root,
            body_bytes: 77,
        }),
        Body::Notice(Notice {
            code: "grant.set".to_owned(),
            subject: "g1".to_owned(),
            content_root,
            body_bytes: 9,
        }),
        Body::KeyChange(KeyChange { previous_key: digest(13), next_key: digest(12) }),
    ]
}

pub(super) fn origin() -> Origin {
    "py.example/registry/1".parse().unwrap()
}

pub(super) fn encoded(body: &Body) -> Entry {
    Entry::encode(&origin(), &common(), body).unwrap()
}

/// FROZEN. One entry of each kind, as bytes on disk and on the wire for ever.
const GOLDEN: [&str; 6] = [
    "080110011a1570792e6578616d706c652f72656769737472792f3122b3020a10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e11080d095ffbc311a0d50592f474f562f4d45432f6e3120032a200101010101010101010101010101010101010101010101010101010101010101500158e0a499ffbc31621150592f474f562f4d495449432f706c616e6a1350592f474f562f4d45432f6564752f70792e5372044c6973747a0d50592f474f562f4d45432f6e318001028a012002020202020202020202020202020202020202020202020202020202020202029001019a0108706c616e6e696e67a201200303030303030303030303030303030303030303030303030303030303030303aa01200404040404040404040404040404040404040404040404040404040404040404b0018508ba01200505050505050505050505050505050505050505050505050505050505050505",
    "080110021a1570792e6578616d706c652f72656769737472792f3122e6010a10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e11080d095ffbc311a0d50592f474f562f4d45432f6e3120032a200101010101010101010101010101010101010101010101010101010101010101521570792e6578616d706c652f72656769737472792f3158ac02622006060606060606060606060606060606060606060606060606060606060606066a20070707070707070707070707070707070707070707070707070707070707070770e0a499ffbc3178e4d095ffbc318001018a010267319001019a01200808080808080808080808080808080808080808080808080808080808080808",
    "080110031a1570792e6578616d706c652f72656769737472792f3122c5010a10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e11080d095ffbc311a0d50592f474f562f4d45432f6e3120032a200101010101010101010101010101010101010101010101010101010101010101522009090909090909090909090909090909090909090909090909090909090909095a200a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a620f50592f474f562f4d495449432f6e31680572200b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
    "080110041a1570792e6578616d706c652f72656769737472792f3122d6010a10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e11080d095ffbc311a0d50592f474f562f4d45432f6e3120032a200101010101010101010101010101010101010101010101010101010101010101522009090909090909090909090909090909090909090909090909090909090909095a200a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a620f50592f474f562f4d495449432f6e316a0f6163636573732e6e6f5f6772616e7472200b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b784d",
    "0801100a1a1570792e6578616d706c652f72656769737472792f31227f0a10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e11080d095ffbc311a0d50592f474f562f4d45432f6e3120032a20010101010101010101010101010101010101010101010101010101010101010152096772616e742e7365745a02673162200b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b6809",
    "080110081a1570792e6578616d706c652f72656769737472792f312290010a10e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e11080d095ffbc311a0d50592f474f562f4d45432f6e3120032a20010101010101010101010101010101010101010101010101010101010101010152200d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d5a200c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c",
];

#[test]
fn golden_bytes_of_every_kind() {
    for (body, golden) in bodies().iter().zip(GOLDEN) {
        assert_eq!(HEXLOWER.encode(encoded(body).bytes()), golden, "{:?}", body.kind());
    }
}

#[test]
fn what_is_written_is_read_back() {
    for body in bodies() {
        let entry = encoded(&body);
        let read = Entry::decode(entry.bytes().clone()).unwrap();
        assert_eq!(read, entry);
        assert_eq!((read.common(), read.body()), (&common(), &body));
    }
}

/// The schema and this module say the same: a protobuf library reads our bytes and writes them again unchanged.
#[test]
fn the_schema_writes_the_same_bytes() {
    for body in bodies() {
        let entry = encoded(&body);
        let outer = wire::Entry::decode(entry.bytes().clone()).unwrap();
        let inner = match outer.kind() {
            EntryKind::Request => wire::RequestBody::decode(outer.body.clone()).unwrap().encode_to_vec(),
            EntryKind::Received => wire::ReceivedBody::decode(outer.body.clone()).unwrap().encode_to_vec(),
            EntryKind::Response => wire::ResponseBody::decode(outer.body.clone()).unwrap().encode_to_vec(),
            EntryKind::Fault => wire::FaultBody::decode(outer.body.clone()).unwrap().encode_to_vec(),
            EntryKind::KeyChange => wire::KeyChangeBody::decode(outer.body.clone()).unwrap().encode_to_vec(),
            EntryKind::Notice => wire::NoticeBody::decode(outer.body.clone()).unwrap().encode_to_vec(),
            other => panic!("no body of {other:?}"),
        };
        assert_eq!(inner, outer.body, "{:?}", body.kind());
        assert_eq!(&outer.encode_to_vec(), entry.bytes());
    }
}

/// An entry whose outer message is the given bytes.
pub(super) fn refused(bytes: &[u8]) -> EntryError {
    Entry::decode(Bytes::copy_from_slice(bytes)).unwrap_err()
}

fn with_body(edit: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let entry = encoded(&bodies()[4]);
    let mut outer = wire::Entry::decode(entry.bytes().clone()).unwrap();
    let mut body = outer.body.to_vec();
    edit(&mut body);
    outer.body = body.into();
    outer.encode_to_vec().into()
}

#[test]
fn unknown_fields_below_1000_are_refused_and_from_1000_on_kept() {
    // Field 14 (after the last known one), then field 999, then field 1000: key = number << 3.
    for (key, number) in [(vec![14 << 3], 14), (vec![0xb8, 0x3e], 999)] {
        let bytes = with_body(|body| body.extend([key, vec![1]].concat()));
        assert_eq!(Entry::decode(bytes).unwrap_err(), EntryError::UnknownField { number });
    }
    let bytes = with_body(|body| body.extend([0xc0, 0x3e, 1]));
    let entry = Entry::decode(bytes.clone()).unwrap();
    assert_eq!(entry.bytes(), &bytes, "kept verbatim");
    assert_ne!(entry.leaf_hash(), encoded(&bodies()[4]).leaf_hash(), "and hashed");
}

/// One changed bit turns the key of field 23 into that of field 1007: the bytes are another entry, without `retry_of`.
#[test]
fn a_field_that_became_one_to_skip_is_kept_and_no_longer_said() {
    let entry = encoded(&bodies()[0]);
    let mut bytes = entry.bytes().to_vec();
    let key = bytes.windows(3).rposition(|bytes| bytes == [0xba, 0x01, 0x20]).unwrap();
    bytes[key + 1] = 0x3f;
    let other = Entry::decode(bytes.into()).unwrap();
    assert_eq!(other.body(), &Body::Request(Request { retry_of: None, ..request() }));
    assert_ne!(other.leaf_hash(), entry.leaf_hash());
}

#[test]
fn other_writings_of_the_same_values_are_refused() {
    let good = encoded(&bodies()[4]).bytes().to_vec();
    assert_eq!(&good[..2], [0x08, 1], "format comes first");
    let wire_error = |bytes: &[u8]| assert!(matches!(refused(bytes), EntryError::Wire { .. }), "{bytes:?}");
    wire_error(&[&[0x08, 0x81, 0x00], &good[2..]].concat()); // format in two bytes
    wire_error(&[&good[..2], &good[..]].concat()); // format twice
    wire_error(&[&good[2..4], &good[..2], &good[4..]].concat()); // kind before format
    wire_error(&[&good[..], &[0x0b, 0x0c]].concat()); // a group
    wire_error(&[&[0x0d, 1, 0, 0, 0], &good[2..]].concat()); // format as fixed32
    wire_error(&good[..good.len() - 1]); // cut
    wire_error(&[&good[..], &[0x28, 0x00]].concat()); // a default written out
    assert_eq!(refused(&[&good[2..]].concat()), EntryError::Format(0));
    assert_eq!(refused(&[&[0x08, 2], &good[2..]].concat()), EntryError::Format(2));
    assert_eq!(refused(&[&good[..2], &[0x10, 11], &good[4..]].concat()), EntryError::Kind(11));
    for kind in [7, 9] {
        assert!(matches!(
            refused(&[&good[..2], &[0x10, kind], &good[4..]].concat()),
            EntryError::KindNotYet(_)
        ));
    }
    assert!(matches!(refused(&vec![0; MAX_ENTRY_BYTES + 1]), EntryError::TooLong { .. }));
}

#[test]
fn a_key_change_names_one_whole_key() {
    let good = encoded(&bodies()[5]);
    let outer = wire::Entry::decode(good.bytes().clone()).unwrap();
    let key = outer.body.len() - 32;
    for key_bytes in [0, 31] {
        let mut body = outer.body[..key].to_vec();
        body.truncate(if key_bytes == 0 { key - 2 } else { key });
        if key_bytes > 0 {
            body[key - 1] = key_bytes;
            body.extend(vec![12; key_bytes.into()]);
        }
        let bytes = wire::Entry { body: body.into(), ..outer.clone() }.encode_to_vec();
        assert!(matches!(refused(&bytes), EntryError::Field { field: "next_key", .. }), "{key_bytes}");
    }
}

#[test]
fn a_key_does_not_change_to_itself() {
    let same = Body::KeyChange(KeyChange { previous_key: digest(12), next_key: digest(12) });
    let refused = Entry::encode(&origin(), &common(), &same).unwrap_err();
    assert!(matches!(refused, EntryError::Field { field: "next_key", .. }), "{refused}");
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let field = |common: &Common, body: &Body| match Entry::encode(&origin(), common, body) {
        Err(EntryError::Field { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let no_node = Common { node: None, ..common() };
    assert_eq!(field(&no_node, &Body::Request(request())), "node");
    assert!(Entry::encode(&origin(), &no_node, &bodies()[4]).is_ok(), "the registry's NOTICE");
    let late = Request {
        expires_at: common().created_at.plus(MAX_EXPIRY + std::time::Duration::from_millis(1)),
        ..request()
    };
    assert_eq!(field(&common(), &Body::Request(late)), "expires_at_ms");
    let early = Request { expires_at: common().created_at, ..request() };
    assert_eq!(field(&common(), &Body::Request(early)), "expires_at_ms");
    assert_eq!(
        field(&common(), &Body::Request(Request { contract_version: 0, ..request() })),
        "contract_version"
    );
    let decomposed = Request { method: "o\u{301}".to_owned(), ..request() };
    assert_eq!(field(&common(), &Body::Request(decomposed)), "method");
    let Body::Response(response) = bodies().remove(2) else { panic!() };
    assert_eq!(field(&common(), &Body::Response(Response { outcome: 17, ..response })), "outcome");
}

#[test]
fn a_stream_has_the_root_of_its_context_and_no_size() {
    let content = Content::Stream { context_root: ContentRoot::from_bytes(digest(4)) };
    let stream = Body::Request(Request { content, ..request() });
    assert_eq!(Entry::decode(encoded(&stream).bytes().clone()).unwrap().body(), &stream);
    let changed = |change: &dyn Fn(&mut wire::RequestBody)| {
        let mut outer = wire::Entry::decode(encoded(&stream).bytes().clone()).unwrap();
        let mut body = wire::RequestBody::decode(outer.body.clone()).unwrap();
        change(&mut body);
        outer.body = body.encode_to_vec().into();
        refused(&outer.encode_to_vec())
    };
    let no_root = changed(&|body| body.content_root.clear());
    assert!(matches!(no_root, EntryError::Field { field: "content_root", .. }), "{no_root:?}");
    let a_size = changed(&|body| body.body_bytes = 1);
    assert!(matches!(a_size, EntryError::Field { field: "body_bytes", .. }), "{a_size:?}");
    let no_form = changed(&|body| body.form = 3);
    assert!(matches!(no_form, EntryError::Field { field: "form", .. }), "{no_form:?}");
}

/// A changed byte is refused, or makes another entry with another leaf hash: never the same entry in two writings.
/// Only a field from 1000 on, which is kept and skipped, makes it longer than what this version writes.
pub(super) fn has_one_writing(
    entry: &Entry,
    at: prop::sample::Index,
    change: u8,
) -> Result<(), TestCaseError> {
    let mut bytes = entry.bytes().to_vec();
    let at = at.index(bytes.len());
    bytes[at] ^= change;
    if let Ok(other) = Entry::decode(bytes.into()) {
        prop_assert_ne!(
            (other.origin(), other.common(), other.body()),
            (entry.origin(), entry.common(), entry.body())
        );
        let again = Entry::encode(other.origin(), other.common(), other.body()).unwrap();
        prop_assert_ne!(other.leaf_hash(), entry.leaf_hash());
        let skipped = other.bytes().len() - again.bytes().len();
        prop_assert_eq!(again.bytes() == other.bytes(), skipped == 0);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Entry::decode(bytes.into());
    }

    #[test]
    fn an_entry_has_one_writing(kind in 0usize..5, at in any::<prop::sample::Index>(), change in 1u8..) {
        has_one_writing(&encoded(&bodies()[kind]), at, change)?;
    }

    #[test]
    fn numbers_of_every_size_round_trip(index in any::<u64>(), at in any::<u64>(), body_bytes in any::<u64>()) {
        let received = Received { peer_index: index, received_at: Timestamp::from_ms(at), ..received() };
        let entry = encoded(&Body::Received(received));
        prop_assert_eq!(&Entry::decode(entry.bytes().clone()).unwrap(), &entry);
        let content = Content::Whole { root: ContentRoot::from_bytes(digest(4)), body_bytes };
        let entry = encoded(&Body::Request(Request { content, ..request() }));
        prop_assert_eq!(&Entry::decode(entry.bytes().clone()).unwrap(), &entry);
    }
}
