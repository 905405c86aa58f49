//! The labelled picture that viewers see while the camera is away: what is wrong, in two languages, and the details.
//!
//! Owns its words and its layout. Drawn once per reason, in the layout of the last camera picture, so that the same
//! encoder and the same viewers go on. Must never fail: text that cannot be drawn is left out.
//! Input: the camera's state.

use crate::capture::FaultKind;
use crate::error::Result;
use crate::media::frame::{BufferPool, Frame, PictureFormat, Range};
use crate::overlay;
use crate::units::Micros;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Opening,
    Away {
        kind: FaultKind,
        detail: String,
    },
    /// The encoder failed; another one shows this.
    Encoder {
        detail: String,
    },
}

pub(super) struct Card {
    pub reason: Reason,
    pub frame: Frame,
}

/// `draw(frame, text, centre_x, top, size, rgb)` gives width and height drawn.
type DrawText = fn(&mut Frame, &str, i32, i32, u32, [u8; 3]) -> Result<(u32, u32)>;

#[derive(Clone, Copy)]
struct TextTools {
    draw: DrawText,
    width: fn(&str, u32) -> u32,
}

const TEXT: TextTools = TextTools { draw: overlay::draw_text, width: overlay::text_width };

const WHITE: [u8; 3] = [240, 240, 240];
const GREY: [u8; 3] = [165, 170, 178];
const DETAIL_LINES: usize = 4;
const ELLIPSIS: char = '…';

/// Title in English and Chinese.
fn words(reason: &Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Opening => ("Opening camera", "正在打开摄像头"),
        Reason::Encoder { .. } => ("Encoder error", "编码器出错"),
        Reason::Away { kind, .. } => match kind {
            FaultKind::Missing => ("No camera", "没有摄像头"),
            FaultKind::Busy => ("Camera busy", "摄像头被占用"),
            FaultKind::Unplugged => ("Camera unplugged", "摄像头已拔出"),
            FaultKind::Failing => ("Camera error", "摄像头出错"),
            FaultKind::Silent => ("Camera silent", "摄像头没有图像"),
            FaultKind::FormatChanged => ("Camera format changed", "摄像头格式已改变"),
            FaultKind::NotACamera => ("Not a camera", "不是摄像头"),
        },
    }
}

impl Card {
    pub fn draw(reason: Reason, format: PictureFormat) -> Card {
        Card::draw_with(reason, format, TEXT)
    }

    fn draw_with(reason: Reason, format: PictureFormat, text: TextTools) -> Card {
        let mut frame = dark(format);
        let lines = lines(&reason, &format, text);
        let height: u32 = lines.iter().map(|line| line.size + line.gap).sum();
        let mut top = (format.size.height.saturating_sub(height) / 2) as i32;
        let centre = (format.size.width / 2) as i32;
        for line in lines {
            top += line.gap as i32;
            // a card without one of its lines still says more than no card
            if let Err(error) = (text.draw)(&mut frame, &line.text, centre, top, line.size, line.colour) {
                tracing::debug!("card: draw \"{}\": {error}", line.text);
            }
            top += line.size as i32;
        }
        Card { reason, frame }
    }
}

/// A picture of one dark grey.
pub(super) fn dark(format: PictureFormat) -> Frame {
    let pool = BufferPool::new(1, format.buffer_len());
    let buffer = pool.take().expect("a new pool has its buffer");
    let mut frame = Frame::pooled(format, Micros::default(), 0, buffer);
    let luma = match format.colour.range {
        Range::Limited => 40,
        Range::Full => 28,
    };
    let [y, u, v] = frame.planes_mut();
    y.fill(luma);
    u.fill(128);
    v.fill(128);
    frame
}

struct Line {
    text: String,
    /// Height in pixels, and the space above.
    size: u32,
    gap: u32,
    colour: [u8; 3],
}

fn lines(reason: &Reason, format: &PictureFormat, text: TextTools) -> Vec<Line> {
    let (width, height) = (format.size.width, format.size.height);
    let room = width - width / 10;
    let (english, chinese) = words(reason);
    let title = fitting(english, (height / 9).clamp(8, 120), room, text);
    let second = fitting(chinese, (height / 12).clamp(8, 90), room, text);
    let mut lines = vec![
        Line { text: english.into(), size: title, gap: 0, colour: WHITE },
        Line { text: chinese.into(), size: second, gap: title / 3, colour: WHITE },
    ];
    if let Reason::Away { detail, .. } | Reason::Encoder { detail } = reason {
        let size = (height / 28).clamp(10, 40);
        let wrapped = wrap(detail, |line| (text.width)(line, size) <= room, DETAIL_LINES);
        let gap = |at: usize| if at == 0 { title / 2 } else { size / 3 };
        lines.extend(wrapped.into_iter().enumerate().map(|(at, text)| Line { text, size, gap: gap(at), colour: GREY }));
    }
    let room = height - height / 10;
    let mut used = 0;
    lines.retain(|line| {
        used += line.size + line.gap;
        used <= room
    });
    lines
}

/// The biggest size up to `wanted` at which `words` fit.
fn fitting(words: &str, wanted: u32, room: u32, text: TextTools) -> u32 {
    let width = (text.width)(words, wanted).max(1);
    if width <= room { wanted } else { (wanted * room / width).max(8) }
}

