//! What is measured: the same service, reached in different ways.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peabiru_certs::peer::pinning_client;
use peabiru_certs::pem::read_certificate;
use peabiru_cli::client;
use peabiru_cli::site::Site;
use peabiru_integration_tests::echo::MESSAGE_BYTES_MAX;
use peabiru_integration_tests::echo::wire::echo_service_client::EchoServiceClient;
use peabiru_integration_tests::federation::{Caller, Federation, Headers, grant_at, service};
use peabiru_proto::hash::Digest;
use peabiru_proto::wire::{GetStatusRequest, NodeCounters};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::load::{self, Ask};
use crate::measure::Latencies;
use crate::process::{self, CONSUMER, PROVIDER, PURPOSE, Process, TOKEN, identity, metric};

/// Everything that runs.
pub struct Systems {
    systems: Vec<System>,
    nodes: Vec<Node>,
    service: Process,
    relays: Vec<Process>,
    _federation: Federation,
}

struct System {
    name: &'static str,
    caller: Caller,
    /// The same over a connection of its own.
    bulk: Caller,
    ask: Ask,
    /// Between application and service: none, relays or nodes.
    between: Between,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    Relays,
    Nodes,
}

struct Node {
    process: Process,
    site: Site,
}

/// One system in one round.
pub struct Measured {
    pub per_second: f64,
    pub latencies: Latencies,
    pub errors: u64,
    pub first_error: Option<String>,
    /// µs for each exchange: of what is between, and of load and service.
    pub cpu_between: f64,
    pub cpu_ends: f64,
    /// Of the nodes.
    pub ledger: Option<PerExchange>,
}

/// What an exchange costs the ledgers of both nodes.
#[derive(Clone, Copy)]
pub struct PerExchange {
    /// For the disk, one after another, on the exchange's own path.
    pub waits: f64,
    pub entries: f64,
    pub syncs: f64,
    pub signatures: f64,
}

/// Of all nodes since their start.
#[derive(Clone, Copy, Default)]
pub struct Handshakes {
    pub handshakes: f64,
    /// One for each exchange, and a few that ask for the global configuration.
    pub streams: f64,
}

impl Systems {
    pub async fn start(folder: tempfile::TempDir) -> Self {
        let mut federation = Federation::start_in(folder).await;
        let sections =
            |door: &str| format!("{door}\n[metrics]\nlisten = \"127.0.0.1:0\"\n\n[log]\nfilter = \"warn\"\n");
        let door = format!(
            "[door]\nlisten = \"127.0.0.1:0\"\n\n[[clients]]\nsubsystem = \"PY/GOV/{CONSUMER}/app\"\ntoken_sha256 = \"{}\"\n",
            Digest::of(TOKEN.as_bytes())
        );
        let consumer = federation.register(CONSUMER, sections(&door)).await;
        set_workers(&consumer);
        // The service's address is not known before it has the key that is made here.
        let provider = federation.register(PROVIDER, sections(SERVICE)).await;
        let text = |path: &Path| path.display().to_string();
        let (at_consumer, at_provider) = (text(&consumer.folder), text(&provider.folder));
        let service = Process::start("service", &[&at_provider, &at_consumer]).await;
        let config = std::fs::read_to_string(provider.config()).unwrap();
        std::fs::write(provider.config(), config.replace(UNKNOWN, &service.ready[0])).unwrap();
        set_workers(&provider);
        let mut nodes = Vec::new();
        for site in [provider.clone(), consumer.clone()] {
            nodes.push(Node { process: Process::start("node", &[&text(&site.config())]).await, site });
        }
        let mut admin = client::node(&provider.admin_socket()).await.unwrap();
        grant_at(&mut admin, PROVIDER, CONSUMER, &[PURPOSE], &[]).await;
        let authority = text(&federation.instance.ca_certificate);
        let arguments = [&at_provider, &at_consumer, &authority, &service.ready[0]].map(String::as_str);
        let far = Process::start("relay-provider", &arguments).await;
        let arguments = [&at_consumer, &at_provider, &authority, &far.ready[0]].map(String::as_str);
        let near = Process::start("relay-consumer", &arguments).await;
        let (secure, relay, door) = (&service.ready[1], &near.ready[0], &nodes[1].process.ready[0]);
        let direct = [direct(secure, &consumer, &provider).await, direct(secure, &consumer, &provider).await];
        let through_relay = [door_at(relay).await, door_at(relay).await];
        let through_node = [door_at(door).await, door_at(door).await];
        let system = |name, [caller, bulk]: &[Caller; 2], ask, between| System {
            name,
            caller: caller.clone(),
            bulk: bulk.clone(),
            ask,
            between,
        };
        let systems = vec![
            system("direct", &direct, Ask::Read, Between::Nothing),
            system("relay", &through_relay, Ask::Read, Between::Relays),
            system("read", &through_node, Ask::Read, Between::Nodes),
            system("write", &through_node, Ask::Write, Between::Nodes),
        ];
        Self { systems, nodes, service, relays: vec![far, near], _federation: federation }
    }

