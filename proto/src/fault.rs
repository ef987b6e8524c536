//! Faults: one error type from the guard to the caller's screen.
//!
//! A code is stable for ever. Who can mend it, what to do and which gRPC status it becomes stand in one table.

mod spanish;
mod xroad;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use prost::Message as _;

pub use xroad::{Spelling, XroadFault};

use crate::entry::ExchangeId;
use crate::language::Language;
use crate::wire;

/// Why an exchange did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Stable.
    pub code: FaultCode,
    /// Where it was noticed.
    pub place: Place,
    /// One sentence: what happened.
    pub message: String,
    /// The exchange, if there was one.
    pub exchange: Option<ExchangeId>,
}

/// Where a fault was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The caller's own node.
    ConsumerNode,
    /// The node of the service.
    ProviderNode,
    /// The service itself.
    Service,
    /// The registry.
    Registry,
}

/// Who can mend a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The application that called.
    Caller,
    /// The administrator of the consumer's node.
    Consumer,
    /// The administrator of the provider's node or service.
    Provider,
    /// The officers of the registry.
    Registry,
    /// Whoever runs the network between the nodes.
    Network,
}

/// A fault as a gRPC status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcStatus {
    /// 1 to 16.
    pub code: u32,
    /// For people.
    pub message: String,
    /// Bytes of a `google.rpc.Status` whose details hold the `peabiru.v1.Fault`: for the trailer [`GRPC_DETAILS`].
    pub details: Bytes,
}

/// A text or message that names no known fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no fault that this version knows")]
pub struct UnknownFault(String);

macro_rules! faults {
    ($($variant:ident $code:literal $blame:ident $grpc:ident $hint:literal;)*) => {
        /// Every fault: its stable code, who can mend it, its gRPC status, what to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum FaultCode { $(#[doc = concat!("`", $code, "`: ``", $hint, "``")] $variant,)* }

        impl FaultCode {
            /// All codes, in the table's order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Who can mend it.
            #[must_use]
            pub const fn blame(self) -> Blame {
                match self { $(Self::$variant => Blame::$blame,)* }
            }

            /// What to do, in one sentence.
            #[must_use]
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint,)* }
            }

            /// The gRPC status code.
            #[must_use]
            pub const fn grpc_code(self) -> u32 {
                match self { $(Self::$variant => grpc::$grpc,)* }
            }
        }
    };
}

mod grpc {
    pub(super) const CANCELLED: u32 = 1;
    pub(super) const INVALID_ARGUMENT: u32 = 3;
    pub(super) const DEADLINE_EXCEEDED: u32 = 4;
    pub(super) const NOT_FOUND: u32 = 5;
    pub(super) const ALREADY_EXISTS: u32 = 6;
    pub(super) const PERMISSION_DENIED: u32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(super) const FAILED_PRECONDITION: u32 = 9;
    pub(super) const ABORTED: u32 = 10;
    pub(super) const OUT_OF_RANGE: u32 = 11;
    pub(super) const UNIMPLEMENTED: u32 = 12;
    pub(super) const INTERNAL: u32 = 13;
    pub(super) const UNAVAILABLE: u32 = 14;
    pub(super) const UNAUTHENTICATED: u32 = 16;
}

