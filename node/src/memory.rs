//! What a node knows again after a start, because its ledgers say so: messages seen, grants, heads of others,
//! requests without an answer.

use std::collections::{BTreeMap, HashMap};

use peabiru_ledger::checkpoint::SignedCheckpoint;
use peabiru_ledger::ledger::RecoveredEntry;
use peabiru_ledger::payload::{Direction, OpenBody, OpenPayload, Payload};
use peabiru_proto::contract::Delivery;
use peabiru_proto::entry::{Body, Entry, ExchangeId, Notice, Request};
use peabiru_proto::hash::{Digest, LeafHash};
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::origin::Origin;
use peabiru_proto::policy::Grant;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire;
use prost::Message as _;

use crate::core::NOTICE_GRANT;
use crate::guard::grant::Grants;
use crate::guard::replay::ReplayWindow;

/// Gathered while the ledgers are read.
#[derive(Debug)]
pub(crate) struct Memory {
    now: Timestamp,
    pub(crate) replay: ReplayWindow,
    pub(crate) grants: Grants,
    /// Whose grant an id is in which ledger.
    granted_by: HashMap<(Origin, String), MemberId>,
    /// The newest head held of each ledger of others.
    pub(crate) heads: HashMap<Origin, SignedCheckpoint>,
    /// By when they were asked, oldest first.
    unanswered: BTreeMap<u64, Unanswered>,
    asked: HashMap<ExchangeId, u64>,
    requests: u64,
    /// When the newest entry was made.
    pub(crate) last: Option<Timestamp>,
}

/// A request of ours whose answer is not in our ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unanswered {
    pub(crate) exchange: ExchangeId,
    pub(crate) request_leaf: LeafHash,
    /// Of ours.
    pub(crate) origin: Origin,
    pub(crate) addressee: NodeId,
    pub(crate) provider: MemberId,
    pub(crate) asked_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) delivery: Delivery,
}

impl Unanswered {
    /// One of ours, as long as nobody has found its answer.
    pub(crate) fn of(entry: &Entry, request: &Request) -> Self {
        Self {
            exchange: entry.exchange(),
            request_leaf: entry.leaf_hash(),
            origin: entry.origin().clone(),
            addressee: request.addressee.clone(),
            provider: request.service.member(),
            asked_at: entry.common().created_at,
            expires_at: request.expires_at,
            delivery: if request.content.is_stream() { Delivery::Live } else { Delivery::Whole },
        }
    }
}

impl Memory {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            replay: ReplayWindow::default(),
            grants: Grants::default(),
            granted_by: HashMap::new(),
            heads: HashMap::new(),
            unanswered: BTreeMap::new(),
            asked: HashMap::new(),
            requests: 0,
            last: None,
        }
    }

    /// Requests without an answer.
    pub(crate) fn unanswered(&mut self) -> Vec<Unanswered> {
        std::mem::take(&mut self.unanswered).into_values().collect()
    }

    /// The newest are kept: an answer that was on its way when the node stopped is among them.
    fn note_request(&mut self, unanswered: Unanswered) {
        self.requests += 1;
        self.asked.insert(unanswered.exchange, self.requests);
        self.unanswered.insert(self.requests, unanswered);
        if self.unanswered.len() > UNANSWERED_MAX
            && let Some((_, oldest)) = self.unanswered.pop_first()
        {
            self.asked.remove(&oldest.exchange);
        }
    }

    /// Takes one entry in. Entries come in each ledger's order.
    pub(crate) fn note(&mut self, recovered: &RecoveredEntry<'_>) {
        let entry = recovered.entry;
        let created_at = entry.common().created_at;
        self.last = Some(self.last.map_or(created_at, |last| last.max(created_at)));
        let exchange = entry.exchange();
        if let Some(foreign) = recovered.foreign {
            self.note_head(&foreign.checkpoint);
        }
        match entry.body() {
            // A stream ended with the node: what was missed of it is not fetched.
            Body::Request(request) if request.content.is_stream() => {}
            Body::Request(request) => {
                self.note_request(Unanswered::of(entry, request));
            }
            Body::Received(received) => match received.expires_at {
                // A request that came in.
                Some(expires_at) => {
                    self.replay.insert(&received.peer_origin, &exchange, expires_at, self.now);
                }
                // The answer to one of ours.
                None => {
                    let asked = self.asked.remove(&exchange);
                    asked.and_then(|number| self.unanswered.remove(&number));
                }
            },
            Body::Notice(notice) if notice.code == NOTICE_GRANT => self.note_grant(notice, recovered),
            Body::Response(_)
            | Body::Fault(_)
            | Body::Batch(_)
            | Body::Close(_)
            | Body::KeyChange(_)
            | Body::Notice(_) => {}
        }
    }

    fn note_head(&mut self, checkpoint: &SignedCheckpoint) {
        let held = self.heads.get(checkpoint.origin());
        if held.is_none_or(|held| held.size() < checkpoint.size()) {
            self.heads.insert(checkpoint.origin().clone(), checkpoint.clone());
        }
    }

    fn forget(&mut self, notice: &Notice, recovered: &RecoveredEntry<'_>) {
        let key = (recovered.origin.clone(), notice.subject.clone());
        if let Some(member) = self.granted_by.get(&key) {
            self.grants.forget(member, &notice.subject);
        }
    }

    fn note_grant(&mut self, notice: &Notice, recovered: &RecoveredEntry<'_>) {
        let opened = open(notice, recovered);
        let Some(OpenPayload { body: OpenBody::Whole(body), .. }) = opened else {
            // What an unreadable revision changed is not known, and it may have been a revocation: deny by default.
            tracing::error!(
                grant = notice.subject,
                "a grant in the ledger cannot be read: it allows nothing"
            );
            self.forget(notice, recovered);
            return;
        };
        let digest = Digest::of(&body);
        let grant = wire::Grant::decode(body).ok().and_then(|grant| Grant::from_proto(&grant).ok());
        match grant {
            Some(grant) => {
                self.granted_by.insert((recovered.origin.clone(), grant.id.clone()), grant.service.member());
                self.grants.apply(grant, digest);
            }
            None => {
                tracing::error!(
                    grant = notice.subject,
                    "a grant in the ledger does not parse: it allows nothing"
                );
                self.forget(notice, recovered);
            }
        }
    }
}

fn open(notice: &Notice, recovered: &RecoveredEntry<'_>) -> Option<OpenPayload> {
    let Some(Payload::Sealed(payload)) = recovered.payload() else { return None };
    let exchange = recovered.entry.exchange();
    payload.open(&exchange, Direction::Request, &notice.content_root, notice.body_bytes).ok()
}

/// Requests without an answer that are asked for again after a start.
const UNANSWERED_MAX: usize = 10_000;
