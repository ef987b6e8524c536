//! Payloads: encrypted once, by their sender, under a key of their own. FROZEN.
//!
//! Chunk i is AES-256-GCM with nonce = 1 byte (1 in the last chunk, else 0) ‖ 3 zero bytes ‖ i as 8 bytes
//! big-endian, and AAD = exchange id ‖ direction (0 request, 1 answer). That ciphertext is the sender's store, the
//! wire and the receiver's store.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bytes::{Bytes, BytesMut};
use peabiru_proto::content::{self, ChunkSalts, SALT_BYTES, chunk_count};
use peabiru_proto::entry::ExchangeId;
use peabiru_proto::hash::ContentRoot;
use peabiru_proto::limits::{CHUNK_BYTES, MAX_BODY_BYTES, MAX_CLEAR_BYTES, MAX_CONTEXT_BYTES, TAG_BYTES};
use peabiru_proto::random::Random;
use zeroize::Zeroizing;

use crate::LedgerError;
use crate::large::{self, LargeFile, body::LargeBody};

/// A payload as a ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Of an exchange or of a member's NOTICE.
    Sealed(SealedPayload),
    /// Of the registry's ledger, never erased.
    Clear(ClearPayload),
}

/// Ciphertext with the secrets that open it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedPayload {
    secrets: PayloadSecrets,
    /// All chunks, or chunk 0 alone if the others are in a file.
    chunks: Vec<Bytes>,
    file: Option<LargeFile>,
}

/// Key and salt: 64 bytes that never leave the node but inside the link.
#[derive(Clone, PartialEq, Eq)]
pub struct PayloadSecrets(Zeroizing<[u8; SECRET_BYTES]>);

/// Which way a payload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From consumer to provider; also a NOTICE.
    Request,
    /// Back.
    Answer,
}

/// A payload that was decrypted and whose content root holds.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenPayload {
    /// Chunk 0.
    pub context: Bytes,
    /// The other chunks.
    pub body: OpenBody,
}

/// A body that was decrypted and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenBody {
    /// It is here.
    Whole(Bytes),
    /// It is on disk, and decrypted again as it is read.
    Large(LargeBody),
}

/// A payload in clear: its salt is 32 zero bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearPayload {
    /// The body; the context is empty.
    pub body: Bytes,
}

/// Why a payload cannot be made or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The context is too long.
    #[error("the context has {bytes} bytes, {MAX_CONTEXT_BYTES} are allowed")]
    ContextTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The body is too long.
    #[error("the body has {bytes} bytes, {max} are allowed")]
    BodyTooLarge {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
    /// A chunk does not decrypt: altered, or another key, exchange or direction.
    #[error("chunk {index} does not decrypt")]
    Chunk {
        /// Which.
        index: u64,
    },
    /// Number or length of the chunks is not what the size demands.
    #[error("the chunks are not those of a body of {body_bytes} bytes")]
    Geometry {
        /// The size in the head.
        body_bytes: u64,
    },
    /// The content is not what the head commits to.
    #[error("the content root is not the one in the head")]
    Root,
    /// Key or salt have another length.
    #[error("a payload's key and salt have 32 bytes each")]
    Secrets,
    /// The file of a large body.
    #[error("the file of the body cannot be read")]
    Unreadable,
}

impl SealedPayload {
    /// Encrypts under a fresh key, and computes the content root under a fresh salt.
    ///
    /// # Errors
    /// `ContextTooLarge` or `BodyTooLarge`.
    pub fn seal(
        random: &dyn Random,
        exchange: &ExchangeId,
        direction: Direction,
        context: &[u8],
        body: &[u8],
    ) -> Result<(Self, ContentRoot), PayloadError> {
        if context.len() > MAX_CONTEXT_BYTES {
            return Err(PayloadError::ContextTooLarge { bytes: context.len() });
        }
        if body.len() > MAX_BODY_BYTES {
            return Err(PayloadError::BodyTooLarge { bytes: body.len(), max: MAX_BODY_BYTES });
        }
        let secrets = PayloadSecrets::new(random);
        let root = content::content_root(secrets.salt(), content::chunks(context, body));
        let cipher = ChunkCipher::new(&secrets, exchange, direction);
        let count = chunk_count(body.len() as u64);
        let chunks = (0..)
            .zip(content::chunks(context, body))
            .map(|(index, chunk)| cipher.seal(index, Rank::of(index, count), chunk))
            .collect();
        Ok((Self { secrets, chunks, file: None }, root))
    }

