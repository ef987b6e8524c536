//! gRPC services of the door itself: reflection and health, as every gRPC client knows them.
//!
//! What they say is what the caller may do now. Grants stand at the provider's node, so it is asked, over the road like
//! for everything else ([`permitted`]).

mod health;
mod permitted;
mod reflection;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use tonic::codec::CompressionEncoding::Gzip;
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::pb::{v1, v1alpha};
use tower::Service as _;

use super::front::Shared;
use super::places::OpenCall;
use crate::grpc::body::{Broken, RoadBody};
use health::Health;
pub(super) use permitted::Asker;
use reflection::Reflection;

/// One of the door's own services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// `grpc.health.v1.Health`
    Health,
    /// `grpc.reflection.v1.ServerReflection`
    Reflection,
    /// `grpc.reflection.v1alpha.ServerReflection`: the same bytes under the name that older clients ask for.
    ReflectionAlpha,
}

impl Own {
    /// By its gRPC name.
    pub(super) fn named(name: &str) -> Option<Self> {
        OWN.iter().find(|(own, _)| *own == name).map(|(_, own)| *own)
    }

    /// Carries one call. It is one of the door's calls until its answer has ended.
    pub(super) async fn serve<B>(
        self,
        shared: &Arc<Shared>,
        asker: Asker,
        request: Request<B>,
        open: OpenCall,
    ) -> Response<RoadBody>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let mut request = request.map(|body| body.map_err(|error| Broken(error.to_string())));
        request.extensions_mut().insert(asker);
        let served = match self {
            Self::Health => {
                let server = HealthServer::new(Health { closing: shared.closing.clone() });
                server.max_decoding_message_size(ASKED_BYTES_MAX).accept_compressed(Gzip).call(request).await
            }
            Self::Reflection => {
                let server = v1::server_reflection_server::ServerReflectionServer::new(Reflection);
                server.max_decoding_message_size(ASKED_BYTES_MAX).accept_compressed(Gzip).call(request).await
            }
            Self::ReflectionAlpha => {
                let server = v1alpha::server_reflection_server::ServerReflectionServer::new(Reflection);
                server.max_decoding_message_size(ASKED_BYTES_MAX).accept_compressed(Gzip).call(request).await
            }
        };
        let answer = match served {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        answer.map(|body| RoadBody::own(body).holding(open))
    }
}

const OWN: [(&str, Own); 3] = [
    ("grpc.health.v1.Health", Own::Health),
    ("grpc.reflection.v1.ServerReflection", Own::Reflection),
    ("grpc.reflection.v1alpha.ServerReflection", Own::ReflectionAlpha),
];
/// Longest message that asks one of them, in bytes: a name and little else.
const ASKED_BYTES_MAX: usize = 16 * 1024;
