//! Streams that this node opens: a message or a fetch goes out, its answer comes in.
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
use peabiru_proto::entry::{Entry, ExchangeId};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::MAX_FRAME_BYTES;
use peabiru_proto::wire::{self, FetchRequest, HeldEntry, link_frame::Frame};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::budget::Reserved;
use super::carrier::{Receiver, Sender};
use super::frame::{self, MAX_FETCH_FRAME_BYTES};
use super::large::{SendError, TakeError, Taken};
use super::message::Incoming;
use super::peer::Peer;
use super::terms::{Code, StreamError};
use super::{Fetched, Inner, LargeBodies, unreachable};
use crate::exchange::{LinkAnswer, Outflow, Wanted};

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
        let exchange = sealed.entry.exchange();
        let not_accepted = |fault: Fault| fault.with_exchange(exchange);
        let mut opened = self.open(to, MAX_FRAME_BYTES, until).await.map_err(not_accepted)?;
        let pieces = self.sealed_pieces(&opened.peer, sealed, payload).map_err(not_accepted)?;
        let heard = opened.peer.connection.heard();
        self.put(&mut opened.sender, pieces, until).await.map_err(not_accepted)?;
        let (frame, _reserved) =
            self.get(&mut opened, heard, until).await.map_err(|why| unknown(to, exchange, &why))?;
        self.judge(&mut opened, frame, exchange, until).await
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
        match sent {
            Ok(_) => opened.sender.finish(),
            Err(SendError::Fault(fault)) => return Err(not_accepted(fault)),
            Err(SendError::Stalled) => {
                return Err(not_accepted(unreachable(format!("{to} takes nothing more"))));
            }
            // A peer that refuses says why before it stops reading.
            Err(SendError::Stream(error)) => {
                let until = Instant::now() + REFUSAL_WAIT;
                return match self.get(&mut opened, heard, until).await {
                    Ok((Frame::Refusal(fault), _)) => refused(to, exchange, &fault),
                    _ => Err(not_accepted(unreachable(error.to_string()))),
                };
            }
        }
        // Nobody waits for more of it.
        drop(outflow);
        let until = Instant::now() + wait;
        let (frame, _reserved) =
            self.get(&mut opened, heard, until).await.map_err(|why| unknown(to, exchange, &why))?;
        self.judge(&mut opened, frame, exchange, until).await
    }

    async fn judge(
        &self,
        opened: &mut Opened,
        frame: Frame,
        exchange: ExchangeId,
        until: Instant,
    ) -> Result<LinkAnswer, Fault> {
        let place = Place::ConsumerNode;
        let peer = Arc::clone(&opened.peer);
        let incoming = match frame {
            Frame::Message(message) => {
                let ended = timeout_at(until, opened.receiver.ended()).await;
                if !matches!(ended, Ok(Ok(()))) {
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
            Frame::Head(head) => {
                let lost = |why: &str| unknown(&peer.id, exchange, why);
                let preview = Entry::decode(head.entry).map_err(|error| lost(&error.to_string()))?;
                if preview.exchange() != exchange {
                    opened.receiver.stop(Code::Protocol);
                    return Err(lost("it announced the answer of another exchange"));
                }
                match self.take_large(&mut opened.receiver, &peer.budget, place).await {
                    Ok(Taken::Message(message, file)) => {
                        self.read_taken(&preview, message, Some(file), place)
                    }
                    Ok(Taken::Fault(message)) => self.read_taken(&preview, message, None, place),
                    // The service was asked already.
                    Ok(Taken::Refused(fault)) => return Err(lost(&fault.message)),
                    Err(TakeError::Stream(error)) => return Err(lost(&error.to_string())),
                    Err(TakeError::Stalled) => {
                        opened.receiver.stop(Code::Stalled);
                        return Err(lost("nothing more of its answer came"));
                    }
                    // That it cannot be kept here does not undo what the service did.
                    Err(TakeError::Refused(fault)) => {
                        opened.receiver.stop(Code::Abandoned);
                        return Err(lost(&fault.to_string()));
                    }
                }
            }
            _ => return Err(unknown(&peer.id, exchange, "it answered with another frame")),
        };
        self.answered(&peer, incoming, exchange, until).await
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
        let until = until.max(Instant::now() + self.waits.checkpoint);
        let arrived = self.arrive(peer, incoming, until, Place::ConsumerNode).await;
        match arrived {
            Ok(arrived) => Ok(LinkAnswer::Arrived(Box::new(arrived))),
            Err(fault) if fault.code == FaultCode::LedgerForked => Err(fault.with_exchange(exchange)),
            Err(fault) => Err(unknown(&peer.id, exchange, &fault.to_string())),
        }
    }

    pub(crate) async fn fetch(
        self: &Arc<Self>,
        from: &NodeId,
        wanted: Wanted,
        bodies: LargeBodies,
        until: Instant,
    ) -> Result<Vec<Fetched>, Fault> {
        let mut opened = self.open(from, MAX_FETCH_FRAME_BYTES, until).await?;
        let request = FetchRequest {
            request_leaf_hash: Bytes::copy_from_slice(wanted.request_leaf.as_bytes()),
            exchange_id: Bytes::copy_from_slice(wanted.exchange.as_bytes()),
        };
        self.put(&mut opened.sender, vec![frame::encode(Frame::Fetch(request))], until).await?;
        let mut fetched = Vec::new();
        loop {
            let next = timeout_at(until, opened.receiver.frame(&opened.peer.budget)).await;
            let next = next.map_err(|_| unreachable("not all came in time"))?;
            let next = next.map_err(|error| unreachable(error.to_string()))?;
            let entries = match next.map(|(frame, _)| frame) {
                Some(Frame::Fetched(page)) => page.entries,
                Some(Frame::Refusal(fault)) => {
                    let read = Fault::from_proto(&fault);
                    return Err(read.unwrap_or_else(|error| unreachable(error.to_string())));
                }
                Some(_) => return Err(unreachable(format!("{from} answered a fetch with another frame"))),
                None => break,
            };
            let left = bodies == LargeBodies::Left && entries.iter().any(has_file);
            fetched.extend(self.take_files(&mut opened, entries, bodies).await?);
            // What follows is not wanted, or too much.
            if left || fetched.iter().map(Fetched::bytes).sum::<usize>() > FETCHED_BYTES_MAX {
                break;
            }
        }
        opened.receiver.stop(Code::Abandoned);
        Ok(fetched)
    }

    async fn take_files(
        &self,
        opened: &mut Opened,
        entries: Vec<HeldEntry>,
        bodies: LargeBodies,
    ) -> Result<Vec<Fetched>, Fault> {
        let mut fetched = Vec::with_capacity(entries.len());
        for held in entries {
            let bytes = held.payload.as_ref().map_or(0, |payload| payload.file_bytes);
            let file = if bytes > 0 && bodies == LargeBodies::Wanted {
                let budget = &opened.peer.budget;
                let taken = self.take_file(&mut opened.receiver, budget, bytes, Place::ConsumerNode).await;
                Some(taken.map_err(|error| match error {
                    TakeError::Stream(error) => unreachable(error.to_string()),
                    TakeError::Stalled => unreachable("nothing more of a large body came"),
                    TakeError::Refused(fault) => fault,
                })?)
            } else {
                None
            };
            fetched.push(Fetched { held, file });
        }
        Ok(fetched)
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
    async fn put(&self, sender: &mut Sender, mut pieces: Vec<Bytes>, until: Instant) -> Result<(), Fault> {
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
        let answer = tokio::select! {
            answer = timeout_at(until, receiver.first_frame(&peer.budget)) => answer,
            () = silence(peer, heard) => {
                // A firewall drops what it let through before: the next one dials again, over TCP if need be.
                self.counters.silent.increment(1);
                peer.connection.close(Code::Stalled, "nothing came back");
                return Err("not even a packet came back, so the connection was given up".to_owned());
            }
        };
        match answer {
            Ok(Ok((frame, reserved))) => {
                self.counters.bytes_received.increment(reserved.bytes());
                Ok((frame, reserved))
            }
            Ok(Err(error)) => {
                if let StreamError::Frame(_) = error {
                    self.counters.malformed.increment(1);
                    receiver.stop(Code::Protocol);
                }
                Err(error.to_string())
            }
            Err(_) => {
                receiver.stop(Code::Abandoned);
                Err("no answer came in time".to_owned())
            }
        }
    }
}

fn has_file(held: &HeldEntry) -> bool {
    held.payload.as_ref().is_some_and(|payload| payload.file_bytes > 0)
}

fn refused(peer: &NodeId, exchange: ExchangeId, fault: &wire::Fault) -> Result<LinkAnswer, Fault> {
    match Fault::from_proto(fault) {
        Ok(fault) => Ok(LinkAnswer::Refused(fault.with_exchange(exchange))),
        Err(error) => Err(unknown(peer, exchange, &error.to_string())),
    }
}

/// Ends if nothing came from the peer since so many packets: not even that it has the message.
async fn silence(peer: &Peer, heard: Option<u64>) {
    sleep(SILENCE_MAX).await;
    if heard.is_none() || peer.connection.heard() != heard {
        pending::<()>().await;
    }
}

fn unknown(peer: &NodeId, exchange: ExchangeId, why: &str) -> Fault {
    let what = format!("the message was sent to {peer}, then: {why}");
    Fault::new(FaultCode::ExchangeOutcomeUnknown, Place::ConsumerNode, what).with_exchange(exchange)
}

/// A message is acknowledged within a round trip, so for longer than this nobody is silent who is there.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How often a stream is tried to be opened, the second time on a new connection.
const OPEN_ATTEMPTS: usize = 2;
/// A message beyond this length lets smaller ones go before it.
const BULK_BYTES_MIN: usize = 16 * 1024;
/// For the refusal of a peer that reads no further.
const REFUSAL_WAIT: Duration = Duration::from_secs(2);
/// Entries and small payloads of one exchange, in bytes: more than evidence holds.
const FETCHED_BYTES_MAX: usize = 256 * 1024 * 1024;
