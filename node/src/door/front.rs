//! What a call meets first, whatever it speaks: is there room, who calls, which kind of call is it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use peabiru_proto::context;
use peabiru_proto::fault::{Fault, FaultCode, Place, Spelling};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::ServiceId;
use peabiru_proto::policy::Purpose;
use peabiru_proto::random::Random;
use tokio::sync::Semaphore;

use super::Limits;
use super::grpc::GrpcDoor;
use super::http1::Violation;
use super::identify::{Clients, Credential};
use super::rest::RestDoor;
use crate::exchange::{Answered, Exchange};
use crate::grpc::body::RoadBody;
use crate::grpc::metadata::text;
use crate::stage::count_refusal;

/// One door of the node: every listener hands its requests to it.
pub struct Door {
    grpc: GrpcDoor,
    rest: RestDoor,
    shared: Arc<Shared>,
}

/// What both kinds of call need.
pub(super) struct Shared {
    pub(super) exchange: Arc<dyn Exchange>,
    pub(super) clients: Clients,
    pub(super) routes: HashMap<String, Route>,
    pub(super) calls: Arc<Semaphore>,
    limits: Limits,
}

/// What an authority stands for.
#[derive(Debug, Clone)]
pub struct Route {
    /// The service.
    pub service: ServiceId,
    /// Why, if the caller does not say.
    pub purpose: Option<Purpose>,
}

impl Door {
    /// A door onto the road.
    #[must_use]
    pub fn new(
        exchange: Arc<dyn Exchange>,
        clients: Clients,
        routes: HashMap<String, Route>,
        limits: Limits,
        random: Arc<dyn Random>,
    ) -> Self {
        let shared =
            Shared { exchange, clients, routes, limits, calls: Arc::new(Semaphore::new(limits.calls)) };
        let shared = Arc::new(shared);
        let rest = RestDoor::new(Arc::clone(&shared), random, Spelling::default());
        Self { grpc: GrpcDoor(Arc::clone(&shared)), rest, shared }
    }

    /// The same, with X-Road's fault codes in this spelling.
    #[must_use]
    pub fn with_spelling(mut self, spelling: Spelling) -> Self {
        self.rest.spell(spelling);
        self
    }

    /// What it carries at once.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// Who may call.
    #[must_use]
    pub fn clients(&self) -> &Clients {
        &self.shared.clients
    }

    /// Carries one request. `connection` is what the connection itself shows.
    pub async fn serve<B>(&self, connection: Option<Credential>, request: Request<B>) -> Response<RoadBody>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: std::fmt::Display,
    {
        if GrpcDoor::takes(request.headers()) && request.method() == http::Method::POST {
            self.grpc.serve(connection, request).await
        } else {
            self.rest.serve(connection, request).await
        }
    }

    /// Answers a request of a connection whose bytes can be read in two ways, and ends the connection.
    pub(super) fn refuse<B>(&self, violation: Violation, request: &Request<B>) -> Response<RoadBody> {
        self.rest.refuse(violation, request.headers())
    }
}

/// What a caller shows: with its connection, and in the header for tokens.
pub(super) fn shown(connection: Option<Credential>, headers: &HeaderMap) -> Vec<Credential> {
    let token = headers.get(context::TOKEN).map(|token| Credential::Token(Digest::of(token.as_bytes())));
    connection.into_iter().chain(token).collect()
}

/// The host name under which the application calls, without its port.
pub(super) fn host(head: &http::request::Parts) -> Option<String> {
    let host = text(&head.headers, "host").and_then(|host| host.parse::<http::uri::Authority>().ok());
    head.uri.authority().or(host.as_ref()).map(|authority| authority.host().to_ascii_lowercase())
}

pub(super) fn parse_purpose(text: &str) -> Result<Purpose, Fault> {
    text.parse()
        .map_err(|error| Fault::new(FaultCode::PurposeNotAllowed, Place::ConsumerNode, format!("{error}")))
}

/// Counted here: no exchange exists that would count it.
pub(super) fn refused(fault: Fault) -> Answered {
    count_refusal(&fault);
    Answered { exchange: None, result: Err(fault) }
}

/// For a caller's message to come once its headers are there.
pub(super) const MESSAGE_WAIT: Duration = Duration::from_secs(30);
