//! Callers that are slow on purpose, to their end: heads, bodies and answers that drip, connections that say nothing. Each
//! is ended by the limit that is for it, on doors in clear and with TLS, and the others are served meanwhile.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Caller, Federation, Member, grant_of, service};
use peabiru_integration_tests::metrics::{counter, gauge, until_nothing_is_held};
use peabiru_integration_tests::web::Web;
use peabiru_node::door::Waits;
use peabiru_node::node::Environment;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::limits::MAX_BODY_BYTES;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::raw_door::{
    CONTINUATION, DATA, Door, Dripping, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, Speaks, call,
    drip, drip_bytes, dripping, frame, is_served, issue, message, soon,
};

/// MITIC has a door in clear, INE one with TLS; MEC serves both, by gRPC and REST.
struct Doors {
    _federation: Federation,
    clear: Member,
    tls: Member,
    mec: Member,
    /// Of `tls`.
    certificate: Bytes,
}

impl Doors {
    async fn open(waits: Waits) -> Self {
        let mut federation = Federation::start().await;
        let clear = federation.enrol("MITIC").await;
        let tls = federation.enrol("INE").await;
        let certificate = issue(&federation, &tls, "door");
        let config = std::fs::read_to_string(tls.site.config()).unwrap();
        let files = "[door]\ntls_certificate = \"keys/door.crt\"\ntls_key = \"keys/door.key\"\n";
        std::fs::write(tls.site.config(), config.replacen("[door]\n", files, 1)).unwrap();
        let url = format!("http://{}", Web::default().start().await);
        let mec = federation.enrol_web("MEC", &url).await.start().await;
        let environment = Environment { door_waits: waits, ..Environment::default() };
        let (clear, tls) = (clear.start_in(&environment).await, tls.start_in(&environment).await);
        let mut admin = mec.admin().await;
        for consumer in ["MITIC", "INE"] {
            mec.grant(consumer).await;
            let schools = "PY/GOV/MEC/app/schools".parse().unwrap();
            grant_of(&mut admin, &schools, consumer, &["testing", "statistics"], &[]).await;
        }
        Self { _federation: federation, clear, tls, mec, certificate }
    }

    fn clear(&self) -> Door {
        Door::of(&self.clear)
    }

    fn tls(&self) -> Door {
        Door { certificate: Some(self.certificate.clone()), ..Door::of(&self.tls) }
    }

