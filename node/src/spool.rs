//! Large bodies on their way into the ledger: encrypted into the spool as they come, each chunk's ciphertext handed on at
//! once. Whatever blocks on the disk runs off the runtime's threads, and holds none of them while nothing comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use peabiru_ledger::LedgerError;
use peabiru_ledger::large::body::{LargeSealed, LargeSealer};
use peabiru_ledger::large::{LargeFile, LargeFiles, SpoolShare};
use peabiru_ledger::payload::{Direction, OpenPayload, Payload, PayloadError, SealedPayload};
use peabiru_proto::entry::{Body, Entry, ExchangeId};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::hash::ContentRoot;
use peabiru_proto::id::{NodeId, SubsystemId};
use peabiru_proto::random::Random;
use peabiru_proto::wire::Context;
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc};

use crate::core::{internal, ledger_fault};
use crate::exchange::{Piece, Pieces};

/// A large payload, ready for its entry, with what the end of its body told.
pub(crate) struct Spooled<E> {
    pub(crate) payload: Arc<Payload>,
    pub(crate) root: ContentRoot,
    pub(crate) body_bytes: u64,
    pub(crate) end: E,
}

/// Where large bodies go, and how large they may be.
#[derive(Debug, Clone)]
pub struct Spool {
    /// The folders.
    pub files: LargeFiles,
    /// For keys and salts.
    pub random: Arc<dyn Random>,
    body_bytes_max: Arc<AtomicU64>,
    /// As many as nodes and own subsystems are registered.
    shares: Arc<Mutex<HashMap<Holder, SpoolShare>>>,
    /// Turns to read a whole file and check it.
    verifying: Arc<Semaphore>,
}

/// For whom a large body is kept on its way: each has a share of the spool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// It came from this node, or goes to it.
    Peer(NodeId),
    /// A local application sends it.
    Caller(SubsystemId),
}

impl Spool {
    /// A spool in these folders.
    #[must_use]
    pub fn new(files: LargeFiles, random: Arc<dyn Random>, body_bytes_max: u64) -> Self {
        let verifying = Arc::new(Semaphore::new(VERIFICATIONS_MAX));
        let body_bytes_max = Arc::new(AtomicU64::new(body_bytes_max));
        Self { files, random, body_bytes_max, shares: Arc::default(), verifying }
    }

    /// Longest body, in bytes.
    #[must_use]
    pub fn body_bytes_max(&self) -> u64 {
        self.body_bytes_max.load(Ordering::Relaxed)
    }

    /// Longest body from now on, in bytes; for one that is on its way too.
    pub(crate) fn set_body_bytes_max(&self, body_bytes_max: u64) {
        self.body_bytes_max.store(body_bytes_max, Ordering::Relaxed);
    }

    /// What one has of it.
    pub(crate) fn share(&self, holder: &Holder) -> SpoolShare {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.entry(holder.clone()).or_default().clone()
    }

    /// Reads a large payload whole and checks it; none if its body is in memory.
    pub(crate) async fn open(
        &self,
        entry: &Entry,
        payload: &SealedPayload,
    ) -> Option<Result<OpenPayload, PayloadError>> {
        payload.file()?;
        let Some((root, body_bytes)) = entry.body().content() else { return Some(Err(PayloadError::Root)) };
        let direction = match entry.body() {
            Body::Request(_) => Direction::Request,
            _ => Direction::Answer,
        };
        // Nobody closes it.
        let _turn = self.verifying.acquire().await;
        let (exchange, payload) = (entry.exchange(), payload.clone());
        let opened =
            tokio::task::spawn_blocking(move || payload.open(&exchange, direction, &root, body_bytes)).await;
        Some(opened.unwrap_or(Err(PayloadError::Unreadable)))
    }

