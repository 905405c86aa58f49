//! The V4L2 encoder against a scripted device: every format, every missing control, every fault.

use super::m2m_fake::*;
use super::m2m_setup::{self, control};
use super::v4l2_m2m::V4l2M2m;
use super::{Encoded, Encoder};
use crate::config::EncoderConfig;
use crate::error::{ErrorKind, Result};
use crate::media::frame::{BufferPool, Colour, Frame, Layout, Matrix, PictureFormat, Range};
use crate::media::h264;
use crate::media::packet::AccessUnit;
use crate::units::{FrameRate, KbitPerSec, Micros, Size};
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use std::sync::Arc;

const SIZE: Size = Size { width: 160, height: 90 };
const COLOUR: Colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };

fn picture(layout: Layout, number: u64) -> Frame {
    let format = PictureFormat::packed(layout, SIZE, COLOUR);
    let pool = BufferPool::new(1, format.buffer_len());
    let mut frame = Frame::pooled(format, Micros(5_000_000 + number * 33_333), number, pool.take().unwrap());
    let [y, u, v] = frame.planes_mut();
    y.fill(luma(number));
    match layout {
        Layout::Nv12 => u.chunks_mut(2).for_each(|pair| pair.copy_from_slice(&[100, 150])),
        Layout::I420 => (u.fill(100), v.fill(150)).1,
    }
    frame
}

fn luma(number: u64) -> u8 {
    50 + (number % 8) as u8 * 20
}

fn open_for(codec: &Arc<FakeCodec>, layout: Layout) -> Result<V4l2M2m> {
    let format = PictureFormat::packed(layout, SIZE, COLOUR);
    let (config, rate) = (EncoderConfig::default(), FrameRate::per_second(30));
    m2m_setup::open(&codec.machine(), &config, &format, rate, codec.clock.clone())
}

fn open(codec: &Arc<FakeCodec>) -> V4l2M2m {
    open_for(codec, Layout::Nv12).expect("it opens")
}

fn encode(encoder: &mut V4l2M2m, number: u64) -> AccessUnit {
    let mut unit = AccessUnit::default();
    assert_eq!(encoder.encode(&picture(Layout::Nv12, number), &mut unit).expect("encodes"), Encoded::Unit);
    unit
}

fn nal_types(unit: &AccessUnit) -> Vec<u8> {
    h264::nal_units(&unit.bytes).map(h264::nal_type).collect()
}

/// Encodes pictures with a key picture asked for in the middle, and decodes them.
fn check_stream(encoder: &mut V4l2M2m, layout: Layout, what: &str) {
    let mut decoder = Decoder::new().unwrap();
    for number in 0..8 {
        if number == 5 {
            encoder.force_key();
            decoder = Decoder::new().unwrap();
        }
        let mut unit = AccessUnit::default();
        encoder.encode(&picture(layout, number), &mut unit).expect(what);
        assert_eq!(unit.key, number == 0 || number == 5, "{what}, picture {number}");
        if unit.key {
            assert_eq!(nal_types(&unit), [h264::NAL_SPS, h264::NAL_PPS, h264::NAL_IDR], "{what}");
        }
        let decoded = decoder.decode(&unit.bytes).expect(what).expect(what);
        let (stride, chroma, _) = decoded.strides();
        let found = [decoded.y()[89 * stride + 159], decoded.u()[44 * chroma + 79], decoded.v()[44 * chroma + 79]];
        let wanted = [luma(number), 100, 150];
        let near = found.iter().zip(wanted).all(|(found, wanted)| found.abs_diff(wanted) < 6);
        assert!(near, "{what}, picture {number}: {found:?}, not {wanted:?}");
        assert_eq!(decoded.dimensions(), (160, 90), "{what}");
    }
}

#[test]
fn every_raw_format_of_both_apis_gives_the_right_pictures() {
    let devices: [(u32, &[&[u8; 4]]); 6] = [
        (M2M, &[b"RGB3", b"YU12"]),
        (M2M, &[b"NV12"]),
        (M2M_MPLANE, &[b"NV12", b"YU12"]),
        (M2M_MPLANE, &[b"NM12"]),
        (M2M_MPLANE, &[b"YM12"]),
        (M2M | M2M_MPLANE, &[b"YU12"]),
    ];
    for (caps, raw) in devices {
        for layout in [Layout::Nv12, Layout::I420] {
            for align in [(1, 1), (64, 16)] {
                let codec = FakeCodec::new(caps, raw);
                codec.state().align = align;
                let mut encoder = open_for(&codec, layout).expect("it opens");
                check_stream(&mut encoder, layout, &format!("{caps:#x} {raw:?} {layout:?} {align:?}"));
                assert_eq!(encoder.take_copied(), 8);
            }
        }
    }
}

