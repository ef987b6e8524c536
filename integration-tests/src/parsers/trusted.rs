//! What trust rests on: anchor, snapshots, certificates; and evidence, which a stranger brings.

use std::collections::BTreeMap;

use bytes::Bytes;
use peabiru_certs::key::Algorithm;
use peabiru_certs::{CertsError, SecretKey, chain, request as csr};
use peabiru_ledger::evidence::{Evidence, Gathered, Outcome, Report, verify};
use peabiru_ledger::snapshot::{
    SnapshotError, sign_delegation, sign_snapshot, verify_delegation, verify_snapshot,
};
use peabiru_ledger::status_note::verify_status;
use peabiru_proto::entry::Entry;
use peabiru_proto::globalconf::{ConfigurationAnchor, GlobalConfiguration};
use peabiru_proto::hash::{Digest, SnapshotDigest};
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{self, KeyPurpose, PartKind};
use prost::Message as _;
use zeroize::Zeroizing;

use super::split;

/// An anchor that is read says the same when it is written, and cannot be satisfied by nobody.
pub fn anchor(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(anchor) = ConfigurationAnchor::parse(text) else { return };
    assert!(anchor.threshold > 0 && anchor.threshold as usize <= anchor.root_keys.len());
    assert_eq!(ConfigurationAnchor::parse(&anchor.to_toml()), Ok(anchor));
}

/// As a peer gives it, no snapshot verifies; signed by the test's keys it does if, and only if, every rule holds.
///
/// The input: a `SignedSnapshot`, whose signatures do not matter.
pub fn snapshot(bytes: &[u8]) {
    let Ok(given) = wire::SignedSnapshot::decode(bytes) else { return };
    let Some(delegation) = given.delegation.as_ref() else { return };
    let parsed = wire::Snapshot::decode(given.snapshot.clone());
    let at = Timestamp::from_ms(parsed.as_ref().map_or(0, |snapshot| snapshot.created_at_ms));
    let roots = [key(1), key(2)];
    let anchor = anchor_of(&roots);
    assert!(verify_snapshot(&given, &anchor, at, 0).is_err(), "nobody signed it");
    let Ok(delegation) = wire::Delegation::decode(delegation.delegation.clone()) else { return };
    let by_one = [sign_delegation(&delegation, &roots[..1]), {
        let twice = [roots[0].clone(), roots[0].clone()];
        sign_delegation(&delegation, &twice)
    }];
    for signed in by_one {
        let refused = verify_delegation(&signed, &anchor, at).map(|_| ());
        assert_eq!(refused, Err(SnapshotError::TooFewRoots { found: 1, needed: 2 }));
    }
    let delegation = wire::Delegation { snapshot_key: key(3).public_key().to_vec().into(), ..delegation };
    let Ok(snapshot) = parsed else { return };
    let signed = sign_snapshot(&snapshot, &key(3), sign_delegation(&delegation, &roots));
    for held in [0, snapshot.version, u64::MAX] {
        let Ok(verified) = verify_snapshot(&signed, &anchor, at, held) else { continue };
        assert_eq!(verified.digest(), SnapshotDigest::of(&signed.snapshot));
        assert_eq!((verified.bytes(), verified.snapshot()), (&signed.snapshot, &snapshot));
        assert!(snapshot.version >= held.max(1), "older than seen");
        assert_eq!(snapshot.instance, anchor.instance.as_str());
        assert_eq!(snapshot.registry_origin, verified.delegation().registry_origin.as_str());
        assert!(at.as_ms() < snapshot.expires_at_ms && at < verified.delegation().expires_at);
        let mut forged = signed.clone();
        forged.signature = given.signature.clone();
        assert!(verify_snapshot(&forged, &anchor, at, held).is_err(), "a forged signature");
    }
}

