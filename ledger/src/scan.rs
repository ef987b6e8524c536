//! Reads a stream from its beginning: which records are intact, where it ends, whether damage is a torn tail or
//! corruption (design §4).

use crate::LedgerError;
use crate::disk::DiskFile;
use crate::item::{CommitBody, read_body};
use crate::record::{HEADER_BYTES, PAGE_BYTES, Page, Record, RecordKind, StreamId};
use crate::segment::{Location, Segments, first_nonzero, name};

/// What the scan hands over, in order.
pub(crate) struct Scanned {
    pub(crate) location: Location,
    pub(crate) record: Record,
    /// None for a closing record.
    pub(crate) body: Option<CommitBody>,
}

/// Where and how the stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// Where the next record goes.
    pub(crate) at: Location,
    pub(crate) next_sequence: u64,
    /// First sequence of the last batch: only its records can be torn.
    pub(crate) last_batch: u64,
    pub(crate) closed: bool,
    /// Something that is no record stands at `at`.
    pub(crate) torn: bool,
}

/// Reads record by record.
pub(crate) struct Scanner<'a> {
    segments: &'a Segments,
    stream: StreamId,
    numbers: Vec<u64>,
    file: Option<(u64, Box<dyn DiskFile>)>,
    end: End,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(segments: &'a Segments, stream: StreamId) -> Result<Self, LedgerError> {
        let start = Location { segment: 0, offset: 0 };
        Self::from(segments, stream, start, 0)
    }

    /// Begins at a record that is known to be intact.
    pub(crate) fn from(
        segments: &'a Segments,
        stream: StreamId,
        at: Location,
        sequence: u64,
    ) -> Result<Self, LedgerError> {
        let numbers = segments.numbers()?;
        let end = End { at, next_sequence: sequence, last_batch: sequence, closed: false, torn: false };
        Ok(Self { segments, stream, numbers, file: None, end })
    }

    /// The next intact record; none at the end.
    ///
    /// # Errors
    /// `Corrupt` if what follows the last intact record proves that something durable is damaged.
    pub(crate) fn next(&mut self) -> Result<Option<Scanned>, LedgerError> {
        loop {
            let at = self.end.at;
            match self.read_at(at)? {
                Page::Record(record) if self.follows(&record) => return self.accept(at, record).map(Some),
                Page::Empty if self.in_next_segment(at)? => {
                    self.end.at = Location { segment: at.segment + 1, offset: 0 };
                }
                page => {
                    self.refuse_if_durable(at)?;
                    self.end.torn = page != Page::Empty || self.first_nonzero()?.is_some();
                    return Ok(None);
                }
            }
        }
    }

    pub(crate) fn end(&self) -> &End {
        &self.end
    }

    fn follows(&self, record: &Record) -> bool {
        record.header.stream == self.stream && record.header.sequence == self.end.next_sequence
    }

    fn accept(&mut self, location: Location, record: Record) -> Result<Scanned, LedgerError> {
        let body = match record.header.kind {
            RecordKind::Closing => None,
            RecordKind::Commit => {
                let unreadable = |_| {
                    corrupt(location, "an intact record does not parse: was it written by a newer version?")
                };
                Some(read_body(record.body.clone(), record.slots.len()).map_err(unreadable)?)
            }
        };
        self.end.at.offset += record.bytes();
        self.end.next_sequence += 1;
        self.end.last_batch = record.header.batch;
        self.end.closed = record.header.kind == RecordKind::Closing;
        Ok(Scanned { location, record, body })
    }

    fn read_at(&mut self, at: Location) -> Result<Page, LedgerError> {
        let Some(file) = self.open(at.segment)? else { return Ok(Page::Empty) };
        read_page(file, at.offset)
    }

    fn open(&mut self, number: u64) -> Result<Option<&dyn DiskFile>, LedgerError> {
        if !self.numbers.contains(&number) {
            return Ok(None);
        }
        if self.file.as_ref().is_none_or(|(open, _)| *open != number) {
            self.file = Some((number, self.segments.file(number)?));
        }
        Ok(self.file.as_ref().map(|(_, file)| &**file))
    }

    fn file_bytes(&mut self, number: u64) -> Result<u64, LedgerError> {
        self.open(number)?.map_or(Ok(0), |file| file.bytes().map_err(read_error))
    }

    /// Whether the stream goes on in the next segment: the record there is the one that is due.
    fn in_next_segment(&mut self, at: Location) -> Result<bool, LedgerError> {
        let next = Location { segment: at.segment + 1, offset: 0 };
        let follows = matches!(self.read_at(next)?, Page::Record(record) if self.follows(&record));
        Ok(follows)
    }

    /// A record of a later batch proves that everything before it was synced; a closing record, too.
    fn refuse_if_durable(&mut self, at: Location) -> Result<(), LedgerError> {
        let due = self.end.next_sequence;
        let mut offset = at.offset;
        for segment in self.numbers_from(at.segment) {
            let length = self.file_bytes(segment)?;
            while offset + PAGE_BYTES as u64 <= length {
                let page = self.read_at(Location { segment, offset })?;
                let step = match page {
                    Page::Record(record)
                        if record.header.stream == self.stream && record.header.batch > due =>
                    {
                        let found = format!(
                            "record {due} is damaged or missing, and record {} of a later commit stands at {}, byte {offset}",
                            record.header.sequence,
                            name(segment)
                        );
                        return Err(corrupt(at, found));
                    }
                    // The first page of a segment is always a record's: no payload can pretend to be one there.
                    Page::Record(record) if offset == 0 && record.header.stream != self.stream => {
                        let here = Location { segment, offset };
                        return Err(corrupt(here, "its records are of another stream than this folder's"));
                    }
                    Page::Record(record) => record.bytes(),
                    Page::Empty | Page::Invalid => PAGE_BYTES as u64,
                };
                offset += step;
            }
            offset = 0;
        }
        Ok(())
    }

    /// Where after the last intact record something stands.
    pub(crate) fn first_nonzero(&mut self) -> Result<Option<Location>, LedgerError> {
        let mut from = self.end.at.offset;
        for segment in self.numbers_from(self.end.at.segment) {
            if let Some(file) = self.open(segment)?
                && let Some(offset) = first_nonzero(file, from).map_err(read_error)?
            {
                return Ok(Some(Location { segment, offset }));
            }
            from = 0;
        }
        Ok(None)
    }

    fn numbers_from(&self, first: u64) -> Vec<u64> {
        self.numbers.iter().copied().filter(|number| *number >= first).collect()
    }
}

