//! The consumer's half of a stream: a REQUEST that opens it, then both ways at once.

use std::sync::Arc;
use std::time::Instant;

use peabiru_ledger::ledger::Ledger;
use peabiru_ledger::payload::{Direction, Payload};
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::contract::Delivery;
use peabiru_proto::entry::{Body, Content, Entry, ExchangeId, StreamDirection};
use peabiru_proto::fault::{Fault, Place};
use peabiru_proto::globalconf::{Contract, GlobalConfiguration};
use peabiru_proto::id::MemberId;
use peabiru_proto::wire::Context;
use tokio::sync::{mpsc, oneshot};

use super::{Consumer, Failure};
use crate::asking::{Asking, Planned};
use crate::core::{Core, internal, ledger_fault, received_append};
use crate::exchange::{
    AnswerEnd, Arrived, Call, Departures, Leaving, Line, LiveServed, Pieces, Reply, Streamed,
};
use crate::flow::{ARRIVED_QUEUED, BATCHES_IN_FLIGHT};
use crate::guard::answer::{self, Outstanding};
use crate::guard::stream::{Chain, Place as LinkPlace};
use crate::live::incoming::{Incoming, Noted, Reader};
use crate::live::local;
use crate::live::outgoing::Outgoing;
use crate::live::session::Session;
use crate::router::is_of_the_link;
use crate::stage::{count_asked, count_refusal};

/// What comes back, from its beginning on.
struct Answering {
    core: Arc<Core>,
    ledger: Ledger,
    outstanding: Outstanding,
    session: Arc<Session>,
    line: Line,
    /// Told the metadata, or why there is none.
    begun: oneshot::Sender<Result<Context, Fault>>,
}

/// A stream that its addressee has, as far as this node can tell; nothing of it went out but its REQUEST.
struct Opened {
    ledger: Ledger,
    session: Arc<Session>,
    request: Entry,
    out: mpsc::Sender<Leaving>,
    line: Line,
}

impl Consumer {
    /// Carries one call; ready when its answer begins. Another node is asked only if the first proved that it did not take
    /// what opens the stream: what went out after that is not sent twice.
    pub(super) async fn carry_live(&self, mut call: Call, messages: Pieces<AnswerEnd>) -> Streamed {
        let refuse = |fault| {
            count_refusal(&fault);
            Streamed { exchange: None, result: Err(fault) }
        };
        let conf = match self.core.conf(Place::ConsumerNode) {
            Ok(conf) => conf,
            Err(fault) => return refuse(fault),
        };
        let (mut planned, contract) = match self.plan(&call, Delivery::Live, &conf) {
            Ok(planned) => planned,
            Err(fault) => return refuse(fault),
        };
        let waits_ms = call.deadline.map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX));
        call.context.timeout_ms = waits_ms.unwrap_or(0);
        let until = Instant::now() + planned.expires_in;
        let mut asked = Vec::new();
        loop {
            let exchange = ExchangeId::new(&*self.core.random);
            count_asked();
            let failure = match self.open(&call, &planned, contract, exchange, &conf).await {
                Ok(opened) => {
                    let result = self.begin(call.service.member(), opened, exchange, messages).await;
                    if let Err(fault) = &result {
                        note_failure(exchange, fault);
                    }
                    let result = result.map_err(|fault| fault.with_exchange(exchange));
                    return Streamed { exchange: Some(exchange), result };
                }
                Err(failure) => failure,
            };
            note_failure(exchange, &failure.fault);
            asked.push(planned.addressee.clone());
            match self.another(&call, &planned, &failure, &asked, until, &conf) {
                Some(next) => planned = next,
                None => {
                    let result = Err(failure.fault.with_exchange(exchange));
                    return Streamed { exchange: Some(exchange), result };
                }
            }
        }
    }

    /// Seals the REQUEST and sends it.
    async fn open(
        &self,
        call: &Call,
        planned: &Planned,
        contract: &Contract,
        exchange: ExchangeId,
        conf: &GlobalConfiguration,
    ) -> Result<Opened, Failure> {
        let ledger = self.ledger_of(call)?;
        let life = [call.deadline, planned.facts.timeout].into_iter().flatten().min();
        let session = Arc::new(Session::of_caller(&self.core.sessions, life, planned.facts.side_effects));
        let asking = Asking { call, planned, contract, exchange, ledger, conf, core: &self.core };
        let (opening, payload) = asking.open_stream().await?;
        let request = opening.entry.clone();
        let way = LinkPlace::after(&request, StreamDirection::Request);
        session.say(|_, sent| {
            sent.note(&request, way.chunks);
            Ok(())
        })?;
        let (out, departures) = mpsc::channel(BATCHES_IN_FLIGHT);
        let line = self
            .line(planned, opening, payload, departures)
            .await
            .map_err(|fault| Failure { fault, unanswered: Some(request.leaf_hash()) })?;
        Ok(Opened { ledger: ledger.clone(), session, request, out, line })
    }

    /// Carries both ways, and waits for the beginning of the answer.
    async fn begin(
        &self,
        provider: MemberId,
        opened: Opened,
        exchange: ExchangeId,
        messages: Pieces<AnswerEnd>,
    ) -> Result<LiveServed, Fault> {
        let Opened { ledger, session, request, out, line } = opened;
        let outgoing = Outgoing {
            core: Arc::clone(&self.core),
            ledger: ledger.clone(),
            exchange,
            link: LinkPlace::after(&request, StreamDirection::Request),
            session: Arc::clone(&session),
            out,
        };
        let own = self.core.own.clone();
        let (begun, beginning) = oneshot::channel();
        let answering = Answering {
            core: Arc::clone(&self.core),
            ledger,
            outstanding: Outstanding {
                exchange,
                request_leaf: request.leaf_hash(),
                provider,
                own,
                asked_at: request.common().created_at,
                delivery: Delivery::Live,
            },
            session: Arc::clone(&session),
            line,
            begun,
        };
        let (reader, pieces) = mpsc::channel(ARRIVED_QUEUED);
        let stopping = self.core.stopping.clone();
        tokio::spawn(async move {
            let both = async { tokio::join!(outgoing.run(messages), answering.run(reader)) };
            tokio::select! {
                _ = both => {}
                () = session.watch(&stopping) => {}
            }
        });
        let begun = beginning.await.unwrap_or_else(|_| Err(internal("a stream came to no beginning")));
        begun.map(|context| LiveServed { context, pieces })
    }

    /// Sends what opens the stream; what comes back comes over the line.
    async fn line(
        &self,
        planned: &Planned,
        opening: SealedEntry,
        payload: Arc<Payload>,
        departures: Departures,
    ) -> Result<Line, Fault> {
        let to = &planned.addressee;
        if *to != self.core.own {
            let line = self.link.stream(to, opening, payload, departures).await;
            if line.as_ref().is_err_and(is_of_the_link) {
                self.router().unreachable(to, self.core.clock.now());
            }
            return line;
        }
        let arrived = local::arrived(&self.core, opening, &payload)?;
        let there = local::connect(Arc::clone(&self.core), departures, Place::ProviderNode);
        match self.local.stream(Box::new(arrived), there).await {
            Reply::Live(departures) => {
                Ok(local::connect(Arc::clone(&self.core), departures, Place::ConsumerNode))
            }
            Reply::Sealed { entry, payload } => {
                let (arrivals, line) = mpsc::channel(ARRIVED_QUEUED);
                // There is room for one, and nobody else sends.
                let _ = arrivals.try_send(local::arrived(&self.core, entry, &payload));
                Ok(line)
            }
            Reply::Large(_) => Err(internal("a stream is not answered whole")),
            Reply::Refusal(fault) => Err(fault),
        }
    }
}

