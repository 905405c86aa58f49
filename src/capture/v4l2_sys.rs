//! V4L2 by raw ioctls: the kernel side of `v4l2_device::Device`.
//!
//! Owns the device's file descriptor (O_NONBLOCK: no call waits for a picture) and the conversion between the
//! kernel's structures and our types. Must never trust a length or an index the driver gives. Input: a device path.

use crate::capture::v4l2_controls_sys::{EVENT_CTRL, control_event};
use crate::capture::v4l2_device::*;
use crate::media::ioctl_sys::{ioctl, open_node};
use crate::media::mapping_sys::Mapping;
use crate::media::v4l2_abi as abi;
use crate::units::{FrameRate, Micros, Size};
use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

const BUF_FLAG_TIMESTAMP_MASK: u32 = 0xe000;
const BUF_FLAG_TIMESTAMP_MONOTONIC: u32 = 0x2000;
const CAP_TIMEPERFRAME: u32 = 0x1000;
const EVENT_SOURCE_CHANGE: u32 = 5;
const FRMSIZE_DISCRETE: u32 = 1;
const FRMIVAL_DISCRETE: u32 = 1;

pub struct KernelDevice {
    file: File,
}

impl KernelDevice {
    pub fn open(path: &Path) -> io::Result<KernelDevice> {
        Ok(KernelDevice { file: open_node(path)? })
    }

    /// # Safety
    /// `T` must be the structure the kernel defines for `request`; pointers in it must be valid for the kernel to use.
    pub unsafe fn ioctl<T>(&self, request: u32, argument: &mut T) -> io::Result<()> {
        // SAFETY: the contract of this function is the other one's.
        unsafe { ioctl(&self.file, request, argument) }
    }

    fn format_call(&self, request: u32, kind: BufferKind, wanted: Option<&WireFormat>) -> io::Result<WireFormat> {
        let mut format = raw_format(kind, wanted);
        // SAFETY: G_FMT and S_FMT take a v4l2_format without pointers for these buffer types.
        unsafe { self.ioctl(request, &mut format)? };
        Ok(wire_format(kind, &format))
    }

    /// Runs a buffer call with a full planes array behind it.
    fn buffer_call(&self, request: u32, kind: BufferKind, index: u32) -> io::Result<(abi::Buffer, Planes)> {
        let mut planes: Planes = zeroed_planes();
        // SAFETY: all-zero bytes are a valid v4l2_buffer.
        let mut buffer: abi::Buffer = unsafe { zeroed() };
        buffer.index = index;
        buffer.kind = buffer_type(kind);
        buffer.memory = abi::MEMORY_MMAP;
        if kind == BufferKind::Multi {
            buffer.m.planes = planes.as_mut_ptr();
            buffer.length = planes.len() as u32;
        }
        // SAFETY: QUERYBUF, QBUF and DQBUF take a v4l2_buffer; `planes` outlives the call and has `length` entries.
        unsafe { self.ioctl(request, &mut buffer)? };
        Ok((buffer, planes))
    }

    fn stream(&self, request: u32, kind: BufferKind) -> io::Result<()> {
        let mut kind = buffer_type(kind) as c_int;
        // SAFETY: STREAMON and STREAMOFF take a pointer to int.
        unsafe { self.ioctl(request, &mut kind) }
    }
}

type Planes = [abi::Plane; abi::MAX_KERNEL_PLANES];

fn zeroed_planes() -> Planes {
    // SAFETY: all-zero bytes are valid v4l2_planes.
    unsafe { zeroed() }
}

fn buffer_type(kind: BufferKind) -> u32 {
    match kind {
        BufferKind::Single => 1,
        BufferKind::Multi => 9,
    }
}

fn raw_format(kind: BufferKind, wanted: Option<&WireFormat>) -> abi::Format {
    let raw = [0; abi::FORMAT_WORDS];
    let mut format = abi::Format { kind: buffer_type(kind), fmt: abi::FormatUnion { raw } };
    let Some(wanted) = wanted else {
        return format;
    };
    let Size { width, height } = wanted.size;
    match kind {
        BufferKind::Single => {
            format.fmt.pix = abi::PixFormat {
                width,
                height,
                pixelformat: wanted.fourcc.0,
                field: abi::FIELD_NONE,
                priv_: abi::PIX_FMT_PRIV_MAGIC,
                ..abi::PixFormat::default()
            };
        }
        BufferKind::Multi => {
            format.fmt.pix_mp = abi::PixFormatMplane {
                width,
                height,
                pixelformat: wanted.fourcc.0,
                field: abi::FIELD_NONE,
                num_planes: wanted.plane_count as u8,
                ..abi::PixFormatMplane::default()
            };
        }
    }
    format
}

