//! Finds a V4L2 encoder on this machine and prepares it, in the order that dev-encoder.rst asks for.
//!
//! Owns the search, the choice of formats, and the controls, each of which a driver may lack. Must never start the
//! stream. Input: the config, the pictures' format and rate, and what drivers answer.

use super::m2m_device::{Api, Device, FourCc, Side, WireFormat, api_of};
use super::m2m_layout::{RawLayout, choose};
use super::m2m_sys::KernelDevice;
use super::v4l2_m2m::{Planes, Prepared, V4l2M2m};
use crate::clock::Clock;
use crate::config::EncoderConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::PictureFormat;
use crate::media::h264;
use crate::units::FrameRate;
use std::io;
use std::path::{Path, PathBuf};

/// V4L2_CID_MPEG_VIDEO_*.
pub mod control {
    const BASE: u32 = 0x0099_0900;
    pub const B_FRAMES: u32 = BASE + 202;
    pub const GOP_SIZE: u32 = BASE + 203;
    pub const BITRATE_MODE: u32 = BASE + 206;
    pub const BITRATE: u32 = BASE + 207;
    pub const FRAME_RC_ENABLE: u32 = BASE + 215;
    pub const HEADER_MODE: u32 = BASE + 216;
    pub const REPEAT_SEQ_HEADER: u32 = BASE + 226;
    pub const FORCE_KEY_FRAME: u32 = BASE + 229;
    pub const H264_ENTROPY_MODE: u32 = BASE + 357;
    pub const H264_I_PERIOD: u32 = BASE + 358;
    pub const H264_LEVEL: u32 = BASE + 359;
    pub const H264_PROFILE: u32 = BASE + 363;
    pub const PREPEND_SPSPPS_TO_IDR: u32 = BASE + 644;
}

const H264: FourCc = *b"H264";
const RAW_BUFFERS: u32 = 2;
const CODED_BUFFERS: u32 = 4;
const MOST_BUFFERS: u32 = 32;
const MOST_FORMATS: u32 = 64;
/// Below it, pictures of much detail at high rates may not fit.
const LEAST_CODED_BYTES: usize = 256 * 1024;
/// A driver with a period of 1 was seen to hang; all others take it as "each picture".
const LEAST_PERIOD: i32 = 2;

type OpenNode = Box<dyn Fn(&Path) -> io::Result<Box<dyn Device>>>;

/// Where device nodes are, and how one is opened.
pub struct Machine {
    pub nodes: Vec<PathBuf>,
    pub open: OpenNode,
}

impl Machine {
    pub fn real() -> Machine {
        let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
        let number = |path: &PathBuf| path.to_str()?.strip_prefix("/dev/video")?.parse::<u32>().ok();
        let mut nodes: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| number(path).is_some()).collect();
        nodes.sort_by_key(number);
        Machine { nodes, open: Box::new(|path| Ok(Box::new(KernelDevice::open(path)?))) }
    }
}

pub fn open(
    machine: &Machine,
    config: &EncoderConfig,
    format: &PictureFormat,
    rate: FrameRate,
    clock: Clock,
) -> Result<V4l2M2m> {
    let mut failure = None;
    for node in &machine.nodes {
        let Some(found) = look_at(machine, node, format) else { continue };
        let prepared = found.prepare(config, format, rate, clock.clone());
        match prepared.and_then(V4l2M2m::start) {
            Ok(encoder) => return Ok(encoder),
            Err(cause) => failure = failure.or(Some(cause)),
        }
    }
    Err(failure
        .unwrap_or_else(|| Error::new(ErrorKind::NotFound, "v4l2_m2m: no V4L2 device on this machine encodes H.264")))
}

struct Found {
    name: String,
    device: Box<dyn Device>,
    api: Api,
    raw: FourCc,
    raw_planes: usize,
}

/// A node that is no H.264 encoder, or one that may not be opened, is passed over.
fn look_at(machine: &Machine, node: &Path, format: &PictureFormat) -> Option<Found> {
    let device = (machine.open)(node).ok()?;
    let (card, caps) = device.capability().ok()?;
    let api = api_of(caps)?;
    if !formats(&*device, api, Side::Coded).contains(&H264) {
        return None;
    }
    let (raw, raw_planes) = choose(&formats(&*device, api, Side::Raw), format.layout)?;
    Some(Found { name: format!("{} ({card})", node.display()), device, api, raw, raw_planes })
}

fn formats(device: &dyn Device, api: Api, side: Side) -> Vec<FourCc> {
    (0..MOST_FORMATS).map_while(|index| device.describe_format(api, side, index).ok()).collect()
}

impl Found {
    fn prepare(
        self,
        config: &EncoderConfig,
        format: &PictureFormat,
        rate: FrameRate,
        clock: Clock,
    ) -> Result<Prepared> {
        self.set_coded_format(format)?;
        let wire = self.set_raw_format(format)?;
        let layout = RawLayout::of(&wire, format).ok_or_else(|| {
            let what = format!("v4l2_m2m: {} takes no pictures of {}", self.name, format.size);
            Error::new(ErrorKind::Unsupported, what)
        })?;
        if let Err(cause) = self.device.set_rate(self.api, rate) {
            tracing::debug!("v4l2_m2m: set the rate to {rate}: {}: {cause}; going on", self.name);
        }
        self.crop(&wire, format)?;
        self.set_controls(config, format, rate);
        let raw = self.buffers(Side::Raw, RAW_BUFFERS, &layout.used)?;
        let coded = self.buffers(Side::Coded, CODED_BUFFERS, &[0])?;
        let Found { name, device, api, .. } = self;
        Ok(Prepared { name, device, api, raw, coded, layout, format: *format, clock })
    }

