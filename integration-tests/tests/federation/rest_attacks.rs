//! Published attacks on proxies, written byte by byte to the door: the service never sees one.
//!
//! Sources: P = Orange Tsai, "Breaking Parser Logic" (Black Hat 2018): `..;/`, double encoding, backslashes. K = James
//! Kettle, "HTTP Desync Attacks" (2019) and "HTTP/1.1 must die" (2025): CL.TE, TE.CL, TE.TE, 0.CL. W = Watchfire,
//! "HTTP Request Smuggling" (2005): two lengths, folded lines. C = CERT VU#150227, absolute targets and hosts.
//! V = CVE-2021-41773 and CVE-2021-42013 (`.%2e`, `%%32%65`), CVE-2000-0884 (overlong UTF-8), CVE-2019-16276 (space
//! before the colon), CVE-2021-40346 (lengths that overflow), CVE-2025-55315 (chunk extensions with a bare LF).
//! X = XRDDEV-3054: traversal through an endpoint's glob. O = CVE-2018-14773, headers that replace the target.

use std::time::Duration;

use peabiru_integration_tests::federation::{Federation, Member, grant_of};
use peabiru_integration_tests::web::Web;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Below the service `schools`, of which `/schools/*` is granted and `/admin/*` is not.
const PATHS: &[&str] = &[
    "/schools/../admin/x",         // X
    "/schools/..%2fadmin%2fx",     // X
    "/schools/%2e%2e/admin/x",     // P
    "/schools/.%2e/admin/x",       // V
    "/schools/%%32%65%%32%65/x",   // V
    "/schools/%252e%252e/admin/x", // P
    "/schools/%25252e%25252e/x",   // P
    "/schools/..;/admin/x",        // P
    "/schools/x;/../../admin/x",   // P
    "/schools/%3b",                // P
    "/schools\\..\\admin\\x",      // P
    "/schools/..%5cadmin",         // P
    "/schools/%255c..%255cadmin",  // P
    "/schools/%c0%ae%c0%ae/admin", // V
    "/schools/%c0%afadmin",        // V
    "/schools/%e0%80%af",          // V
    "/schools/%ef%bc%8e%ef%bc%8e", // P
    "/schools/%ef%bc%8fadmin",     // P
    "/schools/%u002e%u002e",       // P
    "/schools/x%00.json",
    "/schools/x%0d%0aX-Injected:1",
    "/schools/%0aadmin",
    "/schools//admin/x", // P
    "//schools/7",       // P
    "/schools/./7",
    "/schools/%20",
    "/schools/...",
    "/schools/%",
    "/schools/%zz",
    "/schools/7?a=b#/../admin",
];

/// Whole requests. `{}` is the rest of a request that is allowed, up to its last header.
const REQUESTS: &[&str] = &[
    "POST {}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin", // K: CL.TE
    "POST {}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n8\r\nSMUGGLED\r\n0\r\n\r\n", // K: TE.CL
    "POST {}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",        // K: TE.TE
    "POST {}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",                               // K
    "POST {}Transfer-Encoding:\tchunked, identity\r\n\r\n0\r\n\r\n",                     // K
    "POST {}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",                               // V
    "POST {}Transfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n",                           // K
    "POST {}X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",                       // W
    "POST {}X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",                          // K
    "POST {}X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",                          // K
    "POST {}X: a\0b\r\n\r\n",
    "POST {}Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", // W
    "POST {}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",   // W
    "POST {}Content-Length: 3, 3\r\n\r\nabc",                     // W
    "POST {}Content-Length: +3\r\n\r\nabc",                       // K
    "POST {}Content-Length: 0x3\r\n\r\nabc",                      // K
    "POST {}Content-Length: 18446744073709551619\r\n\r\nabc",     // V
    "POST {}Content-Length : 3\r\n\r\nabc",                       // V
    "POST {}Content-Length:\r\n\r\n",                             // K
    "POST {}Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n10\r\n",  // V
    "POST {}Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", // K
    "POST {}Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", // K
    "POST {}Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",     // K
    "POST {}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nabc", // V
    "POST {}Host: elsewhere\r\n\r\n",                             // C
    "POST {} Folded: 1\r\n\r\n",                                  // W
    "POST {}: nameless\r\n\r\n",
    "POST {}No colon\r\n\r\n",
];

