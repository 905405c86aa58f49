//! `rtcam run`: the daemon, in the foreground until SIGTERM or Ctrl-C.

use super::ConfigArguments;
use crate::config::Config;
use crate::error::Result;
use crate::logging;

pub fn run(arguments: &ConfigArguments, start: fn(Config) -> Result<()>) -> Result<()> {
    let config = arguments.load()?;
    logging::start(config.log.level)?;
    start(config)
}
