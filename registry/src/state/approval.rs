//! Four eyes: one officer proposes, another approves or rejects.
//!
//! A proposal is the event that it will be. It is decided anew when it is approved: if what is registered has changed so
//! that the same event no longer follows, it was overtaken and nobody can approve it.

use std::collections::BTreeMap;

use bytes::Bytes;
use peabiru_proto::hash::Digest;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{self, ProposalState, RegistryEvent};
use prost::Message as _;

use super::command::Command;
use super::limits::{CLOSED_KEPT_MAX, OPEN_PROPOSALS_MAX, PROPOSAL_VALIDITY};
use super::officer::{Call, Operator, Role, is_same_person};
use super::{Event, Kind, Refusal, State};

/// What waits for a second officer, and what was decided lately.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Proposals {
    /// Number of the newest.
    newest: u64,
    open: BTreeMap<u64, Proposal>,
    closed: BTreeMap<u64, (Proposal, Outcome)>,
}

/// A change that needs a second officer.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// From 1.
    pub number: u64,
    /// What it will change.
    pub change: Event,
    /// Certificate of who proposed it.
    pub proposer: Digest,
    /// Their name, when they did.
    pub proposed_by: String,
    /// Who must approve.
    pub needs: Role,
    /// When.
    pub proposed_at: Timestamp,
    /// From when on nobody can approve it.
    pub expires_at: Timestamp,
}

/// How a proposal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Approved(String),
    Rejected(String),
    Expired,
}

/// What an officer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// A change; if it needs a second officer, it is proposed.
    Change(Command),
    /// To carry out the proposal of this number, if it is what the officer has seen.
    Approve {
        /// Its number.
        number: u64,
        /// [`change_digest`] of what was seen.
        seen: Digest,
    },
    /// To drop it.
    Reject(u64),
}

impl State {
    /// What the ledger is to say; nothing, if what is asked for is so already.
    ///
    /// # Errors
    /// `Refusal` names the rule and what broke it. Nothing has changed then.
    pub fn ask(&self, by: &Digest, ask: Ask, now: Timestamp) -> Result<Vec<RegistryEvent>, Refusal> {
        match ask {
            Ask::Change(command) => self.change(by, command, now),
            Ask::Approve { number, seen } => self.approve(by, number, &seen, now),
            Ask::Reject(number) => self.reject(by, number, now),
        }
    }

    fn change(&self, by: &Digest, command: Command, now: Timestamp) -> Result<Vec<RegistryEvent>, Refusal> {
        let call = command.call();
        let (operator, role) = self.authorise(by, call)?;
        self.check_scope(operator, &command)?;
        let events = self.decide(command, now)?;
        match call.eyes() {
            super::officer::Eyes::Two => Ok(events.into_iter().map(|event| said(by, event)).collect()),
            super::officer::Eyes::Four => {
                events.into_iter().map(|event| self.propose(by, operator, role, event, now)).collect()
            }
        }
    }

    fn propose(
        &self,
        by: &Digest,
        operator: &Operator,
        role: Role,
        event: Event,
        now: Timestamp,
    ) -> Result<RegistryEvent, Refusal> {
        let open = || self.proposals.open.values().filter(|proposal| now < proposal.expires_at);
        if let Some(same) = open().find(|proposal| proposal.change == event) {
            let message = format!("proposal {} of `{}` asks for the same", same.number, same.proposed_by);
            return Err(Kind::Duplicate.because(message));
        }
        if open().filter(|proposal| proposal.proposed_by == operator.name).count() >= OPEN_PROPOSALS_MAX {
            let message = format!(
                "`{}` has {OPEN_PROPOSALS_MAX} open proposals: have some approved or rejected first",
                operator.name
            );
            return Err(Kind::Limit.because(message));
        }
        let proposed = wire::ChangeProposed {
            number: self.proposals.newest + 1,
            change: Some(Box::new(said(by, event))),
            needs: role.second().to_proto().into(),
            proposed_at_ms: now.as_ms(),
            expires_at_ms: now.plus(PROPOSAL_VALIDITY).as_ms(),
        };
        Ok(said(by, Event::ChangeProposed(Box::new(proposed))))
    }

