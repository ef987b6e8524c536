//! Several nodes of one member, several members on one node: calls are spread, a killed node is noticed, and nobody is
//! told more than is known.

use std::path::Path;

use peabiru_cli::client::NodeClient;
use peabiru_integration_tests::echo::wire::{FollowRequest, NoteRequest, SayRequest};
use peabiru_integration_tests::evidence::exchange_of;
use peabiru_integration_tests::federation::{Federation, PASSPHRASE, grant_at, grant_of, service};
use peabiru_integration_tests::process::{Spawned, run};
use peabiru_proto::entry::{Body, Entry};
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::id::NodeId;
use peabiru_proto::wire::{
    GetStatusRequest, Grant, GrantState, ListEntriesRequest, ListGrantsRequest, PutGrantRequest,
    RevokeGrantRequest,
};
use tokio::net::TcpListener;
use tonic::Status;

const PROGRAM: &str = env!("CARGO_BIN_EXE_peabiru-spawned");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_spread_over_a_members_nodes_and_reads_go_on_when_one_is_killed() {
    let mut federation = Federation::start().await;
    let mec = federation.enrol("MEC").await;
    let second = federation.second_node(&mec).await;
    let mitic = federation.enrol("MITIC").await;
    let program = Path::new(PROGRAM);
    let mut nodes = [Spawned::start(mec, program).await, Spawned::start(second, program).await];
    let mitic = mitic.start().await;
    grant_at(&mut nodes[0].admin().await, "MEC", "MITIC", &["testing"], &[]).await;
    let from = nodes[0].agency.site.admin_socket().display().to_string();
    let share = ["grant", "share", "--member", "PY/GOV/MEC", "--admin-socket", &from, "--to"];
    let shared = run(PROGRAM, PASSPHRASE, &share, &nodes[1].agency.site.admin_socket()).await;
    assert!(shared.code == Some(0) && shared.stdout.contains("1 grants"), "{shared:?}");

    let mut caller = mitic.caller("MEC").await;
    for _ in 0..20 {
        caller.say(SayRequest { body: "?".into(), ..SayRequest::default() }).await.unwrap();
    }
    for node in &nodes {
        let status = node.admin().await.get_status(GetStatusRequest {}).await.unwrap().into_inner();
        let answered = status.counters.unwrap().exchanges_answered;
        // However slow it may seem, each tenth call measures it anew.
        assert!(answered >= 2, "{} answered {answered} of 20", status.node);
    }

    nodes[0].kill().await;
    for _ in 0..12 {
        caller.say(SayRequest { body: "?".into(), ..SayRequest::default() }).await.expect("a read goes on");
    }
    let (first, then) = retried(&mut mitic.admin().await).await;
    assert_eq!([first, then], nodes.each_ref().map(|node| node.agency.site.node.clone()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_in_flight_to_a_killed_node_is_not_repeated_and_status_tells_what_is_known() {
    let mut federation = Federation::start().await;
    let mec = federation.enrol("MEC").await;
    let second = federation.second_node(&mec).await;
    let mitic = federation.enrol("MITIC").await;
    // The first node's service takes what it is asked, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = std::fs::read_to_string(mec.site.config()).unwrap();
    let (from, to) = (mec.service.to_string(), silent.local_addr().unwrap().to_string());
    std::fs::write(mec.site.config(), config.replace(&from, &to)).unwrap();
    let mut node = Spawned::start(mec, Path::new(PROGRAM)).await;
    let mitic = mitic.start().await;
    grant_at(&mut node.admin().await, "MEC", "MITIC", &["testing"], &[]).await;

    // Only the first node runs: that one is asked.
    let mut caller = mitic.caller("MEC").await;
    let call = tokio::spawn(async move { caller.note(NoteRequest { text: "once".to_owned() }).await });
    let _taken = silent.accept().await.unwrap();
    let second = second.start().await;
    second.grant("MITIC").await;
    node.kill().await;
    let refused = call.await.unwrap().expect_err("nobody knows what became of it");
    let fault = Fault::from_grpc_details(refused.details()).unwrap();
    assert_eq!(fault.code, FaultCode::ExchangeOutcomeUnknown, "{fault}");
    assert!(second.agency.echo.noted().is_empty(), "the other node was not asked to do it again");
    let exchange = fault.exchange.unwrap().to_string();
    assert_eq!(status(&mitic.node.admin_socket, &exchange).await, "not known", "the node is down");
    node.relaunch().await;
    assert_eq!(status(&mitic.node.admin_socket, &exchange).await, "received", "its ledger has it");

    // One that was answered is known at once.
    let mut caller = mitic.caller("MEC").await;
    let answer = loop {
        if let Ok(answer) = caller.say(SayRequest { body: "?".into(), ..SayRequest::default() }).await {
            break answer;
        }
    };
    let exchange = exchange_of(answer.metadata());
    assert_eq!(status(&mitic.node.admin_socket, &exchange).await, "answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_hosts_two_members_each_with_its_own_ledger() {
    let mut federation = Federation::start().await;
    let mec = federation.enrol("MEC").await;
    federation.host(&mec, "INE").await;
    let mitic = federation.enrol("MITIC").await;
    let (mec, mitic) = (mec.start().await, mitic.start().await);
    let mut admin = mec.admin().await;
    grant_of(&mut admin, &service("INE"), "MITIC", &["testing"], &[]).await;
    grant_of(&mut admin, &service("MEC"), "INE", &["testing"], &[]).await;
    mitic.grant("INE").await;
    let say = || SayRequest { body: "?".into(), ..SayRequest::default() };
    mitic.caller("INE").await.say(say()).await.expect("MITIC asks INE at MEC's node");
    let refused = mitic.caller("MEC").await.say(say()).await.expect_err("a grant of INE is none of MEC");
    assert_eq!(Fault::from_grpc_details(refused.details()).unwrap().code, FaultCode::AccessNoGrant);
    for provider in ["MITIC", "MEC"] {
        let service = service(provider).to_string();
        let headers = [
            ("x-peabiru-token", "token of INE"),
            ("x-peabiru-purpose", "testing"),
            ("x-road-service", &service),
        ];
        mec.caller_with(&headers).await.say(say()).await.expect("INE asks at the node that hosts it");
    }
    let sizes = mec.status().await.ledgers;
    assert_eq!(sizes.len(), 2);
    assert!(sizes.iter().all(|ledger| ledger.tree_size > 0), "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_shared_with_its_revision_and_an_older_one_changes_nothing() {
    let mut federation = Federation::start().await;
    let mec = federation.enrol("MEC").await;
    let second = federation.second_node(&mec).await;
    federation.enrol("MITIC").await;
    let (mec, second) = (mec.start().await, second.start().await);
    mec.grant("MITIC").await;
    let (mut here, mut there) = (mec.admin().await, second.admin().await);
    let given = grants(&mut here).await.remove(0);
    for _ in 0..2 {
        put(&mut there, given.clone()).await.expect("also twice");
    }
    assert_eq!(grants(&mut there).await, std::slice::from_ref(&given));
    let revoke = RevokeGrantRequest { id: given.id.clone(), member: "PY/GOV/MEC".to_owned() };
    here.revoke_grant(revoke).await.unwrap();
    let revoked = grants(&mut here).await.remove(0);
    assert_eq!((revoked.revision, revoked.state()), (2, GrantState::Revoked));
    put(&mut there, revoked.clone()).await.unwrap();
    assert_eq!(grants(&mut there).await, std::slice::from_ref(&revoked));
    let other = Grant { legal_basis: "another".to_owned(), ..revoked.clone() };
    for stale in [given, other] {
        let refused = put(&mut there, stale).await.unwrap_err();
        let fault = Fault::from_grpc_details(refused.details()).unwrap();
        assert_eq!(fault.code, FaultCode::RequestInvalid, "{fault}");
        assert!(fault.message.contains("revision 2"), "{fault}");
    }
    assert_eq!(grants(&mut there).await, [revoked]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_begins_at_another_node_if_the_first_cannot_be_reached() {
    let mut federation = Federation::start().await;
    let mec = federation.enrol("MEC").await;
    let second = federation.second_node(&mec).await;
    let mitic = federation.enrol("MITIC").await;
    // The first node is never started.
    let (second, mitic) = (second.start().await, mitic.start().await);
    second.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    // Who was never asked comes before who was: each is asked once.
    for _ in 0..2 {
        let request = FollowRequest { count: 3, bytes: 1, ..FollowRequest::default() };
        let followed = caller.follow(request).await.expect("a stream begins");
        let exchange = exchange_of(followed.metadata());
        let mut answers = followed.into_inner();
        let mut came = 0;
        while answers.message().await.expect("it goes on").is_some() {
            came += 1;
        }
        assert_eq!(came, 3);
        assert_eq!(status(&mitic.node.admin_socket, &exchange).await, "answered");
    }
    let (first, then) = retried(&mut mitic.admin().await).await;
    assert_eq!([first, then], [mec.site.node.clone(), second.agency.site.node.clone()]);
}

/// Whom a request was for that was asked again, and whom its retry was for.
async fn retried(asking: &mut NodeClient) -> (NodeId, NodeId) {
    let request = ListEntriesRequest { limit: 1000, ..ListEntriesRequest::default() };
    let listed = asking.list_entries(request).await.unwrap().into_inner().entries;
    let entries: Vec<_> = listed.into_iter().map(|it| Entry::decode(it.entry).unwrap()).collect();
    let asked = |entry: &Entry| match entry.body() {
        Body::Request(request) => Some((request.addressee.clone(), request.retry_of)),
        _ => None,
    };
    let retry = entries.iter().filter_map(asked).find_map(|(to, retry_of)| Some((retry_of?, to)));
    let (first, then) = retry.expect("one request was a retry");
    let first = entries.iter().find(|entry| entry.leaf_hash() == first);
    let (first, _) = first.and_then(asked).expect("it names a request of this ledger");
    (first, then)
}

async fn grants(node: &mut NodeClient) -> Vec<Grant> {
    node.list_grants(ListGrantsRequest {}).await.unwrap().into_inner().grants
}

async fn put(node: &mut NodeClient, grant: Grant) -> Result<(), Status> {
    node.put_grant(PutGrantRequest { grant: Some(grant) }).await.map(drop)
}

async fn status(socket: &Path, exchange: &str) -> String {
    let words = ["exchange", "status", exchange, "--output", "json", "--admin-socket"];
    let ended = run(PROGRAM, PASSPHRASE, &words, socket).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    told["state"].as_str().unwrap().to_owned()
}
