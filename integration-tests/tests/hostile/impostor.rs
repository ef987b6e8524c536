//! A registered node whose operator means ill: its keys and ledger are real, and it says over the link what it wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peabiru_certs::peer::TlsIdentity;
use peabiru_certs::pem::read_certificate;
use peabiru_certs::{SecretKey, StorageKey};
use peabiru_integration_tests::echo::wire::NoteRequest;
use peabiru_integration_tests::federation::{Agency, Member, passphrase, service, subsystem};
use peabiru_ledger::checkpoint::{SealingKey, SignedCheckpoint};
use peabiru_ledger::disk::{Disk, RealDisk};
use peabiru_ledger::large::LargeFiles;
use peabiru_ledger::ledger::{Append, Ledger, LedgerIdentity, Store, StoreConfig};
use peabiru_ledger::payload::{Direction, Payload, SealedPayload};
use peabiru_ledger::position::TreeSize;
use peabiru_ledger::proof::ConsistencyProof;
use peabiru_ledger::seal::{Seal, SealedEntry};
use peabiru_node::globalconf::Globalconf;
use peabiru_node::link::hello::Hello;
use peabiru_proto::entry::{Body, Common, Content, Entry, ExchangeId, Request, SideEffects};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::ContentRoot;
use peabiru_proto::random::SystemRandom;
use peabiru_proto::time::{Clock as _, SystemClock, Timestamp};
use peabiru_proto::wire::Context;
use peabiru_proto::wire::link_frame::Frame;
use prost::Message as _;

use super::raw::{Guise, Raw, message};

/// Keys and ledger of a node that no honest program runs on.
pub(crate) struct Impostor {
    pub(crate) agency: Agency,
    identity: TlsIdentity,
    store: Store,
    pub(crate) ledger: Ledger,
    conf: Arc<GlobalConfiguration>,
}

/// Its connection with a node.
pub(crate) struct Visit {
    pub(crate) raw: Raw,
    /// Up to where that node was shown its ledger.
    shown: TreeSize,
}

/// A REQUEST as an honest node would make it, but for what a test changes.
pub(crate) struct Draft {
    pub(crate) created_at: Timestamp,
    pub(crate) request: Request,
    pub(crate) text: String,
}

/// A sealed message.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) entry: SealedEntry,
    pub(crate) payload: Arc<Payload>,
}

impl Impostor {
    /// Takes an agency's keys; `informed` is a node whose global configuration it reads.
    pub(crate) fn of(agency: Agency, informed: &Member) -> Self {
        let keys = agency.site.folder.join("keys");
        let secret = |name: &str| SecretKey::read_encrypted(&keys.join(name), &passphrase()).unwrap();
        let certificate = read_certificate(&keys.join("authentication.crt")).unwrap();
        let identity = TlsIdentity { certificate, key: secret("authentication.key") };
        let sealing = SealingKey::from_pkcs8(secret("sealing.key").pkcs8()).unwrap();
        let storage = StorageKey::read_encrypted(&keys.join("storage.key"), &passphrase()).unwrap();
        let config = StoreConfig {
            segment_bytes: 1024 * 1024,
            min_free_bytes: 0,
            ..StoreConfig::new(agency.site.folder.join("impostor"))
        };
        let origin = agency.site.origin.clone();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let identities = vec![LedgerIdentity { origin: origin.clone(), key: sealing, next_key: None }];
        let random = Arc::new(SystemRandom::default());
        let (store, _) = Store::open(&disk, &config, identities, Some(storage), random, &mut |_| {}).unwrap();
        let ledger = store.ledger(&origin).unwrap();
        let folder = informed.agency.site.folder.join("data/globalconf");
        let anchor = std::fs::read_to_string(agency.site.folder.join("anchor.toml")).unwrap();
        let anchor = peabiru_proto::globalconf::ConfigurationAnchor::parse(&anchor).unwrap();
        let conf = Globalconf::open(folder, anchor, Arc::new(SystemClock)).unwrap().newest().unwrap();
        Self { agency, identity, store, ledger, conf }
    }

