//! Files on their way into the ledger, and how much of the spool each holder has.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};

use super::{FileRef, Folders, LargeFile, LargeFiles, LargeName, NAME_BYTES, finish};
use crate::LedgerError;
use crate::disk::DiskFile;
use crate::segment::at;

/// What one holder has of the spool; clones share it. Beyond a quarter of the spool it gets more only as long as another
/// quarter stays free for others.
#[derive(Debug, Clone, Default)]
pub struct SpoolShare(Arc<AtomicU64>);

/// A file that is being written. Dropped before `close`, it is removed.
pub struct SpoolFile {
    /// None once it was closed.
    spooled: Option<Spooled>,
    file: Box<dyn DiskFile>,
    unsynced_bytes: u64,
    digest: Context,
    /// A write or sync failed: nothing of it is to be trusted.
    broken: bool,
}

/// A name in the spool, and what it takes of it. Dropped, both are given back.
pub(super) struct Spooled {
    folders: Arc<Folders>,
    share: SpoolShare,
    pub(super) name: LargeName,
    bytes: u64,
}

impl LargeFiles {
    /// A new file in the spool, for `declared_bytes` if its length is known. Blocks on the disk, as everything here.
    ///
    /// # Errors
    /// `SpoolFull`, `SpoolShare`, `DiskFull`, `Disk`.
    pub fn spool(&self, share: &SpoolShare, declared_bytes: Option<u64>) -> Result<SpoolFile, LedgerError> {
        let declared_bytes = declared_bytes.unwrap_or(0);
        let (spooled_bytes, held_bytes) =
            (self.0.spooled_bytes.load(Ordering::Relaxed), share.0.load(Ordering::Relaxed));
        self.0.check_bounds(
            spooled_bytes.saturating_add(declared_bytes),
            held_bytes.saturating_add(declared_bytes),
        )?;
        self.0.check_space(declared_bytes)?;
        let mut name = LargeName([0; NAME_BYTES]);
        self.0.random.fill(&mut name.0);
        let spooled = Spooled { folders: Arc::clone(&self.0), share: share.clone(), name, bytes: 0 };
        let path = spooled.path();
        let file = self.0.disk.open(&path).map_err(at(&path))?;
        Ok(SpoolFile {
            spooled: Some(spooled),
            file,
            unsynced_bytes: 0,
            digest: Context::new(&SHA256),
            broken: false,
        })
    }
}

impl Folders {
    /// Whether the spool may have so many bytes, and one holder of it so many of them.
    fn check_bounds(&self, spooled_bytes: u64, held_bytes: u64) -> Result<(), LedgerError> {
        let spool_bytes_max = self.spool_bytes_max.load(Ordering::Relaxed);
        if spooled_bytes > spool_bytes_max {
            return Err(LedgerError::SpoolFull { spool_bytes_max });
        }
        let share_bytes_max = spool_bytes_max / 4;
        if held_bytes > share_bytes_max && spooled_bytes > spool_bytes_max - share_bytes_max {
            return Err(LedgerError::SpoolShare { share_bytes_max });
        }
        Ok(())
    }

    /// Whether the disk has room for so many bytes more.
    pub(super) fn check_space(&self, bytes: u64) -> Result<(), LedgerError> {
        let Self { disk, spool, min_free_bytes, .. } = self;
        if disk.free_bytes(spool).map_err(at(spool))? < min_free_bytes.saturating_add(bytes) {
            return Err(LedgerError::DiskFull { min_free_bytes: *min_free_bytes });
        }
        Ok(())
    }
}

impl SpoolFile {
    /// Appends. What was written is synced now and then, so that other syncs need not wait for all of it.
    ///
    /// # Errors
    /// `SpoolFull`, `SpoolShare`, `DiskFull`, `Disk`. The file is of no use afterwards.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), LedgerError> {
        let written = self.try_write(bytes);
        self.broken |= written.is_err();
        written
    }

    fn try_write(&mut self, bytes: &[u8]) -> Result<(), LedgerError> {
        let length = bytes.len() as u64;
        let Some(spooled) = &mut self.spooled else { return Err(LedgerError::Closed) };
        let offset = spooled.bytes;
        let path = spooled.path();
        spooled.reserve(length)?;
        if self.unsynced_bytes == 0 {
            spooled.folders.check_space(0)?;
        }
        self.digest.update(bytes);
        self.file.write_all_at(bytes, offset).map_err(at(&path))?;
        self.unsynced_bytes += length;
        if self.unsynced_bytes >= SYNC_BYTES {
            self.file.sync().map_err(at(&path))?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }

    /// Nothing more comes: it can be read, and is not durable yet.
    ///
    /// # Errors
    /// `Closed` after a write that failed.
    pub fn close(mut self) -> Result<LargeFile, LedgerError> {
        if self.broken {
            return Err(LedgerError::Closed);
        }
        let Some(spooled) = self.spooled.take() else { return Err(LedgerError::Closed) };
        let content = FileRef { name: spooled.name, bytes: spooled.bytes, digest: finish(self.digest) };
        Ok(LargeFile::new(&Arc::clone(&spooled.folders), content, Some(spooled), Some(self.file)))
    }

    /// Its length so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.spooled.as_ref().map_or(0, |spooled| spooled.bytes)
    }
}

impl Spooled {
    fn reserve(&mut self, length: u64) -> Result<(), LedgerError> {
        let spooled_bytes = self.folders.spooled_bytes.fetch_add(length, Ordering::Relaxed) + length;
        let held_bytes = self.share.0.fetch_add(length, Ordering::Relaxed) + length;
        self.bytes += length;
        let checked = self.folders.check_bounds(spooled_bytes, held_bytes);
        if checked.is_err() {
            self.give_back(length);
        }
        checked
    }

    fn give_back(&mut self, length: u64) {
        self.folders.spooled_bytes.fetch_sub(length, Ordering::Relaxed);
        self.share.0.fetch_sub(length, Ordering::Relaxed);
        self.bytes -= length;
    }

    fn path(&self) -> PathBuf {
        self.folders.spool.join(self.name.text())
    }

    /// It has gone where it stays: only what it took is given back.
    pub(super) fn moved(mut self) {
        self.give_back(self.bytes);
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        self.give_back(self.bytes);
        // Not there if it was moved. One that stays is removed by the next start.
        let _ = self.folders.disk.remove(&self.path());
    }
}

/// After so many bytes a file in the spool is synced, and the space left is looked at.
pub(super) const SYNC_BYTES: u64 = 4 * 1024 * 1024;
