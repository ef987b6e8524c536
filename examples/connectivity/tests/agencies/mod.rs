//! The five agencies at one address, without a road.

use peabiru_example_connectivity::agency::conatel::Conatel;
use peabiru_example_connectivity::agency::ine::Ine;
use peabiru_example_connectivity::agency::mec::Mec;
use peabiru_example_connectivity::agency::mitic::Mitic;
use peabiru_example_connectivity::agency::mspbs::Mspbs;
use peabiru_example_connectivity::data::Published;
use peabiru_example_connectivity::planner::{Findings, Planner};
use peabiru_example_connectivity::wire::conatel::publication_service_server::PublicationServiceServer;
use peabiru_example_connectivity::wire::ine::district_service_server::DistrictServiceServer;
use peabiru_example_connectivity::wire::mec::School;
use peabiru_example_connectivity::wire::mec::school_service_server::SchoolServiceServer;
use peabiru_example_connectivity::wire::mitic::public_space_service_server::PublicSpaceServiceServer;
use peabiru_example_connectivity::wire::mspbs::facility_service_server::FacilityServiceServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};

/// Everything the agencies say, and MEC these schools, at one address as a node's door is.
pub(crate) async fn ask(schools: Vec<School>) -> Findings {
    let listener = listener().await;
    let channel = channel(&listener).await;
    let server = Server::builder()
        .add_service(DistrictServiceServer::new(Ine::open(&SHIPPED).unwrap()))
        .add_service(SchoolServiceServer::new(Mec::with(schools)))
        .add_service(FacilityServiceServer::new(Mspbs::open(&SHIPPED).unwrap()))
        .add_service(PublicationServiceServer::new(Conatel::open(&SHIPPED).unwrap()))
        .add_service(PublicSpaceServiceServer::new(Mitic::open(&SHIPPED).unwrap()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Planner::new(channel, Vec::new()).read(|_| {}).await
}

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(crate) async fn channel(listener: &TcpListener) -> Channel {
    let address = listener.local_addr().unwrap();
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

static SHIPPED: Published = Published::shipped();
