//! The words of the trade, floor 0: pictures, access units, H.264 bytes, the picture timecode, the kernel's V4L2 words.

pub mod frame;
pub mod frame_sys;
pub mod h264;
pub mod ioctl_sys;
pub(crate) mod mapping_sys;
pub mod packet;
pub mod srtp;
pub mod timecode;
pub mod v4l2_abi;
