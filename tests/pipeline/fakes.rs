//! A camera and an encoder that follow a script, and a viewer that collects what it gets.

use crate::seat::Seat;
use rtcam::capture::controls::{Control, ControlKind, Controls};
use rtcam::capture::{Fault, FaultKind, Grab, Source, SourceInfo, Want};
use rtcam::clock::Clock;
use rtcam::config::EncoderConfig;
use rtcam::encode::{self, Encoded, Encoder};
use rtcam::error::{Error, ErrorKind, Result};
use rtcam::media::frame::{BufferPool, Colour, Frame, Layout, Matrix, PictureFormat, Range};
use rtcam::media::packet::AccessUnit;
use rtcam::overlay::Moment;
use rtcam::stream::Stream;
use rtcam::stream::pipeline::{OpenEncoder, OpenSource, Parts, Pipeline, Settings};
use rtcam::stream::status::{CameraState, StreamStatus};
use rtcam::units::{FrameRate, KbitPerSec, Micros, Size};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const SIZE: Size = Size { width: 160, height: 120 };
/// Far longer than anything takes on a busy machine; only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(45);

pub fn format(size: Size) -> PictureFormat {
    PictureFormat::packed(Layout::I420, size, Colour { matrix: Matrix::Bt601, range: Range::Limited })
}

/// What the test does to the camera; all sources opened look at it.
pub struct Camera {
    pub clock: Clock,
    pub mode: Mutex<Mode>,
    pub format: Mutex<PictureFormat>,
    pub period: Mutex<Duration>,
    pub opened: AtomicUsize,
    pub open_now: AtomicUsize,
    pub pictures: AtomicU64,
    /// Pictures that may still come while it is stepped.
    pub steps: AtomicU64,
    pub unwanted: AtomicU64,
    /// Whose controls it has; empty: it has none.
    pub device: Mutex<String>,
    /// What the driver's maximum of every control is.
    pub maximum: AtomicI64,
    /// What was set, in order.
    pub sets: Mutex<Vec<(String, i64)>>,
    /// Set by somebody else, to be told by the driver.
    pub by_others: Mutex<Vec<(String, i64)>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    Live,
    /// Grabs fail, opens fail.
    Gone(FaultKind),
    /// Open, but no picture comes.
    Mute,
    /// Grabs do not return while this lasts.
    Hanging,
    /// Opens work, every `n`th call of grab fails.
    Shaky(u64),
    /// A picture for each of `steps`, at once.
    Stepped,
}

impl Camera {
    pub fn new(clock: Clock) -> Arc<Camera> {
        Arc::new(Camera {
            clock,
            mode: Mutex::new(Mode::Live),
            format: Mutex::new(format(SIZE)),
            period: Mutex::new(Duration::from_millis(10)),
            opened: AtomicUsize::new(0),
            open_now: AtomicUsize::new(0),
            pictures: AtomicU64::new(0),
            steps: AtomicU64::new(0),
            unwanted: AtomicU64::new(0),
            device: Mutex::default(),
            maximum: AtomicI64::new(100),
            sets: Mutex::default(),
            by_others: Mutex::default(),
        })
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn mode(&self) -> Mode {
        self.mode.lock().unwrap().clone()
    }

    pub fn opener(self: &Arc<Self>) -> OpenSource {
        let camera = self.clone();
        Arc::new(move || {
            if let Mode::Gone(kind) = camera.mode() {
                return Err(gone(kind));
            }
            camera.opened.fetch_add(1, Ordering::SeqCst);
            camera.open_now.fetch_add(1, Ordering::SeqCst);
            let format = *camera.format.lock().unwrap();
            let info = SourceInfo {
                name: "test camera".into(),
                wire_format: "test".into(),
                picture: format,
                rate: Some(FrameRate::per_second(30)),
            };
            let pool = BufferPool::new(4, format.buffer_len());
            // something of the system that must be given back
            let file = std::fs::File::open("/dev/null").unwrap();
            let controls = FakeControls::new(&camera);
            Ok(Box::new(FakeSource { camera: camera.clone(), info, pool, controls, grabs: 0, due: None, _file: file })
                as Box<dyn Source>)
        })
    }
}

fn gone(kind: FaultKind) -> Fault {
    Fault { kind, detail: format!("test camera: {kind:?}") }
}

struct FakeSource {
    camera: Arc<Camera>,
    info: SourceInfo,
    pool: Arc<BufferPool>,
    controls: FakeControls,
    grabs: u64,
    due: Option<Micros>,
    _file: std::fs::File,
}

impl FakeSource {
    /// Waits for the next picture; false where it is not due in time.
    fn comes(&mut self, timeout: Duration) -> bool {
        let clock = &self.camera.clock;
        if self.camera.mode() == Mode::Stepped {
            clock.sleep(timeout.min(Duration::from_millis(2)));
            return self
                .camera
                .steps
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |steps| steps.checked_sub(1))
                .is_ok();
        }
        let due = *self.due.get_or_insert(clock.now());
        let wait = due.since(clock.now());
        clock.sleep(wait.min(timeout));
        if wait <= timeout {
            self.due = Some(clock.now() + *self.camera.period.lock().unwrap());
        }
        wait <= timeout
    }
}

