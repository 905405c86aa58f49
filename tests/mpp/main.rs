//! Rockchip's encoder through the stand-in library `examples/mpp_stub`, loaded the way the real one is.
#![allow(clippy::disallowed_methods)]

mod bitrate;
mod camera_sys;
mod cost;
mod library;
mod pictures;
mod pipeline;
#[path = "../seat/mod.rs"]
mod seat;
mod stub;
mod stuck;
