//! install.sh on the trees of a systemd and of a busybox image, with a program that is only an ELF header.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What `uname -m` and an ELF header call the same machine: class, machine number.
const ARMV7: (u8, u8) = (1, 40);
const AARCH64: (u8, u8) = (2, 183);

/// An unpacked tarball and the tree of an image.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(init: &str) -> Place {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = Place { folder };
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["systemd", "boards"] {
            fs::create_dir_all(place.tarball().join(part)).expect("writable");
            for entry in fs::read_dir(project.join(part)).expect("it is there") {
                let path = entry.expect("readable").path();
                fs::copy(&path, place.tarball().join(part).join(path.file_name().expect("a file"))).expect("writable");
            }
        }
        for file in ["install.sh", "rtcam.example.toml", "README.md", "LICENSE-MIT"] {
            fs::copy(project.join(file), place.tarball().join(file)).expect("writable");
        }
        fs::create_dir_all(place.root().join(init)).expect("writable");
        place.program(ARMV7, 1);
        place
    }

    fn tarball(&self) -> PathBuf {
        self.folder.path().join("tarball")
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("image root")
    }

    fn in_root(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn program(&self, (class, machine): (u8, u8), version: u8) {
        let mut bytes = [0; 64];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1]);
        (bytes[18], bytes[63]) = (machine, version);
        fs::write(self.tarball().join("rtcam"), bytes).expect("writable");
    }

    fn installed_version(&self) -> u8 {
        fs::read(self.in_root("usr/local/bin/rtcam")).expect("installed")[63]
    }

    fn run(&self, shell: &[&str], machine: &str, options: &[&str]) -> Output {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(self.tarball().join("install.sh")).args(["--root"]).arg(self.root());
        command.args(options).env("RTCAM_ARCH", machine).output().expect("a shell")
    }

    fn install(&self) -> Output {
        self.run(&["sh"], "armv7l", &[])
    }

    /// Every file and folder, sorted.
    fn tree(&self) -> Vec<PathBuf> {
        let (mut waiting, mut found) = (vec![self.root()], Vec::new());
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(folder).expect("readable") {
                let path = entry.expect("readable").path();
                if path.is_dir() {
                    waiting.push(path.clone());
                }
                found.push(path);
            }
        }
        found.sort();
        found
    }
}

fn good(done: &Output) -> String {
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

/// `sh` and, where it is there, the shell of the boards.
fn shells() -> Vec<Vec<&'static str>> {
    let busybox = Command::new("busybox").arg("true").output().is_ok();
    let mut shells = vec![vec!["sh"]];
    shells.extend(busybox.then(|| vec!["busybox", "sh"]));
    shells
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn systemd_gets_its_unit_user_rules_and_config() {
    for shell in shells() {
        let place = Place::new("lib/systemd/system");
        good(&place.run(&shell, "armv7l", &[]));
        for file in [
            "etc/systemd/system/rtcam.service",
            "usr/lib/sysusers.d/rtcam.conf",
            "usr/lib/tmpfiles.d/rtcam.conf",
            "etc/udev/rules.d/60-rtcam.rules",
            "usr/local/share/doc/rtcam/boards/rv1126.toml",
            "usr/local/share/doc/rtcam/LICENSE-MIT",
        ] {
            assert!(place.in_root(file).is_file(), "{file}");
        }
        assert!(!place.in_root("etc/init.d").exists());
        assert_eq!(mode(&place.in_root("usr/local/bin/rtcam")), 0o755);
        assert_eq!(mode(&place.in_root("etc/rtcam/rtcam.toml")), 0o600, "it will hold a password hash");
    }
}

#[test]
fn busybox_gets_its_script_and_no_unit() {
    for shell in shells() {
        let place = Place::new("etc/init.d");
        good(&place.run(&shell, "armv7l", &[]));
        assert_eq!(mode(&place.in_root("etc/init.d/S99rtcam")), 0o755);
        assert!(!place.in_root("etc/systemd").exists());
    }
}

#[test]
fn an_upgrade_replaces_the_program_by_a_rename_and_keeps_the_config() {
    let place = Place::new("etc/init.d");
    good(&place.install());
    let config = place.in_root("etc/rtcam/rtcam.toml");
    fs::write(&config, "[camera]\nfps = 15\n").expect("writable");
    let running = fs::File::open(place.in_root("usr/local/bin/rtcam")).expect("installed");
    place.program(ARMV7, 2);
    good(&place.install());
    assert_eq!(place.installed_version(), 2);
    assert_eq!(fs::read_to_string(&config).expect("it is there"), "[camera]\nfps = 15\n");
    let old = std::io::Read::bytes(running).last().expect("64 bytes").expect("readable");
    assert_eq!(old, 1, "the program that runs is not written into");
    assert!(!place.tree().iter().any(|path| path.to_string_lossy().contains(".new.")), "nothing is left over");
}

#[test]
fn a_wrong_architecture_is_refused_before_anything_is_touched() {
    for shell in shells() {
        let place = Place::new("lib/systemd/system");
        let before = place.tree();
        let done = place.run(&shell, "x86_64", &[]);
        assert_eq!(done.status.code(), Some(1));
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(
            said.contains("this rtcam is for armv7, and this machine is x86_64: get the tarball for x86_64"),
            "{said}"
        );
        assert!(said.contains("nothing was changed"), "{said}");
        assert_eq!(place.tree(), before);
    }
}

#[test]
fn each_machine_takes_its_own_program() {
    let place = Place::new("lib/systemd/system");
    place.program(AARCH64, 3);
    good(&place.run(&["sh"], "aarch64", &[]));
    assert_eq!(place.installed_version(), 3);
    let done = place.run(&["sh"], "armv7l", &[]);
    assert_eq!(done.status.code(), Some(1), "64 bits on a 32-bit machine");
    fs::write(place.tarball().join("rtcam"), "<html>404</html>                    ").expect("writable");
    let done = place.run(&["sh"], "aarch64", &[]);
    assert!(String::from_utf8_lossy(&done.stderr).contains("is no Linux program"));
    assert_eq!(place.installed_version(), 3, "the old one stays");
}

#[test]
fn a_place_that_cannot_be_written_leaves_the_old_version_whole() {
    let place = Place::new("etc/init.d");
    good(&place.install());
    place.program(ARMV7, 2);
    // a file where a folder must be: root may write anywhere, so permissions would not stop it
    let boards = place.in_root("usr/local/share/doc/rtcam/boards");
    fs::remove_dir_all(&boards).expect("it was installed");
    fs::write(&boards, "").expect("writable");
    let before = place.tree();
    let done = place.install();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("is the disk full or read-only?"));
    assert_eq!(place.installed_version(), 1);
    assert_eq!(place.tree(), before, "nothing is left over");
}

#[test]
fn uninstalling_takes_all_but_the_config_and_purging_that_as_well() {
    for init in ["lib/systemd/system", "etc/init.d"] {
        let place = Place::new(init);
        let said = good(&place.install());
        assert!(said.contains("installed"), "{said}");
        good(&place.run(&["sh"], "armv7l", &["--uninstall"]));
        let files: Vec<PathBuf> = place.tree().into_iter().filter(|path| path.is_file()).collect();
        assert_eq!(files, [place.in_root("etc/rtcam/rtcam.toml")]);
        good(&place.run(&["sh"], "armv7l", &["--uninstall", "--purge"]));
        assert!(!place.in_root("etc/rtcam").exists());
    }
}
