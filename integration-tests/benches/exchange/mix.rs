//! What agencies send: many small bodies and a few large ones, each there and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::Caller;
use tokio::task::JoinSet;

use crate::measure::{Effort, Figure, Latencies};
use crate::system::Systems;

/// Of one system.
#[derive(Default)]
struct Row {
    exchanges: Figure,
    /// MB/s, each way.
    bytes: Figure,
    latencies: [Latencies; SIZES.len()],
}

pub async fn print(systems: &Systems, effort: Effort) {
    let names = ["direct", "read"];
    let mut rows = [Row::default(), Row::default()];
    for _ in 0..effort.rounds {
        for (name, row) in names.iter().zip(&mut rows) {
            row.add(&systems.callers(name).0).await;
        }
    }
    println!(
        "\nthe mix, {EXCHANGES} exchanges a round, {CALLERS} callers; p50 and p99 in ms over all rounds:"
    );
    for (name, mut row) in names.iter().zip(rows) {
        println!("{name:>8} exchanges/s {}, MB/s each way {}", row.exchanges, row.bytes);
        for (latencies, (bytes, _)) in row.latencies.iter_mut().zip(SIZES) {
            let (p50, p99) = (latencies.percentile(50) / 1e3, latencies.percentile(99) / 1e3);
            println!("{:>8} kB, {:>5}: {p50:>8.1} {p99:>8.1}", bytes / 1000, latencies.count());
        }
    }
}

impl Row {
    async fn add(&mut self, caller: &Caller) {
        let (order, next) = (Arc::new(order()), Arc::new(AtomicUsize::new(0)));
        let started = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            callers.spawn(one(caller.clone(), Arc::clone(&order), Arc::clone(&next)));
        }
        while let Some(asked) = callers.join_next().await {
            for (size, latency) in asked.unwrap() {
                self.latencies[size].push(latency);
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let bytes: usize = order.iter().map(|size| SIZES[*size].0).sum();
        self.exchanges.push(EXCHANGES as f64 / seconds);
        self.bytes.push(bytes as f64 / 1e6 / seconds);
    }
}

/// Asks for the next one until there is none.
async fn one(mut caller: Caller, order: Arc<Vec<usize>>, next: Arc<AtomicUsize>) -> Vec<(usize, Duration)> {
    let bodies = SIZES.map(|(bytes, _)| Bytes::from(vec![7; bytes]));
    let mut asked = Vec::new();
    while let Some(size) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
        let (body, started) = (bodies[*size].clone(), Instant::now());
        let answer = caller.say(SayRequest { body, ..SayRequest::default() }).await.unwrap().into_inner();
        assert_eq!(answer.body.len(), SIZES[*size].0);
        asked.push((*size, started.elapsed()));
    }
    asked
}

/// The same mixed order each time: numbers of sizes.
fn order() -> Vec<usize> {
    let sizes = SIZES.iter().enumerate().flat_map(|(size, (_, times))| std::iter::repeat_n(size, *times));
    let mut order: Vec<usize> = sizes.collect();
    // Fisher and Yates, with Knuth's generator of MMIX.
    let mut state = 1_u64;
    for at in (1..order.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
    }
    order
}

/// Bytes of a body, and how many of a round.
const SIZES: [(usize, usize); 5] =
    [(2_000, 300), (10_000, 600), (100_000, 90), (2_000_000, 9), (10_000_000, 1)];
const EXCHANGES: usize = 1000;
const CALLERS: usize = 16;
