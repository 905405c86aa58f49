//! A V4L2 capture device as the rest of capture sees it: one trait, and the plain types its calls take and give.
//!
//! `v4l2_sys.rs` fulfils it with the kernel's ioctls, tests with a script. Names and values follow the kernel's V4L2
//! documentation. Must never know how a picture is chosen or used.

use crate::media::mapping_sys::Mapping;
use crate::units::{FrameRate, Micros, Size};
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// Memory planes of the formats we read; NM12 has two, YM12 three.
pub const MAX_PLANES: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // a driver may put anything here, and it goes into logs
        self.0.iter().try_for_each(|&c| write!(f, "{}", if c.is_ascii_graphic() { c as char } else { '.' }))
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which of the two capture APIs a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferKind {
    /// V4L2_BUF_TYPE_VIDEO_CAPTURE
    Single,
    /// V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
    Multi,
}

/// VIDIOC_QUERYCAP.
#[derive(Clone, Debug, Default)]
pub struct Capability {
    pub driver: String,
    pub card: String,
    pub bus: String,
    /// device_caps where the driver fills them, else capabilities.
    pub caps: u32,
}

const CAP_VIDEO_CAPTURE: u32 = 0x0000_0001;
const CAP_VIDEO_CAPTURE_MPLANE: u32 = 0x0000_1000;
const CAP_VIDEO_M2M_MPLANE: u32 = 0x0000_4000;
const CAP_VIDEO_M2M: u32 = 0x0000_8000;
const CAP_STREAMING: u32 = 0x0400_0000;

impl Capability {
    /// How to capture from this node; None for metadata, output and other nodes.
    pub fn capture_kind(&self) -> Option<BufferKind> {
        let has = |bit| self.caps & bit != 0;
        match () {
            () if !has(CAP_STREAMING) => None,
            () if has(CAP_VIDEO_CAPTURE) => Some(BufferKind::Single),
            () if has(CAP_VIDEO_CAPTURE_MPLANE) => Some(BufferKind::Multi),
            () => None,
        }
    }

    /// A codec or scaler (memory to memory): never a camera, whatever else it claims.
    pub fn is_codec(&self) -> bool {
        self.caps & (CAP_VIDEO_M2M | CAP_VIDEO_M2M_MPLANE) != 0
    }
}

/// VIDIOC_ENUM_FMT.
#[derive(Clone, Debug)]
pub struct FormatDescription {
    pub fourcc: FourCc,
    pub text: String,
}

/// VIDIOC_ENUM_FRAMESIZES. A continuous range has step 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeRange {
    Discrete(Size),
    Range { min: Size, max: Size, step: Size },
}

/// VIDIOC_ENUM_FRAMEINTERVALS, as rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateRange {
    Discrete(FrameRate),
    Range { slowest: FrameRate, fastest: FrameRate },
}

/// One memory plane of a format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaneFormat {
    pub bytes_per_line: u32,
    pub size_image: u32,
}

/// VIDIOC_G_FMT / VIDIOC_S_FMT; enumerations as the driver's numbers (V4L2_COLORSPACE_*, ...), 0 for the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireFormat {
    pub fourcc: FourCc,
    pub size: Size,
    pub plane_count: usize,
    pub planes: [PlaneFormat; MAX_PLANES],
    pub colorspace: u32,
    pub ycbcr_enc: u32,
    pub quantization: u32,
}

impl WireFormat {
    /// A question to the driver: it fills in the rest.
    pub fn wanted(fourcc: FourCc, size: Size) -> WireFormat {
        WireFormat {
            fourcc,
            size,
            plane_count: 1,
            planes: [PlaneFormat::default(); MAX_PLANES],
            colorspace: 0,
            ycbcr_enc: 0,
            quantization: 0,
        }
    }
}

/// Where a memory plane of a buffer lies (VIDIOC_QUERYBUF).
#[derive(Clone, Copy, Debug, Default)]
pub struct PlaneMemory {
    pub length: usize,
    pub offset: u32,
}

/// A filled buffer (VIDIOC_DQBUF).
#[derive(Clone, Copy, Debug)]
pub struct Dequeued {
    pub index: u32,
    /// Per memory plane: where the data starts and ends.
    pub data: [(usize, usize); MAX_PLANES],
    /// V4L2_BUF_FLAG_ERROR: the data may be damaged.
    pub damaged: bool,
    /// None when the driver's clock is not the monotonic one.
    pub timestamp: Option<Micros>,
    pub sequence: u32,
}

/// What `poll` reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    pub readable: bool,
    pub event: bool,
    pub error: bool,
    pub hangup: bool,
    /// Somebody rang.
    pub bell: bool,
}

