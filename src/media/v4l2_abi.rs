//! The kernel's V4L2 structures (include/uapi/linux/videodev2.h), byte for byte, and their ioctl numbers.
//!
//! Written by hand because generated bindings follow the C library's time_t: with 64-bit time on a 32-bit target they
//! give ioctl numbers that kernels before 5.6 do not know. Every size is checked at compile time. Input: none.

use std::ffi::{c_int, c_long, c_ulong};
use std::mem::size_of;

pub const MAX_KERNEL_PLANES: usize = 8;

/// V4L2_MEMORY_MMAP, V4L2_FIELD_NONE.
pub const MEMORY_MMAP: u32 = 1;
pub const FIELD_NONE: u32 = 1;
pub const BUF_FLAG_ERROR: u32 = 0x40;
/// Of v4l2_capability: `device_caps` is filled in.
pub const CAP_DEVICE_CAPS: u32 = 0x8000_0000;
/// Tells the driver that `flags` and what follows in v4l2_pix_format are filled in.
pub const PIX_FMT_PRIV_MAGIC: u32 = 0xfeed_cafe;

/// A driver's C string, cut at the first NUL; anything unprintable becomes '.' since it goes into logs.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]);
    text.chars().map(|c| if c.is_control() { '.' } else { c }).collect()
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Capability {
    pub driver: [u8; 16],
    pub card: [u8; 32],
    pub bus_info: [u8; 32],
    pub version: u32,
    pub capabilities: u32,
    pub device_caps: u32,
    pub reserved: [u32; 3],
}