impl Source for FakeSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn grab(&mut self, want: Want, timeout: Duration) -> Result<Grab, Fault> {
        self.grabs += 1;
        while self.camera.mode() == Mode::Hanging {
            std::thread::sleep(Duration::from_millis(5));
        }
        match self.camera.mode() {
            Mode::Gone(kind) => return Err(gone(kind)),
            Mode::Shaky(n) if self.grabs.is_multiple_of(n) => return Err(gone(FaultKind::Failing)),
            Mode::Mute => {
                self.camera.clock.sleep(timeout);
                return Ok(Grab::Nothing);
            }
            _ => {}
        }
        if !self.comes(timeout) {
            return Ok(Grab::Nothing);
        }
        if want == Want::Heartbeat {
            self.camera.unwanted.fetch_add(1, Ordering::SeqCst);
            return Ok(Grab::Passed);
        }
        let Some(mut buffer) = self.pool.take() else { return Ok(Grab::Passed) };
        let number = self.camera.pictures.fetch_add(1, Ordering::SeqCst);
        buffer.bytes_mut().fill(60 + (number % 100) as u8);
        Ok(Grab::Frame(Frame::pooled(self.info.picture, self.camera.clock.now(), number, buffer)))
    }

    fn dropped(&self) -> u64 {
        0
    }

    fn controls(&mut self) -> Option<&mut dyn Controls> {
        (!self.controls.device.is_empty()).then_some(&mut self.controls)
    }
}

/// A camera that forgets everything when it is unplugged.
struct FakeControls {
    camera: Arc<Camera>,
    device: String,
    list: Vec<Control>,
    changed: bool,
}

impl FakeControls {
    fn new(camera: &Arc<Camera>) -> FakeControls {
        let maximum = camera.maximum.load(Ordering::SeqCst);
        let range = ControlKind::Integer { minimum: 0, maximum, step: 1 };
        let control = |key: &str, kind| Control {
            key: key.into(),
            name: key.into(),
            kind,
            value: 50,
            default: 50,
            read_only: false,
            inactive: false,
        };
        let list = vec![control("gain", range.clone()), control("hue", range), control("press", ControlKind::Button)];
        FakeControls { camera: camera.clone(), device: camera.device.lock().unwrap().clone(), list, changed: true }
    }

    fn put(&mut self, key: &str, value: i64) -> Result<(), String> {
        let control = self.list.iter_mut().find(|control| control.key == key).expect("checked before");
        control.value = control.fitted(value)?;
        self.changed = true;
        Ok(())
    }
}

