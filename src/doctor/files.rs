//! The config file: is it good, and who may read it?
//!
//! Pure. Input: the outcome of loading it, and its mode.

use super::Finding;

const GROUP: &str = "config";

pub struct Facts {
    /// None: there is no file, the defaults count.
    pub file: Option<String>,
    /// What is wrong with it.
    pub mistake: Option<String>,
    /// Permission bits.
    pub mode: Option<u32>,
    pub has_password: bool,
}

pub fn judge(facts: &Facts) -> Vec<Finding> {
    let name = facts.file.as_deref().unwrap_or("none, the defaults count");
    if let Some(mistake) = &facts.mistake {
        let what = format!("{mistake}\nthe rest of this report goes by the defaults");
        return vec![Finding::bad(GROUP, what, "correct it; `rtcam check` says whether it is good")];
    }
    let mut findings = vec![Finding::ok(GROUP, format!("{name}: fine"))];
    if let Some(mode) = facts.mode.filter(|mode| facts.has_password && mode & 0o004 != 0) {
        let what = format!("{name}: everybody on this machine can read the password's hash (mode {mode:03o})");
        findings.push(Finding::warn(GROUP, what, format!("chmod 640 {name}, with rtcam's group: chgrp rtcam {name}")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn levels(mistake: Option<&str>, mode: u32, has_password: bool) -> Vec<Level> {
        let facts = Facts {
            file: Some("rtcam.toml".into()),
            mistake: mistake.map(str::to_owned),
            mode: Some(mode),
            has_password,
        };
        judge(&facts).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn a_mistake_is_bad_and_an_open_hash_worth_a_word() {
        assert_eq!(levels(Some("rtcam.toml:1: what"), 0o600, false), [Level::Bad]);
        assert_eq!(levels(None, 0o644, true), [Level::Ok, Level::Warn]);
        assert_eq!(levels(None, 0o640, true), [Level::Ok]);
        assert_eq!(levels(None, 0o644, false), [Level::Ok]);
    }
}
