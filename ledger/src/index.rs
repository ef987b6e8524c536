//! The index: from exchange to positions, from position to record. The only user of sled.
//!
//! It follows the writer in a thread of its own, and holds nothing that the segments do not: a folder that is missing, of
//! another stream, ahead of the segments or will not open is rebuilt. It is never on a message's path. What the writer
//! just wrote it takes from memory; only what is older, or finds no room there, is read back.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use peabiru_proto::entry::ExchangeId;
use peabiru_proto::origin::Origin;

use crate::LedgerError;
use crate::position::LogPosition;
use crate::record::StreamId;
use crate::scan::{End, Scanned, Scanner};
use crate::segment::{Location, Segments};
use crate::written::{Changes, Fresh, Written, exchange_prefix, origin_prefix, record_key};

/// Look-ups that wait until the index has read everything durable.
pub(crate) struct Index {
    db: sled::Db,
    progress: Arc<Progress>,
    thread: Mutex<Option<JoinHandle<()>>>,
    found: Found,
}

/// In what state the folder was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Usable,
    SetAside,
}

struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Records that are durable.
    durable: u64,
    /// Records that the index has read.
    read: u64,
    /// Written and not yet read.
    fresh: Fresh,
    /// Somebody waits: do not gather more first.
    hurry: Hurry,
    /// The reader sleeps until there is something to read.
    idle: Idle,
    stopped: Option<Stop>,
}

#[derive(PartialEq, Eq)]
enum Hurry {
    No,
    Yes,
}

#[derive(PartialEq, Eq)]
enum Idle {
    No,
    Yes,
}

enum Stop {
    Closing,
    Failed(String),
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Opens the folder, or sets it aside and begins anew. Reads on to the stream's end behind the caller's back.
    pub(crate) fn open(
        folder: &Path,
        segments: Segments,
        stream: StreamId,
        end: &End,
    ) -> Result<Self, LedgerError> {
        let (db, found) = open_or_set_aside(folder)?;
        let cursor = Cursor::load(&db, stream, end)?;
        let state = State {
            durable: end.next_sequence,
            read: cursor.sequence,
            fresh: Fresh::default(),
            hurry: Hurry::No,
            idle: Idle::No,
            stopped: None,
        };
        let progress = Arc::new(Progress { state: Mutex::new(state), changed: Condvar::new() });
        let reader = Reader { db: db.clone(), segments, stream, progress: Arc::clone(&progress) };
        let thread =
            std::thread::Builder::new().name("ledger-index".to_owned()).spawn(move || reader.guarded(cursor));
        let thread = thread.map_err(|error| LedgerError::Index(error.to_string()))?;
        Ok(Self { db, progress, thread: Mutex::new(Some(thread)), found })
    }

    /// Whether what was in the folder did not open.
    pub(crate) fn was_set_aside(&self) -> bool {
        self.found == Found::SetAside
    }

    /// The writer reports how many records are durable, and the newest of them.
    pub(crate) fn advance(&self, durable: u64, written: impl IntoIterator<Item = Written>) {
        let mut state = self.progress.state();
        state.durable = durable;
        written.into_iter().for_each(|record| state.fresh.push(record));
        // A reader that gathers looks by itself when it has gathered enough.
        if std::mem::replace(&mut state.idle, Idle::No) == Idle::Yes {
            self.progress.changed.notify_all();
        }
    }

    /// Positions of an exchange's entries in one ledger, in order.
    pub(crate) fn positions_of(
        &self,
        origin: &Origin,
        exchange: &ExchangeId,
    ) -> Result<Vec<LogPosition>, LedgerError> {
        self.catch_up()?;
        let prefix = exchange_prefix(&origin_prefix(origin), exchange);
        let mut positions = BTreeSet::new();
        for found in self.db.open_tree(EXCHANGES).map_err(failed)?.scan_prefix(&prefix) {
            let (key, later) = found.map_err(failed)?;
            let first = key[prefix.len()..].as_chunks().0.iter();
            positions.extend(first.chain(later.as_chunks().0).map(|bytes| u64::from_be_bytes(*bytes)));
        }
        Ok(positions.into_iter().map(LogPosition::new).collect())
    }