    /// Each with the token of its application.
    fn both(&self) -> [(Door, String, &'static str); 2] {
        [
            (self.clear(), self.clear.agency.token.clone(), "MITIC"),
            (self.tls(), self.tls.agency.token.clone(), "INE"),
        ]
    }

    /// An application at the door in clear.
    async fn caller(&self) -> Caller {
        self.clear.caller("MEC").await
    }

    /// How many connections this limit has ended, at both doors: one process counts for both.
    async fn ended_by(&self, limit: &str) -> u64 {
        let label = format!("limit=\"{limit}\"");
        counter(self.clear.node.metrics.unwrap(), "peabiru_door_connections_ended_total", &label).await
    }

    /// A connection may have ended a moment before that is counted.
    async fn have_ended(&self, limit: &str, before: u64, expected: u64) {
        let counted = async {
            while self.ended_by(limit).await < before + expected {
                tokio::task::yield_now().await;
            }
        };
        soon(limit, counted).await;
        assert_eq!(self.ended_by(limit).await - before, expected, "{limit}");
    }

    async fn stop(self) {
        for member in [&self.clear, &self.tls, &self.mec] {
            until_nothing_is_held(member.node.metrics.unwrap()).await;
        }
        for member in [self.clear, self.tls, self.mec] {
            member.stop().await;
        }
    }
}

/// Runs all of these, and calls as an ordinary application until they have ended.
async fn beside<T: Send + 'static>(caller: &mut Caller, mut slow: JoinSet<T>) -> Vec<T> {
    let mut ended = Vec::new();
    while !slow.is_empty() {
        is_served("beside slow callers", caller).await;
        while let Some(done) = slow.try_join_next() {
            ended.push(done.unwrap());
        }
    }
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_begin_slowly_are_ended() {
    let waits = Waits { handshake: SHORT, begin: SHORT, head: SHORT, ..Waits::default() };
    let doors = Doors::open(waits).await;
    let mut caller = doors.caller().await;
    let limits = ["handshake", "begin", "head"];
    let before =
        [doors.ended_by("handshake").await, doors.ended_by("begin").await, doors.ended_by("head").await];
    // A record of TLS with a ClientHello that never comes to its end.
    const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    // Where the head ends there is one more.
    const HEAD: &[u8] = b"GET /r1/PY HTTP/1.1\r\nhost: door\r\nx-filler: ";
    let mut slow = JoinSet::new();
    for _ in 0..SLOW {
        let without_tls = Door { certificate: None, ..doors.tls() };
        slow.spawn(async move {
            drip_bytes(without_tls.connect(Speaks::Http1, None).await, HELLO, Some(0)).await
        });
        for door in [doors.clear(), doors.tls()] {
            // The preface of HTTP/2, but for its end.
            let (begun, headed) = (door.clone(), door.clone());
            let preface = &PREFACE[..PREFACE.len() - 1];
            slow.spawn(async move {
                let stream = begun.connect(Speaks::Http2, None).await;
                drip_bytes(stream, preface, None).await
            });
            slow.spawn(async move {
                drip_bytes(headed.connect(Speaks::Http1, None).await, HEAD, Some(b'a')).await
            });
        }
    }
    beside(&mut caller, slow).await;
    for ((limit, before), expected) in limits.into_iter().zip(before).zip([SLOW, 2 * SLOW, 2 * SLOW]) {
        doors.have_ended(limit, before, expected as u64).await;
    }
    doors.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_call_are_ended() {
    let doors = Doors::open(Waits { idle: SHORT, look: SHORT / 10, ..Waits::default() }).await;
    let before = doors.ended_by("idle").await;
    let mut caller = doors.caller().await;
    let mut slow = JoinSet::new();
    for (door, token, _) in doors.both() {
        // A head of HTTP/2 that is continued without an end.
        let opening = call(&token, "Say");
        let begun = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, 0, 1, &opening)].concat();
        let more = frame(CONTINUATION, 0, 1, &[0; 16_000]);
        let dripping = door.clone();
        slow.spawn(async move {
            let mut stream = dripping.connect(Speaks::Http2, None).await;
            stream.write_all(&begun).await.unwrap();
            drip_bytes(stream, &more[..9], Some(0)).await
        });
        // One call, and then nothing.
        let message = message(&SayRequest { body: "x".into(), ..SayRequest::default() });
        let whole = [
            PREFACE,
            &frame(SETTINGS, 0, 0, &[]),
            &frame(HEADERS, END_HEADERS, 1, &opening),
            &frame(DATA, END_STREAM, 1, &message),
        ]
        .concat();
        slow.spawn(async move {
            let mut stream = door.connect(Speaks::Http2, None).await;
            stream.write_all(&whole).await.unwrap();
            let mut said = Vec::new();
            let _ = soon("the end of an idle connection", stream.read_to_end(&mut said)).await;
            assert!(!said.is_empty(), "the call was answered");
            said
        });
    }
    let ended = slow.len() as u64;
    beside(&mut caller, slow).await;
    // It would be the next.
    drop(caller);
    doors.have_ended("idle", before, ended).await;
    doors.stop().await;
}

/// A body of each kind that drips, and what its caller is told.
struct Slow {
    speaks: Speaks,
    request: Request<Dripping>,
    pieces: super::raw_door::Pieces,
    begun: Bytes,
    /// In the message of the fault.
    said: &'static str,
}

/// How much of a body comes at once, and which wait it then meets.
const BEGINNINGS: [(usize, &str); 2] =
    [(1, "did not come within"), (MAX_BODY_BYTES + 1, "did not end within")];

