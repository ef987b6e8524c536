//! What an application sends, on its way out: gathered into batches, each sealed as an entry of our ledger.
//!
//! A batch goes when it is full, or when it has waited for [`BATCH_WAIT`] since the one before: the first after a pause goes
//! at once. So a stream makes few entries, whatever its messages, and none waits long. The next batch is made while
//! those before are on their way to the disk: each names the leaf hash of the one before, which is known at once.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use peabiru_ledger::ledger::{Append, Ledger};
use peabiru_ledger::payload::{Direction, Payload};
use peabiru_proto::content::chunk_count;
use peabiru_proto::entry::{Batch, Body, Close, ExchangeId, Reached, StreamDirection};
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::limits::CHUNK_BYTES;
use peabiru_proto::wire::Context;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Permit};
use tokio::time::{Instant, sleep_until, timeout};

use super::session::{CLOSE_WAIT, Session};
use crate::core::{Core, internal, ledger_fault};
use crate::exchange::{AnswerEnd, Leaving, Piece, Pieces};
use crate::guard::stream::Place as Link;

/// The direction that this node seals.
pub(crate) struct Outgoing {
    pub(crate) core: Arc<Core>,
    pub(crate) ledger: Ledger,
    pub(crate) exchange: ExchangeId,
    /// Where its next entry belongs.
    pub(crate) link: Link,
    pub(crate) session: Arc<Session>,
    pub(crate) out: mpsc::Sender<Leaving>,
}

impl Outgoing {
    /// Seals everything up to the end, or up to the end of the session; then the CLOSE, if it can be made.
    pub(crate) async fn run(mut self, mut pieces: Pieces<AnswerEnd>) {
        let end = self.batches(&mut pieces).await;
        // The application is told that nobody takes more.
        drop(pieces);
        self.end(end).await;
    }

    /// Seals the CLOSE: how the application ended, or why it was broken off.
    pub(crate) async fn end(mut self, end: Result<AnswerEnd, Fault>) {
        let (end, why) = match end {
            Ok(end) => (end, None),
            Err(fault) => {
                let fault = self.session.named(fault);
                let (end, code) = (AnswerEnd::of_fault(&fault), fault.code);
                self.session.end(fault);
                (end, Some(code))
            }
        };
        if self.link.direction == StreamDirection::Answer {
            self.session.set_answered();
        }
        let is_broken_off = why.is_some();
        if let Err(fault) = self.close(end, why).await {
            tracing::debug!(exchange = %self.exchange, %fault, "a stream stays without CLOSE");
            self.session.end(fault);
        } else if !is_broken_off {
            self.drained().await;
        }
    }

    /// Until the link has written all of it. A slow reader has as long for the last entries as for those before: each that
    /// goes counts as something that passed.
    async fn drained(&self) {
        let drained = async {
            for gone in 1..=self.out.max_capacity() {
                // An error means that all went, or that nobody takes it any more.
                if self.out.reserve_many(gone).await.is_err() {
                    break;
                }
                self.session.touch();
            }
            self.out.closed().await;
            self.session.touch();
        };
        tokio::select! {
            () = drained => {}
            _ = self.session.ended() => {}
        }
    }

    async fn batches(&mut self, pieces: &mut Pieces<AnswerEnd>) -> Result<AnswerEnd, Fault> {
        let mut gathered = BytesMut::new();
        let mut due = Instant::now();
        loop {
            let piece = tokio::select! {
                biased;
                fault = self.session.ended() => return Err(fault),
                () = self.out.closed() => return Err(self.untaken().await),
                piece = pieces.recv() => piece,
                () = sleep_until(due), if !gathered.is_empty() => {
                    self.batch(gathered.split()).await?;
                    due = Instant::now() + BATCH_WAIT;
                    continue;
                }
            };
            match piece {
                Some(Ok(Piece::Data(data))) => gathered.extend_from_slice(&data),
                Some(Ok(Piece::End(end))) => {
                    self.flush(&mut gathered).await?;
                    return Ok(end);
                }
                // What came before it was broken off goes too.
                Some(Err(fault)) => {
                    self.flush(&mut gathered).await?;
                    return Err(fault);
                }
                None => return Err(self.session.cancelled("the application gave the stream up")),
            }
            while gathered.len() >= BATCH_BYTES_MAX {
                self.batch(gathered.split_to(BATCH_BYTES_MAX)).await?;
                due = Instant::now() + BATCH_WAIT;
            }
        }
    }

    async fn flush(&mut self, gathered: &mut BytesMut) -> Result<(), Fault> {
        while !gathered.is_empty() {
            self.batch(gathered.split_to(gathered.len().min(BATCH_BYTES_MAX))).await?;
        }
        Ok(())
    }

