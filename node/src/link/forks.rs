//! Forks on disk: `<folder>/forks/<time>-<origin hash>.txt` holds two signed heads of one ledger that contradict each
//! other, verbatim. Whoever holds the ledger's key can be asked about them; no excuse fits both.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use peabiru_ledger::checkpoint::SignedCheckpoint;
use peabiru_proto::hash::Digest;
use peabiru_proto::limits::MAX_NOTE_BYTES;
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;

/// The folder.
#[derive(Debug)]
pub struct ForkStore(PathBuf);

/// Two heads of one ledger of which neither contains the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// What was held.
    pub held: SignedCheckpoint,
    /// What came.
    pub new: SignedCheckpoint,
}

/// Why the folder is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ForksError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that does not hold two checkpoints of one ledger.
    #[error("{} does not hold two heads of one ledger; move it away once you know why", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
}

impl ForksError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "forks.folder",
            Self::Damaged { .. } => "forks.damaged",
        }
    }
}

impl ForkStore {
    /// Opens `<folder>/forks`, and reads which ledgers it speaks of.
    ///
    /// # Errors
    /// `Folder` or `Damaged`: a node that forgot whom it refuses must not start.
    pub fn open(folder: &Path) -> Result<(Self, Vec<Origin>), ForksError> {
        let folder = folder.join("forks");
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let mut refused = Vec::new();
        for file in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = file.map_err(at(&folder))?.path();
            if path.extension().is_some_and(|extension| extension == "txt") {
                refused.push(read(&path)?.held.origin().clone());
            }
        }
        Ok((Self(folder), refused))
    }

    /// Writes both heads and syncs them.
    ///
    /// # Errors
    /// `Folder`.
    pub fn keep(&self, fork: &Fork, now: Timestamp) -> Result<PathBuf, ForksError> {
        let name = Digest::of(fork.held.origin().as_str().as_bytes());
        let path = self.0.join(format!("{}-{name}.txt", now.as_ms()));
        let beside = path.with_extension("new");
        let write = || {
            let mut file = fs::File::create(&beside)?;
            file.write_all(fork.text().as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            fs::File::open(&self.0)?.sync_all()
        };
        write().map_err(at(&path))?;
        Ok(path)
    }
}

impl Fork {
    /// Both notes, verbatim, with a line between them.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{BETWEEN}{}", self.held.note(), self.new.note())
    }

    /// Reads what `text` wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (held, new) = text.split_once(BETWEEN)?;
        let held = SignedCheckpoint::parse(held.as_bytes()).ok()?;
        let new = SignedCheckpoint::parse(new.as_bytes()).ok()?;
        (held.origin() == new.origin()).then_some(Self { held, new })
    }
}

fn read(path: &Path) -> Result<Fork, ForksError> {
    let damaged = || ForksError::Damaged { path: path.to_owned() };
    let length = fs::metadata(path).map_err(at(path))?.len();
    if length > (2 * MAX_NOTE_BYTES + BETWEEN.len()) as u64 {
        return Err(damaged());
    }
    let bytes = fs::read(path).map_err(at(path))?;
    let text = String::from_utf8(bytes).map_err(|_| damaged())?;
    Fork::parse(&text).ok_or_else(damaged)
}

fn at(path: &Path) -> impl Fn(io::Error) -> ForksError + '_ {
    move |source| ForksError::Folder { path: path.to_owned(), source }
}

/// No line of a note looks like it.
const BETWEEN: &str = "--------\n";
