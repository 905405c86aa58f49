//! V4L2 encoders by raw ioctls: the kernel side of `m2m_device::Device`.
//!
//! Owns the device's file descriptor (O_NONBLOCK: no call waits for a picture). Must never trust a length or an index
//! the driver gives. Input: a device path.

use super::m2m_device::*;
use crate::media::frame::{Colour, Matrix, Range};
use crate::media::ioctl_sys::{ioctl, open_node};
use crate::media::mapping_sys::Mapping;
use crate::media::v4l2_abi as abi;
use crate::units::{FrameRate, Micros, Size};
use std::ffi::{c_int, c_long};
use std::fs::File;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

const CTRL_FLAG_DISABLED: u32 = 1;
const SEL_TGT_CROP: u32 = 0;
const BUF_FLAG_TIMESTAMP_COPY: u32 = 0x4000;
const BUF_FLAG_LAST: u32 = 0x10_0000;

pub struct KernelDevice {
    file: File,
}

impl KernelDevice {
    pub fn open(path: &Path) -> io::Result<KernelDevice> {
        Ok(KernelDevice { file: open_node(path)? })
    }

    /// # Safety
    /// `T` must be the structure the kernel defines for `request`; pointers in it must be valid for the kernel to use.
    unsafe fn ioctl<T>(&self, request: u32, argument: &mut T) -> io::Result<()> {
        // SAFETY: the contract of this function is the other one's.
        unsafe { ioctl(&self.file, request, argument) }
    }

    fn buffer_call(&self, request: u32, api: Api, wanted: Wanted) -> io::Result<(abi::Buffer, Planes)> {
        // SAFETY: all-zero bytes are valid v4l2_planes.
        let mut planes: Planes = unsafe { zeroed() };
        // SAFETY: all-zero bytes are a valid v4l2_buffer.
        let mut buffer: abi::Buffer = unsafe { zeroed() };
        buffer.index = wanted.index;
        buffer.kind = buffer_type(api, wanted.side);
        buffer.memory = abi::MEMORY_MMAP;
        buffer.field = abi::FIELD_NONE;
        if let Some((used, at)) = wanted.queued {
            buffer.flags = BUF_FLAG_TIMESTAMP_COPY;
            buffer.timestamp = abi::Timeval { sec: (at.0 / 1_000_000) as c_long, usec: (at.0 % 1_000_000) as c_long };
            buffer.bytesused = used.first().map_or(0, |used| *used as u32);
            planes.iter_mut().zip(used).for_each(|(plane, used)| plane.bytesused = *used as u32);
        }
        if api == Api::Multi {
            buffer.m.planes = planes.as_mut_ptr();
            buffer.length = wanted.planes as u32;
        }
        // SAFETY: these calls take a v4l2_buffer; `planes` outlives the call and has at least `length` entries.
        unsafe { self.ioctl(request, &mut buffer)? };
        Ok((buffer, planes))
    }
}

type Planes = [abi::Plane; abi::MAX_KERNEL_PLANES];

struct Wanted<'a> {
    side: Side,
    index: u32,
    planes: usize,
    queued: Option<(&'a [usize], Micros)>,
}

fn buffer_type(api: Api, side: Side) -> u32 {
    match (api, side) {
        (Api::Single, Side::Coded) => 1,
        (Api::Single, Side::Raw) => 2,
        (Api::Multi, Side::Coded) => 9,
        (Api::Multi, Side::Raw) => 10,
    }
}

/// V4L2's numbers of colour space, matrix and range; zeros let the driver choose.
fn colour_numbers(colour: Option<Colour>) -> (u32, u32, u32) {
    let Some(colour) = colour else { return (0, 0, 0) };
    let (space, matrix) = match colour.matrix {
        Matrix::Bt601 => (1, 1),
        Matrix::Bt709 => (3, 2),
    };
    (space, matrix, if colour.range == Range::Full { 1 } else { 2 })
}

fn raw_format(api: Api, side: Side, wanted: &WireFormat) -> abi::Format {
    let mut format =
        abi::Format { kind: buffer_type(api, side), fmt: abi::FormatUnion { raw: [0; abi::FORMAT_WORDS] } };
    let (colorspace, ycbcr_enc, quantization) = colour_numbers(wanted.colour);
    let Size { width, height } = wanted.size;
    match api {
        Api::Single => {
            let (line, size) = wanted.planes.first().copied().unwrap_or_default();
            format.fmt.pix = abi::PixFormat {
                width,
                height,
                pixelformat: wanted.fourcc,
                field: abi::FIELD_NONE,
                bytesperline: line as u32,
                sizeimage: size as u32,
                colorspace,
                priv_: abi::PIX_FMT_PRIV_MAGIC,
                ycbcr_enc,
                quantization,
                ..abi::PixFormat::default()
            };
        }
        Api::Multi => {
            let mut planes = [abi::PlanePixFormat::default(); abi::MAX_KERNEL_PLANES];
            for (plane, (line, size)) in planes.iter_mut().zip(&wanted.planes) {
                (plane.bytesperline, plane.sizeimage) = (*line as u32, *size as u32);
            }
            format.fmt.pix_mp = abi::PixFormatMplane {
                width,
                height,
                pixelformat: wanted.fourcc,
                field: abi::FIELD_NONE,
                colorspace,
                plane_fmt: planes,
                num_planes: wanted.planes.len() as u8,
                ycbcr_enc: ycbcr_enc as u8,
                quantization: quantization as u8,
                ..abi::PixFormatMplane::default()
            };
        }
    }
    format
}

