//! What `peabiru doctor` judges: gathered here, where the node's own clock, links and files are.

use std::collections::HashMap;
use std::sync::Arc;

use peabiru_proto::fault::{Fault, Place};
use peabiru_proto::globalconf::{Address, GlobalConfiguration, Node};
use peabiru_proto::id::NodeId;
use peabiru_proto::policy::{Grant, GrantState};
use peabiru_proto::wire::{
    ExamineResponse, ExaminedCertificate, ExaminedDisk, ExaminedPeer, ExaminedRegistry,
};
use tokio::task::JoinSet;

use super::{Admin, blocking};
use crate::core::ledger_fault;
use crate::link::PeerStatus;
use crate::refresh::Examined;
use crate::shown::{Registered, ShownCertificate};

impl Admin {
    /// Asks the registry, dials every peer, looks at disk and certificates.
    pub(super) async fn surroundings(&self) -> Result<ExamineResponse, Fault> {
        let files = self.store.large_files().clone();
        let read = move || files.disk_room().map_err(|error| ledger_fault(&error, Place::ProviderNode));
        let disk = blocking(read).await?;
        let registries = self.refresher.examine(&*self.core.clock).await;
        let now = self.core.clock.now();
        let conf = self.core.globalconf.newest();
        let (peers, peers_left_out) = match &conf {
            Some(conf) => self.dial_all(conf).await,
            None => (Vec::new(), 0),
        };
        let grants = self.core.grants.load();
        let in_force =
            grants.iter().filter(|grant| grant.state == GrantState::Active && now < grant.expires_at);
        let certificates = conf.as_ref().map(|conf| self.shown.all(conf)).unwrap_or_default();
        let own = conf.as_ref().and_then(|conf| conf.node(&self.core.own));
        Ok(ExamineResponse {
            node: self.core.own.to_string(),
            now_ms: now.as_ms(),
            globalconf_version: conf.as_ref().map_or(0, |conf| conf.version()),
            globalconf_created_at_ms: conf.as_ref().map_or(0, |conf| conf.created_at().as_ms()),
            globalconf_expires_at_ms: conf.as_ref().map_or(0, |conf| conf.expires_at().as_ms()),
            registries: registries.into_iter().map(registry).collect(),
            peers,
            peers_left_out,
            certificates: certificates.into_iter().map(certificate).collect(),
            disk: Some(ExaminedDisk { free_bytes: disk.free_bytes, needed_bytes: disk.needed_bytes }),
            grants: in_force.map(Grant::to_proto).collect(),
            link_address: self.link.local_addr().to_string(),
            carriers: self.link.carriers().iter().map(ToString::to_string).collect(),
            registered_addresses: own
                .map(|own| own.addresses.iter().map(written).collect())
                .unwrap_or_default(),
        })
    }

    /// Makes sure of a connection to each node, `DIALS_AT_ONCE` at a time; and how many are beyond `PEERS_MAX`.
    async fn dial_all(&self, conf: &GlobalConfiguration) -> (Vec<ExaminedPeer>, u32) {
        let nodes: HashMap<&NodeId, &Node> = conf
            .members()
            .flat_map(|member| conf.nodes_of(&member.id))
            .filter(|node| node.id != self.core.own)
            .map(|node| (&node.id, node))
            .collect();
        let mut nodes: Vec<&Node> = nodes.into_values().collect();
        nodes.sort_by(|one, another| one.id.cmp(&another.id));
        let left_out = nodes.len().saturating_sub(PEERS_MAX);
        nodes.truncate(PEERS_MAX);
        let mut failures = HashMap::new();
        for some in nodes.chunks(DIALS_AT_ONCE) {
            let mut dials = JoinSet::new();
            for node in some.iter().filter(|node| !dials_out(node)) {
                let (link, peer) = (Arc::clone(&self.link), node.id.clone());
                dials.spawn(async move { (link.connect(&peer).await.err(), peer) });
            }
            while let Some(dialled) = dials.join_next().await {
                if let Ok((Some(fault), peer)) = dialled {
                    failures.insert(peer, fault.message);
                }
            }
        }
        let live: HashMap<NodeId, PeerStatus> =
            self.link.peers().into_iter().map(|peer| (peer.node.clone(), peer)).collect();
        let examined = |node: &&Node| {
            let peer = live.get(&node.id);
            ExaminedPeer {
                node: node.id.to_string(),
                failure: match peer {
                    Some(_) => String::new(),
                    None => failures.remove(&node.id).unwrap_or_else(|| "there is no connection".to_owned()),
                },
                carrier: peer.map(|peer| peer.carrier.to_string()).unwrap_or_default(),
                without_quic: peer.and_then(|peer| peer.without_quic.clone()).unwrap_or_default(),
                clock_ahead_ms: peer.and_then(|peer| peer.clock_ahead_ms),
                dials_out: dials_out(node),
            }
        };
        (nodes.iter().map(examined).collect(), u32::try_from(left_out).unwrap_or(u32::MAX))
    }
}

fn dials_out(node: &Node) -> bool {
    node.addresses.iter().all(|address| *address == Address::DialOut)
}

fn registry(examined: Examined) -> ExaminedRegistry {
    let Examined { url, answer } = examined;
    match answer {
        Ok(clock_ahead_ms) => ExaminedRegistry { url, failure: String::new(), clock_ahead_ms },
        Err(error) => ExaminedRegistry { url, failure: error.to_string(), clock_ahead_ms: None },
    }
}

fn certificate(shown: ShownCertificate) -> ExaminedCertificate {
    ExaminedCertificate {
        role: shown.role.into(),
        member: shown.member.map(|member| member.to_string()).unwrap_or_default(),
        expires_at_ms: shown.expires_at.as_ms(),
        registered: shown.registered == Registered::Yes,
    }
}

fn written(address: &Address) -> String {
    match address {
        Address::Direct { host, port } => format!("{host}:{port}"),
        Address::DialOut => "dial-out".to_owned(),
        Address::Relay(node) => format!("relay {node}"),
    }
}

/// Nodes that are looked at; the others are counted.
const PEERS_MAX: usize = 256;
const DIALS_AT_ONCE: usize = 32;
