//! Large messages on a stream: `head`, then chunk by chunk, then `end` with the seal and the key. Either way alike.

use std::sync::Arc;

use bytes::Bytes;
use peabiru_ledger::large::body::cipher_bytes;
use peabiru_ledger::large::{LargeFile, SpoolFile};
use peabiru_ledger::payload::Payload;
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::entry::{Body, Entry};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::limits::{CHUNK_BYTES, TAG_BYTES};
use peabiru_proto::wire::{self, LargeHead, SealedMessage, link_frame::Frame};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

use super::budget::Reserved;
use super::carrier::{Receiver, Sender};
use super::frame::{self, FrameError};
use super::message::Incoming;
use super::patience::Patience;
use super::peer::Peer;
use super::preview::Preview;
use super::terms::StreamError;
use super::{Inner, internal};
use crate::exchange::Outflow;
use crate::spool::{Holder, blocking};

/// What comes after a `head`.
pub(super) enum Taken {
    /// The message that was announced, or a FAULT in its place. Its body can be read, and is not durable yet.
    Message(Box<Incoming>, Reserved),
    /// The other side gave it up.
    Refused(wire::Fault),
}

/// Why a large message did not come to its end.
pub(super) enum TakeError {
    /// The stream.
    Stream(StreamError),
    /// It cannot be kept.
    Unkept(Fault),
    /// It is not what was announced.
    Other(Fault),
}

/// Why a large message did not go out.
pub(super) enum SendError {
    /// The other side does not take it.
    Stream(StreamError),
    /// It was given up on this side.
    Fault(Fault),
}

impl From<StreamError> for TakeError {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl Inner {
    /// Sends everything but the end of the stream.
    pub(super) async fn send_large(
        &self,
        peer: &Peer,
        sender: &mut Sender,
        outflow: &mut Outflow,
    ) -> Result<(SealedEntry, Arc<Payload>), SendError> {
        let place = match outflow.preview.body() {
            Body::Request(_) => Place::ConsumerNode,
            _ => Place::ProviderNode,
        };
        let _turn = self.turn(&peer.large_out, place).await.map_err(SendError::Fault)?;
        let mut pace = Patience::paced(&self.waits);
        sender.mark_bulk();
        let head = LargeHead { entry: outflow.preview.bytes().clone() };
        self.send_piece(sender, &mut pace, vec![frame::encode(Frame::Head(head))]).await?;
        let mut note_at = Instant::now() + self.waits.still_coming;
        loop {
            let chunk = match timeout_at(note_at, outflow.chunks.recv()).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(_) => self.note(&mut note_at),
            };
            self.send_piece(sender, &mut pace, frame::encode_chunk(chunk)).await?;
        }
        let sealed = loop {
            match timeout_at(note_at, &mut outflow.sealed).await {
                Ok(sealed) => break sealed,
                Err(_) => {
                    let note = self.note(&mut note_at);
                    self.send_piece(sender, &mut pace, frame::encode_chunk(note)).await?;
                }
            }
        };
        let (sealed, payload) = sealed
            .unwrap_or_else(|_| Err(internal("a large message came to no end")))
            .map_err(SendError::Fault)?;
        let end = self.end_frame(peer, &sealed, &payload).map_err(SendError::Fault)?;
        self.send_piece(sender, &mut pace, vec![end]).await?;
        Ok((sealed, payload))
    }

    /// The chunk that says that more is coming, and when the next one is due.
    fn note(&self, note_at: &mut Instant) -> Bytes {
        *note_at = Instant::now() + self.waits.still_coming;
        Bytes::new()
    }

    /// Sends the chunks of a file but for the first so many.
    pub(super) async fn send_file(
        &self,
        peer: &Peer,
        sender: &mut Sender,
        file: &LargeFile,
        skipped_chunks: u64,
    ) -> Result<(), SendError> {
        let place = Place::ProviderNode;
        let _turn = self.turn(&peer.large_out, place).await.map_err(SendError::Fault)?;
        let mut pace = Patience::paced(&self.waits);
        let opened = file.clone();
        let opening = blocking(place, move || opened.reader_after(skipped_chunks));
        let mut reader = opening.await.map_err(SendError::Fault)?;
        loop {
            let read = blocking(place, move || {
                let chunk = reader.next_chunk()?;
                Ok((reader, chunk))
            });
            let (next, chunk) = read.await.map_err(SendError::Fault)?;
            reader = next;
            let Some(chunk) = chunk else { return Ok(()) };
            self.send_piece(sender, &mut pace, frame::encode_chunk(chunk)).await?;
        }
    }

