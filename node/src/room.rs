//! A semaphore whose size can change while permits are out.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// So many permits. If the size shrinks, what is too many is taken back as it comes free.
#[derive(Debug)]
pub(crate) struct Room {
    permits: Arc<Semaphore>,
    size: Mutex<usize>,
}

impl Room {
    /// Of this size, or of the most that a semaphore has.
    pub(crate) fn new(size: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(size)), size: Mutex::new(size) }
    }

    /// To take from.
    pub(crate) fn permits(&self) -> &Arc<Semaphore> {
        &self.permits
    }

    /// Permits that are out.
    pub(crate) fn held(&self) -> usize {
        let size = *self.size.lock().unwrap_or_else(PoisonError::into_inner);
        size.saturating_sub(self.permits.available_permits())
    }

    /// Changes the size. Runs on the tokio runtime of the caller.
    pub(crate) fn resize(&self, size: usize) {
        let size = size.min(Semaphore::MAX_PERMITS);
        let before = {
            let mut held = self.size.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, size)
        };
        if size >= before {
            self.permits.add_permits(size - before);
            return;
        }
        let (permits, mut surplus) = (Arc::clone(&self.permits), before - size);
        surplus -= permits.forget_permits(surplus);
        if surplus == 0 {
            return;
        }
        // Whoever waits now waits behind this: it takes each permit that comes back.
        tokio::spawn(async move {
            while surplus > 0 {
                let part = u32::try_from(surplus).unwrap_or(u32::MAX);
                let Ok(permit) = permits.acquire_many(part).await else { return };
                permit.forget();
                surplus -= part as usize;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(room: &Room) -> Option<tokio::sync::OwnedSemaphorePermit> {
        Arc::clone(room.permits()).try_acquire_owned().ok()
    }

    #[tokio::test]
    async fn what_is_out_counts_against_the_new_size() {
        let room = Room::new(3);
        let mut out: Vec<_> = (0..3).map(|_| taken(&room).unwrap()).collect();
        assert_eq!(room.held(), 3);
        room.resize(1);
        tokio::task::yield_now().await;
        out.truncate(1);
        tokio::task::yield_now().await;
        assert!(taken(&room).is_none() && room.held() == 1, "one is out, and there is one");
        out.clear();
        tokio::task::yield_now().await;
        let one = taken(&room);
        assert!(one.is_some() && taken(&room).is_none());
        room.resize(2);
        assert!(taken(&room).is_some());
    }
}
