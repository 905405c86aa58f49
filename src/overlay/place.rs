//! Where a layer lies in the picture: corner and margin, or its own x and y.
//!
//! Pure. Positions may be negative or beyond the picture; clipping is the patch's work. Input: config.

use crate::config::{Corner, OverlayConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::units::Size;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// Left upper corner of the layer, in pixels of the picture.
    At {
        x: i32,
        y: i32,
    },
    Corner {
        corner: Corner,
        margin: u32,
    },
}

impl Place {
    pub fn of(config: &OverlayConfig) -> Result<Place> {
        match (config.x, config.y) {
            (Some(x), Some(y)) => Ok(Place::At { x, y }),
            (None, None) => Ok(Place::Corner { corner: config.corner, margin: config.margin }),
            _ => Err(Error::new(ErrorKind::BadConfig, "x and y replace the corner only together: set both or none")),
        }
    }

    /// Left upper corner of something `layer` large in a picture of `picture` size.
    pub fn left_top(&self, layer: Size, picture: Size) -> (i32, i32) {
        let (corner, margin) = match *self {
            Place::At { x, y } => return (x, y),
            Place::Corner { corner, margin } => (corner, i64::from(margin)),
        };
        let near = margin;
        let far = |whole: u32, part: u32| i64::from(whole) - i64::from(part) - margin;
        let (right, bottom) = (far(picture.width, layer.width), far(picture.height, layer.height));
        let (x, y) = match corner {
            Corner::TopLeft => (near, near),
            Corner::TopRight => (right, near),
            Corner::BottomLeft => (near, bottom),
            Corner::BottomRight => (right, bottom),
        };
        let clamp = |v: i64| v.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        (clamp(x), clamp(y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYER: Size = Size { width: 100, height: 40 };
    const PICTURE: Size = Size { width: 640, height: 480 };

    fn at(corner: Corner, margin: u32) -> (i32, i32) {
        Place::Corner { corner, margin }.left_top(LAYER, PICTURE)
    }

    #[test]
    fn each_corner_keeps_the_margin() {
        assert_eq!(at(Corner::TopLeft, 16), (16, 16));
        assert_eq!(at(Corner::TopRight, 16), (524, 16));
        assert_eq!(at(Corner::BottomLeft, 16), (16, 424));
        assert_eq!(at(Corner::BottomRight, 7), (533, 433));
        assert_eq!(at(Corner::BottomRight, u32::MAX), (i32::MIN, i32::MIN), "far outside, not wrapped around");
    }

    #[test]
    fn x_and_y_replace_the_corner_only_together() {
        let config = OverlayConfig { x: Some(-5), y: Some(9), ..OverlayConfig::default() };
        assert_eq!(Place::of(&config).expect("both given").left_top(LAYER, PICTURE), (-5, 9));
        let error = Place::of(&OverlayConfig { y: None, ..config }).expect_err("y is missing");
        assert_eq!(error.kind(), ErrorKind::BadConfig);
    }
}
