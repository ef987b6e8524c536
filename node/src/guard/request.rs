//! A request on its way through the guard: `Received` → `Verified` → `Authorised`, cheap checks before dear ones.

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use peabiru_ledger::payload::{Direction, OpenBody, OpenPayload, PayloadError, SealedPayload};
use peabiru_ledger::seal::Seal;
use peabiru_proto::context;
use peabiru_proto::contract::{Delivery, METADATA, MethodFacts, ServiceFacts};
use peabiru_proto::entry::{Body, Entry, GrantRef, Received as ReceivedHead, Request, SideEffects, Verdict};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::ContentRoot;
use peabiru_proto::id::NodeId;
use peabiru_proto::limits::CLOCK_SKEW;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::Context;

use super::Guard;
use super::grant::{Asked, Grants};
use super::refusal::Refusal;
use super::replay::{ReplayWindow, Seen};
use crate::exchange::{Arrived, Invocation};
use crate::rest::target::Target;

/// A message of which only the checkpoint is known to hold.
#[derive(Debug)]
pub struct Received(Box<Arrived>);

/// Its sender, freshness, seal and payload hold. From here on a refusal is sealed.
#[derive(Debug)]
pub struct Verified {
    arrived: Box<Arrived>,
    request: Request,
    context: Context,
    body: OpenBody,
}

/// Contract and grant allow it, and no copy came before. The dispatcher takes nothing less.
#[derive(Debug)]
pub struct Authorised {
    verified: Verified,
    /// None for a metadata service: those who are registered may ask it.
    grant: Option<GrantRef>,
    allowed: Allowed,
}

/// What the contract says of the call.
#[derive(Debug)]
struct Allowed {
    facts: MethodFacts,
    target: Option<Target>,
}

/// Why a verified message is not answered.
#[derive(Debug)]
pub enum Denied {
    /// A copy, or none can be told from a copy: what is not remembered must not grow the ledger.
    Unsealed(Refusal),
    /// What must be sealed.
    Sealed(Box<Refused>),
}

/// A refusal after a valid seal, with what must be sealed about it.
#[derive(Debug)]
pub struct Refused {
    /// The message.
    pub verified: Verified,
    /// Why.
    pub refusal: Refusal,
}

impl Received {
    /// A message as the link hands it over.
    #[must_use]
    pub fn new(arrived: Box<Arrived>) -> Self {
        Self(arrived)
    }

    /// Who sent it over TLS.
    #[must_use]
    pub fn peer(&self) -> &NodeId {
        &self.0.peer
    }

    /// The entry.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.0.entry
    }

    /// The payload, if its body is in a file: to be opened after `check` and before `verify`.
    #[must_use]
    pub fn large(&self) -> Option<&SealedPayload> {
        self.0.payload.file().map(|_| &self.0.payload)
    }

    /// It was read whole.
    pub fn set_opened(&mut self, opened: Option<Result<OpenPayload, PayloadError>>) {
        self.0.opened = opened;
    }

    /// Shape → addressee and identity → freshness → replay look-up → seal: all but the payload.
    ///
    /// # Errors
    /// The first check that fails. Nothing was noted: the caller counts it and answers without a seal.
    pub fn check(&self, guard: &Guard, conf: &GlobalConfiguration, now: Timestamp) -> Result<(), Refusal> {
        self.head(guard, conf, now).map(drop)
    }

    /// As `check`, then the payload.
    ///
    /// # Errors
    /// As `check`.
    pub fn verify(
        self,
        guard: &Guard,
        conf: &GlobalConfiguration,
        now: Timestamp,
    ) -> Result<Verified, Refusal> {
        let (request, root, body_bytes) = self.head(guard, conf, now)?;
        let request = request.clone();
        let (context, body) = open_payload(&self.0, Direction::Request, &root, body_bytes)?;
        Ok(Verified { arrived: self.0, request, context, body })
    }

    fn head(
        &self,
        guard: &Guard,
        conf: &GlobalConfiguration,
        now: Timestamp,
    ) -> Result<(&Request, ContentRoot, u64), Refusal> {
        let entry = &self.0.entry;
        let Body::Request(request) = entry.body() else {
            return Err(Refusal::Shape("an exchange starts with a REQUEST entry"));
        };
        let (root, body_bytes) = request.content.committed();
        check_parties(&self.0.peer, entry, request, guard, conf)?;
        check_freshness(entry.common().created_at, request.expires_at, now)?;
        let exchange = entry.exchange();
        if guard.replay().contains(entry.origin(), &exchange) {
            return Err(Refusal::Replayed { exchange });
        }
        check_seal(&self.0)?;
        Ok((request, root, body_bytes))
    }
}

