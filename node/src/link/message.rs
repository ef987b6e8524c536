//! A sealed message as it arrives: decoded strictly, then held until the checkpoint that seals it is verified.

use peabiru_ledger::checkpoint::SignedCheckpoint;
use peabiru_ledger::large::LargeFile;
use peabiru_ledger::large::body::{cipher_bytes, is_large};
use peabiru_ledger::payload::{PayloadSecrets, SealedPayload};
use peabiru_ledger::position::{LogPosition, TreeSize};
use peabiru_ledger::proof::InclusionProof;
use peabiru_proto::entry::{Body, Entry};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{HeldEntry, SealedMessage};
use tokio::time::{Instant, timeout_at};

use super::Inner;
use super::heads::Known;
use super::peer::Peer;
use crate::exchange::Arrived;

/// A message whose parts are well formed. Nothing is known of its seal.
#[derive(Debug)]
pub struct Incoming {
    entry: Entry,
    position: LogPosition,
    tree_size: TreeSize,
    proof: InclusionProof,
    payload: SealedPayload,
    received_at: Timestamp,
}

impl Incoming {
    /// When its sender says that it was made, and when it came by our clock.
    pub(crate) fn times(&self) -> (Timestamp, Timestamp) {
        (self.entry.common().created_at, self.received_at)
    }

    /// Reads the frame of a message with a small payload.
    ///
    /// # Errors
    /// `message.malformed`.
    pub fn read(message: SealedMessage, received_at: Timestamp, place: Place) -> Result<Self, Fault> {
        let incoming = Self::parse(message, received_at, place)?;
        match incoming.entry.body().content() {
            Some((_, body_bytes)) if is_large(body_bytes) => {
                let what = "a body that does not fit a message comes with a head";
                Err(Fault::new(FaultCode::MessageMalformed, place, what))
            }
            _ => Ok(incoming),
        }
    }

    fn parse(message: SealedMessage, received_at: Timestamp, place: Place) -> Result<Self, Fault> {
        let malformed =
            |what: &dyn std::fmt::Display| Fault::new(FaultCode::MessageMalformed, place, what.to_string());
        let entry =
            Entry::decode(message.entry).map_err(|error| malformed(&format_args!("entry: {error}")))?;
        let proof = InclusionProof::from_bytes(&message.inclusion).map_err(|error| malformed(&error))?;
        let secrets = PayloadSecrets::from_slices(&message.payload_key, &message.payload_salt)
            .map_err(|error| malformed(&error))?;
        if message.index >= message.tree_size {
            return Err(malformed(&"the entry's index lies beyond the tree"));
        }
        Ok(Self {
            entry,
            position: LogPosition::new(message.index),
            tree_size: TreeSize::new(message.tree_size),
            proof,
            payload: SealedPayload::from_parts(secrets, message.chunks),
            received_at,
        })
    }

    /// Reads the frame of a message whose large body came before it.
    ///
    /// # Errors
    /// `message.malformed`.
    pub fn read_large(
        message: SealedMessage,
        file: LargeFile,
        received_at: Timestamp,
        place: Place,
    ) -> Result<Self, Fault> {
        let incoming = Self::parse(message, received_at, place)?;
        let [context] = incoming.payload.chunks() else {
            let what = "a message with a large body has chunk 0 alone";
            return Err(Fault::new(FaultCode::MessageMalformed, place, what));
        };
        let length = incoming.entry.body().content().map(|(_, body_bytes)| cipher_bytes(body_bytes));
        if length != Some(file.bytes()) {
            let what = "its body is not as long as it says";
            return Err(Fault::new(FaultCode::MessageMalformed, place, what));
        }
        let payload = SealedPayload::large(incoming.payload.secrets().clone(), context.clone(), file);
        Ok(Self { payload, ..incoming })
    }

