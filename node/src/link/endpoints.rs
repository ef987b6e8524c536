//! The sockets of the link: UDP for QUIC and TCP for HTTP/2, on one port.

use std::io;
use std::net::SocketAddr;

use peabiru_certs::SecretKey;
use tokio_util::task::TaskTracker;

use super::carrier::Connection;
use super::terms::Carrier;
use super::{LinkConfig, LinkError, http2, quic};

/// What this node listens on and dials with.
#[derive(Debug)]
pub(crate) struct Endpoints {
    quic: Option<quic::Endpoint>,
    http2: Option<http2::Endpoint>,
    address: SocketAddr,
}

impl Endpoints {
    /// Binds what the configuration names.
    pub(crate) fn bind(
        config: &LinkConfig,
        server: &rustls::ServerConfig,
        authentication_key: &SecretKey,
        tasks: TaskTracker,
    ) -> Result<(Self, Option<http2::Listener>), LinkError> {
        let http2 = config.carriers.contains(&Carrier::Http2).then(|| http2::Endpoint::new(tasks));
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut address = config.listen;
            let quic = if config.carriers.contains(&Carrier::Quic) {
                let bound = quic::Endpoint::bind(address, server.clone(), authentication_key)
                    .and_then(|endpoint| Ok((endpoint.local_addr()?, endpoint)));
                let (local, endpoint) =
                    bound.map_err(|source| LinkError::Listen { address, carrier: Carrier::Quic, source })?;
                address = local;
                Some(endpoint)
            } else {
                None
            };
            let Some(endpoint) = &http2 else { return Ok((Self { quic, http2, address }, None)) };
            let bound = endpoint
                .listen(address, server.clone())
                .and_then(|listener| Ok((listener.local_addr()?, listener)));
            match bound {
                Ok((address, listener)) => return Ok((Self { quic, http2, address }, Some(listener))),
                // The port that the system chose for UDP is somebody else's for TCP.
                Err(source)
                    if config.listen.port() == 0
                        && source.kind() == io::ErrorKind::AddrInUse
                        && attempts < PORT_ATTEMPTS => {}
                Err(source) => return Err(LinkError::Listen { address, carrier: Carrier::Http2, source }),
            }
        }
    }

    /// Where this node listens.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether this node uses it.
    pub(crate) fn has(&self, carrier: Carrier) -> bool {
        match carrier {
            Carrier::Quic => self.quic.is_some(),
            Carrier::Http2 => self.http2.is_some(),
        }
    }

    /// The next who wants to connect over UDP; none once that is closed, or if this node does not use it.
    pub(crate) async fn accept_quic(&self) -> Option<quic::Incoming> {
        self.quic.as_ref()?.accept().await
    }

    /// Dials, and waits for the end of the handshake.
    pub(crate) async fn connect(
        &self,
        carrier: Carrier,
        address: SocketAddr,
        name: &str,
        client: rustls::ClientConfig,
    ) -> Result<Connection, String> {
        let unused = || format!("[link] carriers of this node does not name {carrier}");
        match carrier {
            Carrier::Quic => {
                let endpoint = self.quic.as_ref().ok_or_else(unused)?;
                endpoint.connect(address, name, client).await.map(Connection::Quic)
            }
            Carrier::Http2 => {
                let endpoint = self.http2.as_ref().ok_or_else(unused)?;
                endpoint.connect(address, name, client).await.map(Connection::Http2)
            }
        }
    }

    /// Says goodbye on all connections; waits until QUIC's goodbyes are out. Those of TCP are said by their tasks.
    pub(crate) async fn close(&self) {
        if let Some(http2) = &self.http2 {
            http2.close();
        }
        if let Some(quic) = &self.quic {
            quic.close().await;
        }
    }
}

/// Ports that are tried until one is free for both.
const PORT_ATTEMPTS: u32 = 16;
