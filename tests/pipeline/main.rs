//! The pipeline as outputs see it, with cameras and encoders that do what the test wants.
#![allow(clippy::disallowed_methods)]

mod adjust;
mod camera;
mod encoder;
mod fakes;
#[path = "../seat/mod.rs"]
mod seat;
mod viewers;
