//! `rtcam doctor [--json]`: what this machine has and lacks for rtcam, and what to do about each of it.
//!
//! Looks, judges (`crate::doctor`), prints. Changes nothing. Exit code 1 if rtcam could not stream here.

mod glibc_sys;
mod probe;

use super::ConfigArguments;
use crate::config::Config;
use crate::config::board::Machine;
use crate::doctor::{self, Finding, Level, can_stream};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

pub fn run(arguments: &ConfigArguments, json: bool) -> ExitCode {
    let findings = examine(arguments);
    let text = if json { as_json(&findings) } else { as_text(&findings) };
    // a closed pipe (`| head`) is no failure worth a message
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    if can_stream(&findings) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn examine(arguments: &ConfigArguments) -> Vec<Finding> {
    let (config, files) = load(arguments);
    let processes = probe::processes();
    let runs_already = processes.others.iter().any(|name| name == "rtcam");
    let board = doctor::board::Facts {
        profile: &config.profile,
        choice: &config.board,
        compatible: Machine::this().compatible(),
        processes: processes.others,
        architecture: std::env::consts::ARCH,
        glibc: glibc_sys::version(),
    };
    let memory = doctor::memory::parse(&probe::read("/proc/meminfo"));
    let (cameras, encoders) = (probe::cameras(&config.camera), probe::encoders(&config));
    let buffers = probe::buffers(&config, &cameras, encoders.taken());
    [
        doctor::files::judge(&files),
        doctor::board::judge(&board),
        doctor::permissions::judge(&probe::permissions(&config)),
        doctor::camera::judge(&cameras),
        doctor::buffers::judge(&buffers),
        doctor::encoder::judge(&encoders),
        doctor::cpu::judge(&doctor::cpu::parse(&probe::read("/proc/cpuinfo")), probe::srtp_cost(), &config.webrtc.srtp),
        doctor::memory::judge(&memory, config.profile.matching.ram_mib),
        doctor::network::judge(&probe::network(&config, runs_already)),
        doctor::clock::judge(probe::wall()),
    ]
    .concat()
}

/// A config that cannot be used is a finding, and the rest goes on without it.
fn load(arguments: &ConfigArguments) -> (Config, doctor::files::Facts) {
    let (config, mistake) = match arguments.load() {
        Ok(config) => (config, None),
        Err(error) => (crate::config::load(None, &[], &[]).unwrap_or_default(), Some(error.to_string())),
    };
    let file = arguments.file();
    let facts = doctor::files::Facts {
        mode: file.as_deref().and_then(probe::mode),
        file: file.map(|path| path.display().to_string()),
        mistake,
        has_password: config.auth.has_credentials(),
    };
    (config, facts)
}

#[derive(Serialize)]
struct Report<'a> {
    can_stream: bool,
    findings: &'a [Finding],
}

fn as_json(findings: &[Finding]) -> String {
    let report = Report { can_stream: can_stream(findings), findings };
    serde_json::to_string_pretty(&report).expect("plain strings always serialise") + "\n"
}

fn as_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut group = "";
    for finding in findings {
        let title = if finding.group == group { "" } else { finding.group };
        group = finding.group;
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Bad => "BAD",
        };
        let mut lines = finding.what.lines();
        push(&mut text, format_args!("{title:<9} {level:<5} {}", lines.next().unwrap_or_default()));
        lines.for_each(|line| push(&mut text, format_args!("{:15} {line}", "")));
        if let Some(advice) = &finding.advice {
            push(&mut text, format_args!("{:15} -> {advice}", ""));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let verdict = match (can_stream(findings), count(Level::Warn)) {
        (true, 0) => "rtcam can stream here.".into(),
        (true, warnings) => format!("rtcam can stream here; worth a look: {warnings}."),
        (false, _) => format!("rtcam cannot stream here as it is; to mend: {}.", count(Level::Bad)),
    };
    push(&mut text, format_args!("\n{verdict}"));
    text
}

fn push(text: &mut String, line: std::fmt::Arguments) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_each_group_once_and_says_what_to_do() {
        let findings = [
            Finding::ok("camera", "/dev/video0: NV12"),
            Finding::warn("camera", "/dev/video1: held by ffmpeg", "stop that program"),
            Finding::bad("network", "TCP 80", "set another http.listen"),
        ];
        let expected = "camera    ok    /dev/video0: NV12\n          warn  /dev/video1: held by ffmpeg\n\
                        \x20               -> stop that program\nnetwork   BAD   TCP 80\n\
                        \x20               -> set another http.listen\n\nrtcam cannot stream here as it is; to mend: 1.\n";
        assert_eq!(as_text(&findings), expected);
        assert!(as_text(&findings[..2]).ends_with("\nrtcam can stream here; worth a look: 1.\n"));
    }

    #[test]
    fn the_json_has_the_same_content_and_the_verdict() {
        let value: serde_json::Value = serde_json::from_str(&as_json(&[Finding::bad("cpu", "a", "b")])).expect("JSON");
        assert_eq!(value["can_stream"], false);
        let finding = &value["findings"][0];
        assert_eq!((finding["level"].as_str(), finding["advice"].as_str()), (Some("bad"), Some("b")));
    }
}
