//! `rtcam check`: is the config good, and what would it do? Starts nothing, opens no device.

use super::ConfigArguments;
use crate::config::{AuthMode, Config, SourceChoice, TlsMode};
use crate::error::{Error, ErrorKind, Result};
use crate::http;
use crate::overlay::Compositor;
use std::io::Write;

pub fn run(arguments: &ConfigArguments) -> Result<()> {
    let file = arguments.file();
    let config = arguments.load()?;
    // as at the start: their files are read whole
    Compositor::open(&config.overlays)?;
    http::try_certificate(&config)?;
    let name = file.map_or_else(|| "built-in defaults".into(), |path| path.display().to_string());
    writeln!(std::io::stdout(), "{name}: fine\n{}", summary(&config))
        .map_err(|error| Error::new(ErrorKind::Io, "write to stdout").because(error))
}

/// What this config would do, on one line.
fn summary(config: &Config) -> String {
    let camera = &config.camera;
    let first = match camera.preferred.first() {
        Some(preferred) => format!("camera {} or the first there is", preferred.device),
        None => "the first camera".into(),
    };
    let source = match camera.source {
        SourceChoice::Auto if camera.device == "auto" => format!("{first}, or the pattern without one"),
        SourceChoice::V4l2 if camera.device == "auto" => first,
        // also with source = "auto": whoever names a camera means that one
        SourceChoice::Auto | SourceChoice::V4l2 => format!("camera {}", camera.device),
        SourceChoice::Pattern => "the pattern".into(),
        SourceChoice::File => camera.file.display().to_string(),
    };
    let layers = match config.overlays.len() {
        0 => "no overlay".into(),
        1 => "1 overlay".into(),
        many => format!("{many} overlays"),
    };
    let scheme = if config.http.tls == TlsMode::Off { "http" } else { "https" };
    let access = match (config.auth.mode, config.auth.has_credentials()) {
        (AuthMode::Open, _) => "open to everybody",
        (AuthMode::Auto, true) => "with a password",
        (AuthMode::Auto, false) => "open on this machine only",
    };
    format!(
        "board {}; shows {source} at {} and {} fps with {layers}, as H.264 at {} to at most {} viewers, on {scheme}://{} ({access}) and UDP port {}",
        config.profile,
        camera.size(),
        camera.fps,
        config.encoder.bitrate_kbps,
        config.webrtc.max_viewers,
        config.http.listen,
        config.webrtc.udp_port,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CameraConfig;

    #[test]
    fn the_summary_names_source_size_rate_and_address() {
        let summary = summary(&Config::default());
        for part in
            ["first camera", "640x480", "30 fps", "no overlay", "1500 kbit/s", "127.0.0.1:8080", "this machine only"]
        {
            assert!(summary.contains(part), "{part} is missing in: {summary}");
        }
    }

    #[test]
    fn a_camera_that_is_named_is_waited_for_and_never_replaced_by_the_pattern() {
        let camera = CameraConfig { device: "usb:046d:0825".into(), ..CameraConfig::default() };
        let summary = summary(&Config { camera, ..Config::default() });
        assert!(summary.contains("shows camera usb:046d:0825 at") && !summary.contains("pattern"), "{summary}");
    }
}
