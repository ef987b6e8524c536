//! What a call meets first, whatever it speaks: is there room, who calls, which kind of call is it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use peabiru_proto::context;
use peabiru_proto::fault::{Fault, FaultCode, Place, Spelling};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::{ServiceId, SubsystemId};
use peabiru_proto::policy::Purpose;
use peabiru_proto::random::Random;
use tokio_util::sync::CancellationToken;

use super::grpc::GrpcDoor;
use super::http1::Violation;
use super::identify::{Clients, Credential};
use super::places::{Calls, Connections, OpenCall};
use super::rest::RestDoor;
use super::{Limits, Listener, Waits};
use crate::exchange::{Answered, Exchange};
use crate::grpc::body::RoadBody;
use crate::grpc::metadata::text;
use crate::grpc::unpack::PackedRoom;
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
    pub(super) settings: ArcSwap<Settings>,
    pub(super) waits: Waits,
    /// Under way, of all listeners.
    calls: Arc<Calls>,
    /// Over TCP, and over the Unix socket.
    connections: [Connections; 2],
    /// For callers that compress.
    pub(super) packed: PackedRoom,
    /// Ends when the door takes no new connections: whoever watches the node is told.
    pub(super) closing: CancellationToken,
}

/// What an administrator can change while the door is open.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may call.
    pub clients: Clients,
    /// Services by the host name under which they are called, in lower case.
    pub routes: HashMap<String, Route>,
    /// What it carries at once.
    pub limits: Limits,
    /// How X-Road's fault codes are written.
    pub spelling: Spelling,
}

impl Shared {
    /// # Errors
    /// `node.overloaded`
    pub(super) fn begin(&self) -> Result<OpenCall, Fault> {
        let full = || Fault::new(FaultCode::NodeOverloaded, Place::ConsumerNode, "the door is full");
        self.calls.begin(self.settings.load().limits.calls).ok_or_else(full)
    }

    /// Counts a call as its caller's.
    ///
    /// # Errors
    /// `node.overloaded`
    pub(super) fn count(&self, open: &mut OpenCall, caller: &SubsystemId) -> Result<(), Fault> {
        let settings = self.settings.load();
        open.is_of(caller, settings.limits.calls, settings.clients.sharing())
    }
}

/// What a door carries at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Over TCP and over the Unix socket.
    pub connections: usize,
    /// Of all of them.
    pub calls: usize,
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
        settings: Settings,
        waits: Waits,
        random: Arc<dyn Random>,
    ) -> Self {
        let connections = [settings.limits.connections; 2].map(Connections::new);
        let shared = Arc::new(Shared {
            exchange,
            settings: ArcSwap::from_pointee(settings),
            waits,
            calls: Arc::default(),
            connections,
            packed: PackedRoom::default(),
            closing: CancellationToken::new(),
        });
        let rest = RestDoor::new(Arc::clone(&shared), random);
        Self { grpc: GrpcDoor(Arc::clone(&shared)), rest, shared }
    }

    /// Changes the settings for every call that begins from now on, on live connections too. Runs on the tokio runtime of
    /// the caller.
    pub(crate) fn set(&self, settings: Settings) {
        let connections_max = settings.limits.connections;
        self.shared.connections.iter().for_each(|connections| connections.resize(connections_max));
        self.shared.settings.store(Arc::new(settings));
    }

    /// What it carries at once.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.shared.settings.load().limits
    }

    /// How long callers may keep it waiting.
    pub(super) fn waits(&self) -> &Waits {
        &self.shared.waits
    }

    /// What it carries now.
    #[must_use]
    pub fn held(&self) -> Held {
        let connections = self.shared.connections.iter().map(Connections::held).sum();
        Held { connections, calls: self.shared.calls.held() }
    }

    /// No listener takes new connections any more.
    pub(super) fn close(&self) {
        self.shared.closing.cancel();
    }

    /// Those of a listener.
    pub(super) fn connections(&self, listener: &Listener) -> &Connections {
        let [tcp, unix] = &self.shared.connections;
        match listener {
            Listener::Plain(_) | Listener::Tls(..) => tcp,
            Listener::Unix(..) => unix,
        }
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
pub(super) fn host(uri: &http::Uri, headers: &HeaderMap) -> Option<String> {
    let host = text(headers, "host").and_then(|host| host.parse::<http::uri::Authority>().ok());
    uri.authority().or(host.as_ref()).map(|authority| authority.host().to_ascii_lowercase())
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