fn slow_bodies(token: &str, member: &str) -> Vec<Slow> {
    let mut slow = Vec::new();
    for (bytes, said) in BEGINNINGS {
        for speaks in [Speaks::Http1, Speaks::Http2] {
            for length in [None, Some("1000000")] {
                let (pieces, body) = dripping();
                let uri = "/r1/PY/GOV/MEC/app/schools/schools";
                let uri = if speaks == Speaks::Http1 { uri.to_owned() } else { format!("https://door{uri}") };
                let mut request = Request::post(uri)
                    .header("x-road-client", format!("PY/GOV/{member}/app"))
                    .header("x-peabiru-token", token);
                if speaks == Speaks::Http1 {
                    request = request.header("host", "door");
                }
                if let Some(length) = length {
                    request = request.header("content-length", length);
                }
                let request = request.body(body).unwrap();
                slow.push(Slow { speaks, request, pieces, begun: vec![b'x'; bytes].into(), said });
            }
        }
        let (pieces, body) = dripping();
        let request = Request::post("https://door/road.test.v1.EchoService/Say")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-peabiru-token", token)
            .header("x-peabiru-purpose", "testing")
            .header("x-road-service", service("MEC").as_str());
        let request = request.body(body).unwrap();
        // A message of a million bytes.
        let begun = [&[0, 0, 15, 66, 64], vec![b'x'; bytes].as_slice()].concat().into();
        slow.push(Slow { speaks: Speaks::Http2, request, pieces, begun, said });
    }
    slow
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_drip_are_given_up_and_their_callers_told() {
    let large = peabiru_node::door::LargeWaits { whole: SHORT, ..Waits::default().large };
    let doors = Doors::open(Waits { message: SHORT, large, ..Waits::default() }).await;
    let mut caller = doors.caller().await;
    let mut slow = JoinSet::new();
    for (door, token, member) in doors.both() {
        for body in slow_bodies(&token, member) {
            let door = door.clone();
            slow.spawn(async move {
                let Slow { speaks, request, pieces, begun, said } = body;
                let what = format!("{speaks:?} {} {} bytes at once", request.uri(), begun.len());
                let dripping = tokio::spawn(drip(pieces, begun));
                let answer = soon(&what, door.ask(speaks, request)).await;
                dripping.abort();
                (what, said, answer)
            });
        }
    }
    let answers = beside(&mut caller, slow).await;
    assert_eq!(answers.len(), 20);
    for (what, said, answer) in answers {
        assert_eq!(header(answer.headers(), "x-peabiru-fault"), "exchange.deadline", "{what}: {answer:?}");
        assert!(told(&answer).contains(said), "{what}: {}", told(&answer));
    }
    doors.stop().await;
}

/// What a large body may take in all, though a piece of it is always there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_that_pauses_is_given_up() {
    let large = peabiru_node::door::LargeWaits { piece: SHORT, ..Waits::default().large };
    let doors = Doors::open(Waits { large, ..Waits::default() }).await;
    let mut caller = doors.caller().await;
    let mut slow = JoinSet::new();
    for (door, token, member) in doors.both() {
        let body = slow_bodies(&token, member).into_iter().filter(|slow| slow.begun.len() > MAX_BODY_BYTES);
        for Slow { speaks, request, pieces, begun, .. } in body {
            let door = door.clone();
            slow.spawn(async move {
                pieces.send(Ok(hyper::body::Frame::data(begun))).await.unwrap();
                let answer = soon("the answer to a body that pauses", door.ask(speaks, request)).await;
                drop(pieces);
                answer
            });
        }
    }
    for answer in beside(&mut caller, slow).await {
        assert_eq!(header(answer.headers(), "x-peabiru-fault"), "exchange.deadline", "{answer:?}");
        assert!(told(&answer).contains("nothing more of the body came within"), "{}", told(&answer));
    }
    doors.stop().await;
}

/// The caller opens no window, or reads nothing, or a byte now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_takes_are_given_up() {
    let doors = Doors::open(Waits { take: SHORT, look: SHORT / 10, ..Waits::default() }).await;
    let before = doors.ended_by("take").await;
    let mut caller = doors.caller().await;
    let mut slow = JoinSet::new();
    for (door, token, member) in doors.both() {
        // HTTP/2: no window is ever opened, or one of a byte, and another of a byte, and so on.
        for opens in [false, true] {
            let message = message(&SayRequest { answer_bytes: 4_000_000, ..SayRequest::default() });
            let begun = [
                PREFACE,
                &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
                &frame(HEADERS, END_HEADERS, 1, &call(&token, "Say")),
                &frame(DATA, END_STREAM, 1, &message),
            ]
            .concat();
            let door = door.clone();
            slow.spawn(async move {
                let stream = door.connect(Speaks::Http2, None).await;
                let (mut reading, mut writing) = tokio::io::split(stream);
                writing.write_all(&begun).await.unwrap();
                let windows = async {
                    let mut ticks = tokio::time::interval(SHORT / 20);
                    while opens && writing.write_all(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])).await.is_ok()
                    {
                        let _ = writing.flush().await;
                        ticks.tick().await;
                    }
                    std::future::pending::<()>().await;
                };
                let mut said = Vec::new();
                let ended = async {
                    tokio::select! {
                        _ = reading.read_to_end(&mut said) => {}
                        () = windows => {}
                    }
                };
                soon("the end of a connection that opens no window", ended).await;
            });
        }
        // HTTP/1.1: more than sockets hold, of which nothing is read.
        let request = format!(
            "POST /r1/PY/GOV/MEC/app/schools/schools HTTP/1.1\r\nhost: door\r\nx-road-client: PY/GOV/{member}/app\r\n\
             x-peabiru-token: {token}\r\ncontent-length: {LARGE}\r\n\r\n"
        );
        slow.spawn(async move {
            let mut stream = door.connect(Speaks::Http1, Some(4096)).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.write_all(&vec![b'x'; LARGE]).await.unwrap();
            // Writing fails once the door has ended the connection.
            let mut ticks = tokio::time::interval(SHORT / 20);
            let ended = async {
                while stream.write_all(b"\r\n").await.is_ok() && stream.flush().await.is_ok() {
                    ticks.tick().await;
                }
            };
            soon("the end of a connection that reads nothing", ended).await;
        });
    }
    let ended = slow.len() as u64;
    beside(&mut caller, slow).await;
    doors.have_ended("take", before, ended).await;
    doors.stop().await;
}