fn wire_format(api: Api, format: &abi::Format, colour: Option<Colour>) -> WireFormat {
    match api {
        Api::Single => {
            // SAFETY: plain numbers; any bytes are valid.
            let pix = unsafe { format.fmt.pix };
            WireFormat {
                fourcc: pix.pixelformat,
                size: Size { width: pix.width, height: pix.height },
                planes: vec![(pix.bytesperline as usize, pix.sizeimage as usize)],
                colour,
            }
        }
        Api::Multi => {
            // SAFETY: as above.
            let pix = unsafe { format.fmt.pix_mp };
            let all = pix.plane_fmt;
            let count = usize::from(pix.num_planes).min(all.len());
            let plane = |n: usize| (all[n].bytesperline as usize, all[n].sizeimage as usize);
            WireFormat {
                fourcc: pix.pixelformat,
                size: Size { width: pix.width, height: pix.height },
                planes: (0..count).map(plane).collect(),
                colour,
            }
        }
    }
}

impl PlaneMemory for Mapping {
    fn bytes(&self) -> &[u8] {
        // SAFETY: mapped as long as self; the caller reads only buffers that the driver gave back.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr(), self.len()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr(), self.len()) }
    }
}

impl Device for KernelDevice {
    fn capability(&self) -> io::Result<(String, u32)> {
        // SAFETY: all-zero bytes are a valid v4l2_capability.
        let mut raw: abi::Capability = unsafe { zeroed() };
        // SAFETY: QUERYCAP takes a v4l2_capability.
        unsafe { self.ioctl(abi::QUERYCAP, &mut raw)? };
        Ok((abi::text(&raw.card), raw.of_node()))
    }

    fn describe_format(&self, api: Api, side: Side, index: u32) -> io::Result<FourCc> {
        // SAFETY: all-zero bytes are a valid v4l2_fmtdesc.
        let mut raw: abi::FmtDesc = unsafe { zeroed() };
        (raw.index, raw.kind) = (index, buffer_type(api, side));
        // SAFETY: ENUM_FMT takes a v4l2_fmtdesc.
        unsafe { self.ioctl(abi::ENUM_FMT, &mut raw)? };
        Ok(raw.pixelformat)
    }

    fn set_format(&self, api: Api, side: Side, wanted: &WireFormat) -> io::Result<WireFormat> {
        let mut format = raw_format(api, side, wanted);
        // SAFETY: S_FMT takes a v4l2_format without pointers for these buffer types.
        unsafe { self.ioctl(abi::S_FMT, &mut format)? };
        Ok(wire_format(api, &format, wanted.colour))
    }

    fn set_rate(&self, api: Api, rate: FrameRate) -> io::Result<()> {
        // SAFETY: all-zero bytes are a valid v4l2_streamparm.
        let mut raw: abi::StreamParm = unsafe { zeroed() };
        raw.kind = buffer_type(api, Side::Raw);
        raw.timeperframe = abi::Fract { numerator: rate.seconds, denominator: rate.frames };
        // SAFETY: S_PARM takes a v4l2_streamparm; for outputs its fields lie as for captures.
        unsafe { self.ioctl(abi::S_PARM, &mut raw) }
    }

    fn set_crop(&self, api: Api, size: Size) -> io::Result<()> {
        // this call wants the single planar type from both APIs (kernels before 4.13 no other)
        let mut raw = abi::Selection {
            kind: buffer_type(Api::Single, Side::Raw),
            target: SEL_TGT_CROP,
            width: size.width,
            height: size.height,
            ..Default::default()
        };
        // SAFETY: S_SELECTION takes a v4l2_selection.
        let first = unsafe { self.ioctl(abi::S_SELECTION, &mut raw) };
        if first.is_ok() || api == Api::Single {
            return first;
        }
        raw.kind = buffer_type(api, Side::Raw);
        // SAFETY: as above.
        unsafe { self.ioctl(abi::S_SELECTION, &mut raw) }
    }

    fn control_range(&self, id: u32) -> io::Result<Option<ControlRange>> {
        // SAFETY: all-zero bytes are a valid v4l2_queryctrl.
        let mut raw: abi::QueryCtrl = unsafe { zeroed() };
        raw.id = id;
        // SAFETY: QUERYCTRL takes a v4l2_queryctrl.
        unsafe { self.ioctl(abi::QUERYCTRL, &mut raw)? };
        let range = ControlRange { minimum: raw.minimum, maximum: raw.maximum };
        Ok((raw.flags & CTRL_FLAG_DISABLED == 0).then_some(range))
    }

