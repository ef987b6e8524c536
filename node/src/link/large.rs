//! Large messages on a stream: `head`, then chunk by chunk, then `end` with the seal and the key. Either way alike.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_ledger::large::body::cipher_bytes;
use peabiru_ledger::large::{LargeFile, SpoolFile};
use peabiru_ledger::payload::Payload;
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::entry::{Body, Entry};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::limits::{CHUNK_BYTES, TAG_BYTES};
use peabiru_proto::wire::{self, LargeHead, SealedMessage, link_frame::Frame};
use tokio::time::timeout;

use super::budget::Budget;
use super::carrier::{Receiver, Sender};
use super::frame::{self, FrameError};
use super::message::Incoming;
use super::peer::Peer;
use super::terms::StreamError;
use super::{Inner, internal};
use crate::exchange::Outflow;
use crate::spool::blocking;

/// What comes after a `head`.
pub(super) enum Taken {
    /// The message, and its body.
    Message(SealedMessage, LargeFile),
    /// A FAULT whose small body stands in the frame: what came before is of no use.
    Fault(SealedMessage),
    /// The other side gave it up.
    Refused(wire::Fault),
}

/// Why a large message did not come to its end.
pub(super) enum TakeError {
    /// The stream.
    Stream(StreamError),
    /// Nothing came for too long.
    Stalled,
    /// It cannot be kept.
    Refused(Fault),
}

/// Why a large message did not go out.
pub(super) enum SendError {
    /// The other side does not take it.
    Stream(StreamError),
    /// It takes nothing for too long.
    Stalled,
    /// It was given up on this side.
    Fault(Fault),
}

impl Inner {
    /// Sends everything but the end of the stream.
    pub(super) async fn send_large(
        &self,
        peer: &Peer,
        sender: &mut Sender,
        outflow: &mut Outflow,
    ) -> Result<(SealedEntry, Arc<Payload>), SendError> {
        sender.mark_bulk();
        let head = LargeHead { entry: outflow.preview.bytes().clone() };
        self.send_piece(sender, vec![frame::encode(Frame::Head(head))]).await?;
        while let Some(chunk) = outflow.chunks.recv().await {
            self.send_piece(sender, frame::encode_chunk(chunk)).await?;
        }
        let sealed = (&mut outflow.sealed).await;
        let (sealed, payload) = sealed
            .unwrap_or_else(|_| Err(internal("a large message came to no end")))
            .map_err(SendError::Fault)?;
        let end = self.end_frame(peer, &sealed, &payload).map_err(SendError::Fault)?;
        self.send_piece(sender, vec![end]).await?;
        Ok((sealed, payload))
    }

    /// Sends the chunks of a file.
    pub(super) async fn send_file(&self, sender: &mut Sender, file: &LargeFile) -> Result<(), SendError> {
        let place = Place::ProviderNode;
        let opened = file.clone();
        let mut reader = blocking(place, move || opened.reader()).await.map_err(SendError::Fault)?;
        loop {
            let read = blocking(place, move || {
                let chunk = reader.next_chunk()?;
                Ok((reader, chunk))
            });
            let (next, chunk) = read.await.map_err(SendError::Fault)?;
            reader = next;
            let Some(chunk) = chunk else { return Ok(()) };
            self.send_piece(sender, frame::encode_chunk(chunk)).await?;
        }
    }

    async fn send_piece(&self, sender: &mut Sender, mut pieces: Vec<Bytes>) -> Result<(), SendError> {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        match timeout(PROGRESS_WAIT, sender.send(&mut pieces)).await {
            Ok(Ok(())) => {
                self.counters.bytes_sent.increment(bytes as u64);
                Ok(())
            }
            Ok(Err(error)) => Err(SendError::Stream(error)),
            Err(_) => {
                self.counters.stalled.increment(1);
                Err(SendError::Stalled)
            }
        }
    }

    fn end_frame(&self, peer: &Peer, sealed: &SealedEntry, payload: &Payload) -> Result<Bytes, Fault> {
        let (payload, named) = self.announce(peer, sealed, payload)?;
        let proof = named.proof.as_ref().unwrap_or(&sealed.seal.proof);
        Ok(frame::encode(Frame::End(SealedMessage {
            entry: sealed.entry.bytes().clone(),
            index: sealed.seal.position.index(),
            tree_size: named.tree_size.entries(),
            inclusion: proof.to_bytes().into(),
            payload_key: Bytes::copy_from_slice(payload.secrets().key()),
            payload_salt: Bytes::copy_from_slice(payload.secrets().salt()),
            chunks: payload.chunks().to_vec(),
        })))
    }

