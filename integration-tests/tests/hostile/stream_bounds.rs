//! Bounds of streams that a node which means ill meets: rights that end, places that are taken, frames without an end.

use std::time::Duration;

use peabiru_integration_tests::evidence::{export, with};
use peabiru_integration_tests::federation::Federation;
use peabiru_ledger::evidence::verify;
use peabiru_node::link::frame::Sealed as As;
use peabiru_proto::entry::{Body, Entry, Reached, Received, SideEffects, Verdict};
use peabiru_proto::fault::FaultCode;
use peabiru_proto::hash::Digest;
use peabiru_proto::limits::CLOCK_SKEW;
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::RevokeGrantRequest;
use peabiru_proto::wire::link_frame::Frame;

use super::raw::refusal;
use super::streams::{Answers, Draft, bytes, message, verdict};
use super::{enter, still_answers};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_a_right_has_ended_is_refused_and_evidence_tells_it_from_what_was_accepted() {
    let mut federation = Federation::start().await;
    let (impostor, mec, mut visit) = enter(&mut federation).await;
    let opening = impostor.open_stream(&mec).await;
    let draft = Draft::after(&opening, message("good"));
    let first = draft.batch(&impostor).await;
    for sealed in [&opening, &first] {
        visit.show(&impostor.ledger, sealed).await;
    }
    let (mut send, receive) = visit.raw.connection.open_bi().await.unwrap();
    for (as_frame, sealed) in [(As::Message, &opening), (As::Batch, &first)] {
        send.write_all(&bytes(as_frame, sealed)).await.unwrap();
    }
    let (sealed, first) = (first.clone(), first.entry.entry.leaf_hash());
    assert_eq!(verdict(&mec, first).await, Verdict::Accepted);
    let (id, member) = ("MITIC-testing".to_owned(), "PY/GOV/MEC".to_owned());
    mec.admin().await.revoke_grant(RevokeGrantRequest { id, member }).await.unwrap();
    let mut answers = Answers::of(receive);
    let close = answers.closed().await;
    assert_eq!(close.peer, Some(Reached { leaf: first, chunks: 1 }));
    // It has heard that it may not, and sends all the same.
    let late = draft.next(&sealed, message("late")).batch(&impostor).await;
    visit.show(&impostor.ledger, &late).await;
    send.write_all(&bytes(As::Batch, &late)).await.unwrap();
    assert_eq!(verdict(&mec, late.entry.entry.leaf_hash()).await, Verdict::Refused);
    let tar = export(&mut mec.admin().await, &opening.entry.entry.exchange().to_string()).await.unwrap();
    let report = verify(&tar, Some(&federation.instance.anchor));
    assert!(report.failures.is_empty(), "{report:?}");
    for said in [
        "stream/request/: received, as the receiver sealed: 1 batch, not the end",
        "stream/request/: refused, as the receiver sealed: 1 batch, not the end",
    ] {
        assert!(report.holds.iter().any(|holds| holds == said), "{said}: {:?}", report.holds);
    }
    impostor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_has_so_many_streams_and_its_other_exchanges_go_on() {
    let mut federation = Federation::start().await;
    let (impostor, mec, mut visit) = enter(&mut federation).await;
    let mut open = Vec::new();
    let refused = loop {
        let opening = impostor.open_stream(&mec).await;
        let first = Draft::after(&opening, message("good")).batch(&impostor).await;
        for sealed in [&opening, &first] {
            visit.show(&impostor.ledger, sealed).await;
        }
        let (mut send, receive) = visit.raw.connection.open_bi().await.unwrap();
        send.write_all(&bytes(As::Message, &opening)).await.unwrap();
        // Refused at once, or let in: then what follows is noted.
        let _ = send.write_all(&bytes(As::Batch, &first)).await;
        let mut answers = Answers::of(receive);
        tokio::select! {
            _ = verdict(&mec, first.entry.entry.leaf_hash()) => open.push((send, answers)),
            answer = answers.next() => break refusal(answer),
        }
        assert!(open.len() <= STREAMS_MAX, "nobody says that it is enough");
    };
    assert_eq!((open.len(), refused.code), (STREAMS_MAX, FaultCode::NodeOverloaded));
    still_answers(&impostor, &mec, &mut visit).await;
    impostor.stop().await;
}

/// Its entries may be silent about what it had taken by then; its RECEIVED in the same ledger is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_had_taken_more_than_it_says_is_given_away_by_its_own_ledger() {
    let mut federation = Federation::start().await;
    let (impostor, mec, mut visit) = enter(&mut federation).await;
    let opening = impostor.open_stream_of(&mec, "Talk", SideEffects::None).await;
    visit.show(&impostor.ledger, &opening).await;
    let (mut send, receive) = visit.raw.connection.open_bi().await.unwrap();
    send.write_all(&bytes(As::Message, &opening)).await.unwrap();
    let mut answers = Answers::of(receive);
    let Some(Frame::Message(opened)) = answers.next().await else { panic!("no RESPONSE") };
    let response = Entry::decode(opened.entry).unwrap();
    let exchange = opening.entry.entry.exchange();
    let received = Received {
        peer_origin: response.origin().clone(),
        peer_index: opened.index,
        peer_leaf: response.leaf_hash(),
        peer_checkpoint: Digest::of(b"whatever sealed it"),
        expires_at: None,
        received_at: SystemClock.now(),
        verdict: Verdict::Accepted,
        grant: None,
    };
    let received = impostor.note(exchange, &Body::Received(received)).await;
    // It says that nothing had come when it made this.
    let silent = Draft::after(&opening, message("good")).batch(&impostor).await;
    visit.show(&impostor.ledger, &silent).await;
    send.write_all(&bytes(As::Batch, &silent)).await.unwrap();
    assert_eq!(verdict(&mec, silent.entry.entry.leaf_hash()).await, Verdict::Accepted, "who could know?");
    let tar = export(&mut mec.admin().await, &exchange.to_string()).await.unwrap();
    let anchor = &federation.instance.anchor;
    assert_eq!(verify(&tar, Some(anchor)).failures, []);
    let failures = verify(&with(&tar, &received), Some(anchor)).failures;
    let named: Vec<_> = failures.iter().map(|failure| failure.file.as_str()).collect();
    assert_eq!(named, ["stream/request/0.entry"], "{failures:?}");
    impostor.stop().await;
}

