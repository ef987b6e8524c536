//! `peabiru approval`: the second officer's word, and what the first one is told.

use clap::Subcommand;
use data_encoding::HEXLOWER;
use peabiru_proto::globalconf::Address;
use peabiru_proto::hash::Digest;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::registry_event::Event;
use peabiru_proto::wire::{
    ApproveProposalRequest, ListProposalsRequest, NodeAddress, NodeRecord, OfficerRole, Proposal,
    ProposalState, RegistryEvent, RejectProposalRequest,
};
use peabiru_registry::state::change_digest;

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
    match verb {
        Verb::List { all } => {
            let shown = if all { Shown::All } else { Shown::Open };
            list(&mut registry, shown, connect.output).await
        }
        Verb::Show { number } => {
            let unknown = || CliError::Usage(format!("no proposal {number} is open or was decided lately"));
            print(&find(&mut registry, number).await?.ok_or_else(unknown)?, connect.output);
            Ok(())
        }
        Verb::Approve { numbers } => {
            for number in numbers {
                let proposal = match find(&mut registry, number).await? {
                    Some(proposal) => {
                        print(&proposal, connect.output);
                        proposal
                    }
                    // The registry says why there is none.
                    None => Proposal { number, ..Proposal::default() },
                };
                let approved = registry.approve_proposal(approval_of(&proposal)).await?.into_inner();
                let what = approved.proposal.map(|proposal| said(&proposal)).unwrap_or_default();
                let version = approved.globalconf_version;
                output::done(
                    connect.output,
                    &format!("proposal {number} is approved: {what} (global configuration {version})"),
                );
            }
            Ok(())
        }
        Verb::Reject { number } => {
            registry.reject_proposal(RejectProposalRequest { number }).await?;
            output::done(connect.output, &format!("proposal {number} is rejected"));
            Ok(())
        }
    }
}

/// Tells an officer that a change is made, or that it waits for another.
pub(crate) fn answered(format: Format, done: &str, version: u64, proposal: Option<Proposal>) {
    let Some(proposal) = proposal else {
        output::done(format, &format!("{done} (global configuration {version})"));
        return;
    };
    let (number, needs) = (proposal.number, role(proposal.needs()));
    let until = Timestamp::from_ms(proposal.expires_at_ms);
    match format {
        Format::Table => output::line(&format!(
            "proposed, number {number}: {}\nneeds a {needs} until {until}: peabiru approval approve {number}",
            said(&proposal)
        )),
        Format::Json => output::fields(
            format,
            &[("proposed", number.to_string()), ("needs", needs.to_owned()), ("until", until.to_string())],
        ),
    }
}

async fn list(registry: &mut RegistryClient, shown: Shown, format: Format) -> Result<(), CliError> {
    let proposals = registry.list_proposals(ListProposalsRequest {}).await?.into_inner().proposals;
    let mut table = Table::new(&["number", "what", "proposed_by", "needs", "until", "state"]);
    for proposal in proposals.iter().filter(|proposal| shown.has(proposal)) {
        table.row([
            proposal.number.to_string(),
            said(proposal),
            proposal.proposed_by.clone(),
            role(proposal.needs()).to_owned(),
            Timestamp::from_ms(proposal.expires_at_ms).to_string(),
            state(proposal),
        ]);
    }
    table.print(format);
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

fn print(proposal: &Proposal, format: Format) {
    let mut fields = vec![
        ("number", proposal.number.to_string()),
        ("what", said(proposal)),
        ("proposed by", proposal.proposed_by.clone()),
        ("proposed at", Timestamp::from_ms(proposal.proposed_at_ms).to_string()),
        ("needs", role(proposal.needs()).to_owned()),
        ("until", Timestamp::from_ms(proposal.expires_at_ms).to_string()),
        ("state", state(proposal)),
    ];
    if let Some(event) = proposal.change.clone().and_then(|change| change.event) {
        fields.extend(details(event));
    }
    output::fields(format, &fields);
}

fn state(proposal: &Proposal) -> String {
    let by = &proposal.closed_by;
    match proposal.state() {
        ProposalState::Open => "open".to_owned(),
        ProposalState::Approved => format!("approved by {by}"),
        ProposalState::Rejected => format!("rejected by {by}"),
        ProposalState::Expired => "expired".to_owned(),
        ProposalState::Unspecified => "of a newer version".to_owned(),
    }
}

fn role(role: OfficerRole) -> &'static str {
    match role {
        OfficerRole::Registration => "registration officer",
        OfficerRole::Security => "security officer",
        OfficerRole::ServiceAdministrator => "service administrator",
        OfficerRole::Auditor => "auditor",
        OfficerRole::Unspecified => "role of a newer version",
    }
}

