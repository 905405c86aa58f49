//! Pictures in, access units out: without a copy where they lie in one camera buffer, the right ones in any case.

use crate::camera_sys::*;
use crate::stub::*;
use openh264::decoder::Decoder;
use rtcam::config::{EncoderConfig, PlaneHeight};
use rtcam::encode::{self, Encoded, Encoder};
use rtcam::media::frame::{BufferPool, Frame, Layout, PictureFormat};
use rtcam::media::h264;
use rtcam::media::packet::AccessUnit;
use rtcam::units::{FrameRate, Micros, Size};

const COLOURS: [[u8; 3]; 4] = [[60, 100, 150], [120, 90, 160], [200, 128, 128], [90, 160, 90]];

pub fn encode(encoder: &mut dyn Encoder, frame: &Frame) -> AccessUnit {
    let mut unit = AccessUnit::default();
    assert_eq!(encoder.encode(frame, &mut unit).expect("it encodes"), Encoded::Unit);
    unit
}

fn open(stub: &Stub, format: &PictureFormat) -> Box<dyn Encoder> {
    encode::open(&stub.config(), format, FrameRate::per_second(30)).expect("it opens")
}

fn nal_types(unit: &AccessUnit) -> Vec<u8> {
    h264::nal_units(&unit.bytes).map(h264::nal_type).collect()
}

#[test]
fn camera_buffers_are_imported_once_and_never_copied() {
    let stub = Stub::new();
    // the height is no multiple of 16, the rows are padded
    let queue = Queue::new(nv12(320, 180, 384), 3);
    let mut encoder = open(&stub, &queue.format);
    let mut decoder = Decoder::new().unwrap();
    for number in 0..12 {
        let colour = COLOURS[number as usize % 4];
        let frame = queue.frame(colour, Micros(1_000_000 + number * 33_333), number).unwrap();
        let unit = encode(&mut *encoder, &frame);
        assert_eq!(queue.free(), 2, "the buffer is ours until the frame is dropped");
        drop(frame);
        assert_eq!(unit.key, number == 0);
        let found = pixel(&mut decoder, &unit, 317, 177);
        assert!(close(found, colour), "picture {number}: {found:?}, not {colour:?}");
    }
    assert_eq!((encoder.take_copied(), stub.get("imports"), stub.get("pictures_imported")), (0, 3, 12));
    assert_eq!(stub.get("last_pts"), 1_000_000 + 11 * 33_333);
    drop(encoder);
    stub.assert_clean();
}

#[test]
fn the_settings_say_what_the_picture_is() {
    let stub = Stub::new();
    let encoder = open(&stub, &nv12(1920, 1080, 1920));
    let wanted = [
        ("prep:width", 1920),
        ("prep:hor_stride", 1920),
        ("prep:ver_stride", 1080),
        ("prep:format", 0),
        ("prep:range", 2),
        ("prep:colorspace", 1),
        ("rc:mode", 1),
        ("rc:fps_in_num", 30),
        ("rc:fps_in_denom", 1),
        ("rc:fps_out_num", 30),
        ("rc:gop", 300),
        ("codec:type", 7),
        ("h264:profile", 66),
        ("h264:level", 40),
        ("split:mode", 0),
    ];
    let found = wanted.map(|(key, _)| (key, stub.get(key)));
    assert_eq!(found, wanted);
    drop(encoder);
    stub.assert_clean();
}

#[test]
fn pictures_from_elsewhere_are_copied_and_counted() {
    let stub = Stub::new();
    stub.set("only_ion", 1);
    for (layout, strides) in [(Layout::I420, [336, 176, 168]), (Layout::Nv12, [320, 336, 0])] {
        let mut format = PictureFormat::packed(layout, Size { width: 320, height: 180 }, COLOUR);
        format.strides = strides;
        let mut encoder = open(&stub, &format);
        let pool = BufferPool::new(1, format.buffer_len());
        let mut decoder = Decoder::new().unwrap();
        for (number, [y, u, v]) in COLOURS.into_iter().enumerate() {
            let mut frame = Frame::pooled(format, Micros(number as u64 * 33_333), 0, pool.take().unwrap());
            let planes = frame.planes_mut();
            planes[0].fill(y);
            match layout {
                Layout::I420 => (planes[1].fill(u), planes[2].fill(v)).1,
                Layout::Nv12 => planes[1].chunks_mut(2).for_each(|pair| pair.copy_from_slice(&[u, v])),
            }
            let unit = encode(&mut *encoder, &frame);
            let found = pixel(&mut decoder, &unit, 319, 179);
            assert!(close(found, [y, u, v]), "{layout:?} picture {number}: {found:?}");
        }
        assert_eq!((encoder.take_copied(), encoder.take_copied()), (4, 0));
    }
    assert_eq!((stub.get("imports"), stub.get("pictures_own")), (0, 8));
    stub.assert_clean();
}

#[test]
fn the_boards_profile_says_how_far_apart_rows_and_planes_are() {
    let stub = Stub::new();
    let format = PictureFormat::packed(Layout::I420, Size { width: 328, height: 184 }, COLOUR);
    let config = EncoderConfig { stride: 64, plane_height: PlaneHeight::Rounded, ..stub.config() };
    let mut encoder = encode::open(&config, &format, FrameRate::per_second(30)).expect("the stub opens");
    for (key, value) in [("prep:width", 328), ("prep:height", 184), ("prep:hor_stride", 384), ("prep:ver_stride", 192)]
    {
        assert_eq!(stub.get(key), value, "{key}");
    }
    let pool = BufferPool::new(1, format.buffer_len());
    let mut frame = Frame::pooled(format, Micros(0), 0, pool.take().unwrap());
    frame.planes_mut().into_iter().zip(COLOURS[0]).for_each(|(plane, value)| plane.fill(value));
    let unit = encode(&mut *encoder, &frame);
    let found = pixel(&mut Decoder::new().unwrap(), &unit, 327, 183);
    assert!(close(found, COLOURS[0]), "{found:?}");
    assert_eq!(encoder.take_copied(), 1);
    drop(encoder);
    stub.assert_clean();
}

