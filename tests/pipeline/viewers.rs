//! What joining, leaving and asking do.

use crate::fakes::*;
use rtcam::media::h264;
use rtcam::stream::Stream;
use rtcam::stream::status::StreamStatus;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn nothing_is_encoded_or_even_fetched_while_nobody_watches() {
    let rig = Rig::start(Mode::Live);
    let probed = rig.encoders.encoded.load(Ordering::SeqCst);
    rig.until("the camera beats", |status| status.captured > 20);
    assert_eq!(rig.encoders.encoded.load(Ordering::SeqCst), probed);
    assert_eq!((rig.pipeline.status().encoded, rig.camera.pictures.load(Ordering::SeqCst)), (0, 0));

    drop(rig.viewer());
    rig.until("the viewer is gone", |status| status.subscribers == 0);
    // what was begun for it may end late on a busy machine
    until("heartbeats only", || {
        let (seen, encoded) = (rig.camera.unwanted.load(Ordering::SeqCst), rig.pipeline.status().encoded);
        until("more heartbeats", || rig.camera.unwanted.load(Ordering::SeqCst) > seen + 30);
        rig.pipeline.status().encoded == encoded
    });
}

#[test]
fn the_first_unit_of_a_viewer_is_the_first_picture_and_a_key_picture() {
    let rig = Rig::start(Mode::Live);
    rig.until("the camera is live", |status| status.captured > 2);
    for _ in 0..3 {
        let mut viewer = rig.viewer();
        let before = rig.pipeline.status().encoded;
        let unit = viewer.next();
        let nals: Vec<_> = h264::nal_units(&unit.bytes).map(h264::nal_type).collect();
        assert_eq!((unit.key, nals), (true, vec![h264::NAL_SPS, h264::NAL_PPS, h264::NAL_IDR]));
        // one may have been begun for the viewer before
        assert!(unit.sequence <= before + 2, "no picture was encoded for nobody");
        drop(viewer);
        rig.until("idle again", |status| status.subscribers == 0);
        let seen = rig.camera.unwanted.load(Ordering::SeqCst);
        until("heartbeats", || rig.camera.unwanted.load(Ordering::SeqCst) > seen + 10);
    }
}

#[test]
fn twenty_who_join_together_share_one_key_picture() {
    let rig = Rig::start(Mode::Live);
    *rig.camera.period.lock().unwrap() = Duration::from_millis(100);
    let mut first = rig.viewer();
    first.next();
    let keys = rig.pipeline.status().key_pictures;
    let begun = rig.camera.clock.now();
    let mut viewers: Vec<_> = (0..20).map(|_| rig.viewer()).collect();
    let starts: Vec<_> = viewers.iter_mut().map(|viewer| viewer.next()).collect();
    assert!(starts.iter().all(|unit| unit.key));
    let shared = rig.pipeline.status().key_pictures - keys;
    // all twenty fit between two pictures, or not quite; while a machine stands still, one every 250 ms is granted
    let took = rig.camera.clock.now().since(begun);
    assert!(shared <= 2 + took.as_millis() as u64 / 250, "{shared} key pictures for twenty, within {took:?}");
}

#[test]
fn key_requests_are_merged_and_spaced() {
    let rig = Rig::start(Mode::Live);
    let mut viewer = rig.viewer();
    let mut keys = vec![viewer.next()];
    while keys.len() < 5 {
        viewer.request_key();
        let unit = viewer.next();
        if unit.key {
            keys.push(unit);
        }
    }
    for pair in keys.windows(2) {
        let gap = pair[1].overlaid_at.since(pair[0].overlaid_at);
        assert!(gap >= Duration::from_millis(249), "asked for all the time, yet {gap:?} apart");
    }
}

#[test]
fn a_viewer_that_fell_behind_goes_on_at_a_key_picture_and_the_others_notice_nothing() {
    let rig = Rig::start(Mode::Live);
    // the next picture comes when the quick one has the last, however long that takes on a busy machine
    rig.camera.set(Mode::Stepped);
    let (mut slow, mut quick) = (rig.viewer(), rig.viewer());
    rig.camera.steps.fetch_add(1, Ordering::SeqCst);
    let mut before = slow.next();
    let mut last = quick.next();
    for _ in 0..120 {
        rig.camera.steps.fetch_add(1, Ordering::SeqCst);
        let unit = quick.next();
        assert_eq!(unit.sequence, last.sequence + 1);
        assert!(unit.pts > last.pts);
        last = unit;
    }
    rig.camera.set(Mode::Live);
    let mut resumed = false;
    while before.sequence < last.sequence {
        let unit = slow.next();
        assert!(unit.sequence == before.sequence + 1 || unit.key, "a gap ends at a key picture");
        resumed |= unit.sequence > before.sequence + 1;
        before = unit;
    }
    assert!(resumed, "it had fallen behind");
}

#[test]
fn stamps_follow_the_picture_through_the_pipeline() {
    let rig = Rig::start(Mode::Live);
    let mut viewer = rig.viewer();
    for _ in 0..20 {
        let unit = viewer.next();
        assert!(unit.captured_at <= unit.overlaid_at && unit.overlaid_at <= unit.encoded_at);
        assert!(unit.pts >= rtcam::units::Pts90k::from_capture(unit.captured_at));
        assert_eq!(unit.size, Some(SIZE));
    }
    let moves =
        |status: &StreamStatus| status.captured_fps > 0.0 && status.encoded_fps > 0.0 && status.encoded_kbps > 0.0;
    rig.until("the rates are known", moves);
    let status = rig.pipeline.status();
    assert_eq!((status.encoder, status.subscribers), ("openh264", 1));
}

#[test]
fn a_newcomer_to_a_slow_camera_gets_the_last_picture_again() {
    let rig = Rig::start(Mode::Live);
    *rig.camera.period.lock().unwrap() = Duration::from_millis(1500);
    let mut first = rig.viewer();
    let shown = first.next();
    until("the limit on key pictures is past", || {
        rig.camera.clock.now().since(shown.encoded_at) > Duration::from_millis(260)
    });
    let pictures = rig.camera.pictures.load(Ordering::SeqCst);
    let mut second = rig.viewer();
    let unit = second.next();
    if rig.camera.pictures.load(Ordering::SeqCst) == pictures {
        assert_eq!((unit.captured_at, unit.key), (shown.captured_at, true));
        assert!(unit.pts > shown.pts);
    }
}

#[test]
fn the_profile_is_known_before_anybody_watches() {
    let rig = Rig::start(Mode::Gone(rtcam::capture::FaultKind::Missing));
    let [profile, flags, level] = rig.pipeline.profile_level_id();
    assert_eq!((profile, flags), (0x42, 0xe0));
    let mut viewer = rig.viewer();
    let unit = viewer.next();
    let told = h264::nal_units(&unit.bytes).find_map(h264::profile_level_id);
    assert_eq!(told, Some([profile, flags, level]));
}
