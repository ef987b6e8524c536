//! Judges a stream: both directions, from what opened them to their CLOSE, and what each CLOSE says of the other.

use std::collections::HashMap;
use std::ops::Range;

use peabiru_proto::entry::{Body, Close, Reached, StreamDirection};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::LeafHash;
use peabiru_proto::time::Timestamp;

use super::{Judge, Parties, Party, Sealed};
use crate::evidence::stream::{STREAM_README, STREAM_README_TEXT, StreamLink, received_path};
use crate::evidence::{Side, chunk_file};

/// How far a direction was followed.
struct Followed {
    side: Side,
    /// The newest that was followed.
    previous: Option<LeafHash>,
    /// When it was made.
    made_at: Timestamp,
    chunks: u64,
    batches: u64,
    bytes: u64,
    /// Entries that hold their place, and the chunk that each ends before.
    ends: HashMap<LeafHash, u64>,
    /// Chunks whose batches are not in the file.
    gaps: Vec<Range<u64>>,
    /// What its entries say of the other direction, one after the other; the file of each.
    named: Vec<(String, Option<Reached>)>,
    /// If it holds its place.
    close: Option<Close>,
    opens: bool,
}

/// What a BATCH or CLOSE says of its place.
struct Placed {
    opening: LeafHash,
    direction: StreamDirection,
    previous: Option<LeafHash>,
    before: u64,
}

impl Followed {
    /// Up to what opens it, or stands in its place.
    fn of(side: Side, opening: &Sealed) -> Self {
        Self {
            side,
            previous: None,
            made_at: opening.entry.common().created_at,
            chunks: 0,
            batches: 0,
            bytes: 0,
            ends: HashMap::from([(opening.entry.leaf_hash(), 0)]),
            gaps: Vec::new(),
            named: Vec::new(),
            close: None,
            opens: match opening.entry.body() {
                Body::Request(head) => head.content.is_stream(),
                Body::Response(head) => head.content.is_stream(),
                _ => false,
            },
        }
    }

    /// Whether an entry that ends before this chunk may be one that the file does not have.
    fn may_lack(&self, chunks: u64) -> bool {
        let in_gap = |gap: &Range<u64>| gap.start < chunks && chunks <= gap.end;
        self.opens && (self.gaps.iter().any(in_gap) || self.close.is_none() && chunks >= self.chunks)
    }
}

