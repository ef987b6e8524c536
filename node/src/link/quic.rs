//! QUIC, the first carrier: one endpoint, connections, and streams. The only user of quinn.
//!
//! Limits are those of design §9. There is no 0-RTT, no resumption and no migration: a connection is one TLS session
//! between two addresses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_certs::SecretKey;
use peabiru_proto::random::{Random as _, SystemRandom};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionError, ConnectionId, ConnectionIdGenerator, VarInt};
use rustls_pki_types::CertificateDer;
use socket2::{Domain, Protocol, Socket, Type};

use super::reset::ResetKey;
use super::terms::{
    CONNECTION_WINDOW_BYTES, Code, IDLE_MAX, KEEP_ALIVE, READ_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX,
    StreamError, lost,
};

/// Client and server on one UDP socket.
#[derive(Debug)]
pub struct Endpoint(quinn::Endpoint);

/// Somebody wants to connect; nothing was answered yet.
pub struct Incoming(quinn::Incoming);

/// A connection after its handshake.
#[derive(Debug, Clone)]
pub struct Connection(quinn::Connection);

/// The sending half of a stream. Dropped before `finish`, it is reset: half a message is never taken for a whole one.
#[derive(Debug)]
pub struct Sender {
    stream: quinn::SendStream,
    finished: bool,
}

/// The receiving half of a stream.
#[derive(Debug)]
pub struct Receiver(quinn::RecvStream);

impl Endpoint {
    /// Binds the socket, with buffers that hold a burst.
    ///
    /// # Errors
    /// What the system says, or that the TLS configuration has no cipher for QUIC.
    pub fn bind(
        listen: SocketAddr,
        server: rustls::ServerConfig,
        authentication_key: &SecretKey,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
        if listen.is_ipv6() {
            // `[::]` means every address, as administrators expect; a named address is what it is.
            socket.set_only_v6(!listen.ip().is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
        warn_if_limited(&socket)?;
        socket.bind(&listen.into())?;
        let crypto = QuicServerConfig::try_from(server).map_err(io::Error::other)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport())).migration(false).max_incoming(INCOMING_MAX);
        let mut endpoint = quinn::EndpointConfig::new(Arc::new(ResetKey::of(authentication_key)));
        endpoint.cid_generator(|| Box::new(AnyConnectionId));
        let runtime = Arc::new(quinn::TokioRuntime);
        quinn::Endpoint::new(endpoint, Some(config), socket.into(), runtime).map(Self)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next who wants to connect; none once the endpoint is closed.
    pub async fn accept(&self) -> Option<Incoming> {
        self.0.accept().await.map(Incoming)
    }

    /// Dials, and waits for the end of the handshake.
    ///
    /// # Errors
    /// Why there is no connection, for people.
    pub async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
        client: rustls::ClientConfig,
    ) -> Result<Connection, String> {
        let crypto = QuicClientConfig::try_from(client).map_err(|error| error.to_string())?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport()));
        let connecting = self.0.connect_with(config, address, name).map_err(|error| error.to_string())?;
        connecting.await.map(Connection).map_err(|error| reason(&error))
    }

    /// Says goodbye on all connections, and waits until the goodbyes are out.
    pub async fn close(&self) {
        self.0.close(VarInt::from_u32(Code::Closing as u32), b"");
        self.0.wait_idle().await;
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(self.sign(data).as_ref());
    }

    fn signature_len(&self) -> usize {
        Self::BYTES
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        if self.holds(data, signature) { Ok(()) } else { Err(CryptoError) }
    }
}

/// Connection ids that every start takes for valid: quinn marks its own with a key that is new at each.
struct AnyConnectionId;

impl ConnectionIdGenerator for AnyConnectionId {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CONNECTION_ID_BYTES];
        SystemRandom::default().fill(&mut bytes);
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

impl Incoming {
    /// Answers, and waits for the end of the handshake.
    ///
    /// # Errors
    /// Why there is no connection, for people.
    pub async fn handshake(self) -> Result<Connection, String> {
        let connecting = self.0.accept().map_err(|error| reason(&error))?;
        connecting.await.map(Connection).map_err(|error| reason(&error))
    }

    /// Whether it has shown that it receives what is sent to its address.
    pub(crate) fn is_validated(&self) -> bool {
        self.0.remote_address_validated()
    }

    /// Asks it to show that first: costs no state here.
    pub(crate) fn retry(self) {
        // Refused only for one that is validated already.
        let _ = self.0.retry();
    }

    /// Too many are at the door.
    pub fn refuse(self) {
        self.0.refuse();
    }
}

