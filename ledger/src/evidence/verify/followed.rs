//! Judges a stream: both directions, from what opened them to their CLOSE, and what each CLOSE says of the other.

use std::collections::HashMap;
use std::ops::Range;

use peabiru_proto::context;
use peabiru_proto::entry::{Body, Close, Reached, StreamDirection, Verdict};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::LeafHash;
use peabiru_proto::limits::CLOCK_SKEW;
use peabiru_proto::origin::Origin;
use peabiru_proto::time::Timestamp;

use super::{Judge, Parties, Party, Sealed};
use crate::evidence::stream::{STREAM_README, STREAM_README_TEXT, StreamLink, received_path};
use crate::evidence::words::{self, End, Wrong};
use crate::evidence::{Role, Side, chunk_file};
use crate::position::LogPosition;

/// How far a direction was followed.
struct Followed {
    side: Side,
    /// Whose ledger it is in.
    origin: Origin,
    /// The newest that was followed.
    previous: Option<LeafHash>,
    /// When it was made, and where it stands.
    made_at: Timestamp,
    position: LogPosition,
    chunks: u64,
    batches: u64,
    bytes: u64,
    /// Entries that hold their place.
    held: HashMap<LeafHash, Held>,
    /// Chunks whose batches are not in the file.
    gaps: Vec<Range<u64>>,
    /// What its entries say of the other direction, one after the other.
    named: Vec<Named>,
    /// What the other party's ledger has of it.
    receipts: Vec<Receipt>,
    /// If it holds its place.
    close: Option<(LeafHash, Close)>,
    opens: bool,
}

/// Where an entry stands in its direction.
struct Held {
    /// Chunks up to its end.
    chunks: u64,
    /// 0 is what opens the direction.
    number: usize,
    made_at: Timestamp,
}

/// What an entry says of the other direction.
struct Named {
    file: String,
    peer: Option<Reached>,
    made_at: Timestamp,
    position: LogPosition,
}

/// That an entry came, in the ledger of whoever received it.
struct Receipt {
    file: String,
    leaf: LeafHash,
    origin: Origin,
    position: LogPosition,
    verdict: Verdict,
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
        let made_at = opening.entry.common().created_at;
        Self {
            side,
            origin: opening.entry.origin().clone(),
            previous: None,
            made_at,
            position: opening.seal.position,
            chunks: 0,
            batches: 0,
            bytes: 0,
            held: HashMap::from([(opening.entry.leaf_hash(), Held { chunks: 0, number: 0, made_at })]),
            gaps: Vec::new(),
            named: Vec::new(),
            receipts: Vec::new(),
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

    /// The receipt of an entry, which says that it came and how it was judged.
    fn note_receipt(&mut self, path: &str, received: &Sealed) {
        let Body::Received(head) = received.entry.body() else { return };
        self.receipts.push(Receipt {
            file: format!("{path}.entry"),
            leaf: head.peer_leaf,
            origin: received.entry.origin().clone(),
            position: received.seal.position,
            verdict: head.verdict,
        });
    }

    /// How many of its batches have a receipt with this verdict, and whether its end does.
    fn received(&self, verdict: Verdict) -> (u64, bool) {
        let has = |leaf: &LeafHash| {
            self.receipts.iter().any(|receipt| receipt.leaf == *leaf && receipt.verdict == verdict)
        };
        let close = self.close.as_ref().map(|(leaf, _)| *leaf);
        let batches = self.receipts.iter().filter(|receipt| receipt.verdict == verdict);
        let batches = batches.filter(|receipt| {
            Some(receipt.leaf) != close && self.held.get(&receipt.leaf).is_some_and(|held| held.number > 0)
        });
        (batches.count() as u64, close.is_some_and(|close| has(&close)))
    }

    /// How far an entry of it leads, as far as the file says.
    fn reach(&self, named: &Reached) -> (u64, usize) {
        (named.chunks, self.held.get(&named.leaf).map_or(usize::MAX, |held| held.number))
    }
}

impl Judge<'_> {
    /// Both directions. Of each what opens it, and that this came.
    pub(super) fn streams(
        &mut self,
        (request, received): (&Sealed, Option<&Sealed>),
        answer: Option<(&Sealed, Option<&Sealed>)>,
        parties: Parties<'_>,
        confs: &[GlobalConfiguration],
    ) {
        let Parties { consumer, provider } = parties;
        let request = self.stream(Side::Request, (request, received), provider, confs);
        let answered = answer.map(|opening| self.stream(Side::Answer, opening, consumer, confs));
        if answered.is_none() {
            self.no_stream(Side::Answer);
        }
        if answer.is_some_and(|(answer, _)| matches!(answer.entry.body(), Body::Fault(_))) {
            self.nothing_let_in(&request);
        }
        self.reached(Some(&request), answered.as_ref(), Side::Answer);
        self.reached(answered.as_ref(), Some(&request), Side::Request);
    }

