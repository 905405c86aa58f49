//! A V4L2 encoder device (stateful, memory to memory) as `v4l2_m2m.rs` sees it: one trait and its plain types.
//!
//! `m2m_sys.rs` fulfils it with the kernel's ioctls, tests with a script. Names follow the kernel's dev-encoder.rst.
//! Must never know what is encoded or why.

use crate::media::frame::Colour;
use crate::units::{FrameRate, Micros, Size};
use std::io;
use std::time::Duration;

pub type FourCc = [u8; 4];

/// The most memory planes of a raw format we feed: YM12.
pub const MAX_PLANES: usize = 3;

const CAP_VIDEO_M2M_MPLANE: u32 = 0x0000_4000;
const CAP_VIDEO_M2M: u32 = 0x0000_8000;
const CAP_STREAMING: u32 = 0x0400_0000;

/// The kernel counts from the memory's side: OUTPUT goes into the device, CAPTURE comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// OUTPUT: pictures.
    Raw,
    /// CAPTURE: the stream.
    Coded,
}

/// Which of V4L2's two APIs the device speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Single,
    Multi,
}

/// How to drive a device of these capabilities; None for what is no codec.
pub fn api_of(caps: u32) -> Option<Api> {
    let has = |bit| caps & bit != 0;
    match () {
        () if !has(CAP_STREAMING) => None,
        () if has(CAP_VIDEO_M2M_MPLANE) => Some(Api::Multi),
        () if has(CAP_VIDEO_M2M) => Some(Api::Single),
        () => None,
    }
}

/// VIDIOC_S_FMT. `planes`: bytes per line and size of each memory plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireFormat {
    pub fourcc: FourCc,
    pub size: Size,
    pub planes: Vec<(usize, usize)>,
    /// None on the coded side.
    pub colour: Option<Colour>,
}

/// VIDIOC_QUERYCTRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlRange {
    pub minimum: i32,
    pub maximum: i32,
}

/// A buffer that came back (VIDIOC_DQBUF).
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    pub index: u32,
    /// Where the data of plane 0 starts and ends.
    pub data: (usize, usize),
    pub timestamp: Micros,
    pub failed: bool,
    /// V4L2_BUF_FLAG_LAST: nothing comes after it.
    pub last: bool,
}

/// Mapped memory of one plane of one buffer.
pub trait PlaneMemory: Send {
    /// Only of buffers that are not queued.
    fn bytes(&self) -> &[u8];
    fn bytes_mut(&mut self) -> &mut [u8];
}

/// The calls that reach the driver. Only `wait` waits.
pub trait Device: Send {
    /// The card's name and its capabilities.
    fn capability(&self) -> io::Result<(String, u32)>;
    fn describe_format(&self, api: Api, side: Side, index: u32) -> io::Result<FourCc>;
    fn set_format(&self, api: Api, side: Side, wanted: &WireFormat) -> io::Result<WireFormat>;
    /// Of the raw side: what the rate control counts with.
    fn set_rate(&self, api: Api, rate: FrameRate) -> io::Result<()>;
    /// The part of the raw picture that is encoded, from its left upper corner.
    fn set_crop(&self, api: Api, size: Size) -> io::Result<()>;
    /// None for a control that is switched off.
    fn control_range(&self, id: u32) -> io::Result<Option<ControlRange>>;
    fn set_control(&self, id: u32, value: i32) -> io::Result<()>;
    fn request_buffers(&self, api: Api, side: Side, count: u32) -> io::Result<u32>;
    fn map(&self, api: Api, side: Side, index: u32, planes: usize) -> io::Result<Vec<Box<dyn PlaneMemory>>>;
    /// `used`: bytes of data in each plane; none on the coded side.
    fn queue(&self, api: Api, side: Side, index: u32, used: &[usize], timestamp: Micros) -> io::Result<()>;
    fn dequeue(&self, api: Api, side: Side) -> io::Result<Done>;
    fn stream_on(&self, api: Api, side: Side) -> io::Result<()>;
    fn stream_off(&self, api: Api, side: Side) -> io::Result<()>;
    /// Until a buffer of either side is done, or the time is over.
    fn wait(&self, timeout: Duration) -> io::Result<()>;
}
