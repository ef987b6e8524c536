//! A ledger goes over to another sealing key.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_certs::SecretKey;
use peabiru_certs::key::Algorithm;
use peabiru_certs::pem::{read_certificate, write_certificate};
use peabiru_certs::profile::Subject;
use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::evidence::{self, exchange_of};
use peabiru_integration_tests::federation::{Agency, Caller, Federation, Member, ledger_folder, passphrase};
use peabiru_ledger::disk::{Disk, RealDisk};
use peabiru_ledger::evidence::{Outcome, verify};
use peabiru_ledger::verify::verify_folder;
use peabiru_node::config::Config;
use peabiru_node::node::{Environment, Running};
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::hash::Digest;
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::{
    AddLedgerCertificateRequest, ListMembersRequest, Proposal, RemoveLedgerCertificateRequest,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Makes the next sealing key of the agency's ledger, with its certificate, in the node's folder.
fn issue(federation: &Federation, agency: &Agency, name: &str) -> Bytes {
    let key = SecretKey::generate(Algorithm::Ed25519);
    let subject = Subject::Sealing { origin: agency.site.origin.clone(), member: agency.site.member.clone() };
    // The authority dates it back by a minute: it holds from the next second on, so not when earlier entries were made.
    let from = SystemClock.now().plus(Duration::from_secs(61));
    let certificate = federation.ca.issue_for_key(&key, subject, from).unwrap();
    let keys = agency.site.folder.join("keys");
    key.write_encrypted(&keys.join(format!("{name}.key")), &passphrase()).unwrap();
    write_certificate(&keys.join(format!("{name}.crt")), &certificate).unwrap();
    certificate
}

fn config(agency: &Agency) -> String {
    fs::read_to_string(agency.site.config()).unwrap()
}

fn write_config(agency: &Agency, text: &str) {
    assert_ne!(text, config(agency), "something changes");
    fs::write(agency.site.config(), text).unwrap();
}

/// Has another officer approve, and waits until both nodes have heard.
async fn approved(federation: &mut Federation, proposal: Option<Proposal>, nodes: [&Member; 2]) {
    federation.officers.approve(proposal).await.unwrap();
    let listed = federation.officers.security.list_members(ListMembersRequest {}).await.unwrap();
    let version = listed.into_inner().globalconf_version;
    for node in nodes {
        while node.status().await.globalconf_version < version {
            tokio::task::yield_now().await;
        }
    }
}

async fn register(federation: &mut Federation, certificate: &Bytes, nodes: [&Member; 2]) {
    let origin = nodes[0].agency.site.origin.to_string();
    let request = AddLedgerCertificateRequest { origin, certificate: certificate.clone() };
    let until = Instant::now() + Duration::from_secs(30);
    let added = loop {
        match federation.officers.registration.add_ledger_certificate(request.clone()).await {
            Ok(added) => break added.into_inner(),
            // It does not hold yet.
            Err(status) => assert!(Instant::now() < until, "{status:?}"),
        }
        tokio::task::yield_now().await;
    };
    approved(federation, added.proposal, nodes).await;
}

async fn withdraw_first(federation: &mut Federation, nodes: [&Member; 2]) {
    let site = &nodes[0].agency.site;
    let old = read_certificate(&site.folder.join("keys/sealing.crt")).unwrap();
    let certificate_sha256 = Digest::of(&old).as_bytes().to_vec().into();
    let request = RemoveLedgerCertificateRequest { origin: site.origin.to_string(), certificate_sha256 };
    let removed =
        federation.officers.registration.remove_ledger_certificate(request).await.unwrap().into_inner();
    approved(federation, removed.proposal, nodes).await;
}

async fn say(caller: &mut Caller) -> String {
    exchange_of(caller.say(SayRequest::default()).await.unwrap().metadata())
}

/// Calls until it is told to stop; no call fails.
fn keep_calling(mut caller: Caller, stop: CancellationToken) -> tokio::task::JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let mut exchanges = vec![say(&mut caller).await];
        while !stop.is_cancelled() {
            exchanges.push(say(&mut caller).await);
        }
        exchanges
    })
}