    fn refused(&self, what: &str, cause: io::Error) -> Error {
        let kind = if cause.raw_os_error() == Some(libc::EBUSY) { ErrorKind::Busy } else { ErrorKind::Unsupported };
        Error::new(kind, format!("v4l2_m2m: {what}: {}", self.name)).because(cause)
    }

    fn set_coded_format(&self, format: &PictureFormat) -> Result<()> {
        let bytes = format.buffer_len().max(LEAST_CODED_BYTES);
        let wanted = WireFormat { fourcc: H264, size: format.size, planes: vec![(0, bytes)], colour: None };
        let answer = self.device.set_format(self.api, Side::Coded, &wanted);
        match answer.map_err(|cause| self.refused("set the stream's format", cause))? {
            taken if taken.fourcc == H264 => Ok(()),
            _ => Err(self.refused("set the stream's format", io::Error::other("the driver took another one"))),
        }
    }

    fn set_raw_format(&self, format: &PictureFormat) -> Result<WireFormat> {
        let planes = vec![(0, 0); self.raw_planes];
        let wanted = WireFormat { fourcc: self.raw, size: format.size, planes, colour: Some(format.colour) };
        self.device
            .set_format(self.api, Side::Raw, &wanted)
            .map_err(|cause| self.refused("set the pictures' format", cause))
    }

    /// Drivers that round a height of 1080 up to 1088 encode what they are told of it.
    fn crop(&self, wire: &WireFormat, format: &PictureFormat) -> Result<()> {
        match self.device.set_crop(self.api, format.size) {
            Err(cause) if wire.size != format.size => {
                Err(self.refused(&format!("encode {} out of {}", format.size, wire.size), cause))
            }
            _ => Ok(()),
        }
    }

    fn set_controls(&self, config: &EncoderConfig, format: &PictureFormat, rate: FrameRate) {
        const CBR: i32 = 1;
        const CONSTRAINED_BASELINE: i32 = 1;
        const BASELINE: i32 = 0;
        const CAVLC: i32 = 0;
        const JOINED_WITH_FIRST_PICTURE: i32 = 1;
        let period = (f64::from(config.key_interval_s) * rate.as_f64()).ceil() as i32;
        let bits = i32::try_from(config.bitrate_kbps.bits_per_sec()).unwrap_or(i32::MAX);
        self.control(control::B_FRAMES, 0);
        self.control(control::FRAME_RC_ENABLE, 1);
        self.control(control::BITRATE_MODE, CBR);
        if !self.control(control::BITRATE, bits) {
            tracing::warn!("v4l2_m2m: {}: the driver takes no bit rate; it decides itself", self.name);
        }
        if !self.control(control::H264_PROFILE, CONSTRAINED_BASELINE) {
            self.control(control::H264_PROFILE, BASELINE);
        }
        self.control(control::H264_ENTROPY_MODE, CAVLC);
        self.control(control::H264_LEVEL, level_item(h264::level_for(format.size, rate)));
        self.control(control::GOP_SIZE, period.max(LEAST_PERIOD));
        self.control(control::H264_I_PERIOD, period.max(LEAST_PERIOD));
        self.control(control::HEADER_MODE, JOINED_WITH_FIRST_PICTURE);
        // before the stream starts: one driver ignores it later
        self.control(control::REPEAT_SEQ_HEADER, 1);
        self.control(control::PREPEND_SPSPPS_TO_IDR, 1);
    }

    /// Sets a control within its range; false when the driver lacks it or refuses.
    fn control(&self, id: u32, value: i32) -> bool {
        let Ok(Some(range)) = self.device.control_range(id) else { return false };
        let value = value.clamp(range.minimum, range.maximum.max(range.minimum));
        match self.device.set_control(id, value) {
            Ok(()) => true,
            Err(cause) => {
                tracing::debug!("v4l2_m2m: set control {id:#x} to {value}: {}: {cause}; going on", self.name);
                false
            }
        }
    }

    fn buffers(&self, side: Side, count: u32, least: &[usize]) -> Result<Vec<Planes>> {
        let granted = self
            .device
            .request_buffers(self.api, side, count)
            .map_err(|cause| self.refused("request buffers", cause))?;
        if granted == 0 || granted > MOST_BUFFERS {
            let cause = io::Error::other(format!("the driver granted {granted}"));
            return Err(self.refused("request buffers", cause));
        }
        let map = |index| {
            let planes = self
                .device
                .map(self.api, side, index, least.len())
                .map_err(|cause| self.refused("map a buffer", cause))?;
            let enough = planes.len() == least.len()
                && planes.iter().zip(least).all(|(plane, least)| plane.bytes().len() >= *least);
            match enough {
                true => Ok(planes),
                false => Err(self.refused("map a buffer", io::Error::other("it is smaller than the driver said"))),
            }
        };
        (0..granted).map(map).collect()
    }
}

/// V4L2_MPEG_VIDEO_H264_LEVEL_*.
fn level_item(level: u8) -> i32 {
    match level {
        ..=30 => 8,
        31 => 9,
        32 => 10,
        33..=40 => 11,
        41 => 12,
        42 => 13,
        43..=50 => 14,
        51 => 15,
        52 => 16,
        _ => 19,
    }
}
