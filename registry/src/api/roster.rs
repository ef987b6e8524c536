//! Who calls: the certificate of the connection, judged at each call, and what the state lets its holder do.

use peabiru_certs::chain;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::hash::Digest;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::KeyPurpose;

use super::acceptor::Caller;
use crate::state::{Call, State};

/// Lets a caller do something, or says why not. The certificate may expire while a connection is open.
pub(crate) fn authorise(
    caller: Option<&Caller>,
    call: Call,
    state: &State,
    now: Timestamp,
) -> Result<Digest, Fault> {
    let refuse = |message: String| Fault::new(FaultCode::OperatorNotAllowed, Place::Registry, message);
    let unknown = || refuse("the caller shows no operator's certificate".to_owned());
    let certificate = caller.and_then(|caller| caller.certificate.as_ref()).ok_or_else(unknown)?;
    let sha256 = caller.and_then(Caller::sha256).ok_or_else(unknown)?;
    let (operator, _) =
        state.authorise(&sha256, call).map_err(|refusal| refuse(format!("{}: {refusal}", refusal.code())))?;
    let trusted = state.trusted(KeyPurpose::Operator);
    chain::verify(certificate, &trusted, KeyPurpose::Operator, now)
        .map_err(|error| refuse(format!("operator `{}`: {error}", operator.name)))?;
    tracing::info!(operator = operator.name, ?call, "called");
    Ok(sha256)
}
