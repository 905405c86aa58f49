//! The state everybody sees alike: camera controls and overlay layers, as keys and values with a version.
//!
//! Pure. Owns the versions and the rule for conflicts: who changes a key that somebody else has changed since they looked
//! is told the whole state instead. Must never believe a value it was sent: every one is checked against what the
//! stream says can be changed (`keys.rs`). Input: `Adjustable` (truth), `set` messages (wishes).

use crate::config::Preset;
use crate::signal::message::ErrorCode;
use crate::signal::room::keys::{Refusal, bad, change, describe, keys_of, values};
use crate::signal::room::words::{Describe, SeatId, Told, Values};
use crate::stream::adjust::{Adjustable, Change, Control, ControlKind};
use crate::units::Micros;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Keys of one `set`.
const KEYS_AT_ONCE: usize = 32;
/// A change that comes so long after a wish for it is not its doing.
const DONE_WITHIN: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct SharedState {
    version: u64,
    now: Adjustable,
    presets: Vec<Preset>,
    values: Values,
    describe: Vec<Describe>,
    /// When each key last changed, and by whom.
    changed: BTreeMap<String, (u64, Option<SeatId>)>,
    /// What was asked of the stream and has not shown yet.
    wished: BTreeMap<String, (Micros, SeatId)>,
    /// Of presets: controls that other controls of the same preset have to make changeable first.
    deferred: Vec<Deferred>,
}

struct Deferred {
    until: Micros,
    by: SeatId,
    key: String,
    value: i64,
}

/// What came of a look at the stream.
#[derive(Default)]
pub struct News {
    pub told: Vec<Told>,
    /// Deferred changes whose time has come.
    pub changes: Vec<(SeatId, Change)>,
}

impl SharedState {
    pub fn new(presets: Vec<Preset>) -> SharedState {
        let mut state = SharedState { presets, ..SharedState::default() };
        state.describe = describe(&state.now, &state.presets);
        state
    }

    pub fn snapshot(&self) -> Told {
        Told::State { version: self.version, values: self.values.clone(), describe: self.describe.clone() }
    }

    /// Takes the stream's word for how things are; what everybody has to hear of it.
    pub fn update(&mut self, now: Micros, adjustable: &Adjustable) -> News {
        let (values, describe) = (values(adjustable), describe(adjustable, &self.presets));
        self.now = adjustable.clone();
        let differs = |(key, value): &(&String, &Value)| self.values.get(*key) != Some(*value);
        let changed: Vec<String> = values.iter().filter(differs).map(|(key, _)| key.clone()).collect();
        let redescribed = describe != self.describe;
        let changes = self.take_deferred(now);
        if changed.is_empty() && !redescribed {
            return News { told: Vec::new(), changes };
        }
        self.version += 1;
        let mut patches: BTreeMap<Option<SeatId>, Values> = BTreeMap::new();
        for key in changed {
            let by = self.wished.remove(&key).filter(|(at, _)| now.since(*at) <= DONE_WITHIN).map(|(_, seat)| seat);
            self.changed.insert(key.clone(), (self.version, by));
            patches.entry(by).or_default().insert(key.clone(), values[&key].clone());
        }
        self.changed.retain(|key, _| values.contains_key(key));
        self.wished.retain(|key, _| values.contains_key(key));
        (self.values, self.describe) = (values, describe);
        let version = self.version;
        let told = match redescribed {
            true => vec![self.snapshot()],
            false => patches.into_iter().map(|(by, values)| Told::Patch { version, values, by }).collect(),
        };
        News { told, changes }
    }

    fn take_deferred(&mut self, now: Micros) -> Vec<(SeatId, Change)> {
        let controls = &self.now.controls;
        let active = |key: &str| controls.iter().any(|control| control.key == key && !control.inactive);
        let mut due = Vec::new();
        self.deferred.retain(|wish| {
            let is_due = active(&wish.key);
            if is_due && now < wish.until {
                self.wished.insert(format!("control.{}", wish.key), (now, wish.by));
                due.push((wish.by, Change::Control { key: wish.key.clone(), value: wish.value }));
            }
            !is_due && now < wish.until
        });
        due
    }

