//! The `v4l2` source against a scripted camera: newest picture, leases, faults.

use crate::capture::v4l2::Camera;
use crate::capture::v4l2_device::*;
use crate::capture::v4l2_fake::*;
use crate::capture::{Fault, FaultKind, Grab, Source, Want};
use crate::config::CameraConfig;
use crate::dice::Dice;
use crate::media::frame::Frame;
use crate::units::{FrameRate, Micros, Size};
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_millis(500);

fn open(camera: &Arc<FakeCamera>) -> Result<Camera, Fault> {
    let config = CameraConfig { device: "/dev/video7".into(), ..CameraConfig::default() };
    Camera::open(&camera.machine(), &config, &camera.clock)
}

fn grab(source: &mut Camera) -> Result<Grab, Fault> {
    source.grab(Want::Picture, LONG)
}

fn frame(source: &mut Camera) -> Frame {
    match grab(source) {
        Ok(Grab::Frame(frame)) => frame,
        Ok(Grab::Passed) => panic!("passed"),
        Ok(Grab::Nothing) => panic!("nothing came"),
        Err(fault) => panic!("{fault}"),
    }
}

fn fault(source: &mut Camera) -> FaultKind {
    grab(source).err().expect("a fault").kind
}

#[test]
fn the_newest_of_the_waiting_pictures_is_taken_and_the_others_go_back() {
    let camera = FakeCamera::simple(b"NV12");
    let mut source = open(&camera).unwrap();
    for byte in 1..=3 {
        assert!(camera.fill(Filled::of(byte)));
    }
    let newest = frame(&mut source);
    assert_eq!((newest.planes()[0][0], newest.planes()[1][0], newest.sequence), (3, 3, 3));
    assert_eq!(source.dropped(), 2);
    assert_eq!(camera.state().queued.len(), 3, "all but the lent one are with the driver");
    drop(newest);
    assert_eq!(camera.state().queued.len(), 4);
}

#[test]
fn a_damaged_buffer_is_skipped_also_when_it_is_the_newest() {
    let camera = FakeCamera::simple(b"NV12");
    let mut source = open(&camera).unwrap();
    camera.fill(Filled::of(1));
    camera.fill(Filled { damaged: true, ..Filled::of(2) });
    assert_eq!(frame(&mut source).planes()[0][0], 1);
    assert_eq!(source.dropped(), 1);
    camera.fill(Filled { damaged: true, ..Filled::of(2) });
    assert!(matches!(grab(&mut source), Ok(Grab::Nothing)));
    assert_eq!(camera.state().queued.len(), 4);
}

#[test]
fn leases_come_back_in_any_order_and_after_close() {
    let camera = FakeCamera::simple(b"NV12");
    let mut source = open(&camera).unwrap();
    let mut leases: Vec<Frame> = (1..=3)
        .map(|byte| {
            camera.fill(Filled::of(byte));
            frame(&mut source)
        })
        .collect();
    drop(leases.remove(1));
    assert_eq!(camera.state().queued.len(), 2);
    drop(source);
    assert_eq!(camera.state().handles, 0, "the device is closed although pictures are still lent");
    assert_eq!(leases.iter().map(|frame| frame.planes()[1][100]).collect::<Vec<_>>(), [1, 3]);
    leases[0].planes_mut()[0][5] = 9;
    std::thread::spawn(move || drop(leases)).join().unwrap();
    assert_eq!(camera.leftovers(), (0, 0));
}

#[test]
fn the_driver_always_keeps_one_buffer() {
    let camera = FakeCamera::simple(b"NV12");
    let mut source = open(&camera).unwrap();
    let mut leases = Vec::new();
    for byte in 1..=3 {
        camera.fill(Filled::of(byte));
        leases.push(frame(&mut source));
    }
    for _ in 0..5 {
        assert!(camera.fill(Filled::of(9)), "the driver can go on");
        assert!(matches!(grab(&mut source), Ok(Grab::Passed)));
    }
    assert_eq!(source.dropped(), 5);
    leases.clear();
    camera.fill(Filled::of(10));
    assert_eq!(frame(&mut source).planes()[0][0], 10);
}

#[test]
fn a_heartbeat_gives_the_picture_back_unread() {
    let camera = FakeCamera::simple(b"MJPG");
    let mut source = open(&camera).unwrap();
    camera.fill(Filled::of(0));
    assert!(matches!(source.grab(Want::Heartbeat, LONG), Ok(Grab::Passed)));
    assert_eq!((camera.state().queued.len(), source.dropped()), (4, 0));
}

