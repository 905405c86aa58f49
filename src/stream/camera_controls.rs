//! The capture thread's part in live changes: sets what people asked for, shows what became of it, and sets it again
//! when the camera comes back.
//!
//! Owns what people have set since the start. Pictures come first: between two of them only a few milliseconds go into
//! controls, however many changes wait. Input: the desk (`adjustments.rs`), the open source's controls.

use super::adjust::{Control, ControlKind};
use super::adjustments::Adjustments;
use crate::capture::controls::Controls;
use crate::clock::Clock;
use crate::repeat::{RepeatFilter, Say};
use crate::units::Micros;
use std::collections::VecDeque;
use std::time::Duration;

/// What changes may take between two pictures, the last one's own time not counted.
const TURN: Duration = Duration::from_millis(5);
/// A driver that tells of changes without end is listened to this often.
const SHOW_EVERY: Duration = Duration::from_millis(20);

pub(super) struct CameraControls {
    clock: Clock,
    by_people: ByPeople,
    /// To be set again on the camera that came back.
    again: VecDeque<(String, i64)>,
    /// Its controls are known since it was opened.
    met: bool,
    /// There is something to show.
    changed: bool,
    shown_at: Option<Micros>,
    complaints: RepeatFilter,
}

/// What people have set on one device, in the order of their changes.
#[derive(Default)]
struct ByPeople {
    device: String,
    values: Vec<(String, i64)>,
}

impl CameraControls {
    pub fn new(clock: Clock) -> CameraControls {
        CameraControls {
            clock,
            by_people: ByPeople::default(),
            again: VecDeque::new(),
            met: false,
            changed: false,
            shown_at: None,
            complaints: RepeatFilter::new(Duration::from_secs(30), 16),
        }
    }

    /// Between two pictures. Returns how long the next one may be waited for, `usual` at most.
    pub fn turn(&mut self, controls: &mut dyn Controls, desk: &Adjustments, usual: Duration) -> Duration {
        controls.work(desk.is_watched());
        if controls.list().is_empty() {
            return usual;
        }
        if !std::mem::replace(&mut self.met, true) {
            self.again = self.by_people.to_set_again(controls);
        }
        self.set_what_waits(controls, desk);
        self.changed |= controls.take_changed();
        self.show(controls, desk);
        match () {
            () if !self.again.is_empty() || desk.control_waits() => Duration::ZERO,
            () if self.changed => usual.min(SHOW_EVERY),
            () => usual,
        }
    }

    /// The source is closed.
    pub fn away(&mut self, desk: &Adjustments) {
        (self.met, self.changed, self.shown_at) = (false, false, None);
        self.again.clear();
        desk.show_controls(&[]);
        let dropped = desk.drop_controls();
        if dropped > 0 {
            tracing::info!("camera: {dropped} changes of its controls came too late: it is away");
        }
    }

    fn set_what_waits(&mut self, controls: &mut dyn Controls, desk: &Adjustments) {
        let end = self.clock.now() + TURN;
        loop {
            if let Some((key, value)) = self.again.pop_front() {
                self.set_again(controls, &key, value);
            } else if let Some((key, value)) = desk.next_control() {
                self.set(controls, &key, value);
            } else {
                return;
            }
            if self.clock.now() >= end {
                return;
            }
        }
    }

    fn set(&mut self, controls: &mut dyn Controls, key: &str, value: i64) {
        match controls.set(key, value) {
            Ok(()) => self.by_people.remember(controls, key),
            Err(why) => self.complain(&format!("{why}; it stays as it is")),
        }
    }

    fn set_again(&mut self, controls: &mut dyn Controls, key: &str, value: i64) {
        match controls.set(key, value) {
            Ok(()) => self.by_people.remember(controls, key),
            Err(why) => {
                self.by_people.forget(key);
                self.complain(&format!("{why}; {value}, set before it went away, is dropped"));
            }
        }
    }

    fn complain(&mut self, what: &str) {
        match self.complaints.observe(self.clock.now(), what) {
            Say::Now => tracing::warn!("camera: {what}"),
            Say::Count(more) => tracing::warn!("camera: {what} ({more} more times in the last 30 s)"),
            Say::Nothing => {}
        }
    }

    fn show(&mut self, controls: &dyn Controls, desk: &Adjustments) {
        let now = self.clock.now();
        if !self.changed || self.shown_at.is_some_and(|at| now.since(at) < SHOW_EVERY) {
            return;
        }
        (self.changed, self.shown_at) = (false, Some(now));
        if self.again.is_empty() {
            self.by_people.follow(controls);
        }
        desk.show_controls(controls.list());
    }
}

impl ByPeople {
    fn remember(&mut self, controls: &dyn Controls, key: &str) {
        if self.device != controls.device() {
            *self = ByPeople { device: controls.device().to_owned(), values: Vec::new() };
        }
        self.forget(key);
        if let Some(control) = find(controls, key).filter(|control| control.kind != ControlKind::Button) {
            self.values.push((key.to_owned(), control.value));
        }
    }

    fn forget(&mut self, key: &str) {
        self.values.retain(|(known, _)| known != key);
    }

    /// Others change controls, too (v4l2-ctl, the driver): the last value counts, and none where an automatic rules.
    fn follow(&mut self, controls: &dyn Controls) {
        if self.device != controls.device() {
            return;
        }
        self.values.retain_mut(|(key, value)| {
            let control = find(controls, key).filter(|control| !control.inactive);
            *value = control.map_or(*value, |control| control.value);
            control.is_some()
        });
    }

    fn to_set_again(&self, controls: &dyn Controls) -> VecDeque<(String, i64)> {
        if self.device != controls.device() {
            return VecDeque::new();
        }
        let is_so = |key: &str, value| find(controls, key).is_some_and(|control| control.value == value);
        self.values.iter().filter(|(key, value)| !is_so(key, *value)).cloned().collect()
    }
}

fn find<'a>(controls: &'a dyn Controls, key: &str) -> Option<&'a Control> {
    controls.list().iter().find(|control| control.key == key)
}
