//! REST calls as X-Road's clients write them, through two nodes to an ordinary HTTP service.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use peabiru_integration_tests::federation::{Federation, Member, grant_of};
use peabiru_integration_tests::web::{Web, call};
use peabiru_proto::wire::ListEntriesRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verbs_bodies_headers_and_statuses_pass_as_in_x_road() {
    let mut federation = Federation::start().await;
    let (mitic, mec, web) = schools(&mut federation, &[]).await;
    let door = mitic.node.door.unwrap();
    let full = |text: &str| Full::from(text.to_owned());
    let delete = request("DELETE", "/r1/PY/GOV/MEC/app/schools/schools/7", &mitic.agency.token)
        .header("x-road-id", "mine")
        .header("x-road-userid", "PY123")
        .header("x-road-issue", "case 1")
        .header("accept", "a/b")
        .header("accept", "c/d")
        .header("user-agent", "curl")
        .header("authorization", "Bearer secret")
        .header("x-http-method-override", "PUT")
        .header("x-road-request-id", "not the caller's")
        .body(full("with a body"))
        .unwrap();
    let answer = call(door, delete).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "x-road-id")), (200, "mine"), "{answer:?}");
    let seen = web.seen().remove(0);
    assert_eq!((seen.verb.as_str(), seen.body.as_ref()), ("DELETE", b"with a body".as_slice()));
    assert_eq!(seen.headers.get_all("accept").iter().collect::<Vec<_>>(), ["a/b", "c/d"]);
    assert_eq!(
        (&seen.headers["x-road-userid"], &seen.headers["x-road-issue"]),
        (&"PY123".parse().unwrap(), &"case 1".parse().unwrap())
    );
    for name in ["user-agent", "authorization", "x-http-method-override"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    assert_ne!(seen.headers["x-road-request-id"], "not the caller's");
    assert_eq!(answer.headers().get_all("x-many").iter().count(), 2);
    assert_eq!(header(&answer, "content-type"), "text/x-schools");
    for name in ["server", "set-cookie", "x-road-error", "x-peabiru-fault"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    for status in [204, 302, 404, 429, 500, 503] {
        let answer = ask(&mitic, "GET", &format!("schools/status/{status}")).await;
        assert_eq!(answer.status(), status, "handed back, not followed");
        assert_eq!(header(&answer, "location"), "http://elsewhere.example/schools");
        assert!(!answer.headers().contains_key("x-road-error"), "the service said it, not the road");
    }
    let head = ask(&mitic, "HEAD", "schools/schools/7").await;
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
    let put = request("PUT", "/r1/PY/GOV/MEC/app/schools/schools/7", &mitic.agency.token);
    let answer = call(door, put.header("expect", "100-continue").body(full("{}")).unwrap()).await;
    assert_eq!(answer.body(), "PUT /base/schools/7 {}");
    assert_eq!(web.connections(), 1, "one connection serves one call after the other");
    mitic.stop().await;
    mec.stop().await;
}

/// Recomputed from what the caller and the service know (x-road.md §3.4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_request_hash_is_over_what_was_sent() {
    let mut federation = Federation::start().await;
    let (mitic, mec, _) = schools(&mut federation, &[]).await;
    let target = "/r1/PY/GOV/MEC/app/schools/schools/7?x=1";
    let sha512 =
        |bytes: &[u8]| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, bytes).as_ref().to_vec();
    // In memory, and through the spool.
    for body in ["body".to_owned(), "maitei ".repeat(500_000)] {
        let put = request("PUT", target, &mitic.agency.token).header("x-road-id", "mine");
        let answer = call(mitic.node.door.unwrap(), put.body(Full::from(body.clone())).unwrap()).await;
        assert_eq!(answer.body(), format!("PUT /base/schools/7?x=1 {body}").as_bytes());
        let request_id = header(&answer, "x-road-request-id");
        let head = format!(
            "PUT\r\n{target}\r\nx-road-client:PY/GOV/MITIC/app\r\nx-road-id:mine\r\nx-road-request-id:{request_id}\r\n"
        );
        let hash = sha512(&[sha512(head.as_bytes()), sha512(body.as_bytes())].concat());
        assert_eq!(header(&answer, "x-road-request-hash"), data_encoding::BASE64.encode(&hash));
    }
    mitic.stop().await;
    mec.stop().await;
}

