//! The consumer's half of an exchange: REQUEST → link → check → RECEIVED → caller.

mod live;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peabiru_ledger::ledger::{Append, Ledger};
use peabiru_ledger::payload::{Direction, Payload};
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::contract::{Delivery, MethodFacts, Streaming};
use peabiru_proto::entry::{Body, Content, Entry, ExchangeId, Request, SideEffects};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::globalconf::{Contract, GlobalConfiguration};
use peabiru_proto::hash::{ContentRoot, LeafHash};
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::{ANSWER_GRACE, DEFAULT_EXPIRY};
use peabiru_proto::policy::Purpose;
use tokio::sync::{mpsc, oneshot};

use crate::core::{Core, done_and_unsealed, internal, ledger_fault, received_append};
use crate::exchange::{
    Answer, AnswerEnd, Answered, Arrived, BoxFuture, Call, CallBody, Exchange, LinkAnswer, Outflow, Pieces,
    Reply, Streamed,
};
use crate::flow::PIECES_QUEUED;
use crate::grpc::framing::check_count;
use crate::guard::answer::{self, Outstanding};
use crate::link::Link;
use crate::provider::Provider;
use crate::router::Router;
use crate::spool;
use crate::stage::{Stage, count_asked, count_refusal};

/// Asks for the subsystems of this node.
pub struct Consumer {
    core: Arc<Core>,
    link: Arc<Link>,
    /// Answers when consumer and provider live on the same node.
    local: Arc<Provider>,
    router: Mutex<Router>,
}

/// What is about to be asked, checked against the contract.
struct Planned {
    addressee: NodeId,
    purpose: Purpose,
    facts: MethodFacts,
    expires_in: Duration,
}

impl Exchange for Arc<Consumer> {
    fn call(&self, call: Call) -> BoxFuture<Answered> {
        let consumer = Self::clone(self);
        Box::pin(async move { consumer.carry(call).await })
    }

    fn stream(&self, call: Call, messages: Pieces<AnswerEnd>) -> BoxFuture<Streamed> {
        let consumer = Self::clone(self);
        Box::pin(async move { consumer.carry_live(call, messages).await })
    }

    fn globalconf(&self) -> Option<Arc<GlobalConfiguration>> {
        self.core.globalconf.newest()
    }
}

impl Consumer {
    /// A consumer over the node's core and its link.
    #[must_use]
    pub fn new(core: Arc<Core>, link: Arc<Link>, local: Arc<Provider>) -> Self {
        Self { core, link, local, router: Mutex::default() }
    }

    async fn carry(&self, call: Call) -> Answered {
        let refuse = |fault| Answered { exchange: None, result: Err(fault) };
        let conf = match self.core.conf(Place::ConsumerNode) {
            Ok(conf) => conf,
            Err(fault) => return refuse(fault),
        };
        let (planned, contract) = match self.plan(&call, Delivery::Whole, &conf) {
            Ok(planned) => planned,
            Err(fault) => return refuse(fault),
        };
        let exchange = ExchangeId::new(&*self.core.random);
        count_asked();
        let result = self.ask(call, &planned, contract, exchange, &conf).await;
        match &result {
            Ok(answer) => tracing::debug!(%exchange, outcome = answer.outcome, "an exchange was carried"),
            Err(fault) => {
                tracing::info!(%exchange, code = %fault.code, place = ?fault.place, "an exchange failed");
                count_refusal(fault);
            }
        }
        Answered { exchange: Some(exchange), result: result.map_err(|fault| fault.with_exchange(exchange)) }
    }

