//! Whether the udev rules and the unit that are installed give rtcam what this board's profile asks for.
//!
//! Pure. Those of an older version may lack a node that a newer profile names. Input: the files as they are installed.

use super::Finding;
use crate::config::board::Profile;

const GROUP: &str = "access";

/// A file and what is in it.
pub type Installed = (String, String);

pub struct Facts<'a> {
    pub profile: &'a Profile,
    /// None: rtcam was not installed with udev rules, or as a service.
    pub rules: Option<Installed>,
    pub unit: Option<Installed>,
}

pub fn judge(facts: &Facts) -> Vec<Finding> {
    let allowed = facts.profile.permissions.devices.iter().map(|device| format!("DeviceAllow={device} rw")).collect();
    let rules = judge_file(&facts.rules, facts.profile.permissions.udev.clone());
    rules.into_iter().chain(judge_file(&facts.unit, allowed)).collect()
}

fn judge_file(installed: &Option<Installed>, wanted: Vec<String>) -> Option<Finding> {
    let (path, text) = installed.as_ref()?;
    let missing: Vec<String> =
        wanted.into_iter().filter(|line| !text.lines().any(|have| have.trim() == line)).collect();
    Some(match missing.as_slice() {
        [] => Finding::ok(GROUP, format!("{path}: has all that this board needs")),
        lines => {
            let what = format!("{path}: of what this board needs it lacks\n{}", lines.join("\n"));
            Finding::warn(GROUP, what, "install this version anew (install.sh, or the package), or add the lines")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::board::BOARDS;
    use crate::doctor::Level;

    #[test]
    fn lines_that_an_older_installation_lacks_are_named() {
        let profile = BOARDS[0].profile().expect("rv1126");
        let rules = Some(("60-rtcam.rules".into(), include_str!("../../systemd/60-rtcam.rules").into()));
        let unit: String = include_str!("../../systemd/rtcam.service").replace("DeviceAllow=/dev/ion rw\n", "");
        let findings = judge(&Facts { profile: &profile, rules, unit: Some(("rtcam.service".into(), unit)) });
        let levels: Vec<Level> = findings.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Ok, Level::Warn]);
        assert!(findings[1].what.ends_with("lacks\nDeviceAllow=/dev/ion rw"), "{findings:?}");
        assert!(judge(&Facts { profile: &profile, rules: None, unit: None }).is_empty());
    }
}
