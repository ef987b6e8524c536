//! Runs a registry: two listeners, the timer that publishes in time, and a stop that closes the ledger.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peabiru_certs::peer::{Clients, TlsIdentity, WithoutCertificate, pinning_server};
use peabiru_certs::pem::read_certificate;
use peabiru_certs::{Passphrase, PassphraseSource, SecretKey};
use peabiru_proto::limits::STATUS_NOTE_EVERY;
use peabiru_proto::random::{Random, SystemRandom};
use peabiru_proto::time::{Clock, SystemClock};
use peabiru_proto::wire::distribution_service_server::DistributionServiceServer;
use peabiru_proto::wire::registry_admin_service_server::RegistryAdminServiceServer;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Server;

use crate::RegistryError;
use crate::api::acceptor::accept;
use crate::api::admin::Admin;
use crate::api::distribution::Distribution;
use crate::config::Config;
use crate::registry::Registry;
use crate::state::limits::DOCUMENT_BYTES_MAX;

/// A registry that listens.
pub struct Running {
    /// Where the admin API is.
    pub admin: SocketAddr,
    /// Where snapshots are.
    pub distribution: SocketAddr,
    registry: Arc<Registry>,
    stop: watch::Sender<Stop>,
    tasks: JoinSet<Result<(), RegistryError>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Now,
}

/// Runs until SIGTERM or SIGINT. `ready` is told the addresses once both services listen.
///
/// # Errors
/// `RegistryError` if it does not start, or had to stop by itself.
pub async fn run(
    config: &Path,
    passphrase: &PassphraseSource,
    ready: impl FnOnce(&Running),
) -> Result<(), RegistryError> {
    // Asked for before anything is opened, so that a stop during the start is not lost.
    let failed = |error: std::io::Error| RegistryError::Server(error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let config = Config::read(config)?;
    let passphrase = passphrase.read("the registry's keys")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom::default());
    let running = start(&config, &passphrase, clock, random).await?;
    tracing::info!(admin = %running.admin, distribution = %running.distribution, "the registry is ready");
    ready(&running);
    running
        .until(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
}

/// Opens the registry and listens.
///
/// # Errors
/// `Listen` for a port in use, and whatever `Registry::open` says.
pub async fn start(
    config: &Config,
    passphrase: &Passphrase,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Result<Running, RegistryError> {
    // Ports first: a second registry on the same machine fails before it waits for keys.
    let admin = listen(config.registry.listen_admin, "registry.listen_admin").await?;
    let distribution = listen(config.registry.listen_distribution, "registry.listen_distribution").await?;
    let identity = identity(config, passphrase).await?;
    let registry = Registry::open(config, passphrase, clock, random).await?;
    let address = |listener: &TcpListener| {
        listener.local_addr().map_err(|error| RegistryError::Server(error.to_string()))
    };
    let (admin_address, distribution_address) = (address(&admin)?, address(&distribution)?);
    let (stop, stopping) = watch::channel(Stop::No);
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_admin(admin, &identity, Arc::clone(&registry), config, stopping.clone())?);
    tasks.spawn(serve_distribution(distribution, &identity, Arc::clone(&registry), stopping.clone())?);
    tasks.spawn(publish_in_time(Arc::clone(&registry), stopping.clone()));
    tasks.spawn(confirm_in_time(Arc::clone(&registry), stopping.clone()));
    tasks.spawn(watch_ledger(Arc::clone(&registry), stopping));
    Ok(Running { admin: admin_address, distribution: distribution_address, registry, stop, tasks })
}

impl Running {
    /// What it serves.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Serves until `stop` ends, then stops.
    ///
    /// # Errors
    /// What made it stop by itself.
    pub async fn until(mut self, stop: impl Future<Output = ()>) -> Result<(), RegistryError> {
        let ended = tokio::select! {
            () = stop => Ok(()),
            ended = self.tasks.join_next() => match ended {
                Some(Ok(Ok(()))) | None => Err(RegistryError::Server("a task ended".to_owned())),
                Some(Ok(Err(error))) => Err(error),
                Some(Err(error)) => Err(RegistryError::Server(error.to_string())),
            },
        };
        self.stop().await;
        ended
    }

    /// Takes no more calls, lets those under way end, and closes the ledger.
    pub async fn stop(mut self) {
        self.stop.send_replace(Stop::Now);
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_WAIT, drained).await.is_err() {
            tracing::warn!("calls that were still open are cut off");
            self.tasks.shutdown().await;
        }
        self.registry.close().await;
        tracing::info!("the registry has stopped");
    }
}

type Task = std::pin::Pin<Box<dyn Future<Output = Result<(), RegistryError>> + Send>>;

fn serve_admin(
    listener: TcpListener,
    identity: &TlsIdentity,
    registry: Arc<Registry>,
    config: &Config,
    stopping: watch::Receiver<Stop>,
) -> Result<Task, RegistryError> {
    let certificates = config.operators.iter().map(|operator| operator.certificate_sha256).collect();
    let tls = pinning_server(
        identity,
        Clients::Pinned { certificates, without_certificate: WithoutCertificate::Refused },
    )?;
    let service = RegistryAdminServiceServer::new(Admin::new(registry))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let serving = server()
        .add_service(service)
        .serve_with_incoming_shutdown(accept(listener, tls, "admin"), stopped(stopping));
    Ok(Box::pin(async { serving.await.map_err(|error| RegistryError::Server(error.to_string())) }))
}

