//! One HTTP/2 connection to a service, made when needed and again after it broke.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
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
}

pub(super) struct Connection {
    endpoint: Endpoint,
    live: Mutex<Option<SendRequest<RoadBody>>>,
}

impl Connection {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, live: Mutex::new(None) }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends on the live connection, or on a new one.
    pub(super) async fn send(&self, request: Request<RoadBody>) -> Result<Response<Incoming>, Fault> {
        let mut sender = self.sender().await?;
        sender.send_request(request).await.map_err(|error| unreachable(&self.endpoint, &error))
    }

    /// One connects, the others wait for it.
    async fn sender(&self) -> Result<SendRequest<RoadBody>, Fault> {
        let mut live = self.live.lock().await;
        if let Some(sender) = live.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let sender = match &self.endpoint {
            Endpoint::Tcp { authority } => {
                let stream = TcpStream::connect(authority)
                    .await
                    .map_err(|error| unreachable(&self.endpoint, &error))?;
                let _ = stream.set_nodelay(true);
                self.handshake(stream).await?
            }
            Endpoint::Tls { authority, name, config } => {
                let failed = |error: std::io::Error| unreachable(&self.endpoint, &error);
                let stream = TcpStream::connect(authority).await.map_err(failed)?;
                let _ = stream.set_nodelay(true);
                let connector = TlsConnector::from(Arc::clone(config));
                self.handshake(connector.connect(name.clone(), stream).await.map_err(failed)?).await?
            }
            Endpoint::Unix { path } => {
                let stream =
                    UnixStream::connect(path).await.map_err(|error| unreachable(&self.endpoint, &error))?;
                self.handshake(stream).await?
            }
        };
        *live = Some(sender.clone());
        Ok(sender)
    }

    async fn handshake<S>(&self, stream: S) -> Result<SendRequest<RoadBody>, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(KEEP_ALIVE))
            .keep_alive_timeout(KEEP_ALIVE_WAIT)
            .handshake(io)
            .await
            .map_err(|error| unreachable(&self.endpoint, &error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to a service ended");
            }
        });
        Ok(sender)
    }
}

fn unreachable(endpoint: &Endpoint, error: &dyn std::fmt::Display) -> Fault {
    let at = match endpoint {
        Endpoint::Tcp { authority } => format!("http://{authority}"),
        Endpoint::Tls { authority, .. } => format!("https://{authority}"),
        Endpoint::Unix { path } => format!("unix:{}", path.display()),
    };
    // The address is the agency's own matter: it stays in this log, and out of what is sealed and sent.
    tracing::warn!(at, %error, "the agency's service cannot be reached");
    let message = "the agency's service cannot be reached from its node, whose log says why";
    Fault::new(FaultCode::ServiceUnreachable, Place::Service, message)
}

/// A service whose machine is gone without a word is noticed after these two.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_WAIT: Duration = Duration::from_secs(10);
