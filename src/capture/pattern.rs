//! The `pattern` source: a moving test picture for machines without a camera, and for measuring latency.
//!
//! Owns the pacing of its pictures; how they look is in `pattern_scene.rs`. The background is drawn once, a picture
//! is one copy of it plus a few small moving shapes. Input: config and the clock.

use crate::capture::controls::Controls;
use crate::capture::pace::Paced;
use crate::capture::pattern_controls::PatternControls;
use crate::capture::pattern_scene::Scene;
use crate::capture::{Fault, Grab, Source, SourceInfo, Want};
use crate::clock::Clock;
use crate::config::CameraConfig;
use crate::media::frame::{Colour, Frame, Layout, Matrix, PictureFormat, Range};
use crate::media::timecode;
use crate::units::{FrameRate, Size};
use std::time::Duration;

pub fn open(config: &CameraConfig, clock: &Clock) -> Result<Box<dyn Source>, Fault> {
    Ok(Box::new(Pattern::new(config, clock)))
}

struct Pattern {
    info: SourceInfo,
    clock: Clock,
    paced: Paced,
    scene: Scene,
    controls: PatternControls,
    /// The slot that the counter shows as zero.
    counted_from: u64,
    timecode: bool,
}

impl Pattern {
    fn new(config: &CameraConfig, clock: &Clock) -> Pattern {
        let size = Size { width: config.width.max(16) & !1, height: config.height.max(16) & !1 };
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
        let picture = PictureFormat::packed(Layout::I420, size, colour);
        let rate = FrameRate::per_second(config.fps.max(1));
        let info = SourceInfo { name: "test pattern".into(), wire_format: "pattern".into(), picture, rate: Some(rate) };
        Pattern {
            info,
            clock: clock.clone(),
            paced: Paced::new(clock, rate, picture),
            scene: Scene::new(picture),
            controls: PatternControls::new(),
            counted_from: 0,
            timecode: config.timecode,
        }
    }

    fn draw(&mut self, frame: &mut Frame, number: u64) {
        if self.controls.take_reset() {
            self.counted_from = number;
        }
        self.scene.stand_on(self.controls.ground());
        self.scene.draw(frame, number - self.counted_from, self.info.rate.map_or(30.0, FrameRate::as_f64));
        self.controls.apply(frame);
    }

    /// After everything else: the row is read by programs.
    fn stamp(&self, frame: &mut Frame) {
        let strides = frame.format.strides;
        let [y, u, v] = frame.planes_mut();
        // the row is told by its low 32 bits of unix milliseconds
        let ms = (self.clock.wall().0 / 1000) as u32;
        if timecode::draw(y, strides[0], ms) {
            for (chroma, stride) in [(u, strides[1]), (v, strides[2])] {
                for row in chroma.chunks_mut(stride).take(timecode::BLOCK / 2) {
                    row[..timecode::WIDTH / 2].fill(128);
                }
            }
        }
    }
}

impl Source for Pattern {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn grab(&mut self, want: Want, timeout: Duration) -> Result<Grab, Fault> {
        let mut frame = match self.paced.next(want, timeout) {
            Ok(frame) => frame,
            Err(why) => return Ok(why.into()),
        };
        let number = frame.sequence;
        self.draw(&mut frame, number);
        if self.timecode {
            frame.captured_at = self.clock.now();
            self.stamp(&mut frame);
        }
        Ok(Grab::Frame(frame))
    }

    fn dropped(&self) -> u64 {
        self.paced.dropped()
    }

