//! The sections of `node.toml`, with their defaults.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use peabiru_proto::fault::Spelling;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::{MemberId, NodeId, ServiceId, SubsystemId};
use peabiru_proto::policy::Purpose;
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use tracing_subscriber::EnvFilter;

use super::mistake::At;
use super::url::ServiceUrl;
use crate::link::Carrier;
use crate::link::budget::{DEFAULT_MEMORY_BUDGET, MIN_MEMORY_BUDGET};

/// `[node]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    /// As registered.
    pub id: NodeId,
    /// Ledgers, global configuration, admin socket: everything the node writes.
    pub folder: PathBuf,
    /// The configuration anchor of the instance.
    pub instance_anchor: PathBuf,
    /// Threads of the runtime; 0 means one for each core.
    #[serde(default)]
    pub worker_threads: usize,
    /// How long a stopping node waits for exchanges under way.
    #[serde(default = "drain_seconds")]
    pub drain_seconds: u64,
}

/// `[keys]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysSection {
    /// Encrypted P-256 key of the node's TLS.
    pub authentication_key: PathBuf,
    /// Its registered certificate (PEM).
    pub authentication_certificate: PathBuf,
    /// Encrypted key that wraps the keys of stored payloads.
    pub storage_key: PathBuf,
}

/// `[[ledgers]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerSection {
    /// Whom the ledger binds.
    pub member: Spanned<MemberId>,
    /// Its life between declared losses, from 1.
    #[serde(default = "first_epoch")]
    pub epoch: NonZeroU32,
    /// Encrypted Ed25519 key.
    pub sealing_key: PathBuf,
    /// Its registered certificate (PEM).
    pub sealing_certificate: PathBuf,
    /// Encrypted Ed25519 key that the ledger goes over to.
    pub next_sealing_key: Option<PathBuf>,
    /// Its registered certificate (PEM).
    pub next_sealing_certificate: Option<PathBuf>,
}

/// `[link]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSection {
    /// UDP address for QUIC, TCP address for HTTP/2.
    pub listen: SocketAddr,
    /// With what the node listens and dials.
    #[serde(default = "all_carriers", deserialize_with = "carriers")]
    pub carriers: Vec<Carrier>,
    /// What messages of peers may take in memory; the next waits.
    #[serde(default = "default_memory_budget", deserialize_with = "memory_budget_mebibytes")]
    pub memory_budget_mebibytes: u64,
}

/// `[door]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoorSection {
    /// TCP address for gRPC and REST; none: no TCP door.
    pub listen: Option<Spanned<SocketAddr>>,
    /// Unix socket for gRPC and REST; none: no such door.
    pub unix_socket: Option<PathBuf>,
    /// Server certificate (PEM) of the TCP door.
    pub tls_certificate: Option<PathBuf>,
    /// Its encrypted P-256 key.
    pub tls_key: Option<PathBuf>,
    /// Connections that are open at once; one more takes the place of the one that has been idle for longest, or waits.
    pub max_connections: usize,
    /// Calls of one connection at once.
    pub max_calls_per_connection: u32,
    /// Calls of all connections at once; more are refused with `node.overloaded`.
    pub max_calls: usize,
    /// How the fault codes of X-Road are written for REST callers.
    pub xroad_faults: XroadFaults,
}

/// How X-Road's fault codes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum XroadFaults {
    /// As up to 7.7: `Server.ServerProxy.AccessDenied`.
    #[serde(rename = "7.7")]
    UpTo77,
    /// As from 7.8 on: `server.serverproxy.access_denied`.
    #[serde(rename = "7.8")]
    From78,
}

impl From<XroadFaults> for Spelling {
    fn from(written: XroadFaults) -> Self {
        match written {
            XroadFaults::UpTo77 => Self::Pascal,
            XroadFaults::From78 => Self::Snake,
        }
    }
}

/// Files of a door with TLS.
#[derive(Debug, Clone, Copy)]
pub struct DoorTls<'a> {
    /// PEM.
    pub certificate: &'a Path,
    /// Encrypted.
    pub key: &'a Path,
}

/// `[[clients]]`: a credential and for which subsystem it speaks. The same credential may stand in several tables.
#[derive(Debug, Deserialize)]
#[serde(try_from = "ClientTable")]
pub struct ClientSection {
    /// One of a hosted member's.
    pub subsystem: SubsystemId,
    /// What it shows.
    pub credential: Credential,
}