    pub fn len(&self) -> usize {
        self.systems.len()
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.systems.iter().map(|system| system.name).collect()
    }

    /// What stands between application and service, provider's side first, then the service.
    pub fn processes(&self, number: usize) -> Vec<(&'static str, &Process)> {
        let between = self.between(&self.systems[number]);
        ["provider", "consumer"].into_iter().zip(between).chain([("service", &self.service)]).collect()
    }

    fn between(&self, system: &System) -> Vec<&Process> {
        match system.between {
            Between::Nothing => Vec::new(),
            Between::Relays => self.relays.iter().collect(),
            Between::Nodes => self.nodes.iter().map(|node| &node.process).collect(),
        }
    }

    /// Memory of provider's and consumer's node, in MiB.
    pub fn resident(&self) -> [f64; 2] {
        [0, 1].map(|number: usize| self.nodes[number].process.resident())
    }

    /// Connections, caches, segments.
    pub async fn warm_up(&self, callers: usize) {
        for number in 0..self.len() {
            self.warm_up_one(number, callers).await;
        }
    }

    pub async fn warm_up_one(&self, number: usize, callers: usize) {
        self.load(number, callers, WARM_UP).await;
    }

    /// The system of this name, as an application reaches it; also over a connection of its own, for large bodies.
    pub fn callers(&self, name: &str) -> (Caller, Caller) {
        let system = self.systems.iter().find(|system| system.name == name).expect("one of the systems");
        (system.caller.clone(), system.bulk.clone())
    }

    /// How often the nodes shook hands so far, also in vain, and how many streams they opened to each other.
    pub async fn handshakes(&self) -> Handshakes {
        let mut sum = Handshakes::default();
        for node in &self.nodes {
            let page = &node.process.ready[1];
            sum.handshakes += metric(page, HANDSHAKES).await + metric(page, HANDSHAKES_FAILED).await;
            sum.streams += metric(page, STREAMS).await;
        }
        sum
    }

    /// Nothing but the load.
    pub async fn load(&self, number: usize, callers: usize, duration: Duration) -> load::Load {
        let system = &self.systems[number];
        load::run(&system.caller, system.ask, callers, duration).await
    }

    pub async fn measure(&self, number: usize, callers: usize, duration: Duration) -> Measured {
        let system = &self.systems[number];
        self.warm_up_one(number, callers).await;
        let between = self.between(system);
        let cpu = || {
            let between: Duration = between.iter().map(|process| process.cpu()).sum();
            (between, self.service.cpu() + process::cpu_of("self"))
        };
        let counts_before = self.counts(system).await;
        let cpu_before = cpu();
        let load = self.load(number, callers, duration).await;
        let cpu_after = cpu();
        let counts_after = self.counts(system).await;
        let exchanges = load.latencies.count() as f64;
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / exchanges;
        Measured {
            per_second: load.per_second(),
            errors: load.errors,
            first_error: load.first_error,
            latencies: load.latencies,
            cpu_between: each(cpu_after.0 - cpu_before.0),
            cpu_ends: each(cpu_after.1 - cpu_before.1),
            ledger: counts_before.zip(counts_after).map(|(before, after)| after.since(&before, exchanges)),
        }
    }

