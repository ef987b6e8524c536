//! From a node to a connection: its addresses one after another, over QUIC or over HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;

use peabiru_certs::peer::link_client;
use peabiru_proto::fault::Fault;
use peabiru_proto::globalconf::Address;
use peabiru_proto::id::NodeId;
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep, timeout};

use super::carrier::Connection;
use super::choice::{HEAD_START, Raced, race};
use super::peer::Peer;
use super::pool::Slot;
use super::terms::Carrier;
use super::{Inner, unreachable};

/// A connection after its handshake.
pub(crate) struct Dialled {
    pub(crate) connection: Connection,
    /// Over HTTP/2: why not over QUIC.
    pub(crate) without_quic: Option<String>,
}

impl Inner {
    pub(crate) async fn dial(self: Arc<Self>, slot: Arc<Slot<Peer>>, id: NodeId) {
        let dialled = timeout(self.waits.connect, self.try_dial(&slot, &id)).await;
        let failure = match dialled {
            Ok(Ok(())) => return,
            Ok(Err(fault)) => fault,
            Err(_) => unreachable(format!("{id} did not answer within {:?}", self.waits.connect)),
        };
        self.counters.handshakes_failed.increment(1);
        tracing::warn!(peer = %id, error = %failure, "no link");
        slot.fail(failure, Instant::now());
    }

    async fn try_dial(self: &Arc<Self>, slot: &Slot<Peer>, id: &NodeId) -> Result<(), Fault> {
        let conf = self.conf_or_fault()?;
        let addresses = conf.node(id).map(|node| node.addresses.as_slice()).unwrap_or_default();
        let mut failure = unreachable(format!("{id} has no address"));
        for address in addresses {
            let (host, port) = match address {
                Address::Direct { host, port } => (host, *port),
                Address::DialOut => {
                    failure = unreachable(format!("{id} dials out only, and has not dialled this node yet"));
                    continue;
                }
                Address::Relay(relay) => {
                    failure = unreachable(format!(
                        "{id} is behind the relay {relay}: relays are not supported yet"
                    ));
                    continue;
                }
            };
            match self.dial_address(slot, id, host, port).await {
                Ok(()) => return Ok(()),
                Err(reason) => failure = unreachable(format!("{id} at {host}:{port}: {reason}")),
            }
        }
        Err(failure)
    }

    async fn dial_address(
        self: &Arc<Self>,
        slot: &Slot<Peer>,
        id: &NodeId,
        host: &str,
        port: u16,
    ) -> Result<(), String> {
        let mut reason = "the name has no address".to_owned();
        for address in lookup_host((host, port)).await.map_err(|error| error.to_string())? {
            match self.dial_either(id, address, host).await {
                Ok(dialled) => return self.greet(slot, id, dialled).await,
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    /// Over the carrier that reached this peer last, else QUIC; over the other one too if that takes long.
    async fn dial_either(&self, id: &NodeId, address: SocketAddr, host: &str) -> Result<Dialled, String> {
        for (only, other) in [(Carrier::Quic, Carrier::Http2), (Carrier::Http2, Carrier::Quic)] {
            if !self.endpoints.has(other) {
                let connection = self.handshake(only, id, address, host).await?;
                let unused = || format!("[link] carriers of this node does not name {other}");
                return Ok(Dialled { connection, without_quic: (only == Carrier::Http2).then(unused) });
            }
        }
        let first = self.choices.first(id);
        let attempt = |carrier| self.handshake(carrier, id, address, host);
        let (connection, why_not_first) =
            match race(attempt(first), attempt(first.other()), sleep(HEAD_START)).await {
                Raced::First(connection) => (connection, None),
                Raced::Second(connection, why) => (connection, Some(why)),
                Raced::Neither(one, two) if one == two => return Err(one),
                Raced::Neither(one, two) => return Err(format!("{first}: {one}; {}: {two}", first.other())),
            };
        let without_quic = match connection.carrier() {
            Carrier::Quic => {
                self.choices.forget(id);
                None
            }
            // Tried now, or when the choice was made.
            Carrier::Http2 => why_not_first.or_else(|| self.choices.without_quic(id)),
        };
        if let Some(why) = &without_quic {
            self.choices.remember(id, why.clone());
        }
        Ok(Dialled { connection, without_quic })
    }

    async fn handshake(
        &self,
        carrier: Carrier,
        id: &NodeId,
        address: SocketAddr,
        host: &str,
    ) -> Result<Connection, String> {
        let directory = Arc::clone(&self.directory);
        let client = link_client(&self.identity, directory, id.clone()).map_err(|error| error.to_string())?;
        self.endpoints.connect(carrier, address, host, client).await
    }
}
