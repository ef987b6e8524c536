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
    /// If it holds its place.
    close: Option<Close>,
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
            close: None,
        }
    }

    /// Whether an entry that ends before this chunk may be one that the file does not have.
    fn may_lack(&self, chunks: u64) -> bool {
        let in_gap = |gap: &Range<u64>| gap.start < chunks && chunks <= gap.end;
        self.gaps.iter().any(in_gap) || self.close.is_none() && chunks >= self.chunks
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
        let opens = match opening.entry.body() {
            Body::Request(head) => head.content.is_stream(),
            Body::Response(head) => head.content.is_stream(),
            _ => false,
        };
        if !opens {
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
        let why = close.fault.as_ref().map(|code| format!(", which its node made: {code}")).unwrap_or_default();
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
                followed.previous = Some(entry.leaf_hash());
                followed.chunks = placed.before.saturating_add(head.chunks.into());
                followed.batches += 1;
                followed.bytes = followed.bytes.saturating_add(head.body_bytes);
            }
            Body::Close(head) => followed.close = Some(head.clone()),
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

    /// The entry of the other direction that a CLOSE names is one that the other side made, and ends where the CLOSE says.
    fn reached(&mut self, of: Option<&Followed>, other: Option<&Followed>, other_side: Side) {
        let Some((of, close)) = of.and_then(|of| Some((of, of.close.as_ref()?))) else { return };
        let file = format!("{}.entry", StreamLink::Close.path(of.side));
        let folder = other_side.stream_folder();
        let Some(Reached { leaf, chunks }) = close.peer else {
            return self.findings.holds.push(format!("{file} ends before anything of {folder} was taken"));
        };
        match other {
            Some(other) if other.ends.get(&leaf) == Some(&chunks) => {
                self.findings.holds.push(format!("{file} ends after {chunks} chunks of {folder} were taken"));
            }
            Some(other) if other.ends.contains_key(&leaf) || !other.may_lack(chunks) => {
                self.findings.fail(&file, &"what it says to have taken is not what the other side made");
            }
            Some(_) | None => {
                self.findings.missing.push(format!("{folder}: the entry that {file} says to have taken"));
            }
        }
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
