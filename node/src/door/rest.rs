//! The REST door: X-Road's message protocol (`/r1/…`), as its clients speak it (x-road.md §3).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::Body;
use peabiru_ledger::payload::OpenBody;
use peabiru_proto::context;
use peabiru_proto::contract::{METADATA, MethodFacts};
use peabiru_proto::entry::ExchangeId;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::{NodeId, ServiceId, SubsystemId};
use peabiru_proto::limits::MAX_BODY_BYTES;
use peabiru_proto::policy::Purpose;
use peabiru_proto::random::Random;
use peabiru_proto::wire::{Context, ContextField};
use tokio::sync::{mpsc, oneshot};

use super::http1::Violation;
use super::identify::Credential;
use super::places::OpenCall;
use super::{Route, Shared, host, parse_purpose, refusal, refused, shown};
use crate::exchange::{Answer, Answered, Call, CallBody};
use crate::flow::PIECES_QUEUED;
use crate::grpc::body::{self, Coming, LargeWaits, Read, RoadBody, Watcher};
use crate::grpc::metadata::text;
use crate::rest::hash::{BodyHash, BodyHasher, HeaderPart, request_id};
use crate::rest::headers::{self, Way, insert};
use crate::rest::target::{self, Target, TargetError};
use crate::stage::Stage;

/// Carries REST calls.
pub(super) struct RestDoor {
    shared: Arc<Shared>,
    random: Arc<dyn Random>,
}

/// What the answer needs to know of the call.
struct Asked {
    client: SubsystemId,
    service: ServiceId,
    /// The caller's own, or made here.
    id: Vec<u8>,
    /// Whether it was made here: it is the last line of the signed form then.
    id_is_ours: Ours,
    part: HeaderPart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ours {
    Yes,
    No,
}

impl RestDoor {
    pub(super) fn new(shared: Arc<Shared>, random: Arc<dyn Random>) -> Self {
        Self { shared, random }
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
        let (head, body) = request.into_parts();
        let response = match self.shared.begin() {
            Ok(open) => self.answer(connection, &head, body, open).await,
            Err(fault) => Err(refused(fault)),
        };
        timer.end();
        response.unwrap_or_else(|answered| self.fault(answered, &head.headers))
    }

    /// Answers a request of a connection whose bytes can be read in two ways.
    pub(super) fn refuse(&self, violation: Violation, asked: &HeaderMap) -> Response<RoadBody> {
        let mut response = self.fault(refused(invalid(violation.as_str())), asked);
        insert(response.headers_mut(), "connection", "close");
        response
    }

    /// An `Err` holds a fault.
    async fn answer<B>(
        &self,
        connection: Option<Credential>,
        head: &http::request::Parts,
        body: B,
        mut open: OpenCall,
    ) -> Result<Response<RoadBody>, Answered>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: std::fmt::Display,
    {
        check_form(head).map_err(refused)?;
        let route = self.route(head);
        if head.uri.path() == LIST_CLIENTS && route.is_none() {
            let listed = self.list_clients(connection, head).map_err(refused)?;
            return Ok(listed.map(|body| body.holding(open)));
        }
        let (call, asked) = self.prepare(connection, head, route.as_ref()).map_err(refused)?;
        self.shared.count(&mut open, &call.caller).map_err(refused)?;
        let waits = &self.shared.waits;
        let body = match tokio::time::timeout(waits.message, read_body(body, waits.large)).await {
            Ok(body) => body.map_err(refused)?,
            Err(_) => {
                let message = format!("the body did not come within {} ms", waits.message.as_millis());
                return Err(refused(Fault::new(FaultCode::ExchangeDeadline, Place::ConsumerNode, message)));
            }
        };
        let (body, hash) = body;
        let answered = self.shared.exchange.call(Call { body, ..call }).await;
        match answered {
            Answered { exchange: Some(exchange), result: Ok(answer) } => {
                let delivered = match hash.wait().await {
                    Ok(hash) => deliver(asked, &hash, exchange, answer),
                    Err(fault) => Err(fault),
                };
                let delivered = delivered.map(|response| response.map(|body| body.holding(open)));
                delivered.map_err(|fault| Answered {
                    exchange: Some(exchange),
                    result: Err(fault.with_exchange(exchange)),
                })
            }
            answered => Err(answered),
        }
    }

