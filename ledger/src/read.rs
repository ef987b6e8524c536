//! Reading entries back, and erasing payloads. Blocks on the disk: never on a message's path.

use peabiru_proto::entry::Entry;

use crate::LedgerError;
use crate::checkpoint::SignedCheckpoint;
use crate::erasure::{named_by, overwrite};
use crate::item::{Append, Foreign, StoredContent};
use crate::ledger::Ledger;
use crate::payload::Payload;
use crate::position::{LogPosition, TreeSize};
use crate::record::{Page, Record};
use crate::recover::payload_of;
use crate::scan::{corrupt, read_page};
use crate::seal::{Seal, SealedEntry};
use crate::segment::{Location, name};
use crate::slot::{self, SlotState};

/// An entry with everything that is kept of it.
#[derive(Debug, Clone)]
pub struct StoredEntry {
    /// The entry.
    pub entry: Entry,
    /// Its seal, by the newest checkpoint; after a change of keys by the last one of the key of its time.
    pub seal: Seal,
    /// What is kept of its payload.
    pub payload: PayloadState,
    /// For a RECEIVED: what was received.
    pub foreign: Option<Foreign>,
}

/// What is kept of a payload.
#[derive(Debug, Clone)]
pub enum PayloadState {
    /// The entry has none.
    None,
    /// It can be opened.
    Kept(Payload),
    /// Its key and salt are gone.
    Erased,
}

struct Found {
    location: Location,
    record: Record,
    item: crate::item::StoredItem,
    first: LogPosition,
    previous: Option<SignedCheckpoint>,
}

impl Found {
    /// Of its encrypted payload, if it has one.
    fn slot_state(&self) -> Option<SlotState> {
        let slot = self.item.payload.slot()?;
        let raw = self.record.slots.get(usize::try_from(slot).ok()?)?;
        Some(slot::state(raw))
    }
}

impl Ledger {
    /// Reads one entry.
    ///
    /// # Errors
    /// `NoSuchEntry`, `Index`, `Disk`, `Corrupt`.
    pub fn read(&self, position: LogPosition) -> Result<StoredEntry, LedgerError> {
        let checkpoint = self.shared().state().checkpoint_over(position);
        let checkpoint = checkpoint.ok_or_else(|| self.no_such_entry(position.index()))?;
        let found = self.find(position)?;
        let kept = payload_of(&found.item, &found.record, self.inner.storage_key.as_ref(), &self.inner.large);
        let payload = match (found.slot_state(), kept) {
            (_, Some(payload)) => PayloadState::Kept(payload),
            (None, None) => PayloadState::None,
            (Some(SlotState::Erased), None) => PayloadState::Erased,
            (Some(SlotState::Live | SlotState::Invalid), None) => {
                let Location { segment, offset } = found.location;
                return Err(LedgerError::StorageKey { segment: name(segment), offset });
            }
        };
        let proof = self.inclusion(position, checkpoint.size())?;
        let seal = Seal { checkpoint, position, proof };
        Ok(StoredEntry { entry: found.item.entry, seal, payload, foreign: found.item.foreign })
    }

    /// The checkpoint before the commit that holds this entry, as it was stored.
    ///
    /// # Errors
    /// As `read`.
    pub fn checkpoint_before(&self, position: LogPosition) -> Result<Option<SignedCheckpoint>, LedgerError> {
        Ok(self.find(position)?.previous)
    }

    /// The checkpoint that first sealed this entry: stored with the next commit, or the newest.
    ///
    /// # Errors
    /// As `read`.
    pub fn checkpoint_of(&self, position: LogPosition) -> Result<SignedCheckpoint, LedgerError> {
        let found = self.find(position)?;
        let body = crate::item::read_body(found.record.body.clone(), found.record.slots.len());
        let items =
            body.map_err(|_| corrupt(found.location, "the record does not parse"))?.items.len() as u64;
        let after = TreeSize::new(found.first.index() + items);
        let head = self.head().ok_or_else(|| self.no_such_entry(position.index()))?;
        if head.size() == after {
            return Ok(head);
        }
        let missing = || corrupt(found.location, "the checkpoint after this record is missing");
        self.checkpoint_before(after.next())?.ok_or_else(missing)
    }

    /// Erases the payload of an entry: `notice` (a NOTICE `payload.erased` whose subject is the entry's leaf hash) is
    /// committed first, then key and salt are overwritten and synced.
    ///
    /// # Errors
    /// `NotErasable` if the entry has no encrypted payload, or not any more; `WrongNotice`; else as `append`.
    pub async fn erase(&self, position: LogPosition, notice: Append) -> Result<SealedEntry, LedgerError> {
        let ledger = self.clone();
        let found = blocking(move || ledger.find(position)).await?;
        let Some(slot) = found.item.payload.slot() else {
            return Err(LedgerError::NotErasable { position });
        };
        if found.slot_state() == Some(SlotState::Erased) {
            return Err(LedgerError::NotErasable { position });
        }
        if named_by(&notice.entry) != Some(found.item.entry.leaf_hash()) {
            return Err(LedgerError::WrongNotice { position });
        }
        let sealed = self.append(vec![notice]).await?;
        // Crash here: the NOTICE is durable, so the next start overwrites the slot.
        let ledger = self.clone();
        let erase = move || {
            overwrite(&ledger.inner.segments, found.location, &found.record, slot)?;
            if let StoredContent::Large { file, .. } = found.item.payload {
                ledger.inner.large.named(file).erase()?;
            }
            Ok(())
        };
        let overwritten = blocking(erase).await;
        if let Err(error) = overwritten {
            let reason = format!("overwriting a slot failed: {error}");
            self.inner.fail(&reason);
            return Err(LedgerError::Failed { reason });
        }
        sealed.into_iter().next().ok_or(LedgerError::Closed)
    }

    fn find(&self, position: LogPosition) -> Result<Found, LedgerError> {
        let missing = || self.no_such_entry(position.index());
        let location = self.index()?.location_of(self.origin(), position)?.ok_or_else(missing)?;
        let file = self.inner.segments.file(location.segment)?;
        let Page::Record(record) = read_page(&*file, location.offset)? else {
            return Err(corrupt(location, "the record is damaged"));
        };
        let body = crate::item::read_body(record.body.clone(), record.slots.len());
        let body = body.map_err(|_| corrupt(location, "the record does not parse"))?;
        let number =
            position.index().checked_sub(body.first.index()).and_then(|number| usize::try_from(number).ok());
        let item = number.and_then(|number| body.items.get(number)).ok_or_else(missing)?.clone();
        Ok(Found { location, record, item, first: body.first, previous: body.previous })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(LedgerError::Closed))
}
