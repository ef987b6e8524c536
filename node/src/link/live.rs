//! Streams on the link: what opens them is a `message`, then each way `batch`es and one `close`.
//!
//! The link's own stream ends with both ways: it is finished once both are closed. One that ends before was given up.

use std::sync::Arc;

use bytes::Bytes;
use peabiru_ledger::payload::Payload;
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::entry::{Body, Entry, EntryKind};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::MAX_FRAME_BYTES;
use peabiru_proto::wire::{SealedMessage, link_frame::Frame};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::budget::Reserved;
use super::carrier::{Receiver, Sender};
use super::frame::{self, Outgoing, Sealed};
use super::message::Incoming;
use super::patience::Patience;
use super::peer::Peer;
use super::terms::{Code, LIVE_STREAMS_MAX, StreamError};
use super::{Inner, unreachable};
use crate::exchange::{Arrived, Departures, FromChunks, Line, Memory, Reply, Wanted};
use crate::flow::ARRIVED_QUEUED;
use crate::live::session::CLOSE_WAIT;

/// To whom goes what comes from the peer.
type Arrivals = mpsc::Sender<Result<Arrived, Fault>>;

impl Inner {
    /// Sends what opens a stream, and carries both ways from then on.
    pub(super) async fn open_live(
        self: &Arc<Self>,
        to: &NodeId,
        opening: &SealedEntry,
        payload: &Payload,
        departures: Departures,
    ) -> Result<Line, Fault> {
        let exchange = opening.entry.exchange();
        let wanted = wanted(&opening.entry);
        let not_accepted = |fault: Fault| fault.with_exchange(exchange);
        let until = Instant::now() + self.waits.connect;
        let mut opened = self.open(to, MAX_FRAME_BYTES, until).await.map_err(not_accepted)?;
        let place = opened.peer.place_for_stream();
        let place = place.ok_or_else(|| not_accepted(too_many(&opened.peer, Place::ConsumerNode)))?;
        let mut pieces = self.sealed_pieces(&opened.peer, opening, payload).map_err(not_accepted)?;
        match timeout_at(until, opened.sender.send(&mut pieces)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(not_accepted(unreachable(error.to_string()))),
            Err(_) => return Err(not_accepted(unreachable(format!("{to} does not take the request")))),
        }
        let (arrivals, line) = mpsc::channel(ARRIVED_QUEUED);
        let inner = Arc::clone(self);
        self.exchanges.spawn(async move {
            let peer = Arc::clone(&opened.peer);
            let ends = (&mut opened.sender, &mut opened.receiver);
            inner.carry(&peer, wanted, ends, departures, arrivals, Place::ConsumerNode).await;
            drop(place);
        });
        Ok(line)
    }

    /// Serves a stream that a peer opens.
    pub(super) async fn answer_live(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        opening: Incoming,
        reserved: Reserved,
        mut sender: Sender,
        mut receiver: Receiver,
    ) {
        let exchange = opening.entry().exchange();
        let Some(_place) = peer.place_for_stream() else {
            receiver.stop(Code::Abandoned);
            return self
                .refuse(&mut sender, &too_many(peer, Place::ProviderNode).with_exchange(exchange))
                .await;
        };
        let until = Instant::now() + self.waits.checkpoint;
        let (arrivals, line) = mpsc::channel(ARRIVED_QUEUED);
        let wanted = wanted(opening.entry());
        let reply = match self.arrive(peer, opening, until, Place::ProviderNode).await {
            Ok(arrived) => {
                let arrived = Arrived { memory: Some(Memory::new(reserved)), ..arrived };
                self.inbound.stream(arrived, line).await
            }
            Err(fault) => Reply::Refusal(fault),
        };
        match reply {
            Reply::Live(departures) => {
                let ends = (&mut sender, &mut receiver);
                self.carry(peer, wanted, ends, departures, arrivals, Place::ProviderNode).await;
            }
            reply => {
                self.send_reply(peer, reply, &mut sender).await;
                receiver.stop(Code::Abandoned);
            }
        }
    }

    /// Both ways at once. If one is given up, the other has a moment to say its last word.
    async fn carry(
        self: &Arc<Self>,
        peer: &Peer,
        opening: Wanted,
        (sender, receiver): (&mut Sender, &mut Receiver),
        departures: Departures,
        arrivals: Arrivals,
        place: Place,
    ) {
        let (closed, theirs) = watch::channel(false);
        let mut outward = Box::pin(self.put_out(peer, sender, departures, theirs, place));
        let mut inward = Box::pin(self.take_in(peer, opening, receiver, arrivals, closed, place));
        tokio::select! {
            () = &mut outward => inward.await,
            () = &mut inward => {
                drop(inward);
                // What is not out by then is of no use to a peer that is gone.
                let _ = timeout(CLOSE_WAIT, outward).await;
            }
        }
    }

    async fn put_out(
        &self,
        peer: &Peer,
        sender: &mut Sender,
        mut departures: Departures,
        mut theirs: watch::Receiver<bool>,
        place: Place,
    ) {
        while let Some(leaving) = departures.recv().await {
            let (sealed, payload) = match leaving.sealed(place).await {
                Ok(sealed) => sealed,
                Err(fault) => {
                    tracing::warn!(peer = %peer.id, code = %fault.code, "an entry of a stream could not be kept");
                    return;
                }
            };
            let (as_frame, last) = match sealed.entry.body() {
                Body::Batch(_) => (Sealed::Batch, None),
                Body::Close(head) => (Sealed::Close, Some(head.outcome)),
                Body::Fault(_) => (Sealed::Message, Some(FAULT)),
                _ => (Sealed::Message, None),
            };
            // How long a peer may take to read is for the session to say.
            if self.put_piece(peer, sender, as_frame, &sealed, &payload).await.is_err() {
                return;
            }
            if let Some(outcome) = last {
                departures.close();
                let both = theirs.wait_for(|closed| *closed).await.is_ok();
                // Who was told why needs no reset that says the same.
                if both || outcome != 0 {
                    sender.finish();
                }
                return;
            }
        }
    }

