//! The public face of a node's ledgers: one writer thread behind a bounded queue.
//!
//! Callers encrypt, hash and encode their entries themselves; the writer joins them, writes once, syncs once, signs one
//! head for each ledger, and releases. An answer means: durable and sealed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use peabiru_certs::StorageKey;
use peabiru_proto::entry::{Entry, ExchangeId};
use peabiru_proto::origin::Origin;
use peabiru_proto::random::Random;
use tokio::sync::{oneshot, watch};

pub use crate::LedgerError;
use crate::checkpoint::{SealingKey, SignedCheckpoint, VerifyingKey};
use crate::committer::{BATCH_ENTRIES_MAX, Committer, Group, Shared, Stream};
use crate::disk::Disk;
pub use crate::erasure::NOTICE_ERASED;
use crate::hashes::HashFile;
use crate::index::Index;
use crate::item::Item;
pub use crate::item::{Append, Foreign};
use crate::large::{LargeFiles, SPOOL_BYTES_MAX};
use crate::payload::Payload;
use crate::position::{LogPosition, TreeSize};
use crate::proof::{ConsistencyProof, InclusionProof};
use crate::queued::{Pushed, Queued};
use crate::recover::{self, Recovered};
pub use crate::recover::{DroppedTail, LedgerIdentity, RecoveredEntry, Recovery, Shutdown};
use crate::seal::SealedEntry;
pub use crate::segment::FillAhead;
use crate::segment::{Segments, StreamEnd, at};
use crate::succession::{ChangedKeys, changed_keys};
use crate::tree::HashSource;
use crate::writer::{Command, QUEUED_WAIT, Reply, Writer, batch_bytes_max};

/// Where and how a store keeps its files.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Locked exclusively.
    pub folder: PathBuf,
    /// Folder of the index; none: look-ups by exchange are not available.
    pub index: Option<PathBuf>,
    /// Length of a segment file.
    pub segment_bytes: u64,
    /// How many groups of entries may wait for the disk.
    pub queue_groups: usize,
    /// What must stay free beside a new segment.
    pub min_free_bytes: u64,
    /// What large bodies may take on their way, in bytes: those that are named by an entry do not count.
    pub spool_bytes_max: u64,
    /// Where the next segment is filled.
    pub fill_ahead: FillAhead,
    /// Longest that an entry nobody waits for stays in memory for one that somebody does.
    pub queued_wait: Duration,
}

impl StoreConfig {
    /// The defaults, in this folder.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        let index = Some(folder.join("index"));
        Self {
            folder,
            index,
            segment_bytes: 64 * 1024 * 1024,
            queue_groups: 4096,
            min_free_bytes: 64 * 1024 * 1024,
            spool_bytes_max: SPOOL_BYTES_MAX,
            fill_ahead: FillAhead::Background,
            queued_wait: QUEUED_WAIT,
        }
    }
}

/// All ledgers of one node. Dropped without `close`, it stops as a crash would: what was not released may be lost.
pub struct Store {
    inner: Arc<Inner>,
    queue: SyncSender<Command>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// One ledger; clones share it.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) inner: Arc<Inner>,
    queue: SyncSender<Command>,
    number: usize,
}

/// Entries that are on their way to the disk.
pub struct Appending {
    answer: oneshot::Receiver<Result<Vec<SealedEntry>, LedgerError>>,
    inner: Arc<Inner>,
}

/// Counts since the start, all ledgers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreCounters {
    /// Entries sealed.
    pub entries: u64,
    /// Batches written.
    pub commits: u64,
    /// `fdatasync` calls on the stream.
    pub syncs: u64,
    /// Checkpoints signed.
    pub signatures: u64,
    /// Whether the index did not open, was set aside and is rebuilt: 0 or 1.
    pub index_set_aside: u64,
}

pub(crate) struct Inner {
    pub(crate) ledgers: Vec<Arc<Shared>>,
    pub(crate) hashes: Vec<HashFile>,
    pub(crate) segments: Segments,
    pub(crate) large: LargeFiles,
    pub(crate) storage_key: Option<StorageKey>,
    pub(crate) index: Option<Index>,
    queue_groups: usize,
    pub(crate) queued: Queued,
    pub(crate) min_free_bytes: u64,
    pub(crate) counters: Counters,
    /// The last batch found no space.
    pub(crate) disk_full: AtomicBool,
    failure: watch::Sender<Option<String>>,
    // Last, so that everything that works in the folder has stopped when the lock goes.
    _lock: Box<dyn Send + Sync>,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) entries: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) signatures: AtomicU64,
}

