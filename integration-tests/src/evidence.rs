//! Evidence of exchanges, as a node exports it.

use peabiru_cli::client::NodeClient;
use peabiru_ledger::evidence::{Evidence, Gathered};
use peabiru_ledger::seal::SealedEntry;
use peabiru_ledger::tlog_proof;
use peabiru_proto::entry::Entry;
use peabiru_proto::hash::Digest;
use peabiru_proto::wire::{ExportEvidenceRequest, GetSnapshotResponse, HeldEntry, SignedSnapshot};
use prost::Message as _;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// The evidence file of an exchange.
///
/// # Errors
/// What the node says.
pub async fn export(node: &mut NodeClient, exchange: &str) -> Result<Vec<u8>, Status> {
    export_from(node, exchange, (0, 0)).await
}

/// As `export`, of a stream from these chunks of request and answer on.
///
/// # Errors
/// What the node says.
pub async fn export_from(
    node: &mut NodeClient,
    exchange: &str,
    (first_request_chunk, first_answer_chunk): (u64, u64),
) -> Result<Vec<u8>, Status> {
    let (exchange_id, member) = (exchange.to_owned(), String::new());
    let request = ExportEvidenceRequest { exchange_id, member, first_request_chunk, first_answer_chunk };
    let mut stream = node.export_evidence(request).await?.into_inner();
    let mut tar = Vec::new();
    while let Some(piece) = stream.message().await? {
        tar.extend(piece.content);
    }
    Ok(tar)
}

/// The exchange that an answer or a fault names.
#[must_use]
pub fn exchange_of(metadata: &MetadataMap) -> String {
    metadata.get("x-peabiru-exchange-id").unwrap().to_str().unwrap().to_owned()
}

/// The same evidence gathered anew without one entry, named by its file; and without payloads.
#[must_use]
pub fn without(tar: &[u8], left_out: &str) -> Vec<u8> {
    regathered(tar, left_out, None)
}

/// The same with one entry more.
#[must_use]
pub fn with(tar: &[u8], more: &SealedEntry) -> Vec<u8> {
    let held = HeldEntry {
        entry: more.entry.bytes().clone(),
        index: more.seal.position.index(),
        inclusion: more.seal.proof.to_bytes().into(),
        checkpoint: more.seal.checkpoint.note().to_owned().into(),
        payload: None,
    };
    regathered(tar, "", Some(held))
}

fn regathered(tar: &[u8], left_out: &str, more: Option<HeldEntry>) -> Vec<u8> {
    let evidence = Evidence::from_tar(tar).unwrap();
    let held = |name: &str| {
        let entry = evidence.file(name)?.clone();
        let proof = evidence.file(&format!("{}.tlog-proof", name.strip_suffix(".entry")?))?;
        let seal = tlog_proof::parse(proof).unwrap();
        Some(HeldEntry {
            entry,
            index: seal.position.index(),
            inclusion: seal.proof.to_bytes().into(),
            checkpoint: seal.checkpoint.note().to_owned().into(),
            payload: None,
        })
    };
    let is_message = |name: &&str| !name.starts_with("snapshots/") && *name != left_out;
    let names: Vec<&str> = evidence.names().collect();
    let held = names.iter().copied().filter(|name| is_message(name)).filter_map(held);
    let held: Vec<_> = held.chain(more).collect();
    let snapshots = names.iter().filter(|name| name.ends_with("/snapshot.bin"));
    let snapshots = snapshots.map(|name| GetSnapshotResponse {
        snapshot: SignedSnapshot::decode(evidence.file(name).unwrap().clone()).ok(),
        ..GetSnapshotResponse::default()
    });
    let parts =
        names.iter().filter(|name| name.starts_with("parts/")).map(|name| evidence.file(name).unwrap());
    let parts = parts.map(|part| (Digest::of(part), part.clone())).collect();
    let exchange = Entry::decode(held[0].entry.clone()).unwrap().exchange();
    let gathered = Gathered { held, snapshots: snapshots.collect(), parts };
    Evidence::gather(&exchange, gathered).unwrap().to_tar()
}
