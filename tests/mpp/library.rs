//! A library that is absent, is something else, or is too old: a clear sentence, and the next encoder.

use crate::camera_sys::nv12;
use crate::stub::*;
use rtcam::config::EncoderConfig;
use rtcam::encode;
use rtcam::error::{Error, ErrorKind};
use rtcam::units::FrameRate;
use std::path::Path;

fn open(config: &EncoderConfig) -> Result<&'static str, Error> {
    encode::open(config, &nv12(320, 176, 320), FrameRate::per_second(30)).map(|encoder| encoder.name())
}

/// What the backend says when it is named, and that `auto` goes on without it.
fn check(config: EncoderConfig, kind: ErrorKind, said: &str) {
    let error = open(&config).expect_err("it does not open");
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, said));
    assert_eq!(open(&EncoderConfig { backend: "auto".into(), ..config }).expect("auto opens"), "openh264");
}

#[test]
fn a_library_that_is_there_is_used_by_auto() {
    let stub = Stub::new();
    assert_eq!(open(&EncoderConfig { backend: "auto".into(), ..stub.config() }).expect("it opens"), "mpp");
    stub.assert_clean();
}

#[test]
fn no_library() {
    let path = "/nonexistent/librockchip_mpp.so";
    let said = format!("mpp: load {path}: not on this machine");
    check(config(Path::new(path)), ErrorKind::NotFound, &said);
}

#[test]
fn no_library_under_either_name() {
    let config = EncoderConfig { backend: "mpp".into(), ..EncoderConfig::default() };
    match open(&config) {
        // a board
        Ok(name) => assert_eq!(name, "mpp"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert_eq!(error.to_string(), "mpp: load librockchip_mpp.so.1 or librockchip_mpp.so: not on this machine");
        }
        Err(_) => {}
    }
}

#[test]
fn a_library_of_something_else() {
    let said = "mpp: libm.so.6 is not Rockchip's MPP: it has no mpp_create";
    check(config(Path::new("libm.so.6")), ErrorKind::Unsupported, said);
}

#[test]
fn a_file_that_is_no_library() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "not a library").unwrap();
    let error = open(&config(file.path())).expect_err("it does not open");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().starts_with(&format!("mpp: load {}: ", file.path().display())), "{error}");
}

#[test]
fn a_library_from_before_the_settings_had_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.so");
    let mut bytes = std::fs::read(built()).unwrap();
    let (name, other) = (b"\0mpp_enc_cfg_set_s32\0", b"\0mpp_enc_cfg_set_x32\0");
    let places: Vec<usize> =
        bytes.windows(name.len()).enumerate().filter(|(_, part)| part == name).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at..at + name.len()].copy_from_slice(other));
    std::fs::write(&path, bytes).unwrap();
    let said =
        format!("mpp: {}: this MPP has no mpp_enc_cfg_set_s32: rtcam needs one of 2020 or later", path.display());
    check(config(&path), ErrorKind::Unsupported, &said);
}

#[test]
fn a_library_without_its_driver() {
    let stub = Stub::new();
    stub.set("no_driver", 1);
    check(stub.config(), ErrorKind::Unsupported, "mpp: start the H.264 encoder: error -1");
    stub.assert_clean();
}
