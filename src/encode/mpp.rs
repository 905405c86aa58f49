//! Rockchip's hardware encoder through MPP: constrained baseline, camera buffers read where they lie.
//!
//! Owns its settings and the imports of camera buffers. Copies only pictures that do not lie in one camera buffer as
//! NV12 (cards, the pattern, decoded JPEG), and counts them. A camera buffer is done with when `encode` returns. Input:
//! frames of one format.

use super::mpp_sys::{Buffer, Command, Mpp, Picture, Session, Settings, end_cpu_writes};
use super::{Encoded, Encoder};
use crate::clock::Clock;
use crate::config::{EncoderConfig, PlaneHeight};
use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::{Colour, Frame, Layout, Matrix, PictureFormat, Range};
use crate::media::frame_sys::BufferHome;
use crate::media::h264;
use crate::media::packet::AccessUnit;
use crate::units::{FrameRate, KbitPerSec, Micros};
use std::ffi::CStr;
use std::os::fd::RawFd;
use std::ptr::addr_eq;
use std::sync::{Arc, Weak};
use std::time::Duration;

pub const NAME: &str = "mpp";

/// The names it has on most boards, with and without the development files.
const LIBRARIES: [&str; 2] = ["librockchip_mpp.so.1", "librockchip_mpp.so"];
/// An encoder that gives nothing for so long is stuck.
const STUCK: Duration = Duration::from_secs(1);
/// One look for a packet.
const LOOK_MS: i64 = 100;
/// Before the next look, for libraries that do not wait.
const PAUSE: Duration = Duration::from_millis(1);
/// Of the rows it reads where they lie, in bytes.
const LEAST_STRIDE: usize = 8;
/// It encodes in blocks of so many rows.
const BLOCK: usize = 16;

pub struct MppEncoder {
    // before the buffers: the session may still read them
    session: Session,
    settings: Settings,
    imports: Imports,
    /// For pictures that must be copied; made for the first one.
    own: Option<Buffer>,
    format: PictureFormat,
    geometry: Geometry,
    /// SPS and PPS.
    header: Vec<u8>,
    rate: KbitPerSec,
    key_wanted: bool,
    copied: u64,
    clock: Clock,
}

/// How pictures lie in the buffers that the encoder reads. Rows of chroma begin at `stride * rows`: where V4L2 puts
/// them, `rows` is the picture's height, also when that is no multiple of 16. A board's profile may say otherwise.
#[derive(Clone, Copy)]
struct Geometry {
    stride: usize,
    rows: usize,
}

impl Geometry {
    fn of(format: &PictureFormat, config: &EncoderConfig) -> Geometry {
        let (width, height) = (format.size.width as usize, format.size.height as usize);
        let rows = match config.plane_height {
            PlaneHeight::Frame => height,
            PlaneHeight::Rounded => height.next_multiple_of(BLOCK),
        };
        let readable = format.layout == Layout::Nv12
            && format.strides[0] == format.strides[1]
            && format.strides[0].is_multiple_of(LEAST_STRIDE);
        Geometry {
            stride: if readable { format.strides[0] } else { width.next_multiple_of(config.stride as usize) },
            rows,
        }
    }

    fn bytes(self) -> usize {
        self.stride * self.rows * 3 / 2
    }

    /// The one buffer that holds the whole picture in this geometry.
    fn buffer_of(self, frame: &Frame) -> Option<RawFd> {
        let (y, uv) = (frame.dmabuf(0)?, frame.dmabuf(1)?);
        let format = &frame.format;
        let fits = format.layout == Layout::Nv12 && format.strides[..2] == [self.stride; 2];
        (fits && y.fd == uv.fd && y.offset == 0 && uv.offset as usize == self.stride * self.rows).then_some(y.fd)
    }
}

pub fn open(config: &EncoderConfig, format: &PictureFormat, rate: FrameRate) -> Result<Box<dyn Encoder>> {
    let mpp = Mpp::load(&libraries(config))?;
    let mut session = Session::open(&mpp, STUCK.as_millis() as i64, LOOK_MS)?;
    let geometry = Geometry::of(format, config);
    let mut settings = session.settings()?;
    write_picture(&mut settings, format, geometry)?;
    write_rhythm(&mut settings, config, rate)?;
    write_stream(&mut settings, format, rate)?;
    write_bitrate(&mut settings, config.bitrate_kbps)?;
    session.apply(&settings)?;
    // without either: the header is put in front of each IDR below, and viewers skip SEI units
    let _ = session.set(Command::HeaderMode, 1);
    let _ = session.set(Command::SeiMode, 0);
    let header = session.header()?;
    Ok(Box::new(MppEncoder {
        session,
        settings,
        imports: Imports::default(),
        own: None,
        format: *format,
        geometry,
        header,
        rate: config.bitrate_kbps,
        key_wanted: true,
        copied: 0,
        clock: Clock::system(),
    }))
}

