//! Evidence between counterparties: the entries of an exchange page by page, or the chunks of the one large body that is wanted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_ledger::large::LargeFile;
use peabiru_ledger::large::body::{cipher_bytes, is_large};
use peabiru_proto::entry::{Entry, ExchangeId};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::{CHUNK_BYTES, MAX_FETCH_ENTRIES, TAG_BYTES};
use peabiru_proto::wire::{FetchRequest, FetchResponse, HeldEntry, link_frame::Frame};
use tokio::time::{Instant, timeout};

use super::answer::malformed;
use super::ask::Opened;
use super::budget::{RESERVE_WAIT, Reserved};
use super::carrier::Sender;
use super::frame::{self, MAX_FETCH_FRAME_BYTES};
use super::heads::Known;
use super::large::ChunkFile;
use super::message::Incoming;
use super::patience::Patience;
use super::peer::Peer;
use super::terms::{Code, StreamError};
use super::{Inner, unreachable};
use crate::exchange::{Found, FromChunks, Held, Wanted};

/// What a counterparty gave.
#[derive(Debug)]
pub struct Fetched {
    /// Entries with their payloads, but for large bodies.
    pub entries: Vec<HeldEntry>,
    /// The memory that the first page takes: all there is, but for a stream.
    _reserved: Reserved,
}

/// The body that is wanted, from the chunk that is wanted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WantedBody {
    leaf: LeafHash,
    /// Chunks before that one.
    skipped_chunks: u64,
}

