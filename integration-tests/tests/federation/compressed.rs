//! Callers and services that compress: served within limits, and what is sealed is what was said, uncompressed.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use peabiru_integration_tests::echo::wire::{MirrorRequest, SayRequest, TalkRequest};
use peabiru_integration_tests::evidence::{exchange_of, export};
use peabiru_integration_tests::federation::{Federation, Member, service};
use peabiru_ledger::evidence::Evidence;
use prost::Message as _;
use tokio::net::TcpStream;
use tonic::codec::CompressionEncoding::Gzip;

fn say(bytes: usize) -> SayRequest {
    SayRequest { body: vec![7; bytes].into(), ..SayRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_messages_arrive_as_they_were_said() {
    let mut federation = Federation::start().await;
    let (mitic, mec) = (federation.enrol("MITIC").await, federation.enrol("MEC").await);
    let compressing = mec.echo.start_compressing().await;
    let config = std::fs::read_to_string(mec.site.config()).unwrap();
    let config = config.replace(&format!("http://{}", mec.service), &format!("http://{compressing}"));
    std::fs::write(mec.site.config(), config).unwrap();
    let (mitic, mec) = (mitic.start().await, mec.start().await);
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await.send_compressed(Gzip).accept_compressed(Gzip);
    // Small, small only while compressed, and large: the service compresses its answers likewise.
    for bytes in [1000, 1_000_000, 3_000_000] {
        let answer = caller.say(say(bytes)).await.unwrap();
        assert!(answer.get_ref().body.iter().all(|byte| *byte == 7) && answer.get_ref().body.len() == bytes);
        assert_eq!(answer.metadata().get("grpc-accept-encoding").unwrap(), "identity,gzip");
        assert!(!answer.metadata().contains_key("grpc-encoding"), "an answer is not compressed");
    }
    let requests = (0..5).map(|number: u8| MirrorRequest { body: vec![number; 50_000].into() });
    let mut mirrored = caller.mirror(tokio_stream::iter(requests)).await.unwrap().into_inner();
    for number in 0..5 {
        assert_eq!(mirrored.message().await.unwrap().unwrap().body, vec![number; 50_000]);
    }
    // Live: each message alone.
    let requests = (0..5).map(|number: u8| TalkRequest { body: vec![number; 50_000].into() });
    let mut talked = caller.talk(tokio_stream::iter(requests)).await.unwrap().into_inner();
    for number in 0..5 {
        assert_eq!(talked.message().await.unwrap().unwrap().body, vec![number; 50_000]);
    }
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sealed_is_not_compressed() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await.send_compressed(Gzip);
    let answer = caller.say(say(1000)).await.unwrap();
    let tar = export(&mut mitic.admin().await, &exchange_of(answer.metadata())).await.unwrap();
    let evidence = Evidence::from_tar(&tar).unwrap();
    let said = say(1000).encode_to_vec();
    let prefix = [&[0], u32::try_from(said.len()).unwrap().to_be_bytes().as_slice()].concat();
    let sealed = [prefix, said].concat();
    assert!(evidence.names().any(|name| evidence.file(name).is_some_and(|file| *file == sealed)));
    mitic.stop().await;
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_and_unknown_encodings_are_refused_with_their_codes() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut packing = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        packing.write_all(&[0; 1024 * 1024]).unwrap();
    }
    let bomb = packing.finish().unwrap();
    for method in ["Say", "Talk"] {
        for (encoding, body, status, code) in [
            ("gzip", bomb.as_slice(), "11", "payload.too_large"),
            ("gzip", b"no gzip", "3", "payload.invalid"),
            ("identity", b"\x1f\x8b", "12", "payload.compressed"),
            ("br", b"anything", "12", "payload.compressed"),
        ] {
            let answer = send(&mitic, method, encoding, body).await;
            let (head, body) = answer.into_parts();
            let trailers = body.trailers().cloned().unwrap_or_default();
            let said = |name| head.headers.get(name).or_else(|| trailers.get(name)).cloned();
            let found = (said("grpc-status"), said("x-peabiru-fault"));
            let expected = (Some(status.parse().unwrap()), Some(code.parse().unwrap()));
            assert_eq!(found, expected, "{method} {encoding}");
            assert_eq!(head.headers["grpc-accept-encoding"], "identity,gzip");
        }
    }
    let mut caller = mitic.caller("MEC").await;
    caller.say(say(1)).await.unwrap();
    mitic.stop().await;
    mec.stop().await;
}

/// One message with the flag for compressed ones.
async fn send(
    member: &Member,
    method: &str,
    encoding: &str,
    message: &[u8],
) -> Response<http_body_util::Collected<Bytes>> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[1], length.as_slice(), message].concat();
    let request = Request::post(format!("http://door/road.test.v1.EchoService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", encoding)
        .header("x-peabiru-token", &member.agency.token)
        .header("x-peabiru-purpose", "testing")
        .header("x-road-service", service("MEC").to_string())
        .body(Full::<Bytes>::from(body))
        .unwrap();
    let stream = TcpStream::connect(member.node.door.unwrap()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap())
}
