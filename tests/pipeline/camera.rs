//! What viewers see while the camera is away, and how it comes back.

use crate::fakes::*;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use rtcam::capture::FaultKind;
use rtcam::clock::Clock;
use rtcam::media::packet::AccessUnit;
use rtcam::stream::Stream;
use rtcam::stream::status::{CameraState, StreamStatus};
use rtcam::units::Size;
use std::sync::atomic::Ordering;
use std::time::Duration;

const CARD_LUMA: u8 = 40;

/// Whether a key unit shows the card (its ground, here a corner below the text, is darker than any test picture).
fn is_card(unit: &AccessUnit) -> bool {
    let mut decoder = Decoder::new().unwrap();
    let picture = decoder.decode(&unit.bytes).unwrap().expect("a key unit gives a picture");
    let luma = picture.y()[picture.strides().0 * 112 + 8];
    assert!(luma.abs_diff(CARD_LUMA) <= 4 || luma > 55, "card or camera: {luma}");
    luma.abs_diff(CARD_LUMA) <= 4
}

fn is_key_card(unit: &AccessUnit) -> bool {
    unit.key && is_card(unit)
}

/// A key picture of the camera: there may be one of the card still, which refines the first.
fn is_camera(unit: &AccessUnit) -> bool {
    unit.key && !is_card(unit)
}

fn kind_away(status: &StreamStatus) -> Option<FaultKind> {
    match &status.camera {
        CameraState::Away { kind, .. } => Some(*kind),
        _ => None,
    }
}

#[test]
fn a_missing_camera_is_a_card_and_becomes_the_picture_when_it_comes() {
    let rig = Rig::start(Mode::Gone(FaultKind::Missing));
    let mut viewer = rig.viewer();
    let card = viewer.next();
    assert!(card.key && is_card(&card));
    rig.until("it is missing", |status| kind_away(status) == Some(FaultKind::Missing));
    rig.camera.set(Mode::Live);
    let picture = viewer.next_where("the camera's picture", is_camera);
    assert!(picture.sequence > card.sequence);
    rig.until("it is live", |status| status.camera == CameraState::Live);
}

#[test]
fn a_fault_shows_the_card_at_five_pictures_a_second_and_the_viewer_stays() {
    let rig = Rig::start(Mode::Live);
    let mut viewer = rig.viewer();
    viewer.next_where("the camera's picture", is_camera);
    rig.camera.set(Mode::Gone(FaultKind::Unplugged));
    let card = viewer.next_where("the card", is_key_card);
    let mut last = card.clone();
    for _ in 0..5 {
        let unit = viewer.next();
        assert_eq!(unit.sequence, last.sequence + 1);
        assert!(unit.pts > last.pts);
        last = unit;
    }
    let span = last.captured_at.since(card.captured_at);
    assert!(span >= Duration::from_millis(900), "five more cards take a second: {span:?}");
    until("the source is dropped", || rig.camera.open_now.load(Ordering::SeqCst) == 0);
}

#[test]
fn a_silent_camera_is_closed_and_opened_anew() {
    let rig = Rig::start(Mode::Live);
    let mut viewer = rig.viewer();
    viewer.next();
    rig.camera.set(Mode::Mute);
    viewer.next_where("the card", is_key_card);
    rig.until("it is silent", |status| kind_away(status) == Some(FaultKind::Silent));
    rig.camera.set(Mode::Live);
    viewer.next_where("the camera's picture", is_camera);
    assert!(rig.camera.opened.load(Ordering::SeqCst) >= 2);
}

#[test]
fn a_driver_that_hangs_stops_neither_the_card_nor_the_end() {
    let rig = Rig::start(Mode::Live);
    let mut viewer = rig.viewer();
    viewer.next();
    rig.camera.set(Mode::Hanging);
    viewer.next_where("the card", is_key_card);
    rig.until("it is silent", |status| kind_away(status) == Some(FaultKind::Silent));
    rig.camera.set(Mode::Live);
    viewer.next_where("the camera's picture", is_camera);
    rig.camera.set(Mode::Hanging);
    viewer.next_where("the card", is_key_card);
    assert_eq!(rig.pipeline.stop(Duration::from_secs(4)), ["capture"]);
    rig.camera.set(Mode::Live);
    assert!(rig.pipeline.stop(PATIENCE).is_empty(), "it ends once the driver lets go");
}

#[test]
fn a_camera_that_comes_back_with_another_size_keeps_its_viewers() {
    let rig = Rig::start(Mode::Live);
    let mut viewer = rig.viewer();
    viewer.next();
    *rig.camera.format.lock().unwrap() = format(Size { width: 320, height: 240 });
    rig.camera.set(Mode::Gone(FaultKind::FormatChanged));
    let card = viewer.next_where("the card", is_key_card);
    assert_eq!(card.size, Some(SIZE), "the card has the size of the last picture");
    rig.camera.set(Mode::Live);
    let unit = viewer.next_where("the new size", |unit| unit.size != Some(SIZE));
    assert!(unit.key);
    let mut decoder = Decoder::new().unwrap();
    assert_eq!(decoder.decode(&unit.bytes).unwrap().unwrap().dimensions(), (320, 240));
}

#[test]
fn a_newcomer_to_the_card_gets_it_at_once() {
    let rig = Rig::start(Mode::Gone(FaultKind::Busy));
    let mut first = rig.viewer();
    first.next();
    let unit = rig.viewer().next();
    assert!(unit.key && is_card(&unit));
}

/// On a clock that the waits themselves move, so that hours of back-off take a second.
#[test]
fn a_thousand_faults_leave_nothing_behind() {
    let (clock, _hand) = Clock::test();
    let rig = Rig::with_clock(Mode::Shaky(3), clock);
    let mut viewer = rig.viewer();
    viewer.next();
    let opens = |status: &StreamStatus| status.camera_opens;
    rig.until("it tries again", |status| opens(status) > 20);
    let (threads, files) = (count("/proc/self/task"), count("/proc/self/fd"));
    let started = opens(&rig.pipeline.status());
    let mut before = started;
    while before < started + 1000 {
        rig.until("a hundred more", |status| {
            viewer_drains(&rig);
            opens(status) >= before + 100
        });
        before += 100;
    }
    assert!(rig.camera.open_now.load(Ordering::SeqCst) <= 1);
    // other tests run beside this one and hold some of both; a leak would be a thousand
    assert!(count("/proc/self/task") < threads + 100 && count("/proc/self/fd") < files + 100);
    rig.camera.set(Mode::Live);
    rig.until("live again", |status| status.camera == CameraState::Live);
}

fn viewer_drains(rig: &Rig) {
    let mut viewer = rig.viewer();
    viewer.request_key();
}

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}
