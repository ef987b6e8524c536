//! Contracts: a registered document, and what it says of each method.
//!
//! A document is a protobuf `FileDescriptorSet` or an OpenAPI 3 description in JSON. Its first byte tells: JSON begins
//! with a brace, a descriptor set never does. The digest is over the bytes as registered.

mod json;
mod openapi;
mod protobuf;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use prost_reflect::DescriptorPool;

use crate::entry::SideEffects;
use crate::hash::ContractDigest;
use crate::limits::{MAX_CLEAR_BYTES, MAX_OPERATIONS};
use crate::path::{InvalidTemplate, RestPath, Template};
use crate::policy::Purpose;

/// A parsed document, kept byte for byte.
#[derive(Clone)]
pub struct ContractDocument {
    bytes: Bytes,
    digest: ContractDigest,
    described: Described,
}

#[derive(Clone)]
enum Described {
    /// gRPC services by their full names.
    Grpc { pool: DescriptorPool, services: BTreeMap<String, ServiceFacts> },
    /// One REST service, whatever its code is.
    Rest(ServiceFacts),
}

/// What a contract says of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceFacts {
    methods: BTreeMap<String, MethodFacts>,
    /// Of a REST service, by verb and number of segments, the most telling first.
    templates: Option<BTreeMap<(String, usize), Vec<Template>>>,
}

/// What a contract says of one method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodFacts {
    /// Bare name, or verb and path template.
    pub name: String,
    /// Whether invoking it may change something.
    pub side_effects: SideEffects,
    /// For what it may be asked.
    pub purposes: BTreeSet<Purpose>,
    /// How long the service may take, if the contract says so.
    pub timeout: Option<Duration>,
    /// Which of the four kinds of call it is.
    pub streaming: Streaming,
    /// When its messages are delivered.
    pub delivery: Delivery,
}

/// When messages are sealed and delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// When all of one way have come.
    Whole,
    /// While the stream goes on, batch by batch.
    Live,
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
    /// No OpenAPI 3 document.
    #[error("the document is no OpenAPI 3 description in JSON: {0}")]
    UnparsableOpenApi(String),
    /// More than a node keeps.
    #[error("the document has more than {MAX_OPERATIONS} operations")]
    TooManyOperations,
    /// A verb and path that no call could have.
    #[error("{method}: {source}")]
    Template {
        /// Verb and path.
        method: String,
        /// What is wrong.
        source: InvalidTemplate,
    },
    /// Two that mean the same calls.
    #[error("{first} and {second} differ only by the names of their variables")]
    Ambiguous {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// An extension of ours with a value that it does not have.
    #[error(
        "{method}: {key} is not what it may be (x-peabiru-purposes: a list of texts, x-peabiru-timeout-ms: a number, \
         x-peabiru-side-effects: \"present\")"
    )]
    Extension {
        /// Verb and path.
        method: String,
        /// Its key.
        key: &'static str,
    },
    /// Nothing to call.
    #[error("the document describes no service")]
    NoService,
    /// Nothing that could go on.
    #[error("{method} has no stream: take (peabiru.v1.method).streaming away")]
    NoStream {
        /// Its name.
        method: String,
    },
    /// Nobody could ever ask.
    #[error(
        "{method} names no purpose: set (peabiru.v1.service).purposes or (peabiru.v1.method).purposes, in OpenAPI x-peabiru-purposes"
    )]
    NoPurpose {
        /// Its name.
        method: String,
    },
    /// Not a term.
    #[error("{method}: `{purpose}` is no purpose")]
    Purpose {
        /// Its name.
        method: String,
        /// What stands there.
        purpose: String,
    },
}

impl ContractDocument {
    /// Parses a serialised `FileDescriptorSet` with all its imports, or an OpenAPI 3 document in JSON.
    ///
    /// # Errors
    /// `ContractError` says what is missing.
    pub fn parse(bytes: Bytes) -> Result<Self, ContractError> {
        if bytes.len() > MAX_CLEAR_BYTES {
            return Err(ContractError::TooLarge { bytes: bytes.len() });
        }
        let described = if bytes.starts_with(b"{") {
            Described::Rest(openapi::parse(&bytes)?)
        } else {
            let (pool, services) = protobuf::parse(&bytes)?;
            Described::Grpc { pool, services }
        };
        Ok(Self { digest: ContractDigest::of(&bytes), bytes, described })
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

    /// Full names of the gRPC services. An OpenAPI document names none: it describes whatever service it is
    /// registered for.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        let services = match &self.described {
            Described::Grpc { services, .. } => Some(services),
            Described::Rest(_) => None,
        };
        services.into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// What it says of the service with this code.
    #[must_use]
    pub fn service(&self, code: &str) -> Option<&ServiceFacts> {
        match &self.described {
            _ if METADATA.contains(&code) && !self.is_metadata() => None,
            Described::Grpc { services, .. } => services.get(code),
            Described::Rest(facts) => Some(facts),
        }
    }

    /// The contract of the services that every subsystem has: [`METADATA`].
    ///
    /// # Panics
    /// Never: a test parses it.
    #[must_use]
    pub fn metadata() -> Self {
        Self::parse(Bytes::from_static(METADATA_DOCUMENT)).expect("our own document is a contract")
    }

