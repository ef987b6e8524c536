//! What a node says of itself on its metrics page.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Value of the counter `name` whose labels include `label`, 0 if it was never counted.
pub async fn counter(page: SocketAddr, name: &str, label: &str) -> u64 {
    let mut stream = TcpStream::connect(page).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {page}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let line = answer.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}