fn said(proposal: &Proposal) -> String {
    proposal.change.as_ref().map(what).unwrap_or_default()
}

/// An event of the registry in one line.
pub(crate) fn what(event: &RegistryEvent) -> String {
    let id = |record: &Option<NodeRecord>| record.as_ref().map(|node| node.id.clone()).unwrap_or_default();
    match &event.event {
        Some(Event::MemberAdded(event)) => format!("enrol the member {}", event.member),
        Some(Event::SubsystemAdded(event)) => {
            format!("add the subsystem {}", event.subsystem.as_ref().map_or("", |it| &it.id))
        }
        Some(Event::NodeAdded(event)) => format!("register the node {}", id(&event.node)),
        Some(Event::NodeAddressesSet(event)) => format!("set the addresses of {}", event.node),
        Some(Event::NodeCertificateAdded(event)) => {
            format!("register the certificate {} of {}", Digest::of(&event.certificate), event.node)
        }
        Some(Event::NodeCertificateRemoved(event)) => {
            format!("withdraw the certificate {} of {}", hex(&event.certificate_sha256), event.node)
        }
        Some(Event::LedgerAdded(event)) => {
            let origin = event.ledger.as_ref().map_or("", |it| &it.origin);
            format!("register the ledger {origin} of {}", event.member)
        }
        Some(Event::LedgerCertificateAdded(event)) => {
            let sha256 = Digest::of(&event.certificate);
            format!("register the sealing certificate {sha256} of {} of {}", event.origin, event.member)
        }
        Some(Event::LedgerCertificateRemoved(event)) => {
            let sha256 = hex(&event.certificate_sha256);
            format!("withdraw the sealing certificate {sha256} of {} of {}", event.origin, event.member)
        }
        Some(Event::LedgerWithdrawn(event)) => {
            format!("withdraw the ledger {} of {}", event.origin, event.member)
        }
        Some(Event::AuthorityAdded(event)) => {
            format!("trust the authority `{}`", event.authority.as_ref().map_or("", |it| &it.name))
        }
        Some(Event::AuthorityWithdrawn(event)) => {
            format!("trust the authority {} no more", hex(&event.certificate_sha256))
        }
        Some(Event::ContractAdded(event)) => {
            let record = event.contract.clone().unwrap_or_default();
            format!("register version {} of {}", record.version, record.service)
        }
        Some(Event::OperatorsListed(event)) => {
            let names = event.operators.iter().map(|it| format!("{} ({})", it.name, roles(it.roles())));
            format!("the operators are {}", names.collect::<Vec<_>>().join(", "))
        }
        Some(Event::ChangeProposed(event)) => {
            let change = event.change.as_deref().map(what).unwrap_or_default();
            format!("proposal {}: {change}", event.number)
        }
        Some(Event::ProposalApproved(event)) => format!("proposal {} approved", event.number),
        Some(Event::ProposalRejected(event)) => format!("proposal {} rejected", event.number),
        None => "an event of a newer version".to_owned(),
    }
}

fn roles(roles: impl Iterator<Item = OfficerRole>) -> String {
    roles.map(role).collect::<Vec<_>>().join(", ")
}

/// What a careful officer compares with the paper before approving.
fn details(event: Event) -> Vec<(&'static str, String)> {
    match event {
        Event::MemberAdded(event) => vec![("name", event.name)],
        Event::NodeAdded(event) => {
            let node = event.node.unwrap_or_default();
            let addresses = node.addresses.into_iter().map(address);
            let certificates = node.authentication_certificates.iter().map(|der| Digest::of(der).to_string());
            vec![
                ("addresses", addresses.collect::<Vec<_>>().join("\n")),
                ("certificates", certificates.collect::<Vec<_>>().join("\n")),
            ]
        }
        Event::LedgerAdded(event) => {
            let ledger = event.ledger.unwrap_or_default();
            let sha256 = Digest::of(&ledger.sealing_certificate).to_string();
            vec![("kept by", ledger.node), ("epoch", ledger.epoch.to_string()), ("certificate", sha256)]
        }
        Event::AuthorityAdded(event) => {
            let authority = event.authority.unwrap_or_default();
            let purposes = authority.purposes().map(|purpose| format!("{purpose:?}").to_lowercase());
            vec![
                ("for", purposes.collect::<Vec<_>>().join(" ")),
                ("certificate", Digest::of(&authority.certificate).to_string()),
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
