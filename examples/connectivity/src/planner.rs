//! MITIC's planner: reads what the agencies say page by page with ordinary stubs, and keeps which exchange gave what.
//!
//! An agency that does not answer is named, with its reason, and the others are read all the same. If it is silent, what it
//! answered in an earlier run stands in, marked as older; if it refuses, nothing does.

use peabiru_proto::time::Timestamp;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::PURPOSE;
use crate::agency::Service;
use crate::earlier::Earlier;
use crate::receive::Accepted;
use crate::wire::conatel::publication_service_client::PublicationServiceClient;
use crate::wire::conatel::{ListIndicatorsRequest, ListProgrammesRequest};
use crate::wire::ine::district_service_client::DistrictServiceClient;
use crate::wire::ine::{ListBoundariesRequest, ListDepartmentsRequest, ListDistrictsRequest};
use crate::wire::mec::ListSchoolsRequest;
use crate::wire::mec::school_service_client::SchoolServiceClient;
use crate::wire::mitic::ListPublicSpacesRequest;
use crate::wire::mitic::public_space_service_client::PublicSpaceServiceClient;
use crate::wire::mspbs::ListFacilitiesRequest;
use crate::wire::mspbs::facility_service_client::FacilityServiceClient;

/// Asks the agencies through whatever the channel leads to: the planner's own node.
#[derive(Debug, Clone)]
pub struct Planner {
    channel: Channel,
    credentials: Vec<(&'static str, MetadataValue<Ascii>)>,
    earlier: Earlier,
}

/// Everything that was read, with the exchanges it came in.
#[derive(Debug, Default)]
pub struct Findings {
    /// Rows that hold, and those that do not.
    pub accepted: Accepted,
    /// In the order of asking; rows name them by position.
    pub exchanges: Vec<Source>,
    /// What could not be read.
    pub missing: Vec<Missing>,
}

/// One exchange, and what it gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// 32 hex digits; empty if the answer did not come over the road.
    pub exchange: String,
    /// Full name of the service.
    pub service: &'static str,
    /// Which of its methods.
    pub method: &'static str,
    /// How many rows came.
    pub rows: usize,
    /// When, if it was in an earlier run.
    pub earlier: Option<Timestamp>,
}

/// A method that gave no answer, or not all of it.
#[derive(Debug, Clone)]
pub struct Missing {
    /// Full name of the service.
    pub service: &'static str,
    /// Which of its methods.
    pub method: &'static str,
    /// How many rows had come.
    pub rows: usize,
    /// What was answered.
    pub status: Box<Status>,
    /// When it answered last, if an earlier run is known.
    pub since: Option<Timestamp>,
    /// How many rows of then stand in.
    pub older_rows: usize,
}

/// Reads all pages of a method; the stubs of two methods have no type in common.
macro_rules! pages {
    ($planner:ident, $reading:ident, $service:expr, $client:ident . $method:ident, $request:ident, $rows:ident) => {{
        let mut page_token = String::new();
        let mut came = 0;
        for _ in 0..PAGES_MAX {
            let request = $planner.request($request { page_size: PAGE_ROWS, page_token });
            match $client.$method(request).await {
                Err(status) => {
                    $reading.missing($service, stringify!($method), came, status);
                    break;
                }
                Ok(answer) => {
                    let rows = answer.get_ref().$rows.len();
                    let exchange = $reading.came($service, stringify!($method), answer.metadata(), rows);
                    let page = answer.into_inner();
                    came += rows;
                    $reading.findings.accepted.page(page.$rows, exchange);
                    page_token = page.next_page_token;
                }
            }
            if page_token.is_empty() {
                break;
            }
        }
    }};
}

