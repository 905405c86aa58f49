//! `/api/v1/status` (JSON for programs) and `/metrics` (for Prometheus): the same snapshots in two languages.
//!
//! Must never change anything or tell a secret. Input: snapshots of the stream and of the viewers.

use super::connections::redacted;
use super::{SERVER, Shared};
use crate::config::Role;
use crate::media::srtp::SrtpProfile;
use crate::metrics::{self, Snapshot};
use crate::output::{NatKind, NetworkStats, SelectedPath, ViewerStats};
use crate::signal::message;
use crate::signal::room::words::{self, SeatId, ViewerRow};
use crate::stream::status::StreamStatus;
use crate::units::Micros;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use serde::Serialize;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub async fn get(shared: Arc<Shared>, _request: Request<Body>) -> Response<Body> {
    let now = shared.clock.now();
    let report = Report::new(&shared, &shared.stream.status(), &shared.door.viewers(), now);
    match serde_json::to_vec(&report) {
        Ok(json) => body(json, "application/json"),
        Err(e) => super::plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("the status cannot be written: {e}")),
    }
}

pub async fn metrics(shared: Arc<Shared>, _request: Request<Body>) -> Response<Body> {
    let viewers = shared.door.viewers();
    let totals = {
        let mut totals = shared.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.observe(&viewers);
        totals.clone()
    };
    let text = metrics::render(&Snapshot {
        version: env!("CARGO_PKG_VERSION"),
        uptime: shared.clock.now().since(shared.started),
        stream: shared.stream.status(),
        viewers,
        viewer_limit: shared.greeting.viewer_limit,
        totals,
        requests: shared.requests.read(),
        connections: shared.seats.open(),
        connections_refused: shared.seats.refused(),
        socket: shared.door.network().socket,
        room: shared.lounge.figures(),
    });
    body(text.into_bytes(), "application/openmetrics-text; version=1.0.0; charset=utf-8")
}

