//! Start after any crash (design §4): keep every intact record, sync what was kept, then sign.
//!
//! A torn tail is dropped, reported and zeroed. Damage before something durable is refused. An erasure whose NOTICE is
//! durable is finished.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use peabiru_certs::StorageKey;
use peabiru_proto::entry::{Body, Entry};
use peabiru_proto::origin::Origin;
use peabiru_proto::random::Random;

use crate::LedgerError;
use crate::checkpoint::{SealingKey, SignedCheckpoint};
use crate::committer::Shared;
use crate::disk::Disk;
use crate::durable::{Durable, Head};
use crate::hashes::HashFile;
use crate::item::{CommitBody, Foreign, StoredContent, StoredItem};
use crate::payload::{Payload, SealedPayload};
use crate::position::LogPosition;
use crate::record::{Record, StorageKeyId, StreamId};
use crate::scan::{End, Scanned, Scanner, corrupt};
use crate::segment::{Location, Segments, at, name, zero};
use crate::slot::{self, SLOT_BYTES, SlotCipher, SlotState};
use crate::tree::Tree;

/// Code of the NOTICE that names an erased payload; its subject is the leaf hash of the payload's entry.
pub const NOTICE_ERASED: &str = "payload.erased";

/// A ledger's name and key.
#[derive(Debug)]
pub struct LedgerIdentity {
    /// Its origin.
    pub origin: Origin,
    /// Signs its checkpoints.
    pub key: SealingKey,
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
}

impl RecoveredEntry<'_> {
    /// Its payload; none if it has none, or if it was erased.
    #[must_use]
    pub fn payload(&self) -> Option<Payload> {
        payload_of(self.item, self.record, self.storage_key)
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
    disk: &dyn Disk,
    folder: &Path,
    segments: &Segments,
    identities: Vec<LedgerIdentity>,
    storage_key: Option<&StorageKey>,
    random: &dyn Random,
    visit: &mut dyn FnMut(&RecoveredEntry<'_>),
) -> Result<Recovered, LedgerError> {
    let stream = stream_id(disk, folder, random)?;
    if segments.numbers()?.is_empty() {
        segments.prepare(0)?;
    }
    let mut replay = Replay::new(disk, folder, identities, storage_key, visit)?;
    let mut scanner = Scanner::new(segments, stream)?;
    let mut batch: Vec<Scanned> = Vec::new();
    while let Some(scanned) = scanner.next()? {
        if batch.first().is_some_and(|first| first.record.header.batch != scanned.record.header.batch) {
            replay.durable_batch(std::mem::take(&mut batch))?;
        }
        batch.push(scanned);
    }
    let mut end = scanner.end().clone();
    replay.last_batch(batch, &mut end)?;
    let entries = replay.entries;
    let dropped_tail = drop_tail(segments, &end)?;
    let current = segments.file(end.at.segment)?;
    current.sync().map_err(at(&segments.path(end.at.segment)))?;
    let (ledgers, hashes, erased) = replay.finish(Durable::after_sync());
    let erasures_finished = finish_erasures(segments, stream, &end, &erased)?;
    let shutdown = match (end.next_sequence, end.closed) {
        (0, _) => Shutdown::New,
        (_, true) => Shutdown::Clean,
        (_, false) => Shutdown::Crashed,
    };
    let report = Recovery { shutdown, dropped_tail, entries, erasures_finished };
    Ok(Recovered { stream, end, ledgers, hashes, report })
}

/// The name of the stream, made once and durable before anything else.
pub(crate) fn stream_id(
    disk: &dyn Disk,
    folder: &Path,
    random: &dyn Random,
) -> Result<StreamId, LedgerError> {
    let path = folder.join("stream");
    let file = disk.open(&path).map_err(at(&path))?;
    let mut text = [0; 33];
    let complete = file.bytes().map_err(at(&path))? == text.len() as u64;
    if complete {
        file.read_exact_at(&mut text, 0).map_err(at(&path))?;
        let id = text
            .strip_suffix(b"\n")
            .and_then(|hex| HEXLOWER.decode(hex).ok())
            .and_then(|id| id.try_into().ok());
        if let Some(id) = id {
            return Ok(id);
        }
    }
    let mut id = StreamId::default();
    random.fill(&mut id);
    let write = || {
        file.write_all_at(format!("{}\n", HEXLOWER.encode(&id)).as_bytes(), 0)?;
        file.sync()?;
        disk.sync_folder(folder)
    };
    write().map_err(at(&path))?;
    Ok(id)
}

struct Replay<'a> {
    ledgers: Vec<(Origin, SealingKey, Tree)>,
    hashes: Vec<HashFile>,
    storage_key: Option<&'a StorageKey>,
    visit: &'a mut dyn FnMut(&RecoveredEntry<'_>),
    entries: u64,
    erased: HashSet<String>,
    /// Slots that are neither live nor erased, with the leaf hash of their entry.
    invalid: Vec<(Location, String)>,
}

impl<'a> Replay<'a> {
    fn new(
        disk: &dyn Disk,
        folder: &Path,
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
        let ledgers =
            identities.into_iter().map(|identity| (identity.origin, identity.key, Tree::default())).collect();
        Ok(Self {
            ledgers,
            hashes,
            storage_key,
            visit,
            entries: 0,
            erased: HashSet::new(),
            invalid: Vec::new(),
        })
    }

    /// A batch that a later one proves durable.
    fn durable_batch(&mut self, batch: Vec<Scanned>) -> Result<(), LedgerError> {
        for scanned in batch {
            let Some(body) = &scanned.body else { continue };
            for (item, slot) in slots(&scanned.record, body) {
                if slot::state(slot) == SlotState::Invalid {
                    self.invalid.push((scanned.location, item.entry.leaf_hash().to_string()));
                }
            }
            self.apply(scanned.location, &scanned.record, body)?;
        }
        Ok(())
    }

