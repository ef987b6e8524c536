//! Streams that a peer opens: a message or a fetch comes in, its answer goes out.

use std::sync::Arc;

use bytes::Bytes;
use peabiru_ledger::payload::{Payload, SealedPayload};
use peabiru_ledger::seal::{Seal, SealedEntry};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::wire::{LargeHead, SealedMessage, link_frame::Frame};
use tokio::time::{Instant, timeout};

use super::budget::Reserved;
use super::carrier::{Receiver, Sender};
use super::control::Named;
use super::counters::Counters;
use super::frame::{self, Outgoing};
use super::large::{SendError, TakeError, Taken};
use super::message::Incoming;
use super::patience::Patience;
use super::peer::Peer;
use super::preview::Preview;
use super::terms::{Code, StreamError};
use super::{Inner, internal};
use crate::exchange::{Held, Reply};

impl Inner {
    /// Serves one stream from its first byte to its last, each wait bounded.
    pub(crate) async fn answer_stream(
        self: Arc<Self>,
        peer: Arc<Peer>,
        mut sender: Sender,
        mut receiver: Receiver,
    ) {
        let mut patience = Patience::once(self.waits.read);
        let (asked, reserved) = match receiver.first_frame(&peer.budget, &mut patience).await {
            Ok(read) => read,
            Err(error) => return self.unread(&peer, &mut sender, &mut receiver, error).await,
        };
        self.counters.bytes_received.increment(reserved.bytes());
        match asked {
            Frame::Message(message) => {
                let message = (message, reserved, patience);
                return self.answer_message(&peer, message, sender, receiver).await;
            }
            Frame::Head(head) => self.answer_large(&peer, head, &mut sender, &mut receiver).await,
            Frame::Fetch(request) => {
                // A few bytes; what is fetched takes more.
                drop(reserved);
                return self.answer_fetch(&peer, &request, &mut sender).await;
            }
            question @ (Frame::GetSnapshot(_) | Frame::GetPart(_)) => {
                drop(reserved);
                return self.answer_conf(&peer, &question, &mut sender).await;
            }
            _ => self.refuse(&mut sender, &malformed(&"a message or a fetch was due")).await,
        }
        drop(reserved);
    }

    async fn unread(&self, peer: &Peer, sender: &mut Sender, receiver: &mut Receiver, error: StreamError) {
        match error {
            StreamError::Frame(error) => {
                self.counters.malformed.increment(1);
                receiver.stop(Code::Protocol);
                self.refuse(sender, &malformed(&error)).await;
            }
            StreamError::Stalled => {
                self.counters.stalled.increment(1);
                tracing::warn!(peer = %peer.id, "a message did not come to its end in time");
                receiver.stop(Code::Stalled);
            }
            StreamError::NoMemory => {
                receiver.stop(Code::Abandoned);
                self.refuse(sender, &overloaded()).await;
            }
            StreamError::Lost(_) => {}
        }
    }

    /// A large message: judged by what its head announces, then kept, then judged again whole.
    async fn answer_large(&self, peer: &Peer, head: LargeHead, sender: &mut Sender, receiver: &mut Receiver) {
        let place = Place::ProviderNode;
        let admitted = match Preview::read(head) {
            _ if self.is_draining() => Err(draining()),
            Ok(preview) => self.inbound.admit(&peer.id, preview.entry()).map(|()| preview),
            Err(error) => Err(malformed(&error)),
        };
        let preview = match admitted {
            Ok(preview) => preview,
            Err(fault) => {
                self.refuse(sender, &fault).await;
                return receiver.stop(Code::Abandoned);
            }
        };
        let refused = match self.take_large(peer, receiver, &preview, place).await {
            Ok(Taken::Message(incoming, reserved)) => {
                let reply = self.reply_to(peer, *incoming).await;
                drop(reserved);
                return self.send_reply(peer, reply, sender).await;
            }
            Ok(Taken::Refused(_)) => malformed(&"a request was due"),
            Err(TakeError::Stream(error)) => return self.unread(peer, sender, receiver, error).await,
            Err(TakeError::Unkept(fault) | TakeError::Other(fault)) => fault,
        };
        self.refuse(sender, &refused.with_exchange(preview.entry().exchange())).await;
        receiver.stop(Code::Abandoned);
    }

    async fn answer_message(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        (message, reserved, mut patience): (SealedMessage, Reserved, Patience),
        mut sender: Sender,
        mut receiver: Receiver,
    ) {
        let incoming = match Incoming::read(message, self.clock.now(), Place::ProviderNode) {
            _ if self.is_draining() => Err(draining()),
            incoming => incoming,
        };
        let incoming = match incoming {
            Ok(incoming) => incoming,
            Err(fault) => {
                receiver.stop(Code::Abandoned);
                return self.refuse(&mut sender, &fault).await;
            }
        };
        if incoming.opens_stream() {
            return self.answer_live(peer, incoming, reserved, sender, receiver).await;
        }
        if let Err(error) = receiver.ended(&mut patience).await {
            return self.unread(peer, &mut sender, &mut receiver, error).await;
        }
        let reply = self.reply_to(peer, incoming).await;
        self.send_reply(peer, reply, &mut sender).await;
    }

