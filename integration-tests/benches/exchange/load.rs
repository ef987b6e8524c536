//! The load: so many callers, each of which asks again as soon as it is answered.

use std::time::{Duration, Instant};

use bytes::Bytes;
use peabiru_integration_tests::echo::wire::{NoteRequest, SayRequest};
use peabiru_integration_tests::federation::Caller;

use crate::measure::Latencies;

/// What a caller asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// 1 KiB each way; no side effects.
    Read,
    /// 1 KiB there; with side effects.
    Write,
}

/// What came of it.
#[derive(Default)]
pub struct Load {
    pub latencies: Latencies,
    pub elapsed: Duration,
    pub errors: u64,
    pub first_error: Option<String>,
}

impl Load {
    pub fn per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.elapsed.as_secs_f64()
    }
}

/// All callers share one connection.
pub async fn run(caller: &Caller, ask: Ask, callers: usize, duration: Duration) -> Load {
    let started = Instant::now();
    let until = started + duration;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let caller = caller.clone();
        tasks.spawn(async move { one(caller, ask, until).await });
    }
    let mut all = Load::default();
    while let Some(load) = tasks.join_next().await {
        let Load { latencies, errors, first_error, .. } = load.unwrap();
        all.latencies.extend(latencies);
        all.errors += errors;
        all.first_error = all.first_error.or(first_error);
    }
    all.elapsed = started.elapsed();
    all
}

async fn one(mut caller: Caller, ask: Ask, until: Instant) -> Load {
    let mut load = Load::default();
    let body = Bytes::from(vec![7; BODY_BYTES]);
    let text = "a".repeat(BODY_BYTES);
    while Instant::now() < until {
        let started = Instant::now();
        let answered = match ask {
            Ask::Read => {
                caller.say(SayRequest { body: body.clone(), ..SayRequest::default() }).await.map(drop)
            }
            Ask::Write => caller.note(NoteRequest { text: text.clone() }).await.map(drop),
        };
        match answered {
            Ok(()) => load.latencies.push(started.elapsed()),
            Err(status) => {
                load.errors += 1;
                load.first_error.get_or_insert_with(|| status.to_string());
            }
        }
    }
    load
}

/// Of each message.
const BODY_BYTES: usize = 1024;
