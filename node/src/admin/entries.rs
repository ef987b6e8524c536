//! What the ledgers hold, entry by entry; and erasing a payload.

use peabiru_ledger::ledger::NOTICE_ERASED;
use peabiru_ledger::payload::Payload;
use peabiru_ledger::position::LogPosition;
use peabiru_ledger::seal::SealedEntry;
use peabiru_ledger::{LedgerError, PayloadState};
use peabiru_proto::entry::{Body, ExchangeId};
use peabiru_proto::fault::{Fault, FaultCode, Place};
use peabiru_proto::limits::MAX_CODE_BYTES;
use peabiru_proto::wire::{
    ErasePayloadRequest, GetEntryRequest, HeldEntry, IndexedEntry, ListEntriesRequest, ListEntriesResponse,
};

use super::{Admin, blocking, invalid};
use crate::core::{NOTICE_GRANT, ledger_fault};
use crate::exchange::Held;

impl Admin {
    pub(super) async fn entries(&self, request: ListEntriesRequest) -> Result<ListEntriesResponse, Fault> {
        let ledger = self.ledger(&request.member)?.clone();
        let limit = match request.limit {
            0 => ENTRIES_DEFAULT,
            limit if limit <= ENTRIES_MAX => limit,
            _ => return Err(invalid(&format!("at most {ENTRIES_MAX} entries are given at once"))),
        };
        let exchange = Some(request.exchange_id).filter(|id| !id.is_empty());
        let exchange: Option<ExchangeId> = exchange
            .map(|id| id.parse())
            .transpose()
            .map_err(|error| invalid(&format!("exchange_id: {error}")))?;
        // The RECEIVED of an answer that was just delivered may still be on its way. What is held can be read all the same.
        if let Err(error) = ledger.settle().await {
            tracing::warn!(%error, "the ledger takes nothing");
        }
        blocking(move || {
            let size = ledger.size();
            let positions: Vec<_> = match exchange {
                Some(exchange) => ledger.positions_of(&exchange).map_err(read_fault)?,
                None => (request.start..size.entries()).map(LogPosition::new).take(limit as usize).collect(),
            };
            let read = |position: LogPosition| {
                let stored = ledger.read(position).map_err(read_fault)?;
                Ok(IndexedEntry { index: position.index(), entry: stored.entry.bytes().clone() })
            };
            let entries =
                positions.into_iter().take(limit as usize).map(read).collect::<Result<_, Fault>>()?;
            Ok(ListEntriesResponse { entries, tree_size: size.entries() })
        })
        .await
    }

    pub(super) async fn entry(&self, request: GetEntryRequest) -> Result<HeldEntry, Fault> {
        let ledger = self.ledger(&request.member)?.clone();
        blocking(move || {
            let stored = ledger.read(LogPosition::new(request.index)).map_err(read_fault)?;
            let payload = match stored.payload {
                PayloadState::Kept(Payload::Sealed(payload)) => Some(payload),
                PayloadState::Kept(Payload::Clear(_)) | PayloadState::None | PayloadState::Erased => None,
            };
            let sealed = SealedEntry { entry: stored.entry, seal: stored.seal };
            Ok(Held { sealed, payload }.to_proto())
        })
        .await
    }

    /// Gives the index of the NOTICE.
    pub(super) async fn erase(&self, request: ErasePayloadRequest) -> Result<u64, Fault> {
        let ledger = self.ledger(&request.member)?.clone();
        let reason = request.reason;
        let is_code = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
        };
        if reason.is_empty() || reason.len() > MAX_CODE_BYTES || !is_code(&reason) {
            return Err(invalid("reason: a code of lower-case letters, digits, dots, hyphens"));
        }
        let position = LogPosition::new(request.index);
        let reader = ledger.clone();
        let leaf = blocking(move || {
            let stored = reader.read(position).map_err(read_fault)?;
            if matches!(stored.entry.body(), Body::Notice(notice) if notice.code == NOTICE_GRANT) {
                return Err(invalid("index: a grant's revision is not erased; revoke the grant instead"));
            }
            Ok(stored.entry.leaf_hash())
        })
        .await?;
        let notice = self.core.notice_append(&ledger, NOTICE_ERASED, &leaf.to_string(), &reason.into())?;
        let sealed = ledger.erase(position, notice).await.map_err(|error| match error {
            LedgerError::NotErasable { .. } => invalid(&error.to_string()),
            error => ledger_fault(&error, Place::ProviderNode),
        })?;
        tracing::info!(index = request.index, notice = sealed.seal.position.index(), "payload erased");
        Ok(sealed.seal.position.index())
    }
}

pub(super) fn read_fault(error: LedgerError) -> Fault {
    match error {
        LedgerError::NoSuchEntry { .. } => {
            Fault::new(FaultCode::EvidenceUnknown, Place::ProviderNode, error.to_string())
        }
        error => ledger_fault(&error, Place::ProviderNode),
    }
}

const ENTRIES_DEFAULT: u32 = 100;
const ENTRIES_MAX: u32 = 1000;
