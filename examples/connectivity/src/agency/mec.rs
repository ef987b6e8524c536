//! MEC's service: school sites and their pupils.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::paging::{Page, Sizes, page};
use crate::data::{self, DataError, Published};
use crate::wire::mec::school_service_server::SchoolService;
use crate::wire::mec::{
    Doubt, FlagSchoolRequest, FlagSchoolResponse, ListSchoolsRequest, ListSchoolsResponse, School,
    StreamSchoolsRequest, StreamSchoolsResponse,
};

/// Answers from MEC's register.
#[derive(Debug)]
pub struct Mec {
    schools: Vec<School>,
    /// How many doubts were noted, by establishment.
    doubts: Mutex<HashMap<String, u32>>,
}

impl Mec {
    /// Reads the register.
    ///
    /// # Errors
    /// The first row that does not parse.
    pub fn open(published: &Published) -> Result<Self, DataError> {
        Ok(Self::with(data::schools(published)?))
    }

    /// Answers from these rows, sorted by code.
    #[must_use]
    pub fn with(schools: Vec<School>) -> Self {
        Self { schools, doubts: Mutex::default() }
    }
}

#[tonic::async_trait]
impl SchoolService for Mec {
    async fn list_schools(
        &self,
        request: Request<ListSchoolsRequest>,
    ) -> Result<Response<ListSchoolsResponse>, Status> {
        let ListSchoolsRequest { page_size, page_token } = request.into_inner();
        let Page { rows, next_page_token } = page(&self.schools, page_size, &page_token, &SIZES)?;
        Ok(Response::new(ListSchoolsResponse { schools: rows, next_page_token }))
    }

    type StreamSchoolsStream = Pin<Box<dyn Stream<Item = Result<StreamSchoolsResponse, Status>> + Send>>;

    async fn stream_schools(
        &self,
        request: Request<StreamSchoolsRequest>,
    ) -> Result<Response<Self::StreamSchoolsStream>, Status> {
        let district_code = request.into_inner().district_code;
        let schools: Vec<_> =
            self.schools.iter().filter(|school| school.district_code == district_code).cloned().collect();
        if schools.is_empty() {
            return Err(Status::not_found("district_code: no site lies there"));
        }
        let answers = schools.into_iter().map(|school| Ok(StreamSchoolsResponse { school: Some(school) }));
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }

    async fn flag_school(
        &self,
        request: Request<FlagSchoolRequest>,
    ) -> Result<Response<FlagSchoolResponse>, Status> {
        let request = request.into_inner();
        if request.doubt() == Doubt::Unspecified {
            return Err(Status::invalid_argument("doubt: say what seems wrong"));
        }
        let known = self
            .schools
            .binary_search_by(|school| school.establishment_code.cmp(&request.establishment_code));
        known.map_err(|_| Status::not_found("establishment_code: no such site"))?;
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = doubts.entry(request.establishment_code).or_default();
        *count += 1;
        Ok(Response::new(FlagSchoolResponse { doubts: *count }))
    }
}

const SIZES: Sizes = Sizes { default: 250, max: 1_000 };
