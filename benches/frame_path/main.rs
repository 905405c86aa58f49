//! What a picture costs from capture to hub, and that a steady stream allocates nothing in our own code.
//!
//! The whole pipeline runs: moving pattern, logo, openh264, fan-out, one viewer. All Rust allocations of the process
//! are counted (openh264 and OpenCV have heaps of their own). Ends with 1 when a steady stream allocates.
#![allow(clippy::disallowed_methods)]

mod counting_sys;
#[path = "../../tests/seat/mod.rs"]
mod seat;

use counting_sys::CountingHeap;
use rtcam::capture::controls::Controls;
use rtcam::capture::{self, Fault, Grab, Source, SourceInfo, Want};
use rtcam::clock::{Clock, thread_cpu};
use rtcam::config::{CameraConfig, Config, OverlayConfig, SourceChoice};
use rtcam::encode::{self, Encoded, Encoder};
use rtcam::error::Result;
use rtcam::media::frame::Frame;
use rtcam::media::packet::AccessUnit;
use rtcam::overlay::{Compositor, Moment};
use rtcam::stream::pipeline::{Parts, Pipeline, Settings};
use rtcam::units::KbitPerSec;
use seat::Seat;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[global_allocator]
static HEAP: CountingHeap = CountingHeap::new();

const WARM_UP: u64 = 150;
const MEASURED: u64 = 900;
const PATIENCE: Duration = Duration::from_secs(20);

static CAPTURE: Stage = Stage::new();
static OVERLAY: Stage = Stage::new();
static ENCODE: Stage = Stage::new();

fn main() -> ExitCode {
    let config = config();
    let clock = Clock::system();
    let pipeline =
        Pipeline::start(Settings::new(&config, "bench"), parts(&config, &clock), clock.clone()).expect("it starts");
    let mut viewer = Seat::at(&pipeline);
    (0..WARM_UP).for_each(|_| drop(viewer.next(PATIENCE)));
    // a viewer that pauses makes the pool of units as big as a busy machine may need it later
    clock.sleep(Duration::from_millis(150));
    (0..WARM_UP).for_each(|_| drop(viewer.next(PATIENCE)));
    [&CAPTURE, &OVERLAY, &ENCODE].into_iter().for_each(Stage::reset);
    let before = HEAP.allocations();
    (0..MEASURED).for_each(|_| drop(viewer.next(PATIENCE)));
    let allocations = HEAP.allocations() - before;
    let size = config.camera.size();
    println!("frame_path: {MEASURED} pictures of {size}, {}", config.encoder.bitrate_kbps);
    println!("frame_path: Rust heap allocations per picture: {:.3}", allocations as f64 / MEASURED as f64);
    for (name, stage) in [("capture (pattern)", &CAPTURE), ("overlay (256x64 logo)", &OVERLAY), ("encode", &ENCODE)] {
        println!("frame_path: {name}: {:.3} ms CPU per picture", stage.per_picture_ms());
    }
    pipeline.stop(Duration::from_secs(2));
    if allocations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn config() -> Config {
    let camera = CameraConfig { source: SourceChoice::Pattern, fps: 120, ..CameraConfig::default() };
    Config { camera, overlays: vec![OverlayConfig::default()], ..Config::default() }
}

fn parts(config: &Config, clock: &Clock) -> Parts {
    let mut compositor = Compositor::open(&config.overlays).expect("the logo opens");
    let (camera, encoder, clock) = (config.camera.clone(), config.encoder.clone(), clock.clone());
    Parts {
        open_source: Arc::new(move || {
            let source = capture::open(&camera, &clock)?;
            Ok(Box::new(TimedSource(source)) as Box<dyn Source>)
        }),
        open_encoder: Arc::new(move |format, rate, _| {
            let encoder = encode::open(&encoder, format, rate)?;
            Ok(Box::new(TimedEncoder(encoder)) as Box<dyn Encoder>)
        }),
        overlay: Box::new(move |frame: &mut Frame, moment: &Moment| OVERLAY.time(|| compositor.apply(frame, moment))),
    }
}

/// CPU time of one stage, whatever else the machine is busy with.
struct Stage {
    nanoseconds: AtomicU64,
    pictures: AtomicU64,
}

impl Stage {
    const fn new() -> Stage {
        Stage { nanoseconds: AtomicU64::new(0), pictures: AtomicU64::new(0) }
    }

    fn reset(&self) {
        self.nanoseconds.store(0, Ordering::Relaxed);
        self.pictures.store(0, Ordering::Relaxed);
    }

    fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = thread_cpu();
        let result = work();
        self.nanoseconds.fetch_add((thread_cpu() - started).as_nanos() as u64, Ordering::Relaxed);
        self.pictures.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn per_picture_ms(&self) -> f64 {
        let pictures = self.pictures.load(Ordering::Relaxed).max(1);
        self.nanoseconds.load(Ordering::Relaxed) as f64 / pictures as f64 / 1e6
    }
}

struct TimedSource(Box<dyn Source>);

impl Source for TimedSource {
    fn info(&self) -> &SourceInfo {
        self.0.info()
    }
    fn grab(&mut self, want: Want, timeout: Duration) -> Result<Grab, Fault> {
        CAPTURE.time(|| self.0.grab(want, timeout))
    }
    fn dropped(&self) -> u64 {
        self.0.dropped()
    }
    fn controls(&mut self) -> Option<&mut dyn Controls> {
        self.0.controls()
    }
}

struct TimedEncoder(Box<dyn Encoder>);

impl Encoder for TimedEncoder {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn encode(&mut self, frame: &Frame, out: &mut AccessUnit) -> Result<Encoded> {
        ENCODE.time(|| self.0.encode(frame, out))
    }
    fn force_key(&mut self) {
        self.0.force_key();
    }
    fn set_bitrate(&mut self, rate: KbitPerSec) -> Result<()> {
        self.0.set_bitrate(rate)
    }
}
