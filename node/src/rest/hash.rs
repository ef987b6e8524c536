//! The request hash (x-road.md §3.3, §3.4): SHA-512 over what was asked, given back with the answer.

use std::fmt::Write as _;

use aws_lc_rs::digest::{self, Digest, SHA512, digest};
use data_encoding::BASE64;
use peabiru_proto::entry::ExchangeId;
use peabiru_proto::wire::ContextField;

/// The signed form of a request's line and headers: `METHOD`, target, `name:value`, each ended by CR LF.
#[derive(Debug, Clone)]
pub struct HeaderPart(Vec<u8>);

impl HeaderPart {
    /// Of the headers that pass, in order.
    #[must_use]
    pub fn new(verb: &str, target: &str, fields: &[ContextField]) -> Self {
        let mut part = Self(format!("{verb}\r\n{target}\r\n").into_bytes());
        fields.iter().for_each(|field| part.line(&field.name, &field.value));
        part
    }

    /// One more header.
    pub fn line(&mut self, name: &str, value: &[u8]) {
        for piece in [name.as_bytes(), b":", value, b"\r\n"] {
            self.0.extend_from_slice(piece);
        }
    }

    /// Base64 of H(header part), or of H(H(header part) ‖ H(body)) if there is a body.
    #[must_use]
    pub fn request_hash(&self, body: &BodyHash) -> String {
        let head = digest(&SHA512, &self.0);
        let Some(body) = &body.0 else { return BASE64.encode(head.as_ref()) };
        let both = [head.as_ref(), body.as_ref()].concat();
        BASE64.encode(digest(&SHA512, &both).as_ref())
    }
}

/// H(body), if there is a body: one without bytes is none.
#[derive(Debug, Clone)]
pub struct BodyHash(Option<Digest>);

impl BodyHash {
    /// Of these bytes.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self((!body.is_empty()).then(|| digest(&SHA512, body)))
    }
}

/// Makes a hash of a body that comes piece by piece, and is not empty.
#[derive(Clone)]
pub struct BodyHasher(digest::Context);

impl BodyHasher {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(digest::Context::new(&SHA512))
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of all bytes.
    #[must_use]
    pub fn finish(self) -> BodyHash {
        BodyHash(Some(self.0.finish()))
    }
}

impl Default for BodyHasher {
    fn default() -> Self {
        Self::new()
    }
}

/// The exchange's 16 bytes as X-Road writes its request ids: in groups of 8, 4, 4, 4 and 12 digits.
#[must_use]
pub fn request_id(exchange: &ExchangeId) -> String {
    let hex = exchange.to_string();
    let mut text = String::with_capacity(36);
    for (at, digit) in hex.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        let _ = text.write_char(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_x_roads() {
        let field = ContextField { name: "x-road-client".to_owned(), value: "PY/GOV/MEC/app".into() };
        let mut part = HeaderPart::new("GET", "/r1/PY/GOV/MEC/app/s/x?q=1", &[field]);
        part.line("x-road-request-id", b"1");
        // printf 'GET\r\n…\r\n' | openssl dgst -sha512 -binary | base64 -w0
        let text =
            b"GET\r\n/r1/PY/GOV/MEC/app/s/x?q=1\r\nx-road-client:PY/GOV/MEC/app\r\nx-road-request-id:1\r\n";
        assert_eq!(part.0, text);
        let head = digest(&SHA512, text);
        assert_eq!(part.request_hash(&BodyHash::of(b"")), BASE64.encode(head.as_ref()));
        let both = [head.as_ref(), digest(&SHA512, b"body").as_ref()].concat();
        assert_eq!(part.request_hash(&BodyHash::of(b"body")), BASE64.encode(digest(&SHA512, &both).as_ref()));
        let exchange = ExchangeId::from_slice(&[0xab; 16]).unwrap();
        assert_eq!(request_id(&exchange), "abababab-abab-abab-abab-abababababab");
    }
}
