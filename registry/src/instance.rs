//! Makes an instance: roots, pilot authority, the registry's keys with the roots' delegation, the first two officers.
//!
//! ```text
//! FOLDER/anchor.toml                     configuration anchor, for every node
//!        roots/root-1.key …              to be kept offline, each by another person
//!        ca/pilot-ca.{key,crt}           pilot authority: issues certificates of nodes, ledgers and operators
//!        registry/registry.toml          and the files that it names; data/ is the registry's ledger
//!        operators/registration-officer.{key,crt}   proposes members, nodes and ledgers; registers contracts
//!        operators/security-officer.{key,crt}       approves them: another person's
//! ```

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use peabiru_certs::key::Algorithm;
use peabiru_certs::pem::write_certificate;
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_certs::profile::Subject;
use peabiru_certs::{Passphrase, SecretKey};
use peabiru_proto::globalconf::{ConfigurationAnchor, RegistryAddress};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::InstanceId;
use peabiru_proto::origin::{Domain, Epoch, Origin};
use peabiru_proto::time::Timestamp;

use crate::RegistryError;
use crate::delegation::Delegation;
use crate::file::write_new;

/// What is to be made.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// Its name: first part of every identifier.
    pub instance: InstanceId,
    /// First part of every origin.
    pub domain: Domain,
    /// For people.
    pub name: Option<String>,
    /// How many root keys.
    pub roots: u32,
    /// How many of them must sign.
    pub threshold: u32,
    /// Names and addresses under which the registry is reached, the preferred one first.
    pub hosts: Vec<String>,
    /// On which address it listens.
    pub listen: IpAddr,
    /// Port of the admin API.
    pub admin_port: u16,
    /// Port of the distribution service.
    pub distribution_port: u16,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Where everything is.
    pub folder: PathBuf,
    /// For every node.
    pub anchor_file: PathBuf,
    /// Its content.
    pub anchor: ConfigurationAnchor,
    /// Of `peabiru-registry`.
    pub registry_config: PathBuf,
    /// SHA-256 of the registry's TLS certificate: clients of the admin API pin it.
    pub registry_certificate_sha256: Digest,
    /// Root keys.
    pub root_keys: Vec<PathBuf>,
    /// Certificate of the pilot authority.
    pub ca_certificate: PathBuf,
    /// Its key.
    pub ca_key: PathBuf,
    /// Proposes.
    pub registration_officer: Issued,
    /// Approves.
    pub security_officer: Issued,
}

/// Makes an instance in a new folder. Prints nothing.
///
/// # Errors
/// `FolderInUse`, `Roots`, `File`, `Certs`.
pub fn create(
    folder: &Path,
    spec: &InstanceSpec,
    passphrase: &Passphrase,
    now: Timestamp,
) -> Result<Instance, RegistryError> {
    if spec.threshold == 0 || spec.threshold > spec.roots || spec.roots > ROOTS_MAX {
        let (threshold, roots) = (spec.threshold, spec.roots);
        return Err(RegistryError::Roots { threshold, roots, max: ROOTS_MAX });
    }
    make_folders(folder)?;
    let maker = Maker { folder, spec, passphrase, now };
    let (roots, root_keys) = maker.roots()?;
    let (ca, ca_certificate, ca_key) = maker.pilot_ca()?;
    let signers = roots.iter().take(usize::try_from(spec.threshold).unwrap_or(usize::MAX));
    maker.registry_keys(&signers.cloned().collect::<Vec<_>>())?;
    let tls = maker.issue(&ca, "registry/tls", Subject::Registry { hosts: spec.hosts.clone() })?;
    let officer = |name: &str| {
        let files = format!("operators/{}", name.replace(' ', "-"));
        maker.issue(&ca, &files, Subject::Operator { name: name.to_owned() })
    };
    let (registration_officer, security_officer) =
        (officer("registration officer")?, officer("security officer")?);
    let officers = [registration_officer.sha256(), security_officer.sha256()];
    let registry_config = folder.join("registry/registry.toml");
    write_new(&registry_config, maker.registry_toml(&officers).as_bytes())?;
    let anchor = maker.anchor(&roots, tls.sha256());
    let anchor_file = folder.join("anchor.toml");
    write_new(&anchor_file, anchor.to_toml().as_bytes())?;
    Ok(Instance {
        folder: folder.to_owned(),
        anchor_file,
        anchor,
        registry_config,
        registry_certificate_sha256: tls.sha256(),
        root_keys,
        ca_certificate,
        ca_key,
        registration_officer,
        security_officer,
    })
}

/// Makes a key and lets the pilot authority certify it: further operators.
///
/// # Errors
/// `File`, `Certs`.
pub fn issue(
    ca: &PilotCa,
    files: &Path,
    subject: Subject,
    passphrase: &Passphrase,
    now: Timestamp,
) -> Result<Issued, RegistryError> {
    let algorithm = match subject {
        Subject::Sealing { .. } => Algorithm::Ed25519,
        Subject::Node { .. } | Subject::Registry { .. } | Subject::Operator { .. } => Algorithm::P256,
    };
    let key = SecretKey::generate(algorithm);
    let certificate = ca.issue_for_key(&key, subject, now)?;
    let (key_file, certificate_file) = (with_suffix(files, ".key"), with_suffix(files, ".crt"));
    key.write_encrypted(&key_file, passphrase)?;
    write_certificate(&certificate_file, &certificate)?;
    Ok(Issued { certificate, certificate_file, key_file })
}

