//! The test pattern's controls: something to set where there is no camera, and pictures that show it.
//!
//! Owns the values and what they make of a picture that is drawn already. With the values it starts with a picture is
//! not touched at all. Input: people.

use crate::capture::controls::{Control, ControlKind, Controls};
use crate::capture::pattern_scene::Ground;
use crate::media::frame::Frame;
use std::ops::RangeInclusive;

const BRIGHTNESS: usize = 0;
const AUTOMATIC: usize = 1;
const BACKGROUND: usize = 2;
const MIRROR: usize = 3;
const RESET_COUNTER: usize = 4;

const USUAL_BRIGHTNESS: i64 = 128;
const GROUNDS: [(Ground, &str); 3] = [(Ground::Dusk, "Dusk"), (Ground::Grey, "Grey"), (Ground::Black, "Black")];
/// Limited range: what is outside is no picture.
const LUMA: RangeInclusive<i64> = 16..=235;

pub struct PatternControls {
    list: Vec<Control>,
    changed: bool,
    reset: bool,
    /// What becomes of each luma value; None: it stays.
    luma: Option<Box<[u8; 256]>>,
}

impl PatternControls {
    pub fn new() -> PatternControls {
        let control = |key: &str, name: &str, kind, value| Control {
            key: key.into(),
            name: name.into(),
            kind,
            value,
            default: value,
            read_only: false,
            inactive: false,
        };
        let brightness = ControlKind::Integer { minimum: 0, maximum: 255, step: 1 };
        let items = GROUNDS.iter().zip(0..).map(|((_, name), value)| (value, (*name).into())).collect();
        let list = vec![
            control("brightness", "Brightness", brightness, USUAL_BRIGHTNESS),
            control("brightness_automatic", "Brightness, Automatic", ControlKind::Boolean, 0),
            control("background", "Background", ControlKind::Menu { items }, 0),
            control("mirror", "Mirror", ControlKind::Boolean, 0),
            control("reset_counter", "Reset Counter", ControlKind::Button, 0),
        ];
        PatternControls { list, changed: true, reset: false, luma: None }
    }

    pub fn ground(&self) -> Ground {
        let (ground, _) = GROUNDS.get(self.list[BACKGROUND].value as usize).unwrap_or(&GROUNDS[0]);
        *ground
    }

    /// Whether the picture's number starts over now.
    pub fn take_reset(&mut self) -> bool {
        std::mem::take(&mut self.reset)
    }

    pub fn apply(&self, frame: &mut Frame) {
        if let Some(luma) = &self.luma {
            frame.planes_mut()[0].iter_mut().for_each(|y| *y = luma[usize::from(*y)]);
        }
        if self.list[MIRROR].value != 0 {
            let format = frame.format;
            for (plane, bytes) in frame.planes_mut().into_iter().enumerate() {
                let (width, _) = format.plane_shape(plane);
                bytes.chunks_mut(format.strides[plane]).for_each(|row| row[..width].reverse());
            }
        }
    }

    fn follow(&mut self, at: usize) {
        match at {
            BRIGHTNESS | AUTOMATIC => {
                let automatic = self.list[AUTOMATIC].value != 0;
                self.list[BRIGHTNESS].inactive = automatic;
                let shift = if automatic { 0 } else { self.list[BRIGHTNESS].value - USUAL_BRIGHTNESS };
                let shifted = |y: usize| (y as i64 + shift).clamp(*LUMA.start(), *LUMA.end()) as u8;
                self.luma = (shift != 0).then(|| Box::new(std::array::from_fn(shifted)));
            }
            RESET_COUNTER => self.reset = true,
            _ => {}
        }
    }
}

impl Controls for PatternControls {
    fn device(&self) -> &str {
        "test pattern"
    }

    fn list(&self) -> &[Control] {
        &self.list
    }

    fn set(&mut self, key: &str, value: i64) -> Result<(), String> {
        let at = self.list.iter().position(|control| control.key == key);
        let at = at.ok_or_else(|| format!("{key}: the pattern has no such control"))?;
        let control = &mut self.list[at];
        if control.inactive {
            return Err(format!("{}: another control overrides it", control.name));
        }
        control.value = control.fitted(value)?;
        self.changed = true;
        self.follow(at);
        Ok(())
    }

    fn work(&mut self, _: bool) {}

    fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}