/// What stands at a page of a file; beyond the file's end, nothing.
pub(crate) fn read_page(file: &dyn DiskFile, offset: u64) -> Result<Page, LedgerError> {
    let length = file.bytes().map_err(read_error)?;
    if offset + HEADER_BYTES as u64 > length {
        return Ok(Page::Empty);
    }
    let mut bytes = vec![0; PAGE_BYTES.min(usize::try_from(length - offset).unwrap_or(PAGE_BYTES))];
    file.read_exact_at(&mut bytes, offset).map_err(read_error)?;
    let whole = Record::length_of(&bytes).filter(|whole| offset + whole <= length);
    if let Some(whole) =
        whole.and_then(|whole| usize::try_from(whole).ok()).filter(|whole| *whole > bytes.len())
    {
        let read = bytes.len();
        bytes.resize(whole, 0);
        file.read_exact_at(&mut bytes[read..], offset + read as u64).map_err(read_error)?;
    }
    Ok(Record::read(&bytes))
}

pub(crate) fn corrupt(at: Location, what: impl Into<String>) -> LedgerError {
    LedgerError::Corrupt { segment: name(at.segment), offset: at.offset, what: what.into() }
}

fn read_error(source: std::io::Error) -> LedgerError {
    LedgerError::Disk { path: "segments".into(), source }
}