impl Planner {
    /// A planner that shows these metadata with each call: its credential at its own node.
    #[must_use]
    pub fn new(channel: Channel, credentials: Vec<(&'static str, MetadataValue<Ascii>)>) -> Self {
        Self { channel, credentials, earlier: Earlier::default() }
    }

    /// Knows what was answered in an earlier run.
    #[must_use]
    pub fn with_earlier(self, earlier: Earlier) -> Self {
        Self { earlier, ..self }
    }

    /// Reads everything that can be read. `progress` is told of each exchange.
    pub async fn read(&self, progress: impl FnMut(&Source)) -> Findings {
        let mut reading = Reading { findings: Findings::default(), earlier: &self.earlier, progress };
        self.read_districts(&mut reading).await;
        let mut schools = SchoolServiceClient::new(self.channel.clone());
        pages!(self, reading, Service::Schools, schools.list_schools, ListSchoolsRequest, schools);
        let mut health = FacilityServiceClient::new(self.channel.clone());
        pages!(self, reading, Service::Facilities, health.list_facilities, ListFacilitiesRequest, facilities);
        let mut published = PublicationServiceClient::new(self.channel.clone());
        pages!(
            self,
            reading,
            Service::Publications,
            published.list_indicators,
            ListIndicatorsRequest,
            indicators
        );
        pages!(
            self,
            reading,
            Service::Publications,
            published.list_programmes,
            ListProgrammesRequest,
            programmes
        );
        let mut spaces = PublicSpaceServiceClient::new(self.channel.clone());
        pages!(
            self,
            reading,
            Service::PublicSpaces,
            spaces.list_public_spaces,
            ListPublicSpacesRequest,
            spaces
        );
        reading.findings
    }

    /// Departments, then districts, then boundaries: each is judged by those before.
    async fn read_districts(&self, reading: &mut Reading<'_, impl FnMut(&Source)>) {
        let mut ine = DistrictServiceClient::new(self.channel.clone());
        let (service, method) = (Service::Districts, "list_departments");
        match ine.list_departments(self.request(ListDepartmentsRequest {})).await {
            Err(status) => reading.missing(service, method, 0, status),
            Ok(answer) => {
                let rows = answer.get_ref().departments.len();
                let exchange = reading.came(service, method, answer.metadata(), rows);
                reading.findings.accepted.page(answer.into_inner().departments, exchange);
            }
        }
        pages!(self, reading, service, ine.list_districts, ListDistrictsRequest, districts);
        pages!(self, reading, service, ine.list_boundaries, ListBoundariesRequest, boundaries);
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

/// What has been read so far, and who is told of it.
struct Reading<'a, P> {
    findings: Findings,
    earlier: &'a Earlier,
    progress: P,
}

impl<P: FnMut(&Source)> Reading<'_, P> {
    /// Notes an exchange. Gives its position.
    fn came(&mut self, service: Service, method: &'static str, metadata: &MetadataMap, rows: usize) -> usize {
        let exchange = metadata.get(peabiru_proto::context::EXCHANGE_ID).and_then(|id| id.to_str().ok());
        let exchange = exchange.unwrap_or_default().to_owned();
        let source = Source { exchange, service: service.code(), method, rows, earlier: None };
        (self.progress)(&source);
        self.findings.exchanges.push(source);
        self.findings.exchanges.len() - 1
    }

    fn missing(&mut self, service: Service, method: &'static str, rows: usize, status: Status) {
        let since = self.earlier.last_answered(service, method);
        // Part of the new rows and all of the old ones would be neither.
        let silent = rows == 0 && SILENT.contains(&status.code());
        let older_rows = if silent { self.earlier.stand_in(service, method, &mut self.findings) } else { 0 };
        let status = Box::new(status);
        self.findings.missing.push(Missing {
            service: service.code(),
            method,
            rows,
            status,
            since,
            older_rows,
        });
    }
}

/// Nobody answered. Who answers that it will not, has taken its rows back.
const SILENT: [Code; 2] = [Code::Unavailable, Code::DeadlineExceeded];
/// Pages of one method that are read: an agency that never ends is left.
const PAGES_MAX: usize = 10_000;
/// Rows that are asked for at once; an agency may give fewer.
const PAGE_ROWS: u32 = 250;
