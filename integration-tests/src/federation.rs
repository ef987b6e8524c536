//! A federation in a temporary folder: a registry, and nodes of agencies that all offer the test service.

mod hosting;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use peabiru_certs::pem::read_certificate;
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_certs::{Passphrase, SecretKey};
use peabiru_cli::client::{self, NodeClient};
use peabiru_cli::officers::Officers;
use peabiru_cli::site::{Site, SiteSpec};
use peabiru_node::config::Config;
use peabiru_node::node::{Environment, Running};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::{MemberId, ServiceId, SubsystemId};
use peabiru_proto::random::{Random, SystemRandom};
use peabiru_proto::time::{Clock, ManualClock, SystemClock, Timestamp};
use peabiru_proto::wire::{
    AddContractRequest, AddMemberRequest, AddSubsystemRequest, DialOutAddress, GetStatusRequest, Grant,
    NodeAddress, PutGrantRequest, SetNodeAddressesRequest, SubsystemRecord, node_address,
};
use peabiru_registry::instance::{self, Instance, InstanceSpec};
use peabiru_registry::serve;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use zeroize::Zeroizing;

use crate::echo::wire::echo_service_client::EchoServiceClient;
use crate::echo::{CONTRACT, Echo, MESSAGE_BYTES_MAX, NAME};
use crate::web;

/// Registry, authority and folder; nodes are started one by one.
pub struct Federation {
    /// Everything that is on disk.
    pub folder: tempfile::TempDir,
    /// What `instance create` made.
    pub instance: Instance,
    /// Its authority.
    pub ca: PilotCa,
    /// Connections of its two officers.
    pub officers: Officers,
    running: Option<serve::Running>,
}

/// A member with its node's folder and its service.
pub struct Agency {
    /// Short name: `MEC` of `PY/GOV/MEC`.
    pub name: String,
    /// The node's folder.
    pub site: Site,
    /// The agency's own service.
    pub echo: Echo,
    /// Where that listens.
    pub service: SocketAddr,
    /// What its applications send in `x-peabiru-token`.
    pub token: String,
}

/// An agency whose node runs.
pub struct Member {
    /// Folder and service.
    pub agency: Agency,
    /// Its node.
    pub node: Running,
}

/// A caller as any application would be: a generated stub, with its token and purpose as metadata.
pub type Caller = EchoServiceClient<InterceptedService<Channel, Headers>>;