/// A node refuses such entries when they come; who has them from somewhere else is told by the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_that_cannot_be_are_given_away_by_the_evidence() {
    let mut federation = Federation::start().await;
    let (impostor, mec, mut visit) = enter(&mut federation).await;
    let opening = impostor.open_stream_of(&mec, "Talk", SideEffects::None).await;
    visit.show(&impostor.ledger, &opening).await;
    let (mut send, receive) = visit.raw.connection.open_bi().await.unwrap();
    send.write_all(&bytes(As::Message, &opening)).await.unwrap();
    let mut answers = Answers::of(receive);
    let Some(Frame::Message(opened)) = answers.next().await else { panic!("no RESPONSE") };
    let response = Entry::decode(opened.entry).unwrap();
    let (exchange, anchor) = (opening.entry.entry.exchange(), &federation.instance.anchor);
    let tar = export(&mut mec.admin().await, &exchange.to_string()).await.unwrap();
    let failed = |tar: &[u8]| {
        let failures = verify(tar, Some(anchor)).failures;
        failures.into_iter().map(|failure| (failure.file, failure.what)).collect::<Vec<_>>()
    };
    assert_eq!(failed(&tar), []);
    let (asked, answered) = (opening.entry.entry.common().created_at, response.common().created_at);
    let honest = Draft::after(&opening, message("good"));
    let first = honest.batch(&impostor).await;
    assert_eq!(failed(&with(&tar, &first.entry)), [], "silent about what it had taken, and made in time");
    // Before what it follows, whether it is silent about the other direction or not.
    let taken = Reached { leaf: response.leaf_hash(), chunks: 0 };
    let early = asked.minus(Duration::from_millis(1));
    for draft in [honest.clone(), honest.clone().taking(taken)] {
        let early = draft.made_at(early).batch(&impostor).await;
        let what = "it was made before the one before it".to_owned();
        assert!(failed(&with(&tar, &early.entry)).contains(&("stream/request/0.entry".to_owned(), what)));
    }
    // Before what it says to have taken, by more than two clocks differ.
    let long_ago = answered.minus(CLOCK_SKEW + Duration::from_millis(1));
    let early = honest.clone().taking(taken).made_at(long_ago).batch(&impostor).await;
    let what = "it was made before what it says to have taken".to_owned();
    assert!(failed(&with(&tar, &early.entry)).contains(&("stream/request/0.entry".to_owned(), what)));
    impostor.stop().await;
}

/// Of one connection, by a node: half of what the connection's window holds if nobody reads.
const STREAMS_MAX: usize = 32;