fn faults(answer: &Response<Bytes>) -> (u16, &str, &str) {
    (answer.status().as_u16(), header(answer, "x-road-error"), header(answer, "x-peabiru-fault"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_carried_is_said_in_both_spellings() {
    let mut federation = Federation::start().await;
    let (mitic, mec, web) = schools(&mut federation, &["GET /schools/*", "* /nothing/**"]).await;
    assert_eq!(ask(&mitic, "GET", "schools/schools/7").await.status(), 200);
    let cases = [
        ("PUT", "schools/schools/7", (500, "server.serverproxy.access_denied", "access.no_grant")),
        ("GET", "schools/status/200", (500, "server.serverproxy.access_denied", "access.no_grant")),
        ("GET", "schools/elsewhere", (500, "server.serverproxy.unknown_service", "method.unknown")),
        ("GET", "unknown/x", (500, "server.serverproxy.unknown_service", "service.unknown")),
        ("GET", "road.test.v1.EchoService/Say", (500, "server.serverproxy.service_type", "service.type")),
        ("GET", "schools/schools", (400, "client.bad_request", "purpose.missing")),
        ("GET", "schools/schools/%2e%2e/x", (400, "client.bad_request", "payload.invalid")),
    ];
    for (verb, path, expected) in cases {
        let answer = ask(&mitic, verb, path).await;
        assert_eq!(faults(&answer), expected, "{verb} {path} {answer:?}");
        let value: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(value["type"], expected.1);
        assert_eq!(value["detail"].as_str().unwrap().len(), 36);
        assert!(value["message"].as_str().unwrap().starts_with(expected.2));
    }
    let door = mitic.node.door.unwrap();
    let target = "/r1/PY/GOV/MEC/app/schools/schools/7";
    let bare = |headers: &[(&str, &str)]| {
        let mut builder = Request::builder().uri(target).header("host", "door");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Full::default()).unwrap()
    };
    let token = mitic.agency.token.as_str();
    for (headers, expected) in [
        (&[("x-peabiru-token", token)][..], (400, "client.invalid_client_identifier", "client.invalid")),
        (
            &[("x-road-client", "PY/GOV/MITIC/app")],
            (500, "server.clientproxy.ssl_authentication_failed", "client.unidentified"),
        ),
        (
            &[("x-peabiru-token", token), ("x-road-client", "PY/GOV/MEC/app")],
            (500, "server.clientproxy.ssl_authentication_failed", "client.not_allowed"),
        ),
        (
            &[
                ("x-peabiru-token", token),
                ("x-road-client", "PY/GOV/MITIC/app"),
                ("x-road-security-server", "PY/GOV/MITIC/node"),
            ],
            (500, "server.clientproxy.invalid_security_server", "node.not_providers"),
        ),
    ] {
        assert_eq!(faults(&call(door, bare(headers)).await), expected, "{headers:?}");
    }
    let big = request("PUT", target, token).body(Full::from(vec![0; 9 * 1024 * 1024])).unwrap();
    assert_eq!(faults(&call(door, big).await), (400, "client.invalid_body", "payload.too_large"));
    assert_eq!(web.seen().len(), 1, "nothing else reached the service");
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_services_say_what_x_roads_say() {
    let mut federation = Federation::start().await;
    let (mitic, mec, web) = schools(&mut federation, &["GET /schools/*"]).await;
    let json = |answer: &Response<Bytes>| {
        assert_eq!(answer.status(), 200, "{answer:?}");
        serde_json::from_slice::<serde_json::Value>(answer.body()).unwrap()
    };
    let all = json(&ask(&mitic, "GET", "listMethods").await);
    let service = &all["service"][0];
    assert_eq!(all["service"].as_array().unwrap().len(), 1, "neither gRPC nor metadata services: {all}");
    assert_eq!((&service["service_code"], &service["service_type"]), (&"schools".into(), &"OPENAPI".into()));
    assert_eq!((&service["member_code"], &service["subsystem_code"]), (&"MEC".into(), &"app".into()));
    assert_eq!(service["endpoint_list"].as_array().unwrap().len(), 9);
    let allowed = ask(&mitic, "GET", "allowedMethods").await;
    assert_eq!(header(&allowed, "x-road-service"), "PY/GOV/MEC/app/allowedMethods");
    assert!(
        !header(&allowed, "x-road-request-hash").is_empty()
            && !header(&allowed, "x-peabiru-exchange-id").is_empty()
    );
    let endpoints = &json(&allowed)["service"][0]["endpoint_list"];
    assert_eq!(*endpoints, serde_json::json!([{ "method": "GET", "path": "/schools/*" }]));
    let document = ask(&mitic, "GET", "getOpenAPI?serviceCode=schools").await;
    assert_eq!(document.body(), peabiru_integration_tests::web::CONTRACT);
    // A client may say the same purpose with all its calls.
    let said = request("GET", "/r1/PY/GOV/MEC/app/allowedMethods", &mitic.agency.token)
        .header("x-peabiru-purpose", "testing");
    let said = call(mitic.node.door.unwrap(), said.body(Full::default()).unwrap()).await;
    assert_eq!(json(&said), json(&allowed));
    let unknown = ask(&mitic, "GET", "getOpenAPI?serviceCode=pets").await;
    assert_eq!(header(&unknown, "x-peabiru-fault"), "service.unknown");
    assert_eq!(header(&ask(&mitic, "POST", "listMethods").await, "x-peabiru-fault"), "method.unknown");
    let list = |token: Option<&str>| {
        let builder = Request::builder().uri("/listClients?xRoadInstance=PY").header("host", "door");
        let builder = token.into_iter().fold(builder, |it, token| it.header("x-peabiru-token", token));
        call(mitic.node.door.unwrap(), builder.body(Full::default()).unwrap())
    };
    let clients = json(&list(Some(&mitic.agency.token)).await);
    let of = |code: &str, kind: &str| {
        let listed = clients["member"].as_array().unwrap().iter();
        listed.filter(|it| it["id"]["member_code"] == code && it["id"]["object_type"] == kind).count()
    };
    assert_eq!(
        (of("MEC", "MEMBER"), of("MEC", "SUBSYSTEM"), of("MITIC", "SUBSYSTEM")),
        (1, 1, 1),
        "{clients}"
    );
    assert_eq!(header(&list(None).await, "x-peabiru-fault"), "client.unidentified");
    assert!(web.seen().is_empty(), "the node itself answers");
    mitic.stop().await;
    mec.stop().await;
}

/// Answers every call with the beginning of a large body, then goes away.
async fn breaks_off() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 1];
            let _ = stream.read_exact(&mut asked).await;
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
            let _ = stream.write_all(&[&head[..], &[7; 300_000]].concat()).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_that_the_service_breaks_off_blames_the_service() {
    let mut federation = Federation::start().await;
    let mitic = federation.enrol("MITIC").await;
    let mec = federation.enrol_web("MEC", &format!("http://{}", breaks_off().await)).await;
    let (mitic, mec) = (mitic.start().await, mec.start().await);
    let service = "PY/GOV/MEC/app/schools".parse().unwrap();
    grant_of(&mut mec.admin().await, &service, "MITIC", &["testing"], &[]).await;
    let answer = ask(&mitic, "GET", "schools/schools/7").await;
    assert_eq!(header(&answer, "x-peabiru-fault"), "service.protocol", "{answer:?}");
    mitic.stop().await;
    mec.stop().await;
}
