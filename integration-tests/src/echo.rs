//! The agencies' service of the tests.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, StreamExt as _};
use tonic::codec::CompressionEncoding;
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
    CollectRequest, CollectResponse, FollowRequest, FollowResponse, GatherRequest, GatherResponse,
    InspectRequest, InspectResponse, MirrorRequest, MirrorResponse, NoteRequest, NoteResponse, SayRequest,
    SayResponse, TalkRequest, TalkResponse, WatchRequest, WatchResponse,
};

/// The contract as registered: a file descriptor set.
pub const CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo.bin"));
/// Its full name.
pub const NAME: &str = "road.test.v1.EchoService";

/// What `Follow` gives next.
type Followed = Result<FollowResponse, Status>;

/// Says back, and counts what it was asked to note.
#[derive(Debug, Clone, Default)]
pub struct Echo {
    noted: Arc<Mutex<HashMap<String, u32>>>,
    consumers: Arc<Mutex<Vec<String>>>,
    feed: Arc<Mutex<Option<mpsc::Receiver<Followed>>>>,
    made: Arc<AtomicU32>,
    gathered: watch::Sender<Vec<Bytes>>,
    broken_off: watch::Sender<u32>,
}

impl Echo {
    /// Serves on a port of the system's choice until the runtime ends.
    pub async fn start(&self) -> SocketAddr {
        Self::serve(EchoServiceServer::new(self.clone())).await
    }

    /// The same, and its answers are compressed for whoever says that it takes them so.
    pub async fn start_compressing(&self) -> SocketAddr {
        Self::serve(EchoServiceServer::new(self.clone()).send_compressed(CompressionEncoding::Gzip)).await
    }

    async fn serve(service: EchoServiceServer<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(service.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
        tokio::spawn(server);
        address
    }

    /// The next call of `Follow` gives what is put in here; it is closed when nobody follows any more.
    #[must_use]
    pub fn feed(&self) -> mpsc::Sender<Result<FollowResponse, Status>> {
        let (sender, receiver) = mpsc::channel(1);
        *self.feed.lock().unwrap() = Some(receiver);
        sender
    }

    /// How many answers `Follow` made of its own.
    #[must_use]
    pub fn made(&self) -> u32 {
        self.made.load(Ordering::SeqCst)
    }

    /// What `Gather` heard, as it hears it.
    #[must_use]
    pub fn gathered(&self) -> watch::Receiver<Vec<Bytes>> {
        self.gathered.subscribe()
    }

    /// How many callers of `Gather` broke off.
    #[must_use]
    pub fn broken_off(&self) -> watch::Receiver<u32> {
        self.broken_off.subscribe()
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

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let WatchRequest { count, bytes, fail_with } = request.into_inner();
        let answer = move |number: u32| {
            Ok(WatchResponse { body: vec![number.to_le_bytes()[0]; bytes as usize].into() })
        };
        let failure = (fail_with != 0).then(|| Err(Status::new(Code::from(fail_with), "as you wish")));
        Ok(Response::new(Box::pin(tokio_stream::iter((0..count).map(answer).chain(failure)))))
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

    type FollowStream = Pin<Box<dyn Stream<Item = Result<FollowResponse, Status>> + Send>>;

    async fn follow(&self, request: Request<FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let FollowRequest { count, bytes, fail_with } = request.into_inner();
        let answers: Self::FollowStream = if let Some(feed) = self.feed.lock().unwrap().take() {
            // The connection dies with what a service of this process cannot survive.
            let dying = |answer: Result<FollowResponse, Status>| {
                assert!(!answer.as_ref().is_ok_and(|answer| answer.body == "die"), "as you wish");
                answer
            };
            Box::pin(tokio_stream::wrappers::ReceiverStream::new(feed).map(dying))
        } else {
            let made = Arc::clone(&self.made);
            let failure = (fail_with != 0).then(|| Err(of_wish(fail_with)));
            let answer = move |number: u32| {
                made.fetch_add(1, Ordering::SeqCst);
                Ok(FollowResponse { body: vec![number.to_le_bytes()[0]; bytes as usize].into() })
            };
            Box::pin(tokio_stream::iter((0..count).map(answer).chain(failure)))
        };
        let mut response = Response::new(answers);
        response.metadata_mut().insert("x-followed", "yes".parse().unwrap());
        Ok(response)
    }

    async fn gather(
        &self,
        request: Request<Streaming<GatherRequest>>,
    ) -> Result<Response<GatherResponse>, Status> {
        let mut requests = request.into_inner();
        let unfinished = Unfinished(Some(self.broken_off.clone()));
        let mut count = 0;
        loop {
            match requests.message().await? {
                Some(GatherRequest { body }) if body == "enough" => {
                    unfinished.end();
                    return Err(of_wish(10));
                }
                Some(GatherRequest { body }) => {
                    self.gathered.send_modify(|gathered| gathered.push(body));
                    count += 1;
                }
                None => {
                    unfinished.end();
                    return Ok(Response::new(GatherResponse { count }));
                }
            }
        }
    }

    type TalkStream = Pin<Box<dyn Stream<Item = Result<TalkResponse, Status>> + Send>>;

    async fn talk(
        &self,
        request: Request<Streaming<TalkRequest>>,
    ) -> Result<Response<Self::TalkStream>, Status> {
        let answers = request.into_inner().map(|said| match said? {
            TalkRequest { body } if body == "enough" => Err(of_wish(10)),
            TalkRequest { body } => Ok(TalkResponse { body }),
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// A call that is broken off ends with an error, or is dropped where it waits.
struct Unfinished(Option<watch::Sender<u32>>);

impl Unfinished {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(broken_off) = &self.0 {
            broken_off.send_modify(|times| *times += 1);
        }
    }
}

/// A status with details and metadata of its own.
fn of_wish(code: i32) -> Status {
    let mut metadata = tonic::metadata::MetadataMap::new();
    metadata.insert("x-reason", "wish".parse().unwrap());
    Status::with_details_and_metadata(
        Code::from(code),
        "as you wish: ñ",
        Bytes::from_static(b"details"),
        metadata,
    )
}

/// Of one message of the tests.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
