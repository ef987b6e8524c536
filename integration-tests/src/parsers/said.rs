//! Of `proto`: entries, identifiers, faults, grants, contracts, contexts.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bytes::Bytes;
use http::HeaderMap;
use peabiru_node::grpc::metadata::{put_fields, to_fields};
use peabiru_node::rest::headers::{self, Way};
use peabiru_proto::context::stays_at_door;
use peabiru_proto::contract::{ContractDocument, compatible};
use peabiru_proto::entry::{Entry, ExchangeId};
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::globalconf::Address;
use peabiru_proto::hash::{ContractDigest, Digest};
use peabiru_proto::id::{InstanceId, MemberId, NodeId, ServiceId, SubsystemId};
use peabiru_proto::limits::MAX_CONTEXT_BYTES;
use peabiru_proto::merkle;
use peabiru_proto::origin::{Domain, Origin};
use peabiru_proto::path::RestPath;
use peabiru_proto::policy::{Grant, Purpose};
use peabiru_proto::wire;
use prost::Message as _;

/// The strict decoder keeps the bytes, and accepts no second writing of what they say.
pub fn entry(bytes: &[u8]) {
    let Ok(entry) = Entry::decode(Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(entry.bytes(), bytes, "the bytes are kept");
    assert_eq!(entry.leaf_hash(), merkle::entry_hash(bytes));
    let written = Entry::encode(entry.origin(), entry.common(), entry.body());
    let written = written.expect("what was read can be written");
    let again = Entry::decode(written.bytes().clone()).expect("what was written can be read");
    assert_eq!(
        (again.origin(), again.common(), again.body()),
        (entry.origin(), entry.common(), entry.body()),
        "the writing says the same"
    );
    // Fields from 1000 on are kept and not written: they alone may make a difference.
    assert!(written.bytes() == bytes || written.bytes().len() < bytes.len(), "a second writing was accepted");
}

/// A name that is accepted is its own canonical text, and is put together of its parts again.
pub fn identifier(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    one_writing::<InstanceId>(text);
    one_writing::<NodeId>(text);
    one_writing::<Domain>(text);
    one_writing::<Purpose>(text);
    one_writing::<ExchangeId>(text);
    one_writing::<Digest>(text);
    one_writing::<FaultCode>(text);
    if let Some(origin) = one_writing::<Origin>(text) {
        assert!(text.ends_with(&format!("/{}", origin.epoch())));
    }
    if let Some(id) = one_writing::<MemberId>(text) {
        assert_eq!(MemberId::new(&id.instance(), &id.class(), &id.code()), Ok(id));
    }
    if let Some(id) = one_writing::<SubsystemId>(text) {
        assert_eq!(SubsystemId::new(&id.member(), &id.code()), Ok(id));
    }
    if let Some(id) = one_writing::<ServiceId>(text) {
        assert_eq!(ServiceId::new(&id.subsystem(), &id.code()), Ok(id));
    }
}

fn one_writing<T: FromStr<Err: Debug> + Display>(text: &str) -> Option<T> {
    let parsed = text.parse::<T>().ok()?;
    assert_eq!(parsed.to_string(), text, "one name has one text");
    Some(parsed)
}

/// A fault that is understood is bounded, and survives both renderings.
pub fn fault(bytes: &[u8]) {
    let of_frame = wire::Fault::decode(bytes).ok().and_then(|fault| Fault::from_proto(&fault).ok());
    for fault in of_frame.into_iter().chain(Fault::from_grpc_details(bytes)) {
        assert!(fault.message.chars().count() <= 500, "a peer's text is bounded");
        assert_eq!(Fault::from_proto(&fault.to_proto()), Ok(fault.clone()));
        let status = fault.to_grpc();
        assert_eq!(Fault::from_grpc_details(&status.details), Some(fault));
        assert!((1..=16).contains(&status.code));
    }
}

/// A grant, and an address, that are read say the same when they are written.
pub fn grant(bytes: &[u8]) {
    if let Ok(address) = wire::NodeAddress::decode(bytes).map_err(|_| ()).and_then(read_address) {
        assert_eq!(Address::from_proto(address.to_proto()), Ok(address));
    }
    let Ok(message) = wire::Grant::decode(bytes) else { return };
    let Ok(grant) = Grant::from_proto(&message) else { return };
    assert_eq!(Grant::from_proto(&grant.to_proto()), Ok(grant.clone()));
    assert!(grant.valid_from < grant.expires_at);
    let named = &message.methods;
    assert!(named.iter().all(|method| grant.covers_method(method)));
    let root = RestPath::parse("/").expect("the root is a path");
    assert!(!named.is_empty() || grant.covers_path("GET", &root));
    assert_eq!(grant.covers_method("a method that nobody named"), named.is_empty());
}

fn read_address(address: wire::NodeAddress) -> Result<Address, ()> {
    Address::from_proto(address).map_err(|_| ())
}

/// A contract keeps its bytes, gives each method a purpose, and keeps its own promises.
pub fn contract(bytes: &[u8]) {
    let Ok(document) = ContractDocument::parse(Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(document.bytes(), bytes, "the bytes are kept");
    assert_eq!(document.digest(), ContractDigest::of(bytes));
    assert!(document.pool().is_none() || document.services().count() != 0);
    for name in document.services() {
        let facts = document.service(name).expect("it was just listed");
        for method in facts.methods() {
            assert!(!method.purposes.is_empty(), "a method that nobody may ask");
            assert_eq!(facts.method(&method.name), Some(method));
        }
    }
    assert_eq!(compatible(&document, &document), Ok(()));
}

/// The same of an OpenAPI document: an operation is found by a path that its template means.
pub fn openapi(bytes: &[u8]) {
    contract(bytes);
    let Ok(document) = ContractDocument::parse(Bytes::copy_from_slice(bytes)) else { return };
    if document.pool().is_some() {
        return;
    }
    let facts = document.service("any").expect("it describes whatever service it is registered for");
    assert_eq!(facts.templates().count(), facts.methods().count());
    for template in facts.templates() {
        let method = facts.method(template.as_str()).expect("each template is a method");
        assert!(!method.purposes.is_empty(), "an operation that nobody may ask");
        let Ok(path) = RestPath::parse(&template.glob()) else { continue };
        let found =
            facts.operation(template.verb(), &path).expect("its own path means it, or one that says more");
        assert!(found.name.starts_with(template.verb()));
    }
}

/// What a peer sealed becomes headers of HTTP, never one that is the door's, and the same fields again.
pub fn context(bytes: &[u8]) {
    if bytes.len() > MAX_CONTEXT_BYTES {
        return;
    }
    let Ok(context) = wire::Context::decode(bytes) else { return };
    for way in [Way::Request, Way::Answer] {
        let mut headers = HeaderMap::new();
        headers::put_fields(&context.metadata, way, &mut headers);
        let again = headers::to_fields(&headers, way);
        assert!(again.len() == headers.len() && headers.len() <= context.metadata.len());
        assert!(headers.keys().all(|name| !name.as_str().starts_with("x-peabiru-") && name != "host"));
    }
    for fields in [&context.metadata, &context.trailers] {
        let mut headers = HeaderMap::new();
        put_fields(fields, &mut headers);
        assert!(headers.len() <= fields.len());
        assert!(headers.keys().all(|name| !stays_at_door(name.as_str())), "a header of the door's");
        let mut again = HeaderMap::new();
        put_fields(&to_fields(&headers), &mut again);
        assert_eq!(again, headers);
    }
}
