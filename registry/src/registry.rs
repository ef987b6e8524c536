//! The registry: one change at a time, each sealed with the snapshot that has it before anyone sees it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use peabiru_certs::pem::read_certificate;
use peabiru_certs::{Passphrase, SecretKey};
use peabiru_ledger::checkpoint::SealingKey;
use peabiru_ledger::status_note::sign_status;
use peabiru_proto::hash::{ContractDigest, Digest};
use peabiru_proto::id::ServiceId;
use peabiru_proto::limits::CLOCK_SKEW;
use peabiru_proto::origin::{Epoch, Origin};
use peabiru_proto::random::Random;
use peabiru_proto::time::{Clock, Timestamp};
use peabiru_proto::wire::{self, KeyPurpose};
use prost::Message as _;
use tokio::sync::{Mutex, watch};

use crate::RegistryError;
use crate::config::Config;
use crate::delegation::Delegation;
use crate::publish::{Edition, Parts, Published, Shelf};
use crate::state::{Ask, Command, Event, Operator, State};
use crate::store::ledger::{Fact, History, Replayed};

/// Knows what is registered, and publishes it.
pub struct Registry {
    history: History,
    origin: Origin,
    snapshot_key: SecretKey,
    delegation: Delegation,
    validity: Duration,
    clock: Arc<dyn Clock>,
    /// Held from decision to publication: changes follow each other.
    turn: Mutex<()>,
    current: ArcSwap<Current>,
    /// Says that the current snapshot is the newest one.
    status: ArcSwap<wire::SignedStatusNote>,
}

/// What readers see: state and snapshot belong together.
pub struct Current {
    /// What is registered.
    pub state: State,
    /// As nodes get it.
    pub published: Published,
    /// By digest.
    pub shelf: Shelf,
}

/// What became of what an operator asked for.
pub struct Changed {
    /// After it.
    pub current: Arc<Current>,
    /// What was proposed, approved or rejected.
    pub proposal: Option<wire::Proposal>,
}

impl Registry {
    /// Opens keys and ledger, replays it, and publishes a fresh snapshot. At the first start that snapshot has what the
    /// configuration's `[bootstrap]` says.
    ///
    /// # Errors
    /// `RegistryError` says what does not fit.
    pub async fn open(
        config: &Config,
        passphrase: &Passphrase,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Arc<Self>, RegistryError> {
        let (config, passphrase) = (config.clone(), passphrase.clone());
        // Key files are slow to open on purpose, and the replay reads the disk.
        let opened = tokio::task::spawn_blocking(move || Opened::open(&config, &passphrase, clock, random));
        let opened = opened.await.map_err(|error| RegistryError::Server(error.to_string()))??;
        opened.publish().await
    }

    /// Carries out, or notes as proposed, what an operator asks for. The answer comes when change and snapshot are
    /// durable; nothing changed if what is asked for is so already.
    ///
    /// # Errors
    /// `Refused`: nothing has changed. `Ledger` likewise, but for `Failed`, after which the process must stop.
    pub async fn change(self: &Arc<Self>, operator: Digest, ask: Ask) -> Result<Changed, RegistryError> {
        let registry = Arc::clone(self);
        // On a task of its own: a caller who hangs up must not leave ledger and state apart.
        let changed = tokio::spawn(async move {
            let _turn = registry.turn.lock().await;
            let now = registry.clock.now();
            let events = registry.current.load().state.ask(&operator, ask, now)?;
            let number = events.first().and_then(proposal_of);
            let current = match events.is_empty() {
                true => registry.current(),
                false => registry.commit(&events, now).await?,
            };
            let proposal = number
                .and_then(|number| current.state.proposals(now).find(|proposal| proposal.number == number));
            Ok(Changed { current, proposal })
        });
        changed.await.unwrap_or_else(|error| Err(RegistryError::Server(error.to_string())))
    }

    /// Publishes the same state again, with a new version and a later end.
    ///
    /// # Errors
    /// As `change`.
    pub async fn republish(self: &Arc<Self>) -> Result<Arc<Current>, RegistryError> {
        let registry = Arc::clone(self);
        let published = tokio::spawn(async move {
            let _turn = registry.turn.lock().await;
            registry.commit(&[], registry.clock.now()).await
        });
        published.await.unwrap_or_else(|error| Err(RegistryError::Server(error.to_string())))
    }

    /// Signs anew that the current snapshot is the newest one.
    pub async fn confirm(&self) {
        let _turn = self.turn.lock().await;
        self.sign_status();
    }

    /// The newest status note, for nodes.
    #[must_use]
    pub fn status(&self) -> Arc<wire::SignedStatusNote> {
        self.status.load_full()
    }

    /// The turn is the caller's: a note never names an older snapshot than the one before.
    fn sign_status(&self) {
        let newest = self.current.load().published.reference;
        let instance = self.current.load().state.instance().clone();
        let delegation = self.delegation.signed().clone();
        let note = sign_status(&instance, newest, self.clock.now(), &self.snapshot_key, delegation);
        self.status.store(Arc::new(note));
    }

    /// What is registered and published now.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Entries of the registry's ledger, and the size of its tree. Blocks on the disk.
    ///
    /// # Errors
    /// `Ledger`.
    pub fn notices(
        &self,
        start: u64,
        limit: usize,
    ) -> Result<(Vec<wire::RegistryNotice>, u64), RegistryError> {
        Ok(self.history.notices(start, limit)?)
    }

    /// The time by which certificates are judged.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How long until the snapshot should be published again: a quarter of its validity.
    #[must_use]
    pub fn republish_after(&self) -> Duration {
        self.validity / 4
    }

    /// Says why, if the ledger stopped: the process must stop then.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.history.failure()
    }

