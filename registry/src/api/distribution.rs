//! Snapshots and parts for whoever asks: everything in them is signed.

use std::sync::Arc;

use peabiru_proto::hash::Digest;
use peabiru_proto::wire::distribution_service_server::DistributionService;
use peabiru_proto::wire::{
    self, GetPartRequest, GetPartResponse, GetSnapshotRequest, GetSnapshotResponse, GetStatusNoteRequest,
    GetStatusNoteResponse,
};
use tonic::{Request, Response, Status};

use super::invalid;
use crate::registry::Registry;

/// Serves nodes.
pub(crate) struct Distribution {
    registry: Arc<Registry>,
}

impl Distribution {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }
}

#[tonic::async_trait]
impl DistributionService for Distribution {
    async fn get_status_note(
        &self,
        _: Request<GetStatusNoteRequest>,
    ) -> Result<Response<GetStatusNoteResponse>, Status> {
        let note = Some(wire::SignedStatusNote::clone(&self.registry.status()));
        Ok(Response::new(GetStatusNoteResponse { note }))
    }

    async fn get_snapshot(
        &self,
        request: Request<GetSnapshotRequest>,
    ) -> Result<Response<GetSnapshotResponse>, Status> {
        let published = &self.registry.current().published;
        let known = request.get_ref().known_version;
        let newer = published.reference.version > known;
        Ok(Response::new(if newer { published.answer.clone() } else { GetSnapshotResponse::default() }))
    }

    async fn get_part(&self, request: Request<GetPartRequest>) -> Result<Response<GetPartResponse>, Status> {
        let digest =
            Digest::from_slice(&request.get_ref().digest).map_err(|error| invalid("digest", &error))?;
        let current = self.registry.current();
        let unknown =
            || invalid("digest", &format_args!("no part {digest} here: fetch the newest snapshot first"));
        let part = current.shelf.get(&digest).ok_or_else(unknown)?.clone();
        Ok(Response::new(GetPartResponse { part }))
    }
}
