//! MSPBS's service: health facilities.

use tonic::{Request, Response, Status};

use super::paging::{Page, Sizes, page};
use crate::data::{self, DataError, Published};
use crate::wire::mspbs::facility_service_server::FacilityService;
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
    pub fn open(published: &Published) -> Result<Self, DataError> {
        Ok(Self { facilities: data::facilities(published)? })
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
