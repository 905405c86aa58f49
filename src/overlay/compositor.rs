//! Runs the layers over each frame, in the order of the config.
//!
//! Must never stop the stream: a layer that fails while running is left out and said so once; the other layers and the
//! picture go on. A layer that cannot be opened is the user's mistake and refuses the start. Input: config.

use super::{Layer, LayerRow, Moment, logo, text};
use crate::config::{LayerKind, OverlayConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::{Frame, PictureFormat};
use tracing::warn;

pub const LAYERS: &[LayerRow] = &[
    LayerRow { kind: LayerKind::Logo, name: "logo", open: logo::open },
    LayerRow { kind: LayerKind::Text, name: "text", open: text::open },
];

pub struct Compositor {
    layers: Vec<Slot>,
    format: Option<PictureFormat>,
}

struct Slot {
    /// As in `overlay 2 (text)`.
    name: String,
    layer: Box<dyn Layer>,
    /// Prepared for the current format, and not failed since.
    ready: bool,
    /// The last failure told, so that each cause is one line.
    told: String,
}

impl Compositor {
    pub fn open(configs: &[OverlayConfig]) -> Result<Compositor> {
        // layers are small: OpenCV's worker threads would cost memory and gain nothing
        opencv::core::set_num_threads(1).map_err(|e| Error::new(ErrorKind::Internal, "OpenCV").because(e))?;
        let layers =
            configs.iter().enumerate().map(|(at, config)| Slot::open(at + 1, config)).collect::<Result<_>>()?;
        Ok(Compositor { layers, format: None })
    }

    pub fn apply(&mut self, frame: &mut Frame, moment: &Moment) {
        if self.format != Some(frame.format) {
            self.format = Some(frame.format);
            self.layers.iter_mut().for_each(|slot| slot.prepare(&frame.format));
        }
        self.layers.iter_mut().for_each(|slot| slot.draw(frame, moment));
    }
}

impl Slot {
    fn open(number: usize, config: &OverlayConfig) -> Result<Slot> {
        let row = LAYERS.iter().find(|row| row.kind == config.kind);
        let row = row.ok_or_else(|| Error::new(ErrorKind::Unsupported, format!("overlay {number}: no such layer")))?;
        let name = format!("overlay {number} ({})", row.name);
        let layer = (row.open)(config).map_err(|e| Error::new(e.kind(), name.clone()).because(e))?;
        Ok(Slot { name, layer, ready: false, told: String::new() })
    }

    fn prepare(&mut self, format: &PictureFormat) {
        let outcome = self.layer.prepare(format);
        self.note(outcome);
    }

    fn draw(&mut self, frame: &mut Frame, moment: &Moment) {
        if self.ready {
            let outcome = self.layer.draw(frame, moment);
            self.note(outcome);
        }
    }

    fn note(&mut self, outcome: Result<()>) {
        self.ready = outcome.is_ok();
        if let Err(error) = outcome {
            let cause = error.to_string();
            if cause != self.told {
                warn!("{}: {cause}; left out until the picture format changes", self.name);
                self.told = cause;
            }
        }
    }
}