    /// Where the record with this entry lies.
    pub(crate) fn location_of(
        &self,
        origin: &Origin,
        position: LogPosition,
    ) -> Result<Option<Location>, LedgerError> {
        self.catch_up()?;
        let last = record_key(origin, position);
        let first = record_key(origin, LogPosition::default());
        let found = self.db.open_tree(RECORDS).map_err(failed)?.range(first..=last).next_back().transpose();
        let Some((_, value)) = found.map_err(failed)? else { return Ok(None) };
        let mut value = &value[..];
        Ok((value.len() == 16).then(|| Location { segment: value.get_u64(), offset: value.get_u64() }))
    }

    /// Stops the thread after it has read everything.
    pub(crate) fn close(&self) {
        self.progress.state().stopped.get_or_insert(Stop::Closing);
        self.progress.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the reader loses nothing: what it had not read is read at the next start.
            let _ = thread.join();
        }
    }

    fn catch_up(&self) -> Result<(), LedgerError> {
        let mut state = self.progress.state();
        let target = state.durable;
        while state.read < target {
            if let Some(Stop::Failed(reason)) = &state.stopped {
                return Err(LedgerError::Index(reason.clone()));
            }
            state.hurry = Hurry::Yes;
            self.progress.changed.notify_all();
            state = self.progress.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.close();
    }
}

struct Reader {
    db: sled::Db,
    segments: Segments,
    stream: StreamId,
    progress: Arc<Progress>,
}

impl Reader {
    /// sled panics on some kinds of damage: whoever waits for the index is told.
    fn guarded(self, cursor: Cursor) {
        let progress = Arc::clone(&self.progress);
        if catch_unwind(AssertUnwindSafe(|| self.run(cursor))).is_err() {
            progress.state().stopped = Some(Stop::Failed("its thread panicked".to_owned()));
            progress.changed.notify_all();
        }
    }

    fn run(self, mut cursor: Cursor) {
        while let Some((target, fresh)) = self.wait_for_more(cursor.sequence) {
            if let Err(error) = self.read_until(&mut cursor, target, &fresh) {
                tracing::error!(code = error.code(), %error, "the index stopped");
                self.progress.state().stopped = Some(Stop::Failed(error.to_string()));
            }
            let mut state = self.progress.state();
            state.read = cursor.sequence;
            state.hurry = Hurry::No;
            drop(state);
            self.progress.changed.notify_all();
        }
    }

    /// How far to read now, with what need not be read back; none to stop. Gathers for a moment, so that many small
    /// commits become one change of sled.
    fn wait_for_more(&self, read: u64) -> Option<(u64, VecDeque<Written>)> {
        let mut state = self.progress.state();
        loop {
            match &state.stopped {
                Some(Stop::Failed(_)) => return None,
                Some(Stop::Closing) if state.durable <= read => return None,
                None if state.durable <= read => {
                    state.idle = Idle::Yes;
                    state = self.progress.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                None if state.hurry == Hurry::No => {
                    let gathered = self.progress.changed.wait_timeout_while(state, GATHER, |state| {
                        state.hurry == Hurry::No && state.stopped.is_none()
                    });
                    state = gathered.unwrap_or_else(PoisonError::into_inner).0;
                    return Some((state.durable, state.fresh.take()));
                }
                None | Some(Stop::Closing) => return Some((state.durable, state.fresh.take())),
            }
        }
    }

    fn read_until(
        &self,
        cursor: &mut Cursor,
        target: u64,
        fresh: &VecDeque<Written>,
    ) -> Result<(), LedgerError> {
        let from = fresh.front().map_or(target, |record| record.sequence);
        self.read_back(cursor, from.min(target))?;
        let mut changes = Changes::default();
        for record in fresh {
            changes.add(record);
            cursor.pass(record);
        }
        self.write(cursor, &changes)?;
        // A closing record, and what found no room in memory.
        self.read_back(cursor, target)
    }

    fn read_back(&self, cursor: &mut Cursor, target: u64) -> Result<(), LedgerError> {
        if cursor.sequence >= target {
            return Ok(());
        }
        let mut scanner = Scanner::from(&self.segments, self.stream, cursor.at, cursor.sequence)?;
        let mut changes = Changes::default();
        while scanner.end().next_sequence < target {
            let Some(Scanned { location, record, body }) = scanner.next()? else {
                return Err(LedgerError::Index(format!(
                    "record {} is not in the segments",
                    scanner.end().next_sequence
                )));
            };
            if let Some(body) = body {
                changes.add(&Written {
                    sequence: record.header.sequence,
                    location,
                    bytes: record.bytes(),
                    origin: body.origin,
                    first: body.first,
                    exchanges: body.items.iter().map(|item| item.entry.exchange()).collect(),
                });
            }
            cursor.at = scanner.end().at;
            cursor.sequence = scanner.end().next_sequence;
            if changes.entries >= CHANGES_ENTRIES_MAX {
                self.write(cursor, &std::mem::take(&mut changes))?;
            }
        }
        self.write(cursor, &changes)
    }

    fn write(&self, cursor: &Cursor, changes: &Changes) -> Result<(), LedgerError> {
        let records = self.db.open_tree(RECORDS).map_err(failed)?;
        for (key, location) in &changes.records {
            records.insert(key, &location[..]).map_err(failed)?;
        }
        let exchanges = self.db.open_tree(EXCHANGES).map_err(failed)?;
        for (prefix, positions) in &changes.exchanges {
            let (first, later) = positions.split_at(8);
            exchanges.insert([prefix, first].concat(), later).map_err(failed)?;
        }
        cursor.save(&self.db, self.stream)
    }
}

/// How far the index has read.
struct Cursor {
    at: Location,
    sequence: u64,
}

impl Cursor {
    fn pass(&mut self, record: &Written) {
        self.at = Location { offset: record.location.offset + record.bytes, ..record.location };
        self.sequence = record.sequence + 1;
    }

