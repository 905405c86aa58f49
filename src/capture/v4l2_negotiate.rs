//! Choosing what a camera shall send: format, size and rate, by how near it comes to the wish and what it costs us.
//!
//! The ranking is pure; asking and setting go through `Device`. Must take what the driver answers, not what was asked.
//! Input: a device's lists, and the camera section of the config.

use crate::capture::v4l2_device::{BufferKind, Device, FormatDescription, FourCc, RateRange, SizeRange, WireFormat};
use crate::capture::v4l2_format::{self, Access, PixelFormat};
use crate::capture::{Fault, FaultKind};
use crate::config::CameraConfig;
use crate::media::frame::{Matrix, PictureFormat, Range};
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
    // the end of the list is EINVAL; anything else is a device in trouble
    if offered.is_empty()
        && let Err(cause) = device.describe_format(kind, 0)
        && !matches!(cause.raw_os_error(), Some(libc::EINVAL | libc::ENOTTY))
    {
        return Err(fault("VIDIOC_ENUM_FMT", &cause));
    }
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
        match v4l2_format::picture(&with_known_colour(wire, config)) {
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

/// Fills in what the driver leaves open and the board's profile knows.
fn with_known_colour(mut wire: WireFormat, config: &CameraConfig) -> WireFormat {
    const YCBCR_ENC_601: u32 = 1;
    const YCBCR_ENC_709: u32 = 2;
    const FULL_RANGE: u32 = 1;
    const LIM_RANGE: u32 = 2;
    match config.matrix {
        Some(matrix) if wire.ycbcr_enc == 0 && wire.colorspace == 0 => {
            wire.ycbcr_enc = if matrix == Matrix::Bt709 { YCBCR_ENC_709 } else { YCBCR_ENC_601 };
        }
        _ => {}
    }
    match config.range {
        Some(range) if wire.quantization == 0 => {
            wire.quantization = if range == Range::Full { FULL_RANGE } else { LIM_RANGE };
        }
        _ => {}
    }
    wire
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

/// ENOTTY and EINVAL from S_PARM are fine: sensors behind an ISP have their rate set elsewhere. Where the board's profile
/// says so, it is not even tried: there are drivers that answer with a rate which is not the sensor's.
fn set_rate(
    device: &dyn Device,
    kind: BufferKind,
    config: &CameraConfig,
    candidate: Option<FrameRate>,
    fault: ErrorFault,
) -> Result<Option<FrameRate>, Fault> {
    if !config.sets_rate {
        return Ok(None);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::v4l2_fake::{FakeCamera, FakeFormat, format};

    #[test]
    fn colours_that_the_driver_leaves_open_are_those_of_the_profile() {
        let camera = FakeCamera::simple(b"NV12");
        let known = CameraConfig { matrix: Some(Matrix::Bt709), range: Some(Range::Full), ..config(640, 480, 30) };
        let colour = |config: &CameraConfig| {
            let device = camera.open_handle().unwrap();
            let fault = |call: &str, cause: &io::Error| panic!("{call}: {cause}");
            let agreement = negotiate(device.as_ref(), BufferKind::Single, config, &fault).expect("an agreement");
            (agreement.picture.colour.matrix, agreement.picture.colour.range)
        };
        assert_eq!(colour(&known), (Matrix::Bt709, Range::Full));
        assert_eq!(colour(&config(640, 480, 30)).1, Range::Limited);
        camera.state().adjust = |wire| (wire.ycbcr_enc, wire.quantization) = (1, 2);
        assert_eq!(colour(&known), (Matrix::Bt601, Range::Limited), "a driver that says something is believed");
    }

    #[test]
    fn a_rate_that_is_the_sensors_is_not_asked_of_the_driver() {
        let camera = FakeCamera::simple(b"NV12");
        let sensors = CameraConfig { sets_rate: false, ..config(640, 480, 30) };
        // this answer would be a fault
        camera.refuse("set_rate", libc::EIO);
        assert!(settle(&camera, &sensors).is_ok_and(|agreement| agreement.rate.is_none()));
        assert!(settle(&camera, &config(640, 480, 30)).is_err());
    }

    fn config(width: u32, height: u32, fps: u32) -> CameraConfig {
        CameraConfig { width, height, fps, ..CameraConfig::default() }
    }

    fn plain_fault(call: &str, cause: &io::Error) -> Fault {
        Fault { kind: FaultKind::Failing, detail: format!("{call}: {cause}") }
    }

    fn settle(camera: &std::sync::Arc<FakeCamera>, config: &CameraConfig) -> Result<Agreement, Fault> {
        let device = camera.open_handle().unwrap();
        negotiate(device.as_ref(), BufferKind::Single, config, &plain_fault)
    }

    fn chosen(formats: Vec<FakeFormat>, config: &CameraConfig) -> String {
        let agreement = settle(&FakeCamera::new(formats), config).unwrap();
        let rate = agreement.rate.map_or("?".into(), |rate| rate.to_string());
        format!("{} {} {rate}", agreement.wire.fourcc, agreement.wire.size)
    }

    fn rate_at(width: u32, height: u32, fps: u32) -> (Option<Size>, RateRange) {
        (Some(Size { width, height }), RateRange::Discrete(FrameRate::per_second(fps)))
    }

    /// A usual webcam: raw pictures are slow at large sizes, MJPEG is not.
    fn webcam() -> Vec<FakeFormat> {
        let mut yuyv = format(b"YUYV", &[(640, 480), (1280, 720), (1920, 1080)], &[]);
        yuyv.rates = vec![rate_at(640, 480, 30), rate_at(640, 480, 15), rate_at(1280, 720, 10), rate_at(1920, 1080, 5)];
        vec![format(b"MJPG", &[(640, 480), (1280, 720), (1920, 1080)], &[60, 30, 15]), yuyv]
    }

    #[test]
    fn the_cheapest_format_that_reaches_size_and_rate_is_chosen() {
        let dearest_first = [b"MJPG", b"YUYV", b"NV16", b"YU12", b"NV12"];
        for count in 1..=dearest_first.len() {
            let offered = &dearest_first[..count];
            let formats = offered.iter().map(|name| format(name, &[(640, 480)], &[30])).collect();
            let cheapest = FourCc(*offered[count - 1]);
            assert_eq!(chosen(formats, &config(640, 480, 30)), format!("{cheapest} 640x480 30 fps"));
        }
        assert_eq!(chosen(webcam(), &config(640, 480, 30)), "YUYV 640x480 30 fps");
    }

    #[test]
    fn a_cheap_format_never_wins_with_a_slower_or_smaller_picture() {
        assert_eq!(chosen(webcam(), &config(1280, 720, 30)), "MJPG 1280x720 30 fps");
        assert_eq!(chosen(webcam(), &config(1280, 720, 10)), "YUYV 1280x720 10 fps");
        assert_eq!(chosen(webcam(), &config(640, 480, 60)), "MJPG 640x480 60 fps");
        let formats = vec![format(b"NV12", &[(320, 240)], &[30]), format(b"MJPG", &[(640, 480)], &[30])];
        assert_eq!(chosen(formats, &config(640, 480, 30)), "MJPG 640x480 30 fps");
    }

    #[test]
    fn what_no_format_reaches_is_approached() {
        assert_eq!(chosen(webcam(), &config(3840, 2160, 30)), "MJPG 1920x1080 30 fps");
        assert_eq!(chosen(webcam(), &config(320, 240, 30)), "YUYV 640x480 30 fps");
        assert_eq!(chosen(webcam(), &config(640, 480, 200)), "MJPG 640x480 60 fps");
        let mut yuyv = format(b"YUYV", &[(3840, 2160)], &[2]);
        yuyv.sizes.push(SizeRange::Discrete(Size { width: 1920, height: 1080 }));
        yuyv.rates = vec![rate_at(3840, 2160, 2), rate_at(1920, 1080, 30)];
        assert_eq!(chosen(vec![yuyv], &config(3840, 2160, 30)), "YUYV 1920x1080 30 fps");
    }

    #[test]
    fn ntsc_rates_and_ranges_of_rates_count() {
        let ntsc = FrameRate { frames: 30000, seconds: 1001 };
        let mut formats = vec![format(b"MJPG", &[(640, 480)], &[30]), format(b"YUYV", &[(640, 480)], &[])];
        formats[1].rates = vec![(None, RateRange::Discrete(ntsc))];
        assert_eq!(chosen(formats, &config(640, 480, 30)), "YUYV 640x480 29.97 fps");
        let range = |slowest, fastest| RateRange::Range {
            slowest: FrameRate::per_second(slowest),
            fastest: FrameRate::per_second(fastest),
        };
        for (range, expected) in [(range(1, 60), 30), (range(1, 20), 20), (range(50, 90), 50), (range(20, 1), 20)] {
            assert_eq!(nearest_rate(&[range], 30), Some(FrameRate::per_second(expected)), "{range:?}");
        }
        assert_eq!(nearest_rate(&[], 30), None);
    }

    #[test]
    fn stepwise_and_continuous_sizes_give_the_nearest_allowed_one() {
        let range = |min: (u32, u32), max: (u32, u32), step: (u32, u32)| SizeRange::Range {
            min: Size { width: min.0, height: min.1 },
            max: Size { width: max.0, height: max.1 },
            step: Size { width: step.0, height: step.1 },
        };
        let wanted = Size { width: 650, height: 481 };
        let cases = [
            (range((16, 16), (4096, 4096), (1, 1)), (650, 481)),
            (range((32, 32), (4096, 4096), (16, 8)), (656, 480)),
            (range((32, 32), (640, 360), (8, 8)), (640, 360)),
            (range((800, 600), (1600, 1200), (2, 2)), (800, 600)),
            (range((7, 7), (5, 5), (0, 0)), (7, 7)),
        ];
        for (range, (width, height)) in cases {
            assert_eq!(nearest_size(&range, wanted), Size { width, height }, "{range:?}");
        }
    }

    #[test]
    fn a_named_format_is_the_only_one_asked_for() {
        let named = CameraConfig { format: "mjpg".into(), ..config(640, 480, 30) };
        assert_eq!(chosen(webcam(), &named), "MJPG 640x480 30 fps");
        let missing = CameraConfig { format: "NV12".into(), ..config(640, 480, 30) };
        let fault = settle(&FakeCamera::new(webcam()), &missing).err().unwrap();
        assert_eq!(fault.detail, "it does not offer format NV12; it offers MJPG, YUYV");
        let fault = settle(&FakeCamera::simple(b"H264"), &config(640, 480, 30)).err().unwrap();
        assert_eq!(fault.kind, FaultKind::NotACamera);
    }

    #[test]
    fn another_format_than_asked_is_noticed_and_the_next_one_tried() {
        let camera =
            FakeCamera::new(vec![format(b"NV12", &[(640, 480)], &[30]), format(b"YUYV", &[(640, 480)], &[30])]);
        camera.state().adjust = |wire| {
            wire.fourcc = FourCc(*b"YUYV");
            wire.planes[0].bytes_per_line = 2 * wire.size.width;
        };
        let agreement = settle(&camera, &config(640, 480, 30)).unwrap();
        assert_eq!(agreement.wire.fourcc, FourCc(*b"YUYV"));
        assert_eq!(camera.state().formats_asked.len(), 2);
    }

    #[test]
    fn the_size_the_driver_answers_is_the_one_reported() {
        let camera = FakeCamera::simple(b"NV12");
        camera.state().adjust = |wire| {
            wire.size = Size { width: 648, height: 486 };
            wire.planes[0].bytes_per_line = 704;
        };
        let agreement = settle(&camera, &config(640, 480, 30)).unwrap();
        assert_eq!(agreement.picture.size, Size { width: 648, height: 486 });
        assert_eq!(agreement.picture.strides, [704, 704, 0]);
    }

    #[test]
    fn a_refused_size_leads_to_the_next_and_all_refused_to_a_fault() {
        let camera = FakeCamera::new(vec![format(b"NV12", &[(640, 480), (320, 240)], &[30])]);
        camera.refuse("set_format", libc::EINVAL);
        let fault = settle(&camera, &config(640, 480, 30)).err().unwrap();
        assert_eq!(fault.kind, FaultKind::Failing);
        assert!(fault.detail.contains("NV12 640x480: Invalid argument"), "{fault}");
        let asked: Vec<String> = camera.state().formats_asked.iter().map(|(_, size)| size.to_string()).collect();
        assert_eq!(asked, ["640x480", "320x240"]);
    }

    #[test]
    fn a_driver_without_frame_rates_or_lists_of_sizes_is_fine() {
        let camera = FakeCamera::new(vec![format(b"NV12", &[], &[])]);
        camera.refuse("set_rate", libc::ENOTTY);
        let agreement = settle(&camera, &config(1280, 720, 30)).unwrap();
        assert_eq!((agreement.rate, agreement.wire.size), (None, Size { width: 1280, height: 720 }));
    }
}
