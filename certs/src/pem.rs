//! Certificate files, which people and openssl read too.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use bytes::Bytes;
use der::pem::LineEnding;

use crate::CertsError;

/// Writes a certificate in PEM, readable by everyone. Nothing is overwritten.
///
/// # Errors
/// `Exists`, `File`.
pub fn write_certificate(path: &Path, der: &[u8]) -> Result<(), CertsError> {
    let pem = der::pem::encode_string(LABEL, LineEnding::LF, der);
    let pem = pem.map_err(|error| malformed(path, &error))?;
    let open = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    let mut file = open.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => CertsError::Exists { path: path.to_owned() },
        _ => CertsError::File { path: path.to_owned(), source },
    })?;
    let written = file.write_all(pem.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|source| CertsError::File { path: path.to_owned(), source })
}

/// Reads a certificate, PEM or DER. Gives its DER.
///
/// # Errors
/// `File`, `Malformed`.
pub fn read_certificate(path: &Path) -> Result<Bytes, CertsError> {
    let bytes = read(path)?;
    if !bytes.starts_with(b"-----") {
        return Ok(bytes.into());
    }
    decode(path, &bytes)
}

/// Reads a file of one or more certificates in PEM.
///
/// # Errors
/// `File`, `Malformed`.
pub fn read_certificates(path: &Path) -> Result<Vec<Bytes>, CertsError> {
    let bytes = read(path)?;
    let text = String::from_utf8(bytes).map_err(|error| malformed(path, &error))?;
    let blocks = text.split_inclusive(END).filter(|block| block.contains(END));
    let certificates: Vec<_> =
        blocks.map(|block| decode(path, block.trim_start().as_bytes())).collect::<Result<_, _>>()?;
    if certificates.is_empty() {
        return Err(malformed(path, &"it holds no certificate in PEM"));
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, CertsError> {
    fs::read(path).map_err(|source| CertsError::File { path: path.to_owned(), source })
}

fn decode(path: &Path, pem: &[u8]) -> Result<Bytes, CertsError> {
    match der::pem::decode_vec(pem) {
        Ok((LABEL, der)) => Ok(der.into()),
        Ok((label, _)) => Err(malformed(path, &format_args!("it holds {label}"))),
        Err(error) => Err(malformed(path, &error)),
    }
}

fn malformed(path: &Path, reason: &dyn std::fmt::Display) -> CertsError {
    CertsError::Malformed { what: "certificate", reason: format!("{}: {reason}", path.display()) }
}

const LABEL: &str = "CERTIFICATE";
const END: &str = "-----END CERTIFICATE-----\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_read_back_one_or_several_and_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one.crt"), folder.path().join("two.crt"));
        write_certificate(&one, b"first").unwrap();
        write_certificate(&two, b"second").unwrap();
        assert_eq!(read_certificate(&one).unwrap(), "first");
        assert_eq!(write_certificate(&one, b"other").unwrap_err().code(), "certs.exists");
        let both = [fs::read(&one).unwrap(), fs::read(&two).unwrap()].concat();
        fs::write(folder.path().join("both.crt"), both).unwrap();
        assert_eq!(read_certificates(&folder.path().join("both.crt")).unwrap(), ["first", "second"]);
    }

    #[test]
    fn another_file_is_named_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.crt");
        fs::write(&path, "-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n").unwrap();
        let said = read_certificate(&path).unwrap_err().to_string();
        assert!(said.contains("x.crt") && said.contains("KEY"), "{said}");
        assert_eq!(read_certificates(&path).unwrap_err().code(), "certs.malformed");
    }
}
