//! The text layer: strftime time, {host}, {fps}; and labels that other rooms draw.
//!
//! The text is rendered only when what it shows has changed. Must never read a clock: the time comes with each frame.
//! Input: config, font files, the moment.

use super::fonts::{Coverage, FontChain};
use super::patch::{Look, Patch, Stamp};
use super::place::Place;
use super::template::Template;
use super::{Layer, Moment};
use crate::config::{OverlayConfig, Tone};
use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::{Frame, PictureFormat};
use opencv::boxed_ref::BoxedRef;
use opencv::core::{Mat, MatTraitConst};

struct TextLayer {
    template: Template,
    fonts: FontChain,
    ink: Ink,
    look: Look,
    place: Place,
    format: Option<PictureFormat>,
    shown: Option<Shown>,
    /// Scratch for the next text; keeps its memory.
    next: String,
}

/// What is on the picture now.
struct Shown {
    text: String,
    tick: u64,
    fps: u32,
    host: String,
    patch: Patch,
}

/// How letters look.
#[derive(Clone, Copy)]
struct Ink {
    size: u32,
    rgb: [u8; 3],
    /// Alpha of the black box behind the letters.
    background: f32,
    /// Pixels the box is larger than the letters, on each side.
    padding: u32,
}

pub fn open(config: &OverlayConfig) -> Result<Box<dyn Layer>> {
    let embedded = config.font.as_os_str().is_empty();
    let fonts = if embedded { FontChain::embedded().clone() } else { FontChain::with_file(&config.font)? };
    let rgb = parse_colour(&config.colour)?;
    Ok(Box::new(TextLayer {
        template: Template::parse(&config.text)?,
        fonts,
        ink: Ink { size: config.size, rgb, background: config.background, padding: config.size / 4 },
        look: Look { tone: Tone::Colour, opacity: config.opacity },
        place: Place::of(config)?,
        format: None,
        shown: None,
        next: String::new(),
    }))
}

fn parse_colour(text: &str) -> Result<[u8; 3]> {
    let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()));
    let value = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
    let value = value
        .ok_or_else(|| Error::new(ErrorKind::BadConfig, format!("colour = \"{text}\": write it as \"#rrggbb\"")))?;
    let [_, rgb @ ..] = value.to_be_bytes();
    Ok(rgb)
}

impl Layer for TextLayer {
    fn prepare(&mut self, format: &PictureFormat) -> Result<()> {
        self.format = Some(*format);
        self.shown = None;
        Ok(())
    }

    fn draw(&mut self, frame: &mut Frame, moment: &Moment) -> Result<()> {
        if !self.is_current(moment) {
            self.refresh(moment)?;
        }
        if let Some(shown) = &mut self.shown {
            shown.patch.draw(frame);
        }
        Ok(())
    }
}

impl TextLayer {
    /// Cheap and without allocation: nothing the text depends on has moved.
    fn is_current(&self, moment: &Moment) -> bool {
        self.shown.as_ref().is_some_and(|shown| {
            shown.tick == self.template.tick(moment.wall)
                && shown.fps == moment.fps.round() as u32
                && shown.host == moment.host
        })
    }

    fn refresh(&mut self, moment: &Moment) -> Result<()> {
        let Some(format) = &self.format else { return Ok(()) };
        self.next.clear();
        self.template.write(moment, &mut self.next)?;
        let (tick, fps) = (self.template.tick(moment.wall), moment.fps.round() as u32);
        if let Some(shown) = self.shown.as_mut().filter(|shown| shown.text == self.next) {
            (shown.tick, shown.fps) = (tick, fps);
            if shown.host != moment.host {
                shown.host = moment.host.into();
            }
            return Ok(());
        }
        let coverage = self.fonts.rasterise(&self.next, self.ink.size, self.ink.padding);
        let patch =
            patch_of(&coverage, &self.ink, self.look, format, |stamp| self.place.left_top(stamp.size(), format.size))?;
        self.shown = Some(Shown { text: self.next.clone(), tick, fps, host: moment.host.into(), patch });
        Ok(())
    }
}

/// The letters over their box. The box takes part of what the letters leave free, so both are one map of coverage.
fn patch_of(
    coverage: &Coverage,
    ink: &Ink,
    look: Look,
    format: &PictureFormat,
    left_top: impl FnOnce(&Stamp) -> (i32, i32),
) -> Result<Patch> {
    let failed = |e: opencv::Error| Error::new(ErrorKind::Internal, "OpenCV could not take the text").because(e);
    let rows = (coverage.height, coverage.width);
    let mat: BoxedRef<Mat> =
        Mat::new_rows_cols_with_data(rows.0 as i32, rows.1 as i32, &coverage.pixels).map_err(failed)?;
    let box_alpha = f64::from(ink.background.clamp(0.0, 1.0));
    let [r, g, b] = ink.rgb.map(|level| f64::from(level) / 255.0);
    let letter = [r, g, b, 1.0 - box_alpha].map(|share| share / 255.0);
    let stamp = Stamp { pixels: mat.try_clone().map_err(failed)?, to_rgba: vec![letter, [0.0, 0.0, 0.0, box_alpha]] };
    let left_top = left_top(&stamp);
    Patch::new(&stamp, look, left_top, format)
}

/// Draws letters without a box in the embedded fonts, clipped to the picture. Returns their width and height.
/// Lines end at '\n' and all start at the same left edge, which puts the widest one in the centre.
pub fn draw_text(
    frame: &mut Frame,
    text: &str,
    centre_x: i32,
    top: i32,
    size: u32,
    rgb: [u8; 3],
) -> Result<(u32, u32)> {
    let fonts = FontChain::embedded();
    let (width, height) = fonts.measure(text, size);
    // strokes may hang a little over their letter's own width
    let padding = size / 8;
    let coverage = fonts.rasterise(text, size, padding);
    if coverage.pixels.is_empty() {
        return Ok((width, height));
    }
    let ink = Ink { size, rgb, background: 0.0, padding };
    let look = Look { tone: Tone::Colour, opacity: 1.0 };
    let offset = |from: i32, by: u32| from.saturating_sub(i32::try_from(by).unwrap_or(i32::MAX));
    let left_top = (offset(centre_x, width / 2 + padding), offset(top, padding));
    let format = frame.format;
    patch_of(&coverage, &ink, look, &format, |_| left_top)?.draw(frame);
    Ok((width, height))
}

/// Width in pixels of the widest line, as `draw_text` draws it.
pub fn text_width(text: &str, size: u32) -> u32 {
    FontChain::embedded().measure(text, size).0
}
