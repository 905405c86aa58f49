//! The keys of the state: a camera's controls and the overlay's layers as keys, values and words for the page, and a
//! wish for a key as a change of the stream.
//!
//! Pure. Must never let a value through that does not fit its key. Input: `Adjustable`; values of `set` messages.

use crate::config::{Corner, LayerKind, Preset};
use crate::signal::message::ErrorCode;
use crate::signal::room::whole;
use crate::signal::room::words::{Describe, Values};
use crate::stream::adjust::{Adjustable, Change, Control, ControlKind, Layer};
use serde_json::Value;

const TEXT_BYTES: usize = 512;

pub type Refusal = (ErrorCode, String);

pub fn values(adjustable: &Adjustable) -> Values {
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
pub fn describe(adjustable: &Adjustable, presets: &[Preset]) -> Vec<Describe> {
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

/// What comes of a wish for the key described.
pub fn change(described: &Describe, value: &Value) -> Result<Change, Refusal> {
    match described.key.strip_prefix("control.") {
        Some(name) => Ok(Change::Control { key: name.to_string(), value: control_value(described, value)? }),
        None => layer_change(&described.key, value),
    }
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

pub fn keys_of(change: &Change) -> Vec<String> {
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

pub fn bad(key: &str, words: &str) -> Refusal {
    let key: String = key.chars().take(64).collect();
    (ErrorCode::BadValue, format!("{key}: {words}"))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn camera() -> Adjustable {
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

    #[test]
    fn a_camera_and_its_overlay_become_keys_and_values() {
        let text = serde_json::to_string(&values(&camera())).unwrap();
        let wanted = r#"{"control.auto":true,"control.brightness":128,"control.mode":3,"layer.0.corner":"top-left","layer.0.opacity":0.7,"layer.0.shown":true,"layer.0.text":"%H"}"#;
        assert_eq!(text, wanted);
        let preset = Preset { name: "night".into(), controls: [].into() };
        let described = describe(&camera(), &[preset]);
        let kinds: Vec<(&str, &str)> = described.iter().map(|d| (d.key.as_str(), d.kind.as_str())).collect();
        assert!(kinds.contains(&("control.focus", "button")) && kinds.contains(&("layer.0.text", "text")));
        assert!(kinds.contains(&("preset", "preset")));
    }
}
