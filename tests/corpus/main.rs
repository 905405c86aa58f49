//! Replays the fuzz targets' committed corpus (`fuzz/corpus/TARGET/`) and thousands of mutations of each of its files,
//! the same in every run. The fuzzer itself (`fuzz/`) runs the same targets.
#![allow(clippy::disallowed_methods)]

mod mutate;
mod targets;

use mutate::Mutator;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Mutations of all seeds of a target together.
const MUTATIONS: usize = 2000;

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |file: fs::DirEntry| (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()));
    let read = files.map(|file| read(file.expect("a readable folder")));
    let mut seeds: Vec<_> = read.map(|(name, bytes)| (name, bytes.expect("a readable file"))).collect();
    seeds.sort();
    assert!(seeds.len() >= 3, "{}: {} seeds", folder.display(), seeds.len());
    seeds
}

fn replay(target: &str, run: fn(&[u8])) {
    let seeds = seeds(target);
    let all: Vec<&[u8]> = seeds.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    for (name, bytes) in &seeds {
        survive(&format!("fuzz/corpus/{target}/{name}"), bytes, run);
    }
    let mut mutator = Mutator::new(0x7273_6361_6d00 + target.len() as u64);
    for number in 0..MUTATIONS {
        let (name, bytes) = &seeds[number % seeds.len()];
        let mutated = mutator.mutate(bytes, &all);
        survive(&format!("mutation {number} of fuzz/corpus/{target}/{name}"), &mutated, run);
    }
}

fn survive(what: &str, bytes: &[u8], run: fn(&[u8])) {
    let done = catch_unwind(AssertUnwindSafe(|| run(bytes)));
    assert!(done.is_ok(), "{what}: {:?}", String::from_utf8_lossy(bytes));
}

/// A test for each target, and their names.
macro_rules! replayed {
    ($($target:ident)*) => {
        const REPLAYED: &[&str] = &[$(stringify!($target)),*];
        $(
            #[test]
            fn $target() {
                replay(stringify!($target), targets::$target);
            }
        )*
    };
}

replayed! {
    message session room sdp whep auth config
    handshake stun framing dtls rtcp sctp
    h264 packets picture driver y4m kept
}

#[test]
fn the_fuzzer_has_the_same_targets() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| {
        let files = fs::read_dir(fuzz.join(folder)).expect("a folder of the project");
        let name = |file: fs::DirEntry| file.file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
        let mut names: Vec<String> = files.map(|file| name(file.expect("a readable folder"))).collect();
        names.sort();
        names
    };
    let mut replayed = REPLAYED.to_vec();
    replayed.sort();
    assert_eq!(
        (names("fuzz_targets"), names("corpus")),
        (replayed.iter().map(|n| n.to_string()).collect(), names("fuzz_targets"))
    );
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("a file of the project");
    for target in REPLAYED {
        assert!(manifest.contains(&format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"")), "{target}");
    }
}

/// The replay is worth something only if a fault in a target is found.
#[test]
fn a_fault_is_found() {
    fn faulty(bytes: &[u8]) {
        assert!(bytes.len() < 2 || bytes[0] != bytes[1], "found");
    }
    let found = catch_unwind(|| replay("h264", faulty));
    assert!(found.is_err());
}