    fn approve(
        &self,
        by: &Digest,
        number: u64,
        seen: &Digest,
        now: Timestamp,
    ) -> Result<Vec<RegistryEvent>, Refusal> {
        let (operator, _) = self.authorise(by, Call::ApproveProposal)?;
        let proposal = self.open_proposal(number, now)?;
        // Either of them may have another name by now.
        let renamed = self.operators.get(&proposal.proposer).map(|proposer| &proposer.name);
        let same = |name: &String| is_same_person(name, &operator.name);
        if proposal.proposer == *by || same(&proposal.proposed_by) || renamed.is_some_and(same) {
            let message = format!("`{}` proposed number {number}: another person approves it", operator.name);
            return Err(Kind::SamePerson.because(message));
        }
        if let Some(member) = &operator.member {
            let message = format!("`{}` acts for {member}: the instance's officers approve", operator.name);
            return Err(Kind::OtherMember.because(message));
        }
        if !operator.roles.contains(&proposal.needs) {
            let message =
                format!("proposal {number} needs a {}, and `{}` is none", proposal.needs, operator.name);
            return Err(Kind::Role.because(message));
        }
        if *seen != change_digest(&said(&proposal.proposer, proposal.change.clone())) {
            let message =
                format!("proposal {number} is not what was approved: read it, then approve what it says");
            return Err(Kind::Invalid.because(message));
        }
        let change = self.again(proposal, now)?;
        let approved = Event::ProposalApproved(wire::ProposalApproved { number });
        Ok(vec![said(by, approved), said(&proposal.proposer, change)])
    }

    /// The event of a proposal, if it still follows from what is registered.
    fn again(&self, proposal: &Proposal, now: Timestamp) -> Result<Event, Refusal> {
        let overtaken = |reason: &dyn std::fmt::Display| {
            let number = proposal.number;
            Kind::ProposalOvertaken
                .because(format!("proposal {number} was overtaken, reject it and propose anew: {reason}"))
        };
        let command = Command::of(&proposal.change).map_err(|reason| overtaken(&reason))?;
        // Who proposed it may have lost the role since.
        let (proposer, role) =
            self.authorise(&proposal.proposer, command.call()).map_err(|refusal| overtaken(&refusal))?;
        if role.second() != proposal.needs {
            return Err(overtaken(&format!("`{}` has another role now", proposer.name)));
        }
        self.check_scope(proposer, &command).map_err(|refusal| overtaken(&refusal))?;
        let events = self.decide(command, now).map_err(|refusal| overtaken(&refusal))?;
        match <[Event; 1]>::try_from(events) {
            Ok([event]) if event == proposal.change => Ok(event),
            _ => Err(overtaken(&"it would now change something else")),
        }
    }

    /// Whoever proposed it may take it back; else it takes an officer of the instance.
    fn reject(&self, by: &Digest, number: u64, now: Timestamp) -> Result<Vec<RegistryEvent>, Refusal> {
        let (operator, _) = self.authorise(by, Call::RejectProposal)?;
        let proposal = self.open_proposal(number, now)?;
        if let Some(member) = &operator.member
            && proposal.proposed_by != operator.name
        {
            let message =
                format!("`{}` acts for {member} and did not propose number {number}", operator.name);
            return Err(Kind::OtherMember.because(message));
        }
        Ok(vec![said(by, Event::ProposalRejected(wire::ProposalRejected { number }))])
    }

    fn open_proposal(&self, number: u64, now: Timestamp) -> Result<&Proposal, Refusal> {
        let Proposals { newest, open, closed } = &self.proposals;
        let expired = |at: Timestamp| {
            Kind::ProposalExpired.because(format!("proposal {number} expired at {at}: propose it anew"))
        };
        match (open.get(&number), closed.get(&number)) {
            (Some(proposal), _) if now < proposal.expires_at => Ok(proposal),
            (Some(proposal), _) | (None, Some((proposal, Outcome::Expired))) => {
                Err(expired(proposal.expires_at))
            }
            (None, Some((_, Outcome::Approved(by)))) => {
                Err(Kind::ProposalClosed.because(format!("`{by}` approved proposal {number} already")))
            }
            (None, Some((_, Outcome::Rejected(by)))) => {
                Err(Kind::ProposalClosed.because(format!("`{by}` rejected proposal {number}")))
            }
            (None, None) if (1..=*newest).contains(&number) => Err(Kind::ProposalClosed
                .because(format!("proposal {number} was decided long ago: see the registry's ledger"))),
            (None, None) => Err(Kind::UnknownProposal.because(format!("there is no proposal {number}"))),
        }
    }

