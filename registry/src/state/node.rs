//! Nodes and their authentication certificates.

use std::collections::BTreeSet;

use bytes::Bytes;
use peabiru_certs::chain;
use peabiru_proto::globalconf::Address;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::NodeId;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{self, KeyPurpose};

use super::limits::{ADDRESSES_MAX, CERTIFICATES_MAX, HOST_BYTES_MAX, NODES_MAX};
use super::{Event, Kind, Node, Refusal, State};

impl State {
    pub(super) fn add_node(
        &self,
        node: &NodeId,
        addresses: &[Address],
        certificates: Vec<Bytes>,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let owner = self.known_member(&node.owner())?;
        if owner.nodes.contains_key(node) {
            return Err(Kind::Duplicate.because(format!("{node} is registered already")));
        }
        if owner.nodes.len() >= NODES_MAX {
            return Err(Kind::Limit.because(format!("a member has at most {NODES_MAX} nodes")));
        }
        self.check_addresses(node, addresses)?;
        if certificates.len() > CERTIFICATES_MAX {
            return Err(too_many_certificates(node));
        }
        let distinct: BTreeSet<_> = certificates.iter().collect();
        if distinct.len() != certificates.len() {
            return Err(Kind::Duplicate.because(format!("a certificate of {node} is given twice")));
        }
        certificates.iter().try_for_each(|certificate| self.check_certificate(node, certificate, now))?;
        let record = Node { addresses: addresses.to_vec(), certificates }.record(node);
        Ok(vec![Event::NodeAdded(wire::NodeAdded { node: Some(record) })])
    }

    pub(super) fn set_node_addresses(
        &self,
        node: &NodeId,
        addresses: &[Address],
    ) -> Result<Vec<Event>, Refusal> {
        let known = self.known_node(node)?;
        self.check_addresses(node, addresses)?;
        if known.addresses == addresses {
            return Ok(Vec::new());
        }
        let addresses = addresses.iter().map(Address::to_proto).collect();
        Ok(vec![Event::NodeAddressesSet(wire::NodeAddressesSet { node: node.to_string(), addresses })])
    }

    pub(super) fn add_node_certificate(
        &self,
        node: &NodeId,
        certificate: Bytes,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        if self.known_node(node)?.certificates.len() >= CERTIFICATES_MAX {
            return Err(too_many_certificates(node));
        }
        self.check_certificate(node, &certificate, now)?;
        let node = node.to_string();
        Ok(vec![Event::NodeCertificateAdded(wire::NodeCertificateAdded { node, certificate })])
    }

    pub(super) fn remove_node_certificate(
        &self,
        node: &NodeId,
        sha256: &Digest,
    ) -> Result<Vec<Event>, Refusal> {
        let known = self.known_node(node)?;
        if !known.certificates.iter().any(|certificate| Digest::of(certificate) == *sha256) {
            let message = format!("no certificate {sha256} is registered for {node}");
            return Err(Kind::UnknownCertificate.because(message));
        }
        let certificate_sha256 = sha256.as_bytes().to_vec().into();
        let event = wire::NodeCertificateRemoved { node: node.to_string(), certificate_sha256 };
        Ok(vec![Event::NodeCertificateRemoved(event)])
    }

    fn check_certificate(&self, node: &NodeId, certificate: &[u8], now: Timestamp) -> Result<(), Refusal> {
        let refuse =
            |error| Kind::Certificate.because(format!("authentication certificate of {node}: {error}"));
        let sha256 = Digest::of(certificate);
        if let Some(other) = self.certificates.get(&sha256) {
            let message = format!("the certificate {sha256} is registered for {other} already");
            return Err(Kind::Duplicate.because(message));
        }
        let trusted = self.trusted(KeyPurpose::Authentication);
        let verified = chain::verify(certificate, &trusted, KeyPurpose::Authentication, now);
        verified.and_then(|verified| verified.names_node(node)).map_err(refuse)
    }

    fn check_addresses(&self, node: &NodeId, addresses: &[Address]) -> Result<(), Refusal> {
        if addresses.is_empty() {
            return Err(Kind::Address.because(format!("{node} has no address: give one, or dial-out")));
        }
        if addresses.len() > ADDRESSES_MAX {
            return Err(Kind::Limit.because(format!("a node has at most {ADDRESSES_MAX} addresses")));
        }
        addresses.iter().try_for_each(|address| match address {
            Address::DialOut => Ok(()),
            Address::Relay(relay) if relay == node => {
                Err(Kind::Address.because(format!("{node} cannot be its own relay")))
            }
            Address::Relay(relay) => self.known_node(relay).map(|_| ()),
            Address::Direct { host, port } => check_host(host, *port),
        })
    }

