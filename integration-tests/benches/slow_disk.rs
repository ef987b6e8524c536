//! How many syncs an exchange waits for, on a disk where nothing else counts: 10 ms more for each sync.
//!
//! `cargo bench -p peabiru-integration-tests --bench slow_disk -- [--secs 4] [--rounds 3]`. Two nodes, registry, service
//! and callers in this process; both nodes on a `SlowDisk`. A read waits twice, a write three times. A wait that begins
//! while the commit before is being synced lasts up to two syncs: about 1.5 in the middle.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark: it prints figures, and what fails ends it"
)]

#[path = "exchange/load.rs"]
mod load;
#[path = "../../ledger/benches/measure/mod.rs"]
mod measure;

use std::sync::Arc;
use std::time::Duration;

use load::Ask;
use measure::{Effort, Figure};
use peabiru_integration_tests::federation::{Federation, Member};
use peabiru_ledger::disk::slow::SlowDisk;
use peabiru_node::node::Environment;

fn main() {
    let effort = Effort::from_args(Effort { secs: 4.0, rounds: 3 });
    println!("slow disk: {} rounds of {} s; median [min..max]", effort.rounds, effort.secs);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(bench(effort));
}

#[derive(Default)]
struct Row {
    rate: Figure,
    p50: Figure,
    p99: Figure,
    /// How long a sync took.
    sync: Figure,
    /// p50 in syncs.
    syncs: Figure,
    errors: u64,
}

async fn bench(effort: Effort) {
    measure::print_machine(&measure::folder());
    let mut bare = measure::bare_sync(&measure::folder()).unwrap();
    println!("bare append of 4 KiB and fdatasync: p50 {:.0} µs", bare.percentile(50));
    let mut federation = Federation::start_in(tempfile::tempdir_in(measure::folder()).unwrap()).await;
    let disks = [SlowDisk::new(), SlowDisk::new()];
    let (mec, mitic) = (federation.enrol("MEC").await, federation.enrol("MITIC").await);
    let mec = mec.start_in(&on(&disks[0])).await;
    let mitic = mitic.start_in(&on(&disks[1])).await;
    mec.grant("MITIC").await;
    let caller = mitic.caller("MEC").await;
    load::run(&caller, Ask::Read, 16, Duration::from_millis(500)).await;
    println!(
        "\n{:>6} {:>8} {:>26} {:>22} {:>22} {:>22} {:>22} {:>7}",
        "", "callers", "exchanges/s", "p50 ms", "p99 ms", "one sync ms", "p50 in syncs", "errors"
    );
    for (name, ask) in [("read", Ask::Read), ("write", Ask::Write)] {
        for callers in [1, 16, 64] {
            let mut row = Row::default();
            for _ in 0..effort.rounds {
                slow_down(&disks, ADDED);
                load::run(&caller, ask, callers, Duration::from_millis(500)).await;
                let before = syncs(&disks);
                let mut load = load::run(&caller, ask, callers, effort.duration()).await;
                let after = syncs(&disks);
                slow_down(&disks, Duration::ZERO);
                let sync = (after.1 - before.1).as_secs_f64() * 1e3 / (after.0 - before.0) as f64;
                let p50 = load.latencies.percentile(50) / 1e3;
                row.rate.push(load.per_second());
                row.p50.push(p50);
                row.p99.push(load.latencies.percentile(99) / 1e3);
                row.sync.push(sync);
                row.syncs.push(p50 / sync);
                row.errors += load.errors;
                if let Some(error) = load.first_error {
                    println!("first error: {error}");
                }
            }
            let Row { rate, p50, p99, sync, syncs, errors } = row;
            println!(
                "{name:>6} {callers:>8} {rate:>26} {p50:>22} {p99:>22} {sync:>22} {syncs:>22} {errors:>7}"
            );
        }
    }
    stop([mec, mitic]).await;
}

async fn stop(members: [Member; 2]) {
    for member in members {
        member.stop().await;
    }
}

fn on(disk: &SlowDisk) -> Environment {
    Environment { disk: Arc::new(disk.clone()), ..Environment::default() }
}

/// Of both disks: how many, and how long they took.
fn syncs(disks: &[SlowDisk; 2]) -> (u64, Duration) {
    let [one, other] = [disks[0].syncs(), disks[1].syncs()];
    (one.0 + other.0, one.1 + other.1)
}

fn slow_down(disks: &[SlowDisk; 2], added: Duration) {
    for disk in disks {
        disk.slow_down(added);
    }
}

const ADDED: Duration = Duration::from_millis(10);
