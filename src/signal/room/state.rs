//! The state everybody sees alike: camera controls and overlay layers, as keys and values with a version.
//!
//! Pure. Owns the versions and the rule for conflicts: who changes a key that somebody else has changed since they looked
//! is told the whole state instead. Must never believe a value it was sent: every one is checked against what the
//! stream says can be changed. Input: `Adjustable` (truth), `set` messages (wishes).

use crate::config::{Corner, LayerKind, Preset};
use crate::signal::message::ErrorCode;
use crate::signal::room::whole;
use crate::signal::room::words::{Describe, SeatId, Told, Values};
use crate::stream::adjust::{Adjustable, Change, Control, ControlKind, Layer};
use crate::units::Micros;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Keys of one `set`.
const KEYS_AT_ONCE: usize = 32;
const TEXT_BYTES: usize = 512;
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

pub type Refusal = (ErrorCode, String);

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
        let change = match key.strip_prefix("control.") {
            Some(name) => Change::Control { key: name.to_string(), value: control_value(described, value)? },
            None => layer_change(key, value)?,
        };
        Ok(vec![change])
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

fn values(adjustable: &Adjustable) -> Values {
    let controls = adjustable.controls.iter().filter(|c| c.kind != ControlKind::Button).map(|control| {
        let value = match control.kind {
            ControlKind::Boolean => Value::from(control.value != 0),
            _ => whole::word(control.value),
        };
        (format!("control.{}", control.key), value)
    });
    let layers = adjustable.layers.iter().enumerate().flat_map(|(index, layer)| layer_values(index, layer));
    controls.chain(layers).collect()
}

fn layer_values(index: usize, layer: &Layer) -> Vec<(String, Value)> {
    let key = |what: &str| format!("layer.{index}.{what}");
    // as people write it: an f32 of 0.7 is not 0.7 in an f64
    let opacity = (f64::from(layer.opacity) * 1000.0).round() / 1000.0;
    let mut values = vec![(key("shown"), Value::from(layer.shown)), (key("opacity"), Value::from(opacity))];
    values.extend(layer.corner.map(|corner| (key("corner"), Value::from(corner_name(corner)))));
    values.extend(layer.text.as_ref().map(|text| (key("text"), Value::from(text.as_str()))));
    values
}

/// In the order people look for them: presets, controls and their reset, layers.
fn describe(adjustable: &Adjustable, presets: &[Preset]) -> Vec<Describe> {
    let mut all = Vec::new();
    if !adjustable.controls.is_empty() {
        if !presets.is_empty() {
            let items = presets.iter().map(|preset| (Value::from(preset.name.as_str()), preset.name.clone())).collect();
            all.push(Describe { items, ..named("preset", "preset") });
        }
        all.extend(adjustable.controls.iter().map(describe_control));
        all.push(named("reset", "button"));
    }
    let layers = adjustable.layers.iter().enumerate();
    all.extend(layers.flat_map(|(index, layer)| describe_layer(index, layer)));
    all
}

fn named(key: &str, kind: &str) -> Describe {
    Describe { key: key.into(), name: key.into(), kind: kind.into(), ..Describe::default() }
}

fn describe_layer(index: usize, layer: &Layer) -> Vec<Describe> {
    let name = match layer.kind {
        LayerKind::Logo => "logo",
        LayerKind::Text => "text",
    };
    let one = |(key, _): (String, Value)| {
        let what = key.rsplit('.').next().unwrap_or_default();
        let kind = if what == "shown" { "boolean" } else { what };
        let range = (kind == "opacity").then_some((0, 1));
        Describe {
            min: range.map(|(min, _)| min),
            max: range.map(|(_, max)| max),
            layer: Some(name.into()),
            name: name.into(),
            ..named(&key, kind)
        }
    };
    layer_values(index, layer).into_iter().map(one).collect()
}

fn describe_control(control: &Control) -> Describe {
    let mut describe = Describe {
        key: format!("control.{}", control.key),
        name: control.name.clone(),
        default: Some(whole::word(control.default)),
        read_only: control.read_only,
        inactive: control.inactive,
        ..Describe::default()
    };
    describe.kind = match &control.kind {
        ControlKind::Integer { minimum, maximum, step } => {
            (describe.min, describe.max, describe.step) = (Some(*minimum), Some(*maximum), Some(*step));
            "integer"
        }
        ControlKind::Boolean => {
            describe.default = Some(Value::from(control.default != 0));
            "boolean"
        }
        ControlKind::Menu { items } => {
            describe.items = items.iter().map(|(value, words)| (Value::from(*value), words.clone())).collect();
            "menu"
        }
        ControlKind::Button => {
            describe.default = None;
            "button"
        }
    }
    .into();
    describe
}

