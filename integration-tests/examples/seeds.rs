//! Writes the seeds of the fuzz targets: real values, taken from one exchange of a real federation.
//!
//! ```text
//! cargo run --release -p peabiru-integration-tests --example seeds
//! ```
//!
//! Files named `seed-…` in `fuzz/corpus` are replaced; what a fuzzer found beside them stays.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool of this project's own, run by hand")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use peabiru_certs::SecretKey;
use peabiru_certs::key::Algorithm;
use peabiru_certs::request;
use peabiru_integration_tests::echo::CONTRACT;
use peabiru_integration_tests::echo::wire::SayRequest;
use peabiru_integration_tests::evidence::{exchange_of, export};
use peabiru_integration_tests::federation::Federation;
use peabiru_integration_tests::parsers::join;
use peabiru_integration_tests::web;
use peabiru_ledger::evidence::Evidence;
use peabiru_ledger::tlog_proof;
use peabiru_node::link::frame::encode;
use peabiru_node::link::hello::Hello;
use peabiru_proto::entry::{Body, Entry};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::globalconf::ConfigurationAnchor;
use peabiru_proto::hash::{Digest, LeafHash};
use peabiru_proto::merkle;
use peabiru_proto::wire::{self, link_frame::Frame};
use prost::Message as _;

#[tokio::main]
async fn main() {
    let seeds = Seeds::of_an_exchange().await;
    seeds.said();
    seeds.sealed();
    seeds.trusted();
    seeds.road();
    println!("seeds written to {}", corpus().display());
}

/// What a real exchange left.
struct Seeds {
    anchor: ConfigurationAnchor,
    authority: Bytes,
    tar: Vec<u8>,
    evidence: Evidence,
    snapshot: wire::SignedSnapshot,
    held: Vec<wire::HeldEntry>,
}

impl Seeds {
    async fn of_an_exchange() -> Self {
        let mut federation = Federation::start().await;
        let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
        mec.grant("MITIC").await;
        let asked = SayRequest { body: "who?".into(), ..SayRequest::default() };
        let answer = mitic.caller("MEC").await.say(asked).await.unwrap();
        let tar = export(&mut mitic.admin().await, &exchange_of(answer.metadata())).await.unwrap();
        let evidence = Evidence::from_tar(&tar).unwrap();
        let snapshot = of(&evidence, "snapshot.bin").next().unwrap();
        let snapshot = wire::SignedSnapshot::decode(snapshot).unwrap();
        let held = of(&evidence, ".entry").zip(of(&evidence, ".tlog-proof")).map(held).collect();
        let anchor = federation.instance.anchor.clone();
        Self { anchor, authority: federation.ca.certificate().clone(), tar, evidence, snapshot, held }
    }

    fn entries(&self) -> Vec<Bytes> {
        of(&self.evidence, ".entry").collect()
    }

    fn notes(&self) -> Vec<Bytes> {
        self.held.iter().map(|held| held.checkpoint.clone()).collect()
    }

