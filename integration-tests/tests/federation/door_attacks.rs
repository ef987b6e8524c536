//! What a caller does to hold more of the door than is its own. Each attack goes on while another client is served.
//!
//! Sources: CVE-2023-44487 (streams opened and reset), CVE-2019-9511 to 9518 (windows never opened, floods of PING, SETTINGS
//! and empty frames), VU#421644 (CONTINUATION without end), Slowloris (2009) and its kin (heads and bodies that drip).

use std::net::SocketAddr;
use std::time::Duration;

use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Federation, Headers, Member};
use peabiru_proto::hash::Digest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::raw_door::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RESET, SETTINGS, call,
    fields, frame, http2_with as http2, is_served, message, soon,
};

const CONNECTIONS: usize = 64;
const CALLS: usize = 32;
/// The token of a second caller.
const OTHER: &str = "of another application";

/// MITIC's door is small, and two subsystems share it; MEC serves the first.
async fn small_door(federation: &mut Federation) -> (Member, Member) {
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let limits = format!("[door]\nmax_connections = {CONNECTIONS}\nmax_calls = {CALLS}\n");
    let other = format!(
        "\n[[clients]]\nsubsystem = \"PY/GOV/MITIC/other\"\ntoken_sha256 = \"{}\"\n",
        Digest::of(OTHER.as_bytes())
    );
    let config = std::fs::read_to_string(mitic.site.config()).unwrap();
    let config = config.replacen("[door]\n", &limits, 1) + &other;
    std::fs::write(mitic.site.config(), config).unwrap();
    let (mitic, mec) = (mitic.start().await, mec.start().await);
    mec.grant("MITIC").await;
    (mitic, mec)
}

/// A new client, of the second subsystem.
async fn other_is_served(what: &str, door: SocketAddr) {
    let channel = Endpoint::from_shared(format!("http://{door}")).unwrap().connect_lazy();
    let channel = InterceptedService::new(channel, Headers::new(&[("x-peabiru-token", OTHER)]));
    let checked = soon(what, async { HealthClient::new(channel).check(HealthCheckRequest::default()).await });
    checked.await.unwrap_or_else(|error| panic!("{what}: {error}"));
}

/// Writes until the door takes no more: it closed the connection, or reads no further.
async fn write_until_refused(stream: &mut TcpStream, piece: &[u8], pieces_max: usize) -> usize {
    for written in 0..pieces_max {
        match tokio::time::timeout(Duration::from_secs(2), stream.write_all(piece)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return written,
        }
    }
    pieces_max
}

/// Reads what the door says until it ends the connection.
async fn last_words(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset ends it as well.
    let _ = soon("the end of the connection", stream.read_to_end(&mut said)).await;
    said
}

