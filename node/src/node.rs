//! One node: everything is opened, recovered, wired and started here, and stopped in the opposite order.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use peabiru_certs::Passphrase;
use peabiru_certs::peer::TlsIdentity;
use peabiru_ledger::LedgerError;
use peabiru_ledger::disk::{Disk, RealDisk};
use peabiru_ledger::ledger::{RecoveredEntry, Recovery, Store, StoreConfig};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::id::MemberId;
use peabiru_proto::limits::CLOCK_SKEW;
use peabiru_proto::random::{Random, SystemRandom};
use peabiru_proto::time::{Clock, SystemClock};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::NodeError;
use crate::admin::{self, Admin};
use crate::catch_up::CatchUp;
use crate::config::{Change, Config};
use crate::consumer::Consumer;
use crate::core::Core;
use crate::dial_out::DialOut;
use crate::dispatcher::Dispatcher;
use crate::door::{self, Door, Listener};
use crate::globalconf::Globalconf;
use crate::guard::Guard;
use crate::inbound::Answering;
use crate::keys::{HostedLedger, Keys, certificate_in_force, read_anchor};
use crate::link::heads::Heads;
use crate::link::{Link, LinkConfig, LinkParts, Waits};
use crate::live::session::{STREAM_IDLE_MAX, Sessions};
use crate::memory::{Memory, Unanswered};
use crate::metrics::{self, Page};
use crate::provider::Provider;
use crate::refresh::Refresher;
use crate::reload::Reloader;
use crate::settings::{self, DoorTls, MEBIBYTE};
use crate::shown::{Certificates, Shown};
use crate::spool::Spool;

/// What comes in from outside.
#[derive(Clone)]
pub struct Environment {
    /// Machine's or a test's.
    pub clock: Arc<dyn Clock>,
    /// For keys, salts and exchange ids.
    pub random: Arc<dyn Random>,
    /// For the ledgers.
    pub disk: Arc<dyn Disk>,
    /// How long callers may keep the doors waiting.
    pub door_waits: door::Waits,
    /// How long peers may keep the link waiting; `drain` is for `node.toml` to say.
    pub link_waits: Waits,
    /// Longest time in which nothing passes on a stream.
    pub stream_idle: Duration,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom::default()),
            disk: Arc::new(RealDisk),
            door_waits: door::Waits::default(),
            link_waits: Waits::default(),
            stream_idle: STREAM_IDLE_MAX,
        }
    }
}

/// A node at work.
pub struct Running {
    /// Where its TCP door listens.
    pub door: Option<SocketAddr>,
    /// Where its Unix door listens.
    pub unix_door: Option<PathBuf>,
    /// Where its link listens: UDP, TCP or both.
    pub link_address: SocketAddr,
    /// Where metrics and health are.
    pub metrics: Option<SocketAddr>,
    /// Where operators reach it.
    pub admin_socket: PathBuf,
    store: Arc<Store>,
    link: Arc<Link>,
    drain: Duration,
    /// Takes no new calls.
    stop_doors: CancellationToken,
    doors: TaskTracker,
    /// Tells streams, which go on for long.
    stop_streams: CancellationToken,
    /// Refresh, catching up, metrics, admin.
    stop_rest: CancellationToken,
    rest: TaskTracker,
    reloader: Arc<Reloader>,
}

/// What opening the folder gave.
struct Opened {
    core: Arc<Core>,
    store: Arc<Store>,
    heads: Arc<Heads>,
    unanswered: Vec<Unanswered>,
    authentication: TlsIdentity,
    door: Option<TlsIdentity>,
    certificates: Vec<(MemberId, bytes::Bytes)>,
}

impl Running {
    /// Opens the folder, recovers the ledgers, and listens.
    ///
    /// # Errors
    /// `NodeError` says what does not fit.
    pub async fn start(
        config: &Arc<Config>,
        passphrase: &Passphrase,
        environment: &Environment,
    ) -> Result<Self, NodeError> {
        metrics::install();
        make_private(&config.node.folder)?;
        // Ports first: what another process holds is said before anybody waits for keys.
        let listeners = Listeners::bind(config).await?;
        let opened = {
            let (config, passphrase, environment) =
                (Arc::clone(config), passphrase.clone(), environment.clone());
            // Key files are slow to open on purpose, and recovery reads the disk.
            let opened =
                tokio::task::spawn_blocking(move || Opened::open(&config, &passphrase, &environment));
            opened.await.map_err(|error| NodeError::Stopped(error.to_string()))??
        };
        opened.wire(config, passphrase.clone(), listeners, environment).await
    }

