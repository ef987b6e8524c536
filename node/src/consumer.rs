//! The consumer's half of an exchange: REQUEST → link → check → RECEIVED → caller.

mod live;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peabiru_ledger::ledger::Ledger;
use peabiru_ledger::payload::Payload;
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::contract::Delivery;
use peabiru_proto::entry::{Body, Content, ExchangeId, SideEffects};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::globalconf::{Contract, GlobalConfiguration};
use peabiru_proto::hash::{ContentRoot, LeafHash};
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::{ANSWER_GRACE, DEFAULT_EXPIRY};
use peabiru_proto::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::asking::{Asking, Planned, choose_purpose};
use crate::core::{Core, done_and_unsealed, internal, ledger_fault, received_append};
use crate::exchange::{
    Answer, AnswerEnd, Answered, Arrived, BoxFuture, Call, CallBody, Exchange, LinkAnswer, Outflow, Pieces,
    Reply, Streamed,
};
use crate::flow::PIECES_QUEUED;
use crate::guard::answer::Outstanding;
use crate::link::Link;
use crate::provider::Provider;
use crate::router::{Router, is_of_the_link, may_ask_another};
use crate::spool::{self, Holder};
use crate::stage::{Stage, count_asked, count_refusal};

/// Asks for the subsystems of this node.
pub struct Consumer {
    core: Arc<Core>,
    link: Arc<Link>,
    /// Answers when consumer and provider live on the same node.
    local: Arc<Provider>,
    router: Mutex<Router>,
}