impl Controls for FakeControls {
    fn device(&self) -> &str {
        &self.device
    }
    fn list(&self) -> &[Control] {
        &self.list
    }
    fn set(&mut self, key: &str, value: i64) -> Result<(), String> {
        self.put(key, value)?;
        self.camera.sets.lock().unwrap().push((key.into(), value));
        Ok(())
    }
    fn work(&mut self, _: bool) {
        let by_others = std::mem::take(&mut *self.camera.by_others.lock().unwrap());
        for (key, value) in by_others {
            self.put(&key, value).expect("a good value");
        }
    }
    fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl Drop for FakeSource {
    fn drop(&mut self) {
        self.camera.open_now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// openh264 behind a switch that makes it fail.
#[derive(Default)]
pub struct Encoders {
    pub broken: Arc<AtomicBool>,
    /// Opens fail but for stand-ins.
    pub refused: Arc<AtomicBool>,
    pub opened: Arc<AtomicUsize>,
    pub encoded: Arc<AtomicUsize>,
}

impl Encoders {
    pub fn opener(&self) -> OpenEncoder {
        let (broken, opened, encoded) = (self.broken.clone(), self.opened.clone(), self.encoded.clone());
        let refused = self.refused.clone();
        Arc::new(move |format, rate, without| {
            opened.fetch_add(1, Ordering::SeqCst);
            if refused.load(Ordering::SeqCst) && without.is_empty() {
                return Err(Error::new(ErrorKind::Busy, "test encoder: busy"));
            }
            let real = encode::open(&EncoderConfig::default(), format, rate)?;
            Ok(Box::new(Breakable { real, broken: broken.clone(), encoded: encoded.clone() }) as Box<dyn Encoder>)
        })
    }
}

struct Breakable {
    real: Box<dyn Encoder>,
    broken: Arc<AtomicBool>,
    encoded: Arc<AtomicUsize>,
}

impl Encoder for Breakable {
    fn name(&self) -> &'static str {
        self.real.name()
    }
    fn encode(&mut self, frame: &Frame, out: &mut AccessUnit) -> Result<Encoded> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Io, "test encoder: broken"));
        }
        self.encoded.fetch_add(1, Ordering::SeqCst);
        self.real.encode(frame, out)
    }
    fn force_key(&mut self) {
        self.real.force_key();
    }
    fn set_bitrate(&mut self, rate: KbitPerSec) -> Result<()> {
        self.real.set_bitrate(rate)
    }
}

pub struct Rig {
    pub camera: Arc<Camera>,
    pub encoders: Encoders,
    pub pipeline: Pipeline,
}

impl Rig {
    /// With a camera that is live, the camera has been opened: one that is slow to open is a card.
    pub fn start(mode: Mode) -> Rig {
        let is_live = mode == Mode::Live;
        let rig = Rig::with_clock(mode, Clock::system());
        if is_live {
            rig.until("the camera is live", |status| status.camera == CameraState::Live);
        }
        rig
    }

    pub fn with_clock(mode: Mode, clock: Clock) -> Rig {
        let camera = Camera::new(clock.clone());
        camera.set(mode);
        let encoders = Encoders::default();
        let parts = Parts {
            open_source: camera.opener(),
            open_encoder: encoders.opener(),
            overlay: Box::new(|frame: &mut Frame, _: &Moment| frame.planes_mut()[0][..16].fill(235)),
        };
        let settings =
            Settings { size: SIZE, rate: FrameRate::per_second(30), bitrate: KbitPerSec(1500), host: "test".into() };
        let pipeline = Pipeline::start(settings, parts, clock).unwrap();
        Rig { camera, encoders, pipeline }
    }

    pub fn viewer(&self) -> Viewer {
        Viewer::of(&self.pipeline)
    }

    pub fn until(&self, what: &str, holds: impl Fn(&StreamStatus) -> bool) {
        until(what, || holds(&self.pipeline.status()));
    }
}

pub fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub struct Viewer(Seat);

impl Viewer {
    pub fn of(pipeline: &Pipeline) -> Viewer {
        Viewer(Seat::at(pipeline))
    }

    /// The next unit; waits for it.
    pub fn next(&mut self) -> Arc<AccessUnit> {
        self.0.next(PATIENCE)
    }

    pub fn request_key(&mut self) {
        self.0.subscription.request_key();
    }

    /// Skips to the first unit of which this holds.
    pub fn next_where(&mut self, what: &str, holds: impl Fn(&AccessUnit) -> bool) -> Arc<AccessUnit> {
        let started = Instant::now();
        loop {
            let unit = self.next();
            if holds(&unit) {
                return unit;
            }
            assert!(started.elapsed() < PATIENCE, "no such unit: {what}");
        }
    }
}
