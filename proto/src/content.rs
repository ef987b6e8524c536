//! Payload geometry and content roots. FROZEN.
//!
//! A payload is chunk 0 (the context, always there) and chunks 1… (the body: exactly `CHUNK_BYTES` each but the last;
//! none if it is empty). Its content root is the RFC 6962 tree hash over `chunk_salt_i ‖ chunk_i`, so any chunk can
//! be shown or withheld alone, and none can be guessed.

use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};

use crate::hash::{ContentRoot, Digest};
use crate::limits::CHUNK_BYTES;
use crate::merkle;

/// The salt of a payload, from which each chunk's is derived: 32 bytes.
pub const SALT_BYTES: usize = 32;

/// Derives the salts of one payload's chunks.
pub struct ChunkSalts(Prk);

impl ChunkSalts {
    /// Of the payload with this salt.
    #[must_use]
    pub fn new(salt: &[u8; SALT_BYTES]) -> Self {
        Self(Prk::new_less_safe(HKDF_SHA256, salt))
    }

    /// HKDF-Expand-SHA-256 with info `"peabiru/v1/chunk" ‖ index`, the index as 8 bytes big-endian.
    #[must_use]
    pub fn of(&self, index: u64) -> [u8; SALT_BYTES] {
        let mut salt = [0; SALT_BYTES];
        let index = index.to_be_bytes();
        let info: [&[u8]; 2] = [b"peabiru/v1/chunk", &index];
        self.0
            .expand(&info, HKDF_SHA256)
            .and_then(|key| key.fill(&mut salt))
            .expect("HKDF-SHA-256 gives 32 bytes");
        salt
    }

    /// The leaf of one chunk.
    #[must_use]
    pub fn leaf(&self, index: u64, chunk: &[u8]) -> Digest {
        salted_leaf(&self.of(index), chunk)
    }
}

/// The leaf of a chunk whose own salt was disclosed.
#[must_use]
pub fn salted_leaf(chunk_salt: &[u8; SALT_BYTES], chunk: &[u8]) -> Digest {
    Digest::of_parts(&[&[0], chunk_salt, chunk])
}

/// Root over the leaves of all chunks, chunk 0 first.
#[must_use]
pub fn root_of_leaves(leaves: &[Digest]) -> ContentRoot {
    ContentRoot::from_bytes(*merkle::tree_root(leaves).as_bytes())
}

/// Root over the chunks themselves.
#[must_use]
pub fn content_root<'a>(salt: &[u8; SALT_BYTES], chunks: impl IntoIterator<Item = &'a [u8]>) -> ContentRoot {
    let salts = ChunkSalts::new(salt);
    let leaves: Vec<_> = (0..).zip(chunks).map(|(index, chunk)| salts.leaf(index, chunk)).collect();
    root_of_leaves(&leaves)
}

/// The chunks of a payload: the context, then the body in pieces.
pub fn chunks<'a>(context: &'a [u8], body: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    std::iter::once(context).chain(body.chunks(CHUNK_BYTES))
}

/// How many chunks a payload with a body of this size has.
#[must_use]
pub const fn chunk_count(body_bytes: u64) -> u64 {
    1 + body_bytes.div_ceil(CHUNK_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_is_one_context_and_full_chunks() {
        let body = vec![7; CHUNK_BYTES * 2 + 1];
        let sizes: Vec<_> = chunks(b"ctx", &body).map(<[u8]>::len).collect();
        assert_eq!(sizes, [3, CHUNK_BYTES, CHUNK_BYTES, 1]);
        assert_eq!(chunks(b"", b"").count(), 1);
        for (body_bytes, count) in [(0, 1), (1, 2), (65_536, 2), (65_537, 3)] {
            assert_eq!(chunk_count(body_bytes), count);
        }
    }

    #[test]
    fn the_root_is_frozen() {
        // Computed by an independent program from the rule alone.
        let root = content_root(&[0x42; 32], chunks(b"context", b"body"));
        assert_eq!(root.to_string(), "7f072182eaefaa25ae7c888680ba24751e9cef5ffbdf31f1c97e402994e2cc85");
    }

    #[test]
    fn a_chunk_is_provable_with_its_own_salt_alone() {
        let salts = ChunkSalts::new(&[1; 32]);
        let leaves = [salts.leaf(0, b"ctx"), salted_leaf(&salts.of(1), b"body")];
        assert_eq!(root_of_leaves(&leaves), content_root(&[1; 32], chunks(b"ctx", b"body")));
        assert_ne!(salts.of(0), salts.of(1));
    }
}
