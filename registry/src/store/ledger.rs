//! The registry's history: NOTICEs of its own ledger, payloads in clear, never erased.
//!
//! The state is what the "registry.changed" events add up to, replayed at each start. A registry holds thousands of
//! facts, not millions, so a replay takes a moment and no engine keeps a second copy of the projection on disk.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use peabiru_ledger::checkpoint::SealingKey;
use peabiru_ledger::disk::{Disk, RealDisk};
use peabiru_ledger::ledger::{Append, Ledger, LedgerIdentity, Recovery, Store, StoreConfig};
use peabiru_ledger::payload::{ClearPayload, Payload};
use peabiru_ledger::position::LogPosition;
use peabiru_ledger::seal::SealedEntry;
use peabiru_ledger::snapshot::NOTICE_SNAPSHOT;
use peabiru_ledger::{LedgerError, PayloadState};
use peabiru_proto::entry::{Body, Common, Entry, ExchangeId, GlobalconfRef, Notice};
use peabiru_proto::hash::{Digest, SnapshotDigest};
use peabiru_proto::limits::MAX_CODE_BYTES;
use peabiru_proto::origin::Origin;
use peabiru_proto::random::Random;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire;
use prost::Message as _;

use crate::RegistryError;
use crate::state::{Event, State};

/// The ledger, open.
pub(crate) struct History {
    store: Store,
    ledger: Ledger,
    random: Arc<dyn Random>,
}

/// What the ledger said when it was opened.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) state: State,
    /// The newest snapshot.
    pub(crate) globalconf: Option<GlobalconfRef>,
    /// When the last entry was made.
    pub(crate) last: Option<Timestamp>,
    pub(crate) recovery: Recovery,
}

/// One fact to be appended.
#[derive(Debug, Clone)]
pub(crate) struct Fact {
    code: &'static str,
    subject: String,
    body: Bytes,
}

impl Fact {
    /// Of what was asked, with who asked.
    pub(crate) fn of(event: &wire::RegistryEvent) -> Self {
        let (code, subject) = event
            .event
            .as_ref()
            .map(|event| (code_of(event), subject_of(event)))
            .expect("the state makes no event that says nothing");
        Self { code, subject, body: event.encode_to_vec().into() }
    }

    /// Of a snapshot's bytes.
    pub(crate) fn snapshot(bytes: Bytes) -> Self {
        Self { code: NOTICE_SNAPSHOT, subject: SnapshotDigest::of(&bytes).to_string(), body: bytes }
    }
}

impl History {
    /// Opens the folder and replays it into `state`.
    ///
    /// # Errors
    /// `Ledger`, or `Replay` if the entries contradict each other.
    pub(crate) fn open(
        folder: &Path,
        origin: &Origin,
        key: SealingKey,
        state: State,
        random: Arc<dyn Random>,
    ) -> Result<(Self, Replayed), RegistryError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let config = StoreConfig { segment_bytes: SEGMENT_BYTES, ..StoreConfig::new(folder.to_owned()) };
        let identity = LedgerIdentity { origin: origin.clone(), key, next_key: None };
        let mut replay = Replay { state, globalconf: None, last: None, failed: None };
        let (store, recovery) =
            Store::open(&disk, &config, vec![identity], None, Arc::clone(&random), &mut |recovered| {
                let body = match recovered.payload() {
                    Some(Payload::Clear(clear)) => clear.body,
                    _ => Bytes::new(),
                };
                replay.entry(recovered.position, recovered.entry, body);
            })?;
        if let Some((index, reason)) = replay.failed {
            return Err(RegistryError::Replay { index, reason });
        }
        let ledger = store.ledger(origin).expect("the store was opened with this identity");
        let Replay { state, globalconf, last, .. } = replay;
        Ok((Self { store, ledger, random }, Replayed { state, globalconf, last, recovery }))
    }

    /// Appends facts in one commit: all of them are durable and sealed, or none is.
    ///
    /// # Errors
    /// `Payload` if one is too large, `Ledger`.
    pub(crate) async fn append(
        &self,
        facts: Vec<Fact>,
        globalconf: Option<GlobalconfRef>,
        now: Timestamp,
    ) -> Result<Vec<SealedEntry>, RegistryError> {
        let append = |fact: Fact| {
            let payload = ClearPayload::new(fact.body)?;
            let common =
                Common { exchange: ExchangeId::new(&*self.random), created_at: now, node: None, globalconf };
            let notice = Notice {
                code: fact.code.to_owned(),
                subject: fact.subject,
                content_root: payload.content_root(),
                body_bytes: payload.body.len() as u64,
            };
            let entry = Entry::encode(self.ledger.origin(), &common, &Body::Notice(notice))
                .expect("code and subject are within the limits of a notice");
            Ok(Append { entry, payload: Some(Arc::new(Payload::Clear(payload))), foreign: None })
        };
        let appends = facts.into_iter().map(append).collect::<Result<_, RegistryError>>()?;
        Ok(self.ledger.append(appends).await?)
    }

    /// Entries from an index on, as many as fit one answer, and the size of the tree. Blocks on the disk.
    ///
    /// # Errors
    /// `Ledger`.
    pub(crate) fn notices(
        &self,
        start: u64,
        limit: usize,
    ) -> Result<(Vec<wire::RegistryNotice>, u64), LedgerError> {
        let size = self.ledger.size().entries();
        let mut notices = Vec::new();
        let mut bytes = 0;
        for index in (start..size).take(limit) {
            let stored = self.ledger.read(LogPosition::new(index))?;
            let body = match stored.payload {
                PayloadState::Kept(Payload::Clear(clear)) => clear.body,
                _ => Bytes::new(),
            };
            let entry = stored.entry.bytes().clone();
            bytes += entry.len() + body.len() + NOTICE_FRAME_BYTES;
            // One that alone is too long is still given: a body has at most 1 MiB.
            if bytes > ANSWER_BYTES_MAX && !notices.is_empty() {
                break;
            }
            notices.push(wire::RegistryNotice { index, entry, body });
        }
        Ok((notices, size))
    }

    /// Says why, if the ledger stopped: the process must stop then.
    pub(crate) fn failure(&self) -> tokio::sync::watch::Receiver<Option<String>> {
        self.store.failure()
    }

    /// Writes the closing record.
    pub(crate) async fn close(&self) {
        self.store.close().await;
    }
}

