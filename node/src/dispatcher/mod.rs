//! The dispatcher: invokes the agency's own services, gRPC and REST, which know nothing of the road.

mod connection;
mod rest;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::Incoming;
use peabiru_proto::context;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::ServiceId;
use peabiru_proto::limits::MAX_BODY_BYTES;
use peabiru_proto::wire::Context;

pub use connection::{Endpoint, Location};

use crate::exchange::{Answer, BoxFuture, Invocation, Services};
use crate::grpc::body::{self, ReadError, WholeBody};
use crate::grpc::framing::{decode_status_text, one_message};
use crate::grpc::metadata::{put_fields, text, to_fields};
use connection::Connection;

/// The services of this node's members.
pub struct Dispatcher(Arc<HashMap<ServiceId, Connection>>);

impl Dispatcher {
    /// Services by where they listen. Connections are made when they are first needed.
    #[must_use]
    pub fn new(services: impl IntoIterator<Item = (ServiceId, Location)>) -> Self {
        Self(Arc::new(services.into_iter().map(|(id, location)| (id, Connection::new(location))).collect()))
    }
}

impl Services for Dispatcher {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<Result<Answer, Fault>> {
        let services = Arc::clone(&self.0);
        Box::pin(async move {
            let Some(connection) = services.get(&invocation.service) else {
                let message =
                    format!("no [[services]] of this node says where {} listens", invocation.service);
                return Err(Fault::new(FaultCode::ServiceUnreachable, Place::ProviderNode, message));
            };
            let deadline = invocation.deadline;
            match tokio::time::timeout(deadline, invoke(connection, invocation)).await {
                Ok(answer) => answer,
                Err(_) => {
                    let message = format!("the service did not answer within {} ms", deadline.as_millis());
                    Err(Fault::new(FaultCode::ExchangeDeadline, Place::Service, message))
                }
            }
        })
    }
}

async fn invoke(connection: &Connection, mut invocation: Invocation) -> Result<Answer, Fault> {
    if let Some(target) = invocation.target.take() {
        return rest::invoke(connection, &target, invocation).await;
    }
    let request = request(connection.location(), invocation)?;
    let response = connection.send(request).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(protocol(format!("it answered HTTP {status}")));
    }
    read_answer(response).await
}

fn request(location: &Location, invocation: Invocation) -> Result<Request<WholeBody>, Fault> {
    let Location { endpoint, base } = location;
    let Invocation { exchange, service, method, consumer, purpose, context, body, deadline, .. } = invocation;
    let path = format!("{base}/{}/{method}", service.code());
    let uri =
        Uri::builder().scheme(endpoint.scheme()).authority(endpoint.authority()).path_and_query(path).build();
    let uri = uri.map_err(|error| protocol(format!("the method is no path: {error}")))?;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
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
    insert("grpc-timeout", &format!("{}m", deadline.as_millis().min(TIMEOUT_MS_MAX)));
    for (name, value) in [
        (context::USER_ID, &context.user_id),
        (context::ISSUE, &context.issue),
        (context::REPRESENTED_PARTY, &context.represented_party),
    ] {
        if !value.is_empty() {
            insert(name, value);
        }
    }
    let mut request = Request::new(WholeBody::new(body, None));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}

async fn read_answer(response: Response<Incoming>) -> Result<Answer, Fault> {
    let (head, incoming) = response.into_parts();
    let (body, trailers) = body::read(incoming, MAX_BODY_BYTES).await.map_err(|error| match error {
        ReadError::TooLarge => {
            let message = format!("the service's answer has more than {MAX_BODY_BYTES} bytes");
            Fault::new(FaultCode::PayloadTooLarge, Place::Service, message)
        }
        ReadError::Broken(reason) => protocol(format!("its answer broke off: {reason}")),
    })?;
    // A trailers-only answer has its status among the headers.
    let ending = trailers.as_ref().unwrap_or(&head.headers);
    let outcome =
        text(ending, "grpc-status").and_then(|code| code.parse().ok()).filter(|code| *code <= GRPC_CODE_MAX);
    let outcome: u32 = outcome.ok_or_else(|| protocol("it ended without a grpc-status".to_owned()))?;
    if !body.is_empty() {
        one_message(&body, Place::Service)?;
    } else if outcome == 0 {
        return Err(protocol("it answered OK without a message".to_owned()));
    }
    let status_text =
        ending.get("grpc-message").map(|text| decode_status_text(text.as_bytes())).unwrap_or_default();
    let (metadata, trailers) = match &trailers {
        Some(trailers) => (to_fields(&head.headers), to_fields(trailers)),
        None => (Vec::new(), to_fields(&head.headers)),
    };
    Ok(Answer {
        outcome,
        context: Context { metadata, trailers, status_text, ..Context::default() },
        body: Bytes::clone(&body),
    })
}

fn protocol(what: String) -> Fault {
    Fault::new(FaultCode::ServiceProtocol, Place::Service, what)
}

/// Eight digits of milliseconds, the longest `grpc-timeout`.
const TIMEOUT_MS_MAX: u128 = 99_999_999;
/// UNAUTHENTICATED.
const GRPC_CODE_MAX: u32 = 16;
