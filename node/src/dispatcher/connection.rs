//! How a service is reached: one HTTP/2 connection for gRPC, made when needed and again after it broke, and HTTP/1.1
//! connections for REST, of which some are kept.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::grpc::body::RoadBody;

/// Where a service listens.
#[derive(Clone)]
pub enum Endpoint {
    /// In clear: on this machine only.
    Tcp {
        /// Host and port.
        authority: String,
    },
    /// With TLS.
    Tls {
        /// Host and port.
        authority: String,
        /// Of the host, as its certificate must have it.
        name: ServerName<'static>,
        /// Whose certificates are taken.
        config: Arc<ClientConfig>,
    },
    /// A socket on this machine.
    Unix {
        /// Of the socket.
        path: PathBuf,
    },
}

/// A service: where it listens, and below which path.
#[derive(Clone)]
pub struct Location {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Begins with a slash and does not end with one, or is empty.
    pub base: String,
}

impl Location {
    /// Whether both are surely the same. Authorities of TLS are not compared.
    pub(super) fn is(&self, other: &Self) -> bool {
        let endpoint = match (&self.endpoint, &other.endpoint) {
            (Endpoint::Tcp { authority: one }, Endpoint::Tcp { authority: another }) => one == another,
            (Endpoint::Unix { path: one }, Endpoint::Unix { path: another }) => one == another,
            _ => false,
        };
        endpoint && self.base == other.base
    }
}

impl From<Endpoint> for Location {
    fn from(endpoint: Endpoint) -> Self {
        Self { endpoint, base: String::new() }
    }
}

impl Endpoint {
    pub(super) fn scheme(&self) -> &'static str {
        match self {
            Self::Tcp { .. } | Self::Unix { .. } => "http",
            Self::Tls { .. } => "https",
        }
    }

    pub(super) fn authority(&self) -> &str {
        match self {
            Self::Tcp { authority } | Self::Tls { authority, .. } => authority,
            Self::Unix { .. } => "localhost",
        }
    }

    /// Connects; over TLS the protocol is agreed on.
    async fn open(&self, protocol: &'static [u8]) -> Result<Box<dyn Stream>, Fault> {
        let failed = |error: std::io::Error| unreachable(self, &error);
        match self {
            Self::Tcp { authority } => {
                let stream = TcpStream::connect(authority).await.map_err(failed)?;
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Self::Tls { authority, name, config } => {
                let stream = TcpStream::connect(authority).await.map_err(failed)?;
                let _ = stream.set_nodelay(true);
                let mut config = ClientConfig::clone(config);
                config.alpn_protocols = vec![protocol.to_vec()];
                let connector = TlsConnector::from(Arc::new(config));
                Ok(Box::new(connector.connect(name.clone(), stream).await.map_err(failed)?))
            }
            Self::Unix { path } => Ok(Box::new(UnixStream::connect(path).await.map_err(failed)?)),
        }
    }
}

/// What a connection runs over.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection that carries many calls at once, if there is one.
type Shared = Mutex<Option<http2::SendRequest<RoadBody>>>;

pub(super) struct Connection {
    location: Location,
    grpc: Shared,
    /// Of streams alone: those that nobody reads fill a connection's window.
    live: Shared,
    /// HTTP/1.1 carries one call at a time: connections that carry none wait here, the newest last.
    idle: std::sync::Mutex<Vec<http1::SendRequest<RoadBody>>>,
}

/// A connection that carries a REST call. Given back once its answer is read, it serves the next; dropped, it is
/// closed.
pub(super) struct Lent {
    sender: http1::SendRequest<RoadBody>,
}

impl Connection {
    pub(super) fn new(location: Location) -> Self {
        let (grpc, live) = (Mutex::new(None), Mutex::new(None));
        Self { location, grpc, live, idle: std::sync::Mutex::default() }
    }

    pub(super) fn location(&self) -> &Location {
        &self.location
    }

    fn endpoint(&self) -> &Endpoint {
        &self.location.endpoint
    }

    /// Sends a gRPC call on the connection that there is, or on a new one.
    pub(super) async fn send(&self, request: Request<RoadBody>) -> Result<Response<Incoming>, Fault> {
        self.send_on(&self.grpc, &http2::Builder::new(TokioExecutor::new()), request).await
    }

