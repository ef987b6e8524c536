//! `node.toml`, read again by a running node: all of it is put in force, or nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_certs::Passphrase;
use peabiru_certs::peer::TlsIdentity;
use peabiru_ledger::certified::certified_keys;
use peabiru_ledger::checkpoint::VerifyingKey;
use peabiru_ledger::ledger::Store;
use peabiru_proto::entry::{Body, ExchangeId, KeyChange};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::{MemberId, ServiceId};
use tokio::sync::{Mutex, watch};

use crate::NodeError;
use crate::config::{Change, Config, LedgerSection};
use crate::core::Core;
use crate::dispatcher::{Dispatcher, Location};
use crate::door::Door;
use crate::keys::{Sealing, open_other_tls};
use crate::link::Link;
use crate::logging;
use crate::provider::Provider;
use crate::settings::{self, DoorTls, MEBIBYTE};
use crate::shown::{Certificates, Shown};

/// Knows what is in force, and every part that takes a new value.
pub(crate) struct Reloader {
    /// One reload at a time.
    pub(crate) in_force: Mutex<Arc<Config>>,
    pub(crate) core: Arc<Core>,
    pub(crate) store: Arc<Store>,
    pub(crate) link: Arc<Link>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) provider: Arc<Provider>,
    pub(crate) door: Arc<Door>,
    /// Of the TCP door, if it has TLS.
    pub(crate) door_tls: Option<DoorTls>,
    /// How often the registry is asked.
    pub(crate) refresh_every: watch::Sender<Duration>,
    /// Opens the keys of other certificates. Whoever could read it here could read the keys too.
    pub(crate) passphrase: Passphrase,
    pub(crate) shown: Arc<Shown>,
}

/// What was read from files, and may be put in force.
struct Read {
    next: Config,
    changes: Vec<Change>,
    locations: Vec<(ServiceId, Location)>,
    /// Of each hosted member.
    sealing: Vec<(MemberId, Sealing)>,
    /// Other ones than those in force.
    authentication: Option<TlsIdentity>,
    door: Option<TlsIdentity>,
}

