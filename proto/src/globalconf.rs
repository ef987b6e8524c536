//! The global configuration: parsed, indexed, read only.
//!
//! It is assembled from bytes whose signatures and digests were checked; what contradicts itself is refused whole.

mod address;
mod anchor;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

pub use address::Address;
pub use anchor::{ConfigurationAnchor, InvalidAnchor, RegistryAddress};

use crate::contract::{ContractDocument, ContractError, METADATA, ServiceFacts};
use crate::hash::{ContractDigest, Digest, SnapshotDigest};
use crate::id::{InstanceId, InvalidId, MemberId, NodeId, ServiceId, SubsystemId};
use crate::limits::{MAX_PART_BYTES, MAX_SNAPSHOT_PARTS};
use crate::origin::{Domain, Epoch, Origin};
use crate::time::Timestamp;
use crate::wire::{self, KeyPurpose, PartKind};

/// One edition of what every node knows.
#[derive(Debug)]
pub struct GlobalConfiguration {
    instance: InstanceId,
    domain: Domain,
    version: u64,
    digest: SnapshotDigest,
    created_at: Timestamp,
    expires_at: Timestamp,
    registry_origin: Origin,
    members: BTreeMap<MemberId, Member>,
    nodes: HashMap<NodeId, Node>,
    certificates: HashMap<Digest, NodeId>,
    ledgers: HashMap<Origin, Ledger>,
    contracts: BTreeMap<(ServiceId, u32), Contract>,
    /// Of the services that every subsystem has.
    metadata: HashMap<ServiceId, Contract>,
    authorities: Vec<(KeyPurpose, Bytes)>,
}

/// A legal entity.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its identifier.
    pub id: MemberId,
    /// For people.
    pub name: String,
    /// Its information systems, with their names for people.
    pub subsystems: BTreeMap<SubsystemId, String>,
    /// SHA-256 of its part.
    pub part: Digest,
}

/// A security server.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its identifier.
    pub id: NodeId,
    /// In order of preference.
    pub addresses: Vec<Address>,
    /// DER of its authentication certificates.
    pub certificates: Vec<Bytes>,
}

/// The ledger of (member, node, epoch).
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Its name.
    pub origin: Origin,
    /// Whom it binds.
    pub member: MemberId,
    /// Who keeps it.
    pub node: NodeId,
    /// From 1.
    pub epoch: Epoch,
    /// DER.
    pub sealing_certificate: Bytes,
    /// A second one: of the key that the ledger goes over to, or of the same key for longer.
    pub next_sealing_certificate: Option<Bytes>,
}

/// One version of a service's contract.
#[derive(Debug, Clone)]
pub struct Contract {
    /// Whose.
    pub service: ServiceId,
    /// From 1.
    pub version: u32,
    /// Of the document.
    pub digest: ContractDigest,
    /// As registered.
    pub document: Arc<ContractDocument>,
}

/// Why a gRPC service name does not lead to one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// No member offers it.
    Unknown,
    /// More than one does.
    Ambiguous,
}

/// Why parts are no global configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobalconfError {
    /// A part is not there.
    #[error("the part {name} ({digest}) is missing")]
    Missing {
        /// Its name.
        name: String,
        /// Its digest.
        digest: String,
    },
    /// A part is not what it should be.
    #[error("{name}: {reason}")]
    Invalid {
        /// Which part.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A contract's document.
    #[error("contract {name}: {source}")]
    Contract {
        /// Which.
        name: String,
        /// What is wrong.
        source: ContractError,
    },
}

