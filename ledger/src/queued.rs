//! Entries that nobody waits for, until a commit takes them along. To queue one does not wake the writer: a thread that
//! is woken for nothing costs the caller more than the entry does.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::committer::Group;
use crate::writer::Reply;

/// What is queued, and whether the writer looks by itself.
#[derive(Default)]
pub(crate) struct Queued(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    groups: VecDeque<Group<Reply>>,
    /// Groups that were ever taken.
    taken: u64,
    watch: Watch,
}

/// How many groups were ever queued when something else was handed over: those go before it, and later ones after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Before(u64);

/// Whether the writer comes by itself.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Watch {
    /// It looks again soon.
    #[default]
    Soon,
    /// It waits to be woken.
    Asleep,
    /// It has stopped.
    Gone,
}

/// What whoever queued an entry does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Nothing: the writer looks by itself.
    Left,
    /// Wakes the writer.
    Wake,
    /// Says that there was no room: nothing was queued.
    Full,
    /// Says that the writer has stopped: nothing was queued.
    Gone,
}

impl Queued {
    /// Queues a group, of `groups_max` at most.
    pub(crate) fn push(&self, group: Group<Reply>, groups_max: usize) -> Pushed {
        let mut inner = self.inner();
        if inner.watch == Watch::Gone {
            return Pushed::Gone;
        }
        if inner.groups.len() >= groups_max {
            return Pushed::Full;
        }
        inner.groups.push_back(group);
        let asleep = std::mem::take(&mut inner.watch) == Watch::Asleep;
        if asleep || inner.groups.len() == ALONE_GROUPS { Pushed::Wake } else { Pushed::Left }
    }

    /// What goes before something that is handed over now.
    pub(crate) fn before(&self) -> Before {
        let inner = self.inner();
        Before(inner.taken + inner.groups.len() as u64)
    }

    /// What goes before something that was handed over, as far as it was not taken yet.
    pub(crate) fn take(&self, before: Before) -> Vec<Group<Reply>> {
        let mut inner = self.inner();
        let wanted = usize::try_from(before.0.saturating_sub(inner.taken)).unwrap_or(usize::MAX);
        let wanted = wanted.min(inner.groups.len());
        inner.taken += wanted as u64;
        inner.groups.drain(..wanted).collect()
    }

    /// Everything that is queued, for the last commit: nothing can be queued any more.
    pub(crate) fn close(&self) -> VecDeque<Group<Reply>> {
        let mut inner = self.inner();
        inner.watch = Watch::Gone;
        std::mem::take(&mut inner.groups)
    }

    /// Whether so much is queued that it goes without company.
    pub(crate) fn is_due(&self) -> bool {
        self.inner().groups.len() >= ALONE_GROUPS
    }

    /// The writer is about to wait until it is woken. Gives whether it may: nothing is queued.
    pub(crate) fn fall_asleep(&self) -> bool {
        let mut inner = self.inner();
        if inner.groups.is_empty() {
            inner.watch = Watch::Asleep;
        }
        inner.watch == Watch::Asleep
    }

    /// The writer was woken, by whom does not matter.
    pub(crate) fn awake(&self) {
        self.inner().watch = Watch::Soon;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many groups go without company.
const ALONE_GROUPS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group<Reply> {
        Group { ledger: 0, items: Vec::new(), next_key: None, reply: None }
    }

    #[test]
    fn only_a_sleeping_writer_is_woken_and_only_once() {
        let queued = Queued::default();
        assert_eq!(queued.push(group(), 8), Pushed::Left);
        assert!(!queued.fall_asleep(), "something waits");
        let before = queued.before();
        assert_eq!(queued.take(before).len(), 1);
        assert!(queued.fall_asleep());
        assert_eq!(queued.push(group(), 8), Pushed::Wake);
        assert_eq!(queued.push(group(), 8), Pushed::Left);
        assert!(queued.take(before).is_empty(), "they came after it");
        assert!(queued.take(queued.before()).len() == 2 && queued.fall_asleep());
        queued.awake();
        assert_eq!(queued.push(group(), 8), Pushed::Left);
        assert_eq!(queued.close().len(), 1);
        assert_eq!(queued.push(group(), 8), Pushed::Gone);
    }

    #[test]
    fn many_go_alone_and_too_many_are_refused() {
        let queued = Queued::default();
        let pushed: Vec<_> = (0..ALONE_GROUPS + 2).map(|_| queued.push(group(), ALONE_GROUPS + 1)).collect();
        assert!(pushed[..ALONE_GROUPS - 1].iter().all(|pushed| *pushed == Pushed::Left));
        assert_eq!(pushed[ALONE_GROUPS - 1..], [Pushed::Wake, Pushed::Left, Pushed::Full]);
        assert!(queued.is_due());
    }
}
