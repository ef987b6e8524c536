//! Exchanges from an application's stub to an agency's service and back.

use peabiru_integration_tests::echo::wire::{NoteRequest, SayRequest};
use peabiru_integration_tests::federation::Federation;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmodified_stub_calls_a_service_of_another_member() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let request = SayRequest { body: "mba'éichapa".into(), ..SayRequest::default() };
    let answer = caller.say(request).await.unwrap();
    assert!(answer.metadata().get("x-peabiru-exchange-id").is_some(), "{:?}", answer.metadata());
    assert_eq!(answer.into_inner().body, "mba'éichapa");
    assert_eq!(mec.agency.echo.consumers(), ["PY/GOV/MITIC/app"]);
    let noted = caller.note(NoteRequest { text: "a".to_owned() }).await.unwrap().into_inner();
    assert_eq!(noted.times, 1);
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_one_node_all_four_entries_are_durable_before_the_answer() {
    let mut federation = Federation::start().await;
    let [mec] = federation.members(["MEC"]).await;
    mec.grant("MEC").await;
    let entries = async || mec.status().await.counters.unwrap().entries;
    let before = entries().await;
    let request = SayRequest { body: "to ourselves".into(), ..SayRequest::default() };
    mec.caller("MEC").await.say(request).await.unwrap();
    // Nobody else has the answer: what was not durable now could not be fetched again.
    assert_eq!(entries().await - before, 4);
    mec.stop().await;
}
