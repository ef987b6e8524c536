//! Large payloads: the ciphertext of a body in a file of its own, beside the segments.
//!
//! ```text
//! spool/NAME   while it is written; the folder is emptied at each start
//! large/NAME   whole and synced before the commit record that names it is written
//! ```
//!
//! FROZEN: NAME is 32 hex digits; the content is the ciphertext of chunks 1, 2, …, one after another. Chunk 0 (the
//! context) stands in the commit record, and key and salt in a slot as for every payload. A file that no record names is
//! removed at the start; one that a live slot belongs to and that is not there, or not as long, is corruption.

pub mod body;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crc32fast::Hasher;
use data_encoding::HEXLOWER;
use peabiru_proto::random::Random;

use crate::LedgerError;
use crate::disk::{Disk, DiskFile};
use crate::scan::corrupt;
use crate::segment::{Location, at};

/// The two folders.
#[derive(Clone)]
pub struct LargeFiles(Arc<Folders>);

struct Folders {
    disk: Arc<dyn Disk>,
    random: Arc<dyn Random>,
    spool: PathBuf,
    kept: PathBuf,
    spool_bytes_max: u64,
    min_free_bytes: u64,
    /// Of files in the spool.
    spooled_bytes: AtomicU64,
}

/// Name of a file: 16 random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LargeName(pub(crate) [u8; NAME_BYTES]);

/// What a commit record says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileRef {
    pub(crate) name: LargeName,
    pub(crate) bytes: u64,
    /// CRC-32 (ISO-HDLC) of the content: finds damage without a key.
    pub(crate) crc: u32,
}

/// A file that is being written. Dropped before `keep`, it is removed.
pub struct SpoolFile {
    folders: Arc<Folders>,
    name: LargeName,
    file: Box<dyn DiskFile>,
    bytes: u64,
    unsynced_bytes: u64,
    crc: Hasher,
}

/// A whole file, durable under its name; clones share it. One that no record was asked to name is removed with the last.
#[derive(Clone)]
pub struct LargeFile(Arc<Kept>);

struct Kept {
    folders: Arc<Folders>,
    content: FileRef,
    /// A commit record names it, or may.
    named: AtomicBool,
}

impl std::fmt::Debug for LargeFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LargeFiles({})", self.0.kept.display())
    }
}

impl LargeFiles {
    /// Makes the folders, and empties the spool.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        random: Arc<dyn Random>,
        folder: &Path,
        spool_bytes_max: u64,
        min_free_bytes: u64,
    ) -> Result<Self, LedgerError> {
        let (spool, kept) = (folder.join("spool"), folder.join(LARGE_FOLDER));
        for path in [&spool, &kept] {
            disk.create_folder(path).map_err(at(path))?;
        }
        disk.sync_folder(folder).map_err(at(folder))?;
        for name in disk.list(&spool).map_err(at(&spool))? {
            let path = spool.join(name);
            disk.remove(&path).map_err(at(&path))?;
        }
        let spooled_bytes = AtomicU64::new(0);
        Ok(Self(Arc::new(Folders {
            disk,
            random,
            spool,
            kept,
            spool_bytes_max,
            min_free_bytes,
            spooled_bytes,
        })))
    }

    /// A new file in the spool. Blocks on the disk, as everything here.
    ///
    /// # Errors
    /// `Disk`.
    pub fn spool(&self) -> Result<SpoolFile, LedgerError> {
        let mut name = LargeName([0; NAME_BYTES]);
        self.0.random.fill(&mut name.0);
        let path = self.0.spool.join(name.text());
        let file = self.0.disk.open(&path).map_err(at(&path))?;
        let folders = Arc::clone(&self.0);
        Ok(SpoolFile { folders, name, file, bytes: 0, unsynced_bytes: 0, crc: Hasher::new() })
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.0.disk
    }

    pub(crate) fn named(&self, content: FileRef) -> LargeFile {
        let file = LargeFile::new(&self.0, content);
        file.set_named();
        file
    }

    /// Removes what no record names. `live` are the files whose slot is live, with the record that names them.
    pub(crate) fn settle(&self, live: &HashMap<LargeName, (FileRef, Location)>) -> Result<u64, LedgerError> {
        let kept = &self.0.kept;
        let mut removed = 0;
        for text in self.0.disk.list(kept).map_err(at(kept))? {
            if LargeName::parse(&text).is_none_or(|name| !live.contains_key(&name)) {
                let path = kept.join(&text);
                self.0.disk.remove(&path).map_err(at(&path))?;
                removed += 1;
            }
        }
        live.values()
            .try_for_each(|(content, location)| check_length(&*self.0.disk, kept, *content, *location))?;
        Ok(removed)
    }
}

/// Checks the content of a file against its record.
///
/// # Errors
/// `Corrupt` names the record; `Disk`.
pub(crate) fn check_content(
    disk: &dyn Disk,
    folder: &Path,
    content: FileRef,
    location: Location,
) -> Result<(), LedgerError> {
    let kept = folder.join(LARGE_FOLDER);
    check_length(disk, &kept, content, location)?;
    let path = kept.join(content.name.text());
    let file = disk.open(&path).map_err(at(&path))?;
    let mut crc = Hasher::new();
    let (mut offset, mut buffer) = (0, vec![0; READ_BYTES]);
    while offset < content.bytes {
        let length = usize::try_from(content.bytes - offset).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        file.read_exact_at(&mut buffer[..length], offset).map_err(at(&path))?;
        crc.update(&buffer[..length]);
        offset += length as u64;
    }
    if crc.finalize() == content.crc {
        return Ok(());
    }
    let what = format!("its payload's file {LARGE_FOLDER}/{} is damaged", content.name.text());
    Err(corrupt(location, what))
}