/// How an information system proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    /// TLS client certificate: SHA-256 of its DER.
    Certificate(Digest),
    /// Header `x-peabiru-token`: SHA-256 of the token.
    Token(Digest),
    /// User id of the process at the other end of the Unix socket.
    UnixUser(u32),
}

/// `[[clients]]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientTable {
    subsystem: SubsystemId,
    #[serde(default, deserialize_with = "digest")]
    certificate_sha256: Option<Digest>,
    #[serde(default, deserialize_with = "digest")]
    token_sha256: Option<Digest>,
    unix_uid: Option<u32>,
}

/// `[[services]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSection {
    /// As registered.
    pub service: Spanned<ServiceId>,
    /// Where it listens.
    pub url: ServiceUrl,
    /// For `https://`: authorities (PEM) that its certificate may come from.
    pub ca_file: Option<PathBuf>,
    /// Calls are refused if the registry's last word that nothing is newer is older than this, in seconds; none: the
    /// snapshot's own end counts.
    pub max_staleness_seconds: Option<u64>,
}

/// `[routes."authority"]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSection {
    /// Which service is meant.
    pub service: Spanned<ServiceId>,
    /// Purpose of a call that names none.
    pub purpose: Option<Purpose>,
}

/// `[metrics]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSection {
    /// TCP address of /metrics and /health; none: no such listener.
    pub listen: Option<SocketAddr>,
}

/// `[globalconf]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlobalconfSection {
    /// How often the registry is asked.
    pub refresh_seconds: u64,
}

/// `[storage]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    /// Length of a segment file, 4 to 4096.
    #[serde(deserialize_with = "segment_mebibytes")]
    pub segment_mebibytes: u64,
    /// What must stay free on the disk, 1 to 1,048,576.
    #[serde(deserialize_with = "min_free_mebibytes")]
    pub min_free_mebibytes: u64,
    /// Longest body of a message, either way.
    #[serde(deserialize_with = "max_body_mebibytes")]
    pub max_body_mebibytes: u64,
    /// What bodies beyond 64 KiB may take on their way, together.
    #[serde(deserialize_with = "spool_mebibytes")]
    pub spool_mebibytes: u64,
}

/// `[log]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// How a line is written.
    pub format: LogFormat,
    /// What is written, as `tracing` filters say it: `info`, `peabiru_node=debug`.
    #[serde(deserialize_with = "filter")]
    pub filter: String,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object in each line.
    Json,
}

impl NodeSection {
    /// How long a stopping node waits for exchanges under way.
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        absolute(folder, [&mut self.folder, &mut self.instance_anchor]);
    }
}

impl KeysSection {
    pub(super) fn resolve(&mut self, folder: &Path) {
        absolute(
            folder,
            [&mut self.authentication_key, &mut self.authentication_certificate, &mut self.storage_key],
        );
    }
}

impl LedgerSection {
    /// Both files of the key to go over to, if there is one.
    #[must_use]
    pub fn next(&self) -> Option<(&Path, &Path)> {
        self.next_sealing_certificate.as_deref().zip(self.next_sealing_key.as_deref())
    }

    pub(super) fn check(&self) -> Result<(), At> {
        if self.next_sealing_key.is_some() != self.next_sealing_certificate.is_some() {
            let reason = "next_sealing_key and next_sealing_certificate go together: set both or none";
            return Err(At::new(self.member.span(), reason));
        }
        Ok(())
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        absolute(folder, [&mut self.sealing_key, &mut self.sealing_certificate]);
        absolute(
            folder,
            [&mut self.next_sealing_key, &mut self.next_sealing_certificate].into_iter().flatten(),
        );
    }
}

impl DoorSection {
    /// The TCP address.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.as_ref().map(|listen| *listen.get_ref())
    }

    /// The files, if the TCP door has TLS.
    #[must_use]
    pub fn tls(&self) -> Option<DoorTls<'_>> {
        let (certificate, key) = (self.tls_certificate.as_deref()?, self.tls_key.as_deref()?);
        Some(DoorTls { certificate, key })
    }

    pub(super) fn check(&self) -> Result<(), At> {
        let Some(listen) = &self.listen else { return Ok(()) };
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            return Err(At::new(listen.span(), "tls_certificate and tls_key go together: set both or none"));
        }
        let address = listen.get_ref();
        if self.tls().is_none() && !address.ip().is_loopback() {
            let reason = format!(
                "{address} can be reached from elsewhere, which needs TLS: set tls_certificate and tls_key, or \
                 listen on 127.0.0.1"
            );
            return Err(At::new(listen.span(), reason));
        }
        Ok(())
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        let files = [&mut self.unix_socket, &mut self.tls_certificate, &mut self.tls_key];
        absolute(folder, files.into_iter().flatten());
    }
}

