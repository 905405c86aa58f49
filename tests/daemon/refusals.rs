//! What the program refuses to start with: the exit code, the words, and that nothing was started.

use crate::program::run;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU8, Ordering};

/// A loopback address that nobody else has: all other tests, and the ports that the kernel gives them, are on 127.0.0.x.
fn own_ip() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, process[2] | 0x80, process[3], NEXT.fetch_add(1, Ordering::Relaxed))
}

fn free_address(ip: Ipv4Addr) -> SocketAddr {
    TcpListener::bind((ip, 0)).and_then(|listener| listener.local_addr()).expect("a free port")
}

/// Starts it with these arguments on a free port; it must end with the code and say all of the words on stderr.
fn refuses(arguments: &[&str], code: i32, words: &[&str]) {
    refuses_at(own_ip(), arguments, code, words);
}

fn refuses_at(ip: Ipv4Addr, arguments: &[&str], code: i32, words: &[&str]) {
    let address = free_address(ip);
    let listen = format!("http.listen={address}");
    let mut all = vec!["run", "--set", &listen, "--set", "webrtc.udp_port=0", "--set", "camera.source=pattern"];
    all.extend(arguments);
    let done = run(&all);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(code), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
    assert!(done.stdout.is_empty(), "{arguments:?}: no address to open");
    assert!(TcpStream::connect(address).is_err(), "{arguments:?}: something listens");
}

#[test]
fn an_open_network_without_a_password_is_refused_with_the_way_out() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080"] {
        let setting = format!("http.listen={listen}");
        refuses(&["--set", &setting], 2, &["without a password", "`rtcam password`", "[auth]", "127.0.0.1"]);
    }
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = tcp.local_addr().expect("bound");
    let done = run(&["--set", &format!("http.listen={address}")]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains(&address.to_string()) && said.contains("set another http.listen"), "{said}");
    let ip = own_ip();
    let udp = UdpSocket::bind((ip, 0)).expect("a free port");
    let port = udp.local_addr().expect("bound").port().to_string();
    refuses_at(ip, &["--set", &format!("webrtc.udp_port={port}")], 1, &[&port, "set another webrtc.udp_port"]);
}

#[test]
fn a_bad_config_is_refused_with_file_and_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("bad.toml");
    let name = file.to_str().expect("text");
    for (text, line, words) in [
        ("[camera]\nfsp = 5\n", 2, "did you mean \"fps\""),
        ("[camera]\nfps = \"fast\"\n", 2, "fps"),
        ("[camera\n", 1, "bad.toml"),
        ("\n[encoder]\nbackend = \"x264\"\n", 3, "known are \"auto\", \"mpp\", \"v4l2_m2m\", \"openh264\""),
        ("[[overlay]]\ntype = \"logo\"\nfile = \"/nonexistent/logo.png\"\n", 3, "/nonexistent/logo.png"),
    ] {
        std::fs::write(&file, text).expect("writable");
        refuses(&["--config", name], 2, &[&format!("{name}:{line}"), words]);
    }
}

#[test]
fn an_overlay_file_that_is_no_picture_is_refused_by_run_and_by_check() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("logo.png");
    std::fs::write(&file, "no picture").expect("writable");
    let overlay = format!("overlay=[{{type=\"logo\", file=\"{}\"}}]", file.display());
    refuses(&["--set", &overlay], 2, &["overlay 1 (logo)", "logo.png", "neither a PNG nor a JPEG"]);
    let checked = run(&["check", "--set", &overlay]);
    assert_eq!((checked.status.code(), checked.stdout.is_empty()), (Some(2), true), "{checked:?}");
}
