//! What a running node does with a global configuration that is none: it is refused and named, and exchanges go on.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test says by failing what went wrong"
)]

#[path = "snapshots/usurper.rs"]
mod usurper;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use peabiru_certs::SecretKey;
use peabiru_certs::key::Algorithm;
use peabiru_certs::peer::TlsIdentity;
use peabiru_certs::pem::read_certificate;
use peabiru_certs::profile::Subject;
use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Federation, Member, passphrase};
use peabiru_integration_tests::metrics::counter;
use peabiru_ledger::snapshot::{sign_delegation, sign_snapshot};
use peabiru_ledger::status_note::sign_status;
use peabiru_proto::entry::GlobalconfRef;
use peabiru_proto::hash::{Digest, SnapshotDigest};
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::{
    AddSubsystemRequest, Delegation, GetSnapshotResponse, SignedSnapshot, SignedStatusNote, Snapshot,
    SubsystemRecord,
};
use prost::Message as _;
use usurper::Usurper;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_older_forged_or_expired_is_refused_and_named_and_exchanges_go_on() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    // One node alone asks and counts: all nodes of a process share their metrics.
    let config = std::fs::read_to_string(mec.site.config()).unwrap();
    let seldom = config.replace("refresh_seconds = 1", "refresh_seconds = 3600");
    std::fs::write(mec.site.config(), seldom).unwrap();
    let (mitic, mec) = (mitic.start().await, mec.start().await);
    mec.grant("MITIC").await;
    let older = current(&mitic);
    add_subsystem(&mut federation, "another").await;
    wait_for_version(&mitic, version(&older) + 1).await;
    let newest = current(&mitic);
    federation.stop_registry().await;

    // First he has the address alone, then the registry's TLS key too.
    let address = distribution(&federation);
    let own = SecretKey::generate(Algorithm::P256);
    let subject = Subject::Registry { hosts: vec!["127.0.0.1".to_owned()] };
    let certificate = federation.ca.issue_for_key(&own, subject, SystemClock.now()).unwrap();
    let usurper = Usurper::start(address, &TlsIdentity { certificate, key: own }, HashMap::new()).await;
    let forger = Forger::of(&federation, &newest);
    usurper.serve(GetSnapshotResponse { snapshot: Some(forger.next()), ..newest.clone() });
    usurper.somebody_turned_away().await;
    refused(&mitic, "registry.unreachable").await;
    usurper.stop().await;
    let usurper = Usurper::start(address, &forger.tls(&federation), parts(&mitic)).await;
    for (note, code) in forger.notes(&newest) {
        usurper.tell(note);
        refused(&mitic, code).await;
    }
    usurper.tell(forger.note(version(&newest) + 1));
    for (answer, code) in forger.lies(&older, &newest) {
        usurper.serve(answer);
        refused(&mitic, code).await;
        assert_eq!(mitic.status().await.globalconf_version, version(&newest), "{code}");
        mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap_or_else(|status| {
            panic!("exchanges go on after {code}: {status}");
        });
    }

    // A start does not forget what was seen.
    usurper.serve(older);
    let mitic = mitic.stop().await.start().await;
    assert_eq!(mitic.status().await.globalconf_version, version(&newest));
    mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap();
    usurper.stop().await;

    federation.start_registry().await;
    add_subsystem(&mut federation, "a-third").await;
    wait_for_version(&mitic, version(&newest) + 1).await;
}

/// Has what the registry had until yesterday: its snapshot key, and no root.
struct Forger {
    key: SecretKey,
    signed: SignedSnapshot,
}

impl Forger {
    fn of(federation: &Federation, newest: &GetSnapshotResponse) -> Self {
        let key = federation.instance.folder.join("registry/snapshot.key");
        let key = SecretKey::read_encrypted(&key, &passphrase()).unwrap();
        Self { key, signed: newest.snapshot.clone().unwrap() }
    }

    fn tls(&self, federation: &Federation) -> TlsIdentity {
        let folder = federation.instance.folder.join("registry");
        let key = SecretKey::read_encrypted(&folder.join("tls.key"), &passphrase()).unwrap();
        TlsIdentity { certificate: read_certificate(&folder.join("tls.crt")).unwrap(), key }
    }

    /// The next version, with good signatures.
    fn next(&self) -> SignedSnapshot {
        self.sign(|_| {})
    }

    /// That a version is the newest, with good signatures.
    fn note(&self, version: u64) -> SignedStatusNote {
        let newest = GlobalconfRef { version, digest: SnapshotDigest::from_bytes([7; 32]) };
        let delegation = self.signed.delegation.clone().unwrap();
        sign_status(&"PY".parse().unwrap(), newest, SystemClock.now(), &self.key, delegation)
    }

