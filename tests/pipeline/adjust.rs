//! Changes while the stream runs: what is shown, what is seen in the picture, what lasts when the camera was away.

use crate::fakes::*;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use rtcam::capture::{self, FaultKind};
use rtcam::clock::Clock;
use rtcam::config::{CameraConfig, Config, Corner, LayerKind, OverlayConfig, SourceChoice};
use rtcam::encode;
use rtcam::overlay::Compositor;
use rtcam::stream::Stream;
use rtcam::stream::adjust::{AdjustError, Adjustable, Change};
use rtcam::stream::pipeline::{Parts, Pipeline, Settings};
use rtcam::units::KbitPerSec;
use std::sync::Arc;

fn control(key: &str, value: i64) -> Change {
    Change::Control { key: key.into(), value }
}

const NOTHING: Change = Change::Layer { index: 0, shown: None, corner: None, opacity: None, text: None };

fn layer(at: usize, change: impl FnOnce(&mut Change)) -> Change {
    let mut made = NOTHING;
    if let Change::Layer { index, .. } = &mut made {
        *index = at;
    }
    change(&mut made);
    made
}

fn show(at: usize, value: bool) -> Change {
    layer(at, |change| {
        if let Change::Layer { shown, .. } = change {
            *shown = Some(value)
        }
    })
}

fn fade(at: usize, value: f32) -> Change {
    layer(at, |change| {
        if let Change::Layer { opacity, .. } = change {
            *opacity = Some(value)
        }
    })
}

fn say(at: usize, value: &str) -> Change {
    layer(at, |change| {
        if let Change::Layer { text, .. } = change {
            *text = Some(value.into())
        }
    })
}

fn put(at: usize, value: Corner) -> Change {
    layer(at, |change| {
        if let Change::Layer { corner, .. } = change {
            *corner = Some(value)
        }
    })
}

fn value(now: &Adjustable, key: &str) -> Option<i64> {
    now.controls.iter().find(|control| control.key == key).map(|control| control.value)
}

/// Waits for a version of which this holds.
fn until_shown(stream: &dyn Stream, what: &str, holds: impl Fn(&Adjustable) -> bool) -> Arc<Adjustable> {
    let receiver = stream.adjustable();
    until(what, || holds(&receiver.borrow()));
    receiver.borrow().clone()
}

fn with_controls(device: &str) -> Rig {
    let rig = Rig::start(Mode::Gone(FaultKind::Missing));
    *rig.camera.device.lock().unwrap() = device.into();
    rig.camera.set(Mode::Live);
    until_shown(&rig.pipeline, "the controls", |now| value(now, "gain") == Some(50));
    rig
}

fn replug(rig: &Rig) {
    rig.camera.set(Mode::Gone(FaultKind::Unplugged));
    until_shown(&rig.pipeline, "no controls", |now| now.controls.is_empty());
    rig.camera.sets.lock().unwrap().clear();
    rig.camera.set(Mode::Live);
    until_shown(&rig.pipeline, "controls again", |now| !now.controls.is_empty());
}

#[test]
fn a_change_by_one_is_shown_to_all_also_while_nobody_watches() {
    let rig = with_controls("webcam");
    let receivers: Vec<_> = (0..20).map(|_| rig.pipeline.adjustable()).collect();
    let before = receivers[0].borrow().version;
    rig.pipeline.adjust(control("gain", 70)).unwrap();
    for receiver in &receivers {
        until("the new value", || value(&receiver.borrow(), "gain") == Some(70));
        assert!(receiver.borrow().version > before);
    }
    assert_eq!(*rig.camera.sets.lock().unwrap(), [("gain".to_owned(), 70)]);
    rig.camera.by_others.lock().unwrap().push(("hue".into(), 3));
    until_shown(&rig.pipeline, "what somebody else set", |now| value(now, "hue") == Some(3));
    assert!(matches!(rig.pipeline.adjust(control("gain", 101)), Err(AdjustError::Refused(_))));
    assert!(matches!(rig.pipeline.adjust(control("zoom", 1)), Err(AdjustError::Unknown(_))));
}

#[test]
fn a_camera_without_controls_or_away_offers_none() {
    let rig = Rig::start(Mode::Live);
    rig.until("live", |status| status.captured > 3);
    assert!(rig.pipeline.adjustable().borrow().controls.is_empty());
    assert!(matches!(rig.pipeline.adjust(control("gain", 1)), Err(AdjustError::Unknown(_))));
}

