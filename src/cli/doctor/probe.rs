//! Looks at the machine for `rtcam doctor`: facts for `crate::doctor` to judge.
//!
//! Must never change anything: ports are bound for a moment, encoders opened and closed, cameras asked and closed.

use crate::capture;
use crate::cli::bench;
use crate::clock::{Clock, WallMicros};
use crate::config::{CameraConfig, Config, SourceChoice};
use crate::doctor::encoder::SOFTWARE;
use crate::doctor::{buffers, camera, encoder, network, permissions};
use crate::encode::ENCODERS;
use crate::media::frame::{Colour, Layout, Matrix, PictureFormat, Range};
use crate::media::srtp::SrtpCost;
use crate::units::FrameRate;
use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The whole file, or nothing.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

pub fn mode(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o777)
}

pub fn wall() -> WallMicros {
    Clock::system().wall()
}

/// Takes a tenth of a second.
pub fn srtp_cost() -> Option<SrtpCost> {
    bench::srtp_cost(Duration::from_millis(100)).ok()
}

/// The names of all processes but this one.
pub struct Processes {
    pub others: Vec<String>,
}

pub fn processes() -> Processes {
    let own = std::process::id();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let names = pids.filter(|pid| *pid != own).map(|pid| read(&format!("/proc/{pid}/comm")).trim().to_owned());
    Processes { others: names.filter(|name| !name.is_empty()).collect() }
}

pub fn cameras(config: &CameraConfig) -> camera::Facts {
    if matches!(config.source, SourceChoice::Pattern | SourceChoice::File) {
        return camera::Facts { source: config.source, nodes: Vec::new(), chosen: Err(String::new()) };
    }
    let chosen = capture::chosen_camera(config).map_err(|fault| fault.to_string());
    // whoever names a device waits for it instead of showing the pattern
    let source = capture::resolve(config);
    let source = if source == SourceChoice::Pattern { SourceChoice::Auto } else { source };
    camera::Facts { source, nodes: capture::survey_cameras(), chosen }
}

pub fn encoders(config: &Config) -> encoder::Facts<'_> {
    let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
    let format = PictureFormat::packed(Layout::Nv12, config.camera.size(), colour);
    let rate = FrameRate::per_second(config.camera.fps);
    let attempt = |kind: &crate::encode::EncoderKind| {
        let why = (kind.open)(&config.encoder, &format, rate).err().map(|error| error.to_string());
        (kind.name, why)
    };
    let devices = config.profile.encoder.devices.iter().filter(|path| Path::new(path).exists()).cloned().collect();
    encoder::Facts {
        profile: &config.profile,
        architecture: std::env::consts::ARCH,
        size: config.camera.size(),
        rate,
        bitrate: config.encoder.bitrate_kbps,
        wanted: &config.encoder.backend,
        backends: ENCODERS.iter().map(attempt).collect(),
        devices,
    }
}

/// Sets the camera's format and takes buffers for a moment, unless somebody else uses the camera.
pub fn buffers<'a>(config: &'a Config, cameras: &camera::Facts, encoder: Option<&str>) -> buffers::Facts<'a> {
    let chosen = cameras.chosen.as_ref().ok().and_then(|path| cameras.nodes.iter().find(|node| node.path == *path));
    let camera = chosen.map(|node| match &node.holder {
        Some(holder) => Err(format!("held by {holder}")),
        None => capture::probe_buffers(&config.camera).map_err(|fault| fault.to_string()),
    });
    let hardware_encoder = encoder.is_some_and(|name| name != SOFTWARE);
    buffers::Facts { profile: &config.profile, camera, hardware_encoder, allocators: allocators() }
}

/// Nodes that hand out memory for hardware, and why those that do not open do not.
fn allocators() -> Vec<(String, Option<String>)> {
    let heaps = std::fs::read_dir("/dev/dma_heap").into_iter().flatten().flatten().map(|entry| entry.path());
    let others = ["/dev/dri/card0", "/dev/dri/renderD128", "/dev/ion"].map(PathBuf::from);
    let mut paths: Vec<PathBuf> = heaps.chain(others.into_iter().filter(|path| path.exists())).collect();
    paths.sort();
    let open = |path: &Path| OpenOptions::new().read(true).write(!path.starts_with("/dev/dma_heap")).open(path);
    paths.iter().map(|path| (path.display().to_string(), open(path).err().map(|why| why.to_string()))).collect()
}

/// As install.sh and the package install them; what an administrator has put in /etc goes first.
pub fn permissions(config: &Config) -> permissions::Facts<'_> {
    let first = |paths: &[&str]| {
        let read = |path: &&str| Some((path.to_string(), std::fs::read_to_string(path).ok()?));
        paths.iter().find_map(read)
    };
    permissions::Facts {
        profile: &config.profile,
        rules: first(&["/etc/udev/rules.d/60-rtcam.rules", "/usr/lib/udev/rules.d/60-rtcam.rules"]),
        unit: first(&["/etc/systemd/system/rtcam.service", "/usr/lib/systemd/system/rtcam.service"]),
    }
}

pub fn network(config: &Config, runs_already: bool) -> network::Facts {
    let listen = config.http.listen;
    let udp = SocketAddr::new(listen.ip(), config.webrtc.udp_port);
    let wanted = Some(config.profile.network.wmem_max).filter(|bytes| *bytes > 0);
    network::Facts {
        listen,
        http: TcpListener::bind(listen).map(drop).map_err(|error| error.kind()),
        udp,
        media: UdpSocket::bind(udp).map(drop).map_err(|error| error.kind()),
        tcp: (config.webrtc.tcp_port != 0).then(|| {
            let tcp = SocketAddr::new(listen.ip(), config.webrtc.tcp_port);
            (tcp, TcpListener::bind(tcp).map(drop).map_err(|error| error.kind()))
        }),
        send_buffer: read("/proc/sys/net/core/wmem_max").trim().parse().ok().zip(wanted),
        runs_already,
    }
}
