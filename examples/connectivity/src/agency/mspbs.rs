//! MSPBS's service: health facilities.

use std::future::Future;

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::paging::{Page, Sizes, page};
use crate::data::{self, DataError};
use crate::wire::mspbs::facility_service_server::{FacilityService, FacilityServiceServer};
use crate::wire::mspbs::{Facility, ListFacilitiesRequest, ListFacilitiesResponse};

/// Answers from MSPBS's register.
#[derive(Debug)]
pub struct Mspbs {
    facilities: Vec<Facility>,
}

impl Mspbs {
    /// Reads the register.
    ///
    /// # Errors
    /// The first row that does not parse.
    pub fn open() -> Result<Self, DataError> {
        Ok(Self { facilities: data::facilities()? })
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
            .add_service(FacilityServiceServer::new(self))
            .serve_with_incoming_shutdown(incoming, stop)
            .await
    }
}

#[tonic::async_trait]
impl FacilityService for Mspbs {
    async fn list_facilities(
        &self,
        request: Request<ListFacilitiesRequest>,
    ) -> Result<Response<ListFacilitiesResponse>, Status> {
        let ListFacilitiesRequest { page_size, page_token } = request.into_inner();
        let Page { rows, next_page_token } = page(&self.facilities, page_size, &page_token, &SIZES)?;
        Ok(Response::new(ListFacilitiesResponse { facilities: rows, next_page_token }))
    }
}

const SIZES: Sizes = Sizes { default: 100, max: 500 };
