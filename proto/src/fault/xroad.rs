//! A fault as X-Road's clients know it (x-road.md §3.7): origin, optional stage, cause.

use super::{Fault, FaultCode, Place};

/// A fault in X-Road's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XroadFault {
    /// `server.serverproxy.access_denied`
    pub code: String,
    /// 500 if the code begins with `server.`, else 400.
    pub status: u16,
}

/// How X-Road writes its codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spelling {
    /// From 7.8 on: `server.serverproxy.service_failed.network_error`.
    #[default]
    Snake,
    /// Up to 7.7: `Server.ServerProxy.ServiceFailed.NetworkError`.
    Pascal,
}

/// Whose fault X-Road says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The application's.
    Client,
    /// The node where it was noticed.
    Noticed,
    /// The provider's node, wherever it was noticed: there X-Road would have.
    Provider,
}

impl Fault {
    /// In X-Road's words.
    #[must_use]
    pub fn to_xroad(&self, spelling: Spelling) -> XroadFault {
        let (origin, cause) = match (self.code, self.place) {
            // The service was reached and gave no answer; elsewhere it is a node that gave none.
            (FaultCode::ExchangeOutcomeUnknown, Place::Service) => {
                (Origin::Provider, "service_failed.network_error")
            }
            (code, _) => cause(code),
        };
        let origin = match (origin, self.place) {
            (Origin::Client, Place::ConsumerNode) => "client",
            (Origin::Noticed, Place::ConsumerNode | Place::Registry) => "server.clientproxy",
            (Origin::Client | Origin::Noticed | Origin::Provider, _) => "server.serverproxy",
        };
        let status = if origin == "client" { 400 } else { 500 };
        let code = format!("{origin}.{cause}");
        let code = match spelling {
            Spelling::Snake => code,
            Spelling::Pascal => code.split('.').map(pascal).collect::<Vec<_>>().join("."),
        };
        XroadFault { code, status }
    }
}

fn cause(code: FaultCode) -> (Origin, &'static str) {
    use FaultCode as Code;
    use Origin::{Client, Noticed, Provider};
    match code {
        Code::ClientUnidentified | Code::ClientNotAllowed => (Noticed, "ssl_authentication_failed"),
        Code::ClientInvalid => (Client, "invalid_client_identifier"),
        Code::NodeNotProviders => (Noticed, "invalid_security_server"),
        Code::ClientUnknown | Code::NodeUnknown | Code::MessageAddressee => (Noticed, "unknown_member"),
        Code::ServiceUnknown | Code::ServiceAmbiguous | Code::MethodUnknown => (Provider, "unknown_service"),
        Code::ServiceType | Code::MethodStreamingUnsupported => (Provider, "service_type"),
        Code::PurposeNotAllowed | Code::AccessNoGrant | Code::AccessGrantExpired => {
            (Provider, "access_denied")
        }
        Code::PurposeMissing | Code::PayloadInvalid | Code::RequestInvalid => (Client, "bad_request"),
        Code::PayloadTooLarge | Code::PayloadCompressed => (Client, "invalid_body"),
        Code::MessageMalformed | Code::MessageExpired | Code::MessageFromFuture | Code::MessageReplayed => {
            (Noticed, "invalid_message")
        }
        Code::MessageAltered | Code::SealInvalid | Code::SealUnknownLedger | Code::LedgerForked => {
            (Noticed, "signature_verification.invalid_signature_value")
        }
        Code::SealCheckpointMissing => (Noticed, "missing_signature"),
        Code::ContractMismatch | Code::AnswerMismatch | Code::StreamBroken => {
            (Noticed, "inconsistent_response")
        }
        Code::NodeUnreachable
        | Code::NodeDraining
        | Code::ExchangeOutcomeUnknown
        | Code::StreamCancelled
        | Code::StreamIdle => (Noticed, "network_error"),
        Code::NodeNoGlobalconf | Code::GlobalconfExpired | Code::GlobalconfStale => {
            (Noticed, "global_conf_outdated")
        }
        Code::NodeDiskFull => (Noticed, "logging_failed.internal_error"),
        Code::ServiceUnreachable => (Provider, "service_failed.network_error"),
        Code::ServiceProtocol => (Provider, "service_failed.http_error"),
        Code::ExchangeDeadline => (Noticed, "service_failed.io_error"),
        Code::EvidenceUnknown => (Client, "not_found"),
        Code::NodeOverloaded
        | Code::StreamFlood
        | Code::RegistryRefused
        | Code::OperatorNotAllowed
        | Code::ApprovalSamePerson
        | Code::Internal => (Noticed, "internal_error"),
    }
}

/// One word of a code as it was written up to 7.7.
fn pascal(word: &str) -> String {
    match word {
        "clientproxy" => "ClientProxy".to_owned(),
        "serverproxy" => "ServerProxy".to_owned(),
        "io_error" => "IOError".to_owned(),
        "global_conf_outdated" => "OutdatedGlobalConf".to_owned(),
        word => word.split('_').map(capitalised).collect(),
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(code: FaultCode, place: Place) -> (String, String, u16) {
        let fault = Fault::new(code, place, "x");
        let snake = fault.to_xroad(Spelling::Snake);
        (snake.code, fault.to_xroad(Spelling::Pascal).code, snake.status)
    }

    #[test]
    fn a_fault_is_written_as_x_road_writes_it() {
        for (code, place, snake, old, status) in [
            (
                FaultCode::AccessNoGrant,
                Place::ProviderNode,
                "server.serverproxy.access_denied",
                "Server.ServerProxy.AccessDenied",
                500,
            ),
            (
                FaultCode::ServiceUnknown,
                Place::ConsumerNode,
                "server.serverproxy.unknown_service",
                "Server.ServerProxy.UnknownService",
                500,
            ),
            (FaultCode::PayloadInvalid, Place::ConsumerNode, "client.bad_request", "Client.BadRequest", 400),
            (
                FaultCode::ExchangeDeadline,
                Place::Service,
                "server.serverproxy.service_failed.io_error",
                "Server.ServerProxy.ServiceFailed.IOError",
                500,
            ),
            (
                FaultCode::GlobalconfExpired,
                Place::ConsumerNode,
                "server.clientproxy.global_conf_outdated",
                "Server.ClientProxy.OutdatedGlobalConf",
                500,
            ),
        ] {
            assert_eq!(both(code, place), (snake.to_owned(), old.to_owned(), status));
        }
        for &code in FaultCode::ALL {
            let (snake, pascal, status) = both(code, Place::Service);
            assert_eq!(status == 500, snake.starts_with("server."), "{snake} {pascal}");
        }
    }
}