    fn notes(&self, newest: &GetSnapshotResponse) -> [(SignedStatusNote, &'static str); 3] {
        let held = version(newest);
        let forged = SignedStatusNote { signature: vec![0; 64].into(), ..self.note(held + 1) };
        [
            (forged, "snapshot.forged"),
            (self.note(held - 1), "snapshot.older"),
            (self.note(held), "snapshot.forked"),
        ]
    }

    fn sign(&self, change: impl FnOnce(&mut Snapshot)) -> SignedSnapshot {
        let mut snapshot = Snapshot::decode(self.signed.snapshot.clone()).unwrap();
        snapshot.version += 1;
        change(&mut snapshot);
        sign_snapshot(&snapshot, &self.key, self.signed.delegation.clone().unwrap())
    }

    fn lies(
        &self,
        older: &GetSnapshotResponse,
        newest: &GetSnapshotResponse,
    ) -> Vec<(GetSnapshotResponse, &'static str)> {
        let hour = 3_600_000;
        let now = SystemClock.now().as_ms();
        let expired = self.sign(|snapshot| {
            (snapshot.created_at_ms, snapshot.expires_at_ms) = (now - 3 * hour, now - hour);
        });
        let future = self.sign(|snapshot| {
            (snapshot.created_at_ms, snapshot.expires_at_ms) = (now + hour, now + 2 * hour);
        });
        let eternal = self.sign(|snapshot| snapshot.expires_at_ms = now + 1000 * hour);
        let elsewhere = self.sign(|snapshot| snapshot.domain = "uy.example".to_owned());
        let mut forged = self.next();
        let mut bytes = forged.snapshot.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        forged.snapshot = bytes.into();
        // Every part has another digest than what is served for it.
        let other_parts = self.sign(|snapshot| snapshot.parts[0].digest = vec![7; 32].into());
        let cases = [
            (expired, "snapshot.expired"),
            (future, "snapshot.from_future"),
            (eternal, "snapshot.malformed"),
            (elsewhere, "snapshot.wrong_instance"),
            (forged, "snapshot.forged"),
            (self.own_roots(), "snapshot.too_few_roots"),
            (other_parts, "registry.unreachable"),
        ];
        let served = |snapshot| GetSnapshotResponse { snapshot: Some(snapshot), ..newest.clone() };
        let cases = cases.into_iter().map(|(snapshot, code)| (served(snapshot), code));
        cases.chain([(older.clone(), "snapshot.older")]).collect()
    }

    /// By a snapshot key that his own root delegates to.
    fn own_roots(&self) -> SignedSnapshot {
        let (root, key) = (SecretKey::generate(Algorithm::Ed25519), SecretKey::generate(Algorithm::Ed25519));
        let signed = self.signed.delegation.clone().unwrap();
        let mut delegation = Delegation::decode(signed.delegation).unwrap();
        delegation.snapshot_key = Bytes::copy_from_slice(key.public_key());
        let mut snapshot = Snapshot::decode(self.signed.snapshot.clone()).unwrap();
        snapshot.version += 1;
        sign_snapshot(&snapshot, &key, sign_delegation(&delegation, &[root]))
    }
}

/// Waits until the node has counted one more refusal under this code.
async fn refused(member: &Member, code: &str) {
    let page = member.node.metrics.unwrap();
    let label = format!("code=\"{code}\"");
    let count = async || counter(page, "peabiru_globalconf_refusals_total", &label).await;
    let before = count().await;
    let more = async {
        while count().await == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, more).await.unwrap_or_else(|_| panic!("never refused as {code}"));
}

async fn wait_for_version(member: &Member, version: u64) {
    let reached = async {
        while member.status().await.globalconf_version < version {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, reached).await.unwrap_or_else(|_| panic!("version {version} never came"));
}

async fn add_subsystem(federation: &mut Federation, code: &str) {
    let subsystem = SubsystemRecord { id: format!("PY/GOV/MITIC/{code}"), name: code.to_owned() };
    federation
        .officers
        .registration
        .add_subsystem(AddSubsystemRequest { subsystem: Some(subsystem) })
        .await
        .unwrap();
}

/// What the node holds, as the registry gave it.
fn current(member: &Member) -> GetSnapshotResponse {
    let kept = std::fs::read(folder(member).join("current")).unwrap();
    GetSnapshotResponse::decode(kept.as_slice()).unwrap()
}

fn version(answer: &GetSnapshotResponse) -> u64 {
    Snapshot::decode(answer.snapshot.clone().unwrap().snapshot).unwrap().version
}

fn parts(member: &Member) -> HashMap<Digest, Bytes> {
    let files = std::fs::read_dir(folder(member).join("parts")).unwrap();
    let part = |path: &Path| Bytes::from(std::fs::read(path).unwrap());
    files.map(|file| part(&file.unwrap().path())).map(|part| (Digest::of(&part), part)).collect()
}

fn folder(member: &Member) -> std::path::PathBuf {
    member.agency.site.folder.join("data/globalconf")
}

fn distribution(federation: &Federation) -> SocketAddr {
    let url = &federation.instance.anchor.registries[0].url;
    url.trim_start_matches("https://").parse().unwrap()
}

/// Nodes of these tests ask every second.
const WAIT: Duration = Duration::from_secs(30);