    /// The changes that fulfil somebody's wish; all of it or nothing.
    pub fn set(&mut self, now: Micros, by: SeatId, base: u64, wish: &Values) -> Result<Vec<Change>, Refusal> {
        if wish.len() > KEYS_AT_ONCE {
            return Err((ErrorCode::TooLong, format!("more than {KEYS_AT_ONCE} keys at once")));
        }
        if wish.keys().any(|key| self.is_stale(now, key, base, by)) {
            return Err((ErrorCode::Stale, "somebody changed it in between".into()));
        }
        let mut changes = Vec::new();
        for (key, value) in wish {
            changes.extend(self.changes(key, value)?);
        }
        if let Some(preset) = wish.get("preset") {
            self.defer(now, by, preset);
        }
        for change in &changes {
            // what is so already will not show as a change
            for key in keys_of(change).into_iter().filter(|key| wish.get(key) != self.values.get(key)) {
                self.wished.insert(key, (now, by));
            }
        }
        Ok(changes)
    }

    /// Changed by somebody else since `base`, or about to be.
    fn is_stale(&self, now: Micros, key: &str, base: u64, by: SeatId) -> bool {
        let changed = self.changed.get(key).is_some_and(|(version, last)| *version > base && *last != Some(by));
        let wished = self.wished.get(key).is_some_and(|(at, last)| now.since(*at) <= DONE_WITHIN && *last != by);
        changed || wished
    }

    fn changes(&self, key: &str, value: &Value) -> Result<Vec<Change>, Refusal> {
        match key {
            "reset" => return Ok(self.defaults()),
            "preset" => return self.preset(value),
            _ => {}
        }
        let described = self.describe.iter().find(|d| d.key == key).ok_or_else(|| bad(key, "there is no such key"))?;
        if described.read_only || described.inactive {
            return Err(bad(key, "it cannot be changed now"));
        }
        Ok(vec![change(described, value)?])
    }

    fn defaults(&self) -> Vec<Change> {
        let settable = |c: &&Control| !c.read_only && !c.inactive && c.kind != ControlKind::Button;
        let away = self.now.controls.iter().filter(settable).filter(|c| c.value != c.default);
        away.map(|c| Change::Control { key: c.key.clone(), value: c.default }).collect()
    }

    /// Controls that the camera does not have are left out: one preset serves several cameras. Switches come first: they
    /// decide what else can be changed.
    fn preset(&self, name: &Value) -> Result<Vec<Change>, Refusal> {
        let mut there: Vec<(&Control, i64)> = self.wanted_by(name)?.filter(|(control, _)| !control.inactive).collect();
        there.sort_by_key(|(control, _)| matches!(control.kind, ControlKind::Integer { .. }));
        Ok(there.into_iter().map(|(c, value)| Change::Control { key: c.key.clone(), value }).collect())
    }

    /// What a preset wants of controls that have no effect now waits for its switches to be set.
    fn defer(&mut self, now: Micros, by: SeatId, name: &Value) {
        let Ok(wanted) = self.wanted_by(name) else { return };
        let idle = wanted.filter(|(control, _)| control.inactive).take(KEYS_AT_ONCE);
        let until = now + DONE_WITHIN;
        self.deferred = idle.map(|(control, value)| Deferred { until, by, key: control.key.clone(), value }).collect();
    }