impl Verified {
    /// Contract → grant and policy → replay insert-if-absent, which decides.
    ///
    /// # Errors
    /// `Sealed` with the message itself. A copy that lost the race is refused like any other copy: without a seal.
    pub fn authorise(
        self,
        guard: &Guard,
        conf: &GlobalConfiguration,
        grants: &Grants,
        now: Timestamp,
    ) -> Result<Authorised, Denied> {
        let allowed = check_contract(&self.request, &self.context, conf).and_then(|allowed| {
            // X-Road skips the access check for these, and so do we: what they say is no secret among members.
            let target = allowed.target.as_ref();
            let grant = match is_metadata(&self.request) {
                true => None,
                false => Some(grants.allow(asked(&self.request, target), now)?),
            };
            Ok((allowed, grant))
        });
        // Refused messages are remembered too: a copy of one must not grow the ledger again.
        self.note(&mut guard.replay(), now).map_err(Denied::Unsealed)?;
        match allowed {
            Ok((allowed, grant)) => Ok(Authorised { verified: self, grant, allowed }),
            Err(refusal) => Err(Denied::Sealed(Box::new(Refused { verified: self, refusal }))),
        }
    }

    /// The sealed facts of the request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The message as it came.
    #[must_use]
    pub fn arrived(&self) -> &Arrived {
        &self.arrived
    }

    /// What our RECEIVED entry says of it.
    #[must_use]
    pub fn received_head(&self, verdict: Verdict, grant: Option<GrantRef>) -> ReceivedHead {
        ReceivedHead {
            peer_origin: self.arrived.entry.origin().clone(),
            peer_index: self.arrived.position.index(),
            peer_leaf: self.arrived.entry.leaf_hash(),
            peer_checkpoint: self.arrived.checkpoint.note_hash(),
            expires_at: Some(self.request.expires_at),
            received_at: self.arrived.received_at,
            verdict,
            grant,
        }
    }

    /// How long the sender waits, by its own clock: the two clocks may differ by `CLOCK_SKEW`.
    fn allowed(&self) -> Duration {
        self.request.expires_at.since(self.arrived.entry.common().created_at)
    }

    fn note(&self, replay: &mut ReplayWindow, now: Timestamp) -> Result<(), Refusal> {
        let entry = &self.arrived.entry;
        match replay.insert(entry.origin(), &entry.exchange(), self.request.expires_at, now) {
            Seen::New => Ok(()),
            Seen::Before => Err(Refusal::Replayed { exchange: entry.exchange() }),
            Seen::Full => Err(Refusal::ReplayWindowFull),
        }
    }
}

impl Authorised {
    /// The message.
    #[must_use]
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    /// Refuses it after all.
    #[must_use]
    pub fn refuse(self, refusal: Refusal) -> Refused {
        Refused { verified: self.verified, refusal }
    }

    /// The grant that allows it, if it needs one.
    #[must_use]
    pub fn grant(&self) -> Option<&GrantRef> {
        self.grant.as_ref()
    }

    /// Whether RECEIVED must be durable before the service is invoked.
    #[must_use]
    pub fn side_effects(&self) -> SideEffects {
        self.allowed.facts.side_effects
    }

    /// Lets go of the frame that it came in: a stream goes on for long, and needs neither payload nor fields that mean nothing.
    pub fn shed(&mut self) {
        let arrived = &mut self.verified.arrived;
        arrived.payload = SealedPayload::from_parts(arrived.payload.secrets().clone(), Vec::new());
        // Bytes that were read before are read again.
        if let Ok(entry) = Entry::decode(Bytes::copy_from_slice(arrived.entry.bytes())) {
            arrived.entry = entry;
        }
        arrived.memory = None;
    }

