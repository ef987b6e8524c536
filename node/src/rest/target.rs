//! The target of a call: `/r1/INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE/rest/of/path?query` (x-road.md §3.1).
//!
//! The door reads it from its caller and the guard again from the sealed context: the provider's node trusts neither
//! the caller nor the consumer's node.

use peabiru_proto::id::{InvalidId, NodeId, ServiceId, SubsystemId};
use peabiru_proto::limits::MAX_TARGET_BYTES;
use peabiru_proto::path::{PathError, RestPath, VERBS, decode};

/// A call by verb and path, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which service.
    pub service: ServiceId,
    /// `GET`.
    pub verb: &'static str,
    /// Below the service, without the query.
    pub path: RestPath,
    /// After the question mark, as it came.
    pub query: Option<String>,
}

/// Why a target is not carried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not one of X-Road's eight.
    #[error("the verb is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE")]
    Verb,
    /// Longer than a node carries.
    #[error("path and query have more than {MAX_TARGET_BYTES} bytes")]
    TooLong,
    /// Another form.
    #[error("the path is not /r1/INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE…")]
    Form,
    /// A part of the identifier.
    #[error("a part of the identifier has a percent sign without two hex digits, or is not UTF-8")]
    Escape,
    /// The identifier.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// What follows it.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The query.
    #[error("the query has a character that must be percent-encoded")]
    Query,
}

impl Target {
    /// Reads a verb and a request target in origin form.
    ///
    /// # Errors
    /// `TargetError`: it is none, or can be read in two ways.
    pub fn parse(verb: &str, target: &str) -> Result<Self, TargetError> {
        let verb = VERBS.iter().copied().find(|known| *known == verb).ok_or(TargetError::Verb)?;
        if target.len() > MAX_TARGET_BYTES {
            return Err(TargetError::TooLong);
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        if query.is_some_and(|query| !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')) {
            return Err(TargetError::Query);
        }
        let path = path.strip_prefix(PREFIX).ok_or(TargetError::Form)?;
        let mut pieces = path.splitn(6, '/');
        let codes: Vec<&str> = pieces.by_ref().take(5).collect();
        if codes.len() < 5 {
            return Err(TargetError::Form);
        }
        let service = ServiceId::from_codes(&decoded(&codes)?)?;
        let path = RestPath::parse(&pieces.next().map(|rest| format!("/{rest}")).unwrap_or_default())?;
        Ok(Self { service, verb, path, query: query.map(str::to_owned) })
    }

    /// Path and query below a base that has no slash at its end.
    #[must_use]
    pub fn below(&self, base: &str) -> String {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{base}{}{query}", self.path)
    }

    /// One value of the query.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        query_value(self.query.as_deref()?, name)
    }
}

/// One value of a query, decoded.
#[must_use]
pub fn query_value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| decode(value))
}

/// Whether a path is X-Road's.
#[must_use]
pub fn is_r1(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// The target of a call that a host name stands for: `path` is what was asked below the service.
#[must_use]
pub fn of_route(service: &ServiceId, path: &str) -> String {
    // Anything else, `*` for one, is no path and stays none.
    if path.starts_with('/') { format!("{PREFIX}{service}{path}") } else { path.to_owned() }
}

/// Reads `X-Road-Client`: parts in any percent-encoding, as X-Road takes them.
///
/// # Errors
/// `TargetError` if it is no subsystem.
pub fn client(text: &str) -> Result<SubsystemId, TargetError> {
    Ok(SubsystemId::from_codes(&decoded(&text.split('/').collect::<Vec<_>>())?)?)
}

/// Reads `X-Road-Security-Server`.
///
/// # Errors
/// `TargetError` if it is no node.
pub fn security_server(text: &str) -> Result<NodeId, TargetError> {
    Ok(NodeId::from_codes(&decoded(&text.split('/').collect::<Vec<_>>())?)?)
}

/// A part holds no slash once it is decoded: `from_codes` would not take it for two, and the identifier refuses it.
fn decoded(parts: &[&str]) -> Result<Vec<String>, TargetError> {
    parts.iter().map(|part| decode(part).ok_or(TargetError::Escape)).collect()
}

const PREFIX: &str = "/r1/";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(target: &str) -> Result<Target, TargetError> {
        Target::parse("GET", target)
    }

    #[test]
    fn each_part_is_decoded_on_its_own() {
        let target = parse("/r1/PY/GOV/MEC/educaci%C3%B3n/schools/a/%C3%B1?x=1/2?3").unwrap();
        assert_eq!(target.service.as_str(), "PY/GOV/MEC/educaci%C3%B3n/schools");
        assert_eq!(target.path.segments(), ["a", "ñ"]);
        assert_eq!(target.below("/base"), "/base/a/%C3%B1?x=1/2?3");
        assert_eq!(parse("/r1/PY/GOV/MEC/educaci%c3%b3n/schools").unwrap().service, target.service);
        let bare = parse("/r1/PY/GOV/MEC/app/schools").unwrap();
        assert_eq!((bare.below("/base"), bare.query), ("/base/".to_owned(), None));
        let asked = parse("/r1/PY/GOV/MEC/app/getOpenAPI?a=b&serviceCode=pets%20x").unwrap();
        assert_eq!(asked.query_value("serviceCode").as_deref(), Some("pets x"));
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for target in [
            "/r1/PY/GOV/MEC/app",
            "/r1/PY/GOV/MEC/app/",
            "/r2/PY/GOV/MEC/app/schools",
            "/r1/PY/GOV/MEC/app/sch%2fools/x",
            "/r1/PY/GOV/MEC/../app/schools",
            "/r1/PY/GOV/MEC/%2e%2e/schools",
            "/r1/PY/GOV//MEC/app/schools",
            "/r1/PY/GOV/MEC/app/schools/../../x",
            "/r1/PY/GOV/MEC/app/schools/%2e%2e/x",
            "/r1/PY/GOV/MEC/app/schools/x?a=\u{e9}",
            "http://elsewhere/r1/PY/GOV/MEC/app/schools",
            "*",
            "",
        ] {
            assert!(parse(target).is_err(), "{target}");
        }
        assert_eq!(Target::parse("CONNECT", "/r1/PY/GOV/MEC/app/schools"), Err(TargetError::Verb));
        assert_eq!(parse(&format!("/r1/{}", "a".repeat(MAX_TARGET_BYTES))), Err(TargetError::TooLong));
    }

    #[test]
    fn a_route_gives_the_target_and_nothing_climbs_out_of_it() {
        let service: ServiceId = "PY/GOV/MEC/educaci%C3%B3n/schools".parse().unwrap();
        let target = parse(&of_route(&service, "/a/7?x=1")).unwrap();
        assert_eq!((&target.service, target.below("").as_str()), (&service, "/a/7?x=1"));
        for path in ["/../other/a", "/%2e%2e/other", "*", "?x", "\\..\\other"] {
            let parsed = parse(&of_route(&service, path));
            assert!(parsed.is_err() || parsed.is_ok_and(|target| target.service == service), "{path}");
        }
        assert!(parse(&of_route(&service, "*")).is_err());
    }

    #[test]
    fn a_client_is_named_in_any_encoding() {
        let canonical: SubsystemId = "PY/GOV/MEC/educaci%C3%B3n".parse().unwrap();
        assert_eq!(client("PY/GOV/MEC/educación"), Ok(canonical.clone()));
        assert_eq!(client("PY/GOV/MEC/educaci%c3%b3n"), Ok(canonical));
        assert!(client("PY/GOV/MEC").is_err() && client("").is_err() && client("PY/GOV/MEC/a%2Fb").is_err());
    }
}
