//! Connections to the two admin APIs: the registry over mutual TLS, a node over its Unix socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use peabiru_certs::peer::{TlsIdentity, pinning_client};
use peabiru_proto::hash::Digest;
use peabiru_proto::wire::node_admin_service_client::NodeAdminServiceClient;
use peabiru_proto::wire::registry_admin_service_client::RegistryAdminServiceClient;
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::CliError;
use crate::error::Whom;

/// The registry's admin API, as an operator.
pub type RegistryClient = RegistryAdminServiceClient<Channel>;
/// A node's admin API.
pub type NodeClient = NodeAdminServiceClient<Channel>;

/// Connects to a registry that is known by the SHA-256 of its certificate.
///
/// # Errors
/// `Unreachable`, `Certs`, `Usage` if the URL is none.
pub async fn registry(
    url: &str,
    certificate_sha256: Digest,
    operator: &TlsIdentity,
) -> Result<RegistryClient, CliError> {
    let tls = TlsConnector::from(Arc::new(pinning_client(certificate_sha256, Some(operator))?));
    let connector = tower::service_fn(move |uri: Uri| {
        let tls = tls.clone();
        async move {
            let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(DEFAULT_PORT));
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((host, port)).await?;
            let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
        }
    });
    let Some(rest) = url.strip_prefix("https://") else {
        return Err(CliError::Usage(format!("`{url}` is no URL of a registry: write https://HOST:PORT")));
    };
    // The connector makes the TLS: tonic must not look for one of its own.
    let endpoint = Endpoint::from_shared(format!("http://{rest}"))
        .map_err(|error| CliError::Usage(format!("`{url}` is no URL of a registry: {error}")))?;
    let channel =
        endpoint.connect_timeout(CONNECT_WAIT).timeout(CALL_WAIT).connect_with_connector(connector).await;
    let channel = channel.map_err(|error| CliError::unreachable(Whom::Registry(url.to_owned()), &error))?;
    Ok(RegistryClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX))
}

/// Connects to a node's admin socket.
///
/// # Errors
/// `Unreachable`.
pub async fn node(socket: &Path) -> Result<NodeClient, CliError> {
    let channel = unix_channel(socket.to_owned()).await;
    let channel = channel.map_err(|error| CliError::unreachable(Whom::Node(socket.to_owned()), &error))?;
    Ok(NodeClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX))
}

/// A channel over a Unix socket.
///
/// # Errors
/// What tonic says.
pub async fn unix_channel(socket: PathBuf) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost")
        .connect_timeout(CONNECT_WAIT)
        .connect_with_connector(connector)
        .await
}

const DEFAULT_PORT: u16 = 443;
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// A call of an operator.
const CALL_WAIT: Duration = Duration::from_secs(60);
/// All members of a large instance.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
