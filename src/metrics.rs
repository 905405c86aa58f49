//! Prometheus text (OpenMetrics) from snapshots.
//!
//! Owns the names and the meaning of every metric. Must never label with what a peer chose: viewers are numbered, and there
//! are no more numbers than viewers allowed, so the number of series is bounded. Input: snapshots of the stream, the viewers and the HTTP port.

use crate::output::{SocketCounters, ViewerId, ViewerStats};
use crate::stream::status::{CameraState, StreamStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Everything one scrape tells.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub version: &'static str,
    pub uptime: Duration,
    pub stream: StreamStatus,
    pub viewers: Vec<ViewerStats>,
    pub viewer_limit: u32,
    pub totals: Totals,
    pub requests: RequestCounts,
    pub connections: usize,
    pub connections_refused: u64,
    pub socket: SocketCounters,
    pub room: RoomFigures,
}

/// The room, and the viewers in it by number: there are at most as many numbers as viewers allowed.
#[derive(Clone, Debug, Default)]
pub struct RoomFigures {
    pub people: usize,
    pub joined: u64,
    pub resumed: u64,
    pub turned_away: u64,
    pub behind: u64,
    pub chat_lines: u64,
    pub relayed: u64,
    pub log_lines_lost: u64,
    pub viewers: Vec<ViewerFigures>,
}

/// What is known of one viewer; the last three from its page.
#[derive(Clone, Debug, Default)]
pub struct ViewerFigures {
    pub number: usize,
    pub kbps: f64,
    pub loss: f64,
    pub round_trip_ms: Option<f64>,
    pub page_fps: Option<f64>,
    pub page_freezes: Option<f64>,
    pub page_latency_ms: Option<f64>,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the HTTP port counts as it goes.
#[derive(Debug, Default)]
pub struct Requests {
    pub ws_sessions: Count,
    pub whep_sessions: Count,
    /// Refused for their Host or Origin.
    pub foreign: Count,
    /// Refused for want of the password.
    pub denied: Count,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct RequestCounts {
    pub ws_sessions: u64,
    pub whep_sessions: u64,
    pub foreign: u64,
    pub denied: u64,
}

impl Requests {
    pub fn read(&self) -> RequestCounts {
        RequestCounts {
            ws_sessions: self.ws_sessions.read(),
            whep_sessions: self.whep_sessions.read(),
            foreign: self.foreign.read(),
            denied: self.denied.read(),
        }
    }
}

/// What all viewers got since start, those that left included (up to what was seen of them last).
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Only of viewers that are here.
    last: HashMap<ViewerId, Sums>,
    sums: Sums,
    joined: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    pictures_sent: u64,
    pictures_dropped: u64,
    packets_sent: u64,
    packets_resent: u64,
    bytes_sent: u64,
    key_requests: u64,
}

impl Totals {
    pub fn observe(&mut self, viewers: &[ViewerStats]) {
        let mut here = HashMap::with_capacity(viewers.len());
        for viewer in viewers {
            let now = Sums::of(viewer);
            let before = self.last.get(&viewer.viewer).copied();
            self.joined += u64::from(before.is_none());
            self.sums.grow(&now, &before.unwrap_or_default());
            here.insert(viewer.viewer, now);
        }
        self.last = here;
    }
}

impl Sums {
    fn of(viewer: &ViewerStats) -> Sums {
        Sums {
            pictures_sent: viewer.pictures_sent,
            pictures_dropped: viewer.pictures_dropped,
            packets_sent: viewer.packets_sent,
            packets_resent: viewer.packets_resent,
            bytes_sent: viewer.bytes_sent,
            key_requests: viewer.key_requests,
        }
    }

    fn grow(&mut self, now: &Sums, before: &Sums) {
        self.pictures_sent += now.pictures_sent.saturating_sub(before.pictures_sent);
        self.pictures_dropped += now.pictures_dropped.saturating_sub(before.pictures_dropped);
        self.packets_sent += now.packets_sent.saturating_sub(before.packets_sent);
        self.packets_resent += now.packets_resent.saturating_sub(before.packets_resent);
        self.bytes_sent += now.bytes_sent.saturating_sub(before.bytes_sent);
        self.key_requests += now.key_requests.saturating_sub(before.key_requests);
    }
}

pub fn render(snapshot: &Snapshot) -> String {
    let mut registry = Registry::with_prefix("rtcam");
    registry.register_collector(Box::new(snapshot.clone()));
    let mut text = String::with_capacity(8192);
    encode(&mut text, &registry).expect("a String takes every write");
    text
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        self.server(&mut page)?;
        self.camera(&mut page)?;
        self.encoding(&mut page)?;
        self.viewing(&mut page)?;
        self.sending(&mut page)?;
        self.room(&mut page)?;
        self.each_viewer(&mut page)
    }
}

