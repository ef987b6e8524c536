//! Start after any crash (design §4): keep every intact record, sync what was kept, then sign.
//!
//! A torn tail is dropped, reported and zeroed. Damage before something durable is refused. An erasure whose NOTICE is
//! durable is finished.

use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use peabiru_certs::StorageKey;
use peabiru_proto::entry::Entry;
use peabiru_proto::hash::LeafHash;
use peabiru_proto::origin::Origin;
use peabiru_proto::random::Random;

use crate::LedgerError;
use crate::checkpoint::SealingKey;
use crate::committer::{LedgerState, Shared};
use crate::disk::Disk;
use crate::durable::{Durable, Head};
use crate::erasure::{Erasures, slots};
use crate::hashes::HashFile;
use crate::item::{CommitBody, Foreign, StoredContent, StoredItem};
use crate::large::{FileRef, LargeFiles};
use crate::payload::{Payload, SealedPayload};
use crate::position::LogPosition;
use crate::record::{Record, StorageKeyId, StreamId};
use crate::scan::{End, Scanned, Scanner, corrupt};
use crate::segment::{Location, Segments, at, name, zero};
use crate::slot::{self, SlotCipher, SlotState};
use crate::succession::Succession;
use crate::tree::Tree;

/// A ledger's name and key.
#[derive(Debug)]
pub struct LedgerIdentity {
    /// Its origin.
    pub origin: Origin,
    /// Signs its checkpoints.
    pub key: SealingKey,
    /// The key to go over to. It signs from the start on if the ledger's last KEY_CHANGE names it.
    pub next_key: Option<SealingKey>,
}

/// What was found at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// How the process before ended.
    pub shutdown: Shutdown,
    /// What was dropped.
    pub dropped_tail: Option<DroppedTail>,
    /// Entries of all ledgers.
    pub entries: u64,
    /// Erasures that were finished.
    pub erasures_finished: u64,
    /// Large payloads whose file is not there, or not as long as its record says.
    pub payloads_lost: u64,
}

/// How the process before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// There was none.
    New,
    /// It wrote its closing record.
    Clean,
    /// It did not.
    Crashed,
}

/// Bytes after the last intact record: never released, so never promised to anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedTail {
    /// Which segment file.
    pub segment: String,
    /// From where on.
    pub offset: u64,
}

/// An entry as the start finds it.
#[derive(Debug)]
pub struct RecoveredEntry<'a> {
    /// Which ledger.
    pub origin: &'a Origin,
    /// Where.
    pub position: LogPosition,
    /// The entry.
    pub entry: &'a Entry,
    /// For a RECEIVED: what was received.
    pub foreign: Option<&'a Foreign>,
    item: &'a StoredItem,
    record: &'a Record,
    storage_key: Option<&'a StorageKey>,
    large: &'a LargeFiles,
}

impl RecoveredEntry<'_> {
    /// Its payload; none if it has none, or if it was erased.
    #[must_use]
    pub fn payload(&self) -> Option<Payload> {
        payload_of(self.item, self.record, self.storage_key, self.large)
    }
}

pub(crate) struct Recovered {
    pub(crate) stream: StreamId,
    pub(crate) end: End,
    pub(crate) ledgers: Vec<Arc<Shared>>,
    pub(crate) hashes: Vec<HashFile>,
    pub(crate) report: Recovery,
}

