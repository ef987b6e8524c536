//! Large messages, and peers that send them badly.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_ledger::large::body::{LargeSealed, LargeSealer, cipher_bytes};
use peabiru_ledger::large::{LargeFiles, SpoolShare};
use peabiru_ledger::ledger::{Ledger, Store};
use peabiru_ledger::payload::{Direction, Payload};
use peabiru_ledger::position::TreeSize;
use peabiru_ledger::proof::ConsistencyProof;
use peabiru_ledger::seal::SealedEntry;
use peabiru_node::exchange::{FromChunks, Outflow, Wanted};
use peabiru_node::link::budget::MIN_MEMORY_BUDGET;
use peabiru_node::link::frame::{self, Decoder};
use peabiru_node::link::heads::Heads;
use peabiru_proto::entry::{Body, Content, Entry, ExchangeId, Response};
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::hash::{ContentRoot, LeafHash};
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::{CHUNK_BYTES, MAX_BODY_BYTES, MAX_FRAME_BYTES};
use peabiru_proto::random::SystemRandom;
use peabiru_proto::wire::{
    self, FetchRequest, FetchResponse, HeldEntry, LargeHead, SealedMessage, link_frame::Frame,
};
use tokio::sync::{mpsc, oneshot};

use super::raw::{self, Raw, message, refusal};
use super::road::{LONG, Road, Running, Site, append, open, request};

const NOT_THERE: Content = Content::Whole { root: ContentRoot::from_bytes([0; 32]), body_bytes: 0 };
/// Two chunks and a half.
const BODY_BYTES: usize = 5 * CHUNK_BYTES / 2;
/// With which a stream is stopped.
const STALLED: u64 = 3;

/// A large message, ready to be sent piece by piece.
struct Large {
    preview: Entry,
    chunks: Vec<Bytes>,
    sealed: SealedEntry,
    payload: Arc<Payload>,
}

/// A node that is played by a test.
struct Played {
    raw: Raw,
    site: Arc<Site>,
    ledger: Ledger,
    files: LargeFiles,
    _store: Store,
}

impl Played {
    async fn mitic(road: &Road, to: &Running) -> Self {
        let site = road.site("MITIC");
        let nothing = Heads::open(site.folder.path()).unwrap();
        let store = site.open_store("raw", &nothing);
        let (ledger, files) = (store.ledger(&site.origin).unwrap(), store.large_files().clone());
        let raw = Raw::connect(road.guise(&site), &to.site.id, to.link.local_addr(), 1).await;
        raw.hear().await;
        Self { raw, site, ledger, files, _store: store }
    }

    async fn large(&mut self, to: &NodeId) -> Large {
        let large = seal_large(&self.site, &self.ledger, &self.files, to, BODY_BYTES).await;
        self.announce(&large.sealed).await;
        large
    }

    /// The checkpoint of the first message that goes out.
    async fn announce(&mut self, sealed: &SealedEntry) {
        self.raw.update(&sealed.seal.checkpoint, TreeSize::EMPTY, &ConsistencyProof::default()).await;
    }
}

async fn seal_large(site: &Site, ledger: &Ledger, files: &LargeFiles, to: &NodeId, bytes: usize) -> Large {
    let random = SystemRandom::default();
    let exchange = ExchangeId::new(&random);
    let file = files.spool(&SpoolShare::default(), None).unwrap();
    let mut sealer = LargeSealer::new(&random, &exchange, Direction::Request, file);
    let mut chunks = Vec::new();
    sealer.push(&vec![7; bytes], &mut |chunk| chunks.push(chunk)).unwrap();
    let LargeSealed { payload, root, body_bytes } =
        sealer.finish(b"context", &mut |chunk| chunks.push(chunk)).unwrap();
    let entry = site.asks(exchange, to, Content::Whole { root, body_bytes });
    let (sealed, payload) = append(ledger, entry, payload).await;
    Large { preview: site.asks(exchange, to, NOT_THERE), chunks, sealed, payload }
}

fn head(preview: &Entry) -> Bytes {
    frame::encode(Frame::Head(LargeHead { entry: preview.bytes().clone() }))
}

