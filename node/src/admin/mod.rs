//! What operators ask of a running node, over a Unix socket that only the node's own user may open.

mod entries;
mod evidence;
mod examine;
mod grants;
mod outcome;
mod service;

use std::fs::{self, Permissions};
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use peabiru_ledger::ledger::{Ledger, Store};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::MemberId;
use peabiru_proto::wire::node_admin_service_server::NodeAdminServiceServer;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;

use crate::NodeError;
use crate::core::{Core, not_hosted};
use crate::door::Listener;
use crate::link::Link;
use crate::refresh::Refresher;
use crate::reload::Reloader;
use crate::shown::Shown;

/// Answers operators.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) core: Arc<Core>,
    pub(crate) store: Arc<Store>,
    pub(crate) link: Arc<Link>,
    pub(crate) reloader: Arc<Reloader>,
    pub(crate) refresher: Arc<Refresher>,
    pub(crate) shown: Arc<Shown>,
}

impl Admin {
    /// The member's ledger; of the only one if none is named.
    fn ledger(&self, member: &str) -> Result<&Ledger, Fault> {
        if member.is_empty() {
            let mut all = self.core.ledgers.values();
            return match (all.next(), all.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(invalid("this node hosts several members: name one")),
            };
        }
        let member: MemberId = member.parse().map_err(|error| invalid(&format!("member: {error}")))?;
        self.core.ledger(&member).ok_or_else(|| not_hosted(&member))
    }
}

/// Binds the socket; the future serves it until `stop`.
pub(crate) fn serve(
    path: &Path,
    admin: Admin,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + 'static, NodeError> {
    let Listener::Unix(listener, path) = Listener::unix(path)? else {
        unreachable!("a Unix listener was asked for");
    };
    let owner_only = fs::set_permissions(&path, Permissions::from_mode(0o600));
    owner_only.map_err(|source| NodeError::File { path: path.clone(), source })?;
    let service = NodeAdminServiceServer::new(admin)
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let serving = Server::builder()
        .concurrency_limit_per_connection(CALLS_MAX)
        .add_service(service)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned());
    Ok(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the admin socket is not served any more");
        }
        // A socket that stays is replaced by the next start.
        let _ = fs::remove_file(path);
    })
}

/// A fault as every caller of the road sees it.
fn status(fault: &Fault) -> Status {
    let grpc = fault.to_grpc();
    let code = i32::try_from(grpc.code).unwrap_or_default().into();
    Status::with_details_and_metadata(code, grpc.message, grpc.details, MetadataMap::new())
}

fn invalid(message: &str) -> Fault {
    Fault::new(FaultCode::RequestInvalid, Place::ProviderNode, message)
}

/// Runs what blocks on the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let stopped = |_| Fault::new(FaultCode::NodeDraining, Place::ProviderNode, "the node is stopping");
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

/// Calls of one connection at once.
const CALLS_MAX: usize = 16;
/// Longest request: a grant.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Longest answer: a thousand entries.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
