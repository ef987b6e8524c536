//! Who is let in: whole TLS handshakes in memory.
#![allow(clippy::unwrap_used, reason = "a test says by failing what went wrong")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_certs::key::{Algorithm, SecretKey};
use peabiru_certs::peer::{
    self, Clients, LiveIdentity, PeerDirectory, PeerRefused, TlsIdentity, WithoutCertificate,
};
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_certs::profile::Subject;
use peabiru_certs::{CertsError, chain, request};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::NodeId;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::KeyPurpose;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

const NOW: Timestamp = Timestamp::from_ms(1_900_000_000_000);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

struct Directory {
    authorities: Vec<Bytes>,
    registered: HashMap<Digest, NodeId>,
    now: Timestamp,
}

impl PeerDirectory for Directory {
    fn judge(&self, sha256: &Digest) -> Option<NodeId> {
        self.registered.get(sha256).cloned()
    }

    fn authorities(&self) -> Vec<Bytes> {
        self.authorities.clone()
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}

fn node(name: &str) -> NodeId {
    format!("PY/GOV/MEC/{name}").parse().unwrap()
}

fn authority() -> PilotCa {
    PilotCa::create(&"PY".parse().unwrap(), NOW).unwrap()
}

fn identity(authority: &PilotCa, id: &NodeId) -> TlsIdentity {
    let key = SecretKey::generate(Algorithm::P256);
    let subject =
        Subject::Node { id: id.clone(), hosts: vec!["127.0.0.1".to_owned(), "mec.example".to_owned()] };
    TlsIdentity { certificate: authority.issue_for_key(&key, subject, NOW).unwrap(), key }
}

fn directory(
    authority: &PilotCa,
    registered: &[(&NodeId, &TlsIdentity)],
    now: Timestamp,
) -> Arc<dyn PeerDirectory> {
    let registered =
        registered.iter().map(|(id, identity)| (Digest::of(&identity.certificate), (*id).clone()));
    Arc::new(Directory {
        authorities: vec![authority.certificate().clone()],
        registered: registered.collect(),
        now,
    })
}

/// Runs a handshake to its end, or to the first error of either side.
fn handshake(
    client: ClientConfig,
    server: ServerConfig,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = "mec.example".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok((client, server))
}

fn reason(error: &rustls::Error) -> Option<&PeerRefused> {
    let rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) = error else {
        return None;
    };
    other.0.downcast_ref()
}

struct Pair {
    authority: PilotCa,
    a: (NodeId, TlsIdentity),
    b: (NodeId, TlsIdentity),
}

fn pair() -> Pair {
    let authority = authority();
    let (a, b) = (node("a"), node("b"));
    let (for_a, for_b) = (identity(&authority, &a), identity(&authority, &b));
    Pair { authority, a: (a, for_a), b: (b, for_b) }
}

fn link_server(
    identity: &TlsIdentity,
    directory: Arc<dyn PeerDirectory>,
) -> Result<ServerConfig, CertsError> {
    peer::link_server(Arc::new(LiveIdentity::new(identity.clone())?), directory)
}

#[test]
fn an_identity_is_replaced_by_one_that_fits_or_stays() {
    let Pair { a, b, .. } = pair();
    let live = LiveIdentity::new(a.1.clone()).unwrap();
    let mixed = TlsIdentity { certificate: a.1.certificate.clone(), key: b.1.key.clone() };
    assert!(live.replace(mixed).is_err());
    assert_eq!(live.current().certificate, a.1.certificate);
    live.replace(b.1.clone()).unwrap();
    assert_eq!(live.current().certificate, b.1.certificate);
}

#[test]
fn registered_nodes_meet_on_the_post_quantum_hybrid_alone() {
    let Pair { authority, a, b } = pair();
    let directory = directory(&authority, &[(&a.0, &a.1), (&b.0, &b.1)], NOW);
    let client = peer::link_client(&a.1, Arc::clone(&directory), b.0.clone()).unwrap();
    let server = link_server(&b.1, Arc::clone(&directory)).unwrap();
    let (client, server) = handshake(client, server).unwrap();
    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(client.negotiated_key_exchange_group().unwrap().name(), rustls::NamedGroup::X25519MLKEM768);
    assert_eq!(peer::judge_peer(&server.peer_certificates().unwrap()[0], &*directory), Ok(a.0));
    assert_eq!(peer::judge_peer(&client.peer_certificates().unwrap()[0], &*directory), Ok(b.0));
}