    fn is_metadata(&self) -> bool {
        self.bytes == METADATA_DOCUMENT
    }

    /// The descriptors of gRPC services, to translate messages.
    #[must_use]
    pub fn pool(&self) -> Option<&DescriptorPool> {
        match &self.described {
            Described::Grpc { pool, .. } => Some(pool),
            Described::Rest(_) => None,
        }
    }
}

impl fmt::Debug for ContractDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ContractDocument");
        shown.field("digest", &self.digest);
        match &self.described {
            Described::Grpc { services, .. } => shown.field("services", services),
            Described::Rest(facts) => shown.field("rest", facts),
        };
        shown.finish()
    }
}

impl ServiceFacts {
    fn of_grpc(methods: Vec<MethodFacts>) -> Self {
        let methods = methods.into_iter().map(|facts| (facts.name.clone(), facts)).collect();
        Self { methods, templates: None }
    }

    /// Two templates that differ by the names of their variables alone leave open which one is meant.
    fn of_rest(operations: Vec<(Template, MethodFacts)>) -> Result<Self, ContractError> {
        let mut methods = BTreeMap::new();
        let mut templates: BTreeMap<(String, usize), Vec<Template>> = BTreeMap::new();
        for (template, facts) in operations {
            methods.insert(facts.name.clone(), facts);
            templates.entry((template.verb().to_owned(), template.len())).or_default().push(template);
        }
        for alike in templates.values_mut() {
            alike.sort();
            if let Some(pair) = alike.windows(2).find(|pair| pair[0].same_shape(&pair[1])) {
                let [first, second] = [&pair[0], &pair[1]].map(|template| template.as_str().to_owned());
                return Err(ContractError::Ambiguous { first, second });
            }
        }
        Ok(Self { methods, templates: Some(templates) })
    }

    /// A method by its name.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&MethodFacts> {
        self.methods.get(name)
    }

    /// All methods, by name.
    pub fn methods(&self) -> impl Iterator<Item = &MethodFacts> {
        self.methods.values()
    }

    /// Whether it is called by verb and path.
    #[must_use]
    pub fn is_rest(&self) -> bool {
        self.templates.is_some()
    }

    /// The operation that a verb and a path mean: of several that match, the one that says more, from left to right.
    #[must_use]
    pub fn operation(&self, verb: &str, path: &RestPath) -> Option<&MethodFacts> {
        let key = (verb.to_owned(), path.segments().len());
        let found = self.templates.as_ref()?.get(&key)?.iter().find(|template| template.matches(path))?;
        self.methods.get(found.as_str())
    }

    /// The operations of a REST service.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.templates.iter().flat_map(BTreeMap::values).flatten()
    }
}

/// Whether a new version of a contract keeps every promise of the old one. Adding is always allowed.
///
/// # Errors
/// Every broken promise, in words.
pub fn compatible(old: &ContractDocument, new: &ContractDocument) -> Result<(), Vec<String>> {
    let broken = match (&old.described, &new.described) {
        (Described::Grpc { pool: old, .. }, Described::Grpc { pool: new, .. }) => protobuf::broken(old, new),
        (Described::Rest(old_facts), Described::Rest(new_facts)) => {
            openapi::broken((old_facts, &old.bytes), (new_facts, &new.bytes))
        }
        (Described::Grpc { .. }, Described::Rest(_)) => {
            vec!["a gRPC service became a REST service".to_owned()]
        }
        (Described::Rest(_), Described::Grpc { .. }) => {
            vec!["a REST service became a gRPC service".to_owned()]
        }
    };
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

/// Reads the purposes of a method: at least one.
fn purposes<'a>(
    method: &str,
    named: impl Iterator<Item = &'a str>,
) -> Result<BTreeSet<Purpose>, ContractError> {
    let purpose = |text: &str| {
        let refuse = |_| ContractError::Purpose { method: method.to_owned(), purpose: shortened(text) };
        text.parse().map_err(refuse)
    };
    let purposes: BTreeSet<_> = named.map(purpose).collect::<Result<_, _>>()?;
    if purposes.is_empty() {
        Err(ContractError::NoPurpose { method: method.to_owned() })
    } else {
        Ok(purposes)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// Codes of services that the provider's own node answers: X-Road's metadata services. No other service may have one.
pub const METADATA: &[&str] = &["listMethods", "allowedMethods", "getOpenAPI"];
const METADATA_DOCUMENT: &[u8] = include_bytes!("contract/metadata.json");
/// How much of a text of the document is repeated in an error, in characters.
const TEXT_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_services_have_a_contract_and_their_codes_are_taken() {
        let metadata = ContractDocument::metadata();
        let path = RestPath::parse("").unwrap();
        for code in METADATA {
            let operation = metadata.service(code).unwrap().operation("GET", &path).unwrap();
            assert_eq!(operation.side_effects, SideEffects::None);
        }
        let other = br#"{"openapi":"3.1.0","x-peabiru-purposes":["a"],"paths":{"/":{"get":{}}}}"#;
        let other = ContractDocument::parse(other.as_slice().into()).unwrap();
        assert!(other.service("schools").is_some() && other.service("listMethods").is_none());
    }
}
