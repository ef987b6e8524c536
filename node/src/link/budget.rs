//! The memory that messages from peers may take, reserved before their bytes are kept (design §9).

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use peabiru_proto::limits::MAX_FRAME_BYTES;
use tokio::sync::OwnedSemaphorePermit;

use super::frame::MAX_FETCH_FRAME_BYTES;
use crate::room::Room;

/// Two halves: one for small messages alone, one for everybody. Bulk cannot keep small messages out.
#[derive(Debug, Clone)]
pub struct Budget {
    small: Arc<Room>,
    common: Arc<Room>,
    /// What one peer may take of both.
    share: Arc<Room>,
    shares: Arc<Mutex<Shares>>,
}

/// Of all peers that are connected.
#[derive(Debug)]
struct Shares {
    bytes: usize,
    live: Vec<Weak<Room>>,
}

/// Memory of one message; given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    bytes: usize,
    _permits: [Option<OwnedSemaphorePermit>; 2],
}

impl Reserved {
    /// Length of the message.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes as u64
    }
}

impl Budget {
    /// Of so many bytes, at least [`MIN_MEMORY_BUDGET`].
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let (half_bytes, share_bytes) = parts(bytes);
        let shares = Arc::new(Mutex::new(Shares { bytes: share_bytes, live: Vec::new() }));
        let room = |bytes| Arc::new(Room::new(bytes));
        Self { small: room(half_bytes), common: room(half_bytes), share: room(share_bytes), shares }
    }

    /// The same memory, of which one more peer may take a quarter: none keeps the others out.
    #[must_use]
    pub fn for_peer(&self) -> Self {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = Arc::new(Room::new(shares.bytes));
        shares.live.retain(|share| share.strong_count() > 0);
        shares.live.push(Arc::downgrade(&share));
        Self { share, ..self.clone() }
    }

    /// So many bytes from now on; what is taken counts. Runs on the tokio runtime of the caller.
    pub(crate) fn resize(&self, bytes: usize) {
        let (half_bytes, share_bytes) = parts(bytes);
        self.small.resize(half_bytes);
        self.common.resize(half_bytes);
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.bytes = share_bytes;
        shares.live.iter().filter_map(Weak::upgrade).for_each(|share| share.resize(share_bytes));
    }

    /// What messages of all peers take of it.
    pub(crate) fn held_bytes(&self) -> usize {
        self.small.held() + self.common.held()
    }

    /// Waits until so many bytes are free. The caller bounds the wait; the peer meanwhile keeps what it has.
    pub(crate) async fn reserve(&self, bytes: usize) -> Reserved {
        let permits =
            u32::try_from(bytes.min(MIN_MEMORY_BUDGET / 2)).expect("the smallest budget is far below 4 GiB");
        let share = take(&self.share, permits).await;
        if bytes > SMALL_BYTES_MAX {
            return Reserved { bytes, _permits: [share, take(&self.common, permits).await] };
        }
        let permit = match Arc::clone(self.common.permits()).try_acquire_many_owned(permits) {
            Ok(permit) => Some(permit),
            Err(_) => take(&self.small, permits).await,
        };
        Reserved { bytes, _permits: [share, permit] }
    }
}

/// None only from a closed semaphore, and nobody closes these.
async fn take(room: &Room, permits: u32) -> Option<OwnedSemaphorePermit> {
    Arc::clone(room.permits()).acquire_many_owned(permits).await.ok()
}

/// Bytes of each half, and of a peer's share.
fn parts(bytes: usize) -> (usize, usize) {
    let bytes = bytes.max(MIN_MEMORY_BUDGET);
    (bytes / 2, (bytes / 4).max(MIN_MEMORY_BUDGET / 2))
}

/// `node_memory_budget` if nobody says otherwise.
pub const DEFAULT_MEMORY_BUDGET: usize = 64 * 1024 * 1024;
/// Less would not hold the longest frame in either half.
pub const MIN_MEMORY_BUDGET: usize = 2 * MAX_FETCH_FRAME_BYTES;
/// How long a message waits for memory. Less than what a peer has to take or send something.
pub(super) const RESERVE_WAIT: Duration = Duration::from_secs(20);
/// A message up to this length is small.
const SMALL_BYTES_MAX: usize = 16 * 1024;

const _: () = assert!(SMALL_BYTES_MAX < MAX_FRAME_BYTES, "some messages are not small");
const _: () = assert!(MIN_MEMORY_BUDGET <= DEFAULT_MEMORY_BUDGET, "the default is allowed");

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_free(budget: &Budget, bytes: usize) -> Option<Reserved> {
        match pin!(budget.reserve(bytes)).poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(reserved) => Some(reserved),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn bulk_waits_and_small_messages_still_pass() {
        let budget = Budget::new(4 * MIN_MEMORY_BUDGET);
        let all: Vec<_> = (0..4).map(|_| is_free(&budget.for_peer(), MIN_MEMORY_BUDGET / 2)).collect();
        assert!(all.iter().all(Option::is_some) && is_free(&budget.for_peer(), MAX_FRAME_BYTES).is_none());
        drop(all);
        let budget = Budget::new(0);
        let bulk = is_free(&budget, MIN_MEMORY_BUDGET / 2);
        assert!(bulk.is_some() && is_free(&budget.for_peer(), MAX_FRAME_BYTES).is_none());
        let other = budget.for_peer();
        let small: Vec<_> =
            (0..MIN_MEMORY_BUDGET / 2 / SMALL_BYTES_MAX).map(|_| is_free(&other, SMALL_BYTES_MAX)).collect();
        let third = budget.for_peer();
        assert!(small.iter().all(Option::is_some) && is_free(&third, SMALL_BYTES_MAX).is_none());
        drop(bulk);
        assert!(is_free(&third, MAX_FRAME_BYTES).is_some() && is_free(&third, SMALL_BYTES_MAX).is_some());
    }

    #[tokio::test]
    async fn a_live_peer_has_its_share_of_the_new_budget() {
        let budget = Budget::new(MIN_MEMORY_BUDGET);
        let peer = budget.for_peer();
        let held = is_free(&peer, MIN_MEMORY_BUDGET / 2);
        assert!(held.is_some() && is_free(&peer, MAX_FRAME_BYTES).is_none());
        budget.resize(8 * MIN_MEMORY_BUDGET);
        assert!(
            is_free(&peer, MIN_MEMORY_BUDGET / 2).is_some(),
            "what another message holds is not in its way"
        );
        budget.resize(MIN_MEMORY_BUDGET);
        drop(held);
        tokio::task::yield_now().await;
        let held = is_free(&peer, MIN_MEMORY_BUDGET / 2);
        assert!(held.is_some() && is_free(&peer, MAX_FRAME_BYTES).is_none());
    }

    #[test]
    fn one_peer_takes_a_quarter_at_most() {
        let budget = Budget::new(DEFAULT_MEMORY_BUDGET);
        let (greedy, other) = (budget.for_peer(), budget.for_peer());
        let frames = DEFAULT_MEMORY_BUDGET / 4 / MAX_FRAME_BYTES;
        let taken: Vec<_> = (0..frames).map(|_| is_free(&greedy, MAX_FRAME_BYTES)).collect();
        assert!(taken.iter().all(Option::is_some) && is_free(&greedy, MAX_FRAME_BYTES).is_none());
        assert!(is_free(&other, MAX_FRAME_BYTES).is_some());
    }
}
