//! Bodies: small ones are read and written whole, large ones piece by piece.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use peabiru_ledger::LedgerError;
use peabiru_ledger::large::body::{BodyReader, LargeBody};
use peabiru_ledger::payload::OpenBody;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::exchange::{AnswerEnd, Piece, Pieces};
use crate::flow::LARGE_WAIT;

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// As much of a body as was read.
#[derive(Debug)]
pub enum Read<B> {
    /// All, with its trailers.
    Whole(Bytes, Option<HeaderMap>),
    /// More than was to be read at once: what came, and the rest.
    More(Bytes, B),
}

/// Reads a body to its end, or until it has more than `bytes_max`. A body of one DATA frame is not copied.
///
/// # Errors
/// The other side went away or broke HTTP/2.
pub async fn read<B>(mut body: B, bytes_max: usize) -> Result<Read<B>, Broken>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Broken(error.to_string()))?;
        match frame.into_data() {
            Ok(data) if first.is_empty() && joined.is_empty() => first = data,
            Ok(data) => {
                if joined.is_empty() {
                    joined.extend_from_slice(&first);
                }
                joined.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        if first.len().max(joined.len()) > bytes_max {
            return Ok(Read::More(if joined.is_empty() { first } else { joined.freeze() }, body));
        }
    }
    Ok(Read::Whole(if joined.is_empty() { first } else { joined.freeze() }, trailers))
}

/// Sees a large body pass.
pub trait Watcher: Send + 'static {
    /// What the receiver is told last.
    type End: Send;

    /// The next bytes. What goes on of them is taken with `next`, to its end.
    fn push(&mut self, bytes: Bytes);

    /// What goes on now, if anything does: at most what one piece of a body is.
    ///
    /// # Errors
    /// Why the body is not taken.
    fn next(&mut self) -> Result<Option<Bytes>, Fault>;

    /// The body has ended.
    ///
    /// # Errors
    /// Why it is not taken.
    fn end(self, trailers: Option<HeaderMap>) -> Result<Self::End, Fault>;
}

/// A large body of which the beginning was read.
#[derive(Debug)]
pub struct Coming<B> {
    /// What came.
    pub first: Bytes,
    /// What still comes.
    pub rest: B,
    /// Whose it is.
    pub place: Place,
    /// How long it may take.
    pub waits: LargeWaits,
}

/// How long whoever sends a large body may take.
#[derive(Debug, Clone, Copy)]
pub struct LargeWaits {
    /// For its next piece.
    pub piece: Duration,
    /// For all of it, however small the pieces.
    pub whole: Duration,
}

impl Default for LargeWaits {
    fn default() -> Self {
        Self { piece: PIECE_WAIT, whole: LARGE_WAIT }
    }
}

impl<B> Coming<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// Hands it on, piece by piece, until its end or until nobody takes it.
    pub async fn hand_on<W: Watcher>(
        mut self,
        pieces: mpsc::Sender<Result<Piece<W::End>, Fault>>,
        mut watcher: W,
    ) {
        let until = Instant::now() + self.waits.whole;
        let mut trailers = None;
        let mut data = std::mem::take(&mut self.first);
        let ended = loop {
            watcher.push(std::mem::take(&mut data));
            match send_on(&mut watcher, &pieces).await {
                Ok(Taken::Yes) => {}
                Ok(Taken::No) => return,
                Err(fault) => break Err(fault),
            }
            match self.next(until).await {
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(next) => data = next,
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
                Ok(None) => break Ok(()),
                Err(fault) => break Err(fault),
            }
        };
        // An error means that nobody waits for it any more.
        let _ = pieces.send(ended.and_then(|()| watcher.end(trailers)).map(Piece::End)).await;
    }

    async fn next(&mut self, until: Instant) -> Result<Option<Frame<Bytes>>, Fault> {
        let LargeWaits { piece, whole } = self.waits;
        let now = Instant::now();
        let late = |what: String| Err(Fault::new(FaultCode::ExchangeDeadline, self.place, what));
        // Looked at also if a piece is always there.
        if now >= until {
            return late(format!("the body did not end within {} ms", whole.as_millis()));
        }
        match timeout_at(until.min(now + piece), self.rest.frame()).await {
            Ok(Some(Ok(frame))) => Ok(Some(frame)),
            Ok(Some(Err(error))) => {
                // Whose body it is has broken its protocol.
                let code = match self.place {
                    Place::Service => FaultCode::ServiceProtocol,
                    _ => FaultCode::PayloadInvalid,
                };
                Err(Fault::new(code, self.place, format!("the body broke off: {error}")))
            }
            Ok(None) => Ok(None),
            Err(_) if now + piece < until => {
                late(format!("nothing more of the body came within {} ms", piece.as_millis()))
            }
            Err(_) => late(format!("the body did not end within {} ms", whole.as_millis())),
        }
    }
}

