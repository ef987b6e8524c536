//! Files that people and openssl read too: certificates in PEM.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use bytes::Bytes;
use der::pem::LineEnding;
use peabiru_certs::CertsError;

use crate::RegistryError;

/// Writes a new file, readable by everyone.
///
/// # Errors
/// `File`, also if it is there already: nothing is overwritten.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    let failed = |source| RegistryError::File { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

/// Writes a certificate in PEM.
///
/// # Errors
/// `File`.
pub fn write_certificate(path: &Path, der: &[u8]) -> Result<(), RegistryError> {
    let pem = der::pem::encode_string(PEM_LABEL, LineEnding::LF, der);
    let pem = pem.map_err(|error| malformed(&error))?;
    write_new(path, pem.as_bytes())
}

/// Reads a certificate, PEM or DER. Gives its DER.
///
/// # Errors
/// `File`, or `Certs` if it is no certificate file.
pub fn read_certificate(path: &Path) -> Result<Bytes, RegistryError> {
    let bytes = fs::read(path).map_err(|source| RegistryError::File { path: path.to_owned(), source })?;
    if !bytes.starts_with(b"-----") {
        return Ok(bytes.into());
    }
    match der::pem::decode_vec(&bytes) {
        Ok((PEM_LABEL, der)) => Ok(der.into()),
        Ok((label, _)) => Err(malformed(&format_args!("{} holds {label}", path.display()))),
        Err(error) => Err(malformed(&format_args!("{}: {error}", path.display()))),
    }
}

fn malformed(reason: &dyn std::fmt::Display) -> RegistryError {
    CertsError::Malformed { what: "certificate", reason: reason.to_string() }.into()
}

const PEM_LABEL: &str = "CERTIFICATE";
