//! The bodies of the kinds: each field read and written once, in the schema's order.

use super::fields::{Fields, Writer, check_text, refuse};
use super::stream::{check_batch, check_close, read_batch, read_close, write_batch, write_close};
use super::{
    Body, Common, Content, EntryError, EntryKind, ExchangeId, FaultHead, GlobalconfRef, GrantRef, KeyChange,
    Notice, Received, Request, Response, SideEffects, Verdict,
};
use crate::hash::{ContentRoot, ContractDigest, Digest, LeafHash, SnapshotDigest};
use crate::limits::{MAX_CODE_BYTES, MAX_EXPIRY, MAX_METHOD_BYTES};
use crate::time::Timestamp;
use crate::wire;

pub(super) fn read(kind: EntryKind, bytes: &[u8]) -> Result<(Common, Body), EntryError> {
    let mut fields = Fields::scan(bytes)?;
    let common = read_common(&mut fields)?;
    let body = match kind {
        EntryKind::Request => Body::Request(read_request(&mut fields)?),
        EntryKind::Received => Body::Received(read_received(&mut fields)?),
        EntryKind::Response => Body::Response(read_response(&mut fields)?),
        EntryKind::Fault => Body::Fault(read_fault(&mut fields)?),
        EntryKind::Batch => Body::Batch(read_batch(&mut fields)?),
        EntryKind::Close => Body::Close(read_close(&mut fields)?),
        EntryKind::KeyChange => Body::KeyChange(read_key_change(&mut fields)?),
        EntryKind::Notice => Body::Notice(read_notice(&mut fields)?),
        EntryKind::Unspecified | EntryKind::Anchor | EntryKind::Epoch => {
            return Err(EntryError::KindNotYet(kind));
        }
    };
    fields.finish()?;
    check(&common, &body)?;
    Ok((common, body))
}

pub(super) fn write(out: &mut Writer, common: &Common, body: &Body) {
    out.bytes(1, common.exchange.as_bytes());
    out.uint(2, common.created_at.as_ms());
    out.bytes(3, common.node.as_ref().map_or("", |node| node.as_str()).as_bytes());
    if let Some(globalconf) = &common.globalconf {
        out.uint(4, globalconf.version);
        out.bytes(5, globalconf.digest.as_ref());
    }
    match body {
        Body::Request(request) => write_request(out, request),
        Body::Received(received) => write_received(out, received),
        Body::Response(head) => {
            write_answered(out, &head.request_leaf, &head.received_leaf, head.addressee.as_str());
            out.uint(13, u64::from(head.outcome));
            let (root, body_bytes) = head.content.committed();
            write_content(out, 14, &root, body_bytes);
            out.uint(16, if head.content.is_stream() { STREAM } else { 0 });
        }
        Body::Batch(head) => write_batch(out, head),
        Body::Close(head) => write_close(out, head),
        Body::Fault(head) => {
            write_answered(out, &head.request_leaf, &head.received_leaf, head.addressee.as_str());
            out.bytes(13, head.code.as_bytes());
            write_content(out, 14, &head.content_root, head.body_bytes);
        }
        Body::KeyChange(change) => {
            out.bytes(10, &change.previous_key);
            out.bytes(11, &change.next_key);
        }
        Body::Notice(notice) => {
            out.bytes(10, notice.code.as_bytes());
            out.bytes(11, notice.subject.as_bytes());
            write_content(out, 12, &notice.content_root, notice.body_bytes);
        }
    }
}

