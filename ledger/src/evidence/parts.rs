//! A stream that is longer than one file: what its files say of each other.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use peabiru_proto::entry::{Body, Entry};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::language::Language;

use super::stream::StreamLink;
use super::words::{Words, Wrong};
use super::{Failure, Report, Side};

/// What a file has of an exchange, to be compared with what other files have of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// Of the REQUEST: it names the exchange.
    request: Option<LeafHash>,
    answer: Option<LeafHash>,
    links: Vec<Linked>,
}

/// An entry of a stream that holds its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Linked {
    file: String,
    side: Side,
    link: StreamLink,
    leaf: LeafHash,
    previous: Option<LeafHash>,
    /// Chunks before it, and up to its end.
    chunks: (u64, u64),
}

impl Part {
    pub(super) fn open(&mut self, side: Side, opening: &Entry) {
        match side {
            Side::Request => self.request = Some(opening.leaf_hash()),
            Side::Answer => self.answer = Some(opening.leaf_hash()),
        }
    }

    pub(super) fn add(&mut self, side: Side, link: StreamLink, entry: &Entry) {
        let (previous, chunks) = match entry.body() {
            Body::Batch(head) => {
                let end = head.first_chunk.saturating_add(head.chunks.into());
                (head.previous, (head.first_chunk, end))
            }
            Body::Close(head) => (head.previous, (head.chunks, head.chunks)),
            _ => return,
        };
        let (file, leaf) = (format!("{}.entry", link.path(side)), entry.leaf_hash());
        self.links.push(Linked { file, side, link, leaf, previous, chunks });
    }
}

/// Files of one exchange have the same answer, and the same entries in the same places, each naming the one before, also where
/// that is in another file. Each file was judged alone before. Gives what contradicts, in this language, with the number of its report.
#[must_use]
pub fn compare(reports: &[Report], language: Language) -> Vec<(usize, Failure)> {
    let mut failures = Vec::new();
    let (mut answers, mut places, mut ends) = (HashMap::new(), HashMap::new(), HashMap::new());
    let parts =
        || reports.iter().enumerate().filter_map(|(number, it)| Some((number, &it.part, it.part.request?)));
    for (number, part, request) in parts() {
        let mut fail = |file: &str, what: Wrong| {
            let what = Words::from(what).said(language);
            failures.push((number, Failure { file: file.to_owned(), what }));
        };
        if part.answer.is_some_and(|answer| *answers.entry(request).or_insert(answer) != answer) {
            fail("entries/3-answer.entry", Wrong::OtherAnswerElsewhere);
        }
        for Linked { file, side, link, leaf, chunks: (_, end), .. } in &part.links {
            match places.entry((request, *side, *link)) {
                Slot::Occupied(there) if there.get() != leaf => {
                    fail(file, Wrong::OtherEntryElsewhere);
                }
                Slot::Occupied(_) => {}
                Slot::Vacant(place) => {
                    place.insert(*leaf);
                }
            }
            if *link != StreamLink::Close {
                ends.entry((request, *side, *end)).or_insert(*leaf);
            }
        }
    }
    for (number, part, request) in parts() {
        for Linked { file, side, previous, chunks: (before, _), .. } in &part.links {
            let there = ends.get(&(request, *side, *before)).copied();
            if there.is_some() && there != *previous {
                let what = Words::from(Wrong::DoesNotFollowElsewhere).said(language);
                failures.push((number, Failure { file: file.clone(), what }));
            }
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use peabiru_proto::entry::{Batch, Close, Common, ExchangeId, Reached, StreamDirection};
    use peabiru_proto::hash::ContentRoot;
    use peabiru_proto::time::Timestamp;

    use super::*;
    use crate::evidence::Outcome;

    fn leaf(byte: u8) -> LeafHash {
        LeafHash::from_bytes([byte; 32])
    }

    fn entry(body: &Body) -> Entry {
        let (exchange, created_at) = (ExchangeId::from_slice(&[1; 16]).unwrap(), Timestamp::from_ms(1));
        let common =
            Common { exchange, created_at, node: Some("PY/GOV/MEC/n1".parse().unwrap()), globalconf: None };
        Entry::encode(&"py.example/registry/1".parse().unwrap(), &common, body).unwrap()
    }

    /// Of the answer, with one chunk.
    fn batch(previous: Option<LeafHash>, first_chunk: u64, root: u8) -> Entry {
        entry(&Body::Batch(Batch {
            opening: leaf(2),
            direction: StreamDirection::Answer,
            previous,
            first_chunk,
            chunks: 1,
            content_root: ContentRoot::from_bytes([root; 32]),
            body_bytes: 9,
            peer: Some(Reached { leaf: leaf(1), chunks: 0 }),
        }))
    }

    fn close(previous: LeafHash, chunks: u64) -> Entry {
        entry(&Body::Close(Close {
            opening: leaf(2),
            direction: StreamDirection::Answer,
            previous: Some(previous),
            chunks,
            outcome: 0,
            content_root: ContentRoot::from_bytes([9; 32]),
            peer: Some(Reached { leaf: leaf(1), chunks: 0 }),
            fault: None,
        }))
    }

    fn report(answer: u8, links: &[(StreamLink, &Entry)]) -> Report {
        let mut part = Part { request: Some(leaf(1)), answer: Some(leaf(answer)), links: Vec::new() };
        links.iter().for_each(|(link, entry)| part.add(Side::Answer, *link, entry));
        let (holds, failures, missing) = (Vec::new(), Vec::new(), Vec::new());
        let (outcome, vkeys) = (Outcome::Consistent, std::collections::BTreeSet::new());
        Report { outcome, facts: None, holds, failures, missing, part, vkeys }
    }

    #[test]
    fn parts_of_one_stream_fit_and_those_of_a_forked_one_do_not() {
        let first = batch(None, 0, 1);
        let second = batch(Some(first.leaf_hash()), 1, 2);
        let end = close(second.leaf_hash(), 2);
        let begins = report(2, &[(StreamLink::Batch(0), &first)]);
        let ends = report(2, &[(StreamLink::Batch(1), &second), (StreamLink::Close, &end)]);
        assert_eq!(compare(&[begins.clone(), ends.clone()], Language::English), []);
        assert_eq!(compare(&[ends.clone(), begins.clone()], Language::English), []);
        let named = |reports: &[Report]| {
            compare(reports, Language::English)
                .into_iter()
                .map(|(number, it)| (number, it.file))
                .collect::<Vec<_>>()
        };
        // Each of these is whole in itself.
        let forked = batch(None, 0, 3);
        let forked = report(2, &[(StreamLink::Batch(0), &forked)]);
        assert_eq!(named(&[ends.clone(), forked.clone()]), [(0, "stream/answer/1.entry".to_owned())]);
        assert_eq!(named(&[begins, forked]), [(1, "stream/answer/0.entry".to_owned())]);
        let other = report(3, &[]);
        assert_eq!(named(&[ends, other]), [(1, "entries/3-answer.entry".to_owned())]);
    }
}
