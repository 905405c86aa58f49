//! The controls of a camera against scripted drivers: what they lack, what they change by themselves, what they lie about.

use crate::capture::controls::{Control, ControlKind, Controls};
use crate::capture::v4l2::Camera;
use crate::capture::v4l2_controls::CameraControls;
use crate::capture::v4l2_fake::*;
use crate::capture::v4l2_fake_controls::*;
use crate::capture::{Bell, Grab, Source, Want};
use crate::config::CameraConfig;
use crate::dice::Dice;
use std::sync::Arc;
use std::time::Duration;

const READ_ONLY: u32 = 0x04;
const BRIGHTNESS: u32 = USER;
const AUTO: u32 = USER + 12;
const GAIN: u32 = USER + 19;
const EXPOSURE: u32 = 0x009a_0901;
const LED: u32 = 0x009a_1000;

/// As webcams have them, and what must not disturb.
fn camera() -> Arc<FakeCamera> {
    let camera = FakeCamera::simple(b"NV12");
    let mut exposure = fake(EXPOSURE, "Auto Exposure", 3, 3);
    exposure.items = vec![(1, "Manual Mode", 0), (3, "Aperture Priority Mode", 0)];
    exposure.value = 3;
    let mut led = fake(LED, "LED Frequency", 9, 2);
    led.items = vec![(0, "", 50), (1, "", 60), (2, "", 1 << 40)];
    let mut wide = fake(LED + 1, "Sensor Clock", 5, 1 << 50);
    wide.value = 1 << 40;
    let mut state = camera.state();
    state.controls.list = vec![
        fake(USER - 0x8ff, "User Controls", 6, 0),
        FakeControl { value: 100, ..fake(BRIGHTNESS, "Brightness", 1, 255) },
        FakeControl { value: 1, ..fake(AUTO, "White Balance, Automatic", 2, 1) },
        fake(GAIN, "Gain", 1, 100),
        exposure,
        fake(EXPOSURE + 9, "Pan, Reset", 4, 0),
        led,
        wide,
        fake(LED + 2, "A Text", 7, 10),
        fake(LED + 3, "An Array", 0x101, 10),
        fake(LED + 4, "A Mask", 8, 255),
    ];
    state.controls.at(GAIN).said.flags = INACTIVE;
    state.controls.overrides = vec![(AUTO, 1, GAIN)];
    drop(state);
    camera
}

fn open(camera: &Arc<FakeCamera>) -> CameraControls {
    let device = camera.open_handle().unwrap();
    let mut controls = CameraControls::new(device, &camera.clock, "fake".into());
    settle(&mut controls);
    controls
}

/// As many turns as any of this may need.
fn settle(controls: &mut CameraControls) {
    (0..500).for_each(|_| controls.work(true));
}

fn keys(controls: &CameraControls) -> Vec<&str> {
    controls.list().iter().map(|control| control.key.as_str()).collect()
}

fn get<'a>(controls: &'a CameraControls, key: &str) -> &'a Control {
    controls.list().iter().find(|control| control.key == key).unwrap_or_else(|| panic!("{key} is there"))
}

fn hear_all(camera: &FakeCamera, controls: &mut CameraControls) {
    while let Some(event) = { camera.state().controls.events.pop_front() } {
        controls.hear(event);
    }
}

const USUAL: [&str; 7] =
    ["brightness", "white_balance_automatic", "gain", "auto_exposure", "pan_reset", "led_frequency", "sensor_clock"];

#[test]
fn all_kinds_are_found_with_the_drivers_ranges_and_the_rest_is_left_out() {
    let mut controls = open(&camera());
    assert_eq!(keys(&controls), USUAL);
    assert!(controls.take_changed() && !controls.take_changed());
    let brightness = get(&controls, "brightness");
    assert_eq!(brightness.kind, ControlKind::Integer { minimum: 0, maximum: 255, step: 1 });
    assert_eq!((brightness.name.as_str(), brightness.value, brightness.inactive), ("Brightness", 100, false));
    assert!(get(&controls, "gain").inactive);
    let items = vec![(1, "Manual Mode".to_owned()), (3, "Aperture Priority Mode".to_owned())];
    assert_eq!(get(&controls, "auto_exposure").kind, ControlKind::Menu { items });
    let numbers = [50, 60, 1 << 40].map(|number: i64| number.to_string());
    assert_eq!(get(&controls, "led_frequency").kind, ControlKind::Menu { items: (0..).zip(numbers).collect() });
    assert_eq!(get(&controls, "sensor_clock").value, 1 << 40, "64 bits are read");
    assert_eq!(get(&controls, "pan_reset").kind, ControlKind::Button);
}

