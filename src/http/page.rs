//! The viewer page and its parts, embedded in the binary, and the headers every response carries.
//!
//! Owns the table of files under `web/`. Must never read a file while running or let a page load anything from elsewhere.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::hash::{DefaultHasher, Hash, Hasher};

pub struct Asset {
    /// The URL path.
    pub path: &'static str,
    pub content_type: &'static str,
    pub bytes: &'static [u8],
}

pub const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One row per file of `web/`.
macro_rules! assets {
    ($($path:literal, $file:literal, $kind:expr;)*) => {
        &[$(Asset { path: $path, content_type: $kind, bytes: include_bytes!(concat!("../../web/", $file)) }),*]
    };
}

pub const ASSETS: &[Asset] = assets! {
    "/", "index.html", HTML;
    "/app.css", "app.css", CSS;
    "/panels.css", "panels.css", CSS;
    "/icon.svg", "icon.svg", SVG;
    "/backoff.js", "backoff.js", JS;
    "/call.js", "call.js", JS;
    "/call_panel.js", "call_panel.js", JS;
    "/chat_log.js", "chat_log.js", JS;
    "/chat_panel.js", "chat_panel.js", JS;
    "/clock_sync.js", "clock_sync.js", JS;
    "/clock_wire.js", "clock_wire.js", JS;
    "/composer.js", "composer.js", JS;
    "/dock.js", "dock.js", JS;
    "/dom.js", "dom.js", JS;
    "/file_drop.js", "file_drop.js", JS;
    "/file_sink.js", "file_sink.js", JS;
    "/host_panel.js", "host_panel.js", JS;
    "/latency.js", "latency.js", JS;
    "/main.js", "main.js", JS;
    "/memory.js", "memory.js", JS;
    "/no_path.js", "no_path.js", JS;
    "/notices.js", "notices.js", JS;
    "/panel.js", "panel.js", JS;
    "/peer_link.js", "peer_link.js", JS;
    "/people_panel.js", "people_panel.js", JS;
    "/report.js", "report.js", JS;
    "/room.js", "room.js", JS;
    "/room_page.js", "room_page.js", JS;
    "/session.js", "session.js", JS;
    "/settings_panel.js", "settings_panel.js", JS;
    "/shared_state.js", "shared_state.js", JS;
    "/signalling.js", "signalling.js", JS;
    "/state_panel.js", "state_panel.js", JS;
    "/stats.js", "stats.js", JS;
    "/theme.js", "theme.js", JS;
    "/transports.js", "transports.js", JS;
    "/viewer.js", "viewer.js", JS;
    "/words.js", "words.js", JS;
    "/words_room.js", "words_room.js", JS;
};

pub fn serve(path: &str, headers: &HeaderMap) -> Response<Body> {
    let Some(asset) = ASSETS.iter().find(|a| a.path == path) else {
        return super::plain(StatusCode::NOT_FOUND, "no such page");
    };
    let etag = asset.etag();
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|v| matches(v, &etag));
    let (status, body) =
        if known { (StatusCode::NOT_MODIFIED, Body::empty()) } else { (StatusCode::OK, Body::from(asset.bytes)) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    // kept by the browser, but asked about each time: a new version shows at once
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    out.insert(header::ETAG, HeaderValue::try_from(etag).expect("hexadecimal digits in quotes"));
    response
}

impl Asset {
    fn etag(&self) -> String {
        // fixed keys: the same bytes give the same tag in every run
        let mut hasher = DefaultHasher::new();
        self.bytes.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}

fn matches(header: &HeaderValue, etag: &str) -> bool {
    let Ok(text) = header.to_str() else { return false };
    text.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*")
}

/// No script but our own files, no outside resource, no framing by other sites.
const CSP: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; \
                   base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

/// What every response says, whoever made it.
pub fn harden(headers: &mut HeaderMap) {
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(CSP));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // not `no-referrer`: with that, browsers send `Origin: null` with the login form
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path, found) } else { found.push(path) }
        }
    }

    #[test]
    fn every_file_of_the_web_folder_is_a_row_of_the_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut found = Vec::new();
        files(&root, &mut found);
        for file in &found {
            let name = file.strip_prefix(&root).unwrap().to_str().unwrap();
            let path = if name == "index.html" { "/".to_string() } else { format!("/{name}") };
            let row = ASSETS.iter().find(|a| a.path == path).unwrap_or_else(|| panic!("no row for web/{name}"));
            assert_eq!(row.bytes, std::fs::read(file).unwrap(), "web/{name}");
            let kind = match name.rsplit('.').next().unwrap() {
                "html" => HTML,
                "css" => CSS,
                "js" => JS,
                "svg" => SVG,
                other => panic!("no content type for .{other}"),
            };
            assert_eq!(row.content_type, kind, "web/{name}");
        }
        assert_eq!(ASSETS.len(), found.len());
    }

    #[test]
    fn a_page_that_did_not_change_is_not_sent_again() {
        let first = serve("/", &HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        let mut again = HeaderMap::new();
        again.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(serve("/", &again).status(), StatusCode::NOT_MODIFIED);
        again.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
        assert_eq!(serve("/", &again).status(), StatusCode::OK);
    }

    #[test]
    fn the_page_needs_nothing_that_its_policy_forbids() {
        for asset in ASSETS.iter().filter(|a| a.content_type == HTML) {
            let text = std::str::from_utf8(asset.bytes).unwrap().to_ascii_lowercase();
            for bad in ["<style", " style=", "onclick=", "onload=", "javascript:", "src=\"http", "href=\"http"] {
                assert!(!text.contains(bad), "{} has {bad}", asset.path);
            }
            let inline = text.match_indices("<script").any(|(at, _)| {
                let tag = &text[at..at + text[at..].find('>').unwrap()];
                !tag.contains("src=")
            });
            assert!(!inline, "{} has an inline script", asset.path);
        }
    }
}
