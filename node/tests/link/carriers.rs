//! The second carrier: the same exchanges over HTTP/2, and how it is chosen.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use peabiru_ledger::payload::Direction;
use peabiru_node::exchange::{FromChunks, LinkAnswer, Wanted};
use peabiru_node::link::{Carrier, DialledBy, PeerStatus};
use peabiru_proto::fault::FaultCode;
use peabiru_proto::hash::LeafHash;

use super::firewall::Firewall;
use super::road::{LONG, Road, Running, open};

/// The one connection of a node.
fn only_peer(node: &Running) -> PeerStatus {
    let [peer] = <[_; 1]>::try_from(node.link.peers()).unwrap();
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_asks_over_http2_whoever_dialled() {
    let road = Road::of(&["MEC", "MITIC"]);
    road.carry(&[Carrier::Http2]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    assert_eq!(mec.say(&mitic.site.id, "mba'éichapa").await, Ok("mba'éichapa".to_owned()));
    assert_eq!(mitic.say(&mec.site.id, "iporã").await, Ok("iporã".to_owned()));
    for (node, dialled_by) in [(&mec, DialledBy::Us), (&mitic, DialledBy::Them)] {
        let peer = only_peer(node);
        assert_eq!((peer.carrier, peer.dialled_by), (Carrier::Http2, dialled_by));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_callers_than_parked_streams_share_one_connection() {
    let road = Road::of(&["MEC", "MITIC"]);
    road.carry(&[Carrier::Http2]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    mec.link.connect(&mitic.site.id).await.unwrap();
    let nodes = [Arc::new(mec), Arc::new(mitic)];
    let callers: Vec<_> = (0..200)
        .map(|caller| {
            let (from, to) = (Arc::clone(&nodes[caller % 2]), nodes[1 - caller % 2].site.id.clone());
            tokio::spawn(async move {
                for round in 0..5 {
                    let text = format!("{caller} {round}");
                    assert_eq!(from.say(&to, &text).await, Ok(text));
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(only_peer(&nodes[0]).dialled_by, DialledBy::Us);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_the_largest_size_passes_both_ways() {
    let road = Road::of(&["MEC", "MITIC"]);
    road.carry(&[Carrier::Http2]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    let text = "x".repeat(peabiru_proto::limits::MAX_BODY_BYTES);
    assert_eq!(mec.say(&mitic.site.id, &text).await, Ok(text.clone()));
    assert_eq!(mitic.say(&mec.site.id, &text).await, Ok(text));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_missed_is_fetched_over_a_parked_stream() {
    let road = Road::of(&["MEC", "MITIC"]);
    road.carry(&[Carrier::Http2]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    mitic.link.connect(&mec.site.id).await.unwrap();
    let LinkAnswer::Arrived(first) = mec.ask(&mitic.site.id, "what was said").await.unwrap() else {
        panic!("refused")
    };
    let (exchange, request_leaf) = (first.entry.exchange(), LeafHash::from_bytes([1; 32]));
    let wanted = Wanted { exchange, request_leaf, from: FromChunks::default() };
    let held = mec.link.fetch(&mitic.site.id, wanted, LONG).await.unwrap();
    let again = mec.link.arrived(&mitic.site.id, held.entries[0].clone(), None).await.unwrap();
    assert_eq!(open(&again, Direction::Answer), "what was said");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_udp_is_reached_over_tcp_and_that_is_remembered() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    road.carry(&[Carrier::Http2]);
    let (mitic, _) = road.start("MITIC").await;
    // UDP goes in and nothing comes out, as behind a firewall that drops it.
    let _hole = UdpSocket::bind(mitic.link.local_addr()).unwrap();
    assert_eq!(mec.say(&mitic.site.id, "one").await, Ok("one".to_owned()));
    let peer = only_peer(&mec);
    let why = Some("no handshake within 300ms".to_owned());
    assert_eq!((peer.carrier, peer.without_quic), (Carrier::Http2, why.clone()));
    assert_eq!(mitic.say(&mec.site.id, "two").await, Ok("two".to_owned()));

    drop(_hole);
    let (mitic, _) = road.start_site(mitic.stop().await, "ledger").await;
    assert_eq!(mec.say(&mitic.site.id, "three").await, Ok("three".to_owned()));
    assert_eq!(only_peer(&mec).without_quic, why, "TCP was dialled at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_udp_passes_quic_is_used() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    mec.link.connect(&mitic.site.id).await.unwrap();
    let peer = only_peer(&mec);
    assert_eq!((peer.carrier, peer.without_quic), (Carrier::Quic, None));
}

/// A road whose second node is behind a firewall that drops UDP.
async fn behind_a_firewall(probe: Duration) -> (Road, Running, Running, Arc<super::road::Echo>, Firewall) {
    let mut road = Road::of(&["MEC", "MITIC"]);
    road.probe = probe;
    let ((mec, _), (mitic, echo)) = (road.start("MEC").await, road.start("MITIC").await);
    let firewall = Firewall::before(mitic.link.local_addr()).await;
    road.listen(&mitic.site.id, firewall.address);
    (road, mec, mitic, echo, firewall)
}

async fn until_over(node: &Running, carrier: Carrier) {
    let changed = async {
        while node.link.peers().first().is_none_or(|peer| peer.carrier != carrier) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, changed).await.expect("the other carrier is used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_replaces_http2_once_it_works_and_no_exchange_is_lost() {
    let (_road, mec, mitic, echo, firewall) = behind_a_firewall(Duration::from_millis(100)).await;
    assert_eq!(mec.say(&mitic.site.id, "over tcp").await, Ok("over tcp".to_owned()));
    assert_eq!(only_peer(&mec).carrier, Carrier::Http2);
    let (mec, mitic, stop) = (Arc::new(mec), Arc::new(mitic), Arc::new(AtomicBool::new(false)));
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let (from, to) = if caller % 2 == 0 { (&mec, &mitic) } else { (&mitic, &mec) };
            let (from, to, stop) = (Arc::clone(from), to.site.id.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut said = 0;
                while !stop.load(Ordering::SeqCst) {
                    let text = format!("{caller} {said}");
                    assert_eq!(from.say(&to, &text).await, Ok(text));
                    said += 1;
                }
                said
            })
        })
        .collect();
    firewall.pass_udp();
    until_over(&mec, Carrier::Quic).await;
    until_over(&mitic, Carrier::Quic).await;
    // One that began on a connection which is replaced is covered by its callers: they never stop.
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
    assert_eq!(only_peer(&mec).without_quic, None);
    drop(echo);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_began_over_http2_ends_there_after_quic_took_over() {
    let (_road, mec, mitic, echo, firewall) = behind_a_firewall(Duration::from_millis(100)).await;
    mec.link.connect(&mitic.site.id).await.unwrap();
    echo.hold();
    let (mec, to) = (Arc::new(mec), mitic.site.id.clone());
    let began = tokio::spawn({
        let (mec, to) = (Arc::clone(&mec), to.clone());
        async move { mec.say(&to, "began over tcp").await }
    });
    drop(echo.seen.acquire().await.unwrap());
    firewall.pass_udp();
    until_over(&mec, Carrier::Quic).await;
    echo.release();
    assert_eq!(began.await.unwrap(), Ok("began over tcp".to_owned()));
    assert_eq!(mec.say(&to, "over udp").await, Ok("over udp".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_firewall_that_changes_its_mind_costs_the_exchange_and_the_next_goes_over_tcp() {
    let (_road, mec, mitic, echo, firewall) = behind_a_firewall(LONG).await;
    firewall.pass_udp();
    mec.link.connect(&mitic.site.id).await.unwrap();
    assert_eq!(only_peer(&mec).carrier, Carrier::Quic);
    firewall.drop_udp();
    let lost = mec.say(&mitic.site.id, "into the void").await.unwrap_err();
    assert_eq!(lost.code, FaultCode::ExchangeOutcomeUnknown, "{lost}");
    assert_eq!(mec.say(&mitic.site.id, "over tcp").await, Ok("over tcp".to_owned()));
    assert_eq!(only_peer(&mec).carrier, Carrier::Http2);
    drop(echo);
}
