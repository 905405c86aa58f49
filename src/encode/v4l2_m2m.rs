//! Hardware encoders behind V4L2's stateful memory-to-memory interface (kernel documentation: dev-encoder.rst).
//!
//! Owns an open encoder: one picture in, its access unit out. Keeps SPS and PPS and puts them in front of key pictures
//! of drivers that do not repeat them. Copies each picture into the driver's memory. Must never wait longer than a
//! second. Input: frames of one format; `m2m_setup.rs` finds and prepares the device.

use super::m2m_device::{Api, Device, Done, MAX_PLANES, PlaneMemory, Side};
use super::m2m_layout::RawLayout;
use super::m2m_setup::{self, Machine, control};
use super::{Encoded, Encoder};
use crate::clock::Clock;
use crate::config::EncoderConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::{Frame, PictureFormat};
use crate::media::h264;
use crate::media::packet::AccessUnit;
use crate::units::{FrameRate, KbitPerSec, Micros};
use std::io;
use std::time::Duration;

pub const NAME: &str = "v4l2_m2m";

/// An encoder that gives nothing for so long is stuck.
const STUCK: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(100);

pub fn open(config: &EncoderConfig, format: &PictureFormat, rate: FrameRate) -> Result<Box<dyn Encoder>> {
    let encoder = m2m_setup::open(&Machine::real(), config, format, rate, Clock::system())?;
    Ok(Box::new(encoder))
}

/// A device that is prepared: formats, rate, crop and controls are set, buffers are mapped, nothing streams yet.
pub struct Prepared {
    pub name: String,
    pub device: Box<dyn Device>,
    pub api: Api,
    pub raw: Vec<Planes>,
    pub coded: Vec<Planes>,
    pub layout: RawLayout,
    pub format: PictureFormat,
    pub clock: Clock,
}

pub type Planes = Vec<Box<dyn PlaneMemory>>;

pub struct V4l2M2m {
    on: Prepared,
    /// Raw buffers that the driver does not hold.
    free: Vec<u32>,
    /// SPS and PPS as the driver gave them last.
    header: Vec<u8>,
    key_wanted: bool,
    /// Of the last picture: stamps name pictures, so no two are the same.
    last: Micros,
    copied: u64,
}

impl V4l2M2m {
    pub fn start(prepared: Prepared) -> Result<V4l2M2m> {
        let mut encoder = V4l2M2m {
            on: prepared,
            free: Vec::new(),
            header: Vec::new(),
            key_wanted: false,
            last: Micros::default(),
            copied: 0,
        };
        encoder.stream_on()?;
        Ok(encoder)
    }

    fn error(&self, what: &str, cause: io::Error) -> Error {
        Error::new(ErrorKind::Io, format!("v4l2_m2m: {what}: {}", self.on.name)).because(cause)
    }

    fn stream_on(&mut self) -> Result<()> {
        let Prepared { device, api, .. } = &self.on;
        for index in 0..self.on.coded.len() as u32 {
            device
                .queue(*api, Side::Coded, index, &[], Micros::default())
                .map_err(|cause| self.error("queue a buffer for the stream", cause))?;
        }
        for side in [Side::Raw, Side::Coded] {
            device.stream_on(*api, side).map_err(|cause| self.error("start", cause))?;
        }
        self.free = (0..self.on.raw.len() as u32).collect();
        Ok(())
    }

    /// What it takes to begin a new stream: the next picture is an IDR. `between` runs while nothing streams.
    fn restart(&mut self, between: impl FnOnce(&dyn Device) -> io::Result<()>) -> Result<()> {
        let Prepared { device, api, .. } = &self.on;
        for side in [Side::Raw, Side::Coded] {
            device.stream_off(*api, side).map_err(|cause| self.error("stop", cause))?;
        }
        let changed = between(device.as_ref()).map_err(|cause| self.error("set a control", cause));
        self.stream_on()?;
        changed
    }

