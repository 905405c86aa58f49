//! The command line as scripts and service managers see it: exit codes, and what goes to stdout and stderr.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs the program in an empty folder, where no config lies about.
fn rtcam(arguments: &[&str], input: &str) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtcam"));
    command
        .args(arguments)
        .current_dir(&folder)
        .env("STATE_DIRECTORY", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program is built");
    // it may have ended without reading
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends by itself")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_good_config_is_fine_and_summed_up() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/rtcam.example.toml");
    let done = rtcam(&["check", "--config", example, "--set", "camera.fps=15"], "");
    assert_eq!(done.status.code(), Some(0));
    let said = text(&done.stdout);
    assert!(said.starts_with(&format!("{example}: fine\n")) && said.contains("15 fps"), "{said}");
}

const KNOWN_ENCODERS: &str = "--set encoder.backend=x264: no such encoder in this build; known are \"auto\", \"mpp\", \"v4l2_m2m\", \"openh264\"";

#[test]
fn bad_usage_and_bad_config_exit_with_2_and_say_why_on_stderr() {
    for (arguments, expected) in [
        (vec!["bogus"], "bogus"),
        (vec!["check", "--set", "camera.fps=0"], "--set camera.fps=0: must be 1..=240"),
        (vec!["run", "--set", "camera.fps=0"], "--set camera.fps=0: must be 1..=240"),
        (vec!["run", "--set", "encoder.backend=x264"], KNOWN_ENCODERS),
        (vec!["check", "--set", "encoder.backend=x264"], KNOWN_ENCODERS),
        (vec!["run", "--set", "board=rv1162"], "did you mean \"rv1126\"?"),
        (vec!["--config", "none.toml"], "none.toml: cannot read the config"),
        (vec!["--set", "http.listen=0.0.0.0:8080"], "rtcam password"),
    ] {
        let done = rtcam(&arguments, "");
        assert_eq!(done.status.code(), Some(2), "{arguments:?}");
        assert!(done.stdout.is_empty(), "{arguments:?}");
        assert!(text(&done.stderr).contains(expected), "{arguments:?}: {}", text(&done.stderr));
    }
}

#[test]
fn a_password_from_a_pipe_becomes_one_line_for_the_config() {
    let done = rtcam(&["password"], "correct horse\n");
    assert_eq!(done.status.code(), Some(0));
    let line = text(&done.stdout);
    assert!(line.starts_with("password_hash = \"$argon2id$") && line.lines().count() == 1, "{line}");
    let short = rtcam(&["password"], "horse\n");
    assert_eq!((short.status.code(), text(&short.stdout)), (Some(2), String::new()));
}

#[test]
fn a_user_from_a_pipe_becomes_lines_for_the_config() {
    let done = rtcam(&["access", "add", "Anna \"A\"", "--role", "operator"], "correct horse\n");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let lines = text(&done.stdout);
    let config = rtcam::config::parse("rtcam.toml", &lines, &[]).expect("a good config");
    assert_eq!((config.auth.users.len(), config.auth.users[0].name.as_str()), (1, "Anna \"A\""));
    for wrong in [vec!["access", "add", "a:b"], vec!["access", "add", "anna", "--role", "king"]] {
        let done = rtcam(&wrong, "correct horse\n");
        assert_eq!((done.status.code(), text(&done.stdout)), (Some(2), String::new()), "{wrong:?}");
    }
}

#[test]
fn links_are_made_listed_and_revoked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = format!("state_dir={}", folder.path().join("state").display());
    let access = |arguments: &[&str]| {
        let done = rtcam(
            &[&["access"], arguments, &["--set", &state, "--set", "http.names=[\"cam.example:80\"]"]].concat(),
            "",
        );
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let (code, said, _) = access(&["link", "--role", "operator", "--for", "2h", "--name", "Front desk"]);
    assert!(code == Some(0) && said.starts_with("http://cam.example:80/?link=rtl1."), "{said}");
    let id = said.lines().nth(1).and_then(|line| line.strip_prefix("link ")?.split(':').next()).expect("its id");
    let (_, listed, _) = access(&["links"]);
    assert!(listed.starts_with(id) && listed.contains("operator") && listed.contains("Front desk"), "{listed}");
    assert!(!listed.contains("rtl1."), "{listed}");
    assert_eq!(access(&["revoke", id]).0, Some(0));
    assert_eq!(access(&["links"]).1, "");
    let (code, _, why) = access(&["revoke", id]);
    assert!(code == Some(1) && why.contains("no such link"), "{why}");
    for wrong in [&["link", "--for", "2"][..], &["link", "--for", "1s"], &["link"]] {
        let (code, said, _) = access(wrong);
        assert!(code != Some(0) && said.is_empty(), "{wrong:?}: {said}");
    }
}

