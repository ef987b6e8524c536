//! How fast the ledger commits: entries per second, waits of the appenders, syncs and signatures per entry.
//!
//! `cargo bench -p peabiru-ledger --bench ledger -- [--secs 2] [--rounds 3]`. Each append is an entry of about 300
//! bytes with a payload of 1 KiB, encrypted by whoever appends it, as in an exchange.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark: it prints figures, and what fails ends it"
)]

mod measure;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use measure::{Effort, Figure, Latencies};
use peabiru_certs::key::Algorithm;
use peabiru_certs::{SecretKey, StorageKey};
use peabiru_ledger::checkpoint::SealingKey;
use peabiru_ledger::disk::Disk;
use peabiru_ledger::disk::slow::SlowDisk;
use peabiru_ledger::ledger::{Append, Ledger, LedgerIdentity, Store, StoreConfig, StoreCounters};
use peabiru_ledger::payload::{Direction, Payload, SealedPayload};
use peabiru_proto::entry::{Body, Common, Content, Entry, ExchangeId, Response};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::origin::Origin;
use peabiru_proto::random::{Random, SystemRandom};
use peabiru_proto::time::{Clock as _, SystemClock};

fn main() {
    let effort = Effort::from_args(Effort { secs: 2.0, rounds: 3 });
    let folder = tempfile::tempdir_in(measure::folder()).unwrap();
    println!("ledger: {} rounds of {} s; median [min..max]", effort.rounds, effort.secs);
    measure::print_machine(folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let disk = SlowDisk::new();
    let mut rows: Vec<Row> = CASES.iter().map(|case| Row::new(*case)).collect();
    let mut bare = [Figure::default(), Figure::default()];
    for round in 0..effort.rounds {
        for row in &mut rows {
            let mut sync = measure::bare_sync(folder.path()).unwrap();
            bare[0].push(sync.percentile(50));
            bare[1].push(sync.percentile(99));
            let bench = Bench { folder: folder.path(), disk: &disk, duration: effort.duration() };
            runtime.block_on(bench.run(row, round));
        }
    }
    println!("\nbare append of 4 KiB and fdatasync in between: p50 {} µs, p99 {} µs\n", bare[0], bare[1]);
    println!(
        "{:>9} {:>10} {:>26} {:>24} {:>24} {:>20} {:>20}",
        "appenders",
        "added/sync",
        "entries/s",
        "commit p50 µs",
        "commit p99 µs",
        "syncs/entry",
        "signatures/entry"
    );
    for Row { case, rate, p50, p99, syncs, signatures } in &rows {
        println!(
            "{:>9} {:>10} {rate:>26} {p50:>24} {p99:>24} {syncs:>20} {signatures:>20}",
            case.appenders,
            format!("{} ms", case.added.as_millis()),
        );
    }
}

#[derive(Clone, Copy)]
struct Case {
    appenders: usize,
    /// To each sync.
    added: Duration,
}

const CASES: [Case; 5] = [
    Case { appenders: 1, added: Duration::ZERO },
    Case { appenders: 16, added: Duration::ZERO },
    Case { appenders: 64, added: Duration::ZERO },
    Case { appenders: 1, added: Duration::from_millis(10) },
    Case { appenders: 64, added: Duration::from_millis(10) },
];

struct Row {
    case: Case,
    rate: Figure,
    p50: Figure,
    p99: Figure,
    syncs: Figure,
    signatures: Figure,
}

impl Row {
    fn new(case: Case) -> Self {
        let none = Figure::default;
        Self { case, rate: none(), p50: none(), p99: none(), syncs: none(), signatures: none() }
    }
}

struct Bench<'a> {
    folder: &'a Path,
    disk: &'a SlowDisk,
    duration: Duration,
}

impl Bench<'_> {
    /// A fresh ledger for each measurement.
    async fn run(&self, row: &mut Row, round: usize) {
        let Case { appenders, added } = row.case;
        self.disk.slow_down(Duration::ZERO);
        let folder = self.folder.join(format!("{round}-{appenders}-{}", added.as_millis()));
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let origin: Origin = "py.peabiru.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/1".parse().unwrap();
        let key = SealingKey::from_pkcs8(SecretKey::generate(Algorithm::Ed25519).pkcs8()).unwrap();
        let identity = LedgerIdentity { origin: origin.clone(), key, next_key: None };
        let random: Arc<dyn Random> = Arc::new(SystemRandom::default());
        let config = StoreConfig::new(folder.clone());
        let storage_key = Some(StorageKey::generate());
        let (store, _) =
            Store::open(&disk, &config, vec![identity], storage_key, Arc::clone(&random), &mut |_| {})
                .unwrap();
        let ledger = store.ledger(&origin).unwrap();
        self.disk.slow_down(added);
        append_for(&ledger, &random, appenders, self.duration / 4).await;
        let before = store.counters();
        let started = Instant::now();
        let mut latencies = append_for(&ledger, &random, appenders, self.duration).await;
        let elapsed = started.elapsed();
        let StoreCounters { entries, syncs, signatures, .. } = store.counters();
        let entries = (entries - before.entries) as f64;
        row.rate.push(latencies.count() as f64 / elapsed.as_secs_f64());
        row.p50.push(latencies.percentile(50));
        row.p99.push(latencies.percentile(99));
        row.syncs.push((syncs - before.syncs) as f64 / entries);
        row.signatures.push((signatures - before.signatures) as f64 / entries);
        self.disk.slow_down(Duration::ZERO);
        store.close().await;
        std::fs::remove_dir_all(folder).unwrap();
    }
}

/// So many tasks, each of which appends an entry, waits for it, and begins again.
async fn append_for(
    ledger: &Ledger,
    random: &Arc<dyn Random>,
    appenders: usize,
    duration: Duration,
) -> Latencies {
    let until = Instant::now() + duration;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..appenders {
        let (ledger, random) = (ledger.clone(), Arc::clone(random));
        tasks.spawn(async move {
            let mut latencies = Latencies::default();
            while Instant::now() < until {
                let append = append(&ledger, &*random);
                let started = Instant::now();
                ledger.append(vec![append]).await.unwrap();
                latencies.push(started.elapsed());
            }
            latencies
        });
    }
    let mut all = Latencies::default();
    while let Some(latencies) = tasks.join_next().await {
        all.extend(latencies.unwrap());
    }
    all
}

fn append(ledger: &Ledger, random: &dyn Random) -> Append {
    let exchange = ExchangeId::new(random);
    let body = [7; 1024];
    let (payload, content_root) =
        SealedPayload::seal(random, &exchange, Direction::Answer, &[1; 200], &body).unwrap();
    let leaf = LeafHash::from_slice(&[3; 32]).unwrap();
    let node = "PY/GOV/MEC/node".parse().unwrap();
    let common = Common { exchange, created_at: SystemClock.now(), node: Some(node), globalconf: None };
    let response = Response {
        request_leaf: leaf,
        received_leaf: leaf,
        addressee: "PY/GOV/MITIC/node".parse().unwrap(),
        outcome: 0,
        content: Content::Whole { root: content_root, body_bytes: body.len() as u64 },
    };
    let entry = Entry::encode(ledger.origin(), &common, &Body::Response(response)).unwrap();
    Append { entry, payload: Some(Arc::new(Payload::Sealed(payload))), foreign: None }
}