#[test]
fn they_are_asked_for_a_few_at_a_time_and_shown_when_all_are_known() {
    let camera = camera();
    let mut controls = CameraControls::new(camera.open_handle().unwrap(), &camera.clock, "fake".into());
    camera.state().controls.slow = Duration::from_millis(3);
    for turn in 0..11 {
        assert!(controls.list().is_empty() && !controls.take_changed(), "turn {turn}");
        let before = camera.clock.now();
        controls.work(true);
        assert!(camera.clock.now().since(before) < Duration::from_millis(40), "one control, with its items");
    }
    controls.work(true);
    assert_eq!(keys(&controls), USUAL);
}

#[test]
fn a_camera_that_answers_after_seconds_is_left_alone_with_what_is_known() {
    let camera = camera();
    let mut controls = CameraControls::new(camera.open_handle().unwrap(), &camera.clock, "fake".into());
    controls.work(true);
    let known = camera.state().calls;
    camera.state().controls.slow = Duration::from_secs(5);
    camera.state().controls.tells = false;
    settle(&mut controls);
    camera.hand.advance(Duration::from_secs(60));
    settle(&mut controls);
    assert!(camera.state().calls - known < 10, "it was not asked again and again");
    assert!(!controls.list().is_empty() && controls.take_changed());
    controls.set("brightness", 7).unwrap();
    assert_eq!(camera.state().controls.sets, [(BRIGHTNESS, 7)], "people may still set it");
}

/// Old and vendors' drivers lack calls; each one for itself.
#[test]
fn whatever_calls_are_missing_the_others_do() {
    let old = ["next_control", "control", "value", "set_value", "subscribe_control"];
    for errno in [libc::ENOTTY, libc::EINVAL] {
        let lacks = old.iter().map(|call| vec![*call]).chain([old.to_vec(), vec!["next_control", "next_old_control"]]);
        for lacking in lacks {
            let camera = camera();
            // 64 bits and vendors' ids are beyond the old calls
            camera.state().controls.list.retain(|control| control.said.id < LED);
            lacking.iter().for_each(|call| camera.refuse(call, errno));
            let mut controls = open(&camera);
            assert_eq!(keys(&controls), USUAL[..5], "{lacking:?}");
            assert_eq!(get(&controls, "brightness").value, 100, "{lacking:?}");
            controls.set("brightness", 33).unwrap();
            assert_eq!(get(&controls, "brightness").value, 33, "{lacking:?}");
            assert_eq!(camera.state().controls.sets, [(BRIGHTNESS, 33)], "{lacking:?}");
        }
    }
    let camera = camera();
    for call in ["next_control", "next_old_control", "old_control", "control"] {
        camera.refuse(call, libc::ENOTTY);
    }
    assert!(open(&camera).list().is_empty(), "a driver without any controls");
}

#[test]
fn a_control_that_cannot_be_read_shows_its_default() {
    for errno in [libc::EACCES, libc::EIO, libc::EINVAL] {
        let camera = camera();
        camera.refuse("value", errno);
        camera.refuse("control_value", errno);
        camera.state().controls.at(BRIGHTNESS).said.default = 77;
        assert_eq!(get(&open(&camera), "brightness").value, 77);
    }
    let camera = camera();
    camera.state().controls.at(BRIGHTNESS).said.flags = WRITE_ONLY;
    let mut controls = open(&camera);
    controls.set("brightness", 9).unwrap();
    hear_all(&camera, &mut controls);
    assert_eq!(get(&controls, "brightness").value, 9, "what was set");
}

