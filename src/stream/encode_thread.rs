//! The encode thread: newest picture -> overlay -> encoder -> hub, and the card while there is no picture.
//!
//! Owns the encoder and the order of pictures. Must never wait for the camera, an output, or a failed encoder.
//! Input: the inbox (pictures, nudges), the board (the camera's state), the fan-out (who watches, who wants a key).

use super::adjustments::MOST_WAITING;
use super::board::Sample;
use super::card::{Card, Reason};
use super::encoder_slot::EncoderSlot;
use super::inbox::{Arrived, Event};
use super::key_gate::KeyGate;
use super::pipeline::{Overlay, Shared};
use super::status::CameraState;
use crate::encode::Encoded;
use crate::media::frame::Frame;
use crate::media::h264;
use crate::media::packet::{AccessUnit, AccessUnitPool};
use crate::overlay::Moment;
use crate::units::{FrameRate, Micros, Pts90k};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const CARD_PERIOD: Duration = Duration::from_millis(200);
/// A camera that is just starting gets this long before viewers see the card instead.
const OPENING_PATIENCE: Duration = Duration::from_millis(500);
const IDLE_LOOK: Duration = Duration::from_millis(500);
const WATCHED_LOOK: Duration = Duration::from_millis(100);
/// A stream's first key picture is small, to be there quickly, and blocks that stand still are never coded again: the
/// second one comes this much later, when the rate control knows what the picture can have.
const REFINE_AFTER: Duration = Duration::from_secs(1);
/// Cameras slower than this have their last picture kept, to be encoded again for a newcomer.
const SLOW: Duration = Duration::from_millis(100);

pub(super) struct EncodeThread {
    shared: Arc<Shared>,
    overlay: Box<dyn Overlay>,
    encoder: EncoderSlot,
    units: AccessUnitPool,
    gate: KeyGate,
    card: Option<Card>,
    showing: Showing,
    /// Of a slow camera.
    kept: Option<Arrived>,
    /// When the second key picture of what is shown is due.
    refine_at: Option<Micros>,
    last_picture: Micros,
    last_pts: Pts90k,
    sequence: u64,
    /// The biggest unit so far: every pooled unit gets room for it, so that none has to grow later.
    biggest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Showing {
    /// Nobody watches.
    Nothing,
    /// Pictures come, or are waited for since then; `begun` after the first one.
    Camera {
        since: Micros,
        begun: bool,
    },
    Card {
        due: Micros,
    },
}

impl EncodeThread {
    pub fn new(shared: Arc<Shared>, encoder: EncoderSlot, overlay: Box<dyn Overlay>) -> EncodeThread {
        EncodeThread {
            shared,
            overlay,
            encoder,
            units: AccessUnitPool::default(),
            gate: KeyGate::default(),
            card: None,
            showing: Showing::Nothing,
            kept: None,
            refine_at: None,
            last_picture: Micros::default(),
            last_pts: Pts90k::default(),
            sequence: 0,
            biggest: 0,
        }
    }

    pub fn run(mut self) {
        loop {
            let event = self.shared.inbox.wait(self.patience());
            let now = self.shared.clock.now();
            self.shared.board.encode_beat(now);
            self.adjust();
            // both: the last viewer may leave and the next one come between two looks
            if self.shared.fanout.take_begun() || self.shared.fanout.subscribers() == 0 {
                self.rest();
            }
            match event {
                Event::Stop => return,
                // a picture that comes when the last viewer has just gone is dropped here
                _ if self.shared.fanout.subscribers() == 0 => {}
                Event::Picture(arrived) => self.picture(arrived),
                Event::Look => self.look(now),
            }
        }
    }

    /// Takes over what people changed, also while nobody watches.
    fn adjust(&mut self) {
        let mut changed = false;
        // bounded: people may be quicker than we are
        for _ in 0..MOST_WAITING {
            let Some((index, change)) = self.shared.desk.next_layer() else { break };
            self.overlay.change(index, &change);
            changed = true;
        }
        if changed {
            self.shared.desk.show_layers(&self.overlay.layers());
        }
    }

    fn patience(&self) -> Duration {
        match self.showing {
            Showing::Nothing => IDLE_LOOK,
            Showing::Camera { .. } => WATCHED_LOOK,
            Showing::Card { due } => due.since(self.shared.clock.now()).min(CARD_PERIOD),
        }
    }

    fn rest(&mut self) {
        self.showing = Showing::Nothing;
        self.encoder.close();
        self.kept = None;
        self.card = None;
    }

    fn picture(&mut self, mut arrived: Arrived) {
        self.shared.wedge.may_hang("encode", &self.shared.clock);
        let started = self.shared.clock.now();
        let change = !matches!(self.showing, Showing::Camera { begun: true, .. });
        if change {
            self.encoder.renew();
        }
        if !self.encoder.opens((arrived.frame.format, arrived.rate), started) {
            return self.look(started);
        }
        let moment = Moment {
            wall: self.shared.clock.wall(),
            host: &self.shared.settings.host,
            fps: self.shared.board.captured_fps(started),
        };
        self.overlay.apply(&mut arrived.frame, &moment);
        let period = started.since(self.last_picture);
        self.last_picture = started;
        self.showing = Showing::Camera { since: started, begun: true };
        self.encode(&arrived.frame, arrived.rate, change);
        self.kept = (period > SLOW).then_some(arrived);
    }

