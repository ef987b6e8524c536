//! The relay: what an exchange costs before anything is sealed. The node's own doors, dispatcher, TLS, QUIC settings and
//! frames, one stream for each exchange; no ledger, no guard, no encryption of the payload itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_certs::peer::{LiveIdentity, PeerDirectory, link_client, link_server};
use peabiru_certs::pem::read_certificate;
use peabiru_integration_tests::federation::{service, subsystem};
use peabiru_ledger::payload::OpenBody;
use peabiru_node::dispatcher::{Dispatcher, Endpoint};
use peabiru_node::door::identify::{Clients, Credential};
use peabiru_node::door::{self, Door, Limits, Listener, Settings, Waits};
use peabiru_node::exchange::{
    Answer, AnswerEnd, Answered, BoxFuture, Call, CallBody, Exchange, Invocation, Pieces, Served,
    Services as _, Streamed,
};
use peabiru_node::link::budget::Budget;
use peabiru_node::link::carrier::Connection;
use peabiru_node::link::frame;
use peabiru_node::link::patience::Patience;
use peabiru_node::link::quic;
use peabiru_node::metrics;
use peabiru_proto::contract::Streaming;
use peabiru_proto::entry::ExchangeId;
use peabiru_proto::fault::{Fault, FaultCode, Place, Spelling};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::MAX_FRAME_BYTES;
use peabiru_proto::policy::Purpose;
use peabiru_proto::random::SystemRandom;
use peabiru_proto::time::{Clock as _, SystemClock, Timestamp};
use peabiru_proto::wire::link_frame::Frame;
use peabiru_proto::wire::{Context, SealedMessage};
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use crate::process::{CONSUMER, PROVIDER, PURPOSE, TOKEN, identity, say_ready};

/// One side of a relay: whose keys it has, and whose it knows.
struct Side {
    endpoint: quic::Endpoint,
    known: Arc<Known>,
}

impl Side {
    fn open(own: &Path, peer: &Path, authority: &Path) -> Self {
        metrics::install();
        let known = Arc::new(Known {
            peer: Digest::of(&read_certificate(&peer.join("keys/authentication.crt")).unwrap()),
            id: node_id(),
            authority: read_certificate(authority).unwrap(),
        });
        let own = identity(own);
        let live = Arc::new(LiveIdentity::new(own.clone()).unwrap());
        let server = link_server(live, Arc::clone(&known) as _).unwrap();
        let endpoint = quic::Endpoint::bind("127.0.0.1:0".parse().unwrap(), server, &own.key).unwrap();
        Self { endpoint, known }
    }
}

/// The relay at the service.
pub async fn provide(own: &Path, peer: &Path, authority: &Path, at: &str) {
    let Side { endpoint, .. } = Side::open(own, peer, authority);
    let services = Dispatcher::new([(service(PROVIDER), Endpoint::Tcp { authority: at.to_owned() }.into())]);
    let (services, budget) = (Arc::new(services), Budget::new(BUDGET_BYTES));
    let (random, service, consumer) = (SystemRandom::default(), service(PROVIDER), subsystem(CONSUMER));
    let purpose: Purpose = PURPOSE.parse().unwrap();
    say_ready(&[endpoint.local_addr().unwrap().to_string()]);
    let connection = Connection::Quic(endpoint.accept().await.unwrap().handshake().await.unwrap());
    while let Ok((mut sender, mut receiver)) = connection.accept_exchange(MAX_FRAME_BYTES).await {
        let (services, budget, exchange) = (Arc::clone(&services), budget.clone(), ExchangeId::new(&random));
        let (service, consumer, purpose) = (service.clone(), consumer.clone(), purpose.clone());
        tokio::spawn(async move {
            let Ok((Frame::Message(message), _reserved)) =
                receiver.first_frame(&budget, &mut Patience::once(DEADLINE)).await
            else {
                return;
            };
            let (context, body) = unpack(message);
            let invocation = Invocation {
                exchange,
                service,
                target: None,
                method: context.path.rsplit('/').next().unwrap_or_default().to_owned(),
                consumer,
                purpose,
                context,
                streaming: Streaming::Unary,
                body: OpenBody::Whole(body),
                deadline: DEADLINE,
            };
            let Ok(Served::Whole(answer, body)) = services.invoke(invocation).await else {
                panic!("the service of the benchmark gives small answers")
            };
            if sender.send(&mut [pack(&answer.context, body)]).await.is_ok() {
                sender.finish();
            }
        });
    }
}

