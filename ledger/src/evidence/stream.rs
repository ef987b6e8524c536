//! Where the files of a stream stand: one group of names for each of its entries.

use std::collections::BTreeSet;

use super::{Evidence, Side};

/// An entry of a stream's direction, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum StreamLink {
    /// The BATCH that begins with this chunk of the direction.
    Batch(u64),
    /// The CLOSE.
    Close,
}

impl StreamLink {
    /// Path of its files, without suffix. FROZEN.
    pub(super) fn path(self, side: Side) -> String {
        match self {
            Self::Batch(first_chunk) => format!("{}{first_chunk}", side.stream_folder()),
            Self::Close => format!("{}close", side.stream_folder()),
        }
    }

    /// Of the entry itself, its RECEIVED, its payload's salt or a chunk of it; none for a name of something else.
    pub(super) fn of_file(side: Side, name: &str) -> Option<Self> {
        let (stem, suffix) = name.strip_prefix(side.stream_folder())?.split_once('.')?;
        let named = ["entry", "tlog-proof", "received.entry", "received.tlog-proof", "salt"];
        let is_chunk = || suffix.parse::<u16>().is_ok_and(|index| index.to_string() == suffix);
        if !named.contains(&suffix) && !is_chunk() {
            return None;
        }
        match stem {
            "close" => Some(Self::Close),
            stem => {
                let first_chunk: u64 = stem.parse().ok()?;
                (first_chunk.to_string() == stem).then_some(Self::Batch(first_chunk))
            }
        }
    }
}

impl Side {
    pub(super) const fn stream_folder(self) -> &'static str {
        match self {
            Self::Request => "stream/request/",
            Self::Answer => "stream/answer/",
        }
    }
}

impl Evidence {
    /// What the file has of a direction, in the order of the stream.
    pub(super) fn links(&self, side: Side) -> BTreeSet<StreamLink> {
        self.names().filter_map(|name| StreamLink::of_file(side, name)).collect()
    }
}

/// Path of the RECEIVED of an entry of a stream, without suffix.
pub(super) fn received_path(path: &str) -> String {
    format!("{path}.received")
}

/// The note that stands beside a stream.
pub(super) const STREAM_README: &str = "stream/README.txt";
pub(super) const STREAM_README_TEXT: &str = include_str!("stream.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_one_entry_or_of_none() {
        let side = Side::Answer;
        for link in [StreamLink::Batch(0), StreamLink::Batch(17), StreamLink::Close] {
            for suffix in ["entry", "tlog-proof", "received.entry", "received.tlog-proof", "salt", "0", "64"]
            {
                let name = format!("{}.{suffix}", link.path(side));
                assert_eq!(StreamLink::of_file(side, &name), Some(link), "{name}");
                assert_eq!(StreamLink::of_file(Side::Request, &name), None);
            }
        }
        for name in
            ["017.entry", "17.01", "17.received.salt", "17", "open.entry", "-1.entry", "17.entry.entry"]
        {
            assert_eq!(StreamLink::of_file(side, &format!("stream/answer/{name}")), None, "{name}");
        }
    }
}
