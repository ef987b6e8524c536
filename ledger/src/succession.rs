//! Which key seals a ledger, as the ledger itself says: the key that its last KEY_CHANGE names, else that of the stored
//! checkpoints.
//!
//! A KEY_CHANGE is the last entry of its commit. The checkpoint of that commit is signed by the key before, every later one by the
//! named key. A start that finds the KEY_CHANGE at the end, and is not given the key before, signs that head with the named
//! key.

use peabiru_proto::entry::{Body, Entry};

use crate::checkpoint::{SignedCheckpoint, VerifyingKey};
use crate::item::CommitBody;
use crate::position::TreeSize;

/// Of one ledger, from its records in order.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    changed: Option<Changed>,
    /// The newest stored checkpoint.
    newest: Option<SignedCheckpoint>,
    /// The last checkpoint of each key before, where a later record stores it.
    finals: Vec<SignedCheckpoint>,
}

#[derive(Debug, Clone, Copy)]
struct Changed {
    to: VerifyingKey,
    /// The size that holds the KEY_CHANGE.
    at: TreeSize,
}

impl Succession {
    /// Takes a record in, after which the ledger has `size` entries.
    ///
    /// # Errors
    /// Why its KEY_CHANGE is none.
    pub(crate) fn note(&mut self, body: &CommitBody, size: TreeSize) -> Result<(), String> {
        if let Some(checkpoint) = &body.previous {
            self.newest = Some(checkpoint.clone());
            if self.changed.is_some_and(|changed| changed.at == checkpoint.size()) {
                self.finals.push(checkpoint.clone());
            }
        }
        let (last, before) = match body.items.split_last() {
            Some((last, before)) => (last, before),
            None => return Ok(()),
        };
        if before.iter().any(|item| next_key(&item.entry).is_some()) {
            return Err(format!("a KEY_CHANGE of {} is not the last entry of its record", body.origin));
        }
        if let Some(to) = next_key(&last.entry) {
            self.changed = Some(Changed { to, at: size });
        }
        Ok(())
    }

    /// The last checkpoint of each key before.
    pub(crate) fn finals(&self) -> Vec<SignedCheckpoint> {
        self.finals.clone()
    }

    /// Whether the KEY_CHANGE is the ledger's last entry, and this the key before: the head is still its to sign.
    pub(crate) fn ends(&self, key: &VerifyingKey, size: TreeSize) -> bool {
        self.changed.is_some_and(|changed| changed.at == size && changed.to != *key)
            && self.newest.as_ref().is_some_and(|newest| newest.verify(key).is_ok())
    }

    /// Takes a record in as `note` does, and checks who signed the checkpoint that it stores.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn check(&mut self, body: &CommitBody, size: TreeSize) -> Result<(), String> {
        self.note(body, size)?;
        self.check_newest()
    }

    /// Whether this key seals from here on, as far as the records say.
    pub(crate) fn admits(&self, key: &VerifyingKey) -> bool {
        match self.changed {
            Some(changed) => changed.to == *key,
            None => self.newest.as_ref().is_none_or(|newest| newest.verify(key).is_ok()),
        }
    }

    /// The key that the last KEY_CHANGE names.
    pub(crate) fn named(&self) -> Option<VerifyingKey> {
        self.changed.map(|changed| changed.to)
    }

    /// Whether the newest stored checkpoint is signed by the key that is due; before a first KEY_CHANGE nobody can tell
    /// without the key.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn check_newest(&self) -> Result<(), String> {
        let (Some(changed), Some(newest)) = (self.changed, &self.newest) else { return Ok(()) };
        if newest.size() > changed.at && newest.verify(&changed.to).is_err() {
            return Err(format!(
                "the stored checkpoint of {} at size {} is not signed by the key that entry {} names",
                newest.origin(),
                newest.size(),
                changed.at.entries() - 1
            ));
        }
        Ok(())
    }
}

/// The key that an entry names, if it is a KEY_CHANGE.
pub(crate) fn next_key(entry: &Entry) -> Option<VerifyingKey> {
    match entry.body() {
        Body::KeyChange(change) => Some(VerifyingKey::from_bytes(change.next_key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
