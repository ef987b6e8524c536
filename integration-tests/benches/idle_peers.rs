//! What memory a node takes for peers that are connected and silent.
//!
//! `cargo bench -p peabiru-integration-tests --bench idle_peers -- [--peers 1000] [--secs 20]`. The node is a process of its own with its
//! defaults. Each peer is a registered node with a key and a certificate of its own, and a QUIC connection of its own on a
//! socket of its own: TLS, `Hello`s, keep-alive. All of them live in this process, where they keep no ledger and ask nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark: it prints figures, and what fails ends it"
)]

#[allow(dead_code, reason = "one run gives no median")]
#[path = "../../ledger/benches/measure/mod.rs"]
mod measure;
#[allow(dead_code, reason = "the link's own tests use the rest")]
#[path = "../../node/tests/link/raw.rs"]
mod raw;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use measure::Effort;
use peabiru_certs::SecretKey;
use peabiru_certs::key::Algorithm;
use peabiru_certs::peer::TlsIdentity;
use peabiru_certs::profile::Subject;
use peabiru_integration_tests::federation::Federation;
use peabiru_integration_tests::process::Spawned;
use peabiru_node::globalconf::Globalconf;
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::{
    AddMemberRequest, AddNodeRequest, DialOutAddress, GetStatusRequest, NodeAddress, NodeRecord, node_address,
};
use raw::{Guise, Raw};

fn main() {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(bench());
}

async fn bench() {
    let effort = Effort::from_args(Effort { secs: 20.0, rounds: 1 });
    let number = measure::value("--peers").and_then(|text| text.parse().ok()).unwrap_or(1000);
    measure::print_machine(&measure::folder());
    let mut federation = Federation::start_in(tempfile::tempdir_in(measure::folder()).unwrap()).await;
    let agency = federation.enrol("MEC").await;
    let peers = register(&mut federation, number).await;
    let node = Spawned::start(agency, Path::new(env!("CARGO_BIN_EXE_peabiru-spawned"))).await;
    let site = &node.agency.site;
    let anchor = ConfigurationAnchor::parse(&fs::read_to_string(site.folder.join("anchor.toml")).unwrap());
    let folder = site.folder.join("data/globalconf");
    let conf = Globalconf::open(folder, anchor.unwrap(), Arc::new(SystemClock)).unwrap().newest().unwrap();
    println!("peers | resident, MiB | for each, KiB");
    let rest = resident(&node);
    println!("0 | {rest:.1} | -");
    let started = Instant::now();
    let mut connected = Vec::new();
    for (serial, (id, identity)) in (1..).zip(peers) {
        let guise = Guise { id, identity, conf: Arc::clone(&conf), now: SystemClock.now() };
        let peer = Raw::connect(guise, &site.node, site.link, serial).await;
        peer.hear().await;
        connected.push(peer);
        if connected.len().is_multiple_of((number / 4).max(1)) {
            say(&node, connected.len(), rest);
        }
    }
    let took = started.elapsed();
    tokio::time::sleep(effort.duration()).await;
    say(&node, connected.len(), rest);
    let live = node.admin().await.get_status(GetStatusRequest {}).await.unwrap().into_inner().peers.len();
    println!("{live} connected {:.0} s after the last of them; all of them in {took:.1?}", effort.secs);
    assert_eq!(live, number, "none was lost");
}

fn say(node: &Spawned, peers: usize, rest: f64) {
    let now = resident(node);
    println!("{peers} | {now:.1} | {:.1}", (now - rest) * 1024.0 / peers as f64);
}

/// Members with as many nodes as one may have, before the measured node reads its first snapshot.
async fn register(federation: &mut Federation, number: usize) -> Vec<(NodeId, TlsIdentity)> {
    let mut peers = Vec::new();
    for at in 0..number {
        let member: MemberId = format!("PY/GOV/M{}", at / NODES_OF_MEMBER).parse().unwrap();
        if at.is_multiple_of(NODES_OF_MEMBER) {
            let request = AddMemberRequest { member: member.to_string(), name: format!("Agency {member}") };
            let added = federation.officers.registration.add_member(request).await.unwrap().into_inner();
            federation.officers.approve(added.proposal).await.unwrap();
        }
        let id: NodeId = format!("{member}/{at}").parse().unwrap();
        let key = SecretKey::generate(Algorithm::P256);
        let subject = Subject::Node { id: id.clone(), hosts: vec!["127.0.0.1".to_owned()] };
        let certificate = federation.ca.issue_for_key(&key, subject, SystemClock.now()).unwrap();
        let address = node_address::Address::DialOut(DialOutAddress {});
        let node = NodeRecord {
            id: id.to_string(),
            addresses: vec![NodeAddress { address: Some(address) }],
            authentication_certificates: vec![certificate.clone()],
        };
        let request = AddNodeRequest { node: Some(node) };
        let added = federation.officers.registration.add_node(request).await.unwrap().into_inner();
        federation.officers.approve(added.proposal).await.unwrap();
        peers.push((id, TlsIdentity { certificate, key }));
    }
    peers
}

/// In MiB.
fn resident(node: &Spawned) -> f64 {
    node.resident_kibibytes() as f64 / 1024.0
}

/// The registry allows 64.
const NODES_OF_MEMBER: usize = 50;