faults! {
    ClientUnidentified "client.unidentified" Caller UNAUTHENTICATED
        "Call with a registered client certificate, with the header x-peabiru-token, or over the Unix socket.";
    ClientNotAllowed "client.not_allowed" Caller PERMISSION_DENIED
        "Name in x-road-client a subsystem that the node's [[clients]] allows for this credential.";
    ClientInvalid "client.invalid" Caller INVALID_ARGUMENT
        "Name the calling subsystem in X-Road-Client, as INSTANCE/CLASS/MEMBER/SUBSYSTEM.";
    ClientUnknown "client.unknown" Consumer NOT_FOUND
        "Register the subsystem, and host its member on this node.";
    ServiceUnknown "service.unknown" Caller NOT_FOUND
        "List the services with `peabiru contract list` and name one in x-road-service.";
    ServiceAmbiguous "service.ambiguous" Caller INVALID_ARGUMENT
        "Several members offer this service: name one in x-road-service.";
    ServiceType "service.type" Caller INVALID_ARGUMENT
        "Call a REST service at /r1/ of the door, and a gRPC service with gRPC.";
    MethodUnknown "method.unknown" Caller UNIMPLEMENTED
        "Call a method that the registered contract describes.";
    MethodStreamingUnsupported "method.streaming_unsupported" Caller UNIMPLEMENTED
        "Send exactly one message to a method that takes one.";
    PurposeMissing "purpose.missing" Caller INVALID_ARGUMENT
        "Say why in the header x-peabiru-purpose, or set a default in the node's [routes].";
    PurposeNotAllowed "purpose.not_allowed" Caller PERMISSION_DENIED
        "Use a purpose that contract and grant name.";
    AccessNoGrant "access.no_grant" Provider PERMISSION_DENIED
        "Ask the provider's administrator for a grant: `peabiru grant give`.";
    AccessGrantExpired "access.grant_expired" Provider PERMISSION_DENIED
        "Ask the provider's administrator to renew the grant.";
    PayloadTooLarge "payload.too_large" Caller OUT_OF_RANGE
        "Send less at once, for example in pages.";
    PayloadInvalid "payload.invalid" Caller INVALID_ARGUMENT
        "Send what the protocol allows: one gRPC message after five bytes of prefix, or a REST call that can be read one way only.";
    PayloadCompressed "payload.compressed" Caller UNIMPLEMENTED
        "Send messages uncompressed, or compressed with gzip (grpc-encoding: gzip).";
    MessageMalformed "message.malformed" Consumer INVALID_ARGUMENT
        "The sending node does not speak this protocol correctly: update it.";
    MessageAddressee "message.addressee" Consumer FAILED_PRECONDITION
        "Refresh the global configuration of the sending node: this node does not host the service.";
    MessageExpired "message.expired" Consumer FAILED_PRECONDITION
        "Compare the clocks of both nodes; the message may also have been held back.";
    MessageFromFuture "message.from_future" Consumer FAILED_PRECONDITION
        "Set the clock of the sending node.";
    MessageReplayed "message.replayed" Consumer ALREADY_EXISTS
        "Make a new exchange; a copy of an old one is never answered again.";
    MessageAltered "message.altered" Network ABORTED
        "The payload is not what was sealed: retry, and report it if it stays.";
    SealInvalid "seal.invalid" Consumer UNAUTHENTICATED
        "The proof does not hold: the sending node or its disk is damaged, or somebody meddles.";
    SealUnknownLedger "seal.unknown_ledger" Registry UNAUTHENTICATED
        "Register the ledger of the sending node, or refresh the global configuration.";
    SealCheckpointMissing "seal.checkpoint_missing" Network UNAVAILABLE
        "The checkpoint did not come in time: retry.";
    LedgerForked "ledger.forked" Consumer FAILED_PRECONDITION
        "The sending ledger contradicts what it showed before; both heads are kept. Call the registry's officers.";
    ContractMismatch "contract.mismatch" Registry FAILED_PRECONDITION
        "The nodes hold different contracts: refresh the global configuration.";
    AnswerMismatch "answer.mismatch" Provider INTERNAL
        "The provider's node answered something else: report it to its administrator.";
    NodeUnknown "node.unknown" Registry NOT_FOUND
        "Register a node that hosts the member, or refresh the global configuration.";
    NodeNotProviders "node.not_providers" Caller NOT_FOUND
        "Name in X-Road-Security-Server a node that hosts the provider, or none.";
    NodeUnreachable "node.unreachable" Network UNAVAILABLE
        "Retry later; check address and firewall of the provider's node.";
    NodeOverloaded "node.overloaded" Provider RESOURCE_EXHAUSTED
        "Retry later, with fewer calls at once.";
    NodeDraining "node.draining" Provider UNAVAILABLE
        "The node is stopping: retry in a few seconds.";
    NodeDiskFull "node.disk_full" Provider RESOURCE_EXHAUSTED
        "Free space on the node's disk.";
    NodeNoGlobalconf "node.no_globalconf" Consumer UNAVAILABLE
        "Let the node reach the registry once; see `peabiru globalconf show`.";
    GlobalconfExpired "globalconf.expired" Registry UNAVAILABLE
        "Let the node reach the registry; what everyone trusts is no longer fresh enough.";
    GlobalconfStale "globalconf.stale" Registry UNAVAILABLE
        "Let the provider's node reach the registry: it demands fresher news for this service than it has.";
    ExchangeOutcomeUnknown "exchange.outcome_unknown" Network UNAVAILABLE
        "The request was sent and no answer came: ask `peabiru exchange status` before you repeat it.";
    ExchangeDeadline "exchange.deadline" Caller DEADLINE_EXCEEDED
        "The time that the caller, the contract or the message allows was not enough.";
    StreamBroken "stream.broken" Network ABORTED
        "A piece of the stream does not hold or does not follow the one before: open it again, and report it if it stays.";
    StreamCancelled "stream.cancelled" Caller CANCELLED
        "The other side gave the stream up; what came before stays delivered.";
    StreamIdle "stream.idle" Caller UNAVAILABLE
        "Nothing passed either way for too long: open the stream again, and send something now and then.";
    StreamFlood "stream.flood" Consumer RESOURCE_EXHAUSTED
        "The sending node makes small batches faster than the protocol allows: update it.";
    ServiceUnreachable "service.unreachable" Provider UNAVAILABLE
        "Start the agency's service, or correct its url in the node's [[services]].";
    ServiceProtocol "service.protocol" Provider INTERNAL
        "The agency's service does not answer as its contract says: gRPC over HTTP/2, or HTTP/1.1.";
    EvidenceUnknown "evidence.unknown" Caller NOT_FOUND
        "No entry of this exchange is in the ledger: check the id and the member.";
    RequestInvalid "request.invalid" Caller INVALID_ARGUMENT
        "Correct what the message names.";
    RegistryRefused "registry.refused" Caller FAILED_PRECONDITION
        "Correct what the message names; nothing was changed.";
    OperatorNotAllowed "operator.not_allowed" Caller PERMISSION_DENIED
        "Call as another operator, one whom the registry's [[operators]] allows this; see `peabiru approval list`.";
    ApprovalSamePerson "approval.same_person" Registry PERMISSION_DENIED
        "Let another officer approve it: `peabiru approval approve NUMBER --operator THEIRS`. Who proposed can take it back: `peabiru approval reject NUMBER`.";
    Internal "internal" Provider INTERNAL
        "A defect of the node: see its log, and report it.";
}

