//! The page, health, status and metrics, as a browser and a monitor see them.

use crate::bench::Bench;
use rtcam::capture::FaultKind;
use rtcam::http::route_table;
use rtcam::stream::status::CameraState;
use rtcam::units::Micros;

#[tokio::test]
async fn the_page_and_its_parts_come_with_their_types_and_a_strict_policy() {
    let bench = Bench::start().await;
    for (path, kind) in [("/", "text/html"), ("/main.js", "text/javascript"), ("/app.css", "text/css")] {
        let reply = bench.get(path).await;
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.header("content-type").unwrap().starts_with(kind), "{path}");
        assert!(reply.header("content-security-policy").unwrap().starts_with("default-src 'self'"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("referrer-policy"), Some("same-origin"));
        assert_eq!(reply.header("cache-control"), Some("no-cache"));
        let tag = reply.header("etag").unwrap().to_string();
        let again = bench.ask("GET", path, &[("If-None-Match", &tag)], "").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
    }
    bench.stop().await;
}

#[tokio::test]
async fn an_unknown_path_is_404_and_a_wrong_method_405() {
    let bench = Bench::start().await;
    for path in ["/nope", "/index.html", "/whep/a/b", "/api", "/api/v1/status/", "/%2e%2e/etc/passwd", "//", "/ws/"] {
        let reply = bench.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.header("content-security-policy").is_some(), "{path}");
    }
    for (method, path) in [("POST", "/"), ("DELETE", "/whep"), ("PUT", "/ws"), ("POST", "/metrics"), ("PUT", "/login")]
    {
        assert_eq!(bench.ask(method, path, &[], "").await.status, 405, "{method} {path}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn no_route_answers_without_a_row_in_the_table() {
    let bench = Bench::start().await;
    let table = route_table();
    let mut paths: Vec<&str> = table.iter().map(|row| row.path).collect();
    paths.dedup();
    for path in paths {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let rows = |m: &str| table.iter().any(|row| row.path == path && row.method.as_str() == m);
            // HEAD is what GET would say, without saying it
            let known = rows(method) || (method == "HEAD" && rows("GET"));
            let reply = bench.ask(method, &path.replace("{id}", "0").replace("{file}", "dom.js"), &[], "").await;
            assert_eq!(reply.status != 405, known, "{method} {path}: {}", reply.status);
        }
    }
    bench.stop().await;
}

#[test]
fn the_router_is_built_in_one_place() {
    let mut waiting = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http")];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let allowed = usize::from(path.ends_with("routes.rs"));
        for call in [".route(", ".fallback("] {
            assert_eq!(text.matches(call).count(), allowed, "{call} in {}", path.display());
        }
        for call in [".nest(", ".merge(", ".route_service(", ".nest_service(", ".fallback_service("] {
            assert!(!text.contains(call), "{call} in {}", path.display());
        }
    }
}

#[tokio::test]
async fn health_follows_the_camera() {
    let bench = Bench::start().await;
    assert_eq!(bench.get("/healthz").await.status, 200);
    bench.stream.0.lock().unwrap().camera = CameraState::Away {
        kind: FaultKind::Unplugged,
        detail: "/dev/video0: gone".into(),
        since: Micros(0),
        attempts: 1,
    };
    let reply = bench.get("/healthz").await;
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains("/dev/video0: gone"), "{}", reply.body);
    bench.stop().await;
}

#[tokio::test]
async fn the_status_is_json_with_camera_encoder_and_viewers() {
    let bench = Bench::start().await;
    let offer = bench.ask("POST", "/whep", &[("Content-Type", "application/sdp")], "v=0").await;
    assert_eq!(offer.status, 201);
    let reply = bench.get("/api/v1/status").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let json: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(json["camera"]["camera"], "live");
    assert_eq!(json["encoder"]["bitrate_kbps"], 1500);
    assert_eq!(json["viewers"][0]["packets_sent"], 30);
    assert_eq!(json["viewer_limit"], 32);
    bench.stop().await;
}

#[tokio::test]
async fn the_metrics_are_prometheus_text() {
    let bench = Bench::start().await;
    bench.ask("POST", "/whep", &[("Content-Type", "application/sdp")], "v=0").await;
    let reply = bench.get("/metrics").await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    for line in ["rtcam_viewers 1.0", "rtcam_whep_sessions_total 1", "rtcam_sent_packets_total 30"] {
        assert!(reply.body.lines().any(|l| l == line), "{line} is not in\n{}", reply.body);
    }
    bench.stop().await;
}
