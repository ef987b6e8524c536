//! Callers at a Unix socket name the socket's path as authority: Python's, C++'s and most of the gRPC libraries built on
//! them write `%2Frun%2Fdoor.sock`, Java's writes `/run/door.sock`. Neither is an authority by RFC 3986, and hyper resets
//! the stream. Here `%` and `/` of an authority become `-` while the bytes come in, one for one: nothing moves, and the
//! compression state of both sides (RFC 7541) stays what it is. Only plain strings are mended, not Huffman-coded ones,
//! which none of these libraries writes here.

/// Follows the frames of one HTTP/2 connection as the client writes them.
#[derive(Debug)]
pub struct AuthorityMender {
    place: Place,
    /// Where in a header block we are; a block can go on in CONTINUATION frames.
    block: Block,
}

#[derive(Debug)]
enum Place {
    /// In bytes that stay as they are; then comes a frame.
    Skipped { left: usize },
    /// In a frame's head, with what precedes the header block in its payload.
    Head { bytes: [u8; HEAD_BYTES_MAX], read: usize },
    /// In a header block.
    Fragment { left: usize, padding: usize },
    /// What came is no HTTP/2. hyper says so; nothing is touched any more.
    Lost,
}

#[derive(Debug, Clone, Copy)]
enum Block {
    /// Before a field.
    Field,
    /// In a number that goes on.
    Number { value: usize, shift: u32, of: Number },
    /// Before the length of a text.
    Length { of: Text },
    /// In a text.
    Text { left: usize, of: Text },
}

#[derive(Debug, Clone, Copy)]
enum Number {
    /// A whole field by its index, or the size of the table.
    Whole,
    /// Of the field's name; its value follows.
    Name,
    /// Of a text.
    Length { of: Text },
}

#[derive(Debug, Clone, Copy)]
enum Text {
    /// A name; what is left of `:authority`, if it has been the same so far.
    Name {
        left: Option<&'static [u8]>,
    },
    /// Value of `:authority`, in plain.
    Authority,
    Value,
}

/// Not HTTP/2.
struct NoHttp2;

impl Default for AuthorityMender {
    fn default() -> Self {
        Self { place: Place::Skipped { left: PREFACE_BYTES }, block: Block::Field }
    }
}

impl AuthorityMender {
    /// Takes the next bytes, in pieces of any size, and mends them in place.
    pub fn mend(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let used = self.step(bytes).unwrap_or_else(|NoHttp2| {
                self.place = Place::Lost;
                bytes.len()
            });
            bytes = &mut bytes[used..];
        }
    }

    /// Gives how many bytes were used: at least one.
    fn step(&mut self, bytes: &mut [u8]) -> Result<usize, NoHttp2> {
        match &mut self.place {
            Place::Lost => Ok(bytes.len()),
            Place::Skipped { left } => {
                let used = bytes.len().min(*left);
                let left = *left - used;
                self.place = skipped(left);
                Ok(used)
            }
            Place::Head { bytes: head, read } => {
                head[*read] = bytes[0];
                *read += 1;
                if *read == head_bytes(head, *read) {
                    self.place = self.payload()?;
                }
                Ok(1)
            }
            Place::Fragment { left, padding } => {
                let used = bytes.len().min(*left);
                for byte in &mut bytes[..used] {
                    self.block = self.block.next(byte)?;
                }
                *left -= used;
                if *left == 0 {
                    self.place = skipped(*padding);
                }
                Ok(used)
            }
        }
    }

    /// What follows a complete head.
    fn payload(&mut self) -> Result<Place, NoHttp2> {
        let Place::Head { bytes: head, read } = &self.place else { return Err(NoHttp2) };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let left = length.checked_sub(read - FRAME_HEAD_BYTES).ok_or(NoHttp2)?;
        let padding = match head[KIND] {
            HEADERS => {
                self.block = Block::Field;
                if head[FLAGS] & PADDED == 0 { 0 } else { usize::from(head[FRAME_HEAD_BYTES]) }
            }
            CONTINUATION => 0,
            _ => return Ok(skipped(left)),
        };
        let left = left.checked_sub(padding).ok_or(NoHttp2)?;
        Ok(if left == 0 { skipped(padding) } else { Place::Fragment { left, padding } })
    }
}

