//! Keeps the global configuration fresh: asks the registry's addresses in turn, fetches the parts that are missing.
//!
//! Whoever answers is pinned by the configuration anchor; what it gives is judged by the roots alone.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use peabiru_certs::CertsError;
use peabiru_certs::peer::pinning_client;
use peabiru_proto::globalconf::{GlobalConfiguration, RegistryAddress};
use peabiru_proto::hash::Digest;
use peabiru_proto::limits::{MAX_CLEAR_BYTES, MAX_PART_BYTES};
use peabiru_proto::wire::distribution_service_client::DistributionServiceClient;
use peabiru_proto::wire::{GetPartRequest, GetSnapshotRequest};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::core::Core;
use crate::globalconf::{Globalconf, RefreshError};

/// Asks the registry.
pub(crate) struct Refresher {
    registries: Vec<Registry>,
}

struct Registry {
    url: String,
    client: DistributionServiceClient<Channel>,
}

impl Refresher {
    /// A client for each address of the configuration anchor. Connections are made when they are first needed.
    pub(crate) fn new(registries: &[RegistryAddress]) -> Result<Self, CertsError> {
        let registries = registries.iter().map(Registry::new).collect::<Result<_, _>>()?;
        Ok(Self { registries })
    }

    /// Asks once. Gives the new global configuration if there is one.
    pub(crate) async fn refresh(
        &self,
        globalconf: &Globalconf,
    ) -> Result<Option<Arc<GlobalConfiguration>>, RefreshError> {
        let mut failed = RefreshError::Empty;
        for registry in &self.registries {
            match registry.refresh(globalconf).await {
                Ok(refreshed) => return Ok(refreshed),
                Err(error) => failed = error,
            }
        }
        metrics::counter!(REFUSALS, "code" => failed.code()).increment(1);
        Err(failed)
    }

    /// Asks again and again. `changed` is told of each new global configuration.
    pub(crate) async fn run(
        self,
        core: Arc<Core>,
        mut every: watch::Receiver<Duration>,
        changed: impl Fn(&GlobalConfiguration),
        stop: CancellationToken,
    ) {
        loop {
            let wait = *every.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Ok(()) = every.changed() => continue,
                () = stop.cancelled() => return,
            }
            let refreshed = tokio::select! {
                refreshed = self.refresh(&core.globalconf) => refreshed,
                () = stop.cancelled() => return,
            };
            match refreshed {
                Ok(Some(conf)) => changed(&conf),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, code = error.code(), "the global configuration was not refreshed");
                }
            }
        }
    }
}

impl Registry {
    fn new(address: &RegistryAddress) -> Result<Self, CertsError> {
        let tls = TlsConnector::from(Arc::new(pinning_client(address.certificate_sha256, None)?));
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
        // The connector makes the TLS: tonic must not look for one of its own.
        let plain = address.url.replacen("https://", "http://", 1);
        let endpoint = Endpoint::from_shared(plain).map_err(|error| CertsError::Malformed {
            what: "url of a registry",
            reason: format!("{}: {error}", address.url),
        })?;
        let channel =
            endpoint.connect_timeout(CONNECT_WAIT).timeout(CALL_WAIT).connect_with_connector_lazy(connector);
        let client = DistributionServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Self { url: address.url.clone(), client })
    }

    async fn refresh(
        &self,
        globalconf: &Globalconf,
    ) -> Result<Option<Arc<GlobalConfiguration>>, RefreshError> {
        let mut client = self.client.clone();
        let known_version = globalconf.newest().map_or(0, |conf| conf.version());
        let answer = client.get_snapshot(GetSnapshotRequest { known_version }).await;
        let answer = answer.map_err(|status| self.unreachable(&status))?.into_inner();
        if answer.snapshot.is_none() {
            return Ok(None);
        }
        let candidate = globalconf.check(answer)?;
        for digest in globalconf.missing(&candidate) {
            let part = self.part(&mut client, digest).await?;
            globalconf.keep_part(&part)?;
        }
        globalconf.accept(&candidate).map(Some)
    }

    async fn part(
        &self,
        client: &mut DistributionServiceClient<Channel>,
        digest: Digest,
    ) -> Result<Vec<u8>, RefreshError> {
        let request = GetPartRequest { digest: digest.as_bytes().to_vec().into() };
        let part =
            client.get_part(request).await.map_err(|status| self.unreachable(&status))?.into_inner().part;
        if Digest::of(&part) == digest {
            return Ok(part.to_vec());
        }
        Err(RefreshError::Unreachable {
            url: self.url.clone(),
            reason: format!("it gave another part for {digest}"),
        })
    }

    fn unreachable(&self, status: &tonic::Status) -> RefreshError {
        let mut reason = status.message().to_owned();
        let mut source = std::error::Error::source(status);
        while let Some(error) = source {
            reason = format!("{reason}: {error}");
            source = error.source();
        }
        RefreshError::Unreachable { url: self.url.clone(), reason }
    }
}

/// Counter, by `code`: refreshes that brought nothing because nobody answered, or what came was refused.
const REFUSALS: &str = "peabiru_globalconf_refusals_total";
const DEFAULT_PORT: u16 = 443;
const CONNECT_WAIT: Duration = Duration::from_secs(5);
const CALL_WAIT: Duration = Duration::from_secs(20);
/// A snapshot or a part, with room for framing, entry and proof.
const ANSWER_BYTES_MAX: usize = MAX_CLEAR_BYTES + 64 * 1024;
const _: () = assert!(MAX_PART_BYTES <= MAX_CLEAR_BYTES, "a part fits an answer");
