//! MITIC's planner: reads districts and schools page by page with ordinary stubs, and keeps which exchange gave what.

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::wire::ine::district_service_client::DistrictServiceClient;
use crate::wire::ine::{District, ListDistrictsRequest};
use crate::wire::mec::school_service_client::SchoolServiceClient;
use crate::wire::mec::{ListSchoolsRequest, School};
use crate::{DISTRICT_SERVICE, PURPOSE, SCHOOL_SERVICE};

/// Asks INE and MEC through whatever the channel leads to: the planner's own node.
#[derive(Debug, Clone)]
pub struct Planner {
    channel: Channel,
    credentials: Vec<(&'static str, MetadataValue<Ascii>)>,
}

/// Everything that was read, with the exchanges it came in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// INE's.
    pub districts: Vec<District>,
    /// MEC's.
    pub schools: Vec<School>,
    /// In the order in which they were read.
    pub exchanges: Vec<Source>,
}

/// One exchange, and what it gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// 32 hex digits; empty if the answer did not come over the road.
    pub exchange: String,
    /// Full name of the service.
    pub service: &'static str,
    /// How many rows came.
    pub rows: usize,
}

/// A page could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{service} after {rows} rows: {status}")]
pub struct PlannerError {
    /// Which service.
    pub service: &'static str,
    /// How many rows had come.
    pub rows: usize,
    /// What it answered.
    pub status: Box<Status>,
}

impl Planner {
    /// A planner that shows these metadata with each call: its credential at its own node.
    #[must_use]
    pub fn new(channel: Channel, credentials: Vec<(&'static str, MetadataValue<Ascii>)>) -> Self {
        Self { channel, credentials }
    }

    /// Reads everything. `progress` is told of each exchange.
    ///
    /// # Errors
    /// The first page that cannot be read.
    pub async fn read(&self, mut progress: impl FnMut(&Source)) -> Result<Findings, PlannerError> {
        let mut findings = Findings::default();
        let mut districts = DistrictServiceClient::new(self.channel.clone());
        let mut page_token = String::new();
        loop {
            let request = ListDistrictsRequest { page_size: DISTRICTS_PER_PAGE, page_token };
            let failed = failed(DISTRICT_SERVICE, findings.districts.len());
            let answer = districts.list_districts(self.request(request)).await.map_err(failed)?;
            let source = source(answer.metadata(), DISTRICT_SERVICE, answer.get_ref().districts.len());
            progress(&source);
            findings.exchanges.push(source);
            let page = answer.into_inner();
            findings.districts.extend(page.districts);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let mut schools = SchoolServiceClient::new(self.channel.clone());
        loop {
            let request = ListSchoolsRequest { page_size: SCHOOLS_PER_PAGE, page_token };
            let failed = failed(SCHOOL_SERVICE, findings.schools.len());
            let answer = schools.list_schools(self.request(request)).await.map_err(failed)?;
            let source = source(answer.metadata(), SCHOOL_SERVICE, answer.get_ref().schools.len());
            progress(&source);
            findings.exchanges.push(source);
            let page = answer.into_inner();
            findings.schools.extend(page.schools);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(findings)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("x-peabiru-purpose", MetadataValue::from_static(PURPOSE));
        for (name, value) in &self.credentials {
            request.metadata_mut().insert(*name, value.clone());
        }
        request
    }
}

fn source(metadata: &MetadataMap, service: &'static str, rows: usize) -> Source {
    let exchange = metadata.get(peabiru_proto::context::EXCHANGE_ID).and_then(|id| id.to_str().ok());
    Source { exchange: exchange.unwrap_or_default().to_owned(), service, rows }
}

fn failed(service: &'static str, rows: usize) -> impl FnOnce(Status) -> PlannerError {
    move |status| PlannerError { service, rows, status: Box::new(status) }
}

const DISTRICTS_PER_PAGE: u32 = 50;
const SCHOOLS_PER_PAGE: u32 = 250;
