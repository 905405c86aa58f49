//! Nothing stands in a board's profile that nobody reads: each key of `boards/` is looked up in the program's source.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// All Rust text of a folder but the tests in it.
fn source(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        match () {
            () if path.is_dir() => source(&path, text),
            // the form of the keys, which reads none of them
            () if name == "board_keys.rs" || name.ends_with("_tests.rs") => {}
            () => {
                let file = fs::read_to_string(&path).expect("readable");
                let shipped = file.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                // inside of board.rs the profile is `self`
                let shipped =
                    if name == "board.rs" { shipped.replace("self.", "profile.") } else { shipped.to_owned() };
                text.push_str(&shipped);
            }
        }
    }
}

fn keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/boards")).expect("boards/ is there") {
        let text = fs::read_to_string(entry.expect("readable").path()).expect("readable");
        let mut section = String::new();
        for line in text.lines() {
            match line.split_once(" = ") {
                _ if line.starts_with('[') => section = line.replace(['[', ']'], "") + ".",
                // further lines of a list are indented
                Some((key, _)) if !line.starts_with([' ', '#']) => drop(keys.insert(format!("{section}{key}"))),
                _ => {}
            }
        }
    }
    keys
}

#[test]
fn every_key_of_every_profile_is_read_by_something() {
    let mut text = String::new();
    source(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut text);
    let is_read = |key: &String| {
        // `match` is a word of the language
        let path = format!("profile.{}", key.replace("match.", "matching."));
        text.match_indices(&path).any(|(at, _)| {
            let next = text[at + path.len()..].chars().next();
            !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    };
    let keys = keys();
    assert!(keys.len() > 20, "{keys:?}");
    let idle: Vec<&String> = keys.iter().filter(|key| !is_read(key)).collect();
    assert!(idle.is_empty(), "read by nothing: {idle:?}");
    assert!(!is_read(&"capture.no_such_key".into()));
}