    /// What is of another stream or format, or ahead of the segments (they were restored from a copy), is forgotten.
    fn load(db: &sled::Db, stream: StreamId, end: &End) -> Result<Self, LedgerError> {
        let start = Self { at: Location { segment: 0, offset: 0 }, sequence: 0 };
        let Some(stored) = db.get(CURSOR).map_err(failed)? else { return Ok(start) };
        let cursor = stored
            .strip_prefix(&[FORMAT])
            .and_then(|rest| rest.strip_prefix(&stream))
            .filter(|rest| rest.len() == 24)
            .map(|mut rest| Self {
                at: Location { segment: rest.get_u64(), offset: rest.get_u64() },
                sequence: rest.get_u64(),
            })
            .filter(|cursor| cursor.sequence <= end.next_sequence && cursor.at <= end.at);
        if let Some(cursor) = cursor {
            return Ok(cursor);
        }
        tracing::warn!("the index is of another stream, format or state: it is rebuilt");
        for tree in [RECORDS, EXCHANGES] {
            db.open_tree(tree).map_err(failed)?.clear().map_err(failed)?;
        }
        Ok(start)
    }

    fn save(&self, db: &sled::Db, stream: StreamId) -> Result<(), LedgerError> {
        let mut value = vec![FORMAT];
        value.put_slice(&stream);
        value.put_u64(self.at.segment);
        value.put_u64(self.at.offset);
        value.put_u64(self.sequence);
        db.insert(CURSOR, value).map_err(failed)?;
        Ok(())
    }
}

fn open_or_set_aside(folder: &Path) -> Result<(sled::Db, Found), LedgerError> {
    let error = match open_db(folder) {
        Ok(db) => return Ok((db, Found::Usable)),
        Err(error) => error,
    };
    let aside: PathBuf = folder.with_extension("damaged");
    tracing::warn!(error, aside = %aside.display(), "the index does not open: set aside and rebuilt");
    // What an earlier damage left there is of no use any more.
    let _ = std::fs::remove_dir_all(&aside);
    std::fs::rename(folder, &aside).map_err(|error| LedgerError::Index(error.to_string()))?;
    open_db(folder).map(|db| (db, Found::SetAside)).map_err(LedgerError::Index)
}

fn open_db(folder: &Path) -> Result<sled::Db, String> {
    let open =
        || sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_MS)).open();
    // sled panics on some kinds of damage.
    catch_unwind(open)
        .map_err(|_| "it panicked".to_owned())
        .and_then(|opened| opened.map_err(|error| error.to_string()))
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: sled::Error) -> LedgerError {
    LedgerError::Index(error.to_string())
}

const RECORDS: &str = "records";
const EXCHANGES: &str = "exchanges";
const CURSOR: &str = "cursor";
/// Of everything in here: another one is rebuilt.
const FORMAT: u8 = 2;
/// sled's cache.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
const FLUSH_MS: u64 = 1000;
/// Entries of older records that are changed at once.
const CHANGES_ENTRIES_MAX: usize = 16 * 1024;
/// How long the index may lag if nobody asks.
const GATHER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