    /// The same for a call whose messages go one by one.
    pub(super) async fn send_live(&self, request: Request<RoadBody>) -> Result<Response<Incoming>, Fault> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(LIVE_WINDOW_BYTES)
            .initial_connection_window_size(LIVE_WINDOWS_BYTES);
        self.send_on(&self.live, &builder, request).await
    }

    async fn send_on(
        &self,
        shared: &Shared,
        builder: &http2::Builder<TokioExecutor>,
        request: Request<RoadBody>,
    ) -> Result<Response<Incoming>, Fault> {
        let mut sender = self.shared(shared, builder).await?;
        let passed = CancellationToken::new();
        let request = request.map(|body| body.holding(passed.clone().drop_guard()));
        let sent = Sent { answer: Some(Box::pin(sender.try_send_request(request))), passed };
        sent.await.map_err(|failed| self.unanswered(failed))
    }

    /// Sends a REST call on an idle connection, or on a new one. If an idle one turns out to be closed before anything
    /// was written, the next is tried.
    pub(super) async fn send_rest(
        &self,
        mut request: Request<RoadBody>,
    ) -> Result<(Response<Incoming>, Lent), Fault> {
        while let Some(mut sender) = self.take_idle() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, Lent { sender })),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.unanswered(failed)),
                },
            }
        }
        let io = TokioIo::new(self.endpoint().open(b"http/1.1").await?);
        let failed = |error: hyper::Error| unreachable(self.endpoint(), &error);
        let (mut sender, connection) = http1::Builder::new().handshake(io).await.map_err(failed)?;
        drive(connection);
        let response = sender.try_send_request(request).await.map_err(|failed| self.unanswered(failed))?;
        Ok((response, Lent { sender }))
    }

    /// Whether nothing of the request was sent is what matters: then the service has done nothing.
    fn unanswered(&self, mut failed: TrySendError<Request<RoadBody>>) -> Fault {
        match failed.take_message() {
            Some(_) => unreachable(self.endpoint(), &failed.into_error()),
            None => broke_off(self.endpoint(), &failed.into_error()),
        }
    }

    /// Takes a connection back whose answer was read to its end.
    pub(super) fn give_back(&self, lent: Lent) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        if idle.len() < IDLE_CONNECTIONS_MAX && !lent.sender.is_closed() {
            idle.push(lent.sender);
        }
    }

    fn take_idle(&self) -> Option<http1::SendRequest<RoadBody>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = idle.pop() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    /// One connects, the others wait for it.
    async fn shared(
        &self,
        shared: &Shared,
        builder: &http2::Builder<TokioExecutor>,
    ) -> Result<http2::SendRequest<RoadBody>, Fault> {
        let mut live = shared.lock().await;
        if let Some(sender) = live.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let (sender, connection) = builder
            .clone()
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(KEEP_ALIVE))
            .keep_alive_timeout(KEEP_ALIVE_WAIT)
            .handshake(TokioIo::new(self.endpoint().open(b"h2").await?))
            .await
            .map_err(|error| unreachable(self.endpoint(), &error))?;
        drive(connection);
        *live = Some(sender.clone());
        Ok(sender)
    }
}

/// A call whose answer is waited for. If nobody waits any more, it is given up only once its request has passed, or has
/// broken off with an error of its own: until then it could but be reset with `CANCEL`, which some servers show to a
/// service as the end of its messages (tonic 0.14). Half a request must not look like a whole one.
struct Sent<F: Future + Send + 'static> {
    answer: Option<Pin<Box<F>>>,
    /// The connection has let go of the request's body.
    passed: CancellationToken,
}

impl<F: Future + Send> Future for Sent<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(answer) = &mut self.answer else { return Poll::Pending };
        let answered = ready!(answer.as_mut().poll(context));
        self.answer = None;
        Poll::Ready(answered)
    }
}

impl<F: Future + Send> Drop for Sent<F> {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            let passed = self.passed.clone();
            tokio::spawn(async move {
                let _ = timeout(GIVEN_UP_HELD, passed.cancelled()).await;
                // What passed is not written yet, and a reset discards what waits to be.
                sleep(WRITTEN_WITHIN).await;
                drop(answer);
            });
        }
    }
}

