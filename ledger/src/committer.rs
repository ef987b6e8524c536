//! Group commit as a state machine without I/O: appends come in, one batch goes out, a sync releases it.
//!
//! No timer: what came while the last batch was being synced is the next batch; only what nobody waits for stays for
//! company (see `writer`). At most one batch is in flight, so the positions of a batch are known when it is put
//! together, and no head is ever signed that a crash could take back: signing consumes the [`Durable`] of the sync.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peabiru_certs::StorageKey;
use peabiru_proto::hash::Digest;
use peabiru_proto::limits::MAX_NOTE_BYTES;
use peabiru_proto::origin::Origin;
use peabiru_proto::random::Random;

use crate::checkpoint::{SealingKey, SignedCheckpoint};
use crate::durable::{Durable, Head};
use crate::item::{Item, write_body};
use crate::large::LargeFile;
use crate::position::{LogPosition, TreeSize};
use crate::proof::InclusionProof;
use crate::record::{HEADER_BYTES, Header, PAGE_BYTES, Record, RecordKind, StorageKeyId, StreamId};
use crate::seal::{Seal, SealedEntry};
use crate::segment::Location;
use crate::slot::{SLOT_SEED_BYTES, SlotCipher};
use crate::tree::{HashSource, Tree};
use crate::written::Written;

/// One ledger as writer and readers share it.
pub(crate) struct Shared {
    pub(crate) origin: Origin,
    state: Mutex<LedgerState>,
}

/// Entries that are durable, and their newest head.
pub(crate) struct LedgerState {
    /// Seals the next commit.
    pub(crate) key: Arc<SealingKey>,
    pub(crate) tree: Tree,
    pub(crate) head: Option<SignedCheckpoint>,
    /// The last checkpoint of each key before, ascending.
    pub(crate) finals: Vec<SignedCheckpoint>,
}

impl LedgerState {
    /// The newest checkpoint over an entry that is signed by the key of its time: a snapshot of then knows it.
    pub(crate) fn checkpoint_over(&self, position: LogPosition) -> Option<SignedCheckpoint> {
        let holds = |checkpoint: &&SignedCheckpoint| position.index() < checkpoint.size().entries();
        self.finals.iter().chain(&self.head).find(holds).cloned()
    }
}

impl Shared {
    pub(crate) fn new(origin: Origin, state: LedgerState) -> Self {
        Self { origin, state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, LedgerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entries to be committed together, and whom to tell.
pub(crate) struct Group<R> {
    pub(crate) ledger: usize,
    pub(crate) items: Vec<Item>,
    /// Of a KEY_CHANGE: the key that it names. It is the last entry of its commit, and the last that the key before seals.
    pub(crate) next_key: Option<Arc<SealingKey>>,
    pub(crate) reply: R,
}

/// Bytes to write in one piece at the stream's end, then to sync.
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    /// Its commit records, with offsets from the batch's start.
    pub(crate) records: Vec<Written>,
}

/// A group whose entries are durable and sealed.
pub(crate) struct Released<R> {
    pub(crate) sealed: Vec<SealedEntry>,
    /// Of its large bodies.
    pub(crate) files: Vec<LargeFile>,
    pub(crate) reply: R,
}

/// What a sync let go.
pub(crate) struct Release<R> {
    pub(crate) groups: Vec<Released<R>>,
    pub(crate) signatures: u64,
    /// Hashes of complete subtrees by ledger, to be kept where the window ends.
    pub(crate) hashes: Vec<(usize, Vec<Completed>)>,
}

/// A complete subtree: level, index, root.
pub(crate) type Completed = (usize, u64, Digest);

/// Where the stream stands.
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) next_sequence: u64,
}

/// The state machine.
pub(crate) struct Committer<R> {
    stream: Stream,
    ledgers: Vec<Arc<Shared>>,
    storage_key: Option<StorageKey>,
    storage_key_id: StorageKeyId,
    random: Arc<dyn Random>,
    waiting: VecDeque<Group<R>>,
    in_flight: BTreeMap<usize, Vec<Group<R>>>,
}