    /// The line for whoever started it: it is ready, and where it is reached.
    #[must_use]
    pub fn ready_line(&self) -> String {
        let unix = self.unix_door.as_ref().map(|path| format!("unix:{}", path.display()));
        let doors: Vec<_> = self.door.map(|door| door.to_string()).into_iter().chain(unix).collect();
        let doors = if doors.is_empty() { "none".to_owned() } else { doors.join(", ") };
        format!("peabiru-node is ready: link {}, door {doors}", self.link_address)
    }

    /// Serves until `stop` ends or the ledger fails, then stops.
    ///
    /// # Errors
    /// `Ledger` if a write or sync failed: what is on disk is found again at the next start.
    pub async fn until(self, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
        let mut failure = self.store.failure();
        let failed = tokio::select! {
            () = stop => None,
            failed = failure.wait_for(Option::is_some) => failed.ok().and_then(|reason| reason.clone()),
        };
        match failed {
            None => {
                self.stop().await;
                Ok(())
            }
            // Nothing may be answered from here on: no drain.
            Some(reason) => Err(LedgerError::Failed { reason }.into()),
        }
    }

    /// Takes no new calls, waits for those under way, closes the ledgers.
    pub async fn stop(self) {
        tracing::info!(drain = ?self.drain, "stopping");
        self.stop_doors.cancel();
        self.doors.close();
        if tokio::time::timeout(self.drain, self.doors.wait()).await.is_err() {
            tracing::warn!("calls that are still open are cut off");
        }
        self.stop_streams.cancel();
        self.link.close().await;
        self.stop_rest.cancel();
        self.rest.close();
        if tokio::time::timeout(REST_WAIT, self.rest.wait()).await.is_err() {
            tracing::warn!("an operator's call is cut off");
        }
        self.store.close().await;
        tracing::info!("stopped");
    }

    /// Reads `node.toml` again, and puts in force what changed; or nothing of it. No exchange under way is dropped.
    ///
    /// # Errors
    /// The mistake in the file, the first key that changes at a start only, or a file that the new configuration names.
    pub async fn reload(&self) -> Result<Vec<Change>, NodeError> {
        self.reloader.reload().await
    }

    pub(crate) fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// Counts of the ledgers since the start.
    #[must_use]
    pub fn counters(&self) -> peabiru_ledger::ledger::StoreCounters {
        self.store.counters()
    }
}

impl Opened {
    fn open(config: &Config, passphrase: &Passphrase, environment: &Environment) -> Result<Self, NodeError> {
        let anchor = read_anchor(&config.node.instance_anchor)?;
        let Keys { authentication, storage, ledgers, door } = Keys::open(config, &anchor, passphrase)?;
        let folder = &config.node.folder;
        let now = environment.clock.now();
        let mut memory = Memory::new(now);
        let store_config = StoreConfig {
            segment_bytes: config.storage.segment_mebibytes * MEBIBYTE,
            min_free_bytes: config.storage.min_free_mebibytes * MEBIBYTE,
            spool_bytes_max: config.storage.spool_mebibytes * MEBIBYTE,
            ..StoreConfig::new(folder.join("ledger"))
        };
        let mut members = Vec::new();
        let mut identities = Vec::new();
        for HostedLedger { member, identity } in ledgers {
            members.push((member, identity.origin.clone()));
            identities.push(identity);
        }
        let random = Arc::clone(&environment.random);
        let visit = &mut |recovered: &RecoveredEntry<'_>| memory.note(recovered);
        let (store, recovery) =
            Store::open(&environment.disk, &store_config, identities, Some(storage), random, visit)?;
        report(&recovery);
        if let Some(last) = memory.last.filter(|last| now.plus(CLOCK_SKEW) < *last) {
            return Err(NodeError::ClockBehind { now, last });
        }
        let unanswered = memory.unanswered();
        let heads = Heads::open(folder)?;
        memory.heads.values().for_each(|head| heads.remember(head));
        let globalconf = Globalconf::open(folder.join("globalconf"), anchor, Arc::clone(&environment.clock))?;
        let certificates = config.ledgers.iter().zip(&members).map(|(section, (member, origin))| {
            let key = store.ledger(origin).expect("the store was opened with this identity").verifying_key();
            Ok::<_, NodeError>((member.clone(), certificate_in_force(section, &key)?.0))
        });
        let certificates = certificates.collect::<Result<_, _>>()?;
        let by_member = members.into_iter().map(|(member, origin)| {
            (member, store.ledger(&origin).expect("the store was opened with this identity"))
        });
        let spool = Spool::new(
            store.large_files().clone(),
            Arc::clone(&environment.random),
            config.storage.max_body_mebibytes * MEBIBYTE,
        );
        let mut core = Core::new(
            config.node.id.clone(),
            Arc::clone(&environment.clock),
            spool,
            globalconf,
            by_member.collect(),
            Guard::new(config.node.id.clone(), memory.replay),
            memory.grants,
        );
        core.sessions = Sessions::new(environment.stream_idle);
        Ok(Self {
            core: Arc::new(core),
            store: Arc::new(store),
            heads: Arc::new(heads),
            unanswered,
            authentication,
            door,
            certificates,
        })
    }