    fn said(&self) {
        write("entry", self.entries());
        let names = [
            "PY",
            "PY/GOV/MEC",
            "PY/GOV/MEC/app",
            "PY/GOV/MEC/app/road.test.v1.EchoService",
            "PY/COM/80012345-6/g%CC%83",
            "py.peabiru.example",
            "py.peabiru.example/registry/1",
            "py.peabiru.example/on47g35sa4w7lm6r36g2n4ppoyou4mow/12",
            "connectivity-planning",
            "000102030405060708090a0b0c0d0e0f",
            "message.replayed",
        ];
        write("identifier", names);
        let fault = Fault::new(FaultCode::AccessNoGrant, Place::ProviderNode, "no grant for g\u{303}");
        let fault = fault.with_exchange(Entry::decode(self.entries()[0].clone()).unwrap().exchange());
        write("fault", [fault.to_proto().encode_to_vec(), fault.to_grpc().details.to_vec()]);
        let grant = wire::Grant {
            id: "planning".to_owned(),
            revision: 2,
            consumer: "PY/GOV/MITIC/app".to_owned(),
            service: "PY/GOV/MEC/app/road.test.v1.EchoService".to_owned(),
            methods: vec!["Say".to_owned()],
            purposes: vec!["testing".to_owned()],
            valid_from_ms: 1_782_864_000_000,
            expires_at_ms: 1_814_400_000_000,
            legal_basis: "Ley 6534/20".to_owned(),
            ..wire::Grant::default()
        };
        let addresses = self.member_parts().into_iter().flat_map(|part| part.nodes);
        let addresses = addresses.flat_map(|node| node.addresses).map(|address| address.encode_to_vec());
        write("grant", addresses.chain([grant.encode_to_vec()]));
        write("contract", [CONTRACT]);
        write("openapi", [web::CONTRACT.as_bytes()]);
        let field = |name: &str, value: &'static [u8]| wire::ContextField {
            name: name.to_owned(),
            value: Bytes::from_static(value),
        };
        let context = wire::Context {
            metadata: vec![field("x-request-id", b"7"), field("trace-bin", &[0, 1, 2]), field("te", b"no")],
            trailers: vec![field("grpc-status-details-bin", b"\x08\x05")],
            ..wire::Context::default()
        };
        let sealed = of(&self.evidence, "payloads/request.0").chain(of(&self.evidence, "payloads/answer.0"));
        write("context", sealed.chain([context.encode_to_vec().into()]));
    }

    fn sealed(&self) {
        write("checkpoint", self.notes());
        write("tlog_proof", of(&self.evidence, ".tlog-proof"));
        write("proof", proofs());
        let payload = |what: u8, context: &[u8], body: &[u8]| {
            let length = u16::try_from(context.len()).unwrap().to_be_bytes();
            [&[what, 0, 3, 1], &length[..], context, body].concat()
        };
        let payloads = (0..8).map(|what| payload(what, b"context", b"\0\0\0\0\x04body"));
        write("payload", payloads.chain([payload(7, b"", b"")]));
        write("record", self.records());
    }

    /// Bodies of commit records: one entry with each kind of payload, and beside a RECEIVED what was received.
    fn records(&self) -> Vec<Vec<u8>> {
        let entries = self.entries();
        let origin = |entry: &Bytes| Entry::decode(entry.clone()).unwrap().origin().to_string();
        let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        let head = |slots: u8, entry: &Bytes, notes: &[&Bytes]| {
            let first = 0u64.to_be_bytes();
            let notes_count = u32::try_from(notes.len()).unwrap().to_be_bytes();
            let notes: Vec<u8> = notes.iter().flat_map(|note| sized(note)).collect();
            let origin = sized(origin(entry).as_bytes());
            [
                &[slots],
                &origin[..],
                &first,
                &sized(b""),
                &notes_count,
                &notes,
                &1u32.to_be_bytes(),
                &sized(entry),
            ]
            .concat()
        };
        let sealed = [&[1], &1u32.to_be_bytes()[..], &sized(&[9; 40]), &[0]].concat();
        let foreign =
            [&[0, 1], &sized(&entries[1])[..], &0u64.to_be_bytes(), &sized(&[5; 64]), &0u32.to_be_bytes()]
                .concat();
        let mut intact = Vec::new();
        let body = head(0, &entries[0], &[]);
        let body = [&body[1..], &[0, 0]].concat();
        let header = peabiru_ledger::record::Header {
            kind: peabiru_ledger::record::RecordKind::Commit,
            stream: [7; 16],
            sequence: 0,
            batch: 0,
            slot_seed: [7; 16],
            storage_key: Default::default(),
        };
        peabiru_ledger::record::Record::write(&header, &body, &[], &mut intact);
        vec![
            [head(0, &entries[0], &[]), vec![0, 0]].concat(),
            [head(1, &entries[0], &[]), sealed].concat(),
            [head(0, &entries[1], &[&self.notes()[0]]), foreign].concat(),
            [head(0, &entries[0], &[]), [&[2], &sized(b"in clear")[..], &[0]].concat()].concat(),
            intact,
        ]
    }

    fn member_parts(&self) -> Vec<wire::MemberPart> {
        let snapshot = wire::Snapshot::decode(self.snapshot.snapshot.clone()).unwrap();
        let members = snapshot.parts.iter().filter(|part| part.kind() == wire::PartKind::Member);
        members.map(|part| wire::MemberPart::decode(self.part(part)).unwrap()).collect()
    }

    fn part(&self, listed: &wire::PartDigest) -> Bytes {
        let digest = Digest::from_slice(&listed.digest).unwrap();
        self.evidence.file(&format!("parts/{digest}")).unwrap().clone()
    }

    fn trusted(&self) {
        let second =
            ConfigurationAnchor { root_keys: vec![[1; 32], [2; 32]], threshold: 2, ..self.anchor.clone() };
        write("anchor", [self.anchor.to_toml(), second.to_toml()]);
        write("snapshot", [self.snapshot.encode_to_vec()]);
        let mut snapshot = wire::Snapshot::decode(self.snapshot.snapshot.clone()).unwrap();
        let note = wire::StatusNote {
            instance: snapshot.instance.clone(),
            version: snapshot.version,
            snapshot_digest: vec![3; 32].into(),
            noted_at_ms: snapshot.created_at_ms,
        };
        write("status_note", [note.encode_to_vec()]);
        let parts: Vec<_> = snapshot.parts.iter().map(|part| self.part(part)).collect();
        let whole = std::iter::once(snapshot.encode_to_vec().into()).chain(parts);
        let whole = join(whole);
        snapshot.parts.clear();
        write("configuration", [whole, join([snapshot.encode_to_vec()])]);
        let of_nodes = self.member_parts().into_iter().flat_map(|part| {
            let nodes = part.nodes.into_iter().flat_map(|node| node.authentication_certificates);
            nodes.chain(part.ledgers.into_iter().map(|ledger| ledger.sealing_certificate)).collect::<Vec<_>>()
        });
        let certificates = of_nodes.chain([self.authority.clone()]);
        write("certificate", certificates.map(|certificate| join([&self.authority, &certificate])));
        let request = |algorithm| request::make(&SecretKey::generate(algorithm), "PY/GOV/MEC").unwrap();
        let pem = [request(Algorithm::Ed25519), request(Algorithm::P256)];
        let der = pem.clone().map(|pem| der(&pem));
        write("request", pem.map(String::into_bytes).into_iter().chain(der));
        write("evidence", [&self.tar]);
        write("held", [self.fetched().encode_to_vec()]);
    }

    fn fetched(&self) -> wire::FetchResponse {
        wire::FetchResponse { entries: self.held.clone() }
    }

    fn road(&self) {
        let notes: Vec<_> = self
            .notes()
            .iter()
            .map(|note| peabiru_ledger::checkpoint::SignedCheckpoint::parse(note).unwrap())
            .collect();
        let hello = Hello::write(&"PY/GOV/MEC/node".parse().unwrap(), 3, 7, &notes[..2]);
        let update = wire::CheckpointUpdate {
            checkpoint: self.notes()[0].clone(),
            from_size: 1,
            consistency: vec![3; 64].into(),
        };
        let held = self.held[0].clone();
        let size = notes[0].size().entries();
        let message = wire::SealedMessage {
            entry: held.entry.clone(),
            index: held.index,
            tree_size: size,
            inclusion: held.inclusion.clone(),
            payload_key: vec![1; 32].into(),
            payload_salt: vec![2; 32].into(),
            chunks: vec![vec![3; 40].into(), vec![4; 60].into()],
        };
        let payload = wire::SealedPayload {
            key: message.payload_key.clone(),
            salt: message.payload_salt.clone(),
            chunks: message.chunks.clone(),
            file_bytes: 0,
        };
        let held = wire::HeldEntry { payload: Some(payload), ..held };
        write("hello", [hello.encode_to_vec(), update.encode_to_vec()]);
        write("message", [message.encode_to_vec(), held.encode_to_vec()]);
        let fetch = wire::FetchRequest {
            request_leaf_hash: vec![5; 32].into(),
            exchange_id: vec![6; 16].into(),
            body_leaf_hash: vec![7; 32].into(),
            first_chunk: 3,
            ..wire::FetchRequest::default()
        };
        let head = wire::LargeHead { entry: message.entry.clone() };
        let fault = Fault::new(FaultCode::NodeDraining, Place::ProviderNode, "this node is stopping");
        let frames = [
            Frame::Hello(hello),
            Frame::Checkpoint(update),
            Frame::Message(message.clone()),
            Frame::Batch(message.clone()),
            Frame::Close(message),
            Frame::Refusal(fault.to_proto()),
            Frame::Fetch(fetch),
            Frame::Fetched(wire::FetchResponse { entries: vec![held] }),
            Frame::Head(head),
            Frame::Chunk(vec![8; 30].into()),
            Frame::Chunk(Bytes::new()),
        ]
        .map(encode);
        let streams = frames.iter().map(|frame| [&[11], &frame[..]].concat());
        write("frame", streams.chain([[&[200], &frames.concat()[..]].concat()]));
        write("authority", authorities());
        let target = "/r1/PY/GOV/MEC/educaci%C3%B3n/schools";
        write(
            "r1",
            [
                format!("GET {target}/a/%C3%B1o/7?x=1"),
                format!("* {target}/**"),
                format!("PUT {target}/{{id}}"),
            ],
        );
        write(
            "http1",
            [
                &b"\x07POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n"[..],
                b"\x03PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
            ],
        );
        write("door", [&b"\0\0\0\0\x04body"[..], b"1500m", b"99999999H", b"no grant for g%CC%83 50%"]);
    }
}

