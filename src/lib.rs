//! rtcam: camera to browser on small boards. The map of the house is in ARCHITECTURE.md.

pub mod app;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(test)]
mod dice;
pub mod doctor;
pub mod encode;
pub mod error;
pub mod heap_sys;
pub mod http;
pub mod logging;
pub mod media;
pub mod metrics;
pub mod notify;
pub mod output;
pub mod overlay;
pub mod repeat;
pub mod signal;
pub mod stream;
pub mod units;
