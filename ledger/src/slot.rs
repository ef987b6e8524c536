//! Slots: where a payload's key and salt lie, wrapped; overwriting one erases the payload for good. FROZEN.
//!
//! 96 bytes: AES-256-GCM of `key ‖ salt` (64 + 16) under the slot key with nonce = slot number (12 bytes big-endian),
//! no AAD; then the first 16 bytes of SHA-256 over those 80 as check value, so that anyone can tell a live slot from a
//! damaged one without a key. An erased slot is all zero. Slot key = HKDF-Expand-SHA-256(storage key,
//! `"peabiru/v1/slot"` ‖ the record's 16 random bytes).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use peabiru_certs::StorageKey;
use peabiru_proto::hash::Digest;
use zeroize::Zeroizing;

use crate::payload::{PayloadSecrets, SECRET_BYTES};

/// Length of a slot.
pub const SLOT_BYTES: usize = WRAPPED_BYTES + CHECK_BYTES;
/// Random bytes of a record, from which its slot key is derived.
pub const SLOT_SEED_BYTES: usize = 16;

/// What lies in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// A wrapped key and salt.
    Live,
    /// Overwritten with zeros.
    Erased,
    /// Neither: torn or damaged.
    Invalid,
}

/// Wraps and unwraps the slots of one record.
pub struct SlotCipher(LessSafeKey);

impl SlotCipher {
    /// The slot key of the record with these random bytes.
    #[must_use]
    pub fn new(storage_key: &StorageKey, seed: &[u8; SLOT_SEED_BYTES]) -> Self {
        let info: [&[u8]; 2] = [b"peabiru/v1/slot", seed];
        let mut key = Zeroizing::new([0; 32]);
        Prk::new_less_safe(HKDF_SHA256, storage_key.as_bytes())
            .expand(&info, HKDF_SHA256)
            .and_then(|okm| okm.fill(key.as_mut()))
            .expect("HKDF-SHA-256 gives 32 bytes");
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("AES-256 keys have 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// The bytes of slot `number`.
    #[must_use]
    pub fn wrap(&self, number: u32, secrets: &PayloadSecrets) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        slot[..SECRET_BYTES].copy_from_slice(secrets.as_bytes());
        let tag = self.0.seal_in_place_separate_tag(nonce(number), Aad::empty(), &mut slot[..SECRET_BYTES]);
        slot[SECRET_BYTES..WRAPPED_BYTES]
            .copy_from_slice(tag.expect("64 bytes are few for AES-GCM").as_ref());
        let check = check(&slot);
        slot[WRAPPED_BYTES..].copy_from_slice(&check);
        slot
    }

    /// Key and salt of slot `number`; none if it is erased, damaged or of another storage key.
    #[must_use]
    pub fn unwrap(&self, number: u32, slot: &[u8; SLOT_BYTES]) -> Option<PayloadSecrets> {
        let mut wrapped = Zeroizing::new([0; WRAPPED_BYTES]);
        wrapped.copy_from_slice(&slot[..WRAPPED_BYTES]);
        let clear = self.0.open_in_place(nonce(number), Aad::empty(), wrapped.as_mut()).ok()?;
        let secrets: &[u8; SECRET_BYTES] = (&*clear).try_into().ok()?;
        Some(PayloadSecrets::from_bytes(secrets))
    }
}

/// What lies in a slot, told without any key.
#[must_use]
pub fn state(slot: &[u8; SLOT_BYTES]) -> SlotState {
    if *slot == [0; SLOT_BYTES] {
        SlotState::Erased
    } else if slot[WRAPPED_BYTES..] == check(slot) {
        SlotState::Live
    } else {
        SlotState::Invalid
    }
}

fn check(slot: &[u8; SLOT_BYTES]) -> [u8; CHECK_BYTES] {
    let digest = Digest::of(&slot[..WRAPPED_BYTES]);
    *digest.as_bytes().first_chunk().expect("a digest has 32 bytes")
}

fn nonce(number: u32) -> Nonce {
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

const WRAPPED_BYTES: usize = SECRET_BYTES + 16;
const CHECK_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher(seed: u8) -> SlotCipher {
        SlotCipher::new(&StorageKey::from_bytes([9; 32]), &[seed; SLOT_SEED_BYTES])
    }

    #[test]
    fn a_slot_opens_with_its_record_and_number_alone() {
        let secrets = PayloadSecrets::from_slices(&[1; 32], &[2; 32]).unwrap();
        let slot = cipher(1).wrap(7, &secrets);
        assert_eq!(state(&slot), SlotState::Live);
        assert_eq!(cipher(1).unwrap(7, &slot), Some(secrets));
        assert_eq!(cipher(1).unwrap(8, &slot), None);
        assert_eq!(cipher(2).unwrap(7, &slot), None);
    }

    #[test]
    fn states_are_told_without_a_key() {
        assert_eq!(state(&[0; SLOT_BYTES]), SlotState::Erased);
        let slot = cipher(1).wrap(0, &PayloadSecrets::from_slices(&[1; 32], &[2; 32]).unwrap());
        for at in 0..SLOT_BYTES {
            let mut damaged = slot;
            damaged[at] ^= 1;
            assert_eq!(state(&damaged), SlotState::Invalid, "byte {at}");
        }
    }
}
