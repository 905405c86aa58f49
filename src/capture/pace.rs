//! When the next made-up picture is due: slots at exact multiples of the frame period, so that pacing never drifts.
//!
//! Owns the slot count. A slot that was missed is skipped, never made up for. Input: the clock.

use crate::capture::{Grab, Want};
use crate::clock::Clock;
use crate::media::frame::{BufferPool, Frame, PictureFormat};
use crate::units::{FrameRate, Micros};
use std::sync::Arc;
use std::time::Duration;

/// Enough for one being filled, one waiting for the encoder, one inside it, and one to spare.
pub const POOLED_FRAMES: usize = 4;

/// Why there is no frame to fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFrame {
    NotDue,
    /// Nobody wants it, or all buffers are on loan.
    Passed,
}

impl From<NoFrame> for Grab {
    fn from(why: NoFrame) -> Grab {
        match why {
            NoFrame::NotDue => Grab::Nothing,
            NoFrame::Passed => Grab::Passed,
        }
    }
}

/// Empty frames at the pace of a camera, for sources that make their pictures themselves.
pub struct Paced {
    clock: Clock,
    pacer: Pacer,
    picture: PictureFormat,
    pool: Arc<BufferPool>,
    dropped: u64,
}

impl Paced {
    pub fn new(clock: &Clock, rate: FrameRate, picture: PictureFormat) -> Paced {
        let pool = BufferPool::new(POOLED_FRAMES, picture.buffer_len());
        Paced { clock: clock.clone(), pacer: Pacer::new(clock, rate), picture, pool, dropped: 0 }
    }

    /// A frame to fill, stamped and numbered.
    pub fn next(&mut self, want: Want, timeout: Duration) -> Result<Frame, NoFrame> {
        let slot = self.pacer.wait(timeout).ok_or(NoFrame::NotDue)?;
        self.dropped += slot.skipped;
        if want == Want::Heartbeat {
            return Err(NoFrame::Passed);
        }
        let Some(buffer) = self.pool.take() else {
            self.dropped += 1;
            return Err(NoFrame::Passed);
        };
        Ok(Frame::pooled(self.picture, self.clock.now(), slot.number, buffer))
    }

    /// Slots passed over, and pictures for which no buffer was free.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

struct Pacer {
    clock: Clock,
    rate: FrameRate,
    start: Micros,
    next: u64,
}

/// A slot that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    /// Counts periods since the start.
    number: u64,
    /// Slots passed over because the caller came too late for them.
    skipped: u64,
}

impl Pacer {
    fn new(clock: &Clock, rate: FrameRate) -> Pacer {
        Pacer { clock: clock.clone(), rate, start: clock.now(), next: 0 }
    }

    /// Sleeps until the next slot, at most `timeout`. None: not due yet.
    fn wait(&mut self, timeout: Duration) -> Option<Slot> {
        let due = self.due(self.next);
        let span = due.since(self.clock.now());
        if !span.is_zero() {
            self.clock.sleep(span.min(timeout));
        }
        let now = self.clock.now();
        (now >= due).then(|| self.take(now))
    }

    fn take(&mut self, now: Micros) -> Slot {
        let number = self.slot_at(now).max(self.next);
        let slot = Slot { number, skipped: number - self.next };
        self.next = number + 1;
        slot
    }

    /// From the start, not from the slot before: rounding never adds up.
    fn due(&self, slot: u64) -> Micros {
        let (frames, seconds) = (u128::from(self.rate.frames.max(1)), u128::from(self.rate.seconds));
        let offset_us = (u128::from(slot) * 1_000_000 * seconds).div_ceil(frames);
        Micros(self.start.0.saturating_add(offset_us as u64))
    }

    fn slot_at(&self, now: Micros) -> u64 {
        let since_us = now.since(self.start).as_micros();
        (since_us * u128::from(self.rate.frames) / (1_000_000 * u128::from(self.rate.seconds.max(1)))) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    #[test]
    fn a_million_slots_do_not_drift() {
        let (clock, _) = Clock::test();
        let start = clock.now();
        let mut pacer = Pacer::new(&clock, FrameRate { frames: 30000, seconds: 1001 });
        for number in 0..1_000_000 {
            assert_eq!(pacer.wait(LONG), Some(Slot { number, skipped: 0 }));
        }
        let exact_us = 999_999_u64 * 1_001_000_000 / 30_000;
        assert!(clock.now().since(start).as_micros() as u64 - exact_us <= 1);
    }

    #[test]
    fn late_slots_are_skipped_not_queued() {
        let (clock, hand) = Clock::test();
        let mut pacer = Pacer::new(&clock, FrameRate::per_second(10));
        assert_eq!(pacer.wait(LONG), Some(Slot { number: 0, skipped: 0 }));
        hand.advance(Duration::from_millis(350));
        assert_eq!(pacer.wait(LONG), Some(Slot { number: 3, skipped: 2 }));
        let before = clock.now();
        assert_eq!(pacer.wait(LONG), Some(Slot { number: 4, skipped: 0 }));
        assert_eq!(clock.now().since(before), Duration::from_millis(50), "the grid is kept");
    }

    #[test]
    fn a_wait_never_outlasts_its_timeout() {
        let (clock, _) = Clock::test();
        let mut pacer = Pacer::new(&clock, FrameRate::per_second(1));
        assert!(pacer.wait(LONG).is_some());
        let before = clock.now();
        assert_eq!(pacer.wait(Duration::from_millis(30)), None);
        assert_eq!(clock.now().since(before), Duration::from_millis(30));
    }
}
