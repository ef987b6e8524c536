//! The impostor's connection with a node over either carrier, and one stream of it.

use bytes::Bytes;
use h2::client::ResponseFuture;
use peabiru_integration_tests::federation::Member;
use peabiru_ledger::ledger::Ledger;
use peabiru_ledger::position::TreeSize;
use peabiru_ledger::proof::ConsistencyProof;
use peabiru_node::link::Carrier;
use peabiru_node::link::frame::Decoder;
use peabiru_proto::limits::MAX_FRAME_BYTES;
use peabiru_proto::wire::link_frame::Frame;

use super::impostor::{Impostor, Sealed};
use super::raw::Raw;
use super::raw_http2::RawHttp2;

/// Its connection with a node.
pub(crate) struct Guest {
    way: Way,
    /// Up to where that node was shown its ledger.
    shown: TreeSize,
}

enum Way {
    Quic(Raw),
    Http2(RawHttp2),
}

/// One stream: frames out, frames in.
pub(crate) struct Line {
    out: Out,
    back: Back,
    decoder: Decoder,
}

enum Out {
    Quic(quinn::SendStream),
    Http2(h2::SendStream<Bytes>),
}

enum Back {
    Quic(quinn::RecvStream),
    /// What the node answers has not begun.
    Awaited(ResponseFuture),
    Http2(h2::RecvStream),
    Ended,
}

impl Guest {
    /// Dials and greets, for the first time.
    pub(crate) async fn over(carrier: Carrier, impostor: &Impostor, to: &Member) -> Self {
        let (id, address) = (&to.agency.site.node, to.node.link_address);
        let way = match carrier {
            Carrier::Quic => {
                let raw = Raw::connect(impostor.guise(), id, address, 1).await;
                raw.hear().await;
                Way::Quic(raw)
            }
            Carrier::Http2 => {
                let manners = h2::client::Builder::new();
                Way::Http2(RawHttp2::connect(impostor.guise(), id, address, &manners).await)
            }
        };
        Self { way, shown: TreeSize::EMPTY }
    }

    /// Shows the head that seals a message, with its proof.
    pub(crate) async fn show(&mut self, ledger: &Ledger, sealed: &Sealed) {
        let head = &sealed.entry.seal.checkpoint;
        if head.size() <= self.shown {
            return;
        }
        let proof = match self.shown {
            TreeSize::EMPTY => ConsistencyProof::default(),
            shown => ledger.consistency(shown, head.size()).unwrap(),
        };
        match &mut self.way {
            Way::Quic(raw) => raw.update(head, self.shown, &proof).await,
            Way::Http2(raw) => raw.extend(head, self.shown, &proof),
        }
        self.shown = head.size();
    }

    /// A stream for an exchange of its own.
    pub(crate) async fn open(&self) -> Line {
        let (out, back) = match &self.way {
            Way::Quic(raw) => {
                let (out, back) = raw.connection.open_bi().await.unwrap();
                (Out::Quic(out), Back::Quic(back))
            }
            Way::Http2(raw) => {
                let (answer, out) = raw.open("/exchange").await;
                (Out::Http2(out), Back::Awaited(answer))
            }
        };
        Line::new(out, back)
    }

    /// A stream for the next exchange that the node opens: with HTTP/2, parked until it does.
    pub(crate) async fn park(&self) -> Line {
        let (out, back) = match &self.way {
            Way::Quic(raw) => {
                let (out, back) = raw.connection.accept_bi().await.unwrap();
                (Out::Quic(out), Back::Quic(back))
            }
            Way::Http2(raw) => {
                let (opened, out) = raw.open("/parked").await;
                (Out::Http2(out), Back::Awaited(opened))
            }
        };
        Line::new(out, back)
    }
}

impl Line {
    fn new(out: Out, back: Back) -> Self {
        Self { out, back, decoder: Decoder::new(MAX_FRAME_BYTES) }
    }

    /// Waits until the node has opened an exchange on it.
    pub(crate) async fn is_opened(&mut self) {
        if let Back::Awaited(answer) = &mut self.back {
            let answer = answer.await;
            self.back = answer.map_or(Back::Ended, |answer| Back::Http2(answer.into_body()));
        }
    }

    /// Whether the node still takes something.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> bool {
        match &mut self.out {
            Out::Quic(out) => out.write_all(bytes).await.is_ok(),
            Out::Http2(out) => out.send_data(Bytes::copy_from_slice(bytes), false).is_ok(),
        }
    }

    /// Nothing more comes.
    pub(crate) fn end(&mut self) {
        match &mut self.out {
            Out::Quic(out) => drop(out.finish()),
            Out::Http2(out) => drop(out.send_data(Bytes::new(), true)),
        }
    }

    /// The next frame; none if the node ended the stream before, in whatever way.
    pub(crate) async fn hear(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            let bytes = match &mut self.back {
                Back::Quic(back) => back.read_chunk(usize::MAX, true).await.ok()??.bytes,
                Back::Awaited(_) => {
                    self.is_opened().await;
                    continue;
                }
                Back::Http2(back) => {
                    let bytes = back.data().await?.ok()?;
                    back.flow_control().release_capacity(bytes.len()).unwrap();
                    bytes
                }
                Back::Ended => return None,
            };
            self.decoder.push(bytes);
        }
    }

    /// Gives it up, both ways at once.
    pub(crate) fn reset(mut self) {
        match &mut self.out {
            Out::Quic(out) => drop(out.reset(ABANDONED)),
            Out::Http2(out) => out.send_reset(h2::Reason::CANCEL),
        }
        if let Back::Quic(back) = &mut self.back {
            let _ = back.stop(ABANDONED);
        }
    }
}

/// Nobody waits for it any more.
const ABANDONED: quinn::VarInt = quinn::VarInt::from_u32(6);
