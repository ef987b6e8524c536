//! The five bytes before each gRPC message: a flag and a length. Nothing else of a message is read.

use std::time::Duration;

use peabiru_proto::fault::{Fault, FaultCode, Place};

/// Follows the messages of a body as it comes.
#[derive(Debug, Default)]
pub struct Messages {
    /// Of a prefix that is not complete.
    prefix: Vec<u8>,
    /// Bytes of the message that are still to come.
    left_bytes: u64,
    whole: u64,
}

impl Messages {
    /// The next bytes.
    ///
    /// # Errors
    /// `payload.compressed`, `payload.invalid`.
    pub fn push(&mut self, mut bytes: &[u8], place: Place) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let inside = usize::try_from(self.left_bytes).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.left_bytes -= inside as u64;
            bytes = &bytes[inside..];
            let (prefix, rest) = bytes.split_at((PREFIX_BYTES - self.prefix.len()).min(bytes.len()));
            if self.left_bytes > 0 || prefix.is_empty() {
                continue;
            }
            self.prefix.extend_from_slice(prefix);
            bytes = rest;
            let [flag, length @ ..] = &self.prefix[..] else { continue };
            match flag {
                0 => {}
                1 => {
                    return Err(Fault::new(FaultCode::PayloadCompressed, place, "the message is compressed"));
                }
                _ => return Err(Fault::new(FaultCode::PayloadInvalid, place, "this is no gRPC message")),
            }
            if let Ok(length) = length.try_into().map(u32::from_be_bytes) {
                self.left_bytes = length.into();
                self.whole += 1;
                self.prefix.clear();
            }
        }
        Ok(())
    }

    /// The body has ended: how many messages it was.
    ///
    /// # Errors
    /// `payload.invalid` if the last one is not whole.
    pub fn finish(&self, place: Place) -> Result<u64, Fault> {
        if self.left_bytes == 0 && self.prefix.is_empty() {
            return Ok(self.whole);
        }
        Err(Fault::new(FaultCode::PayloadInvalid, place, "the last message is not whole"))
    }
}

/// A call that is no stream has one message each way, or none if it failed.
///
/// # Errors
/// `method.streaming_unsupported`, `payload.invalid`.
pub fn check_count(messages: u64, place: Place) -> Result<(), Fault> {
    match messages {
        1 => Ok(()),
        0 => Err(Fault::new(FaultCode::PayloadInvalid, place, "there is no message")),
        _ => Err(Fault::new(FaultCode::MethodStreamingUnsupported, place, "more than one message was sent")),
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

/// Before each message: a flag and its length.
pub(super) const PREFIX_BYTES: usize = 5;
const TIMEOUT_DIGITS_MAX: usize = 8;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(body: &[u8]) -> Result<u64, FaultCode> {
        let mut messages = Messages::default();
        let pushed = messages.push(body, Place::ConsumerNode);
        pushed.and_then(|()| messages.finish(Place::ConsumerNode)).map_err(|fault| fault.code)
    }

    #[test]
    fn messages_are_counted_and_none_is_compressed() {
        assert_eq!(count(b"\0\0\0\0\0"), Ok(1));
        assert_eq!(count(b"\0\0\0\0\x02ab"), Ok(1));
        assert_eq!(count(b"\0\0\0\0\x01a\0\0\0\0\0"), Ok(2));
        assert_eq!(count(b""), Ok(0));
        assert_eq!(count(b"\x01\0\0\0\x02ab"), Err(FaultCode::PayloadCompressed));
        assert_eq!(count(b"\0\0\0\0\x03ab"), Err(FaultCode::PayloadInvalid));
        assert_eq!(count(b"\0\0\0"), Err(FaultCode::PayloadInvalid));
        assert_eq!(count(b"\x02\0\0\0\0"), Err(FaultCode::PayloadInvalid));
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

        /// However it is cut.
        #[test]
        fn pieces_do_not_matter(lengths in proptest::collection::vec(0..9u8, 0..6), piece in 1..9usize, cut in 0..4usize) {
            let mut body = Vec::new();
            for length in &lengths {
                body.extend_from_slice(&[0, 0, 0, 0, *length]);
                body.resize(body.len() + usize::from(*length), 7);
            }
            body.truncate(body.len().saturating_sub(cut));
            let mut messages = Messages::default();
            body.chunks(piece).try_for_each(|piece| messages.push(piece, Place::Service)).unwrap();
            prop_assert_eq!(messages.finish(Place::Service).ok(), count(&body).ok());
            prop_assert!(cut > 0 || count(&body) == Ok(lengths.len() as u64));
        }

        #[test]
        fn any_body_is_taken_or_refused(body in proptest::collection::vec(any::<u8>(), 0..20), value in "\\PC*") {
            let _ = count(&body);
            let _ = timeout(&value);
            let _ = decode_status_text(value.as_bytes());
        }
    }
}
