//! A large body, chunk by chunk: encrypted as it comes in, decrypted as it goes out. Memory: one chunk, and 32 bytes for
//! each.

use std::fmt;

use bytes::{Bytes, BytesMut};
use peabiru_proto::content::{self, ChunkSalts, chunk_count};
use peabiru_proto::entry::ExchangeId;
use peabiru_proto::hash::{ContentRoot, Digest};
use peabiru_proto::limits::{CHUNK_BYTES, MAX_BODY_BYTES, MAX_CONTEXT_BYTES, TAG_BYTES};
use peabiru_proto::random::Random;

use super::{LargeFile, SpoolFile};
use crate::LedgerError;
use crate::disk::DiskFile;
use crate::payload::{
    ChunkCipher, Direction, OpenBody, OpenPayload, PayloadError, PayloadSecrets, Rank, SealedPayload,
};
use crate::segment::at;

/// Encrypts a body of unknown length under a fresh key, into the spool.
pub struct LargeSealer {
    secrets: PayloadSecrets,
    cipher: ChunkCipher,
    salts: ChunkSalts,
    file: SpoolFile,
    /// Clear text of the chunk that is not known to be whole, or not to be the last.
    pending: BytesMut,
    /// Leaves of the body's chunks.
    leaves: Vec<Digest>,
    body_bytes: u64,
}

/// A large payload, durable and ready for its entry.
#[derive(Debug)]
pub struct LargeSealed {
    /// For the append.
    pub payload: SealedPayload,
    /// For the head.
    pub root: ContentRoot,
    /// For the head.
    pub body_bytes: u64,
}

/// A body whose content root holds: to be read chunk by chunk.
#[derive(Clone, PartialEq, Eq)]
pub struct LargeBody {
    file: LargeFile,
    secrets: PayloadSecrets,
    exchange: ExchangeId,
    direction: Direction,
    bytes: u64,
}

/// Ciphertext of chunk after chunk.
pub struct CipherReader {
    name: std::path::PathBuf,
    file: Box<dyn DiskFile>,
    left_bytes: u64,
    offset: u64,
}

/// Clear text of chunk after chunk.
pub struct BodyReader {
    chunks: CipherReader,
    cipher: ChunkCipher,
    index: u64,
    count: u64,
}

impl LargeSealer {
    /// A payload of this exchange.
    #[must_use]
    pub fn new(random: &dyn Random, exchange: &ExchangeId, direction: Direction, file: SpoolFile) -> Self {
        let secrets = PayloadSecrets::new(random);
        Self {
            cipher: ChunkCipher::new(&secrets, exchange, direction),
            salts: ChunkSalts::new(secrets.salt()),
            secrets,
            file,
            pending: BytesMut::with_capacity(CHUNK_BYTES),
            leaves: Vec::new(),
            body_bytes: 0,
        }
    }

    /// Takes the next bytes of the body; hands each chunk's ciphertext to `out` once it is in the spool.
    ///
    /// # Errors
    /// As `SpoolFile::write`.
    pub fn push(&mut self, mut data: &[u8], out: &mut dyn FnMut(Bytes)) -> Result<(), LedgerError> {
        while !data.is_empty() {
            // A full chunk is the last one, unless more comes.
            if self.pending.len() == CHUNK_BYTES {
                self.seal_pending(Rank::Inner, out)?;
            }
            let (now, later) = data.split_at(data.len().min(CHUNK_BYTES - self.pending.len()));
            self.pending.extend_from_slice(now);
            self.body_bytes += now.len() as u64;
            data = later;
        }
        Ok(())
    }

    /// The body's bytes until now.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// The body has ended: seals its last chunk and the context, and makes the file durable.
    ///
    /// # Errors
    /// `ContextTooLarge`; `Geometry` of a body that a small payload takes; as `SpoolFile`'s.
    pub fn finish(mut self, context: &[u8], out: &mut dyn FnMut(Bytes)) -> Result<LargeSealed, LedgerError> {
        if context.len() > MAX_CONTEXT_BYTES {
            return Err(PayloadError::ContextTooLarge { bytes: context.len() }.into());
        }
        if self.body_bytes <= MAX_BODY_BYTES as u64 {
            return Err(PayloadError::Geometry { body_bytes: self.body_bytes }.into());
        }
        self.seal_pending(Rank::Last, out)?;
        let leaf = self.salts.leaf(0, context);
        let sealed_context = self.cipher.seal(0, Rank::Inner, context);
        self.leaves.insert(0, leaf);
        let root = content::root_of_leaves(&self.leaves);
        let file = self.file.close()?;
        file.keep()?;
        let payload = SealedPayload::large(self.secrets, sealed_context, file);
        Ok(LargeSealed { payload, root, body_bytes: self.body_bytes })
    }