    fn wanted_by(&self, name: &Value) -> Result<impl Iterator<Item = (&Control, i64)>, Refusal> {
        let wanted = self.presets.iter().find(|preset| name.as_str() == Some(&preset.name));
        let preset = wanted.ok_or_else(|| bad("preset", "there is no preset of this name"))?;
        let controls = self.now.controls.iter().filter(|control| !control.read_only);
        Ok(controls.filter_map(|control| preset.controls.get(&control.key).map(|value| (control, *value))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::room::keys::tests::camera;

    const ANN: SeatId = SeatId(1);
    const BOB: SeatId = SeatId(2);

    fn state() -> SharedState {
        let preset = Preset { name: "night".into(), controls: [("brightness".into(), 200), ("gain".into(), 9)].into() };
        let mut state = SharedState::new(vec![preset]);
        assert!(matches!(state.update(Micros(0), &camera()).told[..], [Told::State { version: 1, .. }]));
        state
    }

    fn wish(text: &str) -> Values {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_a_browsers_numbers_cannot_hold_goes_both_ways_as_text() {
        let mut camera = camera();
        camera.controls[0].kind = ControlKind::Integer { minimum: i64::MIN, maximum: i64::MAX, step: 1 };
        camera.controls[0].value = 9_007_199_254_740_993;
        let mut state = SharedState::new(Vec::new());
        state.update(Micros(0), &camera);
        let Told::State { values, describe, .. } = state.snapshot() else { panic!() };
        assert_eq!(values["control.brightness"], "9007199254740993");
        let described = serde_json::to_value(&describe[0]).unwrap();
        assert_eq!(
            (described["min"].as_str(), described["default"].as_i64()),
            (Some("-9223372036854775808"), Some(10))
        );
        assert_eq!(serde_json::from_value::<Describe>(described).unwrap(), describe[0]);
        let wish = wish(r#"{"control.brightness":"9223372036854775807"}"#);
        let wanted = Change::Control { key: "brightness".into(), value: i64::MAX };
        assert_eq!(state.set(Micros(0), ANN, 1, &wish), Ok(vec![wanted]));
    }

    #[test]
    fn a_wish_becomes_a_change_and_the_change_a_patch_with_its_author() {
        let mut state = state();
        let changes = state.set(Micros(0), ANN, 1, &wish(r#"{"control.brightness":7,"layer.0.opacity":0.5}"#)).unwrap();
        assert_eq!(changes.len(), 2);
        let mut camera = camera();
        camera.controls[0].value = 7;
        let told = state.update(Micros(1_000), &camera).told;
        let values = wish(r#"{"control.brightness":7}"#);
        assert_eq!(told, [Told::Patch { version: 2, values, by: Some(ANN) }]);
        camera.controls[0].value = 8;
        let told = state.update(Micros(1_000), &camera).told;
        assert!(matches!(told[..], [Told::Patch { version: 3, by: None, .. }]), "the driver's own doing: {told:?}");
    }

    #[test]
    fn who_has_not_seen_the_last_change_is_refused() {
        let mut state = state();
        let mut camera = camera();
        state.set(Micros(0), ANN, 1, &wish(r#"{"control.brightness":7}"#)).unwrap();
        camera.controls[0].value = 7;
        state.update(Micros(0), &camera);
        let refused = state.set(Micros(0), BOB, 1, &wish(r#"{"control.brightness":9,"control.auto":false}"#));
        assert_eq!(refused.unwrap_err().0, ErrorCode::Stale);
        assert!(state.set(Micros(0), BOB, 1, &wish(r#"{"control.auto":false}"#)).is_ok(), "another key");
        assert!(state.set(Micros(0), ANN, 1, &wish(r#"{"control.brightness":9}"#)).is_ok(), "her own change");
        let later = Micros(5_000_000);
        assert!(state.set(later, BOB, 2, &wish(r#"{"control.brightness":9}"#)).is_ok(), "seen by now");
    }

    #[test]
    fn nothing_that_does_not_fit_gets_through() {
        let mut state = state();
        for text in [
            r#"{"control.brightness":256}"#,
            r#"{"control.brightness":1.5}"#,
            r#"{"control.brightness":"1"}"#,
            r#"{"control.auto":1}"#,
            r#"{"control.mode":1}"#,
            r#"{"control.nothing":1}"#,
            r#"{"layer.0.corner":"middle"}"#,
            r#"{"layer.0.opacity":1.01}"#,
            r#"{"layer.0.text":"a\nb"}"#,
            r#"{"layer.1.shown":true}"#,
            r#"{"layer.0":true}"#,
            r#"{"preset":"day"}"#,
            r#"{"":0}"#,
        ] {
            assert_eq!(state.set(Micros(0), ANN, 1, &wish(text)).unwrap_err().0, ErrorCode::BadValue, "{text}");
        }
        let many: Values = (0..=KEYS_AT_ONCE).map(|at| (format!("k{at}"), Value::Null)).collect();
        assert_eq!(state.set(Micros(0), ANN, 1, &many).unwrap_err().0, ErrorCode::TooLong);
    }

    #[test]
    fn presets_and_reset_touch_only_what_the_camera_has() {
        let mut state = state();
        let night = state.set(Micros(0), ANN, 1, &wish(r#"{"preset":"night"}"#)).unwrap();
        assert_eq!(night, [Change::Control { key: "brightness".into(), value: 200 }]);
        let reset = state.set(Micros(0), ANN, 1, &wish(r#"{"reset":true}"#)).unwrap();
        let keys: Vec<_> = reset.iter().flat_map(keys_of).collect();
        assert_eq!(keys, ["control.brightness", "control.auto", "control.mode"]);
    }

    #[test]
    fn a_preset_sets_what_its_own_switches_make_changeable() {
        let preset = Preset { name: "night".into(), controls: [("auto".into(), 0), ("brightness".into(), 200)].into() };
        let mut state = SharedState::new(vec![preset]);
        let mut camera = camera();
        camera.controls[0].inactive = true;
        state.update(Micros(0), &camera);
        let first = state.set(Micros(0), ANN, 1, &wish(r#"{"preset":"night"}"#)).unwrap();
        assert_eq!(first, [Change::Control { key: "auto".into(), value: 0 }]);
        camera.controls[1].value = 0;
        assert_eq!(state.update(Micros(1), &camera).changes, []);
        camera.controls[0].inactive = false;
        let news = state.update(Micros(2), &camera);
        assert_eq!(news.changes, [(ANN, Change::Control { key: "brightness".into(), value: 200 })]);
        camera.controls[0].inactive = true;
        state.update(Micros(3), &camera);
        state.set(Micros(3), ANN, 9, &wish(r#"{"preset":"night"}"#)).unwrap();
        camera.controls[0].inactive = false;
        assert_eq!(state.update(Micros(9_000_000), &camera).changes, [], "much later is too late");
        assert!(state.deferred.is_empty());
    }

    #[test]
    fn a_key_somebody_else_is_about_to_change_counts_as_changed() {
        let mut state = state();
        state.set(Micros(0), ANN, 1, &wish(r#"{"control.brightness":7}"#)).unwrap();
        let second = state.set(Micros(1), BOB, 1, &wish(r#"{"control.brightness":9}"#));
        assert_eq!(second.unwrap_err().0, ErrorCode::Stale);
        assert!(state.set(Micros(5_000_000), BOB, 1, &wish(r#"{"control.brightness":9}"#)).is_ok(), "it never came");
    }

    #[test]
    fn a_camera_that_goes_takes_its_keys_along() {
        let mut state = state();
        let told = state.update(Micros(0), &Adjustable { controls: vec![], ..camera() }).told;
        let [Told::State { values, describe, .. }] = &told[..] else { panic!("{told:?}") };
        assert!(
            values.keys().all(|key| key.starts_with("layer.")) && describe.iter().all(|d| d.key.starts_with("layer."))
        );
        assert!(state.changed.keys().all(|key| key.starts_with("layer.")));
    }
}