    fn prepare(
        &self,
        connection: Option<Credential>,
        head: &http::request::Parts,
        route: Option<&Route>,
    ) -> Result<(Call, Asked), Fault> {
        let headers = &head.headers;
        let written = head.uri.path_and_query().map(http::uri::PathAndQuery::as_str).unwrap_or_default();
        // From here on as X-Road's clients write it: whatever is sealed says which service was meant.
        let written = &match route {
            Some(route) => target::of_route(&route.service, written),
            None => written.to_owned(),
        };
        let target = Target::parse(head.method.as_str(), written).map_err(|error| bad_target(&error))?;
        let caller = self.caller(connection, headers, route)?;
        let addressee = addressee(headers)?;
        let operation = self.operation(&target)?;
        let purpose = self.purpose(head, &target, &operation)?;
        let mut fields = headers::to_fields(headers, Way::Request);
        let (id, id_is_ours) = match headers.get_all(headers::ID).iter().next_back() {
            Some(id) => (id.as_bytes().to_vec(), Ours::No),
            None => (self.new_id(&caller).into_bytes(), Ours::Yes),
        };
        let part = HeaderPart::new(target.verb, written, &fields);
        if id_is_ours == Ours::Yes {
            fields.push(ContextField { name: headers::ID.to_owned(), value: id.clone().into() });
        }
        let owned = |name| text(headers, name).unwrap_or_default().to_owned();
        let context = Context {
            verb: target.verb.to_owned(),
            path: written.clone(),
            metadata: fields,
            user_id: owned(context::USER_ID),
            issue: owned(context::ISSUE),
            represented_party: owned(context::REPRESENTED_PARTY),
            ..Context::default()
        };
        let (client, service) = (caller.clone(), target.service.clone());
        let asked = Asked { client, service, id, id_is_ours, part };
        let call = Call {
            caller,
            service: target.service,
            method: operation.name,
            addressee,
            purpose: Some(purpose),
            context,
            body: CallBody::Whole(Bytes::new(), 1),
            deadline: None,
        };
        Ok((call, asked))
    }

    /// What the host name stands for, if the path is not X-Road's: a client that knows nothing of the road calls.
    fn route(&self, head: &http::request::Parts) -> Option<Route> {
        if target::is_r1(head.uri.path()) {
            return None;
        }
        self.shared.settings.load().routes.get(&host(&head.uri, &head.headers)?).cloned()
    }

    /// `X-Road-Client` is required, as in X-Road, unless a route names the service; the last one counts. Unlike there, a
    /// credential must speak for it.
    fn caller(
        &self,
        connection: Option<Credential>,
        headers: &HeaderMap,
        route: Option<&Route>,
    ) -> Result<SubsystemId, Fault> {
        let named = headers.get_all(context::CLIENT).iter().next_back();
        if route.is_some() && named.is_none() {
            return self.shared.settings.load().clients.identify(&shown(connection, headers), None);
        }
        let refuse = |what: String| Fault::new(FaultCode::ClientInvalid, Place::ConsumerNode, what);
        let named = named.ok_or_else(|| refuse("the header X-Road-Client is missing".to_owned()))?;
        let named = std::str::from_utf8(named.as_bytes())
            .map_err(|_| refuse("X-Road-Client is no UTF-8".to_owned()))?;
        let client = target::client(named).map_err(|error| refuse(format!("X-Road-Client: {error}")))?;
        self.shared.settings.load().clients.identify(&shown(connection, headers), Some(client.as_str()))
    }

    /// What the contract says of the call.
    fn operation(&self, target: &Target) -> Result<MethodFacts, Fault> {
        let refuse = |code, message: String| Fault::new(code, Place::ConsumerNode, message);
        let conf = self.shared.exchange.globalconf();
        let conf =
            conf.ok_or_else(|| refuse(FaultCode::NodeNoGlobalconf, "services are not known yet".to_owned()))?;
        let service = &target.service;
        let facts = conf.contract(service).and_then(|contract| contract.facts()).ok_or_else(|| {
            refuse(FaultCode::ServiceUnknown, format!("no contract of {service} is registered"))
        })?;
        if !facts.is_rest() {
            return Err(refuse(FaultCode::ServiceType, format!("{service} is a gRPC service")));
        }
        // The path is the application's own: it is not repeated in what may be logged.
        facts.operation(target.verb, &target.path).cloned().ok_or_else(|| {
            let message = format!("the contract of {service} has no {} with this path", target.verb);
            refuse(FaultCode::MethodUnknown, message)
        })
    }