impl GlobalConfiguration {
    /// Puts a verified snapshot and its parts together. `part` gives bytes by digest; their digest is checked again.
    ///
    /// # Errors
    /// `GlobalconfError` if a part is missing or anything contradicts anything.
    pub fn assemble(
        snapshot: &wire::Snapshot,
        digest: SnapshotDigest,
        part: &dyn Fn(&Digest) -> Option<Bytes>,
    ) -> Result<Self, GlobalconfError> {
        let field =
            |name: &str, error: &dyn std::fmt::Display| invalid("snapshot", format!("{name}: {error}"));
        if snapshot.parts.len() > MAX_SNAPSHOT_PARTS {
            return Err(invalid("snapshot", format!("it lists more than {MAX_SNAPSHOT_PARTS} parts")));
        }
        let mut conf = Self {
            instance: snapshot.instance.parse().map_err(|error| field("instance", &error))?,
            domain: snapshot.domain.parse().map_err(|error| field("domain", &error))?,
            version: snapshot.version,
            digest,
            created_at: Timestamp::from_ms(snapshot.created_at_ms),
            expires_at: Timestamp::from_ms(snapshot.expires_at_ms),
            registry_origin: snapshot
                .registry_origin
                .parse()
                .map_err(|error| field("registry_origin", &error))?,
            members: BTreeMap::new(),
            nodes: HashMap::new(),
            certificates: HashMap::new(),
            ledgers: HashMap::new(),
            contracts: BTreeMap::new(),
            metadata: HashMap::new(),
            authorities: Vec::new(),
        };
        // Contracts first: a member's part refers to their documents.
        let documents = conf.read_documents(snapshot, part)?;
        for listed in &snapshot.parts {
            let bytes = fetch(listed, part)?;
            match listed.kind() {
                PartKind::Member => conf.add_member(listed, &bytes, &documents)?,
                PartKind::Trust => conf.add_trust(listed, &bytes)?,
                PartKind::Contract => {}
                PartKind::Unspecified => return Err(invalid(&listed.name, "a part of unknown kind")),
            }
        }
        Ok(conf)
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// The instance's domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// From 1, rising.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// SHA-256 of the snapshot's bytes without signatures.
    #[must_use]
    pub fn digest(&self) -> SnapshotDigest {
        self.digest
    }

    /// When the registry made it.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Until when it works without the registry.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The registry's own ledger.
    #[must_use]
    pub fn registry_origin(&self) -> &Origin {
        &self.registry_origin
    }

    /// All members.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// One member.
    #[must_use]
    pub fn member(&self, id: &MemberId) -> Option<&Member> {
        self.members.get(id)
    }

    /// Whether a member has this subsystem.
    #[must_use]
    pub fn subsystem_registered(&self, id: &SubsystemId) -> bool {
        self.members.get(&id.member()).is_some_and(|member| member.subsystems.contains_key(id))
    }

    /// One node.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The node that registered the certificate with this SHA-256.
    #[must_use]
    pub fn node_by_certificate(&self, sha256: &Digest) -> Option<&Node> {
        self.certificates.get(sha256).and_then(|id| self.nodes.get(id))
    }

    /// One ledger by its origin.
    #[must_use]
    pub fn ledger(&self, origin: &Origin) -> Option<&Ledger> {
        self.ledgers.get(origin)
    }

    /// The newest ledger of a member at a node.
    #[must_use]
    pub fn ledger_of(&self, member: &MemberId, node: &NodeId) -> Option<&Ledger> {
        let of_both = self.ledgers.values().filter(|ledger| ledger.member == *member && ledger.node == *node);
        of_both.max_by_key(|ledger| ledger.epoch)
    }

    /// The nodes that keep a ledger of the member: those that answer for it.
    pub fn nodes_of(&self, member: &MemberId) -> impl Iterator<Item = &Node> {
        self.ledgers
            .values()
            .filter(move |ledger| ledger.member == *member)
            .filter_map(|ledger| self.nodes.get(&ledger.node))
    }

    /// The newest version of a service's contract.
    #[must_use]
    pub fn contract(&self, service: &ServiceId) -> Option<&Contract> {
        self.contracts
            .range((service.clone(), 0)..=(service.clone(), u32::MAX))
            .next_back()
            .map(|(_, contract)| contract)
            .or_else(|| self.metadata.get(service))
    }

    /// One version of it.
    #[must_use]
    pub fn contract_version(&self, service: &ServiceId, version: u32) -> Option<&Contract> {
        let metadata = || self.metadata.get(service).filter(|contract| contract.version == version);
        self.contracts.get(&(service.clone(), version)).or_else(metadata)
    }

    /// The newest contract of every service that somebody registered.
    pub fn services(&self) -> impl Iterator<Item = &Contract> {
        let newest = |contract: &&Contract| {
            self.contract(&contract.service).is_some_and(|newest| newest.version == contract.version)
        };
        self.contracts.values().filter(newest)
    }

    /// The service with this gRPC name, if exactly one member offers it.
    ///
    /// # Errors
    /// `NameError` if none or several do.
    pub fn service_by_name(&self, grpc_name: &str) -> Result<&ServiceId, NameError> {
        let mut found =
            self.services().map(|contract| &contract.service).filter(|service| service.code() == grpc_name);
        match (found.next(), found.next()) {
            (Some(service), None) => Ok(service),
            (None, _) => Err(NameError::Unknown),
            (Some(_), Some(_)) => Err(NameError::Ambiguous),
        }
    }

    /// DER of the authorities trusted for a purpose.
    pub fn authorities(&self, purpose: KeyPurpose) -> impl Iterator<Item = &Bytes> {
        self.authorities.iter().filter(move |(for_purpose, _)| *for_purpose == purpose).map(|(_, der)| der)
    }

    fn read_documents(
        &self,
        snapshot: &wire::Snapshot,
        part: &dyn Fn(&Digest) -> Option<Bytes>,
    ) -> Result<Documents, GlobalconfError> {
        let listed = snapshot.parts.iter().filter(|listed| listed.kind() == PartKind::Contract);
        let registered = listed
            .map(|listed| {
                let refuse = |source| GlobalconfError::Contract { name: listed.name.clone(), source };
                let document = ContractDocument::parse(fetch(listed, part)?).map_err(refuse)?;
                Ok((document.digest(), Arc::new(document)))
            })
            .collect::<Result<_, GlobalconfError>>()?;
        Ok(Documents { registered, metadata: Arc::new(ContractDocument::metadata()) })
    }

    fn add_member(
        &mut self,
        listed: &wire::PartDigest,
        bytes: &Bytes,
        documents: &Documents,
    ) -> Result<(), GlobalconfError> {
        let refuse = |error: &dyn std::fmt::Display| invalid(&listed.name, error.to_string());
        let part = wire::MemberPart::decode(bytes.clone()).map_err(|error| refuse(&error))?;
        let id: MemberId = part.member.parse().map_err(|error| refuse(&error))?;
        if part.member != listed.name || id.instance() != self.instance {
            return Err(refuse(&"the part is of another member or instance"));
        }
        let mut subsystems = BTreeMap::new();
        for record in &part.subsystems {
            let subsystem: SubsystemId = record.id.parse().map_err(|error| refuse(&error))?;
            if subsystem.member() != id {
                return Err(refuse(&format_args!("{subsystem} belongs to another member")));
            }
            subsystems.insert(subsystem, record.name.clone());
        }
        for record in part.nodes {
            self.add_node(&id, record).map_err(|reason| refuse(&reason))?;
        }
        for record in part.ledgers {
            self.add_ledger(&id, record).map_err(|reason| refuse(&reason))?;
        }
        for record in part.contracts {
            self.add_contract(&subsystems, &record, documents).map_err(|reason| refuse(&reason))?;
        }
        for subsystem in subsystems.keys() {
            self.add_metadata(subsystem, documents).map_err(|error| refuse(&error))?;
        }
        let digest = Digest::of(bytes);
        let member = Member { id: id.clone(), name: part.name, subsystems, part: digest };
        match self.members.insert(id, member) {
            None => Ok(()),
            Some(_) => Err(refuse(&"the member is listed twice")),
        }
    }

    fn add_node(&mut self, owner: &MemberId, record: wire::NodeRecord) -> Result<(), String> {
        let id: NodeId = record.id.parse().map_err(|error| format!("{error}"))?;
        if id.owner() != *owner {
            return Err(format!("the node {id} belongs to another member"));
        }
        for certificate in &record.authentication_certificates {
            if self.certificates.insert(Digest::of(certificate), id.clone()).is_some() {
                return Err(format!("a certificate of {id} is registered twice"));
            }
        }
        let addresses = record.addresses.into_iter().map(Address::from_proto).collect::<Result<_, _>>()?;
        let node = Node { id: id.clone(), addresses, certificates: record.authentication_certificates };
        match self.nodes.insert(id, node) {
            None => Ok(()),
            Some(twice) => Err(format!("the node {} is listed twice", twice.id)),
        }
    }

    fn add_ledger(&mut self, member: &MemberId, record: wire::LedgerRecord) -> Result<(), String> {
        let node: NodeId = record.node.parse().map_err(|error| format!("{error}"))?;
        let epoch = Epoch::new(record.epoch).ok_or("epochs count from 1")?;
        let origin: Origin = record.origin.parse().map_err(|error| format!("{error}"))?;
        if origin != Origin::of_ledger(&self.domain, member, &node, epoch) {
            return Err(format!("{origin} is not the origin of {member} at {node}, epoch {epoch}"));
        }
        let ledger = Ledger {
            origin: origin.clone(),
            member: member.clone(),
            node,
            epoch,
            sealing_certificate: record.sealing_certificate,
            next_sealing_certificate: Some(record.next_sealing_certificate).filter(|der| !der.is_empty()),
        };
        match self.ledgers.insert(origin, ledger) {
            None => Ok(()),
            Some(twice) => Err(format!("the ledger {} is listed twice", twice.origin)),
        }
    }

    fn add_contract(
        &mut self,
        subsystems: &BTreeMap<SubsystemId, String>,
        record: &wire::ContractRecord,
        documents: &Documents,
    ) -> Result<(), String> {
        let service: ServiceId = record.service.parse().map_err(|error| format!("{error}"))?;
        if !subsystems.contains_key(&service.subsystem()) {
            return Err(format!("{service} belongs to no subsystem of the member"));
        }
        let digest = ContractDigest::from_slice(&record.digest).map_err(|error| error.to_string())?;
        let document = documents
            .registered
            .get(&digest)
            .ok_or_else(|| format!("the document {digest} of {service} is not listed"))?;
        let contract = Contract {
            service: service.clone(),
            version: record.version,
            digest,
            document: Arc::clone(document),
        };
        if contract.facts().is_none() {
            return Err(format!("its document does not describe {service}"));
        }
        match self.contracts.insert((service, record.version), contract) {
            None if record.version > 0 => Ok(()),
            _ => Err("a contract's version is 0 or listed twice".to_owned()),
        }
    }

    fn add_metadata(&mut self, subsystem: &SubsystemId, documents: &Documents) -> Result<(), InvalidId> {
        for code in METADATA {
            let service = ServiceId::new(subsystem, code)?;
            let document = Arc::clone(&documents.metadata);
            let contract =
                Contract { service: service.clone(), version: 1, digest: document.digest(), document };
            self.metadata.insert(service, contract);
        }
        Ok(())
    }

    fn add_trust(&mut self, listed: &wire::PartDigest, bytes: &Bytes) -> Result<(), GlobalconfError> {
        let part = wire::TrustPart::decode(bytes.clone())
            .map_err(|error| invalid(&listed.name, error.to_string()))?;
        for authority in part.authorities {
            let purposes = authority.purposes().collect::<Vec<_>>();
            self.authorities
                .extend(purposes.into_iter().map(|purpose| (purpose, authority.certificate.clone())));
        }
        Ok(())
    }
}

impl Ledger {
    /// Whether this is a sealing certificate of it.
    #[must_use]
    pub fn has_certificate(&self, certificate: &[u8]) -> bool {
        self.sealing_certificate == certificate
            || self.next_sealing_certificate.as_ref().is_some_and(|next| next == certificate)
    }
}

impl Contract {
    /// What the document says of this service.
    #[must_use]
    pub fn facts(&self) -> Option<&ServiceFacts> {
        self.document.service(&self.service.code())
    }
}

/// The contracts' documents.
struct Documents {
    registered: HashMap<ContractDigest, Arc<ContractDocument>>,
    metadata: Arc<ContractDocument>,
}

fn fetch(
    listed: &wire::PartDigest,
    part: &dyn Fn(&Digest) -> Option<Bytes>,
) -> Result<Bytes, GlobalconfError> {
    let digest =
        Digest::from_slice(&listed.digest).map_err(|error| invalid(&listed.name, error.to_string()))?;
    let missing = || GlobalconfError::Missing { name: listed.name.clone(), digest: digest.to_string() };
    let bytes = part(&digest).ok_or_else(missing)?;
    if bytes.len() > MAX_PART_BYTES || Digest::of(&bytes) != digest {
        return Err(invalid(&listed.name, "its bytes do not have the digest that the snapshot lists"));
    }
    Ok(bytes)
}

fn invalid(name: &str, reason: impl Into<String>) -> GlobalconfError {
    GlobalconfError::Invalid { name: name.to_owned(), reason: reason.into() }
}
