//! An encoder that gives nothing for a second: opened anew, given up after three times, a card for viewers meanwhile.

use crate::pipeline::*;
use crate::stub::*;
use rtcam::stream::Stream;

#[test]
fn a_stuck_encoder_is_opened_anew_and_viewers_are_told_meanwhile() {
    let rig = Rig::start(Stub::new());
    let mut viewer = rig.viewer();
    let last = viewer.until("the camera", |_, seen| seen == Seen::Camera);
    // cards are copied, pictures of the camera are not
    let (created, copied) = (rig.stub.get("created"), rig.stub.get("pictures_own"));
    rig.stub.set("stuck", 1);
    let card = viewer.until("the card", |_, seen| seen == Seen::Card);
    assert!(card.key && card.sequence > last.sequence);
    let back = viewer.until("the camera again", |_, seen| seen == Seen::Camera);
    assert!(back.key);
    assert_eq!(rig.stub.get("pictures_own"), copied, "the card came from another encoder");
    assert_eq!((rig.pipeline.status().encoder, rig.stub.get("created")), ("mpp", created + 1));
    assert!(rig.pipeline.stop(PATIENCE).is_empty());
    rig.stub.assert_clean();
}

#[test]
fn stuck_three_times_within_a_minute_the_next_encoder_takes_over() {
    let rig = Rig::start(Stub::new());
    let mut viewer = rig.viewer();
    viewer.until("the camera", |_, seen| seen == Seen::Camera);
    let created = rig.stub.get("created");
    rig.stub.set("stuck", 1000);
    viewer.until("the card", |_, seen| seen == Seen::Card);
    let back = viewer.until("the camera again", |_, seen| seen == Seen::Camera);
    assert!(back.key);
    assert_eq!((rig.pipeline.status().encoder, rig.stub.get("created")), ("openh264", created + 2));
    for _ in 0..20 {
        assert_eq!(viewer.look().1, Seen::Camera);
    }
    rig.stub.assert_clean();
}
