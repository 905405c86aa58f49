//! The hub shared between the encode thread and the outputs: joining, leaving, waking, asking for key pictures.
//!
//! Owns the locks around the hub. Must never hold the hub's while a subscriber is woken, nor any while a picture is
//! encoded.
//! Input: access units from the encode thread, calls of the outputs' threads.

use super::hub::{Bound, Hub};
use super::{Subscription, Wake};
use crate::media::packet::AccessUnit;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An output drains its queue whenever it is woken; one that lets a second of pictures pile up is stuck.
const BOUND: Bound = Bound { items: 32, bytes: 4 << 20 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SubscriberId(u64);

pub(super) struct FanOut {
    hub: Mutex<Hub<SubscriberId, Arc<AccessUnit>>>,
    wakers: Mutex<Vec<(SubscriberId, Arc<dyn Wake>)>>,
    subscribers: AtomicUsize,
    next_id: AtomicU64,
    key_requested: AtomicBool,
    /// Somebody joined when nobody was there.
    begun: AtomicBool,
}

impl FanOut {
    pub fn new() -> FanOut {
        FanOut {
            hub: Mutex::new(Hub::new(BOUND)),
            wakers: Mutex::default(),
            subscribers: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
            key_requested: AtomicBool::new(false),
            begun: AtomicBool::new(false),
        }
    }

    pub fn subscribe(self: &Arc<Self>, waker: Arc<dyn Wake>) -> Box<dyn Subscription> {
        let id = SubscriberId(self.next_id.fetch_add(1, Ordering::Relaxed));
        lock(&self.wakers).push((id, waker));
        lock(&self.hub).join(id);
        if self.subscribers.fetch_add(1, Ordering::AcqRel) == 0 {
            self.begun.store(true, Ordering::Release);
        }
        Box::new(Seat { fanout: self.clone(), id })
    }

    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Acquire)
    }

    /// Whether a first subscriber came since the last call: nobody needs what was encoded before.
    pub fn take_begun(&self) -> bool {
        self.begun.swap(false, Ordering::AcqRel)
    }

    /// Somebody joined, fell behind, or asked.
    pub fn wants_key(&self) -> bool {
        self.key_requested.load(Ordering::Acquire) || lock(&self.hub).wants_key()
    }

    pub fn publish(&self, unit: &Arc<AccessUnit>) {
        if unit.key {
            // whoever asked while this picture was being encoded gets it too
            self.key_requested.store(false, Ordering::Release);
        }
        lock(&self.hub).publish(unit);
        for (_, waker) in lock(&self.wakers).iter() {
            waker.wake();
        }
    }

    fn leave(&self, id: SubscriberId) {
        let counters = {
            let mut hub = lock(&self.hub);
            let counters = hub.counters(id);
            hub.leave(id);
            counters
        };
        lock(&self.wakers).retain(|(other, _)| *other != id);
        self.subscribers.fetch_sub(1, Ordering::Release);
        if let Some(counters) = counters.filter(|counters| counters.dropped > 0) {
            tracing::info!(
                "stream: an output left that had fallen behind {} times and missed {} pictures",
                counters.overflows,
                counters.dropped
            );
        }
    }
}

struct Seat {
    fanout: Arc<FanOut>,
    id: SubscriberId,
}

impl Subscription for Seat {
    fn take(&mut self) -> Option<Arc<AccessUnit>> {
        lock(&self.fanout.hub).take(self.id)
    }

    fn request_key(&mut self) {
        self.fanout.key_requested.store(true, Ordering::Release);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.fanout.leave(self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn unit(key: bool) -> Arc<AccessUnit> {
        Arc::new(AccessUnit { key, bytes: vec![0; 10], ..AccessUnit::default() })
    }

    #[test]
    fn everybody_who_is_there_is_woken_and_nobody_after_leaving() {
        let fanout = Arc::new(FanOut::new());
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let staying = fanout.subscribe(first.clone());
        let leaving = fanout.subscribe(second.clone());
        fanout.publish(&unit(true));
        assert_eq!(fanout.subscribers(), 2);
        drop(leaving);
        fanout.publish(&unit(false));
        assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (2, 1));
        assert_eq!(Arc::strong_count(&second), 1, "nothing of the one that left is kept");
        drop(staying);
        assert_eq!(fanout.subscribers(), 0);
    }

    #[test]
    fn a_request_stands_until_a_key_picture_goes_out() {
        let fanout = Arc::new(FanOut::new());
        let mut seat = fanout.subscribe(Arc::new(Count::default()));
        assert!(fanout.wants_key(), "a newcomer needs one");
        fanout.publish(&unit(true));
        assert!(!fanout.wants_key());
        seat.request_key();
        fanout.publish(&unit(false));
        assert!(fanout.wants_key());
        fanout.publish(&unit(true));
        assert!(!fanout.wants_key());
    }

    #[test]
    fn a_subscriber_that_fell_behind_asks_for_a_key_picture() {
        let fanout = Arc::new(FanOut::new());
        let mut seat = fanout.subscribe(Arc::new(Count::default()));
        fanout.publish(&unit(true));
        (0..BOUND.items).for_each(|_| fanout.publish(&unit(false)));
        assert!(fanout.wants_key());
        assert!(seat.take().is_none());
        fanout.publish(&unit(true));
        assert!(seat.take().is_some_and(|unit| unit.key));
    }
}