    async fn batch(&mut self, body: BytesMut) -> Result<(), Fault> {
        let out = self.out.clone();
        let permit = tokio::select! {
            fault = self.session.ended() => return Err(fault),
            permit = out.reserve() => permit,
        };
        let Ok(permit) = permit else { return Err(self.untaken().await) };
        let ahead = self.ahead(&out).await?;
        self.session.keep(&self.core, body.len()).await?;
        let place = self.session.place();
        let (payload, content_root) =
            self.core.seal_payload(&self.exchange, self.direction(), &Context::default(), &body, place)?;
        let body_bytes = body.len() as u64;
        let chunks =
            u32::try_from(chunk_count(body_bytes) - 1).map_err(|_| internal("a batch is too long"))?;
        let Link { opening, direction, previous, chunks: first_chunk, .. } = self.link;
        let conf = self.core.conf(place)?;
        let leaving = self.say(Some(&conf), payload, |peer| {
            Body::Batch(Batch {
                opening,
                direction,
                previous,
                first_chunk,
                chunks,
                content_root,
                body_bytes,
                peer,
            })
        })?;
        permit.send(Leaving { ahead, ..leaving });
        self.session.touch();
        Ok(())
    }

    /// Why the peer takes nothing more: its last words say so, if they come.
    async fn untaken(&self) -> Fault {
        let ended = timeout(CLOSE_WAIT, self.session.ended()).await;
        ended.unwrap_or_else(|_| self.session.cancelled("nobody takes the stream any more"))
    }

    /// One batch of a stream is always on its way; those ahead of it share what the node sets aside for all. A stream whose
    /// peer does not read cannot keep the others from going on, one batch after another.
    async fn ahead(&self, out: &mpsc::Sender<Leaving>) -> Result<Option<OwnedSemaphorePermit>, Fault> {
        // Room for one more is taken already.
        let others = out.max_capacity() - 1;
        if out.capacity() == others {
            return Ok(None);
        }
        tokio::select! {
            fault = self.session.ended() => Err(fault),
            // An error of either: nobody takes it, as the next step says.
            ahead = Arc::clone(&self.core.batches_ahead).acquire_owned() => Ok(ahead.ok()),
            _ = out.reserve_many(others) => Ok(None),
        }
    }

    /// `why`: if a node broke off.
    async fn close(&mut self, end: AnswerEnd, why: Option<FaultCode>) -> Result<(), Fault> {
        let out = self.out.clone();
        let permit = self.room_for_close(&out).await;
        let place = self.session.place();
        let AnswerEnd { outcome, context } = end;
        let (payload, content_root) =
            self.core.seal_payload(&self.exchange, self.direction(), &context, &[], place)?;
        let Link { opening, direction, previous, chunks, .. } = self.link;
        let fault = why.map(|code| code.to_string());
        let conf = self.core.globalconf.newest();
        let leaving = self.say(conf.as_deref(), payload, |peer| {
            Body::Close(Close { opening, direction, previous, chunks, outcome, content_root, peer, fault })
        })?;
        self.session.set_said_all();
        if let Some(permit) = permit {
            permit.send(leaving);
            self.session.touch();
        }
        Ok(())
    }

    /// Room on the way to the peer, for as long as the session goes on and a moment more. None if nobody takes the CLOSE: the
    /// entry is made all the same, and says how far this side came.
    async fn room_for_close<'a>(&self, out: &'a mpsc::Sender<Leaving>) -> Option<Permit<'a, Leaving>> {
        let mut permit = pin!(out.reserve());
        tokio::select! {
            biased;
            permit = &mut permit => return permit.ok(),
            _ = self.session.ended() => {}
        }
        timeout(CLOSE_WAIT, permit).await.ok()?.ok()
    }

    /// Makes the next entry, which names what was taken of the other direction, and hands it to our ledger. Never made before the
    /// one before it, also if the machine's clock was set back.
    fn say(
        &mut self,
        conf: Option<&GlobalConfiguration>,
        payload: Arc<Payload>,
        head: impl FnOnce(Option<Reached>) -> Body,
    ) -> Result<Leaving, Fault> {
        let session = Arc::clone(&self.session);
        session.say(|taken, sent| {
            let created_at = self.core.clock.now().max(self.link.made_at);
            let entry =
                self.core.entry_made_at(&self.ledger, self.exchange, conf, &head(taken), created_at)?;
            let place = self.session.place();
            let append = Append { entry: entry.clone(), payload: Some(Arc::clone(&payload)), foreign: None };
            let appending = self.ledger.begin(vec![append]).map_err(|error| ledger_fault(&error, place))?;
            if let Body::Batch(batch) = entry.body() {
                self.link.advance(&entry, batch.chunks);
            }
            sent.note(&entry, self.link.chunks);
            Ok(Leaving { appending, payload, ahead: None })
        })
    }

    fn direction(&self) -> Direction {
        match self.link.direction {
            StreamDirection::Request => Direction::Request,
            StreamDirection::Answer => Direction::Answer,
        }
    }
}

/// Longest body of a batch: it stays in its commit record, and no file is made for it.
const BATCH_BYTES_MAX: usize = CHUNK_BYTES;
/// Shortest time between a batch and the next, unless that one is full.
pub(super) const BATCH_WAIT: Duration = Duration::from_millis(250);
