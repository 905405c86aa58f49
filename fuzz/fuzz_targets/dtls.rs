//! Runs `targets::dtls` of tests/corpus/ on what libFuzzer makes up.
#![no_main]

#[allow(dead_code, unused_imports)]
#[path = "../../tests/corpus/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::dtls(bytes));
