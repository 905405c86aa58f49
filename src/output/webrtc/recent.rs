//! The pictures since the last key picture, for a viewer that has just connected: it shows a picture at once instead of
//! waiting for the next key picture, and a dozen joiners share one.
//!
//! Bounded in pictures, bytes and age: what would be a burst or old news is not kept. Pure.

use crate::output::webrtc::packetize::PacketizedUnit;
use crate::units::Micros;
use std::sync::Arc;
use std::time::Duration;

/// Fewer than a viewer's queue holds.
const PICTURES: usize = 14;
/// A burst of a hundred packets: a quarter of a second at 4 Mbit/s.
const BYTES: usize = 128 << 10;
/// Older runs cost more to catch up with than a new key picture, which may be forced every 250 ms.
const AGE: Duration = Duration::from_millis(400);

#[derive(Default)]
pub struct Recent {
    units: Vec<Arc<PacketizedUnit>>,
    bytes: usize,
}

impl Recent {
    pub fn add(&mut self, unit: &Arc<PacketizedUnit>) {
        if unit.key {
            self.clear();
        } else if self.units.is_empty() {
            return;
        }
        self.bytes += unit.bytes;
        if self.units.len() == PICTURES || self.bytes > BYTES {
            return self.clear();
        }
        self.units.push(unit.clone());
    }

    /// A key picture and all after it; empty when there is no run worth sending.
    pub fn since_key(&self, now: Micros) -> &[Arc<PacketizedUnit>] {
        match self.units.first() {
            Some(key) if now.since(key.captured_at) <= AGE => &self.units,
            _ => &[],
        }
    }

    pub fn clear(&mut self) {
        self.units.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Pts90k;

    fn unit(key: bool, ms: u64, bytes: usize) -> Arc<PacketizedUnit> {
        let captured_at = Micros(ms * 1000);
        Arc::new(PacketizedUnit { payloads: vec![], key, pts: Pts90k(ms * 90), captured_at, bytes })
    }

    #[test]
    fn a_run_starts_at_a_key_picture_and_is_whole_or_nothing() {
        let mut recent = Recent::default();
        recent.add(&unit(false, 0, 10));
        assert!(recent.since_key(Micros(0)).is_empty(), "nothing to start from");
        recent.add(&unit(true, 33, 10));
        recent.add(&unit(false, 66, 10));
        assert_eq!(recent.since_key(Micros(100_000)).len(), 2);
        assert!(recent.since_key(Micros(500_000)).is_empty(), "old news");
        recent.add(&unit(true, 99, 10));
        assert_eq!(recent.since_key(Micros(100_000)).len(), 1);
        recent.add(&unit(false, 132, BYTES));
        assert!(recent.since_key(Micros(133_000)).is_empty(), "a burst");
        recent.add(&unit(false, 165, 10));
        assert!(recent.since_key(Micros(166_000)).is_empty(), "a run with a hole is no run");
    }

    #[test]
    fn a_long_run_is_given_up() {
        let mut recent = Recent::default();
        for at in 0..=PICTURES as u64 {
            recent.add(&unit(at == 0, at, 10));
        }
        assert!(recent.since_key(Micros(20_000)).is_empty());
    }
}