pub(crate) fn recover(
    folder: &Path,
    segments: &Segments,
    large: &LargeFiles,
    identities: Vec<LedgerIdentity>,
    storage_key: Option<&StorageKey>,
    random: &dyn Random,
    visit: &mut dyn FnMut(&RecoveredEntry<'_>),
) -> Result<Recovered, LedgerError> {
    let disk = large.disk();
    let fresh = segments.numbers()?.is_empty();
    let stream = match stream_id(disk, folder)? {
        Some(stream) => stream,
        // Made durable before the first segment: without it no record could be told from a stranger's.
        None if fresh => new_stream_id(disk, folder, random)?,
        None => return Err(no_stream_id()),
    };
    if fresh {
        segments.prepare(0)?;
    }
    let mut replay = Replay::new(disk, folder, large, identities, storage_key, visit)?;
    let mut scanner = Scanner::new(segments, stream)?;
    let mut batch: Vec<Scanned> = Vec::new();
    while let Some(scanned) = scanner.next()? {
        if batch.first().is_some_and(|first| first.record.header.batch != scanned.record.header.batch) {
            replay.durable_batch(std::mem::take(&mut batch))?;
        }
        batch.push(scanned);
    }
    let mut end = scanner.end().clone();
    let from = batch.first().map_or(end.at, |first| first.location);
    replay.last_batch(batch, &mut end)?;
    let entries = replay.entries;
    let dropped_tail = drop_tail(segments, &end)?;
    let durable = make_durable(segments, from, end.at)?;
    let files = std::mem::take(&mut replay.files);
    let (ledgers, hashes, erasures) = replay.finish(durable)?;
    let erasures_finished = erasures.finish(segments, stream, &end)?;
    let payloads_lost = settle_files(large, &files, &erasures)?;
    let shutdown = match (end.next_sequence, end.closed && !end.torn) {
        (0, _) => Shutdown::New,
        (_, true) => Shutdown::Clean,
        (_, false) => Shutdown::Crashed,
    };
    let report = Recovery { shutdown, dropped_tail, entries, erasures_finished, payloads_lost };
    Ok(Recovered { stream, end, ledgers, hashes, report })
}

/// The name of the stream, if it is there and whole.
pub(crate) fn stream_id(disk: &dyn Disk, folder: &Path) -> Result<Option<StreamId>, LedgerError> {
    if !disk.list(folder).map_err(at(folder))?.iter().any(|name| name == STREAM_FILE) {
        return Ok(None);
    }
    let path = folder.join(STREAM_FILE);
    let read = || {
        let file = disk.open(&path)?;
        let mut text = vec![0; STREAM_FILE_BYTES];
        let whole = file.bytes()? == text.len() as u64;
        if whole {
            file.read_exact_at(&mut text, 0)?;
        }
        Ok(text)
    };
    let text = read().map_err(at(&path))?;
    let id = text.strip_suffix(b"\n").and_then(|hex| HEXLOWER.decode(hex).ok());
    Ok(id.and_then(|id| id.try_into().ok()))
}

pub(crate) fn no_stream_id() -> LedgerError {
    let what = "the name of the stream is missing or damaged: every record holds it at byte 8, write it there \
                as 32 hex digits and a line feed";
    LedgerError::Corrupt { segment: STREAM_FILE.to_owned(), offset: 0, what: what.to_owned() }
}

fn new_stream_id(disk: &dyn Disk, folder: &Path, random: &dyn Random) -> Result<StreamId, LedgerError> {
    let path = folder.join(STREAM_FILE);
    let mut id = StreamId::default();
    random.fill(&mut id);
    let write = || {
        let file = disk.open(&path)?;
        file.write_all_at(format!("{}\n", HEXLOWER.encode(&id)).as_bytes(), 0)?;
        file.sync()?;
        disk.sync_folder(folder)
    };
    write().map_err(at(&path))?;
    Ok(id)
}

/// Ledgers ready to go on, their hash files, and what was erased.
type Finished = (Vec<Arc<Shared>>, Vec<HashFile>, Erasures);

/// A ledger, as far as it was read.
struct Replayed {
    identity: LedgerIdentity,
    tree: Tree,
    succession: Succession,
}

struct Replay<'a> {
    large: &'a LargeFiles,
    /// Files of large bodies, with the entry whose payload they are and the record that names them.
    files: Vec<(LeafHash, FileRef, Location)>,
    ledgers: Vec<Replayed>,
    hashes: Vec<HashFile>,
    storage_key: Option<&'a StorageKey>,
    visit: &'a mut dyn FnMut(&RecoveredEntry<'_>),
    entries: u64,
    erasures: Erasures,
}

