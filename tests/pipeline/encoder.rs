//! An encoder that fails, and the end of the pipeline.

use crate::fakes::*;
use rtcam::stream::Stream;
use std::sync::atomic::Ordering;

#[test]
fn a_broken_encoder_is_opened_anew_and_the_viewer_goes_on_at_a_key_picture() {
    let rig = Rig::start(Mode::Live);
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

#[test]
fn it_stops_within_the_deadline_with_viewers_still_there() {
    let rig = Rig::start(Mode::Live);
    let mut viewer = rig.viewer();
    viewer.next();
    assert!(rig.pipeline.stop(PATIENCE).is_empty());
    assert_eq!(rig.camera.open_now.load(Ordering::SeqCst), 0, "the camera was closed");
    assert_eq!(rig.pipeline.status().subscribers, 1);
}
