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

/// Sealed fields as headers. What is no header (of a peer that seals anything) is left out: the seal keeps it.
pub fn put_fields(fields: &[ContextField], headers: &mut HeaderMap) {
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(context::header_value(field));
        // Judged as the header that it becomes: a peer may have sealed any spelling of it.
        if let (Ok(name), Ok(value)) = (name, value)
            && !stays_at_door(name.as_str())
        {
            headers.append(name, value);
        }
    }
}

/// A header's value as text.
#[must_use]
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
}
