//! C2SP `tlog-proof`: an entry's seal as a text file that any tlog tool checks.

use std::fmt::Write as _;

use data_encoding::BASE64;
use peabiru_proto::hash::Digest;
use peabiru_proto::limits::MAX_PROOF_HASHES;

use crate::checkpoint::SignedCheckpoint;
use crate::position::LogPosition;
use crate::proof::InclusionProof;
use crate::seal::Seal;

/// A text is no proof in this format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no tlog-proof: {0}")]
pub struct InvalidTlogProof(String);

/// Writes a seal, without extra data.
#[must_use]
pub fn format(seal: &Seal) -> String {
    let mut text = format!("{HEADER}\nindex {}\n", seal.position.index());
    for hash in seal.proof.hashes() {
        let _ = writeln!(text, "{}", BASE64.encode(hash.as_bytes()));
    }
    text.push('\n');
    text.push_str(seal.checkpoint.note());
    text
}

/// Reads what `format` writes, and nothing else: proofs of ours carry no extra data.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(bytes: &[u8]) -> Result<Seal, InvalidTlogProof> {
    let refuse = |what: &str| InvalidTlogProof(what.to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8"))?;
    let (proof, note) = text.split_once("\n\n").ok_or_else(|| refuse("it has no blank line"))?;
    let mut lines = proof.split('\n');
    if lines.next() != Some(HEADER) {
        return Err(refuse("its first line is another one"));
    }
    let index =
        lines.next().and_then(|line| line.strip_prefix("index ")).and_then(|index| index.parse().ok());
    let position = LogPosition::new(index.ok_or_else(|| refuse("its second line is no index"))?);
    let hash = |line: &str| {
        let hash = BASE64.decode(line.as_bytes()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        hash.map(Digest::from_bytes).ok_or_else(|| refuse("a line is no hash"))
    };
    let hashes = lines.map(hash).take(MAX_PROOF_HASHES + 1).collect::<Result<Vec<_>, _>>()?;
    if hashes.len() > MAX_PROOF_HASHES {
        return Err(refuse("it has more hashes than a tree can need"));
    }
    let checkpoint =
        SignedCheckpoint::parse(note.as_bytes()).map_err(|error| InvalidTlogProof(error.to_string()))?;
    let seal = Seal { checkpoint, position, proof: InclusionProof::new(hashes) };
    // One text for each seal: leading zeros and the like are refused.
    if format(&seal) == text { Ok(seal) } else { Err(refuse("it is not in canonical form")) }
}

const HEADER: &str = "c2sp.org/tlog-proof@v1";
