//! Two certificates for one purpose: the node changes over from one to the other while it works.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use peabiru_certs::peer::{TlsIdentity, pinning_client};
use peabiru_certs::pem::read_certificate;
use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Agency, Federation, Member};
use peabiru_proto::hash::Digest;
use peabiru_proto::wire::{AddNodeCertificateRequest, ListMembersRequest, RemoveNodeCertificateRequest};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::raw_door::issue;

fn edit(agency: &Agency, from: &str, to: &str) {
    let text = fs::read_to_string(agency.site.config()).unwrap();
    assert!(text.contains(from), "no `{from}` in {text}");
    fs::write(agency.site.config(), text.replace(from, to)).unwrap();
}

async fn hears(member: &Member, version: u64) {
    while member.status().await.globalconf_version < version {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authentication_certificate_is_changed_over_and_the_old_one_withdrawn() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    mitic.grant("MEC").await;
    let (mut asking, mut asked) = (mitic.caller("MEC").await, mec.caller("MITIC").await);
    asking.say(SayRequest::default()).await.unwrap();
    let new = issue(&federation, &mitic.agency, "next");
    let config = fs::read_to_string(mitic.agency.site.config()).unwrap();
    edit(&mitic.agency, "keys/authentication.", "keys/next.");

    // Nobody knows it yet.
    let refused = mitic.node.reload().await.unwrap_err();
    assert_eq!(refused.code(), "node.certificate_unregistered");
    assert!(refused.to_string().contains("keys/next.crt"), "{refused}");
    let request =
        AddNodeCertificateRequest { node: mitic.agency.site.node.to_string(), certificate: new.clone() };
    let added = federation.officers.registration.add_node_certificate(request).await.unwrap().into_inner();
    federation.officers.approve(added.proposal).await.unwrap();
    let listed = federation.officers.security.list_members(ListMembersRequest {}).await.unwrap();
    let version = listed.into_inner().globalconf_version;
    hears(&mitic, version).await;
    hears(&mec, version).await;

    // The key of another one does not fit, and everything stays.
    fs::write(mitic.agency.site.config(), config.replace("authentication.crt", "next.crt")).unwrap();
    assert!(mitic.node.reload().await.is_err());
    asking.say(SayRequest::default()).await.unwrap();
    fs::write(mitic.agency.site.config(), &config).unwrap();
    edit(&mitic.agency, "keys/authentication.", "keys/next.");
    let since = mec.status().await.peers;
    let changes = mitic.node.reload().await.unwrap();
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert_eq!(changes[2].after, Some(Digest::of(&new).to_string()));
    asking.say(SayRequest::default()).await.unwrap();
    assert_eq!(mec.status().await.peers, since, "the live connection goes on");

    // Without the old one, only connections with the new one are let in, whoever dials.
    let old = read_certificate(&mitic.agency.site.folder.join("keys/authentication.crt"));
    let certificate_sha256 = Digest::of(&old.unwrap()).as_bytes().to_vec().into();
    let request =
        RemoveNodeCertificateRequest { node: mitic.agency.site.node.to_string(), certificate_sha256 };
    let removed =
        federation.officers.registration.remove_node_certificate(request).await.unwrap().into_inner();
    federation.officers.approve(removed.proposal).await.unwrap();
    let listed = federation.officers.security.list_members(ListMembersRequest {}).await.unwrap();
    hears(&mec, listed.into_inner().globalconf_version).await;
    for caller in [&mut asking, &mut asked] {
        let until = tokio::time::Instant::now() + Duration::from_secs(30);
        while let Err(status) = caller.say(SayRequest::default()).await {
            assert!(tokio::time::Instant::now() < until, "{status:?}");
            tokio::task::yield_now().await;
        }
    }
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doors_certificate_is_changed_over_and_a_live_connection_goes_on() {
    let mut federation = Federation::start().await;
    let mitic = federation.enrol("MITIC").await;
    let (first, second) = (issue(&federation, &mitic, "door"), issue(&federation, &mitic, "next-door"));
    let tls = "[door]\ntls_certificate = \"keys/door.crt\"\ntls_key = \"keys/door.key\"\n";
    edit(&mitic, "[door]\n", tls);
    let mitic = mitic.start().await;
    let mut live = connect(&mitic, &first).await.expect("the first one is shown");
    edit(&mitic.agency, "keys/door.", "keys/next-door.");
    mitic.node.reload().await.unwrap();
    assert!(connect(&mitic, &first).await.is_err(), "a new connection is shown the second one");
    connect(&mitic, &second).await.unwrap();
    let request = Request::get("/listClients").header("host", "door").body(String::new()).unwrap();
    let answer = live.send_request(request).await.unwrap();
    assert!(answer.headers().contains_key("x-road-error"), "the door answers, without a token: {answer:?}");
    mitic.stop().await;
}

type Sender = hyper::client::conn::http1::SendRequest<String>;

/// Connects to the TCP door, which is to show this certificate.
async fn connect(at: &Member, certificate: &[u8]) -> std::io::Result<Sender> {
    let mut config = pinning_client(Digest::of(certificate), None::<&TlsIdentity>).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(at.node.door.unwrap()).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let handshake = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}