#[test]
fn a_port_in_use_ends_it_with_1_before_anything_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let done = rtcam(&["--set", &format!("http.listen={address}")], "");
    assert_eq!(done.status.code(), Some(1));
    let said = text(&done.stderr);
    assert!(said.contains(&address) && said.contains("http.listen"), "{said}");
    assert!(done.stdout.is_empty(), "no URL to open");
}

#[test]
fn the_version_is_that_of_the_package() {
    let done = rtcam(&["--version"], "");
    assert_eq!((done.status.code(), text(&done.stdout)), (Some(0), format!("rtcam {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn doctor_says_whether_it_could_stream_here_and_ends_accordingly() {
    let fine = ["doctor", "--json", "--set", "camera.source=pattern", "--set", "http.listen=127.0.0.1:0"];
    let fine = [&fine[..], &["--set", "webrtc.udp_port=0"]].concat();
    let done = rtcam(&fine, "");
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!((done.status.code(), report["can_stream"].as_bool()), (Some(0), Some(true)), "{report:#}");
    let groups: Vec<&str> =
        report["findings"].as_array().expect("a list").iter().filter_map(|f| f["group"].as_str()).collect();
    for group in ["config", "board", "camera", "encoder", "cpu", "network", "clock"] {
        assert!(groups.contains(&group), "{group} in {groups:?}");
    }
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = format!("webrtc.udp_port={}", taken.local_addr().expect("bound").port());
    let done = rtcam(&[&fine[..], &["--set", &port]].concat(), "");
    // another rtcam of this machine may be running, to which doctor would ascribe the port
    if done.status.code() == Some(0) {
        assert!(text(&done.stdout).contains("an rtcam runs already"), "{}", text(&done.stdout));
    } else {
        assert_eq!(done.status.code(), Some(1));
        assert!(text(&done.stdout).contains("taken by another program"), "{}", text(&done.stdout));
    }
}

#[test]
fn doctor_goes_on_after_a_bad_config_and_tells_the_mistake() {
    let done = rtcam(&["doctor", "--set", "camera.fps=0"], "");
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        said.contains("--set camera.fps=0: must be 1..=240") && said.contains("rtcam cannot stream here"),
        "{said}"
    );
    assert!(said.contains("openh264 opens for 640x480"), "{said}");
}

#[test]
fn bench_measures_every_stage_and_what_follows_from_it() {
    let done = rtcam(&["bench", "--json", "--span-ms", "1"], "");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let figures = report["figures"].as_array().expect("a list");
    let cost = |name: &str| {
        let figure =
            figures.iter().find(|figure| figure["name"] == name).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(figure["runs"].as_u64() >= Some(5), "{figure}");
        figure["cpu_us"].as_f64().expect("a number")
    };
    for size in ["640x480", "1280x720"] {
        for stage in ["pattern", "mjpeg 4:2:0", "mjpeg 4:2:2", "yuyv", "logo 256x64 at", "encode", "packetise"] {
            assert!(cost(&format!("{stage} {size}")) > 0.0, "{stage} {size}");
        }
        assert!(cost(&format!("encode key picture {size}")) > cost(&format!("packetise {size}")));
    }
    for name in ["text line at 640x480", "srtp AES-GCM-128, packet of 1160 bytes", "logo 256x64 at 1920x1080"] {
        assert!(cost(name) > 0.0, "{name}");
    }
    let sized = |name: &str| {
        let bytes = figures.iter().find(|figure| figure["name"] == name).map(|figure| figure["bytes"].as_u64());
        bytes.flatten().unwrap_or_else(|| panic!("{name} has no size"))
    };
    assert!(sized("encode key picture 640x480") > sized("encode 640x480"), "a key picture is the bigger one");
    let encoding = report["one_core"].as_array().expect("a list").iter().find(|work| work["work"] == "encode 640x480");
    let rate = encoding.and_then(|work| work["pictures_per_second"].as_f64()).expect("what follows");
    assert!((rate * cost("encode 640x480") / 1e6 - 1.0).abs() < 0.01, "{rate}");
}
