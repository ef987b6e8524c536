//! The thread that writes for all ledgers of a node: gathers, writes once, syncs once, signs, releases.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::LedgerError;
use crate::committer::{BATCH_ENTRIES_MAX, Committer, Group};
use crate::durable::Durable;
use crate::large::LargeFile;
use crate::ledger::Inner;
use crate::queued::Before;
use crate::seal::SealedEntry;
use crate::segment::StreamEnd;
use crate::written::Written;

/// Nobody waits for a queued entry.
pub(crate) type Reply = Option<oneshot::Sender<Result<Vec<SealedEntry>, LedgerError>>>;

/// What the writer is asked.
pub(crate) enum Command {
    Append(Group<Reply>, Before),
    /// To look at what is queued.
    Look,
    /// To be told when everything asked before is durable, or that something waits for space.
    Settle(oneshot::Sender<Result<(), LedgerError>>, Before),
    Close(oneshot::Sender<()>),
}

/// Most bytes of one group, and about those of a batch: with headers, padding and notes it still fits a segment.
pub(crate) fn batch_bytes_max(segment_bytes: u64) -> usize {
    usize::try_from(segment_bytes / 2).unwrap_or(usize::MAX).min(BATCH_BYTES_MAX)
}

/// Dropped from the top: the folder's lock, in `inner`, is held until nothing is written any more.
pub(crate) struct Writer {
    pub(crate) stream: StreamEnd,
    pub(crate) committer: Committer<Reply>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) queued_wait: Duration,
    pub(crate) inner: Arc<Inner>,
}

/// Who is told after the next commit; its entries are with the committer.
#[derive(Default)]
struct Gathered {
    settled: Vec<oneshot::Sender<Result<(), LedgerError>>>,
    closing: Option<oneshot::Sender<()>>,
}

impl Writer {
    pub(crate) fn run(mut self) {
        loop {
            let first = self.next();
            let gone = first.is_err();
            let gathered = self.gather(first.ok().flatten());
            if !self.commit_all() {
                return;
            }
            for done in gathered.settled {
                // Whoever waited may have gone.
                let _ = done.send(self.settled());
            }
            if let Some(done) = gathered.closing {
                self.write_closing();
                // Whoever closes may have gone.
                let _ = done.send(());
                return;
            }
            if gone {
                return;
            }
        }
    }

    /// Whether everything that was accepted is durable.
    fn settled(&self) -> Result<(), LedgerError> {
        match self.committer.waiting() {
            0 => Ok(()),
            _ => Err(LedgerError::DiskFull { min_free_bytes: self.inner.min_free_bytes }),
        }
    }

