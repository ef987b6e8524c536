//! C2SP `tlog-tiles`: the tree as static files that any tlog client reads. Derived, never part of a commit.
//!
//! `tile/L/N` holds the hashes of 256 neighbours at height 8·L; `tile/entries/N` the 256 entries themselves, each after
//! its length in two bytes; what is not full has its width in its name (`.p/W`).

use peabiru_proto::hash::Digest;
use peabiru_proto::merkle;

use crate::LedgerError;
use crate::ledger::Ledger;
use crate::position::LogPosition;

/// One file of the export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileFile {
    /// Relative, with slashes.
    pub path: String,
    /// As it is to be written.
    pub content: Vec<u8>,
}

/// Makes tiles of entries, one after another. Holds at most one tile of each height.
#[derive(Debug, Default)]
pub struct TileWriter {
    entries: u64,
    bundle: Vec<u8>,
    levels: Vec<Level>,
}

#[derive(Debug, Default)]
struct Level {
    /// Full tiles written.
    full: u64,
    hashes: Vec<Digest>,
}

impl TileWriter {
    /// Takes the next entry. Gives the files that it fills.
    #[must_use]
    pub fn push(&mut self, entry: &[u8]) -> Vec<TileFile> {
        let bytes = u16::try_from(entry.len()).expect("an entry has at most 16 KiB");
        self.bundle.extend(bytes.to_be_bytes());
        self.bundle.extend(entry);
        let number = self.entries / WIDTH as u64;
        self.entries += 1;
        let mut files = Vec::new();
        if self.entries.is_multiple_of(WIDTH as u64) {
            let content = std::mem::take(&mut self.bundle);
            files.push(TileFile { path: path("entries", number, WIDTH), content });
        }
        self.add(0, merkle::leaf_hash(entry), &mut files);
        files
    }

    /// The files that are not full.
    #[must_use]
    pub fn finish(self) -> Vec<TileFile> {
        let mut files = Vec::new();
        let left = usize::try_from(self.entries % WIDTH as u64).expect("less than 256");
        if left > 0 {
            let path = path("entries", self.entries / WIDTH as u64, left);
            files.push(TileFile { path, content: self.bundle });
        }
        for (height, level) in
            self.levels.into_iter().enumerate().filter(|(_, level)| !level.hashes.is_empty())
        {
            files.push(level.file(height));
        }
        files
    }

    fn add(&mut self, height: usize, hash: Digest, files: &mut Vec<TileFile>) {
        if self.levels.len() == height {
            self.levels.push(Level::default());
        }
        let level = &mut self.levels[height];
        level.hashes.push(hash);
        if level.hashes.len() == WIDTH {
            files.push(level.file(height));
            let root = merkle::tree_root(&level.hashes);
            level.hashes.clear();
            level.full += 1;
            self.add(height + 1, root, files);
        }
    }
}

impl Level {
    fn file(&self, height: usize) -> TileFile {
        let content = self.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        TileFile { path: path(&height.to_string(), self.full, self.hashes.len()), content }
    }
}

/// Exports a ledger as of its newest checkpoint: tiles, entry bundles, and last the checkpoint. Blocks on the disk.
///
/// # Errors
/// As `Ledger::read`, or what `sink` says.
pub fn export<E: From<LedgerError>>(
    ledger: &Ledger,
    sink: &mut dyn FnMut(TileFile) -> Result<(), E>,
) -> Result<(), E> {
    let Some(head) = ledger.head() else { return Ok(()) };
    let mut writer = TileWriter::default();
    for index in 0..head.size().entries() {
        let stored = ledger.read(LogPosition::new(index))?;
        writer.push(stored.entry.bytes()).into_iter().try_for_each(&mut *sink)?;
    }
    writer.finish().into_iter().try_for_each(&mut *sink)?;
    sink(TileFile { path: "checkpoint".to_owned(), content: head.note().as_bytes().to_vec() })
}

/// Numbers are written in groups of three digits, all but the last with an `x` before it.
fn path(level: &str, number: u64, width: usize) -> String {
    let mut text = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    if width < WIDTH { format!("tile/{level}/{text}.p/{width}") } else { format!("tile/{level}/{text}") }
}

/// Hashes or entries of a full tile.
const WIDTH: usize = 256;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn files(entries: u32) -> BTreeMap<String, Vec<u8>> {
        let mut writer = TileWriter::default();
        let mut files: Vec<_> = (0..entries).flat_map(|entry| writer.push(&entry.to_be_bytes())).collect();
        files.extend(writer.finish());
        files.into_iter().map(|file| (file.path, file.content)).collect()
    }

    #[test]
    fn names_are_those_of_the_specification() {
        assert_eq!(path("0", 1_234_067, WIDTH), "tile/0/x001/x234/067");
        assert_eq!(path("entries", 0, 5), "tile/entries/000.p/5");
        let names: Vec<_> = files(70_000)
            .into_keys()
            .filter(|name| !name.starts_with("tile/entries") && !name.starts_with("tile/0"))
            .collect();
        assert_eq!(names, ["tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]);
        assert_eq!(
            files(256).into_keys().collect::<Vec<_>>(),
            ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]
        );
        assert!(files(0).is_empty());
    }

    #[test]
    fn the_root_follows_from_the_lowest_tiles_and_the_entries_from_their_bundles() {
        let files = files(1_000);
        let (mut leaves, mut entries) = (Vec::new(), Vec::new());
        for (name, content) in &files {
            if name.starts_with("tile/0/") {
                leaves.extend(content.as_chunks::<32>().0.iter().copied().map(Digest::from_bytes));
            } else if name.starts_with("tile/entries/") {
                entries.extend(content.chunks(6).map(|entry| entry[2..].to_vec()));
                assert!(content.chunks(6).all(|entry| entry[..2] == [0, 4]));
            }
        }
        let expected: Vec<Vec<u8>> = (0..1_000_u32).map(|entry| entry.to_be_bytes().to_vec()).collect();
        assert_eq!(entries, expected);
        let direct: Vec<_> = expected.iter().map(|entry| merkle::leaf_hash(entry)).collect();
        assert_eq!(leaves, direct);
        let halves = files["tile/1/000.p/3"].as_chunks::<32>().0.iter().copied().map(Digest::from_bytes);
        let roots: Vec<_> = direct.chunks_exact(256).map(merkle::tree_root).collect();
        assert_eq!(halves.collect::<Vec<_>>(), roots);
    }
}
