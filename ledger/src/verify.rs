//! Checks the folder of a stopped node, byte for byte: every record, slot and zero, and every stored checkpoint against
//! the entries before it. Changes nothing, needs no key.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use peabiru_proto::hash::Digest;
use peabiru_proto::origin::Origin;

use crate::LedgerError;
use crate::disk::Disk;
use crate::erasure::Erasures;
use crate::item::StoredContent;
use crate::large::check_content;
use crate::recover::{Shutdown, check_continuity, no_stream_id, stream_id};
use crate::scan::{Scanned, Scanner, corrupt};
use crate::segment::{Location, Segments, at, first_nonzero};
use crate::succession::Succession;
use crate::tree::Tree;

/// A folder in which nothing is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderReport {
    /// Commit records.
    pub records: u64,
    /// In the order of their first entries.
    pub ledgers: Vec<LedgerReport>,
    /// How the last process ended.
    pub shutdown: Shutdown,
}

/// A ledger in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerReport {
    /// Its name.
    pub origin: Origin,
    /// How many entries it has.
    pub entries: u64,
    /// RFC 6962 root over them.
    pub root: Digest,
}

/// Reads everything.
///
/// # Errors
/// `Corrupt` names segment and offset of the first thing that is wrong, an unfinished record at the end included;
/// `Locked` while a node works in the folder; `Disk`.
pub fn verify_folder(disk: &Arc<dyn Disk>, folder: &Path) -> Result<FolderReport, LedgerError> {
    let names = disk.list(&folder.join("segments")).unwrap_or_default();
    if names.is_empty() {
        let reason = std::io::Error::new(
            std::io::ErrorKind::NotFound,
            "it holds no segments: is it a ledger's folder?",
        );
        return Err(at(folder)(reason));
    }
    let _lock = disk.lock(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => LedgerError::Locked { folder: folder.to_owned() },
        _ => at(folder)(error),
    })?;
    // The length matters only to who writes.
    let segments = Segments::open(Arc::clone(disk), folder, 0)?;
    let stream = stream_id(&**disk, folder)?.ok_or_else(no_stream_id)?;
    let mut scanner = Scanner::new(&segments, stream)?;
    let (mut trees, mut erasures, mut records) =
        (Vec::<(Origin, Tree, Succession)>::new(), Erasures::default(), 0);
    let mut files = Vec::new();
    let mut before = scanner.end().at;
    while let Some(Scanned { location, record, body }) = scanner.next()? {
        if location.segment > before.segment {
            check_rest(&segments, before)?;
        }
        before = scanner.end().at;
        let Some(body) = body else { continue };
        records += 1;
        let known = trees.iter().position(|(origin, ..)| *origin == body.origin);
        let number = known.unwrap_or_else(|| {
            trees.push((body.origin.clone(), Tree::default(), Succession::default()));
            trees.len() - 1
        });
        let (_, tree, succession) = &mut trees[number];
        check_continuity(tree, &body).map_err(|what| corrupt(location, what))?;
        for item in &body.items {
            tree.push(item.entry.leaf_hash(), &mut |_, _, _| {});
            erasures.note_entry(&item.entry);
            if let StoredContent::Large { file, .. } = item.payload {
                files.push((item.entry.leaf_hash(), file, location));
            }
        }
        succession.check(&body, tree.size()).map_err(|what| corrupt(location, what))?;
        erasures.note_slots(location, &record, &body);
    }
    let end = scanner.end().clone();
    if end.torn {
        return Err(corrupt(end.at, "what follows the last record is neither a record nor empty"));
    }
    if let Some(error) = erasures.unexplained().into_iter().next() {
        return Err(error);
    }
    let mut named = HashSet::new();
    for (_, file, location) in &files {
        if !named.insert(file.name) {
            return Err(corrupt(*location, "another record names the same file for its payload"));
        }
    }
    for (_, file, location) in files.iter().filter(|(leaf, ..)| !erasures.is_named(leaf)) {
        check_content(&**disk, folder, *file, *location)?;
    }
    let shutdown = match (end.next_sequence, end.closed) {
        (0, _) => Shutdown::New,
        (_, true) => Shutdown::Clean,
        (_, false) => Shutdown::Crashed,
    };
    let report = |(origin, tree, _): (Origin, Tree, _)| LedgerReport {
        origin,
        entries: tree.size().entries(),
        root: tree.root(),
    };
    Ok(FolderReport { records, ledgers: trees.into_iter().map(report).collect(), shutdown })
}

/// A segment that the stream left is empty from there on.
fn check_rest(segments: &Segments, from: Location) -> Result<(), LedgerError> {
    let file = segments.file(from.segment)?;
    let found = first_nonzero(&*file, from.offset).map_err(at(&segments.path(from.segment)))?;
    let what = "what follows the last record of the segment is not empty";
    found.map_or(Ok(()), |offset| Err(corrupt(Location { offset, ..from }, what)))
}
