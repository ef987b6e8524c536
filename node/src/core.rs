//! What every exchange needs on this node: its ledgers, its clock, its view of the world.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use peabiru_ledger::ledger::{Append, Foreign, Ledger, LedgerError};
use peabiru_ledger::payload::{Direction, Payload, SealedPayload};
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::entry::{Body, Common, Entry, ExchangeId, GlobalconfRef, Notice};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::hash::{ContentRoot, Digest};
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::origin::Origin;
use peabiru_proto::path::is_rest;
use peabiru_proto::policy::{Grant, GrantState};
use peabiru_proto::random::Random;
use peabiru_proto::time::{Clock, Timestamp};
use peabiru_proto::wire;
use prost::Message as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exchange::Arrived;
use crate::flow::BATCHES_AHEAD_MAX;
use crate::globalconf::Globalconf;
use crate::guard::Guard;
use crate::guard::answer::{self, CheckedAnswer, Outstanding};
use crate::guard::grant::{self, Grants, Revised};
use crate::guard::refusal::Refusal;
use crate::live::session::{STREAM_IDLE_MAX, Sessions};
use crate::news::News;
use crate::spool::Spool;

/// NOTICE code of a grant's revision; its payload is the grant.
pub const NOTICE_GRANT: &str = "grant.set";

/// The node's own state, shared by both halves of an exchange.
pub struct Core {
    /// Who this node is.
    pub own: NodeId,
    /// Machine's or a test's.
    pub clock: Arc<dyn Clock>,
    /// For exchange ids, keys and salts.
    pub random: Arc<dyn Random>,
    /// For large bodies.
    pub spool: Spool,
    /// What every node knows.
    pub globalconf: Globalconf,
    /// One ledger for each hosted member.
    pub ledgers: HashMap<MemberId, Ledger>,
    /// Checks and replay window.
    pub guard: Guard,
    /// What the hosted members allow.
    pub grants: ArcSwap<Grants>,
    /// What peers showed of newer global configurations.
    pub news: News,
    /// Turns of batches that are ahead of others of their stream.
    pub(crate) batches_ahead: Arc<Semaphore>,
    /// Streams that go on.
    pub(crate) sessions: Arc<Sessions>,
    /// Tells streams, which go on for long, that the node stops.
    pub(crate) stopping: CancellationToken,
    /// One revision at a time.
    grant_turn: tokio::sync::Mutex<()>,
}

impl Core {
    /// Puts together what was opened and recovered.
    #[must_use]
    pub fn new(
        own: NodeId,
        clock: Arc<dyn Clock>,
        spool: Spool,
        globalconf: Globalconf,
        ledgers: HashMap<MemberId, Ledger>,
        guard: Guard,
        grants: Grants,
    ) -> Self {
        Self {
            own,
            clock,
            random: Arc::clone(&spool.random),
            spool,
            globalconf,
            ledgers,
            guard,
            grants: ArcSwap::from_pointee(grants),
            news: News::default(),
            batches_ahead: Arc::new(Semaphore::new(BATCHES_AHEAD_MAX)),
            sessions: Sessions::new(STREAM_IDLE_MAX),
            stopping: CancellationToken::new(),
            grant_turn: tokio::sync::Mutex::new(()),
        }
    }

    /// The global configuration, if there is one and it has not expired.
    ///
    /// # Errors
    /// `node.no_globalconf` before the first, `globalconf.expired` after the last.
    pub fn conf(&self, place: Place) -> Result<Arc<GlobalConfiguration>, Fault> {
        let Some(conf) = self.globalconf.newest() else {
            return Err(Fault::new(
                FaultCode::NodeNoGlobalconf,
                place,
                "this node has no global configuration yet",
            ));
        };
        let now = self.clock.now();
        if now >= conf.expires_at() {
            let message =
                format!("version {} expired at {}, and it is {now}", conf.version(), conf.expires_at());
            return Err(Fault::new(FaultCode::GlobalconfExpired, place, message));
        }
        Ok(conf)
    }

    /// A head of a peer was verified: it may be the first to say that there is a newer global configuration.
    pub fn saw(&self, peer: &NodeId, entry: &Entry) {
        self.shows(peer, entry.common().globalconf.map_or(0, |shown| shown.version));
    }

    /// A peer has this version of the global configuration.
    pub fn shows(&self, peer: &NodeId, globalconf_version: u64) {
        if globalconf_version > self.globalconf.version() {
            self.news.note(peer, globalconf_version, Instant::now());
        }
    }

    /// The ledger of a hosted member.
    #[must_use]
    pub fn ledger(&self, member: &MemberId) -> Option<&Ledger> {
        self.ledgers.get(member)
    }

    /// The ledger with this origin.
    #[must_use]
    pub fn ledger_by_origin(&self, origin: &Origin) -> Option<&Ledger> {
        self.ledgers.values().find(|ledger| ledger.origin() == origin)
    }

