//! Secret keys and their files.
//!
//! A key file is an encrypted PKCS#8 in PEM (PBES2: scrypt N = 2^14, r = 8, p = 1; AES-256-CBC), which `openssl pkey`
//! reads too. It is created with mode 0600 and never overwritten.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use der::SecretDocument;
use der::asn1::OctetStringRef;
use der::oid::ObjectIdentifier;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef};
use spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use crate::{CertsError, Passphrase};

/// A private key. Its PKCS#8 is overwritten in memory when it is dropped; the copy inside the pair is AWS-LC's to erase.
#[derive(Clone)]
pub struct SecretKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: KeyPair,
}

/// Which signature a key makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Sealing keys, roots, the snapshot key.
    Ed25519,
    /// Authorities and TLS.
    P256,
}

#[derive(Clone)]
enum KeyPair {
    Ed25519(std::sync::Arc<Ed25519KeyPair>),
    P256(std::sync::Arc<EcdsaKeyPair>),
}

/// Wraps the slots of payloads: 32 bytes.
#[derive(Clone)]
pub struct StorageKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// A fresh key of the operating system's randomness.
    #[must_use]
    pub fn generate(algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = match algorithm {
            // Version 1 by hand: OpenSSL 3.0 does not read version 2 of an Ed25519 key.
            Algorithm::Ed25519 => {
                let mut der = Zeroizing::new(ED25519_PKCS8_PREFIX.to_vec());
                let mut seed = Zeroizing::new([0; 32]);
                random.fill(seed.as_mut()).expect("the operating system has randomness");
                der.extend_from_slice(seed.as_ref());
                der
            }
            Algorithm::P256 => {
                let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
                Zeroizing::new(der.expect("the operating system has randomness").as_ref().to_vec())
            }
        };
        Self::from_pkcs8(pkcs8).expect("a key just made is valid")
    }

    /// From PKCS#8 in clear.
    ///
    /// # Errors
    /// `Malformed` if it is neither Ed25519 nor P-256.
    pub fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, CertsError> {
        let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).ok();
        let p256 = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8).ok();
        let pair = ed25519()
            .map(|pair| KeyPair::Ed25519(pair.into()))
            .or_else(|| p256().map(|pair| KeyPair::P256(pair.into())))
            .ok_or(CertsError::Malformed {
                what: "private key",
                reason: "it is neither Ed25519 nor P-256".to_owned(),
            })?;
        Ok(Self { pkcs8, pair })
    }

    /// Which signature it makes.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.pair {
            KeyPair::Ed25519(_) => Algorithm::Ed25519,
            KeyPair::P256(_) => Algorithm::P256,
        }
    }

    /// The private key in clear, for the one who makes a typed key of it.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// 32 bytes (Ed25519) or the uncompressed point (P-256).
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        match &self.pair {
            KeyPair::Ed25519(pair) => pair.public_key().as_ref(),
            KeyPair::P256(pair) => pair.public_key().as_ref(),
        }
    }

    /// The 32 bytes, if it is Ed25519.
    #[must_use]
    pub fn ed25519_public_key(&self) -> Option<[u8; 32]> {
        match &self.pair {
            KeyPair::Ed25519(pair) => pair.public_key().as_ref().try_into().ok(),
            KeyPair::P256(_) => None,
        }
    }

    /// Signs: 64 bytes for Ed25519, ASN.1 for P-256 (over SHA-256).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            KeyPair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            KeyPair::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message);
                signature.expect("the operating system has randomness").as_ref().to_vec()
            }
        }
    }

    /// Writes a new key file.
    ///
    /// # Errors
    /// `Exists` or `File`.
    pub fn write_encrypted(&self, path: &Path, passphrase: &Passphrase) -> Result<(), CertsError> {
        let info = PrivateKeyInfoRef::try_from(self.pkcs8.as_slice()).expect("a parsed key is PKCS#8");
        write_encrypted(path, &info, passphrase)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// `File`, `WrongPassphrase`, `KeyFile`.
    pub fn read_encrypted(path: &Path, passphrase: &Passphrase) -> Result<Self, CertsError> {
        let document = read_encrypted(path, passphrase)?;
        let wrong = |_| key_file(path, "it holds neither an Ed25519 nor a P-256 key");
        Self::from_pkcs8(document.to_bytes()).map_err(wrong)
    }
}

