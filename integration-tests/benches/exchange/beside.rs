//! Calls of 1 KiB alone, and beside ten large bodies that go the same way without end: what that does to their p99.

use std::time::Duration;

use bytes::Bytes;
use peabiru_integration_tests::echo::wire::CollectRequest;
use peabiru_integration_tests::federation::Caller;
use tokio::task::JoinSet;

use crate::load;
use crate::measure::{Effort, Figure};
use crate::report::Bound;
use crate::system::Systems;

#[derive(Default)]
struct Row {
    alone: Figure,
    beside: Figure,
    /// Exchanges/s.
    rates: [Figure; 2],
}

pub async fn print(systems: &Systems, effort: Effort) {
    let kinds = ["direct", "read"].into_iter().flat_map(|name| [1, 16].map(|callers| (name, callers)));
    let mut rows: Vec<_> = kinds.map(|kind| (kind, Row::default())).collect();
    for _ in 0..effort.rounds {
        for ((name, callers), row) in &mut rows {
            row.add(systems, name, *callers, effort.duration()).await;
        }
    }
    println!("\n1 KiB calls, alone and beside {BODIES} bodies of {MESSAGES} MiB that follow each other:");
    for ((name, callers), Row { alone, beside, rates: [rate, less] }) in &rows {
        println!("{name:>8} {callers:>3} callers: p99 µs {alone}, {beside}; exchanges/s {rate}, {less}");
        let of = format!("times the p99 of {name} at {callers} callers");
        Bound::AtMost(3.0).say(beside.median() / alone.median(), &of);
    }
}

impl Row {
    async fn add(&mut self, systems: &Systems, name: &str, callers: usize, duration: Duration) {
        let (caller, bulk) = systems.callers(name);
        let mut load = load::run(&caller, load::Ask::Read, callers, duration).await;
        self.alone.push(load.latencies.percentile(99));
        self.rates[0].push(load.per_second());
        let mut bodies = JoinSet::new();
        for _ in 0..BODIES {
            bodies.spawn(large(bulk.clone()));
        }
        tokio::time::sleep(WARM_UP).await;
        let mut load = load::run(&caller, load::Ask::Read, callers, duration).await;
        assert_eq!((load.errors, bodies.try_join_next().is_none()), (0, true), "nothing is refused");
        bodies.shutdown().await;
        self.beside.push(load.latencies.percentile(99));
        self.rates[1].push(load.per_second());
    }
}

async fn large(mut caller: Caller) {
    let body = Bytes::from(vec![7; MESSAGE_BYTES]);
    loop {
        let body = body.clone();
        let requests = (0..MESSAGES).map(move |_| CollectRequest { body: body.clone() });
        caller.collect(tokio_stream::iter(requests)).await.unwrap();
    }
}

const BODIES: usize = 10;
/// Of a large body.
const MESSAGES: usize = 64;
const MESSAGE_BYTES: usize = 1024 * 1024;
/// Until all bodies are on their way.
const WARM_UP: Duration = Duration::from_secs(1);
