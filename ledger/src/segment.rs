//! Segment files: one stream of records, in files of equal length, zero-filled one ahead so that a sync changes no
//! file size. `segments/<number>.seg`, numbered from 0 with 16 digits.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::LedgerError;
use crate::disk::{Disk, DiskFile};
use crate::record::PAGE_BYTES;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// The folder of segment files.
#[derive(Clone)]
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    pub(crate) segment_bytes: u64,
}

impl Segments {
    pub(crate) fn open(disk: Arc<dyn Disk>, folder: &Path, segment_bytes: u64) -> Result<Self, LedgerError> {
        let segments = Self { disk, folder: folder.join("segments"), segment_bytes };
        segments.disk.create_folder(&segments.folder).map_err(at(&segments.folder))?;
        segments.disk.sync_folder(folder).map_err(at(folder))?;
        Ok(segments)
    }

    /// Numbers of the files that are there.
    pub(crate) fn numbers(&self) -> Result<Vec<u64>, LedgerError> {
        let names = self.disk.list(&self.folder).map_err(at(&self.folder))?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(".seg")?.parse().ok()).collect())
    }

    pub(crate) fn file(&self, number: u64) -> Result<Box<dyn DiskFile>, LedgerError> {
        let path = self.path(number);
        self.disk.open(&path).map_err(at(&path))
    }

    pub(crate) fn path(&self, number: u64) -> PathBuf {
        self.folder.join(name(number))
    }

    pub(crate) fn free_bytes(&self) -> Result<u64, LedgerError> {
        self.disk.free_bytes(&self.folder).map_err(at(&self.folder))
    }

    /// Makes a file of zeros, durable under its name. One that an earlier start made ready is kept.
    pub(crate) fn prepare(&self, number: u64) -> Result<Box<dyn DiskFile>, LedgerError> {
        let path = self.path(number);
        let fill = || {
            let file = self.disk.open(&path)?;
            let bytes = file.bytes()?;
            if bytes < self.segment_bytes || first_nonzero(&*file, 0)?.is_some() {
                zero(&*file, 0, bytes.max(self.segment_bytes))?;
            }
            file.sync()?;
            self.disk.sync_folder(&self.folder)?;
            Ok(file)
        };
        fill().map_err(at(&path))
    }
}

pub(crate) fn name(number: u64) -> String {
    format!("{number:016}.seg")
}

/// Overwrites a range with zeros.
pub(crate) fn zero(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZERO_BYTES];
    let mut at = from;
    while at < to {
        let piece = usize::try_from((to - at).min(ZERO_BYTES as u64)).expect("at most ZERO_BYTES");
        file.write_all_at(&zeros[..piece], at)?;
        at += piece as u64;
    }
    Ok(())
}

/// Where from `from` on the first byte lies that is not zero.
pub(crate) fn first_nonzero(file: &dyn DiskFile, from: u64) -> io::Result<Option<u64>> {
    let length = file.bytes()?;
    let mut buffer = vec![0; ZERO_BYTES];
    let mut at = from;
    while at < length {
        let piece = usize::try_from((length - at).min(ZERO_BYTES as u64)).expect("at most ZERO_BYTES");
        file.read_exact_at(&mut buffer[..piece], at)?;
        if let Some(found) = buffer[..piece].iter().position(|&byte| byte != 0) {
            return Ok(Some(at + found as u64));
        }
        at += piece as u64;
    }
    Ok(None)
}

pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> LedgerError + '_ {
    move |source| LedgerError::Disk { path: path.to_owned(), source }
}

/// Where the next segment is filled with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FillAhead {
    /// In a thread of its own.
    Background,
    /// At once, so that a simulation repeats itself.
    Inline,
}

/// The end of the stream, where the writer appends.
pub(crate) struct StreamEnd {
    segments: Segments,
    file: Box<dyn DiskFile>,
    /// Length of that file: a store may be opened with another `segment_bytes` than the one before.
    file_bytes: u64,
    end: Location,
    next: Next,
    fill: FillAhead,
    min_free_bytes: u64,
}

