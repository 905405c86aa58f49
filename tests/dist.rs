//! scripts/dist.sh with a program that is built already: what is in tarball and .deb, that they install, and the gates.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The short name of this machine's target, as dist.sh takes it.
const TARGET: &str = std::env::consts::ARCH;

/// Built once, into the cache that all share.
fn cargo_deb() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cargo-tool.sh");
        run(Command::new(script).arg("cargo-deb")).trim().into()
    })
}

struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    fn new() -> Workshop {
        Workshop { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program that does nothing.
    fn compile(&self, options: &[&str]) -> PathBuf {
        let source = self.path("nothing.c");
        fs::write(&source, "int main(void) { return 0; }\n").expect("writable");
        let program = self.path("nothing");
        let done = Command::new("cc").arg("-o").arg(&program).arg(&source).args(options).output().expect("a compiler");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        program
    }

    fn dist(&self, program: &Path, target: &str) -> Output {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/dist.sh");
        let mut command = Command::new(script);
        command.arg(target).env("RTCAM_BUILT", program).env("RTCAM_CACHE", self.path("cache"));
        command.env("CARGO_DEB", cargo_deb());
        command.env("DIST", self.path("dist")).output().expect("bash")
    }

    fn refusal(&self, program: &Path, target: &str) -> String {
        let done = self.dist(program, target);
        assert!(!done.status.success(), "it must not be shipped");
        assert!(!self.path("dist").read_dir().is_ok_and(|mut files| files.next().is_some()), "nothing is left there");
        String::from_utf8_lossy(&done.stderr).into_owned()
    }
}

fn run(command: &mut Command) -> String {
    let done = command.output().expect("it starts");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn the_tarball_has_everything_and_installs() {
    let shop = Workshop::new();
    // static: needs no library and no glibc at all
    let program = shop.compile(&["-static"]);
    let done = shop.dist(&program, TARGET);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let name = format!("rtcam-{}-{TARGET}-unknown-linux-gnu", env!("CARGO_PKG_VERSION"));
    run(Command::new("sha256sum").args(["-c", &format!("{name}.tar.gz.sha256")]).current_dir(shop.path("dist")));
    run(Command::new("tar")
        .arg("-xzf")
        .arg(shop.path("dist").join(format!("{name}.tar.gz")))
        .current_dir(&shop.folder));
    let tree = shop.path(&name);
    for file in [
        "rtcam",
        "install.sh",
        "rtcam.example.toml",
        "LICENSE-MIT",
        "boards/rv1126.toml",
        "systemd/S99rtcam",
        "systemd/rtcam.service",
    ] {
        assert!(tree.join(file).is_file(), "{file}");
    }
    let notices = fs::read_to_string(tree.join("THIRD-PARTY.txt")).expect("it is there");
    for part in ["\nOpenH264 ", "\nring 0.", "\ntokio 1.", "Copyright (c) 2013, Cisco Systems"] {
        assert!(notices.contains(part), "{part}");
    }
    assert!(!notices.contains("\ntempfile "), "what only tests use is not shipped");
    let root = shop.path("root");
    fs::create_dir_all(root.join("etc/init.d")).expect("writable");
    run(Command::new(tree.join("install.sh")).arg("--root").arg(&root));
    assert_eq!(fs::read(root.join("usr/local/bin/rtcam")).ok(), fs::read(&program).ok());
}

/// The one .deb there is.
fn package(shop: &Workshop) -> PathBuf {
    let entries = fs::read_dir(shop.path("dist")).expect("it is there").map(|entry| entry.expect("readable").path());
    let found: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn the_package_has_the_same_below_usr_and_says_what_it_needs() {
    let shop = Workshop::new();
    let program = shop.compile(&["-static"]);
    let done = shop.dist(&program, TARGET);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let deb = package(&shop);
    let field = |name| run(Command::new("dpkg-deb").arg("-f").arg(&deb).arg(name)).trim().to_owned();
    assert_eq!(field("Package"), "rtcam");
    assert_eq!(field("Version"), env!("CARGO_PKG_VERSION"));
    assert!(field("Depends").starts_with("libc6 (>= 2.28), "), "{}", field("Depends"));
    let tree = shop.path("unpacked");
    run(Command::new("dpkg-deb").arg("-R").arg(&deb).arg(&tree));
    assert_eq!(fs::read(tree.join("usr/bin/rtcam")).ok(), fs::read(&program).ok(), "nothing is stripped or added");
    let text = |path: &str| fs::read_to_string(tree.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(text("DEBIAN/conffiles"), "/etc/rtcam/rtcam.toml\n");
    assert_eq!(text("etc/rtcam/rtcam.toml"), include_str!("../rtcam.example.toml"));
    assert_eq!(mode(&tree.join("etc/rtcam/rtcam.toml")), 0o640, "it will hold a password's hash");
    let unit = text("usr/lib/systemd/system/rtcam.service");
    assert!(unit.contains("ExecStart=/usr/bin/rtcam run") && !unit.contains("/usr/local"), "{unit}");
    for (path, part) in [
        ("DEBIAN/postinst", "systemd-sysusers ${DPKG_ROOT:+--root=\"$DPKG_ROOT\"} rtcam.conf"),
        ("DEBIAN/postinst", "systemd-tmpfiles --create rtcam.conf"),
        ("DEBIAN/postinst", "deb-systemd-helper enable rtcam.service"),
        ("DEBIAN/postinst", "udevadm trigger"),
        ("DEBIAN/prerm", "deb-systemd-invoke stop rtcam.service"),
        ("DEBIAN/postrm", "rm -rf /var/lib/rtcam"),
        ("usr/lib/udev/rules.d/60-rtcam.rules", "video4linux"),
        ("usr/lib/sysusers.d/rtcam.conf", "u rtcam"),
        ("usr/lib/tmpfiles.d/rtcam.conf", "/etc/rtcam"),
        ("usr/share/doc/rtcam/copyright", "LICENSE-MIT"),
        ("usr/share/doc/rtcam/LICENSE-APACHE", "Apache License"),
        ("usr/share/doc/rtcam/LICENSE-MIT", "MIT License"),
        ("usr/share/doc/rtcam/THIRD-PARTY.txt", "OpenH264"),
        ("usr/share/doc/rtcam/README.md", "rtcam"),
        ("usr/share/doc/rtcam/CHANGELOG.md", "# Changes"),
        ("usr/share/doc/rtcam/rtcam.example.toml", "[camera]"),
    ] {
        assert!(text(path).contains(part), "{path}");
    }
    let boards = fs::read_dir(tree.join("usr/share/doc/rtcam/boards")).expect("it is there").count();
    let all = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/boards")).expect("it is there").count();
    assert_eq!(boards, all);
    for script in ["DEBIAN/postinst", "DEBIAN/prerm", "DEBIAN/postrm", "usr/bin/rtcam"] {
        assert_eq!(mode(&tree.join(script)), 0o755, "{script}");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn tarball_and_package_are_the_same_every_time() {
    let shop = Workshop::new();
    let program = shop.compile(&["-static"]);
    let mut sums = Vec::new();
    for _ in 0..2 {
        assert!(shop.dist(&program, TARGET).status.success());
        let file = format!("rtcam-{}-{TARGET}-unknown-linux-gnu.tar.gz.sha256", env!("CARGO_PKG_VERSION"));
        let sum = fs::read_to_string(shop.path("dist").join(file)).expect("it is there");
        sums.push((sum, fs::read(package(&shop)).expect("it is there")));
        fs::remove_dir_all(shop.path("dist")).expect("ours");
    }
    assert!(sums[0] == sums[1]);
}

#[test]
fn a_program_with_other_libraries_than_glibcs_is_not_shipped() {
    let said = Workshop::new().refusal(Path::new(env!("CARGO_BIN_EXE_rtcam")), TARGET);
    assert!(said.contains("FAIL") && said.contains("libopencv_core"), "{said}");
}

#[test]
fn a_program_for_another_machine_is_not_shipped() {
    let shop = Workshop::new();
    let other = if TARGET == "aarch64" { "x86_64" } else { "aarch64" };
    let said = shop.refusal(&shop.compile(&["-static"]), other);
    assert!(said.contains("FAIL") && said.contains(&format!("not for {other}-unknown-linux-gnu")), "{said}");
    fs::write(shop.path("text"), "no program").expect("writable");
    assert!(shop.refusal(&shop.path("text"), other).contains("is no program"));
}

#[test]
fn a_program_that_needs_a_newer_glibc_is_not_shipped() {
    let shop = Workshop::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/dist.sh");
    // whatever this machine's glibc is, it is newer than this floor
    let mut command = Command::new(script);
    command.arg(TARGET).env("RTCAM_BUILT", shop.compile(&[])).env("RTCAM_CACHE", shop.path("cache"));
    let done = command.env("DIST", shop.path("dist")).env("GLIBC_FLOOR", "2.1").output().expect("bash");
    assert!(!done.status.success());
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("the floor is 2.1"), "{said}");
}

#[test]
fn a_program_that_needs_a_newer_glibc_than_a_board_has_is_not_shipped() {
    let shop = Workshop::new();
    let program = shop.compile(&[]);
    // the floor lets it pass, and then there are the boards
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/dist.sh"));
    command.arg(TARGET).env("RTCAM_BUILT", program).env("RTCAM_CACHE", shop.path("cache"));
    let done = command.env("DIST", shop.path("dist")).env("GLIBC_FLOOR", "9.0").output().expect("bash");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success() && said.contains("and boards/") && said.contains("has GLIBC_2.28"), "{said}");
}

#[test]
fn a_program_too_big_for_a_board_is_not_shipped() {
    let shop = Workshop::new();
    // of this machine, but its head says ARM: all that the gate before the size looks at
    let mut bytes = fs::read(shop.compile(&["-static"])).expect("readable");
    const ARM: u8 = 40;
    bytes[18..20].copy_from_slice(&[ARM, 0]);
    bytes.resize(8 * 1024 * 1024 + 1, 0);
    fs::write(shop.path("big"), bytes).expect("writable");
    let said = shop.refusal(&shop.path("big"), "armv7");
    assert!(said.contains("FAIL") && said.contains("8388609 bytes, at most 8 MiB are allowed"), "{said}");
}