/// HEADERS of a call as clients at a Unix socket write them: by the table's index, by name, padded, and continued.
fn authorities() -> Vec<Vec<u8>> {
    let frame = |kind: u8, flags: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    };
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let (socket, path) = (text("%2Frun%2Fdoor.sock"), text("/road.test.v1.EchoService/Say"));
    let by_index = [&[0x83, 0x86, 0x41], &socket[..], &[0x44], &path].concat();
    let by_name = [&[0x83, 0x40], &text(":authority")[..], &text("/run/door.sock"), &[0x04], &path].concat();
    let padded = [&[3], &[0; 5][..], &by_index, &[0; 3]].concat();
    let (first, second) = by_name.split_at(20);
    let data = frame(0, 1, b"\0\0\0\0\x04%/%/");
    vec![
        [&[1], &frame(4, 0, &[])[..], &frame(1, 4, &by_index), &data].concat(),
        [&[7], &frame(1, 4, &by_name)[..]].concat(),
        [&[2], &frame(1, 4 | 8 | 32, &padded)[..], &data].concat(),
        [&[5], &frame(1, 0, first)[..], &frame(9, 4, second), &data].concat(),
    ]
}

/// Real proofs of the test's tree: two bytes say which claim.
fn proofs() -> Vec<Vec<u8>> {
    let mut tree = peabiru_ledger::tree::Tree::default();
    for number in 0..=u8::MAX {
        tree.push(merkle::entry_hash(&[number]) as LeafHash, &mut |_, _, _| {});
    }
    let (position, size) =
        (peabiru_ledger::position::LogPosition::new, peabiru_ledger::position::TreeSize::new);
    let inclusion = [(0u8, 1u8), (3, 7), (200, 201), (100, 255)].map(|(at, entries)| {
        let proof = tree.inclusion(position(at.into()), size(entries.into()), &()).unwrap();
        [&[at, entries][..], &proof.to_bytes()].concat()
    });
    let consistency = [(1u8, 2u8), (3, 7), (128, 200), (99, 255), (5, 5)].map(|(old, new)| {
        let proof = tree.consistency(size(old.into()), size(new.into()), &()).unwrap();
        [&[old, new][..], &proof.to_bytes()].concat()
    });
    inclusion.into_iter().chain(consistency).collect()
}

