//! `peabiru approval`: the second officer's word, and what the first one is told.

use clap::Subcommand;
use data_encoding::HEXLOWER;
use peabiru_proto::globalconf::Address;
use peabiru_proto::hash::Digest;
use peabiru_proto::language::Language;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::registry_event::Event;
use peabiru_proto::wire::{
    ApproveProposalRequest, ListProposalsRequest, NodeAddress, NodeRecord, OfficerRole, Proposal,
    ProposalState, RegistryEvent, RejectProposalRequest,
};
use peabiru_registry::state::change_digest;
use serde_json::json;

use crate::CliError;
use crate::args::Connect;
use crate::client::RegistryClient;
use crate::output::{self, Format, Table};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// What waits for a second officer.
    #[command(after_help = "Example:\n  peabiru approval list\n  peabiru approval list --all")]
    List {
        /// Also what was approved, rejected or expired lately.
        #[arg(long)]
        all: bool,
    },
    /// One proposal in full: read it before you approve.
    #[command(after_help = "Example:\n  peabiru approval show 7")]
    Show {
        /// Its number.
        number: u64,
    },
    /// Shows and carries out what another officer proposed.
    #[command(
        after_help = "Example:\n  peabiru approval approve 7 8 --operator PY/operators/security-officer"
    )]
    Approve {
        /// Their numbers, in the order in which they are carried out.
        #[arg(required = true)]
        numbers: Vec<u64>,
    },
    /// Drops what an officer proposed; who proposed it takes it back so.
    #[command(after_help = "Example:\n  peabiru approval reject 7")]
    Reject {
        /// Its number.
        number: u64,
    },
}

/// Which proposals a list has.
#[derive(Debug, Clone, Copy)]
enum Shown {
    Open,
    All,
}

impl Shown {
    fn has(self, proposal: &Proposal) -> bool {
        match self {
            Self::Open => proposal.state() == ProposalState::Open,
            Self::All => true,
        }
    }
}

pub(crate) async fn run(verb: Verb, connect: &Connect) -> Result<(), CliError> {
    let mut registry = connect.registry().await?;
    let language = connect.language();
    match verb {
        Verb::List { all } => {
            let shown = if all { Shown::All } else { Shown::Open };
            list(&mut registry, shown, connect).await
        }
        Verb::Show { number } => {
            let unknown = || {
                CliError::Usage(language.of_both(
                    format!("ninguna propuesta {number} está abierta ni se decidió hace poco"),
                    format!("no proposal {number} is open or was decided lately"),
                ))
            };
            print(&find(&mut registry, number).await?.ok_or_else(unknown)?, connect);
            Ok(())
        }
        Verb::Approve { numbers } => {
            for number in numbers {
                let proposal = match find(&mut registry, number).await? {
                    Some(proposal) => {
                        print(&proposal, connect);
                        proposal
                    }
                    // The registry says why there is none.
                    None => Proposal { number, ..Proposal::default() },
                };
                let approved = registry.approve_proposal(approval_of(&proposal)).await?.into_inner();
                let what = approved.proposal.map(|it| said(&it, language)).unwrap_or_default();
                let version = approved.globalconf_version;
                output::done(
                    connect,
                    &language.of_both(
                        format!("propuesta {number} aprobada: {what} (configuración global {version})"),
                        format!("proposal {number} is approved: {what} (global configuration {version})"),
                    ),
                );
            }
            Ok(())
        }
        Verb::Reject { number } => {
            registry.reject_proposal(RejectProposalRequest { number }).await?;
            let [proposal, rejected] =
                language.of_both(["propuesta", "rechazada"], ["proposal", "is rejected"]);
            output::done(connect, &format!("{proposal} {number} {rejected}"));
            Ok(())
        }
    }
}

/// Tells an officer that a change is made, or that it waits for another.
pub(crate) fn answered(connect: &Connect, done: &str, version: u64, proposal: Option<Proposal>) {
    let language = connect.language();
    let Some(proposal) = proposal else {
        let globalconf = language.of_both("configuración global", "global configuration");
        output::done(connect, &format!("{done} ({globalconf} {version})"));
        return;
    };
    let (number, needs, what) =
        (proposal.number, role(proposal.needs(), language), said(&proposal, language));
    let until = Timestamp::from_ms(proposal.expires_at_ms);
    match connect.output {
        Format::Table => output::line(&language.of_both(
            format!(
                "propuesta número {number}: {what}\nla aprueba un {needs} hasta el {until}: peabiru approval approve {number} \
                 --operator EL-SUYO"
            ),
            format!(
                "proposed, number {number}: {what}\nneeds a {needs} until {until}: peabiru approval approve {number} --operator \
                 THEIRS"
            ),
        )),
        Format::Json => output::document(&json!({
            "proposed": number.to_string(), "needs": needs, "until": until.to_string(),
        })),
    }
}

