//! What streams may take of a node: memory while nobody reads, and of the disk all but the last.

use std::path::Path;

use peabiru_integration_tests::disk::LimitedDisk;
use peabiru_integration_tests::echo::wire::{FollowRequest, SayRequest};
use peabiru_integration_tests::federation::Federation;
use peabiru_integration_tests::process::Spawned;
use peabiru_node::node::Environment;
use peabiru_proto::fault::{Fault, FaultCode, Place};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_take_no_more_memory_than_is_theirs() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let program = Path::new(env!("CARGO_BIN_EXE_peabiru-spawned"));
    let (mitic, mec) = (mitic.stop().await, mec.stop().await);
    let nodes = [Spawned::start(mec, program).await, Spawned::start(mitic, program).await];
    let mut unread = Vec::new();
    for _ in 0..STREAMS {
        let request = FollowRequest { count: 10_000, bytes: 60_000, fail_with: 0 };
        unread.push(nodes[1].caller("MEC").follow(request).await.unwrap().into_inner());
    }
    // Nothing more is made for a while: every window on the way is full.
    let mut caller = nodes[1].caller("MEC");
    let mut made = nodes[0].agency.echo.made();
    let full = async {
        loop {
            for _ in 0..50 {
                caller.say(SayRequest::default()).await.unwrap();
            }
            match nodes[0].agency.echo.made() {
                now if now == made => return,
                now => made = now,
            }
        }
    };
    tokio::time::timeout(LONG, full).await.expect("the services stop");
    assert!(made < STREAMS * 400, "{made} answers of 60 kB were made for readers that read none");
    for node in &nodes {
        let mebibytes = node.most_resident_kibibytes() / 1024;
        assert!(mebibytes < MEMORY_MEBIBYTES_MAX, "{} took {mebibytes} MiB", node.agency.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_before_the_disk_is_full_and_whole_messages_go_on() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let disk = LimitedDisk::roomy();
    let environment = Environment { disk: std::sync::Arc::new(disk.clone()), ..Environment::default() };
    let (mitic, mec) = (mitic.start().await, mec.start_in(&environment).await);
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let request = FollowRequest { count: u32::MAX, bytes: 60_000, fail_with: 0 };
    let mut answers = caller.follow(request).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    disk.leave(LAST_BYTES);
    let end = async {
        loop {
            if let Err(status) = answers.message().await {
                return Fault::from_grpc_details(status.details()).unwrap();
            }
        }
    };
    let fault = tokio::time::timeout(LONG, end).await.expect("the stream ends");
    assert_eq!((fault.code, fault.place), (FaultCode::NodeDiskFull, Place::ProviderNode), "{fault}");
    let refused = caller.follow(request).await.map(tonic::Response::into_inner);
    let refused = match refused {
        Ok(mut answers) => answers.message().await.unwrap_err(),
        Err(status) => status,
    };
    let refused = Fault::from_grpc_details(refused.details()).unwrap();
    assert_eq!(refused.code, FaultCode::NodeDiskFull, "and none begins: {refused}");
    caller.say(SayRequest::default()).await.expect("the last of the disk is for whole messages");
}

/// At once.
const STREAMS: u32 = 16;
/// A node at rest, its memory budget for what came, and as much for all else: batches on their way out, windows, commits.
const MEMORY_MEBIBYTES_MAX: u64 = 192;
/// Less than streams leave to others, more than a node needs.
const LAST_BYTES: u64 = 128 * 1024 * 1024;
/// Of everything that happens at once unless it does not happen.
const LONG: std::time::Duration = std::time::Duration::from_secs(90);
