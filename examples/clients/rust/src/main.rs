//! Three calls over the road, with ordinary stubs: see ../README.md.
#![allow(clippy::print_stdout, reason = "it says what came")]

use std::error::Error;

use http_body_util::{BodyExt as _, Empty};
use hyper::Request as HttpRequest;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::mec::school_service_client::SchoolServiceClient;
use crate::mec::{ListSchoolsRequest, StreamSchoolsRequest};

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated"
)]
mod mec {
    tonic::include_proto!("py.mec.v1");
}

#[derive(serde::Deserialize)]
struct School {
    establishment_code: String,
    name: String,
}

const PURPOSE: &str = "connectivity-planning";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let door = std::env::var("PEABIRU_DOOR")?;
    let token = std::fs::read_to_string(std::env::var("PEABIRU_TOKEN_FILE")?)?;
    let credential: MetadataValue<_> = token.parse()?;
    let channel = tonic::transport::Endpoint::from_shared(door.clone())?.connect().await?;
    let mut schools = SchoolServiceClient::with_interceptor(channel, move |mut request: Request<()>| {
        let metadata = request.metadata_mut();
        metadata.insert("x-peabiru-token", credential.clone());
        metadata.insert("x-peabiru-purpose", MetadataValue::from_static(PURPOSE));
        let service = MetadataValue::from_static("PY/GOV/MEC/education/py.mec.v1.SchoolService");
        metadata.insert("x-road-service", service);
        Ok(request)
    });

    let request = ListSchoolsRequest { page_size: 3, ..ListSchoolsRequest::default() };
    let page = schools.list_schools(request).await?.into_inner().schools;
    let codes: Vec<_> = page.iter().map(|school| school.establishment_code.as_str()).collect();
    println!("a page of 3: {}", codes.join(", "));

    let request = StreamSchoolsRequest { district_code: "1001".to_owned() };
    let mut answers = schools.stream_schools(request).await?.into_inner();
    let (mut count, mut girls, mut boys) = (0, 0, 0);
    while let Some(answer) = answers.message().await? {
        let school = answer.school.unwrap_or_default();
        (count, girls, boys) = (count + 1, girls + school.girls(), boys + school.boys());
    }
    println!("district 1001: {count} schools, {girls} girls, {boys} boys");

    let School { establishment_code, name } = ask(&door, &token, codes.first().ok_or("no school")?).await?;
    println!("school {establishment_code}: {name}");
    Ok(())
}

/// One school over HTTP and JSON.
async fn ask(door: &str, token: &str, code: &str) -> Result<School, Box<dyn Error>> {
    let address = door.trim_start_matches("http://");
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = HttpRequest::get(format!("/r1/PY/GOV/MEC/education/schools/schools/{code}"))
        .header("host", address)
        .header("x-road-client", "PY/GOV/MITIC/planning")
        .header("x-peabiru-token", token)
        .header("x-peabiru-purpose", PURPOSE)
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
    Ok(serde_json::from_slice(&answer)?)
}
