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
    /// Takes a revision in; an older one than held is ignored, so that replaying a ledger in any order ends alike.
    pub fn apply(&mut self, grant: Grant, digest: Digest) {
        let key = (grant.service.member(), grant.id.clone());
        if self.by_id.get(&key).is_some_and(|held| held.grant.revision >= grant.revision) {
            return;
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