    /// How long a stream may live, if caller or contract say.
    #[must_use]
    pub fn life(&self) -> Option<Duration> {
        let timeout_ms = self.verified.context.timeout_ms;
        let asked = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms));
        [asked, self.allowed.facts.timeout].into_iter().flatten().min()
    }

    /// Whether a stream that was let in would be let in now: parties, contract and grant.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check_again(
        &self,
        guard: &Guard,
        conf: &GlobalConfiguration,
        grants: &Grants,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Verified { arrived, request, .. } = &self.verified;
        check_parties(&arrived.peer, &arrived.entry, request, guard, conf)?;
        check_method(request, conf)?;
        match self.grant {
            Some(_) => grants.allow(asked(request, None), now).map(drop),
            None => Ok(()),
        }
    }

    /// What the dispatcher gets: the context and body leave the message, which is kept as it came.
    #[must_use]
    pub fn invocation(&mut self, now: Timestamp, service_timeout: Duration) -> Invocation {
        let request = &self.verified.request;
        let timeout = self.allowed.facts.timeout.unwrap_or(service_timeout);
        let deadline = self.verified.allowed().min(timeout);
        let waited = now.since(self.verified.arrived.received_at);
        Invocation {
            exchange: self.verified.arrived.entry.exchange(),
            service: request.service.clone(),
            method: request.method.clone(),
            target: self.allowed.target.take(),
            consumer: request.consumer.clone(),
            purpose: request.purpose.clone(),
            context: std::mem::take(&mut self.verified.context),
            streaming: self.allowed.facts.streaming,
            body: std::mem::replace(&mut self.verified.body, OpenBody::Whole(Bytes::new())),
            deadline: deadline.saturating_sub(waited),
        }
    }
}

/// Whether a message that is only announced would be answered: what can be known before it came. Everything is checked
/// again when it has.
///
/// # Errors
/// The first check that fails.
pub fn check_preview(
    peer: &NodeId,
    preview: &Entry,
    guard: &Guard,
    conf: &GlobalConfiguration,
    grants: &Grants,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Body::Request(request) = preview.body() else {
        return Err(Refusal::Shape("an exchange starts with a REQUEST entry"));
    };
    check_parties(peer, preview, request, guard, conf)?;
    let exchange = preview.exchange();
    if guard.replay().contains(preview.origin(), &exchange) {
        return Err(Refusal::Replayed { exchange });
    }
    check_freshness(preview.common().created_at, request.expires_at, now)?;
    let (facts, _) = check_method(request, conf)?;
    if is_metadata(request) {
        return Err(Refusal::Shape("a metadata service takes no large body"));
    }
    if !facts.is_rest() {
        return grants.allow(asked(request, None), now).map(drop);
    }
    // The path comes with the context: that some grant is for this purpose is all that can be known.
    let mut in_force = grants.in_force(&request.consumer, &request.service, now);
    if in_force.any(|grant| grant.purposes.contains(&request.purpose)) {
        return Ok(());
    }
    Err(Refusal::NoGrant {
        consumer: request.consumer.clone(),
        service: request.service.clone(),
        method: request.method.clone(),
    })
}

fn asked<'a>(request: &'a Request, target: Option<&'a Target>) -> Asked<'a> {
    Asked {
        consumer: &request.consumer,
        service: &request.service,
        method: &request.method,
        target,
        purpose: &request.purpose,
    }
}

fn is_metadata(request: &Request) -> bool {
    METADATA.contains(&request.service.code().as_str())
}

fn check_parties(
    peer: &NodeId,
    entry: &Entry,
    request: &Request,
    guard: &Guard,
    conf: &GlobalConfiguration,
) -> Result<(), Refusal> {
    if request.addressee != *guard.own() {
        return Err(Refusal::Addressee { addressee: request.addressee.clone(), own: guard.own().clone() });
    }
    let origin = entry.origin();
    let not_its_ledger = || Refusal::NotItsLedger { peer: peer.clone(), origin: origin.clone() };
    let ledger = conf.ledger(origin).filter(|ledger| ledger.node == *peer).ok_or_else(not_its_ledger)?;
    if entry.common().node.as_ref() != Some(peer) {
        return Err(not_its_ledger());
    }
    if request.consumer.member() != ledger.member || !conf.subsystem_registered(&request.consumer) {
        return Err(Refusal::ConsumerUnknown { consumer: request.consumer.clone(), origin: origin.clone() });
    }
    if conf.ledger_of(&request.service.member(), guard.own()).is_none() {
        return Err(Refusal::ServiceElsewhere { service: request.service.clone() });
    }
    Ok(())
}

/// The clocks of two nodes may differ by `CLOCK_SKEW`.
pub(super) fn check_not_future(created_at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if now.plus(CLOCK_SKEW) < created_at {
        return Err(Refusal::FromFuture { created_at, now });
    }
    Ok(())
}