/// As a peer gives it, no status note verifies; signed by the test's keys it has one writing.
///
/// The input: a `StatusNote`.
pub fn status_note(bytes: &[u8]) {
    let roots = [key(1), key(2)];
    let anchor = anchor_of(&roots);
    let parsed = wire::StatusNote::decode(bytes).unwrap_or_default();
    let at = Timestamp::from_ms(parsed.noted_at_ms);
    let delegation = wire::Delegation {
        instance: anchor.instance.to_string(),
        not_before_ms: at.as_ms(),
        expires_at_ms: at.as_ms().saturating_add(1000),
        snapshot_key: key(3).public_key().to_vec().into(),
        registry_origin: "py.example/registry/1".to_owned(),
        registry_key: vec![1; 32].into(),
    };
    let delegation = Some(sign_delegation(&delegation, &roots));
    let note = Bytes::copy_from_slice(bytes);
    let message = [b"peabiru/v1/status\n", bytes].concat();
    let signed = |key: SecretKey| wire::SignedStatusNote {
        note: note.clone(),
        signature: key.sign(&message).into(),
        delegation: delegation.clone(),
    };
    assert!(verify_status(&signed(key(1)), &anchor, at).is_err(), "a root signs no notes");
    if let Ok(verified) = verify_status(&signed(key(3)), &anchor, at) {
        assert_eq!((verified.newest().version, verified.noted_at()), (parsed.version, at));
        assert_eq!((parsed.encode_to_vec(), parsed.version > 0), (bytes.to_vec(), true));
    }
}

fn key(number: u8) -> SecretKey {
    let pkcs8 = [ED25519_PKCS8_PREFIX, &[number; 32]].concat();
    let key = SecretKey::from_pkcs8(Zeroizing::new(pkcs8)).expect("it is an Ed25519 key");
    assert_eq!(key.algorithm(), Algorithm::Ed25519);
    key
}

fn anchor_of(roots: &[SecretKey; 2]) -> ConfigurationAnchor {
    ConfigurationAnchor {
        instance: "PY".parse().expect("an instance"),
        domain: "py.peabiru.example".parse().expect("a domain"),
        threshold: 2,
        root_keys: roots.iter().filter_map(SecretKey::ed25519_public_key).collect(),
        registries: Vec::new(),
    }
}

/// Parts that contradict nothing make a whole: every reference in it leads somewhere.
///
/// The input: a `Snapshot` and its parts, each after its length. The digests are put in here.
pub fn configuration(bytes: &[u8]) {
    let pieces = split(bytes);
    let Some((first, parts)) = pieces.split_first() else { return };
    let Ok(mut snapshot) = wire::Snapshot::decode(*first) else { return };
    let kinds: Vec<_> = snapshot.parts.iter().map(wire::PartDigest::kind).collect();
    let documents: Vec<_> =
        parts.iter().zip(&kinds).filter(|(_, kind)| **kind == PartKind::Contract).collect();
    let mut held = BTreeMap::new();
    for ((listed, part), kind) in snapshot.parts.iter_mut().zip(parts).zip(&kinds) {
        let mut part = Bytes::copy_from_slice(part);
        if let (PartKind::Member, Ok(mut member)) = (kind, wire::MemberPart::decode(part.clone())) {
            for (contract, (document, _)) in member.contracts.iter_mut().zip(&documents) {
                contract.digest = Digest::of(document).as_bytes().to_vec().into();
            }
            part = member.encode_to_vec().into();
        }
        let digest = Digest::of(&part);
        listed.digest = digest.as_bytes().to_vec().into();
        held.insert(digest, part);
    }
    let digest = SnapshotDigest::of(first);
    let conf = GlobalConfiguration::assemble(&snapshot, digest, &|digest| held.get(digest).cloned());
    let Ok(conf) = conf else { return };
    assert_eq!((conf.version(), conf.digest()), (snapshot.version, digest));
    for member in conf.members() {
        assert_eq!(member.id.instance(), *conf.instance());
        assert!(held.contains_key(&member.part));
        for node in conf.nodes_of(&member.id) {
            let ledger = conf.ledger_of(&member.id, &node.id).expect("a node that keeps its ledger");
            assert_eq!((&ledger.member, &ledger.node), (&member.id, &node.id));
            for certificate in &node.certificates {
                let found = conf.node_by_certificate(&Digest::of(certificate));
                assert_eq!(found.map(|found| &found.id), Some(&node.id), "one certificate, one node");
            }
        }
    }
    for contract in conf.services() {
        assert!(conf.subsystem_registered(&contract.service.subsystem()));
        assert!(contract.version > 0 && contract.facts().is_some());
    }
}

