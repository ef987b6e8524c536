//! Judges an evidence file, from the roots down to each chunk, without network, clock or node.

mod followed;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use peabiru_proto::content;
use peabiru_proto::entry::{Body, Entry, GlobalconfRef, Received, Request};
use peabiru_proto::globalconf::{ConfigurationAnchor, GlobalConfiguration};
use peabiru_proto::hash::{ContentRoot, ContractDigest, Digest, LeafHash, SnapshotDigest};
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::language::Language;
use peabiru_proto::limits::CLOCK_SKEW;
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire;
use prost::Message as _;

use super::stream::{STREAM_README, StreamLink};
use super::words::{self, Words, Wrong};
use super::{
    Evidence, Facts, Failure, MANIFEST, NOTICE_ENTRY, NOTICE_PROOF, Outcome, PARTS, Part, README, Report,
    Role, SNAPSHOT, SNAPSHOTS, Side, chunk_file, part_file, salt_file, snapshot_file,
};
use crate::certified::certified_keys;
use crate::checkpoint::{VerifyingKey, VerifyingKeys};
use crate::payload::ClearPayload;
use crate::seal::Seal;
use crate::snapshot::{NOTICE_SNAPSHOT, verify_snapshot};
use crate::tlog_proof;

/// Checks everything that is in the file. Without `trust` the best outcome is `Consistent`.
#[must_use]
pub fn verify(tar: &[u8], trust: Option<&ConfigurationAnchor>) -> Report {
    verify_in(tar, trust, Language::English)
}

/// The same; what was found is said in this language.
#[must_use]
pub fn verify_in(tar: &[u8], trust: Option<&ConfigurationAnchor>, language: Language) -> Report {
    let mut findings = Findings { language, ..Findings::default() };
    match Evidence::from_tar(tar) {
        Ok(evidence) => {
            for (file, what) in evidence.misfits(tar) {
                findings.fail(&file, what);
            }
            let mut judge = Judge { evidence: &evidence, findings: &mut findings, read: BTreeSet::new() };
            judge.names();
            judge.judge(trust);
            judge.leftovers();
        }
        Err(super::EvidenceError::Archive { file, what }) => findings.fail(&file, words::technical(&what)),
        Err(error) => findings.fail("the file", words::technical(&error)),
    }
    let outcome = match (findings.failures.is_empty(), trust) {
        (false, _) => Outcome::Failed,
        (true, Some(_)) => Outcome::Verified,
        (true, None) => Outcome::Consistent,
    };
    let Findings { language: _, facts, holds, failures, missing, part, vkeys } = findings;
    Report { outcome, facts, holds, failures, missing, part, vkeys }
}

#[derive(Default)]
struct Findings {
    language: Language,
    facts: Option<Facts>,
    holds: Vec<String>,
    failures: Vec<Failure>,
    missing: Vec<String>,
    part: Part,
    vkeys: BTreeSet<String>,
}

impl Findings {
    fn hold(&mut self, what: Words) {
        self.holds.push(what.said(self.language));
    }

    fn lack(&mut self, what: Words) {
        self.missing.push(what.said(self.language));
    }

    fn fail(&mut self, file: &str, what: impl Into<Words>) {
        self.failures.push(Failure { file: file.to_owned(), what: what.into().said(self.language) });
    }
}

struct Judge<'a> {
    evidence: &'a Evidence,
    findings: &'a mut Findings,
    /// Names of the files that a check has read.
    read: BTreeSet<String>,
}

/// Whose ledger an entry must be of.
#[derive(Clone, Copy)]
struct Party<'a> {
    member: &'a MemberId,
    node: Option<&'a NodeId>,
}

/// The two of an exchange.
#[derive(Clone, Copy)]
struct Parties<'a> {
    consumer: Party<'a>,
    provider: Party<'a>,
}

/// An entry whose seal leads to its checkpoint.
struct Sealed {
    entry: Entry,
    seal: Seal,
}

