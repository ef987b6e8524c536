//! Puts evidence together out of what both sides hold. Nothing is judged here: that is `verify`'s.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use peabiru_proto::content;
use peabiru_proto::entry::{Body, Entry, ExchangeId, StreamDirection, Verdict};
use peabiru_proto::hash::{Digest, LeafHash};
use peabiru_proto::wire::{self, GetSnapshotResponse, HeldEntry};
use prost::Message as _;

use super::stream::{STREAM_README, STREAM_README_TEXT, StreamLink, received_path};
use super::{
    Evidence, EvidenceError, NOTICE_ENTRY, NOTICE_PROOF, Role, SNAPSHOT, Side, chunk_file, part_file,
    salt_file, snapshot_file,
};
use crate::checkpoint::SignedCheckpoint;
use crate::payload::{Direction, PayloadSecrets, SealedPayload};
use crate::position::LogPosition;
use crate::proof::InclusionProof;
use crate::seal::Seal;
use crate::tlog_proof;

/// What is held of an exchange, by its parties and by whoever gathers.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    /// Entries of both sides, in any order; several copies of one are welcome.
    pub held: Vec<HeldEntry>,
    /// The snapshots that the entries name, as the registry gave them.
    pub snapshots: Vec<GetSnapshotResponse>,
    /// Their parts.
    pub parts: BTreeMap<Digest, Bytes>,
}

/// A copy of an entry.
struct Copy {
    entry: Entry,
    seal: Seal,
    payload: Option<wire::SealedPayload>,
}

impl Evidence {
    /// Of one exchange.
    ///
    /// # Errors
    /// `NoRequest`.
    pub fn gather(exchange: &ExchangeId, gathered: Gathered) -> Result<Self, EvidenceError> {
        let copies: Vec<_> =
            gathered.held.into_iter().filter_map(|held| Copy::read(held, exchange)).collect();
        let is_request = |copy: &&Copy| matches!(copy.entry.body(), Body::Request(_));
        let request = copies.iter().find(is_request).ok_or(EvidenceError::NoRequest)?.entry.leaf_hash();
        let answers = |copy: &&Copy| match copy.entry.body() {
            Body::Response(head) => head.request_leaf == request,
            Body::Fault(head) => head.request_leaf == request,
            Body::Request(_)
            | Body::Received(_)
            | Body::Batch(_)
            | Body::Close(_)
            | Body::KeyChange(_)
            | Body::Notice(_) => false,
        };
        let answer = copies.iter().find(answers).map(|copy| copy.entry.leaf_hash());
        let mut files = BTreeMap::new();
        let held = Held::of(&copies);
        for (side, opening) in [(Side::Request, Some(request)), (Side::Answer, answer)] {
            let Some(opening) = opening else { continue };
            put_message(&mut files, &held, &Paths::of(side), opening);
            put_stream(&mut files, &held, side, opening);
        }
        for snapshot in &gathered.snapshots {
            put_snapshot(&mut files, snapshot, &gathered.parts);
        }
        Ok(Self::complete(files))
    }
}

impl Copy {
    fn read(held: HeldEntry, exchange: &ExchangeId) -> Option<Self> {
        let entry = Entry::decode(held.entry).ok().filter(|entry| entry.exchange() == *exchange)?;
        let checkpoint = SignedCheckpoint::parse(&held.checkpoint).ok()?;
        let proof = InclusionProof::from_bytes(&held.inclusion).ok()?;
        let seal = Seal { checkpoint, position: LogPosition::new(held.index), proof };
        Some(Self { entry, seal, payload: held.payload })
    }
}

/// Copies by the entry that they are of.
struct Held<'a> {
    by_leaf: HashMap<LeafHash, Vec<&'a Copy>>,
    /// RECEIVED entries by what they answer for, with the checkpoint that they commit to.
    received: HashMap<LeafHash, (&'a Copy, Digest)>,
}

impl<'a> Held<'a> {
    fn of(copies: &'a [Copy]) -> Self {
        let mut held = Self { by_leaf: HashMap::new(), received: HashMap::new() };
        for copy in copies {
            held.by_leaf.entry(copy.entry.leaf_hash()).or_default().push(copy);
            if let Body::Received(received) = copy.entry.body() {
                held.received.entry(received.peer_leaf).or_insert((copy, received.peer_checkpoint));
            }
        }
        held
    }

    fn arrival(&self, leaf: &LeafHash) -> Arrival {
        match self.received.get(leaf).map(|(copy, _)| copy.entry.body()) {
            Some(Body::Received(received)) if received.verdict == Verdict::Accepted => Arrival::Accepted,
            Some(_) => Arrival::Refused,
            None => Arrival::Unknown,
        }
    }
}

/// What the receiver sealed of an entry's arrival; the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    Accepted,
    Refused,
    Unknown,
}

/// Where the files of a message stand, without suffixes.
struct Paths {
    sent: String,
    received: String,
    payload: String,
}