fn end(sealed: &SealedEntry, payload: &Payload) -> Bytes {
    let Payload::Sealed(payload) = payload else { panic!("payloads of exchanges are encrypted") };
    frame::encode(Frame::End(SealedMessage {
        entry: sealed.entry.bytes().clone(),
        index: sealed.seal.position.index(),
        tree_size: sealed.seal.checkpoint.size().entries(),
        inclusion: sealed.seal.proof.to_bytes().into(),
        payload_key: Bytes::copy_from_slice(payload.secrets().key()),
        payload_salt: Bytes::copy_from_slice(payload.secrets().salt()),
        chunks: payload.chunks().to_vec(),
    }))
}

impl Large {
    fn frames(&self) -> Vec<u8> {
        let chunks = self.chunks.iter().flat_map(|chunk| frame::encode_chunk(chunk.clone()));
        [head(&self.preview)].into_iter().chain(chunks).chain([self.end()]).collect::<Vec<_>>().concat()
    }

    fn end(&self) -> Bytes {
        end(&self.sealed, &self.payload)
    }
}

/// Frames of a stream, one after another.
struct Frames {
    stream: quinn::RecvStream,
    decoder: Decoder,
}

impl Frames {
    fn of(stream: quinn::RecvStream) -> Self {
        Self { stream, decoder: Decoder::new(MAX_FRAME_BYTES) }
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            self.decoder.push(self.stream.read_chunk(usize::MAX, true).await.unwrap()?.bytes);
        }
    }
}

