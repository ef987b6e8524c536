//! Evidence of exchanges, as a node exports it.

use peabiru_cli::client::NodeClient;
use peabiru_proto::wire::ExportEvidenceRequest;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// The evidence file of an exchange.
///
/// # Errors
/// What the node says.
pub async fn export(node: &mut NodeClient, exchange: &str) -> Result<Vec<u8>, Status> {
    let request = ExportEvidenceRequest { exchange_id: exchange.to_owned(), member: String::new() };
    let mut stream = node.export_evidence(request).await?.into_inner();
    let mut tar = Vec::new();
    while let Some(piece) = stream.message().await? {
        tar.extend(piece.content);
    }
    Ok(tar)
}

/// The exchange that an answer or a fault names.
#[must_use]
pub fn exchange_of(metadata: &MetadataMap) -> String {
    metadata.get("x-peabiru-exchange-id").unwrap().to_str().unwrap().to_owned()
}