fn check_freshness(created_at: Timestamp, expires_at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    check_not_future(created_at, now)?;
    if now > expires_at.plus(CLOCK_SKEW) {
        return Err(Refusal::Expired { expires_at, now });
    }
    Ok(())
}

/// The checkpoint's signature was verified when it came over the control stream, once for all messages it seals.
pub(super) fn check_seal(arrived: &Arrived) -> Result<(), Refusal> {
    Seal { checkpoint: arrived.checkpoint.clone(), position: arrived.position, proof: arrived.proof.clone() }
        .includes(&arrived.entry.leaf_hash())
        .map_err(|_| Refusal::Seal)
}

fn check_contract(
    request: &Request,
    context: &Context,
    conf: &GlobalConfiguration,
) -> Result<Allowed, Refusal> {
    let (facts, method) = check_method(request, conf)?;
    let target = if facts.is_rest() { Some(check_target(request, context, facts)?) } else { None };
    Ok(Allowed { facts: method.clone(), target })
}

fn check_method<'a>(
    request: &Request,
    conf: &'a GlobalConfiguration,
) -> Result<(&'a ServiceFacts, &'a MethodFacts), Refusal> {
    let mismatch = || Refusal::Contract { service: request.service.clone(), cited: request.contract_version };
    let contract = conf.contract_version(&request.service, request.contract_version).ok_or_else(mismatch)?;
    let newest = conf.contract(&request.service).map_or(0, |contract| contract.version);
    // The one before the newest is taken too: snapshots reach nodes one after another.
    if contract.digest != request.contract_digest || contract.version + 1 < newest {
        return Err(mismatch());
    }
    let facts = contract.facts().ok_or_else(mismatch)?;
    let method = facts.method(&request.method).ok_or_else(|| Refusal::MethodUnknown {
        service: request.service.clone(),
        method: request.method.clone(),
    })?;
    if method.side_effects != request.side_effects {
        return Err(Refusal::SideEffects { method: request.method.clone() });
    }
    let expected = match (method.delivery, request.content.is_stream()) {
        (Delivery::Whole, false) | (Delivery::Live, true) => None,
        (Delivery::Whole, true) => Some("whole"),
        (Delivery::Live, false) => Some("batch by batch"),
    };
    if let Some(expected) = expected {
        return Err(Refusal::Delivery { method: request.method.clone(), expected });
    }
    if !method.purposes.contains(&request.purpose) {
        return Err(Refusal::PurposeNotInContract {
            purpose: request.purpose.clone(),
            method: request.method.clone(),
        });
    }
    Ok((facts, method))
}

/// The consumer's node is not trusted: verb and path of the context are judged anew, must be of the service that the
/// head names, and must mean the template that it names.
fn check_target(request: &Request, context: &Context, facts: &ServiceFacts) -> Result<Target, Refusal> {
    let target =
        Target::parse(&context.verb, &context.path).map_err(|error| Refusal::Target(error.to_string()))?;
    if target.service != request.service {
        return Err(Refusal::Target("the path is of another service".to_owned()));
    }
    match facts.operation(target.verb, &target.path) {
        Some(operation) if operation.name == request.method => Ok(target),
        Some(_) | None => Err(Refusal::Target("the path means another operation".to_owned())),
    }
}

/// Context and body of a payload, checked against the head. A large one was opened before.
pub(super) fn open_payload(
    arrived: &Arrived,
    direction: Direction,
    root: &ContentRoot,
    body_bytes: u64,
) -> Result<(Context, OpenBody), Refusal> {
    let OpenPayload { context, body } = opened(arrived, direction, root, body_bytes)?;
    Ok((read_context(context)?, body))
}

/// The payload in clear, checked against the head.
pub(super) fn opened(
    arrived: &Arrived,
    direction: Direction,
    root: &ContentRoot,
    body_bytes: u64,
) -> Result<OpenPayload, Refusal> {
    let opened = match &arrived.opened {
        Some(opened) => opened.clone(),
        None => arrived.payload.open(&arrived.entry.exchange(), direction, root, body_bytes),
    };
    opened.map_err(|_| Refusal::Altered("content root, size or encryption"))
}

/// Chunk 0 of a payload.
pub(super) fn read_context(chunk: Bytes) -> Result<Context, Refusal> {
    context::read(chunk).map_err(Refusal::Shape)
}
