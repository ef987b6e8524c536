//! Puts evidence together out of what both sides hold. Nothing is judged here: that is `verify`'s.

use std::collections::BTreeMap;

use bytes::Bytes;
use peabiru_proto::content;
use peabiru_proto::entry::{Body, Entry, ExchangeId};
use peabiru_proto::hash::{Digest, LeafHash};
use peabiru_proto::wire::{self, GetSnapshotResponse, HeldEntry};
use prost::Message as _;

use super::{
    Evidence, EvidenceError, NOTICE_ENTRY, NOTICE_PROOF, Role, SNAPSHOT, Side, part_file, snapshot_file,
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
            Body::Request(_) | Body::Received(_) | Body::Batch(_) | Body::Close(_) | Body::Notice(_) => false,
        };
        let answer = copies.iter().find(answers).map(|copy| copy.entry.leaf_hash());
        let mut files = BTreeMap::new();
        put_entries(&mut files, &copies, Side::Request, request);
        if let Some(answer) = answer {
            put_entries(&mut files, &copies, Side::Answer, answer);
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

/// A message with its payload, and the RECEIVED that answers for its arrival.
fn put_entries(files: &mut BTreeMap<String, Bytes>, copies: &[Copy], side: Side, leaf: LeafHash) {
    let (sent, arrived) = match side {
        Side::Request => (Role::Request, Role::ReceivedByProvider),
        Side::Answer => (Role::Answer, Role::ReceivedByConsumer),
    };
    let received = copies.iter().find_map(|copy| match copy.entry.body() {
        Body::Received(received) if received.peer_leaf == leaf => Some((copy, received.peer_checkpoint)),
        _ => None,
    });
    let of_leaf = || copies.iter().filter(|copy| copy.entry.leaf_hash() == leaf);
    // The receiver committed to one checkpoint: the copy that carries it proves more than the others.
    let committed = received
        .and_then(|(_, note_hash)| of_leaf().find(|copy| copy.seal.checkpoint.note_hash() == note_hash));
    if let Some(copy) = committed.or_else(|| of_leaf().next()) {
        put(files, sent, copy);
    }
    if let Some((copy, _)) = received {
        put(files, arrived, copy);
    }
    let opened = of_leaf().find_map(|copy| open(copy, side));
    for (name, content) in opened.into_iter().flatten() {
        files.insert(name, content);
    }
}

fn put(files: &mut BTreeMap<String, Bytes>, role: Role, copy: &Copy) {
    files.insert(role.entry_file(), copy.entry.bytes().clone());
    files.insert(role.proof_file(), tlog_proof::format(&copy.seal).into());
}

/// Salt and chunks in clear.
fn open(copy: &Copy, side: Side) -> Option<Vec<(String, Bytes)>> {
    let payload = copy.payload.as_ref()?;
    let secrets = PayloadSecrets::from_slices(&payload.key, &payload.salt).ok()?;
    let direction = match side {
        Side::Request => Direction::Request,
        Side::Answer => Direction::Answer,
    };
    let (root, body_bytes) = copy.entry.body().content()?;
    let sealed = SealedPayload::from_parts(secrets, payload.chunks.clone());
    let opened = sealed.open(&copy.entry.exchange(), direction, &root, body_bytes).ok()?;
    let body = opened.body.whole()?;
    let chunks = content::chunks(&opened.context, body).enumerate();
    let chunks = chunks.map(|(index, chunk)| (side.chunk_file(index), Bytes::copy_from_slice(chunk)));
    Some(std::iter::once((side.salt_file(), payload.salt.clone())).chain(chunks).collect())
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
