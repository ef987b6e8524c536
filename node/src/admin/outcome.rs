//! What became of an exchange whose caller got no answer: what this node holds of it, else what the provider's node says.

use peabiru_ledger::ledger::Ledger;
use peabiru_proto::entry::{Body, Entry, ExchangeId, Request};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::limits::CLOCK_SKEW;
use peabiru_proto::wire::{ExchangeState, GetExchangeStatusRequest, GetExchangeStatusResponse};

use super::entries::read_fault;
use super::{Admin, blocking, invalid};
use crate::catch_up::{ANSWER_WAIT, CatchUp, answers};
use crate::holdings;
use crate::memory::Unanswered;

/// A state, with the gRPC code of an answer, or the code or reason of everything else.
type Told = (ExchangeState, u32, String);

impl Admin {
    pub(super) async fn outcome(
        &self,
        request: GetExchangeStatusRequest,
    ) -> Result<GetExchangeStatusResponse, Fault> {
        let exchange: ExchangeId =
            request.exchange_id.parse().map_err(|error| invalid(&format!("exchange_id: {error}")))?;
        let held = self.entries_of(exchange).await?;
        let asked = held.iter().find_map(|entry| match entry.body() {
            Body::Request(request) if entry.common().node.as_ref() == Some(&self.core.own) => {
                Some((entry.clone(), request.clone()))
            }
            _ => None,
        });
        let Some((entry, request)) = asked else {
            let what = format!("this node did not ask for an exchange {exchange}");
            return Err(Fault::new(FaultCode::EvidenceUnknown, Place::ConsumerNode, what));
        };
        let (state, outcome, reason) = match answer_in(&held, &entry) {
            Some(told) => told,
            None => self.look_for(&entry, &request, held).await?,
        };
        Ok(GetExchangeStatusResponse {
            state: state.into(),
            service: request.service.to_string(),
            method: request.method,
            addressee: request.addressee.to_string(),
            asked_at_ms: entry.common().created_at.as_ms(),
            expires_at_ms: request.expires_at.as_ms(),
            outcome,
            reason,
        })
    }

    /// An answer that the provider's node holds is checked and kept, as if it had come in time.
    async fn look_for(&self, entry: &Entry, request: &Request, held: Vec<Entry>) -> Result<Told, Fault> {
        let catch_up = CatchUp { core: self.core.clone(), link: self.link.clone() };
        let missing = Unanswered::of(entry, request);
        let theirs = if request.addressee == self.core.own {
            held
        } else {
            let fetched = match catch_up.held(&missing).await {
                Ok(fetched) => fetched,
                Err(fault) => return Ok((ExchangeState::Unreachable, 0, fault.message)),
            };
            let decoded: Vec<_> = fetched.entries.iter().map(|it| Entry::decode(it.entry.clone())).collect();
            let found =
                |it: &Result<Entry, _>| it.as_ref().is_ok_and(|it| answers(it, &missing.request_leaf));
            if let Some(index) = decoded.iter().position(found) {
                // The call may have got it meanwhile.
                if answer_in(&self.entries_of(missing.exchange).await?, entry).is_none() {
                    catch_up.keep(&missing, &fetched.entries[index]).await?;
                }
                let held = self.entries_of(missing.exchange).await?;
                let lost =
                    || Fault::new(FaultCode::Internal, Place::ConsumerNode, "a kept answer is not there");
                return answer_in(&held, entry).ok_or_else(lost);
            }
            decoded.into_iter().flatten().collect()
        };
        let received = theirs.iter().any(
            |theirs| matches!(theirs.body(), Body::Received(head) if head.peer_leaf == missing.request_leaf),
        );
        let now = self.core.clock.now();
        let state = match received {
            true if now > request.expires_at.plus(ANSWER_WAIT) => ExchangeState::NeverAnswered,
            true => ExchangeState::Received,
            false if now > request.expires_at.plus(CLOCK_SKEW) => ExchangeState::NeverReceived,
            false => ExchangeState::NotReceived,
        };
        Ok((state, 0, String::new()))
    }

    /// What all ledgers of this node hold of an exchange.
    async fn entries_of(&self, exchange: ExchangeId) -> Result<Vec<Entry>, Fault> {
        let ledgers: Vec<Ledger> = self.core.ledgers.values().cloned().collect();
        for ledger in &ledgers {
            // The RECEIVED of an answer that was just delivered may still be on its way to the disk.
            ledger.settle().await.map_err(read_fault)?;
        }
        blocking(move || {
            let mut entries = Vec::new();
            for ledger in &ledgers {
                let held = holdings::of_exchange(ledger, &exchange).map_err(read_fault)?;
                entries.extend(held.into_iter().map(|held| held.sealed.entry));
            }
            Ok(entries)
        })
        .await
    }
}

fn answer_in(held: &[Entry], request: &Entry) -> Option<Told> {
    let answer = held.iter().find(|entry| answers(entry, &request.leaf_hash()))?;
    match answer.body() {
        Body::Response(head) => Some((ExchangeState::Answered, head.outcome, String::new())),
        Body::Fault(head) => Some((ExchangeState::Refused, 0, head.code.to_string())),
        Body::Request(_) | Body::Received(_) | Body::Notice(_) => None,
    }
}
