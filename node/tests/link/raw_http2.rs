//! A peer over TCP that says whatever a test wants: good keys, bad manners.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use peabiru_certs::peer::{LINK_ALPN_HTTP2, link_client};
use peabiru_ledger::checkpoint::SignedCheckpoint;
use peabiru_ledger::position::TreeSize;
use peabiru_ledger::proof::ConsistencyProof;
use peabiru_node::link::frame::{self, Decoder};
use peabiru_node::link::hello::Hello;
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::MAX_FRAME_BYTES;
use peabiru_proto::wire::{CheckpointUpdate, link_frame::Frame};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::raw::{Directory, Guise};

pub(crate) struct RawHttp2 {
    pub(crate) streams: SendRequest<Bytes>,
    /// Ends with the connection.
    pub(crate) driver: JoinHandle<Result<(), h2::Error>>,
    control: SendStream<Bytes>,
    /// What the node says on its control stream.
    _said: RecvStream,
    _signal: (ResponseFuture, SendStream<Bytes>),
}

/// The TLS session alone.
pub(crate) async fn tls(guise: &Guise, to: &NodeId, address: SocketAddr) -> TlsStream<TcpStream> {
    let directory = Directory { conf: Arc::clone(&guise.conf), now: guise.now };
    let mut client = link_client(&guise.identity, Arc::new(directory), to.clone()).unwrap();
    client.alpn_protocols = vec![LINK_ALPN_HTTP2.to_vec()];
    let socket = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(client)).connect("node".try_into().unwrap(), socket).await.unwrap()
}

impl RawHttp2 {
    /// Connects and greets truthfully, with these manners of HTTP/2.
    pub(crate) async fn connect(guise: Guise, to: &NodeId, address: SocketAddr, manners: &Builder) -> Self {
        let (mut streams, connection) = manners.handshake(tls(&guise, to, address).await).await.unwrap();
        let driver = tokio::spawn(connection);
        let _signal = open(&mut streams, "/signal").await;
        let (answer, mut control) = open(&mut streams, "/control").await;
        let hello = frame::encode(Frame::Hello(Hello::write(&guise.id, 1, 1, &[])));
        control.send_data(hello, false).unwrap();
        let _said = answer.await.unwrap().into_body();
        Self { streams, driver, control, _said, _signal }
    }

    /// Announces a first checkpoint.
    pub(crate) fn update(&mut self, head: &SignedCheckpoint) {
        self.extend(head, TreeSize::EMPTY, &ConsistencyProof::default());
    }

    /// Announces a checkpoint after one of this size.
    pub(crate) fn extend(&mut self, head: &SignedCheckpoint, from: TreeSize, proof: &ConsistencyProof) {
        let update = CheckpointUpdate {
            checkpoint: Bytes::copy_from_slice(head.note().as_bytes()),
            from_size: from.entries(),
            consistency: proof.to_bytes().into(),
        };
        self.control.send_data(frame::encode(Frame::Checkpoint(update)), false).unwrap();
    }

    /// Opens a stream of this kind.
    pub(crate) async fn open(&self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        open(&mut self.streams.clone(), path).await
    }

    /// Sends bytes as an exchange, and gives what comes back.
    pub(crate) async fn bytes(&self, bytes: &[u8]) -> Option<Frame> {
        let (answer, mut stream) = self.open("/exchange").await;
        stream.send_data(Bytes::copy_from_slice(bytes), true).unwrap();
        read(answer.await.unwrap().into_body()).await
    }
}

async fn open(streams: &mut SendRequest<Bytes>, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let mut ready = streams.clone().ready().await.unwrap();
    let request = Request::post(format!("https://node{path}")).body(()).unwrap();
    ready.send_request(request, false).unwrap()
}

/// The frame of an answer; none if the stream is reset before one.
pub(crate) async fn read(mut body: RecvStream) -> Option<Frame> {
    let mut decoder = Decoder::new(MAX_FRAME_BYTES);
    loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            return Some(frame);
        }
        let bytes = body.data().await?.ok()?;
        body.flow_control().release_capacity(bytes.len()).unwrap();
        decoder.push(bytes);
    }
}