    /// A FAULT says nothing of how far its author had come with the request: it stands where nothing was let in.
    fn nothing_let_in(&mut self, request: &Followed) {
        let accepted = |receipt: &&Receipt| request.opens && receipt.verdict == Verdict::Accepted;
        if let Some(receipt) = request.receipts.iter().find(accepted) {
            self.findings.fail(&Role::Answer.entry_file(), words::let_in(&receipt.file));
        }
    }

    fn no_stream(&mut self, side: Side) {
        if let Some(link) = self.evidence.links(side).first() {
            self.findings.fail(&link.path(side), Wrong::NotOpened);
        }
    }

    /// One direction, which arrived in the ledger of the receiver.
    fn stream(
        &mut self,
        side: Side,
        (opening, received): (&Sealed, Option<&Sealed>),
        receiver: Party<'_>,
        confs: &[GlobalConfiguration],
    ) -> Followed {
        let mut followed = Followed::of(side, opening);
        self.findings.part.open(side, &opening.entry);
        let path = match side {
            Side::Request => Role::ReceivedByProvider.path(),
            Side::Answer => Role::ReceivedByConsumer.path(),
        };
        received.into_iter().for_each(|received| followed.note_receipt(path, received));
        if !followed.opens {
            self.no_stream(side);
            return followed;
        }
        for link in self.evidence.links(side) {
            let path = link.path(side);
            let Some(sealed) = self.sealed_at(&path) else { continue };
            self.signature(&path, &sealed, confs);
            self.follow(link, &path, &sealed, opening, &mut followed);
            if let Some(received) = self.arrived(&path, &sealed, receiver, confs) {
                followed.note_receipt(&received_path(&path), &received);
            }
            self.payload(&path, sealed.entry.body().content());
            self.context(&path, &sealed);
            let holds_its_place = followed.held.contains_key(&sealed.entry.leaf_hash());
            if holds_its_place {
                self.findings.part.add(side, link, &sealed.entry);
                self.findings.facts.iter_mut().for_each(|facts| facts.add(&sealed.entry));
            }
        }
        self.tell(&followed);
        followed
    }

    /// What the sender sealed, and what of it the receiver's ledger has, are two things: a sender may seal what it never sent.
    fn tell(&mut self, followed: &Followed) {
        let Followed { side, chunks, batches, bytes, close, .. } = followed;
        let folder = side.stream_folder();
        match close {
            Some((_, close)) => {
                self.findings.hold(words::stream_sealed(folder, *batches, *bytes, close.fault.as_deref()));
            }
            None => self.findings.lack(words::no_close(folder, *chunks)),
        }
        for verdict in [Verdict::Accepted, Verdict::Refused] {
            let (batches, ended) = followed.received(verdict);
            if (batches, ended) == (0, false) && verdict == Verdict::Refused {
                continue;
            }
            let end = if ended { End::There } else { End::NotThere };
            self.findings.hold(words::stream_received(folder, verdict, batches, end));
        }
    }

