//! A road of a few nodes on loopback: pilot authority, real ledgers, real sockets, one global configuration.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use peabiru_certs::key::Algorithm;
use peabiru_certs::peer::TlsIdentity;
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_certs::profile::Subject;
use peabiru_certs::{SecretKey, StorageKey};
use peabiru_ledger::PayloadState;
use peabiru_ledger::checkpoint::SealingKey;
use peabiru_ledger::disk::{Disk, RealDisk};
use peabiru_ledger::ledger::{Append, Ledger, LedgerIdentity, Store, StoreConfig};
use peabiru_ledger::payload::{Direction, Payload, SealedPayload};
use peabiru_ledger::seal::{Seal, SealedEntry};
use peabiru_node::exchange::{
    Arrived, BoxFuture, Found, Held, Inbound, Line, LinkAnswer, Reply, Wanted, WantedConf,
};
use peabiru_node::link::budget::DEFAULT_MEMORY_BUDGET;
use peabiru_node::link::heads::Heads;
use peabiru_node::link::{Carrier, Link, LinkConfig, LinkParts, Waits};
use peabiru_node::spool::Spool;
use peabiru_proto::entry::{Body, Common, Content, Entry, ExchangeId, Request, Response, SideEffects};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::{ContractDigest, Digest, SnapshotDigest};
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::origin::{Epoch, Origin};
use peabiru_proto::random::SystemRandom;
use peabiru_proto::time::{Clock, ManualClock, Timestamp};
use peabiru_proto::wire::{self, KeyPurpose, PartKind};
use prost::Message as _;
use tokio::sync::Semaphore;

use super::raw::Guise;

const NOW: Timestamp = Timestamp::from_ms(1_900_000_000_000);
const DOMAIN: &str = "py.peabiru.example";
pub(crate) const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Longer than anything takes here; a test that reaches it fails.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Everything that the nodes share.
pub(crate) struct Road {
    pub(crate) clock: Arc<ManualClock>,
    ca: PilotCa,
    sites: Mutex<HashMap<NodeId, Arc<Site>>>,
    addresses: Mutex<HashMap<NodeId, wire::NodeAddress>>,
    conf: Arc<Mutex<Option<Arc<GlobalConfiguration>>>>,
    version: AtomicU64,
    /// How long a node that stops waits for what goes on.
    pub(crate) drain: Duration,
    /// With what the nodes that are started from now on listen and dial.
    carriers: Mutex<Vec<Carrier>>,
    /// Until QUIC is tried again where it did not work.
    pub(crate) probe: Duration,
    /// What messages may take in memory.
    pub(crate) memory_budget: usize,
}

/// What a node keeps over restarts.
pub(crate) struct Site {
    pub(crate) id: NodeId,
    member: MemberId,
    pub(crate) identity: TlsIdentity,
    sealing: SecretKey,
    sealing_certificate: Bytes,
    pub(crate) origin: Origin,
    pub(crate) folder: tempfile::TempDir,
    /// If a test says where.
    pub(crate) listen: Mutex<Option<SocketAddr>>,
}

/// A node that runs.
pub(crate) struct Running {
    pub(crate) link: Arc<Link>,
    pub(crate) ledger: Ledger,
    pub(crate) store: Store,
    pub(crate) site: Arc<Site>,
}

/// Answers each message with its own body, as a provider would.
pub(crate) struct Echo {
    site: Arc<Site>,
    ledger: Ledger,
    /// Closed: no message gets its answer.
    gate: Arc<Semaphore>,
    pub(crate) seen: Arc<Semaphore>,
}

impl Road {
    pub(crate) fn of(names: &[&str]) -> Self {
        let ca = PilotCa::create(&"PY".parse().unwrap(), NOW).unwrap();
        let road = Self {
            clock: Arc::new(ManualClock::at(NOW)),
            ca,
            sites: Mutex::default(),
            addresses: Mutex::default(),
            conf: Arc::default(),
            version: AtomicU64::new(0),
            drain: LONG,
            carriers: Mutex::new(vec![Carrier::Quic, Carrier::Http2]),
            probe: LONG,
            memory_budget: DEFAULT_MEMORY_BUDGET,
        };
        for name in names {
            let site = road.stranger(name);
            road.sites.lock().unwrap().insert(site.id.clone(), site);
        }
        road.publish();
        road
    }

