//! Letters to coverage: a chain of fonts, the layout of lines, and their rasterisation.
//!
//! A character is taken from the first font of the chain that has it: the configured one, then the embedded Latin one,
//! then the embedded Chinese one. Must never panic on a text or a font file. Input: config, font files.

use super::image::read_file;
use crate::error::{Error, ErrorKind, Result};
use ab_glyph::{Font, FontArc, GlyphId, PxScale, ScaleFont, point};
use std::path::Path;
use std::sync::LazyLock;

const LATIN: &[u8] = include_bytes!("../../assets/fonts/latin.ttf");
const HAN: &[u8] = include_bytes!("../../assets/fonts/han.ttf");
const LARGEST_FONT: u64 = 64 << 20;
/// Longest side of a rendered text; letters beyond it are cut off.
const LARGEST_SIDE: u32 = 4096;

static EMBEDDED: LazyLock<FontChain> = LazyLock::new(|| {
    let font = |bytes| FontArc::try_from_slice(bytes).expect("the embedded fonts are read by the tests");
    FontChain { fonts: vec![font(LATIN), font(HAN)] }
});

#[derive(Clone)]
pub struct FontChain {
    /// Never empty; the first one sets the line's height.
    fonts: Vec<FontArc>,
}

/// How much of each pixel is letter, 0..=255, row by row.
pub struct Coverage {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u8>,
}

struct PlacedGlyph {
    font: usize,
    id: GlyphId,
    x: f32,
    line: u32,
}