fn serve_distribution(
    listener: TcpListener,
    identity: &TlsIdentity,
    registry: Arc<Registry>,
    stopping: watch::Receiver<Stop>,
) -> Result<Task, RegistryError> {
    let tls = pinning_server(identity, Clients::Anyone)?;
    let service = DistributionServiceServer::new(Distribution::new(registry))
        .max_decoding_message_size(SMALL_REQUEST_BYTES_MAX);
    // Anyone may ask, and a part is long: few at once for each connection.
    let serving = server()
        .concurrency_limit_per_connection(PARTS_MAX)
        .max_concurrent_streams(PARTS_MAX_STREAMS)
        .add_service(service)
        .serve_with_incoming_shutdown(accept(listener, tls, "distribution"), stopped(stopping));
    Ok(Box::pin(async { serving.await.map_err(|error| RegistryError::Server(error.to_string())) }))
}

fn server() -> Server {
    Server::builder()
        .timeout(CALL_WAIT)
        .concurrency_limit_per_connection(CALLS_MAX)
        .max_concurrent_streams(CALLS_MAX_STREAMS)
        .max_connection_age(CONNECTION_AGE_MAX)
        .max_connection_age_grace(CALL_WAIT)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_WAIT))
}

/// Publishes again after a quarter of the validity, so that nodes hold a fresh snapshot when the registry goes away.
async fn publish_in_time(
    registry: Arc<Registry>,
    stopping: watch::Receiver<Stop>,
) -> Result<(), RegistryError> {
    let mut wait = registry.republish_after();
    let stopped = stopped(stopping);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
        wait = match registry.republish().await {
            Ok(_) => registry.republish_after(),
            Err(error) => {
                tracing::error!(%error, code = error.code(), "the snapshot was not published again");
                REPUBLISH_RETRY.min(registry.republish_after())
            }
        };
    }
}

/// Signs a status note each minute, so that nodes know how fresh what they hold is.
async fn confirm_in_time(
    registry: Arc<Registry>,
    stopping: watch::Receiver<Stop>,
) -> Result<(), RegistryError> {
    let stopped = stopped(stopping);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return Ok(()),
            () = tokio::time::sleep(STATUS_NOTE_EVERY) => registry.confirm().await,
        }
    }
}

/// A failed write or sync is never retried: the process stops, and recovers at its next start.
async fn watch_ledger(registry: Arc<Registry>, stopping: watch::Receiver<Stop>) -> Result<(), RegistryError> {
    let mut failure = registry.failure();
    tokio::select! {
        () = stopped(stopping) => Ok(()),
        failed = failure.wait_for(Option::is_some) => {
            let reason = failed.ok().and_then(|reason| reason.clone()).unwrap_or_default();
            Err(peabiru_ledger::LedgerError::Failed { reason }.into())
        }
    }
}

async fn stopped(mut stopping: watch::Receiver<Stop>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stopping.wait_for(|stop| *stop == Stop::Now).await;
}

async fn listen(address: SocketAddr, what: &'static str) -> Result<TcpListener, RegistryError> {
    TcpListener::bind(address).await.map_err(|source| RegistryError::Listen { address, what, source })
}

async fn identity(config: &Config, passphrase: &Passphrase) -> Result<TlsIdentity, RegistryError> {
    let (keys, passphrase) = (config.keys.clone(), passphrase.clone());
    let read = tokio::task::spawn_blocking(move || {
        let key = SecretKey::read_encrypted(&keys.tls_key, &passphrase)?;
        Ok(TlsIdentity { certificate: read_certificate(&keys.tls_certificate)?, key })
    });
    read.await.map_err(|error| RegistryError::Server(error.to_string()))?
}

/// How long calls under way may take once the registry stops.
const DRAIN_WAIT: Duration = Duration::from_secs(10);
/// How long one call may take.
const CALL_WAIT: Duration = Duration::from_secs(30);
/// Calls of one connection at once.
const CALLS_MAX: usize = 32;
/// The same, as HTTP/2 counts it.
const CALLS_MAX_STREAMS: u32 = 32;
/// How often a silent connection is asked whether it lives.
const PARTS_MAX: usize = 4;
const PARTS_MAX_STREAMS: u32 = 4;
/// A caller that never says a word gives its place back after this long; the others connect anew.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(300);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long it has to answer.
const KEEPALIVE_WAIT: Duration = Duration::from_secs(10);
/// Wait after a publication that failed.
const REPUBLISH_RETRY: Duration = Duration::from_secs(60);
/// Longest request of an operator: a document with its frame.
const REQUEST_BYTES_MAX: usize = DOCUMENT_BYTES_MAX + 64 * 1024;
/// Longest request of a node.
const SMALL_REQUEST_BYTES_MAX: usize = 1024;
/// Longest answer to an operator: all members of a large instance.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
