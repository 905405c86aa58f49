//! What `rtcam doctor` concludes: facts about the machine in, findings with what to do out.
//!
//! Pure: one file per group of checks, each with the facts it judges. Must never look at the machine itself; probing is
//! the command's part. A new check is a function in its group's file; a new group is one file and its call in the command.

pub mod board;
pub mod buffers;
pub mod camera;
pub mod clock;
pub mod cpu;
pub mod encoder;
pub mod files;
pub mod memory;
pub mod network;
pub mod permissions;

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It streams, but not as well as it could, or not for long.
    Warn,
    /// It does not stream.
    Bad,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub group: &'static str,
    pub level: Level,
    /// A sentence in plain words.
    pub what: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Finding {
    pub fn ok(group: &'static str, what: impl Into<String>) -> Finding {
        Finding { group, level: Level::Ok, what: what.into(), advice: None }
    }

    pub fn warn(group: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { group, level: Level::Warn, what: what.into(), advice: Some(advice.into()) }
    }

    pub fn bad(group: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { group, level: Level::Bad, what: what.into(), advice: Some(advice.into()) }
    }
}

/// Whether rtcam could stream here.
pub fn can_stream(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.level < Level::Bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_finding_is_enough_and_warnings_are_not() {
        let fine = [Finding::ok("clock", "right"), Finding::warn("memory", "little", "more")];
        assert!(can_stream(&fine));
        let bad = [Finding::ok("clock", "right"), Finding::bad("encoder", "none", "another build")];
        assert!(!can_stream(&bad));
    }
}
