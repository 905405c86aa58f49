//! What is laid over the picture: the trait of a layer, the table of layers, and the compositor that runs them.
//!
//! Layers touch only the rows and columns they cover, in the frame's own planes and colour. Must never convert or copy
//! a frame. Input: config and decoded image files.

mod change;
mod compositor;
mod fonts;
mod image;
mod logo;
mod mat_sys;
mod patch;
mod place;
mod template;
mod text;

pub use change::{LayerChange, LayerState};
pub use compositor::{Compositor, LAYERS};
pub use text::{draw_text, text_width};

use crate::clock::WallMicros;
use crate::config::{LayerKind, OverlayConfig};
use crate::error::Result;
use crate::media::frame::{Frame, PictureFormat};

/// What a layer may show.
pub struct Moment<'a> {
    pub wall: WallMicros,
    pub host: &'a str,
    /// Measured frames per second.
    pub fps: f64,
}

pub trait Layer: Send {
    /// Called once per picture format and after `adjust`, before the next `draw`: scale, convert, place. May allocate.
    fn prepare(&mut self, format: &PictureFormat) -> Result<()>;

    /// Blends into the frame. Allocates nothing while the layer's content stays the same.
    fn draw(&mut self, frame: &mut Frame, moment: &Moment) -> Result<()>;

    /// Takes over what a `LayerChange` may have made different in its config, and nothing else. Reads no file.
    fn adjust(&mut self, config: &OverlayConfig) -> Result<()>;
}

/// One row per kind of layer.
pub struct LayerRow {
    pub kind: LayerKind,
    /// For messages.
    pub name: &'static str,
    pub open: fn(&OverlayConfig) -> Result<Box<dyn Layer>>,
}