    /// As whom it connects.
    pub(crate) fn guise(&self) -> Guise {
        Guise {
            id: self.agency.site.node.clone(),
            identity: self.identity.clone(),
            conf: Arc::clone(&self.conf),
            now: SystemClock.now(),
        }
    }

    /// Dials a node and greets it. Later visits have higher serials.
    pub(crate) async fn visit(&self, to: &Member, serial: u64) -> Visit {
        let address: SocketAddr = to.node.link_address;
        let raw = Raw::connect(self.guise(), &to.agency.site.node, address, serial).await;
        let hello = Hello::read(&raw.hear().await, &to.agency.site.node).unwrap();
        let shown = hello.known.iter().find(|head| head.origin() == self.ledger.origin());
        let shown = shown.map_or(TreeSize::EMPTY, SignedCheckpoint::size);
        Visit { raw, shown }
    }

    /// A write that an honest node could ask of `provider` right now.
    pub(crate) fn draft(&self, provider: &Member, text: &str) -> Draft {
        let service = service(&provider.agency.name);
        let contract = self.conf.contract(&service).unwrap();
        let created_at = SystemClock.now();
        let request = Request {
            expires_at: created_at.plus(Duration::from_secs(60)),
            consumer: subsystem(&self.agency.name),
            service,
            method: "Note".to_owned(),
            addressee: provider.agency.site.node.clone(),
            contract_version: contract.version,
            contract_digest: contract.digest,
            side_effects: SideEffects::Present,
            purpose: "testing".parse().unwrap(),
            consent_commitment: None,
            // Of the payload, once there is one.
            content: Content::Stream { context_root: ContentRoot::from_bytes([0; 32]) },
            retry_of: None,
        };
        Draft { created_at, request, text: text.to_owned() }
    }

    /// Seals a draft in its ledger.
    pub(crate) async fn seal(&self, draft: Draft) -> Sealed {
        self.seal_as(draft, ExchangeId::new(&SystemRandom::default())).await
    }

    /// Seals a draft under an exchange id that it chooses.
    pub(crate) async fn seal_as(&self, draft: Draft, exchange: ExchangeId) -> Sealed {
        let note = NoteRequest { text: draft.text }.encode_to_vec();
        let mut body = vec![0];
        body.extend_from_slice(&u32::try_from(note.len()).unwrap().to_be_bytes());
        body.extend_from_slice(&note);
        let random = SystemRandom::default();
        let context = Context::default().encode_to_vec();
        let (payload, root) =
            SealedPayload::seal(&random, &exchange, Direction::Request, &context, &body).unwrap();
        let payload = Arc::new(Payload::Sealed(payload));
        let content = Content::Whole { root, body_bytes: body.len() as u64 };
        let node = Some(self.agency.site.node.clone());
        let common = Common { exchange, created_at: draft.created_at, node, globalconf: None };
        let body = Body::Request(Request { content, ..draft.request });
        let entry = Entry::encode(self.ledger.origin(), &common, &body).unwrap();
        let append = Append { entry, payload: Some(Arc::clone(&payload)), foreign: None };
        let entry = self.ledger.append(vec![append]).await.unwrap().remove(0);
        Sealed { entry, payload }
    }

    /// Seals what opens a stream of writes.
    pub(crate) async fn open_stream(&self, provider: &Member) -> Sealed {
        self.open_stream_of(provider, "Gather", SideEffects::Present).await
    }

    /// Seals what opens a stream.
    pub(crate) async fn open_stream_of(
        &self,
        provider: &Member,
        method: &str,
        side_effects: SideEffects,
    ) -> Sealed {
        let draft = self.draft(provider, "");
        let exchange = ExchangeId::new(&SystemRandom::default());
        let context = Context::default().encode_to_vec();
        let (payload, root) = sealed_payload(&exchange, Direction::Request, &context, &[]);
        let content = Content::Stream { context_root: root };
        let request = Request { content, method: method.to_owned(), side_effects, ..draft.request };
        self.put(exchange, &Body::Request(request), payload).await
    }

