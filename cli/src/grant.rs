//! `peabiru grant`: what the members of a node allow.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use peabiru_proto::id::{MemberId, ServiceId, SubsystemId};
use peabiru_proto::policy::Purpose;
use peabiru_proto::time::{Clock as _, SystemClock, Timestamp};
use peabiru_proto::wire::{self, GrantState, ListGrantsRequest, PutGrantRequest, RevokeGrantRequest};

use crate::args::Connect;
use crate::output::{self, Table};
use crate::{CliError, client};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Allows a subsystem to ask a service for a purpose, until a day. The same id again is the next revision.
    #[command(
        after_help = "Example:\n  peabiru grant give schools-for-planning --consumer PY/GOV/MITIC/planning --service PY/GOV/MEC/education/py.mec.v1.SchoolService --purpose connectivity-planning --days 365"
    )]
    Give {
        /// The grant's name in the provider's ledger.
        id: String,
        /// Who may ask.
        #[arg(long)]
        consumer: SubsystemId,
        /// What may be asked.
        #[arg(long)]
        service: ServiceId,
        /// Only these methods, of a REST service verbs and paths ("GET /schools/*"); all if none is named.
        #[arg(long = "method", value_name = "METHOD")]
        methods: Vec<String>,
        /// For what, one of the contract's.
        #[arg(long = "purpose", value_name = "PURPOSE", required = true)]
        purposes: Vec<Purpose>,
        /// For how many days from now.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u64).range(1..=3660))]
        days: u64,
    },
    /// The newest revision of each grant.
    #[command(after_help = "Example:\n  peabiru grant list")]
    List,
    /// Gives the grants of a node, revoked ones first, to another node of the same member: each keeps its revision. What
    /// one of them is refused for does not keep the others back. Run it after `give` and `revoke` for each of the member's other nodes, over a forwarded socket if they are elsewhere.
    #[command(after_help = "Example:\n  peabiru grant share --member PY/GOV/MEC --to MEC-2/data/admin.sock")]
    Share {
        /// Whose grants.
        #[arg(long)]
        member: MemberId,
        /// Admin socket of the other node.
        #[arg(long, value_name = "PATH")]
        to: PathBuf,
    },
    /// Withdraws a grant.
    #[command(after_help = "Example:\n  peabiru grant revoke schools-for-planning --member PY/GOV/MEC")]
    Revoke {
        /// The grant's name.
        id: String,
        /// Who gave it.
        #[arg(long)]
        member: MemberId,
    },
}

pub(crate) async fn run(verb: Verb, connect: &Connect) -> Result<(), CliError> {
    let mut node = connect.node().await?;
    let language = connect.language();
    match verb {
        Verb::Give { id, consumer, service, methods, purposes, days } => {
            let now = SystemClock.now();
            let grant = wire::Grant {
                id,
                consumer: consumer.to_string(),
                service: service.to_string(),
                methods,
                purposes: purposes.iter().map(ToString::to_string).collect(),
                valid_from_ms: now.as_ms(),
                expires_at_ms: now.plus(Duration::from_secs(days * DAY_SECONDS)).as_ms(),
                ..wire::Grant::default()
            };
            let given = node.put_grant(PutGrantRequest { grant: Some(grant) }).await?.into_inner().grant;
            print([given.unwrap_or_default()], connect);
        }
        Verb::List => print(node.list_grants(ListGrantsRequest {}).await?.into_inner().grants, connect),
        Verb::Share { member, to } => {
            let mut other = client::node(&to).await?;
            let prefix = format!("{member}/");
            let mut grants = node.list_grants(ListGrantsRequest {}).await?.into_inner().grants;
            grants.retain(|grant| grant.service.starts_with(&prefix));
            let (mut shared, mut refused) = (0, Vec::new());
            for grant in revocations_first(grants) {
                let id = grant.id.clone();
                match other.put_grant(PutGrantRequest { grant: Some(grant) }).await {
                    Ok(_) => shared += 1,
                    Err(status) => refused.push(format!("{id}: {}", CliError::from(status).said(language))),
                }
            }
            let to = to.display();
            output::done(
                connect,
                &language.of_both(
                    format!("{shared} autorizaciones de {member} están en {to}"),
                    format!("{shared} grants of {member} are at {to}"),
                ),
            );
            if !refused.is_empty() {
                return Err(CliError::Unshared { refused });
            }
        }
        Verb::Revoke { id, member } => {
            let request = RevokeGrantRequest { id, member: member.to_string() };
            let revoked = node.revoke_grant(request).await?.into_inner().grant.unwrap_or_default();
            let (id, revision) = (revoked.id, revoked.revision);
            output::done(
                connect,
                &language.of_both(
                    format!("{id} queda retirada (revisión {revision})"),
                    format!("{id} is revoked (revision {revision})"),
                ),
            );
        }
    }
    Ok(())
}

/// What is withdrawn must not go on at the other node because something else went wrong.
fn revocations_first(mut grants: Vec<wire::Grant>) -> Vec<wire::Grant> {
    grants.sort_by_key(|grant| grant.state() != GrantState::Revoked);
    grants
}

fn print(grants: impl IntoIterator<Item = wire::Grant>, connect: &Connect) {
    let language = connect.language();
    let mut table = Table::new(&[
        ("id", "id"),
        ("revision", "revisión"),
        ("state", "estado"),
        ("consumer", "consumidor"),
        ("service", "servicio"),
        ("methods", "métodos"),
        ("purposes", "finalidades"),
        ("until", "hasta"),
    ]);
    for grant in grants {
        let state = match grant.state() {
            GrantState::Revoked => language.of_both("retirada", "revoked"),
            GrantState::Active | GrantState::Unspecified => language.of_both("vigente", "active"),
        };
        let methods = match grant.methods.as_slice() {
            [] => language.of_both("todos", "all").to_owned(),
            methods => methods.join(" "),
        };
        table.row([
            grant.id,
            grant.revision.to_string(),
            state.to_owned(),
            grant.consumer,
            grant.service,
            methods,
            grant.purposes.join(" "),
            Timestamp::from_ms(grant.expires_at_ms).to_string(),
        ]);
    }
    table.print(connect);
}

const DAY_SECONDS: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_withdrawn_is_shared_first() {
        let grant = |id: &str, state: GrantState| wire::Grant {
            id: id.to_owned(),
            state: state.into(),
            ..wire::Grant::default()
        };
        let grants = vec![
            grant("a", GrantState::Active),
            grant("b", GrantState::Revoked),
            grant("c", GrantState::Active),
        ];
        let ids: Vec<_> = revocations_first(grants).into_iter().map(|grant| grant.id).collect();
        assert_eq!(ids, ["b", "a", "c"]);
    }
}