#[test]
fn drivers_without_expbuf_and_with_few_buffers_work() {
    let camera = FakeCamera::simple(b"NV12");
    camera.state().exports = false;
    camera.state().granted = 2;
    let mut source = open(&camera).unwrap();
    camera.fill(Filled::of(4));
    let lent = frame(&mut source);
    assert_eq!(lent.dmabuf(0), None);
    camera.fill(Filled::of(5));
    assert!(matches!(grab(&mut source), Ok(Grab::Passed)));
    camera.state().exports = true;
    drop((lent, source));
    camera.state().granted = 1;
    let mut source = open(&camera).unwrap();
    camera.fill(Filled::of(6));
    let lent = frame(&mut source);
    assert!(lent.dmabuf(1).is_some());
    camera.state().ready.error = true;
    assert!(matches!(grab(&mut source), Ok(Grab::Nothing)), "all lent: POLLERR is no fault");
    camera.state().ready.error = false;
    drop(lent);
    assert!(camera.fill(Filled::of(7)));
    assert_eq!(frame(&mut source).planes()[0][0], 7);
}

#[test]
fn every_format_gives_a_picture_on_both_apis() {
    for (fourcc, caps) in [
        (b"NV12", CAPTURE),
        (b"YU12", CAPTURE),
        (b"NV16", CAPTURE),
        (b"YUYV", CAPTURE),
        (b"UYVY", CAPTURE),
        (b"NV12", CAPTURE_MPLANE),
        (b"NM12", CAPTURE_MPLANE),
        (b"YM12", CAPTURE_MPLANE),
    ] {
        let camera = FakeCamera::simple(fourcc);
        camera.state().caps = caps;
        let mut source = open(&camera).unwrap();
        camera.fill(Filled::of(77));
        let picture = frame(&mut source);
        assert_eq!(picture.format, source.info().picture);
        for plane in 0..picture.format.layout.planes() {
            assert!(picture.planes()[plane][..picture.format.plane_len(plane)].iter().all(|&b| b == 77), "{fourcc:?}");
        }
        assert_eq!(source.info().wire_format.as_bytes(), fourcc);
        let kind = if caps == CAPTURE { BufferKind::Single } else { BufferKind::Multi };
        assert_eq!(camera.state().rate_asked, Some((kind, FrameRate::per_second(30))));
    }
}

#[test]
fn the_drivers_time_stamp_is_kept_when_it_is_of_our_clock() {
    let camera = FakeCamera::simple(b"NV12");
    let mut source = open(&camera).unwrap();
    let now = camera.clock.now();
    for (stamp, expected) in [
        (Some(now - Duration::from_millis(20)), now - Duration::from_millis(20)),
        (None, now),
        (Some(Micros(u64::MAX)), now),
    ] {
        camera.fill(Filled { timestamp: stamp, ..Filled::of(1) });
        assert_eq!(frame(&mut source).captured_at, expected);
    }
}

#[test]
fn faults_while_streaming_are_told_apart() {
    let cases: [(&str, i32, FaultKind); 8] = [
        ("dequeue", libc::ENODEV, FaultKind::Unplugged),
        ("dequeue", libc::EINVAL, FaultKind::Unplugged),
        ("dequeue", libc::EIO, FaultKind::Failing),
        ("wait", libc::EIO, FaultKind::Failing),
        ("wait", libc::ENODEV, FaultKind::Unplugged),
        ("queue", libc::ENODEV, FaultKind::Unplugged),
        ("queue", libc::EIO, FaultKind::Failing),
        ("queue", libc::EINVAL, FaultKind::Failing),
    ];
    for (call, errno, kind) in cases {
        let camera = FakeCamera::simple(b"NV12");
        let mut source = open(&camera).unwrap();
        camera.fill(Filled::of(1));
        camera.refuse(call, errno);
        if call == "queue" {
            drop(frame(&mut source));
        }
        assert_eq!(fault(&mut source), kind, "{call} {errno}");
    }
    let ready = |change: fn(&mut Ready)| {
        let camera = FakeCamera::simple(b"NV12");
        let mut source = open(&camera).unwrap();
        change(&mut camera.state().ready);
        camera.state().event = true;
        fault(&mut source)
    };
    assert_eq!(ready(|ready| ready.hangup = true), FaultKind::Unplugged);
    assert_eq!(ready(|ready| ready.error = true), FaultKind::Failing);
    assert_eq!(ready(|ready| ready.event = true), FaultKind::FormatChanged);
}

