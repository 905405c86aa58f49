//! A copy of the stand-in library for one test alone, its switches and counters, and a check of what decoders see.

use libloading::Library;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use rtcam::config::EncoderConfig;
use rtcam::media::packet::AccessUnit;
use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub struct Stub {
    pub path: PathBuf,
    library: Library,
    _folder: TempDir,
}

/// Next to the test programs: `cargo test` builds examples, too.
pub fn built() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let path = program.ancestors().nth(2).unwrap().join("examples/libmpp_stub.so");
    assert!(path.exists(), "{}: missing: run `cargo build --example mpp_stub`", path.display());
    path
}

impl Stub {
    /// A file of its own is a library of its own, with counters of its own.
    pub fn new() -> Stub {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("librockchip_mpp.so.1");
        std::fs::copy(built(), &path).unwrap();
        let library = unsafe { Library::new(&path) }.unwrap();
        Stub { path, library, _folder: folder }
    }

    pub fn config(&self) -> EncoderConfig {
        config(&self.path)
    }

    pub fn set(&self, name: &str, value: i64) {
        let name = CString::new(name).unwrap();
        unsafe {
            let set: libloading::Symbol<unsafe extern "C" fn(*const c_char, i64)> =
                self.library.get(b"mpp_stub_set\0").unwrap();
            set(name.as_ptr(), value);
        }
    }

    pub fn get(&self, name: &str) -> i64 {
        let name = CString::new(name).unwrap();
        unsafe {
            let get: libloading::Symbol<unsafe extern "C" fn(*const c_char) -> i64> =
                self.library.get(b"mpp_stub_get\0").unwrap();
            get(name.as_ptr())
        }
    }

    /// What the real library would not have forgiven, and what was not given back.
    pub fn assert_clean(&self) {
        assert_eq!(self.get("violations"), 0);
        for kind in ["sessions", "configs", "frames", "packets", "buffers", "groups"] {
            assert_eq!(self.get(kind), 0, "{kind} left");
        }
    }
}

pub fn config(library: &Path) -> EncoderConfig {
    let mpp_library = library.to_str().unwrap().into();
    EncoderConfig { backend: "mpp".into(), mpp_library, ..EncoderConfig::default() }
}

/// Luma, U and V of a decoded picture at a place.
pub fn pixel(decoder: &mut Decoder, unit: &AccessUnit, x: usize, y: usize) -> [u8; 3] {
    let picture = decoder.decode(&unit.bytes).expect("it decodes").expect("a picture");
    let (stride, chroma, _) = picture.strides();
    let at = y / 2 * chroma + x / 2;
    [picture.y()[y * stride + x], picture.u()[at], picture.v()[at]]
}

pub fn close(found: [u8; 3], wanted: [u8; 3]) -> bool {
    found.iter().zip(wanted).all(|(found, wanted)| found.abs_diff(wanted) <= 6)
}
