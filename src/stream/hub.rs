//! The fan-out: one stream of pictures to many subscribers, each behind its own bounded queue.
//!
//! Sans-IO: items come in, items are taken out; who waits and who is woken is the caller's business. A subscriber that
//! does not keep up loses everything up to the next key picture, and only that subscriber (I2). Used twice: encoder to
//! outputs, and WebRTC output to viewers. Must never block, allocate past its bound, or look inside an item.

use std::collections::VecDeque;

/// What the hub needs to know of an item.
pub trait Item: Clone {
    /// Decoding can start here.
    fn is_key(&self) -> bool;
    /// Bytes it holds.
    fn size(&self) -> usize;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub items: usize,
    pub bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub taken: u64,
    /// Items this subscriber did not get: its queue was full, or it was waiting for a key picture after that.
    pub dropped: u64,
    /// How often it fell behind.
    pub overflows: u64,
}

pub struct Hub<K, T> {
    bound: Bound,
    subscribers: Vec<Subscriber<K, T>>,
}

struct Subscriber<K, T> {
    key: K,
    queue: VecDeque<T>,
    bytes: usize,
    /// Joined or overflowed: nothing is queued until a key picture comes.
    waits_for_key: bool,
    counters: Counters,
    fell_behind: bool,
}

impl<K: Copy + PartialEq, T: Item> Hub<K, T> {
    pub fn new(bound: Bound) -> Hub<K, T> {
        Hub { bound, subscribers: Vec::new() }
    }

    /// Adds a subscriber; it starts with the next key picture.
    pub fn join(&mut self, key: K) {
        self.subscribers.push(Subscriber {
            key,
            queue: VecDeque::with_capacity(self.bound.items),
            bytes: 0,
            waits_for_key: true,
            counters: Counters::default(),
            fell_behind: false,
        });
    }

    /// Forgets a subscriber and what it had queued. Unknown keys are fine.
    pub fn leave(&mut self, key: K) {
        self.subscribers.retain(|s| s.key != key);
    }

    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    /// Whether somebody cannot go on without a key picture: the caller asks the encoder for one (once for all).
    pub fn wants_key(&self) -> bool {
        self.subscribers.iter().any(|s| s.waits_for_key)
    }

    /// Hands an item to every subscriber.
    pub fn publish(&mut self, item: &T) {
        for subscriber in &mut self.subscribers {
            subscriber.offer(item, self.bound);
        }
    }

    /// Hands a newcomer what was published since the last key picture (`items[0]`), so that it need not wait for
    /// another one.
    pub fn catch_up(&mut self, key: K, items: &[T]) {
        let bound = self.bound;
        if let Some(subscriber) = self.subscribers.iter_mut().find(|s| s.key == key) {
            items.iter().for_each(|item| subscriber.offer(item, bound));
        }
    }

    /// The subscriber's next item.
    pub fn take(&mut self, key: K) -> Option<T> {
        let subscriber = self.subscribers.iter_mut().find(|s| s.key == key)?;
        let item = subscriber.queue.pop_front()?;
        subscriber.bytes -= item.size();
        subscriber.counters.taken += 1;
        Some(item)
    }

    /// Makes a subscriber start over at the next key picture (its decoder lost the thread).
    pub fn restart(&mut self, key: K) {
        if let Some(subscriber) = self.subscribers.iter_mut().find(|s| s.key == key) {
            subscriber.waits_for_key = true;
        }
    }

    pub fn counters(&self, key: K) -> Option<Counters> {
        self.subscribers.iter().find(|s| s.key == key).map(|s| s.counters)
    }
}

impl<K, T: Item> Subscriber<K, T> {
    fn offer(&mut self, item: &T, bound: Bound) {
        if item.is_key() {
            self.waits_for_key = false;
            // A key picture makes everything still queued pointless: the viewer jumps to now.
            if self.fell_behind || self.is_full_for(item, bound) {
                self.clear();
            }
            self.fell_behind = false;
        }
        if self.waits_for_key {
            // a newcomer waits; only one that fell behind loses pictures
            self.counters.dropped += u64::from(self.fell_behind);
            return;
        }
        if self.is_full_for(item, bound) {
            self.counters.overflows += 1;
            self.counters.dropped += 1;
            self.clear();
            self.waits_for_key = true;
            self.fell_behind = true;
            return;
        }
        self.bytes += item.size();
        self.queue.push_back(item.clone());
    }

