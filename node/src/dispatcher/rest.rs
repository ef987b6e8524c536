//! A REST call at the agency's HTTP service (x-road.md §3.5): same verb, base URL and path and query, surviving headers.
//!
//! Any HTTP status is an answer, redirects too: they are handed back, not followed.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use peabiru_proto::context;
use peabiru_proto::fault::{Fault, Place};
use peabiru_proto::limits::MAX_BODY_BYTES;
use peabiru_proto::wire::Context;
use tokio::sync::mpsc;

use super::connection::Connection;
use super::protocol;
use crate::exchange::{AnswerEnd, Invocation, Served};
use crate::flow::PIECES_QUEUED;
use crate::grpc::body::{self, Coming, LargeWaits, Read, RoadBody, Watcher};
use crate::rest::hash::request_id;
use crate::rest::headers::{self, Way, insert};
use crate::rest::target::Target;

pub(super) async fn invoke(
    connection: &Connection,
    target: &Target,
    invocation: Invocation,
) -> Result<Served, Fault> {
    let request = request(connection, target, invocation)?;
    let (response, lent) = connection.send_rest(request).await?;
    let answer = read_answer(response).await?;
    if let Served::Whole(..) = answer {
        connection.give_back(lent);
    }
    Ok(answer)
}

fn request(
    connection: &Connection,
    target: &Target,
    invocation: Invocation,
) -> Result<Request<RoadBody>, Fault> {
    let location = connection.location();
    let unwritable = |error: &dyn std::fmt::Display| protocol(format!("the call cannot be written: {error}"));
    let uri: Uri = target.below(&location.base).parse().map_err(|error| unwritable(&error))?;
    let method = Method::from_bytes(target.verb.as_bytes()).map_err(|error| unwritable(&error))?;
    let mut headers = HeaderMap::new();
    insert(&mut headers, "host", location.endpoint.authority());
    headers::put_fields(&invocation.context.metadata, Way::Request, &mut headers);
    // Who asks is what the seal says, not what the sender wrote.
    insert(&mut headers, context::CLIENT, invocation.consumer.as_str());
    insert(&mut headers, headers::REQUEST_ID, &request_id(&invocation.exchange));
    insert(&mut headers, context::PURPOSE, invocation.purpose.as_str());
    insert(&mut headers, context::EXCHANGE_ID, &invocation.exchange.to_string());
    let mut request = Request::new(RoadBody::new(invocation.body, None));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

async fn read_answer(response: Response<Incoming>) -> Result<Served, Fault> {
    let (head, incoming) = response.into_parts();
    if head.status.is_informational() {
        return Err(protocol(format!("it answered HTTP {}", head.status)));
    }
    let context = Context {
        metadata: headers::to_fields(&head.headers, Way::Answer),
        http_status: head.status.as_u16().into(),
        ..Context::default()
    };
    let end = AnswerEnd { outcome: outcome(head.status), context };
    match body::read(incoming, MAX_BODY_BYTES).await {
        Ok(Read::Whole(body, _)) => Ok(Served::Whole(end, body)),
        Ok(Read::More(first, rest)) => {
            let (pieces, receiver) = mpsc::channel(PIECES_QUEUED);
            let body = Coming { first, rest, place: Place::Service, waits: LargeWaits::default() };
            tokio::spawn(body.hand_on(pieces, Answering { end, piece: Bytes::new() }));
            Ok(Served::Large(receiver))
        }
        Err(error) => Err(protocol(format!("its answer broke off: {error}"))),
    }
}

/// Any bytes are a body; everything else was said before it.
struct Answering {
    end: AnswerEnd,
    piece: Bytes,
}

impl Watcher for Answering {
    type End = AnswerEnd;

    fn push(&mut self, bytes: Bytes) {
        self.piece = bytes;
    }

    fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        Ok(Some(std::mem::take(&mut self.piece)).filter(|piece| !piece.is_empty()))
    }

    fn end(self, _: Option<HeaderMap>) -> Result<AnswerEnd, Fault> {
        Ok(self.end)
    }
}

/// As gRPC maps HTTP (doc/http-grpc-status-mapping.md): a head has room for a gRPC code only. The status itself is in
/// the sealed context.
fn outcome(status: StatusCode) -> u32 {
    match status.as_u16() {
        200..=299 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}