    /// Takes what comes after a `head`, up to the end of the stream. It is kept, and not judged yet.
    pub(super) async fn take_large(
        &self,
        receiver: &mut Receiver,
        budget: &Budget,
        place: Place,
    ) -> Result<Taken, TakeError> {
        let mut file = ChunkFile::new(self, place).await.map_err(TakeError::Refused)?;
        loop {
            let next =
                timeout(PROGRESS_WAIT, receiver.frame(budget)).await.map_err(|_| TakeError::Stalled)?;
            let (frame, reserved) =
                next.map_err(TakeError::Stream)?.ok_or(TakeError::Stream(FrameError::Truncated.into()))?;
            self.counters.bytes_received.increment(reserved.bytes());
            match frame {
                Frame::Chunk(chunk) => file = file.write(chunk).await?,
                Frame::End(message) => {
                    let ended = timeout(PROGRESS_WAIT, receiver.ended()).await;
                    ended.map_err(|_| TakeError::Stalled)?.map_err(TakeError::Stream)?;
                    if is_fault(&message) {
                        return Ok(Taken::Fault(message));
                    }
                    let file = file.keep().await.map_err(TakeError::Refused)?;
                    return Ok(Taken::Message(message, file));
                }
                Frame::Refusal(fault) => return Ok(Taken::Refused(fault)),
                _ => return Err(TakeError::Stream(FrameError::Unexpected("a chunk or the end").into())),
            }
        }
    }

    /// Takes the chunks of a file whose length is known.
    pub(super) async fn take_file(
        &self,
        receiver: &mut Receiver,
        budget: &Budget,
        bytes: u64,
        place: Place,
    ) -> Result<LargeFile, TakeError> {
        let mut file = ChunkFile::new(self, place).await.map_err(TakeError::Refused)?;
        while file.bytes() < bytes {
            let next =
                timeout(PROGRESS_WAIT, receiver.frame(budget)).await.map_err(|_| TakeError::Stalled)?;
            let Some((Frame::Chunk(chunk), _)) = next.map_err(TakeError::Stream)? else {
                return Err(TakeError::Stream(FrameError::Unexpected("a chunk").into()));
            };
            file = file.write(chunk).await?;
        }
        file.keep().await.map_err(TakeError::Refused)
    }

    /// The message that came after a `head`, if it is the one that was announced.
    pub(super) fn read_taken(
        &self,
        preview: &Entry,
        message: SealedMessage,
        file: Option<LargeFile>,
        place: Place,
    ) -> Result<Incoming, Fault> {
        let now = self.clock.now();
        let incoming = match file {
            Some(file) => Incoming::read_large(message, file, now, place)?,
            None => Incoming::read(message, now, place)?,
        };
        if incoming.entry().exchange() != preview.exchange() || incoming.entry().origin() != preview.origin()
        {
            let what = "the message is not the one that was announced";
            return Err(Fault::new(FaultCode::MessageMalformed, place, what));
        }
        Ok(incoming)
    }
}

fn is_fault(message: &SealedMessage) -> bool {
    Entry::decode(message.entry.clone()).is_ok_and(|entry| matches!(entry.body(), Body::Fault(_)))
}

/// Chunks into the spool: every one but the last is whole.
struct ChunkFile {
    file: SpoolFile,
    bytes_max: u64,
    /// A chunk that was not whole came.
    ended: bool,
    place: Place,
}

impl ChunkFile {
    async fn new(inner: &Inner, place: Place) -> Result<Self, Fault> {
        let files = inner.spool.files.clone();
        let file = blocking(place, move || files.spool()).await?;
        Ok(Self { file, bytes_max: cipher_bytes(inner.spool.body_bytes_max), ended: false, place })
    }

    fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    async fn write(mut self, chunk: Bytes) -> Result<Self, TakeError> {
        if self.ended || chunk.len() <= TAG_BYTES || chunk.len() > CHUNK_BYTES + TAG_BYTES {
            return Err(TakeError::Stream(FrameError::Unexpected("a whole chunk, but for the last").into()));
        }
        if self.bytes() + chunk.len() as u64 > self.bytes_max {
            let what = "the body is longer than this node takes";
            return Err(TakeError::Refused(Fault::new(FaultCode::PayloadTooLarge, self.place, what)));
        }
        self.ended = chunk.len() < CHUNK_BYTES + TAG_BYTES;
        let place = self.place;
        let write = move || {
            self.file.write(&chunk)?;
            Ok(self)
        };
        blocking(place, write).await.map_err(TakeError::Refused)
    }

    async fn keep(self) -> Result<LargeFile, Fault> {
        let file = self.file;
        blocking(self.place, move || file.keep()).await
    }
}

/// Longest pause within a large message, either way.
const PROGRESS_WAIT: Duration = Duration::from_secs(35);