impl<'a> Judge<'a> {
    /// A file that a check reads.
    fn file(&mut self, name: &str) -> Option<&'a Bytes> {
        let content = self.evidence.file(name)?;
        self.read.insert(name.to_owned());
        Some(content)
    }

    /// A file that stands there and proves nothing may not look as if it did.
    fn leftovers(&mut self) {
        if !self.findings.failures.is_empty() {
            return;
        }
        // These two are judged with the container.
        let judged = |name: &&str| self.read.contains(*name) || [README, MANIFEST].contains(name);
        let left: Vec<_> = self.evidence.names().filter(|name| !judged(name)).collect();
        for name in left {
            self.findings.fail(name, Wrong::Leftover);
        }
    }

    fn judge(&mut self, trust: Option<&ConfigurationAnchor>) {
        let confs = self.snapshots(trust);
        let mut entries = BTreeMap::new();
        for role in Role::ALL {
            if let Some(sealed) = self.sealed_at(role.path()) {
                self.signature(role.path(), &sealed, &confs);
                entries.insert(role, sealed);
            }
        }
        let Some(request) = entries.get(&Role::Request) else {
            return self.findings.fail(&Role::Request.entry_file(), Wrong::NoRequest);
        };
        let mut facts = Facts::default();
        entries.values().for_each(|sealed| facts.add(&sealed.entry));
        self.findings.facts = Some(facts);
        let Body::Request(head) = request.entry.body() else {
            return self.findings.fail(&Role::Request.entry_file(), Wrong::NotRequest);
        };
        self.exchange(&entries, request, head);
        let (consumer, provider) = (head.consumer.member(), head.service.member());
        let parties = Parties {
            consumer: Party { member: &consumer, node: request.entry.common().node.as_ref() },
            provider: Party { member: &provider, node: Some(&head.addressee) },
        };
        for (role, sealed) in &entries {
            let party = match role {
                Role::Request | Role::ReceivedByConsumer => parties.consumer,
                Role::ReceivedByProvider | Role::Answer => parties.provider,
            };
            self.party(role.path(), sealed, party, &confs);
        }
        self.contract(head);
        self.payload(Side::Request.path(), Some(head.content.committed()));
        self.payload(
            Side::Answer.path(),
            entries.get(&Role::Answer).and_then(|sealed| sealed.entry.body().content()),
        );
        self.stream_note();
        let request = (request, entries.get(&Role::ReceivedByProvider));
        let answer = entries.get(&Role::Answer).map(|it| (it, entries.get(&Role::ReceivedByConsumer)));
        self.streams(request, answer, parties, &confs);
    }

    /// No file may stand there that nothing else judges.
    fn names(&mut self) {
        let is_payload = |name: &str| {
            let of = |side: Side| name.strip_prefix(side.path()).and_then(|rest| rest.strip_prefix('.'));
            let suffix = of(Side::Request).or_else(|| of(Side::Answer));
            suffix.is_some_and(|suffix| {
                suffix == "salt" || suffix.parse::<u16>().is_ok_and(|index| index.to_string() == suffix)
            })
        };
        let is_snapshot = |name: &str| {
            let rest = name.strip_prefix(SNAPSHOTS).and_then(|rest| rest.split_once('/'));
            rest.is_some_and(|(version, file)| {
                let canonical = version.parse::<u64>().is_ok_and(|number| number.to_string() == version);
                canonical && [SNAPSHOT, NOTICE_ENTRY, NOTICE_PROOF].contains(&file)
            })
        };
        let is_entry =
            |name: &str| Role::ALL.iter().any(|role| name == role.entry_file() || name == role.proof_file());
        for name in self.evidence.names() {
            let content = self.evidence.file(name).expect("it was just named");
            let is_part =
                name.strip_prefix(PARTS).is_some_and(|digest| digest == Digest::of(content).to_string());
            let is_link = |side: Side| StreamLink::of_file(side, name).is_some();
            let known = [README, MANIFEST, STREAM_README].contains(&name)
                || is_link(Side::Request)
                || is_link(Side::Answer)
                || is_entry(name)
                || is_payload(name)
                || is_snapshot(name)
                || is_part;
            if !known {
                self.findings.fail(name, Wrong::NoSuchFile);
            }
        }
    }

    /// The global configurations in the file, each judged at its own time.
    fn snapshots(&mut self, trust: Option<&ConfigurationAnchor>) -> Vec<GlobalConfiguration> {
        let versions: Vec<u64> = self
            .evidence
            .names()
            .filter_map(|name| {
                name.strip_prefix(SNAPSHOTS)?.strip_suffix(&format!("/{SNAPSHOT}"))?.parse().ok()
            })
            .collect();
        if versions.is_empty() {
            self.findings.lack(words::globalconf());
        }
        versions.into_iter().filter_map(|version| self.snapshot(version, trust)).collect()
    }

    fn snapshot(&mut self, version: u64, trust: Option<&ConfigurationAnchor>) -> Option<GlobalConfiguration> {
        let file = snapshot_file(version, SNAPSHOT);
        let bytes = self.file(&file)?.clone();
        let signed = wire::SignedSnapshot::decode(bytes).ok();
        let Some(signed) = signed else {
            self.findings.fail(&file, Wrong::NotSnapshot);
            return None;
        };
        let snapshot =
            wire::Snapshot::decode(signed.snapshot.clone()).ok().filter(|it| it.version == version);
        let Some(snapshot) = snapshot else {
            self.findings.fail(&file, Wrong::OtherVersion);
            return None;
        };
        if let Some(anchor) = trust {
            let created_at = Timestamp::from_ms(snapshot.created_at_ms);
            if let Err(error) = verify_snapshot(&signed, anchor, created_at, 0) {
                self.findings.fail(&file, words::technical(&error));
                return None;
            }
            self.findings.hold(words::snapshot_signed(version));
        }
        self.notice(version, &signed);
        let (evidence, read) = (self.evidence, RefCell::new(Vec::new()));
        let part = |digest: &Digest| {
            let name = part_file(digest);
            let part = evidence.file(&name).cloned();
            read.borrow_mut().push(name);
            part
        };
        let assembled = GlobalConfiguration::assemble(&snapshot, SnapshotDigest::of(&signed.snapshot), &part);
        self.read.extend(read.take());
        match assembled {
            Ok(conf) => Some(conf),
            Err(error) => {
                self.findings.fail(&file, words::technical(&error));
                None
            }
        }
    }

    /// The snapshot's place in the registry's ledger.
    fn notice(&mut self, version: u64, signed: &wire::SignedSnapshot) {
        let (entry_file, proof_file) =
            (snapshot_file(version, NOTICE_ENTRY), snapshot_file(version, NOTICE_PROOF));
        let Some(sealed) = self.sealed(&entry_file, &proof_file) else { return };
        let delegation = signed
            .delegation
            .as_ref()
            .and_then(|signed| wire::Delegation::decode(signed.delegation.clone()).ok());
        let key = delegation.as_ref().and_then(|it| <[u8; 32]>::try_from(it.registry_key.as_ref()).ok());
        let (Some(delegation), Some(key)) = (delegation, key) else {
            return self.findings.fail(&snapshot_file(version, SNAPSHOT), Wrong::NoDelegation);
        };
        let key = VerifyingKey::from_bytes(key);
        if let Err(error) = sealed.seal.checkpoint.verify(&key) {
            return self.findings.fail(&proof_file, words::technical(&error));
        }
        self.findings.vkeys.insert(key.vkey(sealed.seal.checkpoint.origin()));
        let root = ClearPayload::new(signed.snapshot.clone()).map(|payload| payload.content_root());
        let said = match sealed.entry.body() {
            Body::Notice(notice) if notice.code == NOTICE_SNAPSHOT => Some(notice.content_root),
            _ => None,
        };
        let is_its = said.is_some()
            && said == root.ok()
            && sealed.entry.origin().as_str() == delegation.registry_origin;
        if !is_its {
            return self.findings.fail(&entry_file, Wrong::NotNotice);
        }
        self.findings.hold(words::snapshot_sealed(version));
    }

    fn sealed_at(&mut self, path: &str) -> Option<Sealed> {
        self.sealed(&format!("{path}.entry"), &format!("{path}.tlog-proof"))
    }

    /// An entry that its proof leads to its checkpoint, which is of the entry's own ledger.
    fn sealed(&mut self, entry_file: &str, proof_file: &str) -> Option<Sealed> {
        let (bytes, proof) = (self.file(entry_file), self.file(proof_file));
        let (bytes, proof) = match (bytes, proof) {
            (Some(bytes), Some(proof)) => (bytes.clone(), proof.clone()),
            (None, None) => {
                self.findings.missing.push(entry_file.to_owned());
                return None;
            }
            (None, Some(_)) => {
                self.findings.fail(entry_file, Wrong::NoEntry);
                return None;
            }
            (Some(_), None) => {
                self.findings.fail(proof_file, Wrong::NoProof);
                return None;
            }
        };
        let entry = match Entry::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.findings.fail(entry_file, words::technical(&error));
                return None;
            }
        };
        let seal = match tlog_proof::parse(&proof) {
            Ok(seal) => seal,
            Err(error) => {
                self.findings.fail(proof_file, words::technical(&error));
                return None;
            }
        };
        if let Err(error) = seal.includes(&entry.leaf_hash()) {
            self.findings.fail(proof_file, words::technical(&error));
            return None;
        }
        if seal.checkpoint.origin() != entry.origin() {
            self.findings.fail(proof_file, Wrong::OtherLedger);
            return None;
        }
        Some(Sealed { entry, seal })
    }

    /// The checkpoint's signature, by the key that the global configuration of the entry registers.
    fn signature(&mut self, path: &str, sealed: &Sealed, confs: &[GlobalConfiguration]) {
        let (entry_file, file) = (format!("{path}.entry"), format!("{path}.tlog-proof"));
        let named = sealed.entry.common().globalconf;
        let exact = confs
            .iter()
            .find(|conf| named == Some(GlobalconfRef { version: conf.version(), digest: conf.digest() }));
        if exact.is_none()
            && let Some(GlobalconfRef { version, .. }) = named
        {
            self.findings.lack(words::snapshot_named(version, &entry_file));
        }
        let origin = sealed.entry.origin();
        let knows = |conf: &&GlobalConfiguration| conf.ledger(origin).is_some();
        let Some(conf) = exact.or_else(|| confs.iter().find(knows)) else {
            return self.findings.fail(&file, words::unregistered(origin));
        };
        let made_at = sealed.entry.common().created_at;
        let holds_under = |conf: &GlobalConfiguration, at| {
            let keys = keys_of(conf, origin, at)?;
            sealed.seal.checkpoint.signed_by(&keys).map_err(|error| error.to_string())
        };
        // A head of after a change of keys proves an entry of before it, which names a snapshot that did not know the key yet.
        // Only a later snapshot counts, as of its own time: a key that was withdrawn stays so.
        let later = |other: &&GlobalConfiguration| other.version() > conf.version() && knows(other);
        let later =
            || confs.iter().filter(later).find_map(|it| holds_under(it, made_at.max(it.created_at())).ok());
        let holds = holds_under(conf, made_at).or_else(|error| later().ok_or(error));
        match holds {
            Ok(key) => {
                self.findings.vkeys.insert(key.vkey(origin));
                self.findings.hold(words::sealed_by(&entry_file, origin));
            }
            Err(error) => self.findings.fail(&file, words::technical(&error)),
        }
    }

    /// One exchange: ids, hashes that name each other.
    fn exchange(&mut self, entries: &BTreeMap<Role, Sealed>, request: &Sealed, head: &Request) {
        for (role, sealed) in entries {
            if sealed.entry.exchange() != request.entry.exchange() {
                self.findings.fail(&role.entry_file(), Wrong::OtherExchange);
            }
        }
        let received = entries.get(&Role::ReceivedByProvider);
        if let Some(received) = received {
            self.received(Role::ReceivedByProvider.path(), received, request, Some(head.expires_at));
        }
        let Some(answer) = entries.get(&Role::Answer) else { return };
        let names = match answer.entry.body() {
            Body::Response(head) => Some((head.request_leaf, head.received_leaf, &head.addressee)),
            Body::Fault(head) => Some((head.request_leaf, head.received_leaf, &head.addressee)),
            Body::Request(_)
            | Body::Received(_)
            | Body::Batch(_)
            | Body::Close(_)
            | Body::KeyChange(_)
            | Body::Notice(_) => None,
        };
        let Some((request_leaf, received_leaf, addressee)) = names else {
            return self.findings.fail(&Role::Answer.entry_file(), Wrong::NoAnswer);
        };
        let received_leaf_is =
            |leaf: LeafHash| received.is_none_or(|received| received.entry.leaf_hash() == leaf);
        if request_leaf != request.entry.leaf_hash() || !received_leaf_is(received_leaf) {
            self.findings.fail(&Role::Answer.entry_file(), Wrong::OtherRequest);
        }
        // The clocks of two nodes.
        if answer.entry.common().created_at.plus(CLOCK_SKEW) < request.entry.common().created_at {
            self.findings.fail(&Role::Answer.entry_file(), Wrong::BeforeRequest);
        }
        if Some(addressee) != request.entry.common().node.as_ref() {
            self.findings.fail(&Role::Answer.entry_file(), Wrong::OtherAddressee);
        }
        if let Some(received) = entries.get(&Role::ReceivedByConsumer) {
            self.received(Role::ReceivedByConsumer.path(), received, answer, None);
        }
    }

    fn received(&mut self, path: &str, received: &Sealed, sent: &Sealed, expires_at: Option<Timestamp>) {
        let file = format!("{path}.entry");
        let Body::Received(head) = received.entry.body() else {
            return self.findings.fail(&file, Wrong::NotReceived);
        };
        let Received { peer_origin, peer_index, peer_leaf, .. } = head;
        let names_it = peer_origin == sent.entry.origin()
            && *peer_index == sent.seal.position.index()
            && *peer_leaf == sent.entry.leaf_hash()
            && head.expires_at == expires_at;
        if !names_it {
            return self.findings.fail(&file, Wrong::OtherMessage);
        }
        if head.received_at.plus(CLOCK_SKEW) < sent.entry.common().created_at {
            return self.findings.fail(&file, Wrong::TooEarly);
        }
        if head.peer_checkpoint == sent.seal.checkpoint.note_hash() {
            self.findings.hold(words::commits(&file));
        } else {
            self.findings.lack(words::checkpoint_of(&file));
        }
    }

    /// Who sealed is who should have.
    fn party(&mut self, path: &str, sealed: &Sealed, party: Party<'_>, confs: &[GlobalConfiguration]) {
        let file = format!("{path}.entry");
        let Some(ledger) = confs.iter().find_map(|conf| conf.ledger(sealed.entry.origin())) else { return };
        let Party { member, node } = party;
        let fits = ledger.member == *member
            && Some(&ledger.node) == node
            && sealed.entry.common().node.as_ref() == node;
        if fits {
            self.findings.hold(words::binds(&file, member));
        } else {
            self.findings.fail(&file, words::sealed_by_other(&ledger.member, member));
        }
    }

    fn contract(&mut self, head: &Request) {
        let digest = Digest::from_bytes(*ContractDigest::as_bytes(&head.contract_digest));
        if self.file(&part_file(&digest)).is_some() {
            self.findings.hold(words::contract_here(&head.service, head.contract_version));
        } else {
            self.findings.lack(words::contract_lacks(&digest, &head.service));
        }
    }

    fn payload(&mut self, path: &str, content: Option<(ContentRoot, u64)>) {
        let salt_name = salt_file(path);
        let chunks: Vec<&Bytes> = (0..).map_while(|index| self.file(&chunk_file(path, index))).collect();
        let Some(salt) = self.file(&salt_name) else {
            match chunks.is_empty() {
                true => self.findings.lack(words::withheld(path)),
                false => self.findings.fail(&salt_name, Wrong::NoSalt),
            }
            return;
        };
        let Some((root, body_bytes)) = content else {
            return self.findings.fail(&salt_name, Wrong::NoSuchPayload);
        };
        let Ok(salt) = <[u8; 32]>::try_from(salt.as_ref()) else {
            return self.findings.fail(&salt_name, Wrong::SaltLength);
        };
        let body: u64 = chunks.iter().skip(1).map(|chunk| chunk.len() as u64).sum();
        let found = content::content_root(&salt, chunks.iter().map(|chunk| &***chunk));
        if found != root || body != body_bytes {
            return self.findings.fail(&chunk_file(path, 0), Wrong::OtherContent);
        }
        self.findings.hold(words::payload(path, body));
    }
}

/// The keys that may have sealed, by certificates that held at this time.
fn keys_of(conf: &GlobalConfiguration, origin: &Origin, at: Timestamp) -> Result<VerifyingKeys, String> {
    let ledger = conf
        .ledger(origin)
        .ok_or_else(|| format!("snapshot {} does not register {origin}", conf.version()))?;
    certified_keys(conf, ledger, at)
        .map(|certified| certified.keys)
        .map_err(|error| format!("sealing certificate: {error}"))
}