    /// Lets a change under way end, then writes the ledger's closing record.
    pub async fn close(&self) {
        let _turn = self.turn.lock().await;
        self.history.close().await;
    }

    async fn commit(
        &self,
        events: &[wire::RegistryEvent],
        now: Timestamp,
    ) -> Result<Arc<Current>, RegistryError> {
        let before = self.current.load_full();
        let reference = before.published.reference;
        if let [event] = events
            && proposal_of(event).is_some()
        {
            return self.note(&before, event, now).await;
        }
        let version = reference.version + 1;
        let draft = Draft::make(&before.state, events, &self.edition(version, now)?)?;
        let facts = draft.facts.clone();
        // Crash here: nothing has happened. Crash after it: events and snapshot are both there, and the next start
        // replays them and publishes a version above this one.
        let sealed = self.history.append(facts, Some(reference), now).await?;
        let sealed = sealed.last().expect("a draft's last fact is its snapshot");
        let delegation = self.delegation.signed().clone();
        let published = Published::new(&draft.snapshot, &self.snapshot_key, delegation, sealed);
        let shelf = before.shelf.succeed(draft.parts);
        let current = Arc::new(Current { state: draft.state, published, shelf });
        self.current.store(Arc::clone(&current));
        self.sign_status();
        tracing::info!(version, expires_at = %current.published.expires_at, "published");
        Ok(current)
    }

    /// Seals what nodes need not know: a proposal or its rejection changes nothing that is published.
    async fn note(
        &self,
        before: &Current,
        event: &wire::RegistryEvent,
        now: Timestamp,
    ) -> Result<Arc<Current>, RegistryError> {
        let mut state = before.state.clone();
        state.apply(event.clone()).map_err(RegistryError::Contradiction)?;
        self.history.append(vec![Fact::of(event)], Some(before.published.reference), now).await?;
        let (published, shelf) = (before.published.clone(), before.shelf.clone());
        let current = Arc::new(Current { state, published, shelf });
        self.current.store(Arc::clone(&current));
        Ok(current)
    }

    fn edition(&self, version: u64, now: Timestamp) -> Result<Edition, RegistryError> {
        let validity = self.delegation.cut(self.validity, now)?;
        Ok(Edition { version, created_at: now, validity, registry_origin: self.origin.clone() })
    }
}

/// A change that is ready to be sealed.
struct Draft {
    state: State,
    parts: Parts,
    snapshot: wire::Snapshot,
    facts: Vec<Fact>,
}

impl Draft {
    fn make(
        before: &State,
        events: &[wire::RegistryEvent],
        edition: &Edition,
    ) -> Result<Self, RegistryError> {
        let mut state = before.clone();
        for event in events {
            state.apply(event.clone()).map_err(RegistryError::Contradiction)?;
        }
        let parts = Parts::of(&state)?;
        let snapshot = parts.snapshot(&state, edition)?;
        let mut facts: Vec<_> = events.iter().map(Fact::of).collect();
        facts.push(Fact::snapshot(snapshot.encode_to_vec().into()));
        Ok(Self { state, parts, snapshot, facts })
    }
}

/// Keys and ledger are open; nothing is published yet.
struct Opened {
    history: History,
    replayed: Replayed,
    bootstrap: Vec<Command>,
    operators: Vec<Operator>,
    origin: Origin,
    snapshot_key: SecretKey,
    delegation: Delegation,
    validity: Duration,
    clock: Arc<dyn Clock>,
}

