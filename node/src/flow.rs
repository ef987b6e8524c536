//! Large bodies between the stages of an exchange: channels of a bounded length, so that a slow reader slows the writer.

use std::sync::Arc;

use bytes::Bytes;
use peabiru_ledger::payload::Payload;
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::entry::Entry;
use peabiru_proto::fault::Fault;
use tokio::sync::{mpsc, oneshot};

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
