use std::path::PathBuf;
use std::sync::Arc;

use peabiru_proto::entry::{Common, ExchangeId, KeyChange, Notice};
use peabiru_proto::hash::Digest;
use peabiru_proto::origin::Origin;
use peabiru_proto::random::{Random as _, SeededRandom};
use peabiru_proto::time::Timestamp;

use super::*;
use crate::LedgerError;
use crate::checkpoint::tests::key;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::durable::{Durable, Head};
use crate::ledger::{Append, FillAhead, Ledger, LedgerIdentity, Store, StoreConfig};
use crate::payload::{ClearPayload, Payload};
use crate::position::LogPosition;
use crate::seal::SealedEntry;
use crate::verify::verify_folder;

const FOLDER: &str = "/ledger";

fn origin() -> Origin {
    "py.example/registry/1".parse().unwrap()
}

/// Opens with the keys of these seeds: the one, and the one to go over to.
fn open(disk: &SimDisk, first: u8, next: Option<u8>) -> Result<Store, LedgerError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let config = StoreConfig {
        index: None,
        segment_bytes: 64 * 1024,
        min_free_bytes: 0,
        fill_ahead: FillAhead::Inline,
        ..StoreConfig::new(PathBuf::from(FOLDER))
    };
    let identity = LedgerIdentity { origin: origin(), key: key(first), next_key: next.map(key) };
    Store::open(&disk, &config, vec![identity], None, Arc::new(SeededRandom::new(1)), &mut |_| {})
        .map(|(store, _)| store)
}

fn common(random: &SeededRandom) -> Common {
    Common {
        exchange: ExchangeId::new(random),
        created_at: Timestamp::from_ms(1),
        node: Some("PY/GOV/MEC/n1".parse().unwrap()),
        globalconf: None,
    }
}

fn append(random: &SeededRandom) -> Append {
    let payload = ClearPayload::new(bytes::Bytes::from_static(b"x")).unwrap();
    let notice = Notice {
        code: "test".to_owned(),
        subject: String::new(),
        content_root: payload.content_root(),
        body_bytes: 1,
    };
    let entry = Entry::encode(&origin(), &common(random), &Body::Notice(notice)).unwrap();
    Append { entry, payload: Some(Arc::new(Payload::Clear(payload))), foreign: None }
}

fn names(from: VerifyingKey, to: u8) -> KeyChange {
    KeyChange { previous_key: *from.as_bytes(), next_key: *key(to).verifying_key().as_bytes() }
}

async fn change(ledger: &Ledger, random: &SeededRandom, to: u8) -> Result<SealedEntry, LedgerError> {
    let named = names(ledger.verifying_key(), to);
    let entry = Entry::encode(&origin(), &common(random), &Body::KeyChange(named)).unwrap();
    ledger.change_key(entry, key(to)).await
}

/// Appends from several tasks, and changes the key among them, until the power fails or all is done.
async fn work(store: &Store, random: &Arc<SeededRandom>) -> Vec<SealedEntry> {
    let ledger = store.ledgers().remove(0);
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let (ledger, random) = (ledger.clone(), Arc::clone(random));
            tokio::spawn(async move {
                let mut sealed = Vec::new();
                for round in 0..4 {
                    let changes = task == 0 && round == 1 && ledger.verifying_key() != key(2).verifying_key();
                    let released = match changes {
                        true => change(&ledger, &random, 2).await.map(|one| vec![one]),
                        false => ledger.append(vec![append(&random)]).await,
                    };
                    let Ok(released) = released else { break };
                    sealed.extend(released);
                }
                sealed
            })
        })
        .collect();
    let mut sealed = Vec::new();
    for task in tasks {
        sealed.extend(task.await.unwrap());
    }
    sealed
}

/// Where the KEY_CHANGE is, if it was released.
fn changed_at(released: &[SealedEntry]) -> Option<TreeSize> {
    let change = released.iter().find(|sealed| changed_keys(&sealed.entry).is_some())?;
    Some(change.seal.position.size_with())
}

#[test]
fn whatever_crashes_one_of_both_keys_goes_on_and_every_seal_is_of_the_key_that_was_due() {
    let mut changed = 0;
    for seed in 0..400 {
        let disk = SimDisk::new(seed);
        let random = Arc::new(SeededRandom::new(seed));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut released = Vec::new();
        for _ in 0..3 {
            let store = open(&disk, 1, Some(2)).unwrap();
            let mut below = [0];
            random.fill(&mut below);
            disk.fail_power_after(u64::from(below[0] % 24));
            released.extend(runtime.block_on(work(&store, &random)));
            store.stopped();
            disk.restart();
        }
        let store = open(&disk, 1, Some(2)).unwrap();
        let ledger = store.ledgers().remove(0);
        let at = changed_at(&released);
        if at.is_some() {
            assert_eq!(ledger.verifying_key(), key(2).verifying_key(), "seed {seed}");
            changed += 1;
        }
        for sealed in &released {
            let checkpoint = &sealed.seal.checkpoint;
            assert_eq!(ledger.root_at(checkpoint.size()).unwrap(), *checkpoint.root(), "seed {seed}");
            let before = at.is_none_or(|at| checkpoint.size() <= at);
            let signed = |seed| checkpoint.verify(&key(seed).verifying_key()).is_ok();
            // A KEY_CHANGE may be durable and never released: then the next start goes on with the key that it names.
            assert!(signed(2) && !before || signed(1) && before || at.is_none() && signed(2), "seed {seed}");
            let now = ledger.shared().state().checkpoint_over(sealed.seal.position).unwrap();
            assert!(now.size() >= checkpoint.size(), "seed {seed}");
            let due = if before { 1 } else { 2 };
            assert!(at.is_none() || now.verify(&key(due).verifying_key()).is_ok(), "seed {seed}");
        }
        drop(ledger);
        runtime.block_on(store.close());
        store.stopped();
        let disk: Arc<dyn Disk> = Arc::new(disk);
        verify_folder(&disk, &PathBuf::from(FOLDER)).unwrap();
    }
    assert!(changed > 50, "only {changed} of 400 went over before the power failed");
}

