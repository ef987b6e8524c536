//! A peer that says whatever a test wants: good keys, bad manners.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use peabiru_certs::peer::{PeerDirectory, TlsIdentity, link_client};
use peabiru_ledger::checkpoint::SignedCheckpoint;
use peabiru_ledger::payload::Payload;
use peabiru_ledger::position::TreeSize;
use peabiru_ledger::proof::ConsistencyProof;
use peabiru_ledger::seal::SealedEntry;
use peabiru_node::link::frame::{self, Decoder, Outgoing};
use peabiru_node::link::hello::Hello;
use peabiru_proto::fault::Fault;
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::MAX_FRAME_BYTES;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{self, CheckpointUpdate, KeyPurpose, link_frame::Frame};

pub(crate) struct Raw {
    pub(crate) connection: quinn::Connection,
    control: quinn::SendStream,
    _endpoint: quinn::Endpoint,
}

/// As whom it connects.
pub(crate) struct Guise {
    pub(crate) id: NodeId,
    pub(crate) identity: TlsIdentity,
    /// By which it knows whom it dials.
    pub(crate) conf: Arc<GlobalConfiguration>,
    pub(crate) now: Timestamp,
}

pub(crate) struct Directory {
    pub(crate) conf: Arc<GlobalConfiguration>,
    pub(crate) now: Timestamp,
}

impl PeerDirectory for Directory {
    fn judge(&self, certificate_sha256: &Digest) -> Option<NodeId> {
        self.conf.node_by_certificate(certificate_sha256).map(|node| node.id.clone())
    }

    fn authorities(&self) -> Vec<Bytes> {
        self.conf.authorities(KeyPurpose::Authentication).cloned().collect()
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}

impl Raw {
    /// Connects and greets truthfully.
    pub(crate) async fn connect(guise: Guise, to: &NodeId, address: SocketAddr, serial: u64) -> Self {
        let hello = Hello::write(&guise.id, 1, serial, &[]);
        Self::greet(guise, to, address, hello).await
    }

    /// Connects and says this.
    pub(crate) async fn greet(guise: Guise, to: &NodeId, address: SocketAddr, hello: wire::Hello) -> Self {
        let directory = Directory { conf: guise.conf, now: guise.now };
        let tls = link_client(&guise.identity, Arc::new(directory), to.clone()).unwrap();
        let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(tls));
        let connection = endpoint.connect_with(config, address, "node").unwrap().await.unwrap();
        let mut control = connection.open_uni().await.unwrap();
        control.write_all(&frame::encode(Frame::Hello(hello))).await.unwrap();
        Self { connection, control, _endpoint: endpoint }
    }

    /// What the node says first.
    pub(crate) async fn hear(&self) -> wire::Hello {
        let mut control = self.connection.accept_uni().await.unwrap();
        match read(&mut control).await {
            Some(Frame::Hello(hello)) => hello,
            other => panic!("not a Hello: {other:?}"),
        }
    }

    pub(crate) async fn update(&mut self, head: &SignedCheckpoint, from: TreeSize, proof: &ConsistencyProof) {
        let update = CheckpointUpdate {
            checkpoint: Bytes::copy_from_slice(head.note().as_bytes()),
            from_size: from.entries(),
            consistency: proof.to_bytes().into(),
        };
        self.control.write_all(&frame::encode(Frame::Checkpoint(update))).await.unwrap();
    }

    /// Sends a message on a stream of its own; gives what comes back.
    pub(crate) async fn message(&self, sealed: &SealedEntry, payload: &Payload) -> Option<Frame> {
        self.bytes(&message(sealed, payload)).await
    }

    /// Sends bytes on a stream of their own and ends it.
    pub(crate) async fn bytes(&self, bytes: &[u8]) -> Option<Frame> {
        let (mut send, mut receive) = self.connection.open_bi().await.unwrap();
        // The node may have stopped reading already.
        let _ = send.write_all(bytes).await;
        let _ = send.finish();
        read(&mut receive).await
    }

    /// Code and text with which the node closes the connection.
    pub(crate) async fn closed(&self) -> (u64, String) {
        match self.connection.closed().await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                (close.error_code.into_inner(), String::from_utf8(close.reason.to_vec()).unwrap())
            }
            other => panic!("not closed by the node: {other}"),
        }
    }
}

/// A message as it goes over the wire.
pub(crate) fn message(sealed: &SealedEntry, payload: &Payload) -> Vec<u8> {
    let Payload::Sealed(payload) = payload else { panic!("payloads of exchanges are encrypted") };
    frame::encode_message(&Outgoing {
        entry: sealed.entry.bytes(),
        position: sealed.seal.position,
        tree_size: sealed.seal.checkpoint.size(),
        proof: &sealed.seal.proof,
        payload,
    })
    .concat()
}

pub(crate) fn refusal(frame: Option<Frame>) -> Fault {
    match frame {
        Some(Frame::Refusal(fault)) => Fault::from_proto(&fault).unwrap(),
        other => panic!("not a refusal: {other:?}"),
    }
}

pub(crate) async fn read(stream: &mut quinn::RecvStream) -> Option<Frame> {
    let mut decoder = Decoder::new(MAX_FRAME_BYTES);
    loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            return Some(frame);
        }
        decoder.push(stream.read_chunk(usize::MAX, true).await.unwrap()?.bytes);
    }
}
