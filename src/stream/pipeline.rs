//! The pipeline as one thing: starts its two threads, lets outputs join, tells how it is, stops within a deadline.
//!
//! Owns the threads and what they share. Must never join a thread without a deadline: a driver may hold it for ever.
//! Input: the app, which brings camera, encoder and overlay as functions.

use super::adjust::{AdjustError, Adjustable, Change, Layer};
use super::adjustments::{Adjustments, Owner};
use super::board::Board;
use super::capture_thread::CaptureThread;
use super::card;
use super::encode_thread::EncodeThread;
use super::encoder_slot::EncoderSlot;
use super::fanout::FanOut;
use super::inbox::Inbox;
use super::status::StreamStatus;
use super::wedge::Wedge;
use super::{Stream, Subscription, Wake};
use crate::capture::{Bell, Fault, Source};
use crate::clock::Clock;
use crate::config::Config;
use crate::encode::Encoder;
use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::{Colour, Frame, Layout, Matrix, PictureFormat, Range};
use crate::media::h264;
use crate::media::packet::AccessUnit;
use crate::overlay::{Compositor, LayerChange, Moment};
use crate::units::{FrameRate, KbitPerSec, Size};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

pub type OpenSource = Arc<dyn Fn() -> Result<Box<dyn Source>, Fault> + Send + Sync>;
/// Opens an encoder other than those named last, which failed too often.
pub type OpenEncoder = Arc<dyn Fn(&PictureFormat, FrameRate, &[&str]) -> Result<Box<dyn Encoder>> + Send + Sync>;

/// Lays everything over a picture; runs on the encode thread.
pub trait Overlay: Send {
    fn apply(&mut self, frame: &mut Frame, moment: &Moment);

    /// What of it can be changed, as it is now.
    fn layers(&self) -> Vec<Layer>;

    /// A change that was checked against `layers`.
    fn change(&mut self, index: usize, change: &LayerChange);
}

impl Overlay for Compositor {
    fn apply(&mut self, frame: &mut Frame, moment: &Moment) {
        Compositor::apply(self, frame, moment);
    }
    fn layers(&self) -> Vec<Layer> {
        Compositor::layers(self)
    }
    fn change(&mut self, index: usize, change: &LayerChange) {
        Compositor::change(self, index, change);
    }
}

/// One that always draws the same.
impl<F: FnMut(&mut Frame, &Moment) + Send> Overlay for F {
    fn apply(&mut self, frame: &mut Frame, moment: &Moment) {
        self(frame, moment);
    }
    fn layers(&self) -> Vec<Layer> {
        Vec::new()
    }
    fn change(&mut self, _: usize, _: &LayerChange) {}
}

/// What the pipeline is made of.
pub struct Parts {
    pub open_source: OpenSource,
    pub open_encoder: OpenEncoder,
    pub overlay: Box<dyn Overlay>,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// Of the picture before a camera ever opened.
    pub size: Size,
    /// Where the camera does not tell its own.
    pub rate: FrameRate,
    /// The encoder's target, for the status.
    pub bitrate: KbitPerSec,
    /// `{host}` in text overlays.
    pub host: String,
}

impl Settings {
    pub fn new(config: &Config, host: impl Into<String>) -> Settings {
        Settings {
            size: config.camera.size(),
            rate: FrameRate::per_second(config.camera.fps),
            bitrate: config.encoder.bitrate_kbps,
            host: host.into(),
        }
    }
}

pub(super) struct Shared {
    pub clock: Clock,
    pub settings: Settings,
    pub inbox: Inbox,
    pub board: Board,
    pub fanout: Arc<FanOut>,
    pub desk: Adjustments,
    /// Ends the capture thread's wait for a picture.
    pub bell: Arc<Bell>,
    pub wedge: Wedge,
}

