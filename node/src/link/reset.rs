//! Stateless resets (RFC 9000, 10.3): a node that was killed and started again tells its peers at once that the
//! connections of before are gone, as soon as they send something. Otherwise they would find out when those idle out.

use aws_lc_rs::hmac;
use peabiru_certs::SecretKey;

/// Makes the tokens that prove a reset: the same over all starts of a node, and known to nobody else.
pub(crate) struct ResetKey(hmac::Key);

impl ResetKey {
    /// Bytes of a signature.
    pub(crate) const BYTES: usize = aws_lc_rs::digest::SHA256_OUTPUT_LEN;

    pub(crate) fn of(authentication_key: &SecretKey) -> Self {
        let label = hmac::Key::new(hmac::HMAC_SHA256, LABEL);
        let derived = hmac::sign(&label, authentication_key.pkcs8());
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    pub(crate) fn sign(&self, data: &[u8]) -> hmac::Tag {
        hmac::sign(&self.0, data)
    }

    pub(crate) fn holds(&self, data: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.0, data, signature).is_ok()
    }
}

const LABEL: &[u8] = b"peabiru/v1/stateless-reset";
