//! Checkpoints: signed tree heads as C2SP `tlog-checkpoint` signed notes. FROZEN.
//!
//! Three lines (origin, size, root in base64), no extension line, a blank line, exactly one Ed25519 signature (type
//! 0x01) whose key name is the origin. Source: <https://c2sp.org/tlog-checkpoint>, <https://c2sp.org/signed-note>.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use data_encoding::BASE64;
use peabiru_proto::hash::Digest;
use peabiru_proto::limits::MAX_NOTE_BYTES;
use peabiru_proto::origin::Origin;

use crate::durable::DurableHead;
use crate::position::TreeSize;

/// Signs checkpoints and nothing else.
pub struct SealingKey(Ed25519KeyPair);

/// Public half of a sealing key. Looked up by origin, compared whole, never by its 4-byte id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifyingKey([u8; 32]);

/// The keys of which any may seal a ledger: one, or two while it goes over from one to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKeys {
    first: VerifyingKey,
    second: Option<VerifyingKey>,
}

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which ledger.
    pub origin: Origin,
    /// How many entries.
    pub size: TreeSize,
    /// Over all of them.
    pub root: Digest,
}

/// A checkpoint with its signature, as the note's verbatim text. Parsed; whether the signature holds is said by
/// [`SignedCheckpoint::verify`] alone.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedCheckpoint(Arc<Signed>);

#[derive(PartialEq, Eq)]
struct Signed {
    note: String,
    note_hash: Digest,
    checkpoint: Checkpoint,
    key_id: [u8; 4],
    signature: [u8; 64],
}

/// Why bytes are no checkpoint of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not the one form that is accepted.
    #[error("a checkpoint is a signed note of three lines and one Ed25519 signature: {0}")]
    Malformed(&'static str),
    /// The signature is not by this key over this text.
    #[error("the signature of the checkpoint of {origin} at size {size} does not hold")]
    Signature {
        /// Which ledger.
        origin: Origin,
        /// Of what size.
        size: TreeSize,
    },
    /// Bytes that hold no Ed25519 private key.
    #[error("not an Ed25519 private key in PKCS#8")]
    Key,
}

impl SealingKey {
    /// From PKCS#8, as key files hold it.
    ///
    /// # Errors
    /// `Key` if it is something else.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, CheckpointError> {
        // Keys made by other tools have no public half inside: `maybe_unchecked` takes both forms.
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Self).map_err(|_| CheckpointError::Key)
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.public_key().as_ref().try_into().expect("Ed25519 public keys have 32 bytes"))
    }

    /// Signs a head that a crash cannot take back. Deterministic: the same head always gives the same note.
    #[must_use]
    pub fn sign(&self, head: &DurableHead) -> SignedCheckpoint {
        let checkpoint = Checkpoint { origin: head.origin().clone(), size: head.size(), root: head.root() };
        let text = checkpoint.text();
        let signature: [u8; 64] =
            self.0.sign(text.as_bytes()).as_ref().try_into().expect("Ed25519 signatures have 64 bytes");
        let key_id = self.verifying_key().id(&checkpoint.origin);
        let encoded = BASE64.encode(&[key_id.as_slice(), &signature].concat());
        let note = format!("{text}\n{SIGNATURE_MARK}{} {encoded}\n", checkpoint.origin);
        let note_hash = Digest::of(note.as_bytes());
        SignedCheckpoint(Arc::new(Signed { note, note_hash, checkpoint, key_id, signature }))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

impl VerifyingKey {
    /// From the 32 bytes of a certificate or delegation.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The verifier key of the signed-note format, for other tools: `name+id+base64`.
    #[must_use]
    pub fn vkey(&self, origin: &Origin) -> String {
        let id = data_encoding::HEXLOWER.encode(&self.id(origin));
        format!("{origin}+{id}+{}", BASE64.encode(&[[ED25519_TYPE].as_slice(), &self.0].concat()))
    }

    /// First 4 bytes of `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key)`.
    fn id(&self, origin: &Origin) -> [u8; 4] {
        let digest = Digest::of_parts(&[origin.as_str().as_bytes(), b"\n", &[ED25519_TYPE], &self.0]);
        *digest.as_bytes().first_chunk().expect("a digest has more than 4 bytes")
    }
}

impl VerifyingKeys {
    /// One or two.
    #[must_use]
    pub const fn new(first: VerifyingKey, second: Option<VerifyingKey>) -> Self {
        Self { first, second }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = VerifyingKey> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn contain(&self, key: &VerifyingKey) -> bool {
        self.iter().any(|own| own == *key)
    }
}

impl From<VerifyingKey> for VerifyingKeys {
    fn from(key: VerifyingKey) -> Self {
        Self::new(key, None)
    }
}

impl Checkpoint {
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root.as_bytes()))
    }
}

