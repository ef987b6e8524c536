//! What a node does with messages of a registered node that means ill: each is refused under its own code and counted,
//! and the agency's service never hears of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test says by failing what went wrong"
)]

#[path = "hostile/impostor.rs"]
mod impostor;
#[path = "hostile/large.rs"]
mod large;
#[path = "hostile/line.rs"]
mod line;
#[path = "../../node/tests/link/raw.rs"]
#[allow(dead_code, reason = "the link's own tests use the rest")]
mod raw;
#[path = "../../node/tests/link/raw_http2.rs"]
#[allow(dead_code, reason = "the link's own tests use the rest")]
mod raw_http2;
#[path = "hostile/resets.rs"]
mod resets;
#[path = "hostile/scene.rs"]
mod scene;
#[path = "hostile/slow.rs"]
mod slow;

#[path = "hostile/stream_bounds.rs"]
mod stream_bounds;
#[path = "hostile/streams.rs"]
mod streams;

use std::time::Duration;

use impostor::{Draft, Impostor, Sealed, Visit};
use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Federation, Member, subsystem};
use peabiru_integration_tests::metrics::counter;
use peabiru_node::link::frame::encode;
use peabiru_proto::entry::{Body, Entry, ExchangeId, SideEffects};
use peabiru_proto::fault::FaultCode;
use peabiru_proto::limits::MAX_FRAME_BYTES;
use peabiru_proto::wire::link_frame::Frame;
use peabiru_proto::wire::{FetchRequest, ListEntriesRequest};
use raw::refusal;

