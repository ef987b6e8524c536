//! The provider's half of a stream: guard → RECEIVED → service, then RESPONSE and both ways at once.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use peabiru_ledger::ledger::{Append, Ledger};
use peabiru_ledger::payload::Direction;
use peabiru_proto::entry::{Body, Content, Response, SideEffects, StreamDirection};
use peabiru_proto::fault::{Fault, Place};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::LeafHash;
use peabiru_proto::wire::Context;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{Provider, Receipt, commit, refuse, unanswered};
use crate::core::ledger_fault;
use crate::exchange::{Arrived, Leaving, Line, LiveServed, Reply};
use crate::flow::{ARRIVED_QUEUED, BATCHES_IN_FLIGHT};
use crate::guard::request::Authorised;
use crate::guard::stream::{Chain, Place as LinkPlace};
use crate::live::incoming::{Incoming, Noted};
use crate::live::outgoing::Outgoing;
use crate::live::session::Session;
use crate::stage::count_answered;

/// A stream that was let in.
struct Serving {
    provider: Arc<Provider>,
    ledger: Ledger,
    authorised: Arc<Authorised>,
    /// Of our RECEIVED.
    received: LeafHash,
    session: Arc<Session>,
    out: mpsc::Sender<Leaving>,
}

impl Provider {
    /// Opens a stream, if it may be; what follows the REQUEST comes over the line.
    pub async fn stream(self: &Arc<Self>, arrived: Box<Arrived>, line: Line) -> Reply {
        let exchange = arrived.entry.exchange();
        let replied = match self.judge(arrived).await {
            Ok((Ok(authorised), conf)) => self.open_stream(authorised, line, &conf).await,
            Ok((Err(refused), conf)) => self.seal_refusal(*refused, &conf).await,
            Err(fault) => Err(fault),
        };
        replied.unwrap_or_else(|fault| refuse(fault.with_exchange(exchange)))
    }

    async fn open_stream(
        self: &Arc<Self>,
        mut authorised: Authorised,
        line: Line,
        conf: &GlobalConfiguration,
    ) -> Result<Reply, Fault> {
        let ledger = self.ledger(authorised.verified())?.clone();
        let receipt = self.receipt(&ledger, &authorised, conf)?;
        let received = receipt.leaf();
        // Before all that follows it: the order of a ledger tells the story.
        let noted = match authorised.side_effects() {
            SideEffects::Present => {
                commit(&ledger, receipt).await?;
                Noted::Durable
            }
            SideEffects::None => {
                queue(&ledger, receipt)?;
                Noted::Queued
            }
        };
        let life = authorised.life();
        let invocation = authorised.invocation(self.core.clock.now(), self.service_timeout);
        authorised.shed();
        let (authorised, session) =
            (Arc::new(authorised), Arc::new(Session::of_service(&self.core.sessions, life)));
        let (out, departures) = mpsc::channel(BATCHES_IN_FLIGHT);
        let (reader, messages) = mpsc::channel(ARRIVED_QUEUED);
        let chain = Chain::of(authorised.verified().arrived(), StreamDirection::Request);
        session.take(chain.reached(&authorised.verified().arrived().entry), || Ok(()))?;
        let incoming = Incoming {
            core: Arc::clone(&self.core),
            ledger: ledger.clone(),
            chain,
            session: Arc::clone(&session),
            line,
            noted,
        };
        let answer = self.services.stream(invocation, messages, life);
        let serving = Serving {
            provider: Arc::clone(self),
            ledger,
            authorised: Arc::clone(&authorised),
            received,
            session: Arc::clone(&session),
            out,
        };
        let provider = Arc::clone(self);
        tokio::spawn(async move {
            let both = async { tokio::join!(serving.run(answer), incoming.run(reader)) };
            tokio::select! {
                _ = both => {}
                () = session.watch(&provider.core.stopping) => {}
                () = provider.watch_rights(&authorised, &session) => {}
            }
        });
        Ok(Reply::Live(departures))
    }