    /// Takes a body to its end. `context` is asked for then.
    ///
    /// # Errors
    /// `payload.too_large`, what the ledger says, the body's own fault, or `node.unreachable` if nobody takes the
    /// chunks any more.
    pub(crate) async fn take<E>(
        &self,
        holder: &Holder,
        exchange: &ExchangeId,
        direction: Direction,
        mut pieces: Pieces<E>,
        chunks: mpsc::Sender<Bytes>,
        context: impl FnOnce(&mut E) -> Context,
    ) -> Result<Spooled<E>, Fault> {
        let (files, random, exchange) = (self.files.clone(), Arc::clone(&self.random), *exchange);
        let (share, place) = (self.share(holder), place(direction));
        let made = blocking(place, move || {
            Ok(LargeSealer::new(&*random, &exchange, direction, files.spool(&share, None)?))
        });
        let mut sealer = made.await?;
        loop {
            let (data, end) = gather(&mut pieces, direction).await?;
            let bytes: usize = data.iter().map(Bytes::len).sum();
            if sealer.body_bytes() + bytes as u64 > self.body_bytes_max() {
                return Err(self.too_large(place));
            }
            let push = move || {
                let mut sealed = Vec::new();
                for piece in &data {
                    sealer.push(piece, &mut |chunk| sealed.push(chunk))?;
                }
                Ok((sealer, sealed))
            };
            let (pushed, sealed) = blocking(place, push).await?;
            sealer = pushed;
            hand_on(&chunks, sealed).await?;
            let Some(mut end) = end else { continue };
            let context = context(&mut end).encode_to_vec();
            let finish = move || {
                let mut last = Vec::new();
                sealer.finish(&context, &mut |chunk| last.push(chunk)).map(|sealed| (sealed, last))
            };
            let (sealed, last) = blocking(place, finish).await?;
            hand_on(&chunks, last).await?;
            let LargeSealed { payload, root, body_bytes } = sealed;
            return Ok(Spooled { payload: Arc::new(Payload::Sealed(payload)), root, body_bytes, end });
        }
    }

    fn too_large(&self, place: Place) -> Fault {
        let message = format!("the body has more than {} bytes", self.body_bytes_max());
        Fault::new(FaultCode::PayloadTooLarge, place, message)
    }
}

/// What came meanwhile, up to a few chunks, and the end if it was among it.
async fn gather<E>(pieces: &mut Pieces<E>, direction: Direction) -> Result<(Vec<Bytes>, Option<E>), Fault> {
    let (mut data, mut bytes) = (Vec::new(), 0);
    let mut next = pieces.recv().await;
    loop {
        match next {
            Some(Ok(Piece::Data(piece))) => {
                bytes += piece.len();
                data.push(piece);
            }
            Some(Ok(Piece::End(end))) => return Ok((data, Some(end))),
            Some(Err(fault)) => return Err(fault),
            None => {
                let (code, place) = match direction {
                    Direction::Request => (FaultCode::PayloadInvalid, Place::ConsumerNode),
                    Direction::Answer => (FaultCode::ServiceProtocol, Place::Service),
                };
                return Err(Fault::new(code, place, "the body broke off"));
            }
        }
        if bytes >= GATHERED_BYTES {
            return Ok((data, None));
        }
        next = match pieces.try_recv() {
            Ok(piece) => Some(piece),
            Err(mpsc::error::TryRecvError::Empty) => return Ok((data, None)),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
        };
    }
}

async fn hand_on(chunks: &mpsc::Sender<Bytes>, sealed: Vec<Bytes>) -> Result<(), Fault> {
    for chunk in sealed {
        if chunks.send(chunk).await.is_err() {
            let what = "nobody takes the rest of the message any more";
            return Err(Fault::new(FaultCode::NodeUnreachable, Place::ConsumerNode, what));
        }
    }
    Ok(())
}

/// Makes the file of a large payload durable, ready for the entry that is to name it.
pub(crate) async fn keep(payload: &SealedPayload, place: Place) -> Result<(), Fault> {
    match payload.file().cloned() {
        Some(file) => blocking(place, move || file.keep()).await,
        None => Ok(()),
    }
}

fn place(direction: Direction) -> Place {
    match direction {
        Direction::Request => Place::ConsumerNode,
        Direction::Answer => Place::ProviderNode,
    }
}

/// The same payload for another entry of this node: no two share a file.
pub(crate) async fn duplicate(
    payload: &SealedPayload,
    share: SpoolShare,
    place: Place,
) -> Result<SealedPayload, Fault> {
    let (Some(file), [context]) = (payload.file().cloned(), payload.chunks()) else {
        return Ok(payload.clone());
    };
    let (secrets, context) = (payload.secrets().clone(), context.clone());
    let copy: LargeFile = blocking(place, move || file.duplicate(&share)).await?;
    Ok(SealedPayload::large(secrets, context, copy))
}

/// Work that waits for the disk.
pub(crate) async fn blocking<T: Send + 'static>(
    place: Place,
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| ledger_fault(&error, place)),
        Err(_) => Err(internal("work on a large body stopped")),
    }
}

/// Bytes that are encrypted at once: a few chunks.
const GATHERED_BYTES: usize = 256 * 1024;
/// Files that are read whole and checked at once.
const VERIFICATIONS_MAX: usize = 4;
