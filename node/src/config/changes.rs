//! What differs between the configuration in force and a new one, and whether a running node takes it.
//!
//! Every key stands in `settings`: a new one does not compile until it is said there when it takes effect.

use std::collections::BTreeMap;
use std::fmt;

use toml::de::{DeTable, DeValue};

use Takes::{AtReload, AtStart};

use super::written::Written;
use super::{
    ClientSection, Config, ConfigError, Credential, DoorSection, GlobalconfSection, KeysSection,
    LedgerSection, LinkSection, LogSection, MetricsSection, NodeSection, RouteSection, ServiceSection,
    StorageSection,
};

/// One thing that a new configuration changes in a running node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Section and key.
    pub key: String,
    /// Before; none if it is new.
    pub before: Option<String>,
    /// From now on; none if it is gone.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, before, after } = self;
        match (before, after) {
            (Some(before), Some(after)) => write!(f, "{key}: {after}, before {before}"),
            (None, Some(after)) => write!(f, "{key}: added, {after}"),
            (Some(_), None) => write!(f, "{key}: removed"),
            (None, None) => write!(f, "{key}: as it was"),
        }
    }
}

/// When a new value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Takes {
    AtReload,
    AtStart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Node,
    Keys,
    Ledgers,
    Link,
    Door,
    Clients,
    Services,
    Routes,
    Metrics,
    Globalconf,
    Storage,
    Log,
}

impl Section {
    fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Keys => "keys",
            Self::Ledgers => "ledgers",
            Self::Link => "link",
            Self::Door => "door",
            Self::Clients => "clients",
            Self::Services => "services",
            Self::Routes => "routes",
            Self::Metrics => "metrics",
            Self::Globalconf => "globalconf",
            Self::Storage => "storage",
            Self::Log => "log",
        }
    }

    fn header(self) -> String {
        match self {
            Self::Ledgers | Self::Clients | Self::Services => format!("[[{}]]", self.name()),
            _ => format!("[{}]", self.name()),
        }
    }
}

/// Value of each key, by section and key; of tables of which there are many, by what they are about.
#[derive(Default)]
struct Settings(BTreeMap<(Section, String), (Takes, String)>);

impl Settings {
    fn put(&mut self, section: Section, takes: Takes, values: &[(&str, &dyn Written)]) {
        for (key, value) in values {
            if let Some(value) = value.written() {
                self.0.insert((section, (*key).to_owned()), (takes, value));
            }
        }
    }
}

impl Config {
    /// What `next` changes, if a running node takes all of it.
    ///
    /// # Errors
    /// `NeedsRestart` names the first key that it does not take.
    pub fn changes(&self, next: &Self) -> Result<Vec<Change>, ConfigError> {
        let (Settings(before), Settings(mut after)) = (settings(self), settings(next));
        let mut changes = Vec::new();
        for (name, (takes, old)) in before {
            match after.remove(&name) {
                Some((_, new)) if new == old => {}
                new => changes.push((name, takes, Some(old), new.map(|(_, new)| new))),
            }
        }
        changes.extend(after.into_iter().map(|(name, (takes, new))| (name, takes, None, Some(new))));
        changes.sort();
        let key = |section: Section, key: &str| format!("{} {key}", section.header());
        if let Some(((section, name), _, before, _)) = changes.iter().find(|(_, takes, ..)| *takes == AtStart)
        {
            return Err(ConfigError::NeedsRestart {
                path: next.path.clone(),
                line: next.line_of(*section, name),
                key: key(*section, name),
                before: before.clone().unwrap_or_else(|| "nothing".to_owned()),
            });
        }
        let change = |((section, name), _, before, after): (_, _, _, _)| {
            let (section, name): (Section, String) = (section, name);
            Change { key: key(section, &name), before, after }
        };
        Ok(changes.into_iter().map(change).collect())
    }

    /// Where a key stands; its section if it does not, the first line if that does not either.
    fn line_of(&self, section: Section, key: &str) -> usize {
        let start = DeTable::parse(&self.text).ok().and_then(|table| place(table.get_ref(), section, key));
        let before = self.text.get(..start.unwrap_or_default()).unwrap_or_default();
        before.matches('\n').count() + 1
    }
}

fn place(table: &DeTable<'_>, section: Section, key: &str) -> Option<usize> {
    let named = |table: &DeTable<'_>, name: &str| {
        let found = table.iter().find(|(key, _)| key.get_ref() == name);
        found.map(|(key, _)| key.span().start)
    };
    let (header, value) = table.iter().find(|(name, _)| name.get_ref() == section.name())?;
    let inner = match value.get_ref() {
        DeValue::Table(table) => named(table, key),
        // Of the tables, the one about this member.
        DeValue::Array(tables) => {
            let about =
                |table: &DeTable<'_>| table.values().any(|value| value.get_ref().as_str() == Some(key));
            let mut tables = tables.iter().filter_map(|table| table.get_ref().as_table());
            tables.find(|table| about(table)).and_then(|table| named(table, "member"))
        }
        _ => None,
    };
    Some(inner.unwrap_or_else(|| header.span().start))
}