/// A certificate with the files that were written.
#[derive(Debug, Clone)]
pub struct Issued {
    /// DER.
    pub certificate: Bytes,
    /// PEM.
    pub certificate_file: PathBuf,
    /// Encrypted.
    pub key_file: PathBuf,
}

impl Issued {
    /// What both files are called before their suffix.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.certificate_file.with_extension("")
    }

    /// SHA-256 of the certificate's DER: how operators and servers are known.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        Digest::of(&self.certificate)
    }
}

struct Maker<'a> {
    folder: &'a Path,
    spec: &'a InstanceSpec,
    passphrase: &'a Passphrase,
    now: Timestamp,
}

impl Maker<'_> {
    fn roots(&self) -> Result<(Vec<SecretKey>, Vec<PathBuf>), RegistryError> {
        let root = |number: u32| {
            let path = self.folder.join(format!("roots/root-{number}.key"));
            Ok((self.key(&path)?, path))
        };
        (1..=self.spec.roots).map(root).collect()
    }

    fn pilot_ca(&self) -> Result<(PilotCa, PathBuf, PathBuf), RegistryError> {
        let ca = PilotCa::create(&self.spec.instance, self.now)?;
        let (certificate, key) = (self.folder.join("ca/pilot-ca.crt"), self.folder.join("ca/pilot-ca.key"));
        ca.key().write_encrypted(&key, self.passphrase)?;
        write_certificate(&certificate, ca.certificate())?;
        Ok((ca, certificate, key))
    }

    fn registry_keys(&self, roots: &[SecretKey]) -> Result<(), RegistryError> {
        let snapshot_key = self.key(&self.folder.join("registry/snapshot.key"))?;
        let sealing_key = self.key(&self.folder.join("registry/sealing.key"))?;
        let origin = Origin::of_registry(&self.spec.domain, Epoch::FIRST);
        let instance = &self.spec.instance;
        let delegation = Delegation::sign(instance, &origin, &snapshot_key, &sealing_key, roots, self.now)?;
        write_new(&self.folder.join("registry/delegation"), &delegation)
    }

    fn key(&self, path: &Path) -> Result<SecretKey, RegistryError> {
        let key = SecretKey::generate(Algorithm::Ed25519);
        key.write_encrypted(path, self.passphrase)?;
        Ok(key)
    }

    fn issue(&self, ca: &PilotCa, files: &str, subject: Subject) -> Result<Issued, RegistryError> {
        issue(ca, &self.folder.join(files), subject, self.passphrase, self.now)
    }

    /// The documented file with this instance's values.
    fn registry_toml(&self, officers: &[Digest; 2]) -> String {
        let address = |port| SocketAddr::new(self.spec.listen, port).to_string();
        let values = [
            ("\"PY\"", format!("\"{}\"", self.spec.instance)),
            ("\"py.peabiru.example\"", format!("\"{}\"", self.spec.domain)),
            ("127.0.0.1:5600", address(self.spec.admin_port)),
            ("127.0.0.1:5601", address(self.spec.distribution_port)),
            (UNSET_SHA256[0], officers[0].to_string()),
            (UNSET_SHA256[1], officers[1].to_string()),
        ];
        let text = values.iter().fold(TEMPLATE.to_owned(), |text, (from, to)| text.replacen(from, to, 1));
        match &self.spec.name {
            Some(name) => format!("# {}\n{text}", name.replace(char::is_control, " ")),
            None => text,
        }
    }

    fn anchor(&self, roots: &[SecretKey], certificate_sha256: Digest) -> ConfigurationAnchor {
        let registry = |host: &String| RegistryAddress {
            url: format!("https://{}:{}", bracketed(host), self.spec.distribution_port),
            certificate_sha256,
        };
        ConfigurationAnchor {
            instance: self.spec.instance.clone(),
            domain: self.spec.domain.clone(),
            threshold: self.spec.threshold,
            root_keys: roots.iter().filter_map(SecretKey::ed25519_public_key).collect(),
            registries: self.spec.hosts.iter().map(registry).collect(),
        }
    }
}

/// The folder may be there, but empty.
fn make_folders(folder: &Path) -> Result<(), RegistryError> {
    let failed = |source| RegistryError::File { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    if fs::read_dir(folder).map_err(failed)?.next().is_some() {
        return Err(RegistryError::FolderInUse { path: folder.to_owned() });
    }
    ["roots", "ca", "registry", "operators"]
        .iter()
        .try_for_each(|name| fs::create_dir(folder.join(name)).map_err(failed))
}

/// An IPv6 address stands in brackets in a URL.
fn bracketed(host: &str) -> String {
    if host.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

fn with_suffix(files: &Path, suffix: &str) -> PathBuf {
    let mut path = files.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

const TEMPLATE: &str = include_str!("registry.toml");
/// What stands in it for the certificates of the two officers.
const UNSET_SHA256: [&str; 2] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000001",
];
/// Most root keys: more people than this do not meet.
const ROOTS_MAX: u32 = 15;
