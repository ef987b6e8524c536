//! Streams of a node that means ill: what does not follow, what comes twice, what belongs elsewhere, what never ends.

use std::time::Duration;

use peabiru_integration_tests::echo::wire::GatherRequest;
use peabiru_integration_tests::federation::{Federation, Member};
use peabiru_ledger::payload::{Direction, Payload};
use peabiru_node::link::frame::{self, Decoder, Outgoing, Sealed as As};
use peabiru_proto::content::chunk_count;
use peabiru_proto::entry::{Batch, Body, Close, Entry, ExchangeId, Reached, StreamDirection, Verdict};
use peabiru_proto::fault::FaultCode;
use peabiru_proto::hash::LeafHash;
use peabiru_proto::limits::{CLOCK_SKEW, MAX_FRAME_BYTES};
use peabiru_proto::random::SystemRandom;
use peabiru_proto::time::{Clock as _, SystemClock, Timestamp};
use peabiru_proto::wire::ListEntriesRequest;
use peabiru_proto::wire::link_frame::Frame;
use prost::Message as _;

use super::enter;
use super::impostor::{Impostor, Sealed, Visit, sealed_payload};

/// A BATCH as an honest node would make it, but for what a test changes.
#[derive(Clone)]
pub(super) struct Draft {
    exchange: ExchangeId,
    opening: LeafHash,
    direction: StreamDirection,
    previous: Option<LeafHash>,
    first_chunk: u64,
    body: Vec<u8>,
    context: Vec<u8>,
    /// When it says to have been made, if not now.
    made_at: Option<Timestamp>,
    /// What it says of the other direction, and why its CLOSE came.
    taken: Option<Reached>,
    why: Option<FaultCode>,
}

impl Draft {
    pub(super) fn after(opening: &Sealed, body: Vec<u8>) -> Self {
        let entry = &opening.entry.entry;
        let (exchange, opening) = (entry.exchange(), entry.leaf_hash());
        Self {
            exchange,
            opening,
            direction: StreamDirection::Request,
            previous: None,
            first_chunk: 0,
            body,
            context: Vec::new(),
            made_at: None,
            taken: None,
            why: None,
        }
    }

    /// It says to have been made then.
    pub(super) fn made_at(self, made_at: Timestamp) -> Self {
        Self { made_at: Some(made_at), ..self }
    }

    /// It says to have taken this of the other direction.
    pub(super) fn taking(self, taken: Reached) -> Self {
        Self { taken: Some(taken), ..self }
    }

    /// The same of the other direction, after what opens that: who answers has taken the request.
    pub(super) fn answering(request: &Entry, opening: &Sealed, body: Vec<u8>) -> Self {
        let taken = Some(Reached { leaf: request.leaf_hash(), chunks: 0 });
        Self { direction: StreamDirection::Answer, taken, ..Self::after(opening, body) }
    }

    pub(super) fn next(&self, sealed: &Sealed, body: Vec<u8>) -> Self {
        let previous = Some(sealed.entry.entry.leaf_hash());
        let first_chunk = self.first_chunk + chunk_count(self.body.len() as u64) - 1;
        Self { previous, first_chunk, body, ..self.clone() }
    }

    pub(super) async fn batch(&self, impostor: &Impostor) -> Sealed {
        let (payload, content_root) = sealed_payload(&self.exchange, self.way(), &self.context, &self.body);
        let body_bytes = self.body.len() as u64;
        let batch = Batch {
            opening: self.opening,
            direction: self.direction,
            previous: self.previous,
            first_chunk: self.first_chunk,
            chunks: u32::try_from(chunk_count(body_bytes) - 1).unwrap(),
            content_root,
            body_bytes,
            peer: self.taken,
        };
        let made_at = self.made_at.unwrap_or_else(|| SystemClock.now());
        impostor.put_at(made_at, self.exchange, &Body::Batch(batch), payload).await
    }

    pub(super) async fn close(&self, impostor: &Impostor) -> Sealed {
        let (payload, content_root) = sealed_payload(&self.exchange, self.way(), &[], &[]);
        let close = Close {
            opening: self.opening,
            direction: self.direction,
            previous: self.previous,
            chunks: self.first_chunk,
            outcome: self.why.map_or(0, FaultCode::grpc_code),
            content_root,
            peer: self.taken,
            fault: self.why.map(|code| code.to_string()),
        };
        impostor.put(self.exchange, &Body::Close(close), payload).await
    }