#[tokio::test]
async fn only_the_key_that_is_due_opens_the_ledger() {
    let (disk, random) = (SimDisk::new(1), SeededRandom::new(1));
    let store = open(&disk, 1, None).unwrap();
    let ledger = store.ledgers().remove(0);
    ledger.append(vec![append(&random)]).await.unwrap();
    ledger.append(vec![append(&random)]).await.unwrap();
    drop(ledger);
    store.close().await;
    store.stopped();
    let refused = |first, next| match open(&disk, first, next) {
        Err(LedgerError::OtherKey { named, .. }) => named,
        other => panic!("{:?}", other.map(|_| ())),
    };
    assert_eq!(refused(3, None), None, "another key than the one of the stored checkpoints");
    let store = open(&disk, 1, None).unwrap();
    let ledger = store.ledgers().remove(0);
    let wrong = names(key(1).verifying_key(), 3);
    let wrong = Entry::encode(&origin(), &common(&random), &Body::KeyChange(wrong)).unwrap();
    let alone = Append { entry: wrong.clone(), payload: None, foreign: None };
    assert!(matches!(ledger.change_key(wrong, key(2)).await, Err(LedgerError::KeyChange)));
    assert!(matches!(ledger.append(vec![alone]).await, Err(LedgerError::KeyChange)));
    change(&ledger, &random, 2).await.unwrap();
    drop(ledger);
    store.close().await;
    store.stopped();
    // The head of the KEY_CHANGE left, and is stored nowhere yet.
    assert!(matches!(open(&disk, 2, None), Err(LedgerError::KeyBefore { .. })));
    let store = open(&disk, 1, Some(2)).unwrap();
    let ledger = store.ledgers().remove(0);
    assert!(ledger.head().unwrap().verify(&key(1).verifying_key()).is_ok());
    ledger.append(vec![append(&random)]).await.unwrap();
    drop(ledger);
    store.close().await;
    store.stopped();
    let second = key(2).verifying_key();
    assert_eq!(refused(1, None), Some(second));
    assert_eq!(refused(1, Some(3)), Some(second));
    for (first, next) in [(1, Some(2)), (2, None), (2, Some(3))] {
        let store = open(&disk, first, next).unwrap();
        let ledger = store.ledgers().remove(0);
        assert_eq!(ledger.verifying_key(), second);
        for (position, due) in [(0, 1), (2, 1), (3, 2)] {
            let checkpoint = ledger.shared().state().checkpoint_over(LogPosition::new(position)).unwrap();
            assert!(checkpoint.verify(&key(due).verifying_key()).is_ok(), "entry {position}");
        }
        drop(ledger);
        store.stopped();
    }
}

#[test]
fn a_stored_checkpoint_of_the_key_before_is_noticed() {
    let random = SeededRandom::new(1);
    let change = |from: u8, to| {
        let named = names(key(from).verifying_key(), to);
        Entry::encode(&origin(), &common(&random), &Body::KeyChange(named)).unwrap()
    };
    let item =
        |entry| crate::item::StoredItem { entry, payload: crate::item::StoredContent::None, foreign: None };
    let checkpoint = |seed, size| {
        let head = Head { origin: origin(), size: TreeSize::new(size), root: Digest::from_bytes([9; 32]) };
        key(seed).sign(&Durable::after_sync().heads(vec![head])[0])
    };
    let record = |first, previous, entries: Vec<Entry>| CommitBody {
        origin: origin(),
        first: LogPosition::new(first),
        previous,
        items: entries.into_iter().map(item).collect(),
    };
    let plain = || append(&random).entry;
    let begun = || {
        let mut succession = Succession::default();
        succession.check(&record(0, None, vec![plain(), change(1, 2)]), TreeSize::new(2)).unwrap();
        succession
    };
    let mut succession = begun();
    succession.check(&record(2, Some(checkpoint(1, 2)), vec![plain()]), TreeSize::new(3)).unwrap();
    let what =
        succession.check(&record(3, Some(checkpoint(1, 3)), vec![plain()]), TreeSize::new(4)).unwrap_err();
    assert!(what.contains("at size 3 is not signed by the key that was due after entry 1"), "{what}");
    let what = begun().note(&record(2, Some(checkpoint(2, 2)), vec![plain()]), TreeSize::new(3)).unwrap_err();
    assert!(what.contains("at size 2 is not signed by the key that was due"), "{what}");
    let amid = record(2, Some(checkpoint(1, 2)), vec![change(2, 3), plain()]);
    let what = begun().note(&amid, TreeSize::new(4)).unwrap_err();
    assert!(what.contains("not the last entry of its record"), "{what}");
    let astray = record(2, Some(checkpoint(1, 2)), vec![change(1, 3)]);
    let what = begun().note(&astray, TreeSize::new(3)).unwrap_err();
    assert!(what.contains("begins from a key that did not seal"), "{what}");
}
