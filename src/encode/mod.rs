//! H.264 encoders behind one trait, and the table of backends.
//!
//! A new backend is one new file and one row in `ENCODERS`. Input: frames with their overlay already on.

use crate::config::EncoderConfig;
use crate::error::Result;
use crate::media::frame::{Frame, PictureFormat};
use crate::media::packet::AccessUnit;
use crate::units::{FrameRate, KbitPerSec};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// `out.bytes` and `out.key` are filled. Every IDR carries SPS and PPS; constrained baseline, no B frames.
    Unit,
    /// The rate control left this picture out.
    Skipped,
}

pub trait Encoder: Send {
    /// For logs and the status page: `openh264`.
    fn name(&self) -> &'static str;

    /// Encodes one picture of the format the encoder was opened with. Fills `bytes` and `key` of `out`, nothing else.
    fn encode(&mut self, frame: &Frame, out: &mut AccessUnit) -> Result<Encoded>;

    /// Makes the next picture an IDR.
    fn force_key(&mut self);

    /// Takes effect within a few pictures.
    fn set_bitrate(&mut self, rate: KbitPerSec) -> Result<()>;
}

/// One row per backend.
pub struct EncoderKind {
    pub name: &'static str,
    pub open: fn(&EncoderConfig, &PictureFormat, FrameRate) -> Result<Box<dyn Encoder>>,
}
