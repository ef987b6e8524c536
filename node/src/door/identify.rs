//! Who is this local system? A credential maps to subsystems; `x-road-client` chooses among them.

use std::collections::HashMap;

use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::SubsystemId;

/// What a caller shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    /// SHA-256 of its TLS client certificate.
    Certificate(Digest),
    /// SHA-256 of the token in `x-peabiru-token`. Tokens are random, so their hash may be compared as a map does.
    Token(Digest),
    /// User id at the other end of the Unix socket.
    UnixUser(u32),
}

/// Whether several subsystems share a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One may call, and have all of it.
    Alone,
    /// Each leaves room for the others.
    Several,
}

/// The node's `[[clients]]`.
#[derive(Debug, Clone, Default)]
pub struct Clients(HashMap<Credential, Vec<SubsystemId>>);

impl Clients {
    /// Lets a credential speak for a subsystem.
    pub fn allow(&mut self, credential: Credential, subsystem: SubsystemId) {
        let allowed = self.0.entry(credential).or_default();
        if !allowed.contains(&subsystem) {
            allowed.push(subsystem);
        }
    }

    /// SHA-256 of the certificates that the TLS door accepts.
    #[must_use]
    pub fn certificates(&self) -> Vec<Digest> {
        let certificate = |credential: &Credential| match credential {
            Credential::Certificate(sha256) => Some(*sha256),
            Credential::Token(_) | Credential::UnixUser(_) => None,
        };
        self.0.keys().filter_map(certificate).collect()
    }

    /// Whether more than one subsystem may call.
    #[must_use]
    pub fn sharing(&self) -> Sharing {
        let mut all = self.0.values().flatten();
        let first = all.next();
        if all.any(|subsystem| Some(subsystem) != first) { Sharing::Several } else { Sharing::Alone }
    }

    /// Whether a caller shows anything that this node knows.
    ///
    /// # Errors
    /// `client.unidentified`.
    pub fn known(&self, shown: &[Credential]) -> Result<(), Fault> {
        match self.identify(shown, None) {
            Err(fault) if fault.code == FaultCode::ClientUnidentified => Err(fault),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The subsystem that calls: the one named in `x-road-client`, or the only one that the credentials allow.
    ///
    /// # Errors
    /// `client.unidentified` without a known credential, `client.not_allowed` if it does not allow the one named.
    pub fn identify(&self, shown: &[Credential], named: Option<&str>) -> Result<SubsystemId, Fault> {
        let refuse = |code, message: String| Fault::new(code, Place::ConsumerNode, message);
        let allowed: Vec<_> =
            shown.iter().filter_map(|credential| self.0.get(credential)).flatten().collect();
        let Some(first) = allowed.first() else {
            let shown =
                if shown.is_empty() { "no credential was shown" } else { "the credential is not known here" };
            return Err(refuse(FaultCode::ClientUnidentified, shown.to_owned()));
        };
        let Some(named) = named else {
            if allowed.iter().any(|subsystem| subsystem != first) {
                let message = "the credential speaks for several subsystems: name one in x-road-client";
                return Err(refuse(FaultCode::ClientNotAllowed, message.to_owned()));
            }
            return Ok((*first).clone());
        };
        let found = allowed.iter().find(|subsystem| subsystem.as_str() == named);
        found.map(|subsystem| (*subsystem).clone()).ok_or_else(|| {
            let named: String = named.chars().take(NAMED_CHARS_MAX).collect();
            refuse(FaultCode::ClientNotAllowed, format!("the credential does not speak for `{named}`"))
        })
    }
}

/// How much of a wrong name is repeated in the fault.
const NAMED_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn subsystem(code: &str) -> SubsystemId {
        format!("PY/GOV/MITIC/{code}").parse().unwrap()
    }

    fn clients() -> Clients {
        let mut clients = Clients::default();
        clients.allow(Credential::UnixUser(1000), subsystem("planning"));
        clients.allow(Credential::Token(Digest::of(b"secret")), subsystem("planning"));
        clients.allow(Credential::Token(Digest::of(b"secret")), subsystem("audit"));
        clients
    }

    fn code(result: Result<SubsystemId, Fault>) -> FaultCode {
        result.unwrap_err().code
    }

    #[test]
    fn a_credential_for_one_subsystem_needs_no_name() {
        assert_eq!(clients().identify(&[Credential::UnixUser(1000)], None), Ok(subsystem("planning")));
    }

    #[test]
    fn a_credential_for_several_needs_one() {
        let token = [Credential::Token(Digest::of(b"secret"))];
        assert_eq!(code(clients().identify(&token, None)), FaultCode::ClientNotAllowed);
        assert_eq!(clients().identify(&token, Some("PY/GOV/MITIC/audit")), Ok(subsystem("audit")));
        assert_eq!(
            code(clients().identify(&token, Some("PY/GOV/MEC/education"))),
            FaultCode::ClientNotAllowed
        );
    }

    #[test]
    fn without_a_known_credential_nobody_calls() {
        assert_eq!(code(clients().identify(&[], Some("PY/GOV/MITIC/audit"))), FaultCode::ClientUnidentified);
        let wrong = [Credential::Token(Digest::of(b"guess")), Credential::UnixUser(0)];
        assert_eq!(code(clients().identify(&wrong, None)), FaultCode::ClientUnidentified);
    }
}