#[test]
fn a_client_without_the_hybrid_is_refused() {
    let Pair { authority, a, b } = pair();
    let directory = directory(&authority, &[(&a.0, &a.1), (&b.0, &b.1)], NOW);
    let ours = peer::link_client(&a.1, Arc::clone(&directory), b.0).unwrap();
    for group in [kx_group::X25519, kx_group::SECP256R1] {
        let server = link_server(&b.1, Arc::clone(&directory)).unwrap();
        let mut client = client_with(group, &authority);
        client.alpn_protocols = ours.alpn_protocols.clone();
        assert!(matches!(handshake(client, server), Err(rustls::Error::PeerIncompatible(_))));
    }
}

#[test]
fn a_door_takes_clients_that_know_classical_groups_alone() {
    let Pair { authority, b, .. } = pair();
    // gRPC's C core 1.76 (Python, C++, PHP, Ruby) offers P-256 alone.
    for group in [kx_group::X25519, kx_group::SECP256R1] {
        let server = peer::pinning_server(&b.1, Clients::Anyone).unwrap();
        let (client, _) = handshake(client_with(group, &authority), server).unwrap();
        assert_eq!(client.negotiated_key_exchange_group().unwrap().name(), group.name());
    }
}

/// A client of others, which offers one group.
fn client_with(group: &'static dyn SupportedKxGroup, authority: &PilotCa) -> ClientConfig {
    let provider = CryptoProvider { kx_groups: vec![group], ..aws_lc_rs::default_provider() };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate().to_vec().into()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut client = builder.with_root_certificates(roots).with_no_client_auth();
    client.time_provider = Arc::new(AtNow);
    client
}

#[derive(Debug)]
struct AtNow;

impl rustls::time_provider::TimeProvider for AtNow {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_millis(NOW.as_ms())))
    }
}

#[test]
fn an_unregistered_certificate_of_a_trusted_authority_is_refused() {
    let Pair { authority, a, b } = pair();
    let directory = directory(&authority, &[(&b.0, &b.1)], NOW);
    let client = peer::link_client(&a.1, Arc::clone(&directory), b.0.clone()).unwrap();
    let error = handshake(client, link_server(&b.1, directory).unwrap()).unwrap_err();
    assert!(matches!(reason(&error), Some(PeerRefused::NotRegistered { .. })), "{error}");
}

#[test]
fn a_registered_certificate_of_another_authority_is_refused() {
    let Pair { authority, b, .. } = pair();
    let a = (node("a"), identity(&self::authority(), &node("a")));
    let directory = directory(&authority, &[(&a.0, &a.1), (&b.0, &b.1)], NOW);
    let client = peer::link_client(&a.1, Arc::clone(&directory), b.0.clone()).unwrap();
    let error = handshake(client, link_server(&b.1, directory).unwrap()).unwrap_err();
    assert!(matches!(reason(&error), Some(PeerRefused::Chain(_))), "{error}");
}

#[test]
fn an_expired_certificate_is_refused_with_its_date() {
    let Pair { authority, a, b } = pair();
    let registered = [(&a.0, &a.1), (&b.0, &b.1)];
    let client = peer::link_client(&a.1, directory(&authority, &registered, NOW), b.0.clone()).unwrap();
    let later = directory(&authority, &registered, NOW.plus(2 * YEAR));
    let error = handshake(client, link_server(&b.1, later).unwrap()).unwrap_err();
    let Some(PeerRefused::Chain(text)) = reason(&error) else { panic!("{error}") };
    assert!(text.starts_with("the certificate expired at 2031-03-1"), "{text}");
}

#[test]
fn another_node_than_the_one_dialled_is_refused() {
    let Pair { authority, a, b } = pair();
    let directory = directory(&authority, &[(&a.0, &a.1), (&b.0, &b.1)], NOW);
    let client = peer::link_client(&a.1, Arc::clone(&directory), node("c")).unwrap();
    let error = handshake(client, link_server(&b.1, directory).unwrap()).unwrap_err();
    assert_eq!(reason(&error), Some(&PeerRefused::OtherNode { expected: node("c"), found: b.0 }));
}

