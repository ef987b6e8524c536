//! HTTP/2 over TCP, the second carrier: for where a firewall drops UDP. Its folder is the only user of h2.
//!
//! The TLS session is QUIC's: the same certificates, pins and key exchange. Only the side that dialled can open
//! streams of HTTP/2, so the roles are these, each a path:
//!
//! ```text
//! /signal    open as long as the connection; whoever ends that resets it with the code
//! /control   request body: the dialler's Hello and checkpoints; answer body: the other side's
//! /exchange  one that the dialler opens: message in the request, answer in the answer
//! /parked    opened ahead and left unanswered: the other side answers with a message when it opens an exchange,
//!            and gets its answer in the request body; the dialler then opens the next
//! ```

mod drive;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use peabiru_certs::peer::LINK_ALPN_HTTP2;
use rustls_pki_types::{CertificateDer, ServerName};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::terms::{
    CONNECTION_WINDOW_BYTES, Code, READ_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX, StreamError, lost,
};
use drive::{Driver, Ended, Parked, Routes};
pub use stream::{Receiver, Sender};

/// Dials; what listens is the [`Listener`].
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The drivers of connections.
    tasks: TaskTracker,
    /// The node stops.
    closing: CancellationToken,
}

/// A TCP socket on which peers connect.
pub struct Listener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    endpoint: Endpoint,
}

/// Somebody connected; nothing was read yet.
pub struct Incoming {
    socket: TcpStream,
    acceptor: TlsAcceptor,
    endpoint: Endpoint,
}

/// A connection after its handshake. The last one that is dropped ends it.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    remote: SocketAddr,
    certificates: Vec<CertificateDer<'static>>,
    /// Microseconds, smoothed.
    round_trip: Arc<AtomicU64>,
    asked: watch::Sender<Option<Code>>,
    ended: watch::Receiver<Option<Ended>>,
    control: Mutex<Control>,
    accepted: Mutex<mpsc::Receiver<(Sender, Receiver)>>,
    /// Exchanges that this side opens.
    opening: Arc<Semaphore>,
    side: Side,
}

#[derive(Debug)]
enum Side {
    Dialled { streams: SendRequest<Bytes>, accepted: mpsc::Sender<(Sender, Receiver)>, endpoint: Endpoint },
    Answered { parked: Mutex<mpsc::Receiver<Parked>> },
}

/// What is left to take of the control stream.
#[derive(Debug)]
enum Control {
    Dialled(Option<ResponseFuture>),
    Answered {
        incoming: mpsc::Receiver<(RecvStream, SendResponse<Bytes>)>,
        outgoing: Option<SendResponse<Bytes>>,
    },
}

impl Endpoint {
    /// Its drivers are tasks of `tasks`.
    #[must_use]
    pub fn new(tasks: TaskTracker) -> Self {
        Self { tasks, closing: CancellationToken::new() }
    }

