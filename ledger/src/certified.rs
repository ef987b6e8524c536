//! The keys that may seal a ledger, by the certificates that the global configuration has of it.

use std::time::Duration;

use peabiru_certs::{CertsError, chain};
use peabiru_proto::globalconf::{GlobalConfiguration, Ledger};
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::KeyPurpose;

use crate::checkpoint::{VerifyingKey, VerifyingKeys};

/// Keys whose certificates hold.
#[derive(Debug, Clone, Copy)]
pub struct CertifiedKeys {
    /// One, or two while the ledger goes over from one to the other.
    pub keys: VerifyingKeys,
    /// Until when this may be relied upon: the first of the certificates ends, or another one may hold.
    pub expires_at: Timestamp,
}

/// The keys of a registered ledger whose certificates hold `at` a time: chained to an authority that is trusted for seals, and
/// naming this ledger.
///
/// # Errors
/// Why the first certificate does not hold, if none does.
pub fn certified_keys(
    conf: &GlobalConfiguration,
    ledger: &Ledger,
    at: Timestamp,
) -> Result<CertifiedKeys, CertsError> {
    let authorities: Vec<_> = conf.authorities(KeyPurpose::Sealing).collect();
    let certify = |certificate: &[u8]| {
        let verified = chain::verify(certificate, &authorities, KeyPurpose::Sealing, at)?;
        let key = VerifyingKey::from_bytes(verified.sealing_key(&ledger.origin)?);
        Ok::<_, CertsError>((key, verified.expires_at()))
    };
    let first = certify(&ledger.sealing_certificate);
    let second = ledger.next_sealing_certificate.as_ref().and_then(|certificate| certify(certificate).ok());
    let ((first, first_ends), second) = match (first, second) {
        (Ok(first), second) => (first, second),
        (Err(_), Some(second)) => (second, None),
        (Err(error), None) => return Err(error),
    };
    let ends = second.map_or(first_ends, |(_, ends)| first_ends.min(ends));
    // One of two that does not hold may begin to soon.
    let all_hold = second.is_some() || ledger.next_sealing_certificate.is_none();
    let expires_at = if all_hold { ends } else { ends.min(at.plus(LOOK_AGAIN)) };
    Ok(CertifiedKeys { keys: VerifyingKeys::new(first, second.map(|(key, _)| key)), expires_at })
}

/// After so long a certificate that did not hold is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