async fn list(registry: &mut RegistryClient, shown: Shown, connect: &Connect) -> Result<(), CliError> {
    let language = connect.language();
    let proposals = registry.list_proposals(ListProposalsRequest {}).await?.into_inner().proposals;
    let mut table = Table::new(&[
        ("number", "número"),
        ("what", "qué"),
        ("proposed_by", "propuesta_por"),
        ("needs", "la_aprueba"),
        ("until", "hasta"),
        ("state", "estado"),
    ]);
    for proposal in proposals.iter().filter(|proposal| shown.has(proposal)) {
        table.row([
            proposal.number.to_string(),
            said(proposal, language),
            proposal.proposed_by.clone(),
            role(proposal.needs(), language).to_owned(),
            Timestamp::from_ms(proposal.expires_at_ms).to_string(),
            state(proposal, language),
        ]);
    }
    table.print(connect);
    Ok(())
}

async fn find(registry: &mut RegistryClient, number: u64) -> Result<Option<Proposal>, CliError> {
    let proposals = registry.list_proposals(ListProposalsRequest {}).await?.into_inner().proposals;
    Ok(proposals.into_iter().find(|proposal| proposal.number == number))
}

/// The word for what was seen of a proposal, and for nothing else.
pub(crate) fn approval_of(proposal: &Proposal) -> ApproveProposalRequest {
    let change = proposal.change.clone().unwrap_or_default();
    let change_sha256 = change_digest(&change).as_bytes().to_vec().into();
    ApproveProposalRequest { number: proposal.number, change_sha256 }
}

fn print(proposal: &Proposal, connect: &Connect) {
    let language = connect.language();
    let mut fields = vec![
        ("number", "número", proposal.number.to_string()),
        ("what", "qué", said(proposal, language)),
        ("proposed by", "propuesta por", proposal.proposed_by.clone()),
        ("proposed at", "propuesta el", Timestamp::from_ms(proposal.proposed_at_ms).to_string()),
        ("needs", "la aprueba", role(proposal.needs(), language).to_owned()),
        ("until", "hasta", Timestamp::from_ms(proposal.expires_at_ms).to_string()),
        ("state", "estado", state(proposal, language)),
    ];
    if let Some(event) = proposal.change.clone().and_then(|change| change.event) {
        fields.extend(details(event));
    }
    output::fields(connect, &fields);
}

fn state(proposal: &Proposal, language: Language) -> String {
    let by = &proposal.closed_by;
    let (spanish, english) = match proposal.state() {
        ProposalState::Open => ("abierta".to_owned(), "open".to_owned()),
        ProposalState::Approved => (format!("aprobada por {by}"), format!("approved by {by}")),
        ProposalState::Rejected => (format!("rechazada por {by}"), format!("rejected by {by}")),
        ProposalState::Expired => ("vencida".to_owned(), "expired".to_owned()),
        ProposalState::Unspecified => {
            ("de una versión más nueva".to_owned(), "of a newer version".to_owned())
        }
    };
    language.of_both(spanish, english)
}

fn role(role: OfficerRole, language: Language) -> &'static str {
    let (spanish, english) = match role {
        OfficerRole::Registration => ("oficial de inscripción", "registration officer"),
        OfficerRole::Security => ("oficial de seguridad", "security officer"),
        OfficerRole::ServiceAdministrator => ("administrador de servicios", "service administrator"),
        OfficerRole::Auditor => ("auditor", "auditor"),
        OfficerRole::Unspecified => ("rol de una versión más nueva", "role of a newer version"),
    };
    language.of_both(spanish, english)
}

fn said(proposal: &Proposal, language: Language) -> String {
    proposal.change.as_ref().map(|change| what(change, language)).unwrap_or_default()
}

/// An event of the registry in one line.
pub(crate) fn what(event: &RegistryEvent, language: Language) -> String {
    let id = |record: &Option<NodeRecord>| record.as_ref().map(|node| node.id.clone()).unwrap_or_default();
    // What is done, to what.
    let done =
        |spanish: &str, english: &str, what: &str| format!("{} {what}", language.of_both(spanish, english));
    match &event.event {
        Some(Event::MemberAdded(event)) => done("inscribir al miembro", "enrol the member", &event.member),
        Some(Event::SubsystemAdded(event)) => {
            let id = event.subsystem.as_ref().map_or("", |it| &it.id);
            done("agregar el subsistema", "add the subsystem", id)
        }
        Some(Event::NodeAdded(event)) => done("registrar el nodo", "register the node", &id(&event.node)),
        Some(Event::NodeAddressesSet(event)) => {
            done("cambiar las direcciones de", "set the addresses of", &event.node)
        }
        Some(Event::AuthorityAdded(event)) => {
            let name = event.authority.as_ref().map_or("", |it| &it.name);
            done("confiar en la autoridad", "trust the authority", &format!("`{name}`"))
        }
        Some(Event::OperatorsListed(event)) => {
            let names =
                event.operators.iter().map(|it| format!("{} ({})", it.name, roles(it.roles(), language)));
            done("los operadores son", "the operators are", &names.collect::<Vec<_>>().join(", "))
        }
        Some(Event::ChangeProposed(event)) => {
            let change = event.change.as_deref().map(|change| what(change, language)).unwrap_or_default();
            done("propuesta", "proposal", &format!("{}: {change}", event.number))
        }
        Some(Event::ProposalApproved(event)) => language.of_both(
            format!("propuesta {} aprobada", event.number),
            format!("proposal {} approved", event.number),
        ),
        Some(Event::ProposalRejected(event)) => language.of_both(
            format!("propuesta {} rechazada", event.number),
            format!("proposal {} rejected", event.number),
        ),
        Some(other) => of_certificates(other, language),
        None => {
            language.of_both("un evento de una versión más nueva", "an event of a newer version").to_owned()
        }
    }
}