/// Breaks text at spaces, and inside a word that is wider than a line (a path, Chinese); at most `most` lines, the last
/// one ending in an ellipsis when there is more.
fn wrap(text: &str, fits: impl Fn(&str) -> bool, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = line_end(rest, &fits);
        let (line, after) = rest.split_at(end);
        rest = after.trim_start();
        if lines.len() + 1 == most && !rest.is_empty() {
            lines.push(with_ellipsis(line.trim_end(), &fits));
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// Bytes of `text` that go on its first line; at least one character.
fn line_end(text: &str, fits: &impl Fn(&str) -> bool) -> usize {
    if fits(text) {
        return text.len();
    }
    let spaces = text.match_indices(' ').map(|(at, _)| at).filter(|&at| at > 0);
    if let Some(at) = spaces.take_while(|&at| fits(&text[..at])).last() {
        return at;
    }
    let ends = text.char_indices().skip(1).map(|(at, _)| at);
    let first = text.chars().next().map_or(0, char::len_utf8);
    ends.take_while(|&at| fits(&text[..at])).last().unwrap_or(first)
}

fn with_ellipsis(line: &str, fits: &impl Fn(&str) -> bool) -> String {
    let mut line = line.to_owned();
    loop {
        let candidate = format!("{line}{ELLIPSIS}");
        if fits(&candidate) || line.pop().is_none() {
            return candidate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::{Colour, Layout, Matrix};
    use crate::units::Size;
    use std::cell::RefCell;

    thread_local! {
        static DRAWN: RefCell<Vec<(String, i32, i32, u32)>> = const { RefCell::new(Vec::new()) };
    }

    /// Letters half as wide as they are high, Chinese ones square.
    fn width(text: &str, size: u32) -> u32 {
        text.chars().map(|c| if c.is_ascii() { size / 2 } else { size }).sum()
    }

    const RECORDER: TextTools = TextTools {
        draw: |_, text, x, top, size, _| {
            DRAWN.with_borrow_mut(|drawn| drawn.push((text.into(), x, top, size)));
            Ok((width(text, size), size))
        },
        width,
    };

    fn format(width: u32, height: u32) -> PictureFormat {
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
        PictureFormat::packed(Layout::Nv12, Size { width, height }, colour)
    }

    fn drawn(reason: Reason, width: u32, height: u32) -> Vec<(String, i32, i32, u32)> {
        DRAWN.take();
        Card::draw_with(reason, format(width, height), RECORDER);
        DRAWN.take()
    }

    #[test]
    fn a_card_says_what_is_wrong_in_two_languages_and_in_detail() {
        let detail = "open /dev/video0: No such file or directory (os error 2)".to_owned();
        let lines = drawn(Reason::Away { kind: FaultKind::Missing, detail: detail.clone() }, 640, 480);
        assert_eq!((lines[0].0.as_str(), lines[1].0.as_str()), ("No camera", "没有摄像头"));
        let told: Vec<_> = lines[2..].iter().map(|line| line.0.as_str()).collect();
        assert_eq!(told.join(" "), detail);
    }

    #[test]
    fn lines_stay_inside_the_picture_at_any_size_and_do_not_overlap() {
        let detail = "/dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920-video-index0: 摄像头没有回答 ".repeat(20);
        for (w, h) in [(160, 120), (320, 240), (640, 480), (1280, 720), (480, 1920), (4096, 2160)] {
            let lines = drawn(Reason::Away { kind: FaultKind::FormatChanged, detail: detail.clone() }, w, h);
            let mut bottom = 0;
            assert!(lines.len() >= 2, "{w}x{h}: both titles");
            for (text, x, top, size) in lines {
                assert!(top >= bottom && width(&text, size) <= w && x == (w / 2) as i32, "{w}x{h}: {text}");
                bottom = top + size as i32;
            }
            assert!(bottom <= h as i32, "{w}x{h}");
        }
        drawn(Reason::Away { kind: FaultKind::Busy, detail }, 16, 16);
    }

    #[test]
    fn letters_really_stand_on_the_card() {
        let format = format(640, 480);
        for reason in [Reason::Opening, Reason::Away { kind: FaultKind::Missing, detail: "没有 /dev/video0".into() }]
        {
            let card = Card::draw(reason, format);
            let bright = card.frame.planes()[0].iter().filter(|&&luma| luma > 150).count();
            assert!((500..60_000).contains(&bright), "{bright} bright pixels");
        }
    }

    #[test]
    fn long_text_is_wrapped_at_spaces_and_clipped_with_an_ellipsis() {
        let fits = |line: &str| line.chars().count() <= 10;
        assert_eq!(wrap("one two three four", fits, 9), ["one two", "three four"]);
        assert_eq!(wrap("/dev/v4l/by-id/x y", fits, 9), ["/dev/v4l/b", "y-id/x y"]);
        assert_eq!(wrap("one two three four five six", fits, 2), ["one two", "three fou…"]);
        assert_eq!(wrap("  ", fits, 3), Vec::<String>::new());
        assert_eq!(wrap("ab", |_| false, 3), ["a", "b"], "always ends");
    }
}
