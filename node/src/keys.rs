//! What the node is: its key files and certificates, opened with one passphrase.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use peabiru_certs::peer::TlsIdentity;
use peabiru_certs::pem::read_certificate;
use peabiru_certs::{Passphrase, SecretKey, StorageKey, chain};
use peabiru_ledger::checkpoint::{SealingKey, VerifyingKey};
use peabiru_ledger::ledger::LedgerIdentity;
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::id::MemberId;
use peabiru_proto::origin::Origin;

use crate::NodeError;
use crate::config::{Config, LedgerSection};

/// Everything that key files hold. Opening them is slow on purpose.
pub(crate) struct Keys {
    pub(crate) authentication: TlsIdentity,
    pub(crate) storage: StorageKey,
    pub(crate) ledgers: Vec<HostedLedger>,
    /// Of the TCP door, if it has TLS.
    pub(crate) door: Option<TlsIdentity>,
}

/// A hosted member's ledger: its name and keys.
pub(crate) struct HostedLedger {
    pub(crate) member: MemberId,
    pub(crate) identity: LedgerIdentity,
}

/// The certificate of the key that seals a ledger, and the key to go over to if there is one.
pub(crate) struct Sealing {
    pub(crate) certificate: Bytes,
    pub(crate) next: Option<NextKey>,
}

/// A key that does not seal yet.
pub(crate) struct NextKey {
    pub(crate) key: SealingKey,
    pub(crate) certificate: Bytes,
    /// File of the certificate.
    pub(crate) path: PathBuf,
}

/// Reads the configuration anchor.
pub(crate) fn read_anchor(path: &Path) -> Result<ConfigurationAnchor, NodeError> {
    let text =
        fs::read_to_string(path).map_err(|source| NodeError::File { path: path.to_owned(), source })?;
    ConfigurationAnchor::parse(&text).map_err(|reason| NodeError::Anchor { path: path.to_owned(), reason })
}

/// A certificate with its key.
pub(crate) fn open_tls(
    certificate: &Path,
    key: &Path,
    passphrase: &Passphrase,
) -> Result<TlsIdentity, NodeError> {
    let certificate = read_certificate(certificate)?;
    Ok(TlsIdentity { certificate, key: SecretKey::read_encrypted(key, passphrase)? })
}

/// The same, if the file holds another certificate than this one.
pub(crate) fn open_other_tls(
    certificate: &Path,
    key: &Path,
    passphrase: &Passphrase,
    than: &[u8],
) -> Result<Option<TlsIdentity>, NodeError> {
    if read_certificate(certificate)? == than {
        return Ok(None);
    }
    open_tls(certificate, key, passphrase).map(Some)
}

impl Keys {
    pub(crate) fn open(
        config: &Config,
        anchor: &ConfigurationAnchor,
        passphrase: &Passphrase,
    ) -> Result<Self, NodeError> {
        let tls = |certificate: &Path, key: &Path| open_tls(certificate, key, passphrase);
        let keys = &config.keys;
        let ledger = |section| HostedLedger::open(section, config, anchor, passphrase);
        Ok(Self {
            authentication: tls(&keys.authentication_certificate, &keys.authentication_key)?,
            storage: StorageKey::read_encrypted(&keys.storage_key, passphrase)?,
            ledgers: config.ledgers.iter().map(ledger).collect::<Result<_, _>>()?,
            door: config.door.tls().map(|files| tls(files.certificate, files.key)).transpose()?,
        })
    }
}

impl HostedLedger {
    fn open(
        section: &LedgerSection,
        config: &Config,
        anchor: &ConfigurationAnchor,
        passphrase: &Passphrase,
    ) -> Result<Self, NodeError> {
        let member = section.member.get_ref().clone();
        if member.instance() != anchor.instance {
            return Err(NodeError::OtherInstance { member, instance: anchor.instance.to_string() });
        }
        let origin = Origin::of_ledger(&anchor.domain, &member, &config.node.id, section.epoch.into());
        let key = open_sealing_key(&section.sealing_key, &member, passphrase)?;
        // Without it a ledger that seals with the other one goes on; one that does not says which key it needs.
        let next_key = section.next().and_then(|(_, key)| match open_sealing_key(key, &member, passphrase) {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::warn!(%member, %error, code = error.code(), "the next sealing key cannot be opened");
                None
            }
        });
        Ok(Self { member, identity: LedgerIdentity { origin, key, next_key } })
    }
}

/// The certificate of the key that seals a ledger now, and the files of the next one if that does not seal yet.
pub(crate) fn certificate_in_force(
    section: &LedgerSection,
    in_force: &VerifyingKey,
) -> Result<(Bytes, Option<NextFiles>), NodeError> {
    let member = section.member.get_ref();
    let of = |path: &Path| {
        let certificate = read_certificate(path)?;
        let key = chain::named_ledger(&certificate)?.map(|(_, key)| VerifyingKey::from_bytes(key));
        let key = key.ok_or_else(|| NodeError::SealingKey { member: member.clone() })?;
        Ok::<_, NodeError>((certificate, key))
    };
    let next = section.next().map(|(path, key_file)| {
        let (certificate, key) = of(path)?;
        Ok::<_, NodeError>(NextFiles {
            certificate,
            key,
            path: path.to_owned(),
            key_file: key_file.to_owned(),
        })
    });
    let (certificate, key) = of(&section.sealing_certificate)?;
    match next.transpose()? {
        Some(next) if next.key == *in_force => Ok((next.certificate, None)),
        next if key == *in_force => Ok((certificate, next)),
        _ => Err(NodeError::SealingKeyOther { member: member.clone() }),
    }
}

/// Of a key that does not seal yet.
pub(crate) struct NextFiles {
    certificate: Bytes,
    key: VerifyingKey,
    path: PathBuf,
    key_file: PathBuf,
}

impl Sealing {
    /// Of a ledger that `in_force` seals. The next key is opened only if it is another one.
    pub(crate) fn open(
        section: &LedgerSection,
        in_force: &VerifyingKey,
        passphrase: &Passphrase,
    ) -> Result<Self, NodeError> {
        let member = section.member.get_ref();
        let (certificate, next) = certificate_in_force(section, in_force)?;
        let open = |files: NextFiles| {
            let key = open_sealing_key(&files.key_file, member, passphrase)?;
            if key.verifying_key() != files.key {
                return Err(NodeError::SealingKey { member: member.clone() });
            }
            Ok(NextKey { key, certificate: files.certificate, path: files.path })
        };
        Ok(Self { certificate, next: next.map(open).transpose()? })
    }
}

fn open_sealing_key(
    path: &Path,
    member: &MemberId,
    passphrase: &Passphrase,
) -> Result<SealingKey, NodeError> {
    let key = SecretKey::read_encrypted(path, passphrase)?;
    SealingKey::from_pkcs8(key.pkcs8()).map_err(|_| NodeError::SealingKey { member: member.clone() })
}
