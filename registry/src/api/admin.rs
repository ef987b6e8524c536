//! The admin API: parses requests into commands, asks the roles table, renders answers.

use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use peabiru_proto::globalconf::Address;
use peabiru_proto::hash::{ContractDigest, Digest};
use peabiru_proto::id::ServiceId;
use peabiru_proto::origin::Epoch;
use peabiru_proto::wire::registry_admin_service_server::RegistryAdminService;
use peabiru_proto::wire::{
    AddAuthorityRequest, AddAuthorityResponse, AddContractRequest, AddContractResponse,
    AddLedgerCertificateRequest, AddLedgerCertificateResponse, AddLedgerRequest, AddLedgerResponse,
    AddMemberRequest, AddMemberResponse, AddNodeCertificateRequest, AddNodeCertificateResponse,
    AddNodeRequest, AddNodeResponse, AddSubsystemRequest, AddSubsystemResponse, ApproveProposalRequest,
    ApproveProposalResponse, ListMembersRequest, ListMembersResponse, ListNoticesRequest,
    ListNoticesResponse, ListProposalsRequest, ListProposalsResponse, NodeAddress, RejectProposalRequest,
    RejectProposalResponse, RemoveLedgerCertificateRequest, RemoveLedgerCertificateResponse,
    RemoveNodeCertificateRequest, RemoveNodeCertificateResponse, SetNodeAddressesRequest,
    SetNodeAddressesResponse, WithdrawAuthorityRequest, WithdrawAuthorityResponse, WithdrawLedgerRequest,
    WithdrawLedgerResponse,
};
use tonic::{Request, Response, Status};

use super::acceptor::Caller;
use super::roster;
use super::{fault_status, invalid, status};
use crate::registry::{Changed, Registry};
use crate::state::{Ask, Call, Command};

/// Serves operators.
pub(crate) struct Admin {
    registry: Arc<Registry>,
}

impl Admin {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// First who, then what: a request's content is read only for those who may.
    fn authorise<T>(&self, request: Request<T>, call: Call) -> Result<(Digest, T), Status> {
        let caller = request.extensions().get::<Caller>();
        let state = &self.registry.current().state;
        let operator = roster::authorise(caller, call, state, self.registry.now());
        let operator = operator.map_err(|fault| fault_status(&fault))?;
        Ok((operator, request.into_inner()))
    }

    async fn ask(&self, operator: Digest, ask: Ask) -> Result<Changed, Status> {
        self.registry.change(operator, ask).await.map_err(|error| status(&error))
    }

    async fn change(&self, operator: Digest, command: Command) -> Result<Changed, Status> {
        self.ask(operator, Ask::Change(command)).await
    }

    async fn version(&self, operator: Digest, command: Command) -> Result<u64, Status> {
        Ok(self.change(operator, command).await?.current.published.reference.version)
    }
}

#[tonic::async_trait]
impl RegistryAdminService for Admin {
    async fn add_member(&self, request: Request<AddMemberRequest>) -> Answer<AddMemberResponse> {
        let (operator, request) = self.authorise(request, Call::AddMember)?;
        let command = Command::AddMember { member: parse("member", &request.member)?, name: request.name };
        let Changed { current, proposal } = self.change(operator, command).await?;
        let globalconf_version = current.published.reference.version;
        Ok(Response::new(AddMemberResponse { globalconf_version, proposal }))
    }

    async fn add_subsystem(&self, request: Request<AddSubsystemRequest>) -> Answer<AddSubsystemResponse> {
        let (operator, request) = self.authorise(request, Call::AddSubsystem)?;
        let record = request.subsystem.ok_or_else(|| invalid("subsystem", &MISSING))?;
        let subsystem = parse("subsystem.id", &record.id)?;
        let globalconf_version =
            self.version(operator, Command::AddSubsystem { subsystem, name: record.name }).await?;
        Ok(Response::new(AddSubsystemResponse { globalconf_version }))
    }

    async fn add_node(&self, request: Request<AddNodeRequest>) -> Answer<AddNodeResponse> {
        let (operator, request) = self.authorise(request, Call::AddNode)?;
        let record = request.node.ok_or_else(|| invalid("node", &MISSING))?;
        let command = Command::AddNode {
            node: parse("node.id", &record.id)?,
            addresses: addresses("node.addresses", record.addresses)?,
            certificates: record.authentication_certificates,
        };
        let Changed { current, proposal } = self.change(operator, command).await?;
        let globalconf_version = current.published.reference.version;
        Ok(Response::new(AddNodeResponse { globalconf_version, proposal }))
    }

