//! What can be wrong with keys and certificates.

use std::io;
use std::path::PathBuf;

use peabiru_proto::time::Timestamp;

/// Each variant is something that an administrator, an officer or a peer can act on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertsError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key file is there already: nothing is ever overwritten.
    #[error("{path} exists; a key file is never overwritten: move it away first")]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The passphrase does not open the key file.
    #[error("{path}: wrong passphrase")]
    WrongPassphrase {
        /// Which.
        path: PathBuf,
    },
    /// No encrypted PKCS#8 file, or another kind of key.
    #[error("{path}: {reason}")]
    KeyFile {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// No passphrase could be had.
    #[error("no passphrase for {what}: {reason}")]
    Passphrase {
        /// What it should open.
        what: String,
        /// Why.
        reason: String,
    },
    /// Not a certificate, request or key.
    #[error("{what} does not parse: {reason}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// The validity is over.
    #[error("the certificate expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The validity has not begun.
    #[error("the certificate is valid only from {from}")]
    NotYetValid {
        /// When it begins.
        from: Timestamp,
    },
    /// No trusted authority issued it.
    #[error(
        "no authority that the global configuration trusts for this purpose issued the certificate ({0})"
    )]
    UnknownIssuer(String),
    /// Issued for something else.
    #[error("the certificate is not meant for this use: {0}")]
    WrongUse(&'static str),
    /// It does not name what it should.
    #[error("the certificate names {found}, not {expected}")]
    WrongSubject {
        /// What it should name.
        expected: String,
        /// What it names.
        found: String,
    },
    /// A request's own signature.
    #[error("the signature of the certification request does not hold")]
    RequestSignature,
    /// rustls refuses keys or certificates.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl CertsError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "certs.file",
            Self::Exists { .. } => "certs.exists",
            Self::WrongPassphrase { .. } => "certs.wrong_passphrase",
            Self::KeyFile { .. } => "certs.key_file",
            Self::Passphrase { .. } => "certs.passphrase",
            Self::Malformed { .. } => "certs.malformed",
            Self::Expired { .. } => "certs.expired",
            Self::NotYetValid { .. } => "certs.not_yet_valid",
            Self::UnknownIssuer(_) => "certs.unknown_issuer",
            Self::WrongUse(_) => "certs.wrong_use",
            Self::WrongSubject { .. } => "certs.wrong_subject",
            Self::RequestSignature => "certs.request_signature",
            Self::Tls(_) => "certs.tls",
        }
    }
}