/// A caller's place is its own as long as it uses it, and nobody's when it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_idle_connections_take_no_more_than_the_doors_places() {
    let doors = Doors::open(Waits::default()).await;
    let (page, door) = (doors.clear.node.metrics.unwrap(), doors.clear());
    let mut caller = doors.caller().await;
    is_served("before", &mut caller).await;
    let mut held = Vec::new();
    for number in 0..2_000 {
        let mut stream = soon("a connection", TcpStream::connect(door.address)).await.unwrap();
        // Silent ones, one that began HTTP/2, heads that were begun.
        let begun: &[u8] = [b"".as_slice(), PREFACE, b"GET /r1/PY HTTP/1.1\r\nhost: d"][number % 3];
        // The first may be gone already.
        let _ = stream.write_all(begun).await;
        held.push(stream);
    }
    is_served("beside two thousand idle connections, an old client", &mut caller).await;
    is_served("beside two thousand idle connections, a new client", &mut doors.caller().await).await;
    let connections = gauge(page, "peabiru_door_connections").await;
    assert!(connections <= CONNECTIONS_MAX, "{connections} connections have a place");
    // Those without a place were ended by name.
    let room = doors.ended_by("room").await;
    assert!(room >= 2_000 - CONNECTIONS_MAX, "{room} connections made room");
    drop(held);
    doors.stop().await;
}

/// A connection with a call is not ended for another one: that waits for its turn, and no call is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_door_says_so_early() {
    let mut federation = Federation::start().await;
    let mitic = federation.enrol("MITIC").await;
    let config = std::fs::read_to_string(mitic.site.config()).unwrap();
    std::fs::write(mitic.site.config(), config.replacen("[door]\n", "[door]\nmax_calls = 8\n", 1)).unwrap();
    let mec = federation.enrol("MEC").await;
    let (mitic, mec) = (mitic.start().await, mec.start().await);
    mec.grant("MITIC").await;
    let (door, token) = (mitic.node.door.unwrap(), &mitic.agency.token);
    let mut held = Vec::new();
    for number in 0..8 {
        let mut stream = super::raw_door::http2_with(door, &[]).await;
        // A call that has said nothing but its head.
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &call(token, "Collect"))).await.unwrap();
        held.push(stream);
        let page = mitic.node.metrics.unwrap();
        soon("the call's place", async {
            while gauge(page, "peabiru_door_calls").await <= number {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let refused = mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap_err();
    let fault = Fault::from_grpc_details(refused.details()).unwrap();
    assert_eq!((refused.code(), fault.code), (tonic::Code::ResourceExhausted, FaultCode::NodeOverloaded));
    assert_eq!(fault.place, Place::ConsumerNode);
    drop(held);
    until_nothing_is_held(mitic.node.metrics.unwrap()).await;
    is_served("with places again", &mut mitic.caller("MEC").await).await;
    mitic.stop().await;
    mec.stop().await;
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// The message for people: of gRPC in a header, of REST in the body.
fn told(answer: &Response<Bytes>) -> String {
    match answer.headers().get("grpc-message") {
        Some(message) => message.to_str().unwrap().replace("%20", " "),
        None => String::from_utf8(answer.body().to_vec()).unwrap(),
    }
}

/// Waits that a test waits out; an honest caller needs a fraction of it, also on a busy machine.
const SHORT: Duration = Duration::from_millis(1500);
/// Callers of each kind at once.
const SLOW: usize = 8;
/// More than the sockets of a connection hold.
const LARGE: usize = 8_000_000;
const WINDOW_UPDATE: u8 = 8;
/// The default of `[door] max_connections`.
const CONNECTIONS_MAX: u64 = 1024;
