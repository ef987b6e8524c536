//! A man in the registry's place: he has its address and perhaps its TLS key, and serves what he wants.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use peabiru_certs::peer::{Clients, TlsIdentity, pinning_server};
use peabiru_proto::hash::Digest;
use peabiru_proto::wire::distribution_service_server::{DistributionService, DistributionServiceServer};
use peabiru_proto::wire::{
    GetPartRequest, GetPartResponse, GetSnapshotRequest, GetSnapshotResponse, GetStatusNoteRequest,
    GetStatusNoteResponse, SignedStatusNote,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};

/// Serves until it is stopped.
pub(crate) struct Usurper {
    served: Arc<Mutex<GetSnapshotResponse>>,
    note: Arc<Mutex<Option<SignedStatusNote>>>,
    turned_away: Arc<Notify>,
    accepting: JoinHandle<()>,
    serving: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

struct Distribution {
    served: Arc<Mutex<GetSnapshotResponse>>,
    note: Arc<Mutex<Option<SignedStatusNote>>>,
    parts: HashMap<Digest, Bytes>,
}

impl Usurper {
    pub(crate) async fn start(at: SocketAddr, identity: &TlsIdentity, parts: HashMap<Digest, Bytes>) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let tls = TlsAcceptor::from(Arc::new(pinning_server(identity, Clients::Anyone).unwrap()));
        let (ready, incoming) = mpsc::channel(16);
        let turned_away = Arc::new(Notify::new());
        let turning_away = Arc::clone(&turned_away);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, ready, turned_away) = (tls.clone(), ready.clone(), Arc::clone(&turning_away));
                tokio::spawn(async move {
                    match tls.accept(stream).await {
                        Ok(stream) => drop(ready.send(io::Result::Ok(Secure(stream))).await),
                        // It found another certificate than the anchor's.
                        Err(_) => turned_away.notify_one(),
                    }
                });
            }
        });
        let (served, note) = (Arc::new(Mutex::default()), Arc::new(Mutex::default()));
        let distribution = Distribution { served: Arc::clone(&served), note: Arc::clone(&note), parts };
        let service = DistributionServiceServer::new(distribution);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(service);
            let incoming = ReceiverStream::new(incoming);
            server.serve_with_incoming_shutdown(incoming, async { drop(stopped.await) }).await.unwrap();
        });
        Self { served, note, turned_away, accepting, serving, stop }
    }

    /// From now on.
    pub(crate) fn serve(&self, answer: GetSnapshotResponse) {
        *self.served.lock().unwrap() = answer;
    }

    /// His status note from now on.
    pub(crate) fn tell(&self, note: SignedStatusNote) {
        *self.note.lock().unwrap() = Some(note);
    }

    pub(crate) async fn somebody_turned_away(&self) {
        self.turned_away.notified().await;
    }

    /// Ends its connections and gives the address free.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
        self.accepting.abort();
        // It was aborted.
        let _ = self.accepting.await;
    }
}

#[tonic::async_trait]
impl DistributionService for Distribution {
    async fn get_status_note(
        &self,
        _: Request<GetStatusNoteRequest>,
    ) -> Result<Response<GetStatusNoteResponse>, Status> {
        Ok(Response::new(GetStatusNoteResponse { note: self.note.lock().unwrap().clone() }))
    }

    async fn get_snapshot(
        &self,
        _: Request<GetSnapshotRequest>,
    ) -> Result<Response<GetSnapshotResponse>, Status> {
        Ok(Response::new(self.served.lock().unwrap().clone()))
    }

    async fn get_part(&self, request: Request<GetPartRequest>) -> Result<Response<GetPartResponse>, Status> {
        let digest = Digest::from_slice(&request.get_ref().digest).unwrap();
        // Of a part that he does not have he gives something else.
        let part = self.parts.get(&digest).cloned().unwrap_or_else(|| Bytes::from_static(b"another part"));
        Ok(Response::new(GetPartResponse { part }))
    }
}

struct Secure(TlsStream<TcpStream>);

impl Connected for Secure {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Secure {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
