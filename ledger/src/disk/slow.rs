//! The real disk with slower syncs: what a node does on a disk that is not this machine's.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Disk, DiskFile, RealDisk};

/// The operating system's files; each sync of one takes longer by what is set. For benchmarks.
#[derive(Debug, Clone, Default)]
pub struct SlowDisk(Arc<AtomicU64>);

impl SlowDisk {
    /// As fast as the real one until `slow_down`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on each sync of a file takes this much longer.
    pub fn slow_down(&self, added: Duration) {
        self.0.store(u64::try_from(added.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Disk for SlowDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_folder(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SlowFile { file: RealDisk.open(path)?, added_us: Arc::clone(&self.0) }))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(folder)
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
    added_us: Arc<AtomicU64>,
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
        std::thread::sleep(Duration::from_micros(self.added_us.load(Ordering::Relaxed)));
        self.file.sync()
    }
}
