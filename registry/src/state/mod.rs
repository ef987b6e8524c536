//! What is registered, and the rules by which it changes. Pure: a command and a time give events, events add up to
//! the state; nothing here waits or reads a file. [`State::ask`] knows who may ask, and what needs a second officer.
//!
//! Only [`State::ask`] and [`State::decide`] refuse for a reason of policy. [`State::apply`] takes whatever was once
//! decided, also under older rules, and refuses only what cannot be read or contradicts what stands before it.

mod approval;
mod certificate;
mod command;
mod contract;
mod ledger;
pub mod limits;
mod member;
mod node;
mod officer;
mod refusal;
#[cfg(test)]
mod tests;
mod trust;

use std::collections::BTreeMap;

use bytes::Bytes;
use peabiru_proto::globalconf::Address;
use peabiru_proto::hash::{ContractDigest, Digest};
use peabiru_proto::id::{InstanceId, MemberId, NodeId, ServiceId, SubsystemId};
use peabiru_proto::origin::{Domain, Origin};
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{self, KeyPurpose};

pub use approval::{Ask, Proposal, change_digest};
pub use command::Command;
use limits::NAME_CHARS_MAX;
pub(crate) use officer::folded;
pub use officer::{Call, Operator, Role};
pub use refusal::{Kind, Refusal};
/// What an event says, without who asked.
pub use wire::registry_event::Event;

/// Everything that is registered. Two are equal exactly when they say the same.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    instance: InstanceId,
    domain: Domain,
    members: BTreeMap<MemberId, Member>,
    authorities: BTreeMap<Bytes, Authority>,
    documents: BTreeMap<ContractDigest, Bytes>,
    /// Whose each authentication certificate is, by its SHA-256.
    certificates: BTreeMap<Digest, NodeId>,
    /// Which ledger each sealing key seals.
    sealing_keys: BTreeMap<Vec<u8>, Origin>,
    /// By the SHA-256 of their certificates.
    operators: BTreeMap<Digest, Operator>,
    proposals: approval::Proposals,
}

/// A legal entity with everything that is registered for it.
#[derive(Debug, Clone, PartialEq, Default)]
struct Member {
    name: String,
    subsystems: BTreeMap<SubsystemId, String>,
    nodes: BTreeMap<NodeId, Node>,
    ledgers: BTreeMap<Origin, ledger::Registered>,
    contracts: BTreeMap<(ServiceId, u32), ContractDigest>,
}

#[derive(Debug, Clone, PartialEq)]
struct Node {
    addresses: Vec<Address>,
    certificates: Vec<Bytes>,
}

#[derive(Debug, Clone, PartialEq)]
struct Authority {
    purposes: Vec<KeyPurpose>,
    name: String,
}

impl State {
    /// Nothing is registered yet.
    #[must_use]
    pub fn new(instance: InstanceId, domain: Domain) -> Self {
        Self {
            instance,
            domain,
            members: BTreeMap::new(),
            authorities: BTreeMap::new(),
            documents: BTreeMap::new(),
            certificates: BTreeMap::new(),
            sealing_keys: BTreeMap::new(),
            operators: BTreeMap::new(),
            proposals: approval::Proposals::default(),
        }
    }