impl Paths {
    fn of(side: Side) -> Self {
        let (sent, received) = match side {
            Side::Request => (Role::Request, Role::ReceivedByProvider),
            Side::Answer => (Role::Answer, Role::ReceivedByConsumer),
        };
        Self {
            sent: sent.path().to_owned(),
            received: received.path().to_owned(),
            payload: side.path().to_owned(),
        }
    }

    fn of_link(side: Side, link: StreamLink) -> Self {
        let path = link.path(side);
        Self { received: received_path(&path), payload: path.clone(), sent: path }
    }
}

/// What followed an opening. Of two that claim one place, the one that was accepted, or else came: `verify` sees what does not
/// follow.
fn put_stream(files: &mut BTreeMap<String, Bytes>, held: &Held<'_>, side: Side, opening: LeafHash) {
    let mut links = BTreeMap::new();
    for (leaf, copies) in &held.by_leaf {
        let link = match copies.first().map(|copy| copy.entry.body()) {
            Some(Body::Batch(head)) if head.opening == opening => StreamLink::Batch(head.first_chunk),
            Some(Body::Close(head)) if head.opening == opening => StreamLink::Close,
            _ => continue,
        };
        // A sender may have sealed two, and sent one.
        let claim = (held.arrival(leaf), *leaf);
        links
            .entry(link)
            .and_modify(|first: &mut (Arrival, LeafHash)| *first = (*first).min(claim))
            .or_insert(claim);
    }
    if !links.is_empty() {
        files.insert(STREAM_README.to_owned(), Bytes::from_static(STREAM_README_TEXT.as_bytes()));
    }
    for (link, (_, leaf)) in links {
        put_message(files, held, &Paths::of_link(side, link), leaf);
    }
}

/// A message with its payload, and the RECEIVED that answers for its arrival.
fn put_message(files: &mut BTreeMap<String, Bytes>, held: &Held<'_>, paths: &Paths, leaf: LeafHash) {
    let received = held.received.get(&leaf);
    let Some(copies) = held.by_leaf.get(&leaf) else { return };
    // The receiver committed to one checkpoint: the copy that carries it proves more than the others.
    let committed = received
        .and_then(|(_, note_hash)| copies.iter().find(|copy| copy.seal.checkpoint.note_hash() == *note_hash));
    if let Some(copy) = committed.or_else(|| copies.first()) {
        put(files, &paths.sent, copy);
    }
    if let Some((copy, _)) = received {
        put(files, &paths.received, copy);
    }
    let opened = copies.iter().find_map(|copy| open(copy, &paths.payload));
    for (name, content) in opened.into_iter().flatten() {
        files.insert(name, content);
    }
}

fn put(files: &mut BTreeMap<String, Bytes>, path: &str, copy: &Copy) {
    files.insert(format!("{path}.entry"), copy.entry.bytes().clone());
    files.insert(format!("{path}.tlog-proof"), tlog_proof::format(&copy.seal).into());
}

/// Salt and chunks in clear.
fn open(copy: &Copy, path: &str) -> Option<Vec<(String, Bytes)>> {
    let payload = copy.payload.as_ref()?;
    let secrets = PayloadSecrets::from_slices(&payload.key, &payload.salt).ok()?;
    let direction = match copy.entry.body() {
        Body::Request(_) => Direction::Request,
        Body::Batch(head) if head.direction == StreamDirection::Request => Direction::Request,
        Body::Close(head) if head.direction == StreamDirection::Request => Direction::Request,
        _ => Direction::Answer,
    };
    let (root, body_bytes) = copy.entry.body().content()?;
    let sealed = SealedPayload::from_parts(secrets, payload.chunks.clone());
    let opened = sealed.open(&copy.entry.exchange(), direction, &root, body_bytes).ok()?;
    let body = opened.body.whole()?;
    let chunks = content::chunks(&opened.context, body).enumerate();
    let chunks = chunks.map(|(index, chunk)| (chunk_file(path, index), Bytes::copy_from_slice(chunk)));
    Some(std::iter::once((salt_file(path), payload.salt.clone())).chain(chunks).collect())
}

fn put_snapshot(
    files: &mut BTreeMap<String, Bytes>,
    answer: &GetSnapshotResponse,
    parts: &BTreeMap<Digest, Bytes>,
) {
    let Some(signed) = &answer.snapshot else { return };
    let Ok(snapshot) = wire::Snapshot::decode(signed.snapshot.clone()) else { return };
    let version = snapshot.version;
    files.insert(snapshot_file(version, SNAPSHOT), signed.encode_to_vec().into());
    let notice = answer.entry.clone().and_then(|held| {
        let exchange = Entry::decode(held.entry.clone()).ok()?.exchange();
        Copy::read(held, &exchange)
    });
    if let Some(notice) = notice {
        files.insert(snapshot_file(version, NOTICE_ENTRY), notice.entry.bytes().clone());
        files.insert(snapshot_file(version, NOTICE_PROOF), tlog_proof::format(&notice.seal).into());
    }
    let listed = snapshot.parts.iter().filter_map(|part| Digest::from_slice(&part.digest).ok());
    for (digest, part) in listed.filter_map(|digest| Some((digest, parts.get(&digest)?))) {
        files.insert(part_file(&digest), part.clone());
    }
}