    /// From what came over the wire or from disk; nothing is checked before `open`.
    #[must_use]
    pub fn from_parts(secrets: PayloadSecrets, chunks: Vec<Bytes>) -> Self {
        Self { secrets, chunks, file: None }
    }

    /// Whose body is in a file; nothing is checked before `open`.
    #[must_use]
    pub fn large(secrets: PayloadSecrets, context: Bytes, file: LargeFile) -> Self {
        Self { secrets, chunks: vec![context], file: Some(file) }
    }

    /// The file of its body, if it has one.
    #[must_use]
    pub fn file(&self) -> Option<&LargeFile> {
        self.file.as_ref()
    }

    /// Decrypts, and checks geometry and content root against the head. A large one blocks on the disk.
    ///
    /// # Errors
    /// `Geometry`, `Chunk` or `Root`; `Unreadable` if the body's file cannot be read.
    pub fn open(
        &self,
        exchange: &ExchangeId,
        direction: Direction,
        root: &ContentRoot,
        body_bytes: u64,
    ) -> Result<OpenPayload, PayloadError> {
        if let Some(file) = &self.file {
            let opened = large::body::open(self, file, exchange, direction, root, body_bytes);
            return opened.map_err(|error| match error {
                LedgerError::Payload(error) => error,
                error => {
                    tracing::error!(%error, "the file of a payload cannot be read");
                    PayloadError::Unreadable
                }
            });
        }
        self.check_geometry(body_bytes)?;
        let cipher = ChunkCipher::new(&self.secrets, exchange, direction);
        let salts = ChunkSalts::new(self.secrets.salt());
        let mut context = Bytes::new();
        let mut pieces = Vec::with_capacity(self.chunks.len());
        let mut leaves = Vec::with_capacity(self.chunks.len());
        let count = self.chunks.len() as u64;
        for (index, chunk) in (0..).zip(&self.chunks) {
            let clear = cipher.open(index, Rank::of(index, count), chunk)?;
            leaves.push(salts.leaf(index, &clear));
            if index == 0 { context = clear } else { pieces.push(clear) }
        }
        if content::root_of_leaves(&leaves) != *root {
            return Err(PayloadError::Root);
        }
        Ok(OpenPayload { context, body: OpenBody::Whole(join(pieces)) })
    }

    /// Key and salt.
    #[must_use]
    pub fn secrets(&self) -> &PayloadSecrets {
        &self.secrets
    }

    /// Ciphertext of chunk 0, 1, …, each with its tag; of chunk 0 alone if there is a file.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    fn check_geometry(&self, body_bytes: u64) -> Result<(), PayloadError> {
        let body: usize = self.chunks.iter().skip(1).map(|chunk| chunk.len().saturating_sub(TAG_BYTES)).sum();
        let full = |chunk: &Bytes| chunk.len() == CHUNK_BYTES + TAG_BYTES;
        let inner_full =
            self.chunks.get(1..self.chunks.len().saturating_sub(1)).unwrap_or_default().iter().all(full);
        let fits = self
            .chunks
            .iter()
            .all(|chunk| chunk.len() >= TAG_BYTES && chunk.len() <= CHUNK_BYTES + TAG_BYTES)
            && self.chunks.len() as u64 == chunk_count(body_bytes)
            && body as u64 == body_bytes
            && inner_full;
        if fits { Ok(()) } else { Err(PayloadError::Geometry { body_bytes }) }
    }
}

impl fmt::Debug for SealedPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedPayload({} chunks)", self.chunks.len())
    }
}

impl fmt::Debug for OpenPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenPayload({} + {} bytes)", self.context.len(), self.body.bytes())
    }
}

impl OpenBody {
    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Whole(body) => body.len() as u64,
            Self::Large(body) => body.bytes(),
        }
    }

    /// The body, if it is a small one.
    #[must_use]
    pub fn whole(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(body) => Some(body),
            Self::Large(_) => None,
        }
    }
}

impl ClearPayload {
    /// A body in clear.
    ///
    /// # Errors
    /// `BodyTooLarge` beyond `MAX_CLEAR_BYTES`.
    pub fn new(body: Bytes) -> Result<Self, PayloadError> {
        if body.len() > MAX_CLEAR_BYTES {
            return Err(PayloadError::BodyTooLarge { bytes: body.len(), max: MAX_CLEAR_BYTES });
        }
        Ok(Self { body })
    }