impl Connection {
    /// The control stream to the peer.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn open_control(&self) -> Result<Sender, StreamError> {
        let sender = Sender { stream: self.0.open_uni().await.map_err(lost)?, finished: false };
        sender.set_priority(CONTROL_PRIORITY);
        Ok(sender)
    }

    /// The control stream from the peer.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn accept_control(&self) -> Result<Receiver, StreamError> {
        self.0.accept_uni().await.map(Receiver).map_err(lost)
    }

    /// Waits while the peer's 512 streams are all in use.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn open_exchange(&self) -> Result<(Sender, Receiver), StreamError> {
        let (stream, receiver) = self.0.open_bi().await.map_err(lost)?;
        Ok((Sender { stream, finished: false }, Receiver(receiver)))
    }

    /// The next stream that the peer opens.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn accept_exchange(&self) -> Result<(Sender, Receiver), StreamError> {
        let (stream, receiver) = self.0.accept_bi().await.map_err(lost)?;
        Ok((Sender { stream, finished: false }, Receiver(receiver)))
    }

    /// The peer's chain, its own certificate first.
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let chain = self.0.peer_identity().and_then(|identity| identity.downcast().ok());
        chain.map(|chain| *chain).unwrap_or_default()
    }

    /// Ends it; the peer is told why.
    pub fn close(&self, code: Code, why: &str) {
        self.0.close(VarInt::from_u32(code as u32), why.as_bytes());
    }

    /// Waits for the end of the connection, and says why.
    pub async fn closed(&self) -> String {
        reason(&self.0.closed().await)
    }

    /// Whether the peer closed it because it uses another connection with this node.
    pub fn is_duplicate(&self) -> bool {
        let duplicate = VarInt::from_u32(Code::Duplicate as u32);
        matches!(self.0.close_reason(), Some(ConnectionError::ApplicationClosed(close)) if close.error_code == duplicate)
    }

    /// Packets that came from the peer.
    pub fn heard(&self) -> u64 {
        self.0.stats().udp_rx.datagrams
    }

    /// Sends a packet that the peer acknowledges. Quinn has no ping of its own: a window that grows by one byte is told,
    /// and shrinks again without a word.
    pub fn nudge(&self) {
        self.0.set_receive_window(CONNECTION_WINDOW_BYTES.into());
        self.0.set_receive_window((CONNECTION_WINDOW_BYTES + 1).into());
    }

    /// Where the peer is.
    pub fn remote_address(&self) -> SocketAddr {
        self.0.remote_address()
    }

    /// Smoothed.
    pub fn round_trip(&self) -> Duration {
        self.0.rtt()
    }
}

impl Sender {
    /// Writes the pieces as they lie, without copying them.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn send(&mut self, pieces: &mut [Bytes]) -> Result<(), StreamError> {
        self.stream.write_all_chunks(pieces).await.map_err(lost)
    }

    /// Small messages go before bulk.
    pub fn mark_bulk(&self) {
        self.set_priority(BULK_PRIORITY);
    }

    /// Nothing more comes.
    pub fn finish(&mut self) {
        // Fails only if the stream is closed already, which the next read on it tells.
        self.finished = self.stream.finish().is_ok();
    }

    fn set_priority(&self, priority: i32) {
        // Fails only on a closed stream, where priority means nothing.
        let _ = self.stream.set_priority(priority);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.finished {
            // Fails only if the stream is closed already.
            let _ = self.stream.reset(VarInt::from_u32(Code::Abandoned as u32));
        }
    }
}

impl Receiver {
    /// The next bytes; none at the end of the stream.
    ///
    /// # Errors
    /// `Lost`.
    pub async fn read(&mut self) -> Result<Option<Bytes>, StreamError> {
        let chunk = self.0.read_chunk(READ_BYTES_MAX as usize, true).await.map_err(lost)?;
        Ok(chunk.map(|chunk| chunk.bytes))
    }

    /// Reads no further.
    pub fn stop(&mut self, code: Code) {
        // Fails only if the stream has ended.
        let _ = self.0.stop(VarInt::from_u32(code as u32));
    }
}

fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    let mut acknowledgements = quinn::AckFrequencyConfig::default();
    acknowledgements
        .ack_eliciting_threshold(UNACKNOWLEDGED_MAX.into())
        .max_ack_delay(Some(UNACKNOWLEDGED_WAIT))
        // As without the extension: a gap is told at once.
        .reordering_threshold(VarInt::from_u32(1));
    let idle = quinn::IdleTimeout::try_from(IDLE_MAX).expect("45 s fit a QUIC timeout");
    transport
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(CONTROL_STREAMS_MAX.into())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(idle))
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(CONNECTION_WINDOW_BYTES.into())
        // A message that was begun is sent to its end: cutting many into each packet helps none of them.
        .send_fairness(false)
        .ack_frequency_config(Some(acknowledgements))
        .datagram_receive_buffer_size(None);
    transport
}

fn warn_if_limited(socket: &Socket) -> io::Result<()> {
    // Linux gives twice what it grants, for its own bookkeeping.
    let factor = if cfg!(target_os = "linux") { 2 } else { 1 };
    let granted = socket.recv_buffer_size()?.min(socket.send_buffer_size()?) / factor;
    if granted < SOCKET_BUFFER_BYTES {
        tracing::warn!(
            granted,
            wanted = SOCKET_BUFFER_BYTES,
            "the system limits UDP buffers, so bursts lose packets: raise net.core.rmem_max and net.core.wmem_max"
        );
    }
    Ok(())
}

fn reason(error: &ConnectionError) -> String {
    error.to_string()
}

/// The control stream.
const CONTROL_STREAMS_MAX: u32 = 1;
/// As long as quinn's own.
const CONNECTION_ID_BYTES: usize = 8;
/// Packets that need no acknowledgement of their own: those of a small message, whose answer carries it.
const UNACKNOWLEDGED_MAX: u32 = 5;
/// After so long they get one: a window that losses have made smaller than that waits no longer.
const UNACKNOWLEDGED_WAIT: Duration = Duration::from_millis(5);
/// What the kernel may hold of a burst.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Connection attempts that wait for their handshake.
const INCOMING_MAX: usize = 256;
/// Before messages: they wait for what it carries.
const CONTROL_PRIORITY: i32 = 1;
/// After small messages.
const BULK_PRIORITY: i32 = -1;
