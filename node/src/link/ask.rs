//! Streams that this node opens: a message goes out, its answer comes in.
//!
//! What matters to a caller who must not do a thing twice: did the peer accept the message? It does so only once it
//! has all of it. Every fault before that is one that proves it did not; after it there is
//! `exchange.outcome_unknown`, unless the peer itself says more.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_ledger::payload::Payload;
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::entry::ExchangeId;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::MAX_FRAME_BYTES;
use peabiru_proto::wire::{self, LargeHead, link_frame::Frame};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::budget::Reserved;
use super::carrier::{Receiver, Sender};
use super::large::{SendError, TakeError, Taken};
use super::message::Incoming;
use super::patience::Patience;
use super::peer::Peer;
use super::preview::{Awaited, Preview};
use super::terms::{Code, StreamError};
use super::{Inner, unreachable};
use crate::exchange::{LinkAnswer, Outflow};

/// A stream on which nothing was sent yet.
pub(super) struct Opened {
    pub(super) peer: Arc<Peer>,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    /// The connection is not closed for being replaced before this is dropped.
    _under_way: TaskTrackerToken,
}

impl Inner {
    pub(crate) async fn exchange(
        self: &Arc<Self>,
        to: &NodeId,
        sealed: &SealedEntry,
        payload: &Payload,
        until: Instant,
    ) -> Result<LinkAnswer, Fault> {
        let awaited = Awaited::by(&sealed.entry)?;
        let exchange = awaited.exchange;
        let not_accepted = |fault: Fault| fault.with_exchange(exchange);
        let mut opened = self.open(to, MAX_FRAME_BYTES, until).await.map_err(not_accepted)?;
        let pieces = self.sealed_pieces(&opened.peer, sealed, payload).map_err(not_accepted)?;
        let heard = opened.peer.connection.heard();
        self.put(&mut opened.sender, pieces, until).await.map_err(not_accepted)?;
        let (frame, _reserved) =
            self.get(&mut opened, heard, until).await.map_err(|why| unknown(to, exchange, &why))?;
        self.judge(&mut opened, frame, &awaited, until).await
    }

    /// As `exchange`, with a body that still comes.
    pub(crate) async fn exchange_large(
        self: &Arc<Self>,
        to: &NodeId,
        mut outflow: Outflow,
        wait: Duration,
    ) -> Result<LinkAnswer, Fault> {
        let exchange = outflow.preview.exchange();
        let not_accepted = |fault: Fault| fault.with_exchange(exchange);
        let until = Instant::now() + self.waits.connect;
        let mut opened = self.open(to, MAX_FRAME_BYTES, until).await.map_err(not_accepted)?;
        let heard = opened.peer.connection.heard();
        let sent = self.send_large(&opened.peer, &mut opened.sender, &mut outflow).await;
        let awaited = match sent {
            Ok((sealed, _)) => Awaited::by(&sealed.entry)?,
            Err(SendError::Fault(fault)) => return Err(not_accepted(fault)),
            Err(SendError::Stream(StreamError::Stalled)) => {
                return Err(not_accepted(unreachable(format!("{to} takes nothing more, or too little"))));
            }
            // A peer that refuses says why before it stops reading.
            Err(SendError::Stream(error)) => {
                let until = Instant::now() + REFUSAL_WAIT;
                return match self.get(&mut opened, heard, until).await {
                    Ok((Frame::Refusal(fault), _)) => refused(to, exchange, &fault),
                    _ => Err(not_accepted(unreachable(opened.peer.why(&error).await))),
                };
            }
        };
        opened.sender.finish();
        // Nobody waits for more of it.
        drop(outflow);
        let until = Instant::now() + wait;
        let (frame, _reserved) =
            self.get(&mut opened, heard, until).await.map_err(|why| unknown(to, exchange, &why))?;
        self.judge(&mut opened, frame, &awaited, until).await
    }

    async fn judge(
        &self,
        opened: &mut Opened,
        frame: Frame,
        awaited: &Awaited,
        until: Instant,
    ) -> Result<LinkAnswer, Fault> {
        let place = Place::ConsumerNode;
        let (peer, exchange) = (Arc::clone(&opened.peer), awaited.exchange);
        let incoming = match frame {
            Frame::Message(message) => {
                let mut patience = Patience::once(until.saturating_duration_since(Instant::now()));
                if opened.receiver.ended(&mut patience).await.is_err() {
                    opened.receiver.stop(Code::Protocol);
                    return Err(unknown(
                        &peer.id,
                        exchange,
                        "something came after its answer, or its end did not",
                    ));
                }
                Incoming::read(message, self.clock.now(), place)
            }
            Frame::Refusal(fault) => return refused(&peer.id, exchange, &fault),
            Frame::Head(head) => return self.judge_large(opened, head, awaited, until).await,
            _ => return Err(unknown(&peer.id, exchange, "it answered with another frame")),
        };
        self.answered(&peer, incoming, exchange, until).await
    }

