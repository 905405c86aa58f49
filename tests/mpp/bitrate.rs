//! The bit rate: target, ceiling and floor go together, and what is refused changes nothing.

use crate::camera_sys::*;
use crate::pictures::encode;
use crate::stub::*;
use rtcam::encode;
use rtcam::error::ErrorKind;
use rtcam::media::packet::AccessUnit;
use rtcam::units::{FrameRate, KbitPerSec, Micros};

fn triple(stub: &Stub) -> [i64; 3] {
    ["rc:bps_min", "rc:bps_target", "rc:bps_max"].map(|key| stub.get(key))
}

#[test]
fn any_change_of_rate_is_taken_and_the_three_stay_in_order() {
    let stub = Stub::new();
    let format = nv12(320, 176, 320);
    let mut encoder = encode::open(&stub.config(), &format, FrameRate::per_second(30)).unwrap();
    assert_eq!(triple(&stub)[1], 1_500_000);
    for rate in [100, 50_000, 300, 3000, 2999, 1] {
        encoder.set_bitrate(KbitPerSec(rate)).expect("it is taken");
        let [least, target, most] = triple(&stub);
        assert_eq!(target, i64::from(rate) * 1000);
        assert!(least < target && target < most, "{least} {target} {most}");
    }
    assert_eq!(stub.get("set_cfg_refused"), 0);
}

#[test]
fn a_changed_bit_rate_takes_effect_without_a_key_picture() {
    let stub = Stub::new();
    let queue = Queue::new(nv12(320, 240, 320), 2);
    let mut encoder = encode::open(&stub.config(), &queue.format, FrameRate::per_second(30)).unwrap();
    let mut seed = 1u32;
    let mut bytes_of = |encoder: &mut dyn encode::Encoder, numbers: std::ops::Range<u64>| -> usize {
        let count = |number| {
            let mut frame = queue.frame([0, 128, 128], Micros(number * 33_333), number).unwrap();
            for pixel in frame.planes_mut()[0].iter_mut() {
                seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
                *pixel = 90 + (seed >> 26) as u8;
            }
            let mut unit = AccessUnit::default();
            encoder.encode(&frame, &mut unit).expect("it encodes, or leaves the picture out");
            assert_eq!(unit.key, number == 0);
            unit.bytes.len()
        };
        numbers.map(count).sum()
    };
    bytes_of(&mut *encoder, 0..10);
    let before = bytes_of(&mut *encoder, 10..30);
    encoder.set_bitrate(KbitPerSec(300)).unwrap();
    bytes_of(&mut *encoder, 30..45);
    let after = bytes_of(&mut *encoder, 45..65);
    assert!(after * 2 < before, "1500 kbit/s: {before} bytes, 300 kbit/s: {after} bytes");
}

#[test]
fn a_refused_rate_is_an_error_and_the_next_one_is_taken_again() {
    let stub = Stub::new();
    let queue = Queue::new(nv12(320, 176, 320), 2);
    let mut encoder = encode::open(&stub.config(), &queue.format, FrameRate::per_second(30)).unwrap();
    stub.set("refuse_cfg", 1);
    let error = encoder.set_bitrate(KbitPerSec(700)).expect_err("it is refused");
    assert_eq!(error.to_string(), "mpp: apply the settings: error -6");
    assert_eq!(triple(&stub)[1], 1_500_000);
    stub.set("refuse_cfg", 0);
    encode(&mut *encoder, &queue.frame([50; 3], Micros(0), 0).unwrap());
    encoder.set_bitrate(KbitPerSec(800)).expect("it is taken");
    assert_eq!(triple(&stub)[1], 800_000);
}

#[test]
fn settings_refused_at_the_start_are_an_error_and_no_picture_is_handed_over() {
    let stub = Stub::new();
    stub.set("refuse_cfg", 1);
    let opened = encode::open(&stub.config(), &nv12(320, 176, 320), FrameRate::per_second(30));
    let error = opened.err().expect("it does not open");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.to_string(), "mpp: apply the settings: error -6");
    stub.assert_clean();
}