    /// Sets a control that some drivers refuse while they stream.
    fn set_streaming(&mut self, id: u32, value: i32) -> Result<()> {
        match self.on.device.set_control(id, value) {
            Ok(()) => Ok(()),
            Err(cause) if cause.raw_os_error() == Some(libc::EBUSY) => {
                self.restart(|device| device.set_control(id, value))
            }
            Err(cause) => Err(self.error("set a control", cause)),
        }
    }

    fn ask_for_key(&mut self) -> Result<()> {
        // the first picture is one by itself
        if self.last == Micros::default() {
            return Ok(());
        }
        match self.on.device.set_control(control::FORCE_KEY_FRAME, 1) {
            Ok(()) => Ok(()),
            Err(_) => self.restart(|_| Ok(())),
        }
    }

    fn hand_over(&mut self, frame: &Frame) -> Result<Micros> {
        let started = self.on.clock.now();
        while self.free.is_empty() {
            self.wait(started)?;
            self.collect_raw()?;
        }
        let index = self.free.pop().expect("the loop ends with a free buffer");
        let mut memory: [&mut [u8]; MAX_PLANES] = Default::default();
        let planes = self.on.raw[index as usize].iter_mut();
        memory.iter_mut().zip(planes).for_each(|(memory, plane)| *memory = plane.bytes_mut());
        self.on.layout.write(frame, &mut memory);
        self.copied += 1;
        let stamp = frame.captured_at.max(Micros(self.last.0 + 1));
        self.last = stamp;
        let used = &self.on.layout.used;
        self.on
            .device
            .queue(self.on.api, Side::Raw, index, used, stamp)
            .map_err(|cause| self.error("hand over a picture", cause))?;
        Ok(stamp)
    }

    fn wait(&self, started: Micros) -> Result<()> {
        let waited = self.on.clock.now().since(started);
        if waited >= STUCK {
            let what = format!("v4l2_m2m: stuck: nothing within {:.1} s: {}", waited.as_secs_f64(), self.on.name);
            return Err(Error::new(ErrorKind::Io, what));
        }
        match self.on.device.wait(LOOK) {
            Err(cause) if cause.kind() != io::ErrorKind::Interrupted => Err(self.error("wait", cause)),
            _ => Ok(()),
        }
    }

    fn dequeue(&self, side: Side) -> Result<Option<Done>> {
        let buffers = if side == Side::Raw { self.on.raw.len() } else { self.on.coded.len() };
        match self.on.device.dequeue(self.on.api, side) {
            Ok(done) if (done.index as usize) < buffers => Ok(Some(done)),
            Ok(done) => {
                let cause = io::Error::new(io::ErrorKind::InvalidData, format!("there is no buffer {}", done.index));
                Err(self.error("take a buffer back", cause))
            }
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(cause) if cause.raw_os_error() == Some(libc::EPIPE) => Err(self.ended()),
            Err(cause) => Err(self.error("take a buffer back", cause)),
        }
    }

    fn ended(&self) -> Error {
        Error::new(ErrorKind::Io, format!("v4l2_m2m: the driver ended the stream: {}", self.on.name))
    }

    fn collect_raw(&mut self) -> Result<()> {
        while let Some(done) = self.dequeue(Side::Raw)? {
            if !self.free.contains(&done.index) {
                self.free.push(done.index);
            }
            if done.failed {
                let what = format!("v4l2_m2m: the driver could not read a picture: {}", self.on.name);
                return Err(Error::new(ErrorKind::Io, what));
            }
        }
        Ok(())
    }

    /// Appends the access unit of the picture with this stamp; whether it is an IDR.
    fn collect(&mut self, stamp: Micros, out: &mut AccessUnit) -> Result<bool> {
        let started = self.on.clock.now();
        loop {
            self.collect_raw()?;
            while let Some(done) = self.dequeue(Side::Coded)? {
                let taken = self.take(&done, stamp, out)?;
                self.on
                    .device
                    .queue(self.on.api, Side::Coded, done.index, &[], Micros::default())
                    .map_err(|cause| self.error("queue a buffer for the stream", cause))?;
                if let Some(key) = taken {
                    return Ok(key);
                }
            }
            self.wait(started)?;
        }
    }

