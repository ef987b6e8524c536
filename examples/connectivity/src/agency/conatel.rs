//! CONATEL's service: published figures and programmes.

use tonic::{Request, Response, Status};

use super::paging::{Page, Sizes, page};
use crate::data::{self, DataError, Published};
use crate::wire::conatel::publication_service_server::PublicationService;
use crate::wire::conatel::{
    Indicator, ListIndicatorsRequest, ListIndicatorsResponse, ListProgrammesRequest, ListProgrammesResponse,
    Programme,
};

/// Answers from what was published.
#[derive(Debug)]
pub struct Conatel {
    indicators: Vec<Indicator>,
    programmes: Vec<Programme>,
}

impl Conatel {
    /// Reads the files.
    ///
    /// # Errors
    /// The first row that does not parse.
    pub fn open(published: &Published) -> Result<Self, DataError> {
        Ok(Self { indicators: data::indicators(published)?, programmes: data::programmes(published)? })
    }
}

#[tonic::async_trait]
impl PublicationService for Conatel {
    async fn list_indicators(
        &self,
        request: Request<ListIndicatorsRequest>,
    ) -> Result<Response<ListIndicatorsResponse>, Status> {
        let ListIndicatorsRequest { page_size, page_token } = request.into_inner();
        let Page { rows, next_page_token } = page(&self.indicators, page_size, &page_token, &SIZES)?;
        Ok(Response::new(ListIndicatorsResponse { indicators: rows, next_page_token }))
    }

    async fn list_programmes(
        &self,
        request: Request<ListProgrammesRequest>,
    ) -> Result<Response<ListProgrammesResponse>, Status> {
        let ListProgrammesRequest { page_size, page_token } = request.into_inner();
        let Page { rows, next_page_token } = page(&self.programmes, page_size, &page_token, &SIZES)?;
        Ok(Response::new(ListProgrammesResponse { programmes: rows, next_page_token }))
    }
}

const SIZES: Sizes = Sizes { default: 50, max: 200 };