/// Events about two things: a certificate or a ledger, and whose it is; a version, and of what.
fn of_certificates(event: &Event, language: Language) -> String {
    let of = language.of_both("de", "of");
    let (spanish, english, what) = match event {
        Event::NodeCertificateAdded(event) => {
            let what = format!("{} {of} {}", Digest::of(&event.certificate), event.node);
            ("registrar el certificado", "register the certificate", what)
        }
        Event::NodeCertificateRemoved(event) => {
            let what = format!("{} {of} {}", hex(&event.certificate_sha256), event.node);
            ("retirar el certificado", "withdraw the certificate", what)
        }
        Event::LedgerAdded(event) => {
            let origin = event.ledger.as_ref().map_or("", |it| &it.origin);
            ("registrar el libro", "register the ledger", format!("{origin} {of} {}", event.member))
        }
        Event::LedgerCertificateAdded(event) => {
            let what =
                format!("{} {of} {} {of} {}", Digest::of(&event.certificate), event.origin, event.member);
            ("registrar el certificado de sellado", "register the sealing certificate", what)
        }
        Event::LedgerCertificateRemoved(event) => {
            let what =
                format!("{} {of} {} {of} {}", hex(&event.certificate_sha256), event.origin, event.member);
            ("retirar el certificado de sellado", "withdraw the sealing certificate", what)
        }
        Event::LedgerWithdrawn(event) => {
            ("retirar el libro", "withdraw the ledger", format!("{} {of} {}", event.origin, event.member))
        }
        Event::AuthorityWithdrawn(event) => {
            let what = hex(&event.certificate_sha256);
            ("dejar de confiar en la autoridad", "no longer trust the authority", what)
        }
        Event::ContractAdded(event) => {
            let record = event.contract.clone().unwrap_or_default();
            (
                "registrar la versión",
                "register version",
                format!("{} {of} {}", record.version, record.service),
            )
        }
        _ => ("un evento", "an event", String::new()),
    };
    format!("{} {what}", language.of_both(spanish, english))
}

fn roles(roles: impl Iterator<Item = OfficerRole>, language: Language) -> String {
    roles.map(|it| role(it, language)).collect::<Vec<_>>().join(", ")
}

/// What a careful officer compares with the paper before approving.
fn details(event: Event) -> Vec<(&'static str, &'static str, String)> {
    match event {
        Event::MemberAdded(event) => vec![("name", "nombre", event.name)],
        Event::NodeAdded(event) => {
            let node = event.node.unwrap_or_default();
            let addresses = node.addresses.into_iter().map(address);
            let certificates = node.authentication_certificates.iter().map(|der| Digest::of(der).to_string());
            vec![
                ("addresses", "direcciones", addresses.collect::<Vec<_>>().join("\n")),
                ("certificates", "certificados", certificates.collect::<Vec<_>>().join("\n")),
            ]
        }
        Event::LedgerAdded(event) => {
            let ledger = event.ledger.unwrap_or_default();
            let sha256 = Digest::of(&ledger.sealing_certificate).to_string();
            vec![
                ("kept by", "lo lleva", ledger.node),
                ("epoch", "época", ledger.epoch.to_string()),
                ("certificate", "certificado", sha256),
            ]
        }
        Event::AuthorityAdded(event) => {
            let authority = event.authority.unwrap_or_default();
            let purposes = authority.purposes().map(|purpose| format!("{purpose:?}").to_lowercase());
            vec![
                ("for", "para", purposes.collect::<Vec<_>>().join(" ")),
                ("certificate", "certificado", Digest::of(&authority.certificate).to_string()),
            ]
        }
        _ => Vec::new(),
    }
}

fn address(address: NodeAddress) -> String {
    match Address::from_proto(address) {
        Ok(Address::Direct { host, port }) => format!("{host}:{port}"),
        Ok(Address::DialOut) => "dial-out".to_owned(),
        Ok(Address::Relay(relay)) => format!("behind {relay}"),
        Err(reason) => reason,
    }
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}