impl Snapshot {
    fn server(&self, page: &mut Page) -> fmt::Result {
        page.labelled("build_info", "The running version", &[("version", self.version, 1.0)])?;
        page.gauge("uptime_seconds", "Time since start", self.uptime.as_secs_f64())?;
        page.gauge("http_connections", "Open TCP connections", self.connections as f64)?;
        page.count("http_refused_connections", "Connections refused by a cap", self.connections_refused)?;
        page.count("http_foreign_requests", "Requests refused for Host or Origin", self.requests.foreign)?;
        page.count("http_denied_requests", "Requests refused for want of the password", self.requests.denied)?;
        page.count("websocket_sessions", "WebSocket sessions begun", self.requests.ws_sessions)?;
        page.count("whep_sessions", "WHEP sessions begun", self.requests.whep_sessions)
    }

    fn camera(&self, page: &mut Page) -> fmt::Result {
        let stream = &self.stream;
        let is = |state: &str| f64::from(u8::from(state == camera_word(&stream.camera)));
        let states = ["live", "opening", "away"].map(|state| ("state", state, is(state)));
        page.labelled("camera_state", "1 for the state the camera is in", &states)?;
        page.count("camera_opens", "Times the camera was opened", stream.camera_opens)?;
        page.count("captured_pictures", "Pictures from the camera", stream.captured)?;
        page.count("capture_dropped_pictures", "Pictures dropped for newer ones", stream.capture_dropped)?;
        page.gauge("capture_fps", "Pictures from the camera in the last second", stream.captured_fps)
    }

    fn encoding(&self, page: &mut Page) -> fmt::Result {
        let stream = &self.stream;
        page.count("encoded_pictures", "Pictures encoded", stream.encoded)?;
        page.count(
            "encoder_skipped_pictures",
            "Pictures the encoder left out to keep its bit rate",
            stream.encoder_skipped,
        )?;
        page.count(
            "encoder_copied_pictures",
            "Pictures copied on their way into a hardware encoder",
            stream.encoder_copied,
        )?;
        page.count("key_pictures", "Key pictures encoded", stream.key_pictures)?;
        page.gauge("encode_fps", "Pictures encoded in the last second", stream.encoded_fps)?;
        page.gauge("encode_bits_per_second", "Bit rate of the last second", stream.encoded_kbps * 1000.0)?;
        page.gauge("target_bits_per_second", "Bit rate asked of the encoder", stream.bitrate.bits_per_sec() as f64)?;
        page.gauge("overlay_seconds", "Capture to overlay done, median", stream.overlay_time.as_secs_f64())?;
        page.gauge("encode_seconds", "Overlay to encoder done, median", stream.encode_time.as_secs_f64())?;
        page.gauge("stream_subscribers", "Outputs that take pictures", stream.subscribers as f64)
    }

    fn viewing(&self, page: &mut Page) -> fmt::Result {
        let connected = self.viewers.iter().filter(|v| v.connected_at.is_some()).count();
        let sums = &self.totals.sums;
        page.gauge("viewers", "Viewers connected", connected as f64)?;
        page.gauge("viewers_connecting", "Viewers on their way", (self.viewers.len() - connected) as f64)?;
        page.gauge("viewer_limit", "Viewers allowed", f64::from(self.viewer_limit))?;
        let worst_loss = self.viewers.iter().map(|v| v.loss).fold(0.0, f64::max);
        page.gauge("viewer_worst_loss_ratio", "Highest fraction lost any viewer reports", worst_loss)?;
        let round_trips = self.viewers.iter().filter_map(|v| v.round_trip_ms);
        let worst_round_trip = round_trips.fold(0.0, f64::max) / 1000.0;
        page.gauge("viewer_worst_round_trip_seconds", "Longest round trip to a viewer", worst_round_trip)?;
        page.count("viewers_joined", "Viewers seen since start", self.totals.joined)?;
        page.count("sent_pictures", "Pictures sent, all viewers together", sums.pictures_sent)?;
        page.count("viewer_dropped_pictures", "Pictures slow viewers missed", sums.pictures_dropped)?;
        page.count("sent_packets", "RTP packets sent", sums.packets_sent)?;
        page.count("resent_packets", "RTP packets sent again", sums.packets_resent)?;
        page.count("sent_bytes", "RTP bytes sent", sums.bytes_sent)?;
        page.count("key_requests", "Key pictures viewers asked for", sums.key_requests)
    }

