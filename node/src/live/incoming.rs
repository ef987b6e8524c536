//! What a peer sends of a stream, on its way in: each entry judged, noted in our ledger, then delivered.

use std::sync::Arc;

use bytes::Bytes;
use peabiru_ledger::ledger::{Append, Ledger};
use peabiru_proto::entry::{Body, Entry, Verdict};
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::limits::CHUNK_BYTES;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::pace::Pace;
use super::session::{CLOSE_WAIT, Session};
use crate::core::{Core, ledger_fault, received_append};
use crate::exchange::{AnswerEnd, Arrived, Line, Memory, Piece};
use crate::guard::answer::received_head;
use crate::guard::refusal::Refusal;
use crate::guard::stream::{Chain, Link};
use crate::stage::count_refusal;

/// To whom the messages go.
pub(crate) type Reader = mpsc::Sender<Result<Piece<AnswerEnd>, Fault>>;

/// The direction that the peer seals.
pub(crate) struct Incoming {
    pub(crate) core: Arc<Core>,
    pub(crate) ledger: Ledger,
    pub(crate) chain: Chain,
    pub(crate) session: Arc<Session>,
    pub(crate) line: Line,
    pub(crate) noted: Noted,
}

/// When what came is delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Once its RECEIVED is queued: nothing is done that could not be done again.
    Queued,
    /// Once its RECEIVED is durable: whoever acts on it cannot have forgotten that it came.
    Durable,
}

/// What comes next for a direction.
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack of its task")]
enum Next {
    /// From the peer; none at the end of the link's stream.
    Came(Option<Result<Arrived, Fault>>),
    /// The session ended.
    Over(Fault),
    /// The reader has gone.
    Unread,
    /// Nothing more is waited for.
    Enough,
}

impl Incoming {
    /// Takes everything up to the end of the stream. The reader is told its end or its fault, once. When the session has
    /// ended, what the peer still sends is noted for a while, and delivered to nobody.
    pub(crate) async fn run(mut self, reader: Reader) {
        let mut reader = Some(reader);
        let mut until = None;
        let mut pace = Pace::new();
        // Of what waits for the reader.
        let mut delivered: Option<Memory> = None;
        loop {
            match self.next(reader.as_ref(), until).await {
                Next::Came(Some(Ok(mut arrived))) => match self.take(&arrived, &mut pace).await {
                    Ok(Link::Batch(body)) => {
                        self.deliver(&reader, Ok(Piece::Data(body))).await;
                        // The reader has taken the one before by now.
                        drop(std::mem::replace(&mut delivered, arrived.memory.take()));
                    }
                    Ok(Link::Close(end, why)) => self.closed(&mut reader, end, why).await,
                    Err(fault) => return self.fail(reader, fault).await,
                },
                Next::Came(Some(Err(fault))) => return self.fail(reader, fault).await,
                Next::Came(None) if self.chain.is_closed() => return,
                Next::Came(None) => {
                    let fault = self.session.cancelled("the peer gave the stream up");
                    return self.fail(reader, fault).await;
                }
                Next::Over(fault) => {
                    if let Some(reader) = reader.take() {
                        let _ = reader.try_send(Err(fault));
                    }
                    if self.session.lets_go() && !self.chain.is_closed() {
                        return;
                    }
                    until = Some(Instant::now() + CLOSE_WAIT);
                }
                Next::Unread => {
                    reader = None;
                    // A service may have heard enough, and still answer.
                    if !self.chain.is_of_request() {
                        self.session.end(self.session.cancelled("the caller gave the stream up"));
                    }
                }
                Next::Enough => return,
            }
        }
    }

