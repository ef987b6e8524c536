//! Who may call what: one table.

use std::collections::HashMap;

use peabiru_certs::chain;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::hash::Digest;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::KeyPurpose;

use super::acceptor::Caller;
use crate::config::{Operator, Operators, Role};
use crate::state::State;

/// The calls of the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    AddMember,
    AddSubsystem,
    AddNode,
    SetNodeAddresses,
    AddNodeCertificate,
    RemoveNodeCertificate,
    AddLedger,
    AddAuthority,
    AddContract,
    ListMembers,
    ListNotices,
}

/// The operators by the SHA-256 of their certificates.
pub(crate) struct Roster(HashMap<Digest, Operator>);

impl Call {
    /// The roles of which one is needed.
    pub(crate) const fn roles(self) -> &'static [Role] {
        use Role::{Auditor, RegistrationOfficer, SecurityOfficer, ServiceAdministrator};
        match self {
            Self::AddMember
            | Self::AddSubsystem
            | Self::AddNode
            | Self::SetNodeAddresses
            | Self::AddNodeCertificate
            | Self::AddLedger => &[RegistrationOfficer],
            Self::RemoveNodeCertificate => &[RegistrationOfficer, SecurityOfficer],
            Self::AddAuthority => &[SecurityOfficer],
            Self::AddContract => &[ServiceAdministrator, RegistrationOfficer],
            Self::ListMembers => &[RegistrationOfficer, SecurityOfficer, ServiceAdministrator, Auditor],
            Self::ListNotices => &[SecurityOfficer, Auditor],
        }
    }
}

impl Roster {
    pub(crate) fn new(operators: &Operators) -> Self {
        Self(operators.iter().map(|operator| (operator.certificate_sha256, operator.clone())).collect())
    }

    /// For the TLS handshake.
    pub(crate) fn certificates(&self) -> Vec<Digest> {
        self.0.keys().copied().collect()
    }

    /// Lets a caller do something, or says why not. The certificate is judged at each call: it may expire while a
    /// connection is open.
    pub(crate) fn authorise(
        &self,
        caller: Option<&Caller>,
        call: Call,
        state: &State,
        now: Timestamp,
    ) -> Result<Digest, Fault> {
        let refuse = |message: String| Fault::new(FaultCode::OperatorNotAllowed, Place::Registry, message);
        let unknown = || refuse("the caller shows no operator's certificate".to_owned());
        let certificate = caller.and_then(|caller| caller.certificate.as_ref()).ok_or_else(unknown)?;
        let sha256 = caller.and_then(Caller::sha256).ok_or_else(unknown)?;
        let operator = self
            .0
            .get(&sha256)
            .ok_or_else(|| refuse(format!("the certificate {sha256} is no operator's of this registry")))?;
        let trusted = state.trusted(KeyPurpose::Operator);
        chain::verify(certificate, &trusted, KeyPurpose::Operator, now)
            .map_err(|error| refuse(format!("operator `{}`: {error}", operator.name)))?;
        if call.roles().iter().any(|role| operator.roles.contains(role)) {
            tracing::info!(operator = operator.name, ?call, "called");
            return Ok(sha256);
        }
        let needed = call.roles();
        Err(refuse(format!(
            "operator `{}` has none of the roles {needed:?} that {call:?} needs",
            operator.name
        )))
    }
}
