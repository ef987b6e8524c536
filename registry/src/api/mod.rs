//! The registry's two services, each on a port of its own.

pub(crate) mod acceptor;
pub(crate) mod admin;
pub(crate) mod distribution;
mod roster;

use peabiru_proto::fault::{Fault, FaultCode, Place};
use tonic::{Code, Status};

use crate::RegistryError;

/// An error as callers get it: gRPC status with our fault in its details.
pub(crate) fn status(error: &RegistryError) -> Status {
    let fault = error.fault();
    if fault.code == FaultCode::Internal {
        tracing::error!(%error, code = error.code(), "a call failed");
    }
    fault_status(&fault)
}

/// A request that does not parse.
pub(crate) fn invalid(field: &str, reason: &dyn std::fmt::Display) -> Status {
    fault_status(&Fault::new(FaultCode::RequestInvalid, Place::Registry, format!("{field}: {reason}")))
}

pub(crate) fn fault_status(fault: &Fault) -> Status {
    let grpc = fault.to_grpc();
    let code = Code::from_i32(grpc.code.cast_signed());
    Status::with_details(code, grpc.message, grpc.details)
}
