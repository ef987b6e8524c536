//! What the head of a large message announces, and whether the message that ends it keeps to that. Pure.

use peabiru_ledger::large::body::{cipher_bytes, is_large};
use peabiru_proto::entry::{Body, Common, Content, Entry, ExchangeId, Request, Response};
use peabiru_proto::fault::Fault;
use peabiru_proto::hash::{ContentRoot, LeafHash};
use peabiru_proto::id::{MemberId, NodeId};
use peabiru_proto::wire::LargeHead;

use super::internal;

/// The entry of a head: a REQUEST or a RESPONSE, not sealed.
#[derive(Debug)]
pub struct Preview {
    entry: Entry,
    declared: Declared,
}

/// Whether a head says how long the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Declared {
    /// It was not there yet.
    Nothing,
    /// Root and size are those of the sealed entry.
    Exactly(u64),
}

/// The answer that this node waits for.
pub(super) struct Awaited {
    pub(super) exchange: ExchangeId,
    pub(super) request_leaf: LeafHash,
    /// Member that answers.
    pub(super) provider: MemberId,
}

impl Awaited {
    /// The answer to a REQUEST of ours.
    pub(super) fn by(request: &Entry) -> Result<Self, Fault> {
        let Body::Request(asked) = request.body() else {
            return Err(internal("a message that asks nothing"));
        };
        let provider = asked.service.member();
        Ok(Self { exchange: request.exchange(), request_leaf: request.leaf_hash(), provider })
    }
}

impl Preview {
    /// Reads a head.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(head: LargeHead) -> Result<Self, String> {
        let entry = Entry::decode(head.entry).map_err(|error| format!("entry: {error}"))?;
        let (root, body_bytes) = match entry.body() {
            Body::Request(Request { content: Content::Whole { root, body_bytes }, .. })
            | Body::Response(Response { content: Content::Whole { root, body_bytes }, .. }) => {
                (root, *body_bytes)
            }
            Body::Request(_) | Body::Response(_) => {
                return Err("what opens a stream announces no large body".to_owned());
            }
            Body::Fault(_)
            | Body::Received(_)
            | Body::Batch(_)
            | Body::Close(_)
            | Body::KeyChange(_)
            | Body::Notice(_) => {
                return Err("a head announces a REQUEST or a RESPONSE".to_owned());
            }
        };
        let declared = match (*root == NO_ROOT, body_bytes) {
            (true, 0) => Declared::Nothing,
            (false, bytes) if is_large(bytes) => Declared::Exactly(bytes),
            (false, _) => return Err("a body that fits a message has no head".to_owned()),
            (true, _) => return Err("a head says both root and size, or neither".to_owned()),
        };
        Ok(Self { entry, declared })
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Length of the body's ciphertext, if the head tells it.
    #[must_use]
    pub fn declared_bytes(&self) -> Option<u64> {
        match self.declared {
            Declared::Nothing => None,
            Declared::Exactly(bytes) => Some(cipher_bytes(bytes)),
        }
    }

    /// Whether it announces the answer that is awaited, from a ledger that the member which was asked has on that node.
    pub(super) fn answers(&self, awaited: &Awaited, own: &NodeId) -> Result<(), &'static str> {
        let Body::Response(response) = self.entry.body() else { return Err("it announced no answer") };
        if self.entry.exchange() != awaited.exchange {
            return Err("it announced the answer of another exchange");
        }
        if response.request_leaf != awaited.request_leaf {
            return Err("it announced the answer to another request");
        }
        if response.addressee != *own {
            return Err("it announced an answer for another node");
        }
        Ok(())
    }

    /// Whether `end` is the message that was announced, of a body whose ciphertext has so many bytes.
    pub(super) fn check(&self, end: &Entry, bytes: u64) -> Result<(), &'static str> {
        let other = "the message is not the one that was announced";
        if !self.has_origin_and_common_of(end) {
            return Err(other);
        }
        let same = match (self.entry.body(), end.body()) {
            (Body::Request(announced), Body::Request(sent)) => {
                let life =
                    |entry: &Entry, request: &Request| request.expires_at.since(entry.common().created_at);
                let Request { expires_at, content, .. } = announced.clone();
                Request { expires_at, content, ..sent.clone() } == *announced
                    && life(end, sent) == life(&self.entry, announced)
            }
            (Body::Response(announced), Body::Response(sent)) => {
                let Response { outcome, content, .. } = *announced;
                Response { outcome, content, ..sent.clone() } == *announced
            }
            // What was announced broke off. Its body stands in the frame.
            (Body::Response(announced), Body::Fault(sent)) => {
                let links = (&announced.request_leaf, &announced.received_leaf, &announced.addressee);
                return if links == (&sent.request_leaf, &sent.received_leaf, &sent.addressee) {
                    Ok(())
                } else {
                    Err(other)
                };
            }
            _ => false,
        };
        let content = end.body().content();
        if !same || self.declared != Declared::Nothing && content != self.entry.body().content() {
            return Err(other);
        }
        match content {
            Some((_, body_bytes)) if !is_large(body_bytes) => Err("a body that fits a message has no head"),
            Some((_, body_bytes)) if cipher_bytes(body_bytes) == bytes => Ok(()),
            _ => Err("its body is not as long as it says"),
        }
    }

    fn has_origin_and_common_of(&self, end: &Entry) -> bool {
        let (announced, sent) = (self.entry.common(), end.common());
        self.entry.origin() == end.origin()
            && Common { created_at: announced.created_at, ..sent.clone() } == *announced
    }
}