impl Block {
    fn next(self, byte: &mut u8) -> Result<Self, NoHttp2> {
        Ok(match self {
            Self::Field if *byte & 0x80 != 0 => number(*byte, 7, Number::Whole),
            Self::Field if *byte & 0x40 != 0 => number(*byte, 6, Number::Name),
            Self::Field if *byte & 0x20 != 0 => number(*byte, 5, Number::Whole),
            Self::Field => number(*byte, 4, Number::Name),
            Self::Number { shift: NUMBER_SHIFT_MAX.., .. } => return Err(NoHttp2),
            Self::Number { value, shift, of } => {
                let value = value + (usize::from(*byte & 0x7f) << shift);
                if *byte & 0x80 == 0 { of.read(value) } else { Self::Number { value, shift: shift + 7, of } }
            }
            Self::Length { of } => {
                let of = if *byte & HUFFMAN == 0 { of } else { of.coded() };
                number(*byte, 7, Number::Length { of })
            }
            Self::Text { left, of } => {
                let of = of.take(byte);
                if left == 1 { of.end() } else { Self::Text { left: left - 1, of } }
            }
        })
    }
}

impl Number {
    fn read(self, value: usize) -> Block {
        match self {
            Self::Whole => Block::Field,
            Self::Name if value == 0 => Block::Length { of: Text::Name { left: Some(AUTHORITY) } },
            Self::Name if value == AUTHORITY_INDEX => Block::Length { of: Text::Authority },
            Self::Name => Block::Length { of: Text::Value },
            Self::Length { of } if value == 0 => of.end(),
            Self::Length { of } => Block::Text { left: value, of },
        }
    }
}

impl Text {
    fn take(self, byte: &mut u8) -> Self {
        match self {
            Self::Name { left: Some([next, left @ ..]) } if next == byte => Self::Name { left: Some(left) },
            Self::Name { .. } => Self::Name { left: None },
            Self::Authority if matches!(byte, b'%' | b'/') => {
                *byte = b'-';
                self
            }
            Self::Authority | Self::Value => self,
        }
    }

    fn end(self) -> Block {
        match self {
            Self::Name { left: Some([]) } => Block::Length { of: Self::Authority },
            Self::Name { .. } => Block::Length { of: Self::Value },
            Self::Authority | Self::Value => Block::Field,
        }
    }

    /// The same, Huffman-coded: it is not looked into.
    fn coded(self) -> Self {
        match self {
            Self::Name { .. } => Self::Name { left: None },
            Self::Authority | Self::Value => Self::Value,
        }
    }
}

/// A number begins in the last bits of a byte; if all are set, it goes on.
fn number(byte: u8, bits: u32, of: Number) -> Block {
    let max = (1 << bits) - 1;
    let value = usize::from(byte) & max;
    if value < max { of.read(value) } else { Block::Number { value, shift: 0, of } }
}

fn skipped(left: usize) -> Place {
    if left > 0 { Place::Skipped { left } } else { Place::Head { bytes: [0; HEAD_BYTES_MAX], read: 0 } }
}

/// How long the head is, as far as it is known after `read` bytes.
fn head_bytes(head: &[u8; HEAD_BYTES_MAX], read: usize) -> usize {
    if read < FRAME_HEAD_BYTES || head[KIND] != HEADERS {
        return FRAME_HEAD_BYTES;
    }
    let flag = |flag, bytes| if head[FLAGS] & flag == 0 { 0 } else { bytes };
    FRAME_HEAD_BYTES + flag(PADDED, 1) + flag(PRIORITY, 5)
}