#[test]
fn a_sealing_certificate_is_no_tls_certificate_and_the_other_way_round() {
    let authority = authority();
    let origin = "py.example/on47g35sa4w7lm6r36g2n4ppoyou4mow/1".parse().unwrap();
    let key = SecretKey::generate(Algorithm::Ed25519);
    let subject = Subject::Sealing { origin, member: "PY/GOV/MEC".parse().unwrap() };
    let sealing = authority.issue_for_key(&key, subject, NOW).unwrap();
    let trusted = [authority.certificate()];
    let verified = chain::verify(&sealing, &trusted, KeyPurpose::Sealing, NOW).unwrap();
    let origin = "py.example/on47g35sa4w7lm6r36g2n4ppoyou4mow/1".parse().unwrap();
    assert_eq!(verified.sealing_key(&origin).unwrap(), key.ed25519_public_key().unwrap());
    let named = chain::named_ledger(&sealing).unwrap();
    assert_eq!(named, Some((origin, key.ed25519_public_key().unwrap())));
    let other = "py.example/registry/1".parse().unwrap();
    assert_eq!(verified.sealing_key(&other).unwrap_err().code(), "certs.wrong_subject");
    let as_tls = chain::verify(&sealing, &trusted, KeyPurpose::Authentication, NOW).unwrap_err();
    assert_eq!(as_tls.code(), "certs.wrong_use");
    let tls = identity(&authority, &node("a")).certificate;
    assert_eq!(chain::named_ledger(&tls).unwrap(), None);
    assert_eq!(
        chain::verify(&tls, &trusted, KeyPurpose::Sealing, NOW).unwrap_err().code(),
        "certs.wrong_use"
    );
    chain::verify(&tls, &trusted, KeyPurpose::Authentication, NOW).unwrap().names_node(&node("a")).unwrap();
    let early = chain::verify(&tls, &trusted, KeyPurpose::Authentication, NOW.minus(YEAR)).unwrap_err();
    assert_eq!(early.code(), "certs.not_yet_valid");
}

#[test]
fn a_request_proves_that_its_maker_has_the_key() {
    let authority = authority();
    for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
        let key = SecretKey::generate(algorithm);
        let pem = request::make(&key, "PY/GOV/MEC/a").unwrap();
        assert_eq!(request::verify(pem.as_bytes()).unwrap().algorithm(), algorithm);
        let other = request::make(&SecretKey::generate(algorithm), "PY/GOV/MEC/b").unwrap();
        // The body of one and the signature of the other.
        let (mine, theirs) = (decode(&pem), decode(&other));
        let forged = [&mine[..mine.len() - 64], &theirs[theirs.len() - 64..]].concat();
        assert!(request::verify(&forged).is_err());
    }
    let key = SecretKey::generate(Algorithm::Ed25519);
    let request = request::verify(request::make(&key, "x").unwrap().as_bytes()).unwrap();
    let subject = Subject::Node { id: node("a"), hosts: Vec::new() };
    assert!(matches!(authority.issue(&request, subject, NOW), Err(CertsError::WrongUse(_))));
}

fn decode(pem: &str) -> Vec<u8> {
    use der::Document;
    Document::from_pem(pem).unwrap().1.to_vec()
}

#[test]
fn a_pinning_server_knows_its_clients() {
    let Pair { a, b, .. } = pair();
    let server = |without_certificate| {
        let clients =
            Clients::Pinned { certificates: vec![Digest::of(&a.1.certificate)], without_certificate };
        peer::pinning_server(&b.1, clients).unwrap()
    };
    let client = |identity| peer::pinning_client(Digest::of(&b.1.certificate), identity).unwrap();
    assert!(handshake(client(Some(&a.1)), server(WithoutCertificate::Refused)).is_ok());
    assert!(handshake(client(None), server(WithoutCertificate::Allowed)).is_ok());
    assert!(handshake(client(None), server(WithoutCertificate::Refused)).is_err());
    let error = handshake(client(Some(&b.1)), server(WithoutCertificate::Allowed)).unwrap_err();
    assert!(matches!(reason(&error), Some(PeerRefused::NotPinned { .. })));
    let elsewhere = peer::pinning_client(Digest::of(&a.1.certificate), None).unwrap();
    assert!(handshake(elsewhere, peer::pinning_server(&b.1, Clients::Anyone).unwrap()).is_err());
}
