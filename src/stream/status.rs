//! What the pipeline tells about itself: one snapshot for status page, metrics, viewers and the watchdog.

use crate::capture::{FaultKind, SourceInfo};
use crate::units::{KbitPerSec, Micros};
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum CameraState {
    #[default]
    Opening,
    Live,
    /// Viewers see the labelled picture; the camera is tried again.
    Away {
        kind: FaultKind,
        detail: String,
        since: Micros,
        attempts: u32,
    },
}

#[derive(Clone, Debug, Default)]
pub struct StreamStatus {
    pub camera: CameraState,
    /// What is open now, or was last.
    pub source: Option<SourceInfo>,
    pub encoder: &'static str,
    pub bitrate: KbitPerSec,
    /// Measured over the last second.
    pub captured_fps: f64,
    pub encoded_fps: f64,
    pub encoded_kbps: f64,
    /// Since start.
    pub captured: u64,
    /// Old pictures dropped for newer ones before overlay (in the driver queue or in front of a busy encoder).
    pub capture_dropped: u64,
    pub encoded: u64,
    pub encoder_skipped: u64,
    /// Pictures copied on their way into a hardware encoder.
    pub encoder_copied: u64,
    pub key_pictures: u64,
    pub camera_opens: u64,
    /// Median of the last second: capture to overlay done, overlay to encoder done.
    pub overlay_time: Duration,
    pub encode_time: Duration,
    /// Subscribers to the stream; 0 means nothing is encoded.
    pub subscribers: usize,
    /// The last beat of the capture thread (a picture, or one try to open the camera) and of the encode thread.
    pub capture_beat: Micros,
    pub encode_beat: Micros,
}