impl Fault {
    /// What happened, and where it was noticed.
    #[must_use]
    pub fn new(code: FaultCode, place: Place, message: impl Into<String>) -> Self {
        Self { code, place, message: message.into(), exchange: None }
    }

    /// The same, of this exchange.
    #[must_use]
    pub fn with_exchange(self, exchange: ExchangeId) -> Self {
        Self { exchange: Some(exchange), ..self }
    }

    /// The message that travels.
    #[must_use]
    pub fn to_proto(&self) -> wire::Fault {
        let place = match self.place {
            Place::ConsumerNode => wire::FaultPlace::ConsumerNode,
            Place::ProviderNode => wire::FaultPlace::ProviderNode,
            Place::Service => wire::FaultPlace::Service,
            Place::Registry => wire::FaultPlace::Registry,
        };
        let blame = match self.code.blame() {
            Blame::Caller => wire::FaultBlame::Caller,
            Blame::Consumer => wire::FaultBlame::Consumer,
            Blame::Provider => wire::FaultBlame::Provider,
            Blame::Registry => wire::FaultBlame::Registry,
            Blame::Network => wire::FaultBlame::Network,
        };
        wire::Fault {
            code: self.code.as_str().to_owned(),
            place: place.into(),
            blame: blame.into(),
            message: self.message.clone(),
            hint: self.code.hint().to_owned(),
            exchange_id: self.exchange.map(|exchange| exchange.to_string()).unwrap_or_default(),
        }
    }

    /// Reads what a peer sent: its texts are bounded, its code must be known.
    ///
    /// # Errors
    /// `UnknownFault` if the code is of another version.
    pub fn from_proto(fault: &wire::Fault) -> Result<Self, UnknownFault> {
        let place = match fault.place() {
            wire::FaultPlace::ConsumerNode => Place::ConsumerNode,
            wire::FaultPlace::Unspecified | wire::FaultPlace::ProviderNode => Place::ProviderNode,
            wire::FaultPlace::Service => Place::Service,
            wire::FaultPlace::Registry => Place::Registry,
        };
        Ok(Self {
            code: fault.code.parse()?,
            place,
            message: fault.message.chars().take(MESSAGE_CHARS_MAX).collect(),
            exchange: fault.exchange_id.parse().ok(),
        })
    }

    /// What happened. In Spanish the details of the case stand behind it as the node wrote them.
    #[must_use]
    pub fn happened(&self, language: Language) -> String {
        match language {
            Language::English => self.message.clone(),
            Language::Spanish => format!("{} ({}).", spanish::said(self.code).0, self.message),
        }
    }