    /// Whether an answer belongs to a request of ours: a large body is read only if everything else holds.
    ///
    /// # Errors
    /// Why it is not delivered.
    pub(crate) async fn check_answer(
        &self,
        arrived: &mut Arrived,
        outstanding: &Outstanding,
        conf: &GlobalConfiguration,
    ) -> Result<CheckedAnswer, Fault> {
        let fault = |refusal: Refusal| refusal.fault(Place::ConsumerNode, outstanding.exchange);
        if arrived.payload.file().is_some() {
            answer::check_head(arrived, outstanding, conf).map_err(fault)?;
            arrived.opened = self.spool.open(&arrived.entry, &arrived.payload).await;
        }
        let checked = answer::check(arrived, outstanding, conf).map_err(fault)?;
        self.saw(&arrived.peer, &arrived.entry);
        Ok(checked)
    }

    /// An entry of `ledger` about `exchange`, made now.
    ///
    /// # Errors
    /// `internal` if a value breaks a rule of entries that should have been checked before.
    pub fn entry(
        &self,
        ledger: &Ledger,
        exchange: ExchangeId,
        conf: Option<&GlobalConfiguration>,
        body: &Body,
    ) -> Result<Entry, Fault> {
        self.entry_made_at(ledger, exchange, conf, body, self.clock.now())
    }

    /// An entry whose body holds a time that depends on its own.
    ///
    /// # Errors
    /// As `entry`.
    pub fn entry_made_at(
        &self,
        ledger: &Ledger,
        exchange: ExchangeId,
        conf: Option<&GlobalConfiguration>,
        body: &Body,
        created_at: Timestamp,
    ) -> Result<Entry, Fault> {
        let globalconf = conf.map(|conf| GlobalconfRef { version: conf.version(), digest: conf.digest() });
        let common = Common { exchange, created_at, node: Some(self.own.clone()), globalconf };
        Entry::encode(ledger.origin(), &common, body).map_err(|error| internal(&error.to_string()))
    }

    /// Encrypts a payload under a key of its own.
    ///
    /// # Errors
    /// `payload.too_large` if context or body exceed their limits.
    pub fn seal_payload(
        &self,
        exchange: &ExchangeId,
        direction: Direction,
        context: &wire::Context,
        body: &[u8],
        place: Place,
    ) -> Result<(Arc<Payload>, ContentRoot), Fault> {
        let (payload, root) =
            SealedPayload::seal(&*self.random, exchange, direction, &context.encode_to_vec(), body)
                .map_err(|error| Fault::new(FaultCode::PayloadTooLarge, place, error.to_string()))?;
        Ok((Arc::new(Payload::Sealed(payload)), root))
    }

    /// Gives or changes a grant: checks it against the contract, seals the next revision, then puts it in force. One that
    /// has a revision was given, and checked, at another node of the member: it is taken as it is, unless what this node
    /// holds counts more. If it has expired, or fits no contract any more, it allows nothing, and what it replaces neither.
    ///
    /// # Errors
    /// What is wrong with it and what to do, or that the ledger does not take it.
    pub async fn put_grant(&self, mut grant: Grant) -> Result<Grant, Fault> {
        let member = grant.service.member();
        let _turn = self.grant_turn.lock().await;
        let held = self.grants.load().find(&member, &grant.id).cloned();
        let refuse = |message| Fault::new(FaultCode::RequestInvalid, Place::ProviderNode, message);
        match (grant::revise(held.as_ref(), &grant).map_err(refuse)?, held) {
            (Revised::Held, held) => return Ok(held.unwrap_or(grant)),
            (Revised::Next(revision), _) => {
                grant.revision = revision;
                if grant.state == GrantState::Active {
                    check_grant(&grant, &*self.conf(Place::ProviderNode)?, self.clock.now())?;
                }
            }
            (Revised::Shared, _) => {}
        }
        let bytes = Bytes::from(grant.to_proto().encode_to_vec());
        self.notice(&member, NOTICE_GRANT, &grant.id, &bytes).await?;
        let digest = Digest::of(&bytes);
        let mut in_force = false;
        self.grants.rcu(|grants| {
            let mut next = Grants::clone(grants);
            in_force = next.apply(grant.clone(), digest);
            next
        });
        if in_force {
            Ok(grant)
        } else {
            Err(internal("a revision was sealed that counts less than the one before"))
        }
    }

    /// Seals an administrative fact of a hosted member.
    ///
    /// # Errors
    /// `client.unknown` if the member is not hosted here, else what the ledger says.
    pub async fn notice(
        &self,
        member: &MemberId,
        code: &str,
        subject: &str,
        body: &Bytes,
    ) -> Result<SealedEntry, Fault> {
        let ledger = self.ledger(member).ok_or_else(|| not_hosted(member))?;
        let append = self.notice_append(ledger, code, subject, body)?;
        let sealed =
            ledger.append(vec![append]).await.map_err(|error| ledger_fault(&error, Place::ProviderNode))?;
        sealed.into_iter().next().ok_or_else(|| internal("the ledger answered without an entry"))
    }