impl<'a> Replay<'a> {
    fn new(
        disk: &dyn Disk,
        folder: &Path,
        large: &'a LargeFiles,
        identities: Vec<LedgerIdentity>,
        storage_key: Option<&'a StorageKey>,
        visit: &'a mut dyn FnMut(&RecoveredEntry<'_>),
    ) -> Result<Self, LedgerError> {
        let hashes_folder = folder.join("hashes");
        disk.create_folder(&hashes_folder).map_err(at(&hashes_folder))?;
        let mut hashes = Vec::with_capacity(identities.len());
        for identity in &identities {
            let path = hashes_folder.join(identity.origin.as_str().replace('/', "_"));
            hashes.push(HashFile::new(disk.open(&path).map_err(at(&path))?));
        }
        let begin =
            |identity| Replayed { identity, tree: Tree::default(), succession: Succession::default() };
        let ledgers = identities.into_iter().map(begin).collect();
        Ok(Self {
            large,
            files: Vec::new(),
            ledgers,
            hashes,
            storage_key,
            visit,
            entries: 0,
            erasures: Erasures::default(),
        })
    }

    /// A batch that a later one proves durable.
    fn durable_batch(&mut self, batch: Vec<Scanned>) -> Result<(), LedgerError> {
        for scanned in batch {
            let Some(body) = &scanned.body else { continue };
            self.erasures.note_slots(scanned.location, &scanned.record, body);
            self.apply(scanned.location, &scanned.record, body)?;
        }
        Ok(())
    }

    /// The last batch: without a closing record after it, a slot that is not live was torn. None of them can have been
    /// erased, because the NOTICE would be in a later batch.
    fn last_batch(&mut self, batch: Vec<Scanned>, end: &mut End) -> Result<(), LedgerError> {
        for scanned in batch {
            let Some(body) = &scanned.body else { continue };
            let torn = slots(&scanned.record, body).any(|(_, slot)| slot::state(slot) != SlotState::Live);
            if torn {
                *end = End {
                    at: scanned.location,
                    next_sequence: scanned.record.header.sequence,
                    torn: true,
                    ..end.clone()
                };
                break;
            }
            self.apply(scanned.location, &scanned.record, body)?;
        }
        self.erasures.unexplained().into_iter().next().map_or(Ok(()), Err)
    }

    fn apply(&mut self, location: Location, record: &Record, body: &CommitBody) -> Result<(), LedgerError> {
        let known = self.ledgers.iter().position(|known| known.identity.origin == body.origin);
        let number = known.ok_or_else(|| LedgerError::UnknownLedger { origin: body.origin.clone() })?;
        if let Some(key) = self.storage_key.filter(|_| !record.slots.is_empty())
            && record.header.storage_key != StorageKeyId::of(key)
        {
            return Err(LedgerError::StorageKey { segment: name(location.segment), offset: location.offset });
        }
        let Replayed { identity: LedgerIdentity { origin, .. }, tree, succession } =
            &mut self.ledgers[number];
        check_continuity(tree, body).map_err(|what| corrupt(location, what))?;
        let mut completed = Vec::new();
        for item in &body.items {
            let position = tree
                .push(item.entry.leaf_hash(), &mut |level, index, hash| completed.push((level, index, hash)));
            self.erasures.note_entry(&item.entry);
            if let StoredContent::Large { file, .. } = &item.payload {
                self.files.push((item.entry.leaf_hash(), *file, location));
            }
            let (entry, foreign) = (&item.entry, item.foreign.as_ref());
            (self.visit)(&RecoveredEntry {
                origin,
                position,
                entry,
                foreign,
                item,
                record,
                storage_key: self.storage_key,
                large: self.large,
            });
            self.entries += 1;
        }
        succession.note(body, tree.size()).map_err(|what| corrupt(location, what))?;
        self.hashes[number].write(&completed);
        Ok(())
    }

    fn finish(self, durable: Durable) -> Result<Finished, LedgerError> {
        let heads = self.ledgers.iter().map(|Replayed { identity, tree, .. }| Head {
            origin: identity.origin.clone(),
            size: tree.size(),
            root: tree.root(),
        });
        let heads = durable.heads(heads.collect());
        let sign = |(Replayed { identity, tree, succession }, head): (Replayed, _)| {
            let LedgerIdentity { origin, key, next_key } = identity;
            let given = [Some(key), next_key].into_iter().flatten();
            let (seals, before): (Vec<_>, Vec<_>) =
                given.partition(|key| succession.admits(&key.verifying_key()));
            let other = || LedgerError::OtherKey { origin: origin.clone(), named: succession.named() };
            let key = seals.into_iter().next().ok_or_else(other)?;
            let mut finals = succession.finals();
            // The head that it signed may have left, and is stored nowhere yet.
            let ends = succession.ends(tree.size());
            let ends = ends.map(|ends| before.iter().find(|key| key.verifying_key() == ends).ok_or(ends));
            let unsigned = |named| LedgerError::KeyBefore { origin: origin.clone(), named };
            let ends = ends.transpose().map_err(unsigned)?;
            finals.extend(ends.map(|key| key.sign(&head)));
            let sign =
                || finals.last().filter(|_| ends.is_some()).cloned().unwrap_or_else(|| key.sign(&head));
            let head = (!tree.size().is_empty()).then(sign);
            Ok(Arc::new(Shared::new(origin, LedgerState { key: Arc::new(key), tree, head, finals })))
        };
        let ledgers = self.ledgers.into_iter().zip(heads).map(sign).collect::<Result<_, LedgerError>>()?;
        Ok((ledgers, self.hashes, self.erasures))
    }
}

