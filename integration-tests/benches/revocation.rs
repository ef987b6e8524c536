//! How long a revocation takes to reach every node: from the second officer's approval until each node refuses the certificate.
//!
//! `cargo bench -p peabiru-integration-tests --bench revocation -- [--rounds 2] [--every 60] [--nodes 9]`. Registry and nodes are in this process;
//! nodes ask the registry every 60 s, as by default, each at its own moment. *Idle*: nobody calls. *Calls*: each node calls
//! another one, in turn, once a second. *RegistryDown*: as *Calls*, but one more node hears it first; then the registry is
//! stopped, and the time begins.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark: it prints figures, and what fails ends it"
)]

#[allow(dead_code, reason = "nothing here is as short as a sync")]
#[path = "../../ledger/benches/measure/mod.rs"]
mod measure;

use std::fs;
use std::time::{Duration, Instant};

use measure::{Effort, Figure};
use peabiru_certs::SecretKey;
use peabiru_certs::key::Algorithm;
use peabiru_certs::profile::Subject;
use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Agency, Caller, Federation, Member};
use peabiru_proto::hash::Digest;
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::{
    AddNodeCertificateRequest, GetStatusRequest, ListMembersRequest, RemoveNodeCertificateRequest,
};
use tokio::task::JoinSet;

/// What goes on meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Idle,
    Calls,
    RegistryDown,
}

fn main() {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(bench());
}

async fn bench() {
    let effort = Effort::from_args(Effort { secs: 0.0, rounds: 2 });
    let given =
        |flag, default: u64| measure::value(flag).and_then(|text| text.parse().ok()).unwrap_or(default);
    let every = Duration::from_secs(given("--every", 60));
    let number = usize::try_from(given("--nodes", 9)).unwrap();
    measure::print_machine(&measure::folder());
    let mut federation = Federation::start_in(tempfile::tempdir_in(measure::folder()).unwrap()).await;
    let (members, mut certificates) = start(&mut federation, number, every).await;
    println!("{} nodes that ask every {every:?}; seconds until a revocation is in force at", number - 1);
    println!("{:>14} {:>24} {:>24} {:>24}", "", "the first", "half of them", "the last");
    for case in [Case::Idle, Case::Calls, Case::RegistryDown] {
        let mut figures = [Figure::default(), Figure::default(), Figure::default()];
        for _ in 0..effort.rounds {
            let certificate = certificates.pop().expect("one node for each round of each case");
            let took = measure(&mut federation, &members, certificate, case).await;
            for (figure, at) in figures.iter_mut().zip([0, took.len() / 2, took.len() - 1]) {
                figure.push(took[at].as_secs_f64());
            }
        }
        let [first, half, last] = figures;
        println!("{:>14} {first:>24} {half:>24} {last:>24}", format!("{case:?}"));
    }
}

/// Each may call all others. All but the first ask seldom, and not at the same moment. Each has one more certificate.
async fn start(
    federation: &mut Federation,
    number: usize,
    every: Duration,
) -> (Vec<Member>, Vec<RemoveNodeCertificateRequest>) {
    let (mut agencies, mut certificates) = (Vec::new(), Vec::new());
    for at in 0..number {
        let agency = federation.enrol(&name(at)).await;
        let seconds = if at == 0 { 1 } else { every.as_secs() };
        let config = fs::read_to_string(agency.site.config()).unwrap();
        let config = config.replace("refresh_seconds = 1", &format!("refresh_seconds = {seconds}"));
        fs::write(agency.site.config(), config).unwrap();
        certificates.push(register(federation, &agency).await);
        agencies.push(agency);
    }
    let mut members = Vec::new();
    for agency in agencies {
        members.push(Agency::start(agency).await);
        tokio::time::sleep(every / u32::try_from(number).unwrap()).await;
    }
    for (at, member) in members.iter().enumerate() {
        for other in (0..number).filter(|other| *other != at) {
            member.grant(&name(other)).await;
        }
    }
    (members, certificates)
}

/// A certificate that every node takes is withdrawn. How long each of them took to hear of that, the quickest first.
async fn measure(
    federation: &mut Federation,
    members: &[Member],
    certificate: RemoveNodeCertificateRequest,
    case: Case,
) -> Vec<Duration> {
    let calling_members = match case {
        Case::Idle => &[],
        Case::Calls => &members[1..],
        Case::RegistryDown => members,
    };
    let mut calls = JoinSet::new();
    for at in 0..calling_members.len() {
        calls.spawn(calling(callers(calling_members, at).await));
    }
    let removed = federation.officers.registration.remove_node_certificate(certificate).await.unwrap();
    let mut since = Instant::now();
    federation.officers.approve(removed.into_inner().proposal).await.unwrap();
    let withdrawn = version(federation).await;
    // The first one asks each second, so it is left out but where it alone has heard.
    if case == Case::RegistryDown {
        all_know(&members[..1], withdrawn, since).await;
        federation.stop_registry().await;
        since = Instant::now();
    }
    let took = all_know(&members[1..], withdrawn, since).await;
    calls.shutdown().await;
    if case == Case::RegistryDown {
        federation.start_registry().await;
    }
    took
}

/// One more certificate of a node, and what withdraws it.
async fn register(federation: &mut Federation, agency: &Agency) -> RemoveNodeCertificateRequest {
    let node = agency.site.node.to_string();
    let key = SecretKey::generate(Algorithm::P256);
    let hosts = vec!["127.0.0.1".to_owned()];
    let subject = Subject::Node { id: agency.site.node.clone(), hosts };
    let certificate = federation.ca.issue_for_key(&key, subject, SystemClock.now()).unwrap();
    let certificate_sha256 = Digest::of(&certificate).as_bytes().to_vec().into();
    let request = AddNodeCertificateRequest { node: node.clone(), certificate };
    let added = federation.officers.registration.add_node_certificate(request).await.unwrap().into_inner();
    federation.officers.approve(added.proposal).await.unwrap();
    RemoveNodeCertificateRequest { node, certificate_sha256 }
}

async fn version(federation: &mut Federation) -> u64 {
    let listed = federation.officers.security.list_members(ListMembersRequest {}).await.unwrap();
    listed.into_inner().globalconf_version
}

/// Waits until each of them has this version, and says how long each took.
async fn all_know(members: &[Member], version: u64, since: Instant) -> Vec<Duration> {
    let mut waiting = JoinSet::new();
    for member in members {
        let mut admin = member.admin().await;
        waiting.spawn(async move {
            while admin.get_status(GetStatusRequest {}).await.unwrap().into_inner().globalconf_version
                < version
            {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            since.elapsed()
        });
    }
    let mut took = waiting.join_all().await;
    took.sort_unstable();
    took
}

/// Of one member, to all others.
async fn callers(members: &[Member], at: usize) -> Vec<Caller> {
    let mut callers = Vec::new();
    // Not all of them in the same order.
    for other in (1..members.len()).map(|step| (at + step) % members.len()) {
        callers.push(members[at].caller(&members[other].agency.name).await);
    }
    callers
}

async fn calling(callers: Vec<Caller>) {
    for caller in callers.iter().cycle() {
        caller.clone().say(SayRequest::default()).await.unwrap();
        tokio::time::sleep(CALL_EVERY).await;
    }
}

fn name(at: usize) -> String {
    format!("M{at}")
}

const CALL_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);