    /// Listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen(&self, address: SocketAddr, mut server: rustls::ServerConfig) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            // As for UDP: `[::]` means every address.
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        // Connections of before a restart do not keep the port.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        server.alpn_protocols = vec![LINK_ALPN_HTTP2.to_vec()];
        Ok(Listener { listener, acceptor: TlsAcceptor::from(Arc::new(server)), endpoint: self.clone() })
    }

    /// Dials, and waits for the end of the handshake.
    ///
    /// # Errors
    /// Why there is no connection, for people.
    pub async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
        mut client: rustls::ClientConfig,
    ) -> Result<Connection, String> {
        let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
        client.alpn_protocols = vec![LINK_ALPN_HTTP2.to_vec()];
        let socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        at_once(&socket);
        let tls = TlsConnector::from(Arc::new(client)).connect(name, socket).await;
        let tls = TlsStream::from(tls.map_err(|error| error.to_string())?);
        let certificates = certificates(&tls)?;
        let (mut streams, mut connection) =
            client_limits().handshake(tls).await.map_err(|error| error.to_string())?;
        let pings = connection.ping_pong();
        let signal = open(&mut streams, SIGNAL).map_err(|error| error.to_string())?;
        let (asked, ended, driver) = self.driver();
        let (sender, accepted) = mpsc::channel(STREAMS_MAX as usize);
        let round_trip = Arc::clone(&driver.round_trip);
        self.tasks.spawn(driver.dialled(connection, pings, signal));
        Ok(Connection(Arc::new(Shared {
            remote: address,
            certificates,
            round_trip,
            asked,
            ended,
            control: Mutex::new(Control::Dialled(None)),
            accepted: Mutex::new(accepted),
            opening: Arc::new(Semaphore::new(STREAMS_MAX as usize)),
            side: Side::Dialled { streams, accepted: sender, endpoint: self.clone() },
        })))
    }

    /// Says goodbye on all connections, and stops listening.
    pub fn close(&self) {
        self.closing.cancel();
    }

    fn driver(&self) -> (watch::Sender<Option<Code>>, watch::Receiver<Option<Ended>>, Driver) {
        let (asked, asks) = watch::channel(None);
        let (ends, ended) = watch::channel(None);
        let closing = self.closing.clone();
        (asked, ended, Driver { asks, ends, closing, round_trip: Arc::default() })
    }
}

