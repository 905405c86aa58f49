//! Runs the layers over each frame, in the order of the config.
//!
//! Must never stop the stream: a layer that fails while running is left out and said so once; the other layers and the
//! picture go on. A layer that cannot be opened is the user's mistake and refuses the start. Input: config.

use super::{Layer, LayerChange, LayerRow, LayerState, Moment, logo, text};
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
    /// As it is now; not what the file says any more.
    config: OverlayConfig,
    shown: bool,
    /// To be prepared before it is drawn.
    stale: bool,
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
            self.layers.iter_mut().for_each(|slot| slot.stale = true);
        }
        // hidden ones cost nothing, not even when the format changes
        self.layers.iter_mut().filter(|slot| slot.shown).for_each(|slot| slot.draw(frame, moment));
    }

    /// In the order of the config.
    pub fn layers(&self) -> Vec<LayerState> {
        self.layers.iter().map(|slot| LayerState::of(&slot.config, slot.shown)).collect()
    }

    /// For a change that `LayerState::check` has passed. Only this layer is prepared again, with the next picture.
    pub fn change(&mut self, index: usize, change: &LayerChange) {
        if let Some(slot) = self.layers.get_mut(index) {
            slot.change(change);
        }
    }
}

impl Slot {
    fn open(number: usize, config: &OverlayConfig) -> Result<Slot> {
        let row = LAYERS.iter().find(|row| row.kind == config.kind);
        let row = row.ok_or_else(|| Error::new(ErrorKind::Unsupported, format!("overlay {number}: no such layer")))?;
        let name = format!("overlay {number} ({})", row.name);
        let layer = (row.open)(config).map_err(|e| Error::new(e.kind(), name.clone()).because(e))?;
        Ok(Slot { name, layer, config: config.clone(), shown: true, stale: true, ready: false, told: String::new() })
    }

    fn change(&mut self, change: &LayerChange) {
        self.shown = change.shown.unwrap_or(self.shown);
        let before = self.config.clone();
        change.apply_to(&mut self.config);
        if self.config != before {
            let outcome = self.layer.adjust(&self.config);
            self.stale = outcome.is_ok();
            self.note(outcome);
        }
    }

    fn prepare(&mut self, format: &PictureFormat) {
        let outcome = self.layer.prepare(format);
        self.note(outcome);
    }

