//! The newest value of something, for any number of readers who are woken in the order in which they began to wait.
//!
//! It does what tokio's `watch` does, but for that order: `watch` wakes its readers in a random one, and a
//! simulated ledger could not be replayed from its seed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
struct Board<T> {
    latest: Mutex<Latest<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct Latest<T> {
    value: T,
    closed: bool,
}

impl<T> Board<T> {
    /// The latest value; a panic elsewhere cannot leave it half written, so poisoning is ignored.
    fn latest(&self) -> MutexGuard<'_, Latest<T>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Latest<T>)) {
        change(&mut self.latest());
        self.changed.notify_waiters();
    }
}

/// Where values are published. Readers are told when it is dropped.
#[derive(Debug)]
pub(crate) struct Publisher<T>(Arc<Board<T>>);

impl<T> Publisher<T> {
    /// Makes `value` the newest.
    pub(crate) fn publish(&self, value: T) {
        self.0.change(|latest| latest.value = value);
    }
}

impl<T> Drop for Publisher<T> {
    fn drop(&mut self) {
        self.0.change(|latest| latest.closed = true);
    }
}

/// Where values are read.
#[derive(Debug)]
pub(crate) struct Reader<T>(Arc<Board<T>>);

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Reader<T> {
    /// The newest value.
    pub(crate) fn latest(&self) -> T {
        self.0.latest().value.clone()
    }

    /// Waits for a value that is `wanted`; `None` when no more come.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // Before the value is looked at, or a change in between would be missed.
            changed.as_mut().enable();
            {
                let latest = self.0.latest();
                if wanted(&latest.value) {
                    return Some(latest.value.clone());
                }
                if latest.closed {
                    return None;
                }
            }
            changed.await;
        }
    }
}

/// A bulletin whose first value is `value`.
pub(crate) fn bulletin<T>(value: T) -> (Publisher<T>, Reader<T>) {
    let latest = Mutex::new(Latest { value, closed: false });
    let board = Arc::new(Board {
        latest,
        changed: Notify::new(),
    });
    (Publisher(Arc::clone(&board)), Reader(board))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readers_are_woken_in_the_order_in_which_they_began_to_wait() {
        let (publisher, reader) = bulletin(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let readers: Vec<_> = (0..16)
            .map(|index| {
                let (reader, woken) = (reader.clone(), Arc::clone(&woken));
                tokio::spawn(async move {
                    reader.wait_for(|value| *value == 1).await;
                    woken.lock().unwrap().push(index);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        publisher.publish(1);
        for reader in readers {
            reader.await.unwrap();
        }
        assert!(woken.lock().unwrap().is_sorted());
    }

    #[tokio::test]
    async fn a_reader_hears_the_newest_value_and_the_end() {
        let (publisher, reader) = bulletin(0);
        assert_eq!(reader.latest(), 0);
        publisher.publish(7);
        assert_eq!(reader.wait_for(|value| *value > 5).await, Some(7));
        drop(publisher);
        assert_eq!(reader.wait_for(|value| *value > 9).await, None);
        assert_eq!(reader.latest(), 7);
    }
}
