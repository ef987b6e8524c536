//! The configuration anchor: the file by which a node, or a court, trusts an instance.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::hash::Digest;
use crate::id::InstanceId;
use crate::origin::Domain;

/// Root keys (k of n, kept offline) and where the registry is. A TOML file, so that people can read and compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationAnchor {
    /// The instance.
    pub instance: InstanceId,
    /// First part of every origin.
    pub domain: Domain,
    /// How many roots must sign.
    pub threshold: u32,
    /// Ed25519 public keys.
    pub root_keys: Vec<[u8; 32]>,
    /// Where snapshots are given out.
    pub registries: Vec<RegistryAddress>,
}

/// One address of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryAddress {
    /// `https://host:port` of the distribution service.
    pub url: String,
    /// Of its TLS certificate.
    pub certificate_sha256: Digest,
}

/// Why a text is no configuration anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration anchor: {0}")]
pub struct InvalidAnchor(String);

impl ConfigurationAnchor {
    /// Reads the file's text.
    ///
    /// # Errors
    /// `InvalidAnchor` says which line or key is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidAnchor> {
        let file: File = toml::from_str(text).map_err(|error| InvalidAnchor(error.to_string()))?;
        let root_keys = file.root_keys.iter().map(|key| decode_key(key)).collect::<Result<Vec<_>, _>>()?;
        let threshold = usize::try_from(file.threshold).unwrap_or(usize::MAX);
        if threshold == 0 || threshold > root_keys.len() {
            return Err(InvalidAnchor(format!("threshold {threshold} of {} root keys", root_keys.len())));
        }
        let mut distinct = root_keys.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != root_keys.len() {
            return Err(InvalidAnchor("a root key is listed twice".to_owned()));
        }
        let registries = file.registries.into_iter().map(FileRegistry::read).collect::<Result<_, _>>()?;
        Ok(Self {
            instance: file.instance,
            domain: file.domain,
            threshold: file.threshold,
            root_keys,
            registries,
        })
    }

    /// The file's text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let file = File {
            instance: self.instance.clone(),
            domain: self.domain.clone(),
            threshold: self.threshold,
            root_keys: self.root_keys.iter().map(|key| HEXLOWER.encode(key)).collect(),
            registries: self.registries.iter().map(FileRegistry::write).collect(),
        };
        let body = toml::to_string(&file).expect("texts and numbers are always TOML");
        format!(
            "# Configuration anchor of the instance {}. Compare it with its publisher before you trust it.\n{body}",
            self.instance
        )
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    instance: InstanceId,
    domain: Domain,
    threshold: u32,
    root_keys: Vec<String>,
    registries: Vec<FileRegistry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRegistry {
    url: String,
    certificate_sha256: String,
}

impl FileRegistry {
    fn read(self) -> Result<RegistryAddress, InvalidAnchor> {
        let refuse = |error| InvalidAnchor(format!("certificate_sha256 of {}: {error}", self.url));
        let certificate_sha256 = self.certificate_sha256.parse().map_err(refuse)?;
        Ok(RegistryAddress { url: self.url, certificate_sha256 })
    }

    fn write(address: &RegistryAddress) -> Self {
        Self { url: address.url.clone(), certificate_sha256: address.certificate_sha256.to_string() }
    }
}

fn decode_key(text: &str) -> Result<[u8; 32], InvalidAnchor> {
    let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| InvalidAnchor(format!("`{text}` is no root key: 64 lower-case hex digits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor() -> ConfigurationAnchor {
        ConfigurationAnchor {
            instance: "PY".parse().unwrap(),
            domain: "py.example".parse().unwrap(),
            threshold: 1,
            root_keys: vec![[1; 32], [2; 32]],
            registries: vec![RegistryAddress {
                url: "https://127.0.0.1:1".into(),
                certificate_sha256: Digest::of(b""),
            }],
        }
    }

    #[test]
    fn the_text_reads_back() {
        assert_eq!(ConfigurationAnchor::parse(&anchor().to_toml()), Ok(anchor()));
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("threshold = 1", "threshold = 3", "threshold 3 of 2"),
            ("domain", "domian", "domian"),
            ("0202", "0z02", "no root key"),
        ];
        for (from, to, expected) in cases {
            let error =
                ConfigurationAnchor::parse(&anchor().to_toml().replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let twice = ConfigurationAnchor { root_keys: vec![[1; 32], [1; 32]], ..anchor() };
        assert!(ConfigurationAnchor::parse(&twice.to_toml()).is_err());
    }
}