    fn way(&self) -> Direction {
        match self.direction {
            StreamDirection::Request => Direction::Request,
            StreamDirection::Answer => Direction::Answer,
        }
    }
}

pub(super) fn message(text: &str) -> Vec<u8> {
    let message = GatherRequest { body: text.to_owned().into() }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message[..]].concat()
}

pub(super) fn bytes(as_frame: As, sealed: &Sealed) -> Vec<u8> {
    let Payload::Sealed(payload) = &*sealed.payload else { panic!("payloads of exchanges are encrypted") };
    let seal = &sealed.entry.seal;
    let outgoing = Outgoing {
        entry: sealed.entry.entry.bytes(),
        position: seal.position,
        tree_size: seal.checkpoint.size(),
        proof: &seal.proof,
        payload,
    };
    frame::encode_sealed(as_frame, &outgoing).concat()
}

/// The frames of a stream, as they come.
pub(super) struct Answers {
    receive: quinn::RecvStream,
    decoder: Decoder,
}

impl Answers {
    pub(super) fn of(receive: quinn::RecvStream) -> Self {
        Self { receive, decoder: Decoder::new(MAX_FRAME_BYTES) }
    }

    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            self.decoder.push(self.receive.read_chunk(usize::MAX, true).await.unwrap()?.bytes);
        }
    }

    /// The node ends every stream that it let in with a RESPONSE and a CLOSE, and says in it how far it had come.
    pub(super) async fn closed(&mut self) -> Close {
        let answered = async {
            let opened = match self.next().await {
                Some(Frame::Message(message)) => Entry::decode(message.entry).unwrap(),
                other => panic!("no RESPONSE: {other:?}"),
            };
            assert!(matches!(opened.body(), Body::Response(head) if head.content.is_stream()), "{opened:?}");
            loop {
                match self.next().await {
                    Some(Frame::Batch(_)) => {}
                    Some(Frame::Close(message)) => break Entry::decode(message.entry).unwrap(),
                    other => panic!("no CLOSE: {other:?}"),
                }
            }
        };
        let close = tokio::time::timeout(VERY_LONG, answered).await.expect("the stream ends");
        match close.body() {
            Body::Close(close) => close.clone(),
            other => panic!("{other:?}"),
        }
    }
}

/// Sends these frames on one stream, which stays open, and gives the CLOSE that comes back.
async fn close_of(visit: &mut Visit, frames: Vec<Vec<u8>>) -> Close {
    let (mut send, receive) = visit.raw.connection.open_bi().await.unwrap();
    for frame in frames {
        // The node may have stopped reading already.
        if send.write_all(&frame).await.is_err() {
            break;
        }
    }
    Answers::of(receive).closed().await
}

/// What the member's ledger says of each entry of others that came, oldest first.
pub(super) async fn verdicts(member: &Member, leaf: LeafHash) -> Vec<Verdict> {
    let (mut verdicts, mut start) = (Vec::new(), 0);
    loop {
        let request = ListEntriesRequest { start, limit: 100, ..ListEntriesRequest::default() };
        let listed = member.admin().await.list_entries(request).await.unwrap().into_inner().entries;
        if listed.is_empty() {
            return verdicts;
        }
        start += listed.len() as u64;
        for listed in listed {
            match Entry::decode(listed.entry).unwrap().body() {
                Body::Received(head) if head.peer_leaf == leaf => verdicts.push(head.verdict),
                _ => {}
            }
        }
    }
}

/// The same, once there is one.
pub(super) async fn verdict(member: &Member, leaf: LeafHash) -> Verdict {
    let noted = async {
        loop {
            if let [verdict] = verdicts(member, leaf).await[..] {
                break verdict;
            }
        }
    };
    tokio::time::timeout(LONG, noted).await.expect("it is noted that it came")
}

/// What the service heard of each stream is its first message alone.
fn heard(mec: &Member) -> Vec<String> {
    let gathered = mec.agency.echo.gathered();
    let gathered = gathered.borrow().clone();
    gathered.iter().map(|body| String::from_utf8(body.to_vec()).unwrap()).collect()
}

