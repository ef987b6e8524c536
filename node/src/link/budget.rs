//! The memory that messages from peers may take, reserved before their bytes are kept (design §9).

use std::sync::Arc;

use peabiru_proto::limits::MAX_FRAME_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::frame::MAX_FETCH_FRAME_BYTES;

/// Two halves: one for small messages alone, one for everybody. Bulk cannot keep small messages out.
#[derive(Debug, Clone)]
pub struct Budget {
    small: Arc<Semaphore>,
    common: Arc<Semaphore>,
}

/// Memory of one message; given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    bytes: usize,
    _permit: Option<OwnedSemaphorePermit>,
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
        let half =
            || Arc::new(Semaphore::new((bytes.max(MIN_MEMORY_BUDGET) / 2).min(Semaphore::MAX_PERMITS)));
        Self { small: half(), common: half() }
    }

    /// Waits until so many bytes are free. The caller bounds the wait; the peer meanwhile keeps what it has.
    pub(crate) async fn reserve(&self, bytes: usize) -> Reserved {
        let permits =
            u32::try_from(bytes.min(MIN_MEMORY_BUDGET / 2)).expect("the smallest budget is far below 4 GiB");
        if bytes > SMALL_BYTES_MAX {
            return Reserved { bytes, _permit: take(&self.common, permits).await };
        }
        let permit = match Arc::clone(&self.common).try_acquire_many_owned(permits) {
            Ok(permit) => Some(permit),
            Err(_) => take(&self.small, permits).await,
        };
        Reserved { bytes, _permit: permit }
    }
}

/// None only from a closed semaphore, and nobody closes these.
async fn take(half: &Arc<Semaphore>, permits: u32) -> Option<OwnedSemaphorePermit> {
    Arc::clone(half).acquire_many_owned(permits).await.ok()
}

/// `node_memory_budget` if nobody says otherwise.
pub const DEFAULT_MEMORY_BUDGET: usize = 64 * 1024 * 1024;
/// Less would not hold the longest frame in either half.
pub const MIN_MEMORY_BUDGET: usize = 2 * MAX_FETCH_FRAME_BYTES;
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
        let budget = Budget::new(0);
        let bulk = is_free(&budget, MIN_MEMORY_BUDGET / 2);
        assert!(bulk.is_some() && is_free(&budget, MAX_FRAME_BYTES).is_none());
        let small: Vec<_> =
            (0..MIN_MEMORY_BUDGET / 2 / SMALL_BYTES_MAX).map(|_| is_free(&budget, SMALL_BYTES_MAX)).collect();
        assert!(small.iter().all(Option::is_some) && is_free(&budget, SMALL_BYTES_MAX).is_none());
        drop(bulk);
        assert!(is_free(&budget, MAX_FRAME_BYTES).is_some() && is_free(&budget, SMALL_BYTES_MAX).is_some());
    }
}
