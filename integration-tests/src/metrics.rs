//! What a node says of itself on its metrics page.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Value of the counter `name` whose labels include `label`, 0 if it was never counted.
pub async fn counter(page: SocketAddr, name: &str, label: &str) -> u64 {
    let answer = text(page).await;
    let line = answer.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Value of the gauge `name`, which has no labels.
pub async fn gauge(page: SocketAddr, name: &str) -> u64 {
    value(&text(page).await, name)
}

/// What a node that nobody asks anything carries: nothing. Ends when that is so.
pub async fn until_nothing_is_held(page: SocketAddr) {
    let mut held = Vec::new();
    let looking = async {
        loop {
            let answer = text(page).await;
            held =
                HELD.iter().map(|name| (*name, value(&answer, name))).filter(|(_, held)| *held > 0).collect();
            if held.is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(LONG, looking).await;
    assert!(ended.is_ok(), "the node still holds {held:?}");
}

async fn text(page: SocketAddr) -> String {
    let mut stream = TcpStream::connect(page).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {page}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

fn value(answer: &str, name: &str) -> u64 {
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    assert!(line.is_some(), "no {name} in {answer}");
    line.unwrap().parse().unwrap()
}

/// All that an exchange takes of a node while it goes on.
const HELD: [&str; 7] = [
    "peabiru_door_calls",
    "peabiru_link_memory_bytes",
    "peabiru_link_exchanges",
    "peabiru_link_served",
    "peabiru_link_streams",
    "peabiru_streams",
    "peabiru_stream_batches_ahead",
];
/// Of everything that happens at once unless it does not happen.
const LONG: Duration = Duration::from_secs(30);
