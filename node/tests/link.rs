//! The link over real sockets, with real certificates and real ledgers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test says by failing what went wrong"
)]

#[path = "link/carriers.rs"]
mod carriers;
#[path = "link/firewall.rs"]
mod firewall;
#[path = "link/hostile_http2.rs"]
mod hostile_http2;
#[path = "link/large.rs"]
mod large;
#[path = "link/raw.rs"]
mod raw;
#[path = "link/raw_http2.rs"]
mod raw_http2;
#[path = "link/road.rs"]
mod road;

use std::sync::Arc;
use std::time::Duration;

use peabiru_ledger::payload::Direction;
use peabiru_ledger::position::TreeSize;
use peabiru_ledger::proof::ConsistencyProof;
use peabiru_node::exchange::{FromChunks, LinkAnswer, Wanted};
use peabiru_node::link::heads::Heads;
use peabiru_node::link::hello::Hello;
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::limits::MAX_FRAME_BYTES;
use peabiru_proto::wire::{DialOutAddress, RelayAddress, link_frame::Frame, node_address::Address};

use raw::{Raw, message, refusal};
use road::{LONG, Road, forks, kept_forks, open, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_goes_there_and_its_answer_comes_back_and_either_side_asks() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    assert_eq!(mec.say(&mitic.site.id, "mba'éichapa").await, Ok("mba'éichapa".to_owned()));
    assert_eq!(mitic.say(&mec.site.id, "iporã").await, Ok("iporã".to_owned()));
    for (own, other) in [(&mec, &mitic), (&mitic, &mec)] {
        let peers: Vec<_> = own.link.peers().into_iter().map(|peer| peer.node).collect();
        assert_eq!(peers, std::slice::from_ref(&other.site.id), "one connection serves both directions");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_one_connection_and_their_checkpoints() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    let (mec, to) = (Arc::new(mec), mitic.site.id.clone());
    let callers: Vec<_> = (0..64)
        .map(|caller| {
            let (mec, to) = (Arc::clone(&mec), to.clone());
            tokio::spawn(async move {
                for round in 0..10 {
                    let text = format!("{caller} {round}");
                    assert_eq!(mec.say(&to, &text).await, Ok(text));
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(mitic.link.peers().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_the_largest_size_passes() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    let text = "x".repeat(peabiru_proto::limits::MAX_BODY_BYTES);
    assert_eq!(mec.say(&mitic.site.id, &text).await, Ok(text));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_that_the_message_was_not_accepted() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    match mec.ask(&mitic.site.id, "refuse").await {
        Ok(LinkAnswer::Refused(fault)) => assert_eq!(fault.code, FaultCode::MessageExpired),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counterparty_fetches_an_answer_that_it_missed() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    let LinkAnswer::Arrived(first) = mec.ask(&mitic.site.id, "what was said").await.unwrap() else {
        panic!("refused")
    };
    mec.say(&mitic.site.id, "something else").await.unwrap();
    let (exchange, request_leaf) = (first.entry.exchange(), LeafHash::from_bytes([1; 32]));
    let wanted = Wanted { exchange, request_leaf, from: FromChunks::default() };
    let held = mec.link.fetch(&mitic.site.id, wanted, LONG).await.unwrap();
    let again = mec.link.arrived(&mitic.site.id, held.entries[0].clone(), None).await.unwrap();
    assert_eq!(again.entry, first.entry);
    assert!(
        again.checkpoint.size() > first.checkpoint.size(),
        "under the newest head, which is on its chain"
    );
    assert_eq!(open(&again, Direction::Answer), "what was said");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_both_dial_at_once_one_connection_is_left() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    let (there, back) = tokio::join!(mec.link.connect(&mitic.site.id), mitic.link.connect(&mec.site.id));
    assert_eq!((there, back), (Ok(()), Ok(())));
    let (there, back) = tokio::join!(mec.say(&mitic.site.id, "a"), mitic.say(&mec.site.id, "b"));
    assert_eq!((there, back), (Ok("a".to_owned()), Ok("b".to_owned())));
    let one = |peers: Vec<peabiru_node::link::PeerStatus>| <[_; 1]>::try_from(peers).unwrap();
    let ([at_mec], [at_mitic]) = (one(mec.link.peers()), one(mitic.link.peers()));
    assert_ne!(at_mec.dialled_by, at_mitic.dialled_by, "both use the same one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_nobody_registered_is_turned_away() {
    let road = Road::of(&["MEC"]);
    let (mec, _) = road.start("MEC").await;
    let (stranger, _) = road.start_site(road.stranger("NOBODY"), "ledger").await;
    let fault = stranger.say(&mec.site.id, "hello").await.unwrap_err();
    assert_eq!(fault.code, FaultCode::NodeUnreachable, "{fault}");
    assert_eq!(mec.link.peers(), []);
    let fault = mec.say(&stranger.site.id, "hello").await.unwrap_err();
    assert_eq!(fault.code, FaultCode::NodeUnknown, "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_lies_about_its_name_is_turned_away() {
    let road = Road::of(&["MEC", "MITIC", "DNCP"]);
    let (mec, _) = road.start("MEC").await;
    let (liar, other) = (road.site("MITIC"), road.site("DNCP"));
    let hello = Hello::write(&other.id, 1, 1, &[]);
    let raw = Raw::greet(road.guise(&liar), &mec.site.id, mec.link.local_addr(), hello).await;
    let (code, reason) = raw.closed().await;
    assert_eq!((code, mec.link.peers()), (2, Vec::new()));
    assert!(reason.contains(other.id.as_str()) && reason.contains(liar.id.as_str()), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_forks_is_refused_and_a_restart_changes_nothing() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let (to, mitic) = (mec.site.id.clone(), road.site("MITIC"));
    let nothing = Heads::open(tempfile::tempdir().unwrap().path()).unwrap();
    // Two histories under one key.
    let (one, two) = (mitic.open_store("one", &nothing), mitic.open_store("two", &nothing));
    let (one, two) = (one.ledger(&mitic.origin).unwrap(), two.ledger(&mitic.origin).unwrap());

    let mut raw = Raw::connect(road.guise(&mitic), &to, mec.link.local_addr(), 1).await;
    raw.hear().await;
    let (good, payload) = request(&mitic, &one, &to, "good").await;
    raw.update(&good.seal.checkpoint, TreeSize::EMPTY, &ConsistencyProof::default()).await;
    assert!(matches!(raw.message(&good, &payload).await, Some(Frame::Message(_))));

    request(&mitic, &two, &to, "first of the other history").await;
    let (bad, bad_payload) = request(&mitic, &two, &to, "second").await;
    let held = good.seal.checkpoint.size();
    raw.update(&bad.seal.checkpoint, held, &two.consistency(held, bad.seal.checkpoint.size()).unwrap()).await;
    let fault = refusal(raw.message(&bad, &bad_payload).await);
    assert_eq!(fault.code, FaultCode::LedgerForked, "{fault}");
    let fault = refusal(raw.message(&good, &payload).await);
    assert_eq!(fault.code, FaultCode::LedgerForked, "the history that was good before, too");
    let both = format!("{}--------\n{}", good.seal.checkpoint.note(), bad.seal.checkpoint.note());
    assert_eq!(kept_forks(mec.site.folder.path()).await, std::slice::from_ref(&both));

    let (mec, _) = road.start_site(mec.stop().await, "ledger").await;
    let mut raw = Raw::connect(road.guise(&mitic), &to, mec.link.local_addr(), 2).await;
    raw.hear().await;
    raw.update(&good.seal.checkpoint, TreeSize::EMPTY, &ConsistencyProof::default()).await;
    let fault = refusal(raw.message(&good, &payload).await);
    assert_eq!(fault.code, FaultCode::LedgerForked, "{fault}");
    assert_eq!(forks(mec.site.folder.path()), [both]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_went_back_in_time_does_not_talk() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    mitic.say(&mec.site.id, "seen by the other").await.unwrap();
    // The same node on an empty disk, with its old key.
    let (mitic, _) = road.start_site(mitic.stop().await, "restored").await;
    let fault = mitic.say(&mec.site.id, "again").await.unwrap_err();
    assert_eq!(fault.code, FaultCode::NodeUnreachable);
    assert!(fault.message.contains("was its disk restored?") || fault.message.contains("another"), "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_message_is_given_up_and_the_connection_goes_on() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let (mut raw, one) = raw_mitic(&road, &mec).await;
    let (sealed, payload) = request(&road.site("MITIC"), &one, &mec.site.id, "slow").await;
    let whole = message(&sealed, &payload);
    let (mut send, _receive) = raw.connection.open_bi().await.unwrap();
    send.write_all(&whole[..whole.len() / 2]).await.unwrap();
    assert_eq!(send.stopped().await.unwrap().map(quinn::VarInt::into_inner), Some(3));

    raw.update(&sealed.seal.checkpoint, TreeSize::EMPTY, &ConsistencyProof::default()).await;
    assert!(matches!(raw.message(&sealed, &payload).await, Some(Frame::Message(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_none_are_refused_and_the_connection_goes_on() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let (mut raw, one) = raw_mitic(&road, &mec).await;
    let (sealed, payload) = request(&road.site("MITIC"), &one, &mec.site.id, "good").await;
    let whole = message(&sealed, &payload);
    let mut oversized = Vec::new();
    prost::encoding::encode_varint(MAX_FRAME_BYTES as u64 + 1, &mut oversized);
    let twice = [&whole[..], &whole[..]].concat();
    for bytes in [&oversized[..], &[2, 0xff, 0xff], &[0], &whole[..whole.len() - 1], &twice, &[]] {
        let fault = refusal(raw.bytes(bytes).await);
        assert_eq!(fault.code, FaultCode::MessageMalformed, "{} bytes", bytes.len());
    }
    raw.update(&sealed.seal.checkpoint, TreeSize::EMPTY, &ConsistencyProof::default()).await;
    assert!(matches!(raw.message(&sealed, &payload).await, Some(Frame::Message(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_checkpoint_does_not_come_is_refused() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, echo) = road.start("MEC").await;
    let (mut raw, one) = raw_mitic(&road, &mec).await;
    let (sealed, payload) = request(&road.site("MITIC"), &one, &mec.site.id, "early").await;
    let fault = refusal(raw.message(&sealed, &payload).await);
    assert_eq!((fault.code, echo.seen.available_permits()), (FaultCode::SealCheckpointMissing, 0), "{fault}");
    assert_eq!(fault.exchange, Some(sealed.entry.exchange()));

    // Late, but while the message waits.
    let whole = message(&sealed, &payload);
    let (mut send, mut receive) = raw.connection.open_bi().await.unwrap();
    send.write_all(&whole).await.unwrap();
    send.finish().unwrap();
    raw.update(&sealed.seal.checkpoint, TreeSize::EMPTY, &ConsistencyProof::default()).await;
    assert!(matches!(raw::read(&mut receive).await, Some(Frame::Message(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_whose_proof_starts_elsewhere_ends_the_connection_and_is_no_fork() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let (mut raw, one) = raw_mitic(&road, &mec).await;
    let (sealed, _) = request(&road.site("MITIC"), &one, &mec.site.id, "x").await;
    raw.update(&sealed.seal.checkpoint, TreeSize::new(9), &ConsistencyProof::default()).await;
    assert_eq!(raw.closed().await.0, 2);
    assert_eq!(forks(mec.site.folder.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_restarts_is_dialled_again_and_goes_on_where_its_head_was() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    for (round, text) in ["one", "two", "three"].into_iter().enumerate() {
        assert_eq!(mec.say(&mitic.site.id, text).await, Ok(text.to_owned()), "round {round}");
    }
    let (mitic, _) = road.start_site(mitic.stop().await, "ledger").await;
    assert_eq!(mec.say(&mitic.site.id, "four").await, Ok("four".to_owned()));
    assert_eq!(mitic.say(&mec.site.id, "five").await, Ok("five".to_owned()));

    // What MEC says of MITIC's ledger in its next Hello: the head after all five.
    let raw = Raw::connect(road.guise(&mitic.site), &mec.site.id, mec.link.local_addr(), u64::MAX).await;
    let known = Hello::read(&raw.hear().await, &mec.site.id).unwrap().known;
    assert_eq!(known, [mitic.ledger.head().unwrap()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_lost_the_connection_unnoticed_gets_a_new_one() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let (mitic, address) = (road.site("MITIC"), mec.link.local_addr());
    let old = Raw::connect(road.guise(&mitic), &mec.site.id, address, 5).await;
    old.hear().await;
    let late = Raw::connect(road.guise(&mitic), &mec.site.id, address, 4).await;
    assert_eq!(late.closed().await.0, 1, "an older Hello came late");
    let new = Raw::connect(road.guise(&mitic), &mec.site.id, address, 6).await;
    new.hear().await;
    assert_eq!(old.closed().await.0, 1, "after its time to finish");
    assert_eq!(mec.link.peers().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_a_message_was_accepted_is_told_apart() {
    let mut road = Road::of(&["MEC", "MITIC"]);
    road.drain = Duration::ZERO;
    let ((mec, _), (mitic, echo)) = (road.start("MEC").await, road.start("MITIC").await);
    echo.hold();
    let to = mitic.site.id.clone();
    let (sealed, payload) = request(&mec.site, &mec.ledger, &to, "no answer in time").await;
    let late = mec.link.exchange(&to, sealed, payload, Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(late.code, FaultCode::ExchangeOutcomeUnknown, "{late}");

    let (lost, ()) = tokio::join!(mec.say(&to, "no answer ever"), async {
        drop(echo.seen.acquire_many(2).await.unwrap());
        mitic.link.close().await;
    });
    let lost = lost.unwrap_err();
    assert_eq!(lost.code, FaultCode::ExchangeOutcomeUnknown, "{lost}");
    let refused = mec.say(&to, "nobody there").await.unwrap_err();
    assert_eq!(refused.code, FaultCode::NodeUnreachable, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_proves_that_nothing_was_accepted() {
    let road = Road::of(&["MEC", "MITIC", "DNCP"]);
    let (mec, _) = road.start("MEC").await;
    let (mitic, dncp) = (road.site("MITIC").id.clone(), road.site("DNCP").id.clone());
    let code = |answer: Result<String, Fault>| answer.unwrap_err().code;
    assert_eq!(code(mec.say(&mitic, "no address").await), FaultCode::NodeUnreachable);
    assert_eq!(code(mec.say(&mec.site.id, "itself").await), FaultCode::NodeUnknown);
    road.reach(&dncp, Address::DialOut(DialOutAddress {}));
    assert!(mec.say(&dncp, "x").await.unwrap_err().message.contains("dials out only"));
    road.reach(&mitic, Address::Relay(RelayAddress { relay: dncp.to_string() }));
    let said = mec.link.connect(&mitic).await.unwrap_err();
    assert_eq!(said.code, FaultCode::NodeUnreachable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_only_dials_out_is_asked_over_the_connection_it_made() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    road.reach(&mitic.site.id, Address::DialOut(DialOutAddress {}));
    mitic.link.connect(&mec.site.id).await.unwrap();
    assert_eq!(mec.say(&mitic.site.id, "over yours").await, Ok("over yours".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_snapshot_closes_the_connections_of_those_it_no_longer_knows() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    mec.say(&mitic.site.id, "known").await.unwrap();
    mec.link.rejudge();
    mec.say(&mitic.site.id, "still known").await.unwrap();
    road.forget(&mitic.site.id);
    mec.link.rejudge();
    let fault = mec.say(&mitic.site.id, "forgotten").await.unwrap_err();
    assert_eq!(fault.code, FaultCode::NodeUnreachable, "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_answers_what_it_has_and_takes_nothing_new() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, echo)) = (road.start("MEC").await, road.start("MITIC").await);
    echo.hold();
    let (mec, to) = (Arc::new(mec), mitic.site.id.clone());
    let first = tokio::spawn({
        let (mec, to) = (Arc::clone(&mec), to.clone());
        async move { mec.say(&to, "before").await }
    });
    drop(echo.seen.acquire().await.unwrap());
    let mut closing = Box::pin(mitic.link.close());
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut closing).await.is_err(), "one goes on");
    let fault = mec.say(&to, "after").await.unwrap_err();
    assert_eq!(fault.code, FaultCode::NodeDraining);
    let fault = mitic.say(&mec.site.id, "own").await.unwrap_err();
    assert_eq!(fault.code, FaultCode::NodeDraining);
    echo.release();
    assert_eq!(first.await.unwrap(), Ok("before".to_owned()));
    closing.await;
    assert_eq!(mitic.link.peers().len(), 0);
}

async fn raw_mitic(road: &Road, to: &road::Running) -> (Raw, peabiru_ledger::ledger::Ledger) {
    let mitic = road.site("MITIC");
    let nothing = Heads::open(mitic.folder.path()).unwrap();
    let store = mitic.open_store("raw", &nothing);
    let ledger = store.ledger(&mitic.origin).unwrap();
    let raw = Raw::connect(road.guise(&mitic), &to.site.id, to.link.local_addr(), 1).await;
    raw.hear().await;
    (raw, ledger)
}
