//! systemd/S99rtcam with a program of our own: it starts, keeps running, restarts with a limit, stops.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(45);

struct Init {
    folder: tempfile::TempDir,
    shell: Vec<&'static str>,
}

impl Init {
    /// `body` is what the program does as `rtcam run`; `check` ends with `checked`.
    fn new(shell: Vec<&'static str>, body: &str, checked: u8) -> Init {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let init = Init { folder, shell };
        let program = format!(
            "#!/bin/sh\n[ \"$1\" = check ] && exit {checked}\necho start >> {}\n{body}\n",
            init.path("starts").display()
        );
        fs::write(init.path("rtcam"), program).expect("writable");
        fs::set_permissions(init.path("rtcam"), fs::Permissions::from_mode(0o755)).expect("ours");
        let path = |name: &str| init.path(name).display().to_string();
        let defaults =
            format!("RTCAM={}\nCONFIG=/dev/null\nRUN={}\nLOG={}\nBURST=3\n", path("rtcam"), path("run"), path("log"));
        fs::write(init.path("default"), defaults).expect("writable");
        init
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, action: &str) -> Output {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/S99rtcam");
        let mut command = Command::new(self.shell[0]);
        command.args(&self.shell[1..]).args([script, action]).env("RTCAM_DEFAULTS", self.path("default"));
        command.stdin(Stdio::null()).output().expect("a shell")
    }

    fn said(&self, action: &str, code: i32) -> String {
        let done = self.run(action);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(done.status.code(), Some(code), "{action}: {said}{}", String::from_utf8_lossy(&done.stderr));
        said
    }

    fn starts(&self) -> usize {
        fs::read_to_string(self.path("starts")).unwrap_or_default().lines().count()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.path("run/rtcam.pid")).unwrap_or_default().trim().to_owned()
    }

    fn wait(&self, what: &str, until: impl Fn(&Init) -> bool) {
        let end = Instant::now() + SOON;
        while !until(self) {
            assert!(Instant::now() < end, "{what} did not happen; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        let _ = self.run("stop");
    }
}

fn shells() -> Vec<Vec<&'static str>> {
    let busybox = Command::new("busybox").arg("true").output().is_ok();
    let mut shells = vec![vec!["sh"]];
    shells.extend(busybox.then(|| vec!["busybox", "sh"]));
    shells
}

const RUNS: &str = "echo \"watchdog $RTCAM_WATCHDOG\"\ntrap 'exit 0' TERM\nwhile :; do sleep 0.1; done";

#[test]
fn it_starts_once_tells_its_state_and_stops() {
    for shell in shells() {
        let init = Init::new(shell, RUNS, 0);
        assert!(init.said("status", 3).contains("does not run"));
        assert!(init.said("start", 0).contains("started (pid "));
        assert!(init.said("start", 0).contains("runs already"));
        assert!(init.said("status", 0).contains("runs (pid "));
        init.wait("the first words", |init| init.log().contains("watchdog exit"));
        assert_eq!(init.starts(), 1);
        let first = init.pid();
        init.said("restart", 0);
        assert_ne!(init.pid(), first);
        assert!(init.said("stop", 0).contains("stopped"));
        assert!(init.said("stop", 0).contains("does not run"));
        assert_eq!(init.pid(), "", "no pidfile is left");
    }
}

#[test]
fn one_that_is_killed_comes_back() {
    for shell in shells() {
        let init = Init::new(shell, RUNS, 0);
        init.said("start", 0);
        let first = init.pid();
        assert!(Command::new("kill").args(["-9", &first]).status().expect("kill").success());
        init.wait("the second start", |init| init.starts() == 2 && !init.pid().is_empty());
        assert_ne!(init.pid(), first);
        assert!(init.log().contains("ended with exit code 137; starting again"), "{}", init.log());
    }
}

#[test]
fn one_that_ends_again_and_again_is_given_up() {
    for shell in shells() {
        let init = Init::new(shell, "exit 1", 0);
        init.run("start");
        init.wait("giving up", |init| init.log().contains("given up"));
        assert_eq!(init.starts(), 3);
        init.wait("its end", |init| init.run("status").status.code() == Some(3));
    }
}

#[test]
fn a_bad_config_is_told_and_not_tried_again() {
    for shell in shells() {
        let init = Init::new(shell.clone(), RUNS, 2);
        init.said("start", 1);
        assert_eq!(init.starts(), 0);
        let init = Init::new(shell, "exit 2", 0);
        init.run("start");
        init.wait("the reason", |init| init.log().contains("bad config"));
        assert_eq!(init.starts(), 1);
    }
}

#[test]
fn a_pidfile_of_somebody_else_is_not_believed() {
    let init = Init::new(vec!["sh"], RUNS, 0);
    let mut stranger = Command::new("sleep").arg("60").spawn().expect("sleep");
    fs::create_dir_all(init.path("run")).expect("writable");
    for file in ["run/rtcam.pid", "run/rtcam-loop.pid"] {
        fs::write(init.path(file), format!("{}\n", stranger.id())).expect("writable");
    }
    assert!(init.said("stop", 0).contains("does not run"));
    assert!(stranger.try_wait().expect("our child").is_none(), "a recycled number must not be killed");
    stranger.kill().expect("our child");
    stranger.wait().expect("our child");
}