    /// What somebody waits for, or none if entries that nobody waits for have waited `queued_wait` for company: a sync of
    /// their own would make others wait twice. What was put back for lack of space is tried again and again: nobody may
    /// ever ask for anything more. An error: nobody holds a ledger any more.
    fn next(&self) -> Result<Option<Command>, RecvError> {
        let queued = &self.inner.queued;
        let put_back = self.committer.waiting() > 0;
        let wait = if put_back { ROOM_WAIT } else { self.queued_wait };
        loop {
            let command = match self.commands.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) if !put_back && queued.fall_asleep() => {
                    let woken = self.commands.recv();
                    queued.awake();
                    woken?
                }
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(RecvError),
                Ok(command) => command,
            };
            match command {
                Command::Look if queued.is_due() => return Ok(None),
                Command::Look => {}
                awaited => return Ok(Some(awaited)),
            }
        }
    }

    /// Everything that came while the last batch was synced, in the order in which it was handed over.
    fn gather(&mut self, first: Option<Command>) -> Gathered {
        let mut gathered = Gathered::default();
        let mut entries = 0;
        // What is handed over from now on may stand in no order with what is queued from now on.
        let looked = self.inner.queued.before();
        let mut next = first.or_else(|| self.commands.try_recv().ok());
        while let Some(command) = next {
            match command {
                Command::Append(group, before) => {
                    entries += group.items.len();
                    self.offer_queued(before);
                    self.committer.offer(group);
                }
                Command::Look => {}
                Command::Settle(done, before) => {
                    self.offer_queued(before);
                    gathered.settled.push(done);
                }
                Command::Close(done) => {
                    self.inner.queued.close().into_iter().for_each(|group| self.committer.offer(group));
                    gathered.closing = Some(done);
                    return gathered;
                }
            }
            if entries >= BATCH_ENTRIES_MAX {
                return gathered;
            }
            next = self.commands.try_recv().ok();
        }
        self.offer_queued(looked);
        gathered
    }

    fn offer_queued(&mut self, before: Before) {
        self.inner.queued.take(before).into_iter().for_each(|group| self.committer.offer(group));
    }

    /// Whether the writer may go on.
    fn commit_all(&mut self) -> bool {
        while let Some(batch) = self.committer.poll_write(batch_bytes_max(self.inner.segments.segment_bytes))
        {
            // Somebody else's write or sync may have failed.
            if let Some(reason) = self.inner.failure() {
                self.fail(&reason);
                return false;
            }
            match self.stream.reserve(batch.bytes.len()) {
                Ok(()) => self.inner.disk_full.store(false, Ordering::Relaxed),
                // What was queued may fit without the company that it waited for.
                Err(LedgerError::DiskFull { min_free_bytes }) => {
                    if self.put_back(min_free_bytes) == 0 {
                        return true;
                    }
                    continue;
                }
                Err(error) => {
                    self.fail(&error.to_string());
                    return false;
                }
            }
            match self.stream.write_synced(&batch.bytes) {
                // Crash here: the batch is on disk, unsigned. Recovery finds it whole and derives the same heads.
                Ok(start) => {
                    let written = batch.records.into_iter().map(|record| record.after(start));
                    self.release(Durable::after_sync(), written);
                }
                Err(error) => {
                    self.fail(&format!("writing or syncing the segment failed: {error}"));
                    return false;
                }
            }
        }
        true
    }

    fn release(&mut self, durable: Durable, written: impl Iterator<Item = Written>) {
        let hashes = self.inner.hashes.clone();
        let released = self.committer.handle_synced(durable, &|number| Box::new(hashes[number].clone()));
        let counters = &self.inner.counters;
        counters.commits.fetch_add(1, Ordering::Relaxed);
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        counters.signatures.fetch_add(released.signatures, Ordering::Relaxed);
        // Before anybody is told: whoever is may ask for the entry by its exchange at once.
        if let Some(index) = &self.inner.index {
            index.advance(self.committer.next_sequence(), written);
        }
        for group in released.groups {
            counters.entries.fetch_add(group.sealed.len() as u64, Ordering::Relaxed);
            group.files.iter().for_each(LargeFile::settle);
            if let Some(reply) = group.reply {
                // Whoever asked may have gone; the entry stays.
                let _ = reply.send(Ok(group.sealed));
            }
        }
        for (number, completed) in released.hashes {
            self.inner.hashes[number].write(&completed);
        }
    }

    /// Who waits is told; what was queued was accepted, and is kept until there is room. Gives how many were told.
    fn put_back(&mut self, min_free_bytes: u64) -> usize {
        self.inner.disk_full.store(true, Ordering::Relaxed);
        self.committer.set_unnamed();
        let refused = self.committer.put_back(Option::is_none);
        let told = refused.len();
        for reply in refused.into_iter().flatten() {
            let _ = reply.send(Err(LedgerError::DiskFull { min_free_bytes }));
        }
        told
    }

    fn fail(&mut self, reason: &str) {
        self.inner.fail(reason);
        for reply in self.committer.put_back(|_| false).into_iter().flatten() {
            let _ = reply.send(Err(LedgerError::Failed { reason: reason.to_owned() }));
        }
    }

    fn write_closing(&mut self) {
        let left = self.committer.waiting();
        if left > 0 {
            tracing::error!(left, "queued entries are lost: the disk was full to the end");
        }
        let batch = self.committer.closing();
        let written = self.stream.reserve(batch.bytes.len()).map_err(|error| error.to_string());
        let written =
            written.and_then(|()| self.stream.write_synced(&batch.bytes).map_err(|error| error.to_string()));
        match written {
            Ok(_) => {
                if let Some(index) = &self.inner.index {
                    index.advance(self.committer.next_sequence(), []);
                }
            }
            // The next start recovers as after a crash: nothing is lost.
            Err(error) => tracing::warn!(error, "no closing record was written"),
        }
    }
}

/// `queued_wait` if nobody says otherwise. Design §4 lets a provider hold a RECEIVED for 1 s.
pub(crate) const QUEUED_WAIT: Duration = Duration::from_millis(10);

/// After so long it is looked whether there is room for what was put back.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// Most bytes of one commit.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
