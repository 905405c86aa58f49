//! An encoder that fails, and the end of the pipeline.

use crate::fakes::*;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use rtcam::media::packet::AccessUnit;
use rtcam::stream::Stream;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn a_broken_encoder_is_opened_anew_and_the_viewer_goes_on_at_a_key_picture() {
    let rig = Rig::start(Mode::Live);
    // who comes late misses pictures once 32 wait: that is far off
    *rig.camera.period.lock().unwrap() = Duration::from_millis(300);
    let mut viewer = rig.viewer();
    let mut last = viewer.next();
    let opened = rig.encoders.opened.load(Ordering::SeqCst);
    rig.encoders.broken.store(true, Ordering::SeqCst);
    until("it is tried again", || rig.encoders.opened.load(Ordering::SeqCst) > opened + 1);
    rig.encoders.broken.store(false, Ordering::SeqCst);
    loop {
        let unit = viewer.next();
        assert_eq!(unit.sequence, last.sequence + 1, "sequence numbers have no gaps");
        last = unit;
        if last.key {
            break;
        }
    }
}

/// Luma of the right lower corner, where a camera's picture is at least 60 and a card 40.
fn corner(decoder: &mut Decoder, unit: &AccessUnit) -> u8 {
    let picture = decoder.decode(&unit.bytes).expect("decodes").expect("a picture");
    let (width, height) = picture.dimensions();
    picture.y()[picture.strides().0 * (height - 1) + width - 1]
}

#[test]
fn an_encoder_that_does_not_open_again_is_told_to_viewers_by_another_one() {
    let rig = Rig::start(Mode::Live);
    rig.encoders.refused.store(true, Ordering::SeqCst);
    let mut viewer = rig.viewer();
    let mut decoder = Decoder::new().expect("a decoder");
    let opened = rig.encoders.opened.load(Ordering::SeqCst);
    let mut keys = 0;
    // the first try, its stand-in, and three more tries
    while rig.encoders.opened.load(Ordering::SeqCst) < opened + 5 {
        let unit = viewer.next();
        assert!(corner(&mut decoder, &unit) < 50, "the card, and nothing of the camera in between");
        keys += u32::from(unit.key);
    }
    assert!((1..=2).contains(&keys), "{keys} key pictures: the first and the one that refines it");
    rig.encoders.refused.store(false, Ordering::SeqCst);
    viewer.next_where("a key picture of the camera", |unit| {
        unit.key && corner(&mut Decoder::new().expect("a decoder"), unit) >= 55
    });
}

#[test]
fn it_stops_within_the_deadline_with_viewers_still_there() {
    let rig = Rig::start(Mode::Live);
    let mut viewer = rig.viewer();
    viewer.next();
    assert!(rig.pipeline.stop(PATIENCE).is_empty());
    assert_eq!(rig.camera.open_now.load(Ordering::SeqCst), 0, "the camera was closed");
    assert_eq!(rig.pipeline.status().subscribers, 1);
}
