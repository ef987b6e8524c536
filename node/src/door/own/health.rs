//! `grpc.health.v1.Health`: of the node, and of a service as this caller finds it.

use std::collections::BTreeSet;
use std::time::Duration;

use peabiru_proto::id::ServiceId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use super::{Asker, Own};

/// Answers for as long as the door is open.
pub(super) struct Health {
    pub(super) closing: CancellationToken,
}

#[async_trait]
impl health_server::Health for Health {
    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let asker = asker(&request)?;
        match status(&asker, &request.get_ref().service).await {
            ServingStatus::ServiceUnknown => Err(Status::not_found("no service of this name can be reached")),
            _ if self.closing.is_cancelled() => Ok(Response::new(response(ServingStatus::NotServing))),
            status => Ok(Response::new(response(status))),
        }
    }

    /// Says what changes, and last that the node stops.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let asker = asker(&request)?;
        let service = request.into_inner().service;
        let (said, stream) = mpsc::channel(1);
        let closing = self.closing.clone();
        tokio::spawn(async move {
            let mut before = None;
            loop {
                let now = tokio::select! {
                    now = status(&asker, &service) => now,
                    () = closing.cancelled() => break,
                    () = said.closed() => return,
                };
                if before.replace(now) != Some(now) && said.send(Ok(response(now))).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(WATCH_EVERY) => {}
                    () = closing.cancelled() => break,
                    () = said.closed() => return,
                }
            }
            // Whoever watched may have gone.
            let _ = said.send(Ok(response(ServingStatus::NotServing))).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Put there by the door.
pub(super) fn asker<T>(request: &Request<T>) -> Result<Asker, Status> {
    request.extensions().get().cloned().ok_or_else(|| Status::internal("the door did not say who asks"))
}

/// No name means the node. A service is named as the path of its calls names it, or by its identifier. It serves if the
/// provider's node answers now, and says that the caller may call one of its methods.
async fn status(asker: &Asker, named: &str) -> ServingStatus {
    if named.is_empty() {
        return if asker.exchange.ready().is_ok() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
    }
    let named_by_id: Option<ServiceId> = named.parse().ok();
    let conf = asker.exchange.globalconf();
    let found = conf.as_ref().and_then(|conf| match &named_by_id {
        Some(id) => conf.contract(id).filter(|contract| contract.facts().is_some_and(|it| !it.is_rest())),
        None => asker.reachable(conf).into_iter().find(|contract| contract.service.code() == named),
    });
    let Some(service) = found.map(|contract| contract.service.clone()) else {
        let own = Own::named(named).is_some();
        return if own { ServingStatus::Serving } else { ServingStatus::ServiceUnknown };
    };
    let told = asker.ask(BTreeSet::from([service.subsystem()])).await;
    let may = told.values().any(|methods| methods.contains_key(&service.code()));
    if may { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// How often a watched service is asked about: each time is an exchange, sealed like any other.
const WATCH_EVERY: Duration = Duration::from_secs(15);
