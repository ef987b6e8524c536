use std::path::{Path, PathBuf};
use std::sync::Arc;

use peabiru_certs::StorageKey;
use peabiru_proto::content;
use peabiru_proto::entry::{Body, Common, Entry, ExchangeId, Notice};
use peabiru_proto::hash::Digest;
use peabiru_proto::limits::{CHUNK_BYTES, MAX_BODY_BYTES, TAG_BYTES};
use peabiru_proto::random::SeededRandom;
use peabiru_proto::time::Timestamp;
use proptest::prelude::*;

use super::body::{LargeSealed, LargeSealer, cipher_bytes};
use super::spool::SYNC_BYTES;
use super::{FileRef, LargeFiles, LargeName, NAME_BYTES, SpoolFile, SpoolShare};
use crate::checkpoint::tests::key;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::item::{Item, read_body, write_body};
use crate::ledger::{
    Append, FillAhead, Ledger, LedgerIdentity, NOTICE_ERASED, RecoveredEntry, Recovery, Store, StoreConfig,
};
use crate::payload::{Direction, OpenBody, Payload, PayloadError, SealedPayload};
use crate::position::LogPosition;
use crate::verify::verify_folder;
use crate::{LedgerError, PayloadState};

const FOLDER: &str = "/ledger";

fn exchange() -> ExchangeId {
    ExchangeId::from_slice(&[3; 16]).unwrap()
}

fn files(disk: &SimDisk, spool_bytes_max: u64) -> LargeFiles {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let random = Arc::new(SeededRandom::new(1));
    LargeFiles::open(disk, random, Path::new(FOLDER), spool_bytes_max, 0).unwrap()
}

fn seal(files: &LargeFiles, context: &[u8], pieces: &[&[u8]]) -> (LargeSealed, Vec<u8>) {
    let random = SeededRandom::new(2);
    let mut sealer = LargeSealer::new(&random, &exchange(), Direction::Answer, spool(files));
    let mut sent = Vec::new();
    for piece in pieces {
        sealer.push(piece, &mut |chunk| sent.extend_from_slice(&chunk)).unwrap();
    }
    (sealer.finish(context, &mut |chunk| sent.extend_from_slice(&chunk)).unwrap(), sent)
}

fn spool(files: &LargeFiles) -> SpoolFile {
    files.spool(&SpoolShare::default(), None).unwrap()
}

fn read(body: &OpenBody) -> Vec<u8> {
    let OpenBody::Large(body) = body else { panic!("it is in a file") };
    let mut reader = body.reader().unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}

fn folder(disk: &SimDisk, name: &str) -> Vec<String> {
    disk.list(&Path::new(FOLDER).join(name)).unwrap()
}

fn kept(disk: &SimDisk) -> Vec<String> {
    (0..=u8::MAX).flat_map(|first| folder(disk, &format!("large/{first:02x}"))).collect()
}

fn place(name: &str) -> PathBuf {
    Path::new(FOLDER).join("large").join(&name[..2]).join(name)
}

#[test]
fn a_body_reads_back_whatever_its_length() {
    let files = files(&SimDisk::new(1), u64::MAX);
    for length in [CHUNK_BYTES + 1, 2 * CHUNK_BYTES - 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1, 300_000] {
        let body: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
        let (sealed, sent) = seal(&files, b"context", &[&body]);
        let LargeSealed { payload, root, body_bytes } = sealed;
        assert_eq!((body_bytes, sent.len() as u64), (length as u64, cipher_bytes(length as u64)));
        let open = payload.open(&exchange(), Direction::Answer, &root, body_bytes).unwrap();
        assert_eq!((open.context.as_ref(), read(&open.body)), (&b"context"[..], body));
        let other = payload.open(&exchange(), Direction::Request, &root, body_bytes);
        assert!(matches!(other, Err(PayloadError::Chunk { index: 0 })), "{length}");
    }
}

proptest! {
    /// However it comes in: the same root and the same ciphertext as the rule for small ones gives.
    #[test]
    fn pieces_do_not_matter(
        cuts in proptest::collection::vec(0..200_000usize, 0..5),
        length in MAX_BODY_BYTES + 1..200_000usize,
    ) {
        let body: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < length).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut rest = body.as_slice();
        for cut in cuts {
            let (piece, later) = rest.split_at(cut - (length - rest.len()));
            pieces.push(piece);
            rest = later;
        }
        pieces.push(rest);
        let files = files(&SimDisk::new(1), u64::MAX);
        let (sealed, sent) = seal(&files, b"ctx", &pieces);
        let salt = sealed.payload.secrets().salt();
        prop_assert_eq!(sealed.root, content::content_root(salt, content::chunks(b"ctx", &body)));
        prop_assert_eq!(sent.len() as u64, cipher_bytes(length as u64));
        let open = sealed.payload.open(&exchange(), Direction::Answer, &sealed.root, length as u64).unwrap();
        prop_assert_eq!(read(&open.body), body);
    }
}

