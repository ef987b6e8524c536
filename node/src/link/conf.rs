//! The global configuration from peer to peer: one question and one answer, on a stream of their own. What comes is
//! checked by who asked, as if it came from the registry.

use std::sync::Arc;

use bytes::Bytes;
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::hash::Digest;
use peabiru_proto::id::NodeId;
use peabiru_proto::wire::{GetPartRequest, GetSnapshotRequest, link_frame::Frame};
use tokio::time::{Instant, timeout};

use super::answer::{malformed, overloaded};
use super::budget::RESERVE_WAIT;
use super::carrier::Sender;
use super::frame::{self, MAX_CONF_FRAME_BYTES};
use super::patience::Patience;
use super::peer::Peer;
use super::terms::Code;
use super::{Inner, unreachable};
use crate::exchange::WantedConf;

impl Inner {
    pub(crate) async fn ask_conf(
        self: &Arc<Self>,
        from: &NodeId,
        wanted: WantedConf,
        until: Instant,
    ) -> Result<Option<Bytes>, Fault> {
        let question = match wanted {
            WantedConf::Snapshot { known_version } => {
                Frame::GetSnapshot(GetSnapshotRequest { known_version })
            }
            WantedConf::Part(digest) => {
                Frame::GetPart(GetPartRequest { digest: Bytes::copy_from_slice(digest.as_bytes()) })
            }
        };
        let mut opened = self.open(from, MAX_CONF_FRAME_BYTES, until).await?;
        self.put(&mut opened.sender, vec![frame::encode(question)], until).await?;
        let mut patience = Patience::once(until.saturating_duration_since(Instant::now()));
        let answer = opened.receiver.first_frame(&opened.peer.budget, &mut patience).await;
        let (answer, reserved) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                opened.receiver.stop(Code::Abandoned);
                return Err(unreachable(opened.peer.why(&error).await));
            }
        };
        self.counters.bytes_received.increment(reserved.bytes());
        match (wanted, answer) {
            (WantedConf::Snapshot { .. }, Frame::Snapshot(bytes))
            | (WantedConf::Part(_), Frame::Part(bytes)) => Ok((!bytes.is_empty()).then_some(bytes)),
            (_, Frame::Refusal(fault)) => {
                Err(Fault::from_proto(&fault).unwrap_or_else(|error| unreachable(error.to_string())))
            }
            _ => {
                let what = format!("{from} answered with another frame");
                Err(Fault::new(FaultCode::MessageMalformed, Place::ConsumerNode, what))
            }
        }
    }

    /// The newest snapshot, or a part: few at once for each peer, since they are long.
    pub(super) async fn answer_conf(&self, peer: &Peer, question: &Frame, sender: &mut Sender) {
        let Some(wanted) = read_question(question) else {
            return self.refuse(sender, &malformed(&"the digest of a part has 32 bytes")).await;
        };
        let Ok(_place) = peer.conf_out.try_acquire() else {
            return self.refuse(sender, &overloaded()).await;
        };
        // Its length is known only when it was read.
        let Ok(_reserved) = timeout(RESERVE_WAIT, peer.budget.reserve(MAX_CONF_FRAME_BYTES)).await else {
            return self.refuse(sender, &overloaded()).await;
        };
        let bytes = self.inbound.globalconf(wanted).await.unwrap_or_default();
        sender.mark_bulk();
        let answer = match wanted {
            WantedConf::Snapshot { .. } => Frame::Snapshot(bytes),
            WantedConf::Part(_) => Frame::Part(bytes),
        };
        self.send(sender, vec![frame::encode(answer)]).await;
    }
}

fn read_question(question: &Frame) -> Option<WantedConf> {
    match question {
        Frame::GetSnapshot(GetSnapshotRequest { known_version }) => {
            Some(WantedConf::Snapshot { known_version: *known_version })
        }
        Frame::GetPart(GetPartRequest { digest }) => Digest::from_slice(digest).ok().map(WantedConf::Part),
        _ => None,
    }
}

/// Answers that a peer may wait for at once.
pub(super) const CONF_STREAMS_MAX: usize = 4;
