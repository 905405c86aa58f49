//! The desk between people and the threads: what can be changed now, and the changes that wait to be made.
//!
//! A change is judged at once against what is known, then waits for the thread whose thing it is. A newer value for the
//! same thing replaces the one that waits, so that a slider that is dragged costs one change per picture; beyond the
//! bound a change is refused. Must never wait for a thread. Input: people; the capture and the encode thread.

use super::adjust::{AdjustError, Adjustable, Change, Control, ControlKind, Layer};
use crate::overlay::LayerChange;
use crate::units::Micros;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Changes that wait for one thread.
pub(super) const MOST_WAITING: usize = 64;
/// Who turns an automatic off sets the value it ruled right after, before the driver has told that it may be set.
const GROUP: Duration = Duration::from_millis(500);

pub(super) struct Adjustments {
    current: watch::Sender<Arc<Adjustable>>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    controls: VecDeque<(String, i64)>,
    layers: VecDeque<(usize, LayerChange)>,
    last_control: Option<Micros>,
}

/// Whose thing a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Capture,
    Encode,
}

impl Adjustments {
    pub fn new(layers: Vec<Layer>) -> Adjustments {
        let current = Adjustable { version: 0, controls: Vec::new(), layers };
        Adjustments { current: watch::Sender::new(Arc::new(current)), waiting: Mutex::default() }
    }

    pub fn receiver(&self) -> watch::Receiver<Arc<Adjustable>> {
        self.current.subscribe()
    }

    pub fn is_watched(&self) -> bool {
        self.current.receiver_count() > 0
    }

    /// Takes a change on and says who must hear of it.
    pub fn post(&self, change: Change, now: Micros) -> Result<Owner, AdjustError> {
        let known = self.current.borrow().clone();
        let mut waiting = self.waiting();
        match change {
            Change::Control { key, value } => waiting.post_control(&known, key, value, now).map(|()| Owner::Capture),
            Change::Layer { index, shown, corner, opacity, text } => {
                let change = LayerChange { shown, corner, opacity, text };
                waiting.post_layer(&known, index, change).map(|()| Owner::Encode)
            }
        }
    }

    pub fn next_control(&self) -> Option<(String, i64)> {
        self.waiting().controls.pop_front()
    }

    pub fn control_waits(&self) -> bool {
        !self.waiting().controls.is_empty()
    }

    /// The camera they are for is gone. Returns how many they were.
    pub fn drop_controls(&self) -> usize {
        std::mem::take(&mut self.waiting().controls).len()
    }

    pub fn next_layer(&self) -> Option<(usize, LayerChange)> {
        self.waiting().layers.pop_front()
    }

    pub fn show_controls(&self, controls: &[Control]) {
        self.show(|now| now.controls == controls, |next| next.controls = controls.to_vec());
    }

    pub fn show_layers(&self, layers: &[Layer]) {
        self.show(|now| now.layers == layers, |next| next.layers = layers.to_vec());
    }

