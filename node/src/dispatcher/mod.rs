//! The dispatcher: invokes the agency's own services, gRPC and REST, which know nothing of the road.

mod connection;
mod live;
mod rest;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::Incoming;
use peabiru_ledger::payload::OpenBody;
use peabiru_proto::context;
use peabiru_proto::contract::{METADATA, Streaming};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::ServiceId;
use peabiru_proto::limits::MAX_BODY_BYTES;
use peabiru_proto::wire::Context;
use tokio::sync::mpsc;

pub use connection::{Endpoint, Location};

use crate::exchange::{AnswerEnd, BoxFuture, Invocation, LiveServed, Pieces, Served, Services};
use crate::flow::PIECES_QUEUED;
use crate::grpc::body::{self, Coming, LargeWaits, Read, RoadBody, Watcher};
use crate::grpc::framing::{check_count, decode_status_text};
use crate::grpc::metadata::{put_fields, text, to_fields};
use crate::grpc::unpack::{ACCEPTED, PackedRoom, Unpacker};
use connection::Connection;

/// The services of this node's members.
pub struct Dispatcher {
    services: ArcSwap<HashMap<ServiceId, Arc<Connection>>>,
    /// For services that compress.
    packed: PackedRoom,
}

impl Dispatcher {
    /// Services by where they listen. Connections are made when they are first needed.
    #[must_use]
    pub fn new(services: impl IntoIterator<Item = (ServiceId, Location)>) -> Self {
        let connect = |(id, location)| (id, Arc::new(Connection::new(location)));
        let services = ArcSwap::from_pointee(services.into_iter().map(connect).collect());
        Self { services, packed: PackedRoom::default() }
    }

    /// From now on these services alone. What is under way ends where it is; a connection is kept where nothing changed.
    pub(crate) fn set(&self, services: impl IntoIterator<Item = (ServiceId, Location)>) {
        let before = self.services.load();
        let connect = |(id, location): (ServiceId, Location)| {
            let kept = before.get(&id).filter(|connection| connection.location().is(&location));
            let connection = kept.map_or_else(|| Arc::new(Connection::new(location)), Arc::clone);
            (id, connection)
        };
        self.services.store(Arc::new(services.into_iter().map(connect).collect()));
    }

    fn find(&self, id: &ServiceId) -> Result<Arc<Connection>, Fault> {
        self.services.load().get(id).map(Arc::clone).ok_or_else(|| {
            let message = format!("no [[services]] of this node says where {id} listens");
            Fault::new(FaultCode::ServiceUnreachable, Place::ProviderNode, message)
        })
    }
}

impl Services for Dispatcher {
    fn offers(&self, service: &ServiceId) -> bool {
        let services = self.services.load();
        let is_metadata = METADATA.contains(&service.code().as_str());
        let subsystem = service.subsystem();
        services.contains_key(service) || is_metadata && services.keys().any(|it| it.subsystem() == subsystem)
    }

    fn invoke(&self, invocation: Invocation) -> BoxFuture<Result<Served, Fault>> {
        let (connection, packed) = (self.find(&invocation.service), self.packed.clone());
        Box::pin(async move {
            let deadline = invocation.deadline;
            match tokio::time::timeout(deadline, invoke(&*connection?, invocation, &packed)).await {
                Ok(answer) => answer,
                Err(_) => {
                    let message = format!("the service did not answer within {} ms", deadline.as_millis());
                    Err(Fault::new(FaultCode::ExchangeDeadline, Place::Service, message))
                }
            }
        })
    }

    fn stream(
        &self,
        invocation: Invocation,
        messages: Pieces<AnswerEnd>,
        life: Option<Duration>,
    ) -> BoxFuture<Result<LiveServed, Fault>> {
        let (connection, packed) = (self.find(&invocation.service), self.packed.clone());
        Box::pin(async move { live::invoke(&*connection?, invocation, messages, life, &packed).await })
    }
}

async fn invoke(
    connection: &Connection,
    mut invocation: Invocation,
    packed: &PackedRoom,
) -> Result<Served, Fault> {
    if let Some(target) = invocation.target.take() {
        return rest::invoke(connection, &target, invocation).await;
    }
    let streaming = invocation.streaming;
    let body = RoadBody::new(std::mem::replace(&mut invocation.body, OpenBody::Whole(Bytes::new())), None);
    let timeout = Some(invocation.deadline);
    let request = request(connection.location(), invocation, body, timeout)?;
    let response = connection.send(request).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(protocol(format!("it answered HTTP {status}")));
    }
    read_answer(response, streaming, packed).await
}

