//! X-Road's metadata services (x-road.md §3.8): exchanges like any other, answered by the provider's node itself.
//!
//! One question is our own: `allowedMethods?serviceType=GRPC` lists what the asker may call by gRPC. The door's reflection
//! and health are answered by it. A node that does not know it lists services of REST, and none of gRPC.

use bytes::Bytes;
use peabiru_proto::contract::{METADATA, MethodFacts, ServiceFacts};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::globalconf::{Contract, GlobalConfiguration};
use peabiru_proto::id::{ServiceId, SubsystemId};
use peabiru_proto::limits::MAX_BODY_BYTES;
use peabiru_proto::path::{Pattern, Template};
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{Context, ContextField};
use tokio::sync::mpsc;

use crate::exchange::{AnswerEnd, Invocation, Piece, Served};
use crate::guard::grant::Grants;
use crate::rest::listing;

/// The answer, if a metadata service is asked.
pub(crate) fn answer(
    invocation: &Invocation,
    conf: &GlobalConfiguration,
    grants: &Grants,
    now: Timestamp,
) -> Option<Result<Served, Fault>> {
    let code = invocation.service.code();
    if !METADATA.contains(&code.as_str()) {
        return None;
    }
    let of = invocation.service.subsystem();
    Some(match code.as_str() {
        "listMethods" => Ok(json(list(conf, &of, &|_, _| Shown::Yes))),
        "allowedMethods" if asks_for_grpc(invocation) => {
            let by = Asker { grants, consumer: &invocation.consumer, now };
            Ok(json(list_grpc(conf, &of, by)))
        }
        "allowedMethods" => {
            let consumer = &invocation.consumer;
            Ok(json(list(conf, &of, &|service, template| allowed(grants, consumer, service, template, now))))
        }
        _ => open_api(invocation, conf, &of),
    })
}

/// Whether an operation is in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Yes,
    No,
}

/// Services of the subsystem with the operations that are shown; those of gRPC are none of X-Road's.
fn list(
    conf: &GlobalConfiguration,
    of: &SubsystemId,
    shown: &dyn Fn(&ServiceId, &Template) -> Shown,
) -> String {
    let mut services = Vec::new();
    for contract in conf.services().filter(|contract| contract.service.subsystem() == *of) {
        let Some(facts) = contract.facts().filter(|facts| facts.is_rest()) else { continue };
        let operations: Vec<_> =
            facts.templates().filter(|template| shown(&contract.service, template) == Shown::Yes).collect();
        if !operations.is_empty() {
            services.push(listing::service(&contract.service, operations.into_iter()));
        }
    }
    listing::services(&services)
}

fn asks_for_grpc(invocation: &Invocation) -> bool {
    let kind = invocation.target.as_ref().and_then(|target| target.query_value(listing::SERVICE_TYPE));
    kind.as_deref() == Some(listing::GRPC)
}

/// Who asks for what is granted, and when.
#[derive(Clone, Copy)]
struct Asker<'a> {
    grants: &'a Grants,
    consumer: &'a SubsystemId,
    now: Timestamp,
}

/// gRPC services of the subsystem, with those of their methods that are granted for one of their purposes.
fn list_grpc(conf: &GlobalConfiguration, of: &SubsystemId, by: Asker<'_>) -> String {
    let mut services = Vec::new();
    for contract in conf.services().filter(|contract| contract.service.subsystem() == *of) {
        let Some(facts) = contract.facts().filter(|facts| !facts.is_rest()) else { continue };
        let granted = |method: &&MethodFacts| {
            let mut in_force = by.grants.in_force(by.consumer, &contract.service, by.now);
            in_force.any(|grant| {
                let purposes = &grant.purposes;
                grant.covers_method(&method.name)
                    && method.purposes.iter().any(|purpose| purposes.contains(purpose))
            })
        };
        let methods: Vec<_> = facts.methods().filter(granted).map(|method| method.name.as_str()).collect();
        if !methods.is_empty() {
            services.push(listing::grpc_service(&contract.service, &methods));
        }
    }
    listing::services(&services)
}

/// Whether some call that the template means is granted.
fn allowed(
    grants: &Grants,
    consumer: &SubsystemId,
    service: &ServiceId,
    template: &Template,
    now: Timestamp,
) -> Shown {
    let covers = |text: &String| text.parse::<Pattern>().is_ok_and(|pattern| pattern.meets(template));
    let mut in_force = grants.in_force(consumer, service, now);
    match in_force.any(|grant| grant.methods.is_empty() || grant.methods.iter().any(covers)) {
        true => Shown::Yes,
        false => Shown::No,
    }
}

/// The document as registered, byte for byte: every member has it in the global configuration, and heads cite its
/// digest.
fn open_api(invocation: &Invocation, conf: &GlobalConfiguration, of: &SubsystemId) -> Result<Served, Fault> {
    let wanted = invocation.target.as_ref().and_then(|target| target.query_value("serviceCode"));
    let wanted = wanted.ok_or_else(|| {
        Fault::new(FaultCode::RequestInvalid, Place::ProviderNode, "the query names no serviceCode")
    })?;
    let service = ServiceId::new(of, &wanted).ok();
    let contract = service.as_ref().and_then(|service| conf.contract(service));
    let described = contract.filter(|contract| contract.facts().is_some_and(ServiceFacts::is_rest));
    described.map(document).ok_or_else(|| {
        let message = format!("{of} has no REST service with this code");
        Fault::new(FaultCode::ServiceUnknown, Place::ProviderNode, message)
    })
}

fn document(contract: &Contract) -> Served {
    whole(contract.document.bytes().clone())
}

fn json(text: String) -> Served {
    whole(text.into())
}

fn whole(body: Bytes) -> Served {
    let kind =
        ContextField { name: "content-type".to_owned(), value: "application/json; charset=utf-8".into() };
    let context = Context { metadata: vec![kind], http_status: 200, ..Context::default() };
    let end = AnswerEnd { outcome: 0, context };
    if body.len() <= MAX_BODY_BYTES {
        return Served::Whole(end, body);
    }
    let (pieces, receiver) = mpsc::channel(2);
    for piece in [Piece::Data(body), Piece::End(end)] {
        // There is room for both.
        let _ = pieces.try_send(Ok(piece));
    }
    Served::Large(receiver)
}
