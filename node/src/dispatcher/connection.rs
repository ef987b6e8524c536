//! How a service is reached: one HTTP/2 connection for gRPC, made when needed and again after it broke, and HTTP/1.1
//! connections for REST, of which some are kept.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
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
use tokio_rustls::TlsConnector;

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

pub(super) struct Connection {
    location: Location,
    grpc: Mutex<Option<http2::SendRequest<RoadBody>>>,
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
        Self { location, grpc: Mutex::new(None), idle: std::sync::Mutex::default() }
    }

    pub(super) fn location(&self) -> &Location {
        &self.location
    }

    fn endpoint(&self) -> &Endpoint {
        &self.location.endpoint
    }

    /// Sends a gRPC call on the live connection, or on a new one.
    pub(super) async fn send(&self, request: Request<RoadBody>) -> Result<Response<Incoming>, Fault> {
        let mut sender = self.grpc().await?;
        sender.try_send_request(request).await.map_err(|failed| self.unanswered(failed))
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
    async fn grpc(&self) -> Result<http2::SendRequest<RoadBody>, Fault> {
        let mut live = self.grpc.lock().await;
        if let Some(sender) = live.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
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

/// A service whose machine is gone without a word is noticed after these two.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_WAIT: Duration = Duration::from_secs(10);
/// HTTP/1.1 connections to one service that are kept while they carry nothing.
const IDLE_CONNECTIONS_MAX: usize = 64;