impl Capability {
    /// Of the opened node; old kernels tell only what all nodes of the device can do.
    pub fn of_node(&self) -> u32 {
        if self.capabilities & CAP_DEVICE_CAPS != 0 { self.device_caps } else { self.capabilities }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FmtDesc {
    pub index: u32,
    pub kind: u32,
    pub flags: u32,
    pub description: [u8; 32],
    pub pixelformat: [u8; 4],
    pub reserved: [u32; 4],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct FrmSizeEnum {
    pub index: u32,
    pub pixel_format: [u8; 4],
    pub kind: u32,
    /// discrete: width, height; stepwise: min_width, max_width, step_width, min_height, max_height, step_height
    pub sizes: [u32; 6],
    pub reserved: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Fract {
    pub numerator: u32,
    pub denominator: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct FrmIvalEnum {
    pub index: u32,
    pub pixel_format: [u8; 4],
    pub width: u32,
    pub height: u32,
    pub kind: u32,
    /// discrete: the interval; stepwise: min, max, step
    pub intervals: [Fract; 3],
    pub reserved: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct PixFormat {
    pub width: u32,
    pub height: u32,
    pub pixelformat: [u8; 4],
    pub field: u32,
    pub bytesperline: u32,
    pub sizeimage: u32,
    pub colorspace: u32,
    pub priv_: u32,
    pub flags: u32,
    pub ycbcr_enc: u32,
    pub quantization: u32,
    pub xfer_func: u32,
}

#[repr(C, packed)]
#[derive(Clone, Copy, Default)]
pub struct PlanePixFormat {
    pub sizeimage: u32,
    pub bytesperline: u32,
    pub reserved: [u16; 6],
}

#[repr(C, packed)]
#[derive(Clone, Copy, Default)]
pub struct PixFormatMplane {
    pub width: u32,
    pub height: u32,
    pub pixelformat: [u8; 4],
    pub field: u32,
    pub colorspace: u32,
    pub plane_fmt: [PlanePixFormat; MAX_KERNEL_PLANES],
    pub num_planes: u8,
    pub flags: u8,
    pub ycbcr_enc: u8,
    pub quantization: u8,
    pub xfer_func: u8,
    pub reserved: [u8; 7],
}

/// The kernel's union holds pointers: it is 200 bytes, aligned like one.
#[repr(C)]
#[derive(Clone, Copy)]
pub union FormatUnion {
    pub pix: PixFormat,
    pub pix_mp: PixFormatMplane,
    pub raw: [usize; FORMAT_WORDS],
}

pub const FORMAT_WORDS: usize = 200 / size_of::<usize>();

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Format {
    pub kind: u32,
    pub fmt: FormatUnion,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct StreamParm {
    pub kind: u32,
    pub capability: u32,
    pub capturemode: u32,
    pub timeperframe: Fract,
    pub extendedmode: u32,
    pub readbuffers: u32,
    pub reserved: [u32; 44],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct RequestBuffers {
    pub count: u32,
    pub kind: u32,
    pub memory: u32,
    pub reserved: [u32; 2],
}

/// Pointer-sized union: userptr is an unsigned long, the offset its first four bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub union PlaneUnion {
    pub mem_offset: u32,
    pub userptr: c_ulong,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Plane {
    pub bytesused: u32,
    pub length: u32,
    pub m: PlaneUnion,
    pub data_offset: u32,
    pub reserved: [u32; 11],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union BufferUnion {
    pub offset: u32,
    pub userptr: c_ulong,
    pub planes: *mut Plane,
}

/// c_long is 32 bits on 32-bit targets: the timeval of kernel 4.19, which newer kernels still take.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Timeval {
    pub sec: c_long,
    pub usec: c_long,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Buffer {
    pub index: u32,
    pub kind: u32,
    pub bytesused: u32,
    pub flags: u32,
    pub field: u32,
    pub timestamp: Timeval,
    pub timecode: [u32; 4],
    pub sequence: u32,
    pub memory: u32,
    pub m: BufferUnion,
    pub length: u32,
    pub reserved2: u32,
    pub request_fd: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ExportBuffer {
    pub kind: u32,
    pub index: u32,
    pub plane: u32,
    pub flags: u32,
    pub fd: i32,
    pub reserved: [u32; 11],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct EventSubscription {
    pub kind: u32,
    pub id: u32,
    pub flags: u32,
    pub reserved: [u32; 5],
}

/// The kernel's union holds a 64-bit control value, which sets the alignment.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Event {
    pub kind: u32,
    pub data: [u64; 8],
    pub pending: u32,
    pub sequence: u32,
    pub timestamp: [c_long; 2],
    pub id: u32,
    pub reserved: [u32; 8],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct QueryExtCtrl {
    pub id: u32,
    pub kind: u32,
    pub name: [u8; 32],
    pub minimum: i64,
    pub maximum: i64,
    pub step: u64,
    pub default_value: i64,
    pub flags: u32,
    pub elem_size: u32,
    pub elems: u32,
    pub nr_of_dims: u32,
    pub dims: [u32; 4],
    pub reserved: [u32; 32],
}

/// What VIDIOC_DQEVENT brings of a control (in `Event::data`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct EventCtrl {
    pub changes: u32,
    pub kind: u32,
    /// The first four bytes for all but 64-bit integers.
    pub value: [u8; 8],
    pub flags: u32,
    pub minimum: i32,
    pub maximum: i32,
    pub step: i32,
    pub default_value: i32,
}

/// `name` of menus; the first eight bytes of it are the number of integer menus.
#[repr(C, packed)]
#[derive(Clone, Copy, Default)]
pub struct QueryMenu {
    pub id: u32,
    pub index: u32,
    pub name: [u8; 32],
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Control {
    pub id: u32,
    pub value: i32,
}

/// Packed by the kernel, too.
#[repr(C, packed)]
#[derive(Clone, Copy, Default)]
pub struct ExtControl {
    pub id: u32,
    pub size: u32,
    pub reserved2: u32,
    /// The first four bytes for all but 64-bit integers.
    pub value: [u8; 8],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ExtControls {
    /// V4L2_CTRL_ID2WHICH: drivers before 4.4 want the class of all controls here.
    pub which: u32,
    pub count: u32,
    pub error_idx: u32,
    pub request_fd: i32,
    pub reserved: u32,
    pub controls: *mut ExtControl,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct QueryCtrl {
    pub id: u32,
    pub kind: u32,
    pub name: [u8; 32],
    pub minimum: i32,
    pub maximum: i32,
    pub step: i32,
    pub default_value: i32,
    pub flags: u32,
    pub reserved: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Selection {
    pub kind: u32,
    pub target: u32,
    pub flags: u32,
    pub left: i32,
    pub top: i32,
    pub width: u32,
    pub height: u32,
    pub reserved: [u32; 9],
}

const WRITE: u32 = 1;
const READ: u32 = 2;

/// _IOC of asm-generic/ioctl.h (x86, ARM, RISC-V): direction, size, type 'V', number.
const fn request<T>(direction: u32, number: u32) -> u32 {
    direction << 30 | (size_of::<T>() as u32) << 16 | (b'V' as u32) << 8 | number
}

pub const QUERYCAP: u32 = request::<Capability>(READ, 0);
pub const ENUM_FMT: u32 = request::<FmtDesc>(READ | WRITE, 2);
pub const G_FMT: u32 = request::<Format>(READ | WRITE, 4);
pub const S_FMT: u32 = request::<Format>(READ | WRITE, 5);
pub const REQBUFS: u32 = request::<RequestBuffers>(READ | WRITE, 8);
pub const QUERYBUF: u32 = request::<Buffer>(READ | WRITE, 9);
pub const QBUF: u32 = request::<Buffer>(READ | WRITE, 15);
pub const EXPBUF: u32 = request::<ExportBuffer>(READ | WRITE, 16);
pub const DQBUF: u32 = request::<Buffer>(READ | WRITE, 17);
pub const STREAMON: u32 = request::<c_int>(WRITE, 18);
pub const STREAMOFF: u32 = request::<c_int>(WRITE, 19);
pub const S_PARM: u32 = request::<StreamParm>(READ | WRITE, 22);
pub const G_CTRL: u32 = request::<Control>(READ | WRITE, 27);
pub const S_CTRL: u32 = request::<Control>(READ | WRITE, 28);
pub const QUERYCTRL: u32 = request::<QueryCtrl>(READ | WRITE, 36);
pub const QUERYMENU: u32 = request::<QueryMenu>(READ | WRITE, 37);
pub const G_EXT_CTRLS: u32 = request::<ExtControls>(READ | WRITE, 71);
pub const S_EXT_CTRLS: u32 = request::<ExtControls>(READ | WRITE, 72);
pub const ENUM_FRAMESIZES: u32 = request::<FrmSizeEnum>(READ | WRITE, 74);
pub const ENUM_FRAMEINTERVALS: u32 = request::<FrmIvalEnum>(READ | WRITE, 75);
pub const S_SELECTION: u32 = request::<Selection>(READ | WRITE, 95);
pub const DQEVENT: u32 = request::<Event>(READ, 89);
pub const SUBSCRIBE_EVENT: u32 = request::<EventSubscription>(WRITE, 90);
pub const QUERY_EXT_CTRL: u32 = request::<QueryExtCtrl>(READ | WRITE, 103);

const fn by_width(narrow: usize, wide: usize) -> usize {
    if cfg!(target_pointer_width = "32") { narrow } else { wide }
}

const _: () = {
    assert!(size_of::<Capability>() == 104);
    assert!(size_of::<FmtDesc>() == 64);
    assert!(size_of::<FrmSizeEnum>() == 44);
    assert!(size_of::<FrmIvalEnum>() == 52);
    assert!(size_of::<PixFormat>() == 48);
    assert!(size_of::<PlanePixFormat>() == 20);
    assert!(size_of::<PixFormatMplane>() == 192);
    assert!(size_of::<Format>() == by_width(204, 208));
    assert!(size_of::<StreamParm>() == 204);
    assert!(size_of::<RequestBuffers>() == 20);
    assert!(size_of::<Plane>() == by_width(60, 64));
    assert!(size_of::<Buffer>() == by_width(68, 88));
    assert!(size_of::<ExportBuffer>() == 64);
    assert!(size_of::<EventSubscription>() == 32);
    // 32-bit x86 aligns 64-bit numbers to 4 bytes, 32-bit ARM to 8
    assert!(size_of::<Event>() == by_width(if cfg!(target_arch = "x86") { 120 } else { 128 }, 136));
    assert!(size_of::<EventCtrl>() == 36);
    assert!(size_of::<ExtControl>() == 20);
    assert!(size_of::<ExtControls>() == by_width(24, 32));
    assert!(size_of::<QueryExtCtrl>() == 232);
    assert!(size_of::<QueryMenu>() == 44);
    assert!(size_of::<Control>() == 8);
    assert!(size_of::<QueryCtrl>() == 68);
    assert!(size_of::<Selection>() == 64);
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;
    use v4l::v4l_sys as generated;

    /// Generated from this machine's kernel headers.
    #[test]
    fn fields_lie_where_the_kernel_headers_put_them() {
        macro_rules! same {
            ($ours:ty, $theirs:ty, $($field:ident = $other:ident),+) => {
                assert_eq!(size_of::<$ours>(), size_of::<$theirs>());
                $(assert_eq!(offset_of!($ours, $field), offset_of!($theirs, $other), stringify!($field));)+
            };
        }
        same!(Capability, generated::v4l2_capability, card = card, device_caps = device_caps);
        same!(FmtDesc, generated::v4l2_fmtdesc, description = description, pixelformat = pixelformat);
        same!(FrmSizeEnum, generated::v4l2_frmsizeenum, kind = type_);
        same!(FrmIvalEnum, generated::v4l2_frmivalenum, kind = type_, height = height);
        same!(PixFormat, generated::v4l2_pix_format, bytesperline = bytesperline, quantization = quantization);
        same!(
            PixFormatMplane,
            generated::v4l2_pix_format_mplane,
            plane_fmt = plane_fmt,
            num_planes = num_planes,
            quantization = quantization
        );
        same!(PlanePixFormat, generated::v4l2_plane_pix_format, bytesperline = bytesperline);
        same!(Format, generated::v4l2_format, fmt = fmt);
        same!(RequestBuffers, generated::v4l2_requestbuffers, memory = memory);
        same!(Plane, generated::v4l2_plane, m = m, data_offset = data_offset);
        same!(Buffer, generated::v4l2_buffer, timestamp = timestamp, sequence = sequence, m = m, length = length);
        same!(ExportBuffer, generated::v4l2_exportbuffer, flags = flags, fd = fd);
        same!(EventSubscription, generated::v4l2_event_subscription, flags = flags);
        same!(Event, generated::v4l2_event, data = u, pending = pending, id = id);
        same!(ExtControl, generated::v4l2_ext_control, size = size, reserved2 = reserved2);
        same!(ExtControls, generated::v4l2_ext_controls, count = count, error_idx = error_idx, controls = controls);
        // the generated one is padded at its end to the alignment of its 64-bit value
        assert_eq!(offset_of!(EventCtrl, flags), offset_of!(generated::v4l2_event_ctrl, flags));
        assert_eq!(offset_of!(EventCtrl, default_value), offset_of!(generated::v4l2_event_ctrl, default_value));
        same!(QueryExtCtrl, generated::v4l2_query_ext_ctrl, minimum = minimum, flags = flags, dims = dims);
        same!(QueryCtrl, generated::v4l2_queryctrl, minimum = minimum, flags = flags);
        same!(Selection, generated::v4l2_selection, target = target, left = r, reserved = reserved);
        same!(QueryMenu, generated::v4l2_querymenu, index = index);
        assert_eq!(size_of::<StreamParm>(), size_of::<generated::v4l2_streamparm>());
        assert_eq!(offset_of!(StreamParm, timeperframe), 4 + offset_of!(generated::v4l2_captureparm, timeperframe));
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn ioctl_numbers_are_the_kernels() {
        assert_eq!((QUERYCAP, DQBUF, S_FMT, S_PARM), (0x8068_5600, 0xc058_5611, 0xc0d0_5605, 0xc0cc_5616));
        assert_eq!((EXPBUF, DQEVENT, STREAMON), (0xc040_5610, 0x8088_5659, 0x4004_5612));
        assert_eq!((G_EXT_CTRLS, S_EXT_CTRLS, QUERY_EXT_CTRL), (0xc020_5647, 0xc020_5648, 0xc0e8_5667));
    }

    #[test]
    fn names_from_a_driver_are_safe_to_print() {
        assert_eq!(text(b"HD Cam\0junk"), "HD Cam");
        assert_eq!(text(b"a\x1b[31m\n\xff"), "a.[31m.\u{fffd}");
    }
}
