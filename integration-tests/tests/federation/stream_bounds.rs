//! What streams may take of a node's disk: all but the last.

use std::sync::Arc;
use std::time::Duration;

use peabiru_integration_tests::disk::LimitedDisk;
use peabiru_integration_tests::echo::wire::{FollowRequest, GatherRequest, SayRequest};
use peabiru_integration_tests::federation::{Federation, Member};
use peabiru_node::node::Environment;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_before_the_disk_is_full_and_whole_messages_go_on() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let disk = LimitedDisk::roomy();
    let environment = Environment { disk: Arc::new(disk.clone()), ..Environment::default() };
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

/// Whichever node has too little, and whichever way the stream goes: both sides keep both. Of a write nobody knows then what
/// was done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_node_ends_a_stream_of_either_way_before_its_disk_is_full() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let disks = [LimitedDisk::roomy(), LimitedDisk::roomy()];
    let on = |disk: &LimitedDisk| Environment { disk: Arc::new(disk.clone()), ..Environment::default() };
    let (mitic, mec) = (mitic.start_in(&on(&disks[0])).await, mec.start_in(&on(&disks[1])).await);
    mec.grant("MITIC").await;
    for (disk, place) in [(&disks[0], Place::ConsumerNode), (&disks[1], Place::ProviderNode)] {
        let mut caller = mitic.caller("MEC").await;
        let request = FollowRequest { count: u32::MAX, bytes: 60_000, fail_with: 0 };
        let mut answers = caller.follow(request).await.unwrap().into_inner();
        assert!(answers.message().await.unwrap().is_some());
        disk.leave(LAST_BYTES);
        let end = async {
            loop {
                if let Err(status) = answers.message().await {
                    return status;
                }
            }
        };
        let status = tokio::time::timeout(LONG, end).await.expect("the answers end");
        assert_eq!(fault(&status), (FaultCode::NodeDiskFull, place), "{status:?}");
        disk.make_room();
        let (requests, stream) = tokio::sync::mpsc::channel(1);
        let call = tokio::spawn(async move { caller.gather(ReceiverStream::new(stream)).await });
        let gather = || GatherRequest { body: vec![7; 60_000].into() };
        requests.send(gather()).await.unwrap();
        let mut gathered = mec.agency.echo.gathered();
        gathered.wait_for(|gathered| !gathered.is_empty()).await.unwrap();
        disk.leave(LAST_BYTES);
        let end = async {
            while requests.send(gather()).await.is_ok() {}
            call.await.unwrap().unwrap_err()
        };
        // The service has heard some of it.
        let status = tokio::time::timeout(LONG, end).await.expect("the requests end");
        assert_eq!(fault(&status), (FaultCode::ExchangeOutcomeUnknown, place), "{status:?}");
        disk.make_room();
        caller_goes_on(&mitic).await;
    }
    mitic.stop().await;
    mec.stop().await;
}

async fn caller_goes_on(mitic: &Member) {
    let mut caller = mitic.caller("MEC").await;
    let request = FollowRequest { count: 1, bytes: 1, fail_with: 0 };
    let mut answers = caller.follow(request).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some(), "with room again");
}

fn fault(status: &Status) -> (FaultCode, Place) {
    let fault = Fault::from_grpc_details(status.details()).unwrap_or_else(|| panic!("{status:?}"));
    (fault.code, fault.place)
}

/// Less than streams leave to others, more than a node needs.
const LAST_BYTES: u64 = 128 * 1024 * 1024;
/// Of everything that happens at once unless it does not happen.
const LONG: Duration = Duration::from_secs(30);
