//! Of `ledger`: checkpoints, proofs, payloads, and what stands on a disk.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use peabiru_ledger::checkpoint::{SignedCheckpoint, VerifyingKey};
use peabiru_ledger::disk::Disk;
use peabiru_ledger::disk::sim::SimDisk;
use peabiru_ledger::payload::{Direction, PayloadError, SealedPayload};
use peabiru_ledger::position::{LogPosition, TreeSize};
use peabiru_ledger::proof::{ConsistencyProof, InclusionProof};
use peabiru_ledger::record::{Header, Page, Record, RecordKind, StorageKeyId};
use peabiru_ledger::slot::{self, SLOT_BYTES, SlotState};
use peabiru_ledger::tlog_proof as tlog;
use peabiru_ledger::tree::Tree;
use peabiru_ledger::verify::verify_folder;
use peabiru_node::link::forks::Fork;
use peabiru_proto::entry::ExchangeId;
use peabiru_proto::hash::{Digest, LeafHash};
use peabiru_proto::limits::{CHUNK_BYTES, MAX_NOTE_BYTES};
use peabiru_proto::merkle;
use peabiru_proto::random::SeededRandom;

/// A note is kept verbatim and is bounded; a key that did not sign it does not verify it.
pub fn checkpoint(bytes: &[u8]) {
    let Ok(signed) = SignedCheckpoint::parse(bytes) else { return };
    assert_eq!(signed.note().as_bytes(), bytes, "the note is kept");
    assert_eq!(signed.note_hash(), Digest::of(bytes));
    assert!(bytes.len() <= MAX_NOTE_BYTES);
    let [origin, size] = [signed.origin().to_string(), signed.size().entries().to_string()];
    assert!(signed.note().starts_with(&format!("{origin}\n{size}\n")), "one checkpoint has one text");
    assert!(signed.verify(&VerifyingKey::from_bytes(*signed.note_hash().as_bytes())).is_err());
    let fork = Fork { held: signed.clone(), new: signed };
    assert_eq!(Fork::parse(&fork.text()), Some(fork));
}

/// One seal has one text.
pub fn tlog_proof(bytes: &[u8]) {
    if let Ok(seal) = tlog::parse(bytes) {
        assert_eq!(tlog::format(&seal).as_bytes(), bytes);
    }
}

/// Of every tree there is exactly one proof for each claim: the one that the tree itself gives.
///
/// The input: two bytes choose the claim, the rest is the proof, as it travels.
pub fn proof(bytes: &[u8]) {
    let Some((&[first, second], hashes)) = bytes.split_first_chunk() else { return };
    let (tree, size) = (tree(), TreeSize::new(second.into()));
    let root = tree.root_at(size, &()).expect("the tree is larger");
    if let Ok(proof) = InclusionProof::from_bytes(hashes) {
        assert_eq!(proof.to_bytes(), hashes);
        let position = LogPosition::new(first.into());
        let holds = proof.verify(&leaf(first), position, size, &root).is_ok();
        assert_eq!(holds, tree.inclusion(position, size, &()) == Some(proof.clone()));
        huge(hashes, |index, size| proof.verify(&leaf(0), LogPosition::new(index), size, &root).is_ok());
    }
    if let Ok(proof) = ConsistencyProof::from_bytes(hashes) {
        let old = TreeSize::new(first.into());
        let old_root = tree.root_at(old, &()).expect("the tree is larger");
        let holds = proof.verify(old, &old_root, size, &root).is_ok();
        assert_eq!(holds, tree.consistency(old, size, &()) == Some(proof.clone()));
        huge(hashes, |old, new| {
            old > 0 && proof.verify(TreeSize::new(old), &old_root, new, &Digest::of(hashes)).is_ok()
        });
    }
}

/// Sizes of which no tree exists: nothing overflows, nothing is proven.
fn huge(hashes: &[u8], proves: impl Fn(u64, TreeSize) -> bool) {
    let Some((first, rest)) = hashes.split_first_chunk::<8>() else { return };
    let Some(second) = rest.first_chunk::<8>() else { return };
    let (first, second) = (u64::from_be_bytes(*first), u64::from_be_bytes(*second));
    for size in [second, second | 1 << 63, u64::MAX] {
        assert!(size < 1 << 40 || !proves(first, TreeSize::new(size)), "a tree of {size} entries");
    }
}

fn tree() -> &'static Tree {
    static TREE: OnceLock<Tree> = OnceLock::new();
    TREE.get_or_init(|| {
        let mut tree = Tree::default();
        for number in 0..=u8::MAX {
            tree.push(leaf(number), &mut |_, _, _| {});
        }
        tree
    })
}

/// Leaf of the test tree.
fn leaf(number: u8) -> LeafHash {
    merkle::entry_hash(&[number])
}