    /// Under a salt of 32 zero bytes, with an empty context.
    #[must_use]
    pub fn content_root(&self) -> ContentRoot {
        content::content_root(&[0; SALT_BYTES], content::chunks(&[], &self.body))
    }
}

impl PayloadSecrets {
    pub(crate) fn new(random: &dyn Random) -> Self {
        let mut secrets = Zeroizing::new([0; SECRET_BYTES]);
        random.fill(secrets.as_mut());
        Self(secrets)
    }

    /// From the two fields of a message.
    ///
    /// # Errors
    /// `Secrets` if either has another length.
    pub fn from_slices(key: &[u8], salt: &[u8]) -> Result<Self, PayloadError> {
        if key.len() != KEY_BYTES || salt.len() != SALT_BYTES {
            return Err(PayloadError::Secrets);
        }
        let mut secrets = Zeroizing::new([0; SECRET_BYTES]);
        secrets[..KEY_BYTES].copy_from_slice(key);
        secrets[KEY_BYTES..].copy_from_slice(salt);
        Ok(Self(secrets))
    }

    /// The AES-256 key.
    #[must_use]
    pub fn key(&self) -> &[u8; KEY_BYTES] {
        self.0.first_chunk().expect("64 bytes begin with 32")
    }

    /// The salt of the content root.
    #[must_use]
    pub fn salt(&self) -> &[u8; SALT_BYTES] {
        self.0.last_chunk().expect("64 bytes end with 32")
    }

    pub(crate) fn as_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(*bytes))
    }
}

impl fmt::Debug for PayloadSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PayloadSecrets(…)")
    }
}

/// Whether a chunk is the last of its payload: its nonce says so, so that none can be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    Inner,
    Last,
}

impl Rank {
    pub(crate) fn of(index: u64, count: u64) -> Self {
        if index + 1 == count { Self::Last } else { Self::Inner }
    }
}

pub(crate) struct ChunkCipher {
    key: LessSafeKey,
    aad: [u8; 17],
}

impl ChunkCipher {
    pub(crate) fn new(secrets: &PayloadSecrets, exchange: &ExchangeId, direction: Direction) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, secrets.key()).expect("AES-256 keys have 32 bytes");
        let mut aad = [0; 17];
        aad[..16].copy_from_slice(exchange.as_bytes());
        aad[16] = match direction {
            Direction::Request => 0,
            Direction::Answer => 1,
        };
        Self { key: LessSafeKey::new(key), aad }
    }

    pub(crate) fn seal(&self, index: u64, rank: Rank, chunk: &[u8]) -> Bytes {
        let mut buffer = BytesMut::with_capacity(chunk.len() + TAG_BYTES);
        buffer.extend_from_slice(chunk);
        let tag = self.key.seal_in_place_separate_tag(nonce(index, rank), Aad::from(self.aad), &mut buffer);
        buffer.extend_from_slice(tag.expect("a chunk is far below the limit of AES-GCM").as_ref());
        buffer.freeze()
    }

    pub(crate) fn open(&self, index: u64, rank: Rank, chunk: &[u8]) -> Result<Bytes, PayloadError> {
        let mut buffer = BytesMut::from(chunk);
        let clear = self.key.open_in_place(nonce(index, rank), Aad::from(self.aad), &mut buffer);
        let length = clear.map_err(|_| PayloadError::Chunk { index })?.len();
        buffer.truncate(length);
        Ok(buffer.freeze())
    }
}

