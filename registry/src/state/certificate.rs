//! What is read from a certificate beyond what `peabiru_certs::chain` says: its key, and whether it is an authority's.

use der::Decode as _;
use x509_cert::Certificate;
use x509_cert::ext::pkix::BasicConstraints;

/// A certificate that parses. Whether it holds is another question.
pub(super) struct Parsed(Certificate);

/// Whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Authority,
    EndEntity,
}

impl Parsed {
    pub(super) fn from_der(der: &[u8]) -> Result<Self, String> {
        Certificate::from_der(der)
            .map(Self)
            .map_err(|error| format!("it is no X.509 certificate in DER: {error}"))
    }

    /// The public key's bytes, to see where a key is used twice.
    pub(super) fn key(&self) -> Vec<u8> {
        self.0.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes().to_vec()
    }

    pub(super) fn holder(&self) -> Holder {
        match self.0.tbs_certificate().get_extension::<BasicConstraints>() {
            Ok(Some((_, BasicConstraints { ca: true, .. }))) => Holder::Authority,
            _ => Holder::EndEntity,
        }
    }
}
