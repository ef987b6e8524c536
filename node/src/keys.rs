//! What the node is: its key files and certificates, opened with one passphrase.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use peabiru_certs::peer::TlsIdentity;
use peabiru_certs::pem::read_certificate;
use peabiru_certs::{Passphrase, SecretKey, StorageKey};
use peabiru_ledger::checkpoint::SealingKey;
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

/// A hosted member's ledger: its name, key and registered certificate.
pub(crate) struct HostedLedger {
    pub(crate) member: MemberId,
    pub(crate) identity: LedgerIdentity,
    pub(crate) certificate: Bytes,
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
        let key = SecretKey::read_encrypted(&section.sealing_key, passphrase)?;
        let key = SealingKey::from_pkcs8(key.pkcs8())
            .map_err(|_| NodeError::SealingKey { member: member.clone() })?;
        let certificate = read_certificate(&section.sealing_certificate)?;
        Ok(Self { member, identity: LedgerIdentity { origin, key }, certificate })
    }
}
