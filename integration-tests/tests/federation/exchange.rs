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
