//! REST calls as X-Road's clients write them, through two nodes to an ordinary HTTP service.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use peabiru_integration_tests::federation::{Federation, Member, grant_of};
use peabiru_integration_tests::web::{Web, call};
use peabiru_proto::wire::ListEntriesRequest;

/// Two members; the service of the second is at `/base` of its server, and the first may do what `methods` say.
async fn schools(federation: &mut Federation, methods: &[&str]) -> (Member, Member, Web) {
    let web = Web::default();
    let url = format!("http://{}/base", web.start().await);
    let mitic = federation.enrol("MITIC").await;
    let mec = federation.enrol_web("MEC", &url).await;
    let (mitic, mec) = (mitic.start().await, mec.start().await);
    let service = "PY/GOV/MEC/app/schools".parse().unwrap();
    grant_of(&mut mec.admin().await, &service, "MITIC", &["testing"], methods).await;
    (mitic, mec, web)
}

fn request(verb: &str, target: &str, token: &str) -> http::request::Builder {
    Request::builder()
        .method(verb)
        .uri(target)
        .header("host", "door")
        .header("x-road-client", "PY/GOV/MITIC/app")
        .header("x-peabiru-token", token)
}

async fn ask(member: &Member, verb: &str, path: &str) -> Response<Bytes> {
    let target = format!("/r1/PY/GOV/MEC/app/{path}");
    let request = request(verb, &target, &member.agency.token).body(Full::default()).unwrap();
    call(member.node.door.unwrap(), request).await
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_reaches_the_service_and_its_answer_is_x_roads() {
    let mut federation = Federation::start().await;
    let (mitic, mec, web) = schools(&mut federation, &[]).await;
    let answer = ask(&mitic, "GET", "schools/schools/7?fields=a%20b&x=1").await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(answer.body(), "GET /base/schools/7?fields=a%20b&x=1 ");
    assert_eq!(header(&answer, "x-road-client"), "PY/GOV/MITIC/app");
    assert_eq!(header(&answer, "x-road-service"), "PY/GOV/MEC/app/schools");
    assert!(header(&answer, "x-road-id").starts_with("PY-"), "{answer:?}");
    assert_eq!(header(&answer, "x-road-request-id").len(), 36);
    let seen = web.seen().remove(0);
    assert_eq!(seen.headers["x-road-client"], "PY/GOV/MITIC/app");
    assert_eq!(seen.headers["x-road-id"], header(&answer, "x-road-id"));
    assert_eq!(seen.headers["x-road-request-id"], header(&answer, "x-road-request-id"));
    assert!(!seen.headers.contains_key("x-peabiru-token"));
    let listed = ListEntriesRequest { member: "PY/GOV/MEC".to_owned(), ..ListEntriesRequest::default() };
    let entries = mec.admin().await.list_entries(listed).await.unwrap().into_inner().entries;
    assert!(entries.len() >= 3, "grant, RECEIVED and RESPONSE are sealed: {entries:?}");
    mitic.stop().await;
    mec.stop().await;
}