fn note_failure(exchange: ExchangeId, fault: &Fault) {
    tracing::info!(%exchange, code = %fault.code, place = ?fault.place, "a stream did not begin");
    count_refusal(fault);
}

impl Asking<'_> {
    /// The REQUEST that opens a stream: its payload is the context alone.
    async fn open_stream(&self) -> Result<(SealedEntry, Arc<Payload>), Fault> {
        let (payload, context_root) = self.core.seal_payload(
            &self.exchange,
            Direction::Request,
            &self.call.context,
            &[],
            Place::ConsumerNode,
        )?;
        self.append(payload, Content::Stream { context_root }).await
    }
}

impl Answering {
    async fn run(mut self, reader: Reader) {
        let opened = self.opened().await;
        let Self { core, ledger, session, line, begun, .. } = self;
        match opened {
            Ok((arrived, context)) => {
                let chain = Chain::of(&arrived, StreamDirection::Answer);
                // Its memory is not kept for as long as the stream goes on.
                drop(arrived);
                // An error means that the caller has gone, which the reader's end tells too.
                let _ = begun.send(Ok(context));
                let noted = Noted::Queued;
                Incoming { core, ledger, chain, session, line, noted }.run(reader).await;
            }
            Err(fault) => {
                session.end(fault.clone());
                let _ = begun.send(Err(fault));
            }
        }
    }

    /// Waits for the RESPONSE that opens the other way, or for the FAULT.
    async fn opened(&mut self) -> Result<(Arrived, Context), Fault> {
        let place = Place::ConsumerNode;
        let first = tokio::select! {
            biased;
            fault = self.session.ended() => return Err(fault),
            () = self.begun.closed() => return Err(self.session.cancelled("the caller gave the stream up")),
            first = self.line.recv() => first,
        };
        let arrived = match first {
            Some(arrived) => arrived.map_err(|fault| self.session.named(fault))?,
            None => return Err(self.session.cancelled("the peer gave the stream up")),
        };
        let conf = self.core.conf(place)?;
        let exchange = self.outstanding.exchange;
        let checked = answer::check(&arrived, &self.outstanding, &conf)
            .map_err(|refusal| refusal.fault(place, exchange))?;
        let entry =
            self.core.entry(&self.ledger, exchange, Some(&conf), &Body::Received(checked.received))?;
        // A FAULT stands in the place of the opening.
        let way = LinkPlace::after(&arrived.entry, StreamDirection::Answer);
        self.session.take(way.reached(&arrived.entry), || {
            let queued = self.ledger.queue(received_append(entry, &arrived));
            queued.map_err(|error| ledger_fault(&error, place))
        })?;
        self.session.touch();
        let answer = checked.result?;
        Ok((arrived, answer.context))
    }
}
