//! TLS connections for tonic: our own handshake, so that a call knows the certificate of its caller.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
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
    _permit: OwnedSemaphorePermit,
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
    tokio::spawn(async move {
        loop {
            let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = ready.closed() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
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

async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
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
/// Connections that wait for the server to take them.
const READY_MAX: usize = 16;
/// How long a handshake may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// Wait after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