    /// Waits for one of the turns of a connection.
    async fn turn<'a>(&self, turns: &'a Semaphore, place: Place) -> Result<SemaphorePermit<'a>, Fault> {
        match timeout(self.waits.turn, turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            // Nobody closes them.
            Ok(Err(_)) | Err(_) => {
                let what = "too many large messages are under way between these two nodes";
                Err(Fault::new(FaultCode::NodeOverloaded, place, what))
            }
        }
    }

    async fn send_piece(
        &self,
        sender: &mut Sender,
        pace: &mut Patience,
        mut pieces: Vec<Bytes>,
    ) -> Result<(), SendError> {
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        match pace.wait(sender.send(&mut pieces)).await {
            Ok(()) => {
                pace.moved(bytes);
                self.counters.bytes_sent.increment(bytes);
                Ok(())
            }
            Err(error) => {
                if let StreamError::Stalled = error {
                    self.counters.stalled.increment(1);
                }
                Err(SendError::Stream(error))
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

    /// Takes what comes after a `head`, up to the end of the stream: if it is what was announced, it can be judged.
    pub(super) async fn take_large(
        &self,
        peer: &Peer,
        receiver: &mut Receiver,
        preview: &Preview,
        place: Place,
    ) -> Result<Taken, TakeError> {
        let _turn = self.turn(&peer.large_in, place).await.map_err(TakeError::Unkept)?;
        let mut patience = Patience::paced(&self.waits);
        let file = ChunkFile::new(self, peer, preview.declared_bytes(), place).await;
        let mut file = file.map_err(TakeError::Unkept)?;
        loop {
            let next = receiver.frame(&peer.budget, &mut patience).await?;
            let (frame, reserved) = next.ok_or(StreamError::from(FrameError::Truncated))?;
            self.counters.bytes_received.increment(reserved.bytes());
            match frame {
                Frame::Chunk(chunk) if chunk.is_empty() => patience.explained(),
                Frame::Chunk(chunk) => file = file.write(chunk).await?,
                Frame::End(message) => {
                    receiver.ended(&mut patience).await?;
                    let incoming = self.read_end(preview, message, file, place).map_err(TakeError::Other)?;
                    return Ok(Taken::Message(Box::new(incoming), reserved));
                }
                Frame::Refusal(fault) => return Ok(Taken::Refused(fault)),
                _ => return Err(StreamError::from(FrameError::Unexpected("a chunk or the end")).into()),
            }
        }
    }

    /// The message at the end: nothing of its body was decrypted, and nothing synced, before it is what was announced.
    fn read_end(
        &self,
        preview: &Preview,
        message: SealedMessage,
        file: ChunkFile,
        place: Place,
    ) -> Result<Incoming, Fault> {
        let malformed = |what: String| Fault::new(FaultCode::MessageMalformed, place, what);
        let entry = Entry::decode(message.entry.clone());
        let entry = entry.map_err(|error| malformed(format!("entry: {error}")))?;
        preview.check(&entry, file.bytes()).map_err(|what| malformed(what.to_owned()))?;
        let now = self.clock.now();
        match entry.body() {
            Body::Fault(_) => Incoming::read(message, now, place),
            _ => Incoming::read_large(message, file.close()?, now, place),
        }
    }

    /// Takes the chunks of a file, up to this length.
    ///
    /// # Errors
    /// That it cannot be kept. If the stream breaks off, the file is given back to go on with.
    pub(super) async fn take_chunks(
        &self,
        peer: &Peer,
        receiver: &mut Receiver,
        mut file: ChunkFile,
        bytes: u64,
    ) -> Result<(ChunkFile, Option<StreamError>), Fault> {
        let _turn = self.turn(&peer.large_in, file.place).await?;
        let mut patience = Patience::paced(&self.waits);
        while file.bytes() < bytes {
            let chunk = match receiver.frame(&peer.budget, &mut patience).await {
                Ok(Some((Frame::Chunk(chunk), _))) if chunk.is_empty() => {
                    patience.explained();
                    continue;
                }
                Ok(Some((Frame::Chunk(chunk), _))) => chunk,
                Ok(Some(_)) => return Ok((file, Some(FrameError::Unexpected("a chunk").into()))),
                Ok(None) => return Ok((file, Some(FrameError::Truncated.into()))),
                Err(error) => return Ok((file, Some(error))),
            };
            self.counters.bytes_received.increment(chunk.len() as u64);
            file = match file.write(chunk).await {
                Ok(file) => file,
                Err(TakeError::Unkept(fault) | TakeError::Other(fault)) => return Err(fault),
                Err(TakeError::Stream(error)) => return Err(super::unreachable(error.to_string())),
            };
        }
        Ok((file, None))
    }
}

/// Chunks into the spool: every one but the last is whole.
pub(super) struct ChunkFile {
    file: SpoolFile,
    bytes_max: u64,
    /// A chunk that was not whole came.
    ended: bool,
    place: Place,
}

impl ChunkFile {
    pub(super) async fn new(
        inner: &Inner,
        peer: &Peer,
        declared_bytes: Option<u64>,
        place: Place,
    ) -> Result<Self, Fault> {
        let bytes_max = cipher_bytes(inner.spool.body_bytes_max());
        if declared_bytes.is_some_and(|declared| declared > bytes_max) {
            return Err(too_long(place));
        }
        let files = inner.spool.files.clone();
        let share = inner.spool.share(&Holder::Peer(peer.id.clone()));
        let file = blocking(place, move || files.spool(&share, declared_bytes)).await?;
        Ok(Self { file, bytes_max: declared_bytes.unwrap_or(bytes_max), ended: false, place })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    async fn write(mut self, chunk: Bytes) -> Result<Self, TakeError> {
        if self.ended || chunk.len() <= TAG_BYTES || chunk.len() > CHUNK_BYTES + TAG_BYTES {
            let what = FrameError::Unexpected("a whole chunk, but for the last");
            return Err(StreamError::from(what).into());
        }
        if self.bytes() + chunk.len() as u64 > self.bytes_max {
            return Err(TakeError::Unkept(too_long(self.place)));
        }
        self.ended = chunk.len() < CHUNK_BYTES + TAG_BYTES;
        let place = self.place;
        let write = move || {
            self.file.write(&chunk)?;
            Ok(self)
        };
        blocking(place, write).await.map_err(TakeError::Unkept)
    }

    pub(super) fn close(self) -> Result<LargeFile, Fault> {
        let place = self.place;
        self.file.close().map_err(|error| crate::core::ledger_fault(&error, place))
    }
}

fn too_long(place: Place) -> Fault {
    Fault::new(FaultCode::PayloadTooLarge, place, "the body is longer than this node takes")
}
