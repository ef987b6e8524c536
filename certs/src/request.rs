//! Certification requests (PKCS#10): how a node asks an authority for a certificate without giving its key away.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use der::{Decode as _, DecodePem as _, EncodePem as _, pem::LineEnding};
use x509_cert::builder::{Builder as _, RequestBuilder};
use x509_cert::request::CertReq;

use crate::CertsError;
use crate::key::{Algorithm, SecretKey};
use crate::profile::{malformed, name, to_der};
use crate::signer::{BuilderKey, PublicKey, RawSignature};

/// A request whose own signature holds: whoever made it has the key.
pub struct VerifiedRequest {
    pub(crate) public_key: PublicKey,
    common_name: String,
}

/// Makes a request in PEM. The name is for people; what the certificate says, the authority decides.
///
/// # Errors
/// `Malformed` if the name cannot be written.
pub fn make(key: &SecretKey, common_name: &str) -> Result<String, CertsError> {
    let builder =
        RequestBuilder::new(name("Peabiru", common_name)?).map_err(|error| malformed("request", &error))?;
    let request =
        builder.build::<_, RawSignature>(&BuilderKey(key)).map_err(|error| malformed("request", &error))?;
    request.to_pem(LineEnding::LF).map_err(|error| malformed("request", &error))
}

/// Reads a request in PEM or DER and checks its signature.
///
/// # Errors
/// `Malformed`, or `RequestSignature`.
pub fn verify(bytes: &[u8]) -> Result<VerifiedRequest, CertsError> {
    let parsed =
        if bytes.starts_with(b"-----") { CertReq::from_pem(bytes) } else { CertReq::from_der(bytes) };
    let request = parsed.map_err(|error| malformed("certification request", &error))?;
    let info = &request.info.public_key;
    let signed = to_der(&request.info, "certification request")?;
    let signature = request.signature.raw_bytes();
    let key = info.subject_public_key.raw_bytes();
    let algorithm = match info.algorithm.oid {
        const_oid::db::rfc8410::ID_ED_25519 => Algorithm::Ed25519,
        const_oid::db::rfc5912::ID_EC_PUBLIC_KEY => Algorithm::P256,
        other => {
            return Err(malformed(
                "certification request",
                &format_args!("keys of kind {other} are not used here"),
            ));
        }
    };
    // The one form that each kind of key has here; the library would read others too.
    let plain = match algorithm {
        Algorithm::Ed25519 => key.len() == ED25519_KEY_BYTES,
        Algorithm::P256 => key.len() == P256_POINT_BYTES && key[0] == UNCOMPRESSED,
    };
    if !plain {
        let wanted = "its key is neither 32 bytes (Ed25519) nor an uncompressed point (P-256)";
        return Err(malformed("certification request", &wanted));
    }
    let holds = match algorithm {
        Algorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, key).verify(&signed, signature),
        Algorithm::P256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(&signed, signature),
    };
    holds.map_err(|_| CertsError::RequestSignature)?;
    let public_key = PublicKey { algorithm, bytes: key.to_vec() };
    Ok(VerifiedRequest { public_key, common_name: request.info.subject.to_string() })
}

impl VerifiedRequest {
    /// Which signature its key makes.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.public_key.algorithm
    }

    /// The name in the request, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.common_name
    }
}

/// RFC 8032.
const ED25519_KEY_BYTES: usize = 32;
/// SEC 1: the form's byte, then both coordinates.
const P256_POINT_BYTES: usize = 65;
const UNCOMPRESSED: u8 = 4;

#[cfg(test)]
mod tests {
    use der::asn1::BitString;

    use super::*;

    #[test]
    fn a_key_in_another_form_is_refused_before_its_signature_is_looked_at() {
        for (algorithm, other_form) in [(Algorithm::Ed25519, [0; 44].as_slice()), (Algorithm::P256, &[2; 33])]
        {
            let pem = make(&SecretKey::generate(algorithm), "of a test").unwrap();
            verify(pem.as_bytes()).unwrap();
            let mut request = CertReq::from_pem(pem.as_bytes()).unwrap();
            request.info.public_key.subject_public_key = BitString::from_bytes(other_form).unwrap();
            let der = to_der(&request, "certification request").unwrap();
            let refused = verify(&der).map(|_| ()).unwrap_err();
            assert!(refused.to_string().contains("nor an uncompressed point"), "{refused}");
        }
    }
}
