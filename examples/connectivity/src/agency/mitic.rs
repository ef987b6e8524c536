//! MITIC's service: public spaces with free internet.

use tonic::{Request, Response, Status};

use super::paging::{Page, Sizes, page};
use crate::data::{self, DataError, Published};
use crate::wire::mitic::public_space_service_server::PublicSpaceService;
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
    pub fn open(published: &Published) -> Result<Self, DataError> {
        Ok(Self { spaces: data::public_spaces(published)? })
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