/// Kinds of the frames that the door sent.
fn kinds(mut said: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Some((head, rest)) = said.split_first_chunk::<9>() {
        kinds.push(head[3]);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        said = rest.get(length..).unwrap_or_default();
    }
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_make_room_for_those_who_call() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = small_door(&mut federation).await;
    let door = mitic.node.door.unwrap();
    let mut held = Vec::new();
    for number in 0..CONNECTIONS * 16 {
        let mut stream = soon("a connection", TcpStream::connect(door)).await.unwrap();
        // Silent ones, one that began HTTP/2, a head and a body that drip.
        let begun: &[u8] = match number % 4 {
            0 => b"",
            1 => PREFACE,
            2 => b"GET /r1/PY HTTP/1.1\r\nhost: d",
            _ => b"POST / HTTP/1.1\r\nhost: door\r\ncontent-length: 9\r\n\r\n1",
        };
        // The first may be gone already.
        let _ = stream.write_all(begun).await;
        held.push(stream);
    }
    is_served("beside a thousand idle connections", &mut mitic.caller("MEC").await).await;
    other_is_served("beside a thousand idle connections", door).await;
    drop(held);
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_never_ends_or_never_reads_leaves_the_others_their_places() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = small_door(&mut federation).await;
    let door = mitic.node.door.unwrap();
    let mut app = mitic.caller("MEC").await;
    // Calls without end, of one caller, over several connections.
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = http2(door, &[]).await;
        for number in 0..u32::try_from(CALLS).unwrap() {
            let call = call(OTHER, "Collect");
            stream.write_all(&frame(HEADERS, END_HEADERS, 2 * number + 1, &call)).await.unwrap();
        }
        held.push(stream);
    }
    for _ in 0..CALLS {
        is_served("beside calls without end", &mut app).await;
    }
    drop(held);
    // Answers that are never read: no window is ever opened.
    let mut greedy = http2(door, &[0, 4, 0, 0, 0, 0]).await;
    let message = message(&SayRequest { answer_bytes: 60_000, ..SayRequest::default() });
    for number in 0..u32::try_from(CALLS).unwrap() {
        let (stream, call) = (2 * number + 1, call(&mitic.agency.token, "Say"));
        greedy.write_all(&frame(HEADERS, END_HEADERS, stream, &call)).await.unwrap();
        greedy.write_all(&frame(DATA, END_STREAM, stream, &message)).await.unwrap();
    }
    for _ in 0..CALLS {
        other_is_served("beside answers that nobody reads", door).await;
    }
    drop(greedy);
    soon("the places come back", async {
        while app.say(SayRequest::default()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_their_connection_and_no_other() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = small_door(&mut federation).await;
    let door = mitic.node.door.unwrap();
    let mut app = mitic.caller("MEC").await;
    let opening = call("guessed", "Say");
    // Streams that are opened and reset.
    let mut stream = http2(door, &[]).await;
    let mut resets = Vec::new();
    for number in 0..5_000 {
        resets.extend(frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &opening));
        resets.extend(frame(RESET, 0, 2 * number + 1, &8u32.to_be_bytes()));
    }
    let _ = stream.write_all(&resets).await;
    let said = last_words(&mut stream).await;
    assert!(kinds(&said).contains(&GOAWAY) || said.is_empty(), "{:?}", kinds(&said));
    is_served("after resets", &mut app).await;
    // A head without end.
    let mut stream = http2(door, &[]).await;
    stream.write_all(&frame(HEADERS, 0, 1, &opening)).await.unwrap();
    let part = frame(CONTINUATION, 0, 1, &fields(&[("x-filler", &"a".repeat(100))]));
    let written = write_until_refused(&mut stream, &part, 200_000).await;
    assert!(written < 200_000, "a head of {written} parts was taken");
    is_served("after a head without end", &mut app).await;
    // Frames that want an answer, of one that reads none; and frames that hold nothing.
    for (what, piece, begun) in [
        ("PING", frame(PING, 0, 0, &[7; 8]), Vec::new()),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[]), Vec::new()),
        ("empty DATA", frame(DATA, 0, 1, &[]), frame(HEADERS, END_HEADERS, 1, &call(OTHER, "Collect"))),
    ] {
        let mut stream = http2(door, &[]).await;
        stream.write_all(&begun).await.unwrap();
        write_until_refused(&mut stream, &piece.repeat(1_000), 200).await;
        is_served(what, &mut app).await;
        other_is_served(what, door).await;
    }
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_have_their_limits_and_say_so() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = small_door(&mut federation).await;
    let door = mitic.node.door.unwrap();
    let mut app = mitic.caller("MEC").await;
    let long = "a".repeat(1024 * 1024);
    let many = "x-filler: a\r\n".repeat(20_000);
    for (what, head) in [
        ("a long line", format!("GET /r1/x HTTP/1.1\r\nhost: door\r\nx-filler: {long}")),
        ("many lines", format!("GET /r1/x HTTP/1.1\r\nhost: door\r\n{many}")),
        ("a long target", format!("GET /r1/{long}")),
    ] {
        let mut stream = TcpStream::connect(door).await.unwrap();
        let _ = stream.write_all(head.as_bytes()).await;
        let said = last_words(&mut stream).await;
        let status = std::str::from_utf8(said.get(9..12).unwrap_or(b"closed")).unwrap_or_default().to_owned();
        assert!(["400", "414", "431", "closed"].contains(&status.as_str()), "{what}: {status}");
        is_served(what, &mut app).await;
    }
    mitic.stop().await;
    mec.stop().await;
}

/// Wherever a caller breaks off, the connection goes on, and no place is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_be_reset_at_every_byte() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = small_door(&mut federation).await;
    let door = mitic.node.door.unwrap();
    let message = b"\0\0\0\0\x03\x0a\x01x";
    for method in ["Say", "Talk"] {
        let opening = frame(HEADERS, END_HEADERS, 0, &call(&mitic.agency.token, method));
        for cut in 0..=message.len() {
            let mut stream = http2(door, &[]).await;
            for number in [1, 3] {
                let mut begun = opening.clone();
                begun[5..9].copy_from_slice(&u32::to_be_bytes(number));
                stream.write_all(&begun).await.unwrap();
                stream.write_all(&frame(DATA, 0, number, &message[..cut])).await.unwrap();
                stream.write_all(&frame(RESET, 0, number, &8u32.to_be_bytes())).await.unwrap();
            }
            // The same connection answers a PING, whatever it sends before.
            stream.write_all(&frame(PING, 0, 0, b"go on..?")).await.unwrap();
            let mut said = Vec::new();
            soon("the answer to a PING", async {
                while !said.windows(8).any(|found| found == b"go on..?") {
                    assert_ne!(stream.read_buf(&mut said).await.unwrap(), 0, "{method}, {cut} bytes");
                }
            })
            .await;
        }
    }
    for _ in 0..CALLS + 1 {
        is_served("after resets at every byte", &mut mitic.caller("MEC").await).await;
    }
    mitic.stop().await;
    mec.stop().await;
}
