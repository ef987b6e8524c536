//! The protobuf wire form, in its one canonical writing.
//!
//! Strictly ascending field numbers, minimal varints, no field at its default, no groups, nothing left over.

use std::fmt::Display;
use std::str::FromStr;

use unicode_normalization::is_nfc;

use super::EntryError;
use crate::hash::InvalidDigest;

/// The fields of one message, each taken once.
pub(super) struct Fields<'a> {
    known: [Option<Value<'a>>; KNOWN],
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// Reads all fields of a message.
    pub(super) fn scan(message: &'a [u8]) -> Result<Self, EntryError> {
        let mut known = [None; KNOWN];
        let mut reader = Reader { message, offset: 0 };
        let mut last = 0;
        while reader.offset < message.len() {
            let start = reader.offset;
            let (number, value) = reader.field()?;
            if number <= last {
                return Err(wrong(start, "a field is repeated or out of order"));
            }
            last = number;
            match known.get_mut(number as usize) {
                Some(slot) => *slot = Some(value),
                None if number < FIRST_SKIPPED => return Err(EntryError::UnknownField { number }),
                None => {}
            }
        }
        Ok(Self { known })
    }

    /// Takes a number; 0 if absent.
    pub(super) fn uint(&mut self, number: usize) -> Result<u64, EntryError> {
        match self.known[number].take() {
            None => Ok(0),
            Some(Value::Varint(value)) => Ok(value),
            Some(Value::Bytes(_)) => Err(wrong(0, "a number is written as bytes")),
        }
    }

    /// Takes a number of at most 32 bits.
    pub(super) fn uint32(&mut self, field: &'static str, number: usize) -> Result<u32, EntryError> {
        self.uint(number)?.try_into().map_err(|_| refuse(field, "it does not fit 32 bits"))
    }

    /// Takes bytes; none if absent.
    pub(super) fn bytes(&mut self, number: usize) -> Result<&'a [u8], EntryError> {
        match self.known[number].take() {
            None => Ok(&[]),
            Some(Value::Bytes(bytes)) => Ok(bytes),
            Some(Value::Varint(_)) => Err(wrong(0, "bytes are written as a number")),
        }
    }

    /// Takes UTF-8 in normal form C.
    pub(super) fn text(
        &mut self,
        field: &'static str,
        number: usize,
        bytes_max: usize,
    ) -> Result<&'a str, EntryError> {
        let bytes = self.bytes(number)?;
        let text = std::str::from_utf8(bytes).map_err(|_| refuse(field, "it is not UTF-8"))?;
        check_text(field, text, bytes_max)?;
        Ok(text)
    }

    /// Takes a text that a type parses.
    pub(super) fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        field: &'static str,
        number: usize,
    ) -> Result<T, EntryError> {
        let text = self.text(field, number, crate::limits::MAX_ID_BYTES)?;
        text.parse().map_err(|error: T::Err| refuse(field, error))
    }

    /// Takes a digest.
    pub(super) fn digest<T>(
        &mut self,
        field: &'static str,
        number: usize,
        read: fn(&[u8]) -> Result<T, InvalidDigest>,
    ) -> Result<T, EntryError> {
        read(self.bytes(number)?).map_err(|error| refuse(field, error))
    }

    /// Takes a digest that may be absent.
    pub(super) fn optional_digest<T>(
        &mut self,
        field: &'static str,
        number: usize,
        read: fn(&[u8]) -> Result<T, InvalidDigest>,
    ) -> Result<Option<T>, EntryError> {
        match self.bytes(number)? {
            [] => Ok(None),
            bytes => read(bytes).map(Some).map_err(|error| refuse(field, error)),
        }
    }

    /// Nothing known may be left.
    pub(super) fn finish(self) -> Result<(), EntryError> {
        match (0..).zip(&self.known).find(|(_, value)| value.is_some()) {
            Some((number, _)) => Err(EntryError::UnknownField { number }),
            None => Ok(()),
        }
    }
}

struct Reader<'a> {
    message: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn field(&mut self) -> Result<(u32, Value<'a>), EntryError> {
        let start = self.offset;
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| wrong(start, "a field number is too large"))?;
        if number == 0 || number > FIELD_NUMBER_MAX {
            return Err(wrong(start, "a field number is out of range"));
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            1 if number >= FIRST_SKIPPED => Value::Bytes(self.take(8)?),
            5 if number >= FIRST_SKIPPED => Value::Bytes(self.take(4)?),
            _ => return Err(wrong(start, "a wire type is not allowed")),
        };
        match value {
            Value::Varint(0) | Value::Bytes([]) => Err(wrong(start, "a field is written at its default")),
            _ => Ok((number, value)),
        }
    }

    fn varint(&mut self) -> Result<u64, EntryError> {
        let start = self.offset;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let &byte =
                self.message.get(self.offset).ok_or_else(|| wrong(start, "it ends inside a number"))?;
            self.offset += 1;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                break;
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                let minimal = byte != 0 || shift == 0;
                return if minimal {
                    Ok(value)
                } else {
                    Err(wrong(start, "a number is not written minimally"))
                };
            }
        }
        Err(wrong(start, "a number has more than 64 bits"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], EntryError> {
        let start = self.offset;
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
        let bytes = end
            .and_then(|end| self.message.get(start..end))
            .ok_or_else(|| wrong(start, "it ends inside a field"))?;
        self.offset = start + bytes.len();
        Ok(bytes)
    }
}

/// Writes fields; the caller keeps them ascending.
pub(super) struct Writer(Vec<u8>);

impl Default for Writer {
    fn default() -> Self {
        Self(Vec::with_capacity(USUAL_BYTES))
    }
}

impl Writer {
    /// A number, unless 0.
    pub(super) fn uint(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.varint(u64::from(number) << 3);
            self.varint(value);
        }
    }

    /// Bytes, unless none.
    pub(super) fn bytes(&mut self, number: u32, value: &[u8]) {
        if !value.is_empty() {
            self.varint(u64::from(number) << 3 | 2);
            self.varint(value.len() as u64);
            self.0.extend_from_slice(value);
        }
    }

    /// What was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(low_bits(value) | 0x80);
            value >>= 7;
        }
        self.0.push(low_bits(value));
    }
}

/// A text of a head: normal form C, bounded, no control characters.
pub(super) fn check_text(field: &'static str, text: &str, bytes_max: usize) -> Result<(), EntryError> {
    if text.len() > bytes_max {
        return Err(refuse(field, format_args!("it is longer than {bytes_max} bytes")));
    }
    if !is_nfc(text) {
        return Err(refuse(field, "it is not in Unicode normal form C"));
    }
    if text.chars().any(char::is_control) {
        return Err(refuse(field, "it has control characters"));
    }
    Ok(())
}

pub(super) fn refuse(field: &'static str, reason: impl Display) -> EntryError {
    EntryError::Field { field, reason: reason.to_string() }
}

fn low_bits(value: u64) -> u8 {
    u8::try_from(value & 0x7f).expect("seven bits fit a byte")
}

fn wrong(offset: usize, what: &'static str) -> EntryError {
    EntryError::Wire { offset, what }
}

/// An entry of an exchange fits.
const USUAL_BYTES: usize = 768;
/// Field numbers of all heads are below this.
const KNOWN: usize = 32;
/// Unknown numbers from here on are kept and skipped.
const FIRST_SKIPPED: u32 = 1000;
/// Largest field number of protobuf.
const FIELD_NUMBER_MAX: u32 = (1 << 29) - 1;