/// A certificate that no trusted authority issued does not verify, and a trusted one only for what it is.
///
/// The input: an authority's certificate and another one, each after its length.
pub fn certificate(bytes: &[u8]) {
    let pieces = split(bytes);
    let [authority, certificate, ..] = pieces[..] else { return };
    let nobody: &[&[u8]] = &[];
    for purpose in [KeyPurpose::Authentication, KeyPurpose::Sealing, KeyPurpose::Operator] {
        for at in [0, IN_2026, u64::MAX].map(Timestamp::from_ms) {
            assert!(chain::verify(certificate, nobody, purpose, at).is_err(), "nobody issued it");
            let Ok(verified) = chain::verify(certificate, &[authority], purpose, at) else { continue };
            assert_eq!(verified.sha256(), Digest::of(certificate));
            assert!(verified.expires_at().as_ms() / 1000 >= at.as_ms() / 1000);
            let node = "PY/GOV/MEC/another".parse().expect("a node");
            assert!(verified.names_node(&node).is_err());
            let origin = "py.peabiru.example/registry/9".parse().expect("an origin");
            assert!(verified.sealing_key(&origin).is_err());
        }
    }
}

/// A request is believed only if its own signature holds.
pub fn request(bytes: &[u8]) {
    match csr::verify(bytes) {
        Ok(verified) => assert!(verified.name().len() <= bytes.len() * 6),
        Err(CertsError::Malformed { .. } | CertsError::RequestSignature) => {}
        Err(other) => unreachable!("{other}"),
    }
}

/// A file that a stranger brings: what is not refused is, byte for byte, the one form of what it holds.
pub fn evidence(bytes: &[u8]) {
    let report = judged(bytes);
    if let Ok(evidence) = Evidence::from_tar(bytes) {
        assert!(report.outcome == Outcome::Failed || evidence.to_tar() == bytes, "two forms of one evidence");
    } else {
        assert_eq!(report.outcome, Outcome::Failed);
    }
}

/// Whatever a counterparty says that it holds of an exchange, what is gathered of it is a well-formed file.
///
/// The input: a `FetchResponse`.
pub fn held(bytes: &[u8]) {
    let Ok(answer) = wire::FetchResponse::decode(bytes) else { return };
    let exchange = answer.entries.iter().find_map(|held| Entry::decode(held.entry.clone()).ok());
    let Some(exchange) = exchange.map(|entry| entry.exchange()) else { return };
    let gathered = Gathered { held: answer.entries, ..Gathered::default() };
    let Ok(evidence) = Evidence::gather(&exchange, gathered) else { return };
    let tar = evidence.to_tar();
    assert_eq!(Evidence::from_tar(&tar).expect("it was just written"), evidence);
    let report = judged(&tar);
    let form = report.failures.iter().find(|failure| failure.what.contains("canonical form"));
    assert_eq!(form, None);
}

fn judged(tar: &[u8]) -> Report {
    let alone = verify(tar, None);
    assert_ne!(alone.outcome, Outcome::Verified, "nobody said whom to trust");
    let by_strangers = verify(tar, Some(&anchor_of(&[key(1), key(2)])));
    for report in [&alone, &by_strangers] {
        assert_eq!(report.outcome == Outcome::Failed, !report.failures.is_empty());
    }
    alone
}

/// Of an Ed25519 key in PKCS#8 (RFC 8410), before its 32 bytes.
const ED25519_PKCS8_PREFIX: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// 2026-07-01, in milliseconds.
const IN_2026: u64 = 1_782_864_000_000;
