//! The provider's half of an exchange: guard → RECEIVED → service → RESPONSE.
//!
//! A method with side effects is invoked only after RECEIVED is durable. For a read, RECEIVED is held and committed
//! with the RESPONSE: one wait for the disk instead of two (design §4).

mod live;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use peabiru_ledger::ledger::{Append, Ledger};
use peabiru_ledger::payload::{Direction, Payload};
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::entry::{Body, Content, Entry, FaultHead, Response, SideEffects, Verdict};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::{ContentRoot, LeafHash};
use peabiru_proto::id::{NodeId, ServiceId};
use peabiru_proto::limits::HELD_RECEIPT_WAIT;
use peabiru_proto::wire;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};

use crate::core::{
    Core, asked_and_unanswered, done_and_unsealed, internal, ledger_fault, not_hosted, received_append,
};
use crate::exchange::{AnswerEnd, Arrived, Outflow, Pieces, Reply, Served, Services};
use crate::flow::PIECES_QUEUED;
use crate::guard::refusal::Refusal;
use crate::guard::request::{Authorised, Denied, Received, Refused, Verified, check_preview};
use crate::metadata;
use crate::spool::{self, Holder, Spooled};
use crate::stage::{Stage, count_answered, count_refusal};

/// Answers for the members of this node.
pub struct Provider {
    core: Arc<Core>,
    services: Arc<dyn Services>,
    service_timeout: Duration,
    demands: ArcSwap<Demands>,
}

/// A message whose seal holds, judged by this global configuration.
type Judged = (Result<Authorised, Box<Refused>>, Arc<GlobalConfiguration>);
/// How fresh the global configuration must be, for services that demand it.
pub type Demands = HashMap<ServiceId, Duration>;

/// RECEIVED, and whether it is durable yet.
#[allow(clippy::large_enum_variant, reason = "one per exchange, on the stack of its task")]
enum Receipt {
    Durable(LeafHash),
    Held(Append, LeafHash),
}

/// What the head of an answer says beside whom it answers.
struct AnswerHead {
    /// gRPC status code, or why there is none.
    outcome: Result<u32, Fault>,
    content_root: ContentRoot,
    body_bytes: u64,
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
    pub fn new(
        core: Arc<Core>,
        services: Arc<dyn Services>,
        service_timeout: Duration,
        demands: Demands,
    ) -> Self {
        Self { core, services, service_timeout, demands: ArcSwap::from_pointee(demands) }
    }

    /// Whether this node says where a service listens.
    pub(crate) fn offers(&self, service: &ServiceId) -> bool {
        self.services.offers(service)
    }

    /// From now on these demands alone.
    pub(crate) fn set_demands(&self, demands: Demands) {
        self.demands.store(Arc::new(demands));
    }

    /// Whether what this node trusts is fresh enough for a service.
    fn check_fresh(&self, service: &ServiceId) -> Result<(), Refusal> {
        let Some(&max) = self.demands.load().get(service) else { return Ok(()) };
        let stale = self.core.globalconf.staleness();
        if stale <= max { Ok(()) } else { Err(Refusal::Stale { service: service.clone(), stale, max }) }
    }

    /// Answers one message.
    pub async fn answer(self: &Arc<Self>, arrived: Box<Arrived>) -> Reply {
        let exchange = arrived.entry.exchange();
        if matches!(arrived.entry.body(), Body::Request(request) if request.content.is_stream()) {
            let what = "what opens a stream is no whole message";
            return refuse(Fault::new(FaultCode::MessageMalformed, Place::ProviderNode, what));
        }
        let sealed = match self.judge(arrived).await {
            Ok((Ok(authorised), conf)) => self.invoke(authorised, &conf).await,
            Ok((Err(refused), conf)) => self.seal_refusal(*refused, &conf).await,
            Err(fault) => Err(fault),
        };
        if sealed.is_ok() {
            count_answered();
            tracing::debug!(%exchange, "answered");
        }
        sealed.unwrap_or_else(|fault| refuse(fault.with_exchange(exchange)))
    }

