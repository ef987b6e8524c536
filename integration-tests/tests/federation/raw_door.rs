//! A caller that writes to a door what it likes: bytes, frames of HTTP/2, bodies that drip, in clear or with TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use peabiru_certs::SecretKey;
use peabiru_certs::key::Algorithm;
use peabiru_certs::peer::{TlsIdentity, pinning_client};
use peabiru_certs::pem::write_certificate;
use peabiru_certs::profile::Subject;
use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Agency, Caller, Federation, Member, passphrase, service};
use peabiru_proto::hash::Digest;
use peabiru_proto::time::{Clock as _, SystemClock};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// Kinds and flags of frames (RFC 9113 §6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A connection, whatever it runs on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A TCP door as its callers find it.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    /// With TLS: the certificate that it shows.
    pub(crate) certificate: Option<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// A body whose pieces go out one by one; it ends when this is dropped.
pub(crate) type Pieces = mpsc::Sender<Result<Frame<Bytes>, Infallible>>;
pub(crate) type Dripping = StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>;

impl Door {
    pub(crate) fn of(member: &Member) -> Self {
        Self { address: member.node.door.unwrap(), certificate: None }
    }

    /// Connects. `receive_bytes`: what this side takes ahead, if less than usual.
    pub(crate) async fn connect(&self, speaks: Speaks, receive_bytes: Option<u32>) -> Box<dyn Stream> {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let stream = socket.connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let Some(certificate) = &self.certificate else { return Box::new(stream) };
        let mut config = pinning_client(Digest::of(certificate), None::<&TlsIdentity>).unwrap();
        let protocol: &[u8] = if speaks == Speaks::Http1 { b"http/1.1" } else { b"h2" };
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("127.0.0.1").unwrap();
        Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap())
    }

    /// Asks over a connection of its own; the answer may come before the body has ended.
    pub(crate) async fn ask(&self, speaks: Speaks, request: Request<Dripping>) -> Response<Bytes> {
        let stream = TokioIo::new(self.connect(speaks, None).await);
        let response = match speaks {
            Speaks::Http1 => {
                let (mut sender, connection) = http1::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                sender.send_request(request).await.unwrap()
            }
            Speaks::Http2 => {
                let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                tokio::spawn(connection);
                sender.send_request(request).await.unwrap()
            }
        };
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }
}

pub(crate) fn dripping() -> (Pieces, Dripping) {
    let (pieces, receiver) = mpsc::channel(1);
    (pieces, StreamBody::new(ReceiverStream::new(receiver)))
}

/// Gives a body these bytes at once, then one byte after another for as long as somebody takes them.
pub(crate) async fn drip(pieces: Pieces, begun: Bytes) {
    let mut piece = begun;
    let mut ticks = tokio::time::interval(DRIP_EVERY);
    while pieces.send(Ok(Frame::data(piece))).await.is_ok() {
        ticks.tick().await;
        piece = Bytes::from_static(b"x");
    }
}

/// Writes byte by byte, what is to be said first, then filling without an end or nothing more, until the door ends the
/// connection; gives what it said.
pub(crate) async fn drip_bytes(stream: Box<dyn Stream>, begun: &[u8], filling: Option<u8>) -> Vec<u8> {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let mut said = Vec::new();
    let mut bytes = begun.iter().copied().chain(filling.into_iter().cycle());
    let mut ticks = tokio::time::interval(DRIP_EVERY);
    let ended = async {
        loop {
            tokio::select! {
                // A reset ends it as well.
                read = reading.read_buf(&mut said) => if read.unwrap_or(0) == 0 { return },
                _ = ticks.tick() => {
                    // What was said before the end is read first.
                    if let Some(byte) = bytes.next() {
                        let _ = writing.write_all(&[byte]).await;
                        let _ = writing.flush().await;
                    }
                }
            }
        }
    };
    soon("the end of a connection that drips", ended).await;
    said
}

/// Makes a key with its certificate in the node's folder.
pub(crate) fn issue(federation: &Federation, agency: &Agency, name: &str) -> Bytes {
    let key = SecretKey::generate(Algorithm::P256);
    let subject = Subject::Node { id: agency.site.node.clone(), hosts: vec!["127.0.0.1".to_owned()] };
    let certificate = federation.ca.issue_for_key(&key, subject, SystemClock.now()).unwrap();
    let keys = agency.site.folder.join("keys");
    key.write_encrypted(&keys.join(format!("{name}.key")), &passphrase()).unwrap();
    write_certificate(&keys.join(format!("{name}.crt")), &certificate).unwrap();
    certificate
}

/// Within a bound that only a failure reaches.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, event).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

pub(crate) async fn is_served(what: &str, caller: &mut Caller) {
    let answer = soon(what, caller.say(SayRequest { body: "x".into(), ..SayRequest::default() })).await;
    assert_eq!(answer.unwrap_or_else(|error| panic!("{what}: {error}")).into_inner().body, "x");
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Field lines as HPACK writes them without a table (RFC 7541 §6.2.2).
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// The head of a gRPC call of MEC's service.
pub(crate) fn call(token: &str, method: &str) -> Vec<u8> {
    let service = service("MEC").to_string();
    fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &format!("/road.test.v1.EchoService/{method}")),
        (":authority", "door"),
        ("content-type", "application/grpc"),
        ("x-peabiru-token", token),
        ("x-peabiru-purpose", "testing"),
        ("x-road-service", &service),
    ])
}

/// A gRPC message with its five bytes.
pub(crate) fn message(message: &impl prost::Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    [&[0], u32::try_from(message.len()).unwrap().to_be_bytes().as_slice(), &message].concat()
}

/// A connection that has begun HTTP/2 with these settings.
pub(crate) async fn http2_with(door: SocketAddr, settings: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(door).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).await.unwrap();
    stream
}

/// Of everything that happens at once unless it does not happen.
const LONG: Duration = Duration::from_secs(30);
/// Slow, and never silent for as long as any wait of these tests.
const DRIP_EVERY: Duration = Duration::from_millis(20);
