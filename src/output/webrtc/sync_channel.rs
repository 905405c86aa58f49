//! The words on the data channels "telemetry" and "sync" that need no room: clock readings for the page's glass-to-eye latency, and once a second where
//! the stream stands.
//!
//! Pure: text in, text out. A page sends `{"type":"clock","t0":N}` and gets its `t0` back with our monotonic time;
//! `{"type":"stream",...}` ties an RTP timestamp to its capture instant on that clock. No NTP, no wall time.

use crate::stream::status::{CameraState, StreamStatus};
use crate::units::{Micros, Pts90k};
use serde::{Deserialize, Serialize};

/// Longer messages are ignored.
pub const MAX_MESSAGE_BYTES: usize = 1024;
/// Clock readings answered per viewer and second; a page needs one every two seconds, and a burst of 8 at start.
pub const MAX_MESSAGES_PER_S: u32 = 30;

/// How a clock reading in bytes begins.
const MARK: u8 = 0x01;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum FromPage {
    Clock { t0: f64 },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ToPage<'a> {
    Clock {
        t0: f64,
        server_us: u64,
    },
    Stream {
        /// RTP timestamp of a picture just sent, and the stages of that same picture.
        rtp: u32,
        captured_us: u64,
        overlaid_us: u64,
        encoded_us: u64,
        fps: f64,
        kbps: f64,
        dropped: u64,
        camera: &'a str,
    },
}

/// The answer to a page's message; None for anything we do not understand.
pub fn answer(now: Micros, message: &[u8]) -> Option<String> {
    if message.len() > MAX_MESSAGE_BYTES {
        return None;
    }
    match serde_json::from_slice(message).ok()? {
        FromPage::Clock { t0 } if t0.is_finite() => to_text(&ToPage::Clock { t0, server_us: now.0 }),
        FromPage::Clock { .. } => None,
    }
}

/// The same in bytes: 0x01 and the page's f64; its bits come back as they were, with our time behind them.
pub fn answer_bytes(now: Micros, message: &[u8]) -> Option<[u8; 17]> {
    let asked: [u8; 9] = message.try_into().ok().filter(|asked: &[u8; 9]| asked[0] == MARK)?;
    let mut answer = [0; 17];
    answer[..9].copy_from_slice(&asked);
    answer[9..].copy_from_slice(&now.0.to_le_bytes());
    Some(answer)
}

/// The stamps of the newest picture sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastPicture {
    pub pts: Pts90k,
    pub captured_at: Micros,
    pub overlaid_at: Micros,
    pub encoded_at: Micros,
}

/// Where the stream stands, for one viewer. `dropped`: pictures that viewer missed.
pub fn stream_message(picture: LastPicture, status: &StreamStatus, dropped: u64) -> Option<String> {
    let camera = match status.camera {
        CameraState::Opening => "opening",
        CameraState::Live => "live",
        CameraState::Away { .. } => "away",
    };
    to_text(&ToPage::Stream {
        rtp: picture.pts.rtp(),
        captured_us: picture.captured_at.0,
        overlaid_us: picture.overlaid_at.0,
        encoded_us: picture.encoded_at.0,
        fps: round1(status.encoded_fps),
        kbps: round1(status.encoded_kbps),
        dropped,
        camera,
    })
}

fn round1(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn to_text(message: &ToPage) -> Option<String> {
    serde_json::to_string(message).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_question_gets_its_own_stamp_back_with_ours() {
        let reply = answer(Micros(123_456), br#"{"type":"clock","t0":17.25}"#).expect("an answer");
        assert_eq!(reply, r#"{"type":"clock","t0":17.25,"server_us":123456}"#);
    }

    #[test]
    fn a_clock_question_in_bytes_gets_bytes() {
        let mut asked = vec![1];
        asked.extend(17.25f64.to_le_bytes());
        let answer = answer_bytes(Micros(0x0102_0304), &asked).expect("an answer");
        assert_eq!((&answer[..9], &answer[9..]), (&asked[..], &[4, 3, 2, 1, 0, 0, 0, 0][..]));
        assert_eq!(answer_bytes(Micros(1), &asked[..8]), None);
        asked[0] = 2;
        assert_eq!(answer_bytes(Micros(1), &asked), None);
    }

    #[test]
    fn nonsense_gets_no_answer() {
        for message in [&b""[..], b"{", b"[]", br#"{"type":"clock"}"#, br#"{"type":"reboot"}"#, b"\xff\xfe"] {
            assert_eq!(answer(Micros(1), message), None);
        }
        let long = format!(r#"{{"type":"clock","t0":1{}}}"#, " ".repeat(MAX_MESSAGE_BYTES));
        assert_eq!(answer(Micros(1), long.as_bytes()), None);
    }
}
