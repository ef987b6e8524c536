//! How fast large bodies pass two nodes, and what memory the nodes take meanwhile.
//!
//! `cargo bench -p peabiru-integration-tests --bench large`. Both nodes are processes of their own with their defaults; the
//! application and the service are in this one. First 1 GiB there and back, in messages of 1 MiB, then 100 MiB there and
//! back, ten at once. Memory is the most that each node's process had resident since its start (`VmHWM`).
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark: it prints figures, and what fails ends it"
)]

#[allow(dead_code, reason = "one run gives no median")]
#[path = "../../ledger/benches/measure/mod.rs"]
mod measure;

use std::fs;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use peabiru_integration_tests::echo::wire::MirrorRequest;
use peabiru_integration_tests::federation::{Caller, Federation};
use peabiru_integration_tests::process::Spawned;
use tokio::task::JoinSet;

fn main() {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(bench());
}

async fn bench() {
    measure::print_machine(&measure::folder());
    let mut federation = Federation::start_in(tempfile::tempdir_in(measure::folder()).unwrap()).await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let program = Path::new(env!("CARGO_BIN_EXE_peabiru-spawned"));
    let agencies = [mitic.stop().await, mec.stop().await];
    agencies.iter().for_each(|agency| allow_large_bodies(&agency.site.config()));
    let [mitic, mec] = agencies;
    let nodes = [Spawned::start(mitic, program).await, Spawned::start(mec, program).await];
    println!("bodies there and back | MB/s each way | consumer's node, MiB | provider's node, MiB");
    println!("at rest | - | {:.0} | {:.0}", resident(&nodes[0]), resident(&nodes[1]));
    for (at_once, messages) in [(1, 1024), (10, 100)] {
        let started = Instant::now();
        let mut calls = JoinSet::new();
        for _ in 0..at_once {
            calls.spawn(mirror(nodes[0].caller("MEC"), messages));
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
        let megabytes = (at_once * messages * MESSAGE_BYTES) as f64 / 1e6;
        println!(
            "{at_once} of {messages} MiB | {:.0} | {:.0} | {:.0}",
            megabytes / started.elapsed().as_secs_f64(),
            resident(&nodes[0]),
            resident(&nodes[1])
        );
    }
}

/// The defaults of a node, which the tests' federations cut down.
fn allow_large_bodies(config: &Path) {
    let text = fs::read_to_string(config).unwrap();
    let text = text.replace("max_body_mebibytes = 8\n", "").replace("spool_mebibytes = 32\n", "");
    fs::write(config, text).unwrap();
}

async fn mirror(mut caller: Caller, messages: usize) {
    let body = Bytes::from(vec![7; MESSAGE_BYTES]);
    let requests = (0..messages).map(move |_| MirrorRequest { body: body.clone() });
    let mut answers = caller.mirror(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut came = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        came += answer.body.len();
    }
    assert_eq!(came, messages * MESSAGE_BYTES);
}

/// Most that a node's process had in memory, in MiB.
fn resident(node: &Spawned) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

const MESSAGE_BYTES: usize = 1024 * 1024;
