//! A REQUEST in the making: what is asked of whom, sealed with its payload.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peabiru_ledger::ledger::{Append, Ledger};
use peabiru_ledger::payload::{Direction, Payload};
use peabiru_ledger::seal::SealedEntry;
use peabiru_proto::contract::{MethodFacts, Streaming};
use peabiru_proto::entry::{Body, Content, Entry, ExchangeId, Request};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::globalconf::{Contract, GlobalConfiguration};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::id::NodeId;
use peabiru_proto::policy::Purpose;
use tokio::sync::mpsc;

use crate::core::{Core, internal, ledger_fault};
use crate::exchange::{Call, Pieces};
use crate::grpc::framing::check_count;
use crate::spool::Holder;
use crate::stage::Stage;

/// What is about to be asked, checked against the contract.
#[derive(Clone)]
pub(crate) struct Planned {
    pub(crate) addressee: NodeId,
    /// The REQUEST that another node did not answer.
    pub(crate) retry_of: Option<LeafHash>,
    pub(crate) purpose: Purpose,
    pub(crate) facts: MethodFacts,
    pub(crate) expires_in: Duration,
}

/// A call with everything that its REQUEST says.
pub(crate) struct Asking<'a> {
    pub(crate) call: &'a Call,
    pub(crate) planned: &'a Planned,
    pub(crate) contract: &'a Contract,
    pub(crate) exchange: ExchangeId,
    pub(crate) ledger: &'a Ledger,
    pub(crate) conf: &'a GlobalConfiguration,
    pub(crate) core: &'a Core,
}

impl Asking<'_> {
    /// Whoever may send many messages may send none.
    pub(crate) fn check_count(&self, messages: u64) -> Result<(), Fault> {
        match self.planned.facts.streaming {
            Streaming::Unary | Streaming::Server => check_count(messages, Place::ConsumerNode),
            Streaming::Client | Streaming::Both => Ok(()),
        }
    }

    pub(crate) async fn seal(&self, body: &Bytes) -> Result<(SealedEntry, Arc<Payload>), Fault> {
        let (payload, root) = self.core.seal_payload(
            &self.exchange,
            Direction::Request,
            &self.call.context,
            body,
            Place::ConsumerNode,
        )?;
        self.append(payload, Content::Whole { root, body_bytes: body.len() as u64 }).await
    }

    pub(crate) async fn seal_large(
        &self,
        pieces: Pieces<u64>,
        chunks: mpsc::Sender<Bytes>,
    ) -> Result<(SealedEntry, Arc<Payload>), Fault> {
        let context = |_: &mut u64| self.call.context.clone();
        let holder = Holder::Caller(self.call.caller.clone());
        let spool = &self.core.spool;
        let spooled =
            spool.take(&holder, &self.exchange, Direction::Request, pieces, chunks, context).await?;
        self.check_count(spooled.end)?;
        let content = Content::Whole { root: spooled.root, body_bytes: spooled.body_bytes };
        self.append(spooled.payload, content).await
    }

    async fn append(
        &self,
        payload: Arc<Payload>,
        content: Content,
    ) -> Result<(SealedEntry, Arc<Payload>), Fault> {
        let append =
            Append { entry: self.entry(content)?, payload: Some(Arc::clone(&payload)), foreign: None };
        let committed = Stage::Commit.start();
        let appended = self.ledger.append(vec![append]).await;
        let sealed = appended.map_err(|error| ledger_fault(&error, Place::ConsumerNode))?;
        committed.end();
        let sealed =
            sealed.into_iter().next().ok_or_else(|| internal("the ledger answered without an entry"))?;
        Ok((sealed, payload))
    }

    pub(crate) fn entry(&self, content: Content) -> Result<Entry, Fault> {
        let now = self.core.clock.now();
        let request = Request {
            expires_at: now.plus(self.planned.expires_in),
            consumer: self.call.caller.clone(),
            service: self.call.service.clone(),
            method: self.call.method.clone(),
            addressee: self.planned.addressee.clone(),
            contract_version: self.contract.version,
            contract_digest: self.contract.digest,
            side_effects: self.planned.facts.side_effects,
            purpose: self.planned.purpose.clone(),
            consent_commitment: None,
            content,
            retry_of: self.planned.retry_of,
        };
        self.core.entry_made_at(self.ledger, self.exchange, Some(self.conf), &Body::Request(request), now)
    }
}

/// The caller's purpose, if the method may be asked for it.
pub(crate) fn choose_purpose(call: &Call, facts: &MethodFacts) -> Result<Purpose, Fault> {
    let names = || facts.purposes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let Some(purpose) = &call.purpose else {
        let message = format!("{} needs a purpose, one of: {}", call.method, names());
        return Err(Fault::new(FaultCode::PurposeMissing, Place::ConsumerNode, message));
    };
    if facts.purposes.contains(purpose) {
        return Ok(purpose.clone());
    }
    let message = format!("{} may be asked for: {}; not for {purpose}", call.method, names());
    Err(Fault::new(FaultCode::PurposeNotAllowed, Place::ConsumerNode, message))
}
