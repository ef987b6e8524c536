//! Why the guard refuses a message: one variant per thing that somebody can act on.

use std::time::Duration;

use peabiru_proto::entry::ExchangeId;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::{NodeId, ServiceId, SubsystemId};
use peabiru_proto::origin::Origin;
use peabiru_proto::policy::Purpose;
use peabiru_proto::time::Timestamp;

/// A message was refused. The texts complete the sentence "the message was refused: …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An entry of another kind, or a form that this node does not take.
    #[error("{0}")]
    Shape(&'static str),
    /// For another node.
    #[error("it is addressed to {addressee}, and this is {own}")]
    Addressee {
        /// Whom it names.
        addressee: NodeId,
        /// Who we are.
        own: NodeId,
    },
    /// No registered ledger has this origin, or another node keeps it.
    #[error("the global configuration does not say that {peer} keeps the ledger {origin}")]
    NotItsLedger {
        /// The TLS peer.
        peer: NodeId,
        /// Where the entry says it belongs.
        origin: Origin,
    },
    /// The consumer is not a registered subsystem of the member that the ledger binds.
    #[error("{consumer} is not a registered subsystem of the member that the ledger {origin} binds")]
    ConsumerUnknown {
        /// Who is said to ask.
        consumer: SubsystemId,
        /// Where the entry belongs.
        origin: Origin,
    },
    /// This node keeps no ledger for the service's member.
    #[error("this node does not answer for {service}")]
    ServiceElsewhere {
        /// What was asked.
        service: ServiceId,
    },
    /// Older than its own expiry.
    #[error("it expired at {expires_at}, and the clock of this node says {now}")]
    Expired {
        /// Its expiry.
        expires_at: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// Made later than now.
    #[error("it was made at {created_at}, and the clock of this node says {now}")]
    FromFuture {
        /// Its time.
        created_at: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// A copy of a message that this node has had.
    #[error("this node has had the message {exchange} before")]
    Replayed {
        /// Which one.
        exchange: ExchangeId,
    },
    /// No room to remember one more message.
    #[error("this node remembers as many messages as it can hold")]
    ReplayWindowFull,
    /// The inclusion proof does not lead to the checkpoint.
    #[error("its proof does not lead to the checkpoint that seals it")]
    Seal,
    /// The payload is not what the head seals.
    #[error("its payload is not what its head seals ({0})")]
    Altered(&'static str),
    /// The contract is unknown, or not the one registered here.
    #[error(
        "it cites version {cited} of the contract of {service}, which the global configuration here does not have in that form"
    )]
    Contract {
        /// Whose contract.
        service: ServiceId,
        /// The version it names.
        cited: u32,
    },
    /// The contract has no such method.
    #[error("the contract of {service} has no method {method}")]
    MethodUnknown {
        /// Whose contract.
        service: ServiceId,
        /// What was asked.
        method: String,
    },
    /// Verb and path of a REST call can be read in two ways, or are of another service.
    #[error("its verb and path are not what its head says ({0})")]
    Target(String),
    /// The head says other facts than the contract.
    #[error("it says other side effects than the contract for {method}")]
    SideEffects {
        /// What was asked.
        method: String,
    },
    /// The contract does not name the purpose.
    #[error("the contract does not allow the purpose {purpose} for {method}")]
    PurposeNotInContract {
        /// Declared.
        purpose: Purpose,
        /// What was asked.
        method: String,
    },
    /// Nobody gave this consumer a grant.
    #[error("{consumer} has no grant for {method} of {service}")]
    NoGrant {
        /// Who asks.
        consumer: SubsystemId,
        /// What service.
        service: ServiceId,
        /// What method.
        method: String,
    },
    /// There was one.
    #[error("the grant {grant} ended at {ended_at}")]
    GrantExpired {
        /// Its id.
        grant: String,
        /// When.
        ended_at: Timestamp,
    },
    /// The grant is for something else.
    #[error("no grant of {consumer} covers the purpose {purpose}")]
    PurposeNotGranted {
        /// Who asks.
        consumer: SubsystemId,
        /// Declared.
        purpose: Purpose,
    },
    /// The method is sealed whole, and the request is a stream, or the other way round.
    #[error("it is not sealed as the contract says for {method}: {expected}")]
    Delivery {
        /// What was asked.
        method: String,
        /// What the contract says.
        expected: &'static str,
    },
    /// A piece of a stream that does not follow the one before.
    #[error("the stream is broken ({0})")]
    Stream(&'static str),
    /// What is trusted may have changed since.
    #[error(
        "the global configuration of this node was confirmed {} s ago, and {service} demands news of the last {} s",
        .stale.as_secs(), .max.as_secs()
    )]
    Stale {
        /// What was asked.
        service: ServiceId,
        /// Since the registry last said that nothing is newer.
        stale: Duration,
        /// What the provider's administrator demands.
        max: Duration,
    },
    /// An answer that belongs to no outstanding request.
    #[error("the answer does not belong to the request ({0})")]
    AnswerMismatch(&'static str),
}

impl Refusal {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> FaultCode {
        match self {
            Self::Shape(_) | Self::Target(_) => FaultCode::MessageMalformed,
            Self::Addressee { .. } | Self::ServiceElsewhere { .. } => FaultCode::MessageAddressee,
            Self::NotItsLedger { .. } => FaultCode::SealUnknownLedger,
            Self::ConsumerUnknown { .. } => FaultCode::ClientUnknown,
            Self::Expired { .. } => FaultCode::MessageExpired,
            Self::FromFuture { .. } => FaultCode::MessageFromFuture,
            Self::Replayed { .. } => FaultCode::MessageReplayed,
            Self::ReplayWindowFull => FaultCode::NodeOverloaded,
            Self::Seal => FaultCode::SealInvalid,
            Self::Altered(_) => FaultCode::MessageAltered,
            Self::Contract { .. } | Self::SideEffects { .. } | Self::Delivery { .. } => {
                FaultCode::ContractMismatch
            }
            Self::MethodUnknown { .. } => FaultCode::MethodUnknown,
            Self::PurposeNotInContract { .. } | Self::PurposeNotGranted { .. } => {
                FaultCode::PurposeNotAllowed
            }
            Self::Stream(_) => FaultCode::StreamBroken,
            Self::NoGrant { .. } => FaultCode::AccessNoGrant,
            Self::GrantExpired { .. } => FaultCode::AccessGrantExpired,
            Self::Stale { .. } => FaultCode::GlobalconfStale,
            Self::AnswerMismatch(_) => FaultCode::AnswerMismatch,
        }
    }

    /// The fault that a caller sees.
    #[must_use]
    pub fn fault(&self, place: Place, exchange: ExchangeId) -> Fault {
        Fault::new(self.code(), place, self.to_string()).with_exchange(exchange)
    }
}