fn wire_format(kind: BufferKind, format: &abi::Format) -> WireFormat {
    match kind {
        BufferKind::Single => {
            // SAFETY: plain numbers; any bytes are valid.
            let pix = unsafe { format.fmt.pix };
            let plane = PlaneFormat { bytes_per_line: pix.bytesperline, size_image: pix.sizeimage };
            // without the magic the driver filled nothing after it
            let extended =
                if pix.priv_ == abi::PIX_FMT_PRIV_MAGIC { (pix.ycbcr_enc, pix.quantization) } else { (0, 0) };
            WireFormat {
                planes: [plane, PlaneFormat::default(), PlaneFormat::default()],
                colorspace: pix.colorspace,
                ycbcr_enc: extended.0,
                quantization: extended.1,
                ..WireFormat::wanted(FourCc(pix.pixelformat), Size { width: pix.width, height: pix.height })
            }
        }
        BufferKind::Multi => {
            // SAFETY: as above.
            let pix = unsafe { format.fmt.pix_mp };
            let all = pix.plane_fmt;
            let plane = |n: usize| PlaneFormat { bytes_per_line: all[n].bytesperline, size_image: all[n].sizeimage };
            WireFormat {
                plane_count: usize::from(pix.num_planes),
                planes: [plane(0), plane(1), plane(2)],
                colorspace: pix.colorspace,
                ycbcr_enc: u32::from(pix.ycbcr_enc),
                quantization: u32::from(pix.quantization),
                ..WireFormat::wanted(FourCc(pix.pixelformat), Size { width: pix.width, height: pix.height })
            }
        }
    }
}

/// An interval of n/d seconds is a rate of d/n; None for the zeros some drivers give.
fn rate(interval: abi::Fract) -> Option<FrameRate> {
    let abi::Fract { numerator, denominator } = interval;
    (numerator > 0 && denominator > 0).then_some(FrameRate { frames: denominator, seconds: numerator })
}

