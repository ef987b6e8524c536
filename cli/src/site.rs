//! A node's folder: keys, `node.toml`, and certificates if the authority is at hand, as in pilots and sandboxes; else requests.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use peabiru_certs::key::Algorithm;
use peabiru_certs::pem::write_certificate;
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_certs::profile::Subject;
use peabiru_certs::{Passphrase, SecretKey, StorageKey, request};
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
        let maker = Maker::in_folder(folder, passphrase)?;
        let origin = spec.origin(anchor);
        let issue = |name: &str, algorithm, subject| -> Result<Bytes, CliError> {
            let certificate = ca.issue_for_key(&maker.key(name, algorithm)?, subject, now)?;
            write_certificate(&maker.file(&format!("{name}.crt")), &certificate)?;
            Ok(certificate)
        };
        let hosts = vec![spec.link.ip().to_string()];
        let node = Subject::Node { id: spec.node.clone(), hosts };
        let sealing = Subject::Sealing { origin: origin.clone(), member: spec.member.clone() };
        let authentication_certificate = issue("authentication", Algorithm::P256, node)?;
        let sealing_certificate = issue("sealing", Algorithm::Ed25519, sealing)?;
        maker.the_rest(spec, anchor)?;
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

/// A folder whose certificates an authority elsewhere has yet to issue, beside the requests.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    /// `node.toml`.
    pub(crate) config: PathBuf,
    /// What the certificate of the sealing key must name.
    pub(crate) origin: Origin,
    /// PKCS#10, for the authentication key.
    pub(crate) authentication: PathBuf,
    /// PKCS#10, for the sealing key.
    pub(crate) sealing: PathBuf,
}

/// Makes keys, requests and `node.toml` in a new folder.
pub(crate) fn prepare(
    folder: &Path,
    spec: &SiteSpec,
    anchor: &ConfigurationAnchor,
    passphrase: &Passphrase,
) -> Result<Requests, CliError> {
    let maker = Maker::in_folder(folder, passphrase)?;
    let ask = |name: &str, algorithm, asked_for: &str| -> Result<PathBuf, CliError> {
        let request = request::make(&maker.key(name, algorithm)?, asked_for)?;
        let file = maker.file(&format!("{name}.csr"));
        fs::write(&file, request).map_err(CliError::file(&file))?;
        Ok(file)
    };
    let authentication = ask("authentication", Algorithm::P256, spec.node.as_str())?;
    let sealing = ask("sealing", Algorithm::Ed25519, spec.member.as_str())?;
    maker.the_rest(spec, anchor)?;
    let config = SiteFolder(folder.to_owned()).config();
    Ok(Requests { config, origin: spec.origin(anchor), authentication, sealing })
}

/// What a node's folder holds, whoever certifies its keys.
struct Maker<'a> {
    folder: &'a Path,
    keys: PathBuf,
    passphrase: &'a Passphrase,
}

impl<'a> Maker<'a> {
    fn in_folder(folder: &'a Path, passphrase: &'a Passphrase) -> Result<Self, CliError> {
        let keys = folder.join("keys");
        fs::create_dir_all(&keys).map_err(CliError::file(&keys))?;
        Ok(Self { folder, keys, passphrase })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.keys.join(name)
    }

    fn key(&self, name: &str, algorithm: Algorithm) -> Result<SecretKey, CliError> {
        let key = SecretKey::generate(algorithm);
        key.write_encrypted(&self.file(&format!("{name}.key")), self.passphrase)?;
        Ok(key)
    }

    fn the_rest(&self, spec: &SiteSpec, anchor: &ConfigurationAnchor) -> Result<(), CliError> {
        StorageKey::generate().write_encrypted(&self.file("storage.key"), self.passphrase)?;
        let write = |name: &str, text: &str| {
            let path = self.folder.join(name);
            fs::write(&path, text).map_err(CliError::file(&path))
        };
        write("anchor.toml", &anchor.to_toml())?;
        write("node.toml", &spec.to_toml())
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
    fn origin(&self, anchor: &ConfigurationAnchor) -> Origin {
        Origin::of_ledger(&anchor.domain, &self.member, &self.node, Epoch::FIRST)
    }

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
