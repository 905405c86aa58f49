//! Where pictures come from: the trait every source fulfils, and the table of sources.
//!
//! A new source is one new file and one row in `SOURCES`. Sources must never wait longer than they are told, never
//! encode, never know who watches beyond `Want`. Input: drivers, files, arithmetic.

mod bell;
pub mod controls;
mod convert;
mod file;
mod jpeg_sys;
mod pace;
mod pattern;
mod pattern_controls;
mod pattern_scene;
mod v4l2;
mod v4l2_buffers_sys;
mod v4l2_controls;
mod v4l2_controls_sys;
#[cfg(test)]
mod v4l2_controls_tests;
pub mod v4l2_device;
#[cfg(test)]
mod v4l2_fake;
#[cfg(test)]
mod v4l2_fake_controls;
pub mod v4l2_format;
mod v4l2_list;
mod v4l2_negotiate;
mod v4l2_probe_sys;
mod v4l2_select;
mod v4l2_sys;
#[cfg(test)]
mod v4l2_tests;

pub use bell::Bell;
pub use convert::{ConvertError, Converter};
pub use v4l2_list::{
    CameraListing, ControlListing, FormatListing, NodeReport, SizeListing, list_cameras, survey_cameras,
};
pub use v4l2_probe_sys::{BufferReport, probe_buffers};

use crate::clock::Clock;
use crate::config::{CameraConfig, SourceChoice};
use crate::media::frame::{Frame, PictureFormat};
use crate::units::FrameRate;
use controls::Controls;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What was really negotiated, not what was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceInfo {
    /// The device or file in the user's terms: `/dev/video0 (HD Webcam)`.
    pub name: String,
    /// The format on the wire from the driver: `YUYV`, `MJPG`, `NV12`; `pattern`.
    pub wire_format: String,
    /// The pictures this source hands out (strides of a mapped buffer included).
    pub picture: PictureFormat,
    /// None where the driver does not say.
    pub rate: Option<FrameRate>,
}

/// What the caller would do with the next picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Encode it.
    Picture,
    /// Nothing: only show that the camera lives. The source converts and decodes nothing.
    Heartbeat,
}

pub enum Grab {
    Frame(Frame),
    /// A picture came and was given back unread (`Want::Heartbeat`), or was dropped for want of a free buffer.
    Passed,
    /// Nothing came within the time given.
    Nothing,
}

/// Why there is no picture; the words viewers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    Missing,
    Busy,
    Unplugged,
    Failing,
    Silent,
    FormatChanged,
    NotACamera,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// What failed, on which object, and why: for the log and the picture's second line.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// An open source. Dropping it closes everything (STREAMOFF, munmap, close).
pub trait Source: Send {
    fn info(&self) -> &SourceInfo;

    /// The newest picture, waiting at most `timeout`. Older ones waiting in the driver are dropped and counted.
    /// After a fault the source is only good for dropping.
    fn grab(&mut self, want: Want, timeout: Duration) -> Result<Grab, Fault>;

    /// Pictures the source dropped because a newer one was there, since it was opened.
    fn dropped(&self) -> u64;

    /// What can be set on it while it runs.
    fn controls(&mut self) -> Option<&mut dyn Controls> {
        None
    }

    /// From now on `grab` gives `Nothing` early when the bell rings. Sources that do not hear it notice a change when
    /// their wait is over.
    fn listen(&mut self, bell: &Arc<Bell>) {
        let _ = bell;
    }
}

/// One row per source.
pub struct SourceKind {
    pub name: &'static str,
    pub choice: SourceChoice,
    pub open: OpenSource,
}

pub type OpenSource = fn(&CameraConfig, &Clock) -> Result<Box<dyn Source>, Fault>;

pub const SOURCES: &[SourceKind] = &[
    SourceKind { name: "v4l2", choice: SourceChoice::V4l2, open: v4l2::open },
    SourceKind { name: "pattern", choice: SourceChoice::Pattern, open: pattern::open },
    SourceKind { name: "file", choice: SourceChoice::File, open: file::open },
];

/// What `auto` means on this machine now. Asked once at start: a camera unplugged later is waited for, not replaced.
pub fn resolve(config: &CameraConfig) -> SourceChoice {
    resolve_on(&v4l2_select::Machine::this(), config)
}

fn resolve_on(machine: &v4l2_select::Machine, config: &CameraConfig) -> SourceChoice {
    match config.source {
        // whoever names a device means a camera, also when it is not there yet
        SourceChoice::Auto if config.device != "auto" || v4l2_select::any_camera(machine) => SourceChoice::V4l2,
        SourceChoice::Auto => SourceChoice::Pattern,
        choice => choice,
    }
}

/// The node that a V4L2 camera would be opened on now.
pub fn chosen_camera(config: &CameraConfig) -> Result<String, Fault> {
    v4l2_select::choose(&v4l2_select::Machine::this(), config).map(|(node, _)| node.path.display().to_string())
}

/// Opens the source the config names.
pub fn open(config: &CameraConfig, clock: &Clock) -> Result<Box<dyn Source>, Fault> {
    let choice = resolve(config);
    let kind = SOURCES
        .iter()
        .find(|kind| kind.choice == choice)
        .ok_or_else(|| Fault { kind: FaultKind::Missing, detail: format!("this build has no source {choice:?}") })?;
    (kind.open)(config, clock)
}