    async fn counts(&self, system: &System) -> Option<Counts> {
        if system.between != Between::Nodes {
            return None;
        }
        let mut counts = Counts::default();
        for node in &self.nodes {
            let mut admin = client::node(&node.site.admin_socket()).await.unwrap();
            let status = admin.get_status(GetStatusRequest {}).await.unwrap().into_inner();
            let NodeCounters { entries, syncs, signatures, .. } = status.counters.unwrap();
            counts.entries += entries as f64;
            counts.syncs += syncs as f64;
            counts.signatures += signatures as f64;
            counts.waits += metric(&node.process.ready[1], COMMIT_WAITS).await;
        }
        Some(counts)
    }
}

#[derive(Default)]
struct Counts {
    waits: f64,
    entries: f64,
    syncs: f64,
    signatures: f64,
}

impl Counts {
    fn since(&self, before: &Self, exchanges: f64) -> PerExchange {
        PerExchange {
            waits: (self.waits - before.waits) / exchanges,
            entries: (self.entries - before.entries) / exchanges,
            syncs: (self.syncs - before.syncs) / exchanges,
            signatures: (self.signatures - before.signatures) / exchanges,
        }
    }
}

/// With `--workers N` the nodes have so many threads instead of one for each core.
fn set_workers(site: &Site) {
    let Some(workers) = crate::measure::value("--workers") else { return };
    let config = std::fs::read_to_string(site.config()).unwrap();
    let config = config.replace("[node]\n", &format!("[node]\nworker_threads = {workers}\n"));
    std::fs::write(site.config(), config).unwrap();
}

async fn door_at(address: &str) -> Caller {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    caller(channel)
}

/// Mutual TLS to the service itself, with the keys of the two nodes.
async fn direct(address: &str, client: &Site, server: &Site) -> Caller {
    let server = Digest::of(&read_certificate(&server.folder.join("keys/authentication.crt")).unwrap());
    let tls = pinning_client(server, Some(&identity(&client.folder))).unwrap();
    let (tls, at) = (TlsConnector::from(Arc::new(tls)), address.to_owned());
    let connector = tower::service_fn(move |_: Uri| {
        let (tls, at) = (tls.clone(), at.clone());
        async move {
            let stream = tokio::net::TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("127.0.0.1").map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(tls.connect(name, stream).await?))
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    caller(endpoint.connect_with_connector(connector).await.unwrap())
}

fn caller(channel: Channel) -> Caller {
    let service = service(PROVIDER).to_string();
    let headers =
        [("x-peabiru-token", TOKEN), ("x-peabiru-purpose", PURPOSE), ("x-road-service", service.as_str())];
    EchoServiceClient::with_interceptor(channel, Headers::new(&headers))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
}

const SERVICE: &str =
    "[[services]]\nservice = \"PY/GOV/MEC/app/road.test.v1.EchoService\"\nurl = \"http://SERVICE\"\n";
/// In its place the service's own address is written.
const UNKNOWN: &str = "SERVICE";
/// How often a node waited for its ledger.
const COMMIT_WAITS: &str = "peabiru_stage_seconds_count{stage=\"commit\"}";
const HANDSHAKES: &str = "peabiru_link_handshakes_total{side=\"dialled\"}";
const HANDSHAKES_FAILED: &str = "peabiru_link_handshakes_failed_total";
const STREAMS: &str = "peabiru_link_streams_total{side=\"opened\"}";
const WARM_UP: Duration = Duration::from_millis(500);