impl<R> Committer<R> {
    pub(crate) fn new(
        stream: Stream,
        ledgers: Vec<Arc<Shared>>,
        storage_key: Option<StorageKey>,
        random: Arc<dyn Random>,
    ) -> Self {
        let storage_key_id = storage_key.as_ref().map(StorageKeyId::of).unwrap_or_default();
        Self {
            stream,
            ledgers,
            storage_key,
            storage_key_id,
            random,
            waiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
        }
    }

    /// A group asks for its place.
    pub(crate) fn offer(&mut self, group: Group<R>) {
        self.waiting.push_back(group);
    }

    /// The batch to write and sync now: everything that waits, up to about `bytes_max`, one record for each ledger.
    /// None while one is in flight, or if nothing waits.
    pub(crate) fn poll_write(&mut self, bytes_max: usize) -> Option<Batch> {
        if !self.in_flight.is_empty() {
            return None;
        }
        let (mut bytes, mut entries) = (0, 0);
        while let Some(group) = self.waiting.front() {
            bytes += group.items.iter().map(Item::record_bytes).sum::<usize>();
            entries += group.items.len();
            if !self.in_flight.contains_key(&group.ledger) {
                bytes += RECORD_BYTES_AROUND;
            }
            if !self.in_flight.is_empty() && (bytes > bytes_max || entries > BATCH_ENTRIES_MAX) {
                break;
            }
            let group = self.waiting.pop_front().expect("it was just looked at");
            let last = group.next_key.is_some();
            self.in_flight.entry(group.ledger).or_default().push(group);
            if last {
                break;
            }
        }
        (!self.in_flight.is_empty()).then(|| self.encode())
    }

    /// The shell reports the batch synced.
    pub(crate) fn handle_synced(
        &mut self,
        durable: Durable,
        older: &dyn Fn(usize) -> Box<dyn HashSource>,
    ) -> Release<R> {
        let in_flight = std::mem::take(&mut self.in_flight);
        let mut hashes = Vec::with_capacity(in_flight.len());
        let mut heads = Vec::with_capacity(in_flight.len());
        for (&number, groups) in &in_flight {
            let ledger = &self.ledgers[number];
            let mut completed = Vec::new();
            let mut state = ledger.state();
            for item in groups.iter().flat_map(|group| &group.items) {
                state.tree.push(item.entry.leaf_hash(), &mut |level, index, hash| {
                    completed.push((level, index, hash));
                });
            }
            heads.push(Head {
                origin: ledger.origin.clone(),
                size: state.tree.size(),
                root: state.tree.root(),
            });
            hashes.push((number, completed));
        }
        let mut groups = Vec::new();
        let signatures = heads.len() as u64;
        for ((number, released), head) in in_flight.into_iter().zip(durable.heads(heads)) {
            let ledger = &self.ledgers[number];
            let key = Arc::clone(&ledger.state().key);
            let checkpoint = key.sign(&head);
            let mut state = ledger.state();
            state.head = Some(checkpoint.clone());
            if let Some(next) = released.last().and_then(|group| group.next_key.clone()) {
                state.key = next;
                state.finals.push(checkpoint.clone());
            }
            groups.extend(seal(released, &checkpoint, &state.tree, &*older(number)));
        }
        Release { groups, signatures, hashes }
    }