/// What to load, in the order to try.
fn libraries(config: &EncoderConfig) -> Vec<&str> {
    match config.mpp_library.as_str() {
        "auto" if config.libraries.is_empty() => LIBRARIES.into(),
        "auto" => config.libraries.iter().map(String::as_str).collect(),
        named => vec![named],
    }
}

fn write_picture(settings: &mut Settings, format: &PictureFormat, geometry: Geometry) -> Result<()> {
    const NV12: i32 = 0;
    settings.set(c"prep:width", format.size.width as i32)?;
    settings.set(c"prep:height", format.size.height as i32)?;
    settings.set(c"prep:hor_stride", geometry.stride as i32)?;
    settings.set(c"prep:ver_stride", geometry.rows as i32)?;
    settings.set(c"prep:format", NV12)?;
    for (key, value) in colour_description(format.colour) {
        if_known(settings, key, value);
    }
    Ok(())
}

/// Range, and matrix, primaries and transfer as H.273 numbers them. Cameras say nothing of the last two; the ones that
/// belong to the matrix are what browsers assume anyway.
fn colour_description(colour: Colour) -> [(&'static CStr, i32); 4] {
    let range = match colour.range {
        Range::Limited => 1,
        Range::Full => 2,
    };
    let family = match colour.matrix {
        Matrix::Bt601 => 6,
        Matrix::Bt709 => 1,
    };
    [(c"prep:range", range), (c"prep:colorspace", family), (c"prep:colorprim", family), (c"prep:colortrc", family)]
}

fn write_rhythm(settings: &mut Settings, config: &EncoderConfig, rate: FrameRate) -> Result<()> {
    const CBR: i32 = 1;
    settings.set(c"rc:mode", CBR)?;
    let keys = [
        (c"rc:fps_in_flex", c"rc:fps_in_num", c"rc:fps_in_denom", c"rc:fps_in_denorm"),
        (c"rc:fps_out_flex", c"rc:fps_out_num", c"rc:fps_out_denom", c"rc:fps_out_denorm"),
    ];
    for (flex, frames, seconds, seconds_once) in keys {
        settings.set(flex, 0)?;
        settings.set(frames, rate.frames as i32)?;
        // libraries before the spelling was mended know only the second name
        settings.set(seconds, rate.seconds as i32).or_else(|_| settings.set(seconds_once, rate.seconds as i32))?;
    }
    let key_interval = (f64::from(config.key_interval_s) * rate.as_f64()).ceil().max(1.0);
    settings.set(c"rc:gop", key_interval as i32)
}

fn write_stream(settings: &mut Settings, format: &PictureFormat, rate: FrameRate) -> Result<()> {
    const AVC: i32 = 7;
    const BASELINE: i32 = 66;
    settings.set(c"codec:type", AVC)?;
    settings.set(c"h264:profile", BASELINE)?;
    if_known(settings, c"h264:level", i32::from(h264::level_for(format.size, rate)));
    if_known(settings, c"h264:cabac_en", 0);
    if_known(settings, c"h264:trans8x8", 0);
    // one slice per picture: RV1126 does not give slices out early anyway
    if_known(settings, c"split:mode", 0);
    Ok(())
}

/// Keys that came later or only make the stream a little better.
fn if_known(settings: &mut Settings, key: &CStr, value: i32) {
    if let Err(error) = settings.set(key, value) {
        tracing::debug!("{error}; going on without it");
    }
}

/// All three, always: a target outside of what ceiling and floor were before makes MPP refuse everything.
fn write_bitrate(settings: &mut Settings, rate: KbitPerSec) -> Result<()> {
    let target = i32::try_from(rate.bits_per_sec()).unwrap_or(i32::MAX / 2);
    settings.set(c"rc:bps_target", target)?;
    settings.set(c"rc:bps_max", target + target / 16)?;
    settings.set(c"rc:bps_min", target - target / 16)
}

impl Encoder for MppEncoder {
    fn name(&self) -> &'static str {
        NAME
    }

    fn encode(&mut self, frame: &Frame, out: &mut AccessUnit) -> Result<Encoded> {
        if frame.format != self.format {
            return Err(Error::new(ErrorKind::Internal, "mpp: the frame has another format than the encoder"));
        }
        if self.key_wanted {
            self.session.force_idr()?;
        }
        let started = self.clock.now();
        self.hand_over(frame)?;
        let before = out.bytes.len();
        out.key = self.collect(out, started)?;
        if out.bytes.len() == before {
            return Ok(Encoded::Skipped);
        }
        if out.key {
            self.key_wanted = false;
            self.complete_key(out, before);
        }
        Ok(Encoded::Unit)
    }

    fn force_key(&mut self) {
        self.key_wanted = true;
    }

    fn set_bitrate(&mut self, rate: KbitPerSec) -> Result<()> {
        let changed = write_bitrate(&mut self.settings, rate).and_then(|()| self.session.apply(&self.settings));
        match changed {
            Ok(()) => self.rate = rate,
            // or the refused rate would spoil the next change too
            Err(_) => write_bitrate(&mut self.settings, self.rate)?,
        }
        changed
    }

    fn renew(&mut self) -> bool {
        self.imports.clear();
        self.key_wanted = true;
        true
    }

    fn take_copied(&mut self) -> u64 {
        std::mem::take(&mut self.copied)
    }
}

