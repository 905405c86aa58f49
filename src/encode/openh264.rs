//! The software encoder: openh264, one slice, constrained baseline, made for real time.
//!
//! Owns its settings and how a frame's planes reach it: by pointer, only NV12 chroma is rewritten. Must never allocate
//! per frame or change the frame. Input: frames of one format.

use super::chroma_sys::ChromaPlanes;
use super::{Encoded, Encoder, openh264_sys};
use crate::config::EncoderConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::{Colour, Frame, Layout, Matrix, PictureFormat, Range};
use crate::media::h264;
use crate::media::packet::AccessUnit;
use crate::units::{FrameRate, KbitPerSec};
use openh264::encoder as oh;
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};

pub const NAME: &str = "openh264";

const OPENING_BITS_PER_PIXEL: f64 = 0.12;
/// Blocks that are like those of the picture before are not coded again. That saves half of the time, and leaves specks
/// behind things that move slowly over a smooth ground: what changed a little in each picture was never coded. Measured over
/// the test pattern: 5 of 1200 blocks off by up to 8 levels of chroma, none without the detection for 75 % more time (80 to
/// 165 % on real and on noisy pictures). Real clips that come to rest show none: 41 to 47 dB, no block's mean error above 6
/// levels. Nothing in between was better. A key picture every 2 s leaves a tenth of the specks for 5 to 13 % more time, and
/// is a burst that viewers wait for; that is `encoder.key_interval_s`, for those who mind. A key picture when the clips come
/// to rest gains 2 dB on one and loses 1.4 on another. One level more luma in one picture a second, so that no block is
/// like before, does it for 15 %, but makes predicted pictures of 58 KB where there is detail. A higher complexity and
/// twice the bit rate change nothing.
const BACKGROUND_DETECTION: bool = true;

pub struct OpenH264 {
    encoder: oh::Encoder,
    format: PictureFormat,
    chroma: Option<ChromaPlanes>,
    rate: KbitPerSec,
    /// A rate asked for before the first picture: openh264 takes none before it is started.
    new_rate: Option<KbitPerSec>,
    /// An IDR was asked for and has not come out yet.
    key_wanted: bool,
    /// Of the last picture; openh264's rate control counts on rising time.
    last_ms: Option<u64>,
}

pub fn open(config: &EncoderConfig, format: &PictureFormat, rate: FrameRate) -> Result<Box<dyn Encoder>> {
    let chroma = match format.layout {
        Layout::Nv12 => Some(ChromaPlanes::new(format)?),
        Layout::I420 => None,
    };
    let opening = opening_rate(config.bitrate_kbps, format, rate);
    let encoder =
        oh::Encoder::with_api_config(OpenH264API::from_source(), settings(config, opening, format.colour, rate))
            .map_err(|cause| {
                Error::new(ErrorKind::Unsupported, format!("openh264: open for {}", format.size)).because(cause)
            })?;
    Ok(Box::new(OpenH264 {
        encoder,
        format: *format,
        chroma,
        rate: opening,
        new_rate: Some(config.bitrate_kbps).filter(|rate| *rate != opening),
        key_wanted: true,
        last_ms: None,
    }))
}

/// openh264 takes the quality of its very first picture from the bit rate alone, without a look at it: 39 KB for a busy
/// one at 640x480 and 1.5 Mbit/s. From a lower rate it starts coarser (29 KB), and the full rate holds from the second.
fn opening_rate(full: KbitPerSec, format: &PictureFormat, rate: FrameRate) -> KbitPerSec {
    let pixels = f64::from(format.size.width) * f64::from(format.size.height);
    let kbit = OPENING_BITS_PER_PIXEL * pixels * rate.as_f64() / 1000.0;
    full.min(KbitPerSec(kbit.ceil() as u32))
}