impl StorageKey {
    /// A fresh key.
    #[must_use]
    pub fn generate() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(key.as_mut()).expect("the operating system has randomness");
        Self(key)
    }

    /// Takes 32 bytes over.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Writes a new key file, in the same container as private keys.
    ///
    /// # Errors
    /// `Exists` or `File`.
    pub fn write_encrypted(&self, path: &Path, passphrase: &Passphrase) -> Result<(), CertsError> {
        let algorithm = AlgorithmIdentifierRef { oid: AES_256_GCM, parameters: None };
        let key = OctetStringRef::new(self.0.as_ref()).expect("32 bytes fit an octet string");
        write_encrypted(path, &PrivateKeyInfoRef::new(algorithm, key), passphrase)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// `File`, `WrongPassphrase`, `KeyFile`.
    pub fn read_encrypted(path: &Path, passphrase: &Passphrase) -> Result<Self, CertsError> {
        let document = read_encrypted(path, passphrase)?;
        let wrong = || key_file(path, "it holds no storage key");
        let info: PrivateKeyInfoRef<'_> = document.decode_msg().map_err(|_| wrong())?;
        let key = info.private_key.as_bytes().try_into().ok().filter(|_| info.algorithm.oid == AES_256_GCM);
        key.map(Self::from_bytes).ok_or_else(wrong)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({:?}, …)", self.algorithm())
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StorageKey(…)")
    }
}

/// Encrypts a key file under another passphrase, whatever key it holds. A crash leaves the old file or the new one.
///
/// # Errors
/// `File`, `WrongPassphrase`, `KeyFile`; `Exists` if an earlier attempt left PATH.new behind.
pub fn change_passphrase(path: &Path, old: &Passphrase, new: &Passphrase) -> Result<(), CertsError> {
    let document = read_encrypted(path, old)?;
    let info: PrivateKeyInfoRef<'_> = document.decode_msg().map_err(|_| key_file(path, "it holds no key"))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    write_encrypted(beside.as_ref(), &info, new)?;
    fs::rename(&beside, path).map_err(|source| CertsError::File { path: path.to_owned(), source })
}

fn write_encrypted(
    path: &Path,
    info: &PrivateKeyInfoRef<'_>,
    passphrase: &Passphrase,
) -> Result<(), CertsError> {
    let encrypted = info
        .encrypt(passphrase.as_bytes())
        .map_err(|error| CertsError::Malformed { what: "private key", reason: error.to_string() })?;
    let pem = encrypted.to_pem(PEM_LABEL, LineEnding::LF).expect("any document has a PEM form");
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
            file.write_all(pem.as_bytes())?;
            file.sync_all()
        });
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CertsError::Exists { path: path.to_owned() })
        }
        Err(source) => Err(CertsError::File { path: path.to_owned(), source }),
    }
}

