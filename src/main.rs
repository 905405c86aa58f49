//! The program: hands the arguments to the command line and its answer to the shell.
//!
//! Must never hold logic: that is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    rtcam::cli::main(rtcam::app::run)
}
