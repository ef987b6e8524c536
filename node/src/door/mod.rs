//! Doors: where an agency's own systems reach their node.
//!
//! TCP on loopback without TLS, TCP with TLS anywhere, a Unix socket. All lead to one [`Door`], which speaks HTTP/2 and
//! HTTP/1.1: gRPC calls, and REST calls as X-Road's clients write them.

pub mod authority;
mod connection;
mod front;
mod grpc;
pub mod http1;
pub mod identify;
mod live;
mod own;
mod places;
mod refusal;
mod rest;
mod waits;
mod watched;

pub use crate::grpc::body::LargeWaits;
pub use front::{Door, Held, Route, Settings};
use front::{Shared, host, parse_purpose, refused, shown};
pub use waits::Waits;

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use peabiru_proto::hash::Digest;
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use connection::{Socket, serve_connection};
use identify::Credential;
use places::Connection;
use waits::Limit;

/// A listening socket of the door.
pub enum Listener {
    /// In clear: loopback only.
    Plain(TcpListener),
    /// With TLS, each connection with what is in force when it begins.
    Tls(TcpListener, SharedTls),
    /// Whoever may open the socket; the user id is the credential.
    Unix(UnixListener, PathBuf),
}

/// Keys and clients of a TLS door; they can change while it is open.
pub type SharedTls = Arc<ArcSwap<rustls::ServerConfig>>;

/// What a door carries at once; more waits or is refused.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections of one listener. One more takes the place of the one that has been idle for longest, or waits.
    pub connections: usize,
    /// Calls of one connection.
    pub calls_per_connection: u32,
    /// Calls of all listeners together; more get `node.overloaded`.
    pub calls: usize,
}

/// Why a door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The address.
    #[error("the door cannot listen on {address}: {source}")]
    Listen {
        /// Address or path.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// In clear, and reachable from elsewhere.
    #[error(
        "{address} is not loopback: a door in clear listens on loopback only; set [door] tls_certificate and tls_key"
    )]
    Clear {
        /// The address.
        address: SocketAddr,
    },
}

impl Listener {
    /// Serves in clear.
    ///
    /// # Errors
    /// `Clear` unless the address is loopback.
    pub fn plain(listener: TcpListener) -> Result<Self, DoorError> {
        let listen = |source| DoorError::Listen { address: "the TCP door".to_owned(), source };
        let address = listener.local_addr().map_err(listen)?;
        if !address.ip().is_loopback() {
            return Err(DoorError::Clear { address });
        }
        Ok(Self::Plain(listener))
    }

    /// Serves with TLS.
    #[must_use]
    pub fn tls(listener: TcpListener, tls: SharedTls) -> Self {
        Self::Tls(listener, tls)
    }

    /// Listens on a Unix socket; a socket that a process left behind is replaced.
    ///
    /// # Errors
    /// `Listen`.
    pub fn unix(path: &Path) -> Result<Self, DoorError> {
        let listen = |source| DoorError::Listen { address: path.display().to_string(), source };
        remove_stale(path).map_err(listen)?;
        let listener = UnixListener::bind(path).map_err(listen)?;
        // Who calls is told by the kernel, and unknown users are refused: the file's mode must not keep out those whom
        // [[clients]] names.
        fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(listen)?;
        Ok(Self::Unix(listener, path.to_owned()))
    }
}

/// Serves a listener until `stop`; then connections may end what they carry.
pub async fn serve(listener: Listener, door: Arc<Door>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = stop.cancelled() => break,
        };
        let incoming = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, or a client that went away: the next accept may succeed.
                tracing::warn!(%error, "the door could not take a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (permit, connection) = tokio::select! {
            entered = door.connections(&listener).enter() => entered,
            () = stop.cancelled() => break,
        };
        let (door, stop) = (Arc::clone(&door), stop.clone());
        connections.spawn(async move {
            let _permit = permit;
            tokio::select! {
                () = incoming.serve(Arc::clone(&door), Arc::clone(&connection), stop) => {}
                limit = connection.is_to_end(door.waits()) => limit.note(),
            }
        });
    }
    door.close();
    connections.close();
    connections.wait().await;
    if let Listener::Unix(_, path) = &listener {
        // A socket that stays is replaced by the next start.
        let _ = fs::remove_file(path);
    }
}

enum Incoming {
    Plain(tokio::net::TcpStream),
    Tls(tokio::net::TcpStream, TlsAcceptor),
    Unix(tokio::net::UnixStream),
}

async fn accept(listener: &Listener) -> io::Result<Incoming> {
    match listener {
        Listener::Plain(listener) => Ok(Incoming::Plain(listener.accept().await?.0)),
        Listener::Tls(listener, tls) => {
            let stream = listener.accept().await?.0;
            Ok(Incoming::Tls(stream, TlsAcceptor::from(tls.load_full())))
        }
        Listener::Unix(listener, _) => Ok(Incoming::Unix(listener.accept().await?.0)),
    }
}

impl Incoming {
    async fn serve(self, door: Arc<Door>, place: Arc<Connection>, stop: CancellationToken) {
        match self {
            Self::Plain(stream) => {
                // Answers are one small write each: waiting for more only delays them.
                let _ = stream.set_nodelay(true);
                serve_connection(stream, Socket::Tcp, None, door, place, stop).await;
            }
            Self::Tls(stream, acceptor) => {
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(door.waits().handshake, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                        let credential = certificate.map(|der| Credential::Certificate(Digest::of(der)));
                        serve_connection(stream, Socket::Tcp, credential, door, place, stop).await;
                    }
                    Ok(Err(error)) => tracing::info!(%error, "a TLS handshake at the door failed"),
                    Err(_) => Limit::Handshake.note(),
                }
            }
            Self::Unix(stream) => match stream.peer_cred() {
                Ok(user) => {
                    let credential = Some(Credential::UnixUser(user.uid()));
                    serve_connection(stream, Socket::Unix, credential, door, place, stop).await;
                }
                Err(error) => tracing::warn!(%error, "the user at the Unix socket is unknown"),
            },
        }
    }
}

/// Binds the TCP socket of a door.
///
/// # Errors
/// `Listen`.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, DoorError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| DoorError::Listen { address: address.to_string(), source })
}

/// A live socket answers; then the bind fails and says so. A dead one is removed; a file of another kind stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if found.file_type().is_socket() && std::os::unix::net::UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Wait after the system refused a connection.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