/// Hands a live body on until its end, or until nobody takes it. How long it may be silent is not for this to say.
pub async fn hand_on_live<B, W>(
    mut body: B,
    place: Place,
    pieces: mpsc::Sender<Result<Piece<W::End>, Fault>>,
    mut watcher: W,
) where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
    W: Watcher,
{
    let mut trailers = None;
    let ended = loop {
        let frame = tokio::select! {
            () = pieces.closed() => return,
            frame = body.frame() => frame.map(|frame| frame.map_err(|error| broken_off(place, &error))),
        };
        let data = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    trailers = frame.into_trailers().ok();
                    continue;
                }
            },
            Some(Err(fault)) => break Err(fault),
            None => break Ok(()),
        };
        watcher.push(data);
        match send_on(&mut watcher, &pieces).await {
            Ok(Taken::Yes) => {}
            Ok(Taken::No) => return,
            Err(fault) => break Err(fault),
        }
    };
    // An error means that nobody waits for it any more.
    let _ = pieces.send(ended.and_then(|()| watcher.end(trailers)).map(Piece::End)).await;
}

/// Whether somebody still takes a body.
enum Taken {
    Yes,
    No,
}

/// Hands on what a watcher gives, to its end.
async fn send_on<W: Watcher>(
    watcher: &mut W,
    pieces: &mpsc::Sender<Result<Piece<W::End>, Fault>>,
) -> Result<Taken, Fault> {
    while let Some(piece) = watcher.next()? {
        if pieces.send(Ok(Piece::Data(piece))).await.is_err() {
            return Ok(Taken::No);
        }
    }
    Ok(Taken::Yes)
}

fn broken_off(place: Place, error: &dyn std::fmt::Display) -> Fault {
    let (code, who) = match place {
        Place::Service => (FaultCode::ServiceUnreachable, "the service"),
        _ => (FaultCode::StreamCancelled, "the caller"),
    };
    Fault::new(code, place, format!("{who} broke off: {error}"))
}

/// A body on its way out: in memory, or read from disk as it is asked for; then trailers. Each part may be absent.
#[derive(Default)]
pub struct RoadBody {
    data: Data,
    trailers: Option<HeaderMap>,
    /// A place that is taken for as long as the body goes on.
    _place: Option<Box<dyn Send + Sync>>,
}

/// What stands after the last piece of a live body: trailers, or nothing if it breaks off.
pub type Ending = fn(&Result<AnswerEnd, Fault>) -> Option<HeaderMap>;

#[derive(Default)]
enum Data {
    #[default]
    None,
    Live {
        pieces: Pieces<AnswerEnd>,
        ending: Ending,
    },
    /// Of a service of the door itself.
    Own(tonic::body::Body),
    Whole(Bytes),
    Large {
        left_bytes: u64,
        state: Reading,
    },
}

/// One read at a time, off the runtime's threads.
enum Reading {
    NotBegun(LargeBody),
    Idle(BodyReader),
    Busy(JoinHandle<(BodyReader, Result<Option<Bytes>, LedgerError>)>),
    Opening(JoinHandle<Result<BodyReader, LedgerError>>),
    Failed,
}

impl RoadBody {
    /// A body with these trailers.
    #[must_use]
    pub fn new(body: OpenBody, trailers: Option<HeaderMap>) -> Self {
        let data = match body {
            OpenBody::Whole(bytes) if bytes.is_empty() => Data::None,
            OpenBody::Whole(bytes) => Data::Whole(bytes),
            OpenBody::Large(body) => Data::Large { left_bytes: body.bytes(), state: Reading::NotBegun(body) },
        };
        Self { data, trailers, _place: None }
    }
}

impl RoadBody {
    /// A body that comes piece by piece; dropped, it tells whoever makes the pieces.
    #[must_use]
    pub fn live(pieces: Pieces<AnswerEnd>, ending: Ending) -> Self {
        Self { data: Data::Live { pieces, ending }, trailers: None, _place: None }
    }

    /// What a service of the door itself answers.
    #[must_use]
    pub fn own(body: tonic::body::Body) -> Self {
        Self { data: Data::Own(body), trailers: None, _place: None }
    }

    /// The same, in this place.
    #[must_use]
    pub fn holding(self, place: impl Send + Sync + 'static) -> Self {
        Self { _place: Some(Box::new(place)), ..self }
    }
}