/// The chunks of a large body are sealed as those of a small one, whose vectors are frozen.
#[test]
fn its_ciphertext_is_frozen() {
    let files = files(&SimDisk::new(1), u64::MAX);
    let (sealed, sent) = seal(&files, b"context", &[&[7; CHUNK_BYTES], b"body"]);
    let small = SealedPayload::from_parts(
        sealed.payload.secrets().clone(),
        vec![
            sealed.payload.chunks()[0].clone(),
            sent[..CHUNK_BYTES + TAG_BYTES].to_vec().into(),
            sent[CHUNK_BYTES + TAG_BYTES..].to_vec().into(),
        ],
    );
    let open = small.open(&exchange(), Direction::Answer, &sealed.root, sealed.body_bytes).unwrap();
    assert_eq!((&open.context[..], open.body.bytes()), (&b"context"[..], CHUNK_BYTES as u64 + 4));
}

#[test]
fn what_a_small_payload_takes_gets_no_file() {
    let disk = SimDisk::new(1);
    let files = files(&disk, u64::MAX);
    for length in [0, 1, MAX_BODY_BYTES] {
        let random = SeededRandom::new(2);
        let mut sealer = LargeSealer::new(&random, &exchange(), Direction::Answer, spool(&files));
        sealer.push(&vec![7; length], &mut drop).unwrap();
        let refused = sealer.finish(b"", &mut drop).unwrap_err();
        assert!(matches!(refused, LedgerError::Payload(PayloadError::Geometry { .. })), "{length}");
    }
    assert!(folder(&disk, "spool").is_empty());
}

#[test]
fn a_changed_or_shortened_file_does_not_open() {
    let disk = SimDisk::new(1);
    let (LargeSealed { payload, root, body_bytes }, _) = seal(&files(&disk, u64::MAX), b"", &[&[7; 150_000]]);
    let open = |bytes| payload.open(&exchange(), Direction::Answer, &root, bytes);
    assert_eq!(open(body_bytes - 1), Err(PayloadError::Geometry { body_bytes: body_bytes - 1 }));
    let path = Path::new(FOLDER).join("spool").join(&folder(&disk, "spool")[0]);
    disk.damage(&path, 70_000, 1);
    assert_eq!(open(body_bytes), Err(PayloadError::Chunk { index: 2 }));
}

#[test]
fn the_spool_has_a_bound_and_gives_back_what_is_dropped() {
    let disk = SimDisk::new(1);
    let files = files(&disk, 1000);
    let mut first = spool(&files);
    first.write(&[0; 750]).unwrap();
    let mut others: Vec<_> = (0..2).map(|_| spool(&files)).collect();
    others[0].write(&[0; 249]).unwrap();
    assert!(matches!(others[1].write(&[0; 2]), Err(LedgerError::SpoolFull { spool_bytes_max: 1000 })));
    assert_eq!(folder(&disk, "spool").len(), 3);
    drop((first, others));
    spool(&files).write(&[0; 750]).unwrap();
    assert_eq!(folder(&disk, "spool").len(), 0);
}

#[test]
fn one_holder_leaves_a_quarter_of_the_spool_to_others() {
    let files = files(&SimDisk::new(1), 1000);
    let (greedy, other) = (SpoolShare::default(), SpoolShare::default());
    let mut held: Vec<_> = (0..5).map(|_| files.spool(&greedy, None).unwrap()).collect();
    held[..3].iter_mut().for_each(|file| file.write(&[0; 250]).unwrap());
    let full = |refused| matches!(refused, Err(LedgerError::SpoolShare { share_bytes_max: 250 }));
    assert!(full(held[3].write(&[0; 1])), "it has three quarters");
    assert!(full(files.spool(&greedy, Some(1)).map(drop)), "and no more if it says before how much");
    let mut second = files.spool(&other, Some(250)).unwrap();
    second.write(&[0; 250]).unwrap();
    assert!(matches!(files.spool(&other, Some(1)).map(drop), Err(LedgerError::SpoolFull { .. })));
    held.truncate(1);
    files.spool(&greedy, Some(250)).unwrap().write(&[0; 250]).unwrap();
}