fn drive(connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to a service ended");
        }
    });
}

/// For this log alone: the address is the agency's own matter, and stays out of what is sealed and sent.
fn at(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp { authority } => format!("http://{authority}"),
        Endpoint::Tls { authority, .. } => format!("https://{authority}"),
        Endpoint::Unix { path } => format!("unix:{}", path.display()),
    }
}

/// The request, or a part of it, was sent.
fn broke_off(endpoint: &Endpoint, error: &dyn std::fmt::Display) -> Fault {
    tracing::warn!(at = at(endpoint), %error, "the agency's service broke off before it answered");
    let message = "the agency's service broke off before it answered; the log of its node says how";
    Fault::new(FaultCode::ExchangeOutcomeUnknown, Place::Service, message)
}

/// Nothing was sent.
fn unreachable(endpoint: &Endpoint, error: &dyn std::fmt::Display) -> Fault {
    tracing::warn!(at = at(endpoint), %error, "the agency's service cannot be reached");
    let message = "the agency's service cannot be reached from its node, whose log says why";
    Fault::new(FaultCode::ServiceUnreachable, Place::Service, message)
}

/// Unread bytes of one stream from a service, and of all of them.
const LIVE_WINDOW_BYTES: u32 = 256 * 1024;
const LIVE_WINDOWS_BYTES: u32 = 16 * 1024 * 1024;
/// A service whose machine is gone without a word is noticed after these two.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_WAIT: Duration = Duration::from_secs(10);
/// For a request that nobody waits for to pass to a service that reads it slowly.
const GIVEN_UP_HELD: Duration = Duration::from_secs(10 * 60);
/// For the end of that request to leave this machine.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);
/// HTTP/1.1 connections to one service that are kept while they carry nothing.
const IDLE_CONNECTIONS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use h2::{Reason, RecvStream};
    use tokio::net::TcpListener;
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::exchange::Piece;
    use peabiru_ledger::payload::OpenBody;

    /// A service whose one call is handed to the test, and a call with this body.
    async fn called(body: RoadBody) -> (RecvStream, impl Future<Output = ()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let (called, call) = oneshot::channel();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut service = h2::server::handshake(stream).await.unwrap();
            let (request, unanswered) = service.accept().await.unwrap().unwrap();
            called.send(request.into_body()).unwrap();
            while service.accept().await.is_some() {}
            drop(unanswered);
        });
        let connection = Connection::new(Endpoint::Tcp { authority }.into());
        let mut sending = Box::pin(async move {
            let request = Request::post("http://localhost/a").body(body).unwrap();
            let _ = connection.send(request).await;
        });
        let request = tokio::select! {
            () = &mut sending => panic!("answered"),
            request = call => request.unwrap(),
        };
        (request, sending)
    }

    async fn next(request: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
        let data = timeout(Duration::from_secs(30), request.data()).await.unwrap();
        if let Some(Ok(data)) = &data {
            request.flow_control().release_capacity(data.len()).unwrap();
        }
        data
    }

    #[tokio::test]
    async fn half_a_request_that_nobody_waits_for_is_broken_off_and_not_cancelled() {
        let (pieces, body) = mpsc::channel(1);
        let (mut request, sending) = called(RoadBody::live(body, |_| None)).await;
        drop(sending);
        pieces.send(Ok(Piece::Data(Bytes::from_static(b"half")))).await.unwrap();
        assert_eq!(next(&mut request).await.unwrap().unwrap(), "half");
        drop(pieces);
        let broken = next(&mut request).await.unwrap().unwrap_err();
        assert_eq!(broken.reason(), Some(Reason::INTERNAL_ERROR));
    }

    #[tokio::test]
    async fn a_request_that_a_slow_service_still_reads_comes_whole() {
        let bytes = 1024 * 1024;
        let body = RoadBody::new(OpenBody::Whole(Bytes::from(vec![1; bytes])), None);
        let (mut request, sending) = called(body).await;
        drop(sending);
        let mut read = 0;
        while let Some(data) = next(&mut request).await {
            read += data.unwrap().len();
        }
        assert_eq!(read, bytes);
    }
}
