//! The agencies' service of the tests.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated"
)]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/road.test.v1.rs"));
}

use wire::echo_service_server::{EchoService, EchoServiceServer};
use wire::{
    CollectRequest, CollectResponse, InspectRequest, InspectResponse, MirrorRequest, MirrorResponse,
    NoteRequest, NoteResponse, SayRequest, SayResponse, WatchRequest, WatchResponse,
};

/// The contract as registered: a file descriptor set.
pub const CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo.bin"));
/// Its full name.
pub const NAME: &str = "road.test.v1.EchoService";

/// Says back, and counts what it was asked to note.
#[derive(Debug, Clone, Default)]
pub struct Echo {
    noted: Arc<Mutex<HashMap<String, u32>>>,
    consumers: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    /// Serves on a port of the system's choice until the runtime ends.
    pub async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(EchoServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
        tokio::spawn(server);
        address
    }

    /// How often each text was noted.
    #[must_use]
    pub fn noted(&self) -> HashMap<String, u32> {
        self.noted.lock().unwrap().clone()
    }

    /// Who asked, as the node said.
    #[must_use]
    pub fn consumers(&self) -> Vec<String> {
        self.consumers.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl EchoService for Echo {
    async fn say(&self, request: Request<SayRequest>) -> Result<Response<SayResponse>, Status> {
        if let Some(client) = request.metadata().get("x-road-client") {
            self.consumers.lock().unwrap().push(client.to_str().unwrap().to_owned());
        }
        let SayRequest { body, fail_with, answer_bytes } = request.into_inner();
        if fail_with != 0 {
            return Err(Status::new(Code::from(fail_with), "as you wish"));
        }
        let body = if answer_bytes == 0 { body } else { Bytes::from(vec![7; answer_bytes as usize]) };
        Ok(Response::new(SayResponse { body }))
    }

    async fn note(&self, request: Request<NoteRequest>) -> Result<Response<NoteResponse>, Status> {
        let mut noted = self.noted.lock().unwrap();
        let times = noted.entry(request.into_inner().text).or_default();
        *times += 1;
        Ok(Response::new(NoteResponse { times: *times }))
    }

    async fn inspect(&self, _: Request<InspectRequest>) -> Result<Response<InspectResponse>, Status> {
        // Longer than the contract allows.
        std::future::pending().await
    }

    type WatchStream = tokio_stream::Iter<std::vec::IntoIter<Result<WatchResponse, Status>>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let WatchRequest { count, bytes, fail_with } = request.into_inner();
        let answer =
            |number: u32| Ok(WatchResponse { body: vec![number.to_le_bytes()[0]; bytes as usize].into() });
        let mut answers: Vec<_> = (0..count).map(answer).collect();
        if fail_with != 0 {
            answers.push(Err(Status::new(Code::from(fail_with), "as you wish")));
        }
        Ok(Response::new(tokio_stream::iter(answers)))
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

    type MirrorStream = Pin<Box<dyn Stream<Item = Result<MirrorResponse, Status>> + Send>>;

    async fn mirror(
        &self,
        request: Request<Streaming<MirrorRequest>>,
    ) -> Result<Response<Self::MirrorStream>, Status> {
        let answers =
            request.into_inner().map(|said| said.map(|MirrorRequest { body }| MirrorResponse { body }));
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Of one message of the tests.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