/// Metadata of each call of an application.
#[derive(Clone)]
pub struct Headers(Vec<(&'static str, MetadataValue<Ascii>)>);

impl Headers {
    /// These names and values.
    #[must_use]
    pub fn new(headers: &[(&'static str, &str)]) -> Self {
        Self(headers.iter().map(|(name, value)| (*name, value.parse().unwrap())).collect())
    }
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.0 {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}

impl Federation {
    /// A registry with nothing registered but its authority.
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    /// The same in this folder: benchmarks want a real disk.
    pub async fn start_in(folder: tempfile::TempDir) -> Self {
        let spec = InstanceSpec {
            instance: "PY".parse().unwrap(),
            domain: "py.peabiru.example".parse().unwrap(),
            name: None,
            roots: 1,
            threshold: 1,
            hosts: vec!["127.0.0.1".to_owned()],
            listen: Ipv4Addr::LOCALHOST.into(),
            admin_port: free_port(),
            distribution_port: free_port(),
        };
        let path = folder.path().join("PY");
        let (instance, ca) = tokio::task::spawn_blocking(move || {
            let instance = instance::create(&path, &spec, &passphrase(), SystemClock.now()).unwrap();
            let key = SecretKey::read_encrypted(&instance.ca_key, &passphrase()).unwrap();
            let certificate = read_certificate(&instance.ca_certificate).unwrap();
            let ca = PilotCa::open(&spec.instance, certificate, key).unwrap();
            (instance, ca)
        })
        .await
        .unwrap();
        let running = start_registry(&instance).await;
        let officers = Officers::connect(&instance, &running.admin.to_string(), &passphrase()).await.unwrap();
        Self { folder, instance, ca, officers, running: Some(running) }
    }

    /// Registers a member with subsystem, service, node and ledger, and makes the node's folder.
    pub async fn enrol(&mut self, name: &str) -> Agency {
        self.enrol_with(name, "").await
    }

    /// The same with more sections in its `node.toml`.
    pub async fn enrol_with(&mut self, name: &str, more: &str) -> Agency {
        let echo = Echo::default();
        let service = echo.start().await;
        let token = format!("token of {name}");
        let site = self.register(name, sections(name, &token, service, more)).await;
        Agency { name: name.to_owned(), site, echo, service, token }
    }

    /// A member that also offers a REST service, `schools`, described by `web::CONTRACT`.
    pub async fn enrol_web(&mut self, name: &str, url: &str) -> Agency {
        let service = format!("PY/GOV/{name}/app/schools");
        let more = format!("[[services]]\nservice = \"{service}\"\nurl = \"{url}\"\n");
        let agency = self.enrol_with(name, &more).await;
        let request = AddContractRequest { service, document: web::CONTRACT.into() };
        self.officers.registration.add_contract(request).await.unwrap();
        agency
    }

    /// Makes a node's folder with these sections in its `node.toml`, and registers everything of the member.
    pub async fn register(&mut self, name: &str, sections: String) -> Site {
        let member: MemberId = format!("PY/GOV/{name}").parse().unwrap();
        let spec = SiteSpec {
            node: format!("{member}/node").parse().unwrap(),
            member: member.clone(),
            link: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())),
            sections,
        };
        let folder = self.folder.path().join(name);
        let anchor = self.instance.anchor.clone();
        let site = Site::make(&folder, &spec, &self.ca, &anchor, &passphrase(), SystemClock.now()).unwrap();
        let request = AddMemberRequest { member: member.to_string(), name: format!("Agency {name}") };
        let added = self.officers.registration.add_member(request).await.unwrap().into_inner();
        self.officers.approve(added.proposal).await.unwrap();
        let subsystem = SubsystemRecord { id: format!("{member}/app"), name: "Application".to_owned() };
        self.officers
            .registration
            .add_subsystem(AddSubsystemRequest { subsystem: Some(subsystem) })
            .await
            .unwrap();
        site.register(&mut self.officers).await.unwrap();
        self.offer(&member).await;
        site
    }

    /// Registers a member with its subsystem.
    async fn enlist(&mut self, member: &MemberId) {
        let request = AddMemberRequest { member: member.to_string(), name: format!("Agency {member}") };
        let added = self.officers.registration.add_member(request).await.unwrap().into_inner();
        self.officers.approve(added.proposal).await.unwrap();
        let subsystem = SubsystemRecord { id: format!("{member}/app"), name: "Application".to_owned() };
        let request = AddSubsystemRequest { subsystem: Some(subsystem) };
        self.officers.registration.add_subsystem(request).await.unwrap();
    }

    /// Registers the contract of a member's service.
    async fn offer(&mut self, member: &MemberId) {
        let service = format!("{member}/app/{NAME}");
        let request = AddContractRequest { service, document: CONTRACT.into() };
        self.officers.registration.add_contract(request).await.unwrap();
    }

    /// Registers that a node only dials out.
    pub async fn dials_out(&mut self, agency: &Agency) {
        let address = node_address::Address::DialOut(DialOutAddress {});
        let addresses = vec![NodeAddress { address: Some(address) }];
        let request = SetNodeAddressesRequest { node: agency.site.node.to_string(), addresses };
        self.officers.registration.set_node_addresses(request).await.unwrap();
    }

    /// Enrols members, then starts all their nodes: each knows all others from its first snapshot on.
    pub async fn members<const N: usize>(&mut self, names: [&str; N]) -> [Member; N] {
        let mut members = Vec::new();
        let mut agencies = Vec::new();
        for name in names {
            agencies.push(self.enrol(name).await);
        }
        for agency in agencies {
            members.push(agency.start().await);
        }
        members.try_into().unwrap_or_else(|_| unreachable!("one member for each name"))
    }

    /// Where officers reach the registry.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("https://{}", self.running.as_ref().expect("the registry runs").admin)
    }

    /// Starts the registry again, after `stop_registry`.
    pub async fn start_registry(&mut self) {
        self.running = Some(start_registry(&self.instance).await);
    }

    /// Stops the registry; exchanges go on.
    pub async fn stop_registry(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }
}

impl Agency {
    /// Its node listens and dials with these alone, as `node.toml` spells them.
    #[must_use]
    pub fn with_carriers(self, carriers: &str) -> Self {
        let text = std::fs::read_to_string(self.site.config()).unwrap();
        let text = text.replacen("[link]\n", &format!("[link]\ncarriers = {carriers}\n"), 1);
        assert!(text.contains("carriers"), "node.toml has a section [link]");
        std::fs::write(self.site.config(), text).unwrap();
        self
    }

    /// Starts its node.
    pub async fn start(self) -> Member {
        self.start_in(&Environment::default()).await
    }

    /// Starts its node with another clock, disk or randomness.
    pub async fn start_in(self, environment: &Environment) -> Member {
        let config = Arc::new(Config::load(&self.site.config()).unwrap());
        let node = Running::start(&config, &passphrase(), environment).await.unwrap();
        Member { agency: self, node }
    }
}

impl Member {
    /// Its application, calling the same service of another member.
    pub async fn caller(&self, provider: &str) -> Caller {
        self.caller_with(&[
            ("x-peabiru-token", &self.agency.token),
            ("x-peabiru-purpose", "testing"),
            ("x-road-service", &service(provider).to_string()),
        ])
        .await
    }

    /// An application that sends exactly these headers.
    pub async fn caller_with(&self, headers: &[(&'static str, &str)]) -> Caller {
        let door = self.node.door.unwrap();
        let channel = Endpoint::from_shared(format!("http://{door}")).unwrap().connect().await.unwrap();
        EchoServiceClient::with_interceptor(channel, Headers::new(headers))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The admin API of its node.
    pub async fn admin(&self) -> NodeClient {
        client::node(&self.node.admin_socket).await.unwrap()
    }

    /// Allows a subsystem everything of its service, for testing.
    pub async fn grant(&self, consumer: &str) {
        self.grant_for(consumer, &["testing"], &[]).await;
    }

    /// Gives a grant.
    pub async fn grant_for(&self, consumer: &str, purposes: &[&str], methods: &[&str]) {
        grant_at(&mut self.admin().await, &self.agency.name, consumer, purposes, methods).await;
    }

    /// How its node does.
    pub async fn status(&self) -> peabiru_proto::wire::GetStatusResponse {
        self.admin().await.get_status(GetStatusRequest {}).await.unwrap().into_inner()
    }

    /// Stops its node; the service goes on.
    pub async fn stop(self) -> Agency {
        self.node.stop().await;
        self.agency
    }
}

/// What a node of the tests has in its `node.toml` beside its identity.
fn sections(name: &str, token: &str, service: SocketAddr, more: &str) -> String {
    let member = format!("PY/GOV/{name}");
    format!(
        r#"[door]
listen = "127.0.0.1:0"
unix_socket = "door.sock"

[[clients]]
subsystem = "{member}/app"
token_sha256 = "{}"

[[services]]
service = "{member}/app/{NAME}"
url = "http://{service}"

[metrics]
listen = "127.0.0.1:0"

[globalconf]
refresh_seconds = 1

[storage]
segment_mebibytes = 8
min_free_mebibytes = 1
max_body_mebibytes = 8
spool_mebibytes = 32

[log]
filter = "warn"

{more}
"#,
        Digest::of(token.as_bytes())
    )
}

/// An application at a door that may not be open yet, or not all the time.
#[must_use]
pub fn caller_at(door: SocketAddr, headers: &[(&'static str, &str)]) -> Caller {
    let channel = Endpoint::from_shared(format!("http://{door}")).unwrap().connect_lazy();
    EchoServiceClient::with_interceptor(channel, Headers::new(headers))
}

/// Gives a grant at the admin API of the provider's node.
pub async fn grant_at(
    admin: &mut NodeClient,
    provider: &str,
    consumer: &str,
    purposes: &[&str],
    methods: &[&str],
) {
    grant_of(admin, &service(provider), consumer, purposes, methods).await;
}

/// The same for any service.
pub async fn grant_of(
    admin: &mut NodeClient,
    service: &ServiceId,
    consumer: &str,
    purposes: &[&str],
    methods: &[&str],
) {
    let now = SystemClock.now();
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let grant = Grant {
        id: format!("{consumer}-{}", purposes.join("-")),
        consumer: subsystem(consumer).to_string(),
        service: service.to_string(),
        methods: strings(methods),
        purposes: strings(purposes),
        valid_from_ms: now.minus(Duration::from_secs(60)).as_ms(),
        expires_at_ms: now.plus(Duration::from_secs(3600)).as_ms(),
        ..Grant::default()
    };
    admin.put_grant(PutGrantRequest { grant: Some(grant) }).await.unwrap();
}

/// The subsystem of a member.
#[must_use]
pub fn subsystem(name: &str) -> SubsystemId {
    format!("PY/GOV/{name}/app").parse().unwrap()
}

/// The service of a member.
#[must_use]
pub fn service(name: &str) -> ServiceId {
    format!("PY/GOV/{name}/app/{NAME}").parse().unwrap()
}

/// Of every key file of the tests.
#[must_use]
pub fn passphrase() -> Passphrase {
    Passphrase::new(Zeroizing::new(PASSPHRASE.to_owned())).unwrap()
}

/// A clock that the test moves.
#[must_use]
pub fn clock_at(now: Timestamp) -> (Arc<ManualClock>, Environment) {
    let clock = Arc::new(ManualClock::at(now));
    (Arc::clone(&clock), Environment { clock, ..Environment::default() })
}

async fn start_registry(instance: &Instance) -> serve::Running {
    let config = peabiru_registry::config::Config::read(&instance.registry_config).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom::default());
    serve::start(&config, &passphrase(), clock, random).await.unwrap()
}

/// A port that nobody else uses, over UDP or TCP.
#[must_use]
pub fn free_port() -> u16 {
    peabiru_cli::ports::free_port().unwrap()
}

/// The folder of a node's ledgers.
#[must_use]
pub fn ledger_folder(site: &Site) -> PathBuf {
    site.folder.join("data/ledger")
}

/// Of every key file of the tests.
pub const PASSPHRASE: &str = "of the tests";
