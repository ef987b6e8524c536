//! The scenario over loopback, without a road: services, planner, plan, files.
#![allow(clippy::unwrap_used, reason = "a test says by failing what went wrong")]

mod agencies;

use std::collections::BTreeSet;

use peabiru_example_connectivity::agency::Service;
use peabiru_example_connectivity::agency::ine::Ine;
use peabiru_example_connectivity::agency::mec_rest::MecRest;
use peabiru_example_connectivity::data::Published;
use peabiru_example_connectivity::planner::Planner;
use peabiru_example_connectivity::receive::Wrong;
use peabiru_example_connectivity::report::{Language, Plan, Seals, fallen, summary};
use peabiru_example_connectivity::settings::Settings;
use peabiru_example_connectivity::wire::ine::district_service_server::DistrictServiceServer;
use peabiru_example_connectivity::wire::mec::School;
use peabiru_example_connectivity::wire::mec::school_service_client::SchoolServiceClient;
use peabiru_example_connectivity::wire::mec::{Doubt, FlagSchoolRequest, StreamSchoolsRequest};
use peabiru_example_connectivity::{PURPOSE, SCHOOL_REST_CONTRACT, SCHOOL_SERVICE, data};
use peabiru_proto::contract::{ContractDocument, Streaming};
use peabiru_proto::entry::SideEffects;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use agencies::{ask, channel, listener};

#[test]
fn the_contracts_say_what_may_be_asked_and_what_changes_something() {
    let facts = |service: Service, method: &str| {
        let document = ContractDocument::parse(service.contract().into()).unwrap();
        let method = document.service(service.code()).unwrap().method(method).unwrap().clone();
        let allowed = method.purposes.iter().any(|purpose| purpose.as_str() == PURPOSE);
        (method.side_effects, allowed, method.streaming == Streaming::Unary)
    };
    let asked = [
        (Service::Districts, "ListDepartments"),
        (Service::Districts, "ListDistricts"),
        (Service::Districts, "ListBoundaries"),
        (Service::Schools, "ListSchools"),
        (Service::SchoolsRest, "GET /schools/{establishment_code}"),
        (Service::Facilities, "ListFacilities"),
        (Service::Publications, "ListIndicators"),
        (Service::Publications, "ListProgrammes"),
        (Service::PublicSpaces, "ListPublicSpaces"),
    ];
    for (service, method) in asked {
        assert_eq!(facts(service, method), (SideEffects::None, true, true), "{method}");
    }
    assert_eq!(facts(Service::Schools, "StreamSchools"), (SideEffects::None, true, false));
    assert_eq!(facts(Service::Schools, "FlagSchool"), (SideEffects::Present, false, true));
}

#[tokio::test]
async fn the_planner_reads_every_row_and_the_same_rows_give_the_same_bytes() {
    let findings = ask(data::schools(&SHIPPED).unwrap()).await;
    let rows = &findings.accepted;
    assert!(rows.rejected.is_empty() && findings.missing.is_empty(), "{:?}", rows.rejected);
    let counts = [rows.departments.len(), rows.districts.len(), rows.boundaries.len(), rows.schools.len()];
    assert_eq!(counts, [18, 263, 245, 9_223]);
    let counts = [rows.facilities.len(), rows.indicators.len(), rows.programmes.len(), rows.spaces.len()];
    assert_eq!(counts, [212, 92, 11, 45]);
    let read: usize = findings.exchanges.iter().map(|source| source.rows).sum();
    assert_eq!(read, 18 + 263 + 245 + 9_223 + 212 + 92 + 11 + 45);
    let settings = Settings::shipped();
    let plan = Plan::of(&findings, &settings);
    let files = plan.files(&Seals::new());
    let again = ask(data::schools(&SHIPPED).unwrap()).await;
    assert_eq!(files, Plan::of(&again, &settings).files(&Seals::new()));
    let said = summary(&plan, Language::Spanish);
    assert!(said[0].starts_with("9.223 locales escolares"), "{said:?}");
    let roadmap = files.iter().find(|file| file.name == "roadmap.json").unwrap();
    // These answers came over no road: their exchanges have no id, and nothing shows that they hold.
    assert!(!fallen(&roadmap.text, &BTreeSet::new()).unwrap().is_empty());
    for geojson in files.iter().filter(|file| file.name.ends_with(".geojson")) {
        let map: serde_json::Value = serde_json::from_str(&geojson.text).unwrap();
        assert!(map["features"].as_array().unwrap().len() >= 263, "{}", geojson.name);
    }
}

