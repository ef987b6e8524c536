//! Large payloads: the ciphertext of a body in a file of its own, beside the segments.
//!
//! ```text
//! spool/NAME      while it is written, and until the commit record that names it is durable
//! large/NN/NAME   from then on; NN are the first two digits of NAME
//! ```
//!
//! FROZEN: NAME is 32 hex digits, and stands in at most one record of a stream. The content is the ciphertext of chunks 1,
//! 2, … of one payload, one after another: two at least, since a body of one chunk stands in the record. Chunk 0 (the context) stands in the commit record, and key and salt in a slot as
//! for every payload. The file is synced, and its name too, before the record is written.
//!
//! A start moves what a record names out of the spool, and removes the rest of the spool. A file in `large` is removed by
//! an erasure alone. One that a live slot belongs to and that is not there, or not as long, is a payload lost: reported,
//! and an error to whoever asks for it.

pub mod body;
mod spool;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use peabiru_proto::hash::Digest;
use peabiru_proto::random::Random;

use crate::LedgerError;
use crate::disk::{Disk, DiskFile};
use crate::scan::corrupt;
use crate::segment::{Location, at};
use spool::Spooled;
pub use spool::{SpoolFile, SpoolShare};

/// The two folders.
#[derive(Clone)]
pub struct LargeFiles(Arc<Folders>);

struct Folders {
    disk: Arc<dyn Disk>,
    random: Arc<dyn Random>,
    spool: PathBuf,
    kept: PathBuf,
    /// May change while the store runs.
    spool_bytes_max: AtomicU64,
    min_free_bytes: u64,
    /// Of files that no durable record names.
    spooled_bytes: AtomicU64,
}

/// What the disk has, and what must stay free on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskRoom {
    /// For everybody.
    pub free_bytes: u64,
    /// With less than this nothing more is accepted.
    pub needed_bytes: u64,
}

/// Name of a file: 16 random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LargeName(pub(crate) [u8; NAME_BYTES]);

/// What a commit record says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileRef {
    pub(crate) name: LargeName,
    pub(crate) bytes: u64,
    /// SHA-256 of the content: finds damage without a key.
    pub(crate) digest: Digest,
}

/// A whole file, durable once it was kept; clones share it. One that no record was asked to name is removed with the last.
#[derive(Clone)]
pub struct LargeFile(Arc<Kept>);

struct Kept {
    folders: Arc<Folders>,
    content: FileRef,
    /// Until it is durable.
    unsynced: Mutex<Option<Box<dyn DiskFile>>>,
    /// As long as no durable record names it.
    spooled: Mutex<Option<Spooled>>,
    /// A commit record names it, or may.
    named: AtomicBool,
}

