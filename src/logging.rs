//! Log lines to stderr: our own from the configured level on, warnings from the libraries we use.
//!
//! `RTCAM_LOG` goes over the config: `debug`, or `rtcam=debug,rtcam::capture=trace,hyper=info`. Must never print
//! colours into a file, nor a time of its own where journald writes one.

use crate::config::LogLevel;
use crate::error::{Error, ErrorKind, Result};
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging for the rest of the process.
pub fn start(level: LogLevel) -> Result<()> {
    let wanted = std::env::var("RTCAM_LOG").unwrap_or_default();
    let filter = filter(level, &wanted)
        .map_err(|why| Error::new(ErrorKind::BadConfig, format!("RTCAM_LOG={}: {why}", wanted.escape_debug())))?;
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).with_target(false);
    let journald = std::env::var_os("JOURNAL_STREAM").is_some();
    let lines = if journald { lines.without_time().boxed() } else { lines.boxed() };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|error| Error::new(ErrorKind::Internal, "start logging").because(error))
}

fn filter(level: LogLevel, wanted: &str) -> Result<Targets, String> {
    let own = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let mut filter = Targets::new().with_default(LevelFilter::WARN).with_target("rtcam", own);
    for part in wanted.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (target, level) = part.split_once('=').unwrap_or(("rtcam", part));
        let level: LevelFilter =
            level.parse().map_err(|_| format!("{level:?} is not off, error, warn, info, debug or trace"))?;
        filter = filter.with_target(target.to_owned(), level);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn the_level_is_ours_and_libraries_only_warn() {
        let filter = filter(LogLevel::Debug, "").expect("nothing to parse");
        assert!(filter.would_enable("rtcam::stream", &Level::DEBUG));
        assert!(!filter.would_enable("rtcam::stream", &Level::TRACE));
        assert!(filter.would_enable("hyper", &Level::WARN));
        assert!(!filter.would_enable("hyper", &Level::INFO));
    }

    #[test]
    fn the_environment_goes_over_the_config() {
        let filter = filter(LogLevel::Error, "debug, rtcam::capture=trace,hyper=info").expect("a good filter");
        assert!(filter.would_enable("rtcam::http", &Level::DEBUG));
        assert!(!filter.would_enable("rtcam::http", &Level::TRACE));
        assert!(filter.would_enable("rtcam::capture::v4l2", &Level::TRACE));
        assert!(filter.would_enable("hyper", &Level::INFO));
    }

    #[test]
    fn a_level_that_does_not_exist_is_refused() {
        assert!(filter(LogLevel::Info, "loud").is_err());
        assert!(filter(LogLevel::Info, "rtcam=loud").is_err());
    }
}
