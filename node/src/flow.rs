//! Large bodies and streams between the stages of an exchange: channels of a bounded length, so that a slow reader slows the writer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_ledger::ledger::Appending;
use peabiru_ledger::payload::Payload;
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::entry::{Entry, ExchangeId};
use peabiru_proto::fault::{Fault, GRPC_DETAILS, GrpcStatus, Place};
use peabiru_proto::wire::{Context, ContextField};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::core::{internal, ledger_fault};
use crate::exchange::{AnswerEnd, Arrived, Held};

/// A large body while it comes, a bounded number of pieces ahead. It is whole only with its `End`.
pub type Pieces<E> = mpsc::Receiver<Result<Piece<E>, Fault>>;

/// Of a large body.
#[derive(Debug)]
pub enum Piece<E> {
    /// The next bytes.
    Data(Bytes),
    /// All bytes came, and what is known only then.
    End(E),
}

/// A message with a large body on its way out: its chunks go while the body still comes, its seal and the key after
/// them.
#[derive(Debug)]
pub struct Outflow {
    /// What the message will be, but for its content.
    pub preview: Entry,
    /// Ciphertext of its body's chunks, a bounded number ahead.
    pub chunks: mpsc::Receiver<Bytes>,
    /// Then the message itself, or why there is none.
    pub sealed: oneshot::Receiver<Result<(SealedEntry, Arc<Payload>), Fault>>,
}

/// Pieces, or chunks, of a large body that wait for the next stage.
pub(crate) const PIECES_QUEUED: usize = 8;

/// An entry of a stream on its way into the ledger, and then to the peer.
#[derive(Debug)]
pub struct Leaving {
    /// Ends with the entry.
    pub appending: Appending,
    /// Of the entry.
    pub payload: Arc<Payload>,
    /// If it is ahead of another of its stream: its part of `BATCHES_AHEAD_MAX`.
    pub ahead: Option<OwnedSemaphorePermit>,
}

/// Memory that a message takes of the node's budget; given back when dropped.
pub struct Memory {
    _reserved: Box<dyn Send + Sync>,
}

impl Memory {
    /// What gives it back.
    pub fn new(reserved: impl Send + Sync + 'static) -> Self {
        Self { _reserved: Box::new(reserved) }
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}

/// The entries of one direction of a stream as they are made, in order. It ends after the CLOSE; before, the stream is given
/// up.
pub type Departures = mpsc::Receiver<Leaving>;

/// The entries of one direction of a stream as they come from the peer, a bounded number ahead. It ends with the stream;
/// dropped before, it gives the stream up.
pub type Line = mpsc::Receiver<Result<Arrived, Fault>>;

/// What is found for a counterparty, as it is read. A fault: there may be more, and it cannot be read.
pub type Found = mpsc::Receiver<Result<Held, Fault>>;

/// What a service gives to a call whose messages go one by one.
#[derive(Debug)]
pub struct LiveServed {
    /// Metadata, before the first message.
    pub context: Context,
    /// The messages, and how it ended.
    pub pieces: Pieces<AnswerEnd>,
}

/// The end of a call whose messages go one by one, or rather its beginning.
#[derive(Debug)]
pub struct Streamed {
    /// Names the sealed exchange; absent if the call was refused before one existed.
    pub exchange: Option<ExchangeId>,
    /// Metadata and messages, or why there are none.
    pub result: Result<LiveServed, Fault>,
}

impl Leaving {
    /// Waits until it is durable and sealed.
    ///
    /// # Errors
    /// Why the ledger does not take it.
    pub async fn sealed(self, place: Place) -> Result<(SealedEntry, Arc<Payload>), Fault> {
        let sealed = self.appending.sealed().await.map_err(|error| ledger_fault(&error, place))?;
        let last = sealed.into_iter().next_back();
        Ok((last.ok_or_else(|| internal("the ledger answered without an entry"))?, self.payload))
    }
}

impl AnswerEnd {
    /// What a caller is told of a fault that ends a stream: its gRPC status, with the fault in the details.
    #[must_use]
    pub fn of_fault(fault: &Fault) -> Self {
        let GrpcStatus { code, message, details } = fault.to_grpc();
        let details = ContextField { name: GRPC_DETAILS.to_owned(), value: details };
        let context = Context { trailers: vec![details], status_text: message, ..Context::default() };
        Self { outcome: code, context }
    }

    /// The fault that a node ended a stream with, if this version knows it.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let details = self.context.trailers.iter().find(|field| field.name == GRPC_DETAILS)?;
        Fault::from_grpc_details(&details.value)
    }

    /// All was said.
    #[must_use]
    pub fn complete() -> Self {
        Self { outcome: 0, context: Context::default() }
    }
}

/// For a large message from its head to its end.
pub(crate) const LARGE_WAIT: Duration = Duration::from_secs(3600);
/// Batches of all streams that may be on their way together beside one of each: 16 MiB.
pub(crate) const BATCHES_AHEAD_MAX: usize = 256;
/// Batches of one direction that are on their way into the ledger and to the peer.
pub(crate) const BATCHES_IN_FLIGHT: usize = 4;
/// Entries, or opened batches, that wait for the next stage.
pub(crate) const ARRIVED_QUEUED: usize = 1;
