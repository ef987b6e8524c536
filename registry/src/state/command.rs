//! What an officer asks for, parsed. A change that is proposed is kept as the event that it will be, and becomes a
//! command again when it is approved: what is registered may have changed meanwhile.

use bytes::Bytes;
use peabiru_proto::globalconf::Address;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::{MemberId, NodeId, ServiceId, SubsystemId};
use peabiru_proto::origin::{Epoch, Origin};
use peabiru_proto::wire::{self, KeyPurpose};

use super::node::read_addresses;
use super::officer::Call;
use super::{Event, State};

/// A change of what is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Adds a member.
    AddMember {
        /// Its identifier.
        member: MemberId,
        /// For people.
        name: String,
    },
    /// Adds a subsystem of a member.
    AddSubsystem {
        /// Its identifier.
        subsystem: SubsystemId,
        /// For people.
        name: String,
    },
    /// Adds a node of a member.
    AddNode {
        /// Its identifier.
        node: NodeId,
        /// In order of preference.
        addresses: Vec<Address>,
        /// DER.
        certificates: Vec<Bytes>,
    },
    /// Replaces a node's addresses.
    SetNodeAddresses {
        /// Which node.
        node: NodeId,
        /// In order of preference.
        addresses: Vec<Address>,
    },
    /// Registers one more authentication certificate.
    AddNodeCertificate {
        /// Which node.
        node: NodeId,
        /// DER.
        certificate: Bytes,
    },
    /// Withdraws an authentication certificate.
    RemoveNodeCertificate {
        /// Which node.
        node: NodeId,
        /// SHA-256 of its DER.
        sha256: Digest,
    },
    /// Registers the ledger of (member, node, epoch).
    AddLedger {
        /// Whom it binds.
        member: MemberId,
        /// Who keeps it.
        node: NodeId,
        /// From 1.
        epoch: Epoch,
        /// Its name.
        origin: Origin,
        /// DER.
        sealing_certificate: Bytes,
    },
    /// Registers a second sealing certificate of a ledger.
    AddLedgerCertificate {
        /// Which ledger.
        origin: Origin,
        /// DER.
        certificate: Bytes,
    },
    /// Withdraws one of a ledger's two sealing certificates.
    RemoveLedgerCertificate {
        /// Which ledger.
        origin: Origin,
        /// SHA-256 of its DER.
        sha256: Digest,
    },
    /// Withdraws a ledger and its sealing key.
    WithdrawLedger {
        /// Its name.
        origin: Origin,
    },
    /// Trusts a certification authority.
    AddAuthority {
        /// DER.
        certificate: Bytes,
        /// What its certificates may be used for.
        purposes: Vec<KeyPurpose>,
        /// For people.
        name: String,
    },
    /// Trusts a certification authority no more.
    WithdrawAuthority {
        /// SHA-256 of its DER.
        sha256: Digest,
    },
    /// Registers a version of a contract.
    AddContract {
        /// Its code is the full name of the gRPC service.
        service: ServiceId,
        /// A `FileDescriptorSet`, kept byte for byte.
        document: Bytes,
    },
}

impl Command {
    /// The call that asks for it.
    #[must_use]
    pub fn call(&self) -> Call {
        match self {
            Self::AddMember { .. } => Call::AddMember,
            Self::AddSubsystem { .. } => Call::AddSubsystem,
            Self::AddNode { .. } => Call::AddNode,
            Self::SetNodeAddresses { .. } => Call::SetNodeAddresses,
            Self::AddNodeCertificate { .. } => Call::AddNodeCertificate,
            Self::RemoveNodeCertificate { .. } => Call::RemoveNodeCertificate,
            Self::AddLedger { .. } => Call::AddLedger,
            Self::AddLedgerCertificate { .. } => Call::AddLedgerCertificate,
            Self::RemoveLedgerCertificate { .. } => Call::RemoveLedgerCertificate,
            Self::WithdrawLedger { .. } => Call::WithdrawLedger,
            Self::AddAuthority { .. } => Call::AddAuthority,
            Self::WithdrawAuthority { .. } => Call::WithdrawAuthority,
            Self::AddContract { .. } => Call::AddContract,
        }
    }

    /// Whose matter it is; none: the instance's.
    pub(super) fn member(&self, state: &State) -> Option<MemberId> {
        match self {
            Self::AddMember { member, .. } | Self::AddLedger { member, .. } => Some(member.clone()),
            Self::AddSubsystem { subsystem, .. } => Some(subsystem.member()),
            Self::AddNode { node, .. }
            | Self::SetNodeAddresses { node, .. }
            | Self::AddNodeCertificate { node, .. }
            | Self::RemoveNodeCertificate { node, .. } => Some(node.owner()),
            Self::AddLedgerCertificate { origin, .. }
            | Self::RemoveLedgerCertificate { origin, .. }
            | Self::WithdrawLedger { origin } => state.member_of_ledger(origin).cloned(),
            Self::AddContract { service, .. } => Some(service.member()),
            Self::AddAuthority { .. } | Self::WithdrawAuthority { .. } => None,
        }
    }

    /// What a proposed event asks for.
    pub(super) fn of(event: &Event) -> Result<Self, String> {
        Ok(match event {
            Event::MemberAdded(event) => {
                Self::AddMember { member: parse(&event.member)?, name: event.name.clone() }
            }
            Event::NodeAdded(event) => {
                let record = event.node.clone().ok_or("the event names no node")?;
                Self::AddNode {
                    node: parse(&record.id)?,
                    addresses: read_addresses(record.addresses)?,
                    certificates: record.authentication_certificates,
                }
            }
            Event::NodeCertificateAdded(event) => {
                Self::AddNodeCertificate { node: parse(&event.node)?, certificate: event.certificate.clone() }
            }
            Event::NodeCertificateRemoved(event) => Self::RemoveNodeCertificate {
                node: parse(&event.node)?,
                sha256: digest(&event.certificate_sha256)?,
            },
            Event::LedgerAdded(event) => {
                let record: wire::LedgerRecord = event.ledger.clone().ok_or("the event names no ledger")?;
                Self::AddLedger {
                    member: parse(&event.member)?,
                    node: parse(&record.node)?,
                    epoch: Epoch::new(record.epoch).ok_or("epochs count from 1")?,
                    origin: parse(&record.origin)?,
                    sealing_certificate: record.sealing_certificate,
                }
            }
            Event::LedgerCertificateAdded(event) => Self::AddLedgerCertificate {
                origin: parse(&event.origin)?,
                certificate: event.certificate.clone(),
            },
            Event::LedgerCertificateRemoved(event) => Self::RemoveLedgerCertificate {
                origin: parse(&event.origin)?,
                sha256: digest(&event.certificate_sha256)?,
            },
            Event::LedgerWithdrawn(event) => Self::WithdrawLedger { origin: parse(&event.origin)? },
            Event::AuthorityAdded(event) => {
                let record = event.authority.clone().ok_or("the event names no authority")?;
                let purposes = record.purposes().collect();
                Self::AddAuthority { certificate: record.certificate, purposes, name: record.name }
            }
            Event::AuthorityWithdrawn(event) => {
                Self::WithdrawAuthority { sha256: digest(&event.certificate_sha256)? }
            }
            _ => return Err("this kind of change is not proposed".to_owned()),
        })
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn digest(bytes: &[u8]) -> Result<Digest, String> {
    Digest::from_slice(bytes).map_err(|error| error.to_string())
}
