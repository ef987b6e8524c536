//! Certificate profiles: what a certificate of each purpose says.
//!
//! Identifiers stand in the subject alternative name as URIs, because they are compared byte by byte and a
//! distinguished name is not: `peabiru:node:<NodeId>`, `peabiru:origin:<origin>`, `peabiru:operator:<name>`.

use std::net::IpAddr;
use std::time::Duration;

use der::Any;
use der::asn1::{Ia5String, OctetString, PrintableStringRef, SetOfVec, Utf8StringRef};
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::origin::Origin;
use peabiru_proto::wire::KeyPurpose;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension as _};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::CertsError;

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// TLS of a node, as client and as server.
    Node {
        /// Which.
        id: NodeId,
        /// Names and addresses under which it is dialled.
        hosts: Vec<String>,
    },
    /// Checkpoints of a ledger.
    Sealing {
        /// Which ledger.
        origin: Origin,
        /// Whom it binds.
        member: MemberId,
    },
    /// TLS of the registry.
    Registry {
        /// Names and addresses under which it is dialled.
        hosts: Vec<String>,
    },
    /// TLS of an officer.
    Operator {
        /// For people.
        name: String,
    },
}

impl Subject {
    /// What its key is for.
    #[must_use]
    pub fn purpose(&self) -> KeyPurpose {
        match self {
            Self::Node { .. } => KeyPurpose::Authentication,
            Self::Sealing { .. } => KeyPurpose::Sealing,
            Self::Registry { .. } | Self::Operator { .. } => KeyPurpose::Operator,
        }
    }

    /// How long the pilot authority makes it valid.
    #[must_use]
    pub fn validity(&self) -> Duration {
        YEAR
    }

    fn common_name(&self) -> &str {
        match self {
            Self::Node { id, .. } => id.as_str(),
            Self::Sealing { member, .. } => member.as_str(),
            Self::Registry { .. } => "registry",
            Self::Operator { name } => name,
        }
    }

    fn names(&self) -> Result<Vec<GeneralName>, CertsError> {
        let (uri, hosts): (Option<String>, &[String]) = match self {
            Self::Node { id, hosts } => (Some(format!("{NODE_URI}{id}")), hosts),
            Self::Sealing { origin, .. } => (Some(format!("{ORIGIN_URI}{origin}")), &[]),
            Self::Registry { hosts } => (None, hosts),
            Self::Operator { .. } => (None, &[]),
        };
        let uri = uri.map(|uri| Ok(GeneralName::UniformResourceIdentifier(ia5(&uri)?)));
        uri.into_iter().chain(hosts.iter().map(|host| host_name(host))).collect()
    }
}

/// A name for people, in two attributes: organisation and common name.
pub(crate) fn name(organisation: &str, common_name: &str) -> Result<Name, CertsError> {
    let attribute = |oid, text: &str| -> Result<RelativeDistinguishedName, CertsError> {
        let value = if text.is_ascii() && PrintableStringRef::new(text).is_ok() {
            PrintableStringRef::new(text).and_then(|text| Any::encode_from(&text))
        } else {
            Utf8StringRef::new(text).and_then(|text| Any::encode_from(&text))
        };
        let value = value.map_err(|error| malformed("name", &error))?;
        let set = SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }]);
        Ok(RelativeDistinguishedName::from(set.map_err(|error| malformed("name", &error))?))
    };
    let shortened: String = common_name.chars().take(COMMON_NAME_CHARS_MAX).collect();
    let rdns = vec![
        attribute(const_oid::db::rfc4519::ORGANIZATION_NAME, organisation)?,
        attribute(const_oid::db::rfc4519::COMMON_NAME, &shortened)?,
    ];
    Ok(Name::hazmat_from_rdn_sequence(RdnSequence::from(rdns)))
}

/// What the builder of x509-cert asks of a profile.
pub(crate) struct Profile {
    pub(crate) issuer: Name,
    pub(crate) subject: Name,
    pub(crate) kind: ProfileKind,
}