#[test]
fn chroma_that_does_not_follow_luma_is_copied() {
    let stub = Stub::new();
    let format = nv12(320, 180, 320);
    let queue = Queue::with_chroma_at(format, 2, 320 * 192);
    let mut encoder = open(&stub, &format);
    let frame = queue.frame(COLOURS[1], Micros(0), 0).unwrap();
    let unit = encode(&mut *encoder, &frame);
    assert!(close(pixel(&mut Decoder::new().unwrap(), &unit, 300, 170), COLOURS[1]));
    assert_eq!((encoder.take_copied(), stub.get("imports")), (1, 0));
}

#[test]
fn a_camera_opened_anew_is_another_camera_even_with_the_same_descriptors() {
    let stub = Stub::new();
    let format = nv12(320, 176, 320);
    let first = Queue::new(format, 1);
    let mut encoder = open(&stub, &format);
    let mut decoder = Decoder::new().unwrap();
    let show = |encoder: &mut dyn Encoder, decoder: &mut Decoder, queue: &std::sync::Arc<Queue>, colour| {
        let unit = encode(encoder, &queue.frame(colour, Micros(0), 0).unwrap());
        assert!(close(pixel(decoder, &unit, 100, 100), colour));
    };
    show(&mut *encoder, &mut decoder, &first, COLOURS[0]);
    drop(first);
    let second = Queue::new(format, 1);
    show(&mut *encoder, &mut decoder, &second, COLOURS[1]);
    assert_eq!((stub.get("imports"), stub.get("buffers")), (2, 1), "the old import is gone");
    assert!(encoder.renew());
    assert_eq!(stub.get("buffers"), 0, "nothing of the camera is held");
    let unit = encode(&mut *encoder, &second.frame(COLOURS[2], Micros(0), 0).unwrap());
    assert!(unit.key, "and it begins anew");
}

#[test]
fn a_key_picture_comes_when_asked_for_with_its_header() {
    let stub = Stub::new();
    let queue = Queue::new(nv12(320, 176, 320), 2);
    let mut encoder = open(&stub, &queue.format);
    for number in 0..10 {
        if number == 6 {
            encoder.force_key();
        }
        let unit = encode(&mut *encoder, &queue.frame([number as u8 * 20, 128, 128], Micros(number), number).unwrap());
        assert_eq!(unit.key, number == 0 || number == 6, "picture {number}");
        let wanted: &[u8] = if unit.key { &[h264::NAL_SPS, h264::NAL_PPS, h264::NAL_IDR] } else { &[h264::NAL_SLICE] };
        assert_eq!(nal_types(&unit), wanted);
        if unit.key {
            let id = h264::nal_units(&unit.bytes).find_map(h264::profile_level_id).unwrap();
            assert_eq!(id[..2], [0x42, 0xe0], "constrained baseline");
        }
    }
    assert_eq!(stub.get("idr_requests"), 2);
}

#[test]
fn empty_looks_parts_and_missing_words_are_taken_as_they_come() {
    let modes: [&[(&str, i64)]; 4] = [
        &[("null_every", 2)],
        &[("partitions", 1), ("null_every", 3)],
        &[("no_meta", 1)],
        &[("old_keys", 1), ("no_header_mode", 1), ("only_ion", 1), ("no_meta", 1)],
    ];
    for mode in modes {
        let stub = Stub::new();
        mode.iter().for_each(|(name, value)| stub.set(name, *value));
        let queue = Queue::new(nv12(320, 176, 320), 2);
        let mut encoder = open(&stub, &queue.format);
        let mut decoder = Decoder::new().unwrap();
        for number in 0..8 {
            if number == 5 {
                encoder.force_key();
                decoder = Decoder::new().unwrap();
            }
            let colour = COLOURS[number as usize % 4];
            let unit = encode(&mut *encoder, &queue.frame(colour, Micros(number), number).unwrap());
            assert_eq!(unit.key, number == 0 || number == 5, "{mode:?} picture {number}");
            assert!(close(pixel(&mut decoder, &unit, 9, 9), colour), "{mode:?} picture {number}");
        }
        drop(encoder);
        stub.assert_clean();
    }
}

#[test]
fn a_buffer_that_cannot_be_imported_and_a_picture_that_is_refused_are_errors() {
    let stub = Stub::new();
    let queue = Queue::new(nv12(320, 176, 320), 2);
    let mut encoder = open(&stub, &queue.format);
    for (switch, said) in
        [("import_fails", "mpp: import a camera buffer: error -1"), ("put_fails", "mpp: hand over a picture: error -1")]
    {
        stub.set(switch, 1);
        let frame = queue.frame(COLOURS[0], Micros(0), 0).unwrap();
        let error = encoder.encode(&frame, &mut AccessUnit::default()).expect_err("it fails");
        assert_eq!(error.to_string(), said);
        stub.set(switch, 0);
    }
    drop(encoder);
    stub.assert_clean();
}
