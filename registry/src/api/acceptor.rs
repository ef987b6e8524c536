//! TLS connections for tonic: our own handshake, so that a call knows the certificate of its caller.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use peabiru_proto::hash::Digest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// A connection after its handshake.
pub(crate) struct Secure {
    stream: TlsStream<TcpStream>,
    _permit: Permit,
}

/// Who is at the other end: an extension of every request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// DER; none on the distribution port.
    pub(crate) certificate: Option<Bytes>,
}

impl Caller {
    /// SHA-256 of the certificate.
    pub(crate) fn sha256(&self) -> Option<Digest> {
        self.certificate.as_ref().map(|certificate| Digest::of(certificate))
    }
}

/// Accepts until the receiver of the stream is gone. A slow or hostile handshake holds up nobody else.
pub(crate) fn accept(
    listener: TcpListener,
    tls: rustls::ServerConfig,
    what: &'static str,
) -> ReceiverStream<io::Result<Secure>> {
    let (ready, stream) = mpsc::channel(READY_MAX);
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let places = Arc::new(Places::default());
    tokio::spawn(async move {
        loop {
            let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = ready.closed() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = Places::take(&places, peer.ip()) else {
                        tracing::info!(%peer, what, "its address has too many connections");
                        continue;
                    };
                    let permit = (permit, place);
                    tokio::spawn(shake_hands(acceptor.clone(), stream, peer, permit, ready.clone(), what));
                }
                Err(error) => {
                    // Out of file descriptors, or the peer was gone already: others may still come.
                    tracing::warn!(%error, what, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    ReceiverStream::new(stream)
}

/// One connection of all, and one of its address.
type Permit = (OwnedSemaphorePermit, Place);

/// Connections by address: none takes the place of all others.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

/// Given back when dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    fn take(places: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut held = places.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(address).or_default();
        if *count >= CONNECTIONS_OF_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(places), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    permit: Permit,
    ready: mpsc::Sender<io::Result<Secure>>,
    what: &'static str,
) {
    // Small answers should not wait for more; where the option is refused, they do.
    let _ = stream.set_nodelay(true);
    match tokio::time::timeout(HANDSHAKE_WAIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            // The server may be stopping.
            let _ = ready.send(Ok(Secure { stream, _permit: permit })).await;
        }
        Ok(Err(error)) => tracing::info!(%peer, %error, what, "a caller was turned away"),
        Err(_) => tracing::info!(%peer, what, "a handshake took too long"),
    }
}

impl Connected for Secure {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        let certificates = self.stream.get_ref().1.peer_certificates();
        let certificate = certificates.and_then(<[_]>::first).map(|der| Bytes::copy_from_slice(der));
        Caller { certificate }
    }
}

impl AsyncRead for Secure {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Most connections of a port, handshakes included.
const CONNECTIONS_MAX: usize = 1024;
/// Of these, from one address.
const CONNECTIONS_OF_ADDRESS_MAX: usize = 64;
/// Connections that wait for the server to take them.
const READY_MAX: usize = 16;
/// How long a handshake may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// Wait after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