impl Opened {
    fn open(
        config: &Config,
        passphrase: &Passphrase,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, RegistryError> {
        let read = |path: &Path| SecretKey::read_encrypted(path, passphrase);
        let snapshot_key = read(&config.keys.snapshot_key)?;
        let sealing_key = read(&config.keys.sealing_key)?;
        let origin = Origin::of_registry(&config.registry.domain, Epoch::FIRST);
        let delegation = Delegation::read(&config.keys.delegation)?;
        delegation.fits(&config.registry.instance, &origin, &snapshot_key, &sealing_key)?;
        let sealing_key = SealingKey::from_pkcs8(sealing_key.pkcs8())
            .expect("the delegation names it, and it names Ed25519 keys only");
        let state = State::new(config.registry.instance.clone(), config.registry.domain.clone());
        let folder = config.registry.folder.join("ledger");
        let (history, replayed) = History::open(&folder, &origin, sealing_key, state, random)?;
        let now = clock.now();
        if let Some(last) = replayed.last.filter(|last| now.plus(CLOCK_SKEW) < *last) {
            return Err(RegistryError::ClockBehind { now, last });
        }
        if let Some(tail) = &replayed.recovery.dropped_tail {
            tracing::warn!(?tail, "an unfinished record at the end of the ledger was dropped");
        }
        let bootstrap =
            if replayed.state.is_empty() { bootstrap(&config.bootstrap.authorities)? } else { Vec::new() };
        let validity = config.snapshot.validity();
        let operators = config.operators.iter().cloned().collect();
        Ok(Self {
            history,
            replayed,
            bootstrap,
            operators,
            origin,
            snapshot_key,
            delegation,
            validity,
            clock,
        })
    }

    async fn publish(self) -> Result<Arc<Registry>, RegistryError> {
        let now = self.clock.now();
        let mut events = Vec::new();
        for command in self.bootstrap {
            let decided = self.replayed.state.decide(command, now)?;
            let by_nobody = |event| wire::RegistryEvent { event: Some(event), ..Default::default() };
            events.extend(decided.into_iter().map(by_nobody));
        }
        events.extend(self.replayed.state.list_operators(&self.operators));
        let version = self.replayed.globalconf.map_or(0, |before| before.version) + 1;
        let validity = self.delegation.cut(self.validity, now)?;
        let edition = Edition { version, created_at: now, validity, registry_origin: self.origin.clone() };
        let draft = Draft::make(&self.replayed.state, &events, &edition)?;
        let sealed = self.history.append(draft.facts, self.replayed.globalconf, now).await?;
        let sealed = sealed.last().expect("a draft's last fact is its snapshot");
        let delegation = self.delegation.signed().clone();
        let published = Published::new(&draft.snapshot, &self.snapshot_key, delegation, sealed);
        let current = Current { state: draft.state, published, shelf: Shelf::new(draft.parts) };
        let registry = Registry {
            history: self.history,
            origin: self.origin,
            snapshot_key: self.snapshot_key,
            delegation: self.delegation,
            validity: self.validity,
            clock: self.clock,
            turn: Mutex::new(()),
            current: ArcSwap::from_pointee(current),
            status: ArcSwap::default(),
        };
        registry.sign_status();
        Ok(Arc::new(registry))
    }
}

/// Number of the proposal that an event opens or ends.
fn proposal_of(event: &wire::RegistryEvent) -> Option<u64> {
    match event.event.as_ref()? {
        Event::ChangeProposed(event) => Some(event.number),
        Event::ProposalApproved(event) => Some(event.number),
        Event::ProposalRejected(event) => Some(event.number),
        _ => None,
    }
}

/// The authorities that the configuration file trusts from the first start on.
fn bootstrap(authorities: &[std::path::PathBuf]) -> Result<Vec<Command>, RegistryError> {
    let command = |path: &std::path::PathBuf| {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let purposes = vec![KeyPurpose::Authentication, KeyPurpose::Sealing, KeyPurpose::Operator];
        Ok(Command::AddAuthority { certificate: read_certificate(path)?, purposes, name })
    };
    authorities.iter().map(command).collect()
}

impl Current {
    /// The version of a service's contract that has this document.
    #[must_use]
    pub fn contract_version(&self, service: &ServiceId, document: &ContractDigest) -> u32 {
        self.state.contract_version(service, document).unwrap_or_default()
    }
}
