//! Ledgers and their sealing keys. One that was withdrawn is remembered: neither its epoch nor its key comes back.

use bytes::Bytes;
use peabiru_certs::chain;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::origin::{Epoch, Origin};
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{self, KeyPurpose};

use super::certificate::Parsed;
use super::limits::LEDGERS_MAX;
use super::{Event, Kind, Refusal, State};

/// A ledger that was once registered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Registered {
    pub(super) record: wire::LedgerRecord,
    pub(super) standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Valid,
    Withdrawn,
}

impl State {
    pub(super) fn add_ledger(
        &self,
        member: &MemberId,
        node: &NodeId,
        origin: &Origin,
        record: wire::LedgerRecord,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let known = self.known_member(member)?;
        self.known_node(node)?;
        let of_both = known.ledgers.values().filter(|ledger| ledger.record.node == node.as_str());
        let next = of_both.map(|ledger| ledger.record.epoch).max().unwrap_or(0) + 1;
        if record.epoch < next {
            let message = format!("{member} has a ledger at {node} with epoch {} already", record.epoch);
            return Err(Kind::Duplicate.because(message));
        }
        if record.epoch > next {
            let message = format!("the next epoch of {member} at {node} is {next}, not {}", record.epoch);
            return Err(Kind::Epoch.because(message));
        }
        let epoch = Epoch::new(record.epoch).expect("it equals `next`, which is at least 1");
        let expected = Origin::of_ledger(&self.domain, member, node, epoch);
        if *origin != expected {
            let message =
                format!("the ledger of {member} at {node}, epoch {epoch}, is {expected}, not {origin}");
            return Err(Kind::Origin.because(message));
        }
        if known.ledgers.len() >= LEDGERS_MAX {
            return Err(Kind::Limit.because(format!("a member has at most {LEDGERS_MAX} ledgers")));
        }
        self.check_sealing_certificate(origin, &record.sealing_certificate, now)?;
        let event = wire::LedgerAdded { member: member.to_string(), ledger: Some(record) };
        Ok(vec![Event::LedgerAdded(event)])
    }

    fn check_sealing_certificate(
        &self,
        origin: &Origin,
        certificate: &[u8],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let refuse = |error| Kind::Certificate.because(format!("sealing certificate of {origin}: {error}"));
        let trusted = self.trusted(KeyPurpose::Sealing);
        let verified = chain::verify(certificate, &trusted, KeyPurpose::Sealing, now).map_err(refuse)?;
        let key = verified.sealing_key(origin).map_err(refuse)?;
        let in_force = self.registered(origin).is_ok_and(|known| {
            Parsed::from_der(&known.record.sealing_certificate).is_ok_and(|it| it.key() == key)
        });
        match self.sealing_keys.get(key.as_slice()) {
            // The same key for longer.
            Some(_) if in_force => Ok(()),
            Some(other) if other == origin => {
                let message = format!("the key sealed {origin} before and was withdrawn: make a new key");
                Err(Kind::KeyReused.because(message))
            }
            Some(other) => {
                let message = format!("the key of {origin} seals {other} already: make a new key");
                Err(Kind::KeyReused.because(message))
            }
            None => Ok(()),
        }
    }

    pub(super) fn add_ledger_certificate(
        &self,
        origin: &Origin,
        certificate: Bytes,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let known = self.registered(origin)?;
        if known.record.sealing_certificate == certificate
            || known.record.next_sealing_certificate == certificate
        {
            let message = format!("the certificate is registered for {origin} already");
            return Err(Kind::Duplicate.because(message));
        }
        if !known.record.next_sealing_certificate.is_empty() {
            let message =
                format!("{origin} has two sealing certificates: withdraw the one that is used no more");
            return Err(Kind::Limit.because(message));
        }
        self.check_sealing_certificate(origin, &certificate, now)?;
        let (member, origin) = (self.member_of_ledger(origin).map(MemberId::to_string), origin.to_string());
        let event = wire::LedgerCertificateAdded { member: member.unwrap_or_default(), origin, certificate };
        Ok(vec![Event::LedgerCertificateAdded(event)])
    }

    pub(super) fn remove_ledger_certificate(
        &self,
        origin: &Origin,
        sha256: &Digest,
    ) -> Result<Vec<Event>, Refusal> {
        let known = self.registered(origin)?;
        let [first, next] = [&known.record.sealing_certificate, &known.record.next_sealing_certificate];
        if [first, next].into_iter().all(|certificate| Digest::of(certificate) != *sha256) {
            let message = format!("no sealing certificate {sha256} is registered for {origin}");
            return Err(Kind::UnknownCertificate.because(message));
        }
        if next.is_empty() {
            let message =
                format!("it is the only sealing certificate of {origin}: withdraw the ledger instead");
            return Err(Kind::Invalid.because(message));
        }
        let (member, origin) = (self.member_of_ledger(origin).map(MemberId::to_string), origin.to_string());
        let certificate_sha256 = sha256.as_bytes().to_vec().into();
        let member = member.unwrap_or_default();
        let event = wire::LedgerCertificateRemoved { member, origin, certificate_sha256 };
        Ok(vec![Event::LedgerCertificateRemoved(event)])
    }