#[test]
fn the_driver_tells_of_changes_by_others_of_flags_and_of_ranges() {
    let camera = camera();
    let mut controls = open(&camera);
    controls.take_changed();
    camera.state().controls.put(BRIGHTNESS, 42);
    assert!(!controls.take_changed(), "not heard yet");
    hear_all(&camera, &mut controls);
    assert!(controls.take_changed());
    assert_eq!(get(&controls, "brightness").value, 42);
    // a cluster: what the automatic rules can be set as soon as it is off, also before the event came
    assert!(controls.set("gain", 5).unwrap_err().contains("overrides"));
    controls.set("white_balance_automatic", 0).unwrap();
    controls.set("gain", 5).unwrap();
    hear_all(&camera, &mut controls);
    assert_eq!((get(&controls, "gain").value, get(&controls, "gain").inactive), (5, false));
    {
        let mut state = camera.state();
        let gain = state.controls.at(GAIN);
        (gain.said.maximum, gain.value) = (3, 3);
        state.controls.tell(GAIN, Some(3), true);
    }
    hear_all(&camera, &mut controls);
    settle(&mut controls);
    assert_eq!(get(&controls, "gain").kind, ControlKind::Integer { minimum: 0, maximum: 3, step: 1 });
    assert!(controls.set("gain", 4).is_err());
    {
        let mut state = camera.state();
        let menu = state.controls.at(EXPOSURE);
        menu.items.push((2, "Shutter Priority Mode", 0));
        state.controls.tell(EXPOSURE, None, true);
    }
    hear_all(&camera, &mut controls);
    settle(&mut controls);
    assert!(matches!(&get(&controls, "auto_exposure").kind, ControlKind::Menu { items } if items.len() == 3));
}

#[test]
fn a_driver_that_tells_nothing_is_read_again_every_two_seconds_while_somebody_looks() {
    let camera = camera();
    camera.state().controls.tells = false;
    let mut controls = open(&camera);
    controls.take_changed();
    camera.state().controls.put(BRIGHTNESS, 42);
    camera.hand.advance(Duration::from_secs(10));
    let calls = camera.state().calls;
    (0..100).for_each(|_| controls.work(false));
    assert_eq!(camera.state().calls, calls, "nobody looks: nothing is asked");
    settle(&mut controls);
    assert_eq!((get(&controls, "brightness").value, controls.take_changed()), (42, true));
    let each_pass = camera.state().calls - calls;
    assert!(each_pass <= 3 * USUAL.len() as u32, "{each_pass} calls");
    settle(&mut controls);
    assert_eq!(camera.state().calls - calls, each_pass, "no second pass within two seconds");
    // after a change of our own everything may be different, at once
    controls.set("white_balance_automatic", 0).unwrap();
    settle(&mut controls);
    assert!(!get(&controls, "gain").inactive);
}

#[test]
fn what_a_driver_makes_of_a_value_is_what_is_shown() {
    let camera = camera();
    let mut controls = open(&camera);
    camera.state().controls.at(BRIGHTNESS).said.maximum = 50;
    controls.set("brightness", 200).unwrap();
    assert_eq!(get(&controls, "brightness").value, 50);
    for (call, errno) in [("set_value", libc::EBUSY), ("set_value", libc::EIO), ("set_value", libc::ENODEV)] {
        camera.refuse(call, errno);
        assert!(controls.set("brightness", 1).unwrap_err().starts_with("Brightness: "));
        assert_eq!(get(&controls, "brightness").value, 50);
    }
    assert!(controls.set("nothing", 1).is_err());
    camera.state().controls.at(BRIGHTNESS).said.flags = READ_ONLY;
    assert!(get(&open(&camera), "brightness").read_only);
}

#[test]
fn endless_circling_and_senseless_lists_end() {
    let many = FakeCamera::simple(b"NV12");
    many.state().controls.list = (1..400).map(|id| fake(id, "Same Name", 1, 9)).collect();
    let controls = open(&many);
    assert_eq!(controls.list().len(), 128);
    assert_eq!((controls.list()[0].key.as_str(), controls.list()[127].key.as_str()), ("same_name", "same_name_128"));

    let senseless = FakeCamera::simple(b"NV12");
    let mut upside_down = fake(1, "Upside Down", 1, -5);
    upside_down.said.step = 0;
    let mut vast = fake(2, "Vast", 3, i64::MAX);
    vast.items = vec![(0, "first", 0), (4_000_000, "far", 0)];
    let mut wild = fake(3, "Wild\n", 1, 10);
    (wild.value, wild.said.default) = (i64::MAX, i64::MIN);
    let mut disabled = fake(4, "Disabled", 1, 10);
    disabled.said.flags = 1;
    senseless.state().controls.list = vec![upside_down, vast, wild, disabled, fake(5, "Empty Menu", 3, 2)];
    let controls = open(&senseless);
    assert_eq!(keys(&controls), ["vast", "wild"]);
    assert_eq!(get(&controls, "vast").kind, ControlKind::Menu { items: vec![(0, "first".into())] });
    let wild = get(&controls, "wild");
    assert!((0..=10).contains(&wild.value) && (0..=10).contains(&wild.default), "{wild:?}");
}

