//! Choosing what a camera shall send: format, size and rate, by how near it comes to the wish and what it costs us.
//!
//! The ranking is pure; asking and setting go through `Device`. Must take what the driver answers, not what was asked.
//! Input: a device's lists, and the camera section of the config.

use crate::capture::v4l2_device::{BufferKind, Device, FormatDescription, FourCc, RateRange, SizeRange, WireFormat};
use crate::capture::v4l2_format::{self, Access, PixelFormat};
use crate::capture::{Fault, FaultKind};
use crate::config::CameraConfig;
use crate::media::frame::PictureFormat;
use crate::units::{FrameRate, Size};
use std::io;

/// Longest list we read from a driver; a broken one could answer for ever.
const MOST_ENTRIES: u32 = 128;
/// S_FMT calls before we give up.
const MOST_ATTEMPTS: usize = 32;

/// What the driver agreed to.
pub struct Agreement {
    pub wire: WireFormat,
    pub picture: PictureFormat,
    pub access: Access,
    pub rate: Option<FrameRate>,
}

/// One thing to ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    fourcc: FourCc,
    memory_planes: usize,
    size: Size,
    /// None: the driver does not say which rates it has.
    rate: Option<FrameRate>,
    cost: u32,
    /// How far from the wish, 0 for reached.
    distance: u64,
}

/// What an error means at this stage, for the message and the kind.
pub type ErrorFault<'a> = &'a dyn Fn(&str, &io::Error) -> Fault;

pub fn negotiate(
    device: &dyn Device,
    kind: BufferKind,
    config: &CameraConfig,
    fault: ErrorFault,
) -> Result<Agreement, Fault> {
    let offered = formats(device, kind);
    let candidates = candidates(device, &offered, config);
    if candidates.is_empty() {
        return Err(no_format(&offered, config));
    }
    let mut refusals = Vec::new();
    for candidate in candidates.iter().take(MOST_ATTEMPTS) {
        let asked =
            WireFormat { plane_count: candidate.memory_planes, ..WireFormat::wanted(candidate.fourcc, candidate.size) };
        let wire = match device.set_format(kind, &asked) {
            Ok(wire) => wire,
            Err(cause) if cause.raw_os_error() == Some(libc::EINVAL) => {
                refusals.push(format!("{} {}: {cause}", asked.fourcc, asked.size));
                continue;
            }
            Err(cause) => return Err(fault("VIDIOC_S_FMT", &cause)),
        };
        // drivers answer an unknown format with another one instead of an error
        if wire.fourcc != asked.fourcc {
            refusals.push(format!("{} became {}", asked.fourcc, wire.fourcc));
            continue;
        }
        match v4l2_format::picture(&wire) {
            Ok((picture, access)) => {
                let rate = set_rate(device, kind, config, candidate.rate, fault)?;
                return Ok(Agreement { wire, picture, access, rate });
            }
            Err(cause) => refusals.push(cause),
        }
    }
    refusals.dedup();
    let detail = format!("no format could be set ({})", refusals.join("; "));
    Err(fault(&detail, &io::Error::from_raw_os_error(libc::EINVAL)))
}

fn no_format(offered: &[FormatDescription], config: &CameraConfig) -> Fault {
    let mut names: Vec<String> = offered.iter().map(|format| format.fourcc.to_string()).collect();
    names.dedup();
    let has = if names.is_empty() { "none".into() } else { names.join(", ") };
    let wish =
        if config.format == "auto" { "a format rtcam reads".into() } else { format!("format {}", config.format) };
    let kind = if config.format == "auto" { FaultKind::NotACamera } else { FaultKind::Failing };
    Fault { kind, detail: format!("it does not offer {wish}; it offers {has}") }
}

/// ENOTTY and EINVAL from S_PARM are fine: sensors behind an ISP have their rate set elsewhere.
fn set_rate(
    device: &dyn Device,
    kind: BufferKind,
    config: &CameraConfig,
    candidate: Option<FrameRate>,
    fault: ErrorFault,
) -> Result<Option<FrameRate>, Fault> {
    let wanted = candidate.unwrap_or(FrameRate::per_second(config.fps.max(1)));
    match device.set_rate(kind, wanted) {
        Ok(rate) => Ok(rate),
        Err(cause) if matches!(cause.raw_os_error(), Some(libc::EBUSY | libc::ENODEV | libc::EIO)) => {
            Err(fault("VIDIOC_S_PARM", &cause))
        }
        Err(_) => Ok(None),
    }
}

/// All formats a node lists.
pub fn formats(device: &dyn Device, kind: BufferKind) -> Vec<FormatDescription> {
    (0..MOST_ENTRIES).map_while(|index| device.describe_format(kind, index).ok()).collect()
}