    /// A ledger that was not withdrawn.
    fn registered(&self, origin: &Origin) -> Result<&Registered, Refusal> {
        let known = self.member_of_ledger(origin).and_then(|member| self.members.get(member));
        known
            .and_then(|member| member.ledgers.get(origin))
            .filter(|ledger| ledger.standing == Standing::Valid)
            .ok_or_else(|| Kind::UnknownLedger.because(format!("no ledger {origin} is registered")))
    }

    pub(super) fn withdraw_ledger(&self, origin: &Origin) -> Result<Vec<Event>, Refusal> {
        let unknown = || Kind::UnknownLedger.because(format!("no ledger {origin} is registered"));
        let member = self.member_of_ledger(origin).ok_or_else(unknown)?;
        let known = self.known_member(member)?.ledgers.get(origin).ok_or_else(unknown)?;
        match known.standing {
            Standing::Withdrawn => Ok(Vec::new()),
            Standing::Valid => {
                let event = wire::LedgerWithdrawn { member: member.to_string(), origin: origin.to_string() };
                Ok(vec![Event::LedgerWithdrawn(event)])
            }
        }
    }

    /// Whom a ledger binds, or bound.
    pub(super) fn member_of_ledger(&self, origin: &Origin) -> Option<&MemberId> {
        let mut members = self.members.iter();
        members.find(|(_, member)| member.ledgers.contains_key(origin)).map(|(id, _)| id)
    }

    pub(super) fn ledger_added(&mut self, event: wire::LedgerAdded) -> Result<(), String> {
        let record = event.ledger.ok_or("the event names no ledger")?;
        let member: MemberId = event.member.parse().map_err(|error| format!("{error}"))?;
        let origin: Origin = record.origin.parse().map_err(|error| format!("{error}"))?;
        let key = Parsed::from_der(&record.sealing_certificate)?.key();
        if self.sealing_keys.insert(key, origin.clone()).is_some() {
            return Err(format!("the key of {origin} was registered before"));
        }
        match self
            .stored_member(&member)?
            .ledgers
            .insert(origin, Registered { record, standing: Standing::Valid })
        {
            None => Ok(()),
            Some(twice) => Err(format!("{} was added twice", twice.record.origin)),
        }
    }

    pub(super) fn ledger_certificate_added(
        &mut self,
        event: wire::LedgerCertificateAdded,
    ) -> Result<(), String> {
        let key = Parsed::from_der(&event.certificate)?.key();
        let record = self.stored_record(&event.member, &event.origin)?;
        if !record.next_sealing_certificate.is_empty() {
            return Err(format!("{} has two sealing certificates already", event.origin));
        }
        record.next_sealing_certificate = event.certificate;
        let origin: Origin = event.origin.parse().map_err(|error| format!("{error}"))?;
        match self.sealing_keys.insert(key, origin.clone()) {
            Some(other) if other != origin => Err(format!("the key of {origin} was registered for {other}")),
            _ => Ok(()),
        }
    }

    pub(super) fn ledger_certificate_removed(
        &mut self,
        event: &wire::LedgerCertificateRemoved,
    ) -> Result<(), String> {
        let sha256 = Digest::from_slice(&event.certificate_sha256).map_err(|error| error.to_string())?;
        let record = self.stored_record(&event.member, &event.origin)?;
        let next = std::mem::take(&mut record.next_sealing_certificate);
        if next.is_empty() {
            return Err(format!("{} had one sealing certificate", event.origin));
        }
        if Digest::of(&record.sealing_certificate) == sha256 {
            record.sealing_certificate = next;
        } else if Digest::of(&next) != sha256 {
            return Err(format!("the certificate {sha256} was not registered for {}", event.origin));
        }
        Ok(())
    }

    fn stored_record(&mut self, member: &str, origin: &str) -> Result<&mut wire::LedgerRecord, String> {
        let member: MemberId = member.parse().map_err(|error| format!("{error}"))?;
        let missing = || format!("{origin} was not added before");
        let parsed: Origin = origin.parse().map_err(|error| format!("{error}"))?;
        let known = self.stored_member(&member)?.ledgers.get_mut(&parsed);
        known.map(|ledger| &mut ledger.record).ok_or_else(missing)
    }

    pub(super) fn ledger_withdrawn(&mut self, event: &wire::LedgerWithdrawn) -> Result<(), String> {
        let member: MemberId = event.member.parse().map_err(|error| format!("{error}"))?;
        let origin: Origin = event.origin.parse().map_err(|error| format!("{error}"))?;
        let ledger = self.stored_member(&member)?.ledgers.get_mut(&origin);
        ledger.ok_or_else(|| format!("{origin} was not added before"))?.standing = Standing::Withdrawn;
        Ok(())
    }
}