/// The relay at the application.
pub async fn consume(own: &Path, peer: &Path, authority: &Path, at: SocketAddr) {
    let Side { endpoint, known } = Side::open(own, peer, authority);
    let client = link_client(&identity(own), known as _, node_id()).unwrap();
    let connection = Connection::Quic(endpoint.connect(at, "127.0.0.1", client).await.unwrap());
    let mut clients = Clients::default();
    clients.allow(Credential::Token(Digest::of(TOKEN.as_bytes())), subsystem(CONSUMER));
    // The defaults of `[door]`.
    let limits = Limits { connections: 1024, calls_per_connection: 256, calls: 1024 };
    let relay = Relay { connection, budget: Budget::new(BUDGET_BYTES) };
    let settings = Settings { clients, routes: HashMap::new(), limits, spelling: Spelling::default() };
    let door =
        Arc::new(Door::new(Arc::new(relay), settings, Waits::default(), Arc::new(SystemRandom::default())));
    let listener = door::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    say_ready(&[listener.local_addr().unwrap().to_string()]);
    door::serve(Listener::plain(listener).unwrap(), door, CancellationToken::new()).await;
}

struct Relay {
    connection: Connection,
    budget: Budget,
}

impl Exchange for Relay {
    fn call(&self, call: Call) -> BoxFuture<Answered> {
        let (connection, budget) = (self.connection.clone(), self.budget.clone());
        Box::pin(async move { Answered { exchange: None, result: carry(&connection, &budget, call).await } })
    }

    fn stream(&self, _: Call, _: Pieces<AnswerEnd>) -> BoxFuture<Streamed> {
        let what = "the relay carries whole calls";
        let result = Err(Fault::new(FaultCode::MethodUnknown, Place::ConsumerNode, what));
        Box::pin(async move { Streamed { exchange: None, result } })
    }

    fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn globalconf(&self) -> Option<Arc<GlobalConfiguration>> {
        None
    }
}

async fn carry(connection: &Connection, budget: &Budget, call: Call) -> Result<Answer, Fault> {
    let broken = |what: String| Fault::new(FaultCode::NodeUnreachable, Place::ConsumerNode, what);
    let opened = connection.open_exchange(MAX_FRAME_BYTES).await;
    let (mut sender, mut receiver) = opened.map_err(|error| broken(error.to_string()))?;
    let CallBody::Whole(body, _) = call.body else { return Err(broken("a large body".to_owned())) };
    let sent = sender.send(&mut [pack(&call.context, body)]).await;
    sent.map_err(|error| broken(error.to_string()))?;
    sender.finish();
    match receiver.first_frame(budget, &mut Patience::once(DEADLINE)).await {
        Ok((Frame::Message(message), _reserved)) => {
            let (context, body) = unpack(message);
            Ok(Answer { outcome: 0, context, body: OpenBody::Whole(body) })
        }
        Ok(_) => Err(broken("another frame".to_owned())),
        Err(error) => Err(broken(error.to_string())),
    }
}

/// A message frame with context and body in clear, and nothing that a seal would need.
fn pack(context: &Context, body: Bytes) -> Bytes {
    let chunks = vec![context.encode_to_vec().into(), body];
    frame::encode(Frame::Message(SealedMessage { chunks, ..SealedMessage::default() }))
}

fn unpack(message: SealedMessage) -> (Context, Bytes) {
    let mut chunks = message.chunks.into_iter();
    let context = Context::decode(chunks.next().unwrap_or_default()).unwrap();
    (context, chunks.next().unwrap_or_default())
}

/// The other side, and nobody else.
struct Known {
    peer: Digest,
    id: NodeId,
    authority: Bytes,
}

impl PeerDirectory for Known {
    fn judge(&self, certificate_sha256: &Digest) -> Option<NodeId> {
        (*certificate_sha256 == self.peer).then(|| self.id.clone())
    }

    fn authorities(&self) -> Vec<Bytes> {
        vec![self.authority.clone()]
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

fn node_id() -> NodeId {
    "PY/GOV/RELAY/node".parse().unwrap()
}

const DEADLINE: Duration = Duration::from_secs(30);
const BUDGET_BYTES: usize = 64 * 1024 * 1024;
