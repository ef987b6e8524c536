//! The registry's one file, `registry.toml`. Every key:
//!
//! ```toml
#![doc = include_str!("registry.toml")]
//! ```
//!
//! Unknown keys are refused; a mistake is named with its line. Paths are relative to the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use peabiru_proto::hash::Digest;
use peabiru_proto::id::{InstanceId, MemberId};
use peabiru_proto::limits::MAX_SNAPSHOT_VALIDITY;
use peabiru_proto::origin::Domain;
use serde::Deserialize;
use unicode_normalization::is_nfc;

use crate::RegistryError;
use crate::state::{Operator, Role, check_name, folded};

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who it is and where it listens.
    pub registry: RegistrySection,
    /// Files of keys and certificates.
    pub keys: KeysSection,
    /// How snapshots are made.
    #[serde(default)]
    pub snapshot: SnapshotSection,
    /// What the first start puts into the ledger.
    #[serde(default)]
    pub bootstrap: BootstrapSection,
    /// Who may use the admin API.
    pub operators: Operators,
}

/// `[registry]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrySection {
    /// The instance.
    pub instance: InstanceId,
    /// First part of every origin.
    pub domain: Domain,
    /// Where the ledger is kept.
    pub folder: PathBuf,
    /// Admin API, mutual TLS.
    pub listen_admin: SocketAddr,
    /// Snapshots and parts, for whoever asks.
    pub listen_distribution: SocketAddr,
}

/// `[keys]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysSection {
    /// Signs snapshots.
    pub snapshot_key: PathBuf,
    /// Seals the ledger.
    pub sealing_key: PathBuf,
    /// The roots' word for both.
    pub delegation: PathBuf,
    /// TLS of both services.
    pub tls_key: PathBuf,
    /// Its certificate.
    pub tls_certificate: PathBuf,
}

/// `[snapshot]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotSection {
    #[serde(default)]
    valid_seconds: Validity,
}

/// `[bootstrap]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapSection {
    /// Certificate files of authorities that are trusted from the first start on, for every purpose.
    #[serde(default)]
    pub authorities: Vec<PathBuf>,
}

/// `[[operators]]`: each certificate once, and two persons for what needs four eyes.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<OperatorSection>")]
pub struct Operators(Vec<Operator>);

/// One of `[[operators]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorSection {
    name: String,
    #[serde(deserialize_with = "digest")]
    certificate_sha256: Digest,
    roles: BTreeSet<Role>,
    member: Option<MemberId>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
struct Validity(Duration);

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// `File`, or `Config` with the line.
    pub fn read(path: &Path) -> Result<Self, RegistryError> {
        let text = fs::read_to_string(path)
            .map_err(|source| RegistryError::File { path: path.to_owned(), source })?;
        let failed = |error: toml::de::Error| RegistryError::Config {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        };
        let config: Self = toml::from_str(&text).map_err(failed)?;
        Ok(config.relative_to(path.parent().unwrap_or(Path::new(""))))
    }

    fn relative_to(mut self, folder: &Path) -> Self {
        let keys = &mut self.keys;
        let paths = [
            &mut self.registry.folder,
            &mut keys.snapshot_key,
            &mut keys.sealing_key,
            &mut keys.delegation,
            &mut keys.tls_key,
            &mut keys.tls_certificate,
        ];
        for path in paths.into_iter().chain(&mut self.bootstrap.authorities) {
            *path = folder.join(&*path);
        }
        self
    }
}

impl SnapshotSection {
    /// How long a snapshot works without the registry.
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.valid_seconds.0
    }
}

impl Operators {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Operator> {
        self.0.iter()
    }
}

impl TryFrom<Vec<OperatorSection>> for Operators {
    type Error = String;

    fn try_from(sections: Vec<OperatorSection>) -> Result<Self, String> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = sections.iter().find(|operator| !seen.insert(operator.certificate_sha256)) {
            return Err(format!("the certificate of operator `{}` is listed twice", twice.name));
        }
        check_names(sections.iter().map(|section| section.name.as_str()))?;
        let officers = |role| {
            let of_instance =
                move |section: &&OperatorSection| section.member.is_none() && section.roles.contains(&role);
            sections.iter().filter(of_instance).map(|section| section.name.as_str()).collect::<BTreeSet<_>>()
        };
        let (registration, security) = (officers(Role::RegistrationOfficer), officers(Role::SecurityOfficer));
        if registration.is_empty() || security.is_empty() || registration.union(&security).count() < 2 {
            return Err(
                "nobody could approve anything: name a registration_officer and a security_officer of the \
                        instance, two persons"
                    .to_owned(),
            );
        }
        let operator = |OperatorSection { name, certificate_sha256, roles, member }| Operator {
            name,
            certificate_sha256,
            roles,
            member,
        };
        Ok(Self(sections.into_iter().map(operator).collect()))
    }
}

