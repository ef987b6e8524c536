//! The transparent gRPC door: unknown services, raw HTTP/2 frames, no codec (design §5).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use peabiru_proto::context;
use peabiru_proto::fault::{Fault, FaultCode, GRPC_DETAILS, Place};
use peabiru_proto::globalconf::NameError;
use peabiru_proto::id::ServiceId;
use peabiru_proto::language::Language;
use peabiru_proto::limits::MAX_BODY_BYTES;
use peabiru_proto::wire::Context;
use tokio::sync::mpsc;

use super::identify::Credential;
use super::own::{Asker, Own};
use super::places::OpenCall;
use super::refusal::language;
use super::{Route, Shared, host, parse_purpose, refused, shown};
use crate::exchange::{Answered, Call, CallBody};
use crate::flow::PIECES_QUEUED;
use crate::grpc::body::{self, Coming, LargeWaits, Read, RoadBody, Watcher};
use crate::grpc::framing::{encode_status_text, timeout};
use crate::grpc::metadata::{put_fields, text, to_fields};
use crate::grpc::unpack::{ACCEPTED, Unpacker};
use crate::stage::Stage;

/// Carries gRPC calls.
pub(super) struct GrpcDoor(pub(super) Arc<Shared>);

impl GrpcDoor {
    /// Whether a call is one of gRPC.
    pub(super) fn takes(head: &HeaderMap) -> bool {
        text(head, "content-type").is_some_and(|value| value.starts_with(CONTENT_TYPE))
    }

    /// Carries one request. `connection` is what the connection itself shows.
    pub(super) async fn serve<B>(
        &self,
        connection: Option<Credential>,
        request: Request<B>,
    ) -> Response<RoadBody>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let timer = Stage::Door.start();
        let language = language(request.headers());
        let mut open = match self.0.begin() {
            Ok(open) => open,
            Err(fault) => return respond(refused(fault), language),
        };
        let own = match self.own(connection, &request, &mut open) {
            Ok(own) => own,
            Err(fault) => return respond(refused(fault), language),
        };
        if let Some((own, asker)) = own {
            return own.serve(&self.0, asker, request, open).await;
        }
        let (head, body) = request.into_parts();
        let prepared = self.prepare(connection, &head);
        let prepared = prepared.and_then(|call| self.0.count(&mut open, &call.caller).map(|()| call));
        let answered = match prepared {
            Ok(call) if self.is_live(&call) => return self.stream(call, &head.headers, body, open).await,
            Ok(call) => self.carry(call, &head.headers, body).await,
            Err(fault) => refused(fault),
        };
        timer.end();
        respond(answered, language).map(|body| body.holding(open))
    }

    /// One of the door's own services, if the path names it and no header or host name says whose is meant instead.
    fn own<B>(
        &self,
        connection: Option<Credential>,
        request: &Request<B>,
        open: &mut OpenCall,
    ) -> Result<Option<(Own, Asker)>, Fault> {
        let name = request.uri().path().split('/').nth(1).unwrap_or_default();
        let Some(own) = Own::named(name) else { return Ok(None) };
        let headers = request.headers();
        let settings = self.0.settings.load();
        let caller =
            settings.clients.identify(&shown(connection, headers), text(headers, context::CLIENT))?;
        let wanted = match text(headers, context::SERVICE) {
            Some(named) => Some(named_service(named)?),
            None => host(request.uri(), headers)
                .and_then(|host| settings.routes.get(&host))
                .map(|route| route.service.clone()),
        };
        if wanted.as_ref().is_some_and(|wanted| wanted.code() == name) {
            return Ok(None);
        }
        self.0.count(open, &caller)?;
        Ok(Some((own, Asker { exchange: Arc::clone(&self.0.exchange), caller, wanted })))
    }

    async fn carry<B>(&self, call: Call, headers: &HeaderMap, body: B) -> Answered
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let waits = &self.0.waits;
        let wait = call.deadline.unwrap_or(waits.message).min(waits.message);
        let unpacker = || Unpacker::new(headers, Place::ConsumerNode, &self.0.packed);
        match tokio::time::timeout(wait, read_body(body, unpacker, waits.large)).await {
            Ok(Ok(body)) => self.0.exchange.call(Call { body, ..call }).await,
            Ok(Err(fault)) => refused(fault),
            Err(_) => {
                let message = format!("the message did not come within {} ms", wait.as_millis());
                refused(Fault::new(FaultCode::ExchangeDeadline, Place::ConsumerNode, message))
            }
        }
    }

    fn prepare(&self, connection: Option<Credential>, head: &http::request::Parts) -> Result<Call, Fault> {
        let headers = &head.headers;
        let settings = self.0.settings.load();
        let caller =
            settings.clients.identify(&shown(connection, headers), text(headers, context::CLIENT))?;
        let (grpc_service, method) = split_path(head.uri.path())?;
        let route = host(&head.uri, headers).and_then(|host| settings.routes.get(&host));
        let service = self.find_service(text(headers, context::SERVICE), route, grpc_service)?;
        let purpose = match text(headers, context::PURPOSE) {
            Some(purpose) => Some(parse_purpose(purpose)?),
            None => route.and_then(|route| route.purpose.clone()),
        };
        let deadline = match text(headers, "grpc-timeout") {
            Some(value) => {
                Some(timeout(value).ok_or_else(|| invalid("grpc-timeout is not written as gRPC does"))?)
            }
            None => None,
        };
        let owned = |name| text(headers, name).unwrap_or_default().to_owned();
        let context = Context {
            verb: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            metadata: to_fields(headers),
            user_id: owned(context::USER_ID),
            issue: owned(context::ISSUE),
            represented_party: owned(context::REPRESENTED_PARTY),
            ..Context::default()
        };
        Ok(Call {
            caller,
            service,
            method: method.to_owned(),
            addressee: None,
            purpose,
            context,
            body: CallBody::Whole(Bytes::new(), 0),
            deadline,
        })
    }

    /// `x-road-service`, else the authority's route, else the one service with this gRPC name.
    fn find_service(
        &self,
        named: Option<&str>,
        route: Option<&Route>,
        grpc: &str,
    ) -> Result<ServiceId, Fault> {
        let refuse = |code, message: String| Err(Fault::new(code, Place::ConsumerNode, message));
        let service: ServiceId = match (named, route) {
            (Some(named), _) => named_service(named)?,
            (None, Some(route)) => route.service.clone(),
            (None, None) => {
                let conf = self.0.exchange.globalconf();
                let Some(conf) = conf else {
                    return refuse(FaultCode::NodeNoGlobalconf, "services are not known yet".to_owned());
                };
                return match conf.service_by_name(grpc) {
                    Ok(service) => Ok(service.clone()),
                    Err(NameError::Unknown) => {
                        refuse(FaultCode::ServiceUnknown, format!("nobody offers {}", bounded(grpc)))
                    }
                    Err(NameError::Ambiguous) => refuse(
                        FaultCode::ServiceAmbiguous,
                        format!("several members offer {}", bounded(grpc)),
                    ),
                };
            }
        };
        if service.code() == grpc {
            return Ok(service);
        }
        refuse(
            FaultCode::ServiceUnknown,
            format!("{service} is not the service {} of the path", bounded(grpc)),
        )
    }
}

