//! How fast two nodes exchange, beside what else could carry the same messages, in the same run.
//!
//! `cargo bench -p peabiru-integration-tests --bench exchange -- [--secs 2] [--rounds 3] [--only callers,stream,mix,beside]`, or
//! `--threads read`. The load, the service and both nodes are processes of their own on this machine, nodes with their
//! defaults: two waits for the disk, payloads stored, guard on. Closed loop. Rounds are interleaved:
//!
//! - *direct*: tonic with mutual TLS (X25519MLKEM768, P-256), no node;
//! - *relay*: two processes with the node's own doors, dispatcher, TLS and QUIC, and nothing else (`relay.rs`);
//! - *read*, *write*: the road; a write waits for the disk once more.
//!
//! *callers* is 1 KiB each way over one connection of the application; *stream* one long stream of such messages; *mix* bodies
//! of 2 kB to 10 MB; *beside* 1 KiB calls alone and beside ten large bodies.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark: it prints figures, and what fails ends it"
)]

mod beside;
mod load;
#[path = "../../../ledger/benches/measure/mod.rs"]
mod measure;
mod mix;
mod process;
mod relay;
mod report;
mod service;
mod stream;
mod system;
mod threads;

use std::path::Path;

use measure::Effort;
use peabiru_certs::PassphraseSource;
use report::Report;
use system::Systems;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == process::ROLE) {
        return serve(&arguments[1], &arguments[2..]);
    }
    let effort = Effort::from_args(Effort { secs: 2.0, rounds: 3 });
    runtime().block_on(bench(effort));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// One of the other processes.
fn serve(role: &str, arguments: &[String]) {
    let path = |number: usize| Path::new(&arguments[number]);
    match role {
        "service" => runtime().block_on(service::run(path(0), path(1))),
        "relay-provider" => runtime().block_on(relay::provide(path(0), path(1), path(2), &arguments[3])),
        "relay-consumer" => {
            let at = arguments[3].parse().unwrap();
            runtime().block_on(relay::consume(path(0), path(1), path(2), at));
        }
        // What `peabiru-node` and `peabiru node run` do.
        "node" => peabiru_node::serve::run(path(0), &PassphraseSource::choose(None), |running| {
            let addresses = [running.door, running.metrics];
            let text = |address: Option<std::net::SocketAddr>| {
                address.map_or_else(|| "-".to_owned(), |at| at.to_string())
            };
            process::say_ready(&addresses.map(text));
        })
        .unwrap(),
        _ => panic!("no role {role}"),
    }
}

async fn bench(effort: Effort) {
    println!("exchange: {} rounds of {} s; median [min..max]", effort.rounds, effort.secs);
    let folder = measure::folder();
    measure::print_machine(&folder);
    let systems = Systems::start(tempfile::tempdir_in(&folder).unwrap()).await;
    if let Some(name) = measure::value("--threads") {
        let callers = measure::value("--callers").and_then(|text| text.parse().ok()).unwrap_or(1);
        return threads::print(&systems, &name, callers, effort.duration()).await;
    }
    let only = measure::value("--only").unwrap_or_else(|| "callers,stream,mix,beside".to_owned());
    for section in only.split(',') {
        match section {
            "callers" => callers(&systems, &folder, effort).await,
            "stream" => stream::print(&systems, effort).await,
            "mix" => mix::print(&systems, effort).await,
            "beside" => beside::print(&systems, effort).await,
            _ => panic!("no section {section}"),
        }
    }
}

async fn callers(systems: &Systems, folder: &Path, effort: Effort) {
    let mut report = Report::new(systems.resident());
    for callers in CALLERS {
        systems.warm_up(callers).await;
    }
    for _ in 0..effort.rounds {
        report.bare(folder);
        for callers in CALLERS {
            for number in 0..systems.len() {
                let measured = systems.measure(number, callers, effort.duration()).await;
                report.add(number, callers, measured);
            }
        }
        report.bare(folder);
    }
    report.loaded = systems.resident();
    report.handshakes = systems.handshakes().await;
    report.print(&systems.names());
}

/// At once.
pub const CALLERS: [usize; 4] = [1, 16, 64, 256];
