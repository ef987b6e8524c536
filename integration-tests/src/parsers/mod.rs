//! What must hold of each parser of a peer's bytes, whatever the bytes are.
//!
//! Each function takes bytes as a peer (or a damaged disk) may give them, and fails if a promise is broken: nothing
//! panics, what is accepted is kept byte for byte or has one writing, what is written reads back, what nobody signed
//! never verifies. `fuzz/` calls them with what libFuzzer finds, `tests/federation/corpus.rs` with the committed corpus.

mod road;
mod said;
mod sealed;
mod trusted;

pub use road::{authority, door, frame, hello, http1, message, r1, unpack};
pub use said::{context, contract, entry, fault, grant, identifier, openapi};
pub use sealed::{checkpoint, payload, proof, record, tlog_proof};
pub use trusted::{anchor, certificate, configuration, evidence, held, request, snapshot, status_note};

/// A name, which is also its folder in `fuzz/corpus`, and what must hold.
pub type Parser = (&'static str, fn(&[u8]));

/// All of them.
pub const PARSERS: &[Parser] = &[
    ("anchor", anchor),
    ("authority", authority),
    ("certificate", certificate),
    ("checkpoint", checkpoint),
    ("configuration", configuration),
    ("context", context),
    ("contract", contract),
    ("door", door),
    ("entry", entry),
    ("evidence", evidence),
    ("fault", fault),
    ("frame", frame),
    ("grant", grant),
    ("held", held),
    ("hello", hello),
    ("http1", http1),
    ("identifier", identifier),
    ("message", message),
    ("openapi", openapi),
    ("payload", payload),
    ("proof", proof),
    ("r1", r1),
    ("record", record),
    ("request", request),
    ("snapshot", snapshot),
    ("status_note", status_note),
    ("tlog_proof", tlog_proof),
    ("unpack", unpack),
];

/// Joins pieces, each after its length in two bytes: how a corpus file holds more than one thing.
#[must_use]
pub fn join<P: AsRef<[u8]>>(pieces: impl IntoIterator<Item = P>) -> Vec<u8> {
    let mut joined = Vec::new();
    for piece in pieces {
        let piece = piece.as_ref();
        let length = u16::try_from(piece.len()).expect("a piece of a corpus file has at most 64 KiB");
        joined.extend(length.to_be_bytes());
        joined.extend_from_slice(piece);
    }
    joined
}

/// Takes apart what `join` made. A length beyond the end means what is left, so that no input is wasted.
fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, left) = rest.split_at(length);
        pieces.push(piece);
        bytes = left;
    }
    pieces
}
