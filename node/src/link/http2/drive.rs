//! The task that keeps a connection going: reads and writes, pings, hands out what the peer opens, says goodbye.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::Request;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{CONTROL, EXCHANGE, PARKED, Receiver, SIGNAL, Sender, code_of, open, reason};
use crate::link::terms::{Code, IDLE_MAX, KEEP_ALIVE};

/// What a connection's task has of its `Connection`: it ends when that is dropped.
pub(super) struct Driver {
    pub(super) asks: watch::Receiver<Option<Code>>,
    pub(super) ends: watch::Sender<Option<Ended>>,
    pub(super) closing: CancellationToken,
    pub(super) round_trip: Arc<AtomicU64>,
}

/// How a connection came to its end.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    ByUs(Code),
    ByPeer(Code),
    Lost(String),
}

/// A stream that the peer opened for an exchange of ours.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) body: RecvStream,
    pub(super) respond: SendResponse<Bytes>,
}

/// Where streams go that the peer opens.
pub(super) struct Routes {
    /// Once.
    pub(super) control: Option<mpsc::Sender<(RecvStream, SendResponse<Bytes>)>>,
    pub(super) accepted: mpsc::Sender<(Sender, Receiver)>,
    pub(super) parked: mpsc::Sender<Parked>,
    /// Bounds the tasks that serve exchanges: resetting a stream frees its place only when its task has ended.
    pub(super) places: Arc<Semaphore>,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByUs(code) => write!(f, "closed: {code}"),
            Self::ByPeer(code) => write!(f, "closed by peer: {code}"),
            Self::Lost(why) => f.write_str(why),
        }
    }
}

impl Driver {
    pub(super) async fn dialled(
        mut self,
        connection: h2::client::Connection<TlsStream<TcpStream>, Bytes>,
        pings: Option<PingPong>,
        signal: (ResponseFuture, SendStream<Bytes>),
    ) {
        let (answer, mut signal) = signal;
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            // First what the peer said, then what followed from it.
            biased;
            code = code_in(async { answer.await.err()?.reason() }) => Ended::ByPeer(code),
            ended = &mut connection => Ended::Lost(words(ended.err())),
            why = keep_alive(pings, &self.round_trip) => Ended::Lost(why),
            code = asked(&mut self.asks, &self.closing) => Ended::ByUs(code),
        };
        let code = if let Ended::ByUs(code) = &ended { Some(*code) } else { None };
        self.ends.send_replace(Some(ended));
        if let Some(code) = code {
            signal.send_reset(reason(code));
            // The peer ends the connection when it has heard that.
            let _ = timeout(GOODBYE_WAIT, connection).await;
        }
    }

    pub(super) async fn answered(
        mut self,
        mut connection: h2::server::Connection<TlsStream<TcpStream>, Bytes>,
        pings: Option<PingPong>,
        mut routes: Routes,
    ) {
        let round_trip = Arc::clone(&self.round_trip);
        let mut alive = pin!(keep_alive(pings, &round_trip));
        let mut signal: Option<SendResponse<Bytes>> = None;
        let ended = loop {
            tokio::select! {
                biased;
                code = code_in(reset_of(&mut signal)) => break Ended::ByPeer(code),
                accepted = connection.accept() => match accepted {
                    Some(Ok((request, respond))) if request.uri().path() == SIGNAL && signal.is_none() => {
                        signal = Some(respond);
                    }
                    Some(Ok((request, respond))) => routes.take(request, respond),
                    Some(Err(error)) => break Ended::Lost(error.to_string()),
                    None => break Ended::Lost(words(None)),
                },
                why = &mut alive => break Ended::Lost(why),
                code = asked(&mut self.asks, &self.closing) => break Ended::ByUs(code),
            }
        };
        let code = if let Ended::ByUs(code) = &ended { Some(*code) } else { None };
        self.ends.send_replace(Some(ended));
        if let Some(code) = code {
            match &mut signal {
                Some(signal) => signal.send_reset(reason(code)),
                None => connection.abrupt_shutdown(reason(code)),
            }
            let heard = async { while let Some(Ok(_)) = connection.accept().await {} };
            let _ = timeout(GOODBYE_WAIT, heard).await;
        }
    }
}