    fn sending(&self, page: &mut Page) -> fmt::Result {
        let socket = &self.socket;
        page.count("udp_sent_datagrams", "Datagrams sent", socket.datagrams_sent)?;
        page.count("udp_send_calls", "System calls they took", socket.send_calls)?;
        page.count("udp_refused_datagrams", "Datagrams the kernel would not send", socket.send_refused)?;
        page.count("udp_stray_datagrams", "Datagrams dropped that belong to no viewer", socket.stray_datagrams)?;
        page.count("ice_tcp_turned_away", "ICE-TCP connections closed for want of room", socket.tcp_turned_away)?;
        page.count("webrtc_lost_messages", "Messages dropped where a thread did not keep up", socket.messages_lost)
    }
}

impl Snapshot {
    fn room(&self, page: &mut Page) -> fmt::Result {
        let room = &self.room;
        page.gauge("room_people", "People in the room", room.people as f64)?;
        page.count("room_joined", "Seats taken since start", room.joined)?;
        page.count("room_resumed", "Times somebody came back to their seat", room.resumed)?;
        page.count("room_turned_away", "Newcomers not let in", room.turned_away)?;
        page.count("room_sockets_behind", "Sockets closed because they took nothing", room.behind)?;
        page.count("room_chat_lines", "Chat lines passed on", room.chat_lines)?;
        page.count("room_relayed_messages", "Messages relayed from viewer to viewer", room.relayed)?;
        page.count("viewer_log_lost_lines", "Lines the log of viewers lost", room.log_lines_lost)
    }

    /// By number, never by name: see `RoomFigures`.
    fn each_viewer(&self, page: &mut Page) -> fmt::Result {
        let mut each = |name: &str, help: &str, value: fn(&ViewerFigures) -> Option<f64>| {
            let known = self.room.viewers.iter().filter_map(|v| Some((v.number.to_string(), value(v)?)));
            let known: Vec<(String, f64)> = known.collect();
            let rows: Vec<(&str, &str, f64)> = known.iter().map(|(n, value)| ("viewer", n.as_str(), *value)).collect();
            page.labelled(name, help, &rows)
        };
        each("viewer_bits_per_second", "Sent to each viewer", |v| Some(v.kbps * 1000.0))?;
        each("viewer_loss_ratio", "Fraction lost, as each viewer reports", |v| Some(v.loss))?;
        each("viewer_round_trip_seconds", "Round trip to each viewer", |v| Some(v.round_trip_ms? / 1000.0))?;
        each("viewer_page_fps", "Pictures each page decodes", |v| v.page_fps)?;
        each("viewer_page_freezes", "Freezes each page has seen", |v| v.page_freezes)?;
        let latency = "Glass to eye, as each page measures";
        each("viewer_page_latency_seconds", latency, |v| Some(v.page_latency_ms? / 1000.0))
    }
}

fn camera_word(camera: &CameraState) -> &'static str {
    match camera {
        CameraState::Live => "live",
        CameraState::Opening => "opening",
        CameraState::Away { .. } => "away",
    }
}

