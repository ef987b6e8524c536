//! Nodes behind firewalls: no UDP, and nothing that comes in.

use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Agency, Caller, Federation, Member};
use peabiru_proto::wire::PeerStatus;

async fn say(caller: &mut Caller, text: &str) -> String {
    let request = SayRequest { body: text.to_owned().into(), ..SayRequest::default() };
    String::from_utf8(caller.say(request).await.unwrap().into_inner().body.to_vec()).unwrap()
}

/// The one connection of a node.
async fn only_peer(member: &Member) -> PeerStatus {
    let [peer] = <[_; 1]>::try_from(member.status().await.peers).unwrap();
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_udp_exchanges_go_over_http2_and_operators_see_why() {
    let mut federation = Federation::start().await;
    let (mec, mitic) = (federation.enrol("MEC").await, federation.enrol("MITIC").await);
    let mitic = mitic.with_carriers(r#"["http2"]"#).start().await;
    let mec = mec.start().await;
    mec.grant("MITIC").await;
    mitic.grant("MEC").await;
    assert_eq!(say(&mut mec.caller("MITIC").await, "mba'éichapa").await, "mba'éichapa");
    assert_eq!(say(&mut mitic.caller("MEC").await, "iporã").await, "iporã");
    let (dialled, answered) = (only_peer(&mec).await, only_peer(&mitic).await);
    assert_eq!((dialled.carrier.as_str(), answered.carrier.as_str()), ("http2", "http2"));
    assert_eq!(dialled.without_quic, "no handshake within 300ms");
    assert_eq!(answered.without_quic, "the peer dialled over HTTP/2");
}

/// A provider that only dials out is called over the connection that it made, also after either side starts again.
async fn called_over_its_own_connection(carriers: &str) {
    let mut federation = Federation::start().await;
    let mec = federation.enrol("MEC").await.with_carriers(carriers);
    let mitic = federation.enrol("MITIC").await.with_carriers(carriers);
    federation.dials_out(&mitic).await;
    let (mec, mitic) = (mec.start().await, mitic.start().await);
    mitic.grant("MEC").await;
    let text = "over the connection that you made";
    assert_eq!(say(&mut mec.caller("MITIC").await, text).await, text);

    let mec = Agency::start(mec.stop().await).await;
    connected(&mec).await;
    assert_eq!(say(&mut mec.caller("MITIC").await, text).await, text, "the caller's node started again");
    let mitic = Agency::start(mitic.stop().await).await;
    connected(&mitic).await;
    assert_eq!(say(&mut mec.caller("MITIC").await, text).await, text, "the provider's node started again");
    mitic.stop().await;
}

/// Waits until the node that dials out has found the other one again.
async fn connected(member: &Member) {
    while member.status().await.peers.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_dials_out_is_called_over_its_own_connection_by_quic() {
    called_over_its_own_connection(r#"["quic"]"#).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_dials_out_is_called_over_its_own_connection_by_http2() {
    called_over_its_own_connection(r#"["http2"]"#).await;
}
