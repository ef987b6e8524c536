//! An answer on its way back: the consumer checks it as the provider checked the request.

use peabiru_ledger::payload::{Direction, OpenBody};
use peabiru_proto::contract::Delivery;
use peabiru_proto::entry::{Body, ExchangeId, Received as ReceivedHead, Verdict};
use peabiru_proto::fault::Fault;
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::{ContentRoot, LeafHash};
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::limits::CLOCK_SKEW;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire;
use prost::Message as _;

use super::refusal::Refusal;
use super::request::{check_not_future, check_seal, open_payload};
use crate::exchange::{Answer, Arrived};

/// What this node waits for.
#[derive(Debug, Clone)]
pub struct Outstanding {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Leaf hash of our REQUEST.
    pub request_leaf: LeafHash,
    /// Member that answers.
    pub provider: MemberId,
    /// Who we are.
    pub own: NodeId,
    /// When our REQUEST was made.
    pub asked_at: Timestamp,
    /// Whether a whole answer is due, or one that opens a stream.
    pub delivery: Delivery,
}

/// An answer whose seal and payload hold, and which answers our request.
#[derive(Debug)]
pub struct CheckedAnswer {
    /// The service's answer, or the provider node's sealed fault.
    pub result: Result<Answer, Fault>,
    /// What our RECEIVED entry says of it.
    pub received: ReceivedHead,
}

/// As `check_head`, then the payload.
///
/// # Errors
/// The first check that fails: the answer is not delivered.
pub fn check(
    arrived: &Arrived,
    outstanding: &Outstanding,
    conf: &GlobalConfiguration,
) -> Result<CheckedAnswer, Refusal> {
    let head = checked_head(arrived, outstanding, conf)?;
    let (context, body) = open_payload(arrived, Direction::Answer, &head.content_root, head.body_bytes)?;
    let result = match head.outcome {
        Outcome::Status(outcome) => Ok(Answer { outcome, context, body }),
        Outcome::Fault(code) => Err(sealed_fault(code, &body, outstanding)?),
    };
    Ok(CheckedAnswer { result, received: received_head(arrived, Verdict::Accepted) })
}

/// Shape → peer hosts origin → exchange, addressee, outstanding request, time → seal: all but the payload.
///
/// # Errors
/// The first check that fails.
pub fn check_head(
    arrived: &Arrived,
    outstanding: &Outstanding,
    conf: &GlobalConfiguration,
) -> Result<(), Refusal> {
    checked_head(arrived, outstanding, conf).map(drop)
}

fn checked_head<'a>(
    arrived: &'a Arrived,
    outstanding: &Outstanding,
    conf: &GlobalConfiguration,
) -> Result<AnswerHead<'a>, Refusal> {
    let head = AnswerHead::of(arrived)?;
    let origin = arrived.entry.origin();
    conf.ledger(origin)
        .filter(|ledger| ledger.node == arrived.peer && ledger.member == outstanding.provider)
        .ok_or_else(|| Refusal::NotItsLedger { peer: arrived.peer.clone(), origin: origin.clone() })?;
    if arrived.entry.exchange() != outstanding.exchange {
        return Err(Refusal::AnswerMismatch("another exchange"));
    }
    if *head.addressee != outstanding.own {
        return Err(Refusal::Addressee { addressee: head.addressee.clone(), own: outstanding.own.clone() });
    }
    if head.request_leaf != outstanding.request_leaf {
        return Err(Refusal::AnswerMismatch("another request leaf"));
    }
    if head.is_stream != (outstanding.delivery == Delivery::Live)
        && matches!(head.outcome, Outcome::Status(_))
    {
        return Err(Refusal::AnswerMismatch("not sealed as the contract says"));
    }
    let created_at = arrived.entry.common().created_at;
    if created_at.plus(CLOCK_SKEW) < outstanding.asked_at {
        return Err(Refusal::AnswerMismatch("it was made before the request"));
    }
    check_not_future(created_at, arrived.received_at)?;
    check_seal(arrived)?;
    Ok(head)
}

struct AnswerHead<'a> {
    request_leaf: LeafHash,
    addressee: &'a NodeId,
    content_root: ContentRoot,
    body_bytes: u64,
    is_stream: bool,
    outcome: Outcome<'a>,
}

enum Outcome<'a> {
    Status(u32),
    Fault(&'a str),
}

impl<'a> AnswerHead<'a> {
    fn of(arrived: &'a Arrived) -> Result<Self, Refusal> {
        match arrived.entry.body() {
            Body::Response(head) => Ok(Self {
                request_leaf: head.request_leaf,
                addressee: &head.addressee,
                content_root: head.content.committed().0,
                body_bytes: head.content.committed().1,
                is_stream: head.content.is_stream(),
                outcome: Outcome::Status(head.outcome),
            }),
            Body::Fault(head) => Ok(Self {
                request_leaf: head.request_leaf,
                addressee: &head.addressee,
                content_root: head.content_root,
                body_bytes: head.body_bytes,
                is_stream: false,
                outcome: Outcome::Fault(&head.code),
            }),
            Body::Request(_)
            | Body::Received(_)
            | Body::Batch(_)
            | Body::Close(_)
            | Body::KeyChange(_)
            | Body::Notice(_) => Err(Refusal::Shape("an answer is a RESPONSE or a FAULT entry")),
        }
    }
}

fn sealed_fault(code: &str, body: &OpenBody, outstanding: &Outstanding) -> Result<Fault, Refusal> {
    let fault = body.whole().and_then(|body| wire::Fault::decode(body.clone()).ok());
    let fault = fault.ok_or(Refusal::Shape("the body of a FAULT is not a Fault message"))?;
    if fault.code != code {
        return Err(Refusal::AnswerMismatch("the fault's code differs from its head"));
    }
    let fault =
        Fault::from_proto(&fault).map_err(|_| Refusal::Shape("the body of a FAULT is not a known fault"))?;
    Ok(fault.with_exchange(outstanding.exchange))
}

/// What our RECEIVED entry says of an answer, or of a piece of a stream.
#[must_use]
pub fn received_head(arrived: &Arrived, verdict: Verdict) -> ReceivedHead {
    ReceivedHead {
        peer_origin: arrived.entry.origin().clone(),
        peer_index: arrived.position.index(),
        peer_leaf: arrived.entry.leaf_hash(),
        peer_checkpoint: arrived.checkpoint.note_hash(),
        expires_at: None,
        received_at: arrived.received_at,
        verdict,
        grant: None,
    }
}