    async fn judge_large(
        &self,
        opened: &mut Opened,
        head: LargeHead,
        awaited: &Awaited,
        until: Instant,
    ) -> Result<LinkAnswer, Fault> {
        let Opened { peer, receiver, .. } = opened;
        let lost = |why: &str| unknown(&peer.id, awaited.exchange, why);
        let preview = match self.read_answer_head(peer, head, awaited) {
            Ok(preview) => preview,
            Err(why) => {
                receiver.stop(Code::Protocol);
                return Err(lost(&why));
            }
        };
        match self.take_large(peer, receiver, &preview, Place::ConsumerNode).await {
            Ok(Taken::Message(incoming, _reserved)) => {
                self.answered(peer, Ok(*incoming), awaited.exchange, until).await
            }
            // The service was asked already.
            Ok(Taken::Refused(fault)) => Err(lost(&fault.message)),
            Err(TakeError::Other(fault)) => self.answered(peer, Err(fault), awaited.exchange, until).await,
            // That it cannot be kept here does not undo what the service did.
            Err(TakeError::Unkept(fault)) => {
                receiver.stop(Code::Abandoned);
                Err(lost(&fault.to_string()))
            }
            Err(TakeError::Stream(error)) => {
                if let StreamError::Stalled = error {
                    self.counters.stalled.increment(1);
                    receiver.stop(Code::Stalled);
                }
                Err(lost(&peer.why(&error).await))
            }
        }
    }

    /// What can be known of a large answer before it comes; the rest is checked with the whole.
    fn read_answer_head(&self, peer: &Peer, head: LargeHead, awaited: &Awaited) -> Result<Preview, String> {
        let preview = Preview::read(head)?;
        preview.answers(awaited, &self.own)?;
        let conf = (self.conf)().ok_or("this node has no global configuration")?;
        let ledger = conf.ledger(preview.entry().origin());
        if ledger.is_none_or(|ledger| ledger.node != peer.id || ledger.member != awaited.provider) {
            return Err("it announced an answer of a ledger that is not of whom was asked".to_owned());
        }
        Ok(preview)
    }

    /// The peer accepted the message. Whatever is wrong with its answer, the outcome is not known.
    async fn answered(
        &self,
        peer: &Peer,
        incoming: Result<Incoming, Fault>,
        exchange: ExchangeId,
        until: Instant,
    ) -> Result<LinkAnswer, Fault> {
        let mismatch = |fault: Fault| {
            Fault::new(FaultCode::AnswerMismatch, Place::ConsumerNode, fault.message).with_exchange(exchange)
        };
        let incoming = incoming.map_err(mismatch)?;
        peer.note_clock(incoming.times());
        let until = until.max(Instant::now() + self.waits.checkpoint);
        let arrived = self.arrive(peer, incoming, until, Place::ConsumerNode).await;
        match arrived {
            Ok(arrived) => Ok(LinkAnswer::Arrived(Box::new(arrived))),
            Err(fault) if fault.code == FaultCode::LedgerForked => Err(fault.with_exchange(exchange)),
            Err(fault) => Err(unknown(&peer.id, exchange, &fault.to_string())),
        }
    }

    /// Opens a stream. A connection that turns out to be lost is dialled again, once: nothing was sent.
    pub(super) async fn open(
        self: &Arc<Self>,
        to: &NodeId,
        answer_bytes_max: usize,
        until: Instant,
    ) -> Result<Opened, Fault> {
        if self.is_draining() {
            return Err(Fault::new(FaultCode::NodeDraining, Place::ConsumerNode, "this node is stopping"));
        }
        let mut failure = None;
        for _ in 0..OPEN_ATTEMPTS {
            let peer = self.connected(to, until).await?;
            let _under_way = peer.streams.token();
            match timeout_at(until, peer.connection.open_exchange(answer_bytes_max)).await {
                Ok(Ok((sender, receiver))) => {
                    self.counters.streams_opened.increment(1);
                    return Ok(Opened { peer, sender, receiver, _under_way });
                }
                Ok(Err(error)) => {
                    if let Some(slot) = self.pool.slot(to) {
                        slot.lost(&peer);
                    }
                    failure = Some(error);
                }
                Err(_) => {
                    let what = format!("{to} allows no more exchanges at once");
                    return Err(Fault::new(FaultCode::NodeOverloaded, Place::ConsumerNode, what));
                }
            }
        }
        Err(unreachable(failure.map_or_else(String::new, |error| format!("{to}: {error}"))))
    }

