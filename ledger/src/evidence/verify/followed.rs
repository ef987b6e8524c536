//! Judges a stream: both directions, from what opened them to their CLOSE.

use peabiru_proto::entry::{Body, StreamDirection};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::LeafHash;

use super::{Judge, Sealed};
use crate::evidence::Side;
use crate::evidence::stream::{STREAM_README, STREAM_README_TEXT, StreamLink, received_path};

/// How far a direction was followed.
#[derive(Default)]
struct Followed {
    previous: Option<LeafHash>,
    chunks: u64,
    batches: u64,
    bytes: u64,
}

/// What a BATCH or CLOSE says of its place.
struct Placed {
    opening: LeafHash,
    direction: StreamDirection,
    previous: Option<LeafHash>,
    before: u64,
}

impl Judge<'_> {
    /// One direction. `opening`: the entry that opened it, if the file has it; `receiver`: an entry of the ledger in which it
    /// arrived, if the file has one.
    pub(super) fn stream(
        &mut self,
        side: Side,
        opening: Option<&Sealed>,
        receiver: Option<&Sealed>,
        confs: &[GlobalConfiguration],
    ) {
        let links = self.evidence.links(side);
        let opens = |sealed: &&Sealed| match sealed.entry.body() {
            Body::Request(head) => head.content.is_stream(),
            Body::Response(head) => head.content.is_stream(),
            _ => false,
        };
        let Some(opening) = opening.filter(opens) else {
            if let Some(link) = links.first() {
                self.findings.fail(&link.path(side), &"no entry in the file opens this stream");
            }
            return;
        };
        let mut followed = Followed::default();
        for link in &links {
            let path = link.path(side);
            let Some(sealed) = self.sealed_at(&path) else { continue };
            self.signature(&path, &sealed, confs);
            self.follow(*link, side, &path, &sealed, opening, &mut followed);
            self.arrived(&path, &sealed, receiver, confs);
            self.payload(&path, sealed.entry.body().content());
            if let Some(facts) = &mut self.findings.facts {
                facts.add(&sealed.entry);
            }
        }
        let Followed { chunks, batches, bytes, .. } = followed;
        let folder = side.stream_folder();
        if links.contains(&StreamLink::Close) {
            self.findings.holds.push(format!("{folder}: {batches} batches, {bytes} bytes, and its end"));
        } else {
            self.findings.missing.push(format!("{folder}: incomplete: no CLOSE after {chunks} chunks"));
        }
    }

    /// The note beside a stream.
    pub(super) fn stream_note(&mut self) {
        let has_links =
            [Side::Request, Side::Answer].iter().any(|side| !self.evidence.links(*side).is_empty());
        match self.evidence.file(STREAM_README) {
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
        side: Side,
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
        let direction = match side {
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
        if placed.before > followed.chunks {
            let (from, to) = (followed.chunks, placed.before - 1);
            self.findings
                .missing
                .push(format!("{}: chunks {from} to {to}, before {file}", side.stream_folder()));
        } else if placed.before < followed.chunks || placed.previous != followed.previous {
            self.findings.fail(&file, &"it does not follow the one before it");
        }
        if let Body::Batch(head) = entry.body() {
            followed.previous = Some(entry.leaf_hash());
            followed.chunks = placed.before.saturating_add(head.chunks.into());
            followed.batches += 1;
            followed.bytes = followed.bytes.saturating_add(head.body_bytes);
        }
    }

    /// That it arrived, in the other party's ledger.
    fn arrived(
        &mut self,
        path: &str,
        sent: &Sealed,
        receiver: Option<&Sealed>,
        confs: &[GlobalConfiguration],
    ) {
        let path = received_path(path);
        let Some(received) = self.sealed_at(&path) else { return };
        self.signature(&path, &received, confs);
        self.received(&path, &received, sent, None);
        let of_another = receiver.is_some_and(|other| {
            received.entry.origin() != other.entry.origin()
                || received.entry.common().node != other.entry.common().node
        });
        if of_another || received.entry.exchange() != sent.entry.exchange() {
            self.findings.fail(&format!("{path}.entry"), &"it is of another ledger or exchange");
        }
    }
}
