//! Who may ask for what: operators, their roles, and the one table of calls.
//!
//! A change of who is on the road, of keys or of authorities needs four eyes: one registration officer and one security
//! officer, two persons, of whom the second is the instance's.

use std::collections::BTreeSet;
use std::fmt;

use peabiru_proto::hash::Digest;
use peabiru_proto::id::MemberId;
use peabiru_proto::wire::{self, OfficerRole};
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization as _;

use super::command::Command;
use super::{Kind, Refusal, State};

/// What an operator may do; [`Call::roles`] says which calls that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Members, subsystems, nodes, ledgers.
    RegistrationOfficer,
    /// Authorities, withdrawals; approves what registration officers propose.
    SecurityOfficer,
    /// Contracts.
    ServiceAdministrator,
    /// Reads everything, changes nothing.
    Auditor,
}

/// Somebody who may use the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The person. Two certificates under one name are one person.
    pub name: String,
    /// SHA-256 of the DER of the TLS certificate.
    pub certificate_sha256: Digest,
    /// What they may do.
    pub roles: BTreeSet<Role>,
    /// For whom they act; none: for the instance.
    pub member: Option<MemberId>,
}

/// The calls of the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Enrols a member.
    AddMember,
    /// Adds a subsystem.
    AddSubsystem,
    /// Adds a node with its keys.
    AddNode,
    /// Replaces addresses.
    SetNodeAddresses,
    /// Registers an authentication key.
    AddNodeCertificate,
    /// Withdraws an authentication key.
    RemoveNodeCertificate,
    /// Registers a sealing key: the first one, or after a loss the next epoch's.
    AddLedger,
    /// Registers the next sealing key of a ledger, or its key for longer.
    AddLedgerCertificate,
    /// Withdraws one of a ledger's two sealing certificates.
    RemoveLedgerCertificate,
    /// Withdraws a sealing key.
    WithdrawLedger,
    /// Trusts an authority.
    AddAuthority,
    /// Trusts an authority no more.
    WithdrawAuthority,
    /// Registers a contract.
    AddContract,
    /// Approves a proposal.
    ApproveProposal,
    /// Rejects a proposal.
    RejectProposal,
    /// Reads proposals.
    ListProposals,
    /// Reads what is registered.
    ListMembers,
    /// Reads the ledger.
    ListNotices,
}

/// How many persons a change needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eyes {
    Two,
    Four,
}

impl Call {
    /// The roles of which one is needed, to ask or to propose.
    #[must_use]
    pub const fn roles(self) -> &'static [Role] {
        use Role::{Auditor, RegistrationOfficer, SecurityOfficer, ServiceAdministrator};
        match self {
            Self::AddMember
            | Self::AddSubsystem
            | Self::AddNode
            | Self::SetNodeAddresses
            | Self::AddNodeCertificate
            | Self::AddLedger
            | Self::AddLedgerCertificate => &[RegistrationOfficer],
            Self::AddAuthority => &[SecurityOfficer],
            Self::RemoveNodeCertificate
            | Self::RemoveLedgerCertificate
            | Self::WithdrawLedger
            | Self::WithdrawAuthority
            | Self::ApproveProposal
            | Self::RejectProposal => &[RegistrationOfficer, SecurityOfficer],
            Self::AddContract => &[ServiceAdministrator, RegistrationOfficer],
            Self::ListMembers | Self::ListProposals => {
                &[RegistrationOfficer, SecurityOfficer, ServiceAdministrator, Auditor]
            }
            Self::ListNotices => &[SecurityOfficer, Auditor],
        }
    }

    pub(super) const fn eyes(self) -> Eyes {
        match self {
            Self::AddMember
            | Self::AddNode
            | Self::AddNodeCertificate
            | Self::RemoveNodeCertificate
            | Self::AddLedger
            | Self::AddLedgerCertificate
            | Self::RemoveLedgerCertificate
            | Self::WithdrawLedger
            | Self::AddAuthority
            | Self::WithdrawAuthority => Eyes::Four,
            Self::AddSubsystem
            | Self::SetNodeAddresses
            | Self::AddContract
            | Self::ApproveProposal
            | Self::RejectProposal
            | Self::ListProposals
            | Self::ListMembers
            | Self::ListNotices => Eyes::Two,
        }
    }
}

