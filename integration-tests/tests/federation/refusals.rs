//! What an application is told when a call cannot be carried: what, where, who can mend it, and nothing half done.

use std::time::Duration;

use peabiru_integration_tests::echo::wire::echo_service_client::EchoServiceClient;
use peabiru_integration_tests::echo::wire::{
    FollowRequest, FollowResponse, InspectRequest, NoteRequest, SayRequest,
};
use peabiru_integration_tests::federation::{Federation, Member, clock_at, service};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::time::{Clock as _, SystemClock};
use peabiru_proto::wire::{ListEntriesRequest, RevokeGrantRequest};
use tonic::{Code, Request, Status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_nobody_knows_may_not_call() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let service = service("MEC").to_string();
    let token = mitic.agency.token.clone();
    let cases: [(&[(&'static str, &str)], FaultCode); 7] = [
        (&[], FaultCode::ClientUnidentified),
        (&[("x-peabiru-token", "a guess")], FaultCode::ClientUnidentified),
        (&[("x-peabiru-token", &token), ("x-road-client", "PY/GOV/MEC/app")], FaultCode::ClientNotAllowed),
        (&[("x-peabiru-token", &token), ("x-road-service", "not an identifier")], FaultCode::PayloadInvalid),
        (
            &[("x-peabiru-token", &token), ("x-road-service", "PY/GOV/INE/app/road.test.v1.EchoService")],
            FaultCode::ServiceUnknown,
        ),
        (&[("x-peabiru-token", &token), ("x-road-service", &service)], FaultCode::PurposeMissing),
        (&[("x-peabiru-token", &token)], FaultCode::ServiceAmbiguous),
    ];
    for (headers, expected) in cases {
        let refused = mitic.caller_with(headers).await.say(SayRequest::default()).await.unwrap_err();
        let fault = fault(&refused);
        assert_eq!((fault.code, fault.place), (expected, Place::ConsumerNode), "{headers:?}");
        assert!(!fault.message.contains(&token), "a credential is never repeated");
    }
    assert_eq!(entries(&mitic).await, 0, "nothing was sealed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_refused_in_the_language_that_it_asks_for() {
    let mut federation = Federation::start().await;
    let [mitic, _mec] = federation.members(["MITIC", "MEC"]).await;
    let (service, token) = (service("MEC").to_string(), mitic.agency.token.clone());
    let cases = [
        ("es-PY, en;q=0.5", "access.no_grant: no hay autorización para esta consulta ("),
        ("en", "access.no_grant: PY/GOV/MITIC/app has no grant for "),
    ];
    for (language, begins) in cases {
        let headers: &[(&'static str, &str)] = &[
            ("x-peabiru-token", &token),
            ("x-peabiru-purpose", "testing"),
            ("x-road-service", &service),
            ("accept-language", language),
        ];
        let refused = mitic.caller_with(headers).await.say(SayRequest::default()).await.unwrap_err();
        assert!(refused.message().starts_with(begins), "{language}: {}", refused.message());
        assert_eq!(fault(&refused).code, FaultCode::AccessNoGrant, "the code is the same in all languages");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_off_says_why_in_the_language_of_its_caller() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let (service, token) = (service("MEC").to_string(), mitic.agency.token.clone());
    let headers: &[(&'static str, &str)] = &[
        ("x-peabiru-token", &token),
        ("x-peabiru-purpose", "testing"),
        ("x-road-service", &service),
        ("accept-language", "es-PY"),
    ];
    let feed = mec.agency.echo.feed();
    feed.send(Ok(FollowResponse { body: "1".into() })).await.unwrap();
    let mut caller = mitic.caller_with(headers).await;
    let mut answers = caller.follow(FollowRequest::default()).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some(), "it has begun");
    let revoke = RevokeGrantRequest { id: "MITIC-testing".to_owned(), member: "PY/GOV/MEC".to_owned() };
    mec.admin().await.revoke_grant(revoke).await.unwrap();
    let status = answers.message().await.unwrap_err();
    assert_eq!(fault(&status).code, FaultCode::AccessNoGrant);
    let begins = "access.no_grant: no hay autorización para esta consulta (";
    assert!(status.message().starts_with(begins), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_contract_does_not_say_cannot_be_asked() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    let inspected = caller.inspect(InspectRequest {}).await.unwrap_err();
    assert_eq!(fault(&inspected).code, FaultCode::PurposeNotAllowed);
    let too_large = SayRequest { body: vec![0; 8 * 1024 * 1024].into(), ..SayRequest::default() };
    let refused = caller.say(too_large).await.unwrap_err();
    assert_eq!((refused.code(), fault(&refused).code), (Code::OutOfRange, FaultCode::PayloadTooLarge));
    let answer = SayRequest { answer_bytes: 8 * 1024 * 1024, ..SayRequest::default() };
    let refused = caller.say(answer).await.unwrap_err();
    assert_eq!(
        (fault(&refused).code, fault(&refused).place),
        (FaultCode::PayloadTooLarge, Place::ProviderNode)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_grant_allows_is_refused_with_a_seal_and_never_reaches_the_service() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    let mut caller = mitic.caller("MEC").await;
    let note = NoteRequest { text: "x".to_owned() };
    let refused = caller.note(note.clone()).await.unwrap_err();
    assert_eq!((refused.code(), fault(&refused).code), (Code::PermissionDenied, FaultCode::AccessNoGrant));
    assert_eq!(fault(&refused).place, Place::ProviderNode);
    assert!(fault(&refused).exchange.is_some());
    mec.grant_for("MITIC", &["testing"], &["Say"]).await;
    assert_eq!(fault(&caller.note(note.clone()).await.unwrap_err()).code, FaultCode::AccessNoGrant);
    caller.say(SayRequest::default()).await.unwrap();
    let revoke = RevokeGrantRequest { id: "MITIC-testing".to_owned(), member: "PY/GOV/MEC".to_owned() };
    mec.admin().await.revoke_grant(revoke).await.unwrap();
    assert_eq!(fault(&caller.say(SayRequest::default()).await.unwrap_err()).code, FaultCode::AccessNoGrant);
    assert!(mec.agency.echo.noted().is_empty());
    // Grants outlast a restart.
    mec.grant("MITIC").await;
    let mec = mec.stop().await.start().await;
    caller.note(note).await.unwrap();
    assert_eq!(mec.agency.echo.noted()["x"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_the_service_is_an_answer() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let request = SayRequest { fail_with: Code::NotFound as i32, ..SayRequest::default() };
    let answered = mitic.caller("MEC").await.say(request).await.unwrap_err();
    assert_eq!((answered.code(), answered.message()), (Code::NotFound, "as you wish"));
    assert!(Fault::from_grpc_details(answered.details()).is_none(), "it is no fault of the road");
    assert!(answered.metadata().get("x-peabiru-exchange-id").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_takes_too_long_or_is_not_there_is_named() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant_for("MITIC", &["inspection"], &[]).await;
    let token = mitic.agency.token.clone();
    let service = service("MEC").to_string();
    let headers = [
        ("x-peabiru-token", token.as_str()),
        ("x-peabiru-purpose", "inspection"),
        ("x-road-service", &service),
    ];
    let mut caller = mitic.caller_with(&headers).await;
    // The contract allows 500 ms.
    let late = caller.inspect(InspectRequest {}).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    assert_eq!(fault(&late).place, Place::Service);
    // The caller allows less. Its own stub says so first, unless the node's answer is quicker.
    let mut request = Request::new(InspectRequest {});
    request.set_timeout(Duration::from_millis(50));
    let late = caller.inspect(request).await.unwrap_err();
    assert!(matches!(late.code(), Code::Cancelled | Code::DeadlineExceeded), "{late:?}");
    let agency = mec.stop().await;
    let config = std::fs::read_to_string(agency.site.config()).unwrap();
    let url = config.lines().find(|line| line.starts_with("url")).unwrap();
    std::fs::write(agency.site.config(), config.replace(url, "url = \"unix:/nobody/listens.sock\"")).unwrap();
    let mec = agency.start().await;
    mec.grant("MITIC").await;
    let refused = mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap_err();
    let fault = fault(&refused);
    assert_eq!((fault.code, fault.place), (FaultCode::ServiceUnreachable, Place::Service));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_is_unavailable_and_back_after_its_start() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    caller.say(SayRequest::default()).await.unwrap();
    let agency = mec.stop().await;
    let refused = caller.say(SayRequest::default()).await.unwrap_err();
    assert_eq!((refused.code(), fault(&refused).code), (Code::Unavailable, FaultCode::NodeUnreachable));
    let _mec = agency.start().await;
    // The consumer waits a moment before it dials again.
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while caller.say(SayRequest::default()).await.is_err() {
        assert!(tokio::time::Instant::now() < until, "the road did not come back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_go_on_without_the_registry_until_its_snapshot_ends() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let (clock, environment) = clock_at(SystemClock.now());
    let (mitic, mec) = (mitic.start_in(&environment).await, mec.start_in(&environment).await);
    mec.grant("MITIC").await;
    federation.stop_registry().await;
    let mut caller = mitic.caller("MEC").await;
    caller.say(SayRequest::default()).await.unwrap();
    let expires_at = mitic.status().await.globalconf_expires_at_ms;
    clock.advance(Duration::from_millis(expires_at - clock.now().as_ms()));
    let refused = caller.say(SayRequest::default()).await.unwrap_err();
    assert_eq!((refused.code(), fault(&refused).code), (Code::Unavailable, FaultCode::GlobalconfExpired));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_global_configuration_says_so() {
    let mut federation = Federation::start().await;
    let mitic = federation.enrol("MITIC").await;
    federation.stop_registry().await;
    let mitic = mitic.start().await;
    let refused = mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap_err();
    assert_eq!(fault(&refused).code, FaultCode::NodeNoGlobalconf);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unix_socket_knows_its_callers_by_their_user() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let agency = mitic.stop().await;
    let door = agency.site.folder.join("door.sock");
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&agency.site.folder).unwrap());
    let said = async |door: &std::path::Path| {
        let channel = peabiru_cli::client::unix_channel(door.to_owned()).await.unwrap();
        let mut request = Request::new(SayRequest { body: "over a socket".into(), ..SayRequest::default() });
        request.metadata_mut().insert("x-peabiru-purpose", "testing".parse().unwrap());
        request.metadata_mut().insert("x-road-service", service("MEC").to_string().parse().unwrap());
        EchoServiceClient::new(channel).say(request).await
    };
    let mitic = agency.start().await;
    assert_eq!(fault(&said(&door).await.unwrap_err()).code, FaultCode::ClientUnidentified);
    let agency = mitic.stop().await;
    let config = std::fs::read_to_string(agency.site.config()).unwrap();
    let client = format!("{config}\n[[clients]]\nsubsystem = \"PY/GOV/MITIC/app\"\nunix_uid = {uid}\n");
    std::fs::write(agency.site.config(), client).unwrap();
    let _mitic = agency.start().await;
    assert_eq!(said(&door).await.unwrap().into_inner().body, "over a socket");
}

fn fault(status: &Status) -> Fault {
    Fault::from_grpc_details(status.details()).unwrap_or_else(|| panic!("no fault: {status:?}"))
}

async fn entries(member: &Member) -> u64 {
    let request = ListEntriesRequest { limit: 1, ..ListEntriesRequest::default() };
    member.admin().await.list_entries(request).await.unwrap().into_inner().tree_size
}
