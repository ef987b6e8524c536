//! The scenario over loopback, without a road: services, planner, plan, files.
#![allow(clippy::unwrap_used, reason = "a test says by failing what went wrong")]

use std::collections::HashMap;

use peabiru_example_connectivity::agency::ine::Ine;
use peabiru_example_connectivity::agency::mec::Mec;
use peabiru_example_connectivity::agency::mec_rest::MecRest;
use peabiru_example_connectivity::plan::Plan;
use peabiru_example_connectivity::planner::Planner;
use peabiru_example_connectivity::wire::ine::district_service_server::DistrictServiceServer;
use peabiru_example_connectivity::wire::mec::school_service_client::SchoolServiceClient;
use peabiru_example_connectivity::wire::mec::school_service_server::SchoolServiceServer;
use peabiru_example_connectivity::wire::mec::{Doubt, FlagSchoolRequest, StreamSchoolsRequest};
use peabiru_example_connectivity::{
    DISTRICT_CONTRACT, DISTRICT_SERVICE, PURPOSE, SCHOOL_CONTRACT, SCHOOL_REST_CONTRACT, SCHOOL_REST_SERVICE,
    SCHOOL_SERVICE, data, report,
};
use peabiru_proto::contract::{ContractDocument, Streaming};
use peabiru_proto::entry::SideEffects;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};

#[test]
fn the_contracts_say_what_may_be_asked_and_what_changes_something() {
    let districts = ContractDocument::parse(DISTRICT_CONTRACT.into()).unwrap();
    let schools = ContractDocument::parse(SCHOOL_CONTRACT.into()).unwrap();
    let facts = |document: &ContractDocument, service: &str, method: &str| {
        let method = document.service(service).unwrap().method(method).unwrap().clone();
        assert_eq!(method.streaming, Streaming::Unary);
        (method.side_effects, method.purposes.iter().any(|purpose| purpose.as_str() == PURPOSE))
    };
    assert_eq!(facts(&districts, DISTRICT_SERVICE, "ListDistricts"), (SideEffects::None, true));
    assert_eq!(facts(&schools, SCHOOL_SERVICE, "ListSchools"), (SideEffects::None, true));
    let rest = ContractDocument::parse(SCHOOL_REST_CONTRACT.into()).unwrap();
    assert_eq!(
        facts(&rest, SCHOOL_REST_SERVICE, "GET /schools/{establishment_code}"),
        (SideEffects::None, true)
    );
    assert_eq!(facts(&schools, SCHOOL_SERVICE, "FlagSchool"), (SideEffects::Present, false));
}