    /// The note beside a stream.
    pub(super) fn stream_note(&mut self) {
        let has_links =
            [Side::Request, Side::Answer].iter().any(|side| !self.evidence.links(*side).is_empty());
        match self.file(STREAM_README) {
            None if has_links => self.findings.fail(STREAM_README, Wrong::NoNote),
            Some(note) if !has_links || note != STREAM_README_TEXT.as_bytes() => {
                self.findings.fail(STREAM_README, Wrong::OtherNote);
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
            _ => return self.findings.fail(&file, Wrong::OtherEntry),
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
            return self.findings.fail(&file, Wrong::OtherStream);
        }
        let created_at = entry.common().created_at;
        if created_at < followed.made_at {
            self.findings.fail(&file, Wrong::MadeBeforePrevious);
        }
        if sealed.seal.position <= followed.position {
            self.findings.fail(&file, Wrong::StandsBeforePrevious);
        }
        let is_beyond = placed.before > followed.chunks;
        if is_beyond {
            let (from, to) = (followed.chunks, placed.before - 1);
            let folder = followed.side.stream_folder();
            self.findings.lack(words::gap(folder, from, to, &file));
            followed.gaps.push(from..placed.before);
        }
        if !is_beyond && (placed.before < followed.chunks || placed.previous != followed.previous) {
            return self.findings.fail(&file, Wrong::DoesNotFollow);
        }
        (followed.made_at, followed.position) = (created_at, sealed.seal.position);
        followed.chunks = placed.before;
        let peer = match entry.body() {
            Body::Batch(head) => {
                followed.previous = Some(entry.leaf_hash());
                followed.chunks = placed.before.saturating_add(head.chunks.into());
                followed.batches += 1;
                followed.bytes = followed.bytes.saturating_add(head.body_bytes);
                head.peer
            }
            Body::Close(head) => {
                followed.close = Some((entry.leaf_hash(), head.clone()));
                head.peer
            }
            _ => return,
        };
        followed.named.push(Named { file, peer, made_at: created_at, position: sealed.seal.position });
        let (chunks, number) = (followed.chunks, followed.held.len());
        followed.held.insert(entry.leaf_hash(), Held { chunks, number, made_at: created_at });
    }

    /// The context of a batch has no bytes: what an application supplies freely stands in the opening or in the CLOSE, which
    /// tells its application what its head says.
    fn context(&mut self, path: &str, sealed: &Sealed) {
        let file = chunk_file(path, 0);
        let Some(content) = self.file(&file) else { return };
        let checked = match sealed.entry.body() {
            Body::Batch(_) if !content.is_empty() => Err("the context of a batch is empty"),
            Body::Close(close) => {
                context::read(content.clone()).and_then(|context| close.check_context(&context))
            }
            _ => Ok(()),
        };
        if let Err(what) = checked {
            self.findings.fail(&file, words::technical(&what));
        }
    }

    /// Each entry of the other direction that an entry names is one that the other side made, and ends where it says; none is
    /// before one that was named earlier, nor before one that came earlier, as the author's own ledger says.
    fn reached(&mut self, of: Option<&Followed>, other: Option<&Followed>, other_side: Side) {
        let Some(of) = of else { return };
        let folder = other_side.stream_folder();
        let mut before = None;
        let mut not_there = 0_u64;
        for Named { file, peer, made_at, .. } in &of.named {
            let chunks = peer.map(|named| named.chunks);
            if chunks < before {
                self.findings.fail(file, Wrong::TookLess);
            }
            before = chunks;
            let Some(Reached { leaf, chunks }) = peer else { continue };
            match other.map(|other| (other, other.held.get(leaf))) {
                Some((_, Some(held))) if held.chunks == *chunks => {
                    // The clocks of two nodes.
                    if made_at.plus(CLOCK_SKEW) < held.made_at {
                        self.findings.fail(file, Wrong::BeforeTaken);
                    }
                }
                Some((other, held)) if held.is_some() || !other.may_lack(*chunks) => {
                    self.findings.fail(file, Wrong::TookOther);
                }
                Some(_) | None => not_there += 1,
            }
        }
        if not_there > 0 {
            self.findings.lack(words::taken(folder, not_there, of.side.stream_folder()));
        }
        if let Some(other) = other {
            self.owns_up(of, other);
        }
        let Some((_, close)) = &of.close else { return };
        let file = format!("{}.entry", StreamLink::Close.path(of.side));
        self.findings.hold(words::ends(&file, close.peer.map(|reached| reached.chunks), folder));
    }

    /// An author's own ledger has the RECEIVED of what it took: what stands there before an entry was taken when that was made.
    fn owns_up(&mut self, of: &Followed, other: &Followed) {
        let mut receipts: Vec<_> =
            other.receipts.iter().filter(|receipt| receipt.origin == of.origin).collect();
        receipts.sort_by_key(|receipt| receipt.position);
        let refused = receipts.iter().filter(|receipt| receipt.verdict == Verdict::Refused);
        let refused: HashMap<_, _> = refused.map(|receipt| (receipt.leaf, *receipt)).collect();
        let mut receipts = receipts.into_iter().peekable();
        let mut newest: Option<((u64, usize), &Receipt)> = None;
        for named in &of.named {
            while let Some(receipt) = receipts.next_if(|receipt| receipt.position < named.position) {
                let Some(held) = other.held.get(&receipt.leaf) else { continue };
                let reach = (held.chunks, held.number);
                if receipt.verdict == Verdict::Accepted && newest.is_none_or(|(before, _)| before < reach) {
                    newest = Some((reach, receipt));
                }
            }
            let claimed = named.peer.map(|peer| other.reach(&peer));
            if let Some((reach, receipt)) = newest
                && claimed.is_none_or(|claimed| claimed < reach)
            {
                self.findings.fail(&named.file, words::had_more(&receipt.file));
            }
            if let Some(receipt) = named.peer.and_then(|peer| refused.get(&peer.leaf)) {
                self.findings.fail(&named.file, words::had_refused(&receipt.file));
            }
        }
    }

    /// That it arrived, in the other party's ledger.
    fn arrived(
        &mut self,
        path: &str,
        sent: &Sealed,
        receiver: Party<'_>,
        confs: &[GlobalConfiguration],
    ) -> Option<Sealed> {
        let path = received_path(path);
        let received = self.sealed_at(&path)?;
        self.signature(&path, &received, confs);
        self.party(&path, &received, receiver, confs);
        self.received(&path, &received, sent, None);
        if received.entry.exchange() != sent.entry.exchange() {
            self.findings.fail(&format!("{path}.entry"), Wrong::OtherExchange);
        }
        Some(received)
    }
}