    pub(super) async fn send_reply(&self, peer: &Peer, reply: Reply, sender: &mut Sender) {
        match reply {
            Reply::Sealed { entry, payload } => match self.sealed_pieces(peer, &entry, &payload) {
                Ok(pieces) => self.send(sender, pieces).await,
                Err(fault) => {
                    let exchange = entry.entry.exchange();
                    self.refuse(sender, &answered_and_unsent(&fault).with_exchange(exchange)).await;
                }
            },
            Reply::Large(mut outflow) => match self.send_large(peer, sender, &mut outflow).await {
                Ok(_) => sender.finish(),
                Err(SendError::Fault(fault)) => {
                    let exchange = outflow.preview.exchange();
                    self.refuse(sender, &answered_and_unsent(&fault).with_exchange(exchange)).await;
                }
                // The peer is gone, gave the answer up, or does not read it: it can fetch it later.
                Err(SendError::Stream(_)) => {}
            },
            Reply::Live(_) => {
                self.refuse(sender, &internal("a whole request is not answered by a stream")).await;
            }
            Reply::Refusal(fault) => self.refuse(sender, &fault).await,
        }
    }

    async fn reply_to(&self, peer: &Peer, incoming: Incoming) -> Reply {
        peer.note_clock(incoming.times());
        let until = Instant::now() + self.waits.checkpoint;
        match self.arrive(peer, incoming, until, Place::ProviderNode).await {
            Ok(arrived) => self.inbound.message(arrived).await,
            Err(fault) => Reply::Refusal(fault),
        }
    }

    /// Our own entry under our newest head, which is on its way to the peer. What another node sealed stays as it came.
    pub(super) fn announced(&self, peer: &Peer, mut held: Held) -> Held {
        let Some(ledger) = self.ledgers.get(held.sealed.entry.origin()) else { return held };
        let position = held.sealed.seal.position;
        // Peers take heads of the key in force alone.
        let newest = || {
            let checkpoint = ledger.head()?;
            let proof = ledger.inclusion(position, checkpoint.size()).ok()?;
            Some(Seal { checkpoint, position, proof })
        };
        held.sealed.seal = newest().unwrap_or(held.sealed.seal);
        for _ in 0..RESEAL_ATTEMPTS {
            match peer.announcer.announce(ledger, &held.sealed.seal) {
                // The peer was told of a newer head meanwhile.
                Ok(named) if named.proof.is_some() => {}
                // Without the announcement the peer can still keep it as evidence.
                Ok(_) | Err(_) => break,
            }
            let Some(seal) = newest() else { break };
            held.sealed.seal = seal;
        }
        held
    }

    /// The frame of a sealed message, once its checkpoint is on its way to the peer.
    pub(crate) fn sealed_pieces(
        &self,
        peer: &Peer,
        sealed: &SealedEntry,
        payload: &Payload,
    ) -> Result<Vec<Bytes>, Fault> {
        let (payload, named) = self.announce(peer, sealed, payload)?;
        Ok(frame::encode_message(&Outgoing {
            entry: sealed.entry.bytes(),
            position: sealed.seal.position,
            tree_size: named.tree_size,
            proof: named.proof.as_ref().unwrap_or(&sealed.seal.proof),
            payload,
        }))
    }

    /// Sets the checkpoint of a sealed message on its way; gives what else the message needs.
    pub(super) fn announce<'a>(
        &self,
        peer: &Peer,
        sealed: &SealedEntry,
        payload: &'a Payload,
    ) -> Result<(&'a SealedPayload, Named), Fault> {
        let Payload::Sealed(payload) = payload else {
            return Err(internal("a payload in clear does not leave the node"));
        };
        let ledger = self.ledgers.get(sealed.entry.origin());
        let ledger = ledger.ok_or_else(|| internal("an entry of a ledger that is not of this node"))?;
        let named =
            peer.announcer.announce(ledger, &sealed.seal).map_err(|error| internal(&error.to_string()))?;
        Ok((payload, named))
    }

    pub(super) async fn refuse(&self, sender: &mut Sender, fault: &Fault) {
        Counters::refused(fault);
        self.send(sender, vec![frame::encode(Frame::Refusal(fault.to_proto()))]).await;
    }

    /// Writes the answer. A peer that does not read it loses it: it can fetch it later.
    pub(super) async fn send(&self, sender: &mut Sender, mut pieces: Vec<Bytes>) {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        match timeout(self.waits.write, sender.send(&mut pieces)).await {
            Ok(Ok(())) => {
                sender.finish();
                self.counters.bytes_sent.increment(bytes as u64);
            }
            // The peer is gone, or gave the answer up.
            Ok(Err(_)) => {}
            Err(_) => self.counters.stalled.increment(1),
        }
    }
}

pub(super) fn malformed(what: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultCode::MessageMalformed, Place::ProviderNode, what.to_string())
}

pub(super) fn overloaded() -> Fault {
    Fault::new(FaultCode::NodeOverloaded, Place::ProviderNode, "this node has no memory left for it")
}

/// There is an answer, so the service was asked, and the answer does not go out. Any other fault would say that nothing
/// was done, and another node would be asked for the same.
fn answered_and_unsent(fault: &Fault) -> Fault {
    let message = format!("the answer cannot be sent: {}", fault.message);
    Fault::new(FaultCode::ExchangeOutcomeUnknown, Place::ProviderNode, message)
}

fn draining() -> Fault {
    Fault::new(FaultCode::NodeDraining, Place::ProviderNode, "this node is stopping")
}

/// How often an entry is put under a newer head because another one was announced meanwhile.
const RESEAL_ATTEMPTS: usize = 3;

#[cfg(test)]
mod tests {
    use peabiru_proto::entry::SideEffects;

    use super::*;
    use crate::router::may_ask_another;

    #[test]
    fn nobody_else_is_asked_for_a_write_whose_answer_found_no_turn() {
        let no_turn = overloaded();
        assert!(may_ask_another(&no_turn, SideEffects::Present), "before the service was asked");
        let unsent = answered_and_unsent(&no_turn);
        assert!(!may_ask_another(&unsent, SideEffects::Present), "{unsent}");
        assert!(may_ask_another(&unsent, SideEffects::None), "a read does no harm twice");
    }
}
