//! Clients that know nothing of the road: a host name says which service they mean, and why they call.

use std::os::unix::fs::MetadataExt as _;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::echo::wire::echo_service_client::EchoServiceClient;
use peabiru_integration_tests::federation::{Federation, Member, grant_of};
use peabiru_integration_tests::web::Web;
use peabiru_proto::fault::{Fault, FaultCode};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

/// The first member's applications are known by their user id, and name services by host.
async fn neighbours(federation: &mut Federation) -> (Member, Member, Web) {
    let web = Web::default();
    let url = format!("http://{}/base", web.start().await);
    let mec = federation.enrol_web("MEC", &url).await;
    let user = std::fs::metadata("/proc/self").unwrap().uid();
    let routes = format!(
        r#"
[[clients]]
subsystem = "PY/GOV/MITIC/app"
unix_uid = {user}

[routes."schools.mec.road"]
service = "PY/GOV/MEC/app/schools"
purpose = "testing"

[routes."Echo.MEC.road"]
service = "PY/GOV/MEC/app/road.test.v1.EchoService"
purpose = "testing"

[routes."without-purpose.road"]
service = "PY/GOV/MEC/app/road.test.v1.EchoService"
"#
    );
    let mitic = federation.enrol_with("MITIC", &routes).await;
    let (mitic, mec) = (mitic.start().await, mec.start().await);
    mec.grant("MITIC").await;
    let service = "PY/GOV/MEC/app/schools".parse().unwrap();
    grant_of(&mut mec.admin().await, &service, "MITIC", &["testing", "statistics"], &["GET /schools/*"])
        .await;
    (mitic, mec, web)
}

async fn ask(at: &Member, verb: &str, host: &str, target: &str) -> Response<Bytes> {
    let stream = UnixStream::connect(at.agency.site.folder.join("door.sock")).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(verb).uri(target).header("host", host);
    let answer = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    let (head, body) = answer.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// A stub that sends no metadata at all.
async fn stub(at: &Member, authority: &str) -> EchoServiceClient<Channel> {
    let socket = at.agency.site.folder.join("door.sock");
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).unwrap();
    EchoServiceClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stub_without_metadata_names_the_service_by_its_authority() {
    let mut federation = Federation::start().await;
    let (mitic, mec, _) = neighbours(&mut federation).await;
    for authority in ["echo.mec.road", "echo.mec.road:50051"] {
        let request = SayRequest { body: authority.to_owned().into(), ..SayRequest::default() };
        let answer = stub(&mitic, authority).await.say(request).await.unwrap().into_inner();
        assert_eq!(answer.body, authority);
    }
    assert_eq!(mec.agency.echo.consumers(), ["PY/GOV/MITIC/app"; 2]);
    // Two members offer the service: without the route nobody is meant, and without a purpose there is none.
    let nobody = stub(&mitic, "elsewhere.road").await.say(SayRequest::default()).await.unwrap_err();
    assert_eq!(
        (nobody.code(), code(&nobody)),
        (Code::InvalidArgument, FaultCode::ServiceAmbiguous),
        "{nobody:?}"
    );
    let why = stub(&mitic, "without-purpose.road").await.say(SayRequest::default()).await.unwrap_err();
    assert_eq!((why.code(), code(&why)), (Code::InvalidArgument, FaultCode::PurposeMissing), "{why:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_client_without_headers_names_the_service_by_its_host() {
    let mut federation = Federation::start().await;
    let (mitic, _mec, web) = neighbours(&mut federation).await;
    let answer = ask(&mitic, "GET", "schools.MEC.road:8080", "/schools/7?x=a%20b").await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(answer.body(), "GET /base/schools/7?x=a%20b ");
    assert_eq!(answer.headers()["x-road-service"], "PY/GOV/MEC/app/schools");
    assert_eq!(web.seen()[0].headers["x-road-client"], "PY/GOV/MITIC/app");
    // The grant and the paths are judged as ever.
    let denied = ask(&mitic, "DELETE", "schools.mec.road", "/schools/7").await;
    assert_eq!(denied.headers()["x-road-error"].to_str().unwrap(), "server.serverproxy.access_denied");
    for climbing in ["/../secrets/7", "/%2e%2e/secrets/7", "/schools/..%2fadmin"] {
        let refused = ask(&mitic, "GET", "schools.mec.road", climbing).await;
        assert!(refused.status().is_client_error() || refused.status().is_server_error(), "{refused:?}");
    }
    // X-Road's own form goes on under the same name, with its rules; a host without a route has no others.
    let named = ask(&mitic, "GET", "schools.mec.road", "/r1/PY/GOV/MEC/app/schools/schools/7").await;
    assert!(String::from_utf8_lossy(named.body()).contains("X-Road-Client is missing"), "{named:?}");
    let nowhere = ask(&mitic, "GET", "elsewhere.road", "/schools/7").await;
    assert!(String::from_utf8_lossy(nowhere.body()).contains("/r1/"), "{nowhere:?}");
    assert_eq!(web.seen().len(), 1);
}

fn code(status: &Status) -> FaultCode {
    Fault::from_grpc_details(status.details()).unwrap().code
}
