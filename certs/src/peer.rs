//! rustls configurations: TLS 1.3 only, both certificates, no resumption, no early data.
//!
//! On links a peer is who the global configuration says: its certificate chains to a trusted authority **and** is the
//! one registered for that node. Links agree on X25519MLKEM768 and nothing else; doors and the registry also take
//! X25519 and P-256, because agencies' clients may not know better yet: gRPC's C core (1.76) offers P-256 alone.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::NodeId;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::KeyPurpose;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use crate::CertsError;
use crate::chain;
use crate::key::SecretKey;

/// A certificate with its key.
#[derive(Clone)]
pub struct TlsIdentity {
    /// DER.
    pub certificate: Bytes,
    /// Its key.
    pub key: SecretKey,
}

/// An identity that can be replaced: connections that are live keep the one they were made with.
pub struct LiveIdentity(RwLock<Held>);

#[derive(Clone)]
struct Held {
    identity: Arc<TlsIdentity>,
    certified: Arc<CertifiedKey>,
}

impl LiveIdentity {
    /// Begins with this one.
    ///
    /// # Errors
    /// `Tls` if certificate and key do not fit.
    pub fn new(identity: TlsIdentity) -> Result<Self, CertsError> {
        Held::new(identity).map(|held| Self(RwLock::new(held)))
    }

    /// What the next connection is made with.
    #[must_use]
    pub fn current(&self) -> Arc<TlsIdentity> {
        self.held().identity
    }

    /// From now on this one, for every connection that begins.
    ///
    /// # Errors
    /// `Tls` if certificate and key do not fit; the old one stays.
    pub fn replace(&self, identity: TlsIdentity) -> Result<(), CertsError> {
        let held = Held::new(identity)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }

    fn held(&self) -> Held {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Held {
    fn new(identity: TlsIdentity) -> Result<Self, CertsError> {
        let certified = CertifiedKey::from_der(chain_of(&identity), key_of(&identity), &link_provider())?;
        Ok(Self { identity: Arc::new(identity), certified: Arc::new(certified) })
    }
}

impl fmt::Debug for LiveIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveIdentity({})", Digest::of(&self.held().identity.certificate))
    }
}

impl ResolvesServerCert for LiveIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.held().certified)
    }
}

/// What the global configuration says of nodes.
pub trait PeerDirectory: Send + Sync {
    /// The node that registered the certificate with this SHA-256.
    fn judge(&self, certificate_sha256: &Digest) -> Option<NodeId>;
    /// DER of the authorities trusted for authentication.
    fn authorities(&self) -> Vec<Bytes>;
    /// The time at which certificates are judged.
    fn now(&self) -> Timestamp;
}

/// Why a peer was turned away; found in the source of the TLS error.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    /// No chain to a trusted authority.
    #[error("{0}")]
    Chain(String),
    /// Chained, but nobody registered it.
    #[error("the certificate {sha256} is not registered for any node in the global configuration")]
    NotRegistered {
        /// Of its DER.
        sha256: Digest,
    },
    /// Registered for another node than was dialled.
    #[error("the certificate belongs to {found}, and {expected} was dialled")]
    OtherNode {
        /// Who was dialled.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
    },
    /// Not one of the pinned ones.
    #[error("the certificate {sha256} is not the pinned one")]
    NotPinned {
        /// Of its DER.
        sha256: Digest,
    },
}

/// A TLS error shows what is in it by `Debug` alone, and administrators read it.
impl fmt::Debug for PeerRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The accepting side of a link: each connection with the identity that is current when it begins.
///
/// # Errors
/// `Tls`.
pub fn link_server(
    identity: Arc<LiveIdentity>,
    directory: Arc<dyn PeerDirectory>,
) -> Result<ServerConfig, CertsError> {
    let verifier = Arc::new(LinkVerifier { directory, expected: None, provider: link_provider() });
    let builder = ServerConfig::builder_with_provider(link_provider()).with_protocol_versions(TLS13)?;
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(identity);
    without_resumption(&mut config);
    config.alpn_protocols = vec![LINK_ALPN.to_vec()];
    Ok(config)
}

