//! The real program from outside: started as a process, spoken to over HTTP, WebSocket and WebRTC, looked at in /proc.
#![allow(clippy::disallowed_methods)]

mod camera_away;
mod client;
mod file_source;
mod joins_and_leaves;
mod links;
mod nobody_watches;
mod password;
mod process;
mod program;
#[path = "../receiver/mod.rs"]
mod receiver;
mod refusals;
mod restart;
mod room;
mod second_viewer;
mod signalling;
mod stalled_viewer;
mod stopping;
