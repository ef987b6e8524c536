//! Bodies: read with a bound, written as one piece and trailers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadError {
    /// It has more bytes than allowed; the rest was not read.
    TooLarge,
    /// The other side went away or broke HTTP/2.
    Broken(String),
}

/// Reads a body to its end, with its trailers. A body of one DATA frame is not copied.
///
/// # Errors
/// `TooLarge` as soon as it is, `Broken`.
pub async fn read<B>(mut body: B, bytes_max: usize) -> Result<(Bytes, Option<HeaderMap>), ReadError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ReadError::Broken(error.to_string()))?;
        match frame.into_data() {
            Ok(data) if first.len().max(joined.len()) + data.len() > bytes_max => {
                return Err(ReadError::TooLarge);
            }
            Ok(data) if first.is_empty() && joined.is_empty() => first = data,
            Ok(data) => {
                if joined.is_empty() {
                    joined.extend_from_slice(&first);
                }
                joined.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((if joined.is_empty() { first } else { joined.freeze() }, trailers))
}

/// One piece, then trailers; either may be absent.
#[derive(Debug, Default)]
pub struct WholeBody {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl WholeBody {
    /// A body with these trailers.
    #[must_use]
    pub fn new(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self { data: (!data.is_empty()).then_some(data), trailers }
    }
}

impl Body for WholeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().map(Frame::data);
        let frame = data.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

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
        let read_back = read(WholeBody::new(Bytes::from_static(b"12345"), trailers()), 5).await;
        assert_eq!(read_back, Ok((Bytes::from_static(b"12345"), trailers())));
        assert_eq!(
            read(WholeBody::new(Bytes::from_static(b"123456"), None), 5).await,
            Err(ReadError::TooLarge)
        );
        assert_eq!(read(WholeBody::default(), 5).await, Ok((Bytes::new(), None)));
    }
}