    /// Open ones and those decided lately, by number.
    pub fn proposals(&self, now: Timestamp) -> impl Iterator<Item = wire::Proposal> {
        let open = self.proposals.open.values().map(move |proposal| {
            let state = if now < proposal.expires_at { ProposalState::Open } else { ProposalState::Expired };
            proposal.record(state, "")
        });
        let closed = self.proposals.closed.values().map(|(proposal, outcome)| match outcome {
            Outcome::Approved(by) => proposal.record(ProposalState::Approved, by),
            Outcome::Rejected(by) => proposal.record(ProposalState::Rejected, by),
            Outcome::Expired => proposal.record(ProposalState::Expired, ""),
        });
        let by_number: BTreeMap<_, _> = open.chain(closed).map(|record| (record.number, record)).collect();
        by_number.into_values()
    }

    pub(super) fn change_proposed(&mut self, by: &[u8], event: wire::ChangeProposed) -> Result<(), String> {
        let needs = Role::from_proto(event.needs())?;
        let proposed_at = Timestamp::from_ms(event.proposed_at_ms);
        let change = event.change.and_then(|change| change.event).ok_or("the proposal changes nothing")?;
        let (proposer, proposed_by) = self.who(by)?;
        let proposal = Proposal {
            number: event.number,
            change,
            proposer,
            proposed_by,
            needs,
            proposed_at,
            expires_at: Timestamp::from_ms(event.expires_at_ms),
        };
        let proposals = &mut self.proposals;
        if proposal.number != proposals.newest + 1 {
            return Err(format!("proposal {} follows number {}", proposal.number, proposals.newest));
        }
        proposals.newest = proposal.number;
        let gone = proposals.open.extract_if(.., |_, open| open.expires_at <= proposed_at);
        let gone: Vec<_> = gone.map(|(_, proposal)| proposal).collect();
        proposals.open.insert(proposal.number, proposal);
        gone.into_iter().for_each(|proposal| proposals.close(proposal, Outcome::Expired));
        Ok(())
    }

    pub(super) fn proposal_approved(&mut self, by: &[u8], number: u64) -> Result<(), String> {
        let (_, name) = self.who(by)?;
        self.proposals.end(number, Outcome::Approved(name))
    }

    pub(super) fn proposal_rejected(&mut self, by: &[u8], number: u64) -> Result<(), String> {
        let (_, name) = self.who(by)?;
        self.proposals.end(number, Outcome::Rejected(name))
    }

    fn who(&self, certificate_sha256: &[u8]) -> Result<(Digest, String), String> {
        let sha256 = Digest::from_slice(certificate_sha256).map_err(|error| error.to_string())?;
        let operator = self.operators.get(&sha256).ok_or_else(|| format!("{sha256} is no operator's"))?;
        Ok((sha256, operator.name.clone()))
    }
}

impl Proposals {
    fn end(&mut self, number: u64, outcome: Outcome) -> Result<(), String> {
        let proposal = self.open.remove(&number).ok_or_else(|| format!("proposal {number} is not open"))?;
        self.close(proposal, outcome);
        Ok(())
    }

    fn close(&mut self, proposal: Proposal, outcome: Outcome) {
        self.closed.insert(proposal.number, (proposal, outcome));
        while self.closed.len() > CLOSED_KEPT_MAX {
            self.closed.pop_first();
        }
    }
}

impl Proposal {
    fn record(&self, state: ProposalState, closed_by: &str) -> wire::Proposal {
        wire::Proposal {
            number: self.number,
            change: Some(said(&self.proposer, self.change.clone())),
            proposed_by: self.proposed_by.clone(),
            needs: self.needs.to_proto().into(),
            proposed_at_ms: self.proposed_at.as_ms(),
            expires_at_ms: self.expires_at.as_ms(),
            state: state.into(),
            closed_by: closed_by.to_owned(),
        }
    }
}

/// What an officer names of the change that a proposal shows.
#[must_use]
pub fn change_digest(change: &RegistryEvent) -> Digest {
    Digest::of(&change.encode_to_vec())
}

/// An event with who asked for it.
fn said(by: &Digest, event: Event) -> RegistryEvent {
    let operator_certificate_sha256 = Bytes::copy_from_slice(by.as_bytes());
    RegistryEvent { operator_certificate_sha256, event: Some(event) }
}