impl LargeFiles {
    /// Makes the folders.
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
        let spooled_bytes = AtomicU64::new(0);
        Ok(Self(Arc::new(Folders {
            disk,
            random,
            spool,
            kept,
            spool_bytes_max: AtomicU64::new(spool_bytes_max),
            min_free_bytes,
            spooled_bytes,
        })))
    }

    /// Whether the disk has room for so many bytes beside what stays free. Blocks on the disk.
    ///
    /// # Errors
    /// `DiskFull`, `Disk`.
    pub fn check_space(&self, bytes: u64) -> Result<(), LedgerError> {
        self.0.check_space(bytes)
    }

    /// What files on their way may take together, from now on. Those that are there stay.
    pub fn set_spool_bytes_max(&self, spool_bytes_max: u64) {
        self.0.spool_bytes_max.store(spool_bytes_max, Ordering::Relaxed);
    }

    /// How much room the disk has, and how much of it large bodies leave for the ledger.
    ///
    /// # Errors
    /// `Disk`.
    pub fn disk_room(&self) -> Result<DiskRoom, LedgerError> {
        let Folders { disk, spool, min_free_bytes, .. } = &*self.0;
        let free_bytes = disk.free_bytes(spool).map_err(at(spool))?;
        Ok(DiskRoom { free_bytes, needed_bytes: *min_free_bytes })
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.0.disk
    }

    pub(crate) fn named(&self, content: FileRef) -> LargeFile {
        let file = LargeFile::new(&self.0, content, None, None);
        file.set_named();
        file
    }

    /// After a start, when everything is durable: each file that a live slot belongs to goes where it stays, erased ones go,
    /// and the spool is emptied. Gives the files that are lost.
    pub(crate) fn settle(&self, live: &[FileRef], erased: &[FileRef]) -> Result<Vec<FileRef>, LedgerError> {
        let Folders { disk, spool, .. } = &*self.0;
        let spooled = disk.list(spool).map_err(at(spool))?;
        let mut lost = Vec::new();
        for content in live {
            if spooled.binary_search(&content.name.text()).is_ok() {
                self.0.move_out(content.name)?;
            }
            if self.0.length(content.name)? != Some(content.bytes) {
                lost.push(*content);
            }
        }
        for content in erased {
            self.0.remove(content.name)?;
        }
        for text in disk.list(spool).map_err(at(spool))? {
            // What is not ours stays.
            if LargeName::parse(&text).is_some() {
                let path = spool.join(&text);
                disk.remove(&path).map_err(at(&path))?;
            }
        }
        Ok(lost)
    }
}

impl Folders {
    /// Where a file is from the moment when its record is durable.
    fn place(&self, name: LargeName) -> (PathBuf, PathBuf) {
        let text = name.text();
        let folder = self.kept.join(&text[..2]);
        let path = folder.join(text);
        (folder, path)
    }

    /// Out of the spool. Not synced: a crash leaves it in one of the two, and the next start moves it again.
    fn move_out(&self, name: LargeName) -> Result<(), LedgerError> {
        let (folder, path) = self.place(name);
        self.disk.create_folder(&folder).map_err(at(&folder))?;
        self.disk.rename(&self.spool.join(name.text()), &path).map_err(at(&path))
    }

    fn open(&self, name: LargeName) -> Result<Option<Box<dyn DiskFile>>, LedgerError> {
        let (_, path) = self.place(name);
        let found = self.disk.open_existing(&path).map_err(at(&path))?;
        if found.is_some() {
            return Ok(found);
        }
        let spooled = self.spool.join(name.text());
        let found = self.disk.open_existing(&spooled).map_err(at(&spooled))?;
        if found.is_some() {
            return Ok(found);
        }
        // It may have moved meanwhile.
        self.disk.open_existing(&path).map_err(at(&path))
    }

    fn length(&self, name: LargeName) -> Result<Option<u64>, LedgerError> {
        let (_, path) = self.place(name);
        self.open(name)?.map(|file| file.bytes().map_err(at(&path))).transpose()
    }

    /// Wherever it is, durably.
    fn remove(&self, name: LargeName) -> Result<(), LedgerError> {
        let (folder, path) = self.place(name);
        for (folder, path) in [(&folder, path), (&self.spool, self.spool.join(name.text()))] {
            if self.disk.open_existing(&path).map_err(at(&path))?.is_some() {
                self.disk.remove(&path).map_err(at(&path))?;
                self.disk.sync_folder(folder).map_err(at(folder))?;
            }
        }
        Ok(())
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
    let text = content.name.text();
    let wrong = |what: &str| corrupt(location, format!("its payload's file {text} {what}"));
    let kept = folder.join(LARGE_FOLDER).join(&text[..2]).join(&text);
    let spooled = folder.join("spool").join(&text);
    let mut found = None;
    for path in [&kept, &spooled] {
        found = found.or(disk.open_existing(path).map_err(at(path))?);
    }
    let file = found.ok_or_else(|| wrong("is not there"))?;
    if file.bytes().map_err(at(&kept))? != content.bytes {
        return Err(wrong("has another length"));
    }
    let mut digest = Context::new(&SHA256);
    let (mut offset, mut buffer) = (0, vec![0; READ_BYTES]);
    while offset < content.bytes {
        let length = usize::try_from(content.bytes - offset).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        file.read_exact_at(&mut buffer[..length], offset).map_err(at(&kept))?;
        digest.update(&buffer[..length]);
        offset += length as u64;
    }
    if finish(digest) == content.digest { Ok(()) } else { Err(wrong("is damaged")) }
}

fn finish(digest: Context) -> Digest {
    Digest::from_slice(digest.finish().as_ref()).expect("SHA-256 gives 32 bytes")
}

impl LargeFile {
    fn new(
        folders: &Arc<Folders>,
        content: FileRef,
        spooled: Option<Spooled>,
        unsynced: Option<Box<dyn DiskFile>>,
    ) -> Self {
        let (folders, unsynced, spooled) = (Arc::clone(folders), Mutex::new(unsynced), Mutex::new(spooled));
        Self(Arc::new(Kept { folders, content, unsynced, spooled, named: AtomicBool::new(false) }))
    }