    /// What a command changes, whoever asks; nothing, if what it asks for is so already.
    ///
    /// # Errors
    /// `Refusal` names the rule and what broke it. Nothing has changed then.
    pub fn decide(&self, command: Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::AddMember { member, name } => self.add_member(&member, name),
            Command::AddSubsystem { subsystem, name } => self.add_subsystem(&subsystem, name),
            Command::AddNode { node, addresses, certificates } => {
                self.add_node(&node, &addresses, certificates, now)
            }
            Command::SetNodeAddresses { node, addresses } => self.set_node_addresses(&node, &addresses),
            Command::AddNodeCertificate { node, certificate } => {
                self.add_node_certificate(&node, certificate, now)
            }
            Command::RemoveNodeCertificate { node, sha256 } => self.remove_node_certificate(&node, &sha256),
            Command::AddLedger { member, node, epoch, origin, sealing_certificate } => {
                let record = wire::LedgerRecord {
                    origin: origin.to_string(),
                    node: node.to_string(),
                    epoch: epoch.number(),
                    sealing_certificate,
                    next_sealing_certificate: Bytes::new(),
                };
                self.add_ledger(&member, &node, &origin, record, now)
            }
            Command::AddLedgerCertificate { origin, certificate } => {
                self.add_ledger_certificate(&origin, certificate, now)
            }
            Command::RemoveLedgerCertificate { origin, sha256 } => {
                self.remove_ledger_certificate(&origin, &sha256)
            }
            Command::WithdrawLedger { origin } => self.withdraw_ledger(&origin),
            Command::AddAuthority { certificate, purposes, name } => {
                self.add_authority(certificate, purposes, name, now)
            }
            Command::WithdrawAuthority { sha256 } => self.withdraw_authority(&sha256),
            Command::AddContract { service, document } => self.add_contract(&service, document),
        }
    }

    /// Adds one event up.
    ///
    /// # Errors
    /// What cannot be read or contradicts the events before it, in words.
    pub fn apply(&mut self, event: wire::RegistryEvent) -> Result<(), String> {
        let by = event.operator_certificate_sha256;
        match event.event.ok_or("an event of a newer version: update the registry")? {
            Event::MemberAdded(event) => self.member_added(event),
            Event::SubsystemAdded(event) => self.subsystem_added(event),
            Event::NodeAdded(event) => self.node_added(event),
            Event::NodeAddressesSet(event) => self.node_addresses_set(event),
            Event::NodeCertificateAdded(event) => self.node_certificate_added(&event),
            Event::NodeCertificateRemoved(event) => self.node_certificate_removed(&event),
            Event::LedgerAdded(event) => self.ledger_added(event),
            Event::AuthorityAdded(event) => self.authority_added(event),
            Event::ContractAdded(event) => self.contract_added(event),
            Event::LedgerCertificateAdded(event) => self.ledger_certificate_added(event),
            Event::LedgerCertificateRemoved(event) => self.ledger_certificate_removed(&event),
            Event::LedgerWithdrawn(event) => self.ledger_withdrawn(&event),
            Event::AuthorityWithdrawn(event) => self.authority_withdrawn(&event),
            Event::OperatorsListed(event) => self.operators_listed(event),
            Event::ChangeProposed(event) => self.change_proposed(&by, *event),
            Event::ProposalApproved(event) => self.proposal_approved(&by, event.number),
            Event::ProposalRejected(event) => self.proposal_rejected(&by, event.number),
        }
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Its domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Nothing was ever registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.authorities.is_empty()
    }

    /// Documents of all contracts.
    pub fn documents(&self) -> impl Iterator<Item = (&ContractDigest, &Bytes)> {
        self.documents.iter()
    }

    fn check_instance(&self, what: &impl std::fmt::Display, found: &InstanceId) -> Result<(), Refusal> {
        if *found == self.instance {
            return Ok(());
        }
        let instance = &self.instance;
        Err(Kind::OtherInstance
            .because(format!("{what} is of instance {found}, this registry is {instance}'s")))
    }
}

/// Checks a name for people.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    let chars = name.chars().count();
    if chars > NAME_CHARS_MAX {
        return Err(
            Kind::Limit.because(format!("the name has {chars} characters, {NAME_CHARS_MAX} are allowed"))
        );
    }
    if name.trim().is_empty() {
        return Err(Kind::Invalid.because("the name for people is empty".to_owned()));
    }
    match name.chars().find(|&character| character.is_control() || is_unseen(character)) {
        Some(character) => {
            let message = format!("the name has {character:?}, which is not seen or changes what is seen");
            Err(Kind::Invalid.because(message))
        }
        None => Ok(()),
    }
}

/// Characters without a shape of their own, and those that turn the order of others: two names that look alike must be
/// one, and a name must not look like another text.
fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}