fn control_value(described: &Describe, value: &Value) -> Result<i64, Refusal> {
    let key = &described.key;
    match described.kind.as_str() {
        "boolean" => value.as_bool().map(i64::from).ok_or_else(|| bad(key, "true or false is wanted")),
        "button" => Ok(1),
        "menu" => {
            let choice =
                value.as_i64().filter(|choice| described.items.iter().any(|(item, _)| item.as_i64() == Some(*choice)));
            choice.ok_or_else(|| bad(key, "it has no such choice"))
        }
        _ => {
            let (least, most) = (described.min.unwrap_or(i64::MIN), described.max.unwrap_or(i64::MAX));
            let number = whole::read(value).filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| bad(key, &format!("a whole number from {least} to {most} is wanted")))
        }
    }
}

/// `key` is one of those described.
fn layer_change(key: &str, value: &Value) -> Result<Change, Refusal> {
    let mut parts = key.split('.').skip(1);
    let index = parts.next().and_then(|part| part.parse().ok()).ok_or_else(|| bad(key, "there is no such key"))?;
    let (mut shown, mut corner, mut opacity, mut text) = (None, None, None, None);
    match parts.next() {
        Some("shown") => shown = Some(value.as_bool().ok_or_else(|| bad(key, "true or false is wanted"))?),
        Some("corner") => {
            let known = CORNERS.iter().find(|(_, name)| value.as_str() == Some(name));
            corner = Some(known.ok_or_else(|| bad(key, "there is no such corner"))?.0);
        }
        Some("opacity") => {
            let number = value.as_f64().filter(|number| (0.0..=1.0).contains(number));
            opacity = Some(number.ok_or_else(|| bad(key, "a number from 0 to 1 is wanted"))? as f32);
        }
        Some("text") => {
            let fits = |text: &&str| text.len() <= TEXT_BYTES && !text.chars().any(char::is_control);
            let given = value.as_str().filter(fits);
            let words = || bad(key, &format!("a line of at most {TEXT_BYTES} bytes is wanted"));
            text = Some(given.ok_or_else(words)?.to_string());
        }
        _ => return Err(bad(key, "there is no such key")),
    }
    Ok(Change::Layer { index, shown, corner, opacity, text })
}

fn keys_of(change: &Change) -> Vec<String> {
    match change {
        Change::Control { key, .. } => vec![format!("control.{key}")],
        Change::Layer { index, shown, corner, opacity, text } => {
            let given = [
                ("shown", shown.is_some()),
                ("corner", corner.is_some()),
                ("opacity", opacity.is_some()),
                ("text", text.is_some()),
            ];
            given.iter().filter(|(_, is)| *is).map(|(what, _)| format!("layer.{index}.{what}")).collect()
        }
    }
}

const CORNERS: [(Corner, &str); 4] = [
    (Corner::TopLeft, "top-left"),
    (Corner::TopRight, "top-right"),
    (Corner::BottomLeft, "bottom-left"),
    (Corner::BottomRight, "bottom-right"),
];

fn corner_name(corner: Corner) -> &'static str {
    CORNERS.iter().find(|(known, _)| *known == corner).map_or("", |(_, name)| name)
}

fn bad(key: &str, words: &str) -> Refusal {
    let key: String = key.chars().take(64).collect();
    (ErrorCode::BadValue, format!("{key}: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: SeatId = SeatId(1);
    const BOB: SeatId = SeatId(2);

    fn camera() -> Adjustable {
        let control = |key: &str, kind, value| Control {
            key: key.into(),
            name: key.into(),
            kind,
            value,
            default: 10,
            read_only: false,
            inactive: false,
        };
        Adjustable {
            version: 1,
            controls: vec![
                control("brightness", ControlKind::Integer { minimum: 0, maximum: 255, step: 1 }, 128),
                control("auto", ControlKind::Boolean, 1),
                control("mode", ControlKind::Menu { items: vec![(0, "a".into()), (3, "b".into())] }, 3),
                control("focus", ControlKind::Button, 0),
            ],
            layers: vec![Layer {
                kind: LayerKind::Text,
                shown: true,
                corner: Some(Corner::TopLeft),
                opacity: 0.7,
                text: Some("%H".into()),
            }],
        }
    }

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
    fn a_camera_and_its_overlay_become_keys_and_values() {
        let Told::State { values, describe, .. } = state().snapshot() else { panic!() };
        let text = serde_json::to_string(&values).unwrap();
        let wanted = r#"{"control.auto":true,"control.brightness":128,"control.mode":3,"layer.0.corner":"top-left","layer.0.opacity":0.7,"layer.0.shown":true,"layer.0.text":"%H"}"#;
        assert_eq!(text, wanted);
        let kinds: Vec<(&str, &str)> = describe.iter().map(|d| (d.key.as_str(), d.kind.as_str())).collect();
        assert!(kinds.contains(&("control.focus", "button")) && kinds.contains(&("layer.0.text", "text")));
        assert!(kinds.contains(&("preset", "preset")));
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
