//! Exports for others: tiles for any tlog client, the evidence file of an exchange.

use peabiru_proto::fault::Fault;
use peabiru_proto::wire::{ExportEvidenceRequest, ExportEvidenceResponse, ExportTilesResponse};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{Admin, invalid};

impl Admin {
    pub(super) fn tiles(
        &self,
        member: &str,
    ) -> Result<ReceiverStream<Result<ExportTilesResponse, Status>>, Fault> {
        self.ledger(member)?;
        Err(invalid("this version exports no tiles"))
    }

    pub(super) async fn evidence(
        &self,
        request: ExportEvidenceRequest,
    ) -> Result<ReceiverStream<Result<ExportEvidenceResponse, Status>>, Fault> {
        self.ledger(&request.member)?;
        Err(invalid("this version exports no evidence"))
    }
}
