//! `--threads read [--callers 1]`: where one system's processes spend their time, thread by thread. For whoever
//! optimises; nothing is compared.

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Add, Sub};
use std::path::Path;
use std::time::Duration;

use crate::process::{Process, ticks};
use crate::system::Systems;

/// Of all threads with one name.
#[derive(Clone, Copy, Default)]
struct Spent {
    cpu: Duration,
    /// How often they slept until they were woken.
    slept: u64,
}

impl Add for Spent {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, slept: self.slept + other.slept }
    }
}

impl Sub for Spent {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(other.cpu), slept: self.slept.saturating_sub(other.slept) }
    }
}

/// Loads one system and prints what each exchange cost each kind of thread.
pub async fn print(systems: &Systems, name: &str, callers: usize, duration: Duration) {
    let names = systems.names();
    let number = names.iter().position(|known| *known == name).unwrap_or_else(|| panic!("one of {names:?}"));
    systems.warm_up_one(number, callers).await;
    let look = || systems.processes(number).iter().map(|(_, process)| spent(process)).collect::<Vec<_>>();
    let before = look();
    let mut load = systems.load(number, callers, duration).await;
    let after = look();
    let exchanges = load.latencies.count() as f64;
    println!(
        "{name}, {callers} callers: {:.0} exchanges/s, p50 {:.0} µs",
        load.per_second(),
        load.latencies.percentile(50)
    );
    println!("{:<10} {:<16} {:>12} {:>16}", "process", "threads", "CPU µs each", "sleeps each");
    for ((role, _), (before, after)) in systems.processes(number).iter().zip(before.iter().zip(&after)) {
        for (thread, spent) in after {
            let spent = *spent - before.get(thread).copied().unwrap_or_default();
            let cpu = spent.cpu.as_secs_f64() * 1e6 / exchanges;
            let slept = spent.slept as f64 / exchanges;
            if cpu > 0.5 || slept > 0.01 {
                println!("{role:<10} {thread:<16} {cpu:>12.1} {slept:>16.2}");
            }
        }
    }
}

fn spent(process: &Process) -> BTreeMap<String, Spent> {
    let mut all = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{}/task", process.id())).unwrap() {
        let folder = thread.unwrap().path();
        // A thread may have ended since the folder was listed.
        let Some((name, spent)) = of_thread(&folder) else { continue };
        let sum = all.entry(name).or_default();
        *sum = *sum + spent;
    }
    all
}

fn of_thread(folder: &Path) -> Option<(String, Spent)> {
    let name = fs::read_to_string(folder.join("comm")).ok()?.trim().to_owned();
    let cpu = ticks(&fs::read_to_string(folder.join("stat")).ok()?);
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let slept = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    // sled numbers its threads.
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    Some((name, Spent { cpu, slept: slept.trim().parse().ok()? }))
}
