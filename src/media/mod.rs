//! The words of the trade, floor 0: pictures, access units, H.264 bytes, the picture timecode.

pub mod frame;
pub mod frame_sys;
pub mod h264;
pub mod packet;
pub mod timecode;