fn required_rate(interval: abi::Fract) -> io::Result<FrameRate> {
    rate(interval).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

impl Device for KernelDevice {
    fn capability(&self) -> io::Result<Capability> {
        // SAFETY: all-zero bytes are a valid v4l2_capability.
        let mut raw: abi::Capability = unsafe { zeroed() };
        // SAFETY: QUERYCAP takes a v4l2_capability.
        unsafe { self.ioctl(abi::QUERYCAP, &mut raw)? };
        Ok(Capability {
            driver: abi::text(&raw.driver),
            card: abi::text(&raw.card),
            bus: abi::text(&raw.bus_info),
            caps: raw.of_node(),
        })
    }

    fn describe_format(&self, kind: BufferKind, index: u32) -> io::Result<FormatDescription> {
        // SAFETY: all-zero bytes are a valid v4l2_fmtdesc.
        let mut raw: abi::FmtDesc = unsafe { zeroed() };
        (raw.index, raw.kind) = (index, buffer_type(kind));
        // SAFETY: ENUM_FMT takes a v4l2_fmtdesc.
        unsafe { self.ioctl(abi::ENUM_FMT, &mut raw)? };
        Ok(FormatDescription { fourcc: FourCc(raw.pixelformat), text: abi::text(&raw.description) })
    }

    fn frame_sizes(&self, fourcc: FourCc, index: u32) -> io::Result<SizeRange> {
        let mut raw = abi::FrmSizeEnum { index, pixel_format: fourcc.0, ..abi::FrmSizeEnum::default() };
        // SAFETY: ENUM_FRAMESIZES takes a v4l2_frmsizeenum.
        unsafe { self.ioctl(abi::ENUM_FRAMESIZES, &mut raw)? };
        let [a, b, c, d, e, f] = raw.sizes;
        if raw.kind == FRMSIZE_DISCRETE {
            return Ok(SizeRange::Discrete(Size { width: a, height: b }));
        }
        Ok(SizeRange::Range {
            min: Size { width: a, height: d },
            max: Size { width: b, height: e },
            step: Size { width: c.max(1), height: f.max(1) },
        })
    }

    fn frame_rates(&self, fourcc: FourCc, size: Size, index: u32) -> io::Result<RateRange> {
        let Size { width, height } = size;
        let mut raw = abi::FrmIvalEnum { index, pixel_format: fourcc.0, width, height, ..Default::default() };
        // SAFETY: ENUM_FRAMEINTERVALS takes a v4l2_frmivalenum.
        unsafe { self.ioctl(abi::ENUM_FRAMEINTERVALS, &mut raw)? };
        let [first, second, _] = raw.intervals;
        if raw.kind == FRMIVAL_DISCRETE {
            return required_rate(first).map(RateRange::Discrete);
        }
        Ok(RateRange::Range { fastest: required_rate(first)?, slowest: required_rate(second)? })
    }

    fn format(&self, kind: BufferKind) -> io::Result<WireFormat> {
        self.format_call(abi::G_FMT, kind, None)
    }

    fn set_format(&self, kind: BufferKind, wanted: &WireFormat) -> io::Result<WireFormat> {
        self.format_call(abi::S_FMT, kind, Some(wanted))
    }

    fn set_rate(&self, kind: BufferKind, wanted: FrameRate) -> io::Result<Option<FrameRate>> {
        // SAFETY: all-zero bytes are a valid v4l2_streamparm.
        let mut raw: abi::StreamParm = unsafe { zeroed() };
        raw.kind = buffer_type(kind);
        raw.timeperframe = abi::Fract { numerator: wanted.seconds, denominator: wanted.frames };
        // SAFETY: S_PARM takes a v4l2_streamparm.
        unsafe { self.ioctl(abi::S_PARM, &mut raw)? };
        Ok(if raw.capability & CAP_TIMEPERFRAME != 0 { rate(raw.timeperframe) } else { None })
    }

    fn request_buffers(&self, kind: BufferKind, count: u32) -> io::Result<u32> {
        let mut raw =
            abi::RequestBuffers { count, kind: buffer_type(kind), memory: abi::MEMORY_MMAP, reserved: [0; 2] };
        // SAFETY: REQBUFS takes a v4l2_requestbuffers.
        unsafe { self.ioctl(abi::REQBUFS, &mut raw)? };
        Ok(raw.count)
    }

    fn buffer_memory(&self, kind: BufferKind, index: u32, planes: usize) -> io::Result<[PlaneMemory; MAX_PLANES]> {
        let (buffer, all) = self.buffer_call(abi::QUERYBUF, kind, index)?;
        let mut memory = [PlaneMemory::default(); MAX_PLANES];
        match kind {
            BufferKind::Single => {
                // SAFETY: plain number; memory type is MMAP, so the driver wrote `offset`.
                let offset = unsafe { buffer.m.offset };
                memory[0] = PlaneMemory { length: buffer.length as usize, offset };
            }
            BufferKind::Multi => {
                for (ours, raw) in memory.iter_mut().zip(&all).take(planes) {
                    // SAFETY: as above, `mem_offset`.
                    let offset = unsafe { raw.m.mem_offset };
                    *ours = PlaneMemory { length: raw.length as usize, offset };
                }
            }
        }
        Ok(memory)
    }

    fn map(&self, memory: PlaneMemory) -> io::Result<Mapping> {
        Mapping::new(self.file.as_fd(), memory.length, u64::from(memory.offset))
    }

    fn export(&self, kind: BufferKind, index: u32, plane: usize) -> io::Result<OwnedFd> {
        let mut raw = abi::ExportBuffer {
            kind: buffer_type(kind),
            index,
            plane: plane as u32,
            flags: (libc::O_CLOEXEC | libc::O_RDWR) as u32,
            fd: -1,
            ..abi::ExportBuffer::default()
        };
        // SAFETY: EXPBUF takes a v4l2_exportbuffer.
        unsafe { self.ioctl(abi::EXPBUF, &mut raw)? };
        if raw.fd < 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: a new descriptor the kernel just made for us; nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(raw.fd) })
    }

    fn queue(&self, kind: BufferKind, index: u32) -> io::Result<()> {
        self.buffer_call(abi::QBUF, kind, index).map(drop)
    }

    fn dequeue(&self, kind: BufferKind) -> io::Result<Dequeued> {
        let (buffer, planes) = self.buffer_call(abi::DQBUF, kind, 0)?;
        Ok(dequeued(kind, &buffer, &planes))
    }

    fn stream_on(&self, kind: BufferKind) -> io::Result<()> {
        self.stream(abi::STREAMON, kind)
    }

    fn stream_off(&self, kind: BufferKind) -> io::Result<()> {
        self.stream(abi::STREAMOFF, kind)
    }

    fn subscribe_source_change(&self) -> io::Result<()> {
        let mut raw = abi::EventSubscription { kind: EVENT_SOURCE_CHANGE, ..Default::default() };
        // SAFETY: SUBSCRIBE_EVENT takes a v4l2_event_subscription.
        unsafe { self.ioctl(abi::SUBSCRIBE_EVENT, &mut raw) }
    }

    fn take_event(&self) -> io::Result<Event> {
        let mut raw = abi::Event::default();
        // SAFETY: DQEVENT takes a v4l2_event.
        unsafe { self.ioctl(abi::DQEVENT, &mut raw)? };
        Ok(match raw.kind {
            EVENT_SOURCE_CHANGE => Event::SourceChange,
            EVENT_CTRL => Event::Control(control_event(&raw)),
            _ => Event::Other,
        })
    }

    fn wait(&self, timeout: Duration, bell: Option<BorrowedFd>) -> io::Result<Ready> {
        let device = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLIN | libc::POLLPRI, revents: 0 };
        // poll leaves negative descriptors out
        let bell = libc::pollfd { fd: bell.map_or(-1, |fd| fd.as_raw_fd()), events: libc::POLLIN, revents: 0 };
        let mut both = [device, bell];
        let timeout_ms = timeout.as_micros().div_ceil(1000).min(60_000) as c_int;
        // SAFETY: two valid pollfds.
        let result = unsafe { libc::poll(both.as_mut_ptr(), 2, timeout_ms) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        let has = |bit| both[0].revents & bit != 0;
        Ok(Ready {
            readable: has(libc::POLLIN),
            event: has(libc::POLLPRI),
            error: has(libc::POLLERR | libc::POLLNVAL),
            hangup: has(libc::POLLHUP),
            bell: both[1].revents != 0,
        })
    }
}

