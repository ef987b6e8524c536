//! Grants, given and withdrawn by the provider's administrator.

use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::id::MemberId;
use peabiru_proto::policy::{Grant, GrantState};
use peabiru_proto::wire::{self, PutGrantRequest, RevokeGrantRequest};

use super::{Admin, invalid};

impl Admin {
    pub(super) fn grants(&self) -> Vec<wire::Grant> {
        self.core.grants.load().iter().map(Grant::to_proto).collect()
    }

    pub(super) async fn give(&self, request: PutGrantRequest) -> Result<wire::Grant, Fault> {
        let grant = request.grant.ok_or_else(|| invalid("a grant is missing"))?;
        let grant = Grant::from_proto(&grant).map_err(|error| invalid(&format!("grant: {error}")))?;
        let state = if grant.revision == 0 { GrantState::Active } else { grant.state };
        let given = self.core.put_grant(Grant { state, ..grant }).await?;
        tracing::info!(grant = given.id, revision = given.revision, consumer = %given.consumer, service = %given.service, "grant given");
        Ok(given.to_proto())
    }

    pub(super) async fn revoke(&self, request: RevokeGrantRequest) -> Result<wire::Grant, Fault> {
        let member: MemberId =
            request.member.parse().map_err(|error| invalid(&format!("member: {error}")))?;
        let held = self.core.grants.load().find(&member, &request.id).cloned();
        let grant = held.ok_or_else(|| {
            let message = format!("{member} has given no grant with the id {}", request.id);
            Fault::new(FaultCode::AccessNoGrant, Place::ProviderNode, message)
        })?;
        let revoked = self.core.put_grant(Grant { revision: 0, state: GrantState::Revoked, ..grant }).await?;
        tracing::info!(grant = revoked.id, revision = revoked.revision, "grant revoked");
        Ok(revoked.to_proto())
    }
}
