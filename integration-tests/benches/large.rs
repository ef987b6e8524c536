//! How fast large bodies pass two nodes, and what memory the nodes take meanwhile.
//!
//! `cargo bench -p peabiru-integration-tests --bench large -- [--at-once 10] [--mebibytes 1024]`. Both nodes are processes of
//! their own with their defaults; the application and the service are in this one. Bodies go there, then back, in messages
//! of 1 MiB: without arguments one of 1 GiB, then ten of 100 MiB at once. Memory is the most that each node's process had
//! resident meanwhile (`VmHWM`, which is reset before). The nodes keep all of it: twice the bytes on the disk, each way.
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
use peabiru_integration_tests::echo::MESSAGE_BYTES_MAX;
use peabiru_integration_tests::echo::wire::{CollectRequest, WatchRequest};
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
    println!("bodies | way | MB/s | consumer's node, MiB | provider's node, MiB");
    println!("none | at rest | - | {:.0} | {:.0}", most_resident(&nodes[0]), most_resident(&nodes[1]));
    let given = |flag| measure::value(flag).and_then(|text| text.parse::<usize>().ok());
    let asked = given("--at-once").zip(given("--mebibytes"));
    for (at_once, messages) in asked.map_or(vec![(1, 1024), (10, 100)], |asked| vec![asked]) {
        for way in [Way::There, Way::Back] {
            nodes.iter().for_each(Spawned::forget_most_resident);
            let started = Instant::now();
            let mut calls = JoinSet::new();
            for _ in 0..at_once {
                calls.spawn(
                    way.call(nodes[0].caller("MEC").max_decoding_message_size(MESSAGE_BYTES_MAX), messages),
                );
            }
            while let Some(call) = calls.join_next().await {
                call.unwrap();
            }
            let rate = (at_once * messages * MESSAGE_BYTES) as f64 / 1e6 / started.elapsed().as_secs_f64();
            let [consumer, provider] = nodes.each_ref().map(most_resident);
            println!("{at_once} of {messages} MiB | {way:?} | {rate:.0} | {consumer:.0} | {provider:.0}");
        }
    }
}

/// Which way the bodies go.
#[derive(Debug, Clone, Copy)]
enum Way {
    There,
    Back,
}

impl Way {
    async fn call(self, mut caller: Caller, messages: usize) {
        let came = match self {
            Self::There => {
                let body = Bytes::from(vec![7; MESSAGE_BYTES]);
                let requests = (0..messages).map(move |_| CollectRequest { body: body.clone() });
                let answer = caller.collect(tokio_stream::iter(requests)).await.unwrap().into_inner();
                usize::try_from(answer.bytes).unwrap()
            }
            Self::Back => {
                let count = u32::try_from(messages).unwrap();
                let bytes = u32::try_from(MESSAGE_BYTES).unwrap();
                let request = WatchRequest { count, bytes, ..WatchRequest::default() };
                let mut answers = caller.watch(request).await.unwrap().into_inner();
                let mut came = 0;
                while let Some(answer) = answers.message().await.unwrap() {
                    came += answer.body.len();
                }
                came
            }
        };
        assert_eq!(came, messages * MESSAGE_BYTES);
    }
}

/// The defaults of a node, which the tests' federations cut down.
fn allow_large_bodies(config: &Path) {
    let text = fs::read_to_string(config).unwrap();
    let text = text.replace("max_body_mebibytes = 8\n", "").replace("spool_mebibytes = 32\n", "");
    fs::write(config, text).unwrap();
}

/// In MiB.
fn most_resident(node: &Spawned) -> f64 {
    node.most_resident_kibibytes() as f64 / 1024.0
}

const MESSAGE_BYTES: usize = 1024 * 1024;