async fn check_evidence(exchanges: &[String], nodes: [&Member; 2], anchor: &ConfigurationAnchor) {
    for exchange in exchanges {
        for member in nodes {
            let tar = evidence::export(&mut member.admin().await, exchange).await.unwrap();
            let report = verify(&tar, Some(anchor));
            assert_eq!((report.outcome, &report.failures[..]), (Outcome::Verified, &[][..]), "{exchange}");
            assert_eq!(report.missing, Vec::<String>::new(), "{exchange}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_goes_over_to_its_next_key_while_exchanges_pass_and_all_evidence_holds() {
    let mut federation = Federation::start().await;
    let anchor = federation.instance.anchor.clone();
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    mitic.grant("MEC").await;
    let mut asking = mitic.caller("MEC").await;
    let mut exchanges = vec![say(&mut asking).await];
    let certificate = issue(&federation, &mitic.agency, "sealing-2");
    let first = config(&mitic.agency);
    let named = "sealing_certificate = \"keys/sealing.crt\"\n";
    let next =
        "next_sealing_key = \"keys/sealing-2.key\"\nnext_sealing_certificate = \"keys/sealing-2.crt\"\n";
    write_config(&mitic.agency, &first.replace(named, &format!("{named}{next}")));

    // Nobody knows it yet: the node goes on with the key in force.
    let refused = mitic.node.reload().await.unwrap_err();
    assert_eq!(refused.code(), "node.sealing_certificate_unregistered");
    assert!(refused.to_string().contains("keys/sealing-2.crt"), "{refused}");
    exchanges.push(say(&mut asking).await);
    register(&mut federation, &certificate, [&mitic, &mec]).await;

    // It goes over while calls pass.
    let stop = CancellationToken::new();
    let calls = keep_calling(mitic.caller("MEC").await, stop.clone());
    let changes = mitic.node.reload().await.unwrap();
    let change = changes.iter().find(|change| change.key.starts_with("the sealing certificate")).unwrap();
    assert_eq!(change.after, Some(Digest::of(&certificate).to_string()));
    exchanges.push(say(&mut asking).await);
    stop.cancel();
    exchanges.extend(calls.await.unwrap());
    assert!(mitic.node.reload().await.unwrap().is_empty(), "it is done");
    write_config(&mitic.agency, &first);
    assert_eq!(mitic.node.reload().await.unwrap_err().code(), "node.sealing_key_other");
    write_config(&mitic.agency, &first.replace("keys/sealing.", "keys/sealing-2."));
    mitic.node.reload().await.unwrap();

    // Without the first one: what was sealed before holds, and what comes after does, also across a restart and on a new
    // connection with a peer that holds heads of the first key.
    withdraw_first(&mut federation, [&mitic, &mec]).await;
    exchanges.push(say(&mut asking).await);
    exchanges.push(say(&mut mec.caller("MITIC").await).await);
    let mec = mec.stop().await.start().await;
    let mitic = mitic.stop().await.start().await;
    exchanges.push(say(&mut mitic.caller("MEC").await).await);
    check_evidence(&exchanges, [&mitic, &mec], &anchor).await;

    only_its_key_opens_the_ledger(mitic.stop().await).await;
    mec.stop().await;
}

async fn only_its_key_opens_the_ledger(agency: Agency) {
    write_config(&agency, &config(&agency).replace("keys/sealing-2.", "keys/sealing."));
    let config = Arc::new(Config::load(&agency.site.config()).unwrap());
    let started = Running::start(&config, &passphrase(), &Environment::default()).await;
    let error = started.map(|_| ()).unwrap_err();
    assert_eq!(error.code(), "ledger.other_key", "{error}");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    verify_folder(&disk, &ledger_folder(&agency.site)).unwrap();
}