/// An entry and its proof as a counterparty gives them.
fn held((entry, proof): (Bytes, Bytes)) -> wire::HeldEntry {
    let seal = tlog_proof::parse(&proof).unwrap();
    let payload = match Entry::decode(entry.clone()).unwrap().body() {
        Body::Request(_) => Some(wire::SealedPayload {
            key: vec![1; 32].into(),
            salt: vec![2; 32].into(),
            chunks: vec![vec![3; 40].into()],
            file_bytes: 0,
        }),
        _ => None,
    };
    wire::HeldEntry {
        entry,
        index: seal.position.index(),
        inclusion: seal.proof.to_bytes().into(),
        checkpoint: seal.checkpoint.note().as_bytes().to_vec().into(),
        payload,
    }
}

/// Files of the evidence whose names end so.
fn of<'a>(evidence: &'a Evidence, suffix: &'a str) -> impl Iterator<Item = Bytes> + 'a {
    let names = evidence.names().filter(move |name| name.ends_with(suffix));
    names.map(|name| evidence.file(name).unwrap().clone())
}

fn der(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    data_encoding::BASE64.decode(base64.as_bytes()).unwrap()
}

fn write<S: AsRef<[u8]>>(parser: &str, seeds: impl IntoIterator<Item = S>) {
    let folder = corpus().join(parser);
    fs::create_dir_all(&folder).unwrap();
    for old in fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()) {
        if old.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed-")) {
            fs::remove_file(old).unwrap();
        }
    }
    for (number, seed) in seeds.into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed).unwrap();
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}
