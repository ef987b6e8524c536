//! Prometheus metrics and health, on a listener of their own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use peabiru_ledger::ledger::Store;
use peabiru_proto::fault::Place;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::NodeError;
use crate::core::Core;
use crate::door::Door;
use crate::flow::BATCHES_AHEAD_MAX;
use crate::link::Link;
use crate::stage::STAGE_SECONDS;

/// Records metrics from now on. A second call changes nothing: a process has one recorder.
pub fn install() {
    recorder();
}

fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let build = || {
        let builder = PrometheusBuilder::new();
        let builder =
            builder.set_buckets_for_metric(Matcher::Full(STAGE_SECONDS.to_owned()), STAGE_BUCKETS).ok()?;
        builder.install_recorder().ok()
    };
    RECORDER.get_or_init(build).as_ref()
}

/// Takes what was recorded into the histograms, every few seconds: until then each value is kept by itself, and nobody
/// may ever read the page.
pub(crate) async fn keep_up(stop: CancellationToken) {
    let mut every = tokio::time::interval(UPKEEP_EVERY);
    while stop.run_until_cancelled(every.tick()).await.is_some() {
        if let Some(recorder) = recorder() {
            recorder.run_upkeep();
        }
    }
}

/// What the pages are made of.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) core: Arc<Core>,
    pub(crate) store: Arc<Store>,
    pub(crate) link: Arc<Link>,
    pub(crate) door: Arc<Door>,
}

impl Page {
    /// What is true of this node now, beside what was counted. Nodes of one process have one recorder: none writes its own
    /// while the page of another is made.
    fn text(&self) -> String {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = self.store.counters();
        metrics::counter!("peabiru_ledger_entries_total").absolute(counters.entries);
        metrics::counter!("peabiru_ledger_commits_total").absolute(counters.commits);
        metrics::counter!("peabiru_ledger_syncs_total").absolute(counters.syncs);
        metrics::counter!("peabiru_ledger_signatures_total").absolute(counters.signatures);
        metrics::counter!("peabiru_ledger_index_set_aside_total").absolute(counters.index_set_aside);
        self.gauges().into_iter().for_each(|(name, value)| set(name, value));
        let text = recorder().map(|recorder| {
            recorder.run_upkeep();
            recorder.render()
        });
        text.unwrap_or_default()
    }

    fn gauges(&self) -> [(&'static str, u64); 11] {
        let Self { core, link, door, .. } = self;
        let conf = core.globalconf.newest();
        let left = conf.as_ref().map_or(0, |conf| conf.expires_at().since(core.clock.now()).as_secs());
        let (link, door) = (link.held(), door.held());
        let ahead = BATCHES_AHEAD_MAX.saturating_sub(core.batches_ahead.available_permits());
        [
            ("peabiru_globalconf_version", conf.map_or(0, |conf| conf.version())),
            ("peabiru_globalconf_seconds_left", left),
            ("peabiru_globalconf_stale_seconds", core.globalconf.staleness().as_secs()),
            ("peabiru_door_connections", door.connections as u64),
            ("peabiru_door_calls", door.calls as u64),
            ("peabiru_link_memory_bytes", link.memory_bytes as u64),
            ("peabiru_link_exchanges", link.exchanges as u64),
            ("peabiru_link_served", link.served as u64),
            ("peabiru_link_streams", link.streams as u64),
            ("peabiru_streams", core.sessions.open() as u64),
            ("peabiru_stream_batches_ahead", ahead as u64),
        ]
    }
}

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "versions, seconds and bytes are far below 2^53")]
fn set(gauge: &'static str, value: u64) {
    metrics::gauge!(gauge).set(value as f64);
}

/// Binds the listener. Gives its address, and what serves it until `stop`.
pub(crate) async fn serve(
    address: SocketAddr,
    page: Page,
    stop: CancellationToken,
) -> Result<(SocketAddr, impl Future<Output = ()> + Send + 'static), NodeError> {
    let listen = || NodeError::tcp("[metrics] listen", address);
    let listener = TcpListener::bind(address).await.map_err(listen())?;
    let bound = listener.local_addr().map_err(listen())?;
    let router =
        Router::new().route("/metrics", get(metrics_page)).route("/health", get(health)).with_state(page);
    let serving = async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "metrics and health are not served any more");
        }
    };
    Ok((bound, serving))
}

async fn metrics_page(State(page): State<Page>) -> impl IntoResponse {
    let text = page.text();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

async fn health(State(page): State<Page>) -> impl IntoResponse {
    let failed = page.store.failure().borrow().clone();
    let conf = page.core.conf(Place::ProviderNode);
    match (failed, conf) {
        (None, Ok(conf)) => (StatusCode::OK, format!("ok, global configuration {}\n", conf.version())),
        (Some(reason), _) => (StatusCode::SERVICE_UNAVAILABLE, format!("ledger: {reason}\n")),
        (None, Err(fault)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{fault}\n")),
    }
}

/// Some ten thousand values are kept meanwhile by a busy node.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// From 50 µs to 10 s.
const STAGE_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];