/// VIDIOC_QUERY_EXT_CTRL, or VIDIOC_QUERYCTRL of old drivers.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlDescription {
    pub id: u32,
    pub name: String,
    /// V4L2_CTRL_TYPE_*
    pub kind: u32,
    pub minimum: i64,
    pub maximum: i64,
    pub step: u64,
    pub default: i64,
    /// V4L2_CTRL_FLAG_*
    pub flags: u32,
}

/// VIDIOC_DQEVENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// V4L2_EVENT_SOURCE_CHANGE
    SourceChange,
    /// V4L2_EVENT_CTRL
    Control(ControlEvent),
    Other,
}

/// Something of a control is not as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlEvent {
    pub id: u32,
    /// None: it is the same.
    pub value: Option<i64>,
    /// V4L2_CTRL_FLAG_*, as they are now.
    pub flags: u32,
    /// Its range is another one: it must be asked for.
    pub range: bool,
}

/// A control's value as the kernel's structures carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Bits32,
    /// V4L2_CTRL_TYPE_INTEGER64
    Bits64,
}

/// The calls about controls. Vendors' drivers lack some of them, each for itself; what to do then is decided in
/// `v4l2_controls.rs`.
pub trait ControlCalls {
    /// VIDIOC_QUERY_EXT_CTRL of the control after `id`.
    fn next_control(&self, id: u32) -> io::Result<ControlDescription>;
    /// VIDIOC_QUERY_EXT_CTRL
    fn control(&self, id: u32) -> io::Result<ControlDescription>;
    /// VIDIOC_QUERYCTRL of the control after `id`.
    fn next_old_control(&self, id: u32) -> io::Result<ControlDescription>;
    /// VIDIOC_QUERYCTRL
    fn old_control(&self, id: u32) -> io::Result<ControlDescription>;
    /// VIDIOC_QUERYMENU: the name of a menu's item.
    fn menu_item(&self, id: u32, index: u32) -> io::Result<String>;
    /// VIDIOC_QUERYMENU: the number of an integer menu's item.
    fn menu_number(&self, id: u32, index: u32) -> io::Result<i64>;
    /// VIDIOC_G_EXT_CTRLS
    fn value(&self, id: u32, width: Width) -> io::Result<i64>;
    /// VIDIOC_G_CTRL
    fn control_value(&self, id: u32) -> io::Result<i32>;
    /// VIDIOC_S_EXT_CTRLS: the value the driver took.
    fn set_value(&self, id: u32, width: Width, value: i64) -> io::Result<i64>;
    /// VIDIOC_S_CTRL: the value the driver took.
    fn set_control_value(&self, id: u32, value: i32) -> io::Result<i32>;
    /// VIDIOC_SUBSCRIBE_EVENT, of changes by ourselves as well.
    fn subscribe_control(&self, id: u32) -> io::Result<()>;
}

/// The calls that reach the driver. None of them blocks longer than the driver takes to answer; `wait` waits.
pub trait Device: ControlCalls + Send + Sync {
    fn capability(&self) -> io::Result<Capability>;
    fn describe_format(&self, kind: BufferKind, index: u32) -> io::Result<FormatDescription>;
    fn frame_sizes(&self, fourcc: FourCc, index: u32) -> io::Result<SizeRange>;
    fn frame_rates(&self, fourcc: FourCc, size: Size, index: u32) -> io::Result<RateRange>;
    fn format(&self, kind: BufferKind) -> io::Result<WireFormat>;
    fn set_format(&self, kind: BufferKind, wanted: &WireFormat) -> io::Result<WireFormat>;
    /// The rate the driver took; None when it does not say.
    fn set_rate(&self, kind: BufferKind, wanted: FrameRate) -> io::Result<Option<FrameRate>>;
    fn request_buffers(&self, kind: BufferKind, count: u32) -> io::Result<u32>;
    fn buffer_memory(&self, kind: BufferKind, index: u32, planes: usize) -> io::Result<[PlaneMemory; MAX_PLANES]>;
    fn map(&self, memory: PlaneMemory) -> io::Result<Mapping>;
    fn export(&self, kind: BufferKind, index: u32, plane: usize) -> io::Result<OwnedFd>;
    fn queue(&self, kind: BufferKind, index: u32) -> io::Result<()>;
    fn dequeue(&self, kind: BufferKind) -> io::Result<Dequeued>;
    fn stream_on(&self, kind: BufferKind) -> io::Result<()>;
    fn stream_off(&self, kind: BufferKind) -> io::Result<()>;
    fn subscribe_source_change(&self) -> io::Result<()>;
    fn take_event(&self) -> io::Result<Event>;
    /// Waits for the driver; `bell` ends the wait as well.
    fn wait(&self, timeout: Duration, bell: Option<BorrowedFd>) -> io::Result<Ready>;
}