#[tokio::test]
async fn the_planner_reads_every_row_and_its_totals_are_those_of_the_files() {
    // One address for both, as a node's door is.
    let listener = listener().await;
    let channel = channel(&listener).await;
    let server = Server::builder()
        .add_service(DistrictServiceServer::new(Ine::open().unwrap()))
        .add_service(SchoolServiceServer::new(Mec::open().unwrap()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let findings = Planner::new(channel, Vec::new()).read(|_| {}).await.unwrap();
    assert_eq!(findings.districts, data::districts().unwrap());
    assert_eq!(findings.schools, data::schools().unwrap());
    let read: usize = findings.exchanges.iter().map(|source| source.rows).sum();
    assert_eq!(read, 263 + 9_223);
    let csv = report::csv(&Plan::of(&findings.districts, &findings.schools));
    assert_eq!(totals(&csv), independent_totals());
}

#[tokio::test]
async fn a_doubt_is_counted_and_one_about_an_unknown_site_refused() {
    let listener = listener().await;
    let mut client = SchoolServiceClient::new(channel(&listener).await);
    tokio::spawn(Mec::open().unwrap().serve(listener, std::future::pending()));
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
    tokio::spawn(Mec::open().unwrap().serve(listener, std::future::pending()));
    let mut ask = async |district_code: &str| {
        client.stream_schools(StreamSchoolsRequest { district_code: district_code.to_owned() }).await
    };
    let mut answers = ask("1001").await.unwrap().into_inner();
    let mut came = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        came.push(answer.school.unwrap());
    }
    let mut there = data::schools().unwrap();
    there.retain(|school| school.district_code == "1001");
    assert!(came.len() > 200 && came == there);
    assert_eq!(ask("9999").await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn one_school_is_found_over_http_as_the_openapi_document_says() {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(MecRest::open().unwrap().serve(listener, std::future::pending()));
    let ask = async |code: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /schools/{code} HTTP/1.1\r\nhost: mec\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    };
    let school = data::schools().unwrap().into_iter().find(|school| school.boys.is_some()).unwrap();
    let (status, body) = ask(&school.establishment_code).await;
    let row: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status.as_str(), row["name"].as_str()), ("200", Some(school.name.as_str())));
    assert_eq!(row["boys"].as_u64(), school.boys.map(|boys| u64::try_from(boys).unwrap()));
    let document: serde_json::Value = serde_json::from_slice(SCHOOL_REST_CONTRACT).unwrap();
    let properties = document["components"]["schemas"]["School"]["properties"].as_object().unwrap();
    assert!(row.as_object().unwrap().keys().all(|key| properties.contains_key(key)), "{row}");
    assert_eq!(ask("9999999").await.0, "404");
}

/// Sites, boys, girls: all, urban, rural, remote, of the report's last line.
fn totals(csv: &str) -> Vec<u32> {
    let mut lines = csv.lines();
    let columns: Vec<_> = lines.next().unwrap().split(',').collect();
    let total: Vec<_> = lines.next_back().unwrap().split(',').collect();
    assert_eq!((columns.len(), total[2]), (total.len(), "(total)"));
    let mut found = Vec::new();
    for group in ["", "urban_", "rural_", "remote_"] {
        for figure in ["sites", "boys", "girls"] {
            let at = columns.iter().position(|column| *column == format!("{group}{figure}")).unwrap();
            found.push(total[at].parse().unwrap());
        }
    }
    found
}

/// The same, straight from the files.
fn independent_totals() -> Vec<u32> {
    let read = |name: &str| {
        let path = format!("{}/data/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut reader = csv::Reader::from_path(path).unwrap();
        reader.deserialize().collect::<Result<Vec<HashMap<String, String>>, _>>().unwrap()
    };
    let districts = read("districts.csv");
    let mut people: HashMap<&str, f64> = HashMap::new();
    let mut area: HashMap<&str, f64> = HashMap::new();
    for row in &districts {
        *people.entry(&row["boundary_code_2012"]).or_default() +=
            row["population_2022"].parse::<f64>().unwrap();
        if row["has_2012_boundary"] == "1" {
            area.insert(&row["district_code"], row["area_km2_2012"].parse().unwrap());
        }
    }
    let thin: HashMap<&str, bool> = districts
        .iter()
        .map(|row| (&*row["district_code"], row["boundary_code_2012"].as_str()))
        .map(|(code, group)| (code, people[group] / area[group] < 5.0))
        .collect();
    let mut sums = vec![0; 12];
    for row in read("schools.csv") {
        let remote = row["zone"] == "rural" && thin.get(&*row["district_code"]) == Some(&true);
        let groups = [true, row["zone"] == "urban", row["zone"] == "rural", remote];
        for (at, _) in groups.iter().enumerate().filter(|(_, counted)| **counted) {
            sums[at * 3] += 1;
            sums[at * 3 + 1] += row["eeb_2023_boys"].parse().unwrap_or(0);
            sums[at * 3 + 2] += row["eeb_2023_girls"].parse().unwrap_or(0);
        }
    }
    sums
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn channel(listener: &TcpListener) -> Channel {
    let address = listener.local_addr().unwrap();
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}