    fn set_control(&self, id: u32, value: i32) -> io::Result<()> {
        let mut raw = abi::Control { id, value };
        // SAFETY: S_CTRL takes a v4l2_control.
        unsafe { self.ioctl(abi::S_CTRL, &mut raw) }
    }

    fn request_buffers(&self, api: Api, side: Side, count: u32) -> io::Result<u32> {
        let kind = buffer_type(api, side);
        let mut raw = abi::RequestBuffers { count, kind, memory: abi::MEMORY_MMAP, reserved: [0; 2] };
        // SAFETY: REQBUFS takes a v4l2_requestbuffers.
        unsafe { self.ioctl(abi::REQBUFS, &mut raw)? };
        Ok(raw.count)
    }

    fn map(&self, api: Api, side: Side, index: u32, planes: usize) -> io::Result<Vec<Box<dyn PlaneMemory>>> {
        let wanted = Wanted { side, index, planes, queued: None };
        let (buffer, all) = self.buffer_call(abi::QUERYBUF, api, wanted)?;
        let map = |len: u32, offset: u32| -> io::Result<Box<dyn PlaneMemory>> {
            Ok(Box::new(Mapping::new(self.file.as_fd(), len as usize, u64::from(offset))?))
        };
        match api {
            // SAFETY: plain number; memory type is MMAP, so the driver wrote `offset`.
            Api::Single => Ok(vec![map(buffer.length, unsafe { buffer.m.offset })?]),
            Api::Multi => {
                // SAFETY: as above, `mem_offset`.
                let place = |plane: &abi::Plane| (plane.length, unsafe { plane.m.mem_offset });
                all.iter().take(planes).map(place).map(|(len, offset)| map(len, offset)).collect()
            }
        }
    }

    fn queue(&self, api: Api, side: Side, index: u32, used: &[usize], timestamp: Micros) -> io::Result<()> {
        let planes = used.len().max(1);
        let wanted = Wanted { side, index, planes, queued: Some((used, timestamp)) };
        self.buffer_call(abi::QBUF, api, wanted).map(drop)
    }

    fn dequeue(&self, api: Api, side: Side) -> io::Result<Done> {
        let wanted = Wanted { side, index: 0, planes: abi::MAX_KERNEL_PLANES, queued: None };
        let (buffer, planes) = self.buffer_call(abi::DQBUF, api, wanted)?;
        let data = match api {
            Api::Single => (0, buffer.bytesused as usize),
            Api::Multi => (planes[0].data_offset as usize, planes[0].bytesused as usize),
        };
        let positive = |part: c_long| u64::try_from(part).unwrap_or(0);
        let has = |flag| buffer.flags & flag != 0;
        Ok(Done {
            index: buffer.index,
            data,
            timestamp: Micros(positive(buffer.timestamp.sec) * 1_000_000 + positive(buffer.timestamp.usec)),
            failed: has(abi::BUF_FLAG_ERROR),
            last: has(BUF_FLAG_LAST),
        })
    }

    fn stream_on(&self, api: Api, side: Side) -> io::Result<()> {
        // SAFETY: STREAMON takes a pointer to int.
        unsafe { self.ioctl(abi::STREAMON, &mut (buffer_type(api, side) as c_int)) }
    }

    fn stream_off(&self, api: Api, side: Side) -> io::Result<()> {
        // SAFETY: STREAMOFF takes a pointer to int.
        unsafe { self.ioctl(abi::STREAMOFF, &mut (buffer_type(api, side) as c_int)) }
    }

    fn wait(&self, timeout: Duration) -> io::Result<()> {
        let mut poll = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let timeout_ms = timeout.as_micros().div_ceil(1000).min(60_000) as c_int;
        // SAFETY: one valid pollfd.
        if unsafe { libc::poll(&mut poll, 1, timeout_ms) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_survive_the_kernels_structures_in_both_apis() {
        let colour = Some(Colour { matrix: Matrix::Bt709, range: Range::Full });
        let size = Size { width: 1920, height: 1080 };
        let planes = vec![(1920, 1920 * 1088 * 3 / 2)];
        let wanted = WireFormat { fourcc: *b"NV12", size, planes, colour };
        for api in [Api::Single, Api::Multi] {
            let raw = raw_format(api, Side::Raw, &wanted);
            assert_eq!(wire_format(api, &raw, colour), wanted);
        }
        let raw = raw_format(Api::Multi, Side::Raw, &wanted);
        // SAFETY: plain numbers.
        let pix = unsafe { raw.fmt.pix_mp };
        let colorspace = pix.colorspace;
        assert_eq!((raw.kind, colorspace, pix.ycbcr_enc, pix.quantization), (10, 3, 2, 1));
    }

    #[test]
    fn a_file_that_is_no_device_answers_with_enotty() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = KernelDevice::open(file.path()).unwrap();
        assert_eq!(device.capability().err().unwrap().raw_os_error(), Some(libc::ENOTTY));
    }
}
