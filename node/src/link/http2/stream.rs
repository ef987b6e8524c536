//! The halves of a stream.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use super::reason;
use crate::link::terms::{Code, StreamError, lost};

/// The sending half of a stream. Dropped before `finish`, the stream is reset.
#[derive(Debug)]
pub struct Sender {
    half: Sending,
    finished: bool,
    /// Held for as long as an exchange of the peer is served.
    _place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Sending {
    Open(SendStream<Bytes>),
    /// The answer's headers go out with its first bytes.
    Answer(SendResponse<Bytes>),
}

/// The receiving half of a stream.
#[derive(Debug)]
pub struct Receiver {
    half: Receiving,
    /// Held for as long as the answer to an exchange of ours is awaited.
    _place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Receiving {
    Awaited(ResponseFuture),
    Open(RecvStream),
    Stopped,
}

impl Sender {
    pub(super) fn open(stream: SendStream<Bytes>, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { half: Sending::Open(stream), finished: false, _place: place }
    }

    pub(super) fn answer(respond: SendResponse<Bytes>, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { half: Sending::Answer(respond), finished: false, _place: place }
    }

    /// Writes the pieces as they lie, without copying them; what is written is gone from them.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn send(&mut self, pieces: &mut [Bytes]) -> Result<(), StreamError> {
        let stream = self.stream()?;
        for piece in pieces {
            while !piece.is_empty() {
                let room = room(stream, piece.len()).await?;
                stream.send_data(piece.split_to(room.min(piece.len())), false).map_err(lost)?;
            }
        }
        Ok(())
    }

    /// Nothing more comes.
    pub fn finish(&mut self) {
        // Fails only if the stream is closed already, which the next read on it tells.
        let ended = self.stream().and_then(|stream| stream.send_data(Bytes::new(), true).map_err(lost));
        self.finished = ended.is_ok();
    }

    fn stream(&mut self) -> Result<&mut SendStream<Bytes>, StreamError> {
        if let Sending::Answer(respond) = &mut self.half {
            self.half = Sending::Open(respond.send_response(Response::new(()), false).map_err(lost)?);
        }
        match &mut self.half {
            Sending::Open(stream) => Ok(stream),
            Sending::Answer(_) => Err(lost("the answer was not begun")),
        }
    }
}

/// Waits until some of these bytes may be sent, and says how many.
async fn room(stream: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, StreamError> {
    stream.reserve_capacity(wanted);
    loop {
        match stream.capacity() {
            0 => {}
            room => return Ok(room),
        }
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(lost(error)),
            None => return Err(lost("the stream was closed")),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        match &mut self.half {
            Sending::Open(stream) => stream.send_reset(reason(Code::Abandoned)),
            Sending::Answer(respond) => respond.send_reset(reason(Code::Abandoned)),
        }
    }
}

impl Receiver {
    pub(super) fn open(body: RecvStream, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { half: Receiving::Open(body), _place: place }
    }

    pub(super) fn awaited(response: ResponseFuture, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { half: Receiving::Awaited(response), _place: place }
    }

    /// The next bytes; none at the end of the stream.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn read(&mut self) -> Result<Option<Bytes>, StreamError> {
        loop {
            match &mut self.half {
                Receiving::Awaited(response) => {
                    let response = response.await.map_err(lost)?;
                    if response.status() != StatusCode::OK {
                        return Err(lost(format_args!("it answered with status {}", response.status())));
                    }
                    self.half = Receiving::Open(response.into_body());
                }
                Receiving::Open(body) => match body.data().await {
                    Some(Ok(bytes)) => {
                        // Fails only for more than was received.
                        let _ = body.flow_control().release_capacity(bytes.len());
                        if !bytes.is_empty() {
                            return Ok(Some(bytes));
                        }
                    }
                    Some(Err(error)) => return Err(lost(error)),
                    None => return Ok(None),
                },
                Receiving::Stopped => return Err(lost("nobody reads it any more")),
            }
        }
    }

    /// Reads no further. The peer learns it when the other half ends.
    pub fn stop(&mut self) {
        self.half = Receiving::Stopped;
    }
}