    /// Makes it and its name durable, once: ready for the commit record.
    ///
    /// # Errors
    /// `DiskFull`, `Disk`.
    pub fn keep(&self) -> Result<(), LedgerError> {
        let mut unsynced = self.0.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &*unsynced else { return Ok(()) };
        let folders = &self.0.folders;
        folders.check_space(0)?;
        file.sync().map_err(at(&folders.spool.join(self.0.content.name.text())))?;
        folders.disk.sync_folder(&folders.spool).map_err(at(&folders.spool))?;
        *unsynced = None;
        Ok(())
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
    pub fn duplicate(&self, share: &SpoolShare) -> Result<Self, LedgerError> {
        let mut copy = LargeFiles(Arc::clone(&self.0.folders)).spool(share, Some(self.bytes()))?;
        let mut reader = self.reader()?;
        while let Some(chunk) = reader.next_chunk()? {
            copy.write(&chunk)?;
        }
        copy.close()
    }

    pub(crate) fn content(&self) -> FileRef {
        self.0.content
    }

    /// The record that names it is about to be written. From now on no drop removes it.
    pub(crate) fn set_named(&self) {
        self.0.named.store(true, Ordering::Relaxed);
    }

    /// That record was not written.
    pub(crate) fn set_unnamed(&self) {
        self.0.named.store(false, Ordering::Relaxed);
    }

    /// The record that names it is durable. If it cannot be moved now, the next start moves it.
    pub(crate) fn settle(&self) {
        let spooled = self.0.spooled.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(spooled) = spooled else { return };
        match self.0.folders.move_out(spooled.name) {
            Ok(()) => spooled.moved(),
            Err(error) => {
                tracing::warn!(%error, "the file of a payload stays in the spool");
                // Neither removed, nor is its space given back.
                std::mem::forget(spooled);
            }
        }
    }

    /// Its slot is erased.
    ///
    /// # Errors
    /// `Disk`: the next start removes it.
    pub(crate) fn erase(&self) -> Result<(), LedgerError> {
        self.0.folders.remove(self.0.content.name)
    }

    fn open(&self) -> Result<Box<dyn DiskFile>, LedgerError> {
        let missing = || at(&self.0.path())(std::io::ErrorKind::NotFound.into());
        self.0.folders.open(self.0.content.name)?.ok_or_else(missing)
    }
}

impl Kept {
    fn path(&self) -> PathBuf {
        self.folders.place(self.content.name).1
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Removed with its place in the spool, unless a record names it, or may.
        if *self.named.get_mut()
            && let Some(spooled) = self.spooled.get_mut().unwrap_or_else(PoisonError::into_inner).take()
        {
            std::mem::forget(spooled);
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

impl std::fmt::Debug for LargeFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LargeFiles({})", self.0.kept.display())
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
/// `spool_bytes_max` if nobody says otherwise.
pub(crate) const SPOOL_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Most bytes that one read of a check takes.
const READ_BYTES: usize = 64 * 1024;