/// Of a body that was not there yet.
const NO_ROOT: ContentRoot = ContentRoot::from_bytes([0; 32]);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use peabiru_proto::entry::{FaultHead, GlobalconfRef, SideEffects};
    use peabiru_proto::hash::{ContractDigest, Digest, SnapshotDigest};
    use peabiru_proto::time::Timestamp;

    use super::*;

    const MADE: Timestamp = Timestamp::from_ms(1_900_000_000_000);
    const LONG: u64 = 200_000;

    fn common() -> Common {
        let globalconf = GlobalconfRef { version: 3, digest: SnapshotDigest::from_bytes([3; 32]) };
        Common {
            exchange: ExchangeId::from_slice(&[1; 16]).unwrap(),
            created_at: MADE,
            node: Some("PY/GOV/MEC/n1".parse().unwrap()),
            globalconf: Some(globalconf),
        }
    }

    fn request(root: u8, body_bytes: u64) -> Request {
        Request {
            expires_at: MADE.plus(Duration::from_secs(60)),
            consumer: "PY/GOV/MEC/app".parse().unwrap(),
            service: "PY/GOV/MITIC/app/example.v1.Echo".parse().unwrap(),
            method: "Say".to_owned(),
            addressee: "PY/GOV/MITIC/n1".parse().unwrap(),
            contract_version: 1,
            contract_digest: ContractDigest::of(b"document"),
            side_effects: SideEffects::None,
            purpose: "testing".parse().unwrap(),
            consent_commitment: None,
            content: Content::Whole { root: ContentRoot::from_bytes([root; 32]), body_bytes },
            retry_of: None,
        }
    }

    fn response(root: u8, body_bytes: u64) -> Response {
        Response {
            request_leaf: LeafHash::from_bytes([4; 32]),
            received_leaf: LeafHash::from_bytes([5; 32]),
            addressee: "PY/GOV/MITIC/n1".parse().unwrap(),
            outcome: 0,
            content: Content::Whole { root: ContentRoot::from_bytes([root; 32]), body_bytes },
        }
    }

    fn stream() -> Content {
        Content::Stream { context_root: ContentRoot::from_bytes([7; 32]) }
    }

    fn fault() -> FaultHead {
        let Response { request_leaf, received_leaf, addressee, .. } = response(0, 0);
        let content_root = ContentRoot::from_bytes([6; 32]);
        FaultHead {
            request_leaf,
            received_leaf,
            addressee,
            code: "internal".to_owned(),
            content_root,
            body_bytes: 9,
        }
    }

    fn entry(common: &Common, body: &Body) -> Entry {
        let origin = "py.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/1".parse().unwrap();
        Entry::encode(&origin, common, body).unwrap()
    }

    fn read(body: &Body) -> Result<Preview, String> {
        Preview::read(LargeHead { entry: entry(&common(), body).bytes().clone() })
    }

    fn asks(request: Request) -> Entry {
        entry(&common(), &Body::Request(request))
    }

    #[test]
    fn a_head_says_both_root_and_size_or_neither() {
        assert_eq!(read(&Body::Request(request(0, 0))).unwrap().declared_bytes(), None);
        let declared = read(&Body::Response(response(7, LONG))).unwrap().declared_bytes();
        assert_eq!(declared, Some(cipher_bytes(LONG)));
        for (root, bytes) in [(0, LONG), (7, 0), (7, 65_536)] {
            assert!(read(&Body::Request(request(root, bytes))).is_err(), "{root} {bytes}");
            assert!(read(&Body::Response(response(root, bytes))).is_err(), "{root} {bytes}");
        }
        let asked = Request { content: stream(), ..request(0, 0) };
        assert!(read(&Body::Request(asked)).unwrap_err().contains("stream"));
        let answered = Response { content: stream(), ..response(0, 0) };
        assert!(read(&Body::Response(answered)).unwrap_err().contains("stream"));
        assert!(read(&Body::Fault(fault())).is_err());
    }

    #[test]
    fn the_request_at_the_end_is_the_one_that_was_announced() {
        let preview = read(&Body::Request(request(0, 0))).unwrap();
        let sent = || request(7, LONG);
        assert_eq!(preview.check(&asks(sent()), cipher_bytes(LONG)), Ok(()));
        let later = Common { created_at: MADE.plus(Duration::from_secs(600)), ..common() };
        let moved = Request { expires_at: MADE.plus(Duration::from_secs(660)), ..sent() };
        assert_eq!(preview.check(&entry(&later, &Body::Request(moved)), cipher_bytes(LONG)), Ok(()));

        assert!(preview.check(&asks(sent()), cipher_bytes(LONG) - 1).is_err(), "another length");
        assert!(preview.check(&asks(request(7, 65_536)), 65_552).is_err(), "it fits a message");
        for other in [
            Request { consumer: "PY/GOV/MEC/other".parse().unwrap(), ..sent() },
            Request { service: "PY/GOV/MITIC/app/example.v1.Other".parse().unwrap(), ..sent() },
            Request { method: "Shout".to_owned(), ..sent() },
            Request { addressee: "PY/GOV/MITIC/n2".parse().unwrap(), ..sent() },
            Request { contract_version: 2, ..sent() },
            Request { contract_digest: ContractDigest::of(b"other"), ..sent() },
            Request { side_effects: SideEffects::Present, ..sent() },
            Request { purpose: "other".parse().unwrap(), ..sent() },
            Request { consent_commitment: Some(Digest::of(b"yes")), ..sent() },
            Request { retry_of: Some(LeafHash::from_bytes([9; 32])), ..sent() },
            Request { expires_at: MADE.plus(Duration::from_secs(61)), ..sent() },
            Request { content: stream(), ..sent() },
        ] {
            assert!(preview.check(&asks(other.clone()), cipher_bytes(LONG)).is_err(), "{other:?}");
        }
        for other in [
            Common { exchange: ExchangeId::from_slice(&[2; 16]).unwrap(), ..common() },
            Common { node: Some("PY/GOV/MEC/n2".parse().unwrap()), ..common() },
            Common { globalconf: None, ..common() },
        ] {
            assert!(preview.check(&entry(&other, &Body::Request(sent())), cipher_bytes(LONG)).is_err());
        }
        assert!(preview.check(&entry(&common(), &Body::Fault(fault())), cipher_bytes(LONG)).is_err());
    }

    #[test]
    fn what_a_head_declares_is_exact() {
        let preview = read(&Body::Request(request(7, LONG))).unwrap();
        assert_eq!(preview.check(&asks(request(7, LONG)), cipher_bytes(LONG)), Ok(()));
        assert!(preview.check(&asks(request(8, LONG)), cipher_bytes(LONG)).is_err());
        assert!(preview.check(&asks(request(7, LONG + 1)), cipher_bytes(LONG + 1)).is_err());
    }

    #[test]
    fn an_answer_may_end_with_another_outcome_or_a_fault_to_the_same_request() {
        let preview = read(&Body::Response(response(0, 0))).unwrap();
        let answers =
            |response| preview.check(&entry(&common(), &Body::Response(response)), cipher_bytes(LONG));
        let other_leaf = LeafHash::from_bytes([9; 32]);
        assert_eq!(answers(Response { outcome: 5, ..response(7, LONG) }), Ok(()));
        assert!(answers(Response { request_leaf: other_leaf, ..response(7, LONG) }).is_err());
        assert!(answers(Response { received_leaf: other_leaf, ..response(7, LONG) }).is_err());
        assert!(
            answers(Response { addressee: "PY/GOV/MEC/n1".parse().unwrap(), ..response(7, LONG) }).is_err()
        );
        assert!(answers(Response { content: stream(), ..response(7, LONG) }).is_err());
        let fails = |fault| preview.check(&entry(&common(), &Body::Fault(fault)), 3);
        assert_eq!(fails(fault()), Ok(()));
        assert!(fails(FaultHead { request_leaf: other_leaf, ..fault() }).is_err());
        assert!(fails(FaultHead { received_leaf: other_leaf, ..fault() }).is_err());
    }

    #[test]
    fn only_the_awaited_answer_is_taken() {
        let own = "PY/GOV/MITIC/n1".parse().unwrap();
        let preview = read(&Body::Response(response(0, 0))).unwrap();
        let awaited = |exchange: u8, leaf: u8| Awaited {
            exchange: ExchangeId::from_slice(&[exchange; 16]).unwrap(),
            request_leaf: LeafHash::from_bytes([leaf; 32]),
            provider: "PY/GOV/MEC".parse().unwrap(),
        };
        assert_eq!(preview.answers(&awaited(1, 4), &own), Ok(()));
        assert!(preview.answers(&awaited(2, 4), &own).is_err());
        assert!(preview.answers(&awaited(1, 5), &own).is_err());
        assert!(preview.answers(&awaited(1, 4), &"PY/GOV/MITIC/n2".parse().unwrap()).is_err());
        let asks = read(&Body::Request(request(0, 0))).unwrap();
        assert!(asks.answers(&awaited(1, 4), &own).is_err());
    }
}