fn check_length(
    disk: &dyn Disk,
    kept: &Path,
    content: FileRef,
    location: Location,
) -> Result<(), LedgerError> {
    let text = content.name.text();
    let path = kept.join(&text);
    // Opening makes a file that is not there.
    let there = disk.list(kept).map_err(at(kept))?.binary_search(&text).is_ok();
    if there && disk.open(&path).and_then(|file| file.bytes()).map_err(at(&path))? == content.bytes {
        return Ok(());
    }
    let what = format!(
        "its payload's file {LARGE_FOLDER}/{text} of {} bytes is not there or not as long",
        content.bytes
    );
    Err(corrupt(location, what))
}

impl SpoolFile {
    /// Appends. What was written is synced now and then, so that other syncs need not wait for all of it.
    ///
    /// # Errors
    /// `SpoolFull`, `DiskFull`, `Disk`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), LedgerError> {
        let length = bytes.len() as u64;
        let Folders { spooled_bytes, spool_bytes_max, min_free_bytes, disk, spool, .. } = &*self.folders;
        if spooled_bytes.fetch_add(length, Ordering::Relaxed) + length > *spool_bytes_max {
            spooled_bytes.fetch_sub(length, Ordering::Relaxed);
            return Err(LedgerError::SpoolFull { spool_bytes_max: *spool_bytes_max });
        }
        let offset = self.bytes;
        // Given back when dropped, also if the write fails.
        self.bytes += length;
        self.crc.update(bytes);
        self.file.write_all_at(bytes, offset).map_err(at(&self.path()))?;
        self.unsynced_bytes += length;
        if self.unsynced_bytes >= SYNC_BYTES {
            if disk.free_bytes(spool).map_err(at(spool))? < *min_free_bytes {
                return Err(LedgerError::DiskFull { min_free_bytes: *min_free_bytes });
            }
            self.file.sync().map_err(at(&self.path()))?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }

    /// Makes it durable under its name: ready for the commit record.
    ///
    /// # Errors
    /// `Disk`.
    pub fn keep(self) -> Result<LargeFile, LedgerError> {
        let kept = &self.folders.kept;
        self.file.sync().map_err(at(&self.path()))?;
        let to = kept.join(self.name.text());
        self.folders.disk.rename(&self.path(), &to).map_err(at(&to))?;
        self.folders.disk.sync_folder(kept).map_err(at(kept))?;
        let content = FileRef { name: self.name, bytes: self.bytes, crc: self.crc.clone().finalize() };
        Ok(LargeFile::new(&self.folders, content))
    }

    /// Its length so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn path(&self) -> PathBuf {
        self.folders.spool.join(self.name.text())
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        self.folders.spooled_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        // Not there if it was kept. One that stays is removed by the next start.
        let _ = self.folders.disk.remove(&self.path());
    }
}

impl LargeFile {
    fn new(folders: &Arc<Folders>, content: FileRef) -> Self {
        Self(Arc::new(Kept { folders: Arc::clone(folders), content, named: AtomicBool::new(false) }))
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.content.bytes
    }

    /// The same content under another name.
    ///
    /// # Errors
    /// As `SpoolFile`'s.
    pub fn duplicate(&self) -> Result<Self, LedgerError> {
        let mut copy = LargeFiles(Arc::clone(&self.0.folders)).spool()?;
        let mut reader = self.reader()?;
        while let Some(chunk) = reader.next_chunk()? {
            copy.write(&chunk)?;
        }
        copy.keep()
    }

    pub(crate) fn content(&self) -> FileRef {
        self.0.content
    }

    /// From now on a record may name it.
    pub(crate) fn set_named(&self) {
        self.0.named.store(true, Ordering::Relaxed);
    }

    /// No record names it, or its slot is erased.
    pub(crate) fn set_unnamed(&self) {
        self.0.named.store(false, Ordering::Relaxed);
    }

    fn open(&self) -> Result<Box<dyn DiskFile>, LedgerError> {
        let path = self.0.path();
        self.0.folders.disk.open(&path).map_err(at(&path))
    }
}

impl Kept {
    fn path(&self) -> PathBuf {
        self.folders.kept.join(self.content.name.text())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !*self.named.get_mut() {
            // One that stays is removed by the next start.
            let _ = self.folders.disk.remove(&self.path());
        }
    }
}

impl PartialEq for LargeFile {
    fn eq(&self, other: &Self) -> bool {
        self.0.content == other.0.content
    }
}

impl Eq for LargeFile {}

impl std::fmt::Debug for LargeFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LargeFile({} bytes)", self.0.content.bytes)
    }
}

impl LargeName {
    pub(crate) fn text(self) -> String {
        HEXLOWER.encode(&self.0)
    }

    fn parse(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

const LARGE_FOLDER: &str = "large";
pub(crate) const NAME_BYTES: usize = 16;
/// `spool_bytes` if nobody says otherwise.
pub(crate) const SPOOL_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// After so many bytes a file in the spool is synced.
const SYNC_BYTES: u64 = 4 * 1024 * 1024;
/// Most bytes that one read of a check takes.
const READ_BYTES: usize = 64 * 1024;
