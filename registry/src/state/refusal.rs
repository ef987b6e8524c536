//! Why a command changes nothing.

use std::fmt;

/// A rule that a command breaks, and what broke it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    kind: Kind,
    message: String,
}

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// It is registered already.
    Duplicate,
    /// It names another instance.
    OtherInstance,
    /// No such member.
    UnknownMember,
    /// No such subsystem.
    UnknownSubsystem,
    /// No such node.
    UnknownNode,
    /// No such certificate.
    UnknownCertificate,
    /// No such ledger.
    UnknownLedger,
    /// No such operator.
    UnknownOperator,
    /// The operator has not the role.
    Role,
    /// The operator acts for another member.
    OtherMember,
    /// Who proposed does not approve.
    SamePerson,
    /// No such proposal.
    UnknownProposal,
    /// It was approved or rejected already.
    ProposalClosed,
    /// Nobody approved it in time.
    ProposalExpired,
    /// What is registered has changed since.
    ProposalOvertaken,
    /// A certificate does not hold, or is for something else.
    Certificate,
    /// An authority's certificate is none.
    Authority,
    /// The origin is not the one of (member, node, epoch).
    Origin,
    /// Epochs follow each other.
    Epoch,
    /// A key has one use.
    KeyReused,
    /// An address cannot be dialled.
    Address,
    /// The document is no contract, or of another service.
    Contract,
    /// A new version breaks what the newest promises.
    Incompatible,
    /// A named limit.
    Limit,
    /// Anything else that is written wrongly.
    Invalid,
}

impl Kind {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Duplicate => "registry.duplicate",
            Self::OtherInstance => "registry.other_instance",
            Self::UnknownMember => "registry.unknown_member",
            Self::UnknownSubsystem => "registry.unknown_subsystem",
            Self::UnknownNode => "registry.unknown_node",
            Self::UnknownCertificate => "registry.unknown_certificate",
            Self::UnknownLedger => "registry.unknown_ledger",
            Self::UnknownOperator => "registry.unknown_operator",
            Self::Role => "registry.role",
            Self::OtherMember => "registry.other_member",
            Self::SamePerson => "registry.same_person",
            Self::UnknownProposal => "registry.unknown_proposal",
            Self::ProposalClosed => "registry.proposal_closed",
            Self::ProposalExpired => "registry.proposal_expired",
            Self::ProposalOvertaken => "registry.proposal_overtaken",
            Self::Certificate => "registry.certificate",
            Self::Authority => "registry.authority",
            Self::Origin => "registry.origin",
            Self::Epoch => "registry.epoch",
            Self::KeyReused => "registry.key_reused",
            Self::Address => "registry.address",
            Self::Contract => "registry.contract",
            Self::Incompatible => "registry.incompatible",
            Self::Limit => "registry.limit",
            Self::Invalid => "registry.invalid",
        }
    }

    /// Another operator might have got it.
    #[must_use]
    pub fn is_about_who(self) -> bool {
        matches!(self, Self::UnknownOperator | Self::Role | Self::OtherMember)
    }

    pub(crate) fn because(self, message: String) -> Refusal {
        Refusal { kind: self, message }
    }
}

impl Refusal {
    /// Which rule.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
