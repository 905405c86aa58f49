//! What our own code costs per picture on the way through MPP, with a library that answers at once.

use crate::camera_sys::*;
use crate::pictures::encode;
use crate::stub::*;
use rtcam::clock::thread_cpu;
use rtcam::config::EncoderConfig;
use rtcam::encode;
use rtcam::media::frame::Frame;
use rtcam::units::{FrameRate, Micros};
use std::sync::Arc;
use std::time::Duration;

const PICTURES: u64 = 100;

/// What lies in the middle: others on the same core make some pictures dearer.
fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// Something to do for a software encoder: a gradient that moves.
fn moving(queue: &Arc<Queue>, number: u64) -> Frame {
    let mut frame = queue.frame([0, 110, 140], Micros(number * 33_333), number).unwrap();
    let stride = frame.format.strides[0];
    for (at, pixel) in frame.planes_mut()[0].iter_mut().enumerate() {
        *pixel = ((at % stride / 2 + at / stride + number as usize * 3) % 220) as u8;
    }
    frame
}

fn cpu_per_picture(config: &EncoderConfig) -> Duration {
    let queue = Queue::new(nv12(640, 480, 640), 4);
    let mut encoder = encode::open(config, &queue.format, FrameRate::per_second(30)).unwrap();
    let cost = |number| {
        let frame = moving(&queue, number);
        let before = thread_cpu();
        encode(&mut *encoder, &frame);
        thread_cpu() - before
    };
    median((0..PICTURES + 10).map(cost).skip(10).collect())
}

#[test]
fn our_own_work_is_at_most_a_twentieth_of_encoding_in_software() {
    let stub = Stub::new();
    stub.set("instant", 1);
    let hardware = cpu_per_picture(&stub.config());
    let software = cpu_per_picture(&EncoderConfig { backend: "openh264".into(), ..EncoderConfig::default() });
    println!("CPU per picture of 640x480: mpp {hardware:?}, openh264 {software:?}");
    assert!(hardware * 20 <= software, "mpp {hardware:?}, openh264 {software:?}");
}