    /// A node with good certificates that nobody registered.
    pub(crate) fn stranger(&self, name: &str) -> Arc<Site> {
        let member: MemberId = format!("PY/GOV/{name}").parse().unwrap();
        let id: NodeId = format!("PY/GOV/{name}/node").parse().unwrap();
        let origin = Origin::of_ledger(&DOMAIN.parse().unwrap(), &member, &id, Epoch::FIRST);
        let (tls, sealing) = (SecretKey::generate(Algorithm::P256), SecretKey::generate(Algorithm::Ed25519));
        let node = Subject::Node { id: id.clone(), hosts: vec!["127.0.0.1".to_owned()] };
        let certificate = self.ca.issue_for_key(&tls, node, NOW).unwrap();
        let ledger = Subject::Sealing { origin: origin.clone(), member: member.clone() };
        let sealing_certificate = self.ca.issue_for_key(&sealing, ledger, NOW).unwrap();
        let identity = TlsIdentity { certificate, key: tls };
        let folder = tempfile::tempdir().unwrap();
        Arc::new(Site {
            id,
            member,
            identity,
            sealing,
            sealing_certificate,
            origin,
            folder,
            listen: Mutex::default(),
        })
    }

    pub(crate) fn site(&self, name: &str) -> Arc<Site> {
        Arc::clone(&self.sites.lock().unwrap()[&format!("PY/GOV/{name}/node").parse::<NodeId>().unwrap()])
    }

    pub(crate) fn forget(&self, id: &NodeId) {
        self.sites.lock().unwrap().remove(id);
        self.publish();
    }

    pub(crate) fn conf(&self) -> Arc<dyn Fn() -> Option<Arc<GlobalConfiguration>> + Send + Sync> {
        let conf = Arc::clone(&self.conf);
        Arc::new(move || conf.lock().unwrap().clone())
    }

    /// A site as a raw peer.
    pub(crate) fn guise(&self, site: &Site) -> Guise {
        let (id, identity) = (site.id.clone(), site.identity.clone());
        Guise { id, identity, conf: self.conf()().unwrap(), now: self.clock.now() }
    }

    pub(crate) async fn start(&self, name: &str) -> (Running, Arc<Echo>) {
        self.start_site(self.site(name), "ledger").await
    }

