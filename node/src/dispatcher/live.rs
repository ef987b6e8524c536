//! Calls whose messages go one by one.

use std::time::Duration;

use http::HeaderMap;
use http_body::Body as _;
use peabiru_proto::fault::{Fault, Place};
use peabiru_proto::wire::Context;
use tokio::sync::mpsc;

use super::connection::Connection;
use super::{Answering, answer_end, protocol, request};
use crate::exchange::{AnswerEnd, Invocation, LiveServed, Piece, Pieces};
use crate::flow::ARRIVED_QUEUED;
use crate::grpc::body::{self, RoadBody};
use crate::grpc::metadata::to_fields;
use crate::grpc::unpack::{PackedRoom, Unpacker};

/// Ready when the answer begins. The request goes on for as long as the service, and the consumer, want it.
pub(super) async fn invoke(
    connection: &Connection,
    invocation: Invocation,
    messages: Pieces<AnswerEnd>,
    life: Option<Duration>,
    packed: &PackedRoom,
) -> Result<LiveServed, Fault> {
    let streaming = invocation.streaming;
    let request = request(connection.location(), invocation, RoadBody::live(messages, ending), life)?;
    let response = connection.send_live(request).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(protocol(format!("it answered HTTP {status}")));
    }
    let (head, incoming) = response.into_parts();
    let (sender, pieces) = mpsc::channel(ARRIVED_QUEUED);
    if incoming.is_end_stream() {
        let end = answer_end(&head.headers, None, 0, streaming)?;
        // There is room for one.
        let _ = sender.try_send(Ok(Piece::End(end)));
        return Ok(LiveServed { context: Context::default(), pieces });
    }
    let context = Context { metadata: to_fields(&head.headers), ..Context::default() };
    let watcher = Answering {
        messages: Unpacker::new(&head.headers, Place::Service, packed)?,
        headers: head.headers,
        streaming,
    };
    tokio::spawn(body::hand_on_live(incoming, Place::Service, sender, watcher));
    Ok(LiveServed { context, pieces })
}

/// A request has no trailers; one that was broken off is no whole one.
fn ending(end: &Result<AnswerEnd, Fault>) -> Option<HeaderMap> {
    end.is_ok().then(HeaderMap::new)
}
