//! Grants: what this node's members allow. Deny by default.
//!
//! A grant's revisions are NOTICE entries of the provider's ledger; this table is what they add up to.

use std::collections::BTreeMap;

use peabiru_proto::entry::GrantRef;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::{MemberId, ServiceId, SubsystemId};
use peabiru_proto::policy::{Grant, GrantState, Purpose};
use peabiru_proto::time::Timestamp;

use super::refusal::Refusal;
use crate::rest::target::Target;

/// The newest revision of every grant, found by whom it is for.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    by_id: BTreeMap<(MemberId, String), Held>,
    by_parties: BTreeMap<(SubsystemId, ServiceId), Vec<String>>,
}

/// One revision with the digest of its sealed bytes.
#[derive(Debug, Clone)]
struct Held {
    grant: Grant,
    digest: Digest,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who asks.
    pub consumer: &'a SubsystemId,
    /// Of which service.
    pub service: &'a ServiceId,
    /// Which method.
    pub method: &'a str,
    /// Verb and path of a REST call: a grant covers these, not the template.
    pub target: Option<&'a Target>,
    /// Why.
    pub purpose: &'a Purpose,
}

impl Asked<'_> {
    fn is_covered_by(&self, grant: &Grant) -> bool {
        match self.target {
            Some(target) => grant.covers_path(target.verb, &target.path),
            None => grant.covers_method(self.method),
        }
    }
}

impl Grants {
    /// Takes a revision in, unless the one that is held counts more. Gives whether it is in force now.
    pub fn apply(&mut self, grant: Grant, digest: Digest) -> bool {
        let key = (grant.service.member(), grant.id.clone());
        if self.by_id.get(&key).is_some_and(|held| !supersedes(&grant, &held.grant)) {
            return false;
        }
        let parties = (grant.consumer.clone(), grant.service.clone());
        let id = grant.id.clone();
        if let Some(before) = self.by_id.insert(key, Held { grant, digest }) {
            let parties = (before.grant.consumer, before.grant.service);
            if let Some(ids) = self.by_parties.get_mut(&parties) {
                ids.retain(|known| *known != id);
            }
        }
        self.by_parties.entry(parties).or_default().push(id);
        true
    }

    /// Takes a grant out: it allows nothing until a newer revision says so.
    pub fn forget(&mut self, member: &MemberId, id: &str) {
        if let Some(before) = self.by_id.remove(&(member.clone(), id.to_owned())) {
            let parties = (before.grant.consumer, before.grant.service);
            if let Some(ids) = self.by_parties.get_mut(&parties) {
                ids.retain(|known| known != id);
            }
        }
    }

    /// The grant that allows this, or the most telling reason why none does.
    ///
    /// # Errors
    /// `NoGrant` if none is for these parties and this method, else `PurposeNotGranted`, else `GrantExpired`.
    pub fn allow(&self, asked: Asked<'_>, now: Timestamp) -> Result<GrantRef, Refusal> {
        let mut reason = Refusal::NoGrant {
            consumer: asked.consumer.clone(),
            service: asked.service.clone(),
            method: asked.method.to_owned(),
        };
        for held in self.between(asked.consumer, asked.service) {
            let grant = &held.grant;
            if grant.state != GrantState::Active || !asked.is_covered_by(grant) || now < grant.valid_from {
                continue;
            }
            if !grant.purposes.contains(asked.purpose) {
                reason = Refusal::PurposeNotGranted {
                    consumer: asked.consumer.clone(),
                    purpose: asked.purpose.clone(),
                };
                continue;
            }
            if now >= grant.expires_at {
                reason = Refusal::GrantExpired { grant: grant.id.clone(), ended_at: grant.expires_at };
                continue;
            }
            return Ok(GrantRef { id: grant.id.clone(), revision: grant.revision, digest: held.digest });
        }
        Err(reason)
    }

    /// The grants that are in force between two parties.
    pub fn in_force<'a>(
        &'a self,
        consumer: &SubsystemId,
        service: &ServiceId,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Grant> {
        let valid = move |grant: &&Grant| {
            grant.state == GrantState::Active && grant.valid_from <= now && now < grant.expires_at
        };
        self.between(consumer, service).map(|held| &held.grant).filter(valid)
    }

    /// The newest revision of a grant.
    #[must_use]
    pub fn find(&self, member: &MemberId, id: &str) -> Option<&Grant> {
        self.by_id.get(&(member.clone(), id.to_owned())).map(|held| &held.grant)
    }

    /// The newest revisions of all grants, revoked ones too.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.by_id.values().map(|held| &held.grant)
    }

    fn between<'a>(&'a self, consumer: &SubsystemId, service: &ServiceId) -> impl Iterator<Item = &'a Held> {
        let member = service.member();
        self.by_parties
            .get(&(consumer.clone(), service.clone()))
            .into_iter()
            .flatten()
            .filter_map(move |id| self.by_id.get(&(member.clone(), id.clone())))
    }
}

