//! The agencies' services. Plain tonic and axum: they know nothing of the road.

use std::future::Future;

use tokio::net::TcpListener;

pub mod conatel;
pub mod ine;
pub mod mec;
pub mod mec_rest;
pub mod mitic;
pub mod mspbs;
mod paging;

use crate::data::DataError;

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

    /// Answers from the published files until `stop` ends.
    ///
    /// # Errors
    /// What the register or the listener says.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        match self {
            Self::Districts => ine::Ine::open()?.serve(listener, stop).await?,
            Self::Schools => mec::Mec::open()?.serve(listener, stop).await?,
            Self::SchoolsRest => mec_rest::MecRest::open()?.serve(listener, stop).await?,
            Self::Facilities => mspbs::Mspbs::open()?.serve(listener, stop).await?,
            Self::Publications => conatel::Conatel::open()?.serve(listener, stop).await?,
            Self::PublicSpaces => mitic::Mitic::open()?.serve(listener, stop).await?,
        }
        Ok(())
    }
}
