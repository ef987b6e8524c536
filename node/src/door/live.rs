//! Calls whose messages go one by one, as their contract says.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body;
use peabiru_proto::context;
use peabiru_proto::contract::{Delivery, MethodFacts, Streaming};
use peabiru_proto::fault::{Fault, Place};
use tokio::sync::mpsc;

use super::front::OpenCall;
use super::grpc::{CONTENT_TYPE, GrpcDoor, insert, put_fault, trailers};
use crate::exchange::{AnswerEnd, Call};
use crate::flow::ARRIVED_QUEUED;
use crate::grpc::body::{self, RoadBody, Watcher};
use crate::grpc::framing::{Messages, check_count};
use crate::grpc::metadata::put_fields;

impl GrpcDoor {
    /// Whether the contract says so of the method.
    pub(super) fn is_live(&self, call: &Call) -> bool {
        self.facts(call, |facts| facts.delivery) == Some(Delivery::Live)
    }

    fn facts<T>(&self, call: &Call, of: impl FnOnce(&MethodFacts) -> T) -> Option<T> {
        let conf = self.0.exchange.globalconf()?;
        conf.contract(&call.service)?.facts()?.method(&call.method).map(of)
    }

    /// Carries one call. It is one of the door's calls for as long as the caller sends.
    pub(super) async fn stream<B>(&self, call: Call, body: B, open: OpenCall) -> Response<RoadBody>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let (sender, messages) = mpsc::channel(ARRIVED_QUEUED);
        let streaming = self.facts(&call, |facts| facts.streaming).unwrap_or(Streaming::Both);
        let asking = Asking { messages: Messages::default(), streaming };
        tokio::spawn(body::hand_on_live(body, Place::ConsumerNode, sender, asking));
        let streamed = self.0.exchange.stream(call, messages).await;
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(exchange) = streamed.exchange {
            insert(&mut headers, context::EXCHANGE_ID, &exchange.to_string());
        }
        let body = match streamed.result {
            Ok(served) => {
                put_fields(&served.context.metadata, &mut headers);
                RoadBody::live(served.pieces, ending).holding(open)
            }
            Err(fault) => {
                put_fault(&fault, &mut headers);
                RoadBody::default()
            }
        };
        let mut response = Response::new(body);
        *response.headers_mut() = headers;
        response
    }
}

/// Sees a caller's messages pass.
struct Asking {
    messages: Messages,
    streaming: Streaming,
}

impl Watcher for Asking {
    type End = AnswerEnd;

    fn piece(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.messages.push(bytes, Place::ConsumerNode)
    }

    fn end(self, _: Option<HeaderMap>) -> Result<AnswerEnd, Fault> {
        let messages = self.messages.finish(Place::ConsumerNode)?;
        match self.streaming {
            Streaming::Unary | Streaming::Server => check_count(messages, Place::ConsumerNode)?,
            Streaming::Client | Streaming::Both => {}
        }
        Ok(AnswerEnd::complete())
    }
}

/// A stream that breaks off ends with a status that says why.
fn ending(end: &Result<AnswerEnd, Fault>) -> Option<HeaderMap> {
    let end = match end {
        Ok(end) => end,
        Err(fault) => {
            let mut trailers = HeaderMap::new();
            put_fault(fault, &mut trailers);
            return Some(trailers);
        }
    };
    Some(trailers(end.outcome, &end.context))
}
