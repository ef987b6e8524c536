//! What a node knows again after a start, because its ledgers say so: messages seen, grants, heads of others,
//! requests without an answer.

use std::collections::HashMap;

use peabiru_ledger::checkpoint::SignedCheckpoint;
use peabiru_ledger::ledger::RecoveredEntry;
use peabiru_ledger::payload::{Direction, OpenPayload, Payload};
use peabiru_proto::entry::{Body, ExchangeId, Notice};
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
    /// The newest head held of each ledger of others.
    pub(crate) heads: HashMap<Origin, SignedCheckpoint>,
    pub(crate) unanswered: HashMap<ExchangeId, Unanswered>,
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
    pub(crate) expires_at: Timestamp,
}

impl Memory {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            replay: ReplayWindow::default(),
            grants: Grants::default(),
            heads: HashMap::new(),
            unanswered: HashMap::new(),
            last: None,
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
            Body::Request(request) => {
                let unanswered = Unanswered {
                    exchange,
                    request_leaf: entry.leaf_hash(),
                    origin: recovered.origin.clone(),
                    addressee: request.addressee.clone(),
                    provider: request.service.member(),
                    expires_at: request.expires_at,
                };
                if self.unanswered.len() < UNANSWERED_MAX {
                    self.unanswered.insert(exchange, unanswered);
                }
            }
            Body::Received(received) => match received.expires_at {
                // A request that came in.
                Some(expires_at) => {
                    self.replay.insert(&received.peer_origin, &exchange, expires_at, self.now);
                }
                // The answer to one of ours.
                None => {
                    self.unanswered.remove(&exchange);
                }
            },
            Body::Notice(notice) if notice.code == NOTICE_GRANT => self.note_grant(notice, recovered),
            Body::Response(_) | Body::Fault(_) | Body::Notice(_) => {}
        }
    }

    fn note_head(&mut self, checkpoint: &SignedCheckpoint) {
        let held = self.heads.get(checkpoint.origin());
        if held.is_none_or(|held| held.size() < checkpoint.size()) {
            self.heads.insert(checkpoint.origin().clone(), checkpoint.clone());
        }
    }

    fn note_grant(&mut self, notice: &Notice, recovered: &RecoveredEntry<'_>) {
        let Some(OpenPayload { body, .. }) = open(notice, recovered) else {
            // Without its payload a grant allows nothing: deny by default.
            tracing::error!(grant = notice.subject, "a grant in the ledger cannot be read");
            return;
        };
        let digest = Digest::of(&body);
        let grant = wire::Grant::decode(body).ok().and_then(|grant| Grant::from_proto(&grant).ok());
        match grant {
            Some(grant) => self.grants.apply(grant, digest),
            None => tracing::error!(grant = notice.subject, "a grant in the ledger does not parse"),
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
