//! The halves of a stream.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

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
    place: Option<OwnedSemaphorePermit>,
    role: Role,
}

#[derive(Debug)]
enum Receiving {
    Awaited(ResponseFuture),
    Open(RecvStream),
    Stopped,
}

/// Of this side in HTTP/2: the client dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Client,
    Server,
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
    /// Of the request body of the peer that dialled.
    pub(super) fn request(body: RecvStream, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { half: Receiving::Open(body), place, role: Role::Server }
    }

    /// Of an answer that has begun, of the peer that we dialled.
    pub(super) fn answer(body: RecvStream) -> Self {
        Self { half: Receiving::Open(body), place: None, role: Role::Client }
    }

    /// Of an answer that has not begun.
    pub(super) fn awaited(response: ResponseFuture, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { half: Receiving::Awaited(response), place, role: Role::Client }
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
    ///
    /// A client that lets go of a stream resets it, and what waits to be sent on it is then discarded, though it be finished
    /// (h2 0.4.20; a server's is sent). So a client holds it until the peer ends it too.
    pub fn stop(&mut self) {
        let half = std::mem::replace(&mut self.half, Receiving::Stopped);
        let place = self.place.take();
        if self.role == Role::Client {
            tokio::spawn(async move {
                let _ = timeout(STOPPED_HELD, discard(half)).await;
                drop(place);
            });
        }
    }
}

/// Waits for the end. What comes takes the window's room and gets none back.
async fn discard(half: Receiving) {
    let mut body = match half {
        Receiving::Awaited(response) => match response.await {
            Ok(response) => response.into_body(),
            Err(_) => return,
        },
        Receiving::Open(body) => body,
        Receiving::Stopped => return,
    };
    while let Some(Ok(_)) = body.data().await {}
}

/// How long a stream that nobody reads any more is held at most.
const STOPPED_HELD: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// On one thread, so that nothing is on the wire before all is let go of.
    #[tokio::test]
    async fn what_was_finished_arrives_also_when_the_answer_is_not_read() {
        let (ours, theirs) = tokio::io::duplex(1024);
        let serving = tokio::spawn(async move {
            let mut connection = h2::server::handshake(theirs).await.unwrap();
            let (request, respond) = connection.accept().await.unwrap().unwrap();
            tokio::spawn(async move { while connection.accept().await.is_some() {} });
            let mut receiver = Receiver::request(request.into_body(), None);
            let mut bytes = Vec::new();
            while let Some(piece) = receiver.read().await.unwrap() {
                bytes.extend_from_slice(&piece);
            }
            Sender::answer(respond, None).finish();
            bytes
        });
        let (mut streams, connection) = h2::client::handshake(ours).await.unwrap();
        let connection = tokio::spawn(connection);
        let (response, stream) = streams.send_request(http::Request::default(), false).unwrap();
        let (mut sender, mut receiver) = (Sender::open(stream, None), Receiver::awaited(response, None));
        sender.send(&mut [Bytes::from_static(b"mba'e"), Bytes::from_static(b"ichapa")]).await.unwrap();
        sender.finish();
        receiver.stop();
        drop((sender, receiver, streams));
        assert_eq!(serving.await.unwrap(), b"mba'eichapa");
        // Nothing of it is held once the peer has ended it.
        connection.await.unwrap().unwrap();
    }
}
