//! A small HTTP service of an agency, and a client that writes what it is told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// The contract as registered.
pub const CONTRACT: &str = r#"{
  "openapi": "3.0.3",
  "info": { "title": "Schools", "version": "1" },
  "x-peabiru-purposes": ["testing"],
  "paths": {
    "/schools/{id}": {
      "get": { "responses": {} },
      "head": { "responses": {} },
      "put": { "responses": {} },
      "delete": { "responses": {} }
    },
    "/schools": { "get": { "x-peabiru-purposes": ["testing", "statistics"] }, "post": { "responses": {} } },
    "/status/{code}": { "get": { "responses": {} } },
    "/admin/{what}": { "get": { "responses": {} }, "post": { "responses": {} } }
  }
}"#;

/// A call that reached the service.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET`
    pub verb: String,
    /// Path and query.
    pub target: String,
    /// As they came.
    pub headers: HeaderMap,
    /// Its bytes.
    pub body: Bytes,
}

/// Remembers what it was asked.
#[derive(Debug, Clone, Default)]
pub struct Web {
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
}

impl Web {
    /// Serves on a port of the system's choice until the runtime ends.
    pub async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let web = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *web.connections.lock().unwrap() += 1;
                let web = web.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| web.answer(request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        address
    }

    /// What it was asked so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections it has had.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// `/status/302` answers with this status, everything else with what was asked.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let target = head.uri.path_and_query().unwrap().to_string();
        let status = head.uri.path().split_once("/status/").map(|(_, code)| code.parse().unwrap());
        let answer = format!("{} {target} {}", head.method, String::from_utf8_lossy(&body));
        let seen = Seen { verb: head.method.to_string(), target, headers: head.headers, body };
        self.seen.lock().unwrap().push(seen);
        let builder = Response::builder()
            .status(status.unwrap_or(StatusCode::OK))
            .header("content-type", "text/x-schools")
            .header("location", "http://elsewhere.example/schools")
            .header("server", "an agency's own")
            .header("x-road-error", "not the road's")
            .header("set-cookie", "secret=1")
            .header("x-many", "1")
            .header("x-many", "2");
        Ok(builder.body(Full::from(answer)).unwrap())
    }
}

/// Calls a door over a connection of its own.
pub async fn call(door: SocketAddr, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let stream = TcpStream::connect(door).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}