impl Reloader {
    /// Reads the file again, and puts it in force. What is under way ends with what it began with.
    pub(crate) async fn reload(&self) -> Result<Vec<Change>, NodeError> {
        let mut in_force = self.in_force.lock().await;
        match self.apply(&in_force).await {
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
        let (before, passphrase) = (Arc::clone(in_force), self.passphrase.clone());
        let (shown, sealed_by) = (self.shown.current(), self.sealed_by());
        let read = tokio::task::spawn_blocking({
            let shown = Arc::clone(&shown);
            move || Read::files(&before, &passphrase, &shown, &sealed_by)
        });
        let read = read.await.map_err(|error| NodeError::Stopped(error.to_string()))??;
        let Read { next, mut changes, locations, sealing, authentication, door } = read;
        if let Some(identity) = &authentication {
            self.check_registered(&identity.certificate, &next)?;
        }
        sealing.iter().try_for_each(|(member, sealing)| self.check_sealing(member, sealing))?;
        let mut certificates = Certificates::clone(&shown);
        // What can fail comes first; of what can, the link's identity is the last.
        let door_tls = match &self.door_tls {
            Some(tls) => {
                let identity = door.map_or_else(|| tls.identity.load_full(), Arc::new);
                Some((tls, settings::door_tls(&identity, &next)?, identity))
            }
            None => None,
        };
        // A ledger that went over stays so, whatever fails after it: the next reload finds it done.
        for (member, sealing) in sealing {
            let certificate = self.go_over(&member, sealing).await?;
            let known = certificates.sealing.iter_mut().find(|(known, _)| *known == member);
            let Some((_, before)) = known.filter(|(_, before)| *before != certificate) else { continue };
            changes.push(other(&format!("the sealing certificate of {member}"), before, &certificate));
            *before = certificate;
        }
        if let Some(identity) = authentication {
            changes.push(other(
                "the authentication certificate",
                &shown.authentication,
                &identity.certificate,
            ));
            certificates.authentication = identity.certificate.clone();
            self.link.replace_identity(identity)?;
        }
        if let Some((tls, in_force, identity)) = door_tls {
            if certificates.door.as_ref() != Some(&identity.certificate) {
                let before = certificates.door.unwrap_or_default();
                changes.push(other("the door's certificate", &before, &identity.certificate));
                certificates.door = Some(identity.certificate.clone());
            }
            tls.in_force.store(Arc::new(in_force));
            tls.identity.store(identity);
        }
        self.shown.set(certificates);
        self.set(&next, locations);
        Ok((Arc::new(next), changes))
    }

    /// The keys that seal now.
    fn sealed_by(&self) -> HashMap<MemberId, VerifyingKey> {
        let keys = self.shown.current();
        let of = |member: &MemberId| Some((member.clone(), self.core.ledger(member)?.verifying_key()));
        keys.sealing.iter().filter_map(|(member, _)| of(member)).collect()
    }

    /// Peers would refuse what the next key seals.
    fn check_sealing(&self, member: &MemberId, sealing: &Sealing) -> Result<(), NodeError> {
        let Some(next) = &sealing.next else { return Ok(()) };
        let conf = self.core.globalconf.newest();
        let ledger = self.core.ledger(member);
        let known = ledger.and_then(|ledger| conf.as_ref()?.ledger(ledger.origin()));
        let known = known.filter(|known| known.has_certificate(&next.certificate));
        let certified = conf.as_ref().zip(known);
        let certified =
            certified.and_then(|(conf, known)| certified_keys(conf, known, self.core.clock.now()).ok());
        let key = next.key.verifying_key();
        if certified.is_some_and(|certified| certified.keys.iter().any(|certified| certified == key)) {
            return Ok(());
        }
        Err(NodeError::SealingUnregistered { path: next.path.clone() })
    }

    /// Seals a KEY_CHANGE with the key in force, and everything after it with the next. Gives the certificate of the key that
    /// seals from here on.
    async fn go_over(&self, member: &MemberId, sealing: Sealing) -> Result<Bytes, NodeError> {
        let (Some(next), Some(ledger)) = (sealing.next, self.core.ledger(member)) else {
            return Ok(sealing.certificate);
        };
        let change = KeyChange {
            previous_key: *ledger.verifying_key().as_bytes(),
            next_key: *next.key.verifying_key().as_bytes(),
        };
        let conf = self.core.globalconf.newest();
        let exchange = ExchangeId::new(&*self.core.random);
        let entry = self.core.entry(ledger, exchange, conf.as_deref(), &Body::KeyChange(change));
        let entry = entry.map_err(|fault| NodeError::Stopped(fault.to_string()))?;
        ledger.change_key(entry, next.key).await?;
        // The next record keeps the last checkpoint of the key before, and gives peers a head of the next.
        let subject = ledger.verifying_key().vkey(ledger.origin());
        let notice = self.core.notice_append(
            ledger,
            NOTICE_KEY_CHANGED,
            &Digest::of(subject.as_bytes()).to_string(),
            &Bytes::new(),
        );
        let notice = notice.map_err(|fault| NodeError::Stopped(fault.to_string()))?;
        ledger.append(vec![notice]).await?;
        tracing::info!(%member, origin = %ledger.origin(), "the ledger went over to its next sealing key");
        Ok(next.certificate)
    }

    /// Peers would turn this node away.
    fn check_registered(&self, certificate: &[u8], next: &Config) -> Result<(), NodeError> {
        let conf = self.core.globalconf.newest();
        let own = conf.as_ref().and_then(|conf| conf.node(&self.core.own));
        if own.is_some_and(|own| own.certificates.iter().any(|registered| registered == certificate)) {
            return Ok(());
        }
        Err(NodeError::Unregistered { path: next.keys.authentication_certificate.clone() })
    }

    fn set(&self, next: &Config, locations: Vec<(ServiceId, Location)>) {
        self.door.set(settings::door(next));
        self.dispatcher.set(locations);
        self.provider.set_demands(settings::demands(next));
        self.link.set_memory_budget(settings::memory_budget(next));
        self.core.spool.set_body_bytes_max(next.storage.max_body_mebibytes * MEBIBYTE);
        self.store.large_files().set_spool_bytes_max(next.storage.spool_mebibytes * MEBIBYTE);
        self.refresh_every.send_if_modified(|every| {
            let before = std::mem::replace(every, next.globalconf.refresh());
            before != *every
        });
        logging::refilter(&next.log);
    }
}

impl Read {
    /// Reads everything that the configuration names. Keys are opened only if their certificate is another one: that is
    /// slow on purpose.
    fn files(
        before: &Config,
        passphrase: &Passphrase,
        shown: &Certificates,
        sealed_by: &HashMap<MemberId, VerifyingKey>,
    ) -> Result<Self, NodeError> {
        let next = Config::load(&before.path)?;
        let changes = before.changes(&next)?;
        let locations = settings::locations(&next)?;
        let keys = &next.keys;
        let (certificate, key) = (&keys.authentication_certificate, &keys.authentication_key);
        let authentication = open_other_tls(certificate, key, passphrase, &shown.authentication)?;
        let door = match (next.door.tls(), &shown.door) {
            (Some(files), Some(than)) => open_other_tls(files.certificate, files.key, passphrase, than)?,
            _ => None,
        };
        let sealing = open_sealing(&next, sealed_by, passphrase)?;
        Ok(Self { next, changes, locations, sealing, authentication, door })
    }
}

fn open_sealing(
    config: &Config,
    sealed_by: &HashMap<MemberId, VerifyingKey>,
    passphrase: &Passphrase,
) -> Result<Vec<(MemberId, Sealing)>, NodeError> {
    let open = |section: &LedgerSection| {
        let member = section.member.get_ref().clone();
        let in_force = sealed_by.get(&member)?;
        Some(Sealing::open(section, in_force, passphrase).map(|sealing| (member, sealing)))
    };
    config.ledgers.iter().filter_map(open).collect()
}

/// One certificate instead of another.
fn other(key: &str, before: &[u8], after: &[u8]) -> Change {
    Change {
        key: key.to_owned(),
        before: Some(Digest::of(before).to_string()),
        after: Some(Digest::of(after).to_string()),
    }
}

/// The first entry that a next key seals; its subject is SHA-256 of the verifier key (C2SP signed note).
const NOTICE_KEY_CHANGED: &str = "ledger.key_changed";