/// The dialling side of a link to one node.
///
/// # Errors
/// `Tls` if certificate and key do not fit.
pub fn link_client(
    identity: &TlsIdentity,
    directory: Arc<dyn PeerDirectory>,
    expected: NodeId,
) -> Result<ClientConfig, CertsError> {
    let verifier = Arc::new(LinkVerifier { directory, expected: Some(expected), provider: link_provider() });
    let builder = ClientConfig::builder_with_provider(link_provider()).with_protocol_versions(TLS13)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = builder.with_client_auth_cert(chain_of(identity), key_of(identity))?;
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![LINK_ALPN.to_vec()];
    Ok(config)
}

/// Whose certificate this is, by the global configuration of the moment: asked at a handshake, and of an established link
/// again with each new snapshot.
///
/// # Errors
/// `Chain` or `NotRegistered`.
pub fn judge_peer(
    certificate: &CertificateDer<'_>,
    directory: &dyn PeerDirectory,
) -> Result<NodeId, PeerRefused> {
    let authorities = directory.authorities();
    let verified = chain::verify(certificate, &authorities, KeyPurpose::Authentication, directory.now())
        .map_err(|error| PeerRefused::Chain(error.to_string()))?;
    let sha256 = verified.sha256();
    directory.judge(&sha256).ok_or(PeerRefused::NotRegistered { sha256 })
}

