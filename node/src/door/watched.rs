//! The stream of a caller: what it wrote is followed on its way to hyper, and what was read ahead comes first.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::authority::AuthorityMender;
use super::http1::{Follower, Violation};

/// A caller's stream.
pub(super) struct Watched<S> {
    stream: S,
    /// Read before it was known what the caller speaks.
    ahead: Vec<u8>,
    watch: Watch,
}

/// How a stream is followed.
pub(super) enum Watch {
    /// Not at all.
    Nothing,
    /// HTTP/2 at a Unix socket: its authority is mended.
    Authority(AuthorityMender),
    /// HTTP/1.1: what can be read in two ways is noted before hyper reads it.
    Http1(Follower, Noted),
}

/// What was noted of a connection, for all its calls.
pub(super) type Noted = Arc<OnceLock<Violation>>;

impl<S> Watched<S> {
    pub(super) fn new(stream: S, ahead: Vec<u8>, watch: Watch) -> Self {
        Self { stream, ahead, watch }
    }
}

impl Watch {
    fn see(&mut self, bytes: &mut [u8]) {
        match self {
            Self::Nothing => {}
            Self::Authority(mender) => mender.mend(bytes),
            Self::Http1(follower, noted) => {
                if let Err(violation) = follower.follow(bytes) {
                    let _ = noted.set(violation);
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if this.ahead.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        } else {
            let taken = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.ahead[..taken]);
            this.ahead.drain(..taken);
        }
        this.watch.see(&mut buffer.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;
    use crate::grpc::body::RoadBody;

    /// As grpcio 1.76 writes it, but for the method: `GET /` by a caller of `unix:/run/door.sock`.
    const REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
        \x00\x00\x00\x04\x00\x00\x00\x00\x00\
        \x00\x00\x1f\x01\x05\x00\x00\x00\x01\x82\x86\x84@\n:authority\x0frun%2Fdoor.sock";

    fn caller_of(stream: UnixStream) -> Watched<UnixStream> {
        Watched::new(stream, Vec::new(), Watch::Authority(AuthorityMender::default()))
    }

    #[tokio::test]
    async fn a_caller_that_names_the_sockets_path_is_served() {
        let (mut caller, door) = UnixStream::pair().unwrap();
        let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
            assert_eq!(request.uri().authority().unwrap(), "run-2Fdoor.sock");
            Ok::<_, std::convert::Infallible>(Response::new(RoadBody::default()))
        });
        let serving = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(caller_of(door)), service);
        tokio::spawn(serving);
        caller.write_all(REQUEST).await.unwrap();
        let answered = loop {
            let mut head = [0; 9];
            caller.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            caller.read_exact(&mut payload).await.unwrap();
            if head[8] == 1 {
                break head[3];
            }
        };
        assert_eq!(answered, 1, "HEADERS, not RST_STREAM (3)");
    }
}
