//! The capture thread: opens the camera, hands its newest picture on, and never gives up.
//!
//! Owns the open source and the waits between tries. After a fault the source is dropped whole and opened anew. This
//! thread may hang in a driver for ever; nobody waits for it without a deadline. Input: a source, whoever subscribes.

use super::board::SILENCE;
use super::camera_controls::CameraControls;
use super::inbox::Arrived;
use super::pipeline::{OpenSource, Shared};
use super::rate_meter::RateMeter;
use super::retry::{Backoff, CauseLog};
use crate::capture::{Fault, FaultKind, Grab, Source, SourceInfo, Want};
use crate::units::Micros;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How soon a stop, or silence, is noticed.
const GRAB_WAIT: Duration = Duration::from_millis(100);
/// While nobody watches: how soon a first viewer is noticed, so that the very next picture is theirs.
const IDLE_GRAB_WAIT: Duration = Duration::from_millis(15);
/// Pictures must flow for this long before an outage counts as over.
const STEADY: Duration = Duration::from_secs(1);
const NAP: Duration = Duration::from_millis(50);

pub(super) struct CaptureThread {
    shared: Arc<Shared>,
    open: OpenSource,
    backoff: Backoff,
    causes: CauseLog,
    outage: Option<Outage>,
    controls: CameraControls,
}

#[derive(Clone, Copy)]
struct Outage {
    since: Micros,
    attempts: u32,
}

/// What is known of one open source while pictures flow.
struct Flow {
    info: SourceInfo,
    last_sign: Micros,
    first_picture: Option<Micros>,
    dropped: u64,
    /// None: the driver says the rate.
    meter: Option<RateMeter>,
}

impl CaptureThread {
    pub fn new(shared: Arc<Shared>, open: OpenSource) -> CaptureThread {
        let (backoff, causes) = (Backoff::default(), CauseLog::default());
        let controls = CameraControls::new(shared.clock.clone());
        CaptureThread { shared, open, backoff, causes, outage: None, controls }
    }

    pub fn run(mut self) {
        while !self.shared.inbox.is_stopping() {
            self.shared.board.capture_beat(self.shared.clock.now());
            let ended = match (self.open)() {
                Ok(source) => self.pump(source),
                Err(fault) => Some(fault),
            };
            self.controls.away(&self.shared.desk);
            if let Some(fault) = ended {
                self.away(fault);
            }
        }
    }

    /// Hands pictures on until the source fails (Some) or the pipeline stops. The source is closed on return.
    fn pump(&mut self, mut source: Box<dyn Source>) -> Option<Fault> {
        let mut flow = self.opened(source.info().clone());
        source.listen(&self.shared.bell);
        while !self.shared.inbox.is_stopping() {
            self.shared.wedge.may_hang("capture", &self.shared.clock);
            let (want, wait) = match self.shared.fanout.subscribers() {
                0 => (Want::Heartbeat, IDLE_GRAB_WAIT),
                _ => (Want::Picture, GRAB_WAIT),
            };
            // the first picture comes before everything else
            let wait = match source.controls().filter(|_| flow.first_picture.is_some()) {
                Some(controls) => self.controls.turn(controls, &self.shared.desk, wait),
                None => wait,
            };
            let mut came = 0;
            match source.grab(want, wait) {
                Ok(Grab::Frame(frame)) => {
                    came = 1;
                    self.sign_of_life(&mut flow);
                    let rate = flow.info.rate.unwrap_or(self.shared.settings.rate);
                    let older = self.shared.inbox.put(Arrived { frame, rate });
                    self.shared.board.capture_dropped.fetch_add(u64::from(older), Ordering::Relaxed);
                }
                Ok(Grab::Passed) => {
                    came = 1;
                    self.sign_of_life(&mut flow);
                }
                Ok(Grab::Nothing) if self.shared.clock.now().since(flow.last_sign) >= SILENCE => {
                    let detail = format!("{}: no picture for {} s", flow.info.name, SILENCE.as_secs());
                    return Some(Fault { kind: FaultKind::Silent, detail });
                }
                Ok(Grab::Nothing) => {}
                Err(fault) => return Some(fault),
            }
            let dropped = source.dropped();
            let more = dropped.saturating_sub(std::mem::replace(&mut flow.dropped, dropped));
            self.shared.board.capture_dropped.fetch_add(more, Ordering::Relaxed);
            self.measure(&mut flow, came + more);
        }
        None
    }

    fn opened(&mut self, info: SourceInfo) -> Flow {
        let board = &self.shared.board;
        let opens = board.camera_opens.fetch_add(1, Ordering::Relaxed);
        board.source_opened(info.clone());
        let now = self.shared.clock.now();
        board.capture_beat(now);
        if opens == 0 {
            let rate = info.rate.map_or("rate unknown".into(), |rate| rate.to_string());
            tracing::info!("camera: {}: {} {} at {rate}", info.name, info.wire_format, info.picture.size);
        }
        let meter = info.rate.is_none().then(|| RateMeter::new(self.shared.settings.rate));
        Flow { info, last_sign: now, first_picture: None, dropped: 0, meter }
    }

    fn measure(&self, flow: &mut Flow, pictures: u64) {
        let Some(rate) = flow.meter.as_mut().and_then(|meter| meter.count(pictures, self.shared.clock.now())) else {
            return;
        };
        tracing::info!("camera: {}: {rate} measured, {} asked for", flow.info.name, self.shared.settings.rate);
        flow.info.rate = Some(rate);
        self.shared.board.source_opened(flow.info.clone());
    }

    fn sign_of_life(&mut self, flow: &mut Flow) {
        let now = self.shared.clock.now();
        flow.last_sign = now;
        if flow.first_picture.is_none() {
            self.shared.board.live(now);
        }
        self.shared.board.captured(now);
        let first = *flow.first_picture.get_or_insert(now);
        if now.since(first) >= STEADY && self.outage.is_some() {
            self.back(&flow.info, first);
        }
    }

    fn back(&mut self, info: &SourceInfo, first_picture: Micros) {
        self.backoff.reset();
        self.causes.clear();
        if let Some(outage) = self.outage.take() {
            tracing::info!(
                "camera: {}: pictures again after {:.1} s away ({} tries)",
                info.name,
                first_picture.since(outage.since).as_secs_f64(),
                outage.attempts
            );
        }
    }

    fn away(&mut self, fault: Fault) {
        let now = self.shared.clock.now();
        let outage = self.outage.get_or_insert(Outage { since: now, attempts: 0 });
        outage.attempts += 1;
        self.shared.board.away(&fault, outage.since, outage.attempts, now);
        self.shared.board.capture_beat(now);
        self.shared.inbox.nudge();
        let wait = self.backoff.next_wait();
        if let Some(next) = self.causes.note(&fault.detail, wait, now) {
            tracing::warn!("camera: {fault}; {next}");
        }
        self.rest(wait);
    }

    fn rest(&self, wait: Duration) {
        let until = self.shared.clock.now() + wait;
        while !self.shared.inbox.is_stopping() {
            let left = until.since(self.shared.clock.now());
            if left.is_zero() {
                return;
            }
            self.shared.clock.sleep(left.min(NAP));
        }
    }
}
