//! Exports for others: tiles for any tlog client, the evidence file of an exchange.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use bytes::Bytes;
use peabiru_ledger::LedgerError;
use peabiru_ledger::evidence::{Evidence, Gathered, Outcome, verify};
use peabiru_ledger::ledger::Ledger;
use peabiru_ledger::payload::SealedPayload;
use peabiru_ledger::tile::{self, TileFile};
use peabiru_proto::entry::{Body, Entry, ExchangeId, Received, Verdict};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::NodeId;
use peabiru_proto::wire::{
    self, ExportEvidenceRequest, ExportEvidenceResponse, ExportTilesResponse, GetSnapshotResponse, HeldEntry,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::entries::read_fault;
use super::{Admin, blocking, invalid, status};
use crate::core::{Core, internal};
use crate::exchange::{FromChunks, Held, Wanted};
use crate::globalconf::RefreshError;
use crate::holdings;

impl Admin {
    pub(super) fn tiles(
        &self,
        member: &str,
    ) -> Result<ReceiverStream<Result<ExportTilesResponse, Status>>, Fault> {
        let ledger = self.ledger(member)?.clone();
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::task::spawn_blocking(move || {
            let mut sink = |TileFile { path, content }| {
                let file = ExportTilesResponse { path, content: content.into() };
                sender.blocking_send(Ok(file)).map_err(|_| LedgerError::Closed)
            };
            if let Err(error) = tile::export(&ledger, &mut sink) {
                // An error here means that the operator has gone.
                let _ = sender.blocking_send(Err(status(&read_fault(error))));
            }
        });
        Ok(ReceiverStream::new(receiver))
    }

    pub(super) async fn evidence(
        &self,
        request: ExportEvidenceRequest,
    ) -> Result<ReceiverStream<Result<ExportEvidenceResponse, Status>>, Fault> {
        let exchange: ExchangeId =
            request.exchange_id.parse().map_err(|error| invalid(&format!("exchange_id: {error}")))?;
        let ledgers: Vec<Ledger> = if request.member.is_empty() {
            self.core.ledgers.values().cloned().collect()
        } else {
            vec![self.ledger(&request.member)?.clone()]
        };
        for ledger in &ledgers {
            // The RECEIVED of an answer that was just delivered may still be on its way to the disk.
            ledger.settle().await.map_err(read_fault)?;
        }
        let from = FromChunks { request: request.first_request_chunk, answer: request.first_answer_chunk };
        let Page { held, next } = blocking(move || read(&ledgers, &exchange, from)).await?;
        let mut theirs = Vec::new();
        if let Some((peer, wanted)) = counterparty(&held, &self.core.own, from) {
            match self.link.fetch(&peer, wanted, FETCH_WAIT).await {
                Ok(fetched) => theirs = up_to(next, fetched.entries),
                Err(fault) => {
                    tracing::warn!(%exchange, %peer, %fault, "what the counterparty holds is missing in the evidence");
                }
            }
        }
        let core = self.core.clone();
        let tar = blocking(move || {
            let all: Vec<_> = held.iter().chain(&theirs).cloned().collect();
            gather(&core, &exchange, &held, all)
        })
        .await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut rest = tar;
            while !rest.is_empty() {
                let content = rest.split_to(rest.len().min(PIECE_BYTES));
                let next = next.filter(|_| rest.is_empty()).unwrap_or_default();
                let (next_request_chunk, next_answer_chunk) = (next.request, next.answer);
                let piece = ExportEvidenceResponse { content, next_request_chunk, next_answer_chunk };
                // An error means that the operator has gone.
                if sender.send(Ok(piece)).await.is_err() {
                    return;
                }
            }
        });
        Ok(ReceiverStream::new(receiver))
    }
}

/// What the counterparty gave, and what the registry says of its own ledger, is nobody's word but theirs: if the file
/// fails with it, it is left out, and listed as missing. Nobody can spoil the evidence that others hold.
fn gather(
    core: &Core,
    exchange: &ExchangeId,
    own: &[HeldEntry],
    all: Vec<HeldEntry>,
) -> Result<Bytes, Fault> {
    let known =
        |versions: &BTreeSet<u64>| trust(core, versions).map_err(|error| internal(&error.to_string()));
    let versions = named(&all);
    let (snapshots, parts) = known(&versions)?;
    let mut gathered = Gathered { held: all, snapshots, parts };
    let file = |gathered: &Gathered| {
        let evidence = Evidence::gather(exchange, gathered.clone()).map_err(|error| {
            let what = format!("exchange {exchange}: {error}");
            Fault::new(FaultCode::EvidenceUnknown, Place::ProviderNode, what)
        })?;
        let tar = Bytes::from(evidence.to_tar());
        let report = verify(&tar, Some(core.globalconf.anchor()));
        report
            .failures
            .iter()
            .for_each(|failure| tracing::warn!(%exchange, %failure, "evidence does not hold"));
        Ok((tar, report.outcome))
    };
    let (tar, outcome) = file(&gathered)?;
    if outcome != Outcome::Failed {
        return Ok(tar);
    }
    // A head of after a change of keys needs a snapshot that knows the key: the newest, or one of those that came next.
    let newest = core.globalconf.newest().map_or(0, |conf| conf.version());
    let next = versions.last().map_or(newest, |last| last + 1);
    for version in [newest].into_iter().chain((next..newest).take(LATER_SNAPSHOTS_MAX)) {
        let more = versions.iter().copied().chain([version]).collect();
        (gathered.snapshots, gathered.parts) = known(&more)?;
        let (tar, outcome) = file(&gathered)?;
        if outcome != Outcome::Failed {
            return Ok(tar);
        }
    }
    gathered.held = own.to_vec();
    let (tar, outcome) = file(&gathered)?;
    if outcome != Outcome::Failed {
        return Ok(tar);
    }
    drop_refused(&mut gathered.held);
    let (tar, outcome) = file(&gathered)?;
    if outcome != Outcome::Failed {
        return Ok(tar);
    }
    gathered.snapshots.iter_mut().for_each(|snapshot| snapshot.entry = None);
    Ok(file(&gathered)?.0)
}

