//! A connection, whichever carrier it runs on: control streams first, then one stream for each exchange, frames on all.
//!
//! Nothing above this file knows which carrier it is, but to tell an operator.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use peabiru_proto::wire::link_frame::Frame;
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use super::budget::{Budget, RESERVE_WAIT, Reserved};
use super::frame::{Decoder, FrameError};
use super::patience::Patience;
use super::terms::{Carrier, Code, StreamError};
use super::{http2, quic};

/// A connection after its handshake.
#[derive(Debug, Clone)]
pub enum Connection {
    /// Over UDP.
    Quic(quic::Connection),
    /// Over TCP.
    Http2(http2::Connection),
}

/// The sending half of a stream. Dropped before `finish`, it is reset: half a message is never taken for a whole one.
#[derive(Debug)]
pub enum Sender {
    /// Over UDP.
    Quic(quic::Sender),
    /// Over TCP.
    Http2(http2::Sender),
}

/// The receiving half of a stream.
#[derive(Debug)]
pub struct Receiver {
    stream: Pieces,
    decoder: Decoder,
}

/// Where the bytes of a stream come from.
#[derive(Debug)]
enum Pieces {
    Quic(quic::Receiver),
    Http2(http2::Receiver),
}

impl Connection {
    /// Which one it runs on.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        match self {
            Self::Quic(_) => Carrier::Quic,
            Self::Http2(_) => Carrier::Http2,
        }
    }

    /// The control stream to the peer. Over TCP the side that was dialled waits for the peer's own.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn open_control(&self) -> Result<Sender, StreamError> {
        match self {
            Self::Quic(connection) => connection.open_control().await.map(Sender::Quic),
            Self::Http2(connection) => connection.open_control().await.map(Sender::Http2),
        }
    }

    /// The control stream from the peer.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn accept_control(&self) -> Result<Receiver, StreamError> {
        let stream = match self {
            Self::Quic(connection) => Pieces::Quic(connection.accept_control().await?),
            Self::Http2(connection) => Pieces::Http2(connection.accept_control().await?),
        };
        Ok(Receiver { stream, decoder: Decoder::new(MAX_CONTROL_FRAME_BYTES) })
    }

    /// Waits while the peer's 512 streams are all in use.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn open_exchange(&self, answer_bytes_max: usize) -> Result<(Sender, Receiver), StreamError> {
        let (sender, stream) = match self {
            Self::Quic(connection) => quic_halves(connection.open_exchange().await?),
            Self::Http2(connection) => http2_halves(connection.open_exchange().await?),
        };
        Ok((sender, Receiver { stream, decoder: Decoder::new(answer_bytes_max) }))
    }

    /// The next stream that the peer opens.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn accept_exchange(&self, bytes_max: usize) -> Result<(Sender, Receiver), StreamError> {
        let (sender, stream) = match self {
            Self::Quic(connection) => quic_halves(connection.accept_exchange().await?),
            Self::Http2(connection) => http2_halves(connection.accept_exchange().await?),
        };
        Ok((sender, Receiver { stream, decoder: Decoder::new(bytes_max) }))
    }

    /// The peer's chain, its own certificate first.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        match self {
            Self::Quic(connection) => connection.certificates(),
            Self::Http2(connection) => connection.certificates(),
        }
    }

    /// Ends it; the peer is told why: by QUIC in words, by HTTP/2 with the code alone.
    pub fn close(&self, code: Code, why: &str) {
        match self {
            Self::Quic(connection) => connection.close(code, why),
            Self::Http2(connection) => connection.close(code),
        }
    }

    /// Waits for the end of the connection, and says why.
    pub async fn closed(&self) -> String {
        match self {
            Self::Quic(connection) => connection.closed().await,
            Self::Http2(connection) => connection.closed().await,
        }
    }

    /// Whether the peer closed it because it uses another connection with this node.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        match self {
            Self::Quic(connection) => connection.is_duplicate(),
            Self::Http2(connection) => connection.is_duplicate(),
        }
    }

    /// Packets that came from the peer, where this node counts them: TCP watches over its own.
    #[must_use]
    pub fn heard(&self) -> Option<u64> {
        match self {
            Self::Quic(connection) => Some(connection.heard()),
            Self::Http2(_) => None,
        }
    }

    /// Makes the peer send a packet, if it is there.
    pub fn nudge(&self) {
        match self {
            Self::Quic(connection) => connection.nudge(),
            // Its pings go on, and TCP says when the peer's machine does not know the connection.
            Self::Http2(_) => {}
        }
    }

    /// Where the peer is.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        match self {
            Self::Quic(connection) => connection.remote_address(),
            Self::Http2(connection) => connection.remote_address(),
        }
    }

    /// Smoothed.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        match self {
            Self::Quic(connection) => connection.round_trip(),
            Self::Http2(connection) => connection.round_trip(),
        }
    }
}