/// Gives how many are lost.
fn settle_files(
    large: &LargeFiles,
    files: &[(LeafHash, FileRef, Location)],
    erasures: &Erasures,
) -> Result<u64, LedgerError> {
    let (erased, live): (Vec<_>, Vec<_>) = files.iter().partition(|(leaf, ..)| erasures.is_named(leaf));
    let contents = |files: Vec<&(LeafHash, FileRef, Location)>| -> Vec<FileRef> {
        files.into_iter().map(|(_, content, _)| *content).collect()
    };
    let lost = large.settle(&contents(live), &contents(erased))?;
    for (leaf, content, location) in files.iter().filter(|(_, content, _)| lost.contains(content)) {
        let (file, segment) = (content.name.text(), name(location.segment));
        tracing::error!(%leaf, file, segment, offset = location.offset, "the file of a payload is not there or not as long");
    }
    Ok(lost.len() as u64)
}

/// A ledger's records follow one another, and each confirms the head before it.
pub(crate) fn check_continuity(tree: &Tree, body: &CommitBody) -> Result<(), String> {
    if body.first != tree.size().next() {
        return Err(format!(
            "the record begins at entry {} of {}, and {} is due",
            body.first,
            body.origin,
            tree.size()
        ));
    }
    match &body.previous {
        Some(checkpoint) if checkpoint.size() != tree.size() || *checkpoint.root() != tree.root() => {
            Err(format!("the stored checkpoint of {} does not match the entries before it", body.origin))
        }
        None if !tree.size().is_empty() => {
            Err(format!("the checkpoint of {} before this record is missing", body.origin))
        }
        Some(_) | None => Ok(()),
    }
}

pub(crate) fn payload_of(
    item: &StoredItem,
    record: &Record,
    storage_key: Option<&StorageKey>,
    large: &LargeFiles,
) -> Option<Payload> {
    let secrets = || {
        let slot = item.payload.slot()?;
        let raw = record.slots.get(usize::try_from(slot).ok()?)?;
        SlotCipher::new(storage_key?, &record.header.slot_seed).unwrap(slot, raw)
    };
    match &item.payload {
        StoredContent::None => None,
        StoredContent::Clear(clear) => Some(Payload::Clear(clear.clone())),
        StoredContent::Sealed { chunks, .. } => {
            Some(Payload::Sealed(SealedPayload::from_parts(secrets()?, chunks.clone())))
        }
        StoredContent::Large { context, file, .. } => {
            Some(Payload::Sealed(SealedPayload::large(secrets()?, context.clone(), large.named(*file))))
        }
    }
}

fn drop_tail(segments: &Segments, end: &End) -> Result<Option<DroppedTail>, LedgerError> {
    if !end.torn {
        return Ok(None);
    }
    let mut from = end.at.offset;
    for number in segments.numbers()?.into_iter().filter(|number| *number >= end.at.segment) {
        let file = segments.file(number)?;
        let clear = || {
            zero(&*file, from, file.bytes()?)?;
            file.sync()
        };
        clear().map_err(at(&segments.path(number)))?;
        from = 0;
    }
    Ok(Some(DroppedTail { segment: name(end.at.segment), offset: end.at.offset }))
}

/// Writes the last batch once more and syncs it. It may have been read from pages that never reached the disk, also
/// after a sync that failed: the kernel then takes them for clean, and a sync alone would write nothing.
fn make_durable(segments: &Segments, from: Location, to: Location) -> Result<Durable, LedgerError> {
    let file = segments.file(to.segment)?;
    let again = || {
        if from.segment == to.segment && from.offset < to.offset {
            let bytes = usize::try_from(to.offset - from.offset).map_err(std::io::Error::other)?;
            let mut batch = vec![0; bytes];
            file.read_exact_at(&mut batch, from.offset)?;
            file.write_all_at(&batch, from.offset)?;
        }
        // Shorter if the first start was cut while it made the segment, or was configured otherwise.
        zero(&*file, file.bytes()?.max(to.offset), segments.segment_bytes)?;
        file.sync()
    };
    again().map_err(at(&segments.path(to.segment)))?;
    Ok(Durable::after_sync())
}

const STREAM_FILE: &str = "stream";
/// 16 bytes as hex, and a line feed.
const STREAM_FILE_BYTES: usize = 33;
