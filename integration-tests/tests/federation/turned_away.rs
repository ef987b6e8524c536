//! A snapshot that no longer vouches for a peer closes the connections with it at once, idle or not, on both carriers.

use std::time::Duration;

use peabiru_certs::pem::read_certificate;
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Agency, Federation, Member};
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::hash::Digest;
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::{
    AddAuthorityRequest, CertificateAuthority, KeyPurpose, RemoveNodeCertificateRequest,
    WithdrawAuthorityRequest,
};
use tokio::net::TcpListener;
use tonic::Status;

const CARRIERS: [&str; 2] = [r#"["quic"]"#, r#"["http2"]"#];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed_when_its_certificate_is_withdrawn() {
    for carriers in CARRIERS {
        let mut federation = Federation::start().await;
        let (mitic, mec) = connected(&mut federation, carriers).await;
        withdraw_certificate(&mut federation, &mec.agency).await;
        // Nobody calls: the snapshot alone does it.
        no_peers(&mitic).await;
        no_peers(&mec).await;
        let refused = fault(&mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap_err());
        assert_eq!(refused.code, FaultCode::NodeUnreachable);
        assert!(refused.message.contains("is not registered"), "{carriers}: {}", refused.message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_under_way_ends_with_its_connection_and_says_why() {
    for carriers in CARRIERS {
        // The provider's certificate goes, then the caller's own: in turn either side closes.
        for withdrawn in ["MEC", "MITIC"] {
            let mut federation = Federation::start().await;
            let (mitic, mec) = connected(&mut federation, carriers).await;
            let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mec = asks(mec, &silent).await;
            let mut caller = mitic.caller("MEC").await;
            let call = tokio::spawn(async move { caller.say(SayRequest::default()).await });
            // The service has the call, and will never answer.
            let (_taken, _) = silent.accept().await.unwrap();
            let of = if withdrawn == "MEC" { &mec } else { &mitic };
            withdraw_certificate(&mut federation, &of.agency).await;
            let ended = tokio::time::timeout(WAIT, call).await.expect("it does not wait for its deadline");
            let fault = fault(&ended.unwrap().unwrap_err());
            assert_eq!(fault.code, FaultCode::ExchangeOutcomeUnknown, "{carriers}, {withdrawn}: {fault}");
            assert!(fault.message.contains("not registered"), "{carriers}, {withdrawn}: {fault}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_end_with_the_authority_that_vouched_for_them() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = connected(&mut federation, r#"["quic", "http2"]"#).await;
    let other = PilotCa::create(&"PY".parse().unwrap(), SystemClock.now()).unwrap();
    let authority = CertificateAuthority {
        certificate: other.certificate().to_vec().into(),
        purposes: [KeyPurpose::Authentication, KeyPurpose::Sealing, KeyPurpose::Operator]
            .map(Into::into)
            .to_vec(),
        name: "Otra".to_owned(),
    };
    let request = AddAuthorityRequest { authority: Some(authority) };
    let added = federation.officers.security.add_authority(request).await.unwrap().into_inner();
    federation.officers.approve_of_security(added.proposal).await.unwrap();
    let own = read_certificate(&federation.instance.ca_certificate).unwrap();
    let request =
        WithdrawAuthorityRequest { certificate_sha256: Digest::of(&own).as_bytes().to_vec().into() };
    let withdrawn = federation.officers.security.withdraw_authority(request).await.unwrap().into_inner();
    federation.officers.approve_of_security(withdrawn.proposal).await.unwrap();
    no_peers(&mitic).await;
    no_peers(&mec).await;
    let refused = mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap_err();
    assert!(
        fault(&refused).message.contains("no authority that the global configuration trusts"),
        "{refused:?}"
    );
}

/// Two members, after a call of one to the other.
async fn connected(federation: &mut Federation, carriers: &str) -> (Member, Member) {
    let mec = federation.enrol("MEC").await.with_carriers(carriers);
    let mitic = federation.enrol("MITIC").await.with_carriers(carriers);
    let (mec, mitic) = (mec.start().await, mitic.start().await);
    mec.grant("MITIC").await;
    mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap();
    assert_eq!(mitic.status().await.peers.len(), 1);
    (mitic, mec)
}

/// The same member with a service that listens and says nothing.
async fn asks(member: Member, silent: &TcpListener) -> Member {
    let agency = member.stop().await;
    let config = std::fs::read_to_string(agency.site.config()).unwrap();
    let (from, to) = (agency.service.to_string(), silent.local_addr().unwrap().to_string());
    std::fs::write(agency.site.config(), config.replace(&from, &to)).unwrap();
    agency.start().await
}

async fn withdraw_certificate(federation: &mut Federation, agency: &Agency) {
    let certificate = read_certificate(&agency.site.folder.join("keys/authentication.crt")).unwrap();
    let request = RemoveNodeCertificateRequest {
        node: agency.site.node.to_string(),
        certificate_sha256: Digest::of(&certificate).as_bytes().to_vec().into(),
    };
    let removed = federation.officers.registration.remove_node_certificate(request).await.unwrap();
    federation.officers.approve(removed.into_inner().proposal).await.unwrap();
}

async fn no_peers(member: &Member) {
    let closed = async {
        while !member.status().await.peers.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, closed).await.expect("the connection is closed");
}

fn fault(status: &Status) -> Fault {
    Fault::from_grpc_details(status.details()).unwrap_or_else(|| panic!("{status:?}"))
}

/// Nodes of the tests ask for news each second.
const WAIT: Duration = Duration::from_secs(30);