/// A name stands for a person: one person has one name, and no two names look alike.
fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for name in names {
        check_name(name).map_err(|refusal| format!("operator {name:?}: {refusal}"))?;
        if name.trim() != name {
            return Err(format!("operator {name:?}: the name begins or ends with a space"));
        }
        if !is_nfc(name) {
            return Err(format!(
                "operator {name:?}: the name is not in Unicode's normal form NFC: type it anew"
            ));
        }
        let other = *seen.entry(folded(name)).or_insert(name);
        if other != name {
            return Err(format!(
                "operators {other:?} and {name:?} look like one person: write one name alike"
            ));
        }
    }
    Ok(())
}

impl Default for Validity {
    fn default() -> Self {
        Self(MAX_SNAPSHOT_VALIDITY)
    }
}

impl TryFrom<u64> for Validity {
    type Error = String;

    fn try_from(seconds: u64) -> Result<Self, String> {
        let validity = Duration::from_secs(seconds);
        if (VALIDITY_MIN..=MAX_SNAPSHOT_VALIDITY).contains(&validity) {
            return Ok(Self(validity));
        }
        let (min, max) = (VALIDITY_MIN.as_secs(), MAX_SNAPSHOT_VALIDITY.as_secs());
        Err(format!("a snapshot is valid for {min} to {max} seconds"))
    }
}

fn digest<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// A snapshot that ends sooner would end while nodes fetch it.
const VALIDITY_MIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("registry.toml");

    fn read(text: &str) -> Result<Config, RegistryError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.toml");
        fs::write(&path, text).unwrap();
        Config::read(&path).map(|config| config.relative_to(folder.path()))
    }

    #[test]
    fn the_documented_file_is_a_valid_one() {
        let config = read(EXAMPLE).unwrap();
        assert_eq!(config.snapshot.validity(), MAX_SNAPSHOT_VALIDITY);
        assert!(config.keys.snapshot_key.is_absolute(), "relative to the file");
        assert_eq!(config.operators.iter().count(), 2);
    }

    #[test]
    fn mistakes_are_named_by_their_line() {
        let cases = [
            ("listen_admin = ", "listen_admins = ", "unknown field `listen_admins`"),
            ("instance = \"PY\"", "instance = \"P Y\"", "no instance identifier"),
            ("valid_seconds = 259200", "valid_seconds = 259201", "60 to 259200 seconds"),
            ("\"auditor\"", "\"autidor\"", "unknown variant `autidor`"),
            ("127.0.0.1:5601", "127.0.0.1", "invalid socket address"),
            ("certificate_sha256 = \"00", "certificate_sha256 = \"0g", "SHA-256 digest"),
        ];
        for (from, to, expected) in cases {
            assert!(EXAMPLE.contains(from), "{from}");
            let line = EXAMPLE.lines().position(|line| line.contains(from)).unwrap() + 1;
            let error = read(&EXAMPLE.replacen(from, to, 1)).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.code(), "registry.config");
            assert!(text.contains(expected) && text.contains(&format!("line {line}")), "line {line}: {text}");
        }
    }

    #[test]
    fn an_operator_is_listed_once() {
        let at = EXAMPLE.find("[[operators]]").unwrap();
        let twice = format!("{EXAMPLE}\n{}", &EXAMPLE[at..]);
        assert!(read(&twice).unwrap_err().to_string().contains("listed twice"));
    }

    #[test]
    fn a_name_is_one_persons() {
        let cases = [
            ("Registration Officer", "look like one person"),
            (" registration officer", "begins or ends"),
            ("registracio\u{301}n", "NFC"),
            ("registration\u{200b} officer", "not seen"),
            ("\u{202e}reciffo", "not seen"),
            ("", "empty"),
        ];
        for (name, expected) in cases {
            let text = EXAMPLE.replacen("\"security officer\"", &format!("\"{name}\""), 1);
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{name:?}: {error}");
        }
    }

    #[test]
    fn two_persons_are_needed_for_four_eyes() {
        let cases = [
            // One person with two certificates.
            ("name = \"security officer\"", "name = \"registration officer\""),
            ("[\"security_officer\", \"auditor\"]", "[\"auditor\"]"),
            // A member's officer approves nothing of the instance.
            ("name = \"security officer\"", "name = \"security officer\"\nmember = \"PY/GOV/MEC\""),
        ];
        for (from, to) in cases {
            assert!(EXAMPLE.contains(from), "{from}");
            let error = read(&EXAMPLE.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains("two persons"), "{to}: {error}");
        }
    }
}
