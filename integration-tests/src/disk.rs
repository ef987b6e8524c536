//! The real disk, whose free space a test decides.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peabiru_ledger::disk::{Disk, DiskFile, RealDisk};

/// Clones share the space.
#[derive(Clone)]
pub struct LimitedDisk {
    free_bytes: Arc<AtomicU64>,
}

impl LimitedDisk {
    /// As much space as the ledgers could want.
    #[must_use]
    pub fn roomy() -> Self {
        Self { free_bytes: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// From now on nobody else leaves a byte.
    pub fn fill(&self) {
        self.free_bytes.store(0, Ordering::SeqCst);
    }

    /// From now on there is so much space.
    pub fn leave(&self, bytes: u64) {
        self.free_bytes.store(bytes, Ordering::SeqCst);
    }

    /// Somebody removed something large.
    pub fn make_room(&self) {
        self.free_bytes.store(u64::MAX, Ordering::SeqCst);
    }
}

impl Disk for LimitedDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_folder(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        RealDisk.open(path)
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

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.free_bytes.load(Ordering::SeqCst))
    }
}
