//! Whether a certificate holds: path to a trusted authority, at a given time, for one purpose.

use std::time::Duration;

use der::Decode as _;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::NodeId;
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::KeyPurpose;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::CertsError;
use crate::profile::{NODE_URI, ORIGIN_URI, malformed};

/// A certificate that chained to a trusted authority. Only [`verify`] makes it.
#[derive(Debug, Clone)]
pub struct VerifiedCertificate {
    sha256: Digest,
    parsed: Certificate,
}

/// Checks a certificate against the trusted authorities at a moment in time.
///
/// # Errors
/// `Expired`, `NotYetValid`, `UnknownIssuer`, `WrongUse` or `Malformed`.
pub fn verify(
    certificate: &[u8],
    authorities: &[impl AsRef<[u8]>],
    purpose: KeyPurpose,
    at: Timestamp,
) -> Result<VerifiedCertificate, CertsError> {
    let parsed = Certificate::from_der(certificate).map_err(|error| malformed("certificate", &error))?;
    let der = CertificateDer::from(certificate);
    let end_entity = EndEntityCert::try_from(&der).map_err(|error| malformed("certificate", &error))?;
    let authorities: Vec<_> =
        authorities.iter().map(|authority| CertificateDer::from(authority.as_ref())).collect();
    let anchors: Vec<TrustAnchor<'_>> =
        authorities.iter().filter_map(|authority| anchor_from_trusted_cert(authority).ok()).collect();
    let usage = match purpose {
        // Required, not only respected: a certificate without any extended usage is no TLS certificate here.
        KeyPurpose::Authentication | KeyPurpose::Operator => KeyUsage::required(CLIENT_AUTH),
        // Sealing certificates have no extended usage; one that has any is meant for something else.
        KeyPurpose::Sealing | KeyPurpose::Unspecified => KeyUsage::required_if_present(NO_USAGE),
    };
    let time = UnixTime::since_unix_epoch(Duration::from_millis(at.as_ms()));
    end_entity
        .verify_for_usage(ALGORITHMS, &anchors, &[], time, usage, None, None)
        .map_err(|error| explain(&error, &parsed))?;
    Ok(VerifiedCertificate { sha256: Digest::of(certificate), parsed })
}

impl VerifiedCertificate {
    /// SHA-256 of its DER.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// When it ends.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        not_after(&self.parsed)
    }

    /// The node that it names.
    ///
    /// # Errors
    /// `WrongSubject` if it is another than expected, or none.
    pub fn names_node(&self, expected: &NodeId) -> Result<(), CertsError> {
        self.names(NODE_URI, expected.as_str())
    }

    /// The Ed25519 key with which the ledger `expected` is sealed.
    ///
    /// # Errors
    /// `WrongSubject` if it names another ledger, `WrongUse` if its key is not Ed25519.
    pub fn sealing_key(&self, expected: &Origin) -> Result<[u8; 32], CertsError> {
        self.names(ORIGIN_URI, expected.as_str())?;
        ed25519_key(&self.parsed)
    }

    fn names(&self, prefix: &str, expected: &str) -> Result<(), CertsError> {
        let found =
            uris(&self.parsed).into_iter().find_map(|uri| uri.strip_prefix(prefix).map(str::to_owned));
        match found {
            Some(found) if found == expected => Ok(()),
            found => Err(CertsError::WrongSubject {
                expected: expected.to_owned(),
                found: found.unwrap_or_else(|| self.parsed.tbs_certificate().subject().to_string()),
            }),
        }
    }
}

/// When a certificate ends. Whether it holds, only [`verify`] says.
///
/// # Errors
/// `Malformed`.
pub fn expires_at(certificate: &[u8]) -> Result<Timestamp, CertsError> {
    let parsed = Certificate::from_der(certificate).map_err(|error| malformed("certificate", &error))?;
    Ok(not_after(&parsed))
}

/// The ledger that a sealing certificate names, and its key; none if the certificate is for something else. Whether
/// the certificate holds, only [`verify`] says.
///
/// # Errors
/// `Malformed`; `WrongUse` if its key is not Ed25519.
pub fn named_ledger(certificate: &[u8]) -> Result<Option<(Origin, [u8; 32])>, CertsError> {
    let parsed = Certificate::from_der(certificate).map_err(|error| malformed("certificate", &error))?;
    let origin = uris(&parsed).into_iter().find_map(|uri| uri.strip_prefix(ORIGIN_URI)?.parse().ok());
    origin.map(|origin| Ok((origin, ed25519_key(&parsed)?))).transpose()
}

fn ed25519_key(certificate: &Certificate) -> Result<[u8; 32], CertsError> {
    let info = certificate.tbs_certificate().subject_public_key_info();
    let ed25519 = info.algorithm.oid == const_oid::db::rfc8410::ID_ED_25519;
    let key = info.subject_public_key.raw_bytes().try_into().ok().filter(|_| ed25519);
    key.ok_or(CertsError::WrongUse("a sealing certificate holds an Ed25519 key"))
}

fn uris(certificate: &Certificate) -> Vec<String> {
    let names = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok().flatten();
    let uri = |name: GeneralName| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    };
    names.into_iter().flat_map(|(_, names)| names.0).filter_map(uri).collect()
}

fn explain(error: &Error, certificate: &Certificate) -> CertsError {
    match error {
        Error::CertExpired { .. } => CertsError::Expired { at: not_after(certificate) },
        Error::CertNotValidYet { .. } => {
            let from = certificate.tbs_certificate().validity().not_before;
            CertsError::NotYetValid { from: timestamp(from.to_unix_duration()) }
        }
        Error::RequiredEkuNotFoundContext(_) => {
            CertsError::WrongUse("its extended key usage does not allow this")
        }
        Error::CaUsedAsEndEntity => CertsError::WrongUse("it is an authority's"),
        other => CertsError::UnknownIssuer(other.to_string()),
    }
}

fn not_after(certificate: &Certificate) -> Timestamp {
    timestamp(certificate.tbs_certificate().validity().not_after.to_unix_duration())
}

fn timestamp(since_1970: Duration) -> Timestamp {
    Timestamp::from_ms(0).plus(since_1970)
}

const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] =
    &[webpki::aws_lc_rs::ECDSA_P256_SHA256, webpki::aws_lc_rs::ED25519];
/// id-kp-clientAuth, as DER content.
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
/// An object identifier that no certificate has (2.5.29.37 below id-ce, as DER content): stands for "none".
const NO_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x7f];
