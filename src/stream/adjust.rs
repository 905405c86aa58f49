//! What people may change while the stream runs: the camera's controls and the overlay's layers.
//!
//! Pure words, without device or wire: the capture thread fills in `controls`, the encode thread `layers`, the room
//! (floor 4) shows them and asks for changes. Input: drivers (names and ranges, trusted in nothing) and people.

pub use crate::capture::controls::{Control, ControlKind};
pub use crate::overlay::LayerState as Layer;

use crate::config::Corner;

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
