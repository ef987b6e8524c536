//! One connection of a caller: HTTP/2 if it begins so, else HTTP/1.1.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::authority::AuthorityMender;
use super::front::Door;
use super::http1::{Follower, MAX_HEAD_BYTES};
use super::identify::Credential;
use super::places::Connection;
use super::waits::Limit;
use super::watched::{Noted, Watch, Watched};

/// What kind of socket a caller came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Socket {
    /// With TLS or without.
    Tcp,
    /// Some libraries name its path as authority.
    Unix,
}

/// Serves a caller until it goes away, is idle for too long, or the node stops.
pub(super) async fn serve_connection<S>(
    mut stream: S,
    socket: Socket,
    credential: Option<Credential>,
    door: Arc<Door>,
    place: Arc<Connection>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = tokio::select! {
        begun = tokio::time::timeout(door.waits().begin, begin(&mut stream)) => begun,
        () = stop.cancelled() => return,
    };
    let (speaks, ahead) = match begun {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => {
            return tracing::debug!(%error, "a connection at the door ended before it said anything");
        }
        Err(_) => return Limit::Begin.note(),
    };
    match speaks {
        Speaks::Http2 => {
            let watch = match socket {
                Socket::Tcp => Watch::Nothing,
                Socket::Unix => Watch::Authority(AuthorityMender::default()),
            };
            serve_http2(Watched::new(stream, ahead, watch), credential, door, place, stop).await;
        }
        Speaks::Http1 => {
            let noted = Noted::default();
            let watch = Watch::Http1(Follower::default(), Arc::clone(&noted));
            serve_http1(Watched::new(stream, ahead, watch), noted, credential, door, place, stop).await;
        }
    }
}

enum Speaks {
    Http1,
    Http2,
}

/// Reads as far as the caller writes the preface of HTTP/2; the first other byte means HTTP/1.1.
async fn begin<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<(Speaks, Vec<u8>)> {
    let mut ahead = Vec::with_capacity(PREFACE.len());
    while ahead.len() < PREFACE.len() {
        let mut piece = [0; PREFACE.len()];
        let wanted = PREFACE.len() - ahead.len();
        let read = stream.read(&mut piece[..wanted]).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        ahead.extend_from_slice(&piece[..read]);
        if !PREFACE.starts_with(&ahead) {
            return Ok((Speaks::Http1, ahead));
        }
    }
    Ok((Speaks::Http2, ahead))
}

async fn serve_http2<S>(
    stream: Watched<S>,
    credential: Option<Credential>,
    door: Arc<Door>,
    place: Arc<Connection>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let calls_max = door.limits().calls_per_connection;
    let service = service_fn(move |request| {
        let (door, call) = (Arc::clone(&door), place.begin());
        async move {
            let answer = door.serve(credential, request).await;
            Ok::<_, Infallible>(answer.map(|body| call.answer(body)))
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(calls_max)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    note_end(ended, Limit::Alive);
}

async fn serve_http1<S>(
    stream: Watched<S>,
    noted: Noted,
    credential: Option<Credential>,
    door: Arc<Door>,
    place: Arc<Connection>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head_wait = door.waits().head;
    let service = service_fn(move |request| {
        let (door, call, noted) = (Arc::clone(&door), place.begin(), Arc::clone(&noted));
        async move {
            let answer = match noted.get() {
                None => door.serve(credential, request).await,
                Some(violation) => door.refuse(*violation, &request),
            };
            Ok::<_, Infallible>(answer.map(|body| call.answer(body)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_wait)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    note_end(ended, Limit::Head);
}

/// `limit`: the one that hyper keeps.
fn note_end(ended: Result<(), hyper::Error>, limit: Limit) {
    match ended {
        Ok(()) => {}
        Err(error) if error.is_timeout() => limit.note(),
        Err(error) => tracing::debug!(%error, "a connection at the door ended"),
    }
}

/// How every client of HTTP/2 begins (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest header list of a call, in bytes.
const MAX_HEADER_BYTES: u32 = 32 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(60);