/// Why an attempt gave no answer.
struct Failure {
    fault: Fault,
    /// Of the REQUEST, if it was sealed and its addressee gave no sealed answer: another node may be asked.
    unanswered: Option<LeafHash>,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { fault, unanswered: None }
    }
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

    fn ready(&self) -> Result<(), Fault> {
        self.core.conf(Place::ConsumerNode).map(drop)
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

    async fn carry(&self, mut call: Call) -> Answered {
        let refuse = |fault| Answered { exchange: None, result: Err(fault) };
        let conf = match self.core.conf(Place::ConsumerNode) {
            Ok(conf) => conf,
            Err(fault) => return refuse(fault),
        };
        let (mut planned, contract) = match self.plan(&call, Delivery::Whole, &conf) {
            Ok(planned) => planned,
            Err(fault) => return refuse(fault),
        };
        let until = Instant::now() + planned.expires_in;
        let mut asked = Vec::new();
        loop {
            let exchange = ExchangeId::new(&*self.core.random);
            count_asked();
            let failure = match self.ask(&mut call, &planned, contract, exchange, &conf).await {
                Ok(answer) => {
                    tracing::debug!(%exchange, outcome = answer.outcome, "an exchange was carried");
                    return Answered { exchange: Some(exchange), result: Ok(answer) };
                }
                Err(failure) => failure,
            };
            let fault = &failure.fault;
            tracing::info!(%exchange, code = %fault.code, place = ?fault.place, "an exchange failed");
            count_refusal(fault);
            asked.push(planned.addressee.clone());
            match self.another(&call, &planned, &failure, &asked, until, &conf) {
                Some(next) => planned = next,
                None => {
                    let result = Err(failure.fault.with_exchange(exchange));
                    return Answered { exchange: Some(exchange), result };
                }
            }
        }
    }

    /// The same for another node of the member, if that is allowed, and there is one, and time.
    fn another(
        &self,
        call: &Call,
        planned: &Planned,
        failure: &Failure,
        asked: &[NodeId],
        until: Instant,
        conf: &GlobalConfiguration,
    ) -> Option<Planned> {
        let retry_of = failure.unanswered?;
        let allowed = may_ask_another(&failure.fault, planned.facts.side_effects)
            && call.addressee.is_none()
            && asked.len() < ATTEMPTS_MAX;
        let expires_in = until.saturating_duration_since(Instant::now());
        if !allowed || expires_in < RETRY_TIME_MIN {
            return None;
        }
        let member = call.service.member();
        let others = conf.nodes_of(&member).map(|node| &node.id).filter(|node| !asked.contains(node));
        let addressee = self.router().choose(others, self.core.clock.now())?.clone();
        Some(Planned { addressee, retry_of: Some(retry_of), expires_in, ..planned.clone() })
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
        // Of a member that has several nodes, this one asks itself for what it offers.
        let at_home = self.core.ledger(&member).is_some() && self.local.offers(&call.service);
        let wanted = call.addressee.as_ref().or(at_home.then_some(&self.core.own));
        let wanted = |node: &&NodeId| wanted.is_none_or(|wanted| wanted == *node);
        let addressee =
            self.router().choose(nodes.filter(wanted), self.core.clock.now()).cloned().ok_or_else(|| {
                match &call.addressee {
                    Some(node) => {
                        let message = format!("{node} is no node of {member} that is registered");
                        refuse(FaultCode::NodeNotProviders, message)
                    }
                    None => refuse(FaultCode::NodeUnknown, format!("no node of {member} that is registered")),
                }
            })?;
        let expires_in =
            [call.deadline, facts.timeout].into_iter().flatten().fold(DEFAULT_EXPIRY, Duration::min);
        if expires_in < Duration::from_millis(1) {
            return Err(refuse(FaultCode::ExchangeDeadline, "no time is left to ask".to_owned()));
        }
        let facts = facts.clone();
        Ok((Planned { addressee, retry_of: None, purpose, facts, expires_in }, contract))
    }

    /// The caller's own.
    fn ledger_of(&self, call: &Call) -> Result<&Ledger, Fault> {
        let member = call.caller.member();
        self.core.ledger(&member).ok_or_else(|| {
            let what = format!("this node keeps no ledger of {member}");
            Fault::new(FaultCode::ClientUnknown, Place::ConsumerNode, what)
        })
    }

    async fn ask(
        &self,
        call: &mut Call,
        planned: &Planned,
        contract: &Contract,
        exchange: ExchangeId,
        conf: &GlobalConfiguration,
    ) -> Result<Answer, Failure> {
        let ledger = self.ledger_of(call)?;
        // A whole body can be sent again. A large one goes as it comes, once.
        let body = match &mut call.body {
            CallBody::Whole(body, messages) => CallBody::Whole(body.clone(), *messages),
            large @ CallBody::Large(_) => std::mem::replace(large, CallBody::Whole(Bytes::new(), 0)),
        };
        let asking = Asking { call, planned, contract, exchange, ledger, conf, core: &self.core };
        let (answer, (request_leaf, asked_at)) = match body {
            CallBody::Whole(body, messages) => {
                asking.check_count(messages)?;
                let (sealed, payload) = asking.seal(&body).await?;
                let asked = named(&sealed);
                let (leaf, _) = asked;
                let unanswered = |fault| Failure { fault, unanswered: Some(leaf) };
                match self.carry_over(planned, sealed, payload).await.map_err(unanswered)? {
                    LinkAnswer::Refused(fault) => return Err(unanswered(fault)),
                    answer @ LinkAnswer::Arrived(_) => (answer, asked),
                }
            }
            CallBody::Large(pieces) => self.ask_large(&asking, pieces).await?,
        };
        let arrived = match answer {
            LinkAnswer::Arrived(arrived) => *arrived,
            LinkAnswer::Refused(fault) => return Err(fault.into()),
        };
        let provider = call.service.member();
        let own = self.core.own.clone();
        let delivery = Delivery::Whole;
        let outstanding = Outstanding { exchange, request_leaf, provider, own, asked_at, delivery };
        Ok(self.deliver(arrived, &outstanding, planned, ledger, conf).await?)
    }

    /// The body's chunks go while it comes; the request is sealed when it has ended, and then its key goes.
    async fn ask_large(
        &self,
        asking: &Asking<'_>,
        pieces: Pieces<u64>,
    ) -> Result<(LinkAnswer, Named), Fault> {
        let preview =
            asking.entry(Content::Whole { root: ContentRoot::from_bytes([0; 32]), body_bytes: 0 })?;
        let (chunks, outgoing) = mpsc::channel(PIECES_QUEUED);
        let (done, sealed) = oneshot::channel();
        let outflow = Outflow { preview, chunks: outgoing, sealed };
        let sealing = async {
            let sealed = asking.seal_large(pieces, chunks).await;
            let asked = sealed.as_ref().map(|(sealed, _)| named(sealed)).map_err(Fault::clone);
            // An error means that the link has failed already.
            let _ = done.send(sealed);
            asked
        };
        let carrying = self.carry_over_large(asking.planned, outflow);
        tokio::pin!(sealing, carrying);
        let mut asked = None;
        loop {
            tokio::select! {
                sealed = &mut sealing, if asked.is_none() => asked = Some(sealed?),
                answer = &mut carrying => {
                    return match (answer?, asked) {
                        (answer, Some(asked)) => Ok((answer, asked)),
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
        let _under_way = UnderWay::new(self, &planned.addressee);
        let wait = planned.expires_in + ANSWER_GRACE;
        let answer = self.link.exchange_large(&planned.addressee, outflow, wait).await;
        self.note_health(&planned.addressee, &answer);
        answer
    }

    /// What an answer, or that there is none, says of the node that was asked. Gives whether its service answered.
    fn note_health(&self, node: &NodeId, answer: &Result<LinkAnswer, Fault>) -> bool {
        let answered = matches!(answer, Ok(LinkAnswer::Arrived(arrived)) if matches!(arrived.entry.body(), Body::Response(_)));
        let failed = match answer {
            Ok(LinkAnswer::Refused(fault)) => may_ask_another(fault, SideEffects::Present),
            Ok(LinkAnswer::Arrived(_)) => false,
            Err(fault) => is_of_the_link(fault),
        };
        if answered {
            self.router().answered(node);
        } else if failed {
            self.router().unreachable(node, self.core.clock.now());
        }
        answered
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
        let _under_way = UnderWay::new(self, &planned.addressee);
        let started = Instant::now();
        let linked = Stage::Link.start();
        let wait = planned.expires_in + ANSWER_GRACE;
        let answer = self.link.exchange(&planned.addressee, sealed, payload, wait).await;
        linked.end();
        if self.note_health(&planned.addressee, &answer) {
            self.router().measured(&planned.addressee, started.elapsed());
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
        let arrived = self.as_arrived(entry, &payload).await;
        let arrived = arrived.map_err(|fault| done_and_unsealed(&fault, Place::ConsumerNode))?;
        Ok(LinkAnswer::Arrived(Box::new(arrived)))
    }

    async fn as_arrived(&self, sealed: SealedEntry, payload: &Payload) -> Result<Arrived, Fault> {
        let Payload::Sealed(payload) = payload else {
            return Err(internal("an exchange's payload is always encrypted"));
        };
        let share = self.core.spool.share(&Holder::Peer(self.core.own.clone()));
        let payload = spool::duplicate(payload, share, Place::ConsumerNode).await?;
        Ok(Arrived {
            peer: self.core.own.clone(),
            opened: None,
            memory: None,
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
        mut arrived: Arrived,
        outstanding: &Outstanding,
        planned: &Planned,
        ledger: &Ledger,
        conf: &GlobalConfiguration,
    ) -> Result<Answer, Fault> {
        let checked = self.core.check_answer(&mut arrived, outstanding, conf).await?;
        let entry =
            self.core.entry(ledger, outstanding.exchange, Some(conf), &Body::Received(checked.received))?;
        let kept = match spool::keep(&arrived.payload, Place::ConsumerNode).await {
            Err(fault) => Err(fault),
            Ok(()) => {
                let append = received_append(entry, &arrived);
                let kept = if planned.addressee == self.core.own {
                    ledger.append(vec![append]).await.map(drop)
                } else {
                    ledger.queue(append)
                };
                kept.map_err(|error| ledger_fault(&error, Place::ConsumerNode))
            }
        };
        if let Err(fault) = kept {
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

/// Counts an exchange at a node until it ends, also when its caller goes away.
struct UnderWay<'a> {
    consumer: &'a Consumer,
    node: &'a NodeId,
}

impl<'a> UnderWay<'a> {
    fn new(consumer: &'a Consumer, node: &'a NodeId) -> Self {
        consumer.router().began(node);
        Self { consumer, node }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.consumer.router().ended(self.node);
    }
}

/// A REQUEST as its answer is checked against it: leaf hash, and when it was made.
type Named = (LeafHash, Timestamp);

fn named(request: &SealedEntry) -> Named {
    (request.entry.leaf_hash(), request.entry.common().created_at)
}

/// On one node nobody takes the chunks.
async fn collect(mut outflow: Outflow) -> Result<(SealedEntry, Arc<Payload>), Fault> {
    while outflow.chunks.recv().await.is_some() {}
    outflow.sealed.await.unwrap_or_else(|_| Err(internal("a large message came to no end")))
}

/// Most nodes of a member that are asked for one call.
const ATTEMPTS_MAX: usize = 3;
/// With less time than this left, nobody else is asked.
const RETRY_TIME_MIN: Duration = Duration::from_millis(10);