#[tokio::test]
async fn wrong_rows_are_named_and_change_no_sum() {
    let right = data::schools(&SHIPPED).unwrap();
    let mut wrong = right.clone();
    let site = right.iter().find(|school| school.boys.is_some()).unwrap();
    let code = |code: &str| code.to_owned();
    wrong.push(School { establishment_code: code("9999990"), boys: Some(-1), ..site.clone() });
    wrong.push(School { establishment_code: code("9999991"), district_code: code("9999"), ..site.clone() });
    wrong.push(site.clone());
    let (right, wrong) = (ask(right).await, ask(wrong).await);
    let named: Vec<_> = wrong.accepted.rejected.iter().map(|it| it.wrong).collect();
    assert_eq!(named, [Wrong::NegativePupils, Wrong::UnknownDistrict, Wrong::Duplicate]);
    let last = wrong.exchanges.iter().rposition(|source| source.service == SCHOOL_SERVICE);
    assert!(wrong.accepted.rejected.iter().all(|it| Some(it.exchange) == last));
    let settings = Settings::shipped();
    let csv = |findings| {
        let files = Plan::of(findings, &settings).files(&Seals::new());
        files.into_iter().find(|it| it.name == "districts.csv")
    };
    assert_eq!(csv(&right), csv(&wrong));
}

#[tokio::test]
async fn without_an_agency_the_others_are_planned_and_it_is_named() {
    let listener = listener().await;
    let channel = channel(&listener).await;
    let server = Server::builder().add_service(DistrictServiceServer::new(Ine::open(&SHIPPED).unwrap()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let findings = Planner::new(channel, Vec::new()).read(|_| {}).await;
    let missing: Vec<_> = findings.missing.iter().map(|it| it.method).collect();
    let expected =
        ["list_schools", "list_facilities", "list_indicators", "list_programmes", "list_public_spaces"];
    assert_eq!(missing, expected);
    let settings = Settings::shipped();
    let plan = Plan::of(&findings, &settings);
    assert_eq!(plan.analysis.total.people.value().women, 3_052_229, "INE answered");
    assert!(plan.roadmap.is_err(), "no programme, no cost");
    assert!(summary(&plan, Language::English)[2].starts_with("No plan in money: programme P02"));
}

#[tokio::test]
async fn a_doubt_is_counted_and_one_about_an_unknown_site_refused() {
    let listener = listener().await;
    let mut client = SchoolServiceClient::new(channel(&listener).await);
    tokio::spawn(Service::Schools.serve(&SHIPPED, listener, std::future::pending()));
    let mut flag = async |code: &str, doubt: Doubt| {
        let request = FlagSchoolRequest { establishment_code: code.to_owned(), doubt: doubt.into() };
        client
            .flag_school(request)
            .await
            .map(|answer| answer.into_inner().doubts)
            .map_err(|status| status.code())
    };
    assert_eq!(flag("0000001", Doubt::Zone).await, Ok(1));
    assert_eq!(flag("0000001", Doubt::Pupils).await, Ok(2));
    assert_eq!(flag("x", Doubt::Zone).await, Err(tonic::Code::NotFound));
    assert_eq!(flag("0000001", Doubt::Unspecified).await, Err(tonic::Code::InvalidArgument));
}

#[tokio::test]
async fn a_district_is_streamed_row_by_row_and_an_unknown_one_refused() {
    let listener = listener().await;
    let mut client = SchoolServiceClient::new(channel(&listener).await);
    tokio::spawn(Service::Schools.serve(&SHIPPED, listener, std::future::pending()));
    let mut ask = async |district_code: &str| {
        client.stream_schools(StreamSchoolsRequest { district_code: district_code.to_owned() }).await
    };
    let mut answers = ask("1001").await.unwrap().into_inner();
    let mut came = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        came.push(answer.school.unwrap());
    }
    let mut there = data::schools(&SHIPPED).unwrap();
    there.retain(|school| school.district_code == "1001");
    assert!(came.len() > 200 && came == there);
    assert_eq!(ask("9999").await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn one_school_is_found_over_http_as_the_openapi_document_says() {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(MecRest::open(&SHIPPED).unwrap().serve(listener, std::future::pending()));
    let ask = async |code: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /schools/{code} HTTP/1.1\r\nhost: mec\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    };
    let school = data::schools(&SHIPPED).unwrap().into_iter().find(|school| school.boys.is_some()).unwrap();
    let (status, body) = ask(&school.establishment_code).await;
    let row: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status.as_str(), row["name"].as_str()), ("200", Some(school.name.as_str())));
    assert_eq!(row["boys"].as_u64(), school.boys.map(|boys| u64::try_from(boys).unwrap()));
    let document: serde_json::Value = serde_json::from_slice(SCHOOL_REST_CONTRACT).unwrap();
    let properties = document["components"]["schemas"]["School"]["properties"].as_object().unwrap();
    assert!(row.as_object().unwrap().keys().all(|key| properties.contains_key(key)), "{row}");
    assert_eq!(ask("9999999").await.0, "404");
}

static SHIPPED: Published = Published::shipped();
