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
    /// µs that a node waited for its ledger, in the mean.
    commits: [Figure; 2],
}

pub async fn print(systems: &Systems, effort: Effort) {
    let kinds = ["direct", "read"].into_iter().flat_map(|name| [1, 16].map(|callers| (name, callers)));
    let mut rows: Vec<_> = kinds.map(|kind| (kind, Row::default())).collect();
    for _ in 0..effort.rounds {
        for ((name, callers), row) in &mut rows {
            row.add(systems, name, *callers, effort.duration()).await;
        }
    }
    println!("\n1 KiB calls, alone and beside {BODIES} bodies of {} MiB that follow each other:", MESSAGES);
    for ((name, callers), Row { alone, beside, rates: [rate, less], commits }) in &rows {
        println!("{name:>8} {callers:>3} callers: p99 µs {alone}, {beside}; exchanges/s {rate}, {less}");
        if *name != "direct" {
            println!("    a wait for a ledger, µs in the mean: {}, {}", commits[0], commits[1]);
        }
        let of = format!("times the p99 of {name} at {callers} callers");
        Bound::AtMost(3.0).say(beside.median() / alone.median(), &of);
    }
}

impl Row {
    async fn add(&mut self, systems: &Systems, name: &str, callers: usize, duration: Duration) {
        let (caller, bulk) = systems.callers(name);
        let alone = self.small(systems, &caller, (callers, duration), 0).await;
        self.alone.push(alone);
        let mut bodies = JoinSet::new();
        for _ in 0..BODIES {
            bodies.spawn(large(bulk.clone()));
        }
        tokio::time::sleep(WARM_UP).await;
        let beside = self.small(systems, &caller, (callers, duration), 1).await;
        self.beside.push(beside);
        assert!(bodies.try_join_next().is_none(), "none is refused");
        bodies.shutdown().await;
    }

    /// p99 of the small calls.
    async fn small(
        &mut self,
        systems: &Systems,
        caller: &Caller,
        (callers, duration): (usize, Duration),
        column: usize,
    ) -> f64 {
        let [seconds_before, times_before] = systems.commit_waits().await;
        let mut load = load::run(caller, load::Ask::Read, callers, duration).await;
        assert_eq!(load.errors, 0, "none is refused");
        let [seconds, times] = systems.commit_waits().await;
        self.commits[column].push((seconds - seconds_before) * 1e6 / (times - times_before));
        self.rates[column].push(load.per_second());
        load.latencies.percentile(99)
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
