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

#[test]
fn message() {
    replay("message", targets::message);
}

#[test]
fn session() {
    replay("session", targets::session);
}

#[test]
fn room() {
    replay("room", targets::room);
}

#[test]
fn sdp() {
    replay("sdp", targets::sdp);
}

#[test]
fn auth() {
    replay("auth", targets::auth);
}

#[test]
fn h264() {
    replay("h264", targets::h264);
}

#[test]
fn config() {
    replay("config", targets::config);
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