    /// Sends the only frame. Until its end is sent the peer does nothing, so a failure here proves that.
    pub(super) async fn put(
        &self,
        sender: &mut Sender,
        mut pieces: Vec<Bytes>,
        until: Instant,
    ) -> Result<(), Fault> {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        if bytes > BULK_BYTES_MIN {
            sender.mark_bulk();
        }
        match timeout_at(until, sender.send(&mut pieces)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Err(_) => {
                let what = "the message could not be sent in time";
                return Err(Fault::new(FaultCode::ExchangeDeadline, Place::ConsumerNode, what));
            }
        }
        sender.finish();
        self.counters.bytes_sent.increment(bytes as u64);
        Ok(())
    }

    /// Waits for the only frame of the answer; says why there is none.
    async fn get(
        &self,
        opened: &mut Opened,
        heard: Option<u64>,
        until: Instant,
    ) -> Result<(Frame, Reserved), String> {
        let Opened { peer, receiver, .. } = opened;
        let mut patience = Patience::once(until.saturating_duration_since(Instant::now()));
        let answer = tokio::select! {
            answer = receiver.first_frame(&peer.budget, &mut patience) => answer,
            () = silence(peer, heard) => {
                // A firewall drops what it let through before: the next one dials again, over TCP if need be.
                self.counters.silent.increment(1);
                peer.connection.close(Code::Stalled, "nothing came back");
                return Err("not even a packet came back, so the connection was given up".to_owned());
            }
        };
        match answer {
            Ok((frame, reserved)) => {
                self.counters.bytes_received.increment(reserved.bytes());
                Ok((frame, reserved))
            }
            Err(StreamError::Stalled) => {
                receiver.stop(Code::Abandoned);
                Err("no answer came in time".to_owned())
            }
            Err(error) => {
                if let StreamError::Frame(_) = error {
                    self.counters.malformed.increment(1);
                    receiver.stop(Code::Protocol);
                }
                Err(peer.why(&error).await)
            }
        }
    }
}

fn refused(peer: &NodeId, exchange: ExchangeId, fault: &wire::Fault) -> Result<LinkAnswer, Fault> {
    match Fault::from_proto(fault) {
        Ok(fault) => Ok(LinkAnswer::Refused(fault.with_exchange(exchange))),
        Err(error) => Err(unknown(peer, exchange, &error.to_string())),
    }
}

/// Ends if nothing comes from the peer any more: not even that it has the message, or that it is still there.
async fn silence(peer: &Peer, mut heard: Option<u64>) {
    if heard.is_none() {
        return pending().await;
    }
    let mut unanswered = 0;
    loop {
        sleep(NUDGE_EVERY).await;
        let now = peer.connection.heard();
        unanswered = if now == heard { unanswered + 1 } else { 0 };
        heard = now;
        match unanswered {
            0 => {}
            SILENT_NUDGES_MAX.. => return,
            _ => peer.connection.nudge(),
        }
    }
}

fn unknown(peer: &NodeId, exchange: ExchangeId, why: &str) -> Fault {
    let what = format!("the message was sent to {peer}, then: {why}");
    Fault::new(FaultCode::ExchangeOutcomeUnknown, Place::ConsumerNode, what).with_exchange(exchange)
}

/// Whoever waits for an answer and has heard nothing for so long makes the peer say that it is there. A packet is
/// acknowledged within a round trip and sent again if it was lost.
const NUDGE_EVERY: Duration = Duration::from_millis(2500);
/// After so much silence, counted in nudges, the peer is gone: 5 s, and at most 7.5 s after it was heard last.
const SILENT_NUDGES_MAX: u32 = 2;
/// How often a stream is tried to be opened, the second time on a new connection.
const OPEN_ATTEMPTS: usize = 2;
/// A message beyond this length lets smaller ones go before it.
const BULK_BYTES_MIN: usize = 16 * 1024;
/// For the refusal of a peer that reads no further.
const REFUSAL_WAIT: Duration = Duration::from_secs(2);