    pub(super) fn known_node(&self, id: &NodeId) -> Result<&Node, Refusal> {
        let unknown = || Kind::UnknownNode.because(format!("{id} is no registered node: add it first"));
        self.known_member(&id.owner())?.nodes.get(id).ok_or_else(unknown)
    }

    pub(super) fn node_added(&mut self, event: wire::NodeAdded) -> Result<(), String> {
        let record = event.node.ok_or("the event names no node")?;
        let id: NodeId = record.id.parse().map_err(|error| format!("{error}"))?;
        let addresses = read_addresses(record.addresses)?;
        for certificate in &record.authentication_certificates {
            self.claim(&id, certificate)?;
        }
        let node = Node { addresses, certificates: record.authentication_certificates };
        match self.stored_member(&id.owner())?.nodes.insert(id, node) {
            None => Ok(()),
            Some(_) => Err(format!("{} was added twice", record.id)),
        }
    }

    pub(super) fn node_addresses_set(&mut self, event: wire::NodeAddressesSet) -> Result<(), String> {
        let addresses = read_addresses(event.addresses)?;
        self.stored_node(&event.node)?.1.addresses = addresses;
        Ok(())
    }

    pub(super) fn node_certificate_added(
        &mut self,
        event: &wire::NodeCertificateAdded,
    ) -> Result<(), String> {
        let (id, node) = self.stored_node(&event.node)?;
        node.certificates.push(event.certificate.clone());
        self.claim(&id, &event.certificate)
    }

    pub(super) fn node_certificate_removed(
        &mut self,
        event: &wire::NodeCertificateRemoved,
    ) -> Result<(), String> {
        let sha256 = Digest::from_slice(&event.certificate_sha256).map_err(|error| error.to_string())?;
        let (id, node) = self.stored_node(&event.node)?;
        node.certificates.retain(|certificate| Digest::of(certificate) != sha256);
        match self.certificates.remove(&sha256) {
            Some(owner) if owner == id => Ok(()),
            _ => Err(format!("the certificate {sha256} was not registered for {id}")),
        }
    }

    fn claim(&mut self, node: &NodeId, certificate: &[u8]) -> Result<(), String> {
        match self.certificates.insert(Digest::of(certificate), node.clone()) {
            None => Ok(()),
            Some(other) => Err(format!("a certificate of {node} was registered for {other} before")),
        }
    }

    fn stored_node(&mut self, id: &str) -> Result<(NodeId, &mut Node), String> {
        let id: NodeId = id.parse().map_err(|error| format!("{error}"))?;
        let missing = format!("{id} was not added before");
        let node = self.stored_member(&id.owner())?.nodes.get_mut(&id).ok_or(missing)?;
        Ok((id, node))
    }
}

impl Node {
    pub(super) fn record(&self, id: &NodeId) -> wire::NodeRecord {
        wire::NodeRecord {
            id: id.to_string(),
            addresses: self.addresses.iter().map(Address::to_proto).collect(),
            authentication_certificates: self.certificates.clone(),
        }
    }
}

pub(super) fn read_addresses(addresses: Vec<wire::NodeAddress>) -> Result<Vec<Address>, String> {
    addresses.into_iter().map(Address::from_proto).collect()
}

fn check_host(host: &str, port: u16) -> Result<(), Refusal> {
    let name = |host: &str| {
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
            && !host.starts_with(['-', '.'])
    };
    let dialable = host.parse::<std::net::IpAddr>().is_ok() || name(host);
    if port == 0 || host.is_empty() || host.len() > HOST_BYTES_MAX || !dialable {
        let message =
            format!("`{host}` port {port} is no address: a DNS name or IP address, and a port from 1");
        return Err(Kind::Address.because(message));
    }
    Ok(())
}

fn too_many_certificates(node: &NodeId) -> Refusal {
    let message = format!(
        "a node has at most {CERTIFICATES_MAX} authentication certificates: remove one of {node} first"
    );
    Kind::Limit.because(message)
}
