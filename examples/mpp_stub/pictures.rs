//! Pictures read from callers' buffers, and their H.264.

use crate::objects::{Buffer, Frame};
use crate::{Context, add, get, set, violation};
use openh264::encoder as oh;
use openh264::formats::YUVBuffer;
use openh264::{OpenH264API, Timestamp};
use openh264_sys2::{ENCODER_OPTION_BITRATE, ENCODER_OPTION_MAX_BITRATE, SBitrateInfo, SPATIAL_LAYER_0};
use std::ptr::from_mut;

/// SPS and PPS with their start codes.
pub fn header_of(unit: &[u8]) -> Vec<u8> {
    let idr = unit.windows(5).position(|five| five[..4] == [0, 0, 0, 1] && five[4] & 31 == 5);
    unit[..idr.unwrap_or(0)].to_vec()
}

fn number(context: &Context, key: &str) -> usize {
    context.config.as_ref().and_then(|config| config.0.get(key)).map_or(0, |value| (*value).max(0) as usize)
}

pub fn grey(context: &Context) -> YUVBuffer {
    let size = (number(context, "prep:width"), number(context, "prep:height"));
    YUVBuffer::from_vec(vec![128; size.0 * size.1 * 3 / 2], size.0, size.1)
}

pub fn encode(context: &mut Context, picture: &YUVBuffer, key: bool) -> Vec<u8> {
    let rate = number(context, "rc:bps_target") as i64;
    if context.encoder.is_none() {
        context.encoder_rate = rate;
        context.encoder = Some(open_encoder(context, rate));
    }
    let changed = context.encoder_rate != rate;
    let encoder = context.encoder.as_mut().expect("it was just made");
    if changed {
        let order = match rate > context.encoder_rate {
            true => [ENCODER_OPTION_MAX_BITRATE, ENCODER_OPTION_BITRATE],
            false => [ENCODER_OPTION_BITRATE, ENCODER_OPTION_MAX_BITRATE],
        };
        for option in order {
            let mut info = SBitrateInfo { iLayer: SPATIAL_LAYER_0, iBitrate: rate as i32 };
            unsafe { encoder.raw_api().set_option(option, from_mut(&mut info).cast()) };
        }
        context.encoder_rate = rate;
    }
    if key {
        encoder.force_intra_frame();
    }
    add("pictures", 1);
    let at = Timestamp::from_millis(33 * get("pictures") as u64);
    encoder.encode_at(picture, at).expect("openh264 encodes").to_vec()
}

fn open_encoder(context: &Context, rate: i64) -> oh::Encoder {
    let fps = number(context, "rc:fps_in_num") as f32 / get_seconds(context) as f32;
    let settings = oh::EncoderConfig::new()
        .usage_type(oh::UsageType::CameraVideoRealTime)
        .profile(oh::Profile::Baseline)
        .rate_control_mode(oh::RateControlMode::Timestamp)
        .bitrate(oh::BitRate::from_bps(rate as u32))
        .max_frame_rate(oh::FrameRate::from_hz(fps))
        .skip_frames(true)
        .sps_pps_strategy(oh::SpsPpsStrategy::ConstantId)
        .intra_frame_period(oh::IntraFramePeriod::from_num_frames(number(context, "rc:gop") as u32))
        .num_threads(1)
        .scene_change_detect(false);
    oh::Encoder::with_api_config(OpenH264API::from_source(), settings).expect("openh264 opens")
}

fn get_seconds(context: &Context) -> usize {
    number(context, if get("old_keys") != 0 { "rc:fps_in_denorm" } else { "rc:fps_in_denom" }).max(1)
}

pub unsafe fn read_picture(context: &Context, frame: &Frame) -> Option<YUVBuffer> {
    let of = |key| number(context, key);
    let (width, height) = (frame.width as usize, frame.height as usize);
    let (stride, rows) = (frame.hor_stride as usize, frame.ver_stride as usize);
    let same = (width, height, stride, rows)
        == (of("prep:width"), of("prep:height"), of("prep:hor_stride"), of("prep:ver_stride"));
    if !same || frame.format != 0 || stride % 8 != 0 || stride < width || rows < height || frame.buffer.is_null() {
        violation("a picture of another geometry than the settings'");
        return None;
    }
    let buffer = unsafe { &*frame.buffer.cast::<Buffer>() };
    if stride * (rows + height / 2 - 1) + width > buffer.size {
        violation("a picture bigger than its buffer");
        return None;
    }
    set("last_pts", frame.pts);
    add(if buffer.imported { "pictures_imported" } else { "pictures_own" }, 1);
    let bytes = unsafe { std::slice::from_raw_parts(buffer.start, buffer.size) };
    let (luma, chroma) = bytes.split_at(stride * rows);
    let mut planes: Vec<u8> = luma.chunks(stride).take(height).flat_map(|row| &row[..width]).copied().collect();
    let rows = || chroma.chunks(stride).take(height / 2);
    for first in [0, 1] {
        planes.extend(rows().flat_map(|row| row[first..width].iter().step_by(2)));
    }
    Some(YUVBuffer::from_vec(planes, width, height))
}
