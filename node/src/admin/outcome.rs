//! What became of an exchange whose caller got no answer: what this node holds of it, else what the provider's node says.

use peabiru_ledger::ledger::Ledger;
use peabiru_proto::entry::{Body, Entry, ExchangeId, Request};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::wire::{ExchangeState, GetExchangeStatusRequest, GetExchangeStatusResponse};

use super::entries::read_fault;
use super::{Admin, blocking, invalid};
use crate::catch_up::{CatchUp, RECEIVED_WAIT, UNRECEIVED_WAIT, answers};
use crate::exchange::{FromChunks, Held};
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
            true if now > request.expires_at.plus(RECEIVED_WAIT) => ExchangeState::NeverAnswered,
            true => ExchangeState::Received,
            false if now > request.expires_at.plus(UNRECEIVED_WAIT) => ExchangeState::NeverReceived,
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
                let mut give = |held: Held| {
                    entries.push(held.sealed.entry);
                    true
                };
                holdings::of_exchange(ledger, &exchange, FromChunks::default(), &mut give)
                    .map_err(read_fault)?;
            }
            Ok(entries)
        })
        .await
    }
}

fn answer_in(held: &[Entry], request: &Entry) -> Option<Told> {
    let answer = held.iter().find(|entry| answers(entry, &request.leaf_hash()))?;
    match answer.body() {
        Body::Response(head) if head.content.is_stream() => {
            let closed = held.iter().find_map(|entry| match entry.body() {
                Body::Close(close) if close.opening == answer.leaf_hash() => Some(close),
                _ => None,
            });
            Some(match closed {
                Some(close) => {
                    let code = close.fault.as_deref().unwrap_or_default();
                    (ExchangeState::Answered, close.outcome, code.to_owned())
                }
                None => (ExchangeState::Unclosed, 0, String::new()),
            })
        }
        Body::Response(head) => Some((ExchangeState::Answered, head.outcome, String::new())),
        Body::Fault(head) if proves_nothing_was_done(&head.code) => {
            Some((ExchangeState::Refused, 0, head.code.clone()))
        }
        Body::Fault(head) => Some((ExchangeState::NeverAnswered, 0, head.code.clone())),
        Body::Request(_)
        | Body::Received(_)
        | Body::Batch(_)
        | Body::Close(_)
        | Body::KeyChange(_)
        | Body::Notice(_) => None,
    }
}

/// Whether a sealed FAULT says that the service was not asked: it is of the guard, which comes before the service, or says
/// that the service could not be reached.
fn proves_nothing_was_done(code: &str) -> bool {
    let Ok(code) = code.parse() else { return false };
    matches!(
        code,
        FaultCode::MessageMalformed
            | FaultCode::MessageAddressee
            | FaultCode::MessageExpired
            | FaultCode::MessageFromFuture
            | FaultCode::MessageAltered
            | FaultCode::SealInvalid
            | FaultCode::SealUnknownLedger
            | FaultCode::ClientUnknown
            | FaultCode::ContractMismatch
            | FaultCode::MethodUnknown
            | FaultCode::PurposeNotAllowed
            | FaultCode::AccessNoGrant
            | FaultCode::AccessGrantExpired
            | FaultCode::ServiceUnreachable
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::asked_and_unanswered;

    #[test]
    fn what_was_asked_of_the_service_was_not_refused() {
        assert!(proves_nothing_was_done("access.no_grant"));
        assert!(!proves_nothing_was_done("code.of_a_newer_version"));
        let of_service = |code| asked_and_unanswered(Fault::new(code, Place::Service, "")).code;
        assert!(proves_nothing_was_done(of_service(FaultCode::ServiceUnreachable).as_str()));
        for code in [
            FaultCode::ExchangeDeadline,
            FaultCode::ServiceProtocol,
            FaultCode::NodeDiskFull,
            FaultCode::AccessNoGrant,
        ] {
            let told = of_service(code);
            assert_eq!(told, FaultCode::ExchangeOutcomeUnknown);
            assert!(!proves_nothing_was_done(told.as_str()));
        }
    }
}