pub fn sizes(device: &dyn Device, fourcc: FourCc) -> Vec<SizeRange> {
    (0..MOST_ENTRIES).map_while(|index| device.frame_sizes(fourcc, index).ok()).collect()
}

pub fn rates(device: &dyn Device, fourcc: FourCc, size: Size) -> Vec<RateRange> {
    (0..MOST_ENTRIES).map_while(|index| device.frame_rates(fourcc, size, index).ok()).collect()
}

pub fn has_usable_format(device: &dyn Device, kind: BufferKind) -> bool {
    formats(device, kind).iter().any(|format| v4l2_format::known(format.fourcc).is_some())
}

/// Everything that could be asked for, best first.
fn candidates(device: &dyn Device, offered: &[FormatDescription], config: &CameraConfig) -> Vec<Candidate> {
    let wanted_format = |format: &&PixelFormat| {
        config.format == "auto" || config.format.eq_ignore_ascii_case(&format.fourcc.to_string())
    };
    let usable = offered.iter().filter_map(|format| v4l2_format::known(format.fourcc)).filter(wanted_format);
    let mut candidates = Vec::new();
    for format in usable {
        let sizes = sizes(device, format.fourcc);
        // a driver without the list: ask and see
        let listed = if sizes.is_empty() { vec![SizeRange::Discrete(config.size())] } else { sizes };
        for size in listed.iter().map(|range| nearest_size(range, config.size())) {
            let rate = nearest_rate(&rates(device, format.fourcc, size), config.fps);
            candidates.push(Candidate {
                fourcc: format.fourcc,
                memory_planes: format.memory_planes,
                size,
                rate,
                cost: format.cost,
                distance: distance(size, rate, config),
            });
        }
    }
    rank(&mut candidates);
    candidates
}

/// The wish first, then the price: a cheap format never wins with a smaller or slower picture.
fn rank(candidates: &mut [Candidate]) {
    candidates.sort_by_key(|candidate| (candidate.distance, candidate.cost));
}

fn nearest_size(range: &SizeRange, wanted: Size) -> Size {
    match *range {
        SizeRange::Discrete(size) => size,
        SizeRange::Range { min, max, step } => Size {
            width: nearest_step(wanted.width, min.width, max.width, step.width),
            height: nearest_step(wanted.height, min.height, max.height, step.height),
        },
    }
}

fn nearest_step(wanted: u32, min: u32, max: u32, step: u32) -> u32 {
    let inside = wanted.clamp(min, max.max(min));
    let step = step.max(1);
    let below = inside - (inside - min) % step;
    let above = below.saturating_add(step);
    if inside - below > above - inside && above <= max { above } else { below }
}

/// The slowest rate that reaches the wish, else the fastest there is. None when the driver lists none.
fn nearest_rate(ranges: &[RateRange], wanted_fps: u32) -> Option<FrameRate> {
    let wanted = FrameRate::per_second(wanted_fps.max(1));
    let choose = |range: &RateRange| match *range {
        RateRange::Discrete(rate) => rate,
        RateRange::Range { slowest, fastest } if fastest.as_f64() < wanted.as_f64() => fastest.max_by_speed(slowest),
        RateRange::Range { slowest, .. } if slowest.as_f64() > wanted.as_f64() => slowest,
        RateRange::Range { .. } => wanted,
    };
    let rates: Vec<FrameRate> = ranges.iter().map(choose).collect();
    let reaching = rates.iter().filter(|rate| reaches(**rate, wanted_fps));
    let by_speed = |a: &&FrameRate, b: &&FrameRate| a.as_f64().total_cmp(&b.as_f64());
    reaching.min_by(by_speed).or(rates.iter().max_by(by_speed)).copied()
}

trait BySpeed {
    fn max_by_speed(self, other: Self) -> Self;
}

impl BySpeed for FrameRate {
    /// Drivers have been seen to swap the ends of the range.
    fn max_by_speed(self, other: FrameRate) -> FrameRate {
        if self.as_f64() >= other.as_f64() { self } else { other }
    }
}

/// 29.97 counts as 30.
fn reaches(rate: FrameRate, wanted_fps: u32) -> bool {
    rate.as_f64() >= f64::from(wanted_fps) * 0.99
}

/// Ratios, so that half the width weighs the same at every size; a missing half of the rate weighs like half the
/// width and half the height together.
fn distance(size: Size, rate: Option<FrameRate>, config: &CameraConfig) -> u64 {
    let ratio = |a: u32, b: u32| (f64::from(a.max(1)) / f64::from(b.max(1))).ln().abs();
    let size_part = ratio(size.width, config.width) + ratio(size.height, config.height);
    let rate_part = match rate {
        Some(rate) if !reaches(rate, config.fps) => 2.0 * (f64::from(config.fps) / rate.as_f64()).ln(),
        _ => 0.0,
    };
    ((size_part + rate_part) * 1000.0) as u64
}
