//! Follows the bytes of an HTTP/1.1 connection more strictly than any parser needs to (RFC 9112).
//!
//! hyper reads what it can make sense of. A proxy before the door could make another sense of it, and then two
//! requests are one or one is two (request smuggling). What can be read in two ways is noted here before hyper sees
//! it, and is not carried: both lengths, two of a kind, line ends without a carriage return, folded lines, spaces
//! before the colon, targets that are not in origin form. It decides, and never waits.

/// What can be read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation(&'static str);

impl Violation {
    /// What was found.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.0
    }
}

/// Follows one connection from its first byte.
#[derive(Debug)]
pub struct Follower {
    place: Place,
    /// Of the line that is being read, without its end.
    line: Vec<u8>,
    /// Bytes of the head or of the trailers so far.
    read: usize,
    head: Head,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In an empty line or the request line.
    Request,
    /// In a line of the head.
    Header,
    /// In the body.
    Body {
        left: u64,
    },
    /// In a line with the length of a chunk.
    ChunkSize,
    /// In a chunk, and the line end after it.
    Chunk {
        left: u64,
    },
    ChunkEnd,
    /// In a line after the last chunk.
    Trailer,
    /// Something was noted.
    Lost,
}

/// What the lines of a head say of its body.
#[derive(Debug, Default)]
struct Head {
    length: Option<u64>,
    chunked: Option<Chunked>,
    old: Option<Old>,
}

#[derive(Debug)]
struct Chunked;

/// HTTP/1.0.
#[derive(Debug)]
struct Old;

impl Default for Follower {
    fn default() -> Self {
        Self { place: Place::Request, line: Vec::new(), read: 0, head: Head::default() }
    }
}

impl Follower {
    /// Takes the next bytes, in pieces of any size.
    ///
    /// # Errors
    /// `Violation` once; after it nothing is looked at any more.
    pub fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while !bytes.is_empty() {
            match self.step(bytes) {
                Ok(used) => bytes = &bytes[used..],
                Err(violation) => {
                    self.place = Place::Lost;
                    self.line = Vec::new();
                    return Err(violation);
                }
            }
        }
        Ok(())
    }

    /// Gives how many bytes were used: at least one.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let after = |left: u64, next: Place, again: fn(u64) -> Place| {
            let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let left = left - used as u64;
            (used, if left == 0 { next } else { again(left) })
        };
        match self.place {
            Place::Lost => Ok(bytes.len()),
            Place::Body { left } => {
                let (used, place) = after(left, Place::Request, |left| Place::Body { left });
                self.place = place;
                Ok(used)
            }
            Place::Chunk { left } => {
                let (used, place) = after(left, Place::ChunkEnd, |left| Place::Chunk { left });
                self.place = place;
                Ok(used)
            }
            Place::Request | Place::Header | Place::ChunkSize | Place::ChunkEnd | Place::Trailer => {
                self.read += 1;
                if self.read > MAX_HEAD_BYTES {
                    return Err(Violation("a head or the lines of a chunk are too long"));
                }
                self.line.push(bytes[0]);
                if bytes[0] == b'\n' {
                    let line = std::mem::take(&mut self.line);
                    let line = line
                        .strip_suffix(b"\r\n")
                        .ok_or(Violation("a line ends without a carriage return"))?;
                    self.place = self.line_ends(line)?;
                }
                Ok(1)
            }
        }
    }

    fn line_ends(&mut self, line: &[u8]) -> Result<Place, Violation> {
        if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(Violation("a line has a control character"));
        }
        match (self.place, line) {
            (Place::Request, []) => Ok(Place::Request),
            (Place::Request, line) => self.request_line(line).map(|()| Place::Header),
            (Place::Header, []) => self.body(),
            (Place::Header, line) => self.header(line).map(|()| Place::Header),
            (Place::ChunkEnd, []) => {
                self.read = 0;
                Ok(Place::ChunkSize)
            }
            (Place::ChunkEnd, _) => Err(Violation("a chunk does not have the length that it says")),
            (Place::ChunkSize, line) => match chunk_size(line)? {
                0 => Ok(Place::Trailer),
                left => Ok(Place::Chunk { left }),
            },
            (Place::Trailer, []) => {
                self.read = 0;
                Ok(Place::Request)
            }
            (Place::Trailer, line) => name_and_value(line).map(|_| Place::Trailer),
            (Place::Body { .. } | Place::Chunk { .. } | Place::Lost, _) => Ok(Place::Lost),
        }
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Violation> {
        let pieces: Vec<_> = line.split(|byte| *byte == b' ').collect();
        let [_, target, version] = pieces[..] else {
            return Err(Violation(
                "the request line is not METHOD TARGET VERSION with one space between them",
            ));
        };
        if !target.starts_with(b"/") {
            return Err(Violation("the request target is not in origin form"));
        }
        if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
            return Err(Violation(
                "the request target has a fragment or a letter that must be percent-encoded",
            ));
        }
        self.head = Head::default();
        match version {
            b"HTTP/1.1" => {}
            b"HTTP/1.0" => self.head.old = Some(Old),
            _ => return Err(Violation("the request is neither HTTP/1.1 nor HTTP/1.0")),
        }
        Ok(())
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Violation> {
        let (name, value) = name_and_value(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.head.length.is_some() {
                return Err(Violation("Content-Length stands twice"));
            }
            let digits =
                std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let length = digits.and_then(|text| text.parse().ok());
            self.head.length = Some(length.ok_or(Violation("Content-Length is no number"))?);
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.head.chunked.is_some() || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Violation("Transfer-Encoding is not chunked, once"));
            }
            self.head.chunked = Some(Chunked);
        }
        Ok(())
    }

    fn body(&mut self) -> Result<Place, Violation> {
        self.read = 0;
        match (&self.head.length, &self.head.chunked, &self.head.old) {
            (Some(_), Some(_), _) => Err(Violation("Content-Length and Transfer-Encoding are both there")),
            (None, Some(_), Some(_)) => Err(Violation("HTTP/1.0 has no Transfer-Encoding")),
            (None, Some(_), None) => Ok(Place::ChunkSize),
            (None | Some(0), None, _) => Ok(Place::Request),
            (Some(left), None, _) => Ok(Place::Body { left: *left }),
        }
    }
}

