//! Keeps the global configuration fresh: asks the registry's addresses in turn, fetches the parts that are missing.
//!
//! Whoever answers is pinned by the configuration anchor; what it gives is judged by the roots alone.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Uri;
use hyper_util::rt::TokioIo;
use peabiru_certs::CertsError;
use peabiru_certs::peer::pinning_client;
use peabiru_proto::globalconf::{GlobalConfiguration, RegistryAddress};
use peabiru_proto::hash::Digest;
use peabiru_proto::limits::{MAX_CLEAR_BYTES, MAX_PART_BYTES};
use peabiru_proto::time::{Clock, Timestamp};
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

/// One address of the registry.
pub(crate) struct Examined {
    pub(crate) url: String,
    /// How far its clock is ahead of ours, to half a second, if it says; or why it does not answer.
    pub(crate) answer: Result<Option<i64>, RefreshError>,
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

    /// Asks every address, and gives for each what its clock says: it names its time in each answer, to a second.
    pub(crate) async fn examine(&self, clock: &dyn Clock) -> Vec<Examined> {
        let mut examined = Vec::new();
        for registry in &self.registries {
            // Nothing is newer: the answer is empty.
            let asked =
                registry.client.clone().get_snapshot(GetSnapshotRequest { known_version: u64::MAX }).await;
            let answer = match asked {
                Ok(answer) => {
                    let date = answer.metadata().get("date").and_then(|date| date.to_str().ok());
                    Ok(date.and_then(|date| clock_ahead_ms(date, clock.now())))
                }
                Err(status) => Err(registry.unreachable(&status)),
            };
            examined.push(Examined { url: registry.url.clone(), answer });
        }
        examined
    }

    /// Asks again and again. `changed` is told of each new global configuration.
    pub(crate) async fn run(
        self: Arc<Self>,
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

/// `date` as HTTP writes it, whole seconds that are cut off.
fn clock_ahead_ms(date: &str, now: Timestamp) -> Option<i64> {
    let since_1970 = httpdate::parse_http_date(date).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let theirs = i64::try_from(since_1970.as_millis()).ok()?.checked_add(500)?;
    theirs.checked_sub(i64::try_from(now.as_ms()).ok()?)
}

/// Counter, by `code`: refreshes that brought nothing because nobody answered, or what came was refused.
const REFUSALS: &str = "peabiru_globalconf_refusals_total";
const DEFAULT_PORT: u16 = 443;
const CONNECT_WAIT: Duration = Duration::from_secs(5);
const CALL_WAIT: Duration = Duration::from_secs(20);
/// A snapshot or a part, with room for framing, entry and proof.
const ANSWER_BYTES_MAX: usize = MAX_CLEAR_BYTES + 64 * 1024;
const _: () = assert!(MAX_PART_BYTES <= MAX_CLEAR_BYTES, "a part fits an answer");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_says_how_clocks_differ() {
        let now = Timestamp::from_ms(784_111_777_000);
        assert_eq!(clock_ahead_ms("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(500));
        assert_eq!(clock_ahead_ms("Sun, 06 Nov 1994 08:47:37 GMT", now), Some(-119_500));
        assert_eq!(clock_ahead_ms("yesterday", now), None);
    }
}