impl Judge<'_> {
    /// Both directions.
    pub(super) fn streams(
        &mut self,
        request: &Sealed,
        answer: Option<&Sealed>,
        parties: Parties<'_>,
        confs: &[GlobalConfiguration],
    ) {
        let Parties { consumer, provider } = parties;
        let request = Some(self.stream(Side::Request, request, provider, confs));
        let answer = match answer {
            Some(answer) => Some(self.stream(Side::Answer, answer, consumer, confs)),
            None => {
                self.no_stream(Side::Answer);
                None
            }
        };
        self.reached(request.as_ref(), answer.as_ref(), Side::Answer);
        self.reached(answer.as_ref(), request.as_ref(), Side::Request);
    }

    fn no_stream(&mut self, side: Side) {
        if let Some(link) = self.evidence.links(side).first() {
            self.findings.fail(&link.path(side), &"no entry in the file opens this stream");
        }
    }

    /// One direction, which arrived in the ledger of the receiver.
    fn stream(
        &mut self,
        side: Side,
        opening: &Sealed,
        receiver: Party<'_>,
        confs: &[GlobalConfiguration],
    ) -> Followed {
        let mut followed = Followed::of(side, opening);
        if !followed.opens {
            self.no_stream(side);
            return followed;
        }
        for link in self.evidence.links(side) {
            let path = link.path(side);
            let Some(sealed) = self.sealed_at(&path) else { continue };
            self.signature(&path, &sealed, confs);
            self.follow(link, &path, &sealed, opening, &mut followed);
            self.arrived(&path, &sealed, receiver, confs);
            self.payload(&path, sealed.entry.body().content());
            self.no_context(&path, &sealed);
            let holds_its_place = followed.ends.contains_key(&sealed.entry.leaf_hash());
            if let Some(facts) = self.findings.facts.as_mut().filter(|_| holds_its_place) {
                facts.add(&sealed.entry);
            }
        }
        let Followed { chunks, batches, bytes, .. } = followed;
        let folder = side.stream_folder();
        let Some(close) = &followed.close else {
            self.findings.missing.push(format!("{folder}: incomplete: no CLOSE after {chunks} chunks"));
            return followed;
        };
        let why =
            close.fault.as_ref().map(|code| format!(", which its node made: {code}")).unwrap_or_default();
        self.findings.holds.push(format!("{folder}: {batches} batches, {bytes} bytes, and its end{why}"));
        followed
    }

    /// The note beside a stream.
    pub(super) fn stream_note(&mut self) {
        let has_links =
            [Side::Request, Side::Answer].iter().any(|side| !self.evidence.links(*side).is_empty());
        match self.file(STREAM_README) {
            None if has_links => self.findings.fail(STREAM_README, &"a stream has this note beside it"),
            Some(note) if !has_links || note != STREAM_README_TEXT.as_bytes() => {
                self.findings.fail(STREAM_README, &"it is not the note of this format");
            }
            Some(_) | None => {}
        }
    }

    /// Does the entry stand where the one before it leads?
    fn follow(
        &mut self,
        link: StreamLink,
        path: &str,
        sealed: &Sealed,
        opening: &Sealed,
        followed: &mut Followed,
    ) {
        let file = format!("{path}.entry");
        let placed = match (link, sealed.entry.body()) {
            (StreamLink::Batch(first_chunk), Body::Batch(head)) if head.first_chunk == first_chunk => {
                Placed {
                    opening: head.opening,
                    direction: head.direction,
                    previous: head.previous,
                    before: head.first_chunk,
                }
            }
            (StreamLink::Close, Body::Close(head)) => Placed {
                opening: head.opening,
                direction: head.direction,
                previous: head.previous,
                before: head.chunks,
            },
            _ => return self.findings.fail(&file, &"it is not the entry that its name says"),
        };
        let direction = match followed.side {
            Side::Request => StreamDirection::Request,
            Side::Answer => StreamDirection::Answer,
        };
        let (entry, opened) = (&sealed.entry, &opening.entry);
        if placed.opening != opened.leaf_hash()
            || placed.direction != direction
            || entry.exchange() != opened.exchange()
            || entry.origin() != opened.origin()
            || entry.common().node != opened.common().node
        {
            return self.findings.fail(&file, &"it is of another stream, or goes the other way");
        }
        let created_at = entry.common().created_at;
        if created_at < followed.made_at {
            self.findings.fail(&file, &"it was made before the one before it");
        }
        let is_beyond = placed.before > followed.chunks;
        if is_beyond {
            let (from, to) = (followed.chunks, placed.before - 1);
            let folder = followed.side.stream_folder();
            self.findings.missing.push(format!("{folder}: chunks {from} to {to}, before {file}"));
            followed.gaps.push(from..placed.before);
        }
        if !is_beyond && (placed.before < followed.chunks || placed.previous != followed.previous) {
            return self.findings.fail(&file, &"it does not follow the one before it");
        }
        followed.made_at = created_at;
        followed.chunks = placed.before;
        match entry.body() {
            Body::Batch(head) => {
                followed.named.push((file, head.peer));
                followed.previous = Some(entry.leaf_hash());
                followed.chunks = placed.before.saturating_add(head.chunks.into());
                followed.batches += 1;
                followed.bytes = followed.bytes.saturating_add(head.body_bytes);
            }
            Body::Close(head) => {
                followed.named.push((file, head.peer));
                followed.close = Some(head.clone());
            }
            _ => {}
        }
        followed.ends.insert(entry.leaf_hash(), followed.chunks);
    }

    /// The context of a batch has no bytes: what an application supplies freely stands in the opening or in the CLOSE.
    fn no_context(&mut self, path: &str, sealed: &Sealed) {
        let context = chunk_file(path, 0);
        let has_context = self.file(&context).is_some_and(|content| !content.is_empty());
        if has_context && matches!(sealed.entry.body(), Body::Batch(_)) {
            self.findings.fail(&context, &"the context of a batch is empty");
        }
    }

    /// Each entry of the other direction that an entry names is one that the other side made, and ends where it says; none is
    /// before one that was named earlier.
    fn reached(&mut self, of: Option<&Followed>, other: Option<&Followed>, other_side: Side) {
        let Some(of) = of else { return };
        let folder = other_side.stream_folder();
        let mut before = None;
        let mut not_there = 0_u64;
        for (file, named) in &of.named {
            let chunks = named.map(|named| named.chunks);
            if chunks < before {
                self.findings.fail(file, &"it says to have taken less than the one before it");
            }
            before = chunks;
            let Some(Reached { leaf, chunks }) = named else { continue };
            match other {
                Some(other) if other.ends.get(leaf) == Some(chunks) => {}
                Some(other) if other.ends.contains_key(leaf) || !other.may_lack(*chunks) => {
                    self.findings.fail(file, &"what it says to have taken is not what the other side made");
                }
                Some(_) | None => not_there += 1,
            }
        }
        if not_there > 0 {
            let of_folder = of.side.stream_folder();
            let what = format!("{folder}: what {not_there} entries of {of_folder} say to have taken");
            self.findings.missing.push(what);
        }
        let Some(close) = &of.close else { return };
        let file = format!("{}.entry", StreamLink::Close.path(of.side));
        self.findings.holds.push(match close.peer {
            None => format!("{file} ends, as it says, before anything of {folder} was taken"),
            Some(Reached { chunks, .. }) => {
                format!("{file} ends, as it says, after {chunks} chunks of {folder} were taken")
            }
        });
    }

    /// That it arrived, in the other party's ledger.
    fn arrived(&mut self, path: &str, sent: &Sealed, receiver: Party<'_>, confs: &[GlobalConfiguration]) {
        let path = received_path(path);
        let Some(received) = self.sealed_at(&path) else { return };
        self.signature(&path, &received, confs);
        self.party(&path, &received, receiver, confs);
        self.received(&path, &received, sent, None);
        if received.entry.exchange() != sent.entry.exchange() {
            self.findings.fail(&format!("{path}.entry"), &"it is of another exchange");
        }
    }
}