fn name_and_value(line: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Violation("a header has no colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(token) {
        return Err(Violation("a header's name is no token, or a line is folded"));
    }
    Ok((name, value.trim_ascii()))
}

/// Hex digits and nothing else: what follows a semicolon is read in more than one way.
fn chunk_size(line: &[u8]) -> Result<u64, Violation> {
    let digits = !line.is_empty() && line.len() <= CHUNK_DIGITS_MAX && line.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(line).ok().filter(|_| digits);
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or(Violation("a chunk's length is no number"))
}

/// Longest head of a request, in bytes.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Of a chunk's length: more than any body has.
const CHUNK_DIGITS_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn follow(bytes: &[u8], piece: usize) -> Result<(), Violation> {
        let mut follower = Follower::default();
        bytes.chunks(piece.max(1)).try_for_each(|piece| follower.follow(piece))
    }

    const GOOD: &str = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nx\r\n\
        GET /b HTTP/1.1\r\nHost: h\r\n\r\n\r\nPOST /c HTTP/1.1\r\nhost:h\r\ntransfer-encoding: Chunked\r\n\r\n\
        5\r\n12\r\n5\r\na\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\nDELETE /d HTTP/1.0\r\n\r\n";

    #[test]
    fn what_can_be_read_in_one_way_passes() {
        for piece in [1, 2, 7, GOOD.len()] {
            assert_eq!(follow(GOOD.as_bytes(), piece), Ok(()));
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_noted() {
        let post = "POST /a HTTP/1.1\r\nHost: h\r\n";
        for rest in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            "Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
            "Content-Length: 3, 3\r\n\r\n",
            "Content-Length: +3\r\n\r\n",
            "Content-Length: 0x3\r\n\r\n",
            "Content-Length : 3\r\n\r\n",
            "Transfer-Encoding: chunked, identity\r\n\r\n",
            "Transfer-Encoding: xchunked\r\n\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
            "Transfer-Encoding:\x0bchunked\r\n\r\n",
            "Transfer-Encoding\r\n : chunked\r\n\r\n",
            "X: a\r\n folded\r\n\r\n",
            "X: a\nY: b\r\n\r\n",
            "X: a\rY: b\r\n\r\n",
            "X: a\0b\r\n\r\n",
            " X: a\r\n\r\n",
            ": a\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n3;x=\n1\r\nabc\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
            "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n",
        ] {
            assert!(follow(format!("{post}{rest}").as_bytes(), 1000).is_err(), "{rest:?}");
        }
        for line in [
            "GET http://evil/a HTTP/1.1",
            "GET  /a HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET /a",
            "CONNECT evil:80 HTTP/1.1",
            "GET * HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET /\u{f1} HTTP/1.1",
            "GET /a HTTP/0.9",
            "GET /a HTTP/2.0",
        ] {
            assert!(follow(format!("{line}\r\nHost: h\r\n\r\n").as_bytes(), 1000).is_err(), "{line}");
        }
        assert!(follow(format!("{post}X: {}", "a".repeat(MAX_HEAD_BYTES)).as_bytes(), 1000).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_followed_alike(
            at in 0..GOOD.len(), byte in any::<u8>(), piece in 1..50_usize,
        ) {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = byte;
            prop_assert_eq!(follow(&bytes, bytes.len()), follow(&bytes, piece));
        }
    }
}