#[test]
fn calls_come_in_the_order_the_kernel_asks_for() {
    let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
    let mut encoder = open(&codec);
    encode(&mut encoder, 0);
    let state = codec.state();
    let mut calls: Vec<_> = state.calls.iter().map(String::as_str).collect();
    calls.iter_mut().filter(|call| call.starts_with("set_control")).for_each(|call| *call = "set_control");
    calls.retain(|call| !call.starts_with("map") && !call.starts_with("dequeue") && !call.starts_with("wait"));
    calls.dedup();
    let wanted = [
        "set_format Coded",
        "set_format Raw",
        "set_rate ",
        "set_crop ",
        "set_control",
        "request_buffers Raw",
        "request_buffers Coded",
        "queue Coded",
        "stream_on Raw",
        "stream_on Coded",
        "queue Raw",
        "queue Coded",
    ];
    assert_eq!(calls, wanted);
    assert_eq!((state.rate, state.crop), (Some(FrameRate::per_second(30)), Some(SIZE)));
}

#[test]
fn the_controls_say_what_is_wanted_within_their_range() {
    let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
    codec.state().controls.get_mut(&control::GOP_SIZE).unwrap().maximum = 250;
    let mut encoder = open(&codec);
    let value = |id| codec.state().set.get(&id).copied();
    let said = [control::BITRATE, control::BITRATE_MODE, control::GOP_SIZE, control::H264_LEVEL].map(value);
    assert_eq!(said, [Some(1_500_000), Some(1), Some(250), Some(8)]);
    let said = [control::B_FRAMES, control::H264_PROFILE, control::REPEAT_SEQ_HEADER].map(value);
    assert_eq!(said, [Some(0), Some(1), Some(1)]);
    encoder.set_bitrate(KbitPerSec(700)).expect("it is taken");
    assert_eq!(value(control::BITRATE), Some(700_000));
}

#[test]
fn every_control_and_every_optional_call_may_be_missing() {
    let all: Vec<u32> = FakeCodec::new(M2M, &[]).state().controls.keys().copied().collect();
    for missing in all.iter().map(|id| vec![*id]).chain([all.clone()]) {
        let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
        codec.state().controls.retain(|id, _| !missing.contains(id));
        check_stream(&mut open(&codec), Layout::Nv12, &format!("without {missing:x?}"));
    }
    let codec = FakeCodec::new(M2M, &[b"NV12"]);
    codec.state().refuse = [("set_rate", libc::ENOTTY), ("set_crop", libc::ENOTTY)].into();
    check_stream(&mut open(&codec), Layout::Nv12, "without rate and crop");
}

#[test]
fn headers_are_kept_and_put_in_front_of_key_pictures_that_come_without() {
    for header in [Header::Repeated, Header::Once, Header::Apart] {
        let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
        codec.state().header = header;
        check_stream(&mut open(&codec), Layout::Nv12, &format!("{header:?}"));
    }
    let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
    codec.state().header = Header::Never;
    let error = open(&codec).encode(&picture(Layout::Nv12, 0), &mut AccessUnit::default()).expect_err("no header");
    assert_eq!(error.to_string(), "v4l2_m2m: a key picture came without SPS and PPS: /dev/video11 (fake codec)");
}

#[test]
fn a_control_that_is_refused_while_streaming_is_set_between_two_streams() {
    let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
    codec.state().busy = vec![control::BITRATE, control::FORCE_KEY_FRAME];
    let mut encoder = open(&codec);
    check_stream(&mut encoder, Layout::Nv12, "busy controls");
    encoder.set_bitrate(KbitPerSec(900)).expect("it is taken");
    assert_eq!(codec.state().set.get(&control::BITRATE), Some(&900_000));
    assert!(encode(&mut encoder, 9).key, "a new stream begins with a key picture");
}

#[test]
fn drivers_without_stamps_and_pictures_that_come_late_are_told_apart() {
    let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
    codec.state().stamps = false;
    check_stream(&mut open(&codec), Layout::Nv12, "no stamps");
    let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
    let mut encoder = open(&codec);
    encode(&mut encoder, 0);
    codec.state().next = Next::Late;
    let unit = encode(&mut encoder, 1);
    assert!(unit.bytes.len() > 8 && !unit.bytes.ends_with(&[1, 2, 3]), "the late one is not taken for this one");
    // the same picture again, for a newcomer
    encode(&mut encoder, 1);
}