#[test]
fn faults_while_opening_are_told_apart() {
    let cases: [(&str, i32, FaultKind, &str); 10] = [
        ("open", libc::ENOENT, FaultKind::Missing, "open /dev/video7: No such file or directory"),
        ("open", libc::ENODEV, FaultKind::Missing, "open /dev/video7: No such device"),
        ("open", libc::EACCES, FaultKind::Failing, "group video"),
        ("capability", libc::ENOTTY, FaultKind::NotACamera, "it is no V4L2 device"),
        ("describe_format", libc::ENODEV, FaultKind::Unplugged, "VIDIOC_ENUM_FMT"),
        ("set_format", libc::EBUSY, FaultKind::Busy, "/dev/video7 (Fake Camera): busy"),
        ("request_buffers", libc::EBUSY, FaultKind::Busy, "busy"),
        ("stream_on", libc::EBUSY, FaultKind::Busy, "busy"),
        ("stream_on", libc::EINVAL, FaultKind::Failing, "VIDIOC_STREAMON"),
        ("request_buffers", libc::ENODEV, FaultKind::Unplugged, "VIDIOC_REQBUFS"),
    ];
    for (call, errno, kind, words) in cases {
        let camera = FakeCamera::simple(b"NV12");
        camera.refuse(call, errno);
        let fault = open(&camera).err().unwrap();
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.detail.contains(words), "{fault}");
        assert_eq!((camera.leftovers(), camera.state().handles), ((0, 0), 0));
    }
    let camera = FakeCamera::simple(b"NV12");
    camera.state().caps = 0x0480_0000;
    assert_eq!(open(&camera).err().unwrap().kind, FaultKind::NotACamera);
}

#[test]
fn a_short_picture_is_dropped_and_a_changed_format_is_a_fault() {
    let camera = FakeCamera::simple(b"NV12");
    let mut source = open(&camera).unwrap();
    let short = Filled { bytes: vec![1; 640 * 480], ..Filled::of(1) };
    camera.fill(short.clone());
    assert!(matches!(grab(&mut source), Ok(Grab::Nothing)));
    assert_eq!((source.dropped(), camera.state().queued.len()), (1, 4));
    camera.state().wire.size = Size { width: 320, height: 240 };
    camera.fill(short);
    let fault = grab(&mut source).err().unwrap();
    assert_eq!(fault.kind, FaultKind::FormatChanged);
    assert!(fault.detail.contains("NV12 320x240"), "{fault}");
}

fn grey_jpeg(width: usize, height: usize) -> Vec<u8> {
    let pixels = vec![90; width * height];
    let subsamp = turbojpeg::Subsamp::Gray;
    let image = turbojpeg::YuvImage { pixels: &pixels[..], width, align: 1, height, subsamp };
    turbojpeg::compress_yuv(image, 90).unwrap().to_vec()
}

#[test]
fn corrupt_jpegs_are_dropped_and_jpegs_of_a_new_size_are_a_changed_format() {
    let camera = FakeCamera::simple(b"MJPG");
    let mut source = open(&camera).unwrap();
    let jpeg = |bytes: Vec<u8>| Filled { bytes, ..Filled::of(0) };
    camera.fill(jpeg(grey_jpeg(640, 480)));
    assert!(frame(&mut source).planes()[0][1000].abs_diff(90) < 3);
    for damaged in [vec![], vec![0; 5000], grey_jpeg(640, 480)[..300].to_vec(), grey_jpeg(320, 240)] {
        camera.fill(jpeg(damaged));
        assert!(matches!(grab(&mut source), Ok(Grab::Nothing)));
    }
    assert_eq!((source.dropped(), camera.state().queued.len()), (4, 4));
    camera.fill(jpeg(grey_jpeg(640, 480)));
    drop(frame(&mut source));
    for _ in 0..2 {
        camera.fill(jpeg(grey_jpeg(320, 240)));
        assert!(matches!(grab(&mut source), Ok(Grab::Nothing)));
    }
    camera.fill(jpeg(grey_jpeg(320, 240)));
    assert_eq!(fault(&mut source), FaultKind::FormatChanged);
}

