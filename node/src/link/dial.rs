//! From a node to a connection: its addresses one after another, over QUIC or over HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peabiru_certs::peer::link_client;
use peabiru_proto::fault::Fault;
use peabiru_proto::globalconf::Address;
use peabiru_proto::id::NodeId;
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep, timeout};

use super::carrier::Connection;
use super::choice::{HEAD_START, PATIENCE, Raced, race};
use super::peer::{DialledBy, Peer};
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
                    // It may be about to: after a restart of this node it notices within a moment.
                    if timeout(DIAL_OUT_WAIT, slot.changes().live()).await.is_ok() {
                        return Ok(());
                    }
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
        let patience = async { sleep(PATIENCE).await };
        let (connection, why_not_first) =
            match race(attempt(first), attempt(first.other()), sleep(HEAD_START), patience).await {
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

    /// Tries QUIC from time to time to a peer that HTTP/2 alone reached. Where it works, it replaces that connection.
    pub(crate) fn probe_quic(self: &Arc<Self>, peer: Arc<Peer>) {
        let over_http2 = peer.connection.carrier() == Carrier::Http2 && peer.dialled_by == DialledBy::Us;
        if over_http2 && self.endpoints.has(Carrier::Quic) {
            self.tasks.spawn(Arc::clone(self).probe(peer));
        }
    }

    async fn probe(self: Arc<Self>, peer: Arc<Peer>) {
        let mut wait = self.waits.probe_first;
        loop {
            tokio::select! {
                () = sleep(wait) => wait = self.waits.probe,
                _ = peer.connection.closed() => return,
            }
            let Some(slot) = self.pool.slot(&peer.id) else { return };
            if slot.live().is_none_or(|live| !Arc::ptr_eq(&live, &peer)) || self.is_draining() {
                return;
            }
            self.counters.probes.increment(1);
            match self.replace_by_quic(&slot, &peer).await {
                Ok(()) => return self.choices.forget(&peer.id),
                Err(why) => {
                    tracing::debug!(peer = %peer.id, why, "still no link over QUIC");
                    self.choices.remember(&peer.id, why);
                }
            }
        }
    }

    async fn replace_by_quic(self: &Arc<Self>, slot: &Slot<Peer>, live: &Arc<Peer>) -> Result<(), String> {
        let id = &live.id;
        let conf = self.conf_or_fault().map_err(|fault| fault.to_string())?;
        let addresses = conf.node(id).map(|node| node.addresses.as_slice()).unwrap_or_default();
        let mut why = "it has no address".to_owned();
        for address in addresses {
            let Address::Direct { host, port } = address else { continue };
            for address in lookup_host((host.as_str(), *port)).await.map_err(|error| error.to_string())? {
                let shaken =
                    timeout(self.waits.connect, self.handshake(Carrier::Quic, id, address, host)).await;
                match shaken {
                    Ok(Ok(connection)) => {
                        return self.replace(slot, live, Dialled { connection, without_quic: None }).await;
                    }
                    Ok(Err(error)) => why = error,
                    Err(_) => why = format!("no handshake within {:?}", self.waits.connect),
                }
            }
        }
        Err(why)
    }

    async fn handshake(
        &self,
        carrier: Carrier,
        id: &NodeId,
        address: SocketAddr,
        host: &str,
    ) -> Result<Connection, String> {
        let directory = Arc::clone(&self.directory);
        let client = link_client(&self.identity.current(), directory, id.clone());
        let client = client.map_err(|error| error.to_string())?;
        self.endpoints.connect(carrier, address, host, client).await
    }
}

/// For a peer that dials out only, to do so.
const DIAL_OUT_WAIT: Duration = Duration::from_secs(3);
