//! How long a new snapshot takes to reach every node: `cargo run --release -p peabiru-integration-tests --example news`.
//!
//! Federations of 3 to 8 nodes in one process, which ask the registry each 60 s as installed ones do, with some traffic: each
//! node calls the next one ten times a second. First with the registry up: from its answer to the officer until the last node has
//! the snapshot. Then one node hears of another snapshot, the registry goes down, and the time runs from there.
#![allow(clippy::unwrap_used, reason = "a measurement that fails says why")]

use std::time::{Duration, Instant};

use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Agency, Caller, Federation, Member};
use peabiru_proto::wire::{AddSubsystemRequest, SubsystemRecord};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() {
    // Mostly waiting: all at once.
    let (three, four, five, six, seven, eight) = tokio::join!(
        registry_up(3),
        registry_up(4),
        registry_up(5),
        registry_up(6),
        registry_up(7),
        registry_up(8)
    );
    println!("| nodes | registry up | registry down after one node has heard |");
    println!("|---|---|---|");
    for (nodes, up) in (3..).zip([three, four, five, six, seven, eight]) {
        let down = registry_down(nodes).await;
        println!("| {nodes} | {:.2} s | {:.2} s |", up.as_secs_f64(), down.as_secs_f64());
    }
}

/// From the registry's answer until the last node has it.
async fn registry_up(nodes: usize) -> Duration {
    let mut federation = Federation::start().await;
    let members = members(&mut federation, nodes, 60).await;
    let _calls = calls(&members).await;
    let news = publish(&mut federation, "first").await;
    let from = Instant::now();
    reach(&members, news).await;
    from.elapsed()
}

/// From the moment at which one node has it and the registry is gone.
async fn registry_down(nodes: usize) -> Duration {
    let mut federation = Federation::start().await;
    let members = members(&mut federation, nodes, 1).await;
    let news = publish(&mut federation, "second").await;
    reach(&members[..1], news).await;
    federation.stop_registry().await;
    let from = Instant::now();
    let _calls = calls(&members).await;
    reach(&members, news).await;
    from.elapsed()
}

/// The first asks the registry as often as `first_seconds`, the others each minute.
async fn members(federation: &mut Federation, nodes: usize, first_seconds: u64) -> Vec<Member> {
    let mut agencies = Vec::new();
    for number in 0..nodes {
        let agency = federation.enrol(&name(number)).await;
        refresh(&agency, if number == 0 { first_seconds } else { 60 });
        agencies.push(agency);
    }
    let mut members = Vec::new();
    for agency in agencies {
        members.push(agency.start().await);
    }
    for (number, member) in members.iter().enumerate() {
        member.grant(&name((number + nodes - 1) % nodes)).await;
    }
    members
}

/// Each calls the next one, until this is dropped.
async fn calls(members: &[Member]) -> JoinSet<()> {
    let mut calls = JoinSet::new();
    for (number, member) in members.iter().enumerate() {
        let caller = member.caller(&name((number + 1) % members.len())).await;
        calls.spawn(call(caller));
    }
    calls
}

async fn call(mut caller: Caller) {
    let mut ticks = tokio::time::interval(CALL_EVERY);
    loop {
        ticks.tick().await;
        // One that fails while nodes differ is followed by another.
        let _ = caller.say(SayRequest::default()).await;
    }
}

async fn reach(members: &[Member], news: u64) {
    for member in members {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        while member.status().await.globalconf_version < news {
            ticks.tick().await;
        }
    }
}

async fn publish(federation: &mut Federation, code: &str) -> u64 {
    let subsystem = SubsystemRecord { id: format!("PY/GOV/{}/{code}", name(0)), name: code.to_owned() };
    let request = AddSubsystemRequest { subsystem: Some(subsystem) };
    federation.officers.registration.add_subsystem(request).await.unwrap().into_inner().globalconf_version
}

fn refresh(agency: &Agency, seconds: u64) {
    let config = std::fs::read_to_string(agency.site.config()).unwrap();
    let config = config.replace("refresh_seconds = 1", &format!("refresh_seconds = {seconds}"));
    std::fs::write(agency.site.config(), config).unwrap();
}

fn name(number: usize) -> String {
    format!("AGENCY{number}")
}

const CALL_EVERY: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_millis(5);
