//! Every mistake in a config is named with its place, what is wrong and, where there is one, the way out.

use rtcam::config::{Config, load, parse};
use rtcam::error::{Error, ErrorKind};

const HASH: &str = "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

fn error_of(parsed: Result<Config, Error>) -> String {
    let error = parsed.expect_err("this config has a mistake");
    assert_eq!(error.kind(), ErrorKind::BadConfig);
    error.to_string()
}

fn file_error(text: &str) -> String {
    error_of(parse("rtcam.toml", text, &[]))
}

fn set_error(argument: &str) -> String {
    error_of(parse("", "", &[argument.to_owned()]))
}

/// Each row: text of the file, and the one message it must give.
fn check_rows(rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        assert_eq!(file_error(text), *expected, "for:\n{text}");
    }
}

#[test]
fn unknown_names_are_refused_with_the_nearest_valid_one() {
    check_rows(&[
        ("[camera]\nwidht = 640", r#"rtcam.toml:2: [camera] unknown key "widht"; did you mean "width"?"#),
        ("[http]\nfps = 5", r#"rtcam.toml:2: [http] unknown key "fps"; it belongs under [camera]"#),
        ("[log]\nzebra = 1", r#"rtcam.toml:2: [log] unknown key "zebra""#),
        ("\n[camra]\nfps = 5", "rtcam.toml:2: unknown section [camra]; did you mean [camera]?"),
        ("[[overlays]]", "rtcam.toml:1: unknown section [overlays]; did you mean [[overlay]]?"),
        (
            "[recording]",
            "rtcam.toml:1: unknown section [recording]; the sections are camera, encoder, http, auth, webrtc, room, log, overlay",
        ),
        ("fps = 30", r#"rtcam.toml:1: unknown key "fps" outside a section; it belongs under [camera]"#),
        ("[[overlay]]\nopacty = 1", r#"rtcam.toml:2: [[overlay]] unknown key "opacty"; did you mean "opacity"?"#),
    ]);
}

#[test]
fn values_of_the_wrong_type_are_refused_with_the_right_one() {
    check_rows(&[
        ("[camera]\n\n\n\n\n\nfps = \"thirty\"", r#"rtcam.toml:7: camera.fps = "thirty": expected a whole number"#),
        ("[camera]\nfps = 29.97", "rtcam.toml:2: camera.fps = 29.97: expected a whole number"),
        ("[camera]\ndevice = 0", "rtcam.toml:2: camera.device = 0: expected text in quotes"),
        ("[camera]\ntimecode = 1", "rtcam.toml:2: camera.timecode = 1: expected true or false"),
        ("[http]\nnames = \"cam\"", r#"rtcam.toml:2: http.names = "cam": expected a list of texts such as ["a", "b"]"#),
        ("[[overlay]]\nscale = \"2\"", r#"rtcam.toml:2: overlay.scale = "2": expected a number"#),
        ("camera = 3", "rtcam.toml:1: camera must be a section: [camera]"),
        ("[overlay]\ntype = \"logo\"", "rtcam.toml:1: overlay must be a list: write [[overlay]]"),
        ("overlay = [1]", r#"rtcam.toml:1: each overlay is a table such as {type="logo"}"#),
    ]);
}

#[test]
fn numbers_out_of_range_are_refused_with_the_range() {
    check_rows(&[
        ("[camera]\nfps = 0", "rtcam.toml:2: camera.fps = 0: must be 1..=240"),
        ("[camera]\nfps = 241", "rtcam.toml:2: camera.fps = 241: must be 1..=240"),
        ("[camera]\nfps = -1", "rtcam.toml:2: camera.fps = -1: must be 1..=240"),
        ("[camera]\nfps = 99999999999999999999", "rtcam.toml:2: camera.fps = 99999999999999999999: must be 1..=240"),
        ("[camera]\nwidth = 641", "rtcam.toml:2: camera.width = 641: must be 16..=4096, even"),
        ("[webrtc]\nudp_port = 65536", "rtcam.toml:2: webrtc.udp_port = 65536: must be 0..=65535"),
        ("[[overlay]]\nopacity = 1.5", "rtcam.toml:2: overlay.opacity = 1.5: must be 0.0..=1.0"),
        ("[[overlay]]\nopacity = nan", "rtcam.toml:2: overlay.opacity = nan: must be 0.0..=1.0"),
        ("[[overlay]]\nscale = 21", "rtcam.toml:2: overlay.scale = 21: must be 0.05..=20.0"),
    ]);
}

#[test]
fn texts_of_the_wrong_form_are_refused_with_what_is_allowed() {
    check_rows(&[
        (
            "[camera]\nsource = \"patern\"",
            r#"rtcam.toml:2: camera.source = "patern": must be one of "auto", "v4l2", "pattern", "file"; did you mean "pattern"?"#,
        ),
        (
            "[log]\nlevel = \"loud\"",
            r#"rtcam.toml:2: log.level = "loud": must be one of "error", "warn", "info", "debug""#,
        ),
        (
            "[camera]\ndevice = \"video0\"",
            r#"rtcam.toml:2: camera.device = "video0": must be "auto", a path such as "/dev/video0", "name:rkispp_scale0" or "usb:046d:0825""#,
        ),
        (
            "[[overlay]]\ncolour = \"red\"",
            r##"rtcam.toml:2: overlay.colour = "red": must be six hexadecimal digits such as "#ffffff""##,
        ),
        (
            "[http]\nlisten = \"8080\"",
            r#"rtcam.toml:2: http.listen = "8080": must be an address and a port such as "127.0.0.1:8080", "0.0.0.0:8080" or "[::]:8080""#,
        ),
        (
            "[http]\nnames = [\"cam\", \"http://cam\"]",
            r#"rtcam.toml:2: http.names = ["cam", "http://cam"]: "http://cam": must be names as "host" or "host:port", without http://"#,
        ),
    ]);
}

#[test]
fn settings_that_do_not_fit_together_are_refused_with_the_way_out() {
    check_rows(&[
        (
            "[http]\nlisten = \"0.0.0.0:80\"",
            "rtcam.toml:2: http.listen = \"0.0.0.0:80\": without a password anybody on the network could watch; run \
             `rtcam password` and put the line it prints under [auth], or listen on 127.0.0.1 (if everybody may watch: auth.mode = \"open\")",
        ),
        (
            "[camera]\nsource = \"file\"",
            "rtcam.toml:2: camera.source = \"file\": needs camera.file as well: the path of a Y4M file",
        ),
        (
            "[camera]\nsource = \"file\"\nfile = \"/nowhere/a.y4m\"",
            "rtcam.toml:3: camera.file = \"/nowhere/a.y4m\": cannot use this file: No such file or directory (os error 2)",
        ),
        (
            "[[overlay]]\n[[overlay]]\nfile = \"/nowhere/logo.png\"",
            "rtcam.toml:3: overlay.file = \"/nowhere/logo.png\": cannot use this file: No such file or directory (os error 2)",
        ),
        ("[[overlay]]\nfile = \"/tmp\"", "rtcam.toml:2: overlay.file = \"/tmp\": this is not a file"),
        ("[[overlay]]\nx = 3", "rtcam.toml:2: overlay.x = 3: needs y as well: both together replace corner"),
        (
            "[webrtc]\nplayout_delay_min_ms = 10",
            "rtcam.toml:2: webrtc.playout_delay_min_ms = 10: playout_delay_max_ms must not be below playout_delay_min_ms",
        ),
    ]);
}

#[test]
fn bad_toml_and_double_keys_are_named_with_their_line() {
    for (text, line, word) in [
        ("[camera]\nfps = 30\nfps = 25", 3, "duplicate key"),
        ("[camera]\n[http]\n[camera]", 3, "duplicate key"),
        ("[camera]\nfps = ", 2, "value"),
        ("[camera]\n\nfps 30", 3, "expected"),
        ("[camera\nfps = 30", 1, "unclosed"),
        ("[camera]\ndevice = \"/dev", 2, "invalid"),
    ] {
        let error = file_error(text);
        assert!(error.starts_with(&format!("rtcam.toml:{line}: ")), "for:\n{text}\n{error}");
        assert!(error.contains(word), "{word} for:\n{text}\n{error}");
    }
}

#[test]
fn a_mistake_in_an_argument_is_named_with_the_argument() {
    for (argument, expected) in [
        ("camera.fps=thirty", "--set camera.fps=thirty: expected a whole number"),
        ("camera.fps=0", "--set camera.fps=0: must be 1..=240"),
        ("camera.widht=640", r#"--set camera.widht: [camera] unknown key "widht"; did you mean "width"?"#),
        ("camra.fps=30", "--set camra.fps: unknown section [camra]; did you mean [camera]?"),
        ("fps=30", r#"--set fps: unknown key "fps" outside a section; it belongs under [camera]"#),
        ("camera=30", "--set camera: expected camera.key=value"),
        ("camera.fps", "--set camera.fps: expected section.key=value"),
        ("overlay.size=30", r#"--set overlay.size: overlays are set as a whole: overlay=[{type="logo"}]"#),
        ("overlay=logo", "--set overlay: overlay must be a list: write [[overlay]]"),
        (
            "http.listen=0.0.0.0:80",
            "--set http.listen=0.0.0.0:80: without a password anybody on the network could watch; run `rtcam password` \
             and put the line it prints under [auth], or listen on 127.0.0.1 (if everybody may watch: auth.mode = \"open\")",
        ),
    ] {
        assert_eq!(set_error(argument), expected, "for: {argument}");
    }
}

#[test]
fn arguments_go_over_the_file() {
    let text = "[camera]\nfps = 10\n[[overlay]]\n[[overlay]]\n[http]\nnames = [\"a\"]";
    let sets = [
        "camera.fps=15",
        "camera.device=name:HD Webcam",
        "overlay=[]",
        "http.names=[\"b\", \"c:1\"]",
        "log.level=debug",
    ];
    let config = parse("rtcam.toml", text, &sets.map(String::from)).expect("all good");
    assert_eq!((config.camera.fps, config.camera.device.as_str()), (15, "name:HD Webcam"));
    assert!(config.overlays.is_empty());
    assert_eq!(config.http.names, ["b", "c:1"]);
    let one = parse("", "", &[r#"overlay=[{type="text", text="{host}"}]"#.to_owned()]).expect("all good");
    assert_eq!(one.overlays[0].text, "{host}");
}

#[test]
fn a_password_opens_the_network_and_is_never_shown() {
    let text = format!("[http]\nlisten = \"0.0.0.0:8080\"\n[auth]\npassword_hash = \"{HASH}\"");
    let config = parse("rtcam.toml", &text, &[]).expect("all good");
    assert!(!format!("{config:?}").contains(HASH));
    let expected = "the line that `rtcam password` prints (an Argon2 hash), not the password itself";
    let in_file = file_error("[http]\nlisten = \"0.0.0.0:8080\"\n[auth]\npassword_hash = \"hunter22\"");
    assert_eq!(in_file, format!("rtcam.toml:4: auth.password_hash: must be {expected}"));
    let in_argument = set_error("auth.password_hash=hunter22");
    assert_eq!(in_argument, format!("--set auth.password_hash: must be {expected}"));
    let misspelt = set_error("auth.pasword_hash=hunter22");
    assert!(misspelt.contains("did you mean") && !misspelt.contains("hunter22"), "{misspelt}");
}

#[test]
fn all_mistakes_are_told_in_the_order_of_the_file_up_to_ten() {
    let error = file_error("[log]\nlevel = 1\n[camera]\nwidth = 1\nfps = 0\nzoom = 3");
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 4, "{error}");
    for (line, place) in lines.iter().zip(["rtcam.toml:2:", "rtcam.toml:4:", "rtcam.toml:5:", "rtcam.toml:6:"]) {
        assert!(line.starts_with(place), "{error}");
    }
    let many: String = (0..14).map(|number| format!("a{number} = 1\n")).collect();
    let error = file_error(&many);
    assert_eq!(error.lines().count(), 11, "{error}");
    assert!(error.ends_with("... and 4 more"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = folder.path().join("none.toml");
    let expected = format!("{}: cannot read the config: No such file or directory (os error 2)", missing.display());
    assert_eq!(error_of(load(Some(&missing), &[], &[])), expected);
    assert!(error_of(load(Some(folder.path()), &[], &[])).contains("not a config file"));
    let latin1 = folder.path().join("latin1.toml");
    std::fs::write(&latin1, b"[camera]\n# f\xfcr\n").expect("writable");
    assert_eq!(error_of(load(Some(&latin1), &[], &[])), format!("{}:2: this line is not UTF-8 text", latin1.display()));
}

#[test]
fn no_damage_to_a_file_makes_the_parser_panic() {
    let example: Vec<char> = include_str!("../rtcam.example.toml").chars().collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..1000 {
        let mut text = example.clone();
        for _ in 0..1 + random(6) {
            let at = random(text.len());
            let end = (at + 1 + random(60)).min(text.len());
            match random(3) {
                0 => drop(text.drain(at..end)),
                1 => text[at] = ['"', '[', ']', '=', '\n', '#', '\u{e9}', '{', '.', '\''][random(10)],
                _ => {
                    let copy = text[at..end].to_vec();
                    text.splice(0..0, copy);
                }
            }
        }
        let argument: String = text.iter().take(30).collect();
        let _ = parse("rtcam.toml", &String::from_iter(text), &[argument]);
    }
}

fn user(name: &str, more: &str) -> String {
    format!("[[auth.user]]\nname = \"{name}\"\n{more}\n")
}

#[test]
fn users_are_whole_and_have_names_of_their_own() {
    let hash = format!("password_hash = \"{HASH}\"");
    let good =
        format!("[http]\nlisten = \"0.0.0.0:80\"\n{}role = \"host\"\n{}", user("anna", &hash), user("ben", &hash));
    let config = parse("rtcam.toml", &good, &[]).expect("users open the network too");
    assert_eq!(config.auth.users.len(), 2);
    check_rows(&[
        (
            &format!("{}{}", user("anna", &hash), user("anna", &hash)),
            "rtcam.toml:5: auth.user.name = \"anna\": two users have this name",
        ),
        (
            &user("anna", ""),
            "auth.user.0.password_hash: user \"anna\" needs a password; `rtcam access add` prints the lines",
        ),
        (&format!("[[auth.user]]\n{hash}"), "auth.user.0.name: every user needs a name"),
        (
            &user("a:b", &hash),
            "rtcam.toml:2: auth.user.name = \"a:b\": must be 1 to 32 characters without a colon, control characters or blanks at its ends",
        ),
        (
            &user("anna", "password_hash = \"hunter22\""),
            "rtcam.toml:3: auth.user.password_hash: must be the line that `rtcam access add` prints (an Argon2 hash), not the password itself",
        ),
        (
            &user("anna", &format!("{hash}\nrole = \"king\"")),
            "rtcam.toml:4: auth.user.role = \"king\": must be one of \"viewer\", \"operator\", \"host\"",
        ),
        (
            &user("anna", &format!("{hash}\nroel = \"host\"")),
            "rtcam.toml:4: [[auth.user]] unknown key \"roel\"; did you mean \"role\"?",
        ),
        ("[auth]\nuser = 3", "rtcam.toml:2: auth.user must be a list: write [[auth.user]]"),
    ]);
}

#[test]
fn users_as_an_argument_show_no_hash_in_a_mistake() {
    let shown = set_error("auth.user=[{name=\"\", role=\"king\", password_hash=\"hash-canary\"}]");
    assert!(shown.contains("--set auth.user.name: must be") && !shown.contains("canary"), "{shown}");
    let one = format!("auth.user=[{{name=\"anna\", password_hash=\"{HASH}\"}}]");
    let config = parse("", "", &[one]).expect("a good argument");
    assert_eq!(config.auth.users[0].name, "anna");
}

#[test]
fn open_access_must_be_written_out_and_tls_needs_its_files() {
    let network = "[http]\nlisten = \"0.0.0.0:80\"\n";
    assert!(parse("rtcam.toml", &format!("{network}[auth]\nmode = \"open\""), &[]).is_ok());
    check_rows(&[
        (
            "[http]\ntls = \"files\"\ntls_key = \"Cargo.toml\"",
            "http.tls_certificate: is needed with http.tls = \"files\": the path of a PEM file",
        ),
        (
            "[http]\ntls_key = \"Cargo.toml\"",
            "rtcam.toml:2: http.tls_key = \"Cargo.toml\": is used with http.tls = \"files\" only; set that as well",
        ),
    ]);
    let missing = file_error("[http]\ntls = \"files\"\ntls_key = \"Cargo.toml\"\ntls_certificate = \"none.pem\"");
    assert!(
        missing.starts_with("rtcam.toml:4: http.tls_certificate = \"none.pem\": cannot use this file"),
        "{missing}"
    );
}

#[test]
fn ice_servers_are_checked_as_a_whole_and_their_secrets_never_shown() {
    check_rows(&[
        (
            "[[webrtc.ice_server]]\nurls = [\"http://a\"]",
            r#"rtcam.toml:2: webrtc.ice_server.urls = ["http://a"]: "http://a": must be at most 4 URLs as "stun:HOST", "turn:HOST:3478", "turn:HOST?transport=tcp" or "turns:HOST""#,
        ),
        (
            "[[webrtc.ice_server]]\nurls = [\"turn:a\"]",
            r#"rtcam.toml:2: webrtc.ice_server.urls = ["turn:a"]: TURN needs username and credential, or secret (coturn: static-auth-secret)"#,
        ),
        (
            "[[webrtc.ice_server]]\nurls = [\"turn:a\"]\nusername = \"ann\"",
            r#"rtcam.toml:3: webrtc.ice_server.username = "ann": username and credential belong together"#,
        ),
        (
            "[[webrtc.ice_server]]\nurls = [\"turn:a\"]\nusername = \"ann\"\ncredential = \"HIDDEN\"\nsecret = \"HIDDEN\"",
            "rtcam.toml:5: webrtc.ice_server.secret: give either secret, or username and credential",
        ),
        (
            "[webrtc]\nice_servers = []",
            r#"rtcam.toml:2: [webrtc] unknown key "ice_servers"; did you mean "ice_server"?"#,
        ),
        (
            "[[webrtc.ice_server]]\nurl = 1",
            "rtcam.toml:2: [[webrtc.ice_server]] unknown key \"url\"; did you mean \"urls\"?\n\
             webrtc.ice_server.0.urls: needs at least one URL such as \"stun:stun.example.org\"",
        ),
        (
            "[webrtc.ice_server]\nurls = []",
            "rtcam.toml:1: webrtc.ice_server must be a list: write [[webrtc.ice_server]]",
        ),
        (
            "[webrtc]\nextra_addresses = [\"example.org\"]",
            r#"rtcam.toml:2: webrtc.extra_addresses = ["example.org"]: "example.org": must be at most 8 addresses as "203.0.113.7" or "203.0.113.7/10.0.0.5""#,
        ),
        (
            "[webrtc]\ntcp_port = 8080",
            "rtcam.toml:2: webrtc.tcp_port = 8080: http.listen has this port already: take another one",
        ),
    ]);
    for argument in [
        r#"webrtc.ice_server=[{secret="HIDDEN", urls=["http://a"]}]"#,
        r#"webrtc.ice_server=[{secret="HIDDEN", ttl_s=1, urls=["turn:a"]}]"#,
        r#"webrtc.ice_server=[{secret="HIDDEN", urls=[]}]"#,
        r#"webrtc.ice_server=[{secret="HIDDEN", url=[]}]"#,
    ] {
        let error = set_error(argument);
        assert!(error.contains("webrtc.ice_server") && !error.contains("HIDDEN"), "{error}");
    }
    let set = r#"webrtc.ice_server=[{urls=["stun:a"]}, {urls=["turn:b"], secret="s", ttl_s=60}]"#;
    let servers = parse("", "", &[set.to_owned()]).expect("all good").webrtc.ice_servers;
    assert_eq!((servers.len(), servers[1].ttl_s, servers[1].secret.reveal()), (2, 60, "s"));
}