fn quic_halves((sender, receiver): (quic::Sender, quic::Receiver)) -> (Sender, Pieces) {
    (Sender::Quic(sender), Pieces::Quic(receiver))
}

fn http2_halves((sender, receiver): (http2::Sender, http2::Receiver)) -> (Sender, Pieces) {
    (Sender::Http2(sender), Pieces::Http2(receiver))
}

impl Sender {
    /// Writes the pieces as they lie, without copying them; what is written is gone from them.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn send(&mut self, pieces: &mut [Bytes]) -> Result<(), StreamError> {
        match self {
            Self::Quic(sender) => sender.send(pieces).await,
            Self::Http2(sender) => sender.send(pieces).await,
        }
    }

    /// Small messages go before bulk: QUIC orders its streams, HTTP/2 takes a frame of each in turn.
    pub fn mark_bulk(&self) {
        match self {
            Self::Quic(sender) => sender.mark_bulk(),
            Self::Http2(_) => {}
        }
    }

    /// Nothing more comes.
    pub fn finish(&mut self) {
        match self {
            Self::Quic(sender) => sender.finish(),
            Self::Http2(sender) => sender.finish(),
        }
    }
}

impl Receiver {
    /// The next frame; none if the stream ended before it. Memory for it is taken before its bytes are kept.
    ///
    /// # Errors
    /// `Lost`, `Frame`; `Stalled` if the peer takes too long, `NoMemory` if this node does.
    pub async fn frame(
        &mut self,
        budget: &Budget,
        patience: &mut Patience,
    ) -> Result<Option<(Frame, Reserved)>, StreamError> {
        let mut reserved = None;
        loop {
            if let Some(length) = self.decoder.announced()? {
                let held = match reserved.take() {
                    Some(held) => held,
                    None => {
                        let held = timeout(RESERVE_WAIT, budget.reserve(length)).await;
                        patience.within_frame();
                        held.map_err(|_| StreamError::NoMemory)?
                    }
                };
                match self.decoder.next_frame()? {
                    Some(frame) => {
                        patience.between_frames();
                        return Ok(Some((frame, held)));
                    }
                    None => reserved = Some(held),
                }
            }
            match patience.wait(self.read()).await? {
                Some(bytes) => patience.moved(bytes),
                None => return Ok(None),
            }
        }
    }

    /// The next frame of a control stream: small, and of the one peer that this connection serves.
    ///
    /// # Errors
    /// `Lost`, `Frame`.
    pub async fn control_frame(&mut self) -> Result<Option<Frame>, StreamError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            if self.read().await?.is_none() {
                return Ok(None);
            }
        }
    }

    /// The first frame of a stream: its only one, unless it is the head of a large message, or a message, which may open a
    /// stream: whoever takes that looks for what comes after it.
    ///
    /// # Errors
    /// As `frame`.
    pub async fn first_frame(
        &mut self,
        budget: &Budget,
        patience: &mut Patience,
    ) -> Result<(Frame, Reserved), StreamError> {
        let frame = self.frame(budget, patience).await?.ok_or(FrameError::Truncated)?;
        if !matches!(frame.0, Frame::Head(_) | Frame::Message(_)) {
            self.ended(patience).await?;
        }
        Ok(frame)
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// `Lost`, `Stalled`, `Frame` if something does.
    pub async fn ended(&mut self, patience: &mut Patience) -> Result<(), StreamError> {
        if self.decoder.is_within_frame() || patience.wait(self.read()).await?.is_some() {
            return Err(FrameError::Unexpected("the last of its stream").into());
        }
        Ok(())
    }

    /// Reads no further.
    pub fn stop(&mut self, code: Code) {
        match &mut self.stream {
            Pieces::Quic(stream) => stream.stop(code),
            Pieces::Http2(stream) => stream.stop(),
        }
    }

    /// Takes what came, and says how much; none at the end of the stream.
    async fn read(&mut self) -> Result<Option<u64>, StreamError> {
        let piece = match &mut self.stream {
            Pieces::Quic(stream) => stream.read().await?,
            Pieces::Http2(stream) => stream.read().await?,
        };
        let Some(piece) = piece else {
            return if self.decoder.is_within_frame() { Err(FrameError::Truncated.into()) } else { Ok(None) };
        };
        let bytes = piece.len() as u64;
        self.decoder.push(piece);
        Ok(Some(bytes))
    }
}

/// Longest frame on a control stream, in bytes: a `Hello` with its notes.
const MAX_CONTROL_FRAME_BYTES: usize = 128 * 1024;
