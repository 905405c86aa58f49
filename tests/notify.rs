//! rtcam as a service manager with a watchdog sees it: ready, signs of life, the word that it stops.

#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// For everything that must happen; a busy machine may be slow.
const SOON: Duration = Duration::from_secs(45);

struct Service {
    daemon: Child,
    socket: UnixDatagram,
    /// Heard, not yet asked for.
    lines: VecDeque<String>,
    _folder: tempfile::TempDir,
}

impl Service {
    fn start(settings: &[&str]) -> Service {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket in it");
        socket.set_read_timeout(Some(SOON)).expect("a timeout");
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtcam"));
        let settings = [&["http.listen=127.0.0.1:0", "webrtc.udp_port=0"], settings].concat();
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        command
            .current_dir(folder.path())
            .env("STATE_DIRECTORY", folder.path())
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "2000000");
        let daemon = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program is built");
        Service { daemon, socket, lines: VecDeque::new(), _folder: folder }
    }

    fn next(&mut self) -> String {
        while self.lines.is_empty() {
            let mut bytes = [0; 4096];
            let length = self.socket.recv(&mut bytes).expect("a message in time");
            self.lines.extend(String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned));
        }
        self.lines.pop_front().expect("not empty")
    }

    fn wait_for(&mut self, wanted: &str) -> Vec<String> {
        let end = Instant::now() + SOON;
        let mut before = Vec::new();
        while Instant::now() < end {
            match self.next() {
                line if line.starts_with(wanted) => return before,
                line => before.push(line),
            }
        }
        panic!("{wanted} did not come; {before:?} did");
    }

    fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.daemon);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn ready_then_signs_of_life_then_stopping() {
    let mut service = Service::start(&["camera.source=pattern"]);
    assert_eq!(service.next(), "READY=1", "nothing is said before it serves");
    service.wait_for("STATUS=showing ");
    for _ in 0..3 {
        service.wait_for("WATCHDOG=1");
    }
    service.stop();
    let before = service.wait_for("STOPPING=1");
    assert!(!before.iter().any(|line| line == "WATCHDOG=trigger"), "{before:?}");
    assert!(service.daemon.wait().expect("it ends").success());
}

#[test]
fn a_camera_that_is_away_and_tried_again_counts_as_progress() {
    let mut service = Service::start(&["camera.source=v4l2", "camera.device=/dev/rtcam-none"]);
    service.wait_for("READY=1");
    service.wait_for("STATUS=no picture: ");
    for _ in 0..3 {
        service.wait_for("WATCHDOG=1");
    }
}