/// What a counterparty sealed for a place that it does not have, and this node refused, is in the ledger for who looks there.
fn drop_refused(held: &mut Vec<HeldEntry>) {
    let decoded = |held: &HeldEntry| Entry::decode(held.entry.clone());
    let refused = |held: &HeldEntry| match decoded(held).ok()?.body() {
        Body::Received(received) if is_refused_piece(received) => Some(received.peer_leaf),
        _ => None,
    };
    let leaves: HashSet<_> = held.iter().filter_map(refused).collect();
    held.retain(|held| {
        decoded(held).is_ok_and(|entry| match entry.body() {
            Body::Received(received) => !is_refused_piece(received),
            _ => !leaves.contains(&entry.leaf_hash()),
        })
    });
}

/// A REQUEST that was refused has an expiry, and is what its FAULT answers.
fn is_refused_piece(received: &Received) -> bool {
    received.verdict == Verdict::Refused && received.expires_at.is_none()
}

/// What goes into one file.
struct Page {
    held: Vec<HeldEntry>,
    /// Where the next one begins, if one does.
    next: Option<FromChunks>,
}

/// What opens a stream goes into each of its files, and then as much as one file holds.
fn read(ledgers: &[Ledger], exchange: &ExchangeId, from: FromChunks) -> Result<Page, Fault> {
    let (mut held, mut bytes) = (Vec::new(), 0);
    let (mut next, mut is_whole) = (from, true);
    for ledger in ledgers {
        let mut give = |found: Held| {
            let entry = &found.sealed.entry;
            let payload = found.payload.iter().flat_map(SealedPayload::chunks);
            let payload_bytes = payload.map(Bytes::len).sum::<usize>();
            let mut after = next;
            if after.pass(entry) {
                bytes += LINK_BYTES + payload_bytes;
                if bytes > PAGE_BYTES_MAX {
                    is_whole = false;
                    return false;
                }
                next = after;
            }
            held.push(found.to_proto());
            true
        };
        holdings::of_exchange(ledger, exchange, from, &mut give).map_err(read_fault)?;
    }
    Ok(Page { held, next: (!is_whole).then_some(next) })
}

/// What the counterparty holds of the same part of a stream.
fn up_to(next: Option<FromChunks>, mut theirs: Vec<HeldEntry>) -> Vec<HeldEntry> {
    let Some(next) = next else { return theirs };
    let mut beyond = HashSet::new();
    theirs.retain(|held| {
        let Ok(entry) = Entry::decode(held.entry.clone()) else { return false };
        match entry.body() {
            Body::Batch(_) | Body::Close(_) if next.includes(&entry) => {
                beyond.insert(entry.leaf_hash());
                false
            }
            // It comes after what it answers for.
            Body::Received(received) => !beyond.contains(&received.peer_leaf),
            _ => true,
        }
    });
    theirs
}

/// Who was at the other end, and how to name the exchange to it.
fn counterparty(held: &[HeldEntry], own: &NodeId, from: FromChunks) -> Option<(NodeId, Wanted)> {
    held.iter().find_map(|held| {
        let entry = Entry::decode(held.entry.clone()).ok()?;
        let Body::Request(request) = entry.body() else { return None };
        let asked_by = entry.common().node.clone()?;
        let peer = if asked_by == *own { request.addressee.clone() } else { asked_by };
        let wanted = Wanted { exchange: entry.exchange(), request_leaf: entry.leaf_hash(), from };
        (peer != *own).then_some((peer, wanted))
    })
}

type Trust = (Vec<GetSnapshotResponse>, BTreeMap<Digest, Bytes>);

/// The snapshots that the entries name.
fn named(held: &[HeldEntry]) -> BTreeSet<u64> {
    let version =
        |held: &HeldEntry| Entry::decode(held.entry.clone()).ok()?.common().globalconf.map(|it| it.version);
    held.iter().filter_map(version).collect()
}

/// These snapshots, as far as this node held them, with their parts.
fn trust(core: &Core, versions: &BTreeSet<u64>) -> Result<Trust, RefreshError> {
    let (mut snapshots, mut parts) = (Vec::new(), BTreeMap::new());
    for &version in versions {
        let Some(answer) = core.globalconf.snapshot(version)? else { continue };
        let snapshot =
            answer.snapshot.as_ref().and_then(|signed| wire::Snapshot::decode(signed.snapshot.clone()).ok());
        let listed = snapshot.into_iter().flat_map(|snapshot| snapshot.parts);
        for digest in listed.filter_map(|part| Digest::from_slice(&part.digest).ok()) {
            if let Some(part) = core.globalconf.part(&digest)? {
                parts.insert(digest, part);
            }
        }
        snapshots.push(answer);
    }
    Ok((snapshots, parts))
}

/// Snapshots that are tried after those that the entries name.
const LATER_SNAPSHOTS_MAX: usize = 8;
/// Of one file, in bytes: less than a reader of evidence takes.
const PAGE_BYTES_MAX: usize = 160 * 1024 * 1024;
/// What the entry of a stream takes of that beside its payload: seven files, each in blocks of a tar.
const LINK_BYTES: usize = 10 * 1024;
/// Pieces of an export that wait for the operator.
const QUEUE: usize = 8;
/// Length of a piece.
const PIECE_BYTES: usize = 1024 * 1024;
/// How long the counterparty has to give what it holds.
const FETCH_WAIT: Duration = Duration::from_secs(10);
