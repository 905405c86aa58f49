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

    fn adjust(&mut self, config: &OverlayConfig) -> Result<()> {
        self.template = Template::parse(&config.text)?;
        self.look.opacity = config.opacity;
        self.place = Place::of(config)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WallMicros;
    use crate::config::{Corner, LayerKind};
    use crate::media::frame::{BufferPool, Colour, Layout, Matrix, Range};
    use crate::overlay::Compositor;
    use crate::units::{Micros, Size};

    const COLOUR: Colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
    const NOON: Moment = Moment { wall: WallMicros(1_700_000_000_000_000), host: "cam", fps: 25.0 };

    fn grey_frame(layout: Layout) -> Frame {
        let format = PictureFormat::packed(layout, Size { width: 320, height: 120 }, COLOUR);
        let mut buffer = BufferPool::new(1, format.buffer_len()).take().expect("one is free");
        buffer.bytes_mut().fill(128);
        Frame::pooled(format, Micros(0), 0, buffer)
    }

    fn text_config(text: &str) -> OverlayConfig {
        OverlayConfig { kind: LayerKind::Text, text: text.into(), ..OverlayConfig::default() }
    }

    fn pictured(compositor: &mut Compositor, moment: &Moment) -> [Vec<u8>; 3] {
        let mut frame = grey_frame(Layout::I420);
        compositor.apply(&mut frame, moment);
        frame.planes().map(<[u8]>::to_vec)
    }

    fn shown(config: &OverlayConfig, moment: &Moment) -> [Vec<u8>; 3] {
        pictured(&mut Compositor::open(std::slice::from_ref(config)).expect("a good config"), moment)
    }

    #[test]
    fn the_picture_changes_with_the_second_and_only_then() {
        let mut compositor = Compositor::open(&[text_config("%H:%M:%S")]).expect("a good config");
        let mut at = |us: u64| pictured(&mut compositor, &Moment { wall: WallMicros(NOON.wall.0 + us), ..NOON });
        let first = at(0);
        assert_eq!(at(999_999), first);
        let second = at(1_000_000);
        assert_ne!(second, first);
        assert_eq!(at(0), first, "a clock set back is followed");
    }

    #[test]
    fn host_and_rate_reach_the_picture_when_they_change() {
        let mut compositor = Compositor::open(&[text_config("{host} {fps}")]).expect("a good config");
        let first = pictured(&mut compositor, &NOON);
        assert_eq!(pictured(&mut compositor, &Moment { fps: 25.3, ..NOON }), first, "shown without decimals");
        assert_ne!(pictured(&mut compositor, &Moment { fps: 12.0, ..NOON }), first);
        assert_ne!(pictured(&mut compositor, &Moment { host: "door", ..NOON }), first);
        assert_eq!(pictured(&mut compositor, &NOON), first);
    }

    #[test]
    fn letters_take_their_colour_and_the_box_darkens_what_is_behind() {
        let [luma, u, v] = shown(&OverlayConfig { colour: "#ff0000".into(), size: 60, ..text_config("MM") }, &NOON);
        // BT.601 limited: red is 81, 90, 240
        assert!(luma.contains(&81) && u.contains(&90) && v.contains(&240));
        // black (16) for 40 % of the ground (128); alpha has 8 bits
        assert!(luma.iter().any(|&y| y.abs_diff(83) <= 1), "the box");
        let [luma, ..] = shown(&OverlayConfig { background: 0.0, ..text_config("MM") }, &NOON);
        assert!(luma.iter().all(|&y| y >= 128), "white letters and no box darken nothing");
    }

    #[test]
    fn opacity_fades_letters_and_box_alike() {
        let full = shown(&OverlayConfig { background: 1.0, ..text_config("Mg") }, &NOON);
        let half = shown(&OverlayConfig { background: 1.0, opacity: 0.5, ..text_config("Mg") }, &NOON);
        let none = shown(&OverlayConfig { background: 1.0, opacity: 0.0, ..text_config("Mg") }, &NOON);
        for ((&full, &half), &none) in full.iter().flatten().zip(half.iter().flatten()).zip(none.iter().flatten()) {
            assert_eq!(none, 128);
            assert!(half.abs_diff(((u16::from(full) + 128) / 2) as u8) <= 1, "{full} {half}");
        }
    }

    #[test]
    fn the_box_keeps_to_its_corner_whatever_the_text_is() {
        for text in ["i", "much longer", "two\nlines"] {
            let config = OverlayConfig { corner: Corner::BottomRight, margin: 10, ..text_config(text) };
            let [luma, ..] = shown(&config, &NOON);
            let changed: Vec<usize> = (0..320 * 120).filter(|&at| luma[at] != 128).collect();
            assert_eq!(changed.iter().map(|at| at % 320).max(), Some(309), "{text}");
            assert_eq!(changed.iter().map(|at| at / 320).max(), Some(109), "{text}");
        }
    }

    #[test]
    fn bad_text_colour_and_font_refuse_to_start_and_say_why() {
        let cases = [
            (text_config("%Y %Q"), "\"%Q\""),
            (OverlayConfig { colour: "red".into(), ..text_config("x") }, "colour = \"red\""),
            (OverlayConfig { colour: "#12345é".into(), ..text_config("x") }, "#rrggbb"),
            (OverlayConfig { colour: "#+12345".into(), ..text_config("x") }, "#rrggbb"),
            (OverlayConfig { font: "/nonexistent.ttf".into(), ..text_config("x") }, "/nonexistent.ttf"),
        ];
        for (config, part) in cases {
            let error = Compositor::open(&[config]).err().expect("refused");
            assert_eq!(error.kind(), ErrorKind::BadConfig);
            assert!(error.to_string().starts_with("overlay 1 (text): ") && error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_text_that_cannot_be_written_any_more_leaves_the_stream_alone() {
        let mut compositor = Compositor::open(&[text_config("%H"), OverlayConfig::default()]).expect("good configs");
        let never = Moment { wall: WallMicros(u64::MAX), ..NOON };
        let logo_only = pictured(&mut Compositor::open(&[OverlayConfig::default()]).expect("good"), &NOON);
        assert_eq!(pictured(&mut compositor, &never), logo_only);
    }

    #[test]
    fn a_label_is_centred_measured_and_clipped() {
        for layout in [Layout::Nv12, Layout::I420] {
            let mut frame = grey_frame(layout);
            let (width, height) = draw_text(&mut frame, "无信号 No signal", 160, 40, 24, [255; 3]).expect("drawn");
            assert_eq!((width, height), (text_width("无信号 No signal", 24), 24));
            let luma = frame.planes()[0].to_vec();
            let ink: Vec<usize> = (0..320 * 120).filter(|&at| luma[at] != 128).collect();
            let (left, right) = (ink.iter().map(|at| at % 320).min(), ink.iter().map(|at| at % 320).max());
            let centre = (left.expect("ink") + right.expect("ink")) / 2;
            assert!(centre.abs_diff(160) <= 3, "centre {centre}");
            assert!(ink.iter().all(|at| (38..66).contains(&(at / 320))));
            for (x, top) in [(0, -10), (319, 110), (i32::MIN, i32::MIN), (i32::MAX, i32::MAX)] {
                draw_text(&mut frame, "Ränder", x, top, 40, [9, 200, 30]).expect("clipped");
            }
            draw_text(&mut frame, "", 0, 0, 0, [0; 3]).expect("nothing to draw");
        }
    }
}