fn open_camera(camera: &Arc<FakeCamera>) -> Camera {
    let config = CameraConfig { device: "/dev/video7".into(), ..CameraConfig::default() };
    Camera::open(&camera.machine(), &config, &camera.clock).unwrap()
}

#[test]
fn a_ring_or_a_change_ends_the_wait_for_a_picture() {
    const LONG: Duration = Duration::from_secs(5);
    let camera = camera();
    let mut source = open_camera(&camera);
    (0..20).for_each(|_| source.controls().unwrap().work(true));
    source.controls().unwrap().take_changed();
    let bell = Arc::new(Bell::new().unwrap());
    source.listen(&bell);
    let waited = |source: &mut Camera| {
        let before = camera.clock.now();
        assert!(matches!(source.grab(Want::Picture, LONG), Ok(Grab::Nothing)));
        camera.clock.now().since(before)
    };
    bell.ring();
    assert!(waited(&mut source) < Duration::from_millis(10));
    assert!(waited(&mut source) >= LONG, "rung once, heard once");
    camera.state().controls.put(BRIGHTNESS, 3);
    assert!(waited(&mut source) < Duration::from_millis(10));
    assert!(source.controls().unwrap().take_changed());
    camera.fill(Filled::of(1));
    bell.ring();
    assert!(matches!(source.grab(Want::Picture, LONG), Ok(Grab::Frame(_))), "a picture that is there comes first");
}

/// An event without end must not keep pictures away, nor eat a core.
#[test]
fn a_storm_of_events_does_not_hold_pictures_back() {
    let camera = camera();
    let mut source = open_camera(&camera);
    (0..20).for_each(|_| source.controls().unwrap().work(true));
    for round in 0..50 {
        for value in 0..1000 {
            camera.state().controls.put(BRIGHTNESS, value % 256);
        }
        camera.fill(Filled::of(1));
        let calls = camera.state().calls;
        assert!(matches!(source.grab(Want::Picture, Duration::from_secs(1)), Ok(Grab::Frame(_))), "round {round}");
        assert!(camera.state().calls - calls < 100, "bounded");
    }
}

/// Any call may fail at any time; the list stays usable, and nothing stays open.
#[test]
fn a_thousand_faults_leave_nothing_behind_and_the_pictures_alone() {
    let errors =
        [libc::ENODEV, libc::EIO, libc::ENOTTY, libc::EAGAIN, libc::EINVAL, libc::EBUSY, libc::EPIPE, libc::EACCES];
    let mut dice = Dice::new(20_261_121);
    let mut whole = 0;
    for round in 0..1000 {
        let camera = camera();
        camera.state().controls.tells = round % 3 > 0;
        let mut source = open_camera(&camera);
        let error = errors[dice.place(errors.len())];
        camera.state().fail_call = Some((dice.roll(60) as u32, error));
        for step in 0..40 {
            if step % 7 == 0 {
                let value = dice.roll(256) as i64;
                camera.state().controls.put(BRIGHTNESS, value);
            }
            let controls = source.controls().unwrap();
            controls.work(true);
            let _ = controls.set("brightness", dice.roll(300) as i64);
            camera.hand.advance(Duration::from_millis(200));
            camera.fill(Filled::of(1));
            if source.grab(Want::Heartbeat, Duration::from_millis(1)).is_err() {
                break;
            }
        }
        let list = source.controls().unwrap().list();
        whole += usize::from(list.len() == USUAL.len());
        assert!(
            list.iter().all(|control| control.kind == ControlKind::Button || control.fitted(control.default).is_ok())
        );
        drop(source);
        assert_eq!((camera.state().handles, camera.leftovers()), (0, (0, 0)), "round {round}");
    }
    assert!(whole > 500, "{whole} lists are whole");
}