fn nonce(index: u64, rank: Rank) -> Nonce {
    let mut nonce = [0; 12];
    nonce[0] = u8::from(rank == Rank::Last);
    nonce[4..].copy_from_slice(&index.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// One chunk needs no copy.
fn join(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.remove(0),
        _ => pieces.concat().into(),
    }
}

const KEY_BYTES: usize = 32;
pub(crate) const SECRET_BYTES: usize = KEY_BYTES + SALT_BYTES;

#[cfg(test)]
mod tests {
    use peabiru_proto::random::SeededRandom;
    use proptest::prelude::*;

    use super::*;

    fn exchange() -> ExchangeId {
        ExchangeId::from_slice(&[3; 16]).unwrap()
    }

    fn sealed(context: &[u8], body: &[u8]) -> (SealedPayload, ContentRoot) {
        SealedPayload::seal(&SeededRandom::new(1), &exchange(), Direction::Request, context, body).unwrap()
    }

    #[test]
    fn the_ciphertext_is_frozen() {
        // Computed by an independent program from the rule alone.
        let (payload, root) = sealed(b"context", b"body");
        let hex = |bytes: &Bytes| data_encoding::HEXLOWER.encode(bytes);
        assert_eq!(
            payload.chunks().iter().map(hex).collect::<Vec<_>>(),
            ["9556bf14f3024c8d54b6dd09a4f7d6537a5b492f764400", "a6255addca0ace841cf1794cb9fac78f6c3e2f86"]
        );
        assert_eq!(root.to_string(), "6a1edf8d9ddf584743fd95100b2b8afaa7088bcdd54e793a4b4a2b09070a69fa");
    }

    #[test]
    fn an_empty_body_is_a_context_alone() {
        let (payload, root) = sealed(b"", b"");
        assert_eq!(payload.chunks().len(), 1);
        let open = payload.open(&exchange(), Direction::Request, &root, 0).unwrap();
        assert!(open.context.is_empty() && open.body.bytes() == 0);
    }

    #[test]
    fn it_opens_for_its_exchange_and_direction_alone() {
        let (payload, root) = sealed(b"context", b"body");
        let open = |exchange: &ExchangeId, direction| payload.open(exchange, direction, &root, 4);
        assert_eq!(open(&exchange(), Direction::Request).unwrap().body, OpenBody::Whole("body".into()));
        assert_eq!(open(&exchange(), Direction::Answer), Err(PayloadError::Chunk { index: 0 }));
        let other = ExchangeId::from_slice(&[4; 16]).unwrap();
        assert_eq!(open(&other, Direction::Request), Err(PayloadError::Chunk { index: 0 }));
    }

    #[test]
    fn the_body_cannot_be_cut_or_extended() {
        let (payload, root) = sealed(b"context", b"body");
        let cut = SealedPayload { chunks: payload.chunks[..1].to_vec(), ..payload.clone() };
        assert_eq!(
            cut.open(&exchange(), Direction::Request, &root, 0),
            Err(PayloadError::Chunk { index: 0 })
        );
        assert_eq!(
            cut.open(&exchange(), Direction::Request, &root, 4),
            Err(PayloadError::Geometry { body_bytes: 4 })
        );
        assert_eq!(
            payload.open(&exchange(), Direction::Request, &root, 5),
            Err(PayloadError::Geometry { body_bytes: 5 })
        );
        let none = SealedPayload { chunks: Vec::new(), ..payload };
        assert!(none.open(&exchange(), Direction::Request, &root, 0).is_err());
    }

    #[test]
    fn limits_are_named() {
        let seal = |context: usize, body: usize| {
            let random = SeededRandom::new(1);
            SealedPayload::seal(&random, &exchange(), Direction::Request, &vec![0; context], &vec![0; body])
                .map(|_| ())
        };
        assert_eq!(seal(MAX_CONTEXT_BYTES, MAX_BODY_BYTES), Ok(()));
        assert_eq!(
            seal(MAX_CONTEXT_BYTES + 1, 0),
            Err(PayloadError::ContextTooLarge { bytes: MAX_CONTEXT_BYTES + 1 })
        );
        assert!(matches!(seal(0, MAX_BODY_BYTES + 1), Err(PayloadError::BodyTooLarge { .. })));
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_noticed(context in proptest::collection::vec(any::<u8>(), 0..50), body in proptest::collection::vec(any::<u8>(), 0..50), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let (mut payload, root) = sealed(&context, &body);
            let open = payload.open(&exchange(), Direction::Request, &root, body.len() as u64).unwrap();
            prop_assert_eq!((open.context.as_ref(), open.body.whole().unwrap().as_ref()), (context.as_slice(), body.as_slice()));
            let which = at.index(payload.chunks.len());
            let mut chunk = payload.chunks[which].to_vec();
            let byte = at.index(chunk.len());
            chunk[byte] ^= flip;
            payload.chunks[which] = chunk.into();
            prop_assert!(payload.open(&exchange(), Direction::Request, &root, body.len() as u64).is_err());
        }
    }
}