    /// Starts a node on one of the folders that it may have: another one is another history under the same key.
    pub(crate) async fn start_site(&self, site: Arc<Site>, folder: &str) -> (Running, Arc<Echo>) {
        let heads = Arc::new(Heads::open(site.folder.path()).unwrap());
        let store = site.open_store(folder, &heads);
        let ledger = store.ledger(&site.origin).unwrap();
        let (gate, seen) = (Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)), Arc::new(Semaphore::new(0)));
        let echo = Arc::new(Echo { site: Arc::clone(&site), ledger: ledger.clone(), gate, seen });
        let parts = LinkParts {
            own: site.id.clone(),
            identity: site.identity.clone(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            conf: self.conf(),
            ledgers: vec![ledger.clone()],
            spool: Spool::new(store.large_files().clone(), Arc::new(SystemRandom::default()), BODY_BYTES_MAX),
            heads,
            inbound: Arc::clone(&echo) as Arc<dyn Inbound>,
        };
        let config = LinkConfig {
            waits: Waits { drain: self.drain, probe_first: self.probe, probe: self.probe, ..short_waits() },
            carriers: self.carriers.lock().unwrap().clone(),
            memory_budget: self.memory_budget,
            ..LinkConfig::on(site.listen.lock().unwrap().unwrap_or("127.0.0.1:0".parse().unwrap()))
        };
        let link = Arc::new(Link::start(&config, parts).unwrap());
        // A restarted node has a higher serial than before, as its clock went on.
        self.clock.advance(Duration::from_secs(1));
        self.listen(&site.id, link.local_addr());
        (Running { link, ledger, store, site }, echo)
    }

    /// With what nodes listen and dial from now on.
    pub(crate) fn carry(&self, carriers: &[Carrier]) {
        *self.carriers.lock().unwrap() = carriers.to_vec();
    }

    pub(crate) fn listen(&self, id: &NodeId, address: SocketAddr) {
        use wire::node_address::Address;
        let direct = wire::DirectAddress { host: address.ip().to_string(), port: address.port().into() };
        self.reach(id, Address::Direct(direct));
    }

    pub(crate) fn reach(&self, id: &NodeId, address: wire::node_address::Address) {
        let address = wire::NodeAddress { address: Some(address) };
        self.addresses.lock().unwrap().insert(id.clone(), address);
        self.publish();
    }

    fn publish(&self) {
        let mut parts = HashMap::new();
        let mut list = |kind: PartKind, name: &str, bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            let part_bytes = bytes.len() as u64;
            parts.insert(digest, Bytes::from(bytes));
            let digest = Bytes::copy_from_slice(digest.as_bytes());
            wire::PartDigest { kind: kind.into(), name: name.to_owned(), digest, part_bytes }
        };
        let addresses = self.addresses.lock().unwrap();
        let mut listed: Vec<_> = (self.sites.lock().unwrap().values())
            .map(|site| {
                let part = site.part(addresses.get(&site.id).cloned());
                list(PartKind::Member, site.member.as_str(), part.encode_to_vec())
            })
            .collect();
        let purposes = vec![KeyPurpose::Authentication.into(), KeyPurpose::Sealing.into()];
        let certificate = self.ca.certificate().clone();
        let authority = wire::CertificateAuthority { certificate, purposes, name: "pilot".to_owned() };
        let trust = wire::TrustPart { authorities: vec![authority] };
        listed.push(list(PartKind::Trust, "trust", trust.encode_to_vec()));
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        let snapshot = wire::Snapshot {
            instance: "PY".to_owned(),
            version,
            created_at_ms: NOW.as_ms(),
            expires_at_ms: NOW.plus(Duration::from_secs(3600)).as_ms(),
            domain: DOMAIN.to_owned(),
            registry_origin: format!("{DOMAIN}/registry/1"),
            parts: listed,
        };
        let digest = SnapshotDigest::from_bytes(*Digest::of(&snapshot.encode_to_vec()).as_bytes());
        let conf = GlobalConfiguration::assemble(&snapshot, digest, &|digest| parts.get(digest).cloned());
        *self.conf.lock().unwrap() = Some(Arc::new(conf.unwrap()));
    }
}

impl Site {
    fn part(&self, address: Option<wire::NodeAddress>) -> wire::MemberPart {
        let node = wire::NodeRecord {
            id: self.id.to_string(),
            addresses: address.into_iter().collect(),
            authentication_certificates: vec![self.identity.certificate.clone()],
        };
        let ledger = wire::LedgerRecord {
            origin: self.origin.to_string(),
            node: self.id.to_string(),
            epoch: 1,
            sealing_certificate: self.sealing_certificate.clone(),
            ..Default::default()
        };
        wire::MemberPart {
            member: self.member.to_string(),
            name: self.member.to_string(),
            nodes: vec![node],
            ledgers: vec![ledger],
            ..wire::MemberPart::default()
        }
    }

    pub(crate) fn open_store(&self, folder: &str, heads: &Heads) -> Store {
        let config = StoreConfig {
            segment_bytes: 1024 * 1024,
            min_free_bytes: 0,
            ..StoreConfig::new(self.folder.path().join(folder))
        };
        let key = SealingKey::from_pkcs8(self.sealing.pkcs8()).unwrap();
        let identity = LedgerIdentity { origin: self.origin.clone(), key, next_key: None };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let storage_key = Some(StorageKey::from_bytes([7; 32]));
        let random = Arc::new(SystemRandom::default());
        let (store, _) = Store::open(&disk, &config, vec![identity], storage_key, random, &mut |recovered| {
            if let Some(foreign) = recovered.foreign {
                heads.remember(&foreign.checkpoint);
            }
        })
        .unwrap();
        store
    }

