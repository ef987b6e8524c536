//! The agencies' services. Plain tonic and axum: they know nothing of the road.

use std::future::Future;

use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

pub mod conatel;
pub mod ine;
pub mod mec;
pub mod mec_rest;
pub mod mitic;
pub mod mspbs;
mod paging;

use crate::data::{DataError, Published};
use crate::wire::conatel::publication_service_server::PublicationServiceServer;
use crate::wire::ine::district_service_server::DistrictServiceServer;
use crate::wire::mec::school_service_server::SchoolServiceServer;
use crate::wire::mitic::public_space_service_server::PublicSpaceServiceServer;
use crate::wire::mspbs::facility_service_server::FacilityServiceServer;

/// A service that an agency offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// INE: departments, districts, boundaries.
    Districts,
    /// MEC: school sites.
    Schools,
    /// MEC: one school site, over HTTP.
    SchoolsRest,
    /// MSPBS: health facilities.
    Facilities,
    /// CONATEL: figures and programmes.
    Publications,
    /// MITIC: public spaces with free internet.
    PublicSpaces,
}

/// Why a service ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its register cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// What the gRPC transport says.
    #[error("serving gRPC: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// What the listener says.
    #[error("serving HTTP: {0}")]
    Listener(#[from] std::io::Error),
}

impl Service {
    /// Its code: the full name of a gRPC service.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Districts => crate::DISTRICT_SERVICE,
            Self::Schools => crate::SCHOOL_SERVICE,
            Self::SchoolsRest => crate::SCHOOL_REST_SERVICE,
            Self::Facilities => crate::FACILITY_SERVICE,
            Self::Publications => crate::PUBLICATION_SERVICE,
            Self::PublicSpaces => crate::PUBLIC_SPACE_SERVICE,
        }
    }

    /// What its agency registers: a file descriptor set with its imports, or an OpenAPI document.
    #[must_use]
    pub fn contract(self) -> &'static [u8] {
        match self {
            Self::Districts => crate::DISTRICT_CONTRACT,
            Self::Schools => crate::SCHOOL_CONTRACT,
            Self::SchoolsRest => crate::SCHOOL_REST_CONTRACT,
            Self::Facilities => crate::FACILITY_CONTRACT,
            Self::Publications => crate::PUBLICATION_CONTRACT,
            Self::PublicSpaces => crate::PUBLIC_SPACE_CONTRACT,
        }
    }

    /// Answers from these files until `stop` ends.
    ///
    /// # Errors
    /// What the register or the listener says.
    pub async fn serve(
        self,
        published: &Published,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let mut grpc = Server::builder();
        let router = match self {
            Self::SchoolsRest => {
                return Ok(mec_rest::MecRest::open(published)?.serve(listener, stop).await?);
            }
            Self::Districts => grpc.add_service(DistrictServiceServer::new(ine::Ine::open(published)?)),
            Self::Schools => grpc.add_service(SchoolServiceServer::new(mec::Mec::open(published)?)),
            Self::Facilities => grpc.add_service(FacilityServiceServer::new(mspbs::Mspbs::open(published)?)),
            Self::Publications => {
                grpc.add_service(PublicationServiceServer::new(conatel::Conatel::open(published)?))
            }
            Self::PublicSpaces => {
                grpc.add_service(PublicSpaceServiceServer::new(mitic::Mitic::open(published)?))
            }
        };
        // Without it the system holds each answer back for 40 ms, until the last part of it is acknowledged.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Ok(router.serve_with_incoming_shutdown(incoming, stop).await?)
    }
}