impl Role {
    /// Who approves what somebody proposes in this role.
    pub(super) const fn second(self) -> Self {
        match self {
            Self::SecurityOfficer => Self::RegistrationOfficer,
            Self::RegistrationOfficer | Self::ServiceAdministrator | Self::Auditor => Self::SecurityOfficer,
        }
    }

    pub(super) const fn to_proto(self) -> OfficerRole {
        match self {
            Self::RegistrationOfficer => OfficerRole::Registration,
            Self::SecurityOfficer => OfficerRole::Security,
            Self::ServiceAdministrator => OfficerRole::ServiceAdministrator,
            Self::Auditor => OfficerRole::Auditor,
        }
    }

    pub(super) fn from_proto(role: OfficerRole) -> Result<Self, String> {
        match role {
            OfficerRole::Registration => Ok(Self::RegistrationOfficer),
            OfficerRole::Security => Ok(Self::SecurityOfficer),
            OfficerRole::ServiceAdministrator => Ok(Self::ServiceAdministrator),
            OfficerRole::Auditor => Ok(Self::Auditor),
            OfficerRole::Unspecified => Err("a role of a newer version: update the registry".to_owned()),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RegistrationOfficer => "registration officer",
            Self::SecurityOfficer => "security officer",
            Self::ServiceAdministrator => "service administrator",
            Self::Auditor => "auditor",
        })
    }
}

/// Whether two names are one person's: large and small letters, and how an accent is encoded, make no other person.
pub(crate) fn is_same_person(one: &str, other: &str) -> bool {
    folded(one) == folded(other)
}

/// By way of the large letters, since some letters have two small ones.
pub(crate) fn folded(name: &str) -> String {
    let upper = name.trim().to_uppercase();
    upper.to_lowercase().nfc().collect()
}

impl Operator {
    fn record(&self) -> wire::OperatorRecord {
        wire::OperatorRecord {
            name: self.name.clone(),
            certificate_sha256: self.certificate_sha256.as_bytes().to_vec().into(),
            roles: self.roles.iter().map(|role| role.to_proto().into()).collect(),
            member: self.member.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }

    fn read(record: wire::OperatorRecord) -> Result<Self, String> {
        let member = match record.member.as_str() {
            "" => None,
            member => Some(member.parse().map_err(|error| format!("{error}"))?),
        };
        Ok(Self {
            certificate_sha256: Digest::from_slice(&record.certificate_sha256)
                .map_err(|error| error.to_string())?,
            roles: record.roles().map(Role::from_proto).collect::<Result<_, _>>()?,
            name: record.name,
            member,
        })
    }
}

impl State {
    /// The event that lists these operators; none if they are those of now.
    #[must_use]
    pub fn list_operators(&self, operators: &[Operator]) -> Option<wire::RegistryEvent> {
        let listed =
            operators.iter().map(|operator| (operator.certificate_sha256, operator.clone())).collect();
        if self.operators == listed {
            return None;
        }
        let operators = listed.values().map(Operator::record).collect();
        let event = super::Event::OperatorsListed(wire::OperatorsListed { operators });
        Some(wire::RegistryEvent { event: Some(event), ..Default::default() })
    }

    /// An operator who has one of the call's roles, and which one.
    ///
    /// # Errors
    /// `UnknownOperator`, `Role`.
    pub fn authorise(&self, certificate: &Digest, call: Call) -> Result<(&Operator, Role), Refusal> {
        let unknown = || {
            Kind::UnknownOperator
                .because(format!("the certificate {certificate} is no operator's of this registry"))
        };
        let operator = self.operators.get(certificate).ok_or_else(unknown)?;
        match call.roles().iter().find(|role| operator.roles.contains(role)) {
            Some(role) => Ok((operator, *role)),
            None => {
                let roles = call.roles().iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
                Err(Kind::Role.because(format!("operator `{}` is no {roles}", operator.name)))
            }
        }
    }

    /// Members' operators act for their member alone.
    pub(super) fn check_scope(&self, operator: &Operator, command: &Command) -> Result<(), Refusal> {
        match &operator.member {
            Some(own) if command.member(self).as_ref() != Some(own) => {
                let message =
                    format!("operator `{}` acts for {own}, and this is not its matter", operator.name);
                Err(Kind::OtherMember.because(message))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn operators_listed(&mut self, event: wire::OperatorsListed) -> Result<(), String> {
        let read = |record| Operator::read(record).map(|operator| (operator.certificate_sha256, operator));
        self.operators = event.operators.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(())
    }
}