    fn show(&self, is_known: impl FnOnce(&Adjustable) -> bool, change: impl FnOnce(&mut Adjustable)) {
        self.current.send_if_modified(|current| {
            if is_known(current) {
                return false;
            }
            let mut next = Adjustable::clone(current);
            change(&mut next);
            next.version += 1;
            *current = Arc::new(next);
            true
        });
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn post_control(&mut self, known: &Adjustable, key: String, value: i64, now: Micros) -> Result<(), AdjustError> {
        let control = known.controls.iter().find(|control| control.key == key);
        let control = control.ok_or_else(|| match known.controls.is_empty() {
            true => AdjustError::Unknown(format!("{key}: there is no camera with controls now")),
            false => AdjustError::Unknown(format!("{key}: the camera has no such control")),
        })?;
        let name = &control.name;
        if control.read_only {
            return Err(AdjustError::Refused(format!("{name}: it cannot be changed")));
        }
        // the capture thread looks again before it sets one
        let in_a_group = self.last_control.is_some_and(|last| now.since(last) < GROUP);
        if control.inactive && !in_a_group {
            return Err(AdjustError::Refused(format!("{name}: another control overrides it")));
        }
        let value = control.fitted(value).map_err(AdjustError::Refused)?;
        if control.kind != ControlKind::Button {
            self.controls.retain(|(waiting, _)| *waiting != key);
        }
        push(&mut self.controls, (key, value))?;
        self.last_control = Some(now);
        Ok(())
    }

    fn post_layer(&mut self, known: &Adjustable, index: usize, change: LayerChange) -> Result<(), AdjustError> {
        let layer = known.layers.get(index);
        let layer = layer.ok_or_else(|| AdjustError::Unknown(format!("layer {index}: there is no such layer")))?;
        layer.check(&change).map_err(|why| AdjustError::Refused(format!("layer {index}: {why}")))?;
        match self.layers.iter_mut().find(|(waiting, _)| *waiting == index) {
            Some((_, earlier)) => earlier.and(change),
            None => push(&mut self.layers, (index, change))?,
        }
        Ok(())
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) -> Result<(), AdjustError> {
    if queue.len() >= MOST_WAITING {
        return Err(AdjustError::Busy);
    }
    queue.push_back(item);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Corner, OverlayConfig};

    const NOW: Micros = Micros(5_000_000);

    fn control(key: &str, kind: ControlKind) -> Control {
        let name = key.to_uppercase();
        Control { key: key.into(), name, kind, value: 5, default: 5, read_only: false, inactive: false }
    }

    fn desk() -> Adjustments {
        let desk = Adjustments::new(vec![Layer::of(&OverlayConfig::default(), true)]);
        let range = ControlKind::Integer { minimum: 0, maximum: 10, step: 2 };
        desk.show_controls(&[
            control("gain", range.clone()),
            Control { inactive: true, ..control("focus", range.clone()) },
            Control { read_only: true, ..control("sensor", range) },
            control("press", ControlKind::Button),
        ]);
        desk
    }

    fn set(desk: &Adjustments, key: &str, value: i64, now: Micros) -> Result<Owner, AdjustError> {
        desk.post(Change::Control { key: key.into(), value }, now)
    }

    fn fade(desk: &Adjustments, index: usize, opacity: f32) -> Result<Owner, AdjustError> {
        desk.post(Change::Layer { index, shown: None, corner: None, opacity: Some(opacity), text: None }, NOW)
    }

    #[test]
    fn what_cannot_be_is_refused_at_once_and_in_words() {
        let desk = desk();
        for (key, value, words) in [
            ("gain", 11, "GAIN: 11 is not within 0 to 10"),
            ("sensor", 1, "SENSOR: it cannot be changed"),
            ("focus", 1, "FOCUS: another control overrides it"),
        ] {
            assert_eq!(set(&desk, key, value, NOW), Err(AdjustError::Refused(words.into())));
        }
        assert!(matches!(set(&desk, "zoom", 1, NOW), Err(AdjustError::Unknown(_))));
        assert!(matches!(fade(&desk, 1, 0.5), Err(AdjustError::Unknown(_))));
        assert!(matches!(fade(&desk, 0, 1.5), Err(AdjustError::Refused(_))));
        assert_eq!((desk.next_control(), desk.next_layer()), (None, None));
        desk.show_controls(&[]);
        assert!(matches!(set(&desk, "gain", 1, NOW), Err(AdjustError::Unknown(_))));
    }

    #[test]
    fn a_newer_value_replaces_the_one_that_waits_and_presses_are_all_kept() {
        let desk = desk();
        for value in 0..=10 {
            assert_eq!(set(&desk, "gain", value, NOW), Ok(Owner::Capture));
            assert_eq!(set(&desk, "press", value, NOW), Ok(Owner::Capture));
            assert_eq!(fade(&desk, 0, value as f32 / 10.0), Ok(Owner::Encode));
        }
        let show =
            Change::Layer { index: 0, shown: Some(false), corner: Some(Corner::TopLeft), opacity: None, text: None };
        assert_eq!(desk.post(show, NOW), Ok(Owner::Encode));
        let mut waiting: Vec<_> = std::iter::from_fn(|| desk.next_control()).collect();
        waiting.retain(|(key, _)| key != "press");
        assert_eq!(waiting, [("gain".to_owned(), 10)]);
        let merged = LayerChange { shown: Some(false), corner: Some(Corner::TopLeft), opacity: Some(1.0), text: None };
        assert_eq!((desk.next_layer(), desk.next_layer()), (Some((0, merged)), None));
    }

    #[test]
    fn more_than_the_bound_is_busy_and_room_again_is_room() {
        let desk = desk();
        for _ in 0..MOST_WAITING {
            set(&desk, "press", 1, NOW).expect("room");
        }
        assert_eq!(set(&desk, "press", 1, NOW), Err(AdjustError::Busy));
        assert_eq!(set(&desk, "gain", 1, NOW), Err(AdjustError::Busy));
        assert!(fade(&desk, 0, 0.5).is_ok(), "the other thread's changes have their own");
        desk.next_control();
        assert!(set(&desk, "gain", 1, NOW).is_ok());
        assert_eq!(desk.drop_controls(), MOST_WAITING);
        assert!(!desk.control_waits());
    }

    #[test]
    fn what_an_automatic_rules_may_be_set_right_after_it() {
        let desk = desk();
        assert!(set(&desk, "gain", 1, NOW).is_ok());
        assert!(set(&desk, "focus", 1, NOW + GROUP / 2).is_ok());
        assert!(set(&desk, "focus", 1, NOW + GROUP / 2 + GROUP).is_err());
    }

    #[test]
    fn the_version_rises_with_differences_only_and_everybody_hears_of_them() {
        let desk = desk();
        assert!(!desk.is_watched());
        let mut receiver = desk.receiver();
        assert!(desk.is_watched());
        let first = receiver.borrow_and_update().clone();
        desk.show_controls(&first.controls);
        desk.show_layers(&first.layers);
        assert!(!receiver.has_changed().expect("the desk is there"));
        desk.show_controls(&first.controls[1..]);
        assert!(receiver.has_changed().expect("the desk is there"));
        let second = receiver.borrow_and_update().clone();
        assert_eq!((second.version, second.controls.len()), (first.version + 1, 3));
        assert_eq!(second.layers, first.layers);
    }
}
