//! Packs the files of the viewer page for the wire: lines that are comments and indentation go, the rest is compressed.
//!
//! Owns nothing but that. The files themselves stay readable modules, and `http/page.rs` has the table of them.

use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=web");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("web");
    fs::create_dir_all(&out)?;
    for entry in fs::read_dir("web")? {
        let path = entry?.path();
        let packed = pack(&lean(&path, &fs::read_to_string(&path)?))?;
        let name = path.file_name().expect("an entry of a folder has a name").to_string_lossy().into_owned();
        fs::write(out.join(name + ".gz"), packed)?;
    }
    Ok(())
}

fn pack(text: &str) -> io::Result<Vec<u8>> {
    // no time and no name in the header: the same page gives the same bytes
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(text.as_bytes())?;
    packer.finish()
}

/// A test of the page keeps texts over several lines out of it, so lines can be looked at one by one.
fn lean(path: &Path, text: &str) -> String {
    if !path.extension().is_some_and(|e| e == "js" || e == "css") {
        return text.into();
    }
    let mut inside = false;
    let mut kept = String::with_capacity(text.len());
    for line in text.lines().map(str::trim) {
        let begins = line.starts_with("/*") && (line.ends_with("*/") || !line.contains("*/"));
        let comment = inside || begins || line.starts_with("//");
        if inside || begins {
            inside = !line.ends_with("*/");
        }
        if !line.is_empty() && !comment {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}
