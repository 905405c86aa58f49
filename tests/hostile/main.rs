//! Hostile clients against the real program while four viewers watch: whatever is done to it, nobody loses a picture,
//! memory and file descriptors come back, and whoever is refused hears why.
#![allow(clippy::disallowed_methods)]

#[allow(dead_code)]
#[path = "../daemon/client.rs"]
mod client;
mod connections;
mod datagrams;
mod fingerprints;
mod headers;
mod messages;
#[allow(dead_code)]
#[path = "../daemon/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../daemon/program.rs"]
mod program;
mod raw;
#[path = "../receiver/mod.rs"]
mod receiver;
mod siege;
mod sockets;
