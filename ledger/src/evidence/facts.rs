//! An exchange in plain terms, read off its entries.

use peabiru_proto::entry::{Body, Entry, StreamDirection, Verdict};
use peabiru_proto::time::Timestamp;

/// Who asked whom for what, and what came back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// 32 hex digits.
    pub exchange: String,
    /// Subsystem that asked.
    pub consumer: String,
    /// Service that was asked.
    pub service: String,
    /// Method of it.
    pub method: String,
    /// Why.
    pub purpose: String,
    /// Node that was to answer.
    pub addressee: String,
    /// When the request was made.
    pub asked_at: Option<Timestamp>,
    /// When it arrived.
    pub arrived_at: Option<Timestamp>,
    /// What the provider decided.
    pub verdict: Option<Verdict>,
    /// The grant that allowed it: id and revision.
    pub grant: Option<String>,
    /// When the answer was made.
    pub answered_at: Option<Timestamp>,
    /// `gRPC 0`, or a fault's code.
    pub outcome: Option<String>,
    /// Bytes of the request's body.
    pub request_bytes: Option<u64>,
    /// Bytes of the answer's body.
    pub answer_bytes: Option<u64>,
}

impl Facts {
    pub(super) fn add(&mut self, entry: &Entry) {
        let at = Some(entry.common().created_at);
        match entry.body() {
            Body::Request(request) => {
                self.exchange = entry.exchange().to_string();
                self.consumer = request.consumer.to_string();
                self.service = request.service.to_string();
                self.method.clone_from(&request.method);
                self.purpose = request.purpose.to_string();
                self.addressee = request.addressee.to_string();
                self.asked_at = at;
                self.request_bytes = entry.body().content().map(|(_, bytes)| bytes);
            }
            // Only the RECEIVED of a request has an expiry.
            Body::Received(received) if received.expires_at.is_some() => {
                self.arrived_at = Some(received.received_at);
                self.verdict = Some(received.verdict);
                self.grant =
                    received.grant.as_ref().map(|grant| format!("{}, revision {}", grant.id, grant.revision));
            }
            Body::Response(head) => {
                self.answered_at = at;
                // The CLOSE of a stream says how it ended.
                self.outcome = (!head.content.is_stream()).then(|| format!("gRPC {}", head.outcome));
                self.answer_bytes = Some(head.content.committed().1);
            }
            Body::Batch(head) => {
                let bytes = match head.direction {
                    StreamDirection::Request => &mut self.request_bytes,
                    StreamDirection::Answer => &mut self.answer_bytes,
                };
                *bytes = Some(bytes.unwrap_or(0).saturating_add(head.body_bytes));
            }
            Body::Close(head) if head.direction == StreamDirection::Answer => {
                let code = head.fault.clone();
                self.outcome = Some(code.unwrap_or_else(|| format!("gRPC {}", head.outcome)));
            }
            Body::Fault(head) => {
                self.answered_at = at;
                self.outcome = Some(head.code.clone());
                self.answer_bytes = Some(head.body_bytes);
            }
            Body::Received(_) | Body::Close(_) | Body::KeyChange(_) | Body::Notice(_) => {}
        }
    }
}