/// Writes one family after another.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        use prometheus_client::metrics::MetricType::Gauge;
        ConstGauge::new(finite(value)).encode(self.0.encode_descriptor(name, help, None, Gauge)?)
    }

    fn count(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        use prometheus_client::metrics::MetricType::Counter;
        ConstCounter::new(value).encode(self.0.encode_descriptor(name, help, None, Counter)?)
    }

    /// Rows of (label, its value, number).
    fn labelled(&mut self, name: &str, help: &str, rows: &[(&str, &str, f64)]) -> fmt::Result {
        use prometheus_client::metrics::MetricType::Gauge;
        let mut family = self.0.encode_descriptor(name, help, None, Gauge)?;
        for (label, value, number) in rows {
            ConstGauge::new(finite(*number)).encode(family.encode_family(&[(*label, *value)])?)?;
        }
        Ok(())
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::FaultKind;
    use crate::units::{KbitPerSec, Micros};

    fn viewer(id: u64, packets_sent: u64) -> ViewerStats {
        ViewerStats {
            viewer: ViewerId(id),
            joined_at: Micros(0),
            connected_at: Some(Micros(1)),
            peer: None,
            path: None,
            srtp: None,
            pictures_sent: 1,
            pictures_dropped: 0,
            packets_sent,
            bytes_sent: 0,
            packets_resent: 0,
            key_requests: 0,
            loss: 0.25,
            round_trip_ms: Some(12.0),
        }
    }

    fn snapshot(viewers: Vec<ViewerStats>) -> Snapshot {
        let mut totals = Totals::default();
        totals.observe(&viewers);
        Snapshot {
            version: "0.1.0",
            uptime: Duration::from_secs(5),
            stream: StreamStatus {
                camera: CameraState::Away {
                    kind: FaultKind::Missing,
                    detail: "gone".into(),
                    since: Micros(0),
                    attempts: 1,
                },
                encoder: "openh264",
                bitrate: KbitPerSec(1500),
                captured_fps: f64::NAN,
                encoded_fps: 29.5,
                encoded_kbps: 1480.0,
                captured: 900,
                capture_dropped: 1,
                encoded: 890,
                encoder_skipped: 2,
                key_pictures: 3,
                camera_opens: 1,
                overlay_time: Duration::from_micros(80),
                encode_time: Duration::from_micros(510),
                subscribers: 1,
                ..StreamStatus::default()
            },
            viewers,
            viewer_limit: 32,
            totals,
            requests: RequestCounts::default(),
            connections: 7,
            connections_refused: 0,
            socket: SocketCounters { stray_datagrams: 4, ..SocketCounters::default() },
            room: RoomFigures::default(),
        }
    }

    #[test]
    fn the_text_says_what_the_snapshot_holds() {
        let text = render(&snapshot(vec![viewer(1, 10)]));
        for line in [
            "rtcam_camera_state{state=\"away\"} 1.0",
            "rtcam_camera_state{state=\"live\"} 0.0",
            "rtcam_captured_pictures_total 900",
            "rtcam_encode_fps 29.5",
            "rtcam_capture_fps 0.0",
            "rtcam_viewers 1.0",
            "rtcam_sent_packets_total 10",
            "rtcam_udp_stray_datagrams_total 4",
            "rtcam_webrtc_lost_messages_total 0",
            "rtcam_http_connections 7.0",
            "rtcam_viewer_worst_round_trip_seconds 0.012",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_number_of_series_does_not_grow_with_the_viewers() {
        let series = |count| render(&snapshot((0..count).map(|id| viewer(id, 1)).collect())).lines().count();
        assert_eq!(series(0), series(256));
    }

    #[test]
    fn each_viewer_is_a_number_with_the_figures_it_has() {
        let first = ViewerFigures { number: 1, kbps: 1500.0, page_fps: Some(29.5), ..ViewerFigures::default() };
        let second = ViewerFigures { number: 2, ..ViewerFigures::default() };
        let mut snapshot = snapshot(vec![]);
        snapshot.room.viewers = vec![first, second];
        let text = render(&snapshot);
        for line in ["rtcam_viewer_bits_per_second{viewer=\"1\"} 1500000.0", "rtcam_viewer_page_fps{viewer=\"1\"} 29.5"]
        {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("page_fps{viewer=\"2\"}"));
    }

    #[test]
    fn what_a_viewer_got_stays_counted_after_it_left() {
        let mut totals = Totals::default();
        totals.observe(&[viewer(1, 10), viewer(2, 5)]);
        totals.observe(&[viewer(2, 9)]);
        totals.observe(&[viewer(2, 9), viewer(3, 1)]);
        totals.observe(&[]);
        assert_eq!((totals.sums.packets_sent, totals.joined), (20, 3));
        assert!(totals.last.is_empty());
    }
}