    /// All checks; an error is refused without a seal.
    async fn judge(&self, arrived: Box<Arrived>) -> Result<Judged, Fault> {
        let exchange = arrived.entry.exchange();
        let refused = |refusal: Refusal| refusal.fault(Place::ProviderNode, exchange);
        let guarded = Stage::Guard.start();
        let conf = self.core.conf(Place::ProviderNode)?;
        let mut received = Received::new(arrived);
        if let Some(payload) = received.large() {
            // What costs little comes before reading a whole file.
            received.check(&self.core.guard, &conf, self.core.clock.now()).map_err(refused)?;
            let opened = self.core.spool.open(received.entry(), payload).await;
            received.set_opened(opened);
        }
        let now = self.core.clock.now();
        let verified = received.verify(&self.core.guard, &conf, now).map_err(refused)?;
        self.core.saw(&verified.arrived().peer, &verified.arrived().entry);
        let authorised = match verified.authorise(&self.core.guard, &conf, &self.core.grants.load(), now) {
            Ok(authorised) => match self.check_fresh(&authorised.verified().request().service) {
                Ok(()) => Ok(authorised),
                Err(refusal) => Err(Box::new(authorised.refuse(refusal))),
            },
            Err(Denied::Sealed(denied)) => Err(denied),
            Err(Denied::Unsealed(refusal)) => return Err(refused(refusal)),
        };
        guarded.end();
        Ok((authorised, conf))
    }

    /// Whether an announced message would be answered.
    ///
    /// # Errors
    /// Why not; counted.
    pub fn admit(&self, peer: &NodeId, preview: &Entry) -> Result<(), Fault> {
        let conf = self.core.conf(Place::ProviderNode)?;
        let (guard, grants) = (&self.core.guard, self.core.grants.load());
        let checked = check_preview(peer, preview, guard, &conf, &grants, self.core.clock.now());
        let fresh = || match preview.body() {
            Body::Request(request) => self.check_fresh(&request.service),
            _ => Ok(()),
        };
        checked.and_then(|()| fresh()).map_err(|refusal| {
            let fault = refusal.fault(Place::ProviderNode, preview.exchange());
            count_refusal(&fault);
            tracing::info!(%peer, exchange = %preview.exchange(), code = %fault.code, "a large message was refused");
            fault
        })
    }

    async fn invoke(
        self: &Arc<Self>,
        mut authorised: Authorised,
        conf: &Arc<GlobalConfiguration>,
    ) -> Result<Reply, Fault> {
        let ledger = self.ledger(authorised.verified())?;
        spool::keep(&authorised.verified().arrived().payload, Place::ProviderNode).await?;
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
        let answer = match answer {
            Ok(Served::Large(pieces)) => {
                let receipt = commit(ledger, receipt).await?;
                let side_effects = authorised.side_effects();
                let reply = self.answer_large(authorised, receipt, pieces, conf);
                return reply.map_err(|fault| unsealed(fault, side_effects));
            }
            Ok(Served::Whole(end, body)) => Ok((end, body)),
            Err(fault) => Err(unanswered(fault, authorised.side_effects())),
        };
        let sealed = self.seal_answer(ledger, authorised.verified(), receipt, answer, conf).await;
        let (entry, payload) = sealed.map_err(|fault| unsealed(fault, authorised.side_effects()))?;
        Ok(Reply::Sealed { entry, payload })
    }

    /// The answer's chunks go while it comes from the service; it is sealed when it has ended, a FAULT if it broke off.
    fn answer_large(
        self: &Arc<Self>,
        authorised: Authorised,
        receipt: Receipt,
        pieces: Pieces<AnswerEnd>,
        conf: &Arc<GlobalConfiguration>,
    ) -> Result<Reply, Fault> {
        let head =
            AnswerHead { outcome: Ok(0), content_root: ContentRoot::from_bytes([0; 32]), body_bytes: 0 };
        let ledger = self.ledger(authorised.verified())?;
        let preview = self.answer_entry(ledger, authorised.verified(), receipt.leaf(), head, conf)?;
        let (chunks, outgoing) = mpsc::channel(PIECES_QUEUED);
        let (done, sealed) = oneshot::channel();
        let (provider, conf) = (Arc::clone(self), Arc::clone(conf));
        tokio::spawn(async move {
            let sealed = provider.seal_large(&authorised, receipt, pieces, chunks, &conf).await;
            let sealed = sealed.map_err(|fault| unsealed(fault, authorised.side_effects()));
            // An error means that the peer is gone: it can fetch what was sealed.
            let _ = done.send(sealed);
        });
        Ok(Reply::Large(Outflow { preview, chunks: outgoing, sealed }))
    }

