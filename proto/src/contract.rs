//! Contracts: a registered `FileDescriptorSet`, and what it says of each method.
//!
//! A method has no side effects only if it carries the standard option `idempotency_level = NO_SIDE_EFFECTS`.
//! Purposes come from the options of `peabiru/v1/options.proto`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

use crate::entry::SideEffects;
use crate::hash::ContractDigest;
use crate::limits::MAX_CLEAR_BYTES;
use crate::policy::Purpose;
use crate::wire;

/// A parsed document, kept byte for byte.
#[derive(Clone)]
pub struct ContractDocument {
    bytes: Bytes,
    digest: ContractDigest,
    pool: DescriptorPool,
    services: BTreeMap<String, ServiceFacts>,
}

/// What a contract says of one gRPC service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceFacts {
    methods: BTreeMap<String, MethodFacts>,
}

/// What a contract says of one method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodFacts {
    /// Bare name.
    pub name: String,
    /// Whether invoking it may change something.
    pub side_effects: SideEffects,
    /// For what it may be asked.
    pub purposes: BTreeSet<Purpose>,
    /// How long the service may take, if the contract says so.
    pub timeout: Option<Duration>,
    /// Which of the four kinds of call it is.
    pub streaming: Streaming,
}

/// The four kinds of gRPC call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streaming {
    /// One message each way.
    Unary,
    /// Many requests, one answer.
    Client,
    /// One request, many answers.
    Server,
    /// Many each way.
    Both,
}

/// Why a document is no contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// Longer than the registry's ledger takes.
    #[error("the document has {bytes} bytes, {MAX_CLEAR_BYTES} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// No descriptor set, or one that does not resolve.
    #[error("the document is no complete FileDescriptorSet (make it with --include_imports): {0}")]
    Unparsable(String),
    /// Nothing to call.
    #[error("the document describes no service")]
    NoService,
    /// Nobody could ever ask.
    #[error("{method} names no purpose: set (peabiru.v1.service).purposes or (peabiru.v1.method).purposes")]
    NoPurpose {
        /// Full name.
        method: String,
    },
    /// Not a term.
    #[error("{method}: `{purpose}` is no purpose")]
    Purpose {
        /// Full name.
        method: String,
        /// What stands there.
        purpose: String,
    },
}

impl ContractDocument {
    /// Parses a serialised `FileDescriptorSet` with all its imports.
    ///
    /// # Errors
    /// `ContractError` says what is missing.
    pub fn parse(bytes: Bytes) -> Result<Self, ContractError> {
        if bytes.len() > MAX_CLEAR_BYTES {
            return Err(ContractError::TooLarge { bytes: bytes.len() });
        }
        let pool = decode_pool(&bytes)?;
        let services: BTreeMap<_, _> = pool
            .services()
            .map(|service| Ok((service.full_name().to_owned(), ServiceFacts::of(&service)?)))
            .collect::<Result<_, ContractError>>()?;
        if services.is_empty() {
            return Err(ContractError::NoService);
        }
        Ok(Self { digest: ContractDigest::of(&bytes), bytes, pool, services })
    }

    /// As registered.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn digest(&self) -> ContractDigest {
        self.digest
    }

    /// Full names of the services.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }

    /// One service by its full name.
    #[must_use]
    pub fn service(&self, full_name: &str) -> Option<&ServiceFacts> {
        self.services.get(full_name)
    }

    /// The descriptors, to translate messages.
    #[must_use]
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }
}

impl fmt::Debug for ContractDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContractDocument")
            .field("digest", &self.digest)
            .field("services", &self.services)
            .finish()
    }
}

impl ServiceFacts {
    fn of(service: &ServiceDescriptor) -> Result<Self, ContractError> {
        let options = wire::ServiceFacts::from_options(&service.options(), service.parent_pool());
        let methods = service.methods().map(|method| {
            let facts = MethodFacts::of(&method, &options.purposes)?;
            Ok((facts.name.clone(), facts))
        });
        Ok(Self { methods: methods.collect::<Result<_, ContractError>>()? })
    }

    /// A method by its bare name.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&MethodFacts> {
        self.methods.get(name)
    }

    /// All methods, by name.
    pub fn methods(&self) -> impl Iterator<Item = &MethodFacts> {
        self.methods.values()
    }
}

impl MethodFacts {
    fn of(method: &MethodDescriptor, of_service: &[String]) -> Result<Self, ContractError> {
        let options = wire::MethodFacts::from_options(&method.options(), method.parent_pool());
        let named = if options.purposes.is_empty() { of_service } else { &options.purposes };
        let purpose = |text: &String| {
            let refuse =
                |_| ContractError::Purpose { method: method.full_name().to_owned(), purpose: text.clone() };
            text.parse().map_err(refuse)
        };
        let purposes: BTreeSet<_> = named.iter().map(purpose).collect::<Result<_, _>>()?;
        if purposes.is_empty() {
            return Err(ContractError::NoPurpose { method: method.full_name().to_owned() });
        }
        Ok(Self {
            name: method.name().to_owned(),
            side_effects: side_effects(method),
            purposes,
            timeout: (options.timeout_ms > 0).then(|| Duration::from_millis(options.timeout_ms.into())),
            streaming: match (method.is_client_streaming(), method.is_server_streaming()) {
                (false, false) => Streaming::Unary,
                (true, false) => Streaming::Client,
                (false, true) => Streaming::Server,
                (true, true) => Streaming::Both,
            },
        })
    }
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

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// Whether a new version of a contract keeps every promise of the old one: no service or method removed, no type of
/// a method changed, no field of such a type removed or changed. Adding is always allowed.
///
/// # Errors
/// Every broken promise, in words.
pub fn compatible(old: &ContractDocument, new: &ContractDocument) -> Result<(), Vec<String>> {
    let mut broken = Vec::new();
    let mut seen = BTreeSet::new();
    for service in old.pool.services() {
        for method in service.methods() {
            compare_method(&method, new, &mut seen, &mut broken);
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

fn compare_method(
    old: &MethodDescriptor,
    new: &ContractDocument,
    seen: &mut BTreeSet<String>,
    broken: &mut Vec<String>,
) {
    let service = new.pool.get_service_by_name(old.parent_service().full_name());
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

/// How much of a text of the document is repeated in an error, in characters.
const TEXT_CHARS_MAX: usize = 200;