    async fn wire(
        self,
        config: &Arc<Config>,
        passphrase: Passphrase,
        listeners: Listeners,
        environment: &Environment,
    ) -> Result<Running, NodeError> {
        let Self { core, store, heads, unanswered, authentication, door, certificates } = self;
        let refresher = Arc::new(Refresher::new(&core.globalconf.anchor().registries)?);
        let shown = Certificates {
            authentication: authentication.certificate.clone(),
            sealing: certificates,
            door: door.as_ref().map(|identity| identity.certificate.clone()),
        };
        let shown = Arc::new(Shown::new(&core, shown));
        if let Err(error) = refresher.refresh(&core.globalconf).await {
            tracing::warn!(%error, code = error.code(), "starting without news from the registry");
        }
        if let Some(conf) = core.globalconf.newest() {
            shown.warn(&conf);
        }
        let dispatcher = Arc::new(Dispatcher::new(settings::locations(config)?));
        let services = Arc::clone(&dispatcher);
        let demands = settings::demands(config);
        let provider = Arc::new(Provider::new(Arc::clone(&core), services, SERVICE_TIMEOUT, demands));
        let answering = Answering { core: Arc::clone(&core), provider: Arc::clone(&provider) };
        let link_config = link_config(config, environment.link_waits);
        let link = Arc::new(start_link(&link_config, &store, &heads, authentication, answering)?);
        let link_address = link.local_addr();
        let consumer = Arc::new(Consumer::new(Arc::clone(&core), Arc::clone(&link), Arc::clone(&provider)));
        let tls = door.map(|identity| DoorTls::new(identity, config)).transpose()?;
        let random = Arc::clone(&core.random);
        let (settings, waits) = (settings::door(config), environment.door_waits);
        let door = Arc::new(Door::new(Arc::new(consumer), settings, waits, random));
        let doors = Doors::open(&door, listeners, tls.as_ref())?;
        let (refresh_every, every) = watch::channel(config.globalconf.refresh());
        let reloader = Arc::new(Reloader {
            in_force: Mutex::new(Arc::clone(config)),
            core: Arc::clone(&core),
            store: Arc::clone(&store),
            link: Arc::clone(&link),
            dispatcher,
            provider,
            door: Arc::clone(&door),
            door_tls: tls,
            refresh_every,
            passphrase,
            shown: Arc::clone(&shown),
        });
        let stop_streams = core.stopping.clone();
        let operator = Admin { core, store, link, reloader, refresher, shown };
        let Rest { metrics, admin_socket, stop: stop_rest, tasks: rest } =
            Rest::start(config, operator.clone(), door, unanswered, every).await?;
        let Admin { store, link, reloader, .. } = operator;
        let Doors { tcp, stop: stop_doors, tasks: doors } = doors;
        let drain = config.node.drain();
        Ok(Running {
            door: tcp,
            unix_door: config.door.unix_socket.clone(),
            link_address,
            metrics,
            admin_socket,
            store,
            link,
            drain,
            stop_doors,
            doors,
            stop_streams,
            stop_rest,
            rest,
            reloader,
        })
    }
}