impl MppEncoder {
    fn hand_over(&mut self, frame: &Frame) -> Result<()> {
        let Geometry { stride, rows } = self.geometry;
        let size = self.format.size;
        let picture = Picture {
            width: size.width,
            height: size.height,
            stride: stride as u32,
            rows: rows as u32,
            pts: frame.captured_at.0 as i64,
        };
        if let (Some(fd), Some(home)) = (self.geometry.buffer_of(frame), frame.home()) {
            // the overlay wrote into it
            end_cpu_writes(fd);
            let buffer = self.imports.get(&mut self.session, home, fd, self.geometry.bytes())?;
            return self.session.put(&picture, buffer);
        }
        let mut own = match self.own.take() {
            Some(own) => own,
            None => self.session.allocate(self.geometry.bytes())?,
        };
        copy(frame, self.geometry, own.bytes_mut()?);
        end_cpu_writes(own.fd());
        self.copied += 1;
        self.session.put(&picture, self.own.insert(own))
    }

    /// Appends the packets of the picture; whether it is an IDR.
    fn collect(&mut self, out: &mut AccessUnit, started: Micros) -> Result<bool> {
        let before = out.bytes.len();
        loop {
            let packet = self.session.take()?;
            if let Some(packet) = &packet {
                out.bytes.extend_from_slice(packet.bytes());
                if packet.ends_picture() {
                    let has_idr =
                        || h264::nal_units(&out.bytes[before..]).any(|nal| h264::nal_type(nal) == h264::NAL_IDR);
                    return Ok(packet.intra().unwrap_or_else(has_idr));
                }
            }
            // also with a library that sends parts of a picture without end
            let waited = self.clock.now().since(started);
            if waited >= STUCK {
                return Err(stuck(waited));
            }
            if packet.is_none() {
                self.clock.sleep(PAUSE);
            }
        }
    }

    fn complete_key(&self, out: &mut AccessUnit, before: usize) {
        let first = h264::nal_units(&out.bytes[before..]).next().map_or(0, h264::nal_type);
        if first == h264::NAL_IDR {
            out.bytes.splice(before..before, self.header.iter().copied());
        }
        h264::declare_constrained_baseline(&mut out.bytes[before..]);
    }
}

fn stuck(waited: Duration) -> Error {
    Error::new(ErrorKind::Io, format!("mpp: stuck: no whole picture within {:.1} s", waited.as_secs_f64()))
}

/// Camera buffers the encoder knows, each imported once. They belong to one queue: when another one lends (the camera
/// was opened anew), the old ones go, for an old kernel does not free a queue whose buffers are still imported.
#[derive(Default)]
struct Imports {
    /// Weak: keeps nothing of the queue alive but its identity.
    home: Option<Weak<dyn BufferHome>>,
    buffers: Vec<(RawFd, Buffer)>,
}

impl Imports {
    fn get(&mut self, session: &mut Session, home: &Arc<dyn BufferHome>, fd: RawFd, size: usize) -> Result<&Buffer> {
        let same = self.home.as_ref().is_some_and(|known| addr_eq(known.as_ptr(), Arc::as_ptr(home)));
        if !same {
            self.clear();
            self.home = Some(Arc::downgrade(home));
        }
        let at = match self.buffers.iter().position(|(known, _)| *known == fd) {
            Some(at) => at,
            None => {
                self.buffers.push((fd, session.import(fd, size)?));
                self.buffers.len() - 1
            }
        };
        Ok(&self.buffers[at].1)
    }

    fn clear(&mut self) {
        self.buffers.clear();
        self.home = None;
    }
}

/// Writes the picture as NV12.
fn copy(frame: &Frame, to: Geometry, out: &mut [u8]) {
    let (format, planes) = (&frame.format, frame.planes());
    let (luma, chroma) = out.split_at_mut(to.stride * to.rows);
    copy_rows(planes[0], format.strides[0], luma, to.stride, format.plane_shape(0));
    match format.layout {
        Layout::Nv12 => copy_rows(planes[1], format.strides[1], chroma, to.stride, format.plane_shape(1)),
        Layout::I420 => {
            let (width, rows) = format.plane_shape(1);
            for row in 0..rows {
                let u = &planes[1][row * format.strides[1]..][..width];
                let v = &planes[2][row * format.strides[2]..][..width];
                let pairs = chroma[row * to.stride..][..2 * width].chunks_exact_mut(2);
                pairs.zip(u.iter().zip(v)).for_each(|(pair, (&u, &v))| (pair[0], pair[1]) = (u, v));
            }
        }
    }
}

fn copy_rows(from: &[u8], from_stride: usize, to: &mut [u8], to_stride: usize, (width, rows): (usize, usize)) {
    for row in 0..rows {
        to[row * to_stride..][..width].copy_from_slice(&from[row * from_stride..][..width]);
    }
}