struct Replay {
    state: State,
    globalconf: Option<GlobalconfRef>,
    last: Option<Timestamp>,
    failed: Option<(u64, String)>,
}

impl Replay {
    fn entry(&mut self, position: LogPosition, entry: &Entry, body: Bytes) {
        if self.failed.is_none()
            && let Err(reason) = self.read(entry, body)
        {
            self.failed = Some((position.index(), reason));
        }
        self.last = Some(entry.common().created_at);
    }

    fn read(&mut self, entry: &Entry, body: Bytes) -> Result<(), String> {
        let Body::Notice(notice) = entry.body() else {
            return Err("it is no NOTICE".to_owned());
        };
        match notice.code.as_str() {
            NOTICE_CHANGED | NOTICE_PROPOSED | NOTICE_APPROVED | NOTICE_REJECTED => {
                let event = wire::RegistryEvent::decode(body).map_err(|error| error.to_string())?;
                self.state.apply(event)
            }
            NOTICE_SNAPSHOT => {
                let digest = SnapshotDigest::of(&body);
                let snapshot = wire::Snapshot::decode(body).map_err(|error| error.to_string())?;
                if self.globalconf.is_some_and(|before| snapshot.version <= before.version) {
                    return Err(format!("the snapshot's version {} does not rise", snapshot.version));
                }
                self.globalconf = Some(GlobalconfRef { version: snapshot.version, digest });
                Ok(())
            }
            // Written by a newer version about something that this one does not project.
            _ => Ok(()),
        }
    }
}

fn code_of(event: &Event) -> &'static str {
    match event {
        Event::ChangeProposed(_) => NOTICE_PROPOSED,
        Event::ProposalApproved(_) => NOTICE_APPROVED,
        Event::ProposalRejected(_) => NOTICE_REJECTED,
        _ => NOTICE_CHANGED,
    }
}

/// What an event is about: an identifier, or its hash where it is too long for a head.
fn subject_of(event: &Event) -> String {
    let subject = match event {
        Event::MemberAdded(event) => event.member.clone(),
        Event::SubsystemAdded(event) => event.subsystem.as_ref().map(|it| it.id.clone()).unwrap_or_default(),
        Event::NodeAdded(event) => event.node.as_ref().map(|it| it.id.clone()).unwrap_or_default(),
        Event::NodeAddressesSet(event) => event.node.clone(),
        Event::NodeCertificateAdded(event) => event.node.clone(),
        Event::NodeCertificateRemoved(event) => event.node.clone(),
        Event::LedgerAdded(event) => event.ledger.as_ref().map(|it| it.origin.clone()).unwrap_or_default(),
        Event::AuthorityAdded(event) => {
            event.authority.as_ref().map(|it| Digest::of(&it.certificate).to_string()).unwrap_or_default()
        }
        Event::ContractAdded(event) => {
            event.contract.as_ref().map(|it| it.service.clone()).unwrap_or_default()
        }
        Event::LedgerCertificateAdded(event) => event.origin.clone(),
        Event::LedgerCertificateRemoved(event) => event.origin.clone(),
        Event::LedgerWithdrawn(event) => event.origin.clone(),
        Event::AuthorityWithdrawn(event) => HEXLOWER.encode(&event.certificate_sha256),
        Event::OperatorsListed(_) => "operators".to_owned(),
        Event::ChangeProposed(event) => event.number.to_string(),
        Event::ProposalApproved(event) => event.number.to_string(),
        Event::ProposalRejected(event) => event.number.to_string(),
    };
    if subject.len() <= MAX_CODE_BYTES { subject } else { Digest::of(subject.as_bytes()).to_string() }
}

/// A change of what is registered. FROZEN.
pub(crate) const NOTICE_CHANGED: &str = "registry.changed";
/// A change that waits for a second officer. FROZEN.
const NOTICE_PROPOSED: &str = "registry.proposed";
/// A second officer's yes; the change is the next entry. FROZEN.
const NOTICE_APPROVED: &str = "registry.approved";
/// An officer's no. FROZEN.
const NOTICE_REJECTED: &str = "registry.rejected";
/// Length of a segment file: a registry writes little, and a commit of two payloads of 1 MiB fits half of it.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Most bytes of an answer to `ListNotices`, below the 4 MiB that gRPC clients take by default.
const ANSWER_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Room for the tags of one entry.
const NOTICE_FRAME_BYTES: usize = 32;