    /// Reads an entry that was fetched, with the payload that was fetched beside it.
    ///
    /// # Errors
    /// `message.malformed`.
    pub fn fetched(
        held: HeldEntry,
        file: Option<LargeFile>,
        received_at: Timestamp,
        place: Place,
    ) -> Result<Self, Fault> {
        let malformed = |what: String| Fault::new(FaultCode::MessageMalformed, place, what);
        let checkpoint =
            SignedCheckpoint::parse(&held.checkpoint).map_err(|error| malformed(error.to_string()))?;
        let payload = held.payload.ok_or_else(|| malformed("an entry without its payload".to_owned()))?;
        let message = SealedMessage {
            entry: held.entry,
            index: held.index,
            tree_size: checkpoint.size().entries(),
            inclusion: held.inclusion,
            payload_key: payload.key,
            payload_salt: payload.salt,
            chunks: payload.chunks,
        };
        match file {
            Some(file) => Self::read_large(message, file, received_at, place),
            None => Self::read(message, received_at, place),
        }
    }

    /// Its entry, as it came.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Whether more comes after it.
    #[must_use]
    pub fn opens_stream(&self) -> bool {
        matches!(self.entry.body(), Body::Request(request) if request.content.is_stream())
    }

    /// The same message with the seal that was fetched for its entry; none if that is of another one.
    pub(super) fn resealed(self, held: &HeldEntry) -> Option<Self> {
        let checkpoint = SignedCheckpoint::parse(&held.checkpoint).ok()?;
        let proof = InclusionProof::from_bytes(&held.inclusion).ok()?;
        let (position, tree_size) = (LogPosition::new(held.index), checkpoint.size());
        (held.entry == *self.entry.bytes()).then_some(Self { position, tree_size, proof, ..self })
    }

    /// Of the checkpoint that it names.
    pub(super) fn tree_size(&self) -> TreeSize {
        self.tree_size
    }

    fn sealed_by(self, checkpoint: SignedCheckpoint, peer: &Peer) -> Arrived {
        Arrived {
            peer: peer.id.clone(),
            opened: None,
            memory: None,
            entry: self.entry,
            position: self.position,
            proof: self.proof,
            checkpoint,
            payload: self.payload,
            received_at: self.received_at,
        }
    }
}

impl Inner {
    /// Waits for the message's checkpoint; what arrives is the guard's to judge.
    pub(crate) async fn arrive(
        &self,
        peer: &Peer,
        message: Incoming,
        until: Instant,
        place: Place,
    ) -> Result<Arrived, Fault> {
        let exchange = message.entry.exchange();
        let refuse = |code, what: String| Fault::new(code, place, what).with_exchange(exchange);
        let origin = message.entry.origin();
        let no_conf =
            || refuse(FaultCode::NodeNoGlobalconf, "this node has no global configuration yet".to_owned());
        let conf = (self.conf)().ok_or_else(no_conf)?;
        let keys = self.keys.of(&conf, origin, &peer.id, self.clock.now());
        let keys =
            keys.map_err(|error| refuse(FaultCode::SealUnknownLedger, format!("{origin}: {error}")))?;
        let until = until.min(Instant::now() + self.waits.checkpoint);
        loop {
            // Made before looking: a checkpoint that comes between looking and waiting is not missed.
            let mut arrived = std::pin::pin!(peer.arrived.notified());
            arrived.as_mut().enable();
            match self.heads.verified(origin, message.tree_size, &keys) {
                Known::Verified(checkpoint) => return Ok(message.sealed_by(checkpoint, peer)),
                Known::Refused => {
                    return Err(refuse(FaultCode::LedgerForked, format!("{origin} contradicted itself")));
                }
                Known::Forgotten => {
                    let size = message.tree_size;
                    let what =
                        format!("the checkpoint of {origin} at {size} was followed by too many newer ones");
                    return Err(refuse(FaultCode::SealCheckpointMissing, what));
                }
                Known::NotYet => {}
            }
            if timeout_at(until, arrived).await.is_err() {
                let what = format!("the checkpoint of {origin} at {} did not come", message.tree_size);
                return Err(refuse(FaultCode::SealCheckpointMissing, what));
            }
        }
    }
}