impl SignedCheckpoint {
    /// Reads a note; verifies nothing yet.
    ///
    /// # Errors
    /// `Malformed` for every other form.
    pub fn parse(note: &[u8]) -> Result<Self, CheckpointError> {
        use CheckpointError::Malformed;
        if note.len() > MAX_NOTE_BYTES {
            return Err(Malformed("it is too long"));
        }
        let note = std::str::from_utf8(note).map_err(|_| Malformed("it is not UTF-8"))?;
        let (text, signatures) = note.split_once("\n\n").ok_or(Malformed("it has no blank line"))?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(Malformed("its text has another number of lines"));
        };
        let origin: Origin = origin.parse().map_err(|_| Malformed("its first line is no origin"))?;
        let (key_id, signature) = parse_signature(signatures, &origin)?;
        let checkpoint = Checkpoint {
            size: parse_size(size).ok_or(Malformed("its second line is no size"))?,
            root: decode(root).ok_or(Malformed("its third line is no root"))?,
            origin,
        };
        let note_hash = Digest::of(note.as_bytes());
        Ok(Self(Arc::new(Signed { note: note.to_owned(), note_hash, checkpoint, key_id, signature })))
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// `Signature` if it is not by this key.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), CheckpointError> {
        let Checkpoint { origin, size, .. } = self.checkpoint();
        let text = self.checkpoint().text();
        let holds = self.0.key_id == key.id(origin)
            && UnparsedPublicKey::new(&ED25519, key.0).verify(text.as_bytes(), &self.0.signature).is_ok();
        if holds { Ok(()) } else { Err(CheckpointError::Signature { origin: origin.clone(), size: *size }) }
    }

    /// The one of these keys by which it is signed.
    ///
    /// # Errors
    /// `Signature` if it is by none.
    pub fn signed_by(&self, keys: &VerifyingKeys) -> Result<VerifyingKey, CheckpointError> {
        let by = |key: VerifyingKey| self.verify(&key).map(|()| key);
        by(keys.first).or_else(|error| keys.second.map_or(Err(error), by))
    }

    /// What it says.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.0.checkpoint
    }

    /// Which ledger.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.0.checkpoint.origin
    }

    /// How many entries.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.0.checkpoint.size
    }

    /// Over all of them.
    #[must_use]
    pub fn root(&self) -> &Digest {
        &self.0.checkpoint.root
    }

    /// The verbatim text.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.0.note
    }

    /// SHA-256 of the whole note.
    #[must_use]
    pub fn note_hash(&self) -> Digest {
        self.0.note_hash
    }
}

impl fmt::Debug for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedCheckpoint({} at {})", self.origin(), self.size())
    }
}

fn parse_signature(lines: &str, origin: &Origin) -> Result<([u8; 4], [u8; 64]), CheckpointError> {
    use CheckpointError::Malformed;
    let line = lines.strip_suffix('\n').ok_or(Malformed("its last line does not end"))?;
    let signed = line.strip_prefix(SIGNATURE_MARK).ok_or(Malformed("it has no signature line"))?;
    let (name, encoded) = signed.split_once(' ').ok_or(Malformed("its signature line is incomplete"))?;
    if name != origin.as_str() {
        return Err(Malformed("its signature names another key"));
    }
    let bytes: [u8; 68] = decode_exact(encoded)
        .ok_or(Malformed("it has not exactly one signature of the length of Ed25519"))?;
    let (id, signature) = bytes.split_at(4);
    Ok((id.try_into().expect("split at 4"), signature.try_into().expect("64 are left")))
}

fn parse_size(text: &str) -> Option<TreeSize> {
    let size: u64 = text.parse().ok()?;
    // One number has one text.
    (size.to_string() == text).then_some(TreeSize::new(size))
}

fn decode(text: &str) -> Option<Digest> {
    decode_exact(text).map(Digest::from_bytes)
}

fn decode_exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// An em dash and a space, as the signed-note format wants it.
const SIGNATURE_MARK: &str = "\u{2014} ";
/// Type of an Ed25519 key in a signed note.
const ED25519_TYPE: u8 = 1;

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::durable::{Durable, Head};

    pub(crate) fn key(seed: u8) -> SealingKey {
        SealingKey(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    pub(crate) fn durable(origin: &str, size: u64, root: Digest) -> DurableHead {
        let head = Head { origin: origin.parse().unwrap(), size: TreeSize::new(size), root };
        Durable::after_sync().heads(vec![head]).remove(0)
    }

    fn signed() -> SignedCheckpoint {
        key(1).sign(&durable("py.example/registry/1", 5, Digest::of(b"root")))
    }

    #[test]
    fn the_note_is_frozen() {
        assert_eq!(
            signed().note(),
            "py.example/registry/1\n5\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=\n\n\u{2014} py.example/registry/1 Y1vAgudlPELufF4MvHFQWvJsFD1hQIcGe7kaFuXkwHuDCL1CfEvRP11kFPpBz95Z4z/HAhKLBmFQQKv7tnWC+NJdEQc=\n"
        );
        assert_eq!(
            key(1).verifying_key().vkey(signed().origin()),
            "py.example/registry/1+635bc082+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
        );
    }

    #[test]
    fn a_note_reads_back_and_holds_for_its_key_alone() {
        let read = SignedCheckpoint::parse(signed().note().as_bytes()).unwrap();
        assert_eq!(read, signed());
        assert_eq!(read.verify(&key(1).verifying_key()), Ok(()));
        assert!(matches!(read.verify(&key(2).verifying_key()), Err(CheckpointError::Signature { .. })));
    }

    #[test]
    fn other_forms_are_refused() {
        let note = signed().note().to_owned();
        let signature = note.lines().last().unwrap();
        for other in [
            note.replace("\n5\n", "\n05\n"),
            note.replace("\n5\n", "\n+5\n"),
            note.replacen("\n\n", "\nextension\n\n", 1),
            format!("{note}{signature}\n"),
            note.replace("registry/1 ", "registry/2 "),
            note.trim_end().to_owned(),
            note.replace('\n', "\r\n"),
            String::new(),
        ] {
            assert!(
                matches!(SignedCheckpoint::parse(other.as_bytes()), Err(CheckpointError::Malformed(_))),
                "{other}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut note = signed().note().as_bytes().to_vec();
            let at = at.index(note.len());
            note[at] ^= flip;
            let verified = SignedCheckpoint::parse(&note).and_then(|read| read.verify(&key(1).verifying_key()));
            prop_assert!(verified.is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = SignedCheckpoint::parse(&bytes);
        }
    }
}
