//! MITIC's service: public spaces with free internet.

use std::future::Future;

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::paging::{Page, Sizes, page};
use crate::data::{self, DataError};
use crate::wire::mitic::public_space_service_server::{PublicSpaceService, PublicSpaceServiceServer};
use crate::wire::mitic::{ListPublicSpacesRequest, ListPublicSpacesResponse, PublicSpace};

/// Answers from MITIC's register.
#[derive(Debug)]
pub struct Mitic {
    spaces: Vec<PublicSpace>,
}

impl Mitic {
    /// Reads the register.
    ///
    /// # Errors
    /// The first row that does not parse.
    pub fn open() -> Result<Self, DataError> {
        Ok(Self { spaces: data::public_spaces()? })
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
            .add_service(PublicSpaceServiceServer::new(self))
            .serve_with_incoming_shutdown(incoming, stop)
            .await
    }
}

#[tonic::async_trait]
impl PublicSpaceService for Mitic {
    async fn list_public_spaces(
        &self,
        request: Request<ListPublicSpacesRequest>,
    ) -> Result<Response<ListPublicSpacesResponse>, Status> {
        let ListPublicSpacesRequest { page_size, page_token } = request.into_inner();
        let Page { rows, next_page_token } = page(&self.spaces, page_size, &page_token, &SIZES)?;
        Ok(Response::new(ListPublicSpacesResponse { spaces: rows, next_page_token }))
    }
}

const SIZES: Sizes = Sizes { default: 50, max: 200 };