#[test]
fn what_people_set_is_set_again_on_the_same_camera_as_far_as_it_fits() {
    let rig = with_controls("webcam");
    let set = |key: &str, to: i64| {
        rig.pipeline.adjust(control(key, to)).unwrap();
        until_shown(&rig.pipeline, "it is set", |now| value(now, key) == Some(to));
    };
    set("gain", 90);
    set("hue", 20);
    replug(&rig);
    until_shown(&rig.pipeline, "as before", |now| (value(now, "gain"), value(now, "hue")) == (Some(90), Some(20)));
    assert_eq!(*rig.camera.sets.lock().unwrap(), [("gain".to_owned(), 90), ("hue".to_owned(), 20)], "in their order");

    // somebody else's later word counts
    rig.camera.by_others.lock().unwrap().push(("hue".into(), 33));
    until_shown(&rig.pipeline, "what somebody else set", |now| value(now, "hue") == Some(33));
    rig.camera.maximum.store(60, std::sync::atomic::Ordering::SeqCst);
    replug(&rig);
    until_shown(&rig.pipeline, "what still fits", |now| {
        (value(now, "gain"), value(now, "hue")) == (Some(50), Some(33))
    });

    *rig.camera.device.lock().unwrap() = "another".into();
    replug(&rig);
    let captured = rig.pipeline.status().captured;
    rig.until("pictures of another camera", |status| status.captured > captured + 20);
    assert!(rig.camera.sets.lock().unwrap().is_empty());
    *rig.camera.device.lock().unwrap() = "webcam".into();
    replug(&rig);
    until_shown(&rig.pipeline, "the first camera's", |now| value(now, "hue") == Some(33));
}

#[test]
fn changes_a_hanging_driver_does_not_take_are_bounded_and_dropped_with_it() {
    let rig = with_controls("webcam");
    rig.camera.set(Mode::Hanging);
    until("busy", || rig.pipeline.adjust(control("press", 1)) == Err(AdjustError::Busy));
    let taken = (0..1000).filter(|_| rig.pipeline.adjust(control("press", 1)).is_ok()).count();
    assert!(taken < 100, "{taken} more have room");
    rig.camera.set(Mode::Gone(FaultKind::Failing));
    until_shown(&rig.pipeline, "no controls", |now| now.controls.is_empty());
    rig.camera.set(Mode::Live);
    until_shown(&rig.pipeline, "controls again", |now| value(now, "gain") == Some(50));
}

/// A slider that is dragged without end does not keep pictures away.
#[test]
fn pictures_go_on_while_changes_rain() {
    let rig = with_controls("webcam");
    let mut viewer = rig.viewer();
    let first = viewer.next().sequence;
    let mut last = first;
    let mut to = 0;
    while last < first + 50 {
        for key in ["gain", "hue", "press"] {
            to = (to + 1) % 100;
            let _ = rig.pipeline.adjust(control(key, to));
        }
        last = viewer.next().sequence;
    }
    rig.pipeline.adjust(control("gain", 1)).unwrap();
    until_shown(&rig.pipeline, "the last word", |now| value(now, "gain") == Some(1));
}

const LOGO: usize = 0;
const TEXT: usize = 1;

/// The moving pattern with the logo and a text, as the program runs it.
fn pattern() -> Pipeline {
    let camera = CameraConfig { source: SourceChoice::Pattern, width: 320, height: 240, ..CameraConfig::default() };
    let logo = OverlayConfig { corner: Corner::TopLeft, margin: 0, ..OverlayConfig::default() };
    let text = OverlayConfig {
        kind: LayerKind::Text,
        corner: Corner::BottomLeft,
        margin: 0,
        background: 1.0,
        text: "MMM".into(),
        ..OverlayConfig::default()
    };
    let mut config = Config { camera: camera.clone(), overlays: vec![logo, text], ..Config::default() };
    config.encoder.bitrate_kbps = KbitPerSec(8000);
    let (clock, encoder) = (Clock::system(), config.encoder.clone());
    let source_clock = clock.clone();
    let parts = Parts {
        open_source: Arc::new(move || capture::open(&camera, &source_clock)),
        open_encoder: Arc::new(move |format, rate, _| encode::open(&encoder, format, rate)),
        overlay: Box::new(Compositor::open(&config.overlays).unwrap()),
    };
    Pipeline::start(Settings::new(&config, "test"), parts, clock).unwrap()
}

/// Somebody who sees the pictures.
struct Eye {
    viewer: Viewer,
    decoder: Decoder,
}

impl Eye {
    fn of(pipeline: &Pipeline) -> Eye {
        Eye { viewer: Viewer::of(pipeline), decoder: Decoder::new().unwrap() }
    }

