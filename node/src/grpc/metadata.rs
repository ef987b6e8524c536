//! Headers to context and back: what an application said beside its message is sealed with it.

use http::{HeaderMap, HeaderName, HeaderValue};
use peabiru_proto::context::{self, stays_at_door};
use peabiru_proto::wire::ContextField;

/// Headers as they are sealed: in received order, credentials and hop headers left out.
#[must_use]
pub fn to_fields(headers: &HeaderMap) -> Vec<ContextField> {
    let sealed = headers.iter().filter(|(name, _)| !stays_at_door(name.as_str()));
    sealed.map(|(name, value)| context::field(name.as_str(), value.as_bytes())).collect()
}

/// Sealed fields as headers. What is no header (of a peer that seals anything) is left out: the seal keeps it. So is a
/// name in capitals, which no honest node seals: it would become another one, perhaps of the door's.
pub fn put_fields(fields: &[ContextField], headers: &mut HeaderMap) {
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let name = name.ok().filter(|name| name.as_str() == field.name && !stays_at_door(name.as_str()));
        let value = HeaderValue::from_maybe_shared(context::header_value(field)).ok();
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
}

/// A header's value as text.
#[must_use]
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_slip_in_a_header_of_the_door_by_writing_it_in_capitals() {
        let field = |name: &str| ContextField { name: name.to_owned(), value: "x".into() };
        let names =
            ["Authorization", "X-Road-Client", "X-PEABIRU-EXCHANGE-ID", "Te", "x-road-userid", "note"];
        let mut headers = HeaderMap::new();
        put_fields(&names.map(field), &mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["note"]);
    }
}