    /// One item always fits, however big.
    fn is_full_for(&self, item: &T, bound: Bound) -> bool {
        self.queue.len() >= bound.items || self.bytes + item.size() > bound.bytes && !self.queue.is_empty()
    }

    fn clear(&mut self) {
        self.counters.dropped += self.queue.len() as u64;
        self.queue.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    #[derive(Clone, Debug, PartialEq)]
    struct Picture {
        number: u64,
        key: bool,
        size: usize,
    }

    impl Item for Picture {
        fn is_key(&self) -> bool {
            self.key
        }
        fn size(&self) -> usize {
            self.size
        }
    }

    fn picture(number: u64, key: bool) -> Picture {
        Picture { number, key, size: 100 }
    }

    const BOUND: Bound = Bound { items: 4, bytes: 10_000 };

    #[test]
    fn a_newcomer_starts_with_a_key_picture_and_loses_nothing() {
        let mut hub = Hub::new(BOUND);
        hub.join(1);
        assert!(hub.wants_key());
        hub.publish(&picture(0, false));
        assert_eq!(hub.take(1), None);
        hub.publish(&picture(1, true));
        assert!(!hub.wants_key());
        assert_eq!(hub.take(1).map(|p| p.number), Some(1));
        assert_eq!(hub.counters(1), Some(Counters { taken: 1, dropped: 0, overflows: 0 }));
    }

    #[test]
    fn a_newcomer_that_catches_up_starts_at_the_last_key_picture_and_goes_on_without_a_gap() {
        let mut hub = Hub::new(BOUND);
        hub.join(1);
        hub.catch_up(1, &[picture(7, true), picture(8, false)]);
        assert!(!hub.wants_key());
        hub.publish(&picture(9, false));
        let taken: Vec<u64> = std::iter::from_fn(|| hub.take(1)).map(|p| p.number).collect();
        assert_eq!(taken, [7, 8, 9]);
    }

    #[test]
    fn a_stalled_subscriber_hurts_nobody_else_and_resumes_at_a_key_picture() {
        let mut hub = Hub::new(BOUND);
        hub.join(1);
        hub.join(2);
        for number in 0..20 {
            hub.publish(&picture(number, number == 0 || number == 12));
            assert_eq!(hub.take(2).map(|p| p.number), Some(number), "2 keeps up, whatever 1 does");
        }
        // 1 took nothing: it overflowed, skipped to key picture 12, and overflowed again
        assert!(hub.wants_key());
        hub.publish(&picture(20, true));
        assert_eq!(hub.take(1).map(|p| p.number), Some(20));
        let counters = hub.counters(1).expect("1 is still there");
        assert_eq!((counters.taken, counters.dropped, counters.overflows), (1, 20, 2));
    }

    #[test]
    fn a_key_picture_that_does_not_fit_takes_the_place_of_all_that_is_queued() {
        let mut hub = Hub::new(Bound { items: 4, bytes: 350 });
        hub.join(1);
        (0..3).for_each(|number| hub.publish(&picture(number, number == 0)));
        hub.publish(&picture(3, true));
        assert!(!hub.wants_key(), "another one would cost everybody");
        assert_eq!(hub.take(1).map(|p| p.number), Some(3));
        assert_eq!(hub.counters(1), Some(Counters { taken: 1, dropped: 3, overflows: 0 }));
    }

    /// 10,000 random schedules: queues stay in bounds, order is kept, after a gap comes a key picture.
    #[test]
    fn random_schedules_keep_the_promises() {
        for seed in 0..10_000u64 {
            let mut dice = Dice::new(seed);
            let mut hub = Hub::new(Bound { items: 3, bytes: 350 });
            hub.join(0);
            hub.join(1);
            let mut last = [None::<u64>; 2];
            for number in 0..60 {
                hub.publish(&picture(number, dice.roll(10) == 0));
                let reader = dice.roll(3);
                if reader < 2 {
                    while let Some(item) = hub.take(reader) {
                        let before = last[reader as usize].replace(item.number);
                        let follows = before.is_some_and(|b| b + 1 == item.number);
                        assert!(follows || item.key, "seed {seed}: {before:?} then {}", item.number);
                        assert!(before.is_none_or(|b| b < item.number), "seed {seed}: order");
                    }
                }
                for s in &hub.subscribers {
                    assert!(s.queue.len() <= 3 && s.bytes <= 350, "seed {seed}: bound");
                }
            }
        }
    }
}