impl Routes {
    fn take(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let path = request.uri().path().to_owned();
        let body = request.into_body();
        match path.as_str() {
            EXCHANGE => match Arc::clone(&self.places).try_acquire_owned() {
                Ok(place) => {
                    let halves = (Sender::answer(respond, Some(place)), Receiver::request(body, None));
                    // There is a place in the queue for each that is served.
                    drop(self.accepted.try_send(halves));
                }
                Err(_) => respond.send_reset(Reason::REFUSED_STREAM),
            },
            PARKED => {
                if let Err(refused) = self.parked.try_send(Parked { body, respond }) {
                    refused.into_inner().respond.send_reset(Reason::REFUSED_STREAM);
                }
            }
            CONTROL => match self.control.take() {
                // There is room for the only one.
                Some(control) => drop(control.try_send((body, respond))),
                None => respond.send_reset(Reason::PROTOCOL_ERROR),
            },
            _ => respond.send_reset(Reason::PROTOCOL_ERROR),
        }
    }
}

/// Keeps one stream parked, and hands it on when the peer opens an exchange on it; then the next.
pub(super) async fn park(
    streams: SendRequest<Bytes>,
    accepted: mpsc::Sender<(Sender, Receiver)>,
    places: Arc<Semaphore>,
) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok(mut streams) = streams.clone().ready().await else { return };
        let Ok((response, stream)) = open(&mut streams, PARKED) else { return };
        // The peer wants no more, or the connection is lost.
        let Ok(response) = response.await else { return };
        let halves = (Sender::open(stream, Some(place)), Receiver::answer(response.into_body()));
        if accepted.send(halves).await.is_err() {
            return;
        }
    }
}

/// Pings for as long as the peer answers, and says why it ended.
async fn keep_alive(pings: Option<PingPong>, round_trip: &AtomicU64) -> String {
    let Some(mut pings) = pings else { return "pings are somebody else's".to_owned() };
    loop {
        let sent = Instant::now();
        match timeout(PONG_WAIT, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => smooth(round_trip, sent.elapsed()),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "timed out".to_owned(),
        }
        sleep(KEEP_ALIVE).await;
    }
}

fn smooth(round_trip: &AtomicU64, measured: Duration) {
    let measured = u64::try_from(measured.as_micros()).unwrap_or(u64::MAX);
    let smoothed = match round_trip.load(Ordering::Relaxed) {
        0 => measured,
        before => before.saturating_mul(7).saturating_add(measured) / 8,
    };
    round_trip.store(smoothed, Ordering::Relaxed);
}

/// Waits until this side wants the connection to end.
async fn asked(asks: &mut watch::Receiver<Option<Code>>, closing: &CancellationToken) -> Code {
    tokio::select! {
        asked = asks.wait_for(Option::is_some) => {
            // Nobody has the connection any more.
            asked.ok().and_then(|code| *code).unwrap_or(Code::Abandoned)
        }
        () = closing.cancelled() => Code::Closing,
    }
}

async fn reset_of(signal: &mut Option<SendResponse<Bytes>>) -> Option<Reason> {
    match signal {
        Some(signal) => poll_fn(|cx| signal.poll_reset(cx)).await.ok(),
        None => std::future::pending().await,
    }
}

/// The code with which a stream was reset. If there is none, the connection itself says how it ended.
async fn code_in(reset: impl Future<Output = Option<Reason>>) -> Code {
    match reset.await.and_then(code_of) {
        Some(code) => code,
        None => std::future::pending().await,
    }
}

fn words(error: Option<h2::Error>) -> String {
    error.map_or_else(|| "the peer ended the connection".to_owned(), |error| error.to_string())
}

/// A ping that is not answered for so long means that nobody is there.
const PONG_WAIT: Duration = IDLE_MAX.saturating_sub(KEEP_ALIVE);
/// For the last bytes to be heard.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);
