//! The only file that reads time (clippy bans it elsewhere).
//!
//! Owns the monotonic clock (media time, deadlines), the wall clock (names, logs, text overlays) and sleeping.
//! Must never let wall time into a deadline. Tests get a clock they move by hand.

#![allow(clippy::disallowed_methods)]

use crate::units::Micros;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall time: microseconds since 1970-01-01 UTC. May jump; never used for durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallMicros(pub u64);

impl WallMicros {
    /// 2026-01-01, when this program was written.
    pub const WRITTEN: WallMicros = WallMicros(1_767_225_600_000_000);

    /// Not before this program was written: boards without a battery start in 1970 until they hear of NTP.
    pub fn is_plausible(self) -> bool {
        self >= WallMicros::WRITTEN
    }
}

/// A source of time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    System,
    Test(Arc<TestTime>),
}

struct TestTime {
    monotonic_us: AtomicU64,
    wall_us: AtomicU64,
    origin: Instant,
}

/// The hand that moves a test clock.
#[derive(Clone)]
pub struct TestHand(Arc<TestTime>);

impl Clock {
    pub fn system() -> Clock {
        Clock(Kind::System)
    }

    /// A clock that stands still at 1 s until moved.
    pub fn test() -> (Clock, TestHand) {
        let time = Arc::new(TestTime {
            monotonic_us: AtomicU64::new(1_000_000),
            wall_us: AtomicU64::new(1_700_000_000_000_000),
            origin: Instant::now(),
        });
        (Clock(Kind::Test(time.clone())), TestHand(time))
    }

    /// CLOCK_MONOTONIC.
    pub fn now(&self) -> Micros {
        match &self.0 {
            Kind::System => {
                let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
                Micros(t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1_000)
            }
            Kind::Test(time) => Micros(time.monotonic_us.load(Ordering::Acquire)),
        }
    }

    /// The same instant in the type the WebRTC core wants.
    pub fn instant(&self) -> Instant {
        match &self.0 {
            Kind::System => Instant::now(),
            Kind::Test(time) => time.origin + Duration::from_micros(time.monotonic_us.load(Ordering::Acquire)),
        }
    }

    pub fn wall(&self) -> WallMicros {
        match &self.0 {
            Kind::System => {
                WallMicros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64)
            }
            Kind::Test(time) => WallMicros(time.wall_us.load(Ordering::Acquire)),
        }
    }

    /// Blocks this thread. With a test clock: returns at once and moves that clock.
    pub fn sleep(&self, span: Duration) {
        match &self.0 {
            Kind::System => std::thread::sleep(span),
            Kind::Test(time) => {
                time.monotonic_us.fetch_add(span.as_micros() as u64, Ordering::AcqRel);
            }
        }
    }
}

impl TestHand {
    /// Moves monotonic and wall time together.
    pub fn advance(&self, span: Duration) {
        self.0.monotonic_us.fetch_add(span.as_micros() as u64, Ordering::AcqRel);
        self.0.wall_us.fetch_add(span.as_micros() as u64, Ordering::AcqRel);
    }

    /// Steps the wall clock alone, as NTP or a missing RTC does.
    pub fn set_wall(&self, wall: WallMicros) {
        self.0.wall_us.store(wall.0, Ordering::Release);
    }
}

/// CPU time of the calling thread: work done, whatever else the machine is busy with.
pub fn thread_cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// Waits in the async runtime.
pub async fn sleep(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Gives `work` at most `span`; None when it took longer.
pub async fn within<F: Future>(span: Duration, work: F) -> Option<F::Output> {
    tokio::time::timeout(span, work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_step_leaves_monotonic_time_alone() {
        let (clock, hand) = Clock::test();
        let before = clock.now();
        hand.set_wall(WallMicros(0));
        assert_eq!(clock.now(), before);
        hand.advance(Duration::from_millis(5));
        assert_eq!(clock.now().since(before), Duration::from_millis(5));
    }
}
