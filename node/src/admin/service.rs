//! The calls, one after another: each says what it needs and hands on.

use peabiru_proto::entry::SideEffects;
use peabiru_proto::fault::Place;
use peabiru_proto::fault::{Fault, FaultCode};
use peabiru_proto::globalconf::{Contract, NameError};
use peabiru_proto::id::ServiceId;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::node_admin_service_server::NodeAdminService;
use peabiru_proto::wire::{
    ErasePayloadRequest, ErasePayloadResponse, ExamineRequest, ExamineResponse, ExportEvidenceRequest,
    ExportEvidenceResponse, ExportTilesRequest, ExportTilesResponse, GetContractRequest, GetContractResponse,
    GetEntryRequest, GetEntryResponse, GetExchangeStatusRequest, GetExchangeStatusResponse, GetStatusRequest,
    GetStatusResponse, LedgerStatus, ListEntriesRequest, ListEntriesResponse, ListGrantsRequest,
    ListGrantsResponse, ListServicesRequest, ListServicesResponse, MethodSummary, NodeCounters, PeerStatus,
    PutGrantRequest, PutGrantResponse, ReloadRequest, ReloadResponse, RevokeGrantRequest,
    RevokeGrantResponse, ServiceSummary, SideEffects as WireSideEffects,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Admin, invalid, status};