/// Rules between fields, and of texts that no type of their own holds: for what is read and for what is written.
pub(super) fn check(common: &Common, body: &Body) -> Result<(), EntryError> {
    if common.node.is_none() && !matches!(body, Body::Notice(_)) {
        return Err(refuse("node", "only the registry's NOTICE has no node"));
    }
    if common.globalconf.is_some_and(|globalconf| globalconf.version == 0) {
        return Err(refuse("globalconf_version", "a snapshot's version is at least 1"));
    }
    match body {
        Body::Request(request) => check_request(common, request),
        Body::Received(received) => match &received.grant {
            Some(grant) if grant.revision == 0 => Err(refuse("grant_revision", "revisions count from 1")),
            Some(grant) => required("grant_id", &grant.id),
            None => Ok(()),
        },
        Body::Response(head) if head.content.is_stream() && head.outcome != 0 => {
            Err(refuse("outcome", "of a STREAM the CLOSE says it"))
        }
        Body::Response(head) => check_outcome(head.outcome),
        Body::Batch(head) => check_batch(head),
        Body::Close(head) => check_close(head),
        Body::Fault(head) => required("code", &head.code),
        Body::KeyChange(change) if change.next_key == change.previous_key => {
            Err(refuse("next_key", "it is the key that sealed before"))
        }
        Body::KeyChange(_) => Ok(()),
        Body::Notice(notice) => {
            required("code", &notice.code)?;
            check_text("subject", &notice.subject, MAX_CODE_BYTES)
        }
    }
}

fn check_request(common: &Common, request: &Request) -> Result<(), EntryError> {
    if request.method.is_empty() {
        return Err(refuse("method", "it is required"));
    }
    check_text("method", &request.method, MAX_METHOD_BYTES)?;
    if request.contract_version == 0 {
        return Err(refuse("contract_version", "versions count from 1"));
    }
    if request.expires_at <= common.created_at {
        return Err(refuse("expires_at_ms", "it is not after created_at_ms"));
    }
    if request.expires_at > common.created_at.plus(MAX_EXPIRY) {
        return Err(refuse("expires_at_ms", "it is more than 5 minutes after created_at_ms"));
    }
    Ok(())
}

pub(super) fn check_outcome(outcome: u32) -> Result<(), EntryError> {
    if outcome > GRPC_CODE_MAX { Err(refuse("outcome", "gRPC codes are 0 to 16")) } else { Ok(()) }
}

pub(super) fn required(field: &'static str, text: &str) -> Result<(), EntryError> {
    if text.is_empty() {
        return Err(refuse(field, "it is required"));
    }
    check_text(field, text, MAX_CODE_BYTES)
}

fn read_common(fields: &mut Fields<'_>) -> Result<Common, EntryError> {
    let exchange =
        ExchangeId::from_slice(fields.bytes(1)?).ok_or_else(|| refuse("exchange_id", "it has 16 bytes"))?;
    let created_at = Timestamp::from_ms(fields.uint(2)?);
    let node = match fields.text("node", 3, crate::limits::MAX_ID_BYTES)? {
        "" => None,
        text => Some(text.parse().map_err(|error| refuse("node", error))?),
    };
    let version = fields.uint(4)?;
    let digest = fields.optional_digest("globalconf_hash", 5, SnapshotDigest::from_slice)?;
    let globalconf = match (version, digest) {
        (0, None) => None,
        (1.., Some(digest)) => Some(GlobalconfRef { version, digest }),
        _ => return Err(refuse("globalconf_hash", "version and hash are both there or both absent")),
    };
    Ok(Common { exchange, created_at, node, globalconf })
}

