//! `node.toml`, read again by a running node: all of it is put in force, or nothing.

use std::sync::Arc;
use std::time::Duration;

use peabiru_ledger::ledger::Store;
use tokio::sync::{Mutex, watch};

use crate::NodeError;
use crate::config::{Change, Config};
use crate::core::Core;
use crate::dispatcher::Dispatcher;
use crate::door::Door;
use crate::link::Link;
use crate::logging;
use crate::settings::{self, DoorTls, MEBIBYTE};

/// Knows what is in force, and every part that takes a new value.
pub(crate) struct Reloader {
    /// One reload at a time.
    pub(crate) in_force: Mutex<Arc<Config>>,
    pub(crate) core: Arc<Core>,
    pub(crate) store: Arc<Store>,
    pub(crate) link: Arc<Link>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) door: Arc<Door>,
    /// Of the TCP door, if it has TLS.
    pub(crate) door_tls: Option<DoorTls>,
    /// How often the registry is asked.
    pub(crate) refresh_every: watch::Sender<Duration>,
}

impl Reloader {
    /// Reads the file again, and puts it in force. What is under way ends with what it began with.
    pub(crate) async fn reload(&self) -> Result<Vec<Change>, NodeError> {
        let mut in_force = self.in_force.lock().await;
        let changed = self.apply(&in_force).await;
        match changed {
            Ok((next, changes)) => {
                *in_force = next;
                let said: Vec<_> = changes.iter().map(ToString::to_string).collect();
                tracing::info!(changes = ?said, "node.toml was read again");
                Ok(changes)
            }
            Err(error) => {
                tracing::error!(%error, code = error.code(), "node.toml was read again, and nothing of it is in force");
                Err(error)
            }
        }
    }

    async fn apply(&self, in_force: &Arc<Config>) -> Result<(Arc<Config>, Vec<Change>), NodeError> {
        let before = Arc::clone(in_force);
        let read = move || {
            let next = Config::load(&before.path)?;
            let changes = before.changes(&next)?;
            let locations = settings::locations(&next)?;
            Ok::<_, NodeError>((next, changes, locations))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (next, changes, locations) = read.map_err(|error| NodeError::Stopped(error.to_string()))??;
        let tls = self.door_tls.as_ref().map(|tls| tls.next(&next).map(|next| (tls, next))).transpose()?;
        // Nothing fails from here on.
        if let Some((tls, next)) = tls {
            tls.in_force.store(next);
        }
        self.door.set(settings::door(&next));
        self.dispatcher.set(locations);
        self.link.set_memory_budget(settings::memory_budget(&next));
        self.core.spool.set_body_bytes_max(next.storage.max_body_mebibytes * MEBIBYTE);
        self.store.large_files().set_spool_bytes_max(next.storage.spool_mebibytes * MEBIBYTE);
        self.refresh_every.send_if_modified(|every| {
            let before = std::mem::replace(every, next.globalconf.refresh());
            before != *every
        });
        logging::refilter(&next.log);
        Ok((Arc::new(next), changes))
    }
}
