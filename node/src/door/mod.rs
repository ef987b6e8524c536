//! Doors: where an agency's own systems reach their node.
//!
//! TCP on loopback without TLS, TCP with TLS anywhere, a Unix socket. All lead to one [`grpc::GrpcDoor`].

pub mod authority;
pub mod grpc;
pub mod identify;
mod unix;

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use peabiru_proto::hash::Digest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use grpc::GrpcDoor;
use identify::Credential;

/// A listening socket of the door.
pub enum Listener {
    /// In clear: loopback only.
    Plain(TcpListener),
    /// With TLS.
    Tls(TcpListener, TlsAcceptor),
    /// Whoever may open the socket; the user id is the credential.
    Unix(UnixListener, PathBuf),
}

/// What a door carries at once; more waits or is refused.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections of one listener; more wait in the system's queue.
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
    pub fn tls(listener: TcpListener, config: rustls::ServerConfig) -> Self {
        Self::Tls(listener, TlsAcceptor::from(Arc::new(config)))
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
pub async fn serve(listener: Listener, door: Arc<GrpcDoor>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(door.limits().connections));
    loop {
        let accepted = tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => match tokio::select! {
                accepted = accept(&listener) => accepted,
                () = stop.cancelled() => break,
            } {
                Ok(incoming) => Ok((incoming, permit)),
                Err(error) => Err(error),
            },
            () = stop.cancelled() => break,
        };
        let (incoming, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, or a client that went away: the next accept may succeed.
                tracing::warn!(%error, "the door could not take a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (door, stop) = (Arc::clone(&door), stop.clone());
        connections.spawn(async move {
            let _permit = permit;
            incoming.serve(door, stop).await;
        });
    }
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
        Listener::Tls(listener, acceptor) => Ok(Incoming::Tls(listener.accept().await?.0, acceptor.clone())),
        Listener::Unix(listener, _) => Ok(Incoming::Unix(listener.accept().await?.0)),
    }
}

impl Incoming {
    async fn serve(self, door: Arc<GrpcDoor>, stop: CancellationToken) {
        match self {
            Self::Plain(stream) => {
                // Answers are one small write each: waiting for more only delays them.
                let _ = stream.set_nodelay(true);
                serve_connection(stream, None, door, stop).await;
            }
            Self::Tls(stream, acceptor) => {
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE_WAIT, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                        let credential = certificate.map(|der| Credential::Certificate(Digest::of(der)));
                        serve_connection(stream, credential, door, stop).await;
                    }
                    Ok(Err(error)) => tracing::info!(%error, "a TLS handshake at the door failed"),
                    Err(_) => tracing::info!("a TLS handshake at the door took too long"),
                }
            }
            Self::Unix(stream) => match stream.peer_cred() {
                Ok(user) => {
                    let credential = Some(Credential::UnixUser(user.uid()));
                    serve_connection(unix::Caller::new(stream), credential, door, stop).await;
                }
                Err(error) => tracing::warn!(%error, "the user at the Unix socket is unknown"),
            },
        }
    }
}

async fn serve_connection<S>(
    stream: S,
    credential: Option<Credential>,
    door: Arc<GrpcDoor>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let calls_max = door.limits().calls_per_connection;
    let calls = Arc::new(Calls::default());
    let counted = Arc::clone(&calls);
    let service = service_fn(move |request| {
        let (door, call) = (Arc::clone(&door), Calls::begin(&counted));
        async move {
            let answer = door.serve(credential, request).await;
            drop(call);
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(calls_max)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = calls.idle() => {
            tracing::debug!("a connection at the door was idle for too long");
            return;
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection at the door ended");
    }
}

/// Calls of one connection, to tell an idle one: it holds a place that another application may need.
#[derive(Default)]
struct Calls {
    open: AtomicUsize,
    begun: AtomicUsize,
}

/// One call, until it is dropped.
struct OpenCall(Arc<Calls>);

impl Calls {
    fn begin(calls: &Arc<Self>) -> OpenCall {
        calls.open.fetch_add(1, Ordering::Relaxed);
        calls.begun.fetch_add(1, Ordering::Relaxed);
        OpenCall(Arc::clone(calls))
    }

    /// Ends when for `IDLE_MAX` no call was open and none began.
    async fn idle(&self) {
        let mut seen = None;
        loop {
            let begun = self.begun.load(Ordering::Relaxed);
            if self.open.load(Ordering::Relaxed) == 0 && seen == Some(begun) {
                return;
            }
            seen = Some(begun);
            tokio::time::sleep(IDLE_MAX).await;
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
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

/// Longest header list of a call, in bytes.
const MAX_HEADER_BYTES: u32 = 32 * 1024;
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(60);
/// Wait after the system refused a connection.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
/// A connection without a call for this long is closed; clients make a new one when they need it.
const IDLE_MAX: std::time::Duration = std::time::Duration::from_secs(300);
/// For a TLS handshake at the door.
const HANDSHAKE_WAIT: std::time::Duration = std::time::Duration::from_secs(10);
