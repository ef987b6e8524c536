//! The global configuration of this node: refreshed from the registry, kept on disk, never replaced by an older one.
//!
//! Folder: `current` (the newest accepted answer of the registry), `snapshots/<version>` (each one accepted, for
//! evidence), `parts/<digest>`. A file is written beside its name, synced and renamed: a crash leaves the last good.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use peabiru_ledger::snapshot::{SnapshotError, VerifiedSnapshot, verify_snapshot};
use peabiru_ledger::status_note::verify_status;
use peabiru_proto::globalconf::{ConfigurationAnchor, GlobalConfiguration, GlobalconfError};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::NodeId;
use peabiru_proto::time::{Clock, Timestamp};
use peabiru_proto::wire::{self, GetSnapshotResponse, SignedStatusNote};
use prost::Message as _;

/// Holds the snapshot in force and those before it.
#[derive(Debug)]
pub struct Globalconf {
    folder: PathBuf,
    anchor: ConfigurationAnchor,
    clock: Arc<dyn Clock>,
    current: ArcSwapOption<GlobalConfiguration>,
    /// When the registry last said that the current one is the newest; milliseconds since 1970.
    confirmed_at_ms: AtomicU64,
}

/// What a status note says of the snapshot that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is the newest.
    Newest,
    /// There is a newer one.
    Newer,
}

/// A snapshot whose signatures hold; its parts may be missing yet.
#[derive(Debug)]
pub struct Candidate {
    verified: VerifiedSnapshot,
    answer: GetSnapshotResponse,
}

/// Why a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The answer has no snapshot in it.
    #[error("what the registry gave holds no snapshot")]
    Empty,
    /// Forged, expired, older than seen, or of another instance.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A part is missing or contradicts the rest.
    #[error(transparent)]
    Content(#[from] GlobalconfError),
    /// The folder cannot be read or written.
    #[error("{path}: {source}")]
    Folder {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was kept is damaged.
    #[error(
        "{path}: {source}. Restore it from a backup: without it this node would take an older snapshot than it has seen"
    )]
    Kept {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, or with the parts that it names.
        source: Box<RefreshError>,
    },
    /// A peer showed a newer version, and did not give it.
    #[error("{node} showed version {version}, and does not give it: {reason}")]
    Peer {
        /// Who.
        node: NodeId,
        /// What it showed.
        version: u64,
        /// What happened.
        reason: String,
    },
    /// Nobody answers at the registry's addresses.
    #[error("registry {url}: {reason}")]
    Unreachable {
        /// Where it was asked.
        url: String,
        /// What happened.
        reason: String,
    },
}

impl RefreshError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "globalconf.empty",
            Self::Snapshot(error) => error.code(),
            Self::Content(_) => "globalconf.content",
            Self::Folder { .. } => "globalconf.folder",
            Self::Kept { .. } => "globalconf.kept",
            Self::Peer { .. } => "globalconf.peer",
            Self::Unreachable { .. } => "registry.unreachable",
        }
    }
}

impl Candidate {
    /// Its version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.verified.snapshot().version
    }
}

impl Globalconf {
    /// Opens the folder and takes up the last good snapshot, even an expired one: `in_force` judges that.
    ///
    /// # Errors
    /// `Folder` if it cannot be read; `Kept` if what it holds was tampered with.
    pub fn open(
        folder: PathBuf,
        anchor: ConfigurationAnchor,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RefreshError> {
        for part in ["snapshots", "parts"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(at(&path))?;
        }
        let current = ArcSwapOption::empty();
        let conf = Self { folder, anchor, clock, current, confirmed_at_ms: AtomicU64::new(0) };
        if let Some(bytes) = conf.read("current")? {
            let damaged =
                |error| RefreshError::Kept { path: conf.folder.join("current"), source: Box::new(error) };
            conf.current.store(Some(Arc::new(conf.take_up(bytes).map_err(damaged)?)));
        }
        Ok(conf)
    }

    /// The newest snapshot, expired or not.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<GlobalConfiguration>> {
        self.current.load_full()
    }

