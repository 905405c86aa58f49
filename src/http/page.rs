//! The viewer page and its parts, embedded in the binary, and the headers every response carries.
//!
//! Owns the table of files under `web/`, as `build.rs` has packed them. Must never read a file while running or let a page
//! load anything from elsewhere.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;

pub struct Asset {
    /// The URL path.
    pub path: &'static str,
    pub content_type: &'static str,
    /// Compressed by gzip.
    pub packed: &'static [u8],
}

pub const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One row per file of `web/`.
macro_rules! assets {
    ($($path:literal, $file:literal, $kind:expr;)*) => {
        &[$(Asset { path: $path, content_type: $kind, packed: include_bytes!(concat!(env!("OUT_DIR"), "/web/", $file, ".gz")) }),*]
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
    "/loading.js", "loading.js", JS;
    "/main.js", "main.js", JS;
    "/memory.js", "memory.js", JS;
    "/no_path.js", "no_path.js", JS;
    "/notices.js", "notices.js", JS;
    "/panel.js", "panel.js", JS;
    "/peer_link.js", "peer_link.js", JS;
    "/people_panel.js", "people_panel.js", JS;
    "/reload.js", "reload.js", JS;
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

/// Each file once more, under as many addresses as somebody wants: browsers do not ask again for a module that failed to
/// load, nor for one that it imports.
pub const AGAIN: &str = "/again/{id}/{file}";

pub fn serve_again(path: &str, headers: &HeaderMap) -> Response<Body> {
    let file = path.match_indices('/').nth(2).map_or("", |(at, _)| &path[at..]);
    serve(file, headers)
}

pub fn serve(path: &str, headers: &HeaderMap) -> Response<Body> {
    let Some(asset) = ASSETS.iter().find(|a| a.path == path) else {
        return super::plain(StatusCode::NOT_FOUND, "no such page");
    };
    let etag = asset.etag();
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|v| matches(v, &etag));
    let packed = takes_gzip(headers);
    let (status, body) = match (known, packed) {
        (true, _) => (StatusCode::NOT_MODIFIED, Body::empty()),
        (false, true) => (StatusCode::OK, Body::from(asset.packed)),
        (false, false) => (StatusCode::OK, Body::from(asset.plain())),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let out = response.headers_mut();
    if packed && !known {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
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
        self.packed.hash(&mut hasher);
        // weak: packed or not, it means the same
        format!("W/\"{:016x}\"", hasher.finish())
    }

    /// For the rare one that takes nothing packed.
    fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        let read = flate2::read::GzDecoder::new(self.packed).read_to_end(&mut plain);
        read.expect("build.rs has packed it");
        plain
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    offered.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn matches(header: &HeaderValue, etag: &str) -> bool {
    let Ok(text) = header.to_str() else { return false };
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_string();
    text.split(',').map(bare).any(|tag| tag == bare(etag) || tag == "*")
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
            let text = std::fs::read_to_string(file).unwrap();
            let served = String::from_utf8(row.plain()).unwrap();
            for line in served.lines() {
                assert!(text.lines().any(|written| written.trim() == line.trim()), "web/{name} has no line {line}");
            }
            assert_eq!(served.lines().last().map(str::trim), text.lines().last().map(str::trim), "web/{name}");
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
    fn a_file_is_the_same_under_every_address_it_has() {
        let tag = |response: Response<Body>| response.headers()[header::ETAG].clone();
        let headers = HeaderMap::new();
        assert_eq!(tag(serve_again("/again/7/room_page.js", &headers)), tag(serve("/room_page.js", &headers)));
        for none in ["/again/7/nothing.js", "/again/7/app.js/", "again"] {
            assert_eq!(serve_again(none, &headers).status(), StatusCode::NOT_FOUND, "{none}");
        }
    }

    #[test]
    fn the_page_is_packed_for_all_who_take_that() {
        let body = |accept: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            accept.map(|value| headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value)));
            serve("/main.js", &headers).headers().get(header::CONTENT_ENCODING).is_some()
        };
        assert!(body(Some("gzip, deflate, br")) && body(Some("br;q=1.0, GZIP;q=0.8")));
        assert!(!body(None) && !body(Some("br")) && !body(Some("gzip;q=0")) && !body(Some("x-gzip-ish")));
        let all: usize = ASSETS.iter().map(|asset| asset.packed.len()).sum();
        println!("{} files, {all} bytes", ASSETS.len());
        assert!(all <= 60 * 1024, "{all} bytes");
    }

    #[test]
    fn the_page_needs_nothing_that_its_policy_forbids() {
        for asset in ASSETS.iter().filter(|a| a.content_type == HTML) {
            let text = String::from_utf8(asset.plain()).unwrap().to_ascii_lowercase();
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
