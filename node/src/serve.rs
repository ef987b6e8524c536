//! Runs a node as a process: configuration, log, runtime, signals.

use std::path::Path;
use std::sync::Arc;

use peabiru_certs::PassphraseSource;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::NodeError;
use crate::config::Config;
use crate::logging;
use crate::node::{Environment, Running};

/// Runs until SIGTERM or SIGINT; SIGHUP makes it read its configuration again. `ready` is told once the node listens.
///
/// # Errors
/// `NodeError` if it does not start, or had to stop by itself.
pub fn run(
    config: &Path,
    passphrase: &PassphraseSource,
    ready: impl FnOnce(&Running),
) -> Result<(), NodeError> {
    let config = Arc::new(Config::load(config)?);
    logging::init(&config.log);
    let passphrase = passphrase.read("the node's keys")?;
    runtime(config.node.worker_threads)?.block_on(async {
        // Asked for before anything is opened, so that a stop during the start is not lost.
        let failed = |error: std::io::Error| NodeError::Stopped(error.to_string());
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        let running = Running::start(&config, &passphrase, &Environment::default()).await?;
        tracing::info!(node = %config.node.id, link = %running.link_address, "the node is ready");
        ready(&running);
        let reloader = running.reloader();
        let stop = async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => return,
                    _ = interrupt.recv() => return,
                    // The log says what came of it.
                    _ = hangup.recv() => drop(reloader.reload().await),
                }
            }
        };
        running.until(stop).await
    })
}

fn runtime(worker_threads: usize) -> Result<Runtime, NodeError> {
    let mut builder = Builder::new_multi_thread();
    if worker_threads > 0 {
        builder.worker_threads(worker_threads);
    }
    builder.enable_all().build().map_err(|error| NodeError::Stopped(error.to_string()))
}
