//! One HTTP/2 connection to a service, made when needed and again after it broke.

use std::path::PathBuf;
use std::str::FromStr;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;

use crate::door::body::WholeBody;

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://host:port`, in clear.
    Tcp {
        /// Host and port.
        authority: String,
    },
    /// `unix:/path`.
    Unix {
        /// Of the socket.
        path: PathBuf,
    },
}

/// A text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no service's url: write http://HOST:PORT or unix:/PATH")]
pub struct InvalidEndpoint(String);

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let refuse = || InvalidEndpoint(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix { path: path.into() }) } else { Err(refuse()) };
        }
        let uri: Uri = text.parse().map_err(|_| refuse())?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority = uri.authority().filter(|authority| authority.port().is_some() && bare);
        match (uri.scheme_str(), authority) {
            (Some("http"), Some(authority)) => Ok(Self::Tcp { authority: authority.to_string() }),
            _ => Err(refuse()),
        }
    }
}

impl Endpoint {
    pub(super) fn scheme(&self) -> &'static str {
        "http"
    }

    pub(super) fn authority(&self) -> &str {
        match self {
            Self::Tcp { authority } => authority,
            Self::Unix { .. } => "localhost",
        }
    }
}

pub(super) struct Connection {
    endpoint: Endpoint,
    live: Mutex<Option<SendRequest<WholeBody>>>,
}

impl Connection {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, live: Mutex::new(None) }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends on the live connection, or on a new one.
    pub(super) async fn send(&self, request: Request<WholeBody>) -> Result<Response<Incoming>, Fault> {
        let mut sender = self.sender().await?;
        sender.send_request(request).await.map_err(|error| unreachable(&self.endpoint, &error))
    }

    /// One connects, the others wait for it.
    async fn sender(&self) -> Result<SendRequest<WholeBody>, Fault> {
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
            Endpoint::Unix { path } => {
                let stream =
                    UnixStream::connect(path).await.map_err(|error| unreachable(&self.endpoint, &error))?;
                self.handshake(stream).await?
            }
        };
        *live = Some(sender.clone());
        Ok(sender)
    }

    async fn handshake<S>(&self, stream: S) -> Result<SendRequest<WholeBody>, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
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
    let message = match endpoint {
        Endpoint::Tcp { authority } => format!("http://{authority}: {error}"),
        Endpoint::Unix { path } => format!("unix:{}: {error}", path.display()),
    };
    Fault::new(FaultCode::ServiceUnreachable, Place::Service, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_http_with_a_port_or_unix_paths() {
        assert_eq!(
            "http://127.0.0.1:50051".parse(),
            Ok(Endpoint::Tcp { authority: "127.0.0.1:50051".to_owned() })
        );
        assert_eq!("unix:/run/mec.sock".parse(), Ok(Endpoint::Unix { path: "/run/mec.sock".into() }));
        for wrong in
            ["127.0.0.1:50051", "http://localhost", "https://a:1", "http://a:1/path", "unix:run/mec.sock", ""]
        {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