/// Request lines with what follows them, instead of an allowed one.
const LINES: &[&str] = &[
    "GET http://door/r1/PY/GOV/MEC/app/schools/schools/7 HTTP/1.1\r\nHost: door\r\n", // C
    "GET http://elsewhere/admin/x HTTP/1.1\r\nHost: door\r\n",                        // C
    "GET @elsewhere/r1/PY/GOV/MEC/app/schools/schools/7 HTTP/1.1\r\nHost: door\r\n",  // C
    "GET /r1/PY/GOV/MEC/app/schools/schools/7 HTTP/1.1\r\nHost: door@elsewhere\r\n",  // C
    "GET /r1/PY/GOV/MEC/app/schools/schools/7 HTTP/1.1\r\nHost: door/x\r\n",          // C
    "GET /r1/PY/GOV/MEC/app/schools/schools/7 HTTP/1.1\r\n",                          // no Host
    "GET /r1/PY/GOV/MEC/app/schools/schools/7 x HTTP/1.1\r\nHost: door\r\n",          // K
    "GET  /r1/PY/GOV/MEC/app/schools/schools/7 HTTP/1.1\r\nHost: door\r\n",
    "GET /r1/PY/GOV/MEC/app/schools/schools/7\tHTTP/1.1\r\nHost: door\r\n",
    "GET /r1/PY/GOV/MEC/app/schools/schools/7 HTTP/1.1\nHost: door\r\n", // K
    "GET /r1/PY/GOV/MEC/app/schools/schools/7 HTTP/1.2\r\nHost: door\r\n",
    "GET /r1/PY/GOV/MEC/app/schools/schools/7\r\nHost: door\r\n", // HTTP/0.9
    "CONNECT elsewhere:80 HTTP/1.1\r\nHost: door\r\n",
    "get /r1/PY/GOV/MEC/app/schools/schools/7 HTTP/1.1\r\nHost: door\r\n",
    "GET /r1/PY/GOV/MEC/app%2fschools/schools/7 HTTP/1.1\r\nHost: door\r\n", // P
    "GET /r1/PY/GOV/../MEC/app/schools/schools/7 HTTP/1.1\r\nHost: door\r\n", // P
    "GET /%721/PY/GOV/MEC/app/schools/schools/7 HTTP/1.1\r\nHost: door\r\n", // P
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_published_attack_reaches_the_service() {
    let mut federation = Federation::start().await;
    let web = Web::default();
    let url = format!("http://{}", web.start().await);
    let mitic = federation.enrol("MITIC").await;
    let mec = federation.enrol_web("MEC", &url).await;
    let (mitic, mec) = (mitic.start().await, mec.start().await);
    let service = "PY/GOV/MEC/app/schools".parse().unwrap();
    let methods = ["* /schools/*", "* /schools"];
    grant_of(&mut mec.admin().await, &service, "MITIC", &["testing"], &methods).await;
    let known = format!(
        "X-Road-Client: PY/GOV/MITIC/app\r\nX-Peabiru-Token: {}\r\nX-Peabiru-Purpose: testing\r\nConnection: close\r\n",
        mitic.agency.token
    );
    let allowed = format!("/r1/PY/GOV/MEC/app/schools/schools HTTP/1.1\r\nHost: door\r\n{known}");
    // That a request is allowed when nothing is wrong with it is what makes the others say something.
    let sound = write(&mitic, format!("POST {allowed}Content-Length: 3\r\n\r\nabc")).await;
    assert!(sound.starts_with("HTTP/1.1 200"), "{sound}");
    assert_eq!(web.seen().len(), 1);

    let paths = PATHS
        .iter()
        .map(|path| format!("GET /r1/PY/GOV/MEC/app/schools{path} HTTP/1.1\r\nHost: door\r\n{known}\r\n"));
    let requests = REQUESTS.iter().map(|request| request.replace("{}", &allowed));
    let lines = LINES.iter().map(|line| format!("{line}{known}\r\n"));
    for attack in paths.chain(requests).chain(lines) {
        let answer = write(&mitic, attack.clone()).await;
        let status: u16 = answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(400);
        assert!(status >= 400, "{attack:?}: {answer}");
        assert_eq!(web.seen().len(), 1, "{attack:?} reached the service");
    }
    // O: a header that would replace the target goes no further.
    let headers = "X-Original-URL: /admin/x\r\nX-Rewrite-URL: /admin/x\r\nX-HTTP-Method-Override: DELETE\r\nConnection: X-Road-Client\r\n";
    write(&mitic, format!("POST {allowed}{headers}Content-Length: 0\r\n\r\n")).await;
    let seen = web.seen().remove(1);
    assert_eq!(
        (seen.target.as_str(), &seen.headers["x-road-client"]),
        ("/schools", &"PY/GOV/MITIC/app".parse().unwrap())
    );
    let replacing = |name: &str| name.ends_with("-url") || name.ends_with("override") || name == "connection";
    assert!(seen.headers.keys().all(|name| !replacing(name.as_str())), "{:?}", seen.headers);
    mitic.stop().await;
    mec.stop().await;
}

/// Writes, and reads until the door ends the connection: each request says that it is the last, and an attack is one.
async fn write(member: &Member, request: String) -> String {
    let mut stream = TcpStream::connect(member.node.door.unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A door that ends the connection at once may reset it.
    let read = tokio::time::timeout(ANSWER_WAIT, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "{request:?} is not answered");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Far longer than any answer takes, shorter than the door waits for a body.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
