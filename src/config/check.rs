//! The rules between keys, and the files a config names.
//!
//! Must never open a device or a socket. Input: a config whose single values have all been looked at.

use super::parse::Notes;
use super::{AuthMode, Config, IceUrl, LayerKind, SourceChoice, TlsMode};
use std::path::Path;

/// A rule about one key that only the floors above can judge, and the words for the user where it is broken.
pub struct FurtherRule {
    pub key: &'static str,
    pub check: fn(&Config) -> Result<(), String>,
}

impl FurtherRule {
    pub fn judge(&self, config: &Config, notes: &mut Notes) {
        if let Err(why) = (self.check)(config) {
            notes.about(self.key, &why);
        }
    }
}

pub fn check(config: &Config, notes: &mut Notes) {
    check_access(config, notes);
    check_users(config, notes);
    check_tls(config, notes);
    check_camera(config, notes);
    check_overlays(config, notes);
    check_webrtc(config, notes);
}

fn check_access(config: &Config, notes: &mut Notes) {
    let listen = config.http.listen;
    let is_open = config.auth.mode == AuthMode::Open;
    if !listen.ip().to_canonical().is_loopback() && !config.auth.has_credentials() && !is_open {
        notes.about(
            "http.listen",
            "without a password anybody on the network could watch; run `rtcam password` and put the line it prints \
             under [auth], or listen on 127.0.0.1 (if everybody may watch: auth.mode = \"open\")",
        );
    }
}

fn check_users(config: &Config, notes: &mut Notes) {
    let users = &config.auth.users;
    for (number, user) in users.iter().enumerate() {
        let key = |name: &str| format!("auth.user.{number}.{name}");
        // what was set and is wrong has been told
        if user.name.is_empty() && !notes.was_set(&key("name")) {
            notes.about(&key("name"), "every user needs a name");
        } else if users[..number].iter().any(|other| other.name == user.name) {
            notes.about(&key("name"), "two users have this name");
        }
        if user.password_hash.is_empty() && !notes.was_set(&key("password_hash")) {
            let why = format!("user {:?} needs a password; `rtcam access add` prints the lines", user.name);
            notes.about(&key("password_hash"), &why);
        }
    }
}

fn check_tls(config: &Config, notes: &mut Notes) {
    let files = [("http.tls_certificate", &config.http.tls_certificate), ("http.tls_key", &config.http.tls_key)];
    for (key, path) in files {
        let is_set = !path.as_os_str().is_empty();
        match config.http.tls {
            TlsMode::Files if !is_set => {
                notes.about(key, "is needed with http.tls = \"files\": the path of a PEM file")
            }
            TlsMode::Files => check_file(key, path, notes),
            TlsMode::Off | TlsMode::SelfSigned if is_set => {
                notes.about(key, "is used with http.tls = \"files\" only; set that as well");
            }
            TlsMode::Off | TlsMode::SelfSigned => {}
        }
    }
}

fn check_camera(config: &Config, notes: &mut Notes) {
    if config.camera.source != SourceChoice::File {
        return;
    }
    if config.camera.file.as_os_str().is_empty() {
        notes.about("camera.source", "needs camera.file as well: the path of a Y4M file");
    } else {
        check_file("camera.file", &config.camera.file, notes);
    }
}

fn check_overlays(config: &Config, notes: &mut Notes) {
    for (number, layer) in config.overlays.iter().enumerate() {
        let key = |name: &str| format!("overlay.{number}.{name}");
        match layer.kind {
            LayerKind::Logo => check_file(&key("file"), &layer.file, notes),
            LayerKind::Text => check_file(&key("font"), &layer.font, notes),
        }
        match (layer.x, layer.y) {
            (Some(_), None) => notes.about(&key("x"), "needs y as well: both together replace corner"),
            (None, Some(_)) => notes.about(&key("y"), "needs x as well: both together replace corner"),
            _ => {}
        }
    }
}

fn check_webrtc(config: &Config, notes: &mut Notes) {
    check_ice_servers(config, notes);
    if config.webrtc.tcp_port != 0 && config.webrtc.tcp_port == config.http.listen.port() {
        notes.about("webrtc.tcp_port", "http.listen has this port already: take another one");
    }
    if config.webrtc.playout_delay_min_ms > config.webrtc.playout_delay_max_ms {
        let key = if notes.was_set("webrtc.playout_delay_max_ms") { "max" } else { "min" };
        notes.about(
            &format!("webrtc.playout_delay_{key}_ms"),
            "playout_delay_max_ms must not be below playout_delay_min_ms",
        );
    }
}

/// What a server needs depends on what it is: TURN wants an account, STUN none.
fn check_ice_servers(config: &Config, notes: &mut Notes) {
    for (number, server) in config.webrtc.ice_servers.iter().enumerate() {
        let key = |name: &str| format!("webrtc.ice_server.{number}.{name}");
        let has_turn = server.urls.iter().filter_map(|url| IceUrl::parse(url)).any(|url| url.scheme.is_turn());
        let has_account = !server.username.is_empty() || !server.credential.is_empty();
        if server.urls.is_empty() {
            notes.about(&key("urls"), "needs at least one URL such as \"stun:stun.example.org\"");
        } else if has_turn && !has_account && server.secret.is_empty() {
            notes.about(&key("urls"), "TURN needs username and credential, or secret (coturn: static-auth-secret)");
        }
        if has_account && !server.secret.is_empty() {
            notes.about(&key("secret"), "give either secret, or username and credential");
        } else if server.username.is_empty() != server.credential.is_empty() {
            notes.about(&key("username"), "username and credential belong together");
        }
    }
}

/// Empty means the built-in one.
fn check_file(key: &str, path: &Path, notes: &mut Notes) {
    if path.as_os_str().is_empty() {
        return;
    }
    match std::fs::metadata(path) {
        Err(error) => notes.about(key, &format!("cannot use this file: {error}")),
        Ok(found) if !found.is_file() => notes.about(key, "this is not a file"),
        Ok(_) => {
            if let Err(error) = std::fs::File::open(path) {
                notes.about(key, &format!("cannot use this file: {error}"));
            }
        }
    }
}
