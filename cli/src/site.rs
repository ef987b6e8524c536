//! A node's folder: keys, certificates and `node.toml`, made for pilots and sandboxes whose authority is at hand.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use peabiru_certs::key::Algorithm;
use peabiru_certs::pem::write_certificate;
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_certs::profile::Subject;
use peabiru_certs::{Passphrase, SecretKey, StorageKey};
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::origin::{Epoch, Origin};
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{
    AddLedgerRequest, AddNodeRequest, DirectAddress, LedgerRecord, NodeAddress, NodeRecord, node_address,
};

use crate::CliError;
use crate::officers::Officers;

/// A node that is to be made.
#[derive(Debug, Clone)]
pub struct SiteSpec {
    /// Its identifier.
    pub node: NodeId,
    /// Whom it hosts.
    pub member: MemberId,
    /// Where other nodes reach it.
    pub link: SocketAddr,
    /// What else stands in `node.toml`: doors, clients, services, metrics.
    pub sections: String,
}

/// A node's folder, with what the registry must know of it.
#[derive(Debug, Clone)]
pub struct Site {
    /// Where everything is.
    pub folder: PathBuf,
    /// Its identifier.
    pub node: NodeId,
    /// Whom it hosts.
    pub member: MemberId,
    /// Where other nodes reach it.
    pub link: SocketAddr,
    /// The member's ledger.
    pub origin: Origin,
    /// DER.
    pub authentication_certificate: Bytes,
    /// DER.
    pub sealing_certificate: Bytes,
}

impl Site {
    /// Makes keys, lets the authority certify them, and writes `node.toml`, in a new folder.
    ///
    /// # Errors
    /// `File`, `Certs`.
    pub fn make(
        folder: &Path,
        spec: &SiteSpec,
        ca: &PilotCa,
        anchor: &ConfigurationAnchor,
        passphrase: &Passphrase,
        now: Timestamp,
    ) -> Result<Self, CliError> {
        let keys = folder.join("keys");
        fs::create_dir_all(&keys).map_err(CliError::file(&keys))?;
        let origin = Origin::of_ledger(&anchor.domain, &spec.member, &spec.node, Epoch::FIRST);
        let issue = |name: &str, algorithm, subject| -> Result<Bytes, CliError> {
            let key = SecretKey::generate(algorithm);
            key.write_encrypted(&keys.join(format!("{name}.key")), passphrase)?;
            let certificate = ca.issue_for_key(&key, subject, now)?;
            write_certificate(&keys.join(format!("{name}.crt")), &certificate)?;
            Ok(certificate)
        };
        let hosts = vec![spec.link.ip().to_string()];
        let node = Subject::Node { id: spec.node.clone(), hosts };
        let sealing = Subject::Sealing { origin: origin.clone(), member: spec.member.clone() };
        let authentication_certificate = issue("authentication", Algorithm::P256, node)?;
        let sealing_certificate = issue("sealing", Algorithm::Ed25519, sealing)?;
        StorageKey::generate().write_encrypted(&keys.join("storage.key"), passphrase)?;
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(CliError::file(&path))
        };
        write("anchor.toml", &anchor.to_toml())?;
        write("node.toml", &spec.to_toml())?;
        Ok(Self {
            folder: folder.to_owned(),
            node: spec.node.clone(),
            member: spec.member.clone(),
            link: spec.link,
            origin,
            authentication_certificate,
            sealing_certificate,
        })
    }

    /// Registers node and ledger; the member must be registered.
    ///
    /// # Errors
    /// What the registry refuses.
    pub async fn register(&self, officers: &mut Officers) -> Result<(), CliError> {
        let direct = DirectAddress { host: self.link.ip().to_string(), port: self.link.port().into() };
        let node = NodeRecord {
            id: self.node.to_string(),
            addresses: vec![NodeAddress { address: Some(node_address::Address::Direct(direct)) }],
            authentication_certificates: vec![self.authentication_certificate.clone()],
        };
        let added = officers.registration.add_node(AddNodeRequest { node: Some(node) }).await?.into_inner();
        officers.approve(added.proposal).await?;
        let ledger = LedgerRecord {
            origin: self.origin.to_string(),
            node: self.node.to_string(),
            epoch: Epoch::FIRST.number(),
            sealing_certificate: self.sealing_certificate.clone(),
            ..Default::default()
        };
        let request = AddLedgerRequest { member: self.member.to_string(), ledger: Some(ledger) };
        let added = officers.registration.add_ledger(request).await?.into_inner();
        officers.approve(added.proposal).await
    }

    /// `node.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        SiteFolder(self.folder.clone()).config()
    }

    /// Where operators reach the node while it runs.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        SiteFolder(self.folder.clone()).admin_socket()
    }
}

/// Where the files of a node are that was made before.
#[derive(Debug, Clone)]
pub(crate) struct SiteFolder(pub(crate) PathBuf);

impl SiteFolder {
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("node.toml")
    }

    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.0.join("data/admin.sock")
    }
}

impl SiteSpec {
    fn to_toml(&self) -> String {
        let Self { node, member, link, sections } = self;
        format!(
            r#"# Every key is explained in docs/node.toml.
[node]
id = "{node}"
folder = "data"
instance_anchor = "anchor.toml"

[keys]
authentication_key = "keys/authentication.key"
authentication_certificate = "keys/authentication.crt"
storage_key = "keys/storage.key"

[[ledgers]]
member = "{member}"
sealing_key = "keys/sealing.key"
sealing_certificate = "keys/sealing.crt"

[link]
listen = "{link}"

{sections}"#
        )
    }
}