    /// The header's, else the route's, else the only one that the contract has.
    fn purpose(
        &self,
        head: &http::request::Parts,
        target: &Target,
        operation: &MethodFacts,
    ) -> Result<Purpose, Fault> {
        // Whoever asks a metadata service has that purpose, whatever a client says with all its calls.
        let is_metadata = METADATA.contains(&target.service.code().as_str());
        if let Some(purpose) = head.headers.get(context::PURPOSE).filter(|_| !is_metadata) {
            return parse_purpose(std::str::from_utf8(purpose.as_bytes()).unwrap_or_default());
        }
        let settings = self.shared.settings.load();
        let route = host(&head.uri, &head.headers).and_then(|host| settings.routes.get(&host));
        let of_route = route.filter(|route| route.service == target.service);
        if let Some(purpose) = of_route.and_then(|route| route.purpose.clone()) {
            return Ok(purpose);
        }
        let mut named = operation.purposes.iter();
        match (named.next(), named.next()) {
            (Some(only), None) => Ok(only.clone()),
            _ => {
                let names: Vec<_> = operation.purposes.iter().map(Purpose::as_str).collect();
                let message = format!("{} needs a purpose, one of: {}", operation.name, names.join(", "));
                Err(Fault::new(FaultCode::PurposeMissing, Place::ConsumerNode, message))
            }
        }
    }

    /// Members and their subsystems, to whoever shows a credential that this node knows.
    fn list_clients(
        &self,
        connection: Option<Credential>,
        head: &http::request::Parts,
    ) -> Result<Response<RoadBody>, Fault> {
        self.shared.settings.load().clients.known(&shown(connection, &head.headers))?;
        let conf = self.shared.exchange.globalconf().ok_or_else(|| {
            Fault::new(FaultCode::NodeNoGlobalconf, Place::ConsumerNode, "members are not known yet")
        })?;
        let wanted = head.uri.query().and_then(|query| target::query_value(query, "xRoadInstance"));
        let body = crate::rest::listing::clients(&conf, wanted.as_deref());
        let mut response = Response::new(RoadBody::new(OpenBody::Whole(body.into()), None));
        insert(response.headers_mut(), "content-type", "application/json; charset=utf-8");
        Ok(response)
    }

    /// As X-Road makes one: instance and a UUID.
    fn new_id(&self, caller: &SubsystemId) -> String {
        format!("{}-{}", caller.member().instance(), request_id(&ExchangeId::new(&*self.random)))
    }