fn read_encrypted(path: &Path, passphrase: &Passphrase) -> Result<SecretDocument, CertsError> {
    let pem =
        fs::read_to_string(path).map_err(|source| CertsError::File { path: path.to_owned(), source })?;
    let no_key_file = || key_file(path, "it is no encrypted key file (PKCS#8, ENCRYPTED PRIVATE KEY)");
    let (label, document) = SecretDocument::from_pem(&pem).map_err(|_| no_key_file())?;
    let encrypted: EncryptedPrivateKeyInfoRef<'_> = document.decode_msg().map_err(|_| no_key_file())?;
    if label != PEM_LABEL {
        return Err(no_key_file());
    }
    // A thread of its own, because an allocator keeps what a living thread freed for its next request.
    let decrypted = std::thread::scope(|scope| {
        let decrypting = scope.spawn(|| {
            let decrypted = encrypted.decrypt(passphrase.as_bytes());
            ask_for_more_than_is_kept();
            decrypted
        });
        decrypting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    decrypted.map_err(|_| CertsError::WrongPassphrase { path: path.to_owned() })
}

/// scrypt works on 16 MiB. Of a second key file glibc's allocator learns to keep 32 MiB at hand: too much for a node at
/// rest, and just too little for it to give them back by itself. After a larger request, never touched, it does.
fn ask_for_more_than_is_kept() {
    let untouched = [(); BLOCKS].map(|()| Vec::<u8>::with_capacity(BLOCK_BYTES));
    drop(std::hint::black_box(untouched));
}

/// Below scrypt's, so that the allocator takes them from what it keeps; together beyond twice that.
const BLOCKS: usize = 3;
const BLOCK_BYTES: usize = 12 * 1024 * 1024;

fn key_file(path: &Path, reason: &'static str) -> CertsError {
    CertsError::KeyFile { path: path.to_owned(), reason }
}

const PEM_LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// RFC 8410: version 0, id-Ed25519, an octet string of an octet string of 32 bytes.
const ED25519_PKCS8_PREFIX: &[u8] = &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// id-aes256-GCM: marks the storage key in its container.
const AES_256_GCM: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.46");

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
    }

    #[test]
    fn key_files_read_back_and_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let key = SecretKey::generate(Algorithm::Ed25519);
        key.write_encrypted(&path, &passphrase("one")).unwrap();
        let read = SecretKey::read_encrypted(&path, &passphrase("one")).unwrap();
        assert_eq!(read.public_key(), key.public_key());
        assert!(matches!(key.write_encrypted(&path, &passphrase("one")), Err(CertsError::Exists { .. })));
        let wrong = SecretKey::read_encrypted(&path, &passphrase("two")).unwrap_err();
        assert_eq!(
            (wrong.code(), wrong.to_string()),
            ("certs.wrong_passphrase", format!("{}: wrong passphrase", path.display()))
        );
    }

    #[test]
    fn a_key_file_takes_another_passphrase_and_keeps_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let (path, storage) = (folder.path().join("key.pem"), folder.path().join("storage.pem"));
        let (key, storage_key) = (SecretKey::generate(Algorithm::P256), StorageKey::generate());
        key.write_encrypted(&path, &passphrase("one")).unwrap();
        storage_key.write_encrypted(&storage, &passphrase("one")).unwrap();
        let wrong = change_passphrase(&path, &passphrase("two"), &passphrase("two")).unwrap_err();
        assert_eq!(wrong.code(), "certs.wrong_passphrase");
        for file in [&path, &storage] {
            change_passphrase(file, &passphrase("one"), &passphrase("two")).unwrap();
        }
        let read = SecretKey::read_encrypted(&path, &passphrase("two")).unwrap();
        assert_eq!(read.public_key(), key.public_key());
        assert!(SecretKey::read_encrypted(&path, &passphrase("one")).is_err());
        let read = StorageKey::read_encrypted(&storage, &passphrase("two")).unwrap();
        assert_eq!(read.as_bytes(), storage_key.as_bytes());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
    }

    #[test]
    fn a_storage_key_is_no_private_key() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, private) = (folder.path().join("storage.pem"), folder.path().join("private.pem"));
        let key = StorageKey::generate();
        key.write_encrypted(&storage, &passphrase("p")).unwrap();
        SecretKey::generate(Algorithm::P256).write_encrypted(&private, &passphrase("p")).unwrap();
        assert_eq!(
            StorageKey::read_encrypted(&storage, &passphrase("p")).unwrap().as_bytes(),
            key.as_bytes()
        );
        assert!(matches!(
            StorageKey::read_encrypted(&private, &passphrase("p")),
            Err(CertsError::KeyFile { .. })
        ));
        assert!(matches!(
            SecretKey::read_encrypted(&storage, &passphrase("p")),
            Err(CertsError::KeyFile { .. })
        ));
    }

    #[test]
    fn what_is_no_key_file_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        assert!(matches!(SecretKey::read_encrypted(&path, &passphrase("p")), Err(CertsError::File { .. })));
        fs::write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        assert!(matches!(
            SecretKey::read_encrypted(&path, &passphrase("p")),
            Err(CertsError::KeyFile { .. })
        ));
    }
}