impl Listener {
    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next who connects; none once the endpoint is closed.
    pub async fn accept(&self) -> Option<Incoming> {
        loop {
            let accepted = tokio::select! {
                () = self.endpoint.closing.cancelled() => return None,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, _)) => {
                    let (acceptor, endpoint) = (self.acceptor.clone(), self.endpoint.clone());
                    return Some(Incoming { socket, acceptor, endpoint });
                }
                Err(error) => {
                    tracing::warn!(%error, "a TCP connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Incoming {
    /// Answers, and waits for the end of the handshake.
    ///
    /// # Errors
    /// Why there is no connection, for people.
    pub async fn handshake(self) -> Result<Connection, String> {
        let Self { socket, acceptor, endpoint } = self;
        at_once(&socket);
        let remote = socket.peer_addr().map_err(|error| error.to_string())?;
        let tls = TlsStream::from(acceptor.accept(socket).await.map_err(|error| error.to_string())?);
        let certificates = certificates(&tls)?;
        let mut connection = server_limits().handshake(tls).await.map_err(|error| error.to_string())?;
        let pings = connection.ping_pong();
        let (asked, ended, driver) = endpoint.driver();
        let (control, controls) = mpsc::channel(1);
        let (accepted, accepts) = mpsc::channel(STREAMS_MAX as usize);
        let (parked, parks) = mpsc::channel(PARKED_STREAMS);
        let places = Arc::new(Semaphore::new(STREAMS_MAX as usize));
        let round_trip = Arc::clone(&driver.round_trip);
        endpoint.tasks.spawn(driver.answered(
            connection,
            pings,
            Routes { control: Some(control), accepted, parked, places },
        ));
        Ok(Connection(Arc::new(Shared {
            remote,
            certificates,
            round_trip,
            asked,
            ended,
            control: Mutex::new(Control::Answered { incoming: controls, outgoing: None }),
            accepted: Mutex::new(accepts),
            opening: Arc::new(Semaphore::new(STREAMS_MAX as usize)),
            side: Side::Answered { parked: Mutex::new(parks) },
        })))
    }
}

impl Connection {
    /// The control stream to the peer. The side that was dialled answers on the peer's: after `accept_control`.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn open_control(&self) -> Result<Sender, StreamError> {
        let mut control = self.0.control.lock().await;
        match (&mut *control, &self.0.side) {
            (Control::Dialled(answer), Side::Dialled { streams, .. }) => {
                let mut streams = streams.clone().ready().await.map_err(lost)?;
                let (response, stream) = open(&mut streams, CONTROL)?;
                *answer = Some(response);
                Ok(Sender::open(stream, None))
            }
            (Control::Answered { outgoing, .. }, _) => {
                let respond = outgoing.take().ok_or_else(|| lost("the peer opened no control stream yet"))?;
                Ok(Sender::answer(respond, None))
            }
            (Control::Dialled(_), Side::Answered { .. }) => Err(lost("a side is one of two")),
        }
    }

    /// The control stream from the peer. The side that dialled opens its own before.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn accept_control(&self) -> Result<Receiver, StreamError> {
        let mut control = self.0.control.lock().await;
        match &mut *control {
            Control::Dialled(answer) => {
                let response = answer.take().ok_or_else(|| lost("no control stream was opened"))?;
                let answered = tokio::select! {
                    biased;
                    why = self.closed() => return Err(lost(why)),
                    answered = response => answered,
                };
                let body = match answered {
                    Ok(response) => response.into_body(),
                    // The connection's own end says why, if there is one.
                    Err(error) => return Err(self.ended_or(error).await),
                };
                self.park();
                Ok(Receiver::answer(body))
            }
            Control::Answered { incoming, outgoing } => {
                let taken = tokio::select! {
                    biased;
                    taken = incoming.recv() => taken,
                    why = self.closed() => return Err(lost(why)),
                };
                let (body, respond) = taken.ok_or_else(|| lost("the connection ended"))?;
                *outgoing = Some(respond);
                Ok(Receiver::request(body, None))
            }
        }
    }

    /// Waits while as many exchanges as this side may have open are, or while the peer parked no stream.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn open_exchange(&self) -> Result<(Sender, Receiver), StreamError> {
        let place = Arc::clone(&self.0.opening).acquire_owned().await.map_err(lost)?;
        match &self.0.side {
            Side::Dialled { streams, .. } => {
                let mut streams = streams.clone().ready().await.map_err(lost)?;
                let (response, stream) = open(&mut streams, EXCHANGE)?;
                Ok((Sender::open(stream, None), Receiver::awaited(response, Some(place))))
            }
            Side::Answered { parked } => {
                let mut parked = tokio::select! {
                    parked = parked.lock() => parked,
                    why = self.closed() => return Err(lost(why)),
                };
                loop {
                    let taken = tokio::select! {
                        biased;
                        why = self.closed() => return Err(lost(why)),
                        taken = parked.recv() => taken,
                    };
                    let Parked { body, mut respond } = taken.ok_or_else(|| lost("the connection ended"))?;
                    // One that the peer gave up meanwhile is passed over.
                    if let Ok(stream) = respond.send_response(http::Response::new(()), false) {
                        return Ok((Sender::open(stream, None), Receiver::request(body, Some(place))));
                    }
                }
            }
        }
    }

    /// The next exchange that the peer opens.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn accept_exchange(&self) -> Result<(Sender, Receiver), StreamError> {
        let mut accepted = self.0.accepted.lock().await;
        tokio::select! {
            biased;
            why = self.closed() => Err(lost(why)),
            accepted = accepted.recv() => accepted.ok_or_else(|| lost("the connection ended")),
        }
    }

    /// The peer's chain, its own certificate first.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.0.certificates.clone()
    }

    /// Ends it; the peer is told the code.
    pub fn close(&self, code: Code) {
        self.0.asked.send_if_modified(|asked| asked.is_none() && asked.replace(code).is_none());
    }

    /// Waits for the end of the connection, and says why.
    pub async fn closed(&self) -> String {
        let mut ended = self.0.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.as_ref().map(Ended::to_string).unwrap_or_default(),
            // The driver went with the runtime.
            Err(_) => "the node stops".to_owned(),
        }
    }

    /// Whether the peer closed it because it uses another connection with this node.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        matches!(&*self.0.ended.borrow(), Some(Ended::ByPeer(Code::Duplicate)))
    }

    /// Where the peer is.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.0.remote
    }

    /// Smoothed over the answers to pings.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        Duration::from_micros(self.0.round_trip.load(Ordering::Relaxed))
    }

    /// The stream broke: if that is because the connection ended, its end says more than the stream.
    async fn ended_or(&self, error: h2::Error) -> StreamError {
        match tokio::time::timeout(END_WAIT, self.closed()).await {
            Ok(why) => lost(why),
            Err(_) => lost(error),
        }
    }

    /// Keeps streams open for exchanges that the peer opens.
    fn park(&self) {
        let Side::Dialled { streams, accepted, endpoint } = &self.0.side else { return };
        let places = Arc::new(Semaphore::new(STREAMS_MAX as usize));
        for _ in 0..PARKED_STREAMS {
            let parking = drive::park(streams.clone(), accepted.clone(), Arc::clone(&places));
            endpoint.tasks.spawn(parking);
        }
    }
}

