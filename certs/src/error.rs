//! What can be wrong with keys and certificates.

use std::io;
use std::path::PathBuf;

use peabiru_proto::language::Language;
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

    /// For people. What libraries and the system say stays as they say it.
    #[must_use]
    pub fn said(&self, language: Language) -> String {
        match language {
            Language::English => self.to_string(),
            Language::Spanish => self.in_spanish(),
        }
    }

    fn in_spanish(&self) -> String {
        match self {
            Self::File { path, source } => format!("{}: {source}", path.display()),
            Self::Exists { path } => format!(
                "{} ya existe; un archivo de clave nunca se sobrescribe: muévalo antes",
                path.display()
            ),
            Self::WrongPassphrase { path } => {
                format!("{}: la contraseña no abre esta clave", path.display())
            }
            Self::KeyFile { path, reason } => {
                format!("{}: no es la clave que se espera ({reason})", path.display())
            }
            Self::Passphrase { what, reason } => format!("no hay contraseña para {what}: {reason}"),
            Self::Malformed { what, reason } => format!("no se puede leer ({what}): {reason}"),
            Self::Expired { at } => format!("el certificado venció el {at}"),
            Self::NotYetValid { from } => format!("el certificado vale recién desde el {from}"),
            Self::UnknownIssuer(detail) => format!(
                "el certificado no lo emitió ninguna autoridad en la que la configuración global confíe para este uso \
                 ({detail})"
            ),
            Self::WrongUse(detail) => format!("el certificado no es para este uso ({detail})"),
            Self::WrongSubject { expected, found } => {
                format!("el certificado nombra a {found}, y no a {expected}")
            }
            Self::RequestSignature => "la firma del pedido de certificado no es válida".to_owned(),
            Self::Tls(error) => format!("TLS: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_can_mend_is_said_in_spanish_too() {
        let path = PathBuf::from("MEC/keys/sealing.key");
        let wrong = CertsError::WrongPassphrase { path: path.clone() };
        assert_eq!(wrong.said(Language::English), "MEC/keys/sealing.key: wrong passphrase");
        assert_eq!(wrong.said(Language::Spanish), "MEC/keys/sealing.key: la contraseña no abre esta clave");
        let exists = CertsError::Exists { path };
        assert!(exists.said(Language::Spanish).contains("nunca se sobrescribe"));
    }
}