fn body(bytes: Vec<u8>, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[derive(Serialize)]
struct Report {
    server: &'static str,
    uptime_s: f64,
    camera: Camera,
    encoder: Encoder,
    viewer_limit: u32,
    network: Network,
    viewers: Vec<Viewer>,
    /// In the room, with or without a picture.
    people: usize,
}

/// The network in front of us, as far as STUN servers could tell.
#[derive(Serialize)]
struct Network {
    nat: NatKind,
    public: Vec<String>,
    udp_port: u16,
    tcp_port: Option<u16>,
    tcp_connections: usize,
}

#[derive(Serialize)]
struct Camera {
    /// `camera`, `reason`, `detail`, `size`, `fps` as on the wire.
    #[serde(flatten)]
    state: message::Status,
    source: Option<String>,
    wire_format: Option<String>,
    captured_fps: f64,
    captured: u64,
    dropped: u64,
    opens: u64,
    last_beat_ms: u64,
}

#[derive(Serialize)]
struct Encoder {
    name: &'static str,
    bitrate_kbps: u32,
    encoded_fps: f64,
    encoded_kbps: f64,
    encoded: u64,
    skipped: u64,
    copied: u64,
    key_pictures: u64,
    overlay_ms: f64,
    encode_ms: f64,
    subscribers: usize,
    last_beat_ms: u64,
}

#[derive(Serialize)]
struct Viewer {
    viewer: u64,
    /// As logs may have it.
    peer: Option<String>,
    path: Option<SelectedPath>,
    srtp: Option<&'static str>,
    joined_s: f64,
    connected_s: Option<f64>,
    pictures_sent: u64,
    pictures_dropped: u64,
    packets_sent: u64,
    packets_resent: u64,
    bytes_sent: u64,
    key_requests: u64,
    loss: f64,
    round_trip_ms: Option<f64>,
    /// Who watches, and what their page measures.
    seat: Option<SeatId>,
    name: Option<String>,
    role: Option<Role>,
    kbps: f64,
    report: Option<words::Report>,
}

impl Report {
    fn new(shared: &Shared, stream: &StreamStatus, viewers: &[ViewerStats], now: Micros) -> Report {
        let table = shared.lounge.table(now);
        let of = |stats: &ViewerStats| {
            let viewer = stats.viewer.0;
            move |row: &&ViewerRow| row.viewer == Some(viewer)
        };
        Report {
            server: SERVER,
            uptime_s: now.since(shared.started).as_secs_f64(),
            camera: Camera {
                state: stream.into(),
                source: stream.source.as_ref().map(|s| s.name.clone()),
                wire_format: stream.source.as_ref().map(|s| s.wire_format.clone()),
                captured_fps: stream.captured_fps,
                captured: stream.captured,
                dropped: stream.capture_dropped,
                opens: stream.camera_opens,
                last_beat_ms: now.since(stream.capture_beat).as_millis() as u64,
            },
            encoder: Encoder {
                name: stream.encoder,
                bitrate_kbps: stream.bitrate.0,
                encoded_fps: stream.encoded_fps,
                encoded_kbps: stream.encoded_kbps,
                encoded: stream.encoded,
                skipped: stream.encoder_skipped,
                copied: stream.encoder_copied,
                key_pictures: stream.key_pictures,
                overlay_ms: millis(stream.overlay_time),
                encode_ms: millis(stream.encode_time),
                subscribers: stream.subscribers,
                last_beat_ms: now.since(stream.encode_beat).as_millis() as u64,
            },
            viewer_limit: shared.greeting.viewer_limit,
            network: Network::new(shared.door.network()),
            viewers: viewers.iter().map(|v| Viewer::new(v, table.iter().find(of(v)), now)).collect(),
            people: table.iter().filter(|row| row.seat.is_some()).count(),
        }
    }
}

impl Network {
    fn new(stats: NetworkStats) -> Network {
        Network {
            nat: stats.nat,
            public: stats.public.iter().map(|address| address.to_string()).collect(),
            udp_port: stats.udp_port,
            tcp_port: stats.tcp_port,
            tcp_connections: stats.tcp_connections,
        }
    }
}

impl Viewer {
    fn new(stats: &ViewerStats, row: Option<&ViewerRow>, now: Micros) -> Viewer {
        let seated = row.filter(|row| row.seat.is_some());
        Viewer {
            viewer: stats.viewer.0,
            peer: stats.peer.map(|peer| redacted(peer.ip())),
            path: stats.path,
            srtp: stats.srtp.map(SrtpProfile::name),
            joined_s: now.since(stats.joined_at).as_secs_f64(),
            connected_s: stats.connected_at.map(|at| now.since(at).as_secs_f64()),
            pictures_sent: stats.pictures_sent,
            pictures_dropped: stats.pictures_dropped,
            packets_sent: stats.packets_sent,
            packets_resent: stats.packets_resent,
            bytes_sent: stats.bytes_sent,
            key_requests: stats.key_requests,
            loss: stats.loss,
            round_trip_ms: stats.round_trip_ms,
            seat: seated.and_then(|row| row.seat),
            name: seated.map(|row| row.name.clone()),
            role: seated.map(|row| row.role),
            kbps: row.map_or(0.0, |row| row.kbps),
            report: seated.and_then(|row| row.report),
        }
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::stream::status::CameraState;
    use crate::units::KbitPerSec;

    pub fn stream_status() -> StreamStatus {
        StreamStatus {
            camera: CameraState::Live,
            source: None,
            encoder: "openh264",
            bitrate: KbitPerSec(1500),
            captured_fps: 30.0,
            encoded_fps: 30.0,
            encoded_kbps: 1480.0,
            captured: 900,
            capture_dropped: 1,
            encoded: 890,
            encoder_skipped: 2,
            encoder_copied: 0,
            key_pictures: 3,
            camera_opens: 1,
            overlay_time: Duration::from_micros(80),
            encode_time: Duration::from_micros(510),
            subscribers: 1,
            capture_beat: Micros(0),
            encode_beat: Micros(0),
        }
    }
}
