//! `peabiru member` and `peabiru subsystem`.

use clap::Subcommand;
use peabiru_proto::id::{MemberId, SubsystemId};
use peabiru_proto::wire::{AddMemberRequest, AddSubsystemRequest, ListMembersRequest, SubsystemRecord};

use crate::CliError;
use crate::approval::answered;
use crate::args::Connect;
use crate::output::{self, Table};

#[derive(Debug, Subcommand)]
pub(crate) enum MemberVerb {
    /// Enrols an agency; a security officer approves.
    #[command(
        after_help = "Example:\n  peabiru member add PY/GOV/MEC --name 'Ministerio de Educación y Ciencias'"
    )]
    Add {
        /// INSTANCE/CLASS/CODE
        member: MemberId,
        /// For people.
        #[arg(long)]
        name: String,
    },
    /// What is registered, member by member.
    #[command(after_help = "Example:\n  peabiru member list --output json")]
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SubsystemVerb {
    /// Registers an information system of a member.
    #[command(
        after_help = "Example:\n  peabiru subsystem add PY/GOV/MEC/education --name 'Registro de escuelas'"
    )]
    Add {
        /// INSTANCE/CLASS/CODE/SUBSYSTEM
        subsystem: SubsystemId,
        /// For people.
        #[arg(long)]
        name: String,
    },
}

pub(crate) async fn run(verb: MemberVerb, connect: &Connect) -> Result<(), CliError> {
    let mut registry = connect.registry().await?;
    let language = connect.language();
    match verb {
        MemberVerb::Add { member, name } => {
            let request = AddMemberRequest { member: member.to_string(), name };
            let added = registry.add_member(request).await?.into_inner();
            let done = format!("{member} {}", language.of_both("queda inscripto", "is registered"));
            answered(connect, &done, added.globalconf_version, added.proposal);
        }
        MemberVerb::List => {
            let listed = registry.list_members(ListMembersRequest {}).await?.into_inner();
            let mut table = Table::new(&[
                ("member", "miembro"),
                ("name", "nombre"),
                ("subsystems", "subsistemas"),
                ("nodes", "nodos"),
                ("ledgers", "libros"),
                ("services", "servicios"),
            ]);
            for member in listed.members {
                let last = |id: &str| id.rsplit('/').next().unwrap_or_default().to_owned();
                let joined = |ids: Vec<String>| ids.join(" ");
                table.row([
                    member.member,
                    member.name,
                    joined(member.subsystems.iter().map(|subsystem| last(&subsystem.id)).collect()),
                    joined(member.nodes.iter().map(|node| last(&node.id)).collect()),
                    joined(member.ledgers.iter().map(|ledger| ledger.origin.clone()).collect()),
                    joined(
                        member
                            .contracts
                            .iter()
                            .map(|it| format!("{}:{}", last(&it.service), it.version))
                            .collect(),
                    ),
                ]);
            }
            table.print(connect);
        }
    }
    Ok(())
}

pub(crate) async fn run_subsystem(verb: SubsystemVerb, connect: &Connect) -> Result<(), CliError> {
    let SubsystemVerb::Add { subsystem, name } = verb;
    let record = SubsystemRecord { id: subsystem.to_string(), name };
    let request = AddSubsystemRequest { subsystem: Some(record) };
    let version = connect.registry().await?.add_subsystem(request).await?.into_inner().globalconf_version;
    output::done(
        connect,
        &connect.language().of_both(
            format!("{subsystem} queda registrado (configuración global {version})"),
            format!("{subsystem} is registered (global configuration {version})"),
        ),
    );
    Ok(())
}