    /// A NOTICE ready to be appended.
    ///
    /// # Errors
    /// `payload.too_large`.
    pub fn notice_append(
        &self,
        ledger: &Ledger,
        code: &str,
        subject: &str,
        body: &Bytes,
    ) -> Result<Append, Fault> {
        let exchange = ExchangeId::new(&*self.random);
        let context = wire::Context::default();
        let (payload, content_root) =
            self.seal_payload(&exchange, Direction::Request, &context, body, Place::ProviderNode)?;
        let notice = Notice {
            code: code.to_owned(),
            subject: subject.to_owned(),
            content_root,
            body_bytes: body.len() as u64,
        };
        let entry =
            self.entry(ledger, exchange, self.globalconf.newest().as_deref(), &Body::Notice(notice))?;
        Ok(Append { entry, payload: Some(payload), foreign: None })
    }
}

/// What our ledger keeps of a message that arrived: the peer's entry with its seal, and the ciphertext as it came.
#[must_use]
pub fn received_append(entry: Entry, arrived: &Arrived) -> Append {
    let foreign = Foreign {
        entry: arrived.entry.clone(),
        position: arrived.position,
        proof: arrived.proof.clone(),
        checkpoint: arrived.checkpoint.clone(),
    };
    Append {
        entry,
        payload: Some(Arc::new(Payload::Sealed(arrived.payload.clone()))),
        foreign: Some(foreign),
    }
}

/// What a caller sees of a ledger that does not take an entry.
#[must_use]
pub fn ledger_fault(error: &LedgerError, place: Place) -> Fault {
    Fault::new(error.fault_code(), place, error.to_string())
}

/// The service did what it was asked, and then the ledger did not take the answer. Every other fault would say that
/// nothing was done, and invite to ask again.
#[must_use]
pub fn done_and_unsealed(fault: &Fault, place: Place) -> Fault {
    let message = format!("the service was invoked, and its answer could not be kept: {}", fault.message);
    Fault::new(FaultCode::ExchangeOutcomeUnknown, place, message)
}

/// The service was asked for something with side effects and gave no answer. Only a connection that was never made
/// proves that it did nothing; what a peer did wrong in the middle of a stream does not say that, and keeps its code.
#[must_use]
pub fn asked_and_unanswered(fault: Fault) -> Fault {
    if matches!(fault.code, FaultCode::ServiceUnreachable | FaultCode::StreamBroken | FaultCode::StreamFlood)
    {
        return fault;
    }
    let message = format!("the service was asked, and what it did is not known: {}", fault.message);
    Fault { code: FaultCode::ExchangeOutcomeUnknown, message, ..fault }
}

/// A member whose ledger is elsewhere.
#[must_use]
pub fn not_hosted(member: &MemberId) -> Fault {
    Fault::new(
        FaultCode::ClientUnknown,
        Place::ProviderNode,
        format!("this node keeps no ledger of {member}"),
    )
}

/// A broken invariant of ours that must not take the node down.
#[must_use]
pub fn internal(message: &str) -> Fault {
    Fault::new(FaultCode::Internal, Place::ProviderNode, message)
}

fn check_grant(grant: &Grant, conf: &GlobalConfiguration, now: Timestamp) -> Result<(), Fault> {
    let refuse = |code, message: String| Err(Fault::new(code, Place::ProviderNode, message));
    let Some(contract) = conf.contract(&grant.service) else {
        return refuse(FaultCode::ServiceUnknown, format!("no contract of {} is registered", grant.service));
    };
    if !conf.subsystem_registered(&grant.consumer) {
        return refuse(FaultCode::ClientUnknown, format!("{} is not registered", grant.consumer));
    }
    if grant.expires_at <= now {
        return refuse(
            FaultCode::AccessGrantExpired,
            format!("the end {} is past, it is {now}", grant.expires_at),
        );
    }
    let Some(facts) = contract.facts() else {
        return refuse(
            FaultCode::ContractMismatch,
            format!("the contract of {} does not describe it", grant.service),
        );
    };
    // Patterns of verbs and paths may be wider or narrower than the contract's templates.
    let named = |method: &&String| facts.is_rest() && is_rest(method) || facts.method(method).is_some();
    if let Some(unknown) = grant.methods.iter().find(|method| !named(method)) {
        return refuse(FaultCode::MethodUnknown, format!("the contract has no method {unknown}"));
    }
    let known = |purpose| facts.methods().any(|method| method.purposes.contains(purpose));
    match grant.purposes.iter().find(|purpose| !known(purpose)) {
        Some(unknown) => {
            refuse(FaultCode::PurposeNotAllowed, format!("the contract does not name the purpose {unknown}"))
        }
        None if grant.purposes.is_empty() => {
            refuse(FaultCode::PurposeMissing, "a grant names at least one purpose".to_owned())
        }
        None => Ok(()),
    }
}