    /// Ends a stream that would not be let in any more: parties, contract, grant, and how far the global configuration
    /// holds. The certificate of the peer's node is judged with its connection. Never returns.
    async fn watch_rights(&self, authorised: &Authorised, session: &Session) {
        let place = Place::ProviderNode;
        let verified = authorised.verified();
        let (exchange, service) = (verified.arrived().entry.exchange(), &verified.request().service);
        let check = || {
            let conf = self.core.conf(place)?;
            let (guard, grants) = (&self.core.guard, self.core.grants.load());
            let held = authorised.check_again(guard, &conf, &grants, self.core.clock.now());
            held.and_then(|()| self.check_fresh(service)).map_err(|refusal| refusal.fault(place, exchange))
        };
        let fault = loop {
            match check() {
                Ok(()) => sleep(RIGHTS_CHECKED_EVERY).await,
                Err(fault) => break fault,
            }
        };
        tracing::info!(%exchange, code = %fault.code, "a stream is not allowed any more");
        session.revoke(fault);
        std::future::pending::<()>().await;
    }
}

impl Serving {
    /// Waits for the answer to begin, opens the way back, and seals what comes. Whoever was let in gets a RESPONSE and a CLOSE,
    /// also if no service answers: a FAULT would not say how far this node had come with the request.
    async fn run(self, answer: impl Future<Output = Result<LiveServed, Fault>> + Send) {
        let exchange = self.authorised.verified().arrived().entry.exchange();
        let begun = self.begun(answer).await;
        let context = begun.as_ref().map(|served| served.context.clone()).unwrap_or_default();
        let outgoing = match self.open(&context).await {
            Ok(outgoing) => outgoing,
            // The ledger takes nothing: the peer learns it by the end of the link's stream.
            Err(fault) => return self.session.end(fault),
        };
        match begun {
            Ok(served) => {
                outgoing.run(served.pieces).await;
                count_answered();
                tracing::debug!(%exchange, "a stream was answered");
            }
            Err(fault) => {
                let fault = unanswered(fault, self.authorised.side_effects());
                tracing::info!(%exchange, code = %fault.code, "a stream was not answered");
                outgoing.end(Err(fault)).await;
            }
        }
    }

    /// The beginning of the service's answer. None goes out that is not trusted any more.
    async fn begun(
        &self,
        answer: impl Future<Output = Result<LiveServed, Fault>> + Send,
    ) -> Result<LiveServed, Fault> {
        let served = tokio::select! {
            biased;
            fault = self.session.ended() => return Err(fault),
            begun = answer => begun?,
        };
        self.provider.core.conf(Place::ProviderNode).map(|_| served)
    }

    /// The RESPONSE that opens the way back: its payload is the context alone.
    async fn open(&self, context: &Context) -> Result<Outgoing, Fault> {
        let core = &self.provider.core;
        let arrived = self.authorised.verified().arrived();
        let exchange = arrived.entry.exchange();
        let conf = core.globalconf.newest();
        let (payload, context_root) =
            core.seal_payload(&exchange, Direction::Answer, context, &[], Place::ProviderNode)?;
        let response = Response {
            request_leaf: arrived.entry.leaf_hash(),
            received_leaf: self.received,
            addressee: arrived.peer.clone(),
            outcome: 0,
            content: Content::Stream { context_root },
        };
        let entry = core.entry(&self.ledger, exchange, conf.as_deref(), &Body::Response(response))?;
        let link = LinkPlace::after(&entry, StreamDirection::Answer);
        let append = Append { entry: entry.clone(), payload: Some(Arc::clone(&payload)), foreign: None };
        let appending = self.session.say(|_, sent| {
            sent.note(&entry, link.chunks);
            self.ledger.begin(vec![append]).map_err(|error| ledger_fault(&error, Place::ProviderNode))
        })?;
        // An error means that the peer is gone: the entry is in our ledger.
        let _ = self.out.send(Leaving { appending, payload, ahead: None }).await;
        Ok(Outgoing {
            core: Arc::clone(&self.provider.core),
            ledger: self.ledger.clone(),
            exchange,
            link,
            session: Arc::clone(&self.session),
            out: self.out.clone(),
        })
    }
}

/// RECEIVED goes into the ledger before anything that is handed over later; nobody waits for it.
fn queue(ledger: &Ledger, receipt: Receipt) -> Result<(), Fault> {
    match receipt {
        Receipt::Held(append, _) => {
            ledger.queue(append).map_err(|error| ledger_fault(&error, Place::ProviderNode))
        }
        Receipt::Durable(_) => Ok(()),
    }
}

/// How long a stream goes on after what allowed it has ended.
const RIGHTS_CHECKED_EVERY: Duration = Duration::from_secs(1);