    async fn seal_large(
        &self,
        authorised: &Authorised,
        receipt: Receipt,
        pieces: Pieces<AnswerEnd>,
        chunks: mpsc::Sender<Bytes>,
        conf: &GlobalConfiguration,
    ) -> Result<(SealedEntry, Arc<Payload>), Fault> {
        let verified = authorised.verified();
        let ledger = self.ledger(verified)?;
        let exchange = verified.arrived().entry.exchange();
        let context = |end: &mut AnswerEnd| std::mem::take(&mut end.context);
        let spool = &self.core.spool;
        let holder = Holder::Peer(verified.arrived().peer.clone());
        let spooled = spool.take(&holder, &exchange, Direction::Answer, pieces, chunks, context).await;
        match spooled {
            Ok(Spooled { payload, root, body_bytes, end }) => {
                let head = AnswerHead { outcome: Ok(end.outcome), content_root: root, body_bytes };
                let entry = self.answer_entry(ledger, verified, receipt.leaf(), head, conf)?;
                self.append_answer(ledger, receipt, entry, payload).await
            }
            Err(fault) => {
                let fault = unanswered(fault, authorised.side_effects());
                self.seal_answer(ledger, verified, receipt, Err(fault), conf).await
            }
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
        let (entry, payload) = self.seal_answer(ledger, &verified, receipt, Err(fault), conf).await?;
        Ok(Reply::Sealed { entry, payload })
    }

    async fn seal_answer(
        &self,
        ledger: &Ledger,
        verified: &Verified,
        receipt: Receipt,
        answer: Result<(AnswerEnd, Bytes), Fault>,
        conf: &GlobalConfiguration,
    ) -> Result<(SealedEntry, Arc<Payload>), Fault> {
        let exchange = verified.arrived().entry.exchange();
        let (outcome, context, body) = match answer {
            Ok((AnswerEnd { outcome, context }, body)) => (Ok(outcome), context, body),
            Err(fault) => {
                let body = Bytes::from(fault.to_proto().encode_to_vec());
                (Err(fault), wire::Context::default(), body)
            }
        };
        let (payload, content_root) =
            self.core.seal_payload(&exchange, Direction::Answer, &context, &body, Place::ProviderNode)?;
        let head = AnswerHead { outcome, content_root, body_bytes: body.len() as u64 };
        let entry = self.answer_entry(ledger, verified, receipt.leaf(), head, conf)?;
        self.append_answer(ledger, receipt, entry, payload).await
    }

    async fn append_answer(
        &self,
        ledger: &Ledger,
        receipt: Receipt,
        entry: Entry,
        payload: Arc<Payload>,
    ) -> Result<(SealedEntry, Arc<Payload>), Fault> {
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
        Ok((entry, payload))
    }

    fn answer_entry(
        &self,
        ledger: &Ledger,
        verified: &Verified,
        received_leaf: LeafHash,
        head: AnswerHead,
        conf: &GlobalConfiguration,
    ) -> Result<Entry, Fault> {
        let arrived = verified.arrived();
        let request_leaf = arrived.entry.leaf_hash();
        let addressee = arrived.peer.clone();
        let AnswerHead { outcome, content_root, body_bytes } = head;
        let body = match outcome {
            Ok(outcome) => Body::Response(Response {
                request_leaf,
                received_leaf,
                addressee,
                outcome,
                content: Content::Whole { root: content_root, body_bytes },
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
        self.core.entry(ledger, arrived.entry.exchange(), Some(conf), &body)
    }

    fn ledger(&self, verified: &Verified) -> Result<&Ledger, Fault> {
        let member = verified.request().service.member();
        self.core.ledger(&member).ok_or_else(|| not_hosted(&member))
    }
}

/// What the peer is told if the service was asked and gave no answer.
fn unanswered(fault: Fault, side_effects: SideEffects) -> Fault {
    match side_effects {
        SideEffects::Present => asked_and_unanswered(fault),
        SideEffects::None => fault,
    }
}

/// What the peer is told if the service was asked and its answer cannot be sealed.
fn unsealed(fault: Fault, side_effects: SideEffects) -> Fault {
    match side_effects {
        SideEffects::Present => done_and_unsealed(&fault, Place::ProviderNode),
        SideEffects::None => fault,
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