    fn controls(&mut self) -> Option<&mut dyn Controls> {
        Some(&mut self.controls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::pace::POOLED_FRAMES;

    const LONG: Duration = Duration::from_secs(1);

    fn config(width: u32, height: u32, timecode: bool) -> CameraConfig {
        CameraConfig { width, height, timecode, ..CameraConfig::default() }
    }

    fn picture(source: &mut dyn Source) -> Frame {
        match source.grab(Want::Picture, LONG) {
            Ok(Grab::Frame(frame)) => frame,
            _ => panic!("the pattern always has a picture when its slot is due"),
        }
    }

    #[test]
    fn the_timecode_row_carries_the_wall_time_of_capture_on_neutral_chroma() {
        let (clock, _) = Clock::test();
        let mut source = open(&config(1280, 720, true), &clock).unwrap();
        let frame = picture(source.as_mut());
        let ms = (clock.wall().0 / 1000) as u32;
        assert_eq!(timecode::read(frame.planes()[0], 1280), Some(ms));
        assert_eq!(frame.captured_at, clock.now());
        for plane in &frame.planes()[1..] {
            assert!(plane.chunks(640).take(8).all(|row| row[..320].iter().all(|&c| c == 128)));
        }
    }

    #[test]
    fn without_timecode_no_row_is_drawn() {
        let (clock, _) = Clock::test();
        let mut source = open(&config(640, 480, false), &clock).unwrap();
        assert_eq!(timecode::read(picture(source.as_mut()).planes()[0], 640), None);
    }

    #[test]
    fn two_pictures_differ_and_stay_in_the_limited_range() {
        let (clock, _) = Clock::test();
        for (width, height) in [(640, 480), (16, 16), (322, 18), (16, 400), (1920, 1080)] {
            let mut source = open(&config(width, height, false), &clock).unwrap();
            let first = picture(source.as_mut());
            for _ in 0..5 {
                drop(picture(source.as_mut()));
            }
            let later = picture(source.as_mut());
            assert_ne!(first.planes()[0], later.planes()[0], "{width}x{height}");
            assert!(later.planes()[0].iter().all(|&y| (16..=235).contains(&y)));
            assert!(later.planes()[1].iter().all(|&u| (16..=240).contains(&u)));
        }
    }

    fn set(source: &mut dyn Source, key: &str, value: i64) -> Result<(), String> {
        source.controls().expect("the pattern has controls").set(key, value)
    }

    /// The `n`th picture of a fresh pattern.
    fn nth(n: usize, changes: &[(&str, i64)]) -> Frame {
        let (clock, _) = Clock::test();
        let mut source = open(&config(640, 480, true), &clock).unwrap();
        (1..n).for_each(|_| drop(picture(source.as_mut())));
        changes.iter().for_each(|(key, value)| set(source.as_mut(), key, *value).unwrap());
        picture(source.as_mut())
    }

    const BLOCK_ROWS: usize = 640 * timecode::BLOCK;

    #[test]
    fn brightness_moves_every_luma_value_but_those_of_the_timecode() {
        let (plain, brighter) = (nth(3, &[]), nth(3, &[("brightness", 168)]));
        for (before, after) in plain.planes()[0][BLOCK_ROWS..].iter().zip(&brighter.planes()[0][BLOCK_ROWS..]) {
            assert_eq!(i32::from(*after), (i32::from(*before) + 40).clamp(16, 235));
        }
        let ms = timecode::read(plain.planes()[0], 640);
        assert!(ms.is_some());
        for brightness in [0, 255] {
            assert_eq!(timecode::read(nth(3, &[("brightness", brightness)]).planes()[0], 640), ms);
        }
        assert_eq!(brighter.planes()[1], plain.planes()[1]);
        let back = nth(3, &[("brightness", 168), ("brightness", 128)]);
        assert_eq!(back.planes(), plain.planes(), "nothing is left of it");
    }

    #[test]
    fn automatic_overrides_brightness_and_gives_it_back() {
        let (clock, _) = Clock::test();
        let mut source = open(&config(64, 48, false), &clock).unwrap();
        let source = source.as_mut();
        set(source, "brightness", 255).unwrap();
        set(source, "brightness_automatic", 1).unwrap();
        assert!(source.controls().unwrap().list()[0].inactive);
        assert!(set(source, "brightness", 7).unwrap_err().contains("overrides"));
        assert!(picture(source).planes()[0].iter().any(|y| *y < 100), "as without it");
        set(source, "brightness_automatic", 0).unwrap();
        assert!(picture(source).planes()[0].iter().all(|y| *y > 100), "the value that was set");
    }

    #[test]
    fn mirror_background_and_counter_show() {
        let (plain, mirrored) = (nth(3, &[]), nth(3, &[("mirror", 1)]));
        for (before, after) in
            plain.planes()[0][BLOCK_ROWS..].chunks(640).zip(mirrored.planes()[0][BLOCK_ROWS..].chunks(640))
        {
            assert!(before.iter().eq(after.iter().rev()));
        }
        for (value, luma) in [(1, 110), (2, 16)] {
            assert_eq!(nth(3, &[("background", value)]).planes()[0][BLOCK_ROWS + 640 * 4 + 4], luma);
        }
        let (first, again) = (nth(1, &[]), nth(3, &[("reset_counter", 1)]));
        assert_eq!(first.planes()[0][BLOCK_ROWS..], again.planes()[0][BLOCK_ROWS..]);
        assert_eq!(again.sequence, 2, "the picture's own number goes on");
    }

    #[test]
    fn a_heartbeat_draws_nothing_and_lent_pictures_are_never_drawn_over() {
        let (clock, _) = Clock::test();
        let mut source = open(&config(64, 48, false), &clock).unwrap();
        assert!(matches!(source.grab(Want::Heartbeat, LONG), Ok(Grab::Passed)));
        let held: Vec<Frame> = (0..POOLED_FRAMES).map(|_| picture(source.as_mut())).collect();
        assert!(matches!(source.grab(Want::Picture, LONG), Ok(Grab::Passed)));
        assert_eq!(source.dropped(), 1);
        drop(held);
        assert_eq!(picture(source.as_mut()).sequence, 6);
    }

    /// CPU time, not elapsed time, and far above what it is: holds on any machine. The real figure is in `make bench`.
    #[test]
    fn a_vga_picture_costs_far_less_than_its_encoding() {
        let (clock, _) = Clock::test();
        let mut source = open(&config(640, 480, true), &clock).unwrap();
        drop(picture(source.as_mut()));
        let before = crate::clock::thread_cpu();
        for _ in 0..100 {
            drop(picture(source.as_mut()));
        }
        let each = (crate::clock::thread_cpu() - before) / 100;
        assert!(each < Duration::from_millis(20), "{each:?}");
    }
}
