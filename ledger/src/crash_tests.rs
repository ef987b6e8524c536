//! The crash rule (design §4), on a disk that drops, tears and reorders what was not synced.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peabiru_certs::StorageKey;
use peabiru_proto::entry::{Body, Common, Entry, ExchangeId, Notice};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::limits::MAX_BODY_BYTES;
use peabiru_proto::origin::Origin;
use peabiru_proto::random::{Random as _, SeededRandom};
use peabiru_proto::time::Timestamp;

use crate::LedgerError;
use crate::checkpoint::tests::key;
use crate::disk::Disk;
use crate::disk::sim::{Operation, SimDisk};
use crate::large::SpoolShare;
use crate::large::body::{LargeSealed, LargeSealer};
use crate::ledger::{Append, FillAhead, Ledger, LedgerIdentity, Recovery, Shutdown, Store, StoreConfig};
use crate::payload::{Direction, Payload, SealedPayload};
use crate::seal::SealedEntry;
use crate::verify::verify_folder;
use crate::writer::QUEUED_WAIT;

const FOLDER: &str = "/ledger";
const ORIGINS: [&str; 2] = ["py.example/registry/1", "py.example/registry/2"];

fn config() -> StoreConfig {
    StoreConfig {
        folder: PathBuf::from(FOLDER),
        index: None,
        segment_bytes: 64 * 1024,
        queue_groups: 64,
        min_free_bytes: 0,
        fill_ahead: FillAhead::Inline,
        queued_wait: QUEUED_WAIT,
        spool_bytes_max: 1024 * 1024,
    }
}

struct Opened {
    store: Store,
    recovery: Recovery,
    payloads: HashMap<LeafHash, Payload>,
}

fn open(disk: &SimDisk, seed: u64) -> Result<Opened, LedgerError> {
    open_with(disk, seed, &config())
}

fn open_with(disk: &SimDisk, seed: u64, config: &StoreConfig) -> Result<Opened, LedgerError> {
    let identities = (1..).zip(ORIGINS).map(|(seed, origin)| LedgerIdentity {
        origin: origin.parse().unwrap(),
        key: key(seed),
        next_key: None,
    });
    let mut payloads = HashMap::new();
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let storage_key = Some(StorageKey::from_bytes([7; 32]));
    let (store, recovery) = Store::open(
        &disk,
        config,
        identities.collect(),
        storage_key,
        Arc::new(SeededRandom::new(seed)),
        &mut |entry| {
            payloads.extend(entry.payload().map(|payload| (entry.entry.leaf_hash(), payload)));
        },
    )?;
    Ok(Opened { store, recovery, payloads })
}

fn append(ledger: &Ledger, random: &SeededRandom, body_bytes: usize) -> Append {
    let exchange = ExchangeId::new(random);
    let (payload, content_root) =
        SealedPayload::seal(random, &exchange, Direction::Request, b"", &vec![5; body_bytes]).unwrap();
    let notice = Notice {
        code: "test".to_owned(),
        subject: String::new(),
        content_root,
        body_bytes: body_bytes as u64,
    };
    let common = Common { exchange, created_at: Timestamp::from_ms(1), node: None, globalconf: None };
    let entry = Entry::encode(ledger.origin(), &common, &Body::Notice(notice)).unwrap();
    Append { entry, payload: Some(Arc::new(Payload::Sealed(payload))), foreign: None }
}

/// With a body in a file of its own.
fn append_large(ledger: &Ledger, random: &SeededRandom, body_bytes: usize) -> Result<Append, LedgerError> {
    let exchange = ExchangeId::new(random);
    let mut sealer = LargeSealer::new(
        random,
        &exchange,
        Direction::Request,
        ledger.large_files().spool(&SpoolShare::default(), None)?,
    );
    sealer.push(&vec![5; body_bytes], &mut drop)?;
    let LargeSealed { payload, root, body_bytes } = sealer.finish(b"", &mut drop)?;
    let notice = Notice { code: "test".to_owned(), subject: String::new(), content_root: root, body_bytes };
    let common = Common { exchange, created_at: Timestamp::from_ms(1), node: None, globalconf: None };
    let entry = Entry::encode(ledger.origin(), &common, &Body::Notice(notice)).unwrap();
    Ok(Append { entry, payload: Some(Arc::new(Payload::Sealed(payload))), foreign: None })
}