#[test]
fn every_fault_while_encoding_is_an_error_in_words() {
    let faults = [
        (Next::Failed, "v4l2_m2m: the driver could not encode a picture: /dev/video11 (fake codec)"),
        (Next::RawFailed, "v4l2_m2m: the driver could not read a picture: /dev/video11 (fake codec)"),
        (Next::Pipe, "v4l2_m2m: the driver ended the stream: /dev/video11 (fake codec)"),
        (Next::Last, "v4l2_m2m: the driver ended the stream: /dev/video11 (fake codec)"),
        (Next::Unknown, "v4l2_m2m: take a buffer back: /dev/video11 (fake codec): there is no buffer 99"),
    ];
    for (next, said) in faults {
        let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
        let mut encoder = open(&codec);
        encode(&mut encoder, 0);
        codec.state().next = next;
        let error = encoder.encode(&picture(Layout::Nv12, 1), &mut AccessUnit::default()).expect_err("a fault");
        assert_eq!(error.to_string(), said);
    }
}

#[test]
fn an_encoder_that_gives_nothing_is_stuck_after_a_second() {
    let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
    let mut encoder = open(&codec);
    encode(&mut encoder, 0);
    codec.state().swallow = 5;
    // the second finds a raw buffer left, the third none
    for number in 1..4 {
        let before = codec.clock.now();
        let error = encoder.encode(&picture(Layout::Nv12, number), &mut AccessUnit::default()).expect_err("stuck");
        assert_eq!(error.to_string(), "v4l2_m2m: stuck: nothing within 1.0 s: /dev/video11 (fake codec)");
        let waited = codec.clock.now().since(before);
        assert_eq!(waited.as_millis(), 1000);
    }
}

#[test]
fn a_wait_that_a_signal_ends_is_gone_on_with() {
    let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
    let mut encoder = open(&codec);
    codec.state().interrupted = true;
    codec.state().swallow = 1;
    let error = encoder.encode(&picture(Layout::Nv12, 0), &mut AccessUnit::default()).expect_err("stuck");
    assert_eq!(error.to_string(), "v4l2_m2m: stuck: nothing within 1.0 s: /dev/video11 (fake codec)");
}

#[test]
fn a_machine_without_an_encoder_says_so_and_one_that_refuses_says_why() {
    let none = [
        FakeCodec::new(0x0400_0001, &[b"NV12"]),
        FakeCodec::new(M2M & 0xffff, &[b"NV12"]),
        FakeCodec::new(M2M, &[b"RGB3"]),
    ];
    let decoder = FakeCodec::new(M2M, &[b"NV12"]);
    decoder.state().coded = vec![*b"FWHT"];
    for codec in none.iter().chain([&decoder]) {
        let error = open_for(codec, Layout::Nv12).err().expect("it does not open");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.to_string(), "v4l2_m2m: no V4L2 device on this machine encodes H.264");
    }
    let refusals = [
        ("set_format", "set the stream's format"),
        ("request_buffers", "request buffers"),
        ("map", "map a buffer"),
        ("queue", "queue a buffer for the stream"),
        ("stream_on", "start"),
    ];
    for (call, what) in refusals {
        let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
        codec.state().refuse.insert(call, libc::EINVAL);
        let error = open_for(&codec, Layout::Nv12).err().expect("it does not open");
        let said = format!("v4l2_m2m: {what}: /dev/video11 (fake codec): Invalid argument (os error 22)");
        assert_eq!(error.to_string(), said);
    }
}

#[test]
fn a_rounded_height_that_cannot_be_cropped_and_absurd_answers_are_refused() {
    let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
    codec.state().align = (1, 16);
    codec.state().refuse.insert("set_crop", libc::ENOTTY);
    let error = open_for(&codec, Layout::Nv12).err().expect("it does not open").to_string();
    assert!(error.starts_with("v4l2_m2m: encode 160x90 out of 160x96: /dev/video11 (fake codec): "), "{error}");
    for granted in [0, 33] {
        let codec = FakeCodec::new(M2M_MPLANE, &[b"NV12"]);
        codec.state().granted = Some(granted);
        let error = open_for(&codec, Layout::Nv12).err().expect("it does not open").to_string();
        assert!(error.ends_with(&format!("the driver granted {granted}")), "{error}");
    }
}