fn settings(config: &Config) -> Settings {
    let Config {
        path: _,
        text: _,
        node,
        keys,
        ledgers,
        link,
        door,
        clients,
        services,
        routes,
        metrics,
        globalconf,
        storage,
        log,
    } = config;
    let mut all = Settings::default();
    put_node(&mut all, node);
    put_keys(&mut all, keys, ledgers);
    let LinkSection { listen, carriers, memory_budget_mebibytes } = link;
    all.put(Section::Link, AtStart, &[("listen", listen), ("carriers", carriers)]);
    all.put(Section::Link, AtReload, &[("memory_budget_mebibytes", memory_budget_mebibytes)]);
    put_door(&mut all, door);
    for ClientSection { subsystem, credential } in clients {
        all.put(Section::Clients, AtReload, &[(&format!("{subsystem} {}", shown(credential)), &"may call")]);
    }
    for ServiceSection { service, url, ca_file, max_staleness_seconds } in services {
        let mut at = ca_file.as_ref().map_or_else(|| url.to_string(), |ca| format!("{url} {}", ca.display()));
        if let Some(seconds) = max_staleness_seconds {
            at.push_str(&format!(", news of the last {seconds} s"));
        }
        all.put(Section::Services, AtReload, &[(service.get_ref().as_str(), &at)]);
    }
    for (authority, RouteSection { service, purpose }) in routes {
        let purpose = purpose.as_ref().map_or_else(String::new, |purpose| format!(" for {purpose}"));
        all.put(Section::Routes, AtReload, &[(authority, &format!("{}{purpose}", service.get_ref()))]);
    }
    let MetricsSection { listen } = metrics;
    all.put(Section::Metrics, AtStart, &[("listen", listen)]);
    let GlobalconfSection { refresh_seconds } = globalconf;
    all.put(Section::Globalconf, AtReload, &[("refresh_seconds", refresh_seconds)]);
    put_storage(&mut all, storage);
    let LogSection { format, filter } = log;
    all.put(Section::Log, AtStart, &[("format", format)]);
    all.put(Section::Log, AtReload, &[("filter", filter)]);
    all
}

fn put_node(all: &mut Settings, node: &NodeSection) {
    let NodeSection { id, folder, instance_anchor, worker_threads, drain_seconds } = node;
    all.put(
        Section::Node,
        AtStart,
        &[
            ("id", &id.as_str()),
            ("folder", folder),
            ("instance_anchor", instance_anchor),
            ("worker_threads", worker_threads),
            ("drain_seconds", drain_seconds),
        ],
    );
}

fn put_keys(all: &mut Settings, keys: &KeysSection, ledgers: &[LedgerSection]) {
    let KeysSection { authentication_key, authentication_certificate, storage_key } = keys;
    all.put(Section::Keys, AtStart, &[("storage_key", storage_key)]);
    all.put(
        Section::Keys,
        AtReload,
        &[
            ("authentication_key", authentication_key),
            ("authentication_certificate", authentication_certificate),
        ],
    );
    for ledger in ledgers {
        let LedgerSection {
            member,
            epoch,
            sealing_key,
            sealing_certificate,
            next_sealing_key: _,
            next_sealing_certificate: _,
        } = ledger;
        let member = member.get_ref().as_str();
        all.put(Section::Ledgers, AtStart, &[(member, epoch)]);
        let sealing = ((sealing_certificate, sealing_key), ledger.next());
        all.put(Section::Ledgers, AtReload, &[(&format!("{member} sealing"), &sealing)]);
    }
}

fn put_door(all: &mut Settings, door: &DoorSection) {
    let DoorSection {
        listen: _,
        unix_socket,
        tls_certificate: _,
        tls_key: _,
        max_connections,
        max_calls_per_connection,
        max_calls,
        xroad_faults,
    } = door;
    all.put(
        Section::Door,
        AtStart,
        &[
            ("listen", &door.address()),
            ("unix_socket", unix_socket),
            ("tls_key", &door.tls().map(|_| "the path of a key")),
        ],
    );
    all.put(
        Section::Door,
        AtReload,
        &[
            ("max_connections", max_connections),
            ("max_calls_per_connection", max_calls_per_connection),
            ("max_calls", max_calls),
            ("xroad_faults", xroad_faults),
            ("tls_certificate", &door.tls().map(|tls| (tls.certificate, tls.key))),
        ],
    );
}

fn put_storage(all: &mut Settings, storage: &StorageSection) {
    let StorageSection { segment_mebibytes, min_free_mebibytes, max_body_mebibytes, spool_mebibytes } =
        storage;
    all.put(
        Section::Storage,
        AtStart,
        &[("segment_mebibytes", segment_mebibytes), ("min_free_mebibytes", min_free_mebibytes)],
    );
    all.put(
        Section::Storage,
        AtReload,
        &[("max_body_mebibytes", max_body_mebibytes), ("spool_mebibytes", spool_mebibytes)],
    );
}

/// Which credential, without what it is: of a hash, its beginning.
fn shown(credential: &Credential) -> String {
    let short = |digest: &peabiru_proto::hash::Digest| {
        let hex: String = digest.to_string().chars().take(SHOWN_CHARS).collect();
        format!("{hex}…")
    };
    match credential {
        Credential::Certificate(sha256) => format!("certificate {}", short(sha256)),
        Credential::Token(sha256) => format!("token {}", short(sha256)),
        Credential::UnixUser(uid) => format!("user {uid}"),
    }
}

/// Enough of a hash to find it in the file.
const SHOWN_CHARS: usize = 12;
