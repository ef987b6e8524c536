//! The context: chunk 0 of every payload, what an application supplies beside the body.
//!
//! Credentials never enter it: they are for the door alone.

use bytes::{Buf as _, Bytes};
use data_encoding::{BASE64, BASE64_NOPAD};
use prost::Message as _;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use crate::limits::MAX_CONTEXT_FIELDS;
use crate::wire::{Context, ContextField};

/// Headers that carry a credential: stripped before anything is sealed.
pub const CREDENTIALS: &[&str] = &["authorization", "cookie", "proxy-authorization", "set-cookie", TOKEN];
/// The hashed token of a local caller.
pub const TOKEN: &str = "x-peabiru-token";
/// Which service is asked.
pub const SERVICE: &str = "x-road-service";
/// Which of its subsystems the caller speaks for.
pub const CLIENT: &str = "x-road-client";
/// Why.
pub const PURPOSE: &str = "x-peabiru-purpose";
/// X-Road's user id.
pub const USER_ID: &str = "x-road-userid";
/// X-Road's issue.
pub const ISSUE: &str = "x-road-issue";
/// X-Road's represented party.
pub const REPRESENTED_PARTY: &str = "x-road-represented-party";
/// Names the exchange to caller and service.
pub const EXCHANGE_ID: &str = "x-peabiru-exchange-id";
/// The stable code of a fault.
pub const FAULT: &str = "x-peabiru-fault";

/// Whether the header stays with the door: a credential, one that a node reads itself, or one of HTTP's hop.
#[must_use]
pub fn stays_at_door(name: &str) -> bool {
    CREDENTIALS.contains(&name)
        || name.starts_with("x-road-")
        || name.starts_with("x-peabiru-")
        || HOP.contains(&name)
}

/// One header in its sealed form. A binary value (`…-bin`) is decoded; if it is no base64, it stays as it came.
#[must_use]
pub fn field(name: &str, value: &[u8]) -> ContextField {
    let decoded = if name.ends_with(BINARY) { decode_binary(value) } else { None };
    let value = decoded.map_or_else(|| Bytes::copy_from_slice(value), Bytes::from);
    ContextField { name: name.to_owned(), value }
}

/// The header's value as it goes on the wire again: base64 without padding for binary ones.
#[must_use]
pub fn header_value(field: &ContextField) -> Bytes {
    if field.name.ends_with(BINARY) {
        return BASE64_NOPAD.encode(&field.value).into();
    }
    field.value.clone()
}

/// Reads chunk 0 of a payload.
///
/// # Errors
/// What is wrong, as a sentence about the message.
pub fn read(chunk: Bytes) -> Result<Context, &'static str> {
    if fields_of(&chunk) > MAX_CONTEXT_FIELDS {
        return Err("its context has too many fields");
    }
    Context::decode(chunk).map_err(|_| "its context is not a Context message")
}

/// How many fields a message has, counted before they cost memory. What does not parse ends the count.
fn fields_of(message: &Bytes) -> usize {
    let mut rest = message.clone();
    let mut fields = 0;
    while rest.has_remaining() {
        let skipped = decode_key(&mut rest)
            .and_then(|(number, kind)| skip_field(kind, number, &mut rest, DecodeContext::default()));
        if skipped.is_err() {
            break;
        }
        fields += 1;
    }
    fields
}

fn decode_binary(value: &[u8]) -> Option<Vec<u8>> {
    BASE64_NOPAD.decode(value).or_else(|_| BASE64.decode(value)).ok()
}

const BINARY: &str = "-bin";

/// Of one HTTP connection or of gRPC's own framing.
const HOP: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-timeout",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_hop_headers_stay_at_the_door() {
        for name in ["authorization", "cookie", "x-peabiru-token", "x-road-client", "te", "grpc-timeout"] {
            assert!(stays_at_door(name), "{name}");
        }
        assert!(!stays_at_door("x-request-id") && !stays_at_door("grpc-status-details-bin"));
    }

    #[test]
    fn binary_values_are_sealed_as_bytes() {
        let padded = field("trace-bin", b"AAECAw==");
        assert_eq!(padded.value.as_ref(), [0, 1, 2, 3]);
        assert_eq!(header_value(&padded).as_ref(), b"AAECAw");
        assert_eq!(field("trace-bin", b"!").value.as_ref(), b"!");
        assert_eq!(header_value(&field("note", "año".as_bytes())).as_ref(), "año".as_bytes());
    }
}
