//! Whether there is room: free memory, and CMA for hardware buffers.
//!
//! Pure. Input: /proc/meminfo.

use super::Finding;

const GROUP: &str = "memory";
/// rtcam takes about 30 MiB with eight viewers at 640x480.
const NEEDED_KIB: u64 = 32 * 1024;
const WANTED_KIB: u64 = 64 * 1024;
/// Camera and encoder buffers of a 1080p picture, several deep.
const CMA_WANTED_KIB: u64 = 24 * 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub total_kib: Option<u64>,
    pub available_kib: Option<u64>,
    /// Total and free; None where the kernel has no CMA.
    pub cma_kib: Option<(u64, u64)>,
}

pub fn parse(meminfo: &str) -> Memory {
    let value = |name: &str| {
        let line = meminfo.lines().find(|line| line.split(':').next() == Some(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let cma = value("CmaTotal").filter(|total| *total > 0).zip(value("CmaFree"));
    // older kernels have no MemAvailable
    Memory {
        total_kib: value("MemTotal"),
        available_kib: value("MemAvailable").or_else(|| value("MemFree")),
        cma_kib: cma,
    }
}

/// `sold_with_mib`: the least memory the board comes with, by its profile; 0: unknown.
pub fn judge(memory: &Memory, sold_with_mib: u32) -> Vec<Finding> {
    let mut findings = Vec::new();
    // the kernel, the image processor and CMA keep some of it for themselves
    let least = u64::from(sold_with_mib) * 1024 / 2;
    if let Some(total) = memory.total_kib.filter(|total| *total < least) {
        let what = format!("{} MiB in all, and such boards have {sold_with_mib} MiB or more", total / 1024);
        findings.push(Finding::warn(GROUP, what, "is this the right profile? else free what the boot loader reserves"));
    }
    if let Some(available) = memory.available_kib {
        let what = format!("{} MiB free", available / 1024);
        let advice = "stop other programs, or set a smaller picture and fewer viewers (webrtc.max_viewers)";
        findings.push(match available {
            ..NEEDED_KIB => Finding::bad(GROUP, what, advice),
            NEEDED_KIB..WANTED_KIB => Finding::warn(GROUP, what, advice),
            _ => Finding::ok(GROUP, what),
        });
    }
    if let Some((total, free)) = memory.cma_kib {
        let what = format!("{} of {} MiB CMA free, for camera and hardware encoder", free / 1024, total / 1024);
        findings.push(match free {
            ..CMA_WANTED_KIB => {
                Finding::warn(GROUP, what, "give the kernel more: cma=64M on its command line, or a smaller picture")
            }
            _ => Finding::ok(GROUP, what),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn free_memory_and_cma_are_read_and_judged() {
        for (text, expected) in [
            ("MemTotal: 500000 kB\nMemAvailable:  300000 kB\nCmaTotal: 0 kB\nCmaFree: 0 kB\n", vec![Level::Ok]),
            ("MemAvailable: 50000 kB\nCmaTotal: 65536 kB\nCmaFree: 8192 kB\n", vec![Level::Warn, Level::Warn]),
            ("MemFree: 9000 kB\nCmaTotal: 65536 kB\nCmaFree: 60000 kB\n", vec![Level::Bad, Level::Ok]),
            ("MemTotal: 100000 kB\nMemAvailable: 70000 kB\n", vec![Level::Warn, Level::Ok]),
            ("", vec![]),
        ] {
            let levels: Vec<Level> = judge(&parse(text), 256).iter().map(|finding| finding.level).collect();
            assert_eq!(levels, expected, "{text}");
        }
    }
}
