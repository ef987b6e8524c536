//! What the door shows of itself: reflection and health, as ordinary clients ask for them.

use std::collections::BTreeSet;
use std::time::Duration;

use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::federation::{Federation, Headers, Member, service};
use prost::Message as _;
use prost_types::{FileDescriptorProto, MethodDescriptorProto};
use tonic::Code;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ExtensionRequest, ServerReflectionRequest};
use tonic_reflection::pb::v1alpha;

const ECHO: &str = "road.test.v1.EchoService";

async fn door(member: &Member, headers: &[(&'static str, &str)]) -> InterceptedService<Channel, Headers> {
    let door = format!("http://{}", member.node.door.unwrap());
    let channel = Endpoint::from_shared(door).unwrap().connect().await.unwrap();
    InterceptedService::new(channel, Headers::new(headers))
}

/// The door as an application sees it that calls the service of MEC.
async fn of_mec(member: &Member) -> InterceptedService<Channel, Headers> {
    let of = service("MEC").to_string();
    door(member, &[("x-peabiru-token", &member.agency.token), ("x-road-service", &of)]).await
}

async fn ask(door: &InterceptedService<Channel, Headers>, question: MessageRequest) -> MessageResponse {
    let question = ServerReflectionRequest { message_request: Some(question), ..Default::default() };
    let mut client = ServerReflectionClient::new(door.clone());
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([question])).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap().message_response.unwrap()
}

async fn listed(door: &InterceptedService<Channel, Headers>) -> BTreeSet<String> {
    match ask(door, MessageRequest::ListServices(String::new())).await {
        MessageResponse::ListServicesResponse(list) => {
            list.service.into_iter().map(|service| service.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The file, or nothing if none is shown.
async fn file(
    door: &InterceptedService<Channel, Headers>,
    question: MessageRequest,
) -> Option<FileDescriptorProto> {
    match ask(door, question).await {
        MessageResponse::FileDescriptorResponse(found) => {
            Some(FileDescriptorProto::decode(found.file_descriptor_proto[0].as_slice()).unwrap())
        }
        MessageResponse::ErrorResponse(error) => {
            assert_eq!(error.error_code, Code::NotFound as i32);
            None
        }
        other => panic!("{other:?}"),
    }
}

fn symbol(name: &str) -> MessageRequest {
    MessageRequest::FileContainingSymbol(name.to_owned())
}

async fn health(
    door: &InterceptedService<Channel, Headers>,
    service: &str,
) -> Result<ServingStatus, tonic::Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    Ok(HealthClient::new(door.clone()).check(request).await?.into_inner().status())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_shows_what_may_be_called_and_nothing_else() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    let seen = of_mec(&mitic).await;
    let own = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    assert_eq!(listed(&seen).await, own.map(str::to_owned).into());
    assert_eq!(file(&seen, symbol(ECHO)).await, None);
    assert!(file(&seen, symbol(own[1])).await.is_some(), "the door's own are described too");

    mec.grant_for("MITIC", &["testing"], &["Say", "Watch", "Inspect"]).await;
    assert!(listed(&seen).await.contains(ECHO));
    let echo = file(&seen, symbol(ECHO)).await.unwrap();
    let methods: Vec<_> = echo.service[0].method.iter().map(MethodDescriptorProto::name).collect();
    assert_eq!(methods, ["Say", "Watch"], "Inspect has another purpose than the grant");
    let by_name = MessageRequest::FileByFilename(echo.name().to_owned());
    assert_eq!(file(&seen, by_name).await.as_ref(), Some(&echo));
    for (name, shown) in [
        ("road.test.v1.EchoService.Say", true),
        ("road.test.v1.EchoService.Note", false),
        ("road.test.v1.SayRequest", true),
        ("road.test.v1.SayRequest.body", true),
        ("road.test.v1.Nothing", false),
    ] {
        assert_eq!(file(&seen, symbol(name)).await.is_some(), shown, "{name}");
    }
    let imported = MessageRequest::FileByFilename("peabiru/v1/options.proto".to_owned());
    assert!(file(&seen, imported).await.is_some(), "a client resolves imports");
    let of = "google.protobuf.ServiceOptions".to_owned();
    let MessageResponse::AllExtensionNumbersResponse(numbers) =
        ask(&seen, MessageRequest::AllExtensionNumbersOfType(of.clone())).await
    else {
        panic!("the contract extends its options")
    };
    let extension = ExtensionRequest { containing_type: of, extension_number: numbers.extension_number[0] };
    assert!(file(&seen, MessageRequest::FileContainingExtension(extension)).await.is_some());

    // Everything granted: the file is the contract's, with its options.
    mec.grant_for("MITIC", &["testing", "inspection"], &[]).await;
    assert_eq!(file(&seen, symbol(ECHO)).await.unwrap().service[0].method.len(), 9);
    // Two members offer the name: without saying whose, a call is refused, and nothing is shown.
    let unsaid = door(&mitic, &[("x-peabiru-token", &mitic.agency.token)]).await;
    assert!(!listed(&unsaid).await.contains(ECHO));
    let older = v1alpha::ServerReflectionRequest {
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
        ..Default::default()
    };
    let mut older_client = v1alpha::server_reflection_client::ServerReflectionClient::new(seen);
    let answers = older_client.server_reflection_info(tokio_stream::iter([older])).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap().message_response;
    assert!(matches!(
        answer,
        Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list))
            if list.service.iter().any(|service| service.name == ECHO)
    ));
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_shown_nothing() {
    let mut federation = Federation::start().await;
    let [mitic] = federation.members(["MITIC"]).await;
    let stranger = door(&mitic, &[("x-peabiru-token", "guessed")]).await;
    for service in ["", ECHO] {
        let refused = health(&stranger, service).await.unwrap_err();
        assert_eq!(refused.metadata().get("x-peabiru-fault").unwrap(), "client.unidentified");
    }
    let mut client = ServerReflectionClient::new(stranger);
    let question = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let refused = client.server_reflection_info(tokio_stream::iter([question])).await.unwrap_err();
    assert_eq!(refused.metadata().get("x-peabiru-fault").unwrap(), "client.unidentified");
    mitic.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_whether_this_caller_would_be_served() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    let seen = of_mec(&mitic).await;
    let id = service("MEC").to_string();
    assert_eq!(health(&seen, "").await.unwrap(), ServingStatus::Serving, "the node");
    assert_eq!(health(&seen, ECHO).await.unwrap(), ServingStatus::NotServing, "no grant");
    assert_eq!(health(&seen, "road.test.v1.Other").await.unwrap_err().code(), Code::NotFound);
    mec.grant("MITIC").await;
    assert_eq!(health(&seen, ECHO).await.unwrap(), ServingStatus::Serving);
    let unsaid = door(&mitic, &[("x-peabiru-token", &mitic.agency.token)]).await;
    assert_eq!(health(&unsaid, ECHO).await.unwrap_err().code(), Code::NotFound, "whose is not said");
    assert_eq!(health(&unsaid, &id).await.unwrap(), ServingStatus::Serving, "named by its identifier");

    let request = HealthCheckRequest { service: ECHO.to_owned() };
    let mut watched = HealthClient::new(seen.clone()).watch(request).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let node = HealthCheckRequest::default();
    let mut of_node = HealthClient::new(seen.clone()).watch(node).await.unwrap().into_inner();
    assert_eq!(of_node.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    mec.stop().await;
    assert_eq!(health(&seen, ECHO).await.unwrap(), ServingStatus::NotServing, "its node is down");
    let told = tokio::time::timeout(LONG, watched.message()).await.expect("a watcher is told");
    assert_eq!(told.unwrap().unwrap().status(), ServingStatus::NotServing);
    // A node that stops says so, and does not wait for those who watch it.
    let stopping = tokio::spawn(mitic.stop());
    let told = tokio::time::timeout(LONG, of_node.message()).await.expect("a watcher is told");
    assert_eq!(told.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(of_node.message().await.unwrap(), None);
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_of_the_callers_own_agency_is_asked_of_the_callers_own_node() {
    let mut federation = Federation::start().await;
    let mec = federation.enrol("MEC").await;
    let second = federation.second_node(&mec).await;
    // Grants are not shared with it.
    let (mec, second) = (mec.start().await, second.start().await);
    let seen = of_mec(&mec).await;
    assert_eq!(health(&seen, ECHO).await.unwrap(), ServingStatus::NotServing, "no grant");
    mec.grant("MEC").await;
    assert!(listed(&seen).await.contains(ECHO));
    let mut caller = mec.caller("MEC").await;
    for _ in 0..4 {
        assert_eq!(health(&seen, ECHO).await.unwrap(), ServingStatus::Serving);
        caller.say(SayRequest::default()).await.expect("as it is shown");
    }
    mec.stop().await;
    second.stop().await;
}

/// For something that happens by itself, and of which a failure alone takes so long.
const LONG: Duration = Duration::from_secs(60);
