//! Stateless resets (RFC 9000, 10.3): a node that was killed and started again tells its peers at once that the
//! connections of before are gone, as soon as they send something. Otherwise they would find out when those idle out.

use peabiru_certs::SecretKey;
use peabiru_proto::random::{Random as _, SystemRandom};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator};
use ring::hmac;

/// Makes the tokens that prove a reset: the same over all starts of a node, and known to nobody else.
pub(super) struct ResetKey(hmac::Key);

impl ResetKey {
    pub(super) fn of(authentication_key: &SecretKey) -> Self {
        let label = hmac::Key::new(hmac::HMAC_SHA256, LABEL);
        let derived = hmac::sign(&label, authentication_key.pkcs8());
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(hmac::sign(&self.0, data).as_ref());
    }

    fn signature_len(&self) -> usize {
        hmac::HMAC_SHA256.digest_algorithm().output_len()
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        hmac::verify(&self.0, data, signature).map_err(|_| CryptoError)
    }
}

/// Connection ids that no start takes for invalid: quinn's own ones are marked with a key that is new at each.
pub(super) struct AnyConnectionId;

impl ConnectionIdGenerator for AnyConnectionId {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CONNECTION_ID_BYTES];
        SystemRandom::default().fill(&mut bytes);
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

const LABEL: &[u8] = b"peabiru/v1/stateless-reset";
/// As long as quinn's own.
const CONNECTION_ID_BYTES: usize = 8;