    async fn put_piece(
        &self,
        peer: &Peer,
        sender: &mut Sender,
        as_frame: Sealed,
        sealed: &SealedEntry,
        payload: &Payload,
    ) -> Result<(), StreamError> {
        let (payload, named) =
            self.announce(peer, sealed, payload).map_err(|fault| StreamError::Lost(fault.message))?;
        let mut pieces = frame::encode_sealed(
            as_frame,
            &Outgoing {
                entry: sealed.entry.bytes(),
                position: sealed.seal.position,
                tree_size: named.tree_size,
                proof: named.proof.as_ref().unwrap_or(&sealed.seal.proof),
                payload,
            },
        );
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        sender.send(&mut pieces).await?;
        self.counters.bytes_sent.increment(bytes as u64);
        Ok(())
    }

    async fn take_in(
        self: &Arc<Self>,
        peer: &Peer,
        opening: Wanted,
        receiver: &mut Receiver,
        arrivals: Arrivals,
        closed: watch::Sender<bool>,
        place: Place,
    ) {
        let mut patience = Patience::endless(self.waits.pace);
        loop {
            let read = tokio::select! {
                read = receiver.frame(&peer.budget, &mut patience) => read,
                () = arrivals.closed() => return receiver.stop(Code::Abandoned),
            };
            let (frame, reserved) = match read {
                Ok(Some(read)) => read,
                Ok(None) => return,
                // The peer keeps what it has. If that takes too long, the session ends for it.
                Err(StreamError::NoMemory) => continue,
                Err(error) => return self.broken(receiver, &arrivals, error, place).await,
            };
            self.counters.bytes_received.increment(reserved.bytes());
            let arrived = match self.read_piece(frame, place) {
                Ok(incoming) => {
                    let until = Instant::now() + self.waits.checkpoint;
                    match self.renewed(peer, incoming, opening, until).await {
                        Ok(incoming) => self.arrive(peer, incoming, until, place).await,
                        Err(fault) => Err(fault),
                    }
                }
                Err(fault) => Err(fault),
            };
            let arrived = arrived.map(|arrived| Arrived { memory: Some(Memory::new(reserved)), ..arrived });
            let last = match &arrived {
                Ok(arrived) => matches!(arrived.entry.kind(), EntryKind::Close | EntryKind::Fault),
                Err(_) => false,
            };
            let failed = arrived.is_err();
            if arrivals.send(arrived).await.is_err() || failed {
                return receiver.stop(Code::Abandoned);
            }
            if last {
                closed.send_replace(true);
            }
        }
    }

    /// A frame of a stream holds an entry of its kind.
    fn read_piece(&self, frame: Frame, place: Place) -> Result<Incoming, Fault> {
        let read = |message: SealedMessage, kinds: &[EntryKind]| {
            let incoming = Incoming::read(message, self.clock.now(), place)?;
            if kinds.contains(&incoming.entry().kind()) { Ok(incoming) } else { Err(malformed(place)) }
        };
        match frame {
            Frame::Batch(message) => read(message, &[EntryKind::Batch]),
            Frame::Close(message) => read(message, &[EntryKind::Close]),
            Frame::Message(message) if place == Place::ConsumerNode => {
                read(message, &[EntryKind::Response, EntryKind::Fault])
            }
            Frame::Refusal(fault) if place == Place::ConsumerNode => {
                Err(Fault::from_proto(&fault).unwrap_or_else(|_| malformed(place)))
            }
            _ => Err(malformed(place)),
        }
    }

    async fn broken(&self, receiver: &mut Receiver, arrivals: &Arrivals, error: StreamError, place: Place) {
        let fault = match error {
            StreamError::Frame(_) => {
                self.counters.malformed.increment(1);
                receiver.stop(Code::Protocol);
                malformed(place)
            }
            StreamError::Stalled => {
                self.counters.stalled.increment(1);
                receiver.stop(Code::Stalled);
                Fault::new(FaultCode::NodeUnreachable, place, error.to_string())
            }
            error => Fault::new(FaultCode::NodeUnreachable, place, error.to_string()),
        };
        let _ = arrivals.send(Err(fault)).await;
    }
}

/// How either side names a stream to the other.
fn wanted(opening: &Entry) -> Wanted {
    let (exchange, request_leaf) = (opening.exchange(), opening.leaf_hash());
    Wanted { exchange, request_leaf, from: FromChunks::default() }
}

/// Nothing of it was accepted. If the peer says so, another node is asked.
fn too_many(peer: &Peer, place: Place) -> Fault {
    let what = format!("{LIVE_STREAMS_MAX} streams go on between this node and {} already", peer.id);
    Fault::new(FaultCode::NodeOverloaded, place, what)
}

fn malformed(place: Place) -> Fault {
    Fault::new(FaultCode::MessageMalformed, place, "a batch or the end of the stream was due")
}

/// Any outcome but OK: a FAULT ends a stream as such a CLOSE does.
const FAULT: u32 = 2;
