//! Contracts of gRPC services: a `FileDescriptorSet` with all its imports.
//!
//! A method has no side effects only if it carries the standard option `idempotency_level = NO_SIDE_EFFECTS`.
//! Purposes come from the options of `peabiru/v1/options.proto`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use prost::Message as _;
use prost_reflect::{
    DescriptorPool, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

use super::{ContractError, Delivery, MethodFacts, ServiceFacts, Streaming, purposes, shortened};
use crate::entry::SideEffects;
use crate::wire;

/// Parses a serialised `FileDescriptorSet`.
pub(super) fn parse(bytes: &[u8]) -> Result<(DescriptorPool, BTreeMap<String, ServiceFacts>), ContractError> {
    let pool = decode_pool(bytes)?;
    let services: BTreeMap<_, _> = pool
        .services()
        .map(|service| Ok((service.full_name().to_owned(), service_facts(&service)?)))
        .collect::<Result<_, ContractError>>()?;
    if services.is_empty() { Err(ContractError::NoService) } else { Ok((pool, services)) }
}

fn service_facts(service: &ServiceDescriptor) -> Result<ServiceFacts, ContractError> {
    let options = wire::ServiceFacts::from_options(&service.options(), service.parent_pool());
    let methods = service.methods().map(|method| method_facts(&method, &options.purposes));
    Ok(ServiceFacts::of_grpc(methods.collect::<Result<_, _>>()?))
}

fn method_facts(method: &MethodDescriptor, of_service: &[String]) -> Result<MethodFacts, ContractError> {
    let options = wire::MethodFacts::from_options(&method.options(), method.parent_pool());
    let named = if options.purposes.is_empty() { of_service } else { &options.purposes };
    let streaming = match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => Streaming::Unary,
        (true, false) => Streaming::Client,
        (false, true) => Streaming::Server,
        (true, true) => Streaming::Both,
    };
    if options.streaming && streaming == Streaming::Unary {
        return Err(ContractError::NoStream { method: method.full_name().to_owned() });
    }
    Ok(MethodFacts {
        name: method.name().to_owned(),
        side_effects: side_effects(method),
        purposes: purposes(method.full_name(), named.iter().map(String::as_str))?,
        timeout: (options.timeout_ms > 0).then(|| Duration::from_millis(options.timeout_ms.into())),
        streaming,
        delivery: if options.streaming { Delivery::Live } else { Delivery::Whole },
    })
}

/// A syntax that the library does not know makes it panic, so the syntax is looked at before.
fn decode_pool(bytes: &[u8]) -> Result<DescriptorPool, ContractError> {
    let unparsable = |error: &dyn fmt::Display| ContractError::Unparsable(error.to_string());
    let set = prost_types::FileDescriptorSet::decode(bytes).map_err(|error| unparsable(&error))?;
    for file in &set.file {
        if !matches!(file.syntax.as_deref(), None | Some("proto2" | "proto3")) {
            let [name, syntax] = [file.name(), file.syntax()].map(shortened);
            return Err(unparsable(&format_args!("{name} has the syntax `{syntax}`, not proto2 or proto3")));
        }
    }
    DescriptorPool::decode(bytes).map_err(|error| unparsable(&error))
}

/// Every promise of `old` that `new` breaks: a service or method removed, a type of a method changed, a field of such
/// a type removed or changed. Adding is always allowed.
pub(super) fn broken(old: &DescriptorPool, new: &DescriptorPool) -> Vec<String> {
    let mut broken = Vec::new();
    let mut seen = BTreeSet::new();
    for service in old.services() {
        for method in service.methods() {
            compare_method(&method, new, &mut seen, &mut broken);
        }
    }
    broken
}

fn compare_method(
    old: &MethodDescriptor,
    new: &DescriptorPool,
    seen: &mut BTreeSet<String>,
    broken: &mut Vec<String>,
) {
    let service = new.get_service_by_name(old.parent_service().full_name());
    let Some(method) =
        service.and_then(|service| service.methods().find(|method| method.name() == old.name()))
    else {
        broken.push(format!("method {} is gone", old.full_name()));
        return;
    };
    if (old.is_client_streaming(), old.is_server_streaming())
        != (method.is_client_streaming(), method.is_server_streaming())
    {
        broken.push(format!("method {} streams differently", old.full_name()));
    }
    if side_effects(old) == SideEffects::None && side_effects(&method) == SideEffects::Present {
        broken.push(format!("method {} was a read and now has side effects", old.full_name()));
    }
    for (old, new) in [(old.input(), method.input()), (old.output(), method.output())] {
        compare_message(old, new, seen, broken);
    }
}

/// Compares two types and all that they lead to. A peer decides how long the chain is, so it is walked without recursion.
fn compare_message(
    old: MessageDescriptor,
    new: MessageDescriptor,
    seen: &mut BTreeSet<String>,
    broken: &mut Vec<String>,
) {
    let mut pairs = vec![(old, new)];
    while let Some((old, new)) = pairs.pop() {
        if old.full_name() != new.full_name() {
            broken.push(format!("type {} became {}", old.full_name(), new.full_name()));
            continue;
        }
        if !seen.insert(old.full_name().to_owned()) {
            continue;
        }
        for field in old.fields() {
            let Some(now) = new.get_field(field.number()) else {
                broken.push(format!("field {} is gone", field.full_name()));
                continue;
            };
            if shape(&field) != shape(&now) {
                broken.push(format!("field {} changed its name or type", field.full_name()));
            }
            if let (Kind::Message(old), Kind::Message(new)) = (field.kind(), now.kind()) {
                pairs.push((old, new));
            }
        }
    }
}

fn shape(field: &FieldDescriptor) -> (String, String, String) {
    (field.name().to_owned(), format!("{:?}", field.kind()), format!("{:?}", field.cardinality()))
}

fn side_effects(method: &MethodDescriptor) -> SideEffects {
    use prost_types::method_options::IdempotencyLevel;
    let options = method.method_descriptor_proto().options.as_ref();
    match options.map(prost_types::MethodOptions::idempotency_level) {
        Some(IdempotencyLevel::NoSideEffects) => SideEffects::None,
        Some(IdempotencyLevel::Idempotent | IdempotencyLevel::IdempotencyUnknown) | None => {
            SideEffects::Present
        }
    }
}

/// Reads our extension from options. A document that does not import `peabiru/v1/options.proto` has none.
trait FromOptions: prost::Message + Default {
    const EXTENSION: &'static str;

    fn from_options(options: &prost_reflect::DynamicMessage, pool: &DescriptorPool) -> Self {
        let extension: Option<ExtensionDescriptor> = pool.get_extension_by_name(Self::EXTENSION);
        let value = extension.map(|extension| options.get_extension(&extension).into_owned());
        let message = value.as_ref().and_then(prost_reflect::Value::as_message);
        message.and_then(|message| Self::decode(message.encode_to_vec().as_slice()).ok()).unwrap_or_default()
    }
}

impl FromOptions for wire::ServiceFacts {
    const EXTENSION: &'static str = "peabiru.v1.service";
}

impl FromOptions for wire::MethodFacts {
    const EXTENSION: &'static str = "peabiru.v1.method";
}
