//! The command line: what the commands are called, which config they take, and the exit code.
//!
//! One file per command. Exit codes: 0 fine, 2 bad usage or config, 1 otherwise. Must never start anything before the
//! config is known to be good. Input: the arguments and stdin.

mod access;
mod bench;
mod cameras;
mod check;
mod doctor;
mod password;
mod run;

use crate::config::{self, Config, FurtherRule};
use crate::encode;
use crate::error::{Error, ErrorKind, Result};
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Camera to browser on small boards: camera, logo and text, H.264 once, WebRTC to every viewer.
#[derive(Parser)]
#[command(name = "rtcam", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Start the camera and the viewer page (what `rtcam` alone does)
    Run(ConfigArguments),
    /// Look at the config, say what it would do, start nothing
    Check(ConfigArguments),
    /// List the cameras: formats, sizes, rates, controls
    Cameras {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure what this machine can do: CPU time per picture of each stage (takes some seconds)
    Bench {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// CPU time spent on each figure
        #[arg(long, hide = true, value_name = "MS", default_value_t = bench::SPAN_MS)]
        span_ms: u64,
    },
    /// Say what this machine has and lacks for rtcam, and what to do about it; exit code 1 if it could not stream here
    Doctor {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Who may come in: users for the config, links that expire
    #[command(subcommand)]
    Access(access::Access),
    /// Read a password and print the line for the config
    Password,
}

/// Which encoders there are only the build knows.
const ENCODER_RULE: FurtherRule =
    FurtherRule { key: "encoder.backend", check: |config| encode::check_backend(&config.encoder.backend) };

#[derive(Args)]
struct ConfigArguments {
    /// The config file [default: ./rtcam.toml, else /etc/rtcam/rtcam.toml, else built-in defaults]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting over the file, as often as needed: camera.fps=15, 'overlay=[{type="logo"}]'
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

/// `start` runs the daemon until it is stopped.
pub fn main(start: fn(Config) -> Result<()>) -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        None => run::run(&arguments.config, start),
        Some(Command::Run(config)) => run::run(&config, start),
        Some(Command::Check(config)) => check::run(&config),
        Some(Command::Cameras { json }) => cameras::run(json),
        Some(Command::Doctor { json, config }) => return doctor::run(&config, json),
        Some(Command::Bench { json, span_ms }) => bench::run(json, Duration::from_millis(span_ms)),
        Some(Command::Access(wanted)) => access::run(&wanted),
        Some(Command::Password) => password::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            exit_code(&error)
        }
    }
}

fn exit_code(error: &Error) -> ExitCode {
    ExitCode::from(if error.kind() == ErrorKind::BadConfig { 2 } else { 1 })
}

impl ConfigArguments {
    fn load(&self) -> Result<Config> {
        config::load(self.file().as_deref(), &self.set, &[ENCODER_RULE])
    }

    /// The file named, or the first of the usual places that has one.
    fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| usual_place(&[Path::new("rtcam.toml"), Path::new("/etc/rtcam/rtcam.toml")]))
    }
}

/// A place we may not look into counts: better an error than other settings than the user's.
fn usual_place(places: &[&Path]) -> Option<PathBuf> {
    places.iter().find(|place| place.try_exists().unwrap_or(true)).map(|place| place.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Arguments {
        Arguments::try_parse_from([&["rtcam"], arguments].concat()).expect("good arguments")
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_arguments_are_those_of_run() {
        let bare = parse(&["--config", "a.toml", "--set", "camera.fps=5", "--set", "log.level=debug"]);
        assert!(bare.command.is_none());
        assert_eq!(bare.config.set, ["camera.fps=5", "log.level=debug"]);
        let Some(Command::Run(run)) = parse(&["run", "--config", "a.toml"]).command else { panic!("run") };
        assert_eq!(run.config, bare.config.config);
    }

    #[test]
    fn the_first_usual_place_that_has_a_file_counts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        assert_eq!(usual_place(&[&first, &second]), None);
        std::fs::write(&second, "").expect("writable");
        assert_eq!(usual_place(&[&first, &second]), Some(second.clone()));
        std::fs::write(&first, "").expect("writable");
        assert_eq!(usual_place(&[&first, &second]), Some(first.clone()));
    }
}
