//! What of a layer can change while the stream runs, and which changes are good.
//!
//! Pure. Never a file: what a layer has read at the start is what it shows. Input: people, by way of the stream.

use super::template::Template;
use crate::config::{Corner, LayerKind, OverlayConfig};

/// As `overlay.text` of the config.
const LONGEST_TEXT: usize = 512;

/// What may be changed of a layer, as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerState {
    pub kind: LayerKind,
    pub shown: bool,
    /// None: placed by x and y.
    pub corner: Option<Corner>,
    /// 0.0..=1.0.
    pub opacity: f32,
    /// The template of a text layer.
    pub text: Option<String>,
}

/// Only what is given changes. A corner replaces x and y.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerChange {
    pub shown: Option<bool>,
    pub corner: Option<Corner>,
    pub opacity: Option<f32>,
    pub text: Option<String>,
}

impl LayerState {
    pub fn of(config: &OverlayConfig, shown: bool) -> LayerState {
        LayerState {
            kind: config.kind,
            shown,
            corner: (config.x, config.y).eq(&(None, None)).then_some(config.corner),
            opacity: config.opacity,
            text: (config.kind == LayerKind::Text).then(|| config.text.clone()),
        }
    }

    /// Err: why the layer cannot be like that, in words.
    pub fn check(&self, change: &LayerChange) -> Result<(), String> {
        if change.opacity.is_some_and(|opacity| !(0.0..=1.0).contains(&opacity)) {
            return Err("opacity: a number from 0 to 1".into());
        }
        match &change.text {
            None => Ok(()),
            Some(_) if self.kind != LayerKind::Text => Err("text: this layer has none".into()),
            Some(text) if text.len() > LONGEST_TEXT || text.chars().any(char::is_control) => {
                Err(format!("text: at most {LONGEST_TEXT} bytes without control characters"))
            }
            Some(text) => Template::parse(text).map(drop).map_err(|error| error.to_string()),
        }
    }
}

impl LayerChange {
    /// This change and then `later`.
    pub fn and(&mut self, later: LayerChange) {
        self.shown = later.shown.or(self.shown);
        self.corner = later.corner.or(self.corner);
        self.opacity = later.opacity.or(self.opacity);
        self.text = later.text.or(self.text.take());
    }

    pub fn apply_to(&self, config: &mut OverlayConfig) {
        if let Some(corner) = self.corner {
            (config.corner, config.x, config.y) = (corner, None, None);
        }
        config.opacity = self.opacity.unwrap_or(config.opacity);
        if let Some(text) = &self.text {
            config.text.clone_from(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(kind: LayerKind) -> LayerState {
        LayerState::of(&OverlayConfig { kind, ..OverlayConfig::default() }, true)
    }

    #[test]
    fn only_good_changes_pass_and_the_others_say_why() {
        let (logo, text) = (state(LayerKind::Logo), state(LayerKind::Text));
        let say = |text: &str| LayerChange { text: Some(text.into()), ..LayerChange::default() };
        let fade = |opacity| LayerChange { opacity: Some(opacity), ..LayerChange::default() };
        for good in [LayerChange::default(), fade(0.0), fade(1.0), say("%H:%M {fps} 你好"), say(&"x".repeat(512))] {
            assert_eq!(text.check(&good), Ok(()));
        }
        for (bad, word) in [
            (say("100%"), "\"%\""),
            (say(&"x".repeat(513)), "512"),
            (say("two\nlines"), "control"),
            (say("\u{1b}[31m"), "control"),
            (fade(-0.1), "opacity"),
            (fade(1.1), "opacity"),
            (fade(f32::NAN), "opacity"),
        ] {
            assert!(text.check(&bad).expect_err("refused").contains(word), "{bad:?}");
        }
        assert_eq!(logo.check(&say("x")), Err("text: this layer has none".into()));
    }

    #[test]
    fn two_changes_are_the_later_one_over_the_earlier_one() {
        let mut change = LayerChange { shown: Some(false), opacity: Some(0.2), text: Some("a".into()), corner: None };
        change.and(LayerChange { opacity: Some(0.7), corner: Some(Corner::BottomLeft), ..LayerChange::default() });
        let expected = LayerChange {
            shown: Some(false),
            corner: Some(Corner::BottomLeft),
            opacity: Some(0.7),
            text: Some("a".into()),
        };
        assert_eq!(change, expected);
        let mut config = OverlayConfig { x: Some(3), y: Some(4), ..OverlayConfig::default() };
        assert_eq!(LayerState::of(&config, true).corner, None);
        change.apply_to(&mut config);
        assert_eq!(LayerState::of(&config, true).corner, Some(Corner::BottomLeft));
        assert_eq!((config.opacity, config.text.as_str()), (0.7, "a"));
    }
}