impl Inner {
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        from: &NodeId,
        wanted: Wanted,
        until: Instant,
    ) -> Result<Fetched, Fault> {
        let (mut opened, mut fetched) = self.ask_fetch(from, wanted, None, until).await?;
        let mut bytes: usize = fetched.entries.iter().map(kept_bytes).sum();
        // A stream of which more was sent is longer than evidence holds.
        while bytes <= FETCHED_BYTES_MAX {
            let Some((entries, _)) = self.page(&mut opened, until).await? else { return Ok(fetched) };
            bytes += entries.iter().map(kept_bytes).sum::<usize>();
            fetched.entries.extend(entries);
        }
        opened.receiver.stop(Code::Abandoned);
        Ok(fetched)
    }

    pub(crate) async fn fetch_body(
        self: &Arc<Self>,
        from: &NodeId,
        wanted: Wanted,
        held: &HeldEntry,
        deadline: Duration,
    ) -> Result<LargeFile, Fault> {
        let place = Place::ConsumerNode;
        let entry = Entry::decode(held.entry.clone());
        let leaf = entry.map_err(|error| unreachable(error.to_string()))?.leaf_hash();
        let bytes = held.payload.as_ref().map_or(0, |payload| payload.file_bytes);
        let mut file: Option<ChunkFile> = None;
        let last_try = Instant::now() + self.waits.large;
        loop {
            let before = file.as_ref().map_or(0, ChunkFile::bytes);
            // Every chunk but the last is whole, and the last was not there yet.
            let body = WantedBody { leaf, skipped_chunks: before / CIPHER_CHUNK_BYTES };
            let until = Instant::now() + deadline;
            let (mut opened, _) = self.ask_fetch(from, wanted, Some(body), until).await?;
            let Opened { peer, receiver, .. } = &mut opened;
            let begun = match file.take() {
                Some(begun) => begun,
                None => ChunkFile::new(self, peer, Some(bytes), place).await?,
            };
            match self.take_chunks(peer, receiver, begun, bytes).await? {
                (whole, None) => {
                    receiver.stop(Code::Abandoned);
                    return whole.close();
                }
                (part, Some(error)) if part.bytes() > before && Instant::now() < last_try => {
                    tracing::debug!(peer = %from, %error, bytes = part.bytes(), "a fetch broke off and goes on");
                    file = Some(part);
                }
                (_, Some(error)) => return Err(unreachable(format!("a large body did not come: {error}"))),
            }
        }
    }

    async fn ask_fetch(
        self: &Arc<Self>,
        from: &NodeId,
        wanted: Wanted,
        body: Option<WantedBody>,
        until: Instant,
    ) -> Result<(Opened, Fetched), Fault> {
        let mut opened = self.open(from, MAX_FETCH_FRAME_BYTES, until).await?;
        let request = FetchRequest {
            request_leaf_hash: Bytes::copy_from_slice(wanted.request_leaf.as_bytes()),
            exchange_id: Bytes::copy_from_slice(wanted.exchange.as_bytes()),
            body_leaf_hash: body.map(|body| Bytes::copy_from_slice(body.leaf.as_bytes())).unwrap_or_default(),
            first_chunk: body.map_or(0, |body| body.skipped_chunks + 1),
            first_request_chunk: wanted.from.request,
            first_answer_chunk: wanted.from.answer,
        };
        self.put(&mut opened.sender, vec![frame::encode(Frame::Fetch(request))], until).await?;
        let (entries, reserved) =
            self.page(&mut opened, until).await?.ok_or_else(|| unreachable("nothing came"))?;
        Ok((opened, Fetched { entries, _reserved: reserved }))
    }

    /// A piece of a stream that waited for a slow reader in the link's windows may name a head that was forgotten meanwhile. Its
    /// seal is asked for again: a proof to a head of now.
    pub(super) async fn renewed(
        self: &Arc<Self>,
        peer: &Peer,
        message: Incoming,
        opening: Wanted,
        until: Instant,
    ) -> Result<Incoming, Fault> {
        let origin = message.entry().origin();
        let keys =
            (self.conf)().and_then(|conf| self.keys.of(&conf, origin, &peer.id, self.clock.now()).ok());
        let known = keys.map(|keys| self.heads.verified(origin, message.tree_size(), &keys));
        if known != Some(Known::Forgotten) {
            return Ok(message);
        }
        let wanted = Wanted { from: FromChunks::only(message.entry()), ..opening };
        let (mut opened, fetched) = self.ask_fetch(&peer.id, wanted, None, until).await?;
        opened.receiver.stop(Code::Abandoned);
        let bytes = message.entry().bytes();
        let found = fetched.entries.iter().find(|held| held.entry == *bytes);
        let resealed = found.and_then(|held| message.resealed(held));
        resealed.ok_or_else(|| unreachable(format!("{} does not give a seal again", peer.id)))
    }

    /// The next page; none at the end of the link's stream.
    async fn page(
        &self,
        opened: &mut Opened,
        until: Instant,
    ) -> Result<Option<(Vec<HeldEntry>, Reserved)>, Fault> {
        let mut patience = Patience::once(until.saturating_duration_since(Instant::now()));
        let next = opened.receiver.frame(&opened.peer.budget, &mut patience).await;
        match next.map_err(|error| unreachable(error.to_string()))? {
            Some((Frame::Fetched(FetchResponse { entries }), reserved)) => {
                self.counters.bytes_received.increment(reserved.bytes());
                entries.iter().try_for_each(check_length)?;
                Ok(Some((entries, reserved)))
            }
            Some((Frame::Refusal(fault), _)) => {
                Err(Fault::from_proto(&fault).unwrap_or_else(|error| unreachable(error.to_string())))
            }
            Some(_) => Err(unreachable(format!("{} answered a fetch with another frame", opened.peer.id))),
            None => Ok(None),
        }
    }

    pub(super) async fn answer_fetch(&self, peer: &Peer, request: &FetchRequest, sender: &mut Sender) {
        let (wanted, body) = match read_request(request) {
            Ok(read) => read,
            Err(what) => return self.refuse(sender, &malformed(&what)).await,
        };
        // Its length is known only when it was read.
        let Ok(reserved) = timeout(RESERVE_WAIT, peer.budget.reserve(MAX_FETCH_FRAME_BYTES)).await else {
            return self.refuse(sender, &super::answer::overloaded()).await;
        };
        let mut found = self.inbound.fetch(peer.id.clone(), wanted).await;
        let mut held = match page_of(&mut found).await {
            Ok(held) => held,
            Err(fault) => return self.refuse(sender, &fault).await,
        };
        sender.mark_bulk();
        let Some(body) = body else {
            // The first page goes also if there is nothing.
            loop {
                if self.send_page(peer, held, sender).await.is_err() {
                    return;
                }
                held = match page_of(&mut found).await {
                    Ok(held) if held.is_empty() => return sender.finish(),
                    Ok(held) => held,
                    Err(fault) => return self.refuse(sender, &fault).await,
                };
            }
        };
        // What is delivered whole has less than a page of entries.
        drop(found);
        let named = held.iter().find(|held| held.sealed.entry.leaf_hash() == body.leaf);
        let file = named.and_then(|named| named.payload.as_ref()?.file().cloned());
        let begins_after =
            |file: &LargeFile| body.skipped_chunks.saturating_mul(CIPHER_CHUNK_BYTES) >= file.bytes();
        if file.as_ref().is_some_and(begins_after) {
            return self.refuse(sender, &malformed(&"the body that is wanted has no such chunk")).await;
        }
        if self.send_page(peer, held, sender).await.is_err() {
            return;
        }
        drop(reserved);
        // An error means that the peer is gone, or does not want it.
        let sent = match file {
            Some(file) => self.send_file(peer, sender, &file, body.skipped_chunks).await,
            None => Ok(()),
        };
        if sent.is_ok() {
            sender.finish();
        }
    }

    /// An error means that the peer is gone, has enough, or does not read.
    async fn send_page(&self, peer: &Peer, held: Vec<Held>, sender: &mut Sender) -> Result<(), StreamError> {
        let entries = held.into_iter().map(|held| self.announced(peer, held).to_proto()).collect();
        let fetched = frame::encode(Frame::Fetched(FetchResponse { entries }));
        let bytes = fetched.len() as u64;
        let sent = Patience::once(self.waits.write).wait(sender.send(&mut [fetched])).await;
        match &sent {
            Ok(()) => self.counters.bytes_sent.increment(bytes),
            Err(StreamError::Stalled) => self.counters.stalled.increment(1),
            Err(_) => {}
        }
        sent
    }
}

