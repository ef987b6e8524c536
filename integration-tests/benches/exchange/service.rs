//! The agency's service, a process of its own: in clear for its node, and with mutual TLS for the direct comparison.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use peabiru_certs::peer::{self, WithoutCertificate, pinning_server};
use peabiru_certs::pem::read_certificate;
use peabiru_integration_tests::echo::MESSAGE_BYTES_MAX;
use peabiru_integration_tests::echo::wire::echo_service_server::{EchoService, EchoServiceServer};
use peabiru_integration_tests::echo::wire::{
    CollectRequest, CollectResponse, FollowRequest, FollowResponse, GatherRequest, GatherResponse,
    InspectRequest, InspectResponse, MirrorRequest, MirrorResponse, NoteRequest, NoteResponse, SayRequest,
    SayResponse, TalkRequest, TalkResponse, WatchRequest, WatchResponse,
};
use peabiru_proto::hash::Digest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};
use tonic::{Request, Response, Status, Streaming};

use crate::process::{identity, say_ready};

/// Serves until it is killed. `site` is whose identity the TLS port shows, `client` whose it takes.
pub async fn run(site: &Path, client: &Path) {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [plain.local_addr().unwrap(), secure.local_addr().unwrap()];
    let client = read_certificate(&client.join("keys/authentication.crt")).unwrap();
    let clients = peer::Clients::Pinned {
        certificates: vec![Digest::of(&client)],
        without_certificate: WithoutCertificate::Refused,
    };
    let tls = pinning_server(&identity(site), clients).unwrap();
    let echo = || EchoServiceServer::new(Echo).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let server = || Server::builder().add_service(echo());
    let plain = server().serve_with_incoming(TcpIncoming::from(plain).with_nodelay(Some(true)));
    let secure = server().serve_with_incoming(accept(secure, TlsAcceptor::from(Arc::new(tls))));
    say_ready(&addresses.map(|address| address.to_string()));
    let (plain, secure) = tokio::join!(plain, secure);
    plain.and(secure).unwrap();
}

struct Echo;

#[tonic::async_trait]
impl EchoService for Echo {
    async fn say(&self, request: Request<SayRequest>) -> Result<Response<SayResponse>, Status> {
        Ok(Response::new(SayResponse { body: request.into_inner().body }))
    }

    async fn note(&self, _: Request<NoteRequest>) -> Result<Response<NoteResponse>, Status> {
        Ok(Response::new(NoteResponse { times: 1 }))
    }

    async fn inspect(&self, _: Request<InspectRequest>) -> Result<Response<InspectResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    type WatchStream = tokio_stream::Empty<Result<WatchResponse, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn collect(
        &self,
        request: Request<Streaming<CollectRequest>>,
    ) -> Result<Response<CollectResponse>, Status> {
        let mut requests = request.into_inner();
        let mut answer = CollectResponse::default();
        while let Some(CollectRequest { body }) = requests.message().await? {
            answer.count += 1;
            answer.bytes += body.len() as u64;
        }
        Ok(Response::new(answer))
    }

    type MirrorStream = tokio_stream::Empty<Result<MirrorResponse, Status>>;

    async fn mirror(
        &self,
        _: Request<Streaming<MirrorRequest>>,
    ) -> Result<Response<Self::MirrorStream>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    type FollowStream = Pin<Box<dyn Stream<Item = Result<FollowResponse, Status>> + Send>>;

    async fn follow(&self, request: Request<FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let FollowRequest { count, bytes, .. } = request.into_inner();
        let body = Bytes::from(vec![7; bytes as usize]);
        let answers = (0..count).map(move |_| Ok(FollowResponse { body: body.clone() }));
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }

    async fn gather(&self, _: Request<Streaming<GatherRequest>>) -> Result<Response<GatherResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    type TalkStream = tokio_stream::Empty<Result<TalkResponse, Status>>;

    async fn talk(&self, _: Request<Streaming<TalkRequest>>) -> Result<Response<Self::TalkStream>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

fn accept(listener: TcpListener, tls: TlsAcceptor) -> ReceiverStream<io::Result<Secure>> {
    let (ready, stream) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            if let Ok(stream) = tls.accept(stream).await {
                ready.send(Ok(Secure(stream))).await.unwrap();
            }
        }
    });
    ReceiverStream::new(stream)
}

/// tonic wants to know who is connected; the benchmark does not.
struct Secure(TlsStream<TcpStream>);

impl Connected for Secure {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Secure {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