pub struct Pipeline {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

impl Pipeline {
    /// Opens the encoder (an encoder that does not open is an error here and nowhere later) and starts the threads. A
    /// camera that does not open is no error: viewers see why.
    pub fn start(settings: Settings, parts: Parts, clock: Clock) -> Result<Pipeline> {
        let format = first_format(settings.size);
        let board = Board::new(clock.now());
        let name = probe(&parts.open_encoder, format, settings.rate, &board)?;
        let fanout = Arc::new(FanOut::new());
        let encoder = EncoderSlot::new(parts.open_encoder, (format, settings.rate), name);
        let desk = Adjustments::new(parts.overlay.layers());
        let bell = Bell::new().map_err(|cause| Error::new(ErrorKind::Limit, "create an eventfd").because(cause))?;
        let (inbox, bell, wedge) = (Inbox::default(), Arc::new(bell), Wedge::of_environment());
        let shared = Arc::new(Shared { clock, settings, inbox, board, fanout, desk, bell, wedge });
        let running = Arc::new(Running::default());
        let pipeline = Pipeline { shared: shared.clone(), running };
        let encode = EncodeThread::new(shared.clone(), encoder, parts.overlay);
        let capture = CaptureThread::new(shared, parts.open_source);
        pipeline.spawn("encode", move || encode.run())?;
        pipeline.spawn("capture", move || capture.run())?;
        Ok(pipeline)
    }

    /// The handle is dropped: nobody joins a thread that a driver may hold for ever, `Running` knows when it ends.
    fn spawn(&self, name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let ended = self.running.enter(name);
        let body = move || {
            let _ended = ended;
            run();
        };
        let started = std::thread::Builder::new().name(name.into()).spawn(body);
        started
            .map(drop)
            .map_err(|cause| Error::new(ErrorKind::Limit, format!("start the {name} thread")).because(cause))
    }

    /// Asks the threads to end and waits for them, `deadline` at most. Returns those still running: a driver holds
    /// them, and they end with the process.
    pub fn stop(&self, deadline: Duration) -> Vec<&'static str> {
        self.shared.inbox.stop();
        self.running.wait(deadline)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.shared.inbox.stop();
    }
}

impl Stream for Pipeline {
    fn subscribe(&self, waker: Arc<dyn Wake>) -> Box<dyn Subscription> {
        let seat = self.shared.fanout.subscribe(waker);
        self.shared.inbox.nudge();
        seat
    }

    fn profile_level_id(&self) -> [u8; 3] {
        self.shared.board.profile_level_id()
    }

    fn adjustable(&self) -> watch::Receiver<Arc<Adjustable>> {
        self.shared.desk.receiver()
    }

    fn adjust(&self, change: Change) -> std::result::Result<(), AdjustError> {
        match self.shared.desk.post(change, self.shared.clock.now())? {
            Owner::Capture => self.shared.bell.ring(),
            Owner::Encode => self.shared.inbox.nudge(),
        }
        Ok(())
    }

    fn status(&self) -> StreamStatus {
        let shared = &self.shared;
        shared.board.status(shared.clock.now(), shared.settings.bitrate, shared.fanout.subscribers())
    }
}

/// What most cameras turn out to give; the first card is drawn in it.
fn first_format(size: Size) -> PictureFormat {
    let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
    PictureFormat::packed(Layout::I420, size, colour)
}

/// Encodes one dark picture, for the SPS that offers are answered with before anybody watches. Returns the encoder's name.
fn probe(open: &OpenEncoder, format: PictureFormat, rate: FrameRate, board: &Board) -> Result<&'static str> {
    let mut encoder = open(&format, rate, &[])?;
    let mut unit = AccessUnit::default();
    encoder.force_key();
    encoder.encode(&card::dark(format), &mut unit)?;
    let name = encoder.name();
    let id = h264::nal_units(&unit.bytes).find_map(h264::profile_level_id);
    let id = id.ok_or_else(|| Error::new(ErrorKind::Unsupported, format!("{name}: the first picture has no SPS")))?;
    board.set_encoder(name);
    board.set_profile_level_id(id);
    Ok(name)
}

/// Which threads run; they leave by dropping their `Entered`, even when they panic.
#[derive(Default)]
struct Running {
    names: Mutex<Vec<&'static str>>,
    changed: Condvar,
}

struct Entered {
    running: Arc<Running>,
    name: &'static str,
}

impl Running {
    fn enter(self: &Arc<Self>, name: &'static str) -> Entered {
        lock(&self.names).push(name);
        Entered { running: self.clone(), name }
    }

    fn wait(&self, deadline: Duration) -> Vec<&'static str> {
        let waited = self.changed.wait_timeout_while(lock(&self.names), deadline, |names| !names.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        lock(&self.running.names).retain(|name| *name != self.name);
        self.running.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