    /// Seals that something came.
    pub(crate) async fn note(&self, exchange: ExchangeId, body: &Body) -> SealedEntry {
        let node = Some(self.agency.site.node.clone());
        let common = Common { exchange, created_at: SystemClock.now(), node, globalconf: None };
        let entry = Entry::encode(self.ledger.origin(), &common, body).unwrap();
        let append = Append { entry, payload: None, foreign: None };
        self.ledger.append(vec![append]).await.unwrap().remove(0)
    }

    /// Seals any entry with its payload.
    pub(crate) async fn put(&self, exchange: ExchangeId, body: &Body, payload: SealedPayload) -> Sealed {
        self.put_at(SystemClock.now(), exchange, body, payload).await
    }

    /// Seals any entry that says to have been made then.
    pub(crate) async fn put_at(
        &self,
        created_at: Timestamp,
        exchange: ExchangeId,
        body: &Body,
        payload: SealedPayload,
    ) -> Sealed {
        let node = Some(self.agency.site.node.clone());
        let common = Common { exchange, created_at, node, globalconf: None };
        let entry = Entry::encode(self.ledger.origin(), &common, body).unwrap();
        let payload = Arc::new(Payload::Sealed(payload));
        let append = Append { entry, payload: Some(Arc::clone(&payload)), foreign: None };
        let entry = self.ledger.append(vec![append]).await.unwrap().remove(0);
        Sealed { entry, payload }
    }

    /// The same message under the newest head: a copy that no checkpoint gives away.
    pub(crate) fn reseal(&self, sealed: &Sealed) -> Sealed {
        let position = sealed.entry.seal.position;
        let checkpoint = self.ledger.head().unwrap();
        let proof = self.ledger.inclusion(position, checkpoint.size()).unwrap();
        let seal = Seal { checkpoint, position, proof };
        let entry = SealedEntry { entry: sealed.entry.entry.clone(), seal };
        Sealed { entry, payload: Arc::clone(&sealed.payload) }
    }

    /// For bodies of more than one chunk.
    pub(crate) fn files(&self) -> &LargeFiles {
        self.store.large_files()
    }

    /// Closes its ledger.
    pub(crate) async fn stop(self) {
        self.store.close().await;
    }
}

/// A payload of its own.
pub(crate) fn sealed_payload(
    exchange: &ExchangeId,
    direction: Direction,
    context: &[u8],
    body: &[u8],
) -> (SealedPayload, ContentRoot) {
    SealedPayload::seal(&SystemRandom::default(), exchange, direction, context, body).unwrap()
}

impl Visit {
    /// Shows the head that seals a message, with its proof.
    pub(crate) async fn show(&mut self, ledger: &Ledger, sealed: &Sealed) {
        let head = &sealed.entry.seal.checkpoint;
        if head.size() <= self.shown {
            return;
        }
        let proof = match self.shown {
            TreeSize::EMPTY => ConsistencyProof::default(),
            shown => ledger.consistency(shown, head.size()).unwrap(),
        };
        self.raw.update(head, self.shown, &proof).await;
        self.shown = head.size();
    }

    /// Sends a message, its head first; gives what comes back.
    pub(crate) async fn send(&mut self, from: &Impostor, sealed: &Sealed) -> Option<Frame> {
        self.show(&from.ledger, sealed).await;
        self.raw.bytes(&sealed.bytes()).await
    }
}

impl Sealed {
    /// The frame.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        message(&self.entry, &self.payload)
    }

    /// The frame with one byte of `part` changed.
    pub(crate) fn altered(&self, part: &[u8]) -> Vec<u8> {
        let mut bytes = self.bytes();
        let at =
            bytes.windows(part.len()).position(|window| window == part).expect("the frame holds the part");
        bytes[at] ^= 1;
        bytes
    }

    /// The ciphertext of its last chunk.
    pub(crate) fn ciphertext(&self) -> Vec<u8> {
        match &*self.payload {
            Payload::Sealed(payload) => payload.chunks().last().unwrap().to_vec(),
            Payload::Clear(_) => unreachable!("payloads of exchanges are encrypted"),
        }
    }
}
