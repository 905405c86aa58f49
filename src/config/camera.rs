//! The settings of the camera and their defaults.
//!
//! Ranges are in `keys.rs`. Must never read a device.

use crate::media::frame::{Matrix, Range};
use crate::units::Size;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceChoice {
    /// The first usable V4L2 camera; the moving pattern when there is none at start.
    Auto,
    V4l2,
    Pattern,
    File,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CameraConfig {
    pub source: SourceChoice,
    /// `auto`, `/dev/video0`, `name:rkispp_scale0` or `usb:046d:0825`.
    pub device: String,
    /// What `device = "auto"` looks for before it takes the first camera: from the board's profile.
    pub preferred: Vec<PreferredNode>,
    /// Of the driver's; from the board's profile. Four are one with the encoder, one waiting for it, one being filled,
    /// and one ready to be filled next.
    pub buffers: u32,
    /// What the pictures' colours are where the driver does not say: of the node that is opened.
    pub matrix: Option<Matrix>,
    pub range: Option<Range>,
    /// The driver sets the rate; else it is the sensor's, and nobody asks the driver for one: of the node that is opened.
    pub sets_rate: bool,
    /// Pixels. The driver's nearest is taken and reported.
    pub width: u32,
    pub height: u32,
    /// Frames per second wanted.
    pub fps: u32,
    /// `auto` or a V4L2 FourCC such as `NV12`, `YUYV`, `MJPG`.
    pub format: String,
    /// The Y4M file of `source = "file"`.
    pub file: PathBuf,
    /// Draw the TC40 timecode row into the pattern.
    pub timecode: bool,
    /// What `[[camera.preset]]` lists.
    pub presets: Vec<Preset>,
}

/// Control values that go by one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preset {
    pub name: String,
    /// Of the control's key, as `rtcam cameras` and the page show it; 1 and 0 for on and off.
    pub controls: BTreeMap<String, i64>,
}

/// A node that a board is known to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferredNode {
    /// As in `device`.
    pub device: String,
    /// Taken from this node when `format` is `auto`: a FourCC or `auto`.
    pub format: String,
    /// As in `CameraConfig`.
    pub matrix: Option<Matrix>,
    pub range: Option<Range>,
    pub sets_rate: bool,
}

impl CameraConfig {
    pub fn size(&self) -> Size {
        Size { width: self.width, height: self.height }
    }
}

impl Default for CameraConfig {
    fn default() -> Self {
        CameraConfig {
            source: SourceChoice::Auto,
            device: "auto".into(),
            preferred: Vec::new(),
            buffers: 4,
            matrix: None,
            range: None,
            sets_rate: true,
            width: 640,
            height: 480,
            fps: 30,
            format: "auto".into(),
            file: PathBuf::new(),
            timecode: false,
            presets: Vec::new(),
        }
    }
}
