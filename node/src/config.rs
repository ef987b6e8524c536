//! The node's own file, `node.toml`. Every key stands in `docs/node.toml`; a mistake is named by file, line and key.
//!
//! A parsed `Config` has no relative path left: they are taken from the folder of the file.

mod changes;
mod mistake;
mod sections;
mod url;
mod written;

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::hash::Hash;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

pub use sections::{
    ClientSection, Credential, DoorSection, DoorTls, GlobalconfSection, KeysSection, LedgerSection,
    LinkSection, LogFormat, LogSection, MetricsSection, NodeSection, RouteSection, ServiceSection,
    StorageSection,
};
pub use url::{InvalidUrl, ServiceUrl};

pub use changes::Change;
use mistake::{At, locate};

/// Everything that an administrator decides about one node.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file that it was read from.
    #[serde(skip)]
    pub path: PathBuf,
    #[serde(skip)]
    text: String,
    /// Who the node is and where it keeps things.
    pub node: NodeSection,
    /// Its key files.
    pub keys: KeysSection,
    /// One for each member that it hosts.
    pub ledgers: Vec<LedgerSection>,
    /// Where other nodes reach it.
    pub link: LinkSection,
    /// Where its own information systems reach it.
    #[serde(default)]
    pub door: DoorSection,
    /// Which information systems may call, by credential.
    #[serde(default)]
    pub clients: Vec<ClientSection>,
    /// Which information systems answer.
    #[serde(default)]
    pub services: Vec<ServiceSection>,
    /// Services by the authority (host name) under which an application calls them.
    #[serde(default)]
    pub routes: BTreeMap<String, RouteSection>,
    /// Prometheus and health.
    #[serde(default)]
    pub metrics: MetricsSection,
    /// Where the global configuration comes from.
    #[serde(default)]
    pub globalconf: GlobalconfSection,
    /// The ledgers' files.
    #[serde(default)]
    pub storage: StorageSection,
    /// What the node writes about itself.
    #[serde(default)]
    pub log: LogSection,
}

/// Why a file is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{}:{line}: {key}: {reason}", path.display())]
    Mistake {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Section and key.
        key: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A running node keeps to what it started with.
    #[error("{}:{line}: {key}: this changes at a start only: restart the node, or write {before} again", path.display())]
    NeedsRestart {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Section and key.
        key: String,
        /// What is in force.
        before: String,
    },
}

impl ConfigError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "config.unreadable",
            Self::Mistake { .. } => "config.mistake",
            Self::NeedsRestart { .. } => "config.needs_restart",
        }
    }
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// `Unreadable`, or the first `Mistake`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Parses the text of the file at `path`.
    ///
    /// # Errors
    /// The first `Mistake`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mistake = |at: At| {
            let (line, key) = locate(text, at.span);
            ConfigError::Mistake { path: path.to_owned(), line, key, reason: at.reason }
        };
        let mut config: Self = toml::from_str(text).map_err(|error| mistake(At::from(error)))?;
        config.check().map_err(mistake)?;
        config.routes =
            config.routes.into_iter().map(|(name, route)| (name.to_ascii_lowercase(), route)).collect();
        config.resolve(path.parent().unwrap_or_else(|| Path::new("")));
        path.clone_into(&mut config.path);
        text.clone_into(&mut config.text);
        Ok(config)
    }

    /// What one key alone cannot say.
    fn check(&self) -> Result<(), At> {
        self.door.check()?;
        if self.ledgers.is_empty() {
            return Err(At::start("a node hosts at least one member: add a [[ledgers]] table"));
        }
        self.ledgers.iter().try_for_each(LedgerSection::check)?;
        unique(self.ledgers.iter().map(|ledger| &ledger.member), "member")?;
        unique(self.services.iter().map(|service| &service.service), "service")?;
        check_routes(&self.routes)
    }

    fn resolve(&mut self, folder: &Path) {
        self.node.resolve(folder);
        self.keys.resolve(folder);
        self.ledgers.iter_mut().for_each(|ledger| ledger.resolve(folder));
        self.door.resolve(folder);
        self.services.iter_mut().for_each(|service| service.resolve(folder));
    }
}

/// Names as an application's resolver takes them; they are compared without regard to case.
fn check_routes(routes: &BTreeMap<String, RouteSection>) -> Result<(), At> {
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        inner
            && (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let mut seen = HashSet::new();
    for (name, route) in routes {
        let reason = if name.len() > NAME_BYTES_MAX || !name.split('.').all(label) {
            format!("`{name}` is no host name: write the labels of one, like schools.example, without a port")
        } else if !seen.insert(name.to_ascii_lowercase()) {
            format!("`{name}` stands here twice, in upper and lower case: keep one")
        } else {
            continue;
        };
        return Err(At::new(route.service.span(), reason));
    }
    Ok(())
}

fn unique<'a, T: Eq + Hash + std::fmt::Display + 'a>(
    named: impl Iterator<Item = &'a Spanned<T>>,
    what: &str,
) -> Result<(), At> {
    let mut seen = HashSet::new();
    for name in named {
        if !seen.insert(name.get_ref()) {
            let reason = format!("the {what} {} stands here twice: keep one table", name.get_ref());
            return Err(At::new(name.span(), reason));
        }
    }
    Ok(())
}

/// Of a host name, and of one of its labels (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests;
