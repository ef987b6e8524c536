//! Which headers of a REST call pass, and what is added (x-road.md §3.2).
//!
//! As in X-Road what belongs to one connection or reveals the software is removed, and the rest passes in order,
//! repeated ones too. Beyond X-Road: credentials never enter a sealed context, and headers that make a service act
//! on another path or verb than the one that was granted are removed.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use peabiru_proto::context::CREDENTIALS;
use peabiru_proto::wire::ContextField;

/// Names the message, by the caller or its node.
pub const ID: &str = "x-road-id";
/// One for each exchange.
pub const REQUEST_ID: &str = "x-road-request-id";
/// Of the request that an answer belongs to.
pub const REQUEST_HASH: &str = "x-road-request-hash";
/// Which of the provider's nodes is meant.
pub const SECURITY_SERVER: &str = "x-road-security-server";
/// Of a fault.
pub const ERROR: &str = "x-road-error";

/// Which way a header goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the application to the service.
    Request,
    /// Back.
    Answer,
}

/// The headers that pass, in received order, as they are sealed: the octets as they came.
#[must_use]
pub fn to_fields(headers: &HeaderMap, way: Way) -> Vec<ContextField> {
    let nominated = nominated(headers);
    let passing =
        headers.iter().filter(|(name, _)| passes(name.as_str(), way) && !nominated.contains(name.as_str()));
    passing
        .map(|(name, value)| ContextField {
            name: name.as_str().to_owned(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        })
        .collect()
}

/// Sealed fields as headers. A peer may seal anything: what would not have passed at its door does not pass here, and
/// what is no header is left out.
pub fn put_fields(fields: &[ContextField], way: Way, headers: &mut HeaderMap) {
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok();
        let name = name.filter(|name| name.as_str() == field.name && passes(name.as_str(), way));
        let value = HeaderValue::from_maybe_shared(field.value.clone()).ok();
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
}

/// Sets a header; a value that is none is left out.
pub fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn passes(name: &str, way: Way) -> bool {
    let own = match way {
        Way::Request => OF_REQUEST,
        Way::Answer => OF_ANSWER,
    };
    !HOP.contains(&name)
        && !CREDENTIALS.contains(&name)
        && !own.contains(&name)
        && !name.starts_with("x-peabiru-")
        && !name.starts_with("proxy-")
}

/// Headers that `Connection` names are of the connection too (RFC 9110 §7.6.1).
fn nominated(headers: &HeaderMap) -> BTreeSet<String> {
    let values = headers.get_all(http::header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

/// Removed in both directions, as X-Road does.
const HOP: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
/// Made by the nodes, and those that some servers obey instead of the request line.
const OF_REQUEST: &[&str] = &[
    REQUEST_ID,
    REQUEST_HASH,
    "http2-settings",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];
/// Set by the caller's node itself, from what it knows.
const OF_ANSWER: &[&str] = &[ID, "x-road-client", "x-road-service", REQUEST_ID, REQUEST_HASH, ERROR];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn names(fields: &[ContextField]) -> Vec<&str> {
        fields.iter().map(|field| field.name.as_str()).collect()
    }

    #[test]
    fn what_belongs_to_a_connection_or_to_the_door_stays() {
        let came = headers(&[
            ("accept", "a/b"),
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("host", "h"),
            ("user-agent", "curl"),
            ("authorization", "secret"),
            ("x-peabiru-token", "secret"),
            ("x-road-client", "PY/GOV/MEC/app"),
            ("x-road-request-id", "mine"),
            ("x-rewrite-url", "/admin"),
            ("accept", "c/d"),
            ("trace-bin", "AAECAw=="),
        ]);
        let fields = to_fields(&came, Way::Request);
        assert_eq!(names(&fields), ["accept", "accept", "x-road-client", "trace-bin"]);
        assert_eq!(fields[3].value.as_ref(), b"AAECAw==", "the octets as they came");
        let answered =
            to_fields(&headers(&[("location", "/x"), ("server", "s"), ("x-road-error", "e")]), Way::Answer);
        assert_eq!(names(&answered), ["location"]);
    }

    #[test]
    fn a_peer_cannot_seal_a_header_that_does_not_pass_or_splits_the_request() {
        let field =
            |name: &str, value: &'static str| ContextField { name: name.to_owned(), value: value.into() };
        let fields = [
            field("note", "fine"),
            field("Note", "capital"),
            field("note", "a\r\nx-injected: 1"),
            field("note", "a\nb"),
            field("note\r\nx", "1"),
            field("transfer-encoding", "chunked"),
            field("content-length", "1"),
            field("x-original-url", "/admin"),
            field("authorization", "x"),
        ];
        let mut put = HeaderMap::new();
        put_fields(&fields, Way::Request, &mut put);
        assert_eq!(
            put.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect::<Vec<_>>(),
            [("note", b"fine".as_slice())]
        );
    }
}