fn dequeued(kind: BufferKind, buffer: &abi::Buffer, planes: &Planes) -> Dequeued {
    let data = match kind {
        BufferKind::Single => [(0, buffer.bytesused as usize), (0, 0), (0, 0)],
        BufferKind::Multi => [0, 1, 2].map(|n| (planes[n].data_offset as usize, planes[n].bytesused as usize)),
    };
    let monotonic = buffer.flags & BUF_FLAG_TIMESTAMP_MASK == BUF_FLAG_TIMESTAMP_MONOTONIC;
    let positive = |part: std::ffi::c_long| u64::try_from(part).unwrap_or(0);
    let timestamp_us =
        positive(buffer.timestamp.sec).saturating_mul(1_000_000) + positive(buffer.timestamp.usec) % 1_000_000;
    Dequeued {
        index: buffer.index,
        data,
        damaged: buffer.flags & abi::BUF_FLAG_ERROR != 0,
        timestamp: monotonic.then_some(Micros(timestamp_us)),
        sequence: buffer.sequence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_survive_the_kernels_structures_in_both_apis() {
        let wanted = WireFormat::wanted(FourCc(*b"NV12"), Size { width: 640, height: 480 });
        for kind in [BufferKind::Single, BufferKind::Multi] {
            assert_eq!(wire_format(kind, &raw_format(kind, Some(&wanted))), wanted);
        }
    }

    #[test]
    fn only_monotonic_timestamps_are_used() {
        // SAFETY: all-zero bytes are valid.
        let mut buffer: abi::Buffer = unsafe { zeroed() };
        buffer.timestamp = abi::Timeval { sec: 12, usec: 34 };
        assert_eq!(dequeued(BufferKind::Single, &buffer, &zeroed_planes()).timestamp, None);
        buffer.flags = BUF_FLAG_TIMESTAMP_MONOTONIC | abi::BUF_FLAG_ERROR;
        let filled = dequeued(BufferKind::Single, &buffer, &zeroed_planes());
        assert_eq!((filled.timestamp, filled.damaged), (Some(Micros(12_000_034)), true));
    }

    #[test]
    fn a_file_that_is_no_device_answers_with_enotty() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = KernelDevice::open(file.path()).unwrap();
        assert_eq!(device.capability().err().unwrap().raw_os_error(), Some(libc::ENOTTY));
    }
}