    async fn next(&mut self, reader: Option<&Reader>, until: Option<Instant>) -> Next {
        let unread = async {
            match reader {
                Some(reader) => reader.closed().await,
                None => std::future::pending().await,
            }
        };
        let session = Arc::clone(&self.session);
        let hears = reader.is_some() && self.chain.is_of_request();
        let enough = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            fault = session.ended(), if until.is_none() => Next::Over(fault),
            () = unread => Next::Unread,
            () = session.answered(), if hears => Next::Unread,
            // Before what comes: a peer that never pauses is heard no longer.
            () = enough => Next::Enough,
            came = self.line.recv() => Next::Came(came),
        }
    }

    /// Judges an entry, and notes that it came.
    async fn take(&mut self, arrived: &Arrived, pace: &mut Pace) -> Result<Link, Fault> {
        let (place, exchange) = (self.session.place(), arrived.entry.exchange());
        let link = match self.session.judge(&mut self.chain, arrived) {
            Ok(link) => link,
            Err(refusal) => {
                self.note_misplaced(arrived, &refusal);
                return Err(refusal.fault(place, exchange));
            }
        };
        if let Link::Batch(body) = &link
            && body.len() < CHUNK_BYTES
            && !pace.allows(Instant::now())
        {
            return Err(Fault::new(FaultCode::StreamFlood, place, "too many small batches came"));
        }
        if self.session.verdict() == Verdict::Refused {
            self.session.keep(&self.core, 0).await?;
            self.queue_refused(arrived)?;
            return Ok(link);
        }
        self.session.keep(&self.core, arrived.payload.chunks().iter().map(Bytes::len).sum()).await?;
        let append = received_append(self.received(arrived, Verdict::Accepted)?, arrived);
        let failed = |error| ledger_fault(&error, place);
        // Whatever is sealed from now on stands after it in the ledger.
        let appending = self.session.take(self.chain.reached(&arrived.entry), || match self.noted {
            Noted::Queued => self.ledger.queue(append).map(|()| None).map_err(failed),
            Noted::Durable => self.ledger.begin(vec![append]).map(Some).map_err(failed),
        })?;
        if let Some(appending) = appending {
            appending.sealed().await.map_err(failed)?;
        }
        self.session.heard();
        Ok(link)
    }

    /// What its author sealed for a place that it does not have: our RECEIVED says that it was refused. Nothing is noted of what
    /// is not its author's, or of another exchange.
    fn note_misplaced(&self, arrived: &Arrived, refusal: &Refusal) {
        let guard = &self.core.guard;
        let is_misplaced = matches!(refusal, Refusal::Stream(_)) && self.chain.binds(arrived);
        if is_misplaced
            && guard.may_seal_refusal(&arrived.peer, self.core.clock.now())
            && let Err(fault) = self.queue_refused(arrived)
        {
            tracing::warn!(exchange = %self.chain.exchange(), %fault, "a refusal could not be noted");
        }
    }

    /// The sender keeps the payload of what is refused, and its seal commits to it.
    fn queue_refused(&self, arrived: &Arrived) -> Result<(), Fault> {
        let append = received_append(self.received(arrived, Verdict::Refused)?, arrived);
        let queued = self.ledger.queue(Append { payload: None, ..append });
        queued.map_err(|error| ledger_fault(&error, self.session.place()))
    }

    fn received(&self, arrived: &Arrived, verdict: Verdict) -> Result<Entry, Fault> {
        let conf = self.core.globalconf.newest();
        let body = Body::Received(received_head(arrived, verdict));
        self.core.entry(&self.ledger, arrived.entry.exchange(), conf.as_deref(), &body)
    }

    /// Waits for a slow reader, unless the session ends meanwhile: `next` sees that.
    async fn deliver(&self, reader: &Option<Reader>, piece: Result<Piece<AnswerEnd>, Fault>) {
        let Some(reader) = reader else { return };
        tokio::select! {
            // An error means that the reader has gone, which `next` sees.
            _ = reader.send(piece) => self.session.heard(),
            _ = self.session.ended() => {}
            () = self.session.answered(), if self.chain.is_of_request() => {}
        }
    }

    async fn closed(&self, reader: &mut Option<Reader>, end: AnswerEnd, why: Option<String>) {
        if let Some(code) = why.as_ref().filter(|_| self.chain.is_of_request()) {
            let what = format!("the consumer's node broke the request off: {code}");
            return self.session.end(self.session.cancelled(&what));
        }
        let ended_by = why.and_then(|_| end.fault());
        let ending = match ended_by {
            Some(fault) => {
                count_refusal(&fault);
                Err(fault.with_exchange(self.chain.exchange()))
            }
            None => Ok(Piece::End(end)),
        };
        self.deliver(reader, ending).await;
        *reader = None;
        if !self.chain.is_of_request() {
            // An answer that has ended ends the request too.
            self.session.end(self.session.cancelled("the service has answered"));
        }
    }

    async fn fail(&self, reader: Option<Reader>, fault: Fault) {
        let fault = self.session.named(fault).with_exchange(self.chain.exchange());
        tracing::info!(exchange = %self.chain.exchange(), code = %fault.code, "a stream ended before its end");
        // Before the reader hears of it: what a service makes of a broken request is not why the stream ended.
        self.session.end(fault.clone());
        if let Some(reader) = reader
            && !self.chain.is_closed()
        {
            let _ = tokio::time::timeout(CLOSE_WAIT, reader.send(Err(fault))).await;
        }
    }
}