    /// None for what is not the wanted picture: a header on its own, or a picture that came too late.
    fn take(&mut self, done: &Done, stamp: Micros, out: &mut AccessUnit) -> Result<Option<bool>> {
        if done.failed {
            let what = format!("v4l2_m2m: the driver could not encode a picture: {}", self.on.name);
            return Err(Error::new(ErrorKind::Io, what));
        }
        let (start, end) = done.data;
        let bytes = self.on.coded[done.index as usize].first().map_or(&[][..], |plane| plane.bytes());
        let bytes = bytes.get(start..end.min(bytes.len())).unwrap_or(&[]);
        if done.last && bytes.is_empty() {
            return Err(self.ended());
        }
        let kinds = Kinds::of(bytes);
        if kinds.header {
            self.header = header_of(bytes);
        }
        // stamps survive microseconds in every driver, but some round them
        let late = done.timestamp + Duration::from_millis(1) < stamp && done.timestamp != Micros::default();
        if !kinds.picture || late {
            return Ok(None);
        }
        if kinds.idr && !kinds.header {
            out.bytes.extend_from_slice(&self.header);
        }
        out.bytes.extend_from_slice(bytes);
        // by its NAL units: V4L2_BUF_FLAG_KEYFRAME also marks intra pictures that no decoder can start with
        Ok(Some(kinds.idr))
    }
}

/// What is in a piece of stream.
#[derive(Default)]
struct Kinds {
    header: bool,
    picture: bool,
    idr: bool,
}

impl Kinds {
    fn of(bytes: &[u8]) -> Kinds {
        let mut kinds = Kinds::default();
        for nal in h264::nal_units(bytes) {
            match h264::nal_type(nal) {
                h264::NAL_SPS => kinds.header = true,
                h264::NAL_IDR => (kinds.picture, kinds.idr) = (true, true),
                h264::NAL_SLICE => kinds.picture = true,
                _ => {}
            }
            // all that follows is the same picture
            if kinds.picture {
                break;
            }
        }
        kinds
    }
}

fn header_of(bytes: &[u8]) -> Vec<u8> {
    let of_header = |nal: &&[u8]| matches!(h264::nal_type(nal), h264::NAL_SPS | h264::NAL_PPS);
    h264::nal_units(bytes).filter(of_header).flat_map(|nal| [&[0, 0, 0, 1], nal].concat()).collect()
}

impl Encoder for V4l2M2m {
    fn name(&self) -> &'static str {
        NAME
    }

    fn encode(&mut self, frame: &Frame, out: &mut AccessUnit) -> Result<Encoded> {
        if frame.format != self.on.format {
            return Err(Error::new(ErrorKind::Internal, "v4l2_m2m: the frame has another format than the encoder"));
        }
        if self.key_wanted {
            self.ask_for_key()?;
        }
        let stamp = self.hand_over(frame)?;
        let before = out.bytes.len();
        out.key = self.collect(stamp, out)?;
        if out.key {
            self.key_wanted = false;
            if self.header.is_empty() {
                let what = format!("v4l2_m2m: a key picture came without SPS and PPS: {}", self.on.name);
                return Err(Error::new(ErrorKind::Unsupported, what));
            }
            h264::declare_constrained_baseline(&mut out.bytes[before..]);
        }
        Ok(Encoded::Unit)
    }

    fn force_key(&mut self) {
        self.key_wanted = true;
    }

    fn set_bitrate(&mut self, rate: KbitPerSec) -> Result<()> {
        let bits = i32::try_from(rate.bits_per_sec()).unwrap_or(i32::MAX);
        self.set_streaming(control::BITRATE, bits)
    }

    fn renew(&mut self) -> bool {
        self.key_wanted = true;
        true
    }

    fn take_copied(&mut self) -> u64 {
        std::mem::take(&mut self.copied)
    }
}
