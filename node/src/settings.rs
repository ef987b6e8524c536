//! From `node.toml` to what the parts of the node take, at the start and at each reload.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use peabiru_certs::CertsError;
use peabiru_certs::peer::{self, TlsIdentity, WithoutCertificate, pinning_server, service_client};
use peabiru_certs::pem::read_certificates;
use peabiru_proto::id::ServiceId;
use rustls_pki_types::ServerName;

use crate::NodeError;
use crate::config::{self, Config, ServiceSection, ServiceUrl};
use crate::dispatcher::{Endpoint, Location};
use crate::door::identify::{Clients, Credential};
use crate::door::{Limits, Route, Settings, SharedTls};
use crate::provider::Demands;

/// TLS of the TCP door.
pub(crate) struct DoorTls {
    pub(crate) identity: ArcSwap<TlsIdentity>,
    /// What a connection begins with.
    pub(crate) in_force: SharedTls,
}

impl DoorTls {
    pub(crate) fn new(identity: TlsIdentity, config: &Config) -> Result<Self, CertsError> {
        let in_force = Arc::new(ArcSwap::from_pointee(door_tls(&identity, config)?));
        Ok(Self { identity: ArcSwap::from_pointee(identity), in_force })
    }
}

/// What a connection at the TCP door is to begin with.
pub(crate) fn door_tls(identity: &TlsIdentity, config: &Config) -> Result<rustls::ServerConfig, CertsError> {
    tls(identity, &clients(config))
}

fn tls(identity: &TlsIdentity, clients: &Clients) -> Result<rustls::ServerConfig, CertsError> {
    let certificates = clients.certificates();
    // Without a certificate a caller must show a token.
    let without_certificate = WithoutCertificate::Allowed;
    let mut config = pinning_server(identity, peer::Clients::Pinned { certificates, without_certificate })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Who may call, what a host name means, what a door carries.
pub(crate) fn door(config: &Config) -> Settings {
    let route = |(host, route): (&String, &config::RouteSection)| {
        (host.clone(), Route { service: route.service.get_ref().clone(), purpose: route.purpose.clone() })
    };
    let limits = Limits {
        connections: config.door.max_connections,
        calls_per_connection: config.door.max_calls_per_connection,
        calls: config.door.max_calls,
    };
    Settings {
        clients: clients(config),
        routes: config.routes.iter().map(route).collect(),
        limits,
        spelling: config.door.xroad_faults.into(),
    }
}

fn clients(config: &Config) -> Clients {
    let mut clients = Clients::default();
    for client in &config.clients {
        let credential = match client.credential {
            config::Credential::Certificate(sha256) => Credential::Certificate(sha256),
            config::Credential::Token(sha256) => Credential::Token(sha256),
            config::Credential::UnixUser(uid) => Credential::UnixUser(uid),
        };
        clients.allow(credential, client.subsystem.clone());
    }
    clients
}

/// How fresh the global configuration must be, for services that demand it.
pub(crate) fn demands(config: &Config) -> Demands {
    let demand = |section: &ServiceSection| {
        let max = Duration::from_secs(section.max_staleness_seconds?);
        Some((section.service.get_ref().clone(), max))
    };
    config.services.iter().filter_map(demand).collect()
}

/// Where the services listen. Reads the files of their authorities.
pub(crate) fn locations(config: &Config) -> Result<Vec<(ServiceId, Location)>, NodeError> {
    config.services.iter().map(location).collect()
}

fn location(section: &ServiceSection) -> Result<(ServiceId, Location), NodeError> {
    let service = section.service.get_ref().clone();
    let endpoint = match &section.url {
        ServiceUrl::Http { .. } => Endpoint::Tcp { authority: section.url.authority() },
        ServiceUrl::Unix(path) => Endpoint::Unix { path: path.clone() },
        ServiceUrl::Https { host, .. } => {
            let authorities =
                section.ca_file.as_deref().map(read_certificates).transpose()?.unwrap_or_default();
            let name = ServerName::try_from(host.clone())
                .map_err(|_| NodeError::ServiceHost { service: service.to_string(), host: host.clone() })?;
            Endpoint::Tls {
                authority: section.url.authority(),
                name,
                config: Arc::new(service_client(&authorities)?),
            }
        }
    };
    Ok((service, Location { endpoint, base: section.url.base().to_owned() }))
}

/// What messages from peers may take, in bytes.
pub(crate) fn memory_budget(config: &Config) -> usize {
    usize::try_from(config.link.memory_budget_mebibytes * MEBIBYTE).unwrap_or(usize::MAX)
}

pub(crate) const MEBIBYTE: u64 = 1024 * 1024;
