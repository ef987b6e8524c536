//! Contracts: versions of what a service promises.

use bytes::Bytes;
use peabiru_proto::contract::{ContractDocument, compatible};
use peabiru_proto::hash::ContractDigest;
use peabiru_proto::id::ServiceId;
use peabiru_proto::wire;

use super::limits::{DOCUMENT_BYTES_MAX, VERSIONS_MAX};
use super::{Event, Kind, Member, Refusal, State};

impl State {
    pub(super) fn add_contract(&self, service: &ServiceId, document: Bytes) -> Result<Vec<Event>, Refusal> {
        let member = self.known_member(&service.member())?;
        let subsystem = service.subsystem();
        if !member.subsystems.contains_key(&subsystem) {
            let message = format!("{subsystem} is no registered subsystem: add it first");
            return Err(Kind::UnknownSubsystem.because(message));
        }
        if document.len() > DOCUMENT_BYTES_MAX {
            let bytes = document.len();
            let message = format!("the document has {bytes} bytes, {DOCUMENT_BYTES_MAX} are allowed");
            return Err(Kind::Limit.because(message));
        }
        let digest = ContractDigest::of(&document);
        if member.versions(service).any(|(_, known)| known == digest) {
            return Ok(Vec::new());
        }
        let parsed = parse(service, document.clone())?;
        let newest = member.versions(service).last();
        if let Some((version, known)) = newest {
            self.check_compatible(service, version, &known, &parsed)?;
        }
        let version = newest.map_or(0, |(version, _)| version) + 1;
        if version > VERSIONS_MAX {
            return Err(Kind::Limit.because(format!("a service has at most {VERSIONS_MAX} versions")));
        }
        let digest = digest.as_bytes().to_vec().into();
        let record = wire::ContractRecord { service: service.to_string(), version, digest };
        Ok(vec![Event::ContractAdded(wire::ContractAdded { contract: Some(record), document })])
    }

    fn check_compatible(
        &self,
        service: &ServiceId,
        version: u32,
        known: &ContractDigest,
        new: &ContractDocument,
    ) -> Result<(), Refusal> {
        let old = self.documents.get(known).cloned().unwrap_or_default();
        let old = parse(service, old)?;
        compatible(&old, new).map_err(|broken| {
            let shown = broken.iter().take(CHANGES_SHOWN_MAX).cloned().collect::<Vec<_>>().join("; ");
            let rest = broken.len().saturating_sub(CHANGES_SHOWN_MAX);
            let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
            Kind::Incompatible
                .because(format!("{service} breaks what version {version} promises: {shown}{more}"))
        })
    }

    pub(super) fn contract_added(&mut self, event: wire::ContractAdded) -> Result<(), String> {
        let record = event.contract.ok_or("the event names no contract")?;
        let service: ServiceId = record.service.parse().map_err(|error| format!("{error}"))?;
        let digest = ContractDigest::of(&event.document);
        if digest.as_bytes().as_slice() != record.digest {
            return Err(format!("the document of {service} has another digest than its record"));
        }
        let member = self.stored_member(&service.member())?;
        if member.contracts.insert((service, record.version), digest).is_some() {
            return Err(format!("version {} of {} was added twice", record.version, record.service));
        }
        self.documents.insert(digest, event.document);
        Ok(())
    }

    /// The version of a service's contract that has this document.
    #[must_use]
    pub fn contract_version(&self, service: &ServiceId, document: &ContractDigest) -> Option<u32> {
        let mut versions = self.members.get(&service.member())?.versions(service);
        versions.find(|(_, digest)| digest == document).map(|(version, _)| version)
    }

    /// Document of a contract.
    #[must_use]
    pub fn document(&self, digest: &ContractDigest) -> Option<&Bytes> {
        self.documents.get(digest)
    }
}

impl Member {
    /// Version and document, oldest first.
    fn versions(&self, service: &ServiceId) -> impl Iterator<Item = (u32, ContractDigest)> {
        let range = (service.clone(), 0)..=(service.clone(), u32::MAX);
        self.contracts.range(range).map(|((_, version), digest)| (*version, *digest))
    }
}

fn parse(service: &ServiceId, document: Bytes) -> Result<ContractDocument, Refusal> {
    let refuse = |error| Kind::Contract.because(format!("contract of {service}: {error}"));
    let parsed = ContractDocument::parse(document).map_err(refuse)?;
    let name = service.code();
    if parsed.service(&name).is_none() {
        let found = parsed.services().collect::<Vec<_>>().join(", ");
        let message = format!("contract of {service}: the document has no service {name}, only {found}");
        return Err(Kind::Contract.because(message));
    }
    Ok(parsed)
}

/// How many broken promises a refusal names.
const CHANGES_SHOWN_MAX: usize = 10;
