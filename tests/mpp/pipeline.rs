//! The whole pipeline over MPP: camera buffers, a logo laid over them in place, viewers, decoders.

use crate::camera_sys::*;
use crate::seat::Seat;
use crate::stub::*;
use openh264::decoder::Decoder;
use rtcam::capture::{Fault, FaultKind, Grab, Source, SourceInfo, Want};
use rtcam::clock::Clock;
use rtcam::config::EncoderConfig;
use rtcam::encode::Opener;
use rtcam::media::frame::Frame;
use rtcam::media::packet::AccessUnit;
use rtcam::overlay::Moment;
use rtcam::stream::Stream;
use rtcam::stream::pipeline::{Parts, Pipeline, Settings};
use rtcam::units::{FrameRate, KbitPerSec};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Far longer than anything takes on a busy machine; only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(45);
const GROUND: [u8; 3] = [100, 110, 150];
const LOGO: u8 = 230;

pub struct Rig {
    pub stub: Stub,
    pub pipeline: Pipeline,
    pub unplugged: Arc<AtomicBool>,
}

struct Camera {
    queue: Arc<Queue>,
    info: SourceInfo,
    clock: Clock,
    number: u64,
    unplugged: Arc<AtomicBool>,
}

impl Source for Camera {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn grab(&mut self, want: Want, timeout: Duration) -> Result<Grab, Fault> {
        if self.unplugged.load(Ordering::SeqCst) {
            return Err(gone());
        }
        self.clock.sleep(timeout.min(Duration::from_millis(15)));
        self.number += 1;
        if want == Want::Heartbeat {
            return Ok(Grab::Passed);
        }
        let ground = [GROUND[0] + (self.number % 2) as u8, GROUND[1], GROUND[2]];
        Ok(self.queue.frame(ground, self.clock.now(), self.number).map_or(Grab::Passed, Grab::Frame))
    }

    fn dropped(&self) -> u64 {
        0
    }
}

fn gone() -> Fault {
    Fault { kind: FaultKind::Unplugged, detail: "test camera".into() }
}

impl Rig {
    pub fn start(stub: Stub) -> Rig {
        let config = EncoderConfig { backend: "auto".into(), ..stub.config() };
        let encoders = Opener::new(config);
        let clock = Clock::system();
        let (camera_clock, unplugged) = (clock.clone(), Arc::new(AtomicBool::new(false)));
        let gone_now = unplugged.clone();
        let format = nv12(320, 180, 320);
        let parts = Parts {
            open_source: Arc::new(move || {
                if gone_now.load(Ordering::SeqCst) {
                    return Err(gone());
                }
                let info = SourceInfo {
                    name: "test camera".into(),
                    wire_format: "NV12".into(),
                    picture: format,
                    rate: Some(FrameRate::per_second(30)),
                };
                let queue = Queue::new(format, 4);
                let (clock, unplugged) = (camera_clock.clone(), gone_now.clone());
                Ok(Box::new(Camera { queue, info, clock, number: 0, unplugged }) as Box<dyn Source>)
            }),
            open_encoder: Arc::new(move |format, rate, without| encoders.open(format, rate, without)),
            overlay: Box::new(|frame: &mut Frame, _: &Moment| {
                let stride = frame.format.strides[0];
                frame.planes_mut()[0].chunks_mut(stride).take(32).for_each(|row| row[..64].fill(LOGO));
            }),
        };
        let settings = Settings {
            size: format.size,
            rate: FrameRate::per_second(30),
            bitrate: KbitPerSec(1500),
            host: "test".into(),
        };
        Rig { stub, pipeline: Pipeline::start(settings, parts, clock).unwrap(), unplugged }
    }

    pub fn viewer(&self) -> Viewer {
        Viewer { seat: Seat::at(&self.pipeline), decoder: Decoder::new().unwrap() }
    }
}

pub struct Viewer {
    seat: Seat,
    decoder: Decoder,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    /// Ground and logo.
    Camera,
    Card,
}

impl Viewer {
    pub fn unit(&mut self) -> Arc<AccessUnit> {
        self.seat.next(PATIENCE)
    }

    /// The next unit through the decoder, which goes on from unit to unit.
    pub fn look(&mut self) -> (Arc<AccessUnit>, Seen) {
        let unit = self.unit();
        if unit.key {
            // browsers take a stream that changes its encoder; the test decoder is told to
            self.decoder = Decoder::new().unwrap();
        }
        let ground = pixel(&mut self.decoder, &unit, 160, 172);
        if close(ground, GROUND) {
            return (unit, Seen::Camera);
        }
        assert!(ground[0] < 45, "neither camera nor card: {ground:?}");
        (unit, Seen::Card)
    }

    pub fn until(&mut self, what: &str, holds: impl Fn(&AccessUnit, Seen) -> bool) -> Arc<AccessUnit> {
        let started = Instant::now();
        loop {
            let (unit, seen) = self.look();
            if holds(&unit, seen) {
                return unit;
            }
            assert!(started.elapsed() < PATIENCE, "never: {what}");
        }
    }
}

#[test]
fn a_camera_plays_with_its_logo_without_a_copy() {
    let rig = Rig::start(Stub::new());
    rig.stub.set("null_every", 5);
    let copied_by_the_probe = rig.stub.get("pictures_own");
    let mut viewer = rig.viewer();
    let first = viewer.until("the camera", |_, seen| seen == Seen::Camera);
    for _ in 0..30 {
        assert_eq!(viewer.look().1, Seen::Camera);
    }
    viewer.seat.subscription.request_key();
    let key = viewer.until("a key picture", |unit, _| unit.key && unit.sequence > first.sequence);
    let mut fresh = Decoder::new().unwrap();
    assert!(pixel(&mut fresh, &key, 20, 12)[0].abs_diff(LOGO) < 8, "the logo is in the picture");
    let status = rig.pipeline.status();
    assert_eq!((status.encoder, rig.stub.get("pictures_own") - copied_by_the_probe), ("mpp", 0));
    assert_eq!(status.encoder_copied, 0, "frames copied on the way to the encoder");
    assert!(rig.pipeline.stop(PATIENCE).is_empty());
    rig.stub.assert_clean();
}

#[test]
fn a_lost_camera_is_a_card_through_the_same_encoder_and_nothing_of_it_is_held() {
    let rig = Rig::start(Stub::new());
    let mut viewer = rig.viewer();
    viewer.until("the camera", |_, seen| seen == Seen::Camera);
    let created = rig.stub.get("created");
    rig.unplugged.store(true, Ordering::SeqCst);
    let card = viewer.until("the card", |_, seen| seen == Seen::Card);
    assert!(card.key);
    assert_eq!(rig.stub.get("buffers"), 1, "only the encoder's own buffer: an old kernel could not re-open the camera");
    rig.unplugged.store(false, Ordering::SeqCst);
    let back = viewer.until("the camera again", |_, seen| seen == Seen::Camera);
    assert!(back.key);
    assert_eq!(rig.stub.get("created"), created, "it was not opened anew");
    assert!(rig.pipeline.status().encoder_copied > 0, "cards are copied, and counted");
}
