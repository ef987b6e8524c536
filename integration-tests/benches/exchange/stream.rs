//! One long stream: how many messages of 1 KiB the application gets in a second, as fast as it takes them. On the road each is
//! sealed in a BATCH, and delivered once that verifies.

use std::time::{Duration, Instant};

use peabiru_integration_tests::echo::wire::FollowRequest;
use peabiru_integration_tests::federation::Caller;

use crate::measure::{Effort, Figure};
use crate::system::Systems;

pub async fn print(systems: &Systems, effort: Effort) {
    let names = ["direct", "read"];
    let mut rates = [Figure::default(), Figure::default()];
    for _ in 0..effort.rounds {
        for (name, rate) in names.iter().zip(&mut rates) {
            rate.push(per_second(systems.callers(name).0, effort.duration()).await);
        }
    }
    println!("\none stream of messages of 1 KiB, messages/s:");
    for (name, rate) in names.iter().zip(&rates) {
        println!("{name:>8} {rate}");
    }
    println!("{:>8} {:.3}", "ratio", rates[1].median() / rates[0].median());
}

async fn per_second(mut caller: Caller, duration: Duration) -> f64 {
    let request = FollowRequest { count: u32::MAX, bytes: MESSAGE_BYTES, ..FollowRequest::default() };
    let mut answers = caller.follow(request).await.unwrap().into_inner();
    // Windows and batches fill first.
    count(&mut answers, WARM_UP).await;
    let (came, took) = count(&mut answers, duration).await;
    f64::from(came) / took.as_secs_f64()
}

async fn count<T>(answers: &mut tonic::Streaming<T>, duration: Duration) -> (u32, Duration) {
    let started = Instant::now();
    let mut came = 0;
    while started.elapsed() < duration {
        answers.message().await.unwrap().expect("the service has more");
        came += 1;
    }
    (came, started.elapsed())
}

const MESSAGE_BYTES: u32 = 1024;
const WARM_UP: Duration = Duration::from_millis(500);
