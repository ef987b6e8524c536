//! The real disk with slower syncs: what a node does on a disk that is not this machine's.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Disk, DiskFile, RealDisk};

/// The operating system's files; each sync of one takes longer by what is set. For benchmarks. Clones share all.
#[derive(Debug, Clone, Default)]
pub struct SlowDisk(Arc<Syncs>);

#[derive(Debug, Default)]
struct Syncs {
    added_us: AtomicU64,
    count: AtomicU64,
    taken_us: AtomicU64,
}

impl SlowDisk {
    /// As fast as the real one until `slow_down`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on each sync of a file takes this much longer.
    pub fn slow_down(&self, added: Duration) {
        self.0.added_us.store(micros(added), Ordering::Relaxed);
    }

    /// How many syncs there were, and how long all of them took.
    #[must_use]
    pub fn syncs(&self) -> (u64, Duration) {
        let taken = Duration::from_micros(self.0.taken_us.load(Ordering::Relaxed));
        (self.0.count.load(Ordering::Relaxed), taken)
    }
}

impl Disk for SlowDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_folder(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SlowFile { file: RealDisk.open(path)?, syncs: Arc::clone(&self.0) }))
    }

    fn open_existing(&self, path: &Path) -> io::Result<Option<Box<dyn DiskFile>>> {
        RealDisk.open_existing(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }

    fn lock(&self, folder: &Path) -> io::Result<Box<dyn Send + Sync>> {
        RealDisk.lock(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(folder)
    }
}

struct SlowFile {
    file: Box<dyn DiskFile>,
    syncs: Arc<Syncs>,
}

impl DiskFile for SlowFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn sync(&self) -> io::Result<()> {
        let started = Instant::now();
        std::thread::sleep(Duration::from_micros(self.syncs.added_us.load(Ordering::Relaxed)));
        let synced = self.file.sync();
        self.syncs.taken_us.fetch_add(micros(started.elapsed()), Ordering::Relaxed);
        self.syncs.count.fetch_add(1, Ordering::Relaxed);
        synced
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
