//! The consumer's half of an exchange: REQUEST → link → check → RECEIVED → caller.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use peabiru_ledger::ledger::{Append, Ledger};
use peabiru_ledger::payload::{Direction, Payload};
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::contract::{MethodFacts, Streaming};
use peabiru_proto::entry::{Body, Content, ExchangeId, Request, SideEffects};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::globalconf::{Contract, GlobalConfiguration};
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::{ANSWER_GRACE, DEFAULT_EXPIRY};
use peabiru_proto::policy::Purpose;

use crate::core::{Core, done_and_unsealed, internal, ledger_fault, received_append};
use crate::exchange::{Answer, Answered, Arrived, BoxFuture, Call, Exchange, LinkAnswer};
use crate::guard::answer::{self, Outstanding};
use crate::link::Link;
use crate::provider::Provider;
use crate::router::Router;
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
        let (planned, contract) = match self.plan(&call, &conf) {
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

    fn plan<'a>(&self, call: &Call, conf: &'a GlobalConfiguration) -> Result<(Planned, &'a Contract), Fault> {
        let refuse = |code, message: String| Fault::new(code, Place::ConsumerNode, message);
        let contract = conf.contract(&call.service).ok_or_else(|| {
            refuse(FaultCode::ServiceUnknown, format!("no contract of {} is registered", call.service))
        })?;
        let facts = contract.facts().and_then(|facts| facts.method(&call.method)).ok_or_else(|| {
            refuse(FaultCode::MethodUnknown, format!("{} has no method {}", call.service, call.method))
        })?;
        if facts.streaming != Streaming::Unary {
            let message = format!("{} is a streaming method", call.method);
            return Err(refuse(FaultCode::MethodStreamingUnsupported, message));
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
        call: Call,
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
        let outstanding_provider = call.service.member();
        let (sealed, payload) = self.seal_request(call, planned, contract, exchange, ledger, conf).await?;
        let outstanding = Outstanding {
            exchange,
            request_leaf: sealed.entry.leaf_hash(),
            provider: outstanding_provider,
            own: self.core.own.clone(),
        };
        let arrived = match self.carry_over(planned, sealed, payload).await? {
            LinkAnswer::Arrived(arrived) => arrived,
            LinkAnswer::Refused(fault) => return Err(fault),
        };
        self.deliver(&arrived, &outstanding, planned, ledger, conf).await
    }

    async fn seal_request(
        &self,
        call: Call,
        planned: &Planned,
        contract: &Contract,
        exchange: ExchangeId,
        ledger: &Ledger,
        conf: &GlobalConfiguration,
    ) -> Result<(SealedEntry, Arc<Payload>), Fault> {
        let (payload, root) = self.core.seal_payload(
            &exchange,
            Direction::Request,
            &call.context,
            &call.body,
            Place::ConsumerNode,
        )?;
        let now = self.core.clock.now();
        let request = Request {
            expires_at: now.plus(planned.expires_in),
            consumer: call.caller,
            service: call.service,
            method: call.method,
            addressee: planned.addressee.clone(),
            contract_version: contract.version,
            contract_digest: contract.digest,
            side_effects: planned.facts.side_effects,
            purpose: planned.purpose.clone(),
            consent_commitment: None,
            content: Content::Whole { root, body_bytes: call.body.len() as u64 },
            retry_of: None,
        };
        let entry = self.core.entry_made_at(ledger, exchange, Some(conf), &Body::Request(request), now)?;
        let append = Append { entry, payload: Some(Arc::clone(&payload)), foreign: None };
        let committed = Stage::Commit.start();
        let sealed =
            ledger.append(vec![append]).await.map_err(|error| ledger_fault(&error, Place::ConsumerNode))?;
        committed.end();
        let sealed =
            sealed.into_iter().next().ok_or_else(|| internal("the ledger answered without an entry"))?;
        Ok((sealed, payload))
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
        let arrived = self.as_arrived(sealed, payload)?;
        match self.local.answer(Box::new(arrived)).await {
            crate::exchange::Reply::Sealed { entry, payload } => {
                Ok(LinkAnswer::Arrived(Box::new(self.as_arrived(entry, &payload)?)))
            }
            crate::exchange::Reply::Refusal(fault) => Ok(LinkAnswer::Refused(fault)),
        }
    }

    fn as_arrived(&self, sealed: SealedEntry, payload: &Payload) -> Result<Arrived, Fault> {
        let Payload::Sealed(payload) = payload else {
            return Err(internal("an exchange's payload is always encrypted"));
        };
        Ok(Arrived {
            peer: self.core.own.clone(),
            entry: sealed.entry,
            position: sealed.seal.position,
            proof: sealed.seal.proof,
            checkpoint: sealed.seal.checkpoint,
            payload: payload.clone(),
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