impl FontChain {
    pub fn embedded() -> &'static FontChain {
        &EMBEDDED
    }

    /// The file's font first, the embedded ones for what it lacks.
    pub fn with_file(path: &Path) -> Result<FontChain> {
        let bytes = read_file(path, LARGEST_FONT)?;
        let font = FontArc::try_from_vec(bytes).map_err(|e| {
            Error::new(ErrorKind::BadConfig, format!("{}: not a TrueType or OpenType font", path.display())).because(e)
        })?;
        let mut fonts = vec![font];
        fonts.extend(FontChain::embedded().fonts.iter().cloned());
        Ok(FontChain { fonts })
    }

    /// Width and height in pixels of a text whose lines are `size` high.
    pub fn measure(&self, text: &str, size: u32) -> (u32, u32) {
        let mut widest = 0.0_f32;
        let lines = self.lay_out(text, size, |_| (), |width| widest = widest.max(width));
        (widest.ceil() as u32, lines.saturating_mul(size))
    }

    /// Draws the text with `padding` pixels free on each side.
    pub fn rasterise(&self, text: &str, size: u32, padding: u32) -> Coverage {
        let (width, height) = self.measure(text, size);
        let side = |len: u32| len.saturating_add(padding.saturating_mul(2)).min(LARGEST_SIDE);
        let (width, height) = (side(width), side(height));
        let mut coverage = Coverage { width, height, pixels: vec![0; width as usize * height as usize] };
        let first = self.fonts[0].as_scaled(self.scale(0, size));
        let baseline = first.ascent().round();
        let draw = |placed: PlacedGlyph| {
            let y = padding.saturating_add(placed.line.saturating_mul(size)) as f32 + baseline;
            if placed.x < width as f32 && y - baseline < height as f32 {
                self.draw_glyph(&placed, point(placed.x + padding as f32, y), size, &mut coverage);
            }
        };
        self.lay_out(text, size, draw, |_| ());
        coverage
    }

    /// Hands out the glyphs in order and each line's width; returns the number of lines.
    fn lay_out(&self, text: &str, size: u32, mut glyph: impl FnMut(PlacedGlyph), mut line_end: impl FnMut(f32)) -> u32 {
        let mut lines = 0;
        for line in text.split('\n') {
            let mut x = 0.0;
            let mut before: Option<(usize, GlyphId)> = None;
            for character in line.chars().filter(|c| !c.is_control()) {
                let (font, id) = self.find(character);
                let scaled = self.fonts[font].as_scaled(self.scale(font, size));
                if let Some((_, last)) = before.filter(|&(of, _)| of == font) {
                    x += scaled.kern(last, id);
                }
                glyph(PlacedGlyph { font, id, x, line: lines });
                x += scaled.h_advance(id);
                before = Some((font, id));
            }
            line_end(x);
            lines += 1;
        }
        lines
    }

    /// The first font that has it; the first font's "missing" box when none does.
    fn find(&self, character: char) -> (usize, GlyphId) {
        let ids = self.fonts.iter().map(|font| font.glyph_id(character)).enumerate();
        ids.into_iter().find(|(_, id)| id.0 != 0).unwrap_or((0, GlyphId(0)))
    }

    /// All fonts share the first one's em, so that Latin and Chinese letters match; its height fills the line.
    fn scale(&self, font: usize, size: u32) -> PxScale {
        let heights_per_em = |font: &FontArc| font.height_unscaled() / font.units_per_em().unwrap_or(1000.0);
        let em = size as f32 / heights_per_em(&self.fonts[0]);
        PxScale::from(em * heights_per_em(&self.fonts[font]))
    }

    fn draw_glyph(&self, placed: &PlacedGlyph, at: ab_glyph::Point, size: u32, coverage: &mut Coverage) {
        let glyph = placed.id.with_scale_and_position(self.scale(placed.font, size), at);
        let Some(outline) = self.fonts[placed.font].outline_glyph(glyph) else { return };
        let (bounds, largest) = (outline.px_bounds(), LARGEST_SIDE as f32);
        // a strange font may claim letters of any size; the rasteriser would take memory for all of it
        if !(bounds.width() <= largest && bounds.height() <= largest) {
            return;
        }
        let corner = bounds.min;
        let (left, top) = (corner.x as i64, corner.y as i64);
        outline.draw(|x, y, share| {
            let (x, y) = (left + i64::from(x), top + i64::from(y));
            if (0..i64::from(coverage.width)).contains(&x) && (0..i64::from(coverage.height)).contains(&y) {
                let pixel = &mut coverage.pixels[y as usize * coverage.width as usize + x as usize];
                *pixel = pixel.saturating_add((share * 255.0).round() as u8);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_fonts_have_what_a_camera_picture_needs() {
        let chain = FontChain::embedded();
        for character in "Az09~ÄéßµΩ°·€℃—“”…中文摄像头无信号时间温度，。：；？！（）％￥、《》".chars()
        {
            assert_ne!(chain.find(character).1, GlyphId(0), "{character} is missing");
        }
        assert_eq!(chain.find('\u{1f600}'), (0, GlyphId(0)), "an emoji shows as the missing box");
    }

    #[test]
    fn chinese_letters_are_drawn_and_differ_from_the_missing_box_and_each_other() {
        let chain = FontChain::embedded();
        let drawn = |text| chain.rasterise(text, 40, 0).pixels;
        assert!(drawn("中").iter().any(|&v| v > 200));
        assert_ne!(drawn("中"), drawn("\u{1f600}"));
        assert_ne!(drawn("中"), drawn("国"));
    }

    #[test]
    fn kerning_pulls_a_pair_together() {
        let width = |text| FontChain::embedded().measure(text, 400).0;
        assert!(width("AV") + 5 < width("A") + width("V"), "{} {} {}", width("AV"), width("A"), width("V"));
    }

    #[test]
    fn lines_stack_and_control_characters_take_no_room() {
        let chain = FontChain::embedded();
        let (wide, one) = chain.measure("longer line", 20);
        assert_eq!(chain.measure("short\nlonger line\r", 20), (wide, 40));
        assert_eq!(one, 20);
        assert_eq!(chain.measure("", 20), (0, 20));
    }

    #[test]
    fn letters_stay_inside_the_line_they_belong_to() {
        let coverage = FontChain::embedded().rasterise("国Äg|中", 40, 10);
        let row_has_ink = |y: usize| coverage.pixels[y * coverage.width as usize..][..coverage.width as usize].iter();
        for y in (0..8).chain(52..60) {
            assert!(row_has_ink(y).all(|&v| v == 0), "ink in row {y}");
        }
    }

    #[test]
    fn any_text_and_size_give_an_answer_within_the_limits() {
        let chain = FontChain::embedded();
        for (text, size) in
            [("x", 0), ("", 0), ("\n\n\n", 4000), ("m", 50_000), ("Ay\nB", u32::MAX), (&*"长".repeat(3000), 400)]
        {
            let coverage = chain.rasterise(text, size, 3);
            assert!(coverage.width <= LARGEST_SIDE && coverage.height <= LARGEST_SIDE);
        }
    }

    #[test]
    fn a_file_that_is_no_font_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("broken.ttf");
        std::fs::write(&path, b"\0\x01\0\0 not a font").expect("written");
        let message = FontChain::with_file(&path).err().expect("refused").to_string();
        assert!(message.contains("broken.ttf") && message.contains("font"), "{message}");
    }

    #[test]
    fn a_configured_font_comes_first_and_the_embedded_one_fills_its_gaps() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("han.ttf");
        std::fs::write(&path, HAN).expect("written");
        let chain = FontChain::with_file(&path).expect("a font");
        assert_eq!(chain.find('中').0, 0);
        assert_eq!(chain.find('A').0, 1, "the Chinese font has no Latin letters");
    }
}
