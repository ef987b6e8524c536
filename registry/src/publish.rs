//! Makes the global configuration of the state: parts with their digests, and the signed snapshot that lists them.
//!
//! The same state always gives the same bytes, so a part that did not change keeps its digest and is not fetched again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use peabiru_certs::SecretKey;
use peabiru_ledger::seal::SealedEntry;
use peabiru_ledger::snapshot::sign_snapshot;
use peabiru_proto::entry::GlobalconfRef;
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::{ContractDigest, Digest, SnapshotDigest};
use peabiru_proto::limits::{MAX_CLEAR_BYTES, MAX_PART_BYTES, MAX_SNAPSHOT_PARTS};
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{self, PartKind};
use prost::Message as _;

use crate::RegistryError;
use crate::state::{Kind, State};

/// The parts of one state.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    listed: Vec<wire::PartDigest>,
    bytes: BTreeMap<Digest, Bytes>,
}

/// What a snapshot says beside its parts.
#[derive(Debug, Clone)]
pub struct Edition {
    /// Above the one before.
    pub version: u64,
    /// Now.
    pub created_at: Timestamp,
    /// How long nodes may use it without the registry.
    pub validity: Duration,
    /// The registry's ledger.
    pub registry_origin: Origin,
}

/// A snapshot that can be given out: signed, and sealed in the registry's ledger.
#[derive(Debug, Clone)]
pub struct Published {
    /// Version and digest.
    pub reference: GlobalconfRef,
    /// When nodes stop believing it.
    pub expires_at: Timestamp,
    /// For nodes.
    pub answer: wire::GetSnapshotResponse,
}

/// Parts by digest: those of the newest snapshot, and for nodes that are just fetching, the last ones of those before.
#[derive(Debug, Clone)]
pub struct Shelf {
    current: BTreeMap<Digest, Bytes>,
    superseded: VecDeque<(Digest, Bytes)>,
}

impl Parts {
    /// Of a state.
    ///
    /// # Errors
    /// `Refused` if a part or their number is above a limit.
    pub fn of(state: &State) -> Result<Self, RegistryError> {
        let mut parts = Self { listed: Vec::new(), bytes: BTreeMap::new() };
        let mut contracts = BTreeMap::new();
        for member in state.member_parts() {
            for contract in &member.contracts {
                let digest = ContractDigest::from_slice(&contract.digest)
                    .expect("the state writes digests of 32 bytes");
                let document =
                    state.document(&digest).expect("the state keeps the document of each contract");
                contracts.insert(format!("{}:{}", contract.service, contract.version), document.clone());
            }
            parts.add(PartKind::Member, member.member.clone(), member.encode_to_vec().into())?;
        }
        parts.add(PartKind::Trust, TRUST.to_owned(), state.trust_part().encode_to_vec().into())?;
        for (name, document) in contracts {
            parts.add(PartKind::Contract, name, document)?;
        }
        if parts.listed.len() > MAX_SNAPSHOT_PARTS {
            let message = format!("a snapshot lists at most {MAX_SNAPSHOT_PARTS} parts");
            return Err(Kind::Limit.because(message).into());
        }
        Ok(parts)
    }

    fn add(&mut self, kind: PartKind, name: String, bytes: Bytes) -> Result<(), RegistryError> {
        if bytes.len() > MAX_PART_BYTES {
            let message =
                format!("the part {name} would have {} bytes, {MAX_PART_BYTES} are allowed", bytes.len());
            return Err(Kind::Limit.because(message).into());
        }
        let digest = Digest::of(&bytes);
        self.listed.push(wire::PartDigest {
            kind: kind.into(),
            name,
            digest: digest.as_bytes().to_vec().into(),
            part_bytes: bytes.len() as u64,
        });
        self.bytes.insert(digest, bytes);
        Ok(())
    }

    /// The bytes behind a digest.
    #[must_use]
    pub fn get(&self, digest: &Digest) -> Option<&Bytes> {
        self.bytes.get(digest)
    }

    /// The snapshot that lists them, checked as a node will check it: what nodes would refuse whole is never published.
    ///
    /// # Errors
    /// `Contradiction`, or `Refused` if it is too long for the registry's ledger.
    pub fn snapshot(&self, state: &State, edition: &Edition) -> Result<wire::Snapshot, RegistryError> {
        let snapshot = wire::Snapshot {
            instance: state.instance().to_string(),
            version: edition.version,
            created_at_ms: edition.created_at.as_ms(),
            expires_at_ms: edition.created_at.plus(edition.validity).as_ms(),
            domain: state.domain().to_string(),
            registry_origin: edition.registry_origin.to_string(),
            parts: self.listed.clone(),
        };
        let bytes = snapshot.encode_to_vec();
        if bytes.len() > MAX_CLEAR_BYTES {
            let message =
                format!("the snapshot would have {} bytes, {MAX_CLEAR_BYTES} are allowed", bytes.len());
            return Err(Kind::Limit.because(message).into());
        }
        let digest = SnapshotDigest::of(&bytes);
        GlobalConfiguration::assemble(&snapshot, digest, &|digest| self.get(digest).cloned())
            .map_err(|error| RegistryError::Contradiction(error.to_string()))?;
        Ok(snapshot)
    }
}

impl Published {
    /// Signs a snapshot that is sealed.
    #[must_use]
    pub fn new(
        snapshot: &wire::Snapshot,
        key: &SecretKey,
        delegation: wire::SignedDelegation,
        sealed: &SealedEntry,
    ) -> Self {
        let signed = sign_snapshot(snapshot, key, delegation);
        let digest = SnapshotDigest::of(&signed.snapshot);
        let entry = wire::HeldEntry {
            entry: sealed.entry.bytes().clone(),
            index: sealed.seal.position.index(),
            inclusion: sealed.seal.proof.to_bytes().into(),
            checkpoint: Bytes::copy_from_slice(sealed.seal.checkpoint.note().as_bytes()),
            payload: None,
        };
        Self {
            reference: GlobalconfRef { version: snapshot.version, digest },
            expires_at: Timestamp::from_ms(snapshot.expires_at_ms),
            answer: wire::GetSnapshotResponse { snapshot: Some(signed), entry: Some(entry) },
        }
    }
}

impl Shelf {
    /// With the parts of the first snapshot.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { current: parts.bytes, superseded: VecDeque::new() }
    }

    /// With the parts of the next one; the oldest of those before go once they are too many.
    #[must_use]
    pub fn succeed(&self, parts: Parts) -> Self {
        let mut superseded = self.superseded.clone();
        let gone = self.current.iter().filter(|(digest, _)| !parts.bytes.contains_key(digest));
        superseded.extend(gone.map(|(digest, bytes)| (*digest, bytes.clone())));
        superseded.retain(|(digest, _)| !parts.bytes.contains_key(digest));
        let mut bytes: usize = superseded.iter().map(|(_, bytes)| bytes.len()).sum();
        while bytes > SUPERSEDED_BYTES_MAX
            && let Some((_, oldest)) = superseded.pop_front()
        {
            bytes -= oldest.len();
        }
        Self { current: parts.bytes, superseded }
    }

    /// The bytes behind a digest.
    #[must_use]
    pub fn get(&self, digest: &Digest) -> Option<&Bytes> {
        let superseded = || self.superseded.iter().find(|(known, _)| known == digest).map(|(_, bytes)| bytes);
        self.current.get(digest).or_else(superseded)
    }
}

/// Name of the trust part. FROZEN.
const TRUST: &str = "trust";
/// How much is kept of parts that the newest snapshot no longer lists, in bytes.
const SUPERSEDED_BYTES_MAX: usize = 16 * 1024 * 1024;
