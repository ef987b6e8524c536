//! SHA-256 digests, and a type for each thing that one names.

use std::fmt;
use std::str::FromStr;

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
        Self::of_parts(&[bytes])
    }

    /// SHA-256 of the parts one after another, without joining them.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for part in parts {
            context.update(part);
        }
        let digest = context.finish();
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
    fn other_lengths_and_upper_case_are_refused() {
        assert_eq!(Digest::from_slice(&[0; 31]), Err(InvalidDigest));
        assert_eq!("AB".repeat(32).parse::<LeafHash>(), Err(InvalidDigest));
    }
}