use crate::stage;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl NodeAdminService for Admin {
    async fn get_status(&self, _: Request<GetStatusRequest>) -> Answer<GetStatusResponse> {
        let conf = self.core.globalconf.newest();
        let ledgers = self.core.ledgers.iter().map(|(member, ledger)| LedgerStatus {
            origin: ledger.origin().to_string(),
            member: member.to_string(),
            tree_size: ledger.size().entries(),
            checkpoint: ledger.head().map(|head| head.note().to_owned()).unwrap_or_default(),
        });
        let peers = self.link.peers().into_iter().map(|peer| PeerStatus {
            node: peer.node.to_string(),
            address: peer.address.to_string(),
            connections: 1,
            carrier: peer.carrier.to_string(),
            without_quic: peer.without_quic.unwrap_or_default(),
        });
        let counters = self.store.counters();
        let exchanges = stage::counts();
        Ok(Response::new(GetStatusResponse {
            node: self.core.own.to_string(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            globalconf_version: conf.as_ref().map_or(0, |conf| conf.version()),
            globalconf_expires_at_ms: conf.map_or(0, |conf| conf.expires_at().as_ms()),
            globalconf_confirmed_at_ms: self.core.globalconf.confirmed_at().map_or(0, Timestamp::as_ms),
            ledgers: ledgers.collect(),
            peers: peers.collect(),
            counters: Some(NodeCounters {
                entries: counters.entries,
                commits: counters.commits,
                syncs: counters.syncs,
                signatures: counters.signatures,
                exchanges_asked: exchanges.asked,
                exchanges_answered: exchanges.answered,
                refusals: exchanges.refused,
            }),
        }))
    }

    async fn list_grants(&self, _: Request<ListGrantsRequest>) -> Answer<ListGrantsResponse> {
        Ok(Response::new(ListGrantsResponse { grants: self.grants() }))
    }

    async fn put_grant(&self, request: Request<PutGrantRequest>) -> Answer<PutGrantResponse> {
        let grant = self.give(request.into_inner()).await.map_err(|fault| status(&fault))?;
        Ok(Response::new(PutGrantResponse { grant: Some(grant) }))
    }

    async fn revoke_grant(&self, request: Request<RevokeGrantRequest>) -> Answer<RevokeGrantResponse> {
        let grant = self.revoke(request.into_inner()).await.map_err(|fault| status(&fault))?;
        Ok(Response::new(RevokeGrantResponse { grant: Some(grant) }))
    }

    async fn list_services(&self, _: Request<ListServicesRequest>) -> Answer<ListServicesResponse> {
        let conf = self.core.conf(Place::ConsumerNode).map_err(|fault| status(&fault))?;
        let services = conf.services().map(summary).collect();
        Ok(Response::new(ListServicesResponse { services }))
    }

    async fn get_contract(&self, request: Request<GetContractRequest>) -> Answer<GetContractResponse> {
        let name = request.into_inner().service;
        let contract = self.contract(&name).map_err(|fault| status(&fault))?;
        Ok(Response::new(contract))
    }

    async fn list_entries(&self, request: Request<ListEntriesRequest>) -> Answer<ListEntriesResponse> {
        self.entries(request.into_inner()).await.map(Response::new).map_err(|fault| status(&fault))
    }

    async fn get_entry(&self, request: Request<GetEntryRequest>) -> Answer<GetEntryResponse> {
        let entry = self.entry(request.into_inner()).await.map_err(|fault| status(&fault))?;
        Ok(Response::new(GetEntryResponse { entry: Some(entry) }))
    }

    type ExportTilesStream = ReceiverStream<Result<ExportTilesResponse, Status>>;

    async fn export_tiles(&self, request: Request<ExportTilesRequest>) -> Answer<Self::ExportTilesStream> {
        self.tiles(&request.into_inner().member).map(Response::new).map_err(|fault| status(&fault))
    }

    type ExportEvidenceStream = ReceiverStream<Result<ExportEvidenceResponse, Status>>;

    async fn export_evidence(
        &self,
        request: Request<ExportEvidenceRequest>,
    ) -> Answer<Self::ExportEvidenceStream> {
        self.evidence(request.into_inner()).await.map(Response::new).map_err(|fault| status(&fault))
    }

    async fn get_exchange_status(
        &self,
        request: Request<GetExchangeStatusRequest>,
    ) -> Answer<GetExchangeStatusResponse> {
        self.outcome(request.into_inner()).await.map(Response::new).map_err(|fault| status(&fault))
    }

    async fn examine(&self, _: Request<ExamineRequest>) -> Answer<ExamineResponse> {
        self.surroundings().await.map(Response::new).map_err(|fault| status(&fault))
    }

    async fn reload(&self, _: Request<ReloadRequest>) -> Answer<ReloadResponse> {
        match self.reloader.reload().await {
            Ok(changes) => {
                let changes = changes.iter().map(ToString::to_string).collect();
                Ok(Response::new(ReloadResponse { changes }))
            }
            Err(error) => Err(status(&invalid(&format!("{}: {error}", error.code())))),
        }
    }

    async fn erase_payload(&self, request: Request<ErasePayloadRequest>) -> Answer<ErasePayloadResponse> {
        let notice_index = self.erase(request.into_inner()).await.map_err(|fault| status(&fault))?;
        Ok(Response::new(ErasePayloadResponse { notice_index }))
    }
}

impl Admin {
    fn contract(&self, name: &str) -> Result<GetContractResponse, Fault> {
        let conf = self.core.conf(Place::ConsumerNode)?;
        let unknown = |message| Fault::new(FaultCode::ServiceUnknown, Place::ConsumerNode, message);
        let service: ServiceId = if name.contains('/') {
            name.parse().map_err(|error| invalid(&format!("service: {error}")))?
        } else {
            conf.service_by_name(name).cloned().map_err(|error| match error {
                NameError::Unknown => unknown(format!("nobody offers {name}")),
                NameError::Ambiguous => Fault::new(
                    FaultCode::ServiceAmbiguous,
                    Place::ConsumerNode,
                    format!("several members offer {name}"),
                ),
            })?
        };
        let contract = conf
            .contract(&service)
            .ok_or_else(|| unknown(format!("no contract of {service} is registered")))?;
        Ok(GetContractResponse {
            service: service.to_string(),
            version: contract.version,
            document: contract.document.bytes().clone(),
        })
    }
}

fn summary(contract: &Contract) -> ServiceSummary {
    let methods =
        contract.facts().into_iter().flat_map(peabiru_proto::contract::ServiceFacts::methods).map(|method| {
            MethodSummary {
                name: method.name.clone(),
                side_effects: match method.side_effects {
                    SideEffects::None => WireSideEffects::None,
                    SideEffects::Present => WireSideEffects::Present,
                }
                .into(),
                purposes: method.purposes.iter().map(ToString::to_string).collect(),
            }
        });
    ServiceSummary {
        service: contract.service.to_string(),
        contract_version: contract.version,
        methods: methods.collect(),
    }
}
