//! SHA-256 digests, and a type for each thing that one names.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256, digest};
use data_encoding::HEXLOWER;

/// The text or bytes are no SHA-256 digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 digest has 32 bytes, or 64 lower-case hex digits as text")]
pub struct InvalidDigest;

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Takes over a digest computed elsewhere.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Reads exactly 32 bytes.
            ///
            /// # Errors
            /// `InvalidDigest` for any other length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidDigest> {
                bytes.try_into().map(Self).map_err(|_| InvalidDigest)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidDigest;

            fn from_str(text: &str) -> Result<Self, InvalidDigest> {
                let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| InvalidDigest)?;
                Self::from_slice(&bytes)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
    };
}

digest! {
    /// SHA-256 of bytes that have no type of their own; also an inner node or root of a tree.
    Digest
}
digest! {
    /// RFC 6962 leaf hash of an entry.
    LeafHash
}
digest! {
    /// Tree hash of a payload's salted chunks.
    ContentRoot
}
digest! {
    /// SHA-256 of a contract's document as registered.
    ContractDigest
}
digest! {
    /// SHA-256 of a snapshot's bytes without signatures.
    SnapshotDigest
}

impl Digest {
    /// SHA-256 (FIPS 180-4) of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::finished(&digest(&SHA256, bytes))
    }

    /// SHA-256 of the parts one after another. Only what fits a tree's node is joined first: a context of its own costs
    /// more than such a hash.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut joined = [0; JOINED_BYTES_MAX];
        let mut length = 0;
        for part in parts {
            let Some(place) = joined.get_mut(length..length + part.len()) else {
                return Self::of_long(parts);
            };
            place.copy_from_slice(part);
            length += part.len();
        }
        Self::of(&joined[..length])
    }

    fn of_long(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        Self::finished(&context.finish())
    }

    fn finished(digest: &aws_lc_rs::digest::Digest) -> Self {
        Self(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }
}

impl ContractDigest {
    /// Of the document as registered, byte for byte.
    #[must_use]
    pub fn of(document: &[u8]) -> Self {
        Self(Digest::of(document).0)
    }
}

impl SnapshotDigest {
    /// Of the snapshot's bytes without signatures.
    #[must_use]
    pub fn of(snapshot: &[u8]) -> Self {
        Self(Digest::of(snapshot).0)
    }
}

impl From<LeafHash> for Digest {
    fn from(leaf: LeafHash) -> Self {
        Self(leaf.0)
    }
}

/// A leaf of two hashes and a byte that marks it, with room to spare.
const JOINED_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_abc_is_the_standards_example() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), expected);
        assert_eq!(expected.parse(), Ok(Digest::of_parts(&[b"a", b"bc"])));
    }

    #[test]
    fn parts_that_are_joined_and_parts_that_are_not_hash_as_one_text() {
        for length in [0, 64, JOINED_BYTES_MAX - 1, JOINED_BYTES_MAX, JOINED_BYTES_MAX + 1, 1000] {
            let text: Vec<u8> = (0..=250).cycle().take(length).collect();
            let (before, after) = text.split_at(length / 3);
            assert_eq!(Digest::of_parts(&[before, b"", after]), Digest::of(&text), "{length} bytes");
        }
    }

    #[test]
    fn other_lengths_and_upper_case_are_refused() {
        assert_eq!(Digest::from_slice(&[0; 31]), Err(InvalidDigest));
        assert_eq!("AB".repeat(32).parse::<LeafHash>(), Err(InvalidDigest));
    }
}
