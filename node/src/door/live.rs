//! Calls whose messages go one by one, as their contract says.

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Body;
use peabiru_proto::context;
use peabiru_proto::contract::{Delivery, MethodFacts, Streaming};
use peabiru_proto::fault::{Fault, Place};
use peabiru_proto::language::Language;
use tokio::sync::mpsc;

use super::front::refused;
use super::grpc::{GrpcDoor, beginning, insert, put_fault, respond, trailers};
use super::places::OpenCall;
use super::refusal::language;
use crate::exchange::{AnswerEnd, Call};
use crate::flow::ARRIVED_QUEUED;
use crate::grpc::body::{self, Ending, RoadBody, Watcher};
use crate::grpc::framing::check_count;
use crate::grpc::metadata::put_fields;
use crate::grpc::unpack::Unpacker;

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
    pub(super) async fn stream<B>(
        &self,
        call: Call,
        headers: &HeaderMap,
        body: B,
        open: OpenCall,
    ) -> Response<RoadBody>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let language = language(headers);
        let (sender, asked) = mpsc::channel(ARRIVED_QUEUED);
        let streaming = self.facts(&call, |facts| facts.streaming).unwrap_or(Streaming::Both);
        let messages = match Unpacker::new(headers, Place::ConsumerNode, &self.0.packed) {
            Ok(messages) => messages,
            Err(fault) => return respond(refused(fault), language),
        };
        let asking = Asking { messages, streaming };
        tokio::spawn(body::hand_on_live(body, Place::ConsumerNode, sender, asking));
        let streamed = self.0.exchange.stream(call, asked).await;
        let mut headers = beginning();
        if let Some(exchange) = streamed.exchange {
            insert(&mut headers, context::EXCHANGE_ID, &exchange.to_string());
        }
        let body = match streamed.result {
            Ok(served) => {
                put_fields(&served.context.metadata, &mut headers);
                RoadBody::live(served.pieces, ending(language)).holding(open)
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
}

/// Sees a caller's messages pass.
struct Asking {
    messages: Unpacker,
    streaming: Streaming,
}

impl Watcher for Asking {
    type End = AnswerEnd;

    fn push(&mut self, bytes: Bytes) {
        self.messages.push(bytes);
    }

    fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.messages.take()
    }

    fn end(self, _: Option<HeaderMap>) -> Result<AnswerEnd, Fault> {
        let messages = self.messages.finish()?;
        match self.streaming {
            Streaming::Unary | Streaming::Server => check_count(messages, Place::ConsumerNode)?,
            Streaming::Client | Streaming::Both => {}
        }
        Ok(AnswerEnd::complete())
    }
}

/// A stream that breaks off ends with a status that says why, in the language that its caller asked for.
fn ending(language: Language) -> Ending {
    match language {
        Language::Spanish => |end| ending_in(end, Language::Spanish),
        Language::English => |end| ending_in(end, Language::English),
    }
}

fn ending_in(end: &Result<AnswerEnd, Fault>, language: Language) -> Option<HeaderMap> {
    let end = match end {
        Ok(end) => end,
        Err(fault) => {
            let mut trailers = HeaderMap::new();
            put_fault(fault, language, &mut trailers);
            return Some(trailers);
        }
    };
    Some(trailers(end.outcome, &end.context))
}