/// `PRI * HTTP/2.0 …`
const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;
/// With the length of the padding, and a priority.
const HEAD_BYTES_MAX: usize = FRAME_HEAD_BYTES + 6;
/// Places in a frame's head.
const KIND: usize = 3;
const FLAGS: usize = 4;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const HUFFMAN: u8 = 0x80;
const AUTHORITY: &[u8] = b":authority";
/// Its index in the static table.
const AUTHORITY_INDEX: usize = 1;
/// Numbers of more than 28 bits are nobody's.
const NUMBER_SHIFT_MAX: u32 = 28;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: &[u8]) -> Vec<u8> {
        [&[u8::try_from(value.len()).unwrap()], value].concat()
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// POST, http, a path, the authority, headers of its own, the authority of before.
    fn block(authority: &[u8]) -> Vec<u8> {
        // Its name by index, or spelled out as gRPC's C core does.
        let name = if authority.len() > 20 { vec![0x41] } else { [&[0x40], &text(AUTHORITY)[..]].concat() };
        [
            &[0x83, 0x86, 0x44][..],
            &text(b"/py.mec.v1.SchoolService/ListSchools"),
            &name,
            &text(authority),
            &[0x40],
            &text(b":authority-path"),
            &text(b"50%/run"),
            &[0x40],
            &text(b":auth"),
            &text(b"50%/run"),
            &[0xbf],
        ]
        .concat()
    }

    fn connection(authority: &[u8]) -> Vec<u8> {
        let block = block(authority);
        let (begin, end) = block.split_at(50);
        let padded = [&[3, 0, 0, 0, 0, 15], begin, &[0; 3]].concat();
        [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, &[]),
            frame(HEADERS, 4, &block),
            frame(0, 1, b"\x41\x01%/ is data"),
            frame(HEADERS, PADDED | PRIORITY, &padded),
            frame(CONTINUATION, 4, end),
        ]
        .concat()
    }

    #[test]
    fn a_path_becomes_an_authority_and_nothing_else_changes() {
        for (path, authority) in [
            ("%2Frun%2Fdoor.sock", "-2Frun-2Fdoor.sock"),
            ("/var/lib/peabiru/door.sock", "-var-lib-peabiru-door.sock"),
            ("schools.mec.gov.py:443", "schools.mec.gov.py:443"),
        ] {
            let expected = connection(authority.as_bytes());
            for piece in [1, 2, 3, 7, 50, expected.len()] {
                let mut bytes = connection(path.as_bytes());
                let mut mender = AuthorityMender::default();
                bytes.chunks_mut(piece).for_each(|piece| mender.mend(piece));
                assert_eq!(bytes, expected, "{path} in pieces of {piece}");
            }
            authority.parse::<http::uri::Authority>().unwrap();
        }
    }

    #[test]
    fn a_huffman_coded_authority_stays() {
        let coded = [&[0x41, HUFFMAN | 2], &b"%/"[..]].concat();
        let mut bytes = [vec![0; PREFACE_BYTES], frame(HEADERS, 4, &coded)].concat();
        let before = bytes.clone();
        AuthorityMender::default().mend(&mut bytes);
        assert_eq!(bytes, before);
    }

    fn block_bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![any::<u8>(), Just(b'%'), Just(0x41), 0..20_u8];
        proptest::collection::vec(byte, 0..100)
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_followed_alike(
            frames in proptest::collection::vec(
                (prop_oneof![Just(HEADERS), Just(CONTINUATION), any::<u8>()], any::<u8>(), block_bytes()), 0..8),
            rest in block_bytes(),
            piece in 1..40_usize,
        ) {
            let frames: Vec<_> = frames.iter().map(|(kind, flags, payload)| frame(*kind, *flags, payload)).collect();
            let bytes = [vec![0; PREFACE_BYTES], frames.concat(), rest].concat();
            let (mut at_once, mut in_pieces) = (bytes.clone(), bytes.clone());
            AuthorityMender::default().mend(&mut at_once);
            let mut mender = AuthorityMender::default();
            in_pieces.chunks_mut(piece).for_each(|piece| mender.mend(piece));
            prop_assert_eq!(&at_once, &in_pieces);
            for (before, after) in bytes.iter().zip(&at_once) {
                prop_assert!(before == after || (matches!(before, b'%' | b'/') && *after == b'-'));
            }
        }
    }
}
