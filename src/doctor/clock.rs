//! Whether the wall clock is set: boards without a battery start in the past.
//!
//! Pure. Input: the wall time.

use super::Finding;
use crate::clock::WallMicros;

const GROUP: &str = "clock";
/// 2024-01-01: before this program was written.
const EARLIEST: WallMicros = WallMicros(1_704_067_200 * 1_000_000);

pub fn judge(now: WallMicros) -> Vec<Finding> {
    if now >= EARLIEST {
        return vec![Finding::ok(GROUP, "set")];
    }
    let advice = "start an NTP client (systemd-timesyncd, chrony, busybox ntpd), or set it with date";
    vec![Finding::warn(
        GROUP,
        "not set: this machine believes it is before 2024; times in text overlays are wrong",
        advice,
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_clock_before_2024_is_not_set() {
        assert_eq!(judge(WallMicros(0))[0].level, Level::Warn);
        assert_eq!(judge(WallMicros(EARLIEST.0 - 1))[0].level, Level::Warn);
        assert_eq!(judge(EARLIEST)[0].level, Level::Ok);
    }
}
