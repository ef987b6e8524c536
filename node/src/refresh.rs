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
use peabiru_proto::limits::{MAX_CLEAR_BYTES, MAX_PART_BYTES, STALE_AFTER};
use peabiru_proto::time::{Clock, Timestamp};
use peabiru_proto::wire::distribution_service_client::DistributionServiceClient;
use peabiru_proto::wire::{GetPartRequest, GetSnapshotRequest, GetSnapshotResponse, GetStatusNoteRequest};
use prost::Message as _;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::core::Core;
use crate::exchange::WantedConf;
use crate::globalconf::{Globalconf, RefreshError, Told};
use crate::link::Link;
use crate::news::Claim;

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

    /// A peer showed a newer version: the registry is asked for it, then that peer.
    async fn follow(
        &self,
        core: &Core,
        link: &Link,
        claim: &Claim,
    ) -> Result<Option<Arc<GlobalConfiguration>>, RefreshError> {
        if core.globalconf.version() >= claim.version {
            return Ok(None);
        }
        match self.refresh(&core.globalconf).await {
            Ok(Some(conf)) => return Ok(Some(conf)),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, peer = %claim.peer, "the peer is asked instead of the registry");
            }
        }
        let asked = tokio::time::timeout(PEER_WAIT, from_peer(&core.globalconf, link, claim)).await;
        let told = asked.unwrap_or_else(|_| Err(refused(claim, "it takes too long")));
        told.map(Some).inspect_err(|error| {
            core.news.disbelieve(&claim.peer, Instant::now());
            metrics::counter!(REFUSALS, "code" => error.code()).increment(1);
        })
    }

    /// Asks again and again, and at once when a peer shows something newer. `changed` is told of each new global
    /// configuration.
    pub(crate) async fn run(
        self: Arc<Self>,
        core: Arc<Core>,
        link: Arc<Link>,
        mut every: watch::Receiver<Duration>,
        changed: impl Fn(&GlobalConfiguration),
        stop: CancellationToken,
    ) {
        let mut asked_at = Instant::now();
        loop {
            let due = asked_at + *every.borrow_and_update();
            let claim = tokio::select! {
                () = tokio::time::sleep_until(due) => None,
                Ok(()) = every.changed() => continue,
                claim = core.news.next() => Some(claim),
                () = stop.cancelled() => return,
            };
            if claim.is_none() {
                asked_at = Instant::now();
            }
            // One at a time, whoever has news.
            let asked = async {
                match &claim {
                    Some(claim) => self.follow(&core, &link, claim).await,
                    None => self.refresh(&core.globalconf).await,
                }
            };
            let refreshed = tokio::select! {
                refreshed = asked => refreshed,
                () = stop.cancelled() => return,
            };
            warn_if_stale(&core.globalconf);
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

fn warn_if_stale(globalconf: &Globalconf) {
    let stale = globalconf.staleness();
    if stale > STALE_AFTER {
        tracing::warn!(
            version = globalconf.version(),
            stale_seconds = stale.as_secs(),
            "the registry has not said for a while that nothing is newer: withdrawn keys may still be trusted here"
        );
    }
}

/// What a peer gives is judged as if the registry gave it.
async fn from_peer(
    globalconf: &Globalconf,
    link: &Link,
    claim: &Claim,
) -> Result<Arc<GlobalConfiguration>, RefreshError> {
    let ask = async |wanted| {
        let answer = link.conf(&claim.peer, wanted, CALL_WAIT).await;
        answer.map_err(|fault| refused(claim, &fault))?.ok_or_else(|| refused(claim, "it does not have it"))
    };
    let known_version = globalconf.version();
    let answer = ask(WantedConf::Snapshot { known_version }).await?;
    let answer = GetSnapshotResponse::decode(answer).map_err(|error| refused(claim, &error))?;
    let candidate = globalconf.check(answer)?;
    if candidate.version() <= known_version {
        return Err(refused(claim, &format_args!("it gives version {}", candidate.version())));
    }
    for digest in globalconf.missing(&candidate) {
        let part = ask(WantedConf::Part(digest)).await?;
        if Digest::of(&part) != digest {
            return Err(refused(claim, &format_args!("it gave another part for {digest}")));
        }
        globalconf.keep_part(&part)?;
    }
    globalconf.accept(&candidate)
}

fn refused(claim: &Claim, reason: &(impl std::fmt::Display + ?Sized)) -> RefreshError {
    let Claim { peer, version } = claim;
    RefreshError::Peer { node: peer.clone(), version: *version, reason: reason.to_string() }
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
        let noted = client.get_status_note(GetStatusNoteRequest {}).await;
        let noted = noted.map_err(|status| self.unreachable(&status))?.into_inner().note;
        let note = noted.ok_or(RefreshError::Empty)?;
        if globalconf.hear(&note)? == Told::Newest {
            return Ok(None);
        }
        let known_version = globalconf.version();
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
        let conf = globalconf.accept(&candidate)?;
        if conf.version() > known_version {
            // It names this snapshot, or one that this snapshot has overtaken since.
            let _ = globalconf.hear(&note);
        }
        Ok(Some(conf))
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
/// For a snapshot with all its parts, from a peer.
const PEER_WAIT: Duration = Duration::from_secs(60);
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