    /// A REQUEST, not sealed.
    pub(crate) fn asks(&self, exchange: ExchangeId, to: &NodeId, content: Content) -> Entry {
        let request = Request {
            expires_at: NOW.plus(Duration::from_secs(60)),
            consumer: format!("{}/app", self.member).parse().unwrap(),
            service: format!("{}/app/example.v1.Echo", to.owner()).parse().unwrap(),
            method: "Say".to_owned(),
            addressee: to.clone(),
            contract_version: 1,
            contract_digest: ContractDigest::of(b"document"),
            side_effects: SideEffects::None,
            purpose: "testing".parse().unwrap(),
            consent_commitment: None,
            content,
            retry_of: None,
        };
        self.entry(exchange, &Body::Request(request))
    }

    pub(crate) fn entry(&self, exchange: ExchangeId, body: &Body) -> Entry {
        let common = Common { exchange, created_at: NOW, node: Some(self.id.clone()), globalconf: None };
        Entry::encode(&self.origin, &common, body).unwrap()
    }
}

/// A REQUEST of this site, sealed, with its payload.
pub(crate) async fn request(
    site: &Site,
    ledger: &Ledger,
    to: &NodeId,
    text: &str,
) -> (SealedEntry, Arc<Payload>) {
    let random = SystemRandom::default();
    let exchange = ExchangeId::new(&random);
    let (payload, root) =
        SealedPayload::seal(&random, &exchange, Direction::Request, b"context", text.as_bytes()).unwrap();
    let entry = site.asks(exchange, to, Content::Whole { root, body_bytes: text.len() as u64 });
    append(ledger, entry, payload).await
}

pub(crate) async fn append(
    ledger: &Ledger,
    entry: Entry,
    payload: SealedPayload,
) -> (SealedEntry, Arc<Payload>) {
    let payload = Arc::new(Payload::Sealed(payload));
    let append = Append { entry, payload: Some(Arc::clone(&payload)), foreign: None };
    (ledger.append(vec![append]).await.unwrap().remove(0), payload)
}

impl Running {
    pub(crate) async fn ask(&self, to: &NodeId, text: &str) -> Result<LinkAnswer, Fault> {
        let (sealed, payload) = request(&self.site, &self.ledger, to, text).await;
        self.link.exchange(to, sealed, payload, LONG).await
    }

    /// Asks, and gives the text of the answer, checked as a guard would.
    pub(crate) async fn say(&self, to: &NodeId, text: &str) -> Result<String, Fault> {
        match self.ask(to, text).await? {
            LinkAnswer::Arrived(arrived) => {
                assert_eq!(arrived.peer, *to);
                Ok(open(&arrived, Direction::Answer))
            }
            LinkAnswer::Refused(fault) => Err(fault),
        }
    }

    pub(crate) async fn stop(self) -> Arc<Site> {
        self.link.close().await;
        self.store.close().await;
        self.site
    }
}

impl Echo {
    pub(crate) fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn release(&self) {
        self.gate.add_permits(1000);
    }

    async fn answer(&self, arrived: Arrived) -> Reply {
        self.seen.add_permits(1);
        let pass = self.gate.acquire().await.unwrap();
        drop(pass);
        assert!(arrived.opened.is_none(), "the link decrypts nothing");
        let text = open(&arrived, Direction::Request);
        if text == "refuse" {
            let fault = Fault::new(FaultCode::MessageExpired, Place::ProviderNode, "too late");
            return Reply::Refusal(fault);
        }
        let exchange = arrived.entry.exchange();
        let random = SystemRandom::default();
        let sealed = SealedPayload::seal(&random, &exchange, Direction::Answer, b"", text.as_bytes());
        let (payload, content_root) = sealed.unwrap();
        let response = Response {
            request_leaf: arrived.entry.leaf_hash(),
            received_leaf: arrived.entry.leaf_hash(),
            addressee: arrived.peer.clone(),
            outcome: 0,
            content: Content::Whole { root: content_root, body_bytes: text.len() as u64 },
        };
        let entry = self.site.entry(exchange, &Body::Response(response));
        let (entry, payload) = append(&self.ledger, entry, payload).await;
        Reply::Sealed { entry, payload }
    }
}

