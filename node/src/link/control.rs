//! The control stream: our checkpoints to a peer, its checkpoints to us; each once, in order.
//!
//! A checkpoint is sent only when a message that it seals is about to go to that peer, so the stream carries one
//! update for all messages of a commit, and nothing to peers that nobody writes to.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use peabiru_ledger::LedgerError;
use peabiru_ledger::checkpoint::SignedCheckpoint;
use peabiru_ledger::ledger::Ledger;
use peabiru_ledger::position::TreeSize;
use peabiru_ledger::proof::InclusionProof;
use peabiru_ledger::seal::Seal;
use peabiru_proto::origin::Origin;
use peabiru_proto::wire::{CheckpointUpdate, link_frame::Frame};
use tokio::sync::Notify;

use super::carrier::Sender;
use super::frame;
use super::terms::StreamError;

/// What one connection has told its peer of our ledgers.
#[derive(Debug)]
pub(crate) struct Announcer {
    told: Mutex<Told>,
    /// Whoever has it writes what is pending, in order.
    control: tokio::sync::Mutex<Sender>,
    more: Notify,
}

/// How a message names the checkpoint that seals it.
#[derive(Debug)]
pub(crate) struct Named {
    /// Of the checkpoint, which is on its way.
    pub(crate) tree_size: TreeSize,
    /// If that is a newer one than the seal's: the proof that leads to it.
    pub(crate) proof: Option<InclusionProof>,
}

/// Why a checkpoint cannot be announced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnnounceError {
    /// The ledger has no proof.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The peer does not read its control stream.
    #[error("{PENDING_UPDATES_MAX} checkpoints wait for the peer to read them")]
    Stalled,
}

#[derive(Debug, Default)]
struct Told {
    /// The newest size of each ledger that the peer has, or will have before anything that is queued later.
    sizes: HashMap<Origin, TreeSize>,
    pending: VecDeque<Bytes>,
    /// Of the connection that goes on where this one stopped: what is announced from then on is announced there.
    successor: Option<Arc<Announcer>>,
}

impl Announcer {
    /// For a peer whose `Hello` named these heads, all checked against our ledgers.
    pub(crate) fn new(known: &[SignedCheckpoint], control: Sender) -> Self {
        let sizes = known.iter().map(|head| (head.origin().clone(), head.size())).collect();
        Self::from(sizes, control)
    }

    /// Goes on, on another connection with the same peer, where `before` stops now. The peer gets each checkpoint once,
    /// in order, whichever connection the message that it seals is on.
    pub(crate) fn succeeding(before: &Self, control: Sender) -> Arc<Self> {
        let mut told = before.told();
        let new = Arc::new(Self::from(told.sizes.clone(), control));
        told.successor = Some(Arc::clone(&new));
        new
    }

    /// Whether another one goes on where this one stopped.
    pub(crate) fn is_succeeded(&self) -> bool {
        self.told().successor.is_some()
    }

    fn from(sizes: HashMap<Origin, TreeSize>, control: Sender) -> Self {
        let told = Mutex::new(Told { sizes, ..Told::default() });
        Self { told, control: tokio::sync::Mutex::new(control), more: Notify::new() }
    }

    /// Makes sure that the peer gets a checkpoint that seals the message, and says which. It is written at once if the
    /// stream has room, so that it travels with the message that needs it.
    ///
    /// A message of an earlier commit than the newest announced one gets a proof to that one: checkpoints never go
    /// backwards on the stream.
    pub(crate) fn announce(&self, ledger: &Ledger, seal: &Seal) -> Result<Named, AnnounceError> {
        let wanted = seal.checkpoint.size();
        let told = {
            let mut told = self.told();
            if let Some(successor) = told.successor.clone() {
                drop(told);
                return successor.announce(ledger, seal);
            }
            let size = told.sizes.get(ledger.origin()).copied().unwrap_or_default();
            if size < wanted {
                told.queue(ledger, &seal.checkpoint, size)?;
            }
            size
        };
        if told < wanted {
            self.write_now();
        }
        if told <= wanted {
            return Ok(Named { tree_size: wanted, proof: None });
        }
        let proof = ledger.inclusion(seal.position, told)?;
        Ok(Named { tree_size: told, proof: Some(proof) })
    }

    fn write_now(&self) {
        let Ok(mut control) = self.control.try_lock() else { return self.more.notify_one() };
        loop {
            let mut pending = std::mem::take(&mut self.told().pending);
            if pending.is_empty() {
                return;
            }
            let sent =
                pin!(control.send(pending.make_contiguous())).poll(&mut Context::from_waker(Waker::noop()));
            match sent {
                Poll::Ready(Ok(())) => {}
                // The connection is lost, as the message's own stream will tell.
                Poll::Ready(Err(_)) => return,
                Poll::Pending => {
                    pending.retain(|piece| !piece.is_empty());
                    self.told().put_back(pending);
                    return self.more.notify_one();
                }
            }
        }
    }

    /// Writes what there was no room for at once, until the stream breaks.
    pub(crate) async fn run(&self) -> StreamError {
        loop {
            self.more.notified().await;
            let mut control = self.control.lock().await;
            loop {
                let mut pending = std::mem::take(&mut self.told().pending);
                if pending.is_empty() {
                    break;
                }
                if let Err(error) = control.send(pending.make_contiguous()).await {
                    return error;
                }
            }
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn queue(
        &mut self,
        ledger: &Ledger,
        head: &SignedCheckpoint,
        from: TreeSize,
    ) -> Result<(), AnnounceError> {
        if self.pending.len() >= PENDING_UPDATES_MAX {
            return Err(AnnounceError::Stalled);
        }
        let consistency = ledger.consistency(from, head.size())?;
        self.pending.push_back(frame::encode(Frame::Checkpoint(CheckpointUpdate {
            checkpoint: Bytes::copy_from_slice(head.note().as_bytes()),
            from_size: from.entries(),
            consistency: consistency.to_bytes().into(),
        })));
        self.sizes.insert(ledger.origin().clone(), head.size());
        Ok(())
    }

    /// What was taken and not written goes before what was queued since.
    fn put_back(&mut self, mut unwritten: VecDeque<Bytes>) {
        unwritten.append(&mut self.pending);
        self.pending = unwritten;
    }
}

/// Checkpoints that wait for a peer to read them: a second's worth of commits.
const PENDING_UPDATES_MAX: usize = 1024;
