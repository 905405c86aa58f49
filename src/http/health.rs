//! `/healthz`: 200 while pictures move (or would, for a viewer), 503 with the reason otherwise.
//!
//! Must never say more than a stranger may know: it is open to everybody.

use super::{Shared, plain};
use crate::stream::status::{CameraState, StreamStatus};
use crate::units::Micros;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A thread that has not moved for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);

pub async fn get(shared: Arc<Shared>, _request: Request<Body>) -> Response<Body> {
    let watched = *shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
    match judge(&shared.stream.status(), watched, shared.clock.now()) {
        Ok(()) => plain(StatusCode::OK, "ok"),
        Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

/// `watched`: since when pictures are wanted. Before, the encode thread has no reason to move.
fn judge(status: &StreamStatus, watched: Option<Micros>, now: Micros) -> Result<(), String> {
    stuck("capture", now.since(status.capture_beat))?;
    if let Some(since) = watched {
        stuck("encode", now.since(status.encode_beat.max(since)))?;
    }
    match &status.camera {
        CameraState::Live => Ok(()),
        CameraState::Opening => Err("the camera is being opened".into()),
        CameraState::Away { detail, .. } => Err(format!("the camera is away: {detail}")),
    }
}

fn stuck(thread: &str, still: Duration) -> Result<(), String> {
    if still <= STUCK_AFTER {
        return Ok(());
    }
    Err(format!("the {thread} thread has not moved for {} s", still.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::FaultKind;
    use crate::http::status::tests::stream_status;

    const NOW: Micros = Micros(100_000_000);

    fn status(camera: CameraState, capture_ago_ms: u64, encode_ago_ms: u64) -> StreamStatus {
        let ago = |ms| NOW - Duration::from_millis(ms);
        StreamStatus { camera, capture_beat: ago(capture_ago_ms), encode_beat: ago(encode_ago_ms), ..stream_status() }
    }

    #[test]
    fn a_camera_that_beats_is_healthy_though_nobody_watches() {
        assert_eq!(judge(&status(CameraState::Live, 33, 90_000), None, NOW), Ok(()));
    }

    #[test]
    fn a_thread_that_stands_still_for_more_than_five_seconds_is_named() {
        let long_ago = Some(Micros(0));
        assert_eq!(judge(&status(CameraState::Live, 5000, 5000), long_ago, NOW), Ok(()));
        let capture = judge(&status(CameraState::Live, 5001, 0), long_ago, NOW).unwrap_err();
        assert!(capture.contains("capture"), "{capture}");
        let encode = judge(&status(CameraState::Live, 0, 5001), long_ago, NOW).unwrap_err();
        assert!(encode.contains("encode"), "{encode}");
    }

    #[test]
    fn the_first_viewer_after_a_quiet_night_finds_a_healthy_server() {
        let just_now = Some(NOW - Duration::from_millis(100));
        assert_eq!(judge(&status(CameraState::Live, 10, 8 * 3_600_000), just_now, NOW), Ok(()));
    }

    #[test]
    fn a_camera_that_is_away_is_unhealthy_and_the_reason_given() {
        let detail = "/dev/video0: no such device".to_string();
        let away = CameraState::Away { kind: FaultKind::Missing, detail, since: Micros(0), attempts: 3 };
        assert!(judge(&status(away, 10, 10), None, NOW).unwrap_err().contains("no such device"));
        assert!(judge(&status(CameraState::Opening, 10, 10), None, NOW).is_err());
    }
}