/// `timeout`: what the service is told of the time that it has.
fn request(
    location: &Location,
    invocation: Invocation,
    body: RoadBody,
    timeout: Option<Duration>,
) -> Result<Request<RoadBody>, Fault> {
    let Location { endpoint, base } = location;
    let Invocation { exchange, service, method, consumer, purpose, context, .. } = invocation;
    let path = format!("{base}/{}/{method}", service.code());
    let uri =
        Uri::builder().scheme(endpoint.scheme()).authority(endpoint.authority()).path_and_query(path).build();
    let uri = uri.map_err(|error| protocol(format!("the method is no path: {error}")))?;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED));
    put_fields(&context.metadata, &mut headers);
    let mut insert = |name: &'static str, value: &str| {
        // Identifiers, hex digits and terms are printable; a purpose may hold letters that no header takes.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(name, value);
        }
    };
    insert(context::CLIENT, consumer.as_str());
    insert(context::SERVICE, service.as_str());
    insert(context::PURPOSE, purpose.as_str());
    insert(context::EXCHANGE_ID, &exchange.to_string());
    if let Some(timeout) = timeout {
        insert("grpc-timeout", &format!("{}m", timeout.as_millis().min(TIMEOUT_MS_MAX)));
    }
    for (name, value) in [
        (context::USER_ID, &context.user_id),
        (context::ISSUE, &context.issue),
        (context::REPRESENTED_PARTY, &context.represented_party),
    ] {
        if !value.is_empty() {
            insert(name, value);
        }
    }
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}

async fn read_answer(
    response: Response<Incoming>,
    streaming: Streaming,
    packed: &PackedRoom,
) -> Result<Served, Fault> {
    let (head, incoming) = response.into_parts();
    let unpacker = || Unpacker::new(&head.headers, Place::Service, packed);
    let (messages, place, waits) = (unpacker()?, Place::Service, LargeWaits::default());
    let (pieces, receiver) = mpsc::channel(PIECES_QUEUED);
    match body::read(incoming, MAX_BODY_BYTES).await {
        Ok(Read::Whole(body, trailers)) => {
            if let Some((body, messages)) = messages.whole(body.clone(), MAX_BODY_BYTES)? {
                let end = answer_end(&head.headers, trailers.as_ref(), messages, streaming)?;
                return Ok(Served::Whole(end, body));
            }
            // Small only as long as it was compressed.
            let rest = RoadBody::new(OpenBody::Whole(Bytes::new()), trailers);
            let watcher = Answering { messages: unpacker()?, headers: head.headers, streaming };
            tokio::spawn(Coming { first: body, rest, place, waits }.hand_on(pieces, watcher));
            Ok(Served::Large(receiver))
        }
        Ok(Read::More(first, rest)) => {
            let watcher = Answering { messages, headers: head.headers, streaming };
            tokio::spawn(Coming { first, rest, place, waits }.hand_on(pieces, watcher));
            Ok(Served::Large(receiver))
        }
        Err(error) => Err(protocol(format!("its answer broke off: {error}"))),
    }
}

/// Counts a service's messages, and reads its trailers.
struct Answering {
    messages: Unpacker,
    headers: HeaderMap,
    streaming: Streaming,
}

impl Watcher for Answering {
    type End = AnswerEnd;

    fn push(&mut self, bytes: Bytes) {
        self.messages.push(bytes);
    }

    fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.messages.take()
    }

    fn end(self, trailers: Option<HeaderMap>) -> Result<AnswerEnd, Fault> {
        let messages = self.messages.finish()?;
        answer_end(&self.headers, trailers.as_ref(), messages, self.streaming)
    }
}

/// What the headers and trailers of an answer say. A trailers-only answer has its status among the headers.
fn answer_end(
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
    messages: u64,
    streaming: Streaming,
) -> Result<AnswerEnd, Fault> {
    let ending = trailers.unwrap_or(headers);
    let outcome =
        text(ending, "grpc-status").and_then(|code| code.parse().ok()).filter(|code| *code <= GRPC_CODE_MAX);
    let outcome: u32 = outcome.ok_or_else(|| protocol("it ended without a grpc-status".to_owned()))?;
    match streaming {
        Streaming::Unary | Streaming::Client if outcome == 0 && messages == 0 => {
            return Err(protocol("it answered OK without a message".to_owned()));
        }
        Streaming::Unary | Streaming::Client if messages > 0 => check_count(messages, Place::Service)?,
        _ => {}
    }
    let status_text =
        ending.get("grpc-message").map(|text| decode_status_text(text.as_bytes())).unwrap_or_default();
    let (metadata, trailers) = match trailers {
        Some(trailers) => (to_fields(headers), to_fields(trailers)),
        None => (Vec::new(), to_fields(headers)),
    };
    Ok(AnswerEnd { outcome, context: Context { metadata, trailers, status_text, ..Context::default() } })
}

fn protocol(what: String) -> Fault {
    Fault::new(FaultCode::ServiceProtocol, Place::Service, what)
}

/// Eight digits of milliseconds, the longest `grpc-timeout`.
const TIMEOUT_MS_MAX: u128 = 99_999_999;
/// UNAUTHENTICATED.
const GRPC_CODE_MAX: u32 = 16;