fn settings(config: &EncoderConfig, opening: KbitPerSec, colour: Colour, rate: FrameRate) -> oh::EncoderConfig {
    let fps = rate.as_f64() as f32;
    let bits = u32::try_from(opening.bits_per_sec()).unwrap_or(u32::MAX);
    let key_interval = (f64::from(config.key_interval_s) * rate.as_f64()).ceil().max(1.0) as u32;
    oh::EncoderConfig::new()
        .usage_type(oh::UsageType::CameraVideoRealTime)
        .profile(oh::Profile::Baseline)
        .complexity(oh::Complexity::Low)
        // a leaky bucket over real time. On real footage it beat Bitrate mode: 40.0 / 43.6 / 46.0 dB against 39.1 / 41.0 /
        // 45.9, key pictures of at most 32 KB against 36, 2 pictures left out against 9; for 5 % more bits
        .rate_control_mode(oh::RateControlMode::Timestamp)
        .bitrate(oh::BitRate::from_bps(bits))
        .max_frame_rate(oh::FrameRate::from_hz(fps))
        .skip_frames(true)
        .sps_pps_strategy(oh::SpsPpsStrategy::ConstantId)
        .intra_frame_period(oh::IntraFramePeriod::from_num_frames(key_interval))
        .num_threads(1)
        // a cut is cheap as predicted blocks; an IDR for it would be a spike that viewers wait for
        .scene_change_detect(false)
        .background_detection(BACKGROUND_DETECTION)
        // whatever is asked for: this version of openh264 turns it off by itself
        .adaptive_quantization(false)
        .vui(colour_description(colour))
}

/// Range and matrix as the SPS tells them (H.264 E.2.1). Cameras say nothing of primaries and transfer; the ones that
/// belong to the matrix are what browsers assume anyway.
fn colour_description(colour: Colour) -> oh::VuiConfig {
    let description = match colour.matrix {
        Matrix::Bt601 => oh::VuiConfig::bt601(),
        Matrix::Bt709 => oh::VuiConfig::bt709(),
    };
    description.full_range(colour.range == Range::Full)
}

impl Encoder for OpenH264 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn encode(&mut self, frame: &Frame, out: &mut AccessUnit) -> Result<Encoded> {
        if frame.format != self.format {
            return Err(Error::new(ErrorKind::Internal, "openh264: the frame has another format than the encoder"));
        }
        self.prepare()?;
        let at = self.next_ms(frame);
        let planes = planar(frame, self.chroma.as_mut())?;
        let stream = self.encoder.encode_at(&planes, Timestamp::from_millis(at)).map_err(|cause| {
            Error::new(ErrorKind::Io, format!("openh264: encode {}", frame.format.size)).because(cause)
        })?;
        let before = out.bytes.len();
        out.key = stream.frame_type() == oh::FrameType::IDR;
        stream.write_vec(&mut out.bytes);
        if out.bytes.len() == before {
            return Ok(Encoded::Skipped);
        }
        if out.key {
            self.key_wanted = false;
            h264::declare_constrained_baseline(&mut out.bytes[before..]);
        }
        Ok(Encoded::Unit)
    }

    fn force_key(&mut self) {
        self.key_wanted = true;
    }

    fn set_bitrate(&mut self, rate: KbitPerSec) -> Result<()> {
        self.new_rate = Some(rate);
        if self.last_ms.is_some() { self.prepare_rate() } else { Ok(()) }
    }
}

impl OpenH264 {
    /// Hands openh264 what was asked for since the last picture. Before the first one it is not started: the first is
    /// an IDR by itself.
    fn prepare(&mut self) -> Result<()> {
        if self.last_ms.is_none() {
            return Ok(());
        }
        if self.key_wanted {
            self.encoder.force_intra_frame();
        }
        self.prepare_rate()
    }

    fn prepare_rate(&mut self) -> Result<()> {
        if let Some(rate) = self.new_rate.take() {
            openh264_sys::set_bitrate(&mut self.encoder, self.rate, rate)?;
            self.rate = rate;
        }
        Ok(())
    }