    fn plan<'a>(
        &self,
        call: &Call,
        delivery: Delivery,
        conf: &'a GlobalConfiguration,
    ) -> Result<(Planned, &'a Contract), Fault> {
        let refuse = |code, message: String| Fault::new(code, Place::ConsumerNode, message);
        let contract = conf.contract(&call.service).ok_or_else(|| {
            refuse(FaultCode::ServiceUnknown, format!("no contract of {} is registered", call.service))
        })?;
        let facts = contract.facts().and_then(|facts| facts.method(&call.method)).ok_or_else(|| {
            refuse(FaultCode::MethodUnknown, format!("{} has no method {}", call.service, call.method))
        })?;
        if facts.delivery != delivery {
            // The door asked another snapshot.
            return Err(refuse(
                FaultCode::ContractMismatch,
                "the contract has just changed: ask again".to_owned(),
            ));
        }
        let purpose = choose_purpose(call, facts)?;
        let member = call.service.member();
        let nodes = conf.nodes_of(&member).map(|node| &node.id);
        let wanted = |node: &&NodeId| call.addressee.as_ref().is_none_or(|wanted| wanted == *node);
        let addressee =
            self.router().choose(nodes.filter(wanted), self.core.clock.now()).cloned().ok_or_else(|| {
                let which =
                    call.addressee.as_ref().map_or("no node".to_owned(), |node| format!("{node} is no node"));
                refuse(FaultCode::NodeUnknown, format!("{which} of {member} that is registered"))
            })?;
        let expires_in =
            [call.deadline, facts.timeout].into_iter().flatten().fold(DEFAULT_EXPIRY, Duration::min);
        if expires_in < Duration::from_millis(1) {
            return Err(refuse(FaultCode::ExchangeDeadline, "no time is left to ask".to_owned()));
        }
        Ok((Planned { addressee, purpose, facts: facts.clone(), expires_in }, contract))
    }

    async fn ask(
        &self,
        mut call: Call,
        planned: &Planned,
        contract: &Contract,
        exchange: ExchangeId,
        conf: &GlobalConfiguration,
    ) -> Result<Answer, Fault> {
        let member = call.caller.member();
        let ledger = self.core.ledger(&member).ok_or_else(|| {
            Fault::new(
                FaultCode::ClientUnknown,
                Place::ConsumerNode,
                format!("this node keeps no ledger of {member}"),
            )
        })?;
        let body = std::mem::replace(&mut call.body, CallBody::Whole(Bytes::new(), 0));
        let asking = Asking { call: &call, planned, contract, exchange, ledger, conf, core: &self.core };
        let (answer, request_leaf) = match body {
            CallBody::Whole(body, messages) => {
                asking.check_count(messages)?;
                let (sealed, payload) = asking.seal(&body).await?;
                let leaf = sealed.entry.leaf_hash();
                (self.carry_over(planned, sealed, payload).await?, leaf)
            }
            CallBody::Large(pieces) => self.ask_large(&asking, pieces).await?,
        };
        let arrived = match answer {
            LinkAnswer::Arrived(arrived) => arrived,
            LinkAnswer::Refused(fault) => return Err(fault),
        };
        let provider = call.service.member();
        let own = self.core.own.clone();
        let outstanding = Outstanding { exchange, request_leaf, provider, own, delivery: Delivery::Whole };
        self.deliver(&arrived, &outstanding, planned, ledger, conf).await
    }

    /// The body's chunks go while it comes; the request is sealed when it has ended, and then its key goes.
    async fn ask_large(
        &self,
        asking: &Asking<'_>,
        pieces: Pieces<u64>,
    ) -> Result<(LinkAnswer, LeafHash), Fault> {
        let preview =
            asking.entry(Content::Whole { root: ContentRoot::from_bytes([0; 32]), body_bytes: 0 })?;
        let (chunks, outgoing) = mpsc::channel(PIECES_QUEUED);
        let (done, sealed) = oneshot::channel();
        let outflow = Outflow { preview, chunks: outgoing, sealed };
        let sealing = async {
            let sealed = asking.seal_large(pieces, chunks).await;
            let leaf = sealed.as_ref().map(|(sealed, _)| sealed.entry.leaf_hash()).map_err(Fault::clone);
            // An error means that the link has failed already.
            let _ = done.send(sealed);
            leaf
        };
        let carrying = self.carry_over_large(asking.planned, outflow);
        tokio::pin!(sealing, carrying);
        let mut leaf = None;
        loop {
            tokio::select! {
                sealed = &mut sealing, if leaf.is_none() => leaf = Some(sealed?),
                answer = &mut carrying => {
                    return match (answer?, leaf) {
                        (answer, Some(leaf)) => Ok((answer, leaf)),
                        (LinkAnswer::Refused(fault), None) => Err(fault),
                        (LinkAnswer::Arrived(_), None) => Err(internal("an answer before its request")),
                    };
                }
            }
        }
    }

    async fn carry_over_large(&self, planned: &Planned, outflow: Outflow) -> Result<LinkAnswer, Fault> {
        if planned.addressee == self.core.own {
            let (sealed, payload) = collect(outflow).await?;
            return self.answer_locally(sealed, &payload).await;
        }
        let wait = planned.expires_in + ANSWER_GRACE;
        let answer = self.link.exchange_large(&planned.addressee, outflow, wait).await;
        if answer.is_err() {
            self.router().unreachable(&planned.addressee, self.core.clock.now());
        }
        answer
    }

    async fn carry_over(
        &self,
        planned: &Planned,
        sealed: SealedEntry,
        payload: Arc<Payload>,
    ) -> Result<LinkAnswer, Fault> {
        if planned.addressee == self.core.own {
            return self.answer_locally(sealed, &payload).await;
        }
        let started = Instant::now();
        let linked = Stage::Link.start();
        let wait = planned.expires_in + ANSWER_GRACE;
        let answer = self.link.exchange(&planned.addressee, sealed, payload, wait).await;
        linked.end();
        match &answer {
            Ok(_) => self.router().answered(&planned.addressee, started.elapsed()),
            Err(_) => self.router().unreachable(&planned.addressee, self.core.clock.now()),
        }
        answer
    }

    /// Consumer and provider on one node: the same guard, the same entries, no link.
    async fn answer_locally(&self, sealed: SealedEntry, payload: &Payload) -> Result<LinkAnswer, Fault> {
        let arrived = self.as_arrived(sealed, payload).await?;
        let (entry, payload) = match self.local.answer(Box::new(arrived)).await {
            Reply::Sealed { entry, payload } => (entry, payload),
            Reply::Large(outflow) => collect(outflow).await?,
            Reply::Live(_) => return Err(internal("a whole request is not answered by a stream")),
            Reply::Refusal(fault) => return Ok(LinkAnswer::Refused(fault)),
        };
        Ok(LinkAnswer::Arrived(Box::new(self.as_arrived(entry, &payload).await?)))
    }

    async fn as_arrived(&self, sealed: SealedEntry, payload: &Payload) -> Result<Arrived, Fault> {
        let Payload::Sealed(payload) = payload else {
            return Err(internal("an exchange's payload is always encrypted"));
        };
        let payload = spool::duplicate(payload, Place::ConsumerNode).await?;
        Ok(Arrived {
            peer: self.core.own.clone(),
            opened: spool::open(&sealed.entry, &payload).await,
            entry: sealed.entry,
            position: sealed.seal.position,
            proof: sealed.seal.proof,
            checkpoint: sealed.seal.checkpoint,
            payload,
            received_at: self.core.clock.now(),
        })
    }

    /// RECEIVED is queued before the caller gets the answer, and nobody waits for it: after a crash the answer is
    /// fetched from the provider again. From no other node, if that is this one: then it is waited for.
    async fn deliver(
        &self,
        arrived: &Arrived,
        outstanding: &Outstanding,
        planned: &Planned,
        ledger: &Ledger,
        conf: &GlobalConfiguration,
    ) -> Result<Answer, Fault> {
        let checked = answer::check(arrived, outstanding, conf)
            .map_err(|refusal| refusal.fault(Place::ConsumerNode, outstanding.exchange))?;
        let entry =
            self.core.entry(ledger, outstanding.exchange, Some(conf), &Body::Received(checked.received))?;
        let append = received_append(entry, arrived);
        let kept = if planned.addressee == self.core.own {
            ledger.append(vec![append]).await.map(drop)
        } else {
            ledger.queue(append)
        };
        if let Err(error) = kept {
            let fault = ledger_fault(&error, Place::ConsumerNode);
            return Err(match planned.facts.side_effects {
                SideEffects::Present if checked.result.is_ok() => {
                    done_and_unsealed(&fault, Place::ConsumerNode)
                }
                SideEffects::Present | SideEffects::None => fault,
            });
        }
        checked.result
    }

    fn router(&self) -> MutexGuard<'_, Router> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call with everything that its REQUEST says.
