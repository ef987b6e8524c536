//! The provider's half of an exchange: guard → RECEIVED → service → RESPONSE.
//!
//! A method with side effects is invoked only after RECEIVED is durable. For a read, RECEIVED is held and committed
//! with the RESPONSE: one wait for the disk instead of two (design §4).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_ledger::ledger::{Append, Ledger};
use peabiru_ledger::payload::{Direction, Payload};
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::entry::{Body, Entry, FaultHead, Response, SideEffects, Verdict};
use peabiru_proto::fault::{Fault, Place};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::LeafHash;
use peabiru_proto::limits::HELD_RECEIPT_WAIT;
use peabiru_proto::wire;
use prost::Message as _;

use crate::core::{Core, done_and_unsealed, internal, ledger_fault, not_hosted, received_append};
use crate::exchange::{Answer, Arrived, Reply, Services};
use crate::guard::request::{Authorised, Received, Refused, Verified};
use crate::metadata;
use crate::stage::{Stage, count_answered, count_refusal};

/// Answers for the members of this node.
pub struct Provider {
    core: Arc<Core>,
    services: Arc<dyn Services>,
    service_timeout: Duration,
}

/// RECEIVED, and whether it is durable yet.
#[allow(clippy::large_enum_variant, reason = "one per exchange, on the stack of its task")]
enum Receipt {
    Durable(LeafHash),
    Held(Append, LeafHash),
}

impl Receipt {
    fn without_payload(self) -> Self {
        match self {
            Self::Held(append, leaf) => Self::Held(Append { payload: None, ..append }, leaf),
            durable @ Self::Durable(_) => durable,
        }
    }

    fn leaf(&self) -> LeafHash {
        match self {
            Self::Durable(leaf) | Self::Held(_, leaf) => *leaf,
        }
    }
}

impl Provider {
    /// A provider over the node's core and its agencies' services.
    #[must_use]
    pub fn new(core: Arc<Core>, services: Arc<dyn Services>, service_timeout: Duration) -> Self {
        Self { core, services, service_timeout }
    }

    /// Answers one message.
    pub async fn answer(&self, arrived: Box<Arrived>) -> Reply {
        let exchange = arrived.entry.exchange();
        let guarded = Stage::Guard.start();
        let conf = match self.core.conf(Place::ProviderNode) {
            Ok(conf) => conf,
            Err(fault) => return refuse(fault.with_exchange(exchange)),
        };
        let now = self.core.clock.now();
        let verified = match Received::new(arrived).verify(&self.core.guard, &conf, now) {
            Ok(verified) => verified,
            Err(refusal) => return refuse(refusal.fault(Place::ProviderNode, exchange)),
        };
        let authorised = verified.authorise(&self.core.guard, &conf, &self.core.grants.load(), now);
        guarded.end();
        let sealed = match authorised {
            Ok(authorised) => self.invoke(authorised, &conf).await,
            Err(refused) => self.seal_refusal(*refused, &conf).await,
        };
        if sealed.is_ok() {
            count_answered();
            tracing::debug!(%exchange, "answered");
        }
        sealed.unwrap_or_else(|fault| refuse(fault.with_exchange(exchange)))
    }

    async fn invoke(&self, mut authorised: Authorised, conf: &GlobalConfiguration) -> Result<Reply, Fault> {
        let ledger = self.ledger(authorised.verified())?;
        let receipt = self.receipt(ledger, &authorised, conf)?;
        let mut receipt = match authorised.side_effects() {
            SideEffects::Present => commit(ledger, receipt).await?,
            SideEffects::None => receipt,
        };
        let invocation = authorised.invocation(self.core.clock.now(), self.service_timeout);
        let invoked = Stage::Service.start();
        let answer =
            match metadata::answer(&invocation, conf, &self.core.grants.load(), self.core.clock.now()) {
                Some(answer) => Box::pin(std::future::ready(answer)),
                None => self.services.invoke(invocation),
            };
        tokio::pin!(answer);
        let answer = match tokio::time::timeout(HELD_RECEIPT_WAIT, &mut answer).await {
            Ok(answer) => answer,
            Err(_) => {
                // A slow service must not keep the fact that it was asked out of the ledger.
                receipt = commit(ledger, receipt).await?;
                answer.await
            }
        };
        invoked.end();
        let sealed = self.seal_answer(ledger, authorised.verified(), receipt, answer, conf).await;
        match authorised.side_effects() {
            SideEffects::Present => sealed.map_err(|fault| done_and_unsealed(&fault, Place::ProviderNode)),
            SideEffects::None => sealed,
        }
    }

    fn receipt(
        &self,
        ledger: &Ledger,
        authorised: &Authorised,
        conf: &GlobalConfiguration,
    ) -> Result<Receipt, Fault> {
        let verified = authorised.verified();
        let head = verified.received_head(Verdict::Accepted, authorised.grant().cloned());
        self.held(ledger, verified, &Body::Received(head), conf)
    }