/// As many entries as one frame holds; none if there are no more. What cannot be read must not look as if it were not
/// there: whoever asks takes that for proof.
async fn page_of(found: &mut Found) -> Result<Vec<Held>, Fault> {
    let mut held = Vec::new();
    while held.len() < MAX_FETCH_ENTRIES {
        match found.recv().await {
            Some(next) => held.push(next?),
            None => break,
        }
    }
    Ok(held)
}

fn read_request(request: &FetchRequest) -> Result<(Wanted, Option<WantedBody>), &'static str> {
    let leaf = |bytes: &[u8]| LeafHash::from_slice(bytes).ok();
    let from = FromChunks { request: request.first_request_chunk, answer: request.first_answer_chunk };
    let wanted = ExchangeId::from_slice(&request.exchange_id)
        .zip(leaf(&request.request_leaf_hash))
        .map(|(exchange, request_leaf)| Wanted { exchange, request_leaf, from })
        .ok_or("a fetch names an exchange id of 16 bytes and a leaf hash of 32")?;
    let body = match (request.body_leaf_hash.is_empty(), request.first_chunk) {
        (true, 0) => None,
        (false, first @ 1..) => {
            let leaf = leaf(&request.body_leaf_hash).ok_or("the leaf hash of a body has 32 bytes")?;
            Some(WantedBody { leaf, skipped_chunks: first - 1 })
        }
        _ => return Err("a fetch names both a body and its first chunk, from 1, or neither"),
    };
    Ok((wanted, body))
}

/// What an entry takes in memory, about.
fn kept_bytes(held: &HeldEntry) -> usize {
    let chunks = held.payload.iter().flat_map(|payload| &payload.chunks);
    held.entry.len() + held.checkpoint.len() + chunks.map(Bytes::len).sum::<usize>()
}

/// What a payload says of its file is what its entry says of the body.
fn check_length(held: &HeldEntry) -> Result<(), Fault> {
    let Some(payload) = &held.payload else { return Ok(()) };
    let malformed = |what: String| Fault::new(FaultCode::MessageMalformed, Place::ConsumerNode, what);
    let entry = Entry::decode(held.entry.clone()).map_err(|error| malformed(format!("entry: {error}")))?;
    let file_bytes = match entry.body().content() {
        Some((_, body_bytes)) if is_large(body_bytes) => cipher_bytes(body_bytes),
        _ => 0,
    };
    if payload.file_bytes == file_bytes {
        return Ok(());
    }
    Err(malformed("a large body that is not as long as its entry says".to_owned()))
}

/// Ciphertext of every chunk but the last.
const CIPHER_CHUNK_BYTES: u64 = (CHUNK_BYTES + TAG_BYTES) as u64;
/// Entries and small payloads of one exchange, in bytes: more than evidence holds.
const FETCHED_BYTES_MAX: usize = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_page_that_cannot_be_read_is_not_an_empty_one() {
        let (sender, mut found) = tokio::sync::mpsc::channel(1);
        sender.send(Err(super::super::internal("unreadable"))).await.unwrap();
        drop(sender);
        assert_eq!(page_of(&mut found).await.unwrap_err().code, FaultCode::Internal);
        assert!(page_of(&mut found).await.unwrap().is_empty(), "nothing more");
    }
}