    async fn set_node_addresses(
        &self,
        request: Request<SetNodeAddressesRequest>,
    ) -> Answer<SetNodeAddressesResponse> {
        let (operator, request) = self.authorise(request, Call::SetNodeAddresses)?;
        let command = Command::SetNodeAddresses {
            node: parse("node", &request.node)?,
            addresses: addresses("addresses", request.addresses)?,
        };
        let globalconf_version = self.version(operator, command).await?;
        Ok(Response::new(SetNodeAddressesResponse { globalconf_version }))
    }

    async fn add_node_certificate(
        &self,
        request: Request<AddNodeCertificateRequest>,
    ) -> Answer<AddNodeCertificateResponse> {
        let (operator, request) = self.authorise(request, Call::AddNodeCertificate)?;
        let node = parse("node", &request.node)?;
        let command = Command::AddNodeCertificate { node, certificate: request.certificate };
        let Changed { current, proposal } = self.change(operator, command).await?;
        let globalconf_version = current.published.reference.version;
        Ok(Response::new(AddNodeCertificateResponse { globalconf_version, proposal }))
    }

    async fn remove_node_certificate(
        &self,
        request: Request<RemoveNodeCertificateRequest>,
    ) -> Answer<RemoveNodeCertificateResponse> {
        let (operator, request) = self.authorise(request, Call::RemoveNodeCertificate)?;
        let node = parse("node", &request.node)?;
        let sha256 = digest("certificate_sha256", &request.certificate_sha256)?;
        let Changed { current, proposal } =
            self.change(operator, Command::RemoveNodeCertificate { node, sha256 }).await?;
        let globalconf_version = current.published.reference.version;
        Ok(Response::new(RemoveNodeCertificateResponse { globalconf_version, proposal }))
    }

    async fn add_ledger(&self, request: Request<AddLedgerRequest>) -> Answer<AddLedgerResponse> {
        let (operator, request) = self.authorise(request, Call::AddLedger)?;
        let record = request.ledger.ok_or_else(|| invalid("ledger", &MISSING))?;
        let command = Command::AddLedger {
            member: parse("member", &request.member)?,
            node: parse("ledger.node", &record.node)?,
            epoch: Epoch::new(record.epoch).ok_or_else(|| invalid("ledger.epoch", &"epochs count from 1"))?,
            origin: parse("ledger.origin", &record.origin)?,
            sealing_certificate: record.sealing_certificate,
        };
        let Changed { current, proposal } = self.change(operator, command).await?;
        let globalconf_version = current.published.reference.version;
        Ok(Response::new(AddLedgerResponse { globalconf_version, proposal }))
    }

    async fn add_ledger_certificate(
        &self,
        request: Request<AddLedgerCertificateRequest>,
    ) -> Answer<AddLedgerCertificateResponse> {
        let (operator, request) = self.authorise(request, Call::AddLedgerCertificate)?;
        let origin = parse("origin", &request.origin)?;
        let command = Command::AddLedgerCertificate { origin, certificate: request.certificate };
        let Changed { current, proposal } = self.change(operator, command).await?;
        let globalconf_version = current.published.reference.version;
        Ok(Response::new(AddLedgerCertificateResponse { globalconf_version, proposal }))
    }

    async fn remove_ledger_certificate(
        &self,
        request: Request<RemoveLedgerCertificateRequest>,
    ) -> Answer<RemoveLedgerCertificateResponse> {
        let (operator, request) = self.authorise(request, Call::RemoveLedgerCertificate)?;
        let origin = parse("origin", &request.origin)?;
        let sha256 = digest("certificate_sha256", &request.certificate_sha256)?;
        let command = Command::RemoveLedgerCertificate { origin, sha256 };
        let Changed { current, proposal } = self.change(operator, command).await?;
        let globalconf_version = current.published.reference.version;
        Ok(Response::new(RemoveLedgerCertificateResponse { globalconf_version, proposal }))
    }

    async fn add_authority(&self, request: Request<AddAuthorityRequest>) -> Answer<AddAuthorityResponse> {
        let (operator, request) = self.authorise(request, Call::AddAuthority)?;
        let record = request.authority.ok_or_else(|| invalid("authority", &MISSING))?;
        let purposes = record.purposes().collect();
        let command = Command::AddAuthority { certificate: record.certificate, purposes, name: record.name };
        let Changed { current, proposal } = self.change(operator, command).await?;
        let globalconf_version = current.published.reference.version;
        Ok(Response::new(AddAuthorityResponse { globalconf_version, proposal }))
    }

    async fn withdraw_ledger(
        &self,
        request: Request<WithdrawLedgerRequest>,
    ) -> Answer<WithdrawLedgerResponse> {
        let (operator, request) = self.authorise(request, Call::WithdrawLedger)?;
        let command = Command::WithdrawLedger { origin: parse("origin", &request.origin)? };
        let Changed { current, proposal } = self.change(operator, command).await?;
        let globalconf_version = current.published.reference.version;
        Ok(Response::new(WithdrawLedgerResponse { globalconf_version, proposal }))
    }

