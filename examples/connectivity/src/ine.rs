//! INE's service: the districts of the 2022 census.

use std::future::Future;

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::data::{self, DataError};
use crate::paging::{Page, Sizes, page};
use crate::wire::ine::district_service_server::{DistrictService, DistrictServiceServer};
use crate::wire::ine::{District, ListDistrictsRequest, ListDistrictsResponse};

/// Answers from INE's register.
#[derive(Debug)]
pub struct Ine {
    districts: Vec<District>,
}

impl Ine {
    /// Reads the register.
    ///
    /// # Errors
    /// The first row that does not parse.
    pub fn open() -> Result<Self, DataError> {
        Ok(Self { districts: data::districts()? })
    }

    /// Serves until `stop` ends.
    ///
    /// # Errors
    /// What the transport says.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        // Without it the system holds each answer back for 40 ms, until the last part of it is acknowledged.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Server::builder()
            .add_service(DistrictServiceServer::new(self))
            .serve_with_incoming_shutdown(incoming, stop)
            .await
    }
}

#[tonic::async_trait]
impl DistrictService for Ine {
    async fn list_districts(
        &self,
        request: Request<ListDistrictsRequest>,
    ) -> Result<Response<ListDistrictsResponse>, Status> {
        let ListDistrictsRequest { page_size, page_token } = request.into_inner();
        let Page { rows, next_page_token } = page(&self.districts, page_size, &page_token, &SIZES)?;
        Ok(Response::new(ListDistrictsResponse { districts: rows, next_page_token }))
    }
}

const SIZES: Sizes = Sizes { default: 100, max: 500 };