/// Answers are small writes: waiting for more only delays them.
fn at_once(socket: &TcpStream) {
    // Fails only on a broken socket, which the handshake tells.
    let _ = socket.set_nodelay(true);
}

/// The peer's chain, if the session speaks this carrier's protocol.
fn certificates(tls: &TlsStream<TcpStream>) -> Result<Vec<CertificateDer<'static>>, String> {
    let (_, session) = tls.get_ref();
    if session.alpn_protocol() != Some(LINK_ALPN_HTTP2) {
        return Err("it does not speak peabiru over HTTP/2".to_owned());
    }
    let chain = session.peer_certificates().unwrap_or_default();
    Ok(chain.iter().map(|certificate| certificate.clone().into_owned()).collect())
}

fn open(
    streams: &mut SendRequest<Bytes>,
    path: &'static str,
) -> Result<(ResponseFuture, SendStream<Bytes>), StreamError> {
    let uri = format!("https://{AUTHORITY}{path}");
    let request = Request::post(uri).body(()).map_err(lost)?;
    streams.send_request(request, false).map_err(lost)
}

fn client_limits() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(READ_BYTES_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(Some(ERRORS_MAX))
        .max_send_buffer_size(STREAM_WINDOW_BYTES as usize);
    builder
}

fn server_limits() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(WIRED_STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(READ_BYTES_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(Some(ERRORS_MAX))
        .max_send_buffer_size(STREAM_WINDOW_BYTES as usize);
    builder
}

/// A code as HTTP/2 carries it, apart from its own.
fn reason(code: Code) -> Reason {
    Reason::from(CODE_BASE + code as u32)
}

fn code_of(reason: Reason) -> Option<Code> {
    Code::of(u32::from(reason).checked_sub(CODE_BASE)?)
}

const SIGNAL: &str = "/signal";
const CONTROL: &str = "/control";
const EXCHANGE: &str = "/exchange";
const PARKED: &str = "/parked";
/// TLS says who is who: the authority means nothing.
const AUTHORITY: &str = "peabiru";
const CODE_BASE: u32 = 0x7065_0000;
/// Streams that wait for an exchange of the side that was dialled: as many of these begin in one round trip.
const PARKED_STREAMS: usize = 64;
/// Exchanges of both sides, streams that are parked, control and signal.
const WIRED_STREAMS_MAX: u32 = 2 * STREAMS_MAX + 64 + 2;
/// TCP connections that the system holds until they are taken.
const BACKLOG: i32 = 256;
/// After the system gave no connection: it may be out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of the headers of one request, as HTTP/2 counts them.
const HEADERS_BYTES_MAX: u32 = 4 * 1024;
/// Streams that the peer reset and that are not forgotten yet; more ends the connection.
const RESET_STREAMS_MAX: usize = 128;
/// Streams that the peer made this node reset; more ends the connection.
const ERRORS_MAX: usize = 128;
/// From the end of the control stream to that of the connection.
const END_WAIT: Duration = Duration::from_secs(1);

const _: () = assert!(
    WIRED_STREAMS_MAX as usize == 2 * STREAMS_MAX as usize + PARKED_STREAMS + 2,
    "each has its place"
);