    /// Looks until the mean luma of a rectangle is as wanted.
    fn sees(
        &mut self,
        what: &str,
        (left, top, width, height): (usize, usize, usize, usize),
        holds: impl Fn(f64) -> bool,
    ) {
        let decoder = std::cell::RefCell::new(&mut self.decoder);
        self.viewer.next_where(what, |unit| {
            let mut decoder = decoder.borrow_mut();
            let Ok(Some(picture)) = decoder.decode(&unit.bytes) else { return false };
            let stride = picture.strides().0;
            let rows = (top..top + height).map(|row| &picture.y()[row * stride + left..][..width]);
            let sum: f64 = rows.flatten().map(|y| f64::from(*y)).sum();
            holds(sum / (width * height) as f64)
        });
    }
}

fn near(wanted: f64) -> impl Fn(f64) -> bool {
    move |mean| (mean - wanted).abs() < 4.0
}

/// Corners of the pattern where nothing but its ground is.
const TOP_LEFT: (usize, usize, usize, usize) = (0, 0, 256, 24);
const TOP_RIGHT: (usize, usize, usize, usize) = (308, 0, 12, 60);
const BOTTOM_LEFT: (usize, usize, usize, usize) = (0, 216, 24, 24);
const GREY: f64 = 110.0;

#[test]
fn every_change_is_seen_in_the_pictures() {
    let pipeline = pattern();
    let layers = pipeline.adjustable().borrow().layers.clone();
    assert_eq!((layers[LOGO].shown, layers[LOGO].corner, &layers[LOGO].text), (true, Some(Corner::TopLeft), &None));
    assert_eq!(layers[TEXT].text.as_deref(), Some("MMM"));
    until_shown(&pipeline, "the pattern's controls", |now| value(now, "brightness") == Some(128));
    let mut eye = Eye::of(&pipeline);
    let adjust = |change: Change| pipeline.adjust(change).unwrap();

    adjust(control("background", 1));
    eye.sees("a grey ground", TOP_RIGHT, near(GREY));
    adjust(control("brightness", 168));
    eye.sees("a brighter ground", TOP_RIGHT, near(GREY + 40.0));
    adjust(control("brightness", 128));
    eye.sees("the usual ground", TOP_RIGHT, near(GREY));

    eye.sees("the logo", TOP_LEFT, |mean| (mean - GREY).abs() > 8.0);
    adjust(show(LOGO, false));
    eye.sees("no logo", TOP_LEFT, near(GREY));
    adjust(fade(LOGO, 0.0));
    adjust(show(LOGO, true));
    let now = until_shown(&pipeline, "both", |now| now.layers[LOGO].shown);
    assert_eq!(now.layers[LOGO].opacity, 0.0);
    eye.sees("an invisible logo", TOP_LEFT, near(GREY));
    adjust(put(LOGO, Corner::BottomLeft));
    adjust(fade(LOGO, 1.0));
    adjust(show(TEXT, false));
    eye.sees("nothing where the logo was", TOP_LEFT, near(GREY));
    adjust(show(LOGO, false));
    eye.sees("nothing where the text was", BOTTOM_LEFT, near(GREY));

    adjust(show(TEXT, true));
    eye.sees("letters on their black box", BOTTOM_LEFT, |mean| (mean - GREY).abs() > 20.0);
    adjust(say(TEXT, " "));
    adjust(fade(TEXT, 0.5));
    // half of black (16) over half of the ground
    eye.sees("an empty box, half transparent", (2, 220, 4, 16), near(63.0));
    for bad in [say(TEXT, "%Q"), say(LOGO, "x"), fade(TEXT, 2.0)] {
        assert!(matches!(pipeline.adjust(bad), Err(AdjustError::Refused(_))));
    }
    assert!(pipeline.stop(PATIENCE).is_empty());
}

#[test]
fn layers_change_at_once_while_nobody_watches_and_are_seen_by_the_first_viewer() {
    let pipeline = pattern();
    pipeline.adjust(show(LOGO, false)).unwrap();
    pipeline.adjust(say(TEXT, "later")).unwrap();
    let now = until_shown(&pipeline, "both", |now| {
        !now.layers[LOGO].shown && now.layers[TEXT].text.as_deref() == Some("later")
    });
    assert_eq!(now.layers.len(), 2);
    assert!(matches!(pipeline.adjust(show(2, true)), Err(AdjustError::Unknown(_))));
    until_shown(&pipeline, "the pattern's controls", |now| !now.controls.is_empty());
    pipeline.adjust(control("background", 1)).unwrap();
    until_shown(&pipeline, "the ground", |now| value(now, "background") == Some(1));
    Eye::of(&pipeline).sees("no logo on grey", TOP_LEFT, near(GREY));
}
