//! Which key seals a ledger, as the ledger itself says: the key that its last KEY_CHANGE names, else that of the stored
//! checkpoints.
//!
//! A KEY_CHANGE is the last entry of its commit. The checkpoint of that commit is signed by the key before, every later one by the
//! named key. The next record stores that checkpoint: until there is one, a start needs both keys.

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
    /// The last checkpoint of each key before.
    finals: Vec<SignedCheckpoint>,
}

#[derive(Debug, Clone, Copy)]
struct Changed {
    keys: ChangedKeys,
    /// The size that holds the KEY_CHANGE.
    at: TreeSize,
}

/// What a KEY_CHANGE says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChangedKeys {
    pub(crate) from: VerifyingKey,
    pub(crate) to: VerifyingKey,
}

impl Succession {
    /// Takes a record in, after which the ledger has `size` entries.
    ///
    /// # Errors
    /// What is wrong with its KEY_CHANGE, or with the last checkpoint of the key before, in words.
    pub(crate) fn note(&mut self, body: &CommitBody, size: TreeSize) -> Result<(), String> {
        if let Some(checkpoint) = &body.previous {
            if let Some(changed) = self.changed.filter(|changed| changed.at == checkpoint.size()) {
                if checkpoint.verify(&changed.keys.from).is_err() {
                    return Err(wrongly_signed(checkpoint, changed.at));
                }
                self.finals.push(checkpoint.clone());
            }
            self.newest = Some(checkpoint.clone());
        }
        let Some((last, before)) = body.items.split_last() else { return Ok(()) };
        if before.iter().any(|item| changed_keys(&item.entry).is_some()) {
            return Err(format!("a KEY_CHANGE of {} is not the last entry of its record", body.origin));
        }
        let Some(keys) = changed_keys(&last.entry) else { return Ok(()) };
        if self.changed.is_some_and(|changed| changed.keys.to != keys.from) {
            return Err(format!("a KEY_CHANGE of {} begins from a key that did not seal", body.origin));
        }
        self.changed = Some(Changed { keys, at: size });
        Ok(())
    }

    /// Takes a record in as `note` does, and checks who signed the checkpoint that it stores. Before a first KEY_CHANGE nobody can
    /// tell without the key.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn check(&mut self, body: &CommitBody, size: TreeSize) -> Result<(), String> {
        if let (Some(changed), Some(stored)) = (self.changed, &body.previous)
            && stored.size() > changed.at
            && stored.verify(&changed.keys.to).is_err()
        {
            return Err(wrongly_signed(stored, changed.at));
        }
        self.note(body, size)
    }

    /// Whether this key seals from here on, as far as the records say.
    pub(crate) fn admits(&self, key: &VerifyingKey) -> bool {
        match self.changed {
            Some(changed) => changed.keys.to == *key,
            None => self.newest.as_ref().is_none_or(|newest| newest.verify(key).is_ok()),
        }
    }

    /// The key before, if the head of the ledger, which has `size` entries, is still its to sign.
    pub(crate) fn ends(&self, size: TreeSize) -> Option<VerifyingKey> {
        self.changed.filter(|changed| changed.at == size).map(|changed| changed.keys.from)
    }

    /// The last checkpoint of each key before, ascending.
    pub(crate) fn finals(&self) -> Vec<SignedCheckpoint> {
        self.finals.clone()
    }

    /// The key that the last KEY_CHANGE names.
    pub(crate) fn named(&self) -> Option<VerifyingKey> {
        self.changed.map(|changed| changed.keys.to)
    }
}

/// What an entry says, if it is a KEY_CHANGE.
pub(crate) fn changed_keys(entry: &Entry) -> Option<ChangedKeys> {
    match entry.body() {
        Body::KeyChange(change) => Some(ChangedKeys {
            from: VerifyingKey::from_bytes(change.previous_key),
            to: VerifyingKey::from_bytes(change.next_key),
        }),
        _ => None,
    }
}

fn wrongly_signed(checkpoint: &SignedCheckpoint, changed_at: TreeSize) -> String {
    let (origin, size, change) = (checkpoint.origin(), checkpoint.size(), changed_at.entries() - 1);
    format!(
        "the stored checkpoint of {origin} at size {size} is not signed by the key that was due after entry {change}"
    )
}

#[cfg(test)]
mod tests;
