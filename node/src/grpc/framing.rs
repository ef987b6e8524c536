//! The five bytes before each gRPC message: a flag and a length. Nothing else of a message is read.

use std::time::Duration;

use bytes::Bytes;
use peabiru_proto::fault::{Fault, FaultCode, Place};

/// Checks that a body is exactly one uncompressed message. The caller and the service are held to the same.
///
/// # Errors
/// `payload.compressed`, `method.streaming_unsupported`, `payload.invalid`.
pub fn one_message(body: &Bytes, place: Place) -> Result<(), Fault> {
    let refuse = |code, message: String| Err(Fault::new(code, place, message));
    let Some((prefix, message)) = body.split_at_checked(PREFIX_BYTES) else {
        return refuse(
            FaultCode::PayloadInvalid,
            format!("{} bytes are too few for a gRPC message", body.len()),
        );
    };
    if prefix[0] != 0 {
        return refuse(FaultCode::PayloadCompressed, "the message is compressed".to_owned());
    }
    let said = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    match usize::try_from(said).unwrap_or(usize::MAX) {
        said if said == message.len() => Ok(()),
        said if said < message.len() => {
            refuse(FaultCode::MethodStreamingUnsupported, "more than one message was sent".to_owned())
        }
        said => {
            refuse(FaultCode::PayloadInvalid, format!("the message is {} of {said} bytes", message.len()))
        }
    }
}

/// Reads a `grpc-timeout`: at most 8 digits and a unit.
#[must_use]
pub fn timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty()
        || digits.len() > TIMEOUT_DIGITS_MAX
        || !digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Writes a status text for `grpc-message`: printable ASCII bare, everything else and `%` as `%XX`.
#[must_use]
pub fn encode_status_text(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if (0x20..0x7f).contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|digit| char::from(HEX[usize::from(digit)])));
        }
        out
    })
}

/// Reads a `grpc-message`; broken escapes stay as they are, as the protocol asks.
#[must_use]
pub fn decode_status_text(value: &[u8]) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        let escaped = (byte == b'%').then(|| value.get(at + 1..at + 3)).flatten().and_then(|digits| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
        });
        out.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

const PREFIX_BYTES: usize = 5;
const TIMEOUT_DIGITS_MAX: usize = 8;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(body: &'static [u8]) -> Option<FaultCode> {
        one_message(&Bytes::from_static(body), Place::ConsumerNode).err().map(|fault| fault.code)
    }

    #[test]
    fn a_body_is_one_uncompressed_message() {
        assert_eq!(code(b"\0\0\0\0\0"), None);
        assert_eq!(code(b"\0\0\0\0\x02ab"), None);
        assert_eq!(code(b"\x01\0\0\0\x02ab"), Some(FaultCode::PayloadCompressed));
        assert_eq!(code(b"\0\0\0\0\x01a\0\0\0\0\0"), Some(FaultCode::MethodStreamingUnsupported));
        assert_eq!(code(b"\0\0\0\0\x03ab"), Some(FaultCode::PayloadInvalid));
        assert_eq!(code(b"\0\0\0"), Some(FaultCode::PayloadInvalid));
    }

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for wrong in ["", "m", "5", "123456789S", "-1S", "1x", "ñ"] {
            assert_eq!(timeout(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn status_texts_survive_the_wire(text in "\\PC*") {
            prop_assert_eq!(decode_status_text(encode_status_text(&text).as_bytes()), text);
        }

        #[test]
        fn any_body_is_taken_or_refused(body in proptest::collection::vec(any::<u8>(), 0..20), value in "\\PC*") {
            let _ = one_message(&body.into(), Place::Service);
            let _ = timeout(&value);
            let _ = decode_status_text(value.as_bytes());
        }
    }
}