fn read_request(fields: &mut Fields<'_>) -> Result<Request, EntryError> {
    let form = fields.uint(10)?;
    let root = fields.digest("content_root", 21, ContentRoot::from_slice)?;
    let content = match (form, fields.uint(22)?) {
        (WHOLE, body_bytes) => Content::Whole { root, body_bytes },
        (STREAM, 0) => Content::Stream { context_root: root },
        (STREAM, _) => return Err(refuse("body_bytes", "a STREAM has no size")),
        _ => return Err(refuse("form", "it is neither WHOLE nor STREAM")),
    };
    Ok(Request {
        expires_at: Timestamp::from_ms(fields.uint(11)?),
        consumer: fields.parsed("consumer", 12)?,
        service: fields.parsed("service", 13)?,
        method: fields.text("method", 14, MAX_METHOD_BYTES)?.to_owned(),
        addressee: fields.parsed("addressee", 15)?,
        contract_version: fields.uint32("contract_version", 16)?,
        contract_digest: fields.digest("contract_digest", 17, ContractDigest::from_slice)?,
        side_effects: match fields.uint(18)? {
            NO_SIDE_EFFECTS => SideEffects::None,
            SIDE_EFFECTS => SideEffects::Present,
            _ => return Err(refuse("side_effects", "it is neither NONE nor PRESENT")),
        },
        purpose: fields.parsed("purpose", 19)?,
        consent_commitment: fields.optional_digest("consent_commitment", 20, Digest::from_slice)?,
        content,
        retry_of: fields.optional_digest("retry_of", 23, LeafHash::from_slice)?,
    })
}

fn write_request(out: &mut Writer, request: &Request) {
    out.uint(10, if request.content.is_stream() { STREAM } else { WHOLE });
    out.uint(11, request.expires_at.as_ms());
    out.bytes(12, request.consumer.as_str().as_bytes());
    out.bytes(13, request.service.as_str().as_bytes());
    out.bytes(14, request.method.as_bytes());
    out.bytes(15, request.addressee.as_str().as_bytes());
    out.uint(16, u64::from(request.contract_version));
    out.bytes(17, request.contract_digest.as_ref());
    out.uint(
        18,
        match request.side_effects {
            SideEffects::None => NO_SIDE_EFFECTS,
            SideEffects::Present => SIDE_EFFECTS,
        },
    );
    out.bytes(19, request.purpose.as_str().as_bytes());
    out.bytes(20, request.consent_commitment.as_ref().map_or(&[], |digest| digest.as_ref()));
    let (root, body_bytes) = request.content.committed();
    write_content(out, 21, &root, body_bytes);
    out.bytes(23, request.retry_of.as_ref().map_or(&[], |leaf| leaf.as_ref()));
}

fn read_received(fields: &mut Fields<'_>) -> Result<Received, EntryError> {
    let peer_origin = fields.parsed("peer_origin", 10)?;
    let peer_index = fields.uint(11)?;
    let peer_leaf = fields.digest("peer_leaf_hash", 12, LeafHash::from_slice)?;
    let peer_checkpoint = fields.digest("peer_checkpoint_hash", 13, Digest::from_slice)?;
    let expires_at = Some(fields.uint(14)?).filter(|&ms| ms != 0).map(Timestamp::from_ms);
    let received_at = Timestamp::from_ms(fields.uint(15)?);
    let verdict = match fields.uint(16)? {
        ACCEPTED => Verdict::Accepted,
        REFUSED => Verdict::Refused,
        _ => return Err(refuse("verdict", "it is neither ACCEPTED nor REFUSED")),
    };
    let id = fields.text("grant_id", 17, MAX_CODE_BYTES)?;
    let revision = fields.uint32("grant_revision", 18)?;
    let digest = fields.optional_digest("policy_digest", 19, Digest::from_slice)?;
    let grant = match (id, revision, digest) {
        ("", 0, None) => None,
        (_, _, Some(digest)) => Some(GrantRef { id: id.to_owned(), revision, digest }),
        _ => return Err(refuse("policy_digest", "a grant has id, revision and digest")),
    };
    Ok(Received {
        peer_origin,
        peer_index,
        peer_leaf,
        peer_checkpoint,
        expires_at,
        received_at,
        verdict,
        grant,
    })
}