    async fn withdraw_authority(
        &self,
        request: Request<WithdrawAuthorityRequest>,
    ) -> Answer<WithdrawAuthorityResponse> {
        let (operator, request) = self.authorise(request, Call::WithdrawAuthority)?;
        let sha256 = digest("certificate_sha256", &request.certificate_sha256)?;
        let Changed { current, proposal } =
            self.change(operator, Command::WithdrawAuthority { sha256 }).await?;
        let globalconf_version = current.published.reference.version;
        Ok(Response::new(WithdrawAuthorityResponse { globalconf_version, proposal }))
    }

    async fn list_proposals(&self, request: Request<ListProposalsRequest>) -> Answer<ListProposalsResponse> {
        self.authorise(request, Call::ListProposals)?;
        let proposals = self.registry.current().state.proposals(self.registry.now()).collect();
        Ok(Response::new(ListProposalsResponse { proposals }))
    }

    async fn approve_proposal(
        &self,
        request: Request<ApproveProposalRequest>,
    ) -> Answer<ApproveProposalResponse> {
        let (operator, request) = self.authorise(request, Call::ApproveProposal)?;
        let seen = digest("change_sha256", &request.change_sha256)?;
        let changed = self.ask(operator, Ask::Approve { number: request.number, seen }).await?;
        let globalconf_version = changed.current.published.reference.version;
        Ok(Response::new(ApproveProposalResponse { globalconf_version, proposal: changed.proposal }))
    }

    async fn reject_proposal(
        &self,
        request: Request<RejectProposalRequest>,
    ) -> Answer<RejectProposalResponse> {
        let (operator, request) = self.authorise(request, Call::RejectProposal)?;
        let Changed { proposal, .. } = self.ask(operator, Ask::Reject(request.number)).await?;
        Ok(Response::new(RejectProposalResponse { proposal }))
    }

    async fn add_contract(&self, request: Request<AddContractRequest>) -> Answer<AddContractResponse> {
        let (operator, request) = self.authorise(request, Call::AddContract)?;
        let service: ServiceId = parse("service", &request.service)?;
        let document = request.document;
        let digest = ContractDigest::of(&document);
        let Changed { current, .. } =
            self.change(operator, Command::AddContract { service: service.clone(), document }).await?;
        Ok(Response::new(AddContractResponse {
            globalconf_version: current.published.reference.version,
            contract_version: current.contract_version(&service, &digest),
            digest: Bytes::copy_from_slice(digest.as_bytes()),
        }))
    }

    async fn list_members(&self, request: Request<ListMembersRequest>) -> Answer<ListMembersResponse> {
        self.authorise(request, Call::ListMembers)?;
        let current = self.registry.current();
        Ok(Response::new(ListMembersResponse {
            members: current.state.member_parts().collect(),
            trust: Some(current.state.trust_part()),
            globalconf_version: current.published.reference.version,
        }))
    }

    async fn list_notices(&self, request: Request<ListNoticesRequest>) -> Answer<ListNoticesResponse> {
        let (_, request) = self.authorise(request, Call::ListNotices)?;
        let limit = match usize::try_from(request.limit) {
            Ok(0) => NOTICES_DEFAULT,
            Ok(limit) if limit <= NOTICES_MAX => limit,
            _ => {
                return Err(invalid(
                    "limit",
                    &format_args!("at most {NOTICES_MAX} notices are given at once"),
                ));
            }
        };
        let registry = Arc::clone(&self.registry);
        let read = tokio::task::spawn_blocking(move || registry.notices(request.start, limit)).await;
        let read = read.map_err(|error| Status::internal(error.to_string()))?;
        let (notices, tree_size) = read.map_err(|error| status(&error))?;
        Ok(Response::new(ListNoticesResponse { notices, tree_size }))
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn parse<T: FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, Status> {
    text.parse().map_err(|error| invalid(field, &error))
}

fn digest(field: &str, bytes: &[u8]) -> Result<Digest, Status> {
    Digest::from_slice(bytes).map_err(|error| invalid(field, &error))
}

fn addresses(field: &str, addresses: Vec<NodeAddress>) -> Result<Vec<Address>, Status> {
    let read = addresses.into_iter().map(Address::from_proto).collect::<Result<_, _>>();
    read.map_err(|error| invalid(field, &error))
}

const MISSING: &str = "it is missing";
/// Notices of one answer if nobody says.
const NOTICES_DEFAULT: usize = 100;
/// Most notices of one answer.
const NOTICES_MAX: usize = 1000;