/// A server that knows its clients by the SHA-256 of their certificates: doors, the registry's admin API. A client
/// without a certificate is let in where `clients` says so.
///
/// # Errors
/// `Tls` if certificate and key do not fit.
pub fn pinning_server(identity: &TlsIdentity, clients: Clients) -> Result<ServerConfig, CertsError> {
    let builder = ServerConfig::builder_with_provider(door_provider()).with_protocol_versions(TLS13)?;
    let builder = match clients {
        Clients::Anyone => builder.with_no_client_auth(),
        Clients::Pinned { certificates, without_certificate } => {
            let verifier = PinVerifier { certificates, without_certificate, provider: door_provider() };
            builder.with_client_cert_verifier(Arc::new(verifier))
        }
    };
    let mut config = builder.with_single_cert(chain_of(identity), key_of(identity))?;
    without_resumption(&mut config);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// A client that knows its server by the SHA-256 of its certificate.
///
/// # Errors
/// `Tls` if certificate and key do not fit.
pub fn pinning_client(server: Digest, identity: Option<&TlsIdentity>) -> Result<ClientConfig, CertsError> {
    let without_certificate = WithoutCertificate::Refused;
    let verifier = PinVerifier { certificates: vec![server], without_certificate, provider: door_provider() };
    let builder = ClientConfig::builder_with_provider(door_provider()).with_protocol_versions(TLS13)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(chain_of(identity), key_of(identity))?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// A client of an agency's own service, whose certificate comes from one of these authorities (DER).
///
/// # Errors
/// `Tls` if one of them is no certificate.
pub fn service_client(authorities: &[Bytes]) -> Result<ClientConfig, CertsError> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in authorities {
        roots.add(CertificateDer::from(authority.to_vec()))?;
    }
    let builder = ClientConfig::builder_with_provider(door_provider()).with_protocol_versions(TLS13)?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Whom a pinning server lets in.
#[derive(Debug, Clone)]
pub enum Clients {
    /// Whoever dials: what is served is signed.
    Anyone,
    /// Those with one of these certificates.
    Pinned {
        /// SHA-256 of each.
        certificates: Vec<Digest>,
        /// What happens to the others.
        without_certificate: WithoutCertificate,
    },
}

/// What happens to a client that shows no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutCertificate {
    /// It is let in and must show another credential.
    Allowed,
    /// The handshake fails.
    Refused,
}

struct LinkVerifier {
    directory: Arc<dyn PeerDirectory>,
    expected: Option<NodeId>,
    provider: Arc<CryptoProvider>,
}

impl LinkVerifier {
    fn judge(&self, certificate: &CertificateDer<'_>) -> Result<(), PeerRefused> {
        let found = judge_peer(certificate, &*self.directory)?;
        match &self.expected {
            Some(expected) if *expected != found => {
                Err(PeerRefused::OtherNode { expected: expected.clone(), found })
            }
            _ => Ok(()),
        }
    }
}

struct PinVerifier {
    certificates: Vec<Digest>,
    without_certificate: WithoutCertificate,
    provider: Arc<CryptoProvider>,
}

impl PinVerifier {
    fn judge(&self, certificate: &CertificateDer<'_>) -> Result<(), PeerRefused> {
        let sha256 = Digest::of(certificate);
        if self.certificates.contains(&sha256) { Ok(()) } else { Err(PeerRefused::NotPinned { sha256 }) }
    }
}

macro_rules! verifier {
    ($name:ident, $mandatory:expr) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl ServerCertVerifier for $name {
            fn verify_server_cert(
                &self,
                end_entity: &CertificateDer<'_>,
                _intermediates: &[CertificateDer<'_>],
                _server_name: &ServerName<'_>,
                _ocsp_response: &[u8],
                _now: UnixTime,
            ) -> Result<ServerCertVerified, Error> {
                self.judge(end_entity).map(|()| ServerCertVerified::assertion()).map_err(refused)
            }

            fn verify_tls12_signature(
                &self,
                _message: &[u8],
                _certificate: &CertificateDer<'_>,
                _signature: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
            }

            fn verify_tls13_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signature: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                let algorithms = &self.provider.signature_verification_algorithms;
                rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
            }

            fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
                self.provider.signature_verification_algorithms.supported_schemes()
            }
        }

        impl ClientCertVerifier for $name {
            fn root_hint_subjects(&self) -> &[DistinguishedName] {
                &[]
            }

            fn client_auth_mandatory(&self) -> bool {
                $mandatory(self)
            }

            fn verify_client_cert(
                &self,
                end_entity: &CertificateDer<'_>,
                _intermediates: &[CertificateDer<'_>],
                _now: UnixTime,
            ) -> Result<ClientCertVerified, Error> {
                self.judge(end_entity).map(|()| ClientCertVerified::assertion()).map_err(refused)
            }

            fn verify_tls12_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signature: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                ServerCertVerifier::verify_tls12_signature(self, message, certificate, signature)
            }

            fn verify_tls13_signature(
                &self,
                message: &[u8],
                certificate: &CertificateDer<'_>,
                signature: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                ServerCertVerifier::verify_tls13_signature(self, message, certificate, signature)
            }

            fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
                ServerCertVerifier::supported_verify_schemes(self)
            }
        }
    };
}

verifier!(LinkVerifier, |_: &LinkVerifier| true);
verifier!(PinVerifier, |verifier: &PinVerifier| verifier.without_certificate == WithoutCertificate::Refused);

fn refused(reason: PeerRefused) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

fn without_resumption(config: &mut ServerConfig) {
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
}

fn link_provider() -> Arc<CryptoProvider> {
    let kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

fn door_provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
    let kx_groups = vec![X25519MLKEM768, X25519, SECP256R1];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

fn chain_of(identity: &TlsIdentity) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from(identity.certificate.to_vec())]
}

fn key_of(identity: &TlsIdentity) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.pkcs8().to_vec()))
}

static TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
/// What both ends of a link say they speak over QUIC: the configurations above have it.
pub const LINK_ALPN: &[u8] = b"peabiru/1";
/// What they say over TCP, so that neither is taken for the other.
pub const LINK_ALPN_HTTP2: &[u8] = b"peabiru-h2/1";