    fn fault(&self, answered: Answered, asked: &HeaderMap) -> Response<RoadBody> {
        let exchange = answered.exchange.unwrap_or_else(|| ExchangeId::new(&*self.random));
        let fault = match answered.result {
            Err(fault) => fault,
            Ok(_) => Fault::new(FaultCode::Internal, Place::ConsumerNode, "an answer without an exchange"),
        };
        refusal::respond(&fault, asked, &request_id(&exchange), self.shared.settings.load().spelling)
    }
}

/// One way only to say which host is meant: in origin form, with one `Host`.
fn check_form(head: &http::request::Parts) -> Result<(), Fault> {
    let hosts = head.headers.get_all("host").iter().count();
    if head.version >= Version::HTTP_2 {
        return if hosts <= 1 { Ok(()) } else { Err(invalid("the header Host stands twice")) };
    }
    if head.uri.scheme().is_some() || head.uri.authority().is_some() {
        return Err(invalid("the request target is not in origin form"));
    }
    let host = text(&head.headers, "host").unwrap_or_default();
    let plain = host.parse::<http::uri::Authority>().is_ok_and(|authority| !authority.as_str().contains('@'));
    match (hosts, head.version) {
        (1, _) if plain => Ok(()),
        (0, Version::HTTP_10) => Ok(()),
        _ => Err(invalid("the header Host does not stand there once, with a host's name")),
    }
}

fn addressee(headers: &HeaderMap) -> Result<Option<NodeId>, Fault> {
    let Some(named) = text(headers, headers::SECURITY_SERVER) else { return Ok(None) };
    let server = target::security_server(named);
    server.map(Some).map_err(|error| invalid(&format!("X-Road-Security-Server: {error}")))
}

/// A small body to its end; of a large one the beginning, and a task that hands on the rest.
async fn read_body<B>(body: B, waits: LargeWaits) -> Result<(CallBody, Hash), Fault>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: std::fmt::Display,
{
    match body::read(body, MAX_BODY_BYTES).await {
        Ok(Read::Whole(body, _)) => {
            let hash = BodyHash::of(&body);
            Ok((CallBody::Whole(body, 1), Hash::Known(hash)))
        }
        Ok(Read::More(first, rest)) => {
            let (pieces, receiver) = mpsc::channel(PIECES_QUEUED);
            let (done, hash) = oneshot::channel();
            let watcher = Hashing { hasher: BodyHasher::new(), done, piece: Bytes::new() };
            let body = Coming { first, rest, place: Place::ConsumerNode, waits };
            tokio::spawn(body.hand_on(pieces, watcher));
            Ok((CallBody::Large(receiver), Hash::Coming(hash)))
        }
        Err(error) => Err(invalid(&format!("the body broke off: {error}"))),
    }
}

/// Of a request's body.
enum Hash {
    Known(BodyHash),
    /// When the body has ended.
    Coming(oneshot::Receiver<BodyHash>),
}

impl Hash {
    /// An answer comes only after the whole body went.
    async fn wait(self) -> Result<BodyHash, Fault> {
        match self {
            Self::Known(hash) => Ok(hash),
            Self::Coming(hash) => hash.await.map_err(|_| {
                Fault::new(FaultCode::Internal, Place::ConsumerNode, "an answer before the request's end")
            }),
        }
    }
}

/// Hashes a caller's body while it passes.
struct Hashing {
    hasher: BodyHasher,
    done: oneshot::Sender<BodyHash>,
    piece: Bytes,
}

impl Watcher for Hashing {
    type End = u64;

    fn push(&mut self, bytes: Bytes) {
        self.hasher.update(&bytes);
        self.piece = bytes;
    }

    fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        Ok(Some(std::mem::take(&mut self.piece)).filter(|piece| !piece.is_empty()))
    }

    /// A body is one message.
    fn end(self, _: Option<HeaderMap>) -> Result<u64, Fault> {
        // Whoever asked may have gone.
        let _ = self.done.send(self.hasher.finish());
        Ok(1)
    }
}

/// The service's answer with the headers that X-Road adds, in its order.
fn deliver(
    asked: Asked,
    body: &BodyHash,
    exchange: ExchangeId,
    answer: Answer,
) -> Result<Response<RoadBody>, Fault> {
    let status =
        u16::try_from(answer.context.http_status).ok().and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.filter(|status| !status.is_informational()).ok_or_else(|| {
        Fault::new(FaultCode::AnswerMismatch, Place::ConsumerNode, "the answer has no HTTP status")
    })?;
    let Asked { client, service, id, id_is_ours, mut part } = asked;
    let request = request_id(&exchange);
    part.line(headers::REQUEST_ID, request.as_bytes());
    if id_is_ours == Ours::Yes {
        part.line(headers::ID, &id);
    }
    let mut response = Response::new(RoadBody::new(answer.body, None));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers::put_fields(&answer.context.metadata, Way::Answer, headers);
    if let Ok(id) = http::HeaderValue::from_bytes(&id) {
        headers.insert(headers::ID, id);
    }
    insert(headers, context::CLIENT, client.as_str());
    insert(headers, context::SERVICE, service.as_str());
    insert(headers, headers::REQUEST_ID, &request);
    insert(headers, headers::REQUEST_HASH, &part.request_hash(body));
    insert(headers, context::EXCHANGE_ID, &exchange.to_string());
    Ok(response)
}

fn bad_target(error: &TargetError) -> Fault {
    invalid(&error.to_string())
}

fn invalid(message: &str) -> Fault {
    Fault::new(FaultCode::PayloadInvalid, Place::ConsumerNode, message)
}

const LIST_CLIENTS: &str = "/listClients";