/// The Inbound of the tests; its methods need shared ownership of what they use.
impl Inbound for Echo {
    fn greeted(&self, _: &NodeId, _: u64) {}

    fn admit(&self, _peer: &NodeId, _preview: &Entry) -> Result<(), Fault> {
        Ok(())
    }

    fn message(&self, arrived: Arrived) -> BoxFuture<Reply> {
        let (site, ledger) = (Arc::clone(&self.site), self.ledger.clone());
        let echo = Self { site, ledger, gate: Arc::clone(&self.gate), seen: Arc::clone(&self.seen) };
        Box::pin(async move { echo.answer(arrived).await })
    }

    fn stream(&self, _opening: Arrived, _line: Line) -> BoxFuture<Reply> {
        let what = "streams are for the federation's tests";
        Box::pin(async move { Reply::Refusal(Fault::new(FaultCode::Internal, Place::ProviderNode, what)) })
    }

    fn fetch(&self, _peer: NodeId, wanted: Wanted) -> BoxFuture<Found> {
        let ledger = self.ledger.clone();
        Box::pin(async move {
            let positions = ledger.positions_of(&wanted.exchange).unwrap();
            let held = |position| {
                let stored = ledger.read(position).unwrap();
                let PayloadState::Kept(Payload::Sealed(payload)) = stored.payload else {
                    panic!("no payload")
                };
                Held {
                    sealed: SealedEntry { entry: stored.entry, seal: stored.seal },
                    payload: Some(payload),
                }
            };
            let (sender, found) = tokio::sync::mpsc::channel(100);
            for held in positions.into_iter().map(held) {
                sender.send(Ok(held)).await.unwrap();
            }
            found
        })
    }

    fn globalconf(&self, _wanted: WantedConf) -> BoxFuture<Option<Bytes>> {
        Box::pin(std::future::ready(None))
    }
}

/// Decrypts, after checking the inclusion proof.
pub(crate) fn open(arrived: &Arrived, direction: Direction) -> String {
    let seal = Seal {
        checkpoint: arrived.checkpoint.clone(),
        position: arrived.position,
        proof: arrived.proof.clone(),
    };
    seal.includes(&arrived.entry.leaf_hash()).unwrap();
    let (root, bytes) = arrived.entry.body().content().unwrap();
    let opened = arrived.payload.open(&arrived.entry.exchange(), direction, &root, bytes).unwrap();
    match opened.body.whole() {
        Some(body) => String::from_utf8(body.to_vec()).unwrap(),
        None => format!("{} bytes", opened.body.bytes()),
    }
}

/// The defaults but for those waits that a test waits out.
fn short_waits() -> Waits {
    Waits {
        read: Duration::from_millis(300),
        write: Duration::from_secs(2),
        checkpoint: Duration::from_millis(500),
        retire: Duration::from_millis(100),
        pace: Duration::from_millis(400),
        still_coming: Duration::from_millis(50),
        large: Duration::from_secs(3),
        turn: Duration::from_millis(300),
        ..Waits::default()
    }
}

/// The files of forks that a node keeps now.
pub(crate) fn forks(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder.join("forks")).unwrap().map(|file| file.unwrap().path());
    let whole = files.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    whole.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// The same, once there is one: a ledger is refused at once, and its file is synced right after.
pub(crate) async fn kept_forks(folder: &Path) -> Vec<String> {
    let kept = async {
        while forks(folder).is_empty() {
            tokio::task::yield_now().await;
        }
        forks(folder)
    };
    tokio::time::timeout(LONG, kept).await.expect("a fork is kept")
}
