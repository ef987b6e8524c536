//! What the benchmarks share: the machine's facts, arguments, percentiles, the bare disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long and how often, from `--secs` and `--rounds`.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Of one measurement, after its warm-up.
    pub secs: f64,
    /// How often everything is measured.
    pub rounds: usize,
}

impl Effort {
    /// From the program's arguments; whatever else cargo passes is ignored.
    pub fn from_args(default: Self) -> Self {
        Self {
            secs: value("--secs").and_then(|text| text.parse().ok()).unwrap_or(default.secs),
            rounds: value("--rounds").and_then(|text| text.parse().ok()).unwrap_or(default.rounds).max(1),
        }
    }

    /// Of one measurement.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.secs)
    }
}

/// What follows a flag among the program's arguments.
pub fn value(flag: &str) -> Option<String> {
    let mut args = std::env::args().skip_while(|argument| argument != flag);
    args.next()?;
    args.next()
}

/// Says on which machine, and on which file system, the figures were taken.
pub fn print_machine(folder: &Path) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = after(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    println!("machine: {cores} cores ({processor}), memory {memory}");
    println!("kernel: {}; disk: {}", read("/proc/sys/kernel/osrelease").trim(), file_system(folder));
    println!("load at the start (1, 5, 15 min): {}", read("/proc/loadavg").trim());
}

/// Type of the file system that holds a folder.
fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    let holding = mounts.filter(|(at, _)| folder.starts_with(at)).max_by_key(|(at, _)| at.len());
    holding.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}

/// A folder on a real disk: below cargo's target folder, since a system's temporary folder may be memory.
pub fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&folder).expect("cargo's own folder can be written");
    folder
}

/// Latencies of a bare append of 4 KiB and its `fdatasync`, in a file that was filled with zeros before.
pub fn bare_sync(folder: &Path) -> io::Result<Latencies> {
    let path = folder.join("bare-sync");
    let mut file = File::create(&path)?;
    let page = [7; 4096];
    file.write_all(&vec![0; page.len() * BARE_SYNCS])?;
    file.sync_all()?;
    let mut latencies = Latencies::default();
    for number in 0..BARE_SYNCS {
        let started = Instant::now();
        file.write_all_at(&page, (number * page.len()) as u64)?;
        file.sync_data()?;
        latencies.push(started.elapsed());
    }
    fs::remove_file(&path)?;
    Ok(latencies)
}

/// Durations of many operations of one kind.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// One more.
    pub fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// Those of another caller too.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// In µs: the one that `percent` of all do not exceed.
    pub fn percentile(&mut self, percent: usize) -> f64 {
        self.0.sort_unstable();
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }
}

/// One figure over all rounds: `median [min..max]`.
#[derive(Debug, Clone, Default)]
pub struct Figure(Vec<f64>);

impl Figure {
    /// That of one more round.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one, or the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        sorted.get(low).zip(sorted.get(high)).map_or(f64::NAN, |(low, high)| (low + high) / 2.0)
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (min, max) =
            self.0.iter().fold((f64::MAX, f64::MIN), |(min, max), value| (min.min(*value), max.max(*value)));
        let digits = if max >= 100.0 {
            0
        } else if max >= 10.0 {
            1
        } else {
            2
        };
        let text = match self.0.len() {
            0 => "-".to_owned(),
            1 => format!("{max:.digits$}"),
            _ => format!("{:.digits$} [{min:.digits$}..{max:.digits$}]", self.median()),
        };
        f.pad(&text)
    }
}

/// Appends to measure the bare disk.
const BARE_SYNCS: usize = 400;