fn named_service(named: &str) -> Result<ServiceId, Fault> {
    named.parse().map_err(|error| invalid(&format!("x-road-service: {error}")))
}

/// A small body to its end; of a large one the beginning, and a task that hands on the rest.
async fn read_body<B>(
    body: B,
    unpacker: impl Fn() -> Result<Unpacker, Fault>,
    waits: LargeWaits,
) -> Result<CallBody, Fault>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: std::fmt::Display,
{
    let unpacking = unpacker()?;
    match body::read(body, MAX_BODY_BYTES).await {
        Ok(Read::Whole(body, _)) => {
            if let Some((body, messages)) = unpacking.whole(body.clone(), MAX_BODY_BYTES)? {
                return Ok(CallBody::Whole(body, messages));
            }
            // Small only as long as it was compressed.
            Ok(piece_by_piece(body, RoadBody::default(), unpacker()?, waits))
        }
        Ok(Read::More(first, rest)) => Ok(piece_by_piece(first, rest, unpacking, waits)),
        Err(error) => Err(invalid(&format!("the body broke off: {error}"))),
    }
}

fn piece_by_piece<B>(first: Bytes, rest: B, unpacker: Unpacker, waits: LargeWaits) -> CallBody
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: std::fmt::Display,
{
    let (pieces, receiver) = mpsc::channel(PIECES_QUEUED);
    let body = Coming { first, rest, place: Place::ConsumerNode, waits };
    tokio::spawn(body.hand_on(pieces, Counting(unpacker)));
    CallBody::Large(receiver)
}

/// Counts a caller's messages.
struct Counting(Unpacker);

impl Watcher for Counting {
    type End = u64;

    fn push(&mut self, bytes: Bytes) {
        self.0.push(bytes);
    }

    fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.0.take()
    }

    fn end(self, _: Option<HeaderMap>) -> Result<u64, Fault> {
        self.0.finish()
    }
}

fn split_path(path: &str) -> Result<(&str, &str), Fault> {
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    parts
        .filter(|(service, method)| !service.is_empty() && !method.is_empty() && !method.contains('/'))
        .ok_or_else(|| {
            Fault::new(FaultCode::MethodUnknown, Place::ConsumerNode, "the path is not /SERVICE/METHOD")
        })
}

fn invalid(message: &str) -> Fault {
    Fault::new(FaultCode::PayloadInvalid, Place::ConsumerNode, message)
}

/// A caller's text in a fault, bounded.
fn bounded(text: &str) -> String {
    text.chars().take(100).collect()
}

pub(super) fn respond(answered: Answered, language: Language) -> Response<RoadBody> {
    let mut headers = beginning();
    if let Some(exchange) = answered.exchange {
        insert(&mut headers, context::EXCHANGE_ID, &exchange.to_string());
    }
    let body = match answered.result {
        Ok(answer) => {
            put_fields(&answer.context.metadata, &mut headers);
            RoadBody::new(answer.body, Some(trailers(answer.outcome, &answer.context)))
        }
        Err(fault) => {
            put_fault(&fault, language, &mut headers);
            RoadBody::default()
        }
    };
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

/// What ends an answer.
pub(super) fn trailers(outcome: u32, context: &Context) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(outcome));
    if !context.status_text.is_empty() {
        insert(&mut trailers, "grpc-message", &encode_status_text(&context.status_text));
    }
    put_fields(&context.trailers, &mut trailers);
    trailers
}

/// A fault is a trailers-only answer.
pub(super) fn put_fault(fault: &Fault, language: Language, headers: &mut HeaderMap) {
    let status = fault.to_grpc_in(language);
    headers.insert("grpc-status", HeaderValue::from(status.code));
    insert(headers, "grpc-message", &encode_status_text(&status.message));
    let details = data_encoding::BASE64_NOPAD.encode(&status.details);
    insert(headers, GRPC_DETAILS, &details);
    insert(headers, context::FAULT, fault.code.as_str());
}

/// What begins every answer, a fault too.
pub(super) fn beginning() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED));
    headers
}

pub(super) fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("ids, codes and encoded texts are printable ASCII");
    headers.insert(HeaderName::from_static(name), value);
}

const CONTENT_TYPE: &str = "application/grpc";