struct Asking<'a> {
    call: &'a Call,
    planned: &'a Planned,
    contract: &'a Contract,
    exchange: ExchangeId,
    ledger: &'a Ledger,
    conf: &'a GlobalConfiguration,
    core: &'a Core,
}

impl Asking<'_> {
    /// Whoever may send many messages may send none.
    fn check_count(&self, messages: u64) -> Result<(), Fault> {
        match self.planned.facts.streaming {
            Streaming::Unary | Streaming::Server => check_count(messages, Place::ConsumerNode),
            Streaming::Client | Streaming::Both => Ok(()),
        }
    }

    async fn seal(&self, body: &Bytes) -> Result<(SealedEntry, Arc<Payload>), Fault> {
        let (payload, root) = self.core.seal_payload(
            &self.exchange,
            Direction::Request,
            &self.call.context,
            body,
            Place::ConsumerNode,
        )?;
        self.append(payload, Content::Whole { root, body_bytes: body.len() as u64 }).await
    }

    async fn seal_large(
        &self,
        pieces: Pieces<u64>,
        chunks: mpsc::Sender<Bytes>,
    ) -> Result<(SealedEntry, Arc<Payload>), Fault> {
        let context = |_: &mut u64| self.call.context.clone();
        let spool = &self.core.spool;
        let spooled = spool
            .take(&self.exchange, Direction::Request, Place::ConsumerNode, pieces, chunks, context)
            .await?;
        self.check_count(spooled.end)?;
        let content = Content::Whole { root: spooled.root, body_bytes: spooled.body_bytes };
        self.append(spooled.payload, content).await
    }

    async fn append(
        &self,
        payload: Arc<Payload>,
        content: Content,
    ) -> Result<(SealedEntry, Arc<Payload>), Fault> {
        let append =
            Append { entry: self.entry(content)?, payload: Some(Arc::clone(&payload)), foreign: None };
        let committed = Stage::Commit.start();
        let appended = self.ledger.append(vec![append]).await;
        let sealed = appended.map_err(|error| ledger_fault(&error, Place::ConsumerNode))?;
        committed.end();
        let sealed =
            sealed.into_iter().next().ok_or_else(|| internal("the ledger answered without an entry"))?;
        Ok((sealed, payload))
    }

    fn entry(&self, content: Content) -> Result<Entry, Fault> {
        let now = self.core.clock.now();
        let request = Request {
            expires_at: now.plus(self.planned.expires_in),
            consumer: self.call.caller.clone(),
            service: self.call.service.clone(),
            method: self.call.method.clone(),
            addressee: self.planned.addressee.clone(),
            contract_version: self.contract.version,
            contract_digest: self.contract.digest,
            side_effects: self.planned.facts.side_effects,
            purpose: self.planned.purpose.clone(),
            consent_commitment: None,
            content,
            retry_of: None,
        };
        self.core.entry_made_at(self.ledger, self.exchange, Some(self.conf), &Body::Request(request), now)
    }
}

/// On one node nobody takes the chunks.
async fn collect(mut outflow: Outflow) -> Result<(SealedEntry, Arc<Payload>), Fault> {
    while outflow.chunks.recv().await.is_some() {}
    outflow.sealed.await.unwrap_or_else(|_| Err(internal("a large message came to no end")))
}

fn choose_purpose(call: &Call, facts: &MethodFacts) -> Result<Purpose, Fault> {
    let names = || facts.purposes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let Some(purpose) = &call.purpose else {
        let message = format!("{} needs a purpose, one of: {}", call.method, names());
        return Err(Fault::new(FaultCode::PurposeMissing, Place::ConsumerNode, message));
    };
    if facts.purposes.contains(purpose) {
        return Ok(purpose.clone());
    }
    let message = format!("{} may be asked for: {}; not for {purpose}", call.method, names());
    Err(Fault::new(FaultCode::PurposeNotAllowed, Place::ConsumerNode, message))
}