fn note() -> Vec<u8> {
    frame::encode_chunk(Bytes::new()).concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_is_taken_however_slowly_its_application_gives_it() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let mut mitic = Played::mitic(&road, &mec).await;
    let large = mitic.large(&mec.site.id).await;
    let (mut send, mut receive) = mitic.raw.connection.open_bi().await.unwrap();
    send.write_all(&head(&large.preview)).await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    // Longer than a stream may be silent.
    for chunk in &large.chunks {
        for _ in 0..10 {
            ticks.tick().await;
            send.write_all(&note()).await.unwrap();
        }
        send.write_all(&frame::encode_chunk(chunk.clone()).concat()).await.unwrap();
    }
    send.write_all(&large.end()).await.unwrap();
    send.finish().unwrap();
    assert!(matches!(raw::read(&mut receive).await, Some(Frame::Message(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_that_stops_or_never_ends_is_given_up() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let mut mitic = Played::mitic(&road, &mec).await;
    let large = mitic.large(&mec.site.id).await;
    let (mut send, _receive) = mitic.raw.connection.open_bi().await.unwrap();
    send.write_all(&head(&large.preview)).await.unwrap();
    assert_eq!(send.stopped().await.unwrap().map(quinn::VarInt::into_inner), Some(STALLED));

    let (mut send, _receive) = mitic.raw.connection.open_bi().await.unwrap();
    send.write_all(&head(&large.preview)).await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let forever = async {
        while send.write_all(&note()).await.is_ok() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(LONG, forever).await.unwrap();
    assert_eq!(send.stopped().await.unwrap().map(quinn::VarInt::into_inner), Some(STALLED));
    assert!(matches!(mitic.raw.bytes(&large.frames()).await, Some(Frame::Message(_))), "and again, at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_what_its_head_announced_is_refused() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, echo) = road.start("MEC").await;
    let mut mitic = Played::mitic(&road, &mec).await;
    let to = mec.site.id.clone();
    let (first, other) =
        (mitic.large(&to).await, seal_large(&mitic.site, &mitic.ledger, &mitic.files, &to, BODY_BYTES).await);
    let (small, small_payload) = request(&mitic.site, &mitic.ledger, &to, "small").await;
    let small_preview = mitic.site.asks(small.entry.exchange(), &to, NOT_THERE);
    let stream = mitic.site.asks(
        first.sealed.entry.exchange(),
        &to,
        Content::Stream { context_root: ContentRoot::from_bytes([7; 32]) },
    );
    let Large { preview, chunks, .. } = &first;
    let chunk = |chunk: &Bytes| Bytes::from(frame::encode_chunk(chunk.clone()).concat());
    let too_big = large_as_message(&first);
    for (what, frames) in [
        ("another message", vec![head(preview), chunk(&chunks[0]), other.end()]),
        ("a chunk is missing", vec![head(preview), chunk(&chunks[0]), chunk(&chunks[1]), first.end()]),
        ("a chunk after the last", vec![head(preview), chunk(&chunks[2]), chunk(&chunks[0]), first.end()]),
        ("it fits a message", vec![head(&small_preview), end(&small, &small_payload)]),
        ("it fits no message", vec![too_big]),
        ("a stream", vec![head(&stream)]),
        ("no entry", vec![frame::encode(Frame::Head(LargeHead { entry: Bytes::from_static(b"x") }))]),
    ] {
        let fault = refusal(mitic.raw.bytes(&frames.concat()).await);
        assert_eq!(fault.code, FaultCode::MessageMalformed, "{what}: {fault}");
    }
    assert_eq!(echo.seen.available_permits(), 0);
    assert!(matches!(mitic.raw.bytes(&first.frames()).await, Some(Frame::Message(_))));
}

fn large_as_message(large: &Large) -> Bytes {
    let Payload::Sealed(payload) = &*large.payload else { unreachable!() };
    frame::encode(Frame::Message(SealedMessage {
        entry: large.sealed.entry.bytes().clone(),
        index: large.sealed.seal.position.index(),
        tree_size: large.sealed.seal.checkpoint.size().entries(),
        inclusion: large.sealed.seal.proof.to_bytes().into(),
        payload_key: Bytes::copy_from_slice(payload.secrets().key()),
        payload_salt: Bytes::copy_from_slice(payload.secrets().salt()),
        chunks: vec![payload.chunks()[0].clone(), large.chunks[0].clone()],
    }))
}

async fn note_all(begun: &mut [(quinn::SendStream, quinn::RecvStream)], ticks: &mut tokio::time::Interval) {
    ticks.tick().await;
    for (send, _) in begun {
        send.write_all(&note()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_carries_so_many_large_messages_at_once() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let mut mitic = Played::mitic(&road, &mec).await;
    let large = mitic.large(&mec.site.id).await;
    let mut begun = Vec::new();
    for _ in 0..32 {
        let (mut send, receive) = mitic.raw.connection.open_bi().await.unwrap();
        send.write_all(&head(&large.preview)).await.unwrap();
        begun.push((send, receive));
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    // Each that has its turn has a file.
    let spool = mec.site.folder.path().join("ledger/spool");
    while std::fs::read_dir(&spool).unwrap().count() < begun.len() {
        note_all(&mut begun, &mut ticks).await;
    }
    let frames = large.frames();
    let noting = async {
        loop {
            note_all(&mut begun, &mut ticks).await;
        }
    };
    tokio::select! {
        () = noting => {}
        answer = mitic.raw.bytes(&frames) => {
            assert_eq!(refusal(answer).code, FaultCode::NodeOverloaded);
        }
    }
    drop(begun);
    assert!(matches!(mitic.raw.bytes(&frames).await, Some(Frame::Message(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_its_application_says_so() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let mitic = Played::mitic(&road, &mec).await;
    let to = mitic.site.id.clone();
    let large = seal_large(&mec.site, &mec.ledger, mec.store.large_files(), &to, BODY_BYTES).await;
    let (chunks, outgoing) = mpsc::channel(8);
    let (done, sealed) = oneshot::channel();
    let outflow = Outflow { preview: large.preview.clone(), chunks: outgoing, sealed };
    let asking = tokio::spawn({
        let (link, to) = (Arc::clone(&mec.link), to.clone());
        async move { link.exchange_large(&to, outflow, LONG).await }
    });
    let (mut send, receive) = mitic.raw.connection.accept_bi().await.unwrap();
    let mut frames = Frames::of(receive);
    assert!(matches!(frames.next().await, Some(Frame::Head(_))));
    for chunk in large.chunks {
        assert_eq!(frames.next().await, Some(Frame::Chunk(Bytes::new())));
        chunks.send(chunk.clone()).await.unwrap();
        let mut next = frames.next().await;
        while next == Some(Frame::Chunk(Bytes::new())) {
            next = frames.next().await;
        }
        assert_eq!(next, Some(Frame::Chunk(chunk)));
    }
    drop(chunks);
    assert_eq!(frames.next().await, Some(Frame::Chunk(Bytes::new())), "while it is sealed, too");
    done.send(Ok((large.sealed, large.payload))).unwrap();
    let mut next = frames.next().await;
    while next == Some(Frame::Chunk(Bytes::new())) {
        next = frames.next().await;
    }
    assert!(matches!(next, Some(Frame::End(_))));

    // An answer that is announced and is none of ours.
    send.write_all(&head(&mitic.site.entry(large.preview.exchange(), &Body::Response(answer(&mec.site.id)))))
        .await
        .unwrap();
    let fault = asking.await.unwrap().unwrap_err();
    assert_eq!(fault.code, FaultCode::ExchangeOutcomeUnknown);
    assert!(fault.message.contains("another request"), "{fault}");
}

fn answer(to: &NodeId) -> Response {
    Response {
        request_leaf: LeafHash::from_bytes([1; 32]),
        received_leaf: LeafHash::from_bytes([2; 32]),
        addressee: to.clone(),
        outcome: 0,
        content: Content::Whole { root: ContentRoot::from_bytes([0; 32]), body_bytes: 0 },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_for_memory_does_not_run_against_the_peer() {
    let mut road = Road::of(&["MEC", "MITIC"]);
    road.memory_budget = MIN_MEMORY_BUDGET;
    let (mec, echo) = road.start("MEC").await;
    let mut mitic = Played::mitic(&road, &mec).await;
    echo.hold();
    let text = "x".repeat(MAX_BODY_BYTES);
    let (sealed, payload) = request(&mitic.site, &mitic.ledger, &mec.site.id, &text).await;
    mitic.announce(&sealed).await;
    let whole = message(&sealed, &payload);
    // As many as fit the share of one peer, and some more.
    let fitting = MIN_MEMORY_BUDGET / 2 / whole.len();
    let mut asked = Vec::new();
    for _ in 0..fitting + 3 {
        let (mut send, receive) = mitic.raw.connection.open_bi().await.unwrap();
        send.write_all(&whole).await.unwrap();
        send.finish().unwrap();
        asked.push(receive);
    }
    drop(echo.seen.acquire_many(u32::try_from(fitting).unwrap()).await.unwrap());
    // Longer than the peer may be silent, which it is not: all of it came.
    let mut ticks = tokio::time::interval(Duration::from_millis(300));
    for _ in 0..4 {
        ticks.tick().await;
    }
    echo.release();
    for mut receive in asked {
        assert!(matches!(raw::read(&mut receive).await, Some(Frame::Message(_))));
    }
}

/// What a node says of a large body that it holds.
fn held(large: &Large) -> HeldEntry {
    let Payload::Sealed(payload) = &*large.payload else { unreachable!() };
    HeldEntry {
        entry: large.sealed.entry.bytes().clone(),
        index: large.sealed.seal.position.index(),
        inclusion: large.sealed.seal.proof.to_bytes().into(),
        checkpoint: Bytes::copy_from_slice(large.sealed.seal.checkpoint.note().as_bytes()),
        payload: Some(wire::SealedPayload {
            key: Bytes::copy_from_slice(payload.secrets().key()),
            salt: Bytes::copy_from_slice(payload.secrets().salt()),
            chunks: payload.chunks().to_vec(),
            file_bytes: payload.file().unwrap().bytes(),
        }),
    }
}

fn wanted(large: &Large) -> Wanted {
    let (exchange, request_leaf) = (large.preview.exchange(), large.sealed.entry.leaf_hash());
    Wanted { exchange, request_leaf, from: FromChunks::default() }
}

/// The next fetch that the node opens.
async fn next_fetch(raw: &Raw) -> (FetchRequest, quinn::SendStream) {
    let (send, receive) = raw.connection.accept_bi().await.unwrap();
    match Frames::of(receive).next().await {
        Some(Frame::Fetch(request)) => (request, send),
        other => panic!("not a fetch: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_breaks_off_goes_on_where_it_stopped() {
    let road = Road::of(&["MEC", "MITIC"]);
    let (mec, _) = road.start("MEC").await;
    let mut mitic = Played::mitic(&road, &mec).await;
    let large = mitic.large(&mec.site.id).await;
    let (held, wanted, from) = (held(&large), wanted(&large), mitic.site.id.clone());
    let fetching = tokio::spawn({
        let (link, held) = (Arc::clone(&mec.link), held.clone());
        async move { link.fetch_body(&from, wanted, &held, LONG).await }
    });
    let fetched = frame::encode(Frame::Fetched(FetchResponse { entries: vec![held.clone()] }));
    let mut left = large.chunks.clone();
    for first_chunk in 1..=3 {
        let (request, mut send) = next_fetch(&mitic.raw).await;
        assert_eq!(
            (request.first_chunk, &request.body_leaf_hash[..]),
            (first_chunk, &large.sealed.entry.leaf_hash().as_bytes()[..])
        );
        send.write_all(&fetched).await.unwrap();
        send.write_all(&frame::encode_chunk(left.remove(0)).concat()).await.unwrap();
        // The stream ends before the body does.
        send.finish().unwrap();
    }
    let file = fetching.await.unwrap().unwrap();
    let arrived = mec.link.arrived(&mitic.site.id, held.clone(), Some(file)).await.unwrap();
    assert_eq!(open(&arrived, Direction::Request), format!("{BODY_BYTES} bytes"));

    // One that brings nothing more is not tried for ever, and one that lies about its length not at all.
    let (link, from) = (&mec.link, &mitic.site.id);
    let nothing = async {
        let (_, mut send) = next_fetch(&mitic.raw).await;
        send.write_all(&fetched).await.unwrap();
        send.finish().unwrap();
    };
    let (failed, ()) = tokio::join!(link.fetch_body(from, wanted, &held, LONG), nothing);
    assert_eq!(failed.unwrap_err().code, FaultCode::NodeUnreachable);
    let mut lying = held.clone();
    lying.payload.as_mut().unwrap().file_bytes += 16;
    let lie = async {
        let (_, mut send) = next_fetch(&mitic.raw).await;
        let fetched = Frame::Fetched(FetchResponse { entries: vec![lying] });
        send.write_all(&frame::encode(fetched)).await.unwrap();
        send.finish().unwrap();
    };
    let (failed, ()) = tokio::join!(link.fetch(from, wanted, LONG), lie);
    assert_eq!(failed.unwrap_err().code, FaultCode::MessageMalformed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counterparty_names_the_body_and_the_chunk_that_it_wants() {
    let road = Road::of(&["MEC", "MITIC"]);
    let ((mec, _), (mitic, _)) = (road.start("MEC").await, road.start("MITIC").await);
    let large = seal_large(&mec.site, &mec.ledger, mec.store.large_files(), &mitic.site.id, BODY_BYTES).await;
    let wanted = wanted(&large);
    let fetched = mitic.link.fetch(&mec.site.id, wanted, LONG).await.unwrap();
    let file = mitic.link.fetch_body(&mec.site.id, wanted, &fetched.entries[0], LONG).await.unwrap();
    assert_eq!(file.bytes(), cipher_bytes(BODY_BYTES as u64));

    let raw = Raw::connect(road.guise(&mitic.site), &mec.site.id, mec.link.local_addr(), u64::MAX).await;
    raw.hear().await;
    let fetch = |body: &[u8], first_chunk| {
        frame::encode(Frame::Fetch(FetchRequest {
            request_leaf_hash: Bytes::copy_from_slice(wanted.request_leaf.as_bytes()),
            exchange_id: Bytes::copy_from_slice(wanted.exchange.as_bytes()),
            body_leaf_hash: Bytes::copy_from_slice(body),
            first_chunk,
            ..FetchRequest::default()
        }))
    };
    let leaf = *large.sealed.entry.leaf_hash().as_bytes();
    let (mut send, receive) = raw.connection.open_bi().await.unwrap();
    send.write_all(&fetch(&leaf, 2)).await.unwrap();
    send.finish().unwrap();
    let mut frames = Frames::of(receive);
    assert!(matches!(frames.next().await, Some(Frame::Fetched(_))));
    for chunk in &large.chunks[1..] {
        assert_eq!(frames.next().await, Some(Frame::Chunk(chunk.clone())));
    }
    assert_eq!(frames.next().await, None);
    for (body, first_chunk) in
        [(&leaf[..], 4), (&leaf[..], u64::MAX), (&leaf[..], 0), (&[], 1), (&leaf[..31], 1)]
    {
        let fault: Fault = refusal(raw.bytes(&fetch(body, first_chunk)).await);
        assert_eq!(fault.code, FaultCode::MessageMalformed, "{first_chunk}");
    }
}