#[test]
fn a_full_disk_is_noticed_at_the_beginning_on_the_way_and_at_the_end() {
    let disk = SimDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let files =
        LargeFiles::open(shared, Arc::new(SeededRandom::new(1)), Path::new(FOLDER), u64::MAX, 100).unwrap();
    let full =
        |refused: Option<LedgerError>| matches!(refused, Some(LedgerError::DiskFull { min_free_bytes: 100 }));
    disk.set_free_bytes(1100);
    assert!(full(files.spool(&SpoolShare::default(), Some(1001)).err()));
    let mut file = files.spool(&SpoolShare::default(), Some(1000)).unwrap();
    let mut other = spool(&files);
    other.write(&[0; 10]).unwrap();
    disk.set_free_bytes(99);
    assert!(full(other.close().unwrap().keep().err()));
    assert!(full(files.spool(&SpoolShare::default(), None).err()));
    let megabyte = vec![0; 1024 * 1024];
    assert!(full((0..=1 + SYNC_BYTES / megabyte.len() as u64).find_map(|_| file.write(&megabyte).err())));
}

fn open_store(disk: &SimDisk) -> Result<Store, LedgerError> {
    open_with(disk, &mut |_| {}).map(|(store, _)| store)
}

fn open_with(
    disk: &SimDisk,
    visit: &mut dyn FnMut(&RecoveredEntry<'_>),
) -> Result<(Store, Recovery), LedgerError> {
    let config = StoreConfig {
        index: None,
        segment_bytes: 64 * 1024,
        min_free_bytes: 0,
        fill_ahead: FillAhead::Inline,
        ..StoreConfig::new(PathBuf::from(FOLDER))
    };
    let identity =
        LedgerIdentity { origin: "py.example/registry/1".parse().unwrap(), key: key(1), next_key: None };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let random = Arc::new(SeededRandom::new(1));
    let storage = Some(StorageKey::from_bytes([7; 32]));
    Store::open(&disk, &config, vec![identity], storage, random, visit)
}

fn append(ledger: &Ledger, body: &[u8]) -> Append {
    let (sealed, _) = seal(ledger.large_files(), b"", &[body]);
    let notice = Notice {
        code: "test".to_owned(),
        subject: String::new(),
        content_root: sealed.root,
        body_bytes: sealed.body_bytes,
    };
    let common =
        Common { exchange: exchange(), created_at: Timestamp::from_ms(1), node: None, globalconf: None };
    let entry = Entry::encode(ledger.origin(), &common, &Body::Notice(notice)).unwrap();
    Append { entry, payload: Some(Arc::new(Payload::Sealed(sealed.payload))), foreign: None }
}

#[tokio::test]
async fn what_no_record_names_goes_at_the_start_and_what_one_names_moves() {
    let disk = SimDisk::new(1);
    let store = open_store(&disk).unwrap();
    let ledger = store.ledgers().remove(0);
    ledger.append(vec![append(&ledger, &[1; 70_000])]).await.unwrap();
    let [named] = <[String; 1]>::try_from(kept(&disk)).unwrap();
    let refused = append(&ledger, &[3; 70_000]);
    assert_eq!(folder(&disk, "spool").len(), 1);
    drop(refused);
    assert!(folder(&disk, "spool").is_empty(), "it was never appended");
    let unfinished = spool(ledger.large_files());
    std::mem::forget(unfinished);
    // As a crash before it was moved leaves it.
    disk.rename(&place(&named), &Path::new(FOLDER).join("spool").join(&named)).unwrap();
    drop(disk.open(&Path::new(FOLDER).join("spool/of-an-operator")).unwrap());
    let read = ledger.inner.large.named(file_of(&named, &disk)).reader().unwrap().next_chunk().unwrap();
    assert!(read.is_some(), "it is found where it is");
    store.close().await;
    drop((ledger, store));
    drop(open_store(&disk).unwrap());
    assert_eq!((kept(&disk), folder(&disk, "spool")), (vec![named], vec!["of-an-operator".to_owned()]));
}

fn file_of(name: &str, disk: &SimDisk) -> FileRef {
    let content = disk.content(&Path::new(FOLDER).join("spool").join(name));
    let name = LargeName::parse(name).unwrap();
    FileRef { name, bytes: content.len() as u64, digest: Digest::of(&content) }
}

#[tokio::test]
async fn a_missing_or_damaged_file_is_named_and_stops_nobody() {
    let disk = SimDisk::new(1);
    let store = open_store(&disk).unwrap();
    let ledger = store.ledgers().remove(0);
    let sealed = ledger.append(vec![append(&ledger, &[1; 70_000])]).await.unwrap().remove(0);
    store.close().await;
    drop((ledger, store));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    verify_folder(&shared, Path::new(FOLDER)).unwrap();
    let name = kept(&disk).remove(0);
    disk.damage(&place(&name), 500, 4);
    let found = verify_folder(&shared, Path::new(FOLDER)).unwrap_err().to_string();
    assert!(found.contains(&name) && found.contains("damaged"), "{found}");
    disk.remove(&place(&name)).unwrap();
    let missing = verify_folder(&shared, Path::new(FOLDER)).unwrap_err();
    assert!(matches!(&missing, LedgerError::Corrupt { what, .. } if what.contains(&name)), "{missing:?}");
    let mut payload = None;
    let (_, recovery) = open_with(&disk, &mut |entry| payload = entry.payload()).unwrap();
    assert_eq!(recovery.payloads_lost, 1);
    let (Some(Payload::Sealed(payload)), Some((root, bytes))) = (payload, sealed.entry.body().content())
    else {
        panic!("its record is there")
    };
    let opened = payload.open(&exchange(), Direction::Answer, &root, bytes);
    assert_eq!(opened, Err(PayloadError::Unreadable));
    assert!(kept(&disk).is_empty(), "nobody makes a file by reading it");
}

/// FROZEN.
#[test]
fn the_item_of_a_large_payload_is_frozen() {
    let disk = SimDisk::new(1);
    let store = open_store(&disk).unwrap();
    let append = append(&store.ledgers()[0], &[7; CHUNK_BYTES + 4]);
    let Some(Payload::Sealed(payload)) = append.payload.as_deref() else { unreachable!() };
    let FileRef { name, digest, .. } = payload.file().unwrap().content();
    let mut expected = vec![3];
    expected.extend_from_slice(&name.0);
    expected.extend_from_slice(&65_572u64.to_be_bytes());
    expected.extend_from_slice(digest.as_bytes());
    expected.extend_from_slice(&16u32.to_be_bytes());
    expected.extend_from_slice(&payload.chunks()[0]);
    // No foreign entry.
    expected.push(0);
    let origin = append.entry.origin().clone();
    let item = Item::encode(append.clone());
    let mut body = Vec::new();
    write_body(&origin, LogPosition::new(0), None, &[&item], &mut body);
    assert!(body.ends_with(&expected));
    let file = disk.content(&Path::new(FOLDER).join("spool").join(name.text()));
    assert_eq!((file.len(), digest), (65_572, Digest::of(&file)));
    assert!(read_body(body.clone().into(), 1).is_ok());
    assert!((1..expected.len()).all(|cut| read_body(body[..body.len() - cut].to_vec().into(), 1).is_err()));
    // A last chunk of a tag alone, what a small payload takes, and no file at all.
    for bytes in [65_568u64, 65_552, 20, 0] {
        let mut other = body.clone();
        let at = other.len() - expected.len() + 1 + NAME_BYTES;
        other[at..at + 8].copy_from_slice(&bytes.to_be_bytes());
        assert!(read_body(other.into(), 1).is_err(), "{bytes}");
    }
}

#[tokio::test]
async fn erasing_takes_the_file_away_also_if_it_was_interrupted() {
    for cut in [false, true] {
        let real = tempfile::tempdir().unwrap();
        let config = StoreConfig { segment_bytes: 64 * 1024, ..StoreConfig::new(real.path().to_owned()) };
        let disk: Arc<dyn Disk> = Arc::new(crate::disk::RealDisk);
        let open = || {
            let identity = LedgerIdentity {
                origin: "py.example/registry/1".parse().unwrap(),
                key: key(1),
                next_key: None,
            };
            let random = Arc::new(SeededRandom::new(1));
            let storage = Some(StorageKey::from_bytes([7; 32]));
            Store::open(&disk, &config, vec![identity], storage, random, &mut |_| {}).unwrap()
        };
        let large = || {
            let folders = disk.list(&real.path().join("large")).unwrap();
            folders
                .iter()
                .map(|first| disk.list(&real.path().join("large").join(first)).unwrap().len())
                .sum::<usize>()
        };
        let (store, _) = open();
        let ledger = store.ledgers().remove(0);
        let sealed = ledger.append(vec![append(&ledger, &[1; 70_000])]).await.unwrap().remove(0);
        let mut notice = append(&ledger, &[2; 70_000]);
        let Body::Notice(body) = notice.entry.body() else { unreachable!() };
        let body = Notice {
            code: NOTICE_ERASED.to_owned(),
            subject: sealed.entry.leaf_hash().to_string(),
            ..body.clone()
        };
        notice.entry = Entry::encode(ledger.origin(), notice.entry.common(), &Body::Notice(body)).unwrap();
        if cut {
            // As if the power failed right after the NOTICE.
            ledger.append(vec![notice]).await.unwrap();
            assert_eq!(large(), 2);
        } else {
            ledger.erase(LogPosition::new(0), notice).await.unwrap();
            assert!(matches!(ledger.read(LogPosition::new(0)).unwrap().payload, PayloadState::Erased));
            assert_eq!(large(), 1, "the NOTICE's own");
        }
        store.close().await;
        drop((ledger, store));
        let (store, recovery) = open();
        assert_eq!((recovery.erasures_finished, large()), (u64::from(cut), 1));
        let read = store.ledgers().remove(0).read(LogPosition::new(0)).unwrap();
        assert!(matches!(read.payload, PayloadState::Erased));
    }
}