    /// The sequence number of the next record: how many were put together.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.stream.next_sequence
    }

    /// The batch in flight was not written: its sequence numbers are free again. What is to be kept waits for another
    /// batch; the others, flying or waiting, are given back.
    pub(crate) fn put_back(&mut self, keep: impl Fn(&R) -> bool) -> Vec<R> {
        self.stream.next_sequence -= self.in_flight.len() as u64;
        let flying = std::mem::take(&mut self.in_flight).into_values().flatten();
        let waiting = std::mem::take(&mut self.waiting);
        let (kept, refused): (Vec<_>, Vec<_>) = flying.chain(waiting).partition(|group| keep(&group.reply));
        self.waiting = kept.into();
        refused.into_iter().map(|group| group.reply).collect()
    }

    /// How many groups wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The record of a clean stop.
    pub(crate) fn closing(&mut self) -> Batch {
        let mut bytes = Vec::new();
        let header = self.header(RecordKind::Closing, self.stream.next_sequence, 0);
        Record::write(&header, &[], &[], &mut bytes);
        self.stream.next_sequence += 1;
        Batch { bytes, records: Vec::new() }
    }

    /// The batch in flight will not be written after all: its files are named by nothing.
    pub(crate) fn set_unnamed(&self) {
        let items = self.in_flight.values().flatten().flat_map(|group| &group.items);
        items.filter_map(|item| item.file.as_ref()).for_each(LargeFile::set_unnamed);
    }

    fn encode(&mut self) -> Batch {
        let batch = self.stream.next_sequence;
        let (mut out, mut records) = (Vec::new(), Vec::with_capacity(self.in_flight.len()));
        let mut body = Vec::new();
        let in_flight = std::mem::take(&mut self.in_flight);
        for (&number, groups) in &in_flight {
            let items: Vec<&Item> = groups.iter().flat_map(|group| &group.items).collect();
            items.iter().filter_map(|item| item.file.as_ref()).for_each(LargeFile::set_named);
            let slots = items.iter().filter(|item| item.secrets.is_some()).count();
            let header = self.header(RecordKind::Commit, batch, slots);
            let slots = self.wrap(&header, &items);
            body.clear();
            let origin = self.ledgers[number].origin.clone();
            let (first, head) = {
                let state = self.ledgers[number].state();
                (state.tree.size().next(), state.head.clone())
            };
            write_body(&origin, first, head.as_ref(), &items, &mut body);
            let start = out.len();
            Record::write(&header, &body, &slots, &mut out);
            records.push(Written {
                sequence: self.stream.next_sequence,
                location: Location { segment: 0, offset: start as u64 },
                bytes: (out.len() - start) as u64,
                origin,
                first,
                exchanges: items.iter().map(|item| item.entry.exchange()).collect(),
            });
            self.stream.next_sequence += 1;
        }
        self.in_flight = in_flight;
        Batch { bytes: out, records }
    }

    fn header(&self, kind: RecordKind, batch: u64, slots: usize) -> Header {
        let mut slot_seed = [0; SLOT_SEED_BYTES];
        if slots > 0 {
            self.random.fill(&mut slot_seed);
        }
        let storage_key = if slots > 0 { self.storage_key_id } else { StorageKeyId::default() };
        Header {
            kind,
            stream: self.stream.id,
            sequence: self.stream.next_sequence,
            batch,
            slot_seed,
            storage_key,
        }
    }

    fn wrap(&self, header: &Header, items: &[&Item]) -> Vec<[u8; crate::slot::SLOT_BYTES]> {
        let secrets: Vec<_> = items.iter().filter_map(|item| item.secrets.as_ref()).collect();
        if secrets.is_empty() {
            return Vec::new();
        }
        let key = self.storage_key.as_ref().expect("without a storage key no encrypted payload is accepted");
        let cipher = SlotCipher::new(key, &header.slot_seed);
        (0..).zip(secrets).map(|(number, secrets)| cipher.wrap(number, secrets)).collect()
    }
}

fn seal<R>(
    groups: Vec<Group<R>>,
    checkpoint: &SignedCheckpoint,
    tree: &Tree,
    older: &dyn HashSource,
) -> Vec<Released<R>> {
    let count: u64 = groups.iter().map(|group| group.items.len() as u64).sum();
    let mut next = LogPosition::new(checkpoint.size().entries() - count);
    let mut sealed = |entry| {
        let position = next;
        next = position.size_with().next();
        let proof = inclusion(tree, position, checkpoint.size(), older);
        SealedEntry { entry, seal: Seal { checkpoint: checkpoint.clone(), position, proof } }
    };
    let release = |group: Group<R>| Released {
        files: group.items.iter().filter_map(|item| item.file.clone()).collect(),
        sealed: group.items.into_iter().map(|item| sealed(item.entry)).collect(),
        reply: group.reply,
    };
    groups.into_iter().map(release).collect()
}

fn inclusion(tree: &Tree, position: LogPosition, size: TreeSize, older: &dyn HashSource) -> InclusionProof {
    tree.inclusion(position, size, older).expect("entries of one commit are within the tree's window")
}

/// Most entries of one commit: they stay within the tree's window, so their proofs need no disk.
pub(crate) const BATCH_ENTRIES_MAX: usize = 1024;
/// Header, origin, previous checkpoint and padding of a record, at most.
const RECORD_BYTES_AROUND: usize = HEADER_BYTES + MAX_NOTE_BYTES + 2 * PAGE_BYTES;