#[test]
fn a_driver_that_returns_buffers_it_does_not_hold_is_failing() {
    let camera = FakeCamera::simple(b"NV12");
    let mut source = open(&camera).unwrap();
    camera.fill(Filled::of(1));
    let lent = frame(&mut source);
    for index in [0, 4, u32::MAX] {
        camera.fill(Filled { index: Some(index), ..Filled::of(2) });
        assert_eq!(fault(&mut source), FaultKind::Failing);
    }
    assert_eq!(lent.planes()[0][0], 1);
}

#[test]
fn a_silent_or_falsely_readable_device_gives_nothing_within_the_timeout() {
    let camera = FakeCamera::simple(b"NV12");
    let mut source = open(&camera).unwrap();
    for readable in [false, true] {
        camera.state().ready.readable = readable;
        let (before, calls) = (camera.clock.now(), camera.state().calls);
        assert!(matches!(grab(&mut source), Ok(Grab::Nothing)));
        let waited = camera.clock.now().since(before);
        assert!(waited >= LONG && waited < LONG + Duration::from_millis(10), "{waited:?}");
        assert!(camera.state().calls - calls < 1000, "no spinning");
    }
}

/// One scripted misfortune per seed, at a call chosen by the seed, then a healthy camera again.
#[test]
fn a_thousand_injected_faults_leave_nothing_behind() {
    let formats: [&[u8; 4]; 6] = [b"NV12", b"NM12", b"YU12", b"YUYV", b"MJPG", b"NV16"];
    let errors = [
        libc::ENODEV,
        libc::EIO,
        libc::ENOTTY,
        libc::EAGAIN,
        libc::EINVAL,
        libc::EBUSY,
        libc::ENOMEM,
        libc::EPIPE,
        libc::EINTR,
    ];
    let good_jpeg = grey_jpeg(640, 480);
    let mut dice = Dice::new(20_260_101);
    let (mut faults, mut pictures) = (0, 0);
    for round in 0..1000 {
        let fourcc = formats[round % formats.len()];
        let camera = FakeCamera::simple(fourcc);
        camera.state().caps = if fourcc == b"NM12" { CAPTURE_MPLANE } else { CAPTURE };
        camera.state().live = true;
        let healthy =
            if fourcc == b"MJPG" { Filled { bytes: good_jpeg.clone(), ..Filled::of(0) } } else { Filled::of(8) };
        camera.state().next = healthy.clone();
        let mut survivors = Vec::new();
        camera.state().fail_call = Some((dice.roll(120) as u32, errors[dice.place(errors.len())]));
        if let Ok(mut source) = open(&camera) {
            for step in 0..30 {
                if step == dice.roll(30) {
                    misfortune(&camera, dice.roll(1 << 24) as u32);
                }
                match grab(&mut source) {
                    Ok(Grab::Frame(frame)) => survivors.push(frame),
                    Ok(_) => {}
                    Err(fault) => {
                        assert!(fault.detail.contains("/dev/video7"), "{fault}");
                        faults += 1;
                        break;
                    }
                }
                if dice.roll(2) == 0 && !survivors.is_empty() {
                    survivors.remove(dice.place(survivors.len()));
                }
            }
        } else {
            faults += 1;
        }
        recover(&camera, healthy);
        let mut source = open(&camera).unwrap_or_else(|fault| panic!("round {round}: {fault}"));
        drop(frame(&mut source));
        pictures += 1;
        drop(source);
        assert_eq!(camera.state().handles, 0);
        drop(survivors);
        assert_eq!(camera.leftovers(), (0, 0), "round {round}");
    }
    assert!(faults > 500 && pictures == 1000, "{faults} faults, {pictures} pictures");
}

fn misfortune(camera: &FakeCamera, choice: u32) {
    let mut state = camera.state();
    match choice % 9 {
        0 => state.next.bytes.truncate(100),
        1 => state.next.index = Some(choice),
        2 => state.live = false,
        3 => state.next.damaged = true,
        4 => state.ready.hangup = true,
        5 => state.ready.error = true,
        6 => (state.ready.event, state.event) = (true, true),
        7 => state.wire.size = Size { width: 32, height: 32 },
        _ => state.ready.readable = true,
    }
}

fn recover(camera: &FakeCamera, healthy: Filled) {
    let mut state = camera.state();
    state.next = healthy;
    state.ready = Ready::default();
    (state.live, state.event, state.fail_call) = (true, false, None);
}