impl Reading {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        let unreadable = || Broken("the body cannot be read from disk".to_owned());
        loop {
            match std::mem::replace(self, Self::Failed) {
                Self::NotBegun(body) => {
                    *self = Self::Opening(tokio::task::spawn_blocking(move || body.reader()));
                }
                Self::Opening(mut opening) => match Pin::new(&mut opening).poll(context) {
                    Poll::Pending => {
                        *self = Self::Opening(opening);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(Ok(reader))) => *self = Self::Idle(reader),
                    Poll::Ready(_) => return Poll::Ready(Err(unreadable())),
                },
                Self::Idle(mut reader) => {
                    *self = Self::Busy(tokio::task::spawn_blocking(move || {
                        let chunk = reader.next_chunk();
                        (reader, chunk)
                    }));
                }
                Self::Busy(mut busy) => match Pin::new(&mut busy).poll(context) {
                    Poll::Pending => {
                        *self = Self::Busy(busy);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok((reader, Ok(chunk)))) => {
                        *self = Self::Idle(reader);
                        return Poll::Ready(Ok(chunk));
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(unreadable())),
                },
                Self::Failed => return Poll::Ready(Err(unreadable())),
            }
        }
    }
}

impl Body for RoadBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        match &mut this.data {
            Data::None => {}
            Data::Live { pieces, ending } => {
                let ended = match ready!(pieces.poll_recv(context)) {
                    Some(Ok(Piece::Data(bytes))) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                    Some(Ok(Piece::End(end))) => Ok(end),
                    Some(Err(fault)) => Err(fault),
                    None => {
                        let what = "the stream was given up";
                        Err(Fault::new(FaultCode::StreamCancelled, Place::ConsumerNode, what))
                    }
                };
                let trailers = ending(&ended);
                this.data = Data::None;
                return Poll::Ready(match trailers {
                    Some(trailers) if trailers.is_empty() => None,
                    Some(trailers) => Some(Ok(Frame::trailers(trailers))),
                    None => Some(Err(Broken("the stream was broken off".to_owned()))),
                });
            }
            Data::Own(body) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                return Poll::Ready(frame.map(|frame| frame.map_err(|error| Broken(error.to_string()))));
            }
            Data::Whole(bytes) => {
                let frame = Frame::data(bytes.split_to(bytes.len().min(FRAME_BYTES)));
                if bytes.is_empty() {
                    this.data = Data::None;
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Data::Large { left_bytes, state } => {
                let chunk = match ready!(state.poll(context)) {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => Bytes::new(),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                };
                *left_bytes = left_bytes.saturating_sub(chunk.len() as u64);
                if chunk.is_empty() && *left_bytes > 0 {
                    return Poll::Ready(Some(Err(Broken("the body on disk is too short".to_owned()))));
                }
                if *left_bytes == 0 {
                    this.data = Data::None;
                }
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
        }
        Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.data {
            Data::None => self.trailers.is_none(),
            Data::Own(body) => body.is_end_stream(),
            Data::Live { .. } | Data::Whole(_) | Data::Large { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.data {
            Data::None => SizeHint::with_exact(0),
            Data::Live { .. } | Data::Own(_) => SizeHint::default(),
            Data::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Data::Large { left_bytes, .. } => SizeHint::with_exact(*left_bytes),
        }
    }
}

/// What goes out at once: HTTP/2 keeps what a slow reader has not taken, and asks for no more than that.
const FRAME_BYTES: usize = 16 * 1024;
/// Longest pause between two pieces of a large body.
const PIECE_WAIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_reads_back_and_its_bound_holds() {
        let trailers = || {
            Some(HeaderMap::from_iter([(
                http::HeaderName::from_static("x"),
                http::HeaderValue::from_static("1"),
            )]))
        };
        let whole = |text: &'static [u8]| OpenBody::Whole(Bytes::from_static(text));
        let Ok(Read::Whole(bytes, trailing)) = read(RoadBody::new(whole(b"12345"), trailers()), 5).await
        else {
            panic!("it fits")
        };
        assert_eq!((bytes, trailing), (Bytes::from_static(b"12345"), trailers()));
        let Ok(Read::More(bytes, mut rest)) = read(RoadBody::new(whole(b"123456"), trailers()), 5).await
        else {
            panic!("it does not fit")
        };
        assert_eq!(bytes, "123456");
        assert!(rest.frame().await.is_some_and(|frame| frame.unwrap().is_trailers()));
        assert!(
            matches!(read(RoadBody::default(), 5).await, Ok(Read::Whole(bytes, None)) if bytes.is_empty())
        );
    }
}