    /// The version held; 0 before the first.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.newest().map_or(0, |conf| conf.version())
    }

    /// Takes a status note. If it confirms what is held, that is fresh as of the note.
    ///
    /// # Errors
    /// Forged, of another instance, of an older version than the one held, or of another snapshot of that version.
    pub fn hear(&self, note: &SignedStatusNote) -> Result<Told, RefreshError> {
        let status = verify_status(note, &self.anchor, self.clock.now())?;
        let (found, held) = (status.newest(), self.newest());
        let version = held.as_ref().map_or(0, |held| held.version());
        if found.version > version {
            return Ok(Told::Newer);
        }
        if found.version < version {
            return Err(SnapshotError::Older { found: found.version, held: version }.into());
        }
        if held.is_some_and(|held| held.digest() != found.digest) {
            return Err(SnapshotError::Forked { version }.into());
        }
        self.confirmed_at_ms.fetch_max(status.noted_at().as_ms(), Ordering::Relaxed);
        Ok(Told::Newest)
    }

    /// When the registry last said that what is held is the newest; none before the first snapshot.
    #[must_use]
    pub fn confirmed_at(&self) -> Option<Timestamp> {
        let noted_at = Timestamp::from_ms(self.confirmed_at_ms.load(Ordering::Relaxed));
        self.newest().map(|conf| conf.created_at().max(noted_at))
    }

    /// How long ago that was, by this node's clock.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        self.confirmed_at().map_or(Duration::ZERO, |at| self.clock.now().since(at))
    }

    /// Checks the registry's answer; says nothing of its parts yet.
    ///
    /// # Errors
    /// `Empty`, or why the snapshot is refused: forged, expired, older than the one held, of another instance.
    pub fn check(&self, answer: GetSnapshotResponse) -> Result<Candidate, RefreshError> {
        let held = self.newest();
        let version = held.as_ref().map_or(0, |conf| conf.version());
        let candidate = self.judge(answer, self.clock.now(), version)?;
        if held.is_some_and(|held| {
            candidate.verified.snapshot().version == version && candidate.verified.digest() != held.digest()
        }) {
            return Err(SnapshotError::Forked { version }.into());
        }
        Ok(candidate)
    }

    /// Digests of the parts that must be fetched before `accept`.
    #[must_use]
    pub fn missing(&self, candidate: &Candidate) -> Vec<Digest> {
        let digests = candidate
            .verified
            .snapshot()
            .parts
            .iter()
            .filter_map(|part| Digest::from_slice(&part.digest).ok());
        digests.filter(|digest| !self.part_path(digest).exists()).collect()
    }

    /// Keeps a part under its digest, computed here.
    ///
    /// # Errors
    /// `Folder` if it cannot be written.
    pub fn keep_part(&self, part: &[u8]) -> Result<(), RefreshError> {
        write_synced(&self.part_path(&Digest::of(part)), part)
    }

    /// Puts a snapshot in force. Its parts are on disk before `current` names it.
    ///
    /// # Errors
    /// `Content` if a part is missing or contradicts the rest, `Folder` if it cannot be written.
    pub fn accept(&self, candidate: &Candidate) -> Result<Arc<GlobalConfiguration>, RefreshError> {
        let conf = Arc::new(self.assemble(candidate)?);
        let bytes = candidate.answer.encode_to_vec();
        write_synced(&self.folder.join("snapshots").join(conf.version().to_string()), &bytes)?;
        write_synced(&self.folder.join("current"), &bytes)?;
        self.current.store(Some(Arc::clone(&conf)));
        Ok(conf)
    }

    /// A snapshot that was in force once, as the registry gave it.
    ///
    /// # Errors
    /// `Folder` if it cannot be read.
    pub fn snapshot(&self, version: u64) -> Result<Option<GetSnapshotResponse>, RefreshError> {
        let bytes = self.read(&format!("snapshots/{version}"))?;
        bytes.map(|bytes| GetSnapshotResponse::decode(bytes).map_err(|_| RefreshError::Empty)).transpose()
    }

    /// A part by its digest.
    ///
    /// # Errors
    /// `Folder` if it cannot be read.
    pub fn part(&self, digest: &Digest) -> Result<Option<Bytes>, RefreshError> {
        Ok(self.read(&format!("parts/{digest}"))?.filter(|part| Digest::of(part) == *digest))
    }

    /// Whom this node trusts.
    #[must_use]
    pub fn anchor(&self) -> &ConfigurationAnchor {
        &self.anchor
    }

    fn take_up(&self, kept: Bytes) -> Result<GlobalConfiguration, RefreshError> {
        let answer = GetSnapshotResponse::decode(kept).map_err(|_| RefreshError::Empty)?;
        let created_at = created_at(&answer).ok_or(RefreshError::Empty)?;
        // Judged at its own time: what was accepted once is still the newest known, whatever the clock says now.
        let candidate = self.judge(answer, created_at, 0)?;
        self.assemble(&candidate)
    }

    fn judge(
        &self,
        answer: GetSnapshotResponse,
        at: Timestamp,
        oldest: u64,
    ) -> Result<Candidate, RefreshError> {
        let signed = answer.snapshot.as_ref().ok_or(RefreshError::Empty)?;
        let verified = verify_snapshot(signed, &self.anchor, at, oldest)?;
        Ok(Candidate { verified, answer })
    }

    fn assemble(&self, candidate: &Candidate) -> Result<GlobalConfiguration, RefreshError> {
        let verified = &candidate.verified;
        let part = |digest: &Digest| self.part(digest).ok().flatten();
        Ok(GlobalConfiguration::assemble(verified.snapshot(), verified.digest(), &part)?)
    }

    fn part_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("parts").join(digest.to_string())
    }

    fn read(&self, name: &str) -> Result<Option<Bytes>, RefreshError> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path)(error)),
        }
    }
}

fn created_at(answer: &GetSnapshotResponse) -> Option<Timestamp> {
    let signed = answer.snapshot.as_ref()?;
    let snapshot = wire::Snapshot::decode(signed.snapshot.clone()).ok()?;
    Some(Timestamp::from_ms(snapshot.created_at_ms))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), RefreshError> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    };
    write().map_err(at(path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> RefreshError + '_ {
    move |source| RefreshError::Folder { path: path.to_owned(), source }
}
