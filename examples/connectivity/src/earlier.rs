//! What the agencies answered in an earlier run, as it was sealed. It stands in for an agency that does not answer now, and
//! says from what the figures have changed.

use bytes::Bytes;
use peabiru_proto::time::Timestamp;
use prost::{DecodeError, Message as _};

use crate::agency::Service;
use crate::planner::{Findings, Source};
use crate::receive::Accepted;
use crate::wire::conatel::{ListIndicatorsResponse, ListProgrammesResponse};
use crate::wire::ine::{ListBoundariesResponse, ListDepartmentsResponse, ListDistrictsResponse};
use crate::wire::mec::ListSchoolsResponse;
use crate::wire::mitic::ListPublicSpacesResponse;
use crate::wire::mspbs::ListFacilitiesResponse;

/// The answers of an earlier run, in the order of asking.
#[derive(Debug, Clone, Default)]
pub struct Earlier {
    answers: Vec<(Method, Answer)>,
}

/// One answer, as its exchange's evidence holds it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 32 hex digits.
    pub exchange: String,
    /// Full name of the service.
    pub service: String,
    /// Which of its methods, as the contract names it.
    pub method: String,
    /// When the provider sealed it.
    pub answered_at: Timestamp,
    /// The message.
    pub message: Bytes,
}

/// An answer that is none of those that the planner asks for.
#[derive(Debug, thiserror::Error)]
pub enum NotAnAnswer {
    /// It asks no such method.
    #[error("exchange {exchange}: the planner does not ask {service} {method}")]
    Method {
        /// Which exchange.
        exchange: String,
        /// Full name of the service.
        service: String,
        /// Which of its methods.
        method: String,
    },
    /// It does not parse.
    #[error("exchange {exchange}: {source}")]
    Message {
        /// Which exchange.
        exchange: String,
        /// What is wrong.
        source: DecodeError,
    },
}

/// A method that the planner asks.
#[derive(Debug, Clone, Copy)]
struct Method {
    service: Service,
    /// As the planner and its report name it.
    name: &'static str,
    /// As the contract does.
    contract: &'static str,
    accept: fn(&mut Accepted, &[u8], usize) -> Result<usize, DecodeError>,
}

impl Earlier {
    /// Answers in the order of asking.
    ///
    /// # Errors
    /// The first that is not as it should be.
    pub fn new(answers: Vec<Answer>) -> Result<Self, NotAnAnswer> {
        let known = |answer: Answer| {
            let Answer { exchange, service, method, .. } = &answer;
            let named = |it: &&Method| it.service.code() == service && it.contract == method;
            let Some(known) = METHODS.iter().find(named) else {
                let (exchange, service, method) = (exchange.clone(), service.clone(), method.clone());
                return Err(NotAnAnswer::Method { exchange, service, method });
            };
            let read = (known.accept)(&mut Accepted::default(), &answer.message, 0);
            read.map_err(|source| NotAnAnswer::Message { exchange: exchange.clone(), source })?;
            Ok((*known, answer))
        };
        Ok(Self { answers: answers.into_iter().map(known).collect::<Result<_, _>>()? })
    }

    /// Everything, as it was found then.
    #[must_use]
    pub fn findings(&self) -> Findings {
        let mut findings = Findings::default();
        self.answers.iter().for_each(|(method, answer)| replay(*method, answer, &mut findings));
        findings
    }

    /// When a method last answered; none if it never did.
    pub(crate) fn last_answered(&self, service: Service, method: &str) -> Option<Timestamp> {
        self.of(service, method).map(|(_, answer)| answer.answered_at).max()
    }

    /// Puts what a method answered then among what is found now. Gives the number of rows.
    pub(crate) fn stand_in(&self, service: Service, method: &str, findings: &mut Findings) -> usize {
        let before = findings.exchanges.len();
        self.of(service, method).for_each(|(method, answer)| replay(*method, answer, findings));
        findings.exchanges[before..].iter().map(|source| source.rows).sum()
    }

    fn of(&self, service: Service, method: &str) -> impl Iterator<Item = &(Method, Answer)> {
        self.answers.iter().filter(move |(it, _)| it.service == service && it.name == method)
    }
}

fn replay(method: Method, answer: &Answer, findings: &mut Findings) {
    let at = findings.exchanges.len();
    let rows = (method.accept)(&mut findings.accepted, &answer.message, at);
    findings.exchanges.push(Source {
        exchange: answer.exchange.clone(),
        service: method.service.code(),
        method: method.name,
        // `new` has read it.
        rows: rows.unwrap_or_default(),
        earlier: Some(answer.answered_at),
    });
}

macro_rules! method {
    ($service:ident, $name:literal, $contract:literal, $response:ty, $rows:ident) => {
        Method {
            service: Service::$service,
            name: $name,
            contract: $contract,
            accept: |accepted, message, exchange| {
                let rows = <$response>::decode(message)?.$rows;
                let count = rows.len();
                accepted.page(rows, exchange);
                Ok(count)
            },
        }
    };
}

const METHODS: [Method; 8] = [
    method!(Districts, "list_departments", "ListDepartments", ListDepartmentsResponse, departments),
    method!(Districts, "list_districts", "ListDistricts", ListDistrictsResponse, districts),
    method!(Districts, "list_boundaries", "ListBoundaries", ListBoundariesResponse, boundaries),
    method!(Schools, "list_schools", "ListSchools", ListSchoolsResponse, schools),
    method!(Facilities, "list_facilities", "ListFacilities", ListFacilitiesResponse, facilities),
    method!(Publications, "list_indicators", "ListIndicators", ListIndicatorsResponse, indicators),
    method!(Publications, "list_programmes", "ListProgrammes", ListProgrammesResponse, programmes),
    method!(PublicSpaces, "list_public_spaces", "ListPublicSpaces", ListPublicSpacesResponse, spaces),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::mec::School;

    fn answer(method: &str, message: Vec<u8>) -> Answer {
        Answer {
            exchange: "aa".to_owned(),
            service: Service::Schools.code().to_owned(),
            method: method.to_owned(),
            answered_at: Timestamp::from_ms(7),
            message: message.into(),
        }
    }

    #[test]
    fn rows_stand_in_with_their_own_exchange_and_time() {
        let schools =
            ["1", "2"].map(|code| School { establishment_code: code.to_owned(), ..School::default() });
        let message = ListSchoolsResponse { schools: schools.to_vec(), ..ListSchoolsResponse::default() };
        let earlier = Earlier::new(vec![answer("ListSchools", message.encode_to_vec())]).unwrap();
        let mut findings = Findings::default();
        assert_eq!(earlier.stand_in(Service::Facilities, "list_facilities", &mut findings), 0);
        assert_eq!(earlier.stand_in(Service::Schools, "list_schools", &mut findings), 2);
        assert_eq!(findings.exchanges[0].earlier, earlier.last_answered(Service::Schools, "list_schools"));
        assert_eq!(findings.exchanges[0].earlier, Some(Timestamp::from_ms(7)));
        assert_eq!(findings.accepted.schools.iter().map(|(code, _)| code).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(earlier.findings().accepted, findings.accepted);
    }

    #[test]
    fn what_the_planner_never_asked_is_refused() {
        let refused = Earlier::new(vec![answer("FlagSchool", Vec::new())]).unwrap_err();
        assert!(matches!(refused, NotAnAnswer::Method { .. }));
        let refused = Earlier::new(vec![answer("ListSchools", vec![0xff])]).unwrap_err();
        assert!(matches!(refused, NotAnAnswer::Message { .. }));
    }
}