    fn seal_pending(&mut self, rank: Rank, out: &mut dyn FnMut(Bytes)) -> Result<(), LedgerError> {
        let index = self.leaves.len() as u64 + 1;
        self.leaves.push(self.salts.leaf(index, &self.pending));
        let chunk = self.cipher.seal(index, rank, &self.pending);
        self.pending.clear();
        self.file.write(&chunk)?;
        out(chunk);
        Ok(())
    }
}

/// Decrypts every chunk, and checks geometry and content root against the head. Blocks on the disk.
///
/// # Errors
/// `Payload` if it does not hold, `Disk`.
pub fn open(
    payload: &SealedPayload,
    file: &LargeFile,
    exchange: &ExchangeId,
    direction: Direction,
    root: &ContentRoot,
    body_bytes: u64,
) -> Result<OpenPayload, LedgerError> {
    let chunks = chunk_count(body_bytes);
    let [context] = payload.chunks() else { return Err(PayloadError::Geometry { body_bytes }.into()) };
    if !is_large(body_bytes)
        || file.bytes() != cipher_bytes(body_bytes)
        || context.len() > MAX_CONTEXT_BYTES + TAG_BYTES
    {
        return Err(PayloadError::Geometry { body_bytes }.into());
    }
    let secrets = payload.secrets().clone();
    let cipher = ChunkCipher::new(&secrets, exchange, direction);
    let salts = ChunkSalts::new(secrets.salt());
    let context = cipher.open(0, Rank::of(0, chunks), context)?;
    let mut leaves = vec![salts.leaf(0, &context)];
    let body = LargeBody { file: file.clone(), secrets, exchange: *exchange, direction, bytes: body_bytes };
    let mut reader = body.reader()?;
    while let Some(chunk) = reader.next_chunk()? {
        leaves.push(salts.leaf(leaves.len() as u64, &chunk));
    }
    if content::root_of_leaves(&leaves) != *root {
        return Err(PayloadError::Root.into());
    }
    Ok(OpenPayload { context, body: OpenBody::Large(body) })
}

/// Whether a body of this size stands in a file of its own: one that a small payload takes never does.
#[must_use]
pub const fn is_large(body_bytes: u64) -> bool {
    body_bytes > MAX_BODY_BYTES as u64
}

/// Length of the file of a body of this size.
#[must_use]
pub const fn cipher_bytes(body_bytes: u64) -> u64 {
    body_bytes.saturating_add((chunk_count(body_bytes) - 1) * TAG_BYTES as u64)
}

impl LargeFile {
    /// Reads the ciphertext, chunk by chunk.
    ///
    /// # Errors
    /// `Disk`.
    pub fn reader(&self) -> Result<CipherReader, LedgerError> {
        self.reader_after(0)
    }

    /// Reads the ciphertext of what comes after the first so many chunks.
    ///
    /// # Errors
    /// `Disk`.
    pub fn reader_after(&self, chunks: u64) -> Result<CipherReader, LedgerError> {
        let offset = chunks.saturating_mul((CHUNK_BYTES + TAG_BYTES) as u64).min(self.bytes());
        let left_bytes = self.bytes() - offset;
        Ok(CipherReader { name: self.0.path(), file: self.open()?, left_bytes, offset })
    }
}

impl CipherReader {
    /// The next one; none at the end.
    ///
    /// # Errors
    /// `Disk`.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, LedgerError> {
        let whole = (CHUNK_BYTES + TAG_BYTES) as u64;
        let length = usize::try_from(self.left_bytes.min(whole)).expect("a chunk is small");
        if length == 0 {
            return Ok(None);
        }
        let mut chunk = BytesMut::zeroed(length);
        self.file.read_exact_at(&mut chunk, self.offset).map_err(at(&self.name))?;
        self.offset += length as u64;
        self.left_bytes -= length as u64;
        Ok(Some(chunk.freeze()))
    }
}

impl LargeBody {
    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads it, chunk by chunk.
    ///
    /// # Errors
    /// `Disk`.
    pub fn reader(&self) -> Result<BodyReader, LedgerError> {
        let cipher = ChunkCipher::new(&self.secrets, &self.exchange, self.direction);
        Ok(BodyReader { chunks: self.file.reader()?, cipher, index: 1, count: chunk_count(self.bytes) })
    }
}

impl BodyReader {
    /// The next chunk; none at the end. Blocks on the disk.
    ///
    /// # Errors
    /// `Disk`, `Payload` if the file was changed.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, LedgerError> {
        let Some(chunk) = self.chunks.next_chunk()? else { return Ok(None) };
        let clear = self.cipher.open(self.index, Rank::of(self.index, self.count), &chunk)?;
        self.index += 1;
        Ok(Some(clear))
    }
}

impl fmt::Debug for LargeBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LargeBody({} bytes)", self.bytes)
    }
}
