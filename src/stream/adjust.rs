//! What people may change while the stream runs: the camera's controls and the overlay's layers.
//!
//! Pure words, without device or wire: the capture thread fills in `controls`, the encode thread `layers`, the room
//! (floor 4) shows them and asks for changes. Input: drivers (names and ranges, trusted in nothing) and people.

use crate::config::{Corner, LayerKind};

/// Everything adjustable, as it is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adjustable {
    /// Rises with every difference to the one before.
    pub version: u64,
    /// Empty while the camera is away, and for sources without controls.
    pub controls: Vec<Control>,
    /// In the order of the config.
    pub layers: Vec<Layer>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// Of the driver's name, lower case, `_` for everything that is no letter or digit: `white_balance_automatic`
    /// (as v4l2-ctl writes them). Unique.
    pub key: String,
    /// The driver's words.
    pub name: String,
    pub kind: ControlKind,
    /// Buttons have none: 0.
    pub value: i64,
    pub default: i64,
    pub read_only: bool,
    /// Has no effect now (V4L2_CTRL_FLAG_INACTIVE): another control overrides it.
    pub inactive: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ControlKind {
    Integer {
        minimum: i64,
        maximum: i64,
        step: u64,
    },
    Boolean,
    /// The values that exist, with the driver's words for them.
    Menu {
        items: Vec<(i64, String)>,
    },
    Button,
}

/// What may be changed of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub kind: LayerKind,
    pub shown: bool,
    /// None: placed by x and y.
    pub corner: Option<Corner>,
    /// 0.0..=1.0.
    pub opacity: f32,
    /// The template of a text layer.
    pub text: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A button takes any value.
    Control { key: String, value: i64 },
    /// Only what is given changes.
    Layer { index: usize, shown: Option<bool>, corner: Option<Corner>, opacity: Option<f32>, text: Option<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdjustError {
    /// No such control or layer, or not now; in words.
    Unknown(String),
    /// Out of range, read-only or inactive; in words.
    Refused(String),
    /// More changes wait than the bound allows.
    Busy,
}

impl std::fmt::Display for AdjustError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            AdjustError::Unknown(words) | AdjustError::Refused(words) => f.write_str(words),
            AdjustError::Busy => f.write_str("too many changes at once; try again"),
        }
    }
}
