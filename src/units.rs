//! Units that cross a file border: time, RTP time, bit rate, picture size, frame rate.
//!
//! Owns the conversions between them. Must never read a clock (see `clock.rs`).
//! Input: plain numbers from drivers, config and the wire, checked by their own rooms.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the monotonic clock, in microseconds since boot (CLOCK_MONOTONIC, the clock of V4L2 timestamps).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// Time since `earlier`; zero when `earlier` is later (clocks of two threads may be read out of order).
    pub fn since(self, earlier: Micros) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Micros {
    type Output = Micros;
    fn add(self, span: Duration) -> Micros {
        Micros(self.0.saturating_add(span.as_micros() as u64))
    }
}

impl Sub<Duration> for Micros {
    type Output = Micros;
    fn sub(self, span: Duration) -> Micros {
        Micros(self.0.saturating_sub(span.as_micros() as u64))
    }
}

/// Media time in ticks of 1/90000 s (RFC 6184 section 8.2.1). 64 bits: does not wrap in the life of a daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pts90k(pub u64);

impl Pts90k {
    /// The media time of a capture instant. Exact: 9 ticks per 100 us, so order is kept.
    pub fn from_capture(at: Micros) -> Pts90k {
        // 128 bits: u64 microseconds times 9 would overflow after 65,000 years; cheap, so never a question
        Pts90k((u128::from(at.0) * 9 / 100) as u64)
    }

    /// The RTP timestamp: the low 32 bits (RFC 3550 section 5.1; wraps every 13 h 15 min).
    pub fn rtp(self) -> u32 {
        self.0 as u32
    }
}

/// Bit rate in units of 1000 bit/s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
pub struct KbitPerSec(pub u32);

impl KbitPerSec {
    pub fn bits_per_sec(self) -> u64 {
        u64::from(self.0) * 1000
    }
}

impl fmt::Display for KbitPerSec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} kbit/s", self.0)
    }
}

/// Picture size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Frames per second as a fraction, the way drivers and Y4M files state it. Both parts are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameRate {
    pub frames: u32,
    pub seconds: u32,
}

impl FrameRate {
    pub const fn per_second(frames: u32) -> FrameRate {
        FrameRate { frames, seconds: 1 }
    }

    pub fn as_f64(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }

    /// Time from one frame to the next.
    pub fn period(self) -> Duration {
        Duration::from_nanos(1_000_000_000 * u64::from(self.seconds) / u64::from(self.frames.max(1)))
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let rate = self.as_f64();
        if rate.fract() == 0.0 { write!(f, "{rate:.0} fps") } else { write!(f, "{rate:.2} fps") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_second_is_ninety_thousand_ticks() {
        assert_eq!(Pts90k::from_capture(Micros(1_000_000)), Pts90k(90_000));
        assert_eq!(Pts90k::from_capture(Micros(u64::MAX)).rtp(), Pts90k::from_capture(Micros(u64::MAX)).0 as u32);
    }

    #[test]
    fn rtp_time_wraps_where_the_32_bits_end() {
        assert_eq!(Pts90k(u64::from(u32::MAX) + 5).rtp(), 4);
    }

    #[test]
    fn a_clock_read_out_of_order_gives_zero_not_a_panic() {
        assert_eq!(Micros(5).since(Micros(9)), Duration::ZERO);
        assert_eq!(Micros(5) - Duration::from_secs(1), Micros(0));
    }

    #[test]
    fn ntsc_rates_keep_their_fraction() {
        let rate = FrameRate { frames: 30000, seconds: 1001 };
        assert_eq!(rate.to_string(), "29.97 fps");
        assert_eq!(rate.period(), Duration::from_nanos(33_366_666));
    }
}