/// What a test changes in an honest draft.
type Change = fn(&mut Draft);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_lie_are_refused_before_a_seal_each_under_its_own_code() {
    let mut federation = Federation::start().await;
    let (impostor, mec, mut visit) = enter(&mut federation).await;
    let entries = size(&mec).await;
    let changes: [(Change, FaultCode); 6] = [
        (
            |draft| {
                draft.created_at = draft.created_at.minus(Duration::from_secs(240));
                draft.request.expires_at = draft.created_at.plus(Duration::from_secs(60));
            },
            FaultCode::MessageExpired,
        ),
        (
            |draft| {
                draft.created_at = draft.created_at.plus(Duration::from_secs(120));
                draft.request.expires_at = draft.created_at.plus(Duration::from_secs(60));
            },
            FaultCode::MessageFromFuture,
        ),
        (|draft| draft.request.addressee = "PY/GOV/INE/node".parse().unwrap(), FaultCode::MessageAddressee),
        // Captured on its way to another node of the same member.
        (|draft| draft.request.addressee = "PY/GOV/MEC/second".parse().unwrap(), FaultCode::MessageAddressee),
        (
            |draft| draft.request.service = "PY/GOV/INE/app/road.test.v1.EchoService".parse().unwrap(),
            FaultCode::MessageAddressee,
        ),
        (|draft| draft.request.consumer = subsystem("INE"), FaultCode::ClientUnknown),
    ];
    for (change, expected) in changes {
        let mut draft = impostor.draft(&mec, "a lie");
        change(&mut draft);
        let sealed = impostor.seal(draft).await;
        let before = refusals(&mec, expected).await;
        let fault = refusal(visit.send(&impostor, &sealed).await);
        assert_eq!(fault.code, expected, "{fault}");
        assert_eq!(fault.exchange, Some(sealed.entry.entry.exchange()));
        assert_eq!(refusals(&mec, expected).await, before + 1, "{expected}");
    }
    assert_eq!(size(&mec).await, entries, "nothing was sealed");
    assert!(mec.agency.echo.noted().is_empty(), "the service heard nothing");
    still_answers(&impostor, &mec, &mut visit).await;
    impostor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_were_tampered_with_are_refused_each_under_its_own_code() {
    let mut federation = Federation::start().await;
    let ine = federation.enrol("INE").await;
    let (impostor, mec, mut visit) = enter(&mut federation).await;
    let stolen = Impostor::of(ine, &mec);
    let entries = size(&mec).await;
    let sealed = impostor.seal(impostor.draft(&mec, "tampered with")).await;
    visit.show(&impostor.ledger, &sealed).await;
    let whole = sealed.bytes();
    let mut oversized = Vec::new();
    prost::encoding::encode_varint(MAX_FRAME_BYTES as u64 + 1, &mut oversized);
    let exchange = sealed.entry.entry.exchange();
    let origin = impostor.ledger.origin().as_str().as_bytes();
    // INE's keys are in the wrong hands too: its seals still do not pass over MITIC's connection.
    let foreign = stolen.seal(stolen.draft(&mec, "in another's name")).await;
    let cases = [
        (sealed.altered(exchange.as_bytes()), FaultCode::SealInvalid),
        (sealed.altered(b"testing"), FaultCode::SealInvalid),
        (sealed.altered(&sealed.ciphertext()), FaultCode::MessageAltered),
        (sealed.altered(origin), FaultCode::SealUnknownLedger),
        (foreign.bytes(), FaultCode::SealUnknownLedger),
        (whole[..whole.len() - 1].to_vec(), FaultCode::MessageMalformed),
        (whole[..whole.len() / 2].to_vec(), FaultCode::MessageMalformed),
        (oversized, FaultCode::MessageMalformed),
        ([&whole[..], &whole[..]].concat(), FaultCode::MessageMalformed),
    ];
    for (number, (bytes, expected)) in cases.into_iter().enumerate() {
        let before = refusals(&mec, expected).await;
        let fault = refusal(visit.raw.bytes(&bytes).await);
        assert_eq!(fault.code, expected, "case {number}: {fault}");
        assert_eq!(refusals(&mec, expected).await, before + 1, "case {number}");
    }
    assert_eq!(size(&mec).await, entries, "nothing was sealed");
    assert!(mec.agency.echo.noted().is_empty(), "the service heard nothing");
    // The message itself is as good as before.
    assert!(matches!(visit.raw.bytes(&whole).await, Some(Frame::Message(_))));
    assert_eq!(mec.agency.echo.noted()["tampered with"], 1);
    impostor.stop().await;
    stolen.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_contract_or_no_grant_allows_is_refused_with_a_seal() {
    let mut federation = Federation::start().await;
    let (impostor, mec, mut visit) = enter(&mut federation).await;
    let changes: [(Change, FaultCode); 5] = [
        // A write that says it is a read: RECEIVED would not be durable before the service runs.
        (|draft| draft.request.side_effects = SideEffects::None, FaultCode::ContractMismatch),
        (|draft| draft.request.contract_version = 2, FaultCode::ContractMismatch),
        (|draft| draft.request.method = "Forget".to_owned(), FaultCode::MethodUnknown),
        (|draft| draft.request.purpose = "curiosity".parse().unwrap(), FaultCode::PurposeNotAllowed),
        (
            |draft| {
                draft.request.method = "Inspect".to_owned();
                draft.request.side_effects = SideEffects::None;
                draft.request.purpose = "inspection".parse().unwrap();
            },
            FaultCode::PurposeNotAllowed,
        ),
    ];
    for (change, expected) in changes {
        let mut draft = impostor.draft(&mec, "not allowed");
        change(&mut draft);
        let sealed = impostor.seal(draft).await;
        let entries = size(&mec).await;
        assert_eq!(sealed_fault(visit.send(&impostor, &sealed).await.as_ref()), expected.as_str());
        assert_eq!(size(&mec).await, entries + 2, "RECEIVED and FAULT");
    }
    assert!(mec.agency.echo.noted().is_empty(), "the service heard nothing");
    still_answers(&impostor, &mec, &mut visit).await;
    impostor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_never_answered_again_not_even_after_a_restart() {
    let mut federation = Federation::start().await;
    let (impostor, mec, mut visit) = enter(&mut federation).await;
    let sealed = impostor.seal(impostor.draft(&mec, "once")).await;
    let mut read = impostor.draft(&mec, "");
    read.request.method = "Say".to_owned();
    read.request.side_effects = SideEffects::None;
    let read = impostor.seal(read).await;
    let mut refused = impostor.draft(&mec, "");
    refused.request.method = "Forget".to_owned();
    let refused = impostor.seal(refused).await;
    for first in [&sealed, &read, &refused] {
        assert!(matches!(visit.send(&impostor, first).await, Some(Frame::Message(_))));
    }
    let entries = size(&mec).await;
    copies_are_refused(&impostor, &mec, &mut visit, [&sealed, &read, &refused]).await;
    // Two copies at once of something new: one is answered.
    let twice = impostor.seal(impostor.draft(&mec, "twice")).await;
    visit.show(&impostor.ledger, &twice).await;
    let bytes = twice.bytes();
    let (one, two) = tokio::join!(visit.raw.bytes(&bytes), visit.raw.bytes(&bytes));
    let answered = [&one, &two].into_iter().filter(|frame| answer_code(frame.as_ref()).is_none()).count();
    assert_eq!(answered, 1, "{one:?} {two:?}");

    let mec = mec.stop().await.start().await;
    let mut visit = impostor.visit(&mec, 2).await;
    assert!(size(&mec).await > entries);
    copies_are_refused(&impostor, &mec, &mut visit, [&sealed, &read, &refused]).await;
    copies_are_refused(&impostor, &mec, &mut visit, [&twice, &twice, &twice]).await;
    let noted = mec.agency.echo.noted();
    assert_eq!((noted["once"], noted["twice"]), (1, 1));
    impostor.stop().await;
}

/// Exchange ids are no secret: whoever seals a request of its own under that of others is still a stranger to theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_id_opens_nothing_of_other_parties() {
    let mut federation = Federation::start().await;
    let mitic = federation.enrol("MITIC").await;
    let [mec, ine] = federation.members(["MEC", "INE"]).await;
    mec.grant("MITIC").await;
    mec.grant("INE").await;
    let secret = SayRequest { body: "between INE and MEC".into(), ..SayRequest::default() };
    let answer = ine.caller("MEC").await.say(secret).await.unwrap();
    let exchange = answer.metadata().get("x-peabiru-exchange-id").unwrap().to_str().unwrap();
    let exchange: ExchangeId = exchange.parse().unwrap();
    let impostor = Impostor::of(mitic, &mec);
    let mut visit = impostor.visit(&mec, 1).await;
    let own = impostor.seal_as(impostor.draft(&mec, "the same id"), exchange).await;
    assert!(matches!(visit.send(&impostor, &own).await, Some(Frame::Message(_))));
    let leaf = own.entry.entry.leaf_hash();
    let fetch = Frame::Fetch(FetchRequest {
        request_leaf_hash: leaf.as_bytes().to_vec().into(),
        exchange_id: exchange.as_bytes().to_vec().into(),
        ..FetchRequest::default()
    });
    let Some(Frame::Fetched(held)) = visit.raw.bytes(&encode(fetch)).await else { panic!("no answer") };
    let entries: Vec<_> =
        held.entries.iter().map(|held| Entry::decode(held.entry.clone()).unwrap()).collect();
    assert_eq!(entries.len(), 3, "its request, what was made of it, its answer: {entries:?}");
    for entry in entries {
        let about = match entry.body() {
            Body::Request(_) => entry.leaf_hash(),
            Body::Received(head) => head.peer_leaf,
            Body::Response(head) => head.request_leaf,
            other => panic!("{other:?}"),
        };
        assert_eq!(about, leaf, "nothing of INE's exchange");
    }
    impostor.stop().await;
}

/// A federation in which MITIC's node is the impostor, with a grant of MEC.
async fn enter(federation: &mut Federation) -> (Impostor, Member, Visit) {
    let mitic = federation.enrol("MITIC").await;
    let mec = federation.enrol("MEC").await.start().await;
    mec.grant("MITIC").await;
    let impostor = Impostor::of(mitic, &mec);
    let visit = impostor.visit(&mec, 1).await;
    (impostor, mec, visit)
}

async fn still_answers(impostor: &Impostor, mec: &Member, visit: &mut Visit) {
    let honest = impostor.seal(impostor.draft(mec, "honest")).await;
    assert!(matches!(visit.send(impostor, &honest).await, Some(Frame::Message(_))));
    assert_eq!(mec.agency.echo.noted()["honest"], 1);
}

/// Under a newer head each time: no checkpoint gives a copy away.
async fn copies_are_refused(impostor: &Impostor, mec: &Member, visit: &mut Visit, copies: [&Sealed; 3]) {
    let newer = impostor.seal(impostor.draft(mec, "newer")).await;
    visit.show(&impostor.ledger, &newer).await;
    let (before, entries) = (refusals(mec, FaultCode::MessageReplayed).await, size(mec).await);
    for copy in copies {
        let fault = refusal(visit.send(impostor, &impostor.reseal(copy)).await);
        assert_eq!(fault.code, FaultCode::MessageReplayed, "{fault}");
    }
    assert_eq!(refusals(mec, FaultCode::MessageReplayed).await, before + 3);
    assert_eq!(size(mec).await, entries, "a copy grows no ledger");
}

/// Code of a sealed FAULT.
fn sealed_fault(frame: Option<&Frame>) -> String {
    answer_code(frame).unwrap_or_else(|| panic!("no sealed fault: {frame:?}"))
}

/// Code of a fault, sealed or not; none for an answer of the service.
fn answer_code(frame: Option<&Frame>) -> Option<String> {
    match frame {
        Some(Frame::Message(message)) => match Entry::decode(message.entry.clone()).unwrap().body() {
            Body::Fault(head) => Some(head.code.clone()),
            _ => None,
        },
        Some(Frame::Refusal(fault)) => Some(fault.code.clone()),
        other => panic!("neither an answer nor a refusal: {other:?}"),
    }
}

/// How many messages of peers were refused so, without a seal. Nodes of tests that run at the same time count with this
/// one: the tests of a code are one test.
async fn refusals(member: &Member, code: FaultCode) -> u64 {
    let page = member.node.metrics.unwrap();
    counter(page, "peabiru_link_refusals_total", &format!("code=\"{code}\"")).await
}

async fn size(member: &Member) -> u64 {
    let request = ListEntriesRequest { limit: 1, ..ListEntriesRequest::default() };
    member.admin().await.list_entries(request).await.unwrap().into_inner().tree_size
}