/// The newer revision counts; of equal ones the one that withdraws.
fn supersedes(grant: &Grant, held: &Grant) -> bool {
    let withdraws = grant.state == GrantState::Revoked && held.state == GrantState::Active;
    grant.revision > held.revision || grant.revision == held.revision && withdraws
}

/// What becomes of a grant that an administrator gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Revised {
    /// It is held already.
    Held,
    /// It is this node's next revision, of this number.
    Next(u32),
    /// It is a revision of another node of the member.
    Shared,
}

/// Which revision a grant becomes after the one that is held. One without a number is this node's next.
///
/// # Errors
/// Why it becomes none, and what to do.
pub fn revise(held: Option<&Grant>, grant: &Grant) -> Result<Revised, String> {
    let before = held.map_or(0, |held| held.revision);
    let id = &grant.id;
    match (grant.revision, before.checked_add(1)) {
        (0, Some(next)) => Ok(Revised::Next(next)),
        // Whatever number it has, a grant can be withdrawn.
        (0, None) if grant.state == GrantState::Revoked => match held {
            Some(held) if held.state == GrantState::Revoked => Ok(Revised::Held),
            _ => Ok(Revised::Next(before)),
        },
        (0, None) => Err(format!("{id} has no further revision after {before}: give a grant of another id")),
        (given, _) if given > before.saturating_add(REVISIONS_AHEAD_MAX) => Err(format!(
            "revision {given} of {id} is too far beyond {before}, which is in force here: leave the number out"
        )),
        _ if held == Some(grant) => Ok(Revised::Held),
        (given, _) if held.is_some_and(|held| !supersedes(grant, held)) => Err(format!(
            "revision {before} of {id} is in force here, and another revision {given} came: share the grants of the \
             node that has the newest ones"
        )),
        _ => Ok(Revised::Shared),
    }
}

/// So many revisions may be given at one node before they are shared with another. A number far beyond would leave none
/// for what follows.
const REVISIONS_AHEAD_MAX: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(revision: u32, state: GrantState) -> Grant {
        Grant {
            id: "g".to_owned(),
            revision,
            consumer: "PY/GOV/MITIC/app".parse().unwrap(),
            service: "PY/GOV/MEC/data/py.mec.v1.Schools".parse().unwrap(),
            methods: [].into(),
            purposes: ["testing".parse().unwrap()].into(),
            valid_from: Timestamp::from_ms(1),
            expires_at: Timestamp::from_ms(2),
            state,
            legal_basis: String::new(),
        }
    }

    #[test]
    fn of_equal_revisions_the_one_that_withdraws_counts_in_any_order() {
        use GrantState::{Active, Revoked};
        let member = grant(1, Active).service.member();
        for order in [[Active, Revoked], [Revoked, Active]] {
            let mut grants = Grants::default();
            let took = order.map(|state| grants.apply(grant(7, state), Digest::of(b"")));
            assert_eq!(took, [true, order[1] == Revoked]);
            assert_eq!(grants.find(&member, "g").unwrap().state, Revoked, "{order:?}");
            assert!(!grants.apply(grant(6, Active), Digest::of(b"")), "an older one");
            assert!(grants.apply(grant(8, Active), Digest::of(b"")), "a newer one");
        }
    }

    #[test]
    fn no_number_makes_a_grant_that_cannot_be_withdrawn() {
        use GrantState::{Active, Revoked};
        assert_eq!(revise(None, &grant(0, Active)), Ok(Revised::Next(1)));
        for given in [REVISIONS_AHEAD_MAX + 4, u32::MAX] {
            assert!(revise(Some(&grant(3, Active)), &grant(given, Active)).unwrap_err().contains("too far"));
        }
        let last = grant(u32::MAX, Active);
        assert!(revise(Some(&last), &grant(0, Active)).unwrap_err().contains("another id"));
        assert_eq!(revise(Some(&last), &grant(0, Revoked)), Ok(Revised::Next(u32::MAX)));
        let mut grants = Grants::default();
        grants.apply(last, Digest::of(b""));
        assert!(grants.apply(grant(u32::MAX, Revoked), Digest::of(b"")), "and so it is in force");
    }

    #[test]
    fn what_is_shared_is_taken_if_it_counts_more() {
        use GrantState::{Active, Revoked};
        let held = grant(3, Active);
        assert_eq!(revise(Some(&held), &held), Ok(Revised::Held));
        assert_eq!(revise(Some(&held), &grant(4, Active)), Ok(Revised::Shared));
        assert_eq!(revise(Some(&held), &grant(3, Revoked)), Ok(Revised::Shared));
        assert!(revise(Some(&held), &grant(2, Revoked)).is_err());
        assert!(revise(Some(&grant(3, Revoked)), &held).is_err());
    }
}