    fn draw(&mut self, frame: &mut Frame, moment: &Moment) {
        if std::mem::take(&mut self.stale) {
            self.prepare(&frame.format);
        }
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
                warn!("{}: {cause}; left out until it or the picture format changes", self.name);
                self.told = cause;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WallMicros;
    use crate::config::Corner;
    use crate::media::frame::{BufferPool, Colour, Layout, Matrix, Range};
    use crate::units::{Micros, Size};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    const COLOUR: Colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
    const MOMENT: Moment = Moment { wall: WallMicros(0), host: "", fps: 0.0 };

    #[derive(Default)]
    struct Calls {
        prepared: AtomicU32,
        drawn: AtomicU32,
    }

    struct Failing {
        calls: Arc<Calls>,
        in_prepare: bool,
    }

    impl Layer for Failing {
        fn prepare(&mut self, _: &PictureFormat) -> Result<()> {
            self.calls.prepared.fetch_add(1, Ordering::Relaxed);
            if self.in_prepare { Err(Error::new(ErrorKind::Internal, "no")) } else { Ok(()) }
        }

        fn draw(&mut self, _: &mut Frame, _: &Moment) -> Result<()> {
            self.calls.drawn.fetch_add(1, Ordering::Relaxed);
            Err(Error::new(ErrorKind::Internal, "no"))
        }

        fn adjust(&mut self, _: &OverlayConfig) -> Result<()> {
            Ok(())
        }
    }

    fn frame(width: u32) -> Frame {
        let format = PictureFormat::packed(Layout::Nv12, Size { width, height: 120 }, COLOUR);
        let buffer = BufferPool::new(1, format.buffer_len()).take().expect("one is free");
        Frame::pooled(format, Micros(0), 0, buffer)
    }

    /// A failing layer below a good one.
    fn compositor(in_prepare: bool) -> (Compositor, Arc<Calls>) {
        let mut compositor = Compositor::open(&[OverlayConfig::default()]).expect("the embedded logo");
        let calls = Arc::new(Calls::default());
        let layer = Box::new(Failing { calls: calls.clone(), in_prepare });
        let good = Slot::open(1, &OverlayConfig::default()).expect("the embedded logo");
        compositor.layers.insert(0, Slot { layer, ..good });
        (compositor, calls)
    }

    #[test]
    fn a_failing_layer_is_left_out_until_the_format_changes_and_the_others_go_on() {
        for (in_prepare, draws) in [(true, 0), (false, 1)] {
            let (mut compositor, calls) = compositor(in_prepare);
            for _ in 0..3 {
                let mut frame = frame(320);
                compositor.apply(&mut frame, &MOMENT);
                assert!(frame.planes()[0].iter().any(|&y| y > 0), "the logo is there");
            }
            let counted = || (calls.prepared.load(Ordering::Relaxed), calls.drawn.load(Ordering::Relaxed));
            assert_eq!(counted(), (1, draws));
            assert_eq!(compositor.layers[0].told, "no");
            compositor.apply(&mut frame(640), &MOMENT);
            assert_eq!(counted(), (2, 2 * draws), "tried again with the new format");
            compositor.change(0, &LayerChange { opacity: Some(0.5), ..LayerChange::default() });
            compositor.apply(&mut frame(640), &MOMENT);
            assert_eq!(counted(), (3, 3 * draws), "tried again when it was changed");
        }
    }

    #[test]
    fn a_hidden_layer_is_neither_prepared_nor_drawn() {
        let (mut compositor, calls) = compositor(true);
        let show = |shown| LayerChange { shown: Some(shown), ..LayerChange::default() };
        compositor.change(0, &show(false));
        for width in [320, 640] {
            compositor.apply(&mut frame(width), &MOMENT);
        }
        assert_eq!(calls.prepared.load(Ordering::Relaxed), 0);
        compositor.change(0, &show(true));
        compositor.apply(&mut frame(640), &MOMENT);
        assert_eq!(calls.prepared.load(Ordering::Relaxed), 1);
    }

    fn pictured(compositor: &mut Compositor, width: u32) -> Vec<u8> {
        let mut frame = frame(width);
        compositor.apply(&mut frame, &MOMENT);
        frame.planes().concat()
    }

    /// Whatever is changed in whatever order, the picture is that of a compositor opened with the final config.
    #[test]
    fn a_changed_layer_looks_as_if_it_had_been_opened_like_that() {
        let text = OverlayConfig { kind: LayerKind::Text, text: "before".into(), ..OverlayConfig::default() };
        let placed = OverlayConfig { x: Some(5), y: Some(70), ..OverlayConfig::default() };
        let mut configs = [OverlayConfig::default(), text, placed];
        let mut changed = Compositor::open(&configs).expect("good configs");
        let nothing = LayerChange::default();
        let steps = [
            (0, LayerChange { corner: Some(Corner::BottomLeft), ..nothing.clone() }),
            (1, LayerChange { text: Some("after %Y".into()), opacity: Some(0.6), ..nothing.clone() }),
            (2, LayerChange { corner: Some(Corner::TopLeft), opacity: Some(0.3), ..nothing.clone() }),
            (1, LayerChange { corner: Some(Corner::BottomRight), ..nothing.clone() }),
            (0, nothing.clone()),
            (7, nothing),
        ];
        for (step, (index, change)) in steps.iter().enumerate() {
            let before = pictured(&mut changed, 320);
            changed.change(*index, change);
            configs.iter_mut().skip(*index).take(1).for_each(|config| change.apply_to(config));
            let now = pictured(&mut changed, 320);
            assert_eq!(now == before, step >= 4, "step {step}");
            assert_eq!(now, pictured(&mut Compositor::open(&configs).expect("good configs"), 320), "step {step}");
        }
        let states: Vec<_> = configs.iter().map(|config| LayerState::of(config, true)).collect();
        assert_eq!(changed.layers(), states);
        assert_eq!(pictured(&mut changed, 640), pictured(&mut Compositor::open(&configs).expect("good"), 640));
    }

    #[test]
    fn a_hidden_layer_comes_back_as_it_was_changed_meanwhile() {
        let mut changed = Compositor::open(&[OverlayConfig::default()]).expect("the embedded logo");
        let full = pictured(&mut changed, 320);
        changed.change(0, &LayerChange { shown: Some(false), ..LayerChange::default() });
        assert!(pictured(&mut changed, 320).iter().all(|level| *level == 0));
        changed.change(0, &LayerChange { opacity: Some(0.5), ..LayerChange::default() });
        assert!(!changed.layers()[0].shown);
        changed.change(0, &LayerChange { shown: Some(true), ..LayerChange::default() });
        let half = pictured(&mut changed, 320);
        let brightest = |picture: &[u8]| picture.iter().max().copied().map_or(0, i32::from);
        assert!((brightest(&half) - brightest(&full) / 2).abs() <= 2);
    }

    #[test]
    fn layers_follow_a_change_of_format() {
        let mut compositor = Compositor::open(&[OverlayConfig::default()]).expect("the embedded logo");
        for width in [320, 640, 320] {
            let mut frame = frame(width);
            compositor.apply(&mut frame, &MOMENT);
            let inked = |at: usize| frame.planes()[0][at] > 0;
            let right = (0..width as usize * 120).filter(|&at| inked(at)).map(|at| at % width as usize).max();
            assert_eq!(right, Some(width as usize - 17), "at the right edge, less the margin");
        }
    }

    #[test]
    fn every_kind_of_layer_has_its_row() {
        for kind in [LayerKind::Logo, LayerKind::Text] {
            assert_eq!(LAYERS.iter().filter(|row| row.kind == kind).count(), 1);
        }
    }
}