impl Default for DoorSection {
    fn default() -> Self {
        Self {
            listen: None,
            unix_socket: None,
            tls_certificate: None,
            tls_key: None,
            max_connections: 1024,
            max_calls_per_connection: 256,
            max_calls: 1024,
            xroad_faults: XroadFaults::From78,
        }
    }
}

impl TryFrom<ClientTable> for ClientSection {
    type Error = &'static str;

    fn try_from(table: ClientTable) -> Result<Self, &'static str> {
        let credential = match (table.certificate_sha256, table.token_sha256, table.unix_uid) {
            (Some(sha256), None, None) => Credential::Certificate(sha256),
            (None, Some(sha256), None) => Credential::Token(sha256),
            (None, None, Some(uid)) => Credential::UnixUser(uid),
            _ => {
                return Err("a client needs exactly one of certificate_sha256, token_sha256, unix_uid: \
                            write one table for each credential");
            }
        };
        Ok(Self { subsystem: table.subsystem, credential })
    }
}

impl ServiceSection {
    pub(super) fn resolve(&mut self, folder: &Path) {
        absolute(folder, self.ca_file.as_mut());
        if let ServiceUrl::Unix(path) = &mut self.url {
            absolute(folder, [path]);
        }
    }
}

impl GlobalconfSection {
    /// How often the registry is asked.
    #[must_use]
    pub fn refresh(&self) -> Duration {
        Duration::from_secs(self.refresh_seconds.max(1))
    }
}

impl Default for GlobalconfSection {
    fn default() -> Self {
        Self { refresh_seconds: 60 }
    }
}

impl Default for StorageSection {
    fn default() -> Self {
        Self {
            segment_mebibytes: 64,
            min_free_mebibytes: 64,
            max_body_mebibytes: 2048,
            spool_mebibytes: 16 * 1024,
        }
    }
}

impl Default for LogSection {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

fn absolute<'a>(folder: &Path, paths: impl IntoIterator<Item = &'a mut PathBuf>) {
    for path in paths {
        *path = folder.join(&*path);
    }
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match EnvFilter::builder().parse(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(serde::de::Error::custom(format!("`{text}` is no filter: {error}"))),
    }
}

fn segment_mebibytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(deserializer, 4..=4096)
}

fn memory_budget_mebibytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(deserializer, mebibytes(MIN_MEMORY_BUDGET)..=1024 * 1024)
}

fn all_carriers() -> Vec<Carrier> {
    vec![Carrier::Quic, Carrier::Http2]
}

fn carriers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Carrier>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let mut carriers = Vec::new();
    for name in &names {
        let Some(carrier) = all_carriers().into_iter().find(|carrier| carrier.as_str() == name) else {
            let reason = format!("`{name}` is no carrier: write \"quic\", \"http2\" or both");
            return Err(serde::de::Error::custom(reason));
        };
        if carriers.contains(&carrier) {
            return Err(serde::de::Error::custom(format!("`{name}` stands here twice: keep one")));
        }
        carriers.push(carrier);
    }
    if carriers.is_empty() {
        let reason = "without a carrier no node is reached: write \"quic\", \"http2\" or both";
        return Err(serde::de::Error::custom(reason));
    }
    Ok(carriers)
}

fn default_memory_budget() -> u64 {
    mebibytes(DEFAULT_MEMORY_BUDGET)
}

fn mebibytes(bytes: usize) -> u64 {
    bytes.div_ceil(1024 * 1024) as u64
}

fn min_free_mebibytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(deserializer, 1..=1024 * 1024)
}

fn max_body_mebibytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(deserializer, 1..=MAX_BODY_MEBIBYTES)
}

fn spool_mebibytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(deserializer, 1..=1024 * 1024 * 1024)
}

fn within<'de, D: Deserializer<'de>>(deserializer: D, allowed: RangeInclusive<u64>) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if allowed.contains(&number) {
        return Ok(number);
    }
    let reason = format!("{number} is not between {} and {}", allowed.start(), allowed.end());
    Err(serde::de::Error::custom(reason))
}

fn drain_seconds() -> u64 {
    30
}

fn first_epoch() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// A content root is computed over 32 bytes of memory for each chunk of 64 KiB.
const MAX_BODY_MEBIBYTES: u64 = 64 * 1024;