impl Store {
    /// Locks the folder, recovers, and starts the writer. `visit` is shown every entry, in order.
    ///
    /// # Errors
    /// `Locked`, `Corrupt`, `UnknownLedger`, `StorageKey`, `Disk`, `Index`.
    pub fn open(
        disk: &Arc<dyn Disk>,
        config: &StoreConfig,
        identities: Vec<LedgerIdentity>,
        storage_key: Option<StorageKey>,
        random: Arc<dyn Random>,
        visit: &mut dyn FnMut(&RecoveredEntry<'_>),
    ) -> Result<(Self, Recovery), LedgerError> {
        let folder = &config.folder;
        disk.create_folder(folder).map_err(at(folder))?;
        let lock = disk.lock(folder).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => LedgerError::Locked { folder: folder.clone() },
            _ => at(folder)(error),
        })?;
        let segments = Segments::open(Arc::clone(disk), folder, config.segment_bytes)?;
        let large = LargeFiles::open(
            Arc::clone(disk),
            Arc::clone(&random),
            folder,
            config.spool_bytes_max,
            // Large bodies leave room for the segments that are due: small messages, and erasures, still find it.
            config.min_free_bytes.saturating_add(2 * config.segment_bytes),
        )?;
        let key = storage_key.as_ref();
        let Recovered { stream, end, ledgers, hashes, report } =
            recover::recover(folder, &segments, &large, identities, key, &*random, visit)?;
        let stream_end = StreamEnd::open(segments.clone(), end.at, config.fill_ahead, config.min_free_bytes)?;
        let open_index = |folder| Index::open(folder, segments.clone(), stream, &end);
        let index = config.index.as_deref().map(open_index).transpose()?;
        let (queue, commands) = sync_channel(config.queue_groups);
        let inner = Arc::new(Inner {
            ledgers: ledgers.clone(),
            hashes,
            segments,
            large,
            storage_key: storage_key.clone(),
            index,
            queue_groups: config.queue_groups,
            queued: Queued::default(),
            min_free_bytes: config.min_free_bytes,
            counters: Counters::default(),
            disk_full: AtomicBool::new(false),
            failure: watch::Sender::new(None),
            _lock: lock,
        });
        let next = Stream { id: stream, next_sequence: end.next_sequence };
        let committer = Committer::new(next, ledgers, storage_key, random);
        let queued_wait = config.queued_wait;
        let writer =
            Writer { stream: stream_end, committer, commands, queued_wait, inner: Arc::clone(&inner) };
        let thread =
            std::thread::Builder::new().name("ledger-writer".to_owned()).spawn(move || run_writer(writer));
        let thread = thread.map_err(at(&config.folder))?;
        Ok((Self { inner, queue, writer: Mutex::new(Some(thread)) }, report))
    }

    /// The ledger with this origin.
    #[must_use]
    pub fn ledger(&self, origin: &Origin) -> Option<Ledger> {
        self.ledgers().into_iter().find(|ledger| ledger.origin() == origin)
    }

    /// All ledgers.
    #[must_use]
    pub fn ledgers(&self) -> Vec<Ledger> {
        (0..self.inner.ledgers.len())
            .map(|number| Ledger { inner: Arc::clone(&self.inner), queue: self.queue.clone(), number })
            .collect()
    }

    /// Where large bodies are kept.
    #[must_use]
    pub fn large_files(&self) -> &LargeFiles {
        &self.inner.large
    }

    /// Counts since the start.
    #[must_use]
    pub fn counters(&self) -> StoreCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { entries, commits, syncs, signatures } = &self.inner.counters;
        StoreCounters {
            entries: read(entries),
            commits: read(commits),
            syncs: read(syncs),
            signatures: read(signatures),
            index_set_aside: u64::from(self.inner.index.as_ref().is_some_and(Index::was_set_aside)),
        }
    }

    /// Says why, if a write or sync failed: the process must stop then.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.inner.failure.subscribe()
    }

    /// Commits what waits, writes the closing record, stops the threads. Later appends get `Closed`.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        let queue = self.queue.clone();
        // The queue may be full: wait for room off the runtime's threads.
        let sent = tokio::task::spawn_blocking(move || queue.send(Command::Close(done)).is_ok()).await;
        if sent.unwrap_or(false) {
            // An error means that the writer failed on the way, which `failure` reports.
            let _ = closed.await;
        }
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
        if let Some(index) = &self.inner.index {
            index.close();
        }
    }

    /// Waits until the writer has stopped after a failure or because nobody holds a ledger any more.
    #[cfg(test)]
    pub(crate) fn stopped(self) {
        let Self { inner, queue, writer } = self;
        drop((inner, queue));
        if let Some(writer) = writer.into_inner().unwrap() {
            writer.join().unwrap();
        }
    }
}