type Filled = Result<Box<dyn DiskFile>, LedgerError>;

enum Next {
    Missing,
    Filling(JoinHandle<Filled>),
    Done(Filled),
}

impl StreamEnd {
    /// Opens the segment of `end` and begins to fill the next.
    pub(crate) fn open(
        segments: Segments,
        end: Location,
        fill: FillAhead,
        min_free_bytes: u64,
    ) -> Result<Self, LedgerError> {
        let file = segments.file(end.segment)?;
        let file_bytes = file.bytes().map_err(at(&segments.path(end.segment)))?;
        let mut stream = Self { segments, file, file_bytes, end, next: Next::Missing, fill, min_free_bytes };
        stream.fill_next();
        Ok(stream)
    }

    /// Makes sure that so many bytes fit. May roll over to the next segment.
    ///
    /// # Errors
    /// `DiskFull` if there is no next segment and no room for one: nothing was written, try again later. After any
    /// other the process must stop.
    pub(crate) fn reserve(&mut self, bytes: usize) -> Result<(), LedgerError> {
        debug_assert!(bytes.is_multiple_of(PAGE_BYTES), "records are whole pages");
        if self.end.offset + bytes as u64 <= self.file_bytes {
            return Ok(());
        }
        if matches!(self.next, Next::Missing) {
            self.fill_next();
        }
        let filled = match std::mem::replace(&mut self.next, Next::Missing) {
            Next::Missing => return Err(self.disk_full()),
            Next::Filling(thread) => thread.join().unwrap_or_else(|_| Err(panicked())),
            Next::Done(filled) => filled,
        };
        // Nothing of the stream is in that segment yet: running out of space while filling it loses nothing.
        self.file = filled.map_err(|error| if is_full(&error) { self.disk_full() } else { error })?;
        self.file_bytes = self.segments.segment_bytes;
        self.end = Location { segment: self.end.segment + 1, offset: 0 };
        self.fill_next();
        Ok(())
    }

    /// Writes in one piece at the end and makes it durable. After an error the process must stop.
    pub(crate) fn write_synced(&mut self, bytes: &[u8]) -> io::Result<Location> {
        assert!(
            self.end.offset + bytes.len() as u64 <= self.file_bytes,
            "reserved, so no record spans segments"
        );
        let start = self.end;
        self.file.write_all_at(bytes, start.offset)?;
        self.file.sync()?;
        self.end.offset += bytes.len() as u64;
        Ok(start)
    }

    fn fill_next(&mut self) {
        let number = self.end.segment + 1;
        let enough = self
            .segments
            .free_bytes()
            .is_ok_and(|free| free >= self.min_free_bytes.saturating_add(self.segments.segment_bytes));
        if !enough {
            return;
        }
        let segments = self.segments.clone();
        self.next = match self.fill {
            FillAhead::Background => Next::Filling(std::thread::spawn(move || segments.prepare(number))),
            FillAhead::Inline => Next::Done(segments.prepare(number)),
        };
    }

    fn disk_full(&self) -> LedgerError {
        LedgerError::DiskFull { min_free_bytes: self.min_free_bytes }
    }
}

impl Drop for StreamEnd {
    /// Whoever opens the folder next may put records where this thread still writes zeros: wait for it.
    fn drop(&mut self) {
        if let Next::Filling(thread) = std::mem::replace(&mut self.next, Next::Missing) {
            // An error concerns a segment that nobody uses yet; the next start fills it again.
            let _ = thread.join();
        }
    }
}

fn is_full(error: &LedgerError) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error, LedgerError::Disk { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
}

fn panicked() -> LedgerError {
    LedgerError::Failed { reason: "the thread that fills segments panicked".to_owned() }
}

/// Zeros are written and looked for in pieces of this length.
const ZERO_BYTES: usize = 1024 * 1024;