    /// The last batch: without a closing record after it, a slot that is neither live nor erased was torn.
    fn last_batch(&mut self, batch: Vec<Scanned>, end: &mut End) -> Result<(), LedgerError> {
        for scanned in batch {
            let Some(body) = &scanned.body else { continue };
            let torn = slots(&scanned.record, body).any(|(_, slot)| slot::state(slot) == SlotState::Invalid);
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
        match self.invalid.iter().find(|(_, leaf)| !self.erased.contains(leaf)) {
            Some((location, leaf)) => {
                Err(corrupt(*location, format!("the slot of the payload of entry {leaf} is damaged")))
            }
            None => Ok(()),
        }
    }

    fn apply(&mut self, location: Location, record: &Record, body: &CommitBody) -> Result<(), LedgerError> {
        let known = self.ledgers.iter().position(|(origin, ..)| *origin == body.origin);
        let number = known.ok_or_else(|| LedgerError::UnknownLedger { origin: body.origin.clone() })?;
        if let Some(key) = self.storage_key.filter(|_| !record.slots.is_empty())
            && record.header.storage_key != StorageKeyId::of(key)
        {
            return Err(LedgerError::StorageKey { segment: name(location.segment), offset: location.offset });
        }
        let (origin, _, tree) = &mut self.ledgers[number];
        check_continuity(tree, body).map_err(|what| corrupt(location, what))?;
        let mut completed = Vec::new();
        for item in &body.items {
            let position = tree
                .push(item.entry.leaf_hash(), &mut |level, index, hash| completed.push((level, index, hash)));
            if let Body::Notice(notice) = item.entry.body()
                && notice.code == NOTICE_ERASED
            {
                self.erased.insert(notice.subject.clone());
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
            });
            self.entries += 1;
        }
        self.hashes[number].write(&completed).map_err(at(Path::new("hashes")))
    }

    fn finish(self, durable: Durable) -> (Vec<Arc<Shared>>, Vec<HashFile>, HashSet<String>) {
        let heads = self.ledgers.iter().map(|(origin, _, tree)| Head {
            origin: origin.clone(),
            size: tree.size(),
            root: tree.root(),
        });
        let heads = durable.heads(heads.collect());
        let sign = |((origin, key, tree), head): ((Origin, SealingKey, Tree), _)| {
            let checkpoint: Option<SignedCheckpoint> = (!tree.size().is_empty()).then(|| key.sign(&head));
            Arc::new(Shared::new(origin, key, tree, checkpoint))
        };
        (self.ledgers.into_iter().zip(heads).map(sign).collect(), self.hashes, self.erased)
    }
}

/// A ledger's records follow one another, and each confirms the head before it.
fn check_continuity(tree: &Tree, body: &CommitBody) -> Result<(), String> {
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

fn slots<'a>(
    record: &'a Record,
    body: &'a CommitBody,
) -> impl Iterator<Item = (&'a StoredItem, &'a [u8; SLOT_BYTES])> {
    body.items.iter().filter_map(|item| match &item.payload {
        StoredContent::Sealed { slot, .. } => Some((item, record.slots.get(usize::try_from(*slot).ok()?)?)),
        StoredContent::None | StoredContent::Clear(_) => None,
    })
}

pub(crate) fn payload_of(
    item: &StoredItem,
    record: &Record,
    storage_key: Option<&StorageKey>,
) -> Option<Payload> {
    match &item.payload {
        StoredContent::None => None,
        StoredContent::Clear(clear) => Some(Payload::Clear(clear.clone())),
        StoredContent::Sealed { chunks, slot } => {
            let raw = record.slots.get(usize::try_from(*slot).ok()?)?;
            let secrets = SlotCipher::new(storage_key?, &record.header.slot_seed).unwrap(*slot, raw)?;
            Some(Payload::Sealed(SealedPayload::from_parts(secrets, chunks.clone())))
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
            zero(&*file, from, segments.segment_bytes)?;
            file.sync()
        };
        clear().map_err(at(&segments.path(number)))?;
        from = 0;
    }
    Ok(Some(DroppedTail { segment: name(end.at.segment), offset: end.at.offset }))
}

fn finish_erasures(
    segments: &Segments,
    stream: StreamId,
    end: &End,
    erased: &HashSet<String>,
) -> Result<u64, LedgerError> {
    let mut finished = 0;
    if erased.is_empty() {
        return Ok(finished);
    }
    let mut scanner = Scanner::new(segments, stream)?;
    while scanner.end().next_sequence < end.next_sequence {
        let Some(Scanned { location, record, body }) = scanner.next()? else { break };
        for item in body.iter().flat_map(|body| &body.items) {
            let StoredContent::Sealed { slot, .. } = item.payload else { continue };
            let raw = record.slots.get(usize::try_from(slot).unwrap_or(usize::MAX));
            let left = raw.is_some_and(|raw| slot::state(raw) != SlotState::Erased);
            if left && erased.contains(&item.entry.leaf_hash().to_string()) {
                erase_slot(segments, location, &record, slot)?;
                finished += 1;
            }
        }
    }
    Ok(finished)
}

/// Overwrites key and salt with zeros, durably. Only after the NOTICE that names them is durable.
pub(crate) fn erase_slot(
    segments: &Segments,
    location: Location,
    record: &Record,
    slot: u32,
) -> Result<(), LedgerError> {
    let file = segments.file(location.segment)?;
    let erase = || {
        file.write_all_at(&[0; SLOT_BYTES], location.offset + record.slot_offset(slot))?;
        file.sync()
    };
    erase().map_err(at(&segments.path(location.segment)))
}
