//! What X-Road's clients are told when something is wrong: its codes in both spellings, beside ours (x-road.md §3.5, §3.7).

use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use peabiru_integration_tests::federation::{Federation, Member, free_port, subsystem};
use peabiru_integration_tests::web::{self, Web, call};
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::{AddContractRequest, Grant, PutGrantRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A call that is wrong in one way, and what its caller is told: X-Road's code from 7.8 on and up to 7.7, status, our code.
struct Case {
    verb: &'static str,
    target: &'static str,
    /// These replace the headers of a call that is right; an empty one is left out.
    headers: &'static [(&'static str, &'static str)],
    snake: &'static str,
    pascal: &'static str,
    status: u16,
    code: &'static str,
}

const fn case(
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    (snake, pascal): (&'static str, &'static str),
    status: u16,
    code: &'static str,
) -> Case {
    Case { verb: "GET", target, headers, snake, pascal, status, code }
}

const SCHOOL: &str = "/r1/PY/GOV/MEC/app/schools/schools/7";
const BAD: (&str, &str) = ("client.bad_request", "Client.BadRequest");
const CLIENT: (&str, &str) = ("client.invalid_client_identifier", "Client.InvalidClientIdentifier");
const SSL: (&str, &str) =
    ("server.clientproxy.ssl_authentication_failed", "Server.ClientProxy.SslAuthenticationFailed");
const SERVER: (&str, &str) =
    ("server.clientproxy.invalid_security_server", "Server.ClientProxy.InvalidSecurityServer");
const SERVICE: (&str, &str) = ("server.serverproxy.unknown_service", "Server.ServerProxy.UnknownService");
const TYPE: (&str, &str) = ("server.serverproxy.service_type", "Server.ServerProxy.ServiceType");
const DENIED: (&str, &str) = ("server.serverproxy.access_denied", "Server.ServerProxy.AccessDenied");
const DOWN: (&str, &str) =
    ("server.serverproxy.service_failed.network_error", "Server.ServerProxy.ServiceFailed.NetworkError");
const LIAR: (&str, &str) =
    ("server.serverproxy.service_failed.http_error", "Server.ServerProxy.ServiceFailed.HttpError");
const MUTE: (&str, &str) =
    ("server.serverproxy.service_failed.io_error", "Server.ServerProxy.ServiceFailed.IOError");

/// Not here: what a caller cannot bring about (`unknown_member`, `signature_verification.…`, `inconsistent_response`,
/// `logging_failed.…`, `global_conf_outdated`; the table of `proto/src/fault/xroad.rs` has them), what no part of the road can
/// say because it has no such thing (`service_disabled`, `maintenance_mode`, `service_missing_url`: a service is in `[[services]]`
/// or cannot be reached), and the codes of SOAP, signers and containers.
const CASES: &[Case] = &[
    case(SCHOOL, &[("x-road-client", "")], CLIENT, 400, "client.invalid"),
    case(SCHOOL, &[("x-road-client", "PY/GOV/MITIC")], CLIENT, 400, "client.invalid"),
    case(SCHOOL, &[("x-road-client", "PY/GOV/MITIC/a%2Fb")], CLIENT, 400, "client.invalid"),
    case(SCHOOL, &[("x-peabiru-token", "")], SSL, 500, "client.unidentified"),
    case(SCHOOL, &[("x-peabiru-token", "guessed")], SSL, 500, "client.unidentified"),
    case(SCHOOL, &[("x-road-client", "PY/GOV/MEC/app")], SSL, 500, "client.not_allowed"),
    case(SCHOOL, &[("x-road-security-server", "PY/GOV/MITIC/node")], SERVER, 500, "node.not_providers"),
    case(SCHOOL, &[("x-road-security-server", "PY")], BAD, 400, "payload.invalid"),
    case("/r1/PY/GOV/MEC/app", &[], BAD, 400, "payload.invalid"),
    case("/r2/PY/GOV/MEC/app/schools/schools/7", &[], BAD, 400, "payload.invalid"),
    case("/r1/PY/GOV/MEC/app/%zz/schools/7", &[], BAD, 400, "payload.invalid"),
    case("/r1/PY/GOV/MEC/app/schools/schools/%2e%2e", &[], BAD, 400, "payload.invalid"),
    case("/r1/PY/GOV/MEC/app/nothing/x", &[], SERVICE, 500, "service.unknown"),
    case("/r1/PY/GOV/NOBODY/app/schools/x", &[], SERVICE, 500, "service.unknown"),
    case("/r1/PY/GOV/MEC/app/schools/nothing", &[], SERVICE, 500, "method.unknown"),
    case("/r1/PY/GOV/MEC/app/road.test.v1.EchoService/Say", &[], TYPE, 500, "service.type"),
    case("/r1/PY/GOV/MEC/app/schools/admin/x", &[], DENIED, 500, "access.no_grant"),
    case(SCHOOL, &[("x-peabiru-purpose", "curiosity")], DENIED, 500, "purpose.not_allowed"),
    case("/r1/PY/GOV/MEC/app/down/schools/7", &[], DOWN, 500, "service.unreachable"),
    case("/r1/PY/GOV/MEC/app/mail/schools/7", &[], DOWN, 500, "exchange.outcome_unknown"),
    case("/r1/PY/GOV/MEC/app/liar/schools/7", &[], LIAR, 500, "service.protocol"),
    case("/r1/PY/GOV/MEC/app/mute/schools/7", &[], MUTE, 500, "exchange.deadline"),
    Case { verb: "CONNECTED", ..case(SCHOOL, &[], BAD, 400, "payload.invalid") },
    case("/r1/PY/GOV/MEC/app/getOpenAPI", &[], PROVIDERS_BAD, 500, "request.invalid"),
];
const PROVIDERS_BAD: (&str, &str) = ("server.serverproxy.bad_request", "Server.ServerProxy.BadRequest");

async fn ask(member: &Member, case: &Case) -> Response<bytes::Bytes> {
    let name = &member.agency.name;
    let (client, token) = (format!("PY/GOV/{name}/app"), member.agency.token.clone());
    let mut request = Request::builder().method(case.verb).uri(case.target);
    let right = [("host", "door"), ("x-road-client", &client), ("x-peabiru-token", &token)];
    let of_case = |name: &str| case.headers.iter().find(|(replaced, _)| *replaced == name);
    for (name, value) in right {
        let value = of_case(name).map_or(value, |(_, value)| value);
        if !value.is_empty() {
            request = request.header(name, value);
        }
    }
    for (name, value) in case.headers.iter().filter(|(name, _)| right.iter().all(|(it, _)| it != name)) {
        request = request.header(*name, *value);
    }
    call(member.node.door.unwrap(), request.body(Full::default()).unwrap()).await
}

fn told(answer: &Response<bytes::Bytes>) -> (String, u16, String) {
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (code, ours) = (header("x-road-error"), header("x-peabiru-fault"));
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    assert_eq!(body["type"].as_str(), code.as_deref(), "{answer:?}");
    (code.unwrap_or_default(), answer.status().as_u16(), ours.unwrap_or_default())
}

/// Answers with these bytes, and ends the connection.
async fn says(answer: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(answer).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mistake_has_its_code_in_both_spellings() {
    let mut federation = Federation::start().await;
    let web = Web::default();
    let school = format!("http://{}/base", web.start().await);
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let urls = [
        ("schools", school),
        ("down", format!("http://127.0.0.1:{}", free_port())),
        ("mail", format!("http://{}", says(b"220 mail.example ESMTP\r\n").await)),
        ("liar", format!("http://{}", says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1").await)),
        ("mute", format!("http://{}", mute.local_addr().unwrap())),
    ];
    let section = |(code, url): &(&str, String)| {
        format!("[[services]]\nservice = \"PY/GOV/MEC/app/{code}\"\nurl = \"{url}\"\n")
    };
    let mec = federation.enrol_with("MEC", &urls.iter().map(section).collect::<String>()).await;
    for (code, _) in &urls {
        let document = web::CONTRACT.replacen('{', r#"{ "x-peabiru-timeout-ms": 3000,"#, 1);
        let request =
            AddContractRequest { service: format!("PY/GOV/MEC/app/{code}"), document: document.into() };
        federation.officers.registration.add_contract(request).await.unwrap();
    }
    let snake = federation.enrol("MITIC").await;
    let pascal = federation.enrol("MOPC").await;
    let config = std::fs::read_to_string(pascal.site.config()).unwrap();
    std::fs::write(pascal.site.config(), config.replacen("[door]\n", "[door]\nxroad_faults = \"7.7\"\n", 1))
        .unwrap();
    let (mec, snake, pascal) = (mec.start().await, snake.start().await, pascal.start().await);
    for (code, _) in &urls {
        for consumer in ["MITIC", "MOPC"] {
            let grant = Grant {
                id: format!("{code}-{consumer}"),
                consumer: subsystem(consumer).to_string(),
                service: format!("PY/GOV/MEC/app/{code}"),
                methods: vec!["GET /schools/*".to_owned()],
                purposes: vec!["testing".to_owned()],
                expires_at_ms: SystemClock.now().plus(Duration::from_secs(3600)).as_ms(),
                ..Grant::default()
            };
            mec.admin().await.put_grant(PutGrantRequest { grant: Some(grant) }).await.unwrap();
        }
    }
    for case in CASES {
        for (member, xroad) in [(&snake, case.snake), (&pascal, case.pascal)] {
            let found = told(&ask(member, case).await);
            let expected = (xroad.to_owned(), case.status, case.code.to_owned());
            assert_eq!(found, expected, "{} {} {:?}", case.verb, case.target, case.headers);
        }
    }
    assert!(web.seen().is_empty(), "nothing reached the service");
    // The provider's node is gone.
    mec.stop().await;
    let network = ("server.clientproxy.network_error", "Server.ClientProxy.NetworkError");
    let gone = case(SCHOOL, &[], network, 500, "node.unreachable");
    for (member, xroad) in [(&snake, gone.snake), (&pascal, gone.pascal)] {
        let found = told(&ask(member, &gone).await);
        assert_eq!(found, (xroad.to_owned(), gone.status, gone.code.to_owned()));
    }
    snake.stop().await;
    pascal.stop().await;
}
