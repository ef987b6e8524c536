//! What a caller may call by gRPC: the provider's node says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use peabiru_proto::globalconf::{Contract, GlobalConfiguration};
use peabiru_proto::id::{ServiceId, SubsystemId};
use peabiru_proto::wire::Context;
use tokio::task::JoinSet;

use crate::exchange::{Call, CallBody, Exchange};
use crate::grpc::body::RoadBody;
use crate::rest::listing::{GRPC, SERVICE_TYPE, read_grpc};
use crate::rest::target;

/// Who asks, and whom this call would reach.
#[derive(Clone)]
pub(in crate::door) struct Asker {
    pub(in crate::door) exchange: Arc<dyn Exchange>,
    pub(in crate::door) caller: SubsystemId,
    /// The service that the caller's headers, or the host name, stand for.
    pub(in crate::door) wanted: Option<ServiceId>,
}

/// Methods of each service of one subsystem that may be called, by the service's code.
pub(super) type Methods = BTreeMap<String, BTreeSet<String>>;

impl Asker {
    /// The services that a call with the same headers can reach: the one that these name, or all whose gRPC name only one
    /// member has.
    pub(super) fn reachable<'a>(&self, conf: &'a GlobalConfiguration) -> Vec<&'a Contract> {
        let reaches = |contract: &&Contract| match &self.wanted {
            Some(wanted) => contract.service == *wanted,
            None => conf.service_by_name(&contract.service.code()).is_ok(),
        };
        let is_grpc = |contract: &&Contract| contract.facts().is_some_and(|facts| !facts.is_rest());
        conf.services().filter(is_grpc).filter(reaches).collect()
    }

    /// Asks the nodes of these subsystems, a few at a time. One that does not answer allows nothing now.
    pub(super) async fn ask(&self, subsystems: BTreeSet<SubsystemId>) -> BTreeMap<SubsystemId, Methods> {
        let mut waiting = subsystems.into_iter();
        let mut asked = JoinSet::new();
        let mut told = BTreeMap::new();
        loop {
            while asked.len() < ASKED_AT_ONCE
                && let Some(subsystem) = waiting.next()
            {
                let asker = self.clone();
                asked.spawn(async move { (asker.ask_one(&subsystem).await, subsystem) });
            }
            match asked.join_next().await {
                Some(Ok((methods, subsystem))) => told.insert(subsystem, methods.unwrap_or_default()),
                // One that panicked allows nothing.
                Some(Err(_)) => continue,
                None => return told,
            };
        }
    }

    async fn ask_one(&self, subsystem: &SubsystemId) -> Option<Methods> {
        let service = ServiceId::new(subsystem, "allowedMethods").ok()?;
        let context = Context {
            verb: "GET".to_owned(),
            path: target::of_route(&service, &format!("/?{SERVICE_TYPE}={GRPC}")),
            ..Context::default()
        };
        let call = Call {
            caller: self.caller.clone(),
            service,
            method: "GET /".to_owned(),
            addressee: None,
            purpose: Some(PURPOSE.parse().ok()?),
            context,
            body: CallBody::Whole(Bytes::new(), 1),
            deadline: Some(ASK_WAIT),
        };
        let answered = self.exchange.call(call).await.result;
        let answer = answered
            .inspect_err(
                |fault| tracing::debug!(%subsystem, code = %fault.code, "what may be called is not known"),
            )
            .ok()?;
        if answer.context.http_status != 200 {
            return None;
        }
        let list = Limited::new(RoadBody::new(answer.body, None), LIST_BYTES_MAX).collect().await.ok()?;
        Some(read_grpc(&list.to_bytes()))
    }
}

/// Of the contract of metadata services.
const PURPOSE: &str = "metadata";
/// Subsystems that are asked at once for one caller.
const ASKED_AT_ONCE: usize = 8;
/// For one of them to answer.
const ASK_WAIT: Duration = Duration::from_secs(10);
/// Longest list that is read, in bytes.
const LIST_BYTES_MAX: usize = 1024 * 1024;