    /// For people: its code, what happened, what to do.
    #[must_use]
    pub fn said(&self, language: Language) -> String {
        let [_, hint] = self.advice(language);
        format!("{}: {} {hint}", self.code, self.happened(language))
    }

    /// Who can mend it, and what to do.
    #[must_use]
    pub fn advice(&self, language: Language) -> [String; 2] {
        let (blame, hint) = match language {
            Language::English => (format!("{:?}", self.code.blame()), self.code.hint()),
            Language::Spanish => (spanish::blamed(self.code.blame()).to_owned(), spanish::said(self.code).1),
        };
        [blame, hint.to_owned()]
    }

    /// As a gRPC status with details, in English.
    #[must_use]
    pub fn to_grpc(&self) -> GrpcStatus {
        self.to_grpc_in(Language::English)
    }

    /// As a gRPC status with details; its message is in this language.
    #[must_use]
    pub fn to_grpc_in(&self, language: Language) -> GrpcStatus {
        let message = self.said(language);
        let fault =
            prost_types::Any { type_url: TYPE_URL.to_owned(), value: self.to_proto().encode_to_vec() };
        let code = self.code.grpc_code();
        let status = RpcStatus { code: code.cast_signed(), message: message.clone(), details: vec![fault] };
        GrpcStatus { code, message, details: status.encode_to_vec().into() }
    }

    /// Finds the fault in the details of a gRPC status.
    #[must_use]
    pub fn from_grpc_details(details: &[u8]) -> Option<Self> {
        Self::from_proto(&in_grpc_details(details)?).ok()
    }

    /// The code of the fault in the details of a gRPC status, also one that only a later version knows.
    #[must_use]
    pub fn code_in_grpc_details(details: &[u8]) -> Option<String> {
        in_grpc_details(details).map(|fault| fault.code)
    }
}

fn in_grpc_details(details: &[u8]) -> Option<wire::Fault> {
    let status = RpcStatus::decode(details).ok()?;
    let any = status.details.iter().find(|any| any.type_url == TYPE_URL)?;
    wire::Fault::decode(any.value.as_slice()).ok()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FaultCode {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.iter().find(|code| code.as_str() == text);
        found.copied().ok_or_else(|| UnknownFault(text.chars().take(MESSAGE_CHARS_MAX).collect()))
    }
}

/// `google.rpc.Status`, as gRPC clients look for it in `grpc-status-details-bin`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// Name of the trailer that holds [`GrpcStatus::details`].
pub const GRPC_DETAILS: &str = "grpc-status-details-bin";
const TYPE_URL: &str = "type.googleapis.com/peabiru.v1.Fault";
/// Longest text that is taken over from a peer, in characters.
const MESSAGE_CHARS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_its_own_and_survives_both_renderings() {
        let texts: BTreeSet<_> = FaultCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), FaultCode::ALL.len());
        let exchange = ExchangeId::from_slice(&[7; 16]).unwrap();
        for &code in FaultCode::ALL {
            let fault = Fault::new(code, Place::Service, "what happened").with_exchange(exchange);
            assert_eq!(Fault::from_proto(&fault.to_proto()), Ok(fault.clone()));
            let status = fault.to_grpc();
            assert_eq!(Fault::from_grpc_details(&status.details), Some(fault));
            assert!((1..=16).contains(&status.code) && code.hint().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn every_code_is_said_in_spanish_with_what_happened_and_what_to_do() {
        let mut happened = BTreeSet::new();
        for &code in FaultCode::ALL {
            let fault = Fault::new(code, Place::Service, "detail");
            let (what, to_do) = spanish::said(code);
            assert!(happened.insert(what) && to_do.ends_with('.') && !what.ends_with('.'), "{code}");
            assert_eq!(fault.said(Language::Spanish), format!("{code}: {what} (detail). {to_do}"));
            assert_eq!(fault.to_grpc_in(Language::Spanish).message, fault.said(Language::Spanish));
            let in_both = [Language::English, Language::Spanish].map(|language| fault.advice(language));
            assert_ne!(in_both[0], in_both[1], "{code}");
        }
    }

    #[test]
    fn a_peers_text_is_bounded() {
        let mut fault = Fault::new(FaultCode::Internal, Place::ProviderNode, "x").to_proto();
        fault.message = "ñ".repeat(100_000);
        assert_eq!(Fault::from_proto(&fault).unwrap().message.chars().count(), MESSAGE_CHARS_MAX);
        fault.code = "access.everything".to_owned();
        assert!(Fault::from_proto(&fault).is_err());
    }
}