impl Appending {
    /// Waits until the entries are durable and sealed.
    ///
    /// # Errors
    /// As `Ledger::append`.
    pub async fn sealed(self) -> Result<Vec<SealedEntry>, LedgerError> {
        self.answer.await.unwrap_or_else(|_| Err(self.inner.failed()))
    }
}

impl std::fmt::Debug for Appending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Appending")
    }
}

impl Ledger {
    /// Its name.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.shared().origin
    }

    /// How many entries are durable and sealed.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.head().map_or(TreeSize::EMPTY, |head| head.size())
    }

    /// The newest checkpoint; none before the first entry.
    #[must_use]
    pub fn head(&self) -> Option<SignedCheckpoint> {
        self.shared().state().head.clone()
    }

    /// Appends consecutive entries in one commit. The answer comes when they are durable and sealed.
    ///
    /// # Errors
    /// `Full`, `DiskFull`, `TooLarge`: nothing was appended. `Failed`: the process must stop. `Closed`.
    pub async fn append(&self, appends: Vec<Append>) -> Result<Vec<SealedEntry>, LedgerError> {
        self.begin(appends)?.sealed().await
    }

    /// Hands entries over, to be committed after everything that was handed over or queued before, and before everything that
    /// is later. Who makes a chain of entries makes the next one while this one is on its way to the disk.
    ///
    /// # Errors
    /// As `append`, as far as it can be told at once: nothing was handed over.
    pub fn begin(&self, appends: Vec<Append>) -> Result<Appending, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let group = self.group(appends, Some(reply))?;
        self.send_command(Command::Append(group, self.inner.queued.before()))?;
        Ok(Appending { answer, inner: Arc::clone(&self.inner) })
    }

    /// Appends a KEY_CHANGE: `next`, the key that it names, seals everything after it. The key before seals it, and is dropped.
    ///
    /// # Errors
    /// `KeyChange` if the entry names other keys; else as `append`.
    pub async fn change_key(&self, change: Entry, next: SealingKey) -> Result<SealedEntry, LedgerError> {
        if changed_keys(&change) != Some(ChangedKeys { from: self.verifying_key(), to: next.verifying_key() })
        {
            return Err(LedgerError::KeyChange);
        }
        let (reply, answer) = oneshot::channel();
        let append = Append { entry: change, payload: None, foreign: None };
        let group = self.encode(vec![append], Some(reply))?;
        let group = Group { next_key: Some(Arc::new(next)), ..group };
        self.send_command(Command::Append(group, self.inner.queued.before()))?;
        let appending = Appending { answer, inner: Arc::clone(&self.inner) };
        appending.sealed().await?.pop().ok_or(LedgerError::KeyChange)
    }

    /// The key that seals the next commit.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        self.shared().state().key.verifying_key()
    }

    /// Appends an entry with the next commit, which waits for [`StoreConfig::queued_wait`] at most to be asked for; nobody waits for it.
    ///
    /// # Errors
    /// `Full`, `DiskFull`, `TooLarge`, `Closed`: nothing was queued.
    pub fn queue(&self, append: Append) -> Result<(), LedgerError> {
        if self.inner.disk_full.load(Ordering::Relaxed) {
            return Err(LedgerError::DiskFull { min_free_bytes: self.inner.min_free_bytes });
        }
        let group = self.group(vec![append], None)?;
        match self.inner.queued.push(group, self.inner.queue_groups) {
            Pushed::Left => Ok(()),
            // A full channel: the writer is about to look.
            Pushed::Wake => match self.queue.try_send(Command::Look) {
                Err(TrySendError::Disconnected(_)) => Err(self.inner.failed()),
                Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            },
            Pushed::Gone => Err(self.inner.failed()),
            Pushed::Full => Err(LedgerError::Full { appends_max: self.inner.queue_groups }),
        }
    }

    #[cfg(test)]
    pub(crate) fn large_files(&self) -> &LargeFiles {
        &self.inner.large
    }

    /// Waits until everything that was queued before is durable.
    ///
    /// # Errors
    /// `DiskFull` if some of it still waits for space; it is kept. `Full`, `Closed`, `Failed`.
    pub async fn settle(&self) -> Result<(), LedgerError> {
        let (done, settled) = oneshot::channel();
        self.send_command(Command::Settle(done, self.inner.queued.before()))?;
        settled.await.unwrap_or_else(|_| Err(self.inner.failed()))
    }

    /// Stops the store: somebody holds a head that this key signed and this ledger cannot continue. Every further seal
    /// would be a fork.
    pub fn abandon(&self, reason: &str) {
        self.inner.fail(reason);
    }

    /// Proof that a sealed tree begins with an earlier one.
    ///
    /// # Errors
    /// `NoSuchEntry` beyond the newest checkpoint.
    pub fn consistency(&self, old: TreeSize, new: TreeSize) -> Result<ConsistencyProof, LedgerError> {
        let missing = || self.no_such_entry(new.entries().saturating_sub(1));
        self.with_hashes(|state, older| state.tree.consistency(old, new, older)).ok_or_else(missing)
    }

    /// Proof that an entry is in a sealed tree.
    ///
    /// # Errors
    /// `NoSuchEntry` beyond the newest checkpoint.
    pub fn inclusion(&self, position: LogPosition, size: TreeSize) -> Result<InclusionProof, LedgerError> {
        let missing = || self.no_such_entry(position.index());
        self.with_hashes(|state, older| state.tree.inclusion(position, size, older)).ok_or_else(missing)
    }

    /// Root of the first `size` entries.
    ///
    /// # Errors
    /// `NoSuchEntry` beyond the newest checkpoint.
    pub fn root_at(&self, size: TreeSize) -> Result<peabiru_proto::hash::Digest, LedgerError> {
        let missing = || self.no_such_entry(size.entries().saturating_sub(1));
        self.with_hashes(|state, older| state.tree.root_at(size, older)).ok_or_else(missing)
    }

    /// Positions of an exchange's entries. Waits for the index: never on a message's path.
    ///
    /// # Errors
    /// `Index` if there is none or it failed.
    pub fn positions_of(&self, exchange: &ExchangeId) -> Result<Vec<LogPosition>, LedgerError> {
        self.index()?.positions_of(self.origin(), exchange)
    }

    pub(crate) fn index(&self) -> Result<&Index, LedgerError> {
        self.inner
            .index
            .as_ref()
            .ok_or_else(|| LedgerError::Index("this store was opened without one".to_owned()))
    }

    pub(crate) fn no_such_entry(&self, index: u64) -> LedgerError {
        LedgerError::NoSuchEntry { position: LogPosition::new(index), size: self.size() }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.ledgers[self.number]
    }

    fn with_hashes<T>(&self, read: impl FnOnce(&crate::committer::LedgerState, &dyn HashSource) -> T) -> T {
        read(&self.shared().state(), &self.inner.hashes[self.number])
    }

    fn group(&self, appends: Vec<Append>, reply: Reply) -> Result<Group<Reply>, LedgerError> {
        if appends.iter().any(|append| changed_keys(&append.entry).is_some()) {
            return Err(LedgerError::KeyChange);
        }
        self.encode(appends, reply)
    }

    fn encode(&self, appends: Vec<Append>, reply: Reply) -> Result<Group<Reply>, LedgerError> {
        if let Some(foreign) = appends.iter().find(|append| append.entry.origin() != self.origin()) {
            return Err(LedgerError::WrongLedger { origin: foreign.entry.origin().clone() });
        }
        let encrypted = |append: &Append| matches!(append.payload.as_deref(), Some(Payload::Sealed(_)));
        if self.inner.storage_key.is_none() && appends.iter().any(encrypted) {
            return Err(LedgerError::NoStorageKey);
        }
        for append in &appends {
            if let Some(Payload::Sealed(sealed)) = append.payload.as_deref()
                && let Some(file) = sealed.file()
            {
                // Done already by whoever could wait for it; without it no record may name the file.
                file.keep()?;
            }
        }
        let items: Vec<_> = appends.into_iter().map(Item::encode).collect();
        let bytes = items.iter().map(Item::record_bytes).sum();
        let max = batch_bytes_max(self.inner.segments.segment_bytes);
        if bytes > max || items.len() > BATCH_ENTRIES_MAX {
            return Err(LedgerError::TooLarge { bytes, max });
        }
        Ok(Group { ledger: self.number, items, next_key: None, reply })
    }

    fn send_command(&self, command: Command) -> Result<(), LedgerError> {
        self.queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => LedgerError::Full { appends_max: self.inner.queue_groups },
            TrySendError::Disconnected(_) => self.inner.failed(),
        })
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ledger({})", self.origin())
    }
}

impl Inner {
    /// Stops the store: a write or sync failed, and is not to be retried.
    pub(crate) fn fail(&self, reason: &str) {
        tracing::error!(reason, "the ledger stops");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| reason.to_owned());
            first
        });
    }

    /// Why it stopped, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    fn failed(&self) -> LedgerError {
        match self.failure() {
            Some(reason) => LedgerError::Failed { reason },
            None => LedgerError::Closed,
        }
    }
}

/// A panic of the writer is a defect, and ends like a failed write: nothing more is promised.
fn run_writer(writer: Writer) {
    let inner = Arc::clone(&writer.inner);
    if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
        inner.fail("the thread that writes panicked");
    }
    inner.queued.close();
}