fn write_received(out: &mut Writer, received: &Received) {
    out.bytes(10, received.peer_origin.as_str().as_bytes());
    out.uint(11, received.peer_index);
    out.bytes(12, received.peer_leaf.as_ref());
    out.bytes(13, received.peer_checkpoint.as_ref());
    out.uint(14, received.expires_at.map_or(0, Timestamp::as_ms));
    out.uint(15, received.received_at.as_ms());
    out.uint(
        16,
        match received.verdict {
            Verdict::Accepted => ACCEPTED,
            Verdict::Refused => REFUSED,
        },
    );
    if let Some(grant) = &received.grant {
        out.bytes(17, grant.id.as_bytes());
        out.uint(18, u64::from(grant.revision));
        out.bytes(19, grant.digest.as_ref());
    }
}

fn read_response(fields: &mut Fields<'_>) -> Result<Response, EntryError> {
    Ok(Response {
        request_leaf: fields.digest("request_leaf_hash", 10, LeafHash::from_slice)?,
        received_leaf: fields.digest("received_leaf_hash", 11, LeafHash::from_slice)?,
        addressee: fields.parsed("addressee", 12)?,
        outcome: fields.uint32("outcome", 13)?,
        content: {
            let root = fields.digest("content_root", 14, ContentRoot::from_slice)?;
            match (fields.uint(16)?, fields.uint(15)?) {
                (0, body_bytes) => Content::Whole { root, body_bytes },
                (STREAM, 0) => Content::Stream { context_root: root },
                (STREAM, _) => return Err(refuse("body_bytes", "a STREAM has no size")),
                _ => return Err(refuse("form", "it is STREAM or absent")),
            }
        },
    })
}

fn read_fault(fields: &mut Fields<'_>) -> Result<FaultHead, EntryError> {
    Ok(FaultHead {
        request_leaf: fields.digest("request_leaf_hash", 10, LeafHash::from_slice)?,
        received_leaf: fields.digest("received_leaf_hash", 11, LeafHash::from_slice)?,
        addressee: fields.parsed("addressee", 12)?,
        code: fields.text("code", 13, MAX_CODE_BYTES)?.to_owned(),
        content_root: fields.digest("content_root", 14, ContentRoot::from_slice)?,
        body_bytes: fields.uint(15)?,
    })
}

fn read_key_change(fields: &mut Fields<'_>) -> Result<KeyChange, EntryError> {
    let mut key = |field, number| {
        let wrong = || refuse(field, "an Ed25519 public key has 32 bytes");
        fields.bytes(number)?.try_into().map_err(|_| wrong())
    };
    Ok(KeyChange { previous_key: key("previous_key", 10)?, next_key: key("next_key", 11)? })
}

fn read_notice(fields: &mut Fields<'_>) -> Result<Notice, EntryError> {
    Ok(Notice {
        code: fields.text("code", 10, MAX_CODE_BYTES)?.to_owned(),
        subject: fields.text("subject", 11, MAX_CODE_BYTES)?.to_owned(),
        content_root: fields.digest("content_root", 12, ContentRoot::from_slice)?,
        body_bytes: fields.uint(13)?,
    })
}

fn write_answered(out: &mut Writer, request_leaf: &LeafHash, received_leaf: &LeafHash, addressee: &str) {
    out.bytes(10, request_leaf.as_ref());
    out.bytes(11, received_leaf.as_ref());
    out.bytes(12, addressee.as_bytes());
}

fn write_content(out: &mut Writer, number: u32, root: &ContentRoot, body_bytes: u64) {
    out.bytes(number, root.as_ref());
    out.uint(number + 1, body_bytes);
}

const WHOLE: u64 = wire::RequestForm::Whole as u64;
const STREAM: u64 = wire::RequestForm::Stream as u64;
const NO_SIDE_EFFECTS: u64 = wire::SideEffects::None as u64;
const SIDE_EFFECTS: u64 = wire::SideEffects::Present as u64;
const ACCEPTED: u64 = wire::Verdict::Accepted as u64;
const REFUSED: u64 = wire::Verdict::Refused as u64;
/// UNAUTHENTICATED, the largest code of gRPC.
const GRPC_CODE_MAX: u32 = 16;
