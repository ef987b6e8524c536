//! What a node does with a registered peer over TCP that means ill: named limits, and the others are served.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::Builder;
use peabiru_ledger::ledger::Ledger;
use peabiru_node::link::Carrier;
use peabiru_node::link::heads::Heads;
use peabiru_proto::fault::FaultCode;
use peabiru_proto::limits::{MAX_BODY_BYTES, MAX_FRAME_BYTES};
use peabiru_proto::wire::link_frame::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::raw::{message, refusal};
use super::raw_http2::{RawHttp2, tls};
use super::road::{LONG, Road, Running, request};

/// A raw MITIC that greeted `to` over TCP, with its ledger.
async fn raw_mitic(road: &Road, to: &Running, manners: &Builder) -> (RawHttp2, Ledger) {
    let mitic = road.site("MITIC");
    let nothing = Heads::open(mitic.folder.path()).unwrap();
    let ledger = mitic.open_store("raw", &nothing).ledger(&mitic.origin).unwrap();
    let raw = RawHttp2::connect(road.guise(&mitic), &to.site.id, to.link.local_addr(), manners).await;
    (raw, ledger)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_none_and_streams_reset_at_each_stage_leave_the_connection_as_it_was() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let (mut raw, ledger) = raw_mitic(&road, &mec, &Builder::new()).await;
    let (sealed, payload) = request(&road.site("MITIC"), &ledger, &mec.site.id, "good").await;
    let whole = message(&sealed, &payload);
    let mut oversized = Vec::new();
    prost::encoding::encode_varint(MAX_FRAME_BYTES as u64 + 1, &mut oversized);
    let twice = [&whole[..], &whole[..]].concat();
    for bytes in [&oversized[..], &[2, 0xff, 0xff], &[0], &whole[..whole.len() - 1], &twice, &[]] {
        let fault = refusal(raw.bytes(bytes).await);
        assert_eq!(fault.code, FaultCode::MessageMalformed, "{} bytes", bytes.len());
    }
    // After the headers, in the prefix, half-way, before the end, after it.
    for bytes in [0, 1, whole.len() / 2, whole.len(), whole.len() + 1] {
        let (_answer, mut stream) = raw.open("/exchange").await;
        if bytes > 0 {
            let piece = Bytes::copy_from_slice(&whole[..bytes.min(whole.len())]);
            stream.send_data(piece, bytes > whole.len()).unwrap();
        }
        stream.send_reset(Reason::CANCEL);
    }
    let (_answer, mut stream) = raw.open("/parked").await;
    stream.send_reset(Reason::CANCEL);
    let (answer, _stream) = raw.open("/nothing").await;
    assert_eq!(answer.await.unwrap_err().reason(), Some(Reason::PROTOCOL_ERROR));
    let (answer, _stream) = raw.open("/control").await;
    assert!(answer.await.unwrap_err().is_reset(), "there is one control stream");

    raw.update(&sealed.seal.checkpoint);
    assert!(matches!(raw.bytes(&whole).await, Some(Frame::Message(_))));
    assert!(!raw.driver.is_finished());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_stream_that_was_given_up_is_passed_over() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let (mut raw, ledger) = raw_mitic(&road, &mec, &Builder::new()).await;
    let (_answer, mut given_up) = raw.open("/parked").await;
    given_up.send_reset(Reason::CANCEL);
    let (parked, _kept) = raw.open("/parked").await;
    // What is answered came after both, on one connection: the node knows that the first was given up.
    let (sealed, payload) = request(&road.site("MITIC"), &ledger, &mec.site.id, "after both").await;
    raw.update(&sealed.seal.checkpoint);
    assert!(matches!(raw.bytes(&message(&sealed, &payload)).await, Some(Frame::Message(_))));
    let to = road.site("MITIC").id.clone();
    let (asked, heard) = tokio::join!(mec.ask(&to, "anybody?"), async {
        let message = super::raw_http2::read(parked.await.unwrap().into_body()).await;
        drop(_kept);
        message
    });
    assert!(matches!(heard, Some(Frame::Message(_))));
    assert_eq!(asked.unwrap_err().code, FaultCode::ExchangeOutcomeUnknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_parked_stream_an_exchange_waits_for_its_deadline_only() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let (_raw, _) = raw_mitic(&road, &mec, &Builder::new()).await;
    let to = road.site("MITIC").id.clone();
    let (sealed, payload) = request(&mec.site, &mec.ledger, &to, "nowhere to go").await;
    let late = mec.link.exchange(&to, sealed, payload, Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(late.code, FaultCode::NodeOverloaded, "{late}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_message_is_given_up_and_the_connection_goes_on() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let (mut raw, ledger) = raw_mitic(&road, &mec, &Builder::new()).await;
    let (sealed, payload) = request(&road.site("MITIC"), &ledger, &mec.site.id, "slow").await;
    let whole = message(&sealed, &payload);
    let (answer, mut stream) = raw.open("/exchange").await;
    stream.send_data(Bytes::copy_from_slice(&whole[..whole.len() / 2]), false).unwrap();
    assert!(answer.await.unwrap_err().is_reset());
    raw.update(&sealed.seal.checkpoint);
    assert!(matches!(raw.bytes(&whole).await, Some(Frame::Message(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_than_allowed_are_refused_and_the_others_answered() {
    let road = Road::of(&["MEC", "MITIC", "DNCP"]);
    let ((mec, echo), (dncp, _)) = (road.start("MEC").await, road.start("DNCP").await);
    let mut manners = Builder::new();
    manners.initial_max_send_streams(2000);
    let (raw, _) = raw_mitic(&road, &mec, &manners).await;
    // All begun, none ended: 512 tasks wait for them, and no more.
    let mut open = Vec::new();
    for _ in 0..520 {
        open.push(raw.open("/exchange").await);
    }
    let mut refused = 0;
    for (answer, _stream) in open.drain(512..) {
        refused += usize::from(answer.await.unwrap_err().reason() == Some(Reason::REFUSED_STREAM));
    }
    assert_eq!(refused, 8);
    assert_eq!(dncp.say(&mec.site.id, "served").await, Ok("served".to_owned()));
    assert_eq!(echo.seen.available_permits(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_opened_and_reset_at_once_end_the_connection() {
    let road = Road::of(&["MEC", "MITIC", "DNCP"]);
    let ((mec, _), (dncp, _)) = (road.start("MEC").await, road.start("DNCP").await);
    let (raw, _) = raw_mitic(&road, &mec, &Builder::new()).await;
    let flood = async {
        loop {
            let Ok(mut streams) = raw.streams.clone().ready().await else { return };
            let request = http::Request::post("https://node/nothing").body(()).unwrap();
            let Ok((_answer, mut stream)) = streams.send_request(request, false) else { return };
            stream.send_reset(Reason::CANCEL);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, flood).await.expect("the connection ends");
    assert_eq!(dncp.say(&mec.site.id, "served").await, Ok("served".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_reads_keeps_nobody_else_waiting() {
    let road = Road::of(&["MEC", "MITIC", "DNCP"]);
    let ((mec, echo), (dncp, _)) = (road.start("MEC").await, road.start("DNCP").await);
    let mut manners = Builder::new();
    // It takes a few bytes of each answer and gives no room for more.
    manners.initial_window_size(100);
    let (mut raw, ledger) = raw_mitic(&road, &mec, &manners).await;
    let text = "x".repeat(MAX_BODY_BYTES);
    let (sealed, payload) = request(&road.site("MITIC"), &ledger, &mec.site.id, &text).await;
    raw.update(&sealed.seal.checkpoint);
    let whole = Bytes::from(message(&sealed, &payload));
    let mut answers = Vec::new();
    for _ in 0..8 {
        let (answer, mut stream) = raw.open("/exchange").await;
        stream.send_data(whole.clone(), true).unwrap();
        answers.push(answer);
    }
    drop(echo.seen.acquire_many(8).await.unwrap());
    assert_eq!(dncp.say(&mec.site.id, &text).await, Ok(text));
    for answer in answers {
        let mut body = answer.await.unwrap().into_body();
        let given_up = loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error.is_reset(),
                None => break false,
            }
        };
        assert!(given_up, "the answer waits for its reader no longer than its time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_handshakes_are_ended_and_leave_quic_alone() {
    let road = Road::of(&["MEC", "MITIC", "DNCP"]);
    let ((mec, _), (dncp, _)) = (road.start("MEC").await, road.start("DNCP").await);
    let address = mec.link.local_addr();
    let mut silent = Vec::new();
    // Beyond the places they are closed at once.
    for _ in 0..80 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(dncp.say(&mec.site.id, "over udp").await, Ok("over udp".to_owned()));
    for mut socket in silent {
        let ended = tokio::time::timeout(LONG, socket.read(&mut [0; 1])).await.expect("it is ended");
        assert!(matches!(ended, Ok(0) | Err(_)));
    }
    // The places are free again.
    road.carry(&[Carrier::Http2]);
    let (mitic, _) = road.start("MITIC").await;
    assert_eq!(mitic.say(&mec.site.id, "over tcp").await, Ok("over tcp".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_no_hello_or_another_ones_is_turned_away() {
    let road = Road::of(&["MEC", "MITIC", "DNCP"]);
    let (mec, _) = road.start("MEC").await;
    let address = mec.link.local_addr();
    let mut guise = road.guise(&road.site("MITIC"));
    // TLS, then not HTTP/2.
    let mut session = tls(&guise, &mec.site.id, address).await;
    tokio::io::AsyncWriteExt::write_all(&mut session, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let ended = tokio::time::timeout(LONG, session.read_to_end(&mut Vec::new())).await;
    drop(ended.expect("it is ended"));
    assert_eq!(mec.link.peers(), []);
    guise.id = road.site("DNCP").id.clone();
    let (mut streams, connection) =
        Builder::new().handshake::<_, Bytes>(tls(&guise, &mec.site.id, address).await).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut open = async |path: &str| {
        let request = http::Request::post(format!("https://node{path}")).body(()).unwrap();
        streams.send_request(request, false).unwrap()
    };
    let (signal, _signal) = open("/signal").await;
    let (_answer, mut control) = open("/control").await;
    let hello = peabiru_node::link::hello::Hello::write(&guise.id, 1, 1, &[]);
    control.send_data(peabiru_node::link::frame::encode(Frame::Hello(hello)), false).unwrap();
    assert_eq!(u32::from(signal.await.unwrap_err().reason().unwrap()) & 0xffff, 2);
    assert_eq!(mec.link.peers(), []);
    driver.abort();
}

/// CVE-2019-9511 to 9518 and VU#421644: frames that want an answer, hold nothing or never end, of a peer that reads nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_keep_nobody_else_waiting() {
    let road = Road::of(&["MEC", "MITIC", "DNCP"]);
    let ((mec, _), (dncp, _)) = (road.start("MEC").await, road.start("DNCP").await);
    let mitic = road.site("MITIC");
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    // Field lines without a table: a POST to `/exchange`, and one that fills a head.
    let opening = b"\x83\x87\0\x05:path\x09/exchange\0\x0a:authority\x04node";
    let filler = [b"\0\x01x\x7f\x01".as_slice(), &[b'a'; 128]].concat();
    for (what, begun, piece, ends) in [
        ("PING", Vec::new(), frame(6, 0, 0, &[7; 8]), false),
        ("SETTINGS", Vec::new(), frame(4, 0, 0, &[]), false),
        ("empty DATA", frame(1, 4, 1, opening), frame(0, 0, 1, &[]), false),
        ("CONTINUATION", frame(1, 0, 1, opening), frame(9, 0, 1, &filler), true),
    ] {
        let mut stream = tls(&road.guise(&mitic), &mec.site.id, mec.link.local_addr()).await;
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        stream.write_all(&[preface, frame(4, 0, 0, &[]).as_slice(), &begun].concat()).await.unwrap();
        let mut refused = false;
        for _ in 0..200 {
            let written = tokio::time::timeout(SHORT, stream.write_all(&piece.repeat(1_000))).await;
            refused = !matches!(written, Ok(Ok(())));
            if refused {
                break;
            }
        }
        assert!(refused || !ends, "{what}: a head without end is taken");
        assert_eq!(dncp.say(&mec.site.id, what).await, Ok(what.to_owned()));
    }
}

/// For a peer to take more: it reads, or it does not.
const SHORT: Duration = Duration::from_secs(2);