/// What was sealed opens; nothing else does, whatever byte, size, direction or exchange differs.
///
/// The input: what to change (1 byte), where (2 bytes), the flip (1 byte), the context's length (2 bytes), context, body.
pub fn payload(bytes: &[u8]) {
    let Some((&[what, at_high, at_low, flip, high, low], content)) = bytes.split_first_chunk() else {
        return;
    };
    let at = usize::from(u16::from_be_bytes([at_high, at_low]));
    let (context, body) = content.split_at(usize::from(u16::from_be_bytes([high, low])).min(content.len()));
    let exchange = ExchangeId::from_slice(&[what; 16]).expect("16 bytes");
    let sealed = SealedPayload::seal(&SeededRandom::new(1), &exchange, Direction::Request, context, body);
    let Ok((sealed, root)) = sealed else {
        return assert!(context.len() > CHUNK_BYTES || body.len() > CHUNK_BYTES);
    };
    let size = body.len() as u64;
    let opened = sealed.open(&exchange, Direction::Request, &root, size).expect("what was sealed opens");
    assert_eq!((&opened.context[..], &opened.body.whole().unwrap()[..]), (context, body));
    let mut chunks: Vec<_> = sealed.chunks().to_vec();
    let mut said = (exchange, Direction::Request, root, size);
    match what % 8 {
        0 => said.0 = ExchangeId::from_slice(&[!what; 16]).expect("16 bytes"),
        1 => said.1 = Direction::Answer,
        2 => said.2 = peabiru_proto::hash::ContentRoot::from_bytes(*Digest::of(content).as_bytes()),
        3 => said.3 = size ^ (u64::from(flip) << (at % 57)).max(1),
        4 => chunks.extend(chunks.first().cloned()),
        5 => drop(chunks.pop()),
        6 => chunks.iter_mut().for_each(|chunk| chunk.truncate(at.min(chunk.len() - 1))),
        _ => {
            let number = at % chunks.len();
            let mut altered = chunks[number].to_vec();
            let byte = at % altered.len();
            altered[byte] ^= flip.max(1);
            chunks[number] = altered.into();
        }
    }
    let altered = SealedPayload::from_parts(sealed.secrets().clone(), chunks);
    let refused: Result<_, PayloadError> = altered.open(&said.0, said.1, &said.2, said.3);
    assert!(refused.is_err(), "an altered payload opens");
}

/// A damaged disk is judged: pages as they stand, and records whose checksum holds but whose body is anything.
///
/// The input: how many slots, then the record's body; and the same bytes as they are, as the first segment.
pub fn record(bytes: &[u8]) {
    let _ = Record::length_of(bytes);
    if let Page::Record(record) = Record::read(bytes) {
        assert_eq!(read_back(&record.header, &record.body, &record.slots), record);
    }
    let _ = judge(bytes);
    let Some((&slots, body)) = bytes.split_first() else { return };
    let slots = vec![[0; SLOT_BYTES]; usize::from(slots % 4)];
    assert!(slots.iter().all(|erased| slot::state(erased) == SlotState::Erased));
    let header = Header {
        kind: RecordKind::Commit,
        stream: STREAM,
        sequence: 0,
        batch: 0,
        slot_seed: [7; 16],
        storage_key: StorageKeyId::default(),
    };
    let record = read_back(&header, body, &slots);
    assert_eq!((&record.header, &record.body[..], &record.slots), (&header, body, &slots));
    let mut segment = Vec::new();
    Record::write(&header, body, &slots, &mut segment);
    if let Some(entries) = judge(&segment) {
        assert_ne!(entries, 0, "a commit without entries");
        segment[HEADER_OF_ORIGIN] ^= 1;
        assert_eq!(judge(&segment), None, "a changed byte goes unnoticed");
    }
}

fn read_back(header: &Header, body: &[u8], slots: &[[u8; SLOT_BYTES]]) -> Record {
    let mut written = Vec::new();
    Record::write(header, body, slots, &mut written);
    match Record::read(&written) {
        Page::Record(record) => record,
        other => unreachable!("what was written is {other:?}"),
    }
}

/// How many entries the folder has whose only segment this is; none if something is wrong with it.
fn judge(segment: &[u8]) -> Option<u64> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let folder = Path::new("ledger");
    let put = |name: &str, bytes: &[u8]| {
        disk.open(&folder.join(name)).and_then(|file| file.write_all_at(bytes, 0)).expect("memory takes all");
    };
    put("stream", format!("{}\n", "07".repeat(STREAM.len())).as_bytes());
    put("segments/0000000000000000.seg", segment);
    let report = verify_folder(&disk, folder).ok()?;
    Some(report.ledgers.iter().map(|ledger| ledger.entries).sum())
}

const STREAM: [u8; 16] = [7; 16];
/// A byte of the first text of a record's body.
const HEADER_OF_ORIGIN: usize = peabiru_ledger::record::HEADER_BYTES + 4;