    fn next_ms(&mut self, frame: &Frame) -> u64 {
        let captured = frame.captured_at.0 / 1000;
        let at = self.last_ms.map_or(captured, |last| captured.max(last + 1));
        *self.last_ms.insert(at)
    }
}

struct Planar<'a> {
    size: (usize, usize),
    strides: (usize, usize, usize),
    planes: [&'a [u8]; 3],
}

fn planar<'a>(frame: &'a Frame, chroma: Option<&'a mut ChromaPlanes>) -> Result<Planar<'a>> {
    let format = &frame.format;
    let size = (format.size.width as usize, format.size.height as usize);
    let planes = frame.planes();
    let Some(chroma) = chroma else {
        return Ok(Planar { size, strides: (format.strides[0], format.strides[1], format.strides[2]), planes });
    };
    chroma.fill(planes[1], format.strides[1])?;
    let stride = chroma.stride();
    let [u, v] = chroma.planes()?;
    Ok(Planar { size, strides: (format.strides[0], stride, stride), planes: [planes[0], u, v] })
}

impl YUVSource for Planar<'_> {
    fn dimensions(&self) -> (usize, usize) {
        self.size
    }
    fn strides(&self) -> (usize, usize, usize) {
        self.strides
    }
    fn y(&self) -> &[u8] {
        self.planes[0]
    }
    fn u(&self) -> &[u8] {
        self.planes[1]
    }
    fn v(&self) -> &[u8] {
        self.planes[2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::BufferPool;
    use crate::units::{Micros, Size};
    use openh264::decoder::Decoder;

    const LIMITED_601: Colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
    const SIZE: Size = Size { width: 320, height: 240 };

    fn format(layout: Layout) -> PictureFormat {
        PictureFormat::packed(layout, SIZE, LIMITED_601)
    }

    fn encoder(format: &PictureFormat) -> Box<dyn Encoder> {
        open(&EncoderConfig::default(), format, FrameRate::per_second(30)).expect("openh264 opens")
    }

    /// A picture of `noise` bits of noise over a gradient that moves with `number`.
    fn picture(format: PictureFormat, number: u64, noise: u32) -> Frame {
        let pool = BufferPool::new(1, format.buffer_len());
        let at = Micros(1_000_000 + number * 33_333);
        let mut frame = Frame::pooled(format, at, number, pool.take().expect("one buffer is free"));
        let mut seed = number as u32 + 1;
        let stride = format.strides[0];
        for (at, pixel) in frame.planes_mut()[0].iter_mut().enumerate() {
            seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
            let speckle = (u64::from(seed) >> 8 & ((1 << noise) - 1)) as u8;
            *pixel = 40 + (((at % stride) as u64 / 2 + (at / stride) as u64 / 4 + number) % 128) as u8 + speckle;
        }
        let [_, u, v] = frame.planes_mut();
        match format.layout {
            Layout::I420 => {
                u.fill(90);
                v.fill(160);
            }
            Layout::Nv12 => u.chunks_mut(2).for_each(|pair| pair.copy_from_slice(&[90, 160])),
        }
        frame
    }

    fn encode(encoder: &mut dyn Encoder, frame: &Frame) -> AccessUnit {
        let mut unit = AccessUnit::default();
        assert_eq!(encoder.encode(frame, &mut unit).expect("encodes"), Encoded::Unit);
        unit
    }

    fn nal_types(unit: &AccessUnit) -> Vec<u8> {
        h264::nal_units(&unit.bytes).map(h264::nal_type).collect()
    }

    fn sps(unit: &AccessUnit) -> Vec<u8> {
        h264::nal_units(&unit.bytes).next().expect("a key unit starts with its SPS").to_vec()
    }

    #[test]
    fn every_idr_carries_the_same_sps_and_pps_and_is_one_slice() {
        let format = format(Layout::I420);
        let mut encoder = encoder(&format);
        let first = encode(&mut *encoder, &picture(format, 0, 2));
        assert!(first.key);
        assert_eq!(nal_types(&first), [h264::NAL_SPS, h264::NAL_PPS, h264::NAL_IDR]);
        for number in 1..10 {
            if number == 7 {
                encoder.force_key();
            }
            let unit = encode(&mut *encoder, &picture(format, number, 2));
            assert_eq!(unit.key, number == 7, "picture {number}");
            match unit.key {
                true => assert_eq!((nal_types(&unit), sps(&unit)), (nal_types(&first), sps(&first))),
                false => assert_eq!(nal_types(&unit), [h264::NAL_SLICE]),
            }
        }
    }

    #[test]
    fn the_sps_declares_constrained_baseline() {
        let format = format(Layout::I420);
        let unit = encode(&mut *encoder(&format), &picture(format, 0, 2));
        let [profile, flags, _] = h264::profile_level_id(&sps(&unit)).expect("an SPS");
        assert_eq!((profile, flags), (0x42, 0xe0));
    }

    #[test]
    fn both_layouts_and_padded_rows_give_the_same_picture() {
        let packed = format(Layout::I420);
        let mut padded = packed;
        padded.strides = [384, 192, 192];
        for (format, tolerance) in [(packed, 6), (padded, 6), (format(Layout::Nv12), 6)] {
            let frame = picture(format, 0, 0);
            let unit = encode(&mut *encoder(&format), &frame);
            let mut decoder = Decoder::new().expect("decoder");
            let decoded = decoder.decode(&unit.bytes).expect("decodes").expect("a picture");
            assert_eq!(decoded.dimensions(), (320, 240));
            let (stride, chroma_stride, _) = decoded.strides();
            for (x, y) in [(10, 10), (300, 20), (160, 200)] {
                let wanted = frame.planes()[0][y * format.strides[0] + x];
                assert!(decoded.y()[y * stride + x].abs_diff(wanted) <= tolerance, "luma at {x},{y}");
                let at = y / 2 * chroma_stride + x / 2;
                assert!(decoded.u()[at].abs_diff(90) <= 3 && decoded.v()[at].abs_diff(160) <= 3, "chroma at {x},{y}");
            }
        }
    }

    #[test]
    fn range_and_matrix_are_told_in_the_sps() {
        let told = [
            (Matrix::Bt601, Range::Limited),
            (Matrix::Bt601, Range::Full),
            (Matrix::Bt709, Range::Limited),
            (Matrix::Bt709, Range::Full),
        ]
        .map(|(matrix, range)| {
            let format = PictureFormat::packed(Layout::I420, SIZE, Colour { matrix, range });
            let sps = sps(&encode(&mut *encoder(&format), &picture(format, 0, 0)));
            video_signal_type(&sps).expect("the SPS has a VUI with a video signal type")
        });
        assert_eq!(told, [(false, 6), (true, 6), (false, 1), (true, 1)]);
    }

    /// video_full_range_flag and matrix_coefficients of a Baseline SPS (H.264 7.3.2.1.1 and E.1.1).
    fn video_signal_type(sps: &[u8]) -> Option<(bool, u64)> {
        let mut unescaped: Vec<u8> = Vec::new();
        for &byte in &sps[4..] {
            match unescaped[..] {
                [.., 0, 0] if byte == 3 => unescaped.extend([0xaa]),
                _ => unescaped.push(byte),
            }
        }
        let bytes: Vec<u8> = unescaped;
        let mut at = 0;
        let mut bits = |count: usize| {
            (0..count).fold(0u64, |value, _| {
                let bit = bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
                at += 1;
                value << 1 | u64::from(bit)
            })
        };
        let exp_golomb = |bits: &mut dyn FnMut(usize) -> u64| {
            let zeros = (0..32).take_while(|_| bits(1) == 0).count();
            (1 << zeros) - 1 + bits(zeros)
        };
        exp_golomb(&mut bits); // seq_parameter_set_id
        exp_golomb(&mut bits); // log2_max_frame_num_minus4
        if exp_golomb(&mut bits) == 0 {
            exp_golomb(&mut bits); // log2_max_pic_order_cnt_lsb_minus4
        }
        exp_golomb(&mut bits); // max_num_ref_frames
        bits(1); // gaps_in_frame_num_value_allowed_flag
        exp_golomb(&mut bits); // pic_width_in_mbs_minus1
        exp_golomb(&mut bits); // pic_height_in_map_units_minus1
        bits(2); // frame_mbs_only_flag, direct_8x8_inference_flag
        if bits(1) == 1 {
            let _cropping: [u64; 4] = std::array::from_fn(|_| exp_golomb(&mut bits));
        }
        let vui = bits(1) == 1 && bits(1) == 0 && bits(1) == 0; // no aspect ratio, no overscan info
        if !vui || bits(1) == 0 {
            return None;
        }
        bits(3); // video_format
        let full = bits(1) == 1;
        (bits(1) == 1).then(|| {
            bits(16); // primaries, transfer
            (full, bits(8))
        })
    }

    #[test]
    fn a_changed_bit_rate_takes_effect() {
        let format = format(Layout::I420);
        let mut encoder = encoder(&format);
        let bytes_of = |encoder: &mut dyn Encoder, numbers: std::ops::Range<u64>| -> usize {
            let count = |number| {
                let mut unit = AccessUnit::default();
                encoder.encode(&picture(format, number, 6), &mut unit).expect("encodes");
                unit.bytes.len()
            };
            numbers.map(count).sum()
        };
        bytes_of(&mut *encoder, 0..15);
        let before = bytes_of(&mut *encoder, 15..45);
        encoder.set_bitrate(KbitPerSec(300)).expect("a lower rate");
        bytes_of(&mut *encoder, 45..60);
        let low = bytes_of(&mut *encoder, 60..90);
        encoder.set_bitrate(KbitPerSec(3000)).expect("a higher rate");
        bytes_of(&mut *encoder, 90..105);
        let high = bytes_of(&mut *encoder, 105..135);
        assert!(low * 2 < before && high > before * 3 / 2, "1500: {before}, 300: {low}, 3000: {high} bytes/s");
    }

    /// openh264 reckons in 32 bits: from 43 Mbit/s on its bucket has a negative size, and every picture is left out.
    #[test]
    fn at_the_highest_rate_a_config_may_ask_for_no_picture_is_left_out() {
        let format = format(Layout::I420);
        let most =
            (1..).map(|step| step * 1000).take_while(|kbit| accepted(*kbit)).last().expect("1000 kbit/s is fine");
        let config = EncoderConfig { bitrate_kbps: KbitPerSec(most), ..EncoderConfig::default() };
        let mut encoder = open(&config, &format, FrameRate::per_second(30)).expect("openh264 opens");
        (0..10).for_each(|number| drop(encode(&mut *encoder, &picture(format, number, 4))));
    }

    fn accepted(kbit: u32) -> bool {
        crate::config::parse("", "", &[format!("encoder.bitrate_kbps={kbit}")]).is_ok()
    }

    #[test]
    fn time_that_stands_still_or_goes_back_does_not_stop_the_encoder() {
        let format = format(Layout::Nv12);
        let mut encoder = encoder(&format);
        for number in [50, 50, 3, 51] {
            encode(&mut *encoder, &picture(format, number, 0));
        }
    }

    #[test]
    fn a_frame_of_another_format_is_refused() {
        let mut encoder = encoder(&format(Layout::Nv12));
        let frame = picture(format(Layout::I420), 0, 0);
        assert!(encoder.encode(&frame, &mut AccessUnit::default()).is_err());
    }

    #[test]
    fn a_size_beyond_the_codec_is_an_error_in_words() {
        let format = PictureFormat::packed(Layout::I420, Size { width: 4096, height: 4096 }, LIMITED_601);
        let frame = picture(format, 0, 0);
        let error = encoder(&format).encode(&frame, &mut AccessUnit::default()).expect_err("too big");
        assert!(error.to_string().starts_with("openh264: encode 4096x4096: "), "{error}");
    }
}