pub(crate) enum ProfileKind {
    Authority,
    EndEntity(Subject),
}

impl Profile {
    pub(crate) fn for_subject(
        issuer: Name,
        organisation: &str,
        subject: Subject,
    ) -> Result<Self, CertsError> {
        // Names that cannot be written are found here, where an error can be returned.
        subject.names()?;
        Ok(Self {
            issuer,
            subject: name(organisation, subject.common_name())?,
            kind: ProfileKind::EndEntity(subject),
        })
    }
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        spk: SubjectPublicKeyInfoRef<'_>,
        issuer_spk: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let mut extensions: Vec<Extension> = Vec::new();
        let subject = tbs.subject();
        let mut add =
            |extension: der::Result<Extension>| extension.map(|extension| extensions.push(extension));
        add(SubjectKeyIdentifier::try_from(spk)?.to_extension(subject, &[]))?;
        add(AuthorityKeyIdentifier::try_from(issuer_spk)?.to_extension(subject, &[]))?;
        match &self.kind {
            ProfileKind::Authority => {
                add(BasicConstraints { ca: true, path_len_constraint: Some(0) }.to_extension(subject, &[]))?;
                add(KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign).to_extension(subject, &[]))?;
            }
            ProfileKind::EndEntity(for_subject) => {
                add(BasicConstraints { ca: false, path_len_constraint: None }.to_extension(subject, &[]))?;
                let usages = match for_subject {
                    Subject::Sealing { .. } => KeyUsages::DigitalSignature | KeyUsages::NonRepudiation,
                    Subject::Node { .. } | Subject::Registry { .. } | Subject::Operator { .. } => {
                        KeyUsages::DigitalSignature.into()
                    }
                };
                add(KeyUsage(usages).to_extension(subject, &[]))?;
                let both =
                    [const_oid::db::rfc5280::ID_KP_SERVER_AUTH, const_oid::db::rfc5280::ID_KP_CLIENT_AUTH];
                let extended = match for_subject {
                    // No extended usage at all: whoever asks for TLS finds that it is not meant for it.
                    Subject::Sealing { .. } => Vec::new(),
                    Subject::Node { .. } => both.to_vec(),
                    Subject::Registry { .. } => both[..1].to_vec(),
                    Subject::Operator { .. } => both[1..].to_vec(),
                };
                if !extended.is_empty() {
                    add(ExtendedKeyUsage(extended).to_extension(subject, &[]))?;
                }
                let names = for_subject.names().unwrap_or_default();
                if !names.is_empty() {
                    add(SubjectAltName(names).to_extension(subject, &[]))?;
                }
            }
        }
        Ok(extensions)
    }
}

fn host_name(host: &str) -> Result<GeneralName, CertsError> {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => octets(&address.octets()),
        Ok(IpAddr::V6(address)) => octets(&address.octets()),
        Err(_) => Ok(GeneralName::DnsName(ia5(host)?)),
    }
}

fn octets(address: &[u8]) -> Result<GeneralName, CertsError> {
    Ok(GeneralName::IpAddress(OctetString::new(address).map_err(|error| malformed("address", &error))?))
}

fn ia5(text: &str) -> Result<Ia5String, CertsError> {
    Ia5String::new(text).map_err(|error| malformed("name", &error))
}

pub(crate) fn malformed(what: &'static str, error: &dyn std::fmt::Display) -> CertsError {
    CertsError::Malformed { what, reason: error.to_string() }
}

pub(crate) fn to_der(value: &impl der::Encode, what: &'static str) -> Result<Vec<u8>, CertsError> {
    value.to_der().map_err(|error| malformed(what, &error))
}

/// Before a NodeId.
pub const NODE_URI: &str = "peabiru:node:";
/// Before an origin.
pub const ORIGIN_URI: &str = "peabiru:origin:";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// Upper bound of a common name (RFC 5280, ub-common-name).
const COMMON_NAME_CHARS_MAX: usize = 64;