    /// No picture came: is it time for the card, or does a newcomer wait for a slow camera?
    fn look(&mut self, now: Micros) {
        if self.showing == Showing::Nothing {
            self.showing = Showing::Camera { since: now, begun: false };
        }
        match self.reason(now) {
            Some(reason) => self.card(reason, now),
            None => {
                if let Showing::Card { .. } = self.showing {
                    self.showing = Showing::Camera { since: now, begun: false };
                }
                self.repeat_for_newcomer(now);
            }
        }
    }

    fn reason(&self, now: Micros) -> Option<Reason> {
        if let Some(cause) = self.encoder.down(now) {
            return Some(Reason::Encoder { detail: cause.to_owned() });
        }
        let since = match self.showing {
            Showing::Camera { since, .. } => Some(since),
            _ => None,
        };
        self.shared.board.look_at_camera(now, since, |camera, _| match camera {
            CameraState::Live => None,
            CameraState::Opening => {
                since.is_none_or(|since| now.since(since) >= OPENING_PATIENCE).then_some(Reason::Opening)
            }
            CameraState::Away { kind, detail, .. } => Some(Reason::Away { kind: *kind, detail: detail.clone() }),
        })
    }

    fn card(&mut self, reason: Reason, now: Micros) {
        let due = match self.showing {
            Showing::Card { due } => Some(due),
            _ => None,
        };
        let newcomer = self.shared.fanout.wants_key() && self.gate.is_open(now);
        if due.is_some_and(|due| now < due) && !newcomer {
            return;
        }
        self.kept = None;
        let (format, rate) = self.encoder.last_kind();
        let drawn = self.card.take().filter(|card| card.reason == reason && card.frame.format == format);
        let mut card = drawn.unwrap_or_else(|| Card::draw(reason, format));
        card.frame.captured_at = now;
        if due.is_none() {
            self.encoder.renew();
        }
        self.encode(&card.frame, rate, due.is_none());
        self.card = Some(card);
        let steady = due.map_or(now, |due| due.max(now - CARD_PERIOD));
        self.showing = Showing::Card { due: steady + CARD_PERIOD };
    }

    fn repeat_for_newcomer(&mut self, now: Micros) {
        if self.shared.fanout.wants_key()
            && self.gate.is_open(now)
            && let Some(kept) = self.kept.take()
        {
            self.encode(&kept.frame, kept.rate, false);
            self.kept = Some(kept);
        }
    }

    /// `change`: what is shown is something else than before, so a key picture is worth its bytes.
    fn encode(&mut self, frame: &Frame, rate: FrameRate, change: bool) {
        let overlaid_at = self.shared.clock.now();
        let open = self.gate.is_open(overlaid_at);
        let refine = open && self.refine_at.take_if(|due| *due <= overlaid_at).is_some();
        let force = change || refine || open && self.shared.fanout.wants_key();
        if change {
            self.refine_at = Some(overlaid_at + REFINE_AFTER);
        }
        let Some(encoder) = self.encoder.ready((frame.format, rate), overlaid_at) else { return };
        if force {
            self.gate.pass(overlaid_at);
            encoder.force_key();
        }
        self.shared.board.set_encoder(encoder.name());
        let stamp = Stamp {
            pts: Pts90k::from_capture(frame.captured_at).max(Pts90k(self.last_pts.0 + 1)),
            overlaid_at,
            sequence: self.sequence,
            room: self.biggest,
        };
        let mut encoded = Ok(Encoded::Skipped);
        let mut copied = 0;
        let unit = self.units.fill(|unit| {
            stamp.write(unit, frame);
            encoded = encoder.encode(frame, unit);
            copied = encoder.take_copied();
            unit.encoded_at = self.shared.clock.now();
        });
        self.shared.board.encoder_copied.fetch_add(copied, Ordering::Relaxed);
        match encoded {
            Ok(Encoded::Unit) => {
                self.encoder.worked();
                self.publish(&unit);
            }
            Ok(Encoded::Skipped) => {
                self.shared.board.encoder_skipped.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.encoder.failed(&error, unit.encoded_at),
        }
    }

    fn publish(&mut self, unit: &Arc<AccessUnit>) {
        self.last_pts = unit.pts;
        self.sequence += 1;
        self.biggest = self.biggest.max(unit.bytes.len());
        if unit.key {
            let sps = h264::nal_units(&unit.bytes).find_map(h264::profile_level_id);
            sps.into_iter().for_each(|id| self.shared.board.set_profile_level_id(id));
        }
        let sample = Sample {
            at: unit.encoded_at,
            bytes: unit.bytes.len(),
            overlay: unit.overlaid_at.since(unit.captured_at),
            encode: unit.encoded_at.since(unit.overlaid_at),
        };
        self.shared.board.encoded(sample, unit.key);
        self.shared.fanout.publish(unit);
    }
}

/// What is known of a unit before it is encoded.
struct Stamp {
    pts: Pts90k,
    overlaid_at: Micros,
    sequence: u64,
    room: usize,
}

impl Stamp {
    fn write(&self, unit: &mut AccessUnit, frame: &Frame) {
        unit.bytes.reserve(self.room);
        unit.key = false;
        unit.pts = self.pts;
        unit.captured_at = frame.captured_at;
        unit.overlaid_at = self.overlaid_at;
        unit.sequence = self.sequence;
        unit.size = Some(frame.format.size);
    }
}
