//! The openh264 options that the safe wrapper does not offer.
//!
//! Owns the calls of its raw interface. Must never keep a pointer past a call. Input: `openh264.rs`.

use crate::error::{Error, ErrorKind, Result};
use crate::units::KbitPerSec;
use openh264::encoder::Encoder;
use openh264_sys2::{
    ENCODER_OPTION, ENCODER_OPTION_BITRATE, ENCODER_OPTION_MAX_BITRATE, SBitrateInfo, SPATIAL_LAYER_0,
};
use std::ptr::from_mut;

/// Sets target and ceiling, in the order in which the target never exceeds the ceiling (openh264 refuses that). The
/// encoder must have encoded a picture before (the wrapper starts it then).
pub fn set_bitrate(encoder: &mut Encoder, from: KbitPerSec, to: KbitPerSec) -> Result<()> {
    let order = match to > from {
        true => [ENCODER_OPTION_MAX_BITRATE, ENCODER_OPTION_BITRATE],
        false => [ENCODER_OPTION_BITRATE, ENCODER_OPTION_MAX_BITRATE],
    };
    order.into_iter().try_for_each(|option| set_rate(encoder, option, to))
}

fn set_rate(encoder: &mut Encoder, option: ENCODER_OPTION, rate: KbitPerSec) -> Result<()> {
    let bits = i32::try_from(rate.bits_per_sec()).unwrap_or(i32::MAX);
    let mut info = SBitrateInfo { iLayer: SPATIAL_LAYER_0, iBitrate: bits };
    // SAFETY: these options read one SBitrateInfo, which lives until after the call; the encoder is not in another
    // call, since we hold it mutably.
    let code = unsafe { encoder.raw_api().set_option(option, from_mut(&mut info).cast()) };
    match code {
        0 => Ok(()),
        _ => Err(Error::new(ErrorKind::Unsupported, format!("openh264: set bit rate to {rate}: error {code}"))),
    }
}