/// What a piece of a stream can be taken from.
#[derive(Clone, Copy)]
struct Others<'a> {
    opening: &'a Sealed,
    first: &'a Sealed,
    /// Of another stream: its draft, and its first batch.
    elsewhere: &'a Draft,
    stray: &'a Sealed,
}

/// A second piece that does not follow the first, and what the stream ends with.
async fn misfit(case: usize, impostor: &Impostor, draft: &Draft, others: Others<'_>) -> (Sealed, FaultCode) {
    let Others { opening, first, elsewhere: of_elsewhere, stray } = others;
    let honest = draft.next(first, message("bad"));
    let broken = FaultCode::StreamBroken;
    match case {
        0 => (Draft { first_chunk: 2, ..honest }.batch(impostor).await, broken),
        1 => {
            let previous = Some(stray.entry.entry.leaf_hash());
            (Draft { previous, ..honest }.batch(impostor).await, broken)
        }
        2 => (first.clone(), broken),
        3 => {
            let taken = Some(Reached { leaf: opening.entry.entry.leaf_hash(), chunks: 0 });
            let turned = Draft { direction: StreamDirection::Answer, taken, ..honest };
            (turned.batch(impostor).await, broken)
        }
        4 => {
            let exchange = ExchangeId::new(&SystemRandom::default());
            (Draft { exchange, ..honest }.batch(impostor).await, broken)
        }
        5 => (Draft { opening: of_elsewhere.opening, ..honest }.batch(impostor).await, broken),
        6 => (impostor.reseal(stray), broken),
        7 => (of_elsewhere.next(stray, Vec::new()).close(impostor).await, broken),
        // A field at its default: bytes that say nothing, and are there.
        9 => (Draft { context: vec![0x48, 0], ..honest }.batch(impostor).await, broken),
        10 => {
            let made_at = opening.entry.entry.common().created_at;
            let made_at = Some(Timestamp::from_ms(made_at.as_ms() - 1));
            (Draft { made_at, ..honest }.batch(impostor).await, broken)
        }
        11 => {
            let made_at = Some(SystemClock.now().plus(CLOCK_SKEW + LONG));
            // `message.from_future` would say that the service was not asked, and it was.
            let batch = Draft { made_at, ..honest }.batch(impostor).await;
            (batch, FaultCode::ExchangeOutcomeUnknown)
        }
        12 => {
            let taken = Some(Reached { leaf: first.entry.entry.leaf_hash(), chunks: 0 });
            (Draft { taken, ..honest }.close(impostor).await, broken)
        }
        13 => {
            let why = Some(FaultCode::StreamIdle);
            (Draft { why, ..honest }.close(impostor).await, broken)
        }
        14 => {
            let taken = Some(Reached { leaf: first.entry.entry.leaf_hash(), chunks: 0 });
            (Draft { taken, ..honest }.batch(impostor).await, broken)
        }
        // `message.altered` would say that the service was not asked, and it was.
        _ => (honest.batch(impostor).await, FaultCode::ExchangeOutcomeUnknown),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_follow_is_delivered_to_nobody() {
    let mut federation = Federation::start().await;
    let (impostor, mec, mut visit) = enter(&mut federation).await;
    let elsewhere = impostor.open_stream(&mec).await;
    let of_elsewhere = Draft::after(&elsewhere, message("bad"));
    let stray = of_elsewhere.batch(&impostor).await;
    for case in 0..15 {
        let opening = impostor.open_stream(&mec).await;
        let draft = Draft::after(&opening, message("good"));
        let first = draft.batch(&impostor).await;
        let others = Others { opening: &opening, first: &first, elsewhere: &of_elsewhere, stray: &stray };
        let (second, expected) = misfit(case, &impostor, &draft, others).await;
        let leaf = second.entry.entry.leaf_hash();
        for sealed in [&opening, &first, &second] {
            visit.show(&impostor.ledger, sealed).await;
        }
        let mut last = bytes(if [7, 12, 13].contains(&case) { As::Close } else { As::Batch }, &second);
        if case == 8 {
            *last.last_mut().unwrap() ^= 1;
        }
        let before = heard(&mec).len();
        let frames = vec![bytes(As::Message, &opening), bytes(As::Batch, &first), last];
        let close = close_of(&mut visit, frames).await;
        assert_eq!(close.fault.as_deref(), Some(expected.as_str()), "case {case}");
        let taken = Reached { leaf: first.entry.entry.leaf_hash(), chunks: 1 };
        assert_eq!(close.peer, Some(taken), "case {case}: it says how far it had come");
        assert!(heard(&mec).len() <= before + 1, "case {case}");
        // What is of this stream and has no place in it leaves a trace; a copy, or what is not of it, does not.
        match case {
            2 => assert_eq!(verdict(&mec, leaf).await, Verdict::Accepted),
            0 | 1 | 3 | 5 | 9 | 10 | 12 | 13 | 14 => {
                assert_eq!(verdict(&mec, leaf).await, Verdict::Refused, "case {case}");
            }
            _ => assert_eq!(verdicts(&mec, leaf).await, [], "case {case}"),
        }
    }
    assert!(heard(&mec).iter().all(|text| text == "good"), "{:?}", heard(&mec));
    impostor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_hold_what_they_say_and_batches_end_before_they_flood() {
    let mut federation = Federation::start().await;
    let (impostor, mec, mut visit) = enter(&mut federation).await;
    // A BATCH in the frame of a CLOSE.
    let opening = impostor.open_stream(&mec).await;
    let batch = Draft::after(&opening, message("good")).batch(&impostor).await;
    for sealed in [&opening, &batch] {
        visit.show(&impostor.ledger, sealed).await;
    }
    let frames = vec![bytes(As::Message, &opening), bytes(As::Close, &batch)];
    // `message.malformed` would say that the service was not asked, and it was.
    let close = close_of(&mut visit, frames).await;
    assert_eq!(close.fault.as_deref(), Some(FaultCode::ExchangeOutcomeUnknown.as_str()));
    let opening = Reached { leaf: opening.entry.entry.leaf_hash(), chunks: 0 };
    assert_eq!(close.peer, Some(opening), "nothing of it was taken but what opened it");
    // A message of a million bytes, one at a time.
    let opening = impostor.open_stream(&mec).await;
    let mut draft = Draft::after(&opening, vec![0, 0, 15, 66, 64]);
    let mut sealed = vec![opening];
    for _ in 0..600 {
        let batch = draft.batch(&impostor).await;
        draft = draft.next(&batch, vec![0]);
        sealed.push(batch);
    }
    let sealed: Vec<_> = sealed.iter().map(|sealed| impostor.reseal(sealed)).collect();
    visit.show(&impostor.ledger, sealed.last().unwrap()).await;
    let as_frame = |number: usize| if number == 0 { As::Message } else { As::Batch };
    let frames = sealed.iter().enumerate().map(|(number, sealed)| bytes(as_frame(number), sealed)).collect();
    let close = close_of(&mut visit, frames).await;
    assert_eq!(close.fault.as_deref(), Some(FaultCode::StreamFlood.as_str()));
    assert!(heard(&mec).is_empty(), "no message was whole");
    impostor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_end_nothing_is_delivered() {
    let mut federation = Federation::start().await;
    let (impostor, mec, mut visit) = enter(&mut federation).await;
    let opening = impostor.open_stream(&mec).await;
    let draft = Draft::after(&opening, message("good"));
    let first = draft.batch(&impostor).await;
    let second = draft.next(&first, message("bad"));
    let (close, late) = (second.close(&impostor).await, second.batch(&impostor).await);
    let sealed = [
        (As::Message, &opening),
        (As::Batch, &first),
        (As::Close, &close),
        (As::Close, &close),
        (As::Batch, &late),
    ];
    for (_, sealed) in sealed {
        visit.show(&impostor.ledger, sealed).await;
    }
    let (mut send, mut receive) = visit.raw.connection.open_bi().await.unwrap();
    for (as_frame, sealed) in sealed {
        let _ = send.write_all(&bytes(as_frame, sealed)).await;
    }
    let answered = async { while let Ok(Some(_)) = receive.read_chunk(usize::MAX, true).await {} };
    tokio::time::timeout(LONG, answered).await.expect("the stream ends");
    // The break may overtake what came before it.
    assert!(heard(&mec).iter().all(|text| text == "good"), "{:?}", heard(&mec));
    impostor.stop().await;
}

/// Of everything that happens at once unless it does not happen.
const LONG: Duration = Duration::from_secs(30);
/// Of what a node waits for before it happens.
const VERY_LONG: Duration = Duration::from_secs(90);
