//! INE's service: departments, districts of the 2022 census, and the boundaries of 2012.

use tonic::{Request, Response, Status};

use super::paging::{Page, Sizes, page};
use crate::data::{self, DataError, Published};
use crate::wire::ine::district_service_server::DistrictService;
use crate::wire::ine::{
    Boundary, Department, District, ListBoundariesRequest, ListBoundariesResponse, ListDepartmentsRequest,
    ListDepartmentsResponse, ListDistrictsRequest, ListDistrictsResponse,
};

/// Answers from INE's register.
#[derive(Debug)]
pub struct Ine {
    departments: Vec<Department>,
    districts: Vec<District>,
    boundaries: Vec<Boundary>,
}

impl Ine {
    /// Reads the register.
    ///
    /// # Errors
    /// The first row or polygon that does not parse.
    pub fn open(published: &Published) -> Result<Self, DataError> {
        Ok(Self {
            departments: data::departments(published)?,
            districts: data::districts(published)?,
            boundaries: data::boundaries(published)?,
        })
    }
}

#[tonic::async_trait]
impl DistrictService for Ine {
    async fn list_departments(
        &self,
        _request: Request<ListDepartmentsRequest>,
    ) -> Result<Response<ListDepartmentsResponse>, Status> {
        Ok(Response::new(ListDepartmentsResponse { departments: self.departments.clone() }))
    }

    async fn list_districts(
        &self,
        request: Request<ListDistrictsRequest>,
    ) -> Result<Response<ListDistrictsResponse>, Status> {
        let ListDistrictsRequest { page_size, page_token } = request.into_inner();
        let Page { rows, next_page_token } = page(&self.districts, page_size, &page_token, &SIZES)?;
        Ok(Response::new(ListDistrictsResponse { districts: rows, next_page_token }))
    }

    async fn list_boundaries(
        &self,
        request: Request<ListBoundariesRequest>,
    ) -> Result<Response<ListBoundariesResponse>, Status> {
        let ListBoundariesRequest { page_size, page_token } = request.into_inner();
        let Page { rows, next_page_token } = page(&self.boundaries, page_size, &page_token, &SIZES)?;
        Ok(Response::new(ListBoundariesResponse { boundaries: rows, next_page_token }))
    }
}

const SIZES: Sizes = Sizes { default: 100, max: 500 };