    fn held(
        &self,
        ledger: &Ledger,
        verified: &Verified,
        body: &Body,
        conf: &GlobalConfiguration,
    ) -> Result<Receipt, Fault> {
        let arrived = verified.arrived();
        let entry = self.core.entry(ledger, arrived.entry.exchange(), Some(conf), body)?;
        let leaf = entry.leaf_hash();
        Ok(Receipt::Held(received_append(entry, arrived), leaf))
    }

    async fn seal_refusal(&self, refused: Refused, conf: &GlobalConfiguration) -> Result<Reply, Fault> {
        let Refused { verified, refusal } = refused;
        let ledger = self.ledger(&verified)?;
        let exchange = verified.arrived().entry.exchange();
        let fault = refusal.fault(Place::ProviderNode, exchange);
        let peer = &verified.arrived().peer;
        if !self.core.guard.may_seal_refusal(peer, self.core.clock.now()) {
            tracing::warn!(%peer, %exchange, code = %fault.code, "too many refusals of this peer: not sealed");
            return Ok(refuse(fault));
        }
        let head = verified.received_head(Verdict::Refused, None);
        let receipt = self.held(ledger, &verified, &Body::Received(head), conf)?;
        // Whoever may not ask does not fill the disk: the sender keeps the payload, and the seal commits to it.
        let receipt = receipt.without_payload();
        tracing::info!(%exchange, %peer, code = %fault.code, "a message was refused");
        count_refusal(&fault);
        self.seal_answer(ledger, &verified, receipt, Err(fault), conf).await
    }

    async fn seal_answer(
        &self,
        ledger: &Ledger,
        verified: &Verified,
        receipt: Receipt,
        answer: Result<Answer, Fault>,
        conf: &GlobalConfiguration,
    ) -> Result<Reply, Fault> {
        let (entry, payload) = self.answer_entry(ledger, verified, receipt.leaf(), answer, conf)?;
        let answered = Append { entry, payload: Some(Arc::clone(&payload)), foreign: None };
        let appends = match receipt {
            Receipt::Durable(_) => vec![answered],
            Receipt::Held(received, _) => vec![received, answered],
        };
        let committed = Stage::Commit.start();
        let sealed =
            ledger.append(appends).await.map_err(|error| ledger_fault(&error, Place::ProviderNode))?;
        committed.end();
        let entry =
            sealed.into_iter().next_back().ok_or_else(|| internal("the ledger answered without an entry"))?;
        Ok(Reply::Sealed { entry, payload })
    }

    fn answer_entry(
        &self,
        ledger: &Ledger,
        verified: &Verified,
        received_leaf: LeafHash,
        answer: Result<Answer, Fault>,
        conf: &GlobalConfiguration,
    ) -> Result<(Entry, Arc<Payload>), Fault> {
        let arrived = verified.arrived();
        let exchange = arrived.entry.exchange();
        let request_leaf = arrived.entry.leaf_hash();
        let addressee = arrived.peer.clone();
        let (context, body) = match &answer {
            Ok(answer) => (answer.context.clone(), answer.body.clone()),
            Err(fault) => (wire::Context::default(), Bytes::from(fault.to_proto().encode_to_vec())),
        };
        let (payload, content_root) =
            self.core.seal_payload(&exchange, Direction::Answer, &context, &body, Place::ProviderNode)?;
        let body_bytes = body.len() as u64;
        let body = match answer {
            Ok(Answer { outcome, .. }) => Body::Response(Response {
                request_leaf,
                received_leaf,
                addressee,
                outcome,
                content_root,
                body_bytes,
            }),
            Err(fault) => {
                let code = fault.code.as_str().to_owned();
                Body::Fault(FaultHead {
                    request_leaf,
                    received_leaf,
                    addressee,
                    code,
                    content_root,
                    body_bytes,
                })
            }
        };
        Ok((self.core.entry(ledger, exchange, Some(conf), &body)?, payload))
    }

    fn ledger(&self, verified: &Verified) -> Result<&Ledger, Fault> {
        let member = verified.request().service.member();
        self.core.ledger(&member).ok_or_else(|| not_hosted(&member))
    }
}

async fn commit(ledger: &Ledger, receipt: Receipt) -> Result<Receipt, Fault> {
    let (append, leaf) = match receipt {
        Receipt::Held(append, leaf) => (append, leaf),
        durable @ Receipt::Durable(_) => return Ok(durable),
    };
    let committed = Stage::Commit.start();
    let _: Vec<SealedEntry> =
        ledger.append(vec![append]).await.map_err(|error| ledger_fault(&error, Place::ProviderNode))?;
    committed.end();
    Ok(Receipt::Durable(leaf))
}

fn refuse(fault: Fault) -> Reply {
    count_refusal(&fault);
    let exchange = fault.exchange.map(|exchange| exchange.to_string()).unwrap_or_default();
    tracing::info!(exchange, code = %fault.code, place = ?fault.place, "a message was refused without a seal");
    Reply::Refusal(fault)
}
