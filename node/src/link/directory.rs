//! Who a TLS peer is: what the global configuration in force says of its certificate.

use std::sync::Arc;

use bytes::Bytes;
use peabiru_certs::peer::PeerDirectory;
use peabiru_proto::hash::Digest;
use peabiru_proto::id::NodeId;
use peabiru_proto::time::{Clock, Timestamp};
use peabiru_proto::wire::KeyPurpose;

use super::ConfSource;

/// Looks into the snapshot of the moment, so that a new one counts at once.
pub(crate) struct ConfDirectory {
    pub(crate) conf: ConfSource,
    pub(crate) clock: Arc<dyn Clock>,
}

impl PeerDirectory for ConfDirectory {
    fn judge(&self, certificate_sha256: &Digest) -> Option<NodeId> {
        let conf = (self.conf)()?;
        conf.node_by_certificate(certificate_sha256).map(|node| node.id.clone())
    }

    fn authorities(&self) -> Vec<Bytes> {
        let conf = (self.conf)();
        conf.map(|conf| conf.authorities(KeyPurpose::Authentication).cloned().collect()).unwrap_or_default()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