/// Appends from several tasks until the power fails or all is done; what was released comes back.
async fn append_until_crash(store: &Store, seed: u64) -> Vec<SealedEntry> {
    let tasks: Vec<_> = (0..6)
        .map(|task| {
            let ledger = store.ledgers().remove(task % 2);
            tokio::spawn(async move {
                let random = SeededRandom::new(seed * 100 + task as u64);
                let mut sealed = Vec::new();
                for round in 0..4 {
                    let append = |number| match (task, number) {
                        (5, 0) => append_large(&ledger, &random, MAX_BODY_BYTES + 200 * round + 1),
                        _ => Ok(append(&ledger, &random, 100 * task + 3000 * round)),
                    };
                    let Ok(appends) = (0..=round % 2).map(append).collect() else { break };
                    match ledger.append(appends).await {
                        Ok(entries) => sealed.extend(entries),
                        Err(_) => break,
                    }
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

fn opens(payload: &Payload, entry: &Entry) -> bool {
    let (Payload::Sealed(payload), Some((root, body_bytes))) = (payload, entry.body().content()) else {
        return false;
    };
    payload.open(&entry.exchange(), Direction::Request, &root, body_bytes).is_ok()
}

/// Every seal that ever left holds in the recovered ledger: same entry, same place, same root.
fn broken_promises(opened: &Opened, released: &[SealedEntry]) -> usize {
    let holds = |sealed: &SealedEntry| {
        let ledger = opened.store.ledger(sealed.entry.origin()).unwrap();
        let size = sealed.seal.checkpoint.size();
        ledger.size() >= size
            && ledger.root_at(size).is_ok_and(|root| root == *sealed.seal.checkpoint.root())
            && ledger.inclusion(sealed.seal.position, size).is_ok_and(|proof| proof == sealed.seal.proof)
            && sealed.seal.includes(&sealed.entry.leaf_hash()).is_ok()
            && opened
                .payloads
                .get(&sealed.entry.leaf_hash())
                .is_some_and(|payload| opens(payload, &sealed.entry))
    };
    released.iter().filter(|sealed| !holds(sealed)).count()
}

/// Crashes, restarts, crashes again, also while recovering. Returns how many promises were broken.
fn crash_cycles(disk: &SimDisk, seed: u64) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let random = SeededRandom::new(seed ^ 0xC0FFEE);
    let roll = |below: u8| {
        let mut byte = [0];
        random.fill(&mut byte);
        u64::from(byte[0] % below)
    };
    let mut released: Vec<SealedEntry> = Vec::new();
    let mut broken = 0;
    for cycle in 0..4 {
        if roll(3) == 0 {
            disk.fail_power_after(roll(12));
            if let Ok(opened) = open(disk, seed + cycle) {
                opened.store.stopped();
            }
            disk.restart();
        }
        let Ok(opened) = open(disk, seed + cycle) else { return broken + released.len().max(1) };
        broken += broken_promises(&opened, &released);
        disk.fail_power_after(roll(30));
        released.extend(runtime.block_on(append_until_crash(&opened.store, seed * 10 + cycle)));
        opened.store.stopped();
        disk.restart();
    }
    match open(disk, seed) {
        Ok(opened) => broken + broken_promises(&opened, &released),
        Err(_) => broken + released.len().max(1),
    }
}

#[test]
fn no_crash_takes_back_a_seal() {
    for seed in 0..CRASH_SEEDS {
        assert_eq!(crash_cycles(&SimDisk::new(seed), seed), 0, "seed {seed}");
    }
}

#[test]
fn without_the_sync_the_simulation_notices() {
    let noticed = (0..40).filter(|&seed| crash_cycles(&SimDisk::lying(seed), seed) > 0).count();
    assert!(noticed > 20, "only {noticed} of 40 seeds broke a promise on a disk that does not sync");
}

#[test]
fn a_clean_stop_is_told_from_a_crash() {
    let disk = SimDisk::new(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let first = open(&disk, 1).unwrap();
    assert_eq!((first.recovery.shutdown, first.recovery.entries), (Shutdown::New, 0));
    let sealed = runtime.block_on(async {
        let sealed = append_until_crash(&first.store, 1).await;
        first.store.close().await;
        sealed
    });
    first.store.stopped();
    disk.restart();
    let second = open(&disk, 1).unwrap();
    assert_eq!((second.recovery.shutdown, second.recovery.entries), (Shutdown::Clean, sealed.len() as u64));
    assert_eq!(broken_promises(&second, &sealed), 0);
    second.store.stopped();
    disk.restart();
    assert_eq!(open(&disk, 1).unwrap().recovery.shutdown, Shutdown::Clean, "nothing was written since");
}

#[test]
fn damage_before_intact_records_is_refused_and_named() {
    let disk = SimDisk::new(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let opened = open(&disk, 1).unwrap();
    runtime.block_on(async {
        append_until_crash(&opened.store, 1).await;
        opened.store.close().await;
    });
    opened.store.stopped();
    disk.restart();
    let segment = PathBuf::from(FOLDER).join("segments/0000000000000000.seg");
    // A byte of the first record's body, then one of its header.
    for offset in [200, 30] {
        disk.damage(&segment, offset, 0x40);
        match open(&disk, 1).map(|_| ()) {
            Err(LedgerError::Corrupt { segment, offset: 0, .. }) => {
                assert_eq!(segment, "0000000000000000.seg");
            }
            other => panic!("{other:?}"),
        }
        disk.damage(&segment, offset, 0x40);
    }
    assert!(open(&disk, 1).is_ok(), "the damage was taken back");
}

#[test]
fn a_full_disk_loses_nothing_and_recovers() {
    let disk = SimDisk::new(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    disk.set_free_bytes(70 * 1024);
    let opened = open(&disk, 1).unwrap();
    let ledger = opened.store.ledger(&ORIGINS[0].parse::<Origin>().unwrap()).unwrap();
    let random = SeededRandom::new(9);
    let mut released = Vec::new();
    runtime.block_on(async {
        disk.set_free_bytes(0);
        let full = loop {
            match ledger.append(vec![append(&ledger, &random, 20_000)]).await {
                Ok(sealed) => released.extend(sealed),
                Err(error) => break error,
            }
        };
        assert_eq!(full.code(), "ledger.disk_full");
        assert!(released.len() >= 2, "the segment that was there took entries");
        disk.set_free_bytes(u64::MAX);
        released.extend(
            ledger.append(vec![append(&ledger, &random, 20_000)]).await.expect("there is room again"),
        );
    });
    drop(ledger);
    opened.store.stopped();
    disk.restart();
    assert_eq!(broken_promises(&open(&disk, 1).unwrap(), &released), 0);
}

#[test]
fn a_folder_serves_one_process() {
    let disk = SimDisk::new(1);
    let opened = open(&disk, 1).unwrap();
    assert_eq!(open(&disk, 1).map(|_| ()).unwrap_err().code(), "ledger.locked");
    opened.store.stopped();
    assert!(open(&disk, 1).is_ok());
}

#[test]
fn a_segment_that_cannot_be_filled_is_a_full_disk() {
    let disk = SimDisk::new(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let opened = open(&disk, 1).unwrap();
    let ledger = opened.store.ledgers().remove(0);
    let random = SeededRandom::new(9);
    let mut released = Vec::new();
    // The quota of somebody else ends while the segment after the next is filled.
    disk.refuse_after(Operation::Write, 4, std::io::ErrorKind::StorageFull);
    let mut refused = 0;
    runtime.block_on(async {
        for _ in 0..12 {
            match ledger.append(vec![append(&ledger, &random, 20_000)]).await {
                Ok(sealed) => released.extend(sealed),
                Err(error) => {
                    assert_eq!(error.code(), "ledger.disk_full");
                    refused += 1;
                }
            }
        }
    });
    assert_eq!((refused, released.len()), (1, 11), "one found no room, the next one did");
    drop(ledger);
    opened.store.stopped();
    disk.restart();
    assert_eq!(broken_promises(&open(&disk, 1).unwrap(), &released), 0);
}

#[test]
fn what_was_queued_for_a_full_disk_becomes_durable_once_there_is_room_and_nobody_asks() {
    let (disk, random) = (SimDisk::new(1), SeededRandom::new(9));
    let an_hour = StoreConfig { queued_wait: Duration::from_secs(3600), ..config() };
    let opened = open_with(&disk, 1, &an_hour).unwrap();
    let ledger = opened.store.ledgers().remove(0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    disk.set_free_bytes(0);
    // Until the last segment is full.
    while runtime.block_on(ledger.append(vec![append(&ledger, &random, 20_000)])).is_ok() {}
    // Room is looked for once more, so that something may be queued.
    runtime.block_on(ledger.append(vec![append(&ledger, &random, 100)])).unwrap();
    let before = ledger.size();
    ledger.queue(append(&ledger, &random, 20_000)).unwrap();
    let unsettled = runtime.block_on(ledger.settle()).unwrap_err();
    assert_eq!(unsettled.code(), "ledger.disk_full", "nothing is durable that waits for space");
    assert_eq!(ledger.size(), before);
    disk.set_free_bytes(u64::MAX);
    let given_up = Instant::now() + Duration::from_secs(60);
    while ledger.size() == before {
        assert!(Instant::now() < given_up, "there is room, and it never becomes durable");
        std::thread::yield_now();
    }
    runtime.block_on(ledger.settle()).unwrap();
}

#[test]
fn what_nobody_waits_for_goes_along_with_what_somebody_does() {
    const PAIRS: u64 = 100;
    let (disk, random) = (SimDisk::new(1), SeededRandom::new(9));
    let an_hour = StoreConfig { queued_wait: Duration::from_secs(3600), ..config() };
    let opened = open_with(&disk, 1, &an_hour).unwrap();
    let ledger = opened.store.ledgers().remove(0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let before = opened.store.counters().commits;
    for _ in 0..PAIRS {
        ledger.queue(append(&ledger, &random, 100)).unwrap();
        runtime.block_on(ledger.append(vec![append(&ledger, &random, 100)])).unwrap();
    }
    assert_eq!(opened.store.counters().commits - before, PAIRS);
    ledger.queue(append(&ledger, &random, 100)).unwrap();
    runtime.block_on(ledger.settle()).unwrap();
    assert_eq!(ledger.size().entries(), 2 * PAIRS + 1, "whoever must know need not wait for an hour");
}

#[test]
fn what_is_queued_stands_where_it_was_queued_among_what_somebody_waits_for() {
    let (disk, random) = (SimDisk::new(1), SeededRandom::new(9));
    let opened = open(&disk, 1).unwrap();
    let ledger = opened.store.ledgers().remove(0);
    let appends: Vec<_> = (0..500).map(|_| append(&ledger, &random, 100)).collect();
    let mut begun = Vec::new();
    for (number, append) in appends.into_iter().enumerate() {
        // Of the store's queues, which have an end.
        while number % 32 == 0 && ledger.size().entries() + 32 < number as u64 {
            std::thread::yield_now();
        }
        match number % 3 {
            0 => ledger.queue(append).unwrap(),
            _ => begun.push((number as u64, ledger.begin(vec![append]).unwrap())),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (number, appending) in begun {
        let sealed = runtime.block_on(appending.sealed()).unwrap();
        assert_eq!(sealed[0].seal.position.index(), number);
    }
}

#[test]
fn what_nobody_waits_for_goes_alone_in_the_end() {
    let (disk, random) = (SimDisk::new(1), SeededRandom::new(9));
    let opened = open(&disk, 1).unwrap();
    let ledger = opened.store.ledgers().remove(0);
    ledger.queue(append(&ledger, &random, 100)).unwrap();
    let given_up = Instant::now() + Duration::from_secs(60);
    while ledger.size().entries() == 0 {
        assert!(Instant::now() < given_up, "nobody asks, and it never becomes durable");
        std::thread::yield_now();
    }
}

#[test]
fn what_was_queued_outlasts_a_full_disk() {
    let disk = SimDisk::new(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let opened = open(&disk, 1).unwrap();
    let ledger = opened.store.ledgers().remove(0);
    let random = SeededRandom::new(9);
    runtime.block_on(async {
        disk.set_free_bytes(0);
        let mut accepted = 0;
        // Nobody waits for these; the writer finds the disk full behind our back.
        while accepted < 40 {
            match ledger.queue(append(&ledger, &random, 20_000)) {
                Ok(()) => accepted += 1,
                Err(error) => {
                    assert_eq!(error.code(), "ledger.disk_full");
                    break;
                }
            }
        }
        let full = ledger.append(vec![append(&ledger, &random, 100)]).await.unwrap_err();
        assert_eq!(full.code(), "ledger.disk_full");
        assert_eq!(ledger.queue(append(&ledger, &random, 100)).unwrap_err().code(), "ledger.disk_full");
        disk.set_free_bytes(u64::MAX);
        let sealed = ledger.append(vec![append(&ledger, &random, 100)]).await.expect("there is room again");
        assert_eq!(sealed[0].seal.position.index(), accepted, "after all that were queued");
        ledger.queue(append(&ledger, &random, 100)).expect("there is room again");
    });
}

#[test]
fn a_failed_sync_stops_the_store_and_recovery_makes_durable_what_it_shows() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let opened = open(&disk, 1).unwrap();
        let ledger = opened.store.ledgers().remove(0);
        let random = SeededRandom::new(seed);
        let failure = opened.store.failure();
        let appended = || ledger.append(vec![append(&ledger, &random, 6000)]);
        let mut released = runtime.block_on(appended()).unwrap();
        disk.refuse_after(Operation::Sync, 0, std::io::ErrorKind::Other);
        assert_eq!(runtime.block_on(appended()).unwrap_err().code(), "ledger.failed");
        assert!(failure.borrow().is_some(), "the node must stop");
        assert_eq!(runtime.block_on(appended()).unwrap_err().code(), "ledger.failed", "never retried");
        drop(ledger);
        opened.store.stopped();

        // Another process, the same kernel: it reads pages that it takes for clean, and that are not on the disk.
        let again = open(&disk, 1).unwrap();
        let ledger = again.store.ledgers().remove(0);
        assert_eq!(ledger.size().entries(), 2, "the batch is still in memory");
        released.extend(runtime.block_on(ledger.append(vec![append(&ledger, &random, 10)])).unwrap());
        drop(ledger);
        again.store.stopped();
        disk.restart();
        let last = open(&disk, 1).unwrap();
        assert_eq!(broken_promises(&last, &released), 0, "seed {seed}");
        assert_eq!(last.recovery.entries, 3);
    }
}

#[test]
fn a_lost_or_foreign_stream_name_is_refused_and_nothing_zeroed() {
    let disk = SimDisk::new(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let opened = open(&disk, 1).unwrap();
    let sealed = runtime.block_on(append_until_crash(&opened.store, 1));
    opened.store.stopped();
    let stream = PathBuf::from(FOLDER).join("stream");
    // A digit that is none, then another digit.
    for (flip, found) in [(0x40, "stream"), (0x01, "0000000000000000.seg")] {
        disk.damage(&stream, 3, flip);
        match open(&disk, 1).map(|_| ()) {
            Err(LedgerError::Corrupt { segment, offset: 0, .. }) => assert_eq!(segment, found),
            other => panic!("{other:?}"),
        }
        disk.damage(&stream, 3, flip);
    }
    assert_eq!(broken_promises(&open(&disk, 1).unwrap(), &sealed), 0);
}

#[test]
fn another_segment_length_loses_nothing() {
    let disk = SimDisk::new(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut released = Vec::new();
    // Another seed each time: names of files are drawn from it.
    for (seed, kilobytes) in (1..).zip([256, 64, 128, 64, 512]) {
        let opened =
            open_with(&disk, seed, &StoreConfig { segment_bytes: kilobytes * 1024, ..config() }).unwrap();
        assert_eq!(broken_promises(&opened, &released), 0, "{kilobytes}");
        released.extend(runtime.block_on(append_until_crash(&opened.store, seed)));
        opened.store.stopped();
        disk.restart();
    }
    assert_eq!(broken_promises(&open(&disk, 6).unwrap(), &released), 0);
}

/// How many simulated histories the ordinary tests go through.
const CRASH_SEEDS: u64 = 2000;

#[test]
fn one_changed_byte_of_a_cleanly_stopped_ledger_is_found_and_named() {
    let disk = SimDisk::new(7);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let opened = open(&disk, 7).unwrap();
    runtime.block_on(append_until_crash(&opened.store, 7));
    runtime.block_on(opened.store.close());
    drop(opened);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let folder = PathBuf::from(FOLDER);
    let whole = verify_folder(&shared, &folder).unwrap();
    assert_eq!(whole.shutdown, Shutdown::Clean);
    assert!(whole.records > 3 && whole.ledgers.iter().all(|ledger| ledger.entries > 0), "{whole:?}");
    let names = shared.list(&folder.join("segments")).unwrap();
    let mut flips = 0;
    for segment in names.iter().filter(|name| name.ends_with(".seg")) {
        let path = folder.join("segments").join(segment);
        let bytes = shared.open(&path).unwrap().bytes().unwrap();
        for byte in (0..bytes).step_by(61) {
            disk.damage(&path, byte, 0x10);
            match verify_folder(&shared, &folder) {
                Err(LedgerError::Corrupt { segment: found, offset, .. }) => {
                    assert!(
                        found.as_str() <= segment.as_str() && (found != *segment || offset <= byte),
                        "{segment} {byte}: {found} {offset}"
                    );
                }
                other => panic!("{segment} {byte}: {other:?}"),
            }
            disk.damage(&path, byte, 0x10);
            flips += 1;
        }
    }
    assert!(flips > 1_000, "{flips}");
    assert_eq!(verify_folder(&shared, &folder).unwrap(), whole);
}