/// What goes on beside the exchanges: metrics, operators, catching up, the global configuration.
struct Rest {
    metrics: Option<SocketAddr>,
    admin_socket: PathBuf,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Rest {
    async fn start(
        config: &Config,
        operator: Admin,
        door: Arc<Door>,
        unanswered: Vec<Unanswered>,
        refresh_every: watch::Receiver<Duration>,
    ) -> Result<Self, NodeError> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let Admin { core, store, link, refresher, shown, .. } = operator.clone();
        let page = Page { core: Arc::clone(&core), store, link: Arc::clone(&link), door };
        let metrics = match config.metrics.listen {
            Some(address) => {
                let (bound, serving) = metrics::serve(address, page, stop.clone()).await?;
                tasks.spawn(serving);
                Some(bound)
            }
            None => None,
        };
        tasks.spawn(metrics::keep_up(stop.clone()));
        let admin_socket = config.node.folder.join("admin.sock");
        tasks.spawn(admin::serve(&admin_socket, operator, stop.clone())?);
        let catch_up = Arc::new(CatchUp { core: Arc::clone(&core), link: Arc::clone(&link) });
        tasks.spawn(catch_up.run(unanswered, stop.clone()));
        let dial_out = DialOut { core: Arc::clone(&core), link: Arc::clone(&link) };
        tasks.spawn(dial_out.run(stop.clone()));
        let judged = Arc::clone(&link);
        let changed = move |conf: &GlobalConfiguration| {
            tracing::info!(version = conf.version(), "a new global configuration is in force");
            shown.warn(conf);
            judged.rejudge();
        };
        tasks.spawn(refresher.run(core, link, refresh_every, changed, stop.clone()));
        Ok(Self { metrics, admin_socket, stop, tasks })
    }
}

/// Sockets of the doors, bound before anything else is done.
struct Listeners {
    tcp: Option<tokio::net::TcpListener>,
    unix: Option<Listener>,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, NodeError> {
        let tcp = match config.door.address() {
            Some(address) => Some(door::bind(address).await?),
            None => None,
        };
        let unix = config.door.unix_socket.as_deref().map(Listener::unix).transpose()?;
        Ok(Self { tcp, unix })
    }
}

/// Doors that are open.
struct Doors {
    tcp: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The folder holds what the agency's members say to each other: its owner's alone, if it is made now.
fn make_private(folder: &Path) -> Result<(), NodeError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| NodeError::File { path: folder.to_owned(), source })
}

impl Doors {
    fn open(door: &Arc<Door>, listeners: Listeners, tls: Option<&DoorTls>) -> Result<Self, NodeError> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let mut address = None;
        if let Some(listener) = listeners.tcp {
            address = listener.local_addr().ok();
            let listener = match tls {
                Some(tls) => Listener::tls(listener, Arc::clone(&tls.in_force)),
                None => Listener::plain(listener)?,
            };
            tasks.spawn(door::serve(listener, Arc::clone(door), stop.clone()));
        }
        if let Some(listener) = listeners.unix {
            tasks.spawn(door::serve(listener, Arc::clone(door), stop.clone()));
        }
        Ok(Self { tcp: address, stop, tasks })
    }
}

fn link_config(config: &Config, waits: Waits) -> LinkConfig {
    LinkConfig {
        waits: Waits { drain: config.node.drain(), ..waits },
        memory_budget: settings::memory_budget(config),
        carriers: config.link.carriers.clone(),
        ..LinkConfig::on(config.link.listen)
    }
}

fn start_link(
    config: &LinkConfig,
    store: &Store,
    heads: &Arc<Heads>,
    identity: TlsIdentity,
    answering: Answering,
) -> Result<Link, NodeError> {
    let core = &answering.core;
    // TLS sessions hold it until QUIC forgets them, some time after a stop: it must not hold the ledgers' folder.
    let source = Arc::downgrade(core);
    let parts = LinkParts {
        own: core.own.clone(),
        identity,
        clock: Arc::clone(&core.clock),
        conf: Arc::new(move || source.upgrade()?.globalconf.newest()),
        ledgers: store.ledgers(),
        spool: core.spool.clone(),
        heads: Arc::clone(heads),
        inbound: Arc::new(answering),
    };
    Ok(Link::start(config, parts)?)
}

fn report(recovery: &Recovery) {
    tracing::info!(
        shutdown = ?recovery.shutdown,
        entries = recovery.entries,
        erasures_finished = recovery.erasures_finished,
        payloads_lost = recovery.payloads_lost,
        "the ledgers are read"
    );
    if let Some(tail) = &recovery.dropped_tail {
        tracing::warn!(
            segment = tail.segment,
            offset = tail.offset,
            "an unfinished record at the end was dropped: nothing of it had left the node"
        );
    }
}

/// How long a service may take if neither contract nor caller says less.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(60);
/// For operators' calls when the node stops.
const REST_WAIT: Duration = Duration::from_secs(5);
